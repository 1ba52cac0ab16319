"""Networks as models of Keras, and models as networks."""

import importlib.util
import os

import numpy as np
import pytest
from hypothesis import given, settings
from networks import agree, bits
from strategies import networks

import fastnn
from fastnn import (
    ActivationFunction,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Dropout,
    FormulaError,
    GaussianNoise,
    Identity,
    Layer,
    MSELoss,
    NeuralNetwork,
    ReLU,
    Sigmoid,
    Standardize,
    Tanh,
)

if importlib.util.find_spec("tensorflow") is None and importlib.util.find_spec("torch") is not None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # Keras' own
keras = pytest.importorskip("keras", exc_type=ImportError)
layers = keras.layers


def run(model, X):
    return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(X)))


@settings(max_examples=10)
@given(networks())
def test_any_network_there_and_back(problem):
    net, X = problem
    if net.engine.form.offset is not None:
        with pytest.raises(FormulaError, match="no Keras form for Standardize: its offset"):
            net.to_keras()
        return
    model = net.to_keras()
    agree(run(model, X.astype(net.dtype)), net.predict(X), 1e-5)  # some of Keras' functions narrow float64
    twin = fastnn.from_keras(model, net.loss_function, net.lr)
    assert bits(twin) == bits(net)
    assert [repr(layer) for layer in twin.layers] == [repr(layer) for layer in net.layers]
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))


def test_layers_are_those_that_keras_has():
    parts = [
        Layer(3, 4, ReLU(), seed=0),
        Dropout(0.3),
        GaussianNoise(0.2),
        Layer(4, 2, Identity(), seed=1, trainable=False),
    ]
    model = NeuralNetwork(parts, MSELoss(), 0.1, dtype="float32").to_keras()
    assert [type(one) for one in model.layers] == [layers.Dense, layers.Dropout, layers.GaussianNoise, layers.Dense]
    assert [one.trainable for one in model.layers][::3] == [True, False]
    assert [layer.trainable for layer in fastnn.from_keras(model).layers][::3] == [True, False]


class Wave(ActivationFunction):
    def __init__(self, rate):
        self.rate = rate

    def f(self, x):
        return np.sin(self.rate * x) + np.where((x > 0) | (x < -2), x, np.expm1(x)) - np.sign(x) * np.hypot(x, 1)

    def df(self, x):
        return x * 0


def test_classes_of_your_own():
    rng = np.random.default_rng(0)
    net = NeuralNetwork([Layer(3, 5, Wave(1.3), seed=rng), Layer(5, 2, Wave(0.4), seed=rng)], MSELoss(), 0.1)
    model = net.to_keras()
    X = rng.normal(size=(50, 3))
    agree(run(model, X), net.predict(X), 1e-6)
    assert repr(fastnn.from_keras(model).layers) == repr(net.layers)


def test_models_of_any_hand():
    keras.utils.set_random_seed(0)
    scaled = layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 4.0, 0.25, 9.0])
    block = keras.Sequential([layers.Dense(6, "gelu"), layers.BatchNormalization(scale=False), layers.LeakyReLU()])
    model = keras.Sequential(
        [
            keras.Input((2, 2)), layers.Flatten(), scaled, layers.Dense(6, "elu", use_bias=False), layers.Dropout(0.1),
            block, layers.Dense(5), layers.Activation("silu"), layers.LayerNormalization(center=False),
            layers.Dense(5, "leaky_relu"), layers.Dense(5, "selu"), layers.ReLU(max_value=6), layers.ELU(0.3),
            layers.Dense(5, "mish"), layers.Dense(5, "softplus"), layers.Dense(5, "hard_tanh"),
            layers.Dense(3, "softmax"),
        ]
    )  # fmt: skip
    norm = block.layers[1]
    norm.moving_mean.assign(norm.moving_mean + 0.25)
    norm.moving_variance.assign(norm.moving_variance * 2)
    net = fastnn.from_keras(model)
    assert type(net.loss_function) is CrossEntropyLoss
    assert type(net.layers[0]) is Standardize
    X = np.random.default_rng(0).normal(2.0, 2.0, size=(30, 4)).astype(np.float32)
    agree(net.predict_proba(X), run(model, X.reshape(-1, 2, 2)), 1e-5)
    agree(run(net.to_keras(), X), net.predict(X), 1e-5)


def test_onnx_of_keras(tmp_path):
    pytest.importorskip("onnx")
    parts = [layers.Dense(6, "relu"), layers.BatchNormalization(), layers.Dense(5, "gelu"), layers.Dense(5, "silu")]
    model = keras.Sequential([keras.Input((4,)), *parts, layers.Dense(5, "elu"), layers.Dense(3, "softmax")])
    norm = parts[1]
    for variable in norm.weights:
        variable.assign(np.random.default_rng(1).uniform(0.5, 2.0, 6))
    X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    expected = run(model, X)
    try:
        model.export(tmp_path / "net.onnx", format="onnx", verbose=False)
    except (ImportError, ValueError, NotImplementedError) as error:
        pytest.skip(f"this backend exports no ONNX: {error}")
    net = fastnn.from_onnx(tmp_path / "net.onnx")
    agree(net.predict_proba(X), expected, 1e-5)
    assert len(net.layers) == 6


def test_rescaled_pixels_and_ends():
    model = keras.Sequential([keras.Input((3,)), layers.Rescaling(1 / 255, offset=-0.5), layers.Dense(2, "sigmoid")])
    X = np.random.default_rng(0).uniform(0, 255, (10, 3)).astype(np.float32)
    net = fastnn.from_keras(model)
    agree(net.predict(X), run(model, X), 1e-5)
    assert type(net.layers[-1].act_function) is Sigmoid
    assert type(fastnn.from_keras(model, BCEWithLogitsLoss()).layers[-1].act_function) is Identity


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (lambda: [keras.Input((4, 2)), layers.Conv1D(2, 2)], "layer 'conv1d.*' is Conv1D: fastnn has no layer for it"),
        (lambda: [keras.Input((4,)), layers.Dense(2, "hard_sigmoid")], "its activation is hard_sigmoid; expected"),
        (lambda: [keras.Input((4,)), layers.Dense(2, lambda x: x)], "its activation is <lambda>"),
        (lambda: [keras.Input((4,)), layers.Dense(2), layers.ReLU(negative_slope=0.3)], "negative_slope"),
        (lambda: [keras.Input((4,)), layers.Dense(2), layers.Softmax(), layers.Dense(2)], "after softmax"),
        (lambda: [layers.Dense(2)], "model has no weights yet"),
    ],
)
def test_models_that_are_no_mlp(parts, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fastnn.from_keras(keras.Sequential(parts()))


@pytest.mark.parametrize("model", [3, keras.Sequential, None])
def test_what_is_no_model(model):
    with pytest.raises(TypeError, match=r"model is .*; expected a keras\.Sequential"):
        fastnn.from_keras(model)


def test_numbers_that_are_none():
    net = NeuralNetwork([Layer(2, 2, Tanh())], MSELoss(), 0.1)
    net.layers[0].weights[0] = np.nan
    with pytest.raises(ValueError, match=r"layers\[0\] has W with numbers that are not finite; .* Keras"):
        net.to_keras()
