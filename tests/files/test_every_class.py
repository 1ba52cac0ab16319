"""Every stage, activation and loss goes to every format and gives what `predict` does: whoever adds one is asked."""

import importlib.util
import os
import shutil

import numpy as np
import pytest
from networks import bits
from strategies import ACTIVATIONS, LOSSES, STAGES, as_if_trained, takes_targets

import fastnn
from fastnn import Identity, Layer, LossFunction, MSELoss, NeuralNetwork, StandardizeTargets, Tanh

if importlib.util.find_spec("tensorflow") is None and importlib.util.find_spec("torch") is not None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # Keras' own

X = np.random.default_rng(0).normal(size=(40, 4)) * 2
X[:, 0] = np.round(X[:, 0])  # as categories are


def of_activation(cls):
    return lambda dtype: NeuralNetwork(
        [Layer(4, 6, cls.example(), seed=0), Layer(6, 2, Identity(), seed=1)], MSELoss(), 0.1, dtype=dtype
    )


def of_stage(cls):
    def made(dtype):
        layers = [Layer(4, 4, Tanh(), seed=0)] if cls.stands != "first" else []
        layers += [] if cls.stands == "last" else [cls.example()]
        layers += [Layer(4, 2, Identity(), seed=1), *([cls.example()] if cls.stands == "last" else [])]
        return as_if_trained(NeuralNetwork(layers, MSELoss(), 0.1, dtype=dtype), np.random.default_rng(2))

    return made


def of_loss(cls, scaled=False):
    def made(dtype):
        layers = [Layer(4, 6, Tanh(), seed=0), Layer(6, 2, Identity(), seed=1)]
        layers += [StandardizeTargets(fitted=True)] if scaled else []
        return as_if_trained(NeuralNetwork(layers, cls.example(), 0.1, dtype=dtype), np.random.default_rng(2))

    return made


NETWORKS = {
    **{cls.__name__: of_activation(cls) for cls in ACTIVATIONS},
    **{cls.__name__: of_stage(cls) for cls in STAGES},
    **{cls.__name__: of_loss(cls) for cls in LOSSES},
    **{f"{cls.__name__} of scaled": of_loss(cls, True) for cls in LOSSES if takes_targets(cls.example())},
    "ntk": lambda dtype: NeuralNetwork(
        [Layer(4, 6, Tanh(), seed=0, parametrization="ntk"), Layer(6, 2, Identity(), seed=1)], MSELoss(), 0.1,
        dtype=dtype,
    ),
}  # fmt: skip


def by_onnx(net, folder):
    pytest.importorskip("onnx")
    from test_onnx import run

    net.to_onnx(folder / "net.onnx")
    results = list(run(folder / "net.onnx", X).values())
    return results, fastnn.from_onnx(folder / "net.onnx")


def by_torch(net, folder):
    pytest.importorskip("torch")
    from test_torch import run

    module = net.to_torch()
    return [run(module, X)], fastnn.from_torch(module, loss_of(net))


def by_keras(net, folder):
    pytest.importorskip("keras", exc_type=ImportError)
    from test_keras import run

    model = net.to_keras()
    return [run(model, X.astype(net.dtype))], fastnn.from_keras(model, loss_of(net))


def loss_of(net):
    """The loss, where the format does not tell it."""
    own = type(net.loss_function).predictions is not LossFunction.predictions
    return None if own else net.loss_function


def by_c(net, folder):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    from test_c import SANITIZED, run_c

    net.to_c(folder / "model.c", dtype=net.dtype.name)
    return [one for one in run_c(folder, X, flags=SANITIZED) if one.size], None


def tolerance(format, dtype):
    if dtype == "float64":
        return 2e-6 if format is by_keras else 1e-12  # some of Keras' functions narrow
    return 1e-6 if format is by_torch else 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("format", [by_onnx, by_torch, by_keras, by_c])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_class(tmp_path, format, name, dtype):
    net = NETWORKS[name](dtype)
    expected = [net.predict(X)]
    if type(net.loss_function).probabilities is not LossFunction.probabilities and format in (by_onnx, by_c):
        expected.append(net.predict_proba(X))
    results, twin = format(net, tmp_path)
    assert len(results) == len(expected)
    for found, wanted in zip(results, expected):
        accuracy = tolerance(format, dtype)
        np.testing.assert_allclose(found, wanted, rtol=accuracy, atol=accuracy * max(1.0, np.abs(wanted).max()))
    if twin is not None:
        assert bits(twin) == bits(net)
        assert repr(twin.loss_function) == repr(net.loss_function)
        np.testing.assert_array_equal(twin.predict(X), net.predict(X))


def test_the_walk_sees_what_is_there():
    assert len(NETWORKS) > 35
    made = [type(layer) for name in NETWORKS for layer in NETWORKS[name]("float64").layers]
    assert set(STAGES) <= set(made)


def test_predictions_of_another_loss(tmp_path):
    """What ends with exp is no network for MSELoss: its predictions would be other ones."""
    net = of_loss(fastnn.PoissonNLLLoss)("float32")
    pytest.importorskip("onnx")
    net.to_onnx(tmp_path / "net.onnx")
    with pytest.raises(
        ValueError, match=r"ends with the predictions of PoissonNLLLoss\(\); expected that loss, or none"
    ):
        fastnn.from_onnx(tmp_path / "net.onnx", MSELoss())
    assert type(fastnn.from_onnx(tmp_path / "net.onnx", fastnn.GammaLoss()).loss_function) is fastnn.GammaLoss
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match="ends with the predictions of PoissonNLLLoss"):
        fastnn.from_torch(net.to_torch(), MSELoss())


class Shares(MSELoss):
    """Of a user's own: with predictions and probabilities."""

    def __init__(self, top):
        self.top = top

    def predictions(self, outputs):
        return self.top / (1 + np.exp(-outputs))

    def probabilities(self, outputs):
        return 1 / (1 + np.exp(-outputs))


@pytest.mark.parametrize("format", [by_onnx, by_c])
def test_predictions_and_probabilities_of_your_own(tmp_path, format):
    layers = [Layer(4, 6, Tanh(), seed=0), Layer(6, 2, Identity(), seed=1)]
    net = NeuralNetwork(layers, Shares(7.0), 0.1)
    if format is by_onnx:
        pytest.importorskip("onnx")
        from test_onnx import run

        net.to_onnx(tmp_path / "net.onnx")
        results = list(run(tmp_path / "net.onnx", X).values())
        twin = fastnn.from_onnx(tmp_path / "net.onnx", custom=[Shares])
        assert twin.loss_function.top == 7.0
        np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    else:
        results, _ = format(net, tmp_path)
    for found, wanted in zip(results, (net.predict(X), net.predict_proba(X))):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert len(results) == 2


class Halves(MSELoss):
    def predictions(self, outputs):
        return outputs[:, ::-1]


def test_predictions_that_cannot_be_told(tmp_path):
    net = NeuralNetwork([Layer(4, 2, Identity(), seed=0)], Halves(), 0.1)
    with pytest.raises(fastnn.FormulaError, match=r"no C form for Halves\.predictions: .*by an index"):
        net.to_c(tmp_path / "model.c")
    assert not list(tmp_path.iterdir())


def test_int8_states_the_error_of_predictions(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    from test_c import run_c, stated_error

    net = of_loss(MSELoss, scaled=True)("float32")
    net.layers[-1].mean, net.layers[-1].std = np.full((2, 1), 1e9), np.full((2, 1), 1e3)
    net.to_c(tmp_path / "model.c", dtype="int8", calibration=X)
    predictions, _ = run_c(tmp_path, X)
    error, stated = np.abs(predictions - net.predict(X)).max(), stated_error((tmp_path / "model.c").read_text())
    assert 0 < error <= stated <= 1.2 * error
    assert stated < 1e3
