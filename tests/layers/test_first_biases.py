"""The biases that a layer begins with."""

import numpy as np
import pytest

import fastnn
from fastnn import Identity, Layer, MSELoss, NeuralNetwork, Tanh, nn, reference
from fastnn.formulas.initializers import INITIALIZERS


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("ins", [1, 3, 100])
def test_they_are_uniform_within_one_over_the_root_of_the_inputs(ins, dtype):
    b = Layer(ins, 4000, Tanh(), seed=0, dtype=dtype).biases
    limit = 1 / np.sqrt(ins)
    assert b.shape == (4000, 1)
    assert 0.99 * limit < np.abs(b).max() <= limit
    shares = np.histogram(b, 8, (-limit, limit))[0] / 4000
    assert np.abs(shares - 1 / 8).max() < 4 * np.sqrt(1 / 8 / 4000)


@pytest.mark.parametrize("init", [None, *INITIALIZERS])
def test_weights_of_a_seed_do_not_depend_on_them(init):
    one, other = (Layer(5, 4, Tanh(), init=init, bias_init=how, seed=3) for how in (None, "zeros"))
    assert np.array_equal(one.weights, other.weights)
    assert not other.biases.any()
    assert one.biases.any() == (init != "zeros")  # zeros leave both at 0


def test_first_weights_of_a_seed_are_those_of_their_rule():
    rng = np.random.default_rng(5)
    layer = Layer(3, 2, Tanh(), seed=5)
    assert np.array_equal(layer.weights, INITIALIZERS["glorot_normal"](2, 3, rng))
    assert np.array_equal(layer.biases, rng.uniform(-1 / np.sqrt(3), 1 / np.sqrt(3), (2, 1)))


@pytest.mark.parametrize("options", [{}, {"init": "article"}, {"init": "zeros"}, {"bias_init": "he_normal"}], ids=repr)
def test_the_reference_draws_the_same(options):
    compiled, plain = (cls(3, 2, Tanh(), seed=5, **options) for cls in (Layer, reference.Layer))
    assert np.array_equal(compiled.weights, plain._W)
    assert np.array_equal(compiled.biases, plain._b)


def test_the_articles_layer_keeps_the_articles():
    rng = np.random.default_rng(2)
    layer = nn.Layer(30, 20, Tanh(), seed=2)
    assert np.array_equal(layer._W, rng.normal(0, 1 / 600, (20, 30)))
    assert np.array_equal(layer._b, rng.normal(0, 1 / 20, (20, 1)))


def test_a_function_is_called_for_a_column():
    calls = []

    def ones(outs, ins, rng):
        calls.append((outs, ins, type(rng)))
        return np.ones((outs, ins))

    assert np.array_equal(Layer(3, 2, Tanh(), bias_init=ones).biases, np.ones((2, 1)))
    assert calls == [(2, 1, np.random.Generator)]


def test_a_file_is_loaded_without_drawing(tmp_path, monkeypatch):
    net = NeuralNetwork([Layer(3, 4, Tanh(), seed=0), Layer(4, 1, Identity(), seed=1)], MSELoss(), 0.1)
    net.save(tmp_path / "net.safetensors")
    monkeypatch.setattr("fastnn.layers.dense.generator", lambda seed: None)  # there is nothing to draw from
    with pytest.raises(AttributeError):
        Layer(3, 4, Tanh())
    assert fastnn.load(tmp_path / "net.safetensors").allclose(net, 0, 0)


def test_they_part_units_whose_inputs_are_small():
    # With biases of zero every unit bends at 0 alone, and all of them make one odd function
    X = np.linspace(-1, 1, 200).reshape(-1, 1)
    y = np.cos(3 * X)

    def loss(bias_init, seed):
        rng = np.random.default_rng(seed)
        layers = [Layer(1, 20, Tanh(), bias_init=bias_init, seed=rng), Layer(20, 1, Identity(), seed=rng)]
        return NeuralNetwork(layers, "mse", 0.01, "adam").fit(X, y, epochs=20, seed=0, verbose=0)["loss"][-1]

    assert sum(loss(None, seed) for seed in range(6)) < 0.5 * sum(loss("zeros", seed) for seed in range(6))
