"""A layer's own learning rate, NTK parametrisation, and the stages that scale."""

import copy
import pickle

import numpy as np
import pytest
from networks import bits
from strategies import built_in

import fastnn
from fastnn import (
    SGD,
    Adam,
    Dropout,
    Identity,
    Layer,
    LogCosine,
    Mish,
    MSELoss,
    NeuralNetwork,
    Optimizer,
    Scale,
    SmoothClip,
    Tanh,
    reference,
)
from fastnn.formulas.optimizers import gradient_power

OPTIMIZERS = [cls.example for cls in built_in(Optimizer)]


def network(optimizer=None, dtype="float64", lr=0.01, **settings):
    rng = np.random.default_rng(0)
    layers = [
        Scale(lr_factor=6.0), SmoothClip(), Layer(3, 17, Mish(), seed=rng, lr_factor=0.5, bias_lr_factor=0.1),
        Dropout(0.1), Layer(17, 33, Tanh(), seed=rng, parametrization="ntk", bias_lr_factor=3.0),
        Layer(33, 2, Identity(), seed=rng, lr_factor=2.0, l2=0.01),
    ]  # fmt: skip
    return NeuralNetwork(layers, MSELoss(), lr, optimizer, dtype=dtype, **settings)


def columns(n=37):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, n))
    return x, np.vstack([x[:1] * x[1:2], x[2:]])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("limits", [{}, {"clip_norm": 0.05}, {"clip_value": 0.01}])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_training_equals_the_reference(optimizer, limits, batch_size):
    net = network(optimizer(), **limits)
    slow, (x, t) = reference.copy_of(net), columns()
    loss, expected = (one.train(x, t, 2, batch_size, seed=4) for one in (net, slow))
    assert loss == pytest.approx(expected, rel=1e-7)
    for ours, theirs in zip(net.layers, slow._layers):
        if isinstance(ours, Layer):
            np.testing.assert_allclose(ours.weights, theirs._W, rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose(ours.biases, theirs._b, rtol=1e-6, atol=1e-8)
        else:
            np.testing.assert_allclose(ours.memory, theirs.memory, rtol=1e-6, atol=1e-8)


def moves(optimizer, **settings):
    """How far one step moves W and b of a layer, without settings of its own and with them."""
    x, t = columns()
    found = []
    for own in ({}, settings):
        layer = Layer(3, 2, Identity(), seed=0, **own)
        W, b = layer.weights.copy(), layer.biases.copy()
        NeuralNetwork([layer], MSELoss(), 0.01, optimizer()).train(x, t, batch_size=37)
        found += [layer.weights - W, layer.biases - b]
    return found


@pytest.mark.parametrize("optimizer", [SGD, Adam, lambda: SGD(momentum=0.9)])
def test_factors_multiply_the_rate_of_w_and_of_b(optimizer):
    W, b, W_own, b_own = moves(optimizer, lr_factor=3.0, bias_lr_factor=0.25)
    np.testing.assert_allclose(W_own, 3 * W, rtol=1e-12)
    np.testing.assert_allclose(b_own, 0.25 * b, rtol=1e-12)


@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9, nesterov=True), Adam(eps=1e-30)])
def test_ntk_trains_as_the_formula_with_v_over_the_root_of_ins(optimizer):
    x, t = columns()
    sizes = [(3, 9, Tanh()), (9, 2, Identity())]
    layers = [Layer(*size, parametrization="ntk", seed=i) for i, size in enumerate(sizes)]
    net = NeuralNetwork(layers, MSELoss(), 0.05, optimizer)
    V = [layer.weights * np.sqrt(layer.ins) for layer in layers]
    b = [layer.biases.copy() for layer in layers]
    assert V[0].std() == pytest.approx(1, rel=0.5)
    state = {
        (k, i): [np.zeros_like(p) for _ in optimizer.state] for k, ps in ((0, V), (1, b)) for i, p in enumerate(ps)
    }
    for step in range(1, 6):
        net.train(x, t, batch_size=37)
        h = np.tanh(V[0] @ x / np.sqrt(3) + b[0])
        dy = 2 * (V[1] @ h / 3 + b[1] - t) / t.size
        dh = (V[1].T / 3 @ dy) * (1 - h**2)
        gradients = ([dh @ x.T / np.sqrt(3), dy @ h.T / 3], [dh.sum(1, keepdims=True), dy.sum(1, keepdims=True)])
        for k, ps in enumerate((V, b)):
            for i in range(2):
                ps[i], *state[k, i] = optimizer.update(ps[i], gradients[k][i], 0.05, float(step), *state[k, i])
    for layer, V_i, b_i in zip(layers, V, b):
        np.testing.assert_allclose(layer.weights, V_i / np.sqrt(layer.ins), rtol=1e-9)
        np.testing.assert_allclose(layer.biases, b_i, rtol=1e-9)


def test_how_steps_grow_with_the_gradient():
    own = [cls for cls in built_in(Optimizer) if cls.__module__ == SGD.__module__]
    assert {cls.__name__: gradient_power(cls.example()) for cls in own} == {
        cls.__name__: float(cls is SGD) for cls in own
    }
    assert gradient_power(SGD(momentum=0.9, nesterov=True)) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_files_copies_and_pickles_go_on_alike(tmp_path, dtype):
    net, (x, t) = network(Adam(), dtype), columns()
    net.train(x, t, 3, 8, seed=5)
    net.save(tmp_path / "net")
    others = [fastnn.load(tmp_path / "net"), copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    for other in others:
        assert other.allclose(net)
        assert [layer.lr_factor for layer in other.layers] == [6.0, 1.0, 0.5, 1.0, 1.0, 2.0]
        assert other.layers[4].parametrization == "ntk"
        assert other.layers[4].bias_lr_factor == 3.0
    net.train(x, t, 3, 8, seed=5)
    for other in others:
        other.train(x, t, 3, 8, seed=5)
        assert bits(other) == bits(net)


def test_a_changed_factor_counts_from_the_next_step():
    net, (x, t) = NeuralNetwork([Layer(3, 2, Identity(), seed=0)], MSELoss(), 0.01), columns()
    twin = NeuralNetwork([Layer(3, 2, Identity(), seed=0)], MSELoss(), 0.02)
    net.train(x, t)
    net.layers[0].weights, net.layers[0].biases = twin.layers[0].weights, twin.layers[0].biases
    net.layers[0].lr_factor = net.layers[0].bias_lr_factor = 2.0
    assert net.train(x, t, batch_size=4) == pytest.approx(twin.train(x, t, batch_size=4), rel=1e-14)
    np.testing.assert_allclose(net.layers[0].weights, twin.layers[0].weights, rtol=1e-14)


@pytest.mark.parametrize("name", ["lr_factor", "bias_lr_factor"])
@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "2", None, True, [1.0]])
def test_bad_factors(name, value):
    with pytest.raises((TypeError, ValueError), match=f"{name} is "):
        Layer(2, 2, Tanh(), **{name: value})
    with pytest.raises((TypeError, ValueError), match="lr_factor is "):
        Scale(value)


@pytest.mark.parametrize("value", ["NTK", "", None, 1, b"ntk"])
def test_bad_parametrizations(value):
    with pytest.raises(ValueError, match=r"parametrization is .*; expected 'standard' or 'ntk'"):
        Layer(2, 2, Tanh(), parametrization=value)


def test_smooth_clip_of_anything_finite():
    layer = Layer(1, 1, Identity(), init=lambda *_: np.ones((1, 1)), bias_init="zeros")
    net = NeuralNetwork([SmoothClip(), layer], MSELoss(), 0.1)
    x = np.array([[0.0, 1.0, -3.0, 1e300, -1e300, 1e-300]])
    expected = [0, 1 / np.sqrt(1 + 1 / 9), -3 / np.sqrt(2), 3, -3, 1e-300]
    np.testing.assert_allclose(net.forward_pass(x)[0], expected, rtol=1e-14)
    np.testing.assert_allclose(net.layers[0].forward_pass(x)[0], expected, rtol=1e-14)


def test_log_cosine_has_four_cosines_each_twice_as_long():
    rates = LogCosine(0.5, 1500).rates(0, 1600, 1)
    np.testing.assert_allclose(rates[[0, 100, 300, 700]], 0, atol=1e-12)
    assert rates[:1500].max() == pytest.approx(0.5, rel=1e-3)
    assert np.sum((rates[1:-1] > rates[:-2]) & (rates[1:-1] >= rates[2:]) & (rates[1:-1] > 0.1)) == 4
    assert np.all(rates[1500:] == pytest.approx(0, abs=1e-12))
    t = np.arange(1500) / 1500
    np.testing.assert_allclose(rates[:1500], 0.25 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * t))), rtol=1e-12)
