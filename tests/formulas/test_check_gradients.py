"""`check_gradients` finds what is wrong, names it, and finds nothing where all is right."""

import copy

import numpy as np
import pytest
from strategies import ACTIVATIONS, LOSSES, targets_for

import fastnn
from fastnn import (
    ActivationFunction,
    BatchNorm,
    CrossEntropyLoss,
    Dropout,
    ElementwiseLoss,
    GaussianNoise,
    GradientError,
    HardTanh,
    Identity,
    Layer,
    LayerNorm,
    LossFunction,
    MAELoss,
    MSELoss,
    NeuralNetwork,
    ReLU,
    Standardize,
    Tanh,
    check_gradients,
)
from fastnn.kernels.stages import pointer_at, stage_at
from fastnn.layers.stage import Stage


def problem(act=None, loss=None, middle=(), dtype="float64", n=20):
    """A network with that in it, and rows for it."""
    rng = np.random.default_rng(3)
    act, loss = act or Tanh(), loss or MSELoss()
    layers = [Layer(3, 5, act, seed=0), *middle, Layer(5, 4, Identity(), seed=1)]
    y = targets_for(loss, 4, n, rng)
    return NeuralNetwork(layers, loss, 0.1, dtype=dtype), rng.normal(size=(n, 3)), y.T if y.ndim == 2 else y


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_built_in_activations_are_right(activation, dtype):
    report = check_gradients(*problem(activation.example(), dtype=dtype))
    assert report.ok
    assert max(row.error for row in report.rows) < 1e-3


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", LOSSES)
def test_built_in_losses_are_right(loss, dtype):
    assert check_gradients(*problem(loss=loss.example(), dtype=dtype)).ok


@pytest.mark.parametrize("training", [True, False])
def test_built_in_stages_are_right(training):
    middle = [BatchNorm(), Dropout(0.4), LayerNorm(), GaussianNoise(0.3)]
    net, X, y = problem(ReLU(), middle=middle)
    net = NeuralNetwork([Standardize(), *net.layers], MSELoss(), 0.1)
    report = check_gradients(net, X * 1e3, y, training=training, seed=5)
    assert {row.place.split()[-1] for row in report.rows} >= {"BatchNorm", "Dropout", "LayerNorm", "GaussianNoise"}
    assert not net.layers[0].fitted


def test_kinks_are_no_errors():
    X = np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 0.0], [1e-9, 0.0, 0.0], [3e-7, 2e-6, -1e-6]])
    for act in (ReLU(), HardTanh()):
        net, _, _ = problem(act, MAELoss())
        net.layers[0].weights = np.eye(5, 3)
        assert check_gradients(net, X, net.predict(X)).ok  # every residual is at the kink of the loss, too


def test_weights_shared_and_frozen_layers():
    shared = Layer(4, 4, Tanh(), seed=0)
    frozen = Layer(4, 4, Tanh(), seed=1, trainable=False)
    net = NeuralNetwork([shared, frozen, shared, Layer(4, 3, Identity(), seed=2)], CrossEntropyLoss(), 0.1)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(15, 4)), rng.integers(0, 3, 15)
    report = check_gradients(net, X, y, sample_weight=rng.uniform(0, 5, 15))
    assert [row.place for row in report.rows if row.what == "dW"] == ["layers[0] Layer", "layers[3] Layer"]


def test_nothing_changes():
    net, X, y = problem(middle=[BatchNorm(), Dropout(0.4)], dtype="float32")
    net.fit(X, y, epochs=2, verbose=0, seed=0)
    before = copy.deepcopy(net)
    state, drawn = np.random.get_state()[1].copy(), X.copy()
    check_gradients(net, X, y)
    assert np.array_equal(np.random.get_state()[1], state)
    assert np.array_equal(X, drawn)
    assert net.dtype == np.float32
    for layer, other in zip(net.layers, before.layers):
        assert layer.memory.tobytes() == other.memory.tobytes()
    for one in (net, before):
        one.fit(X, y, epochs=2, verbose=0, seed=0)
    assert net.parameters.tobytes() == before.parameters.tobytes()


class BadDf(ActivationFunction):
    def f(self, x):
        return x / (1 + np.abs(x))

    def df(self, x):
        return 1 / (1 + np.abs(x))


class BadByLittle(Tanh):
    def df(self, x):
        return (1 - np.tanh(x) ** 2) * 1.001


class BadOnOneSide(ActivationFunction):
    def f(self, x):
        return np.where(x > 0, x, 0.1 * x)

    def df(self, x):
        return np.where(x > 0, 1.0, 0.2)


class BadDfOfF(ActivationFunction):
    def f(self, x):
        return np.tanh(x)

    def df(self, x):
        return 1 - np.tanh(x) ** 2

    def df_of_f(self, x, f):
        return 1 - f


class NotANumber(ActivationFunction):
    def f(self, x):
        return np.maximum(x, 0.0)

    def df(self, x):
        return np.maximum(x, 0.0) / x * np.where(x > 1, np.nan, 1.0)


class Narrow(ActivationFunction):
    """In float32 the digits of x are lost."""

    def f(self, x):
        return (x + 1e6) - 1e6

    def df(self, x):
        return x * 0 + 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("act", "message"),
    [
        (BadDf, "BadDf.df is not the derivative of BadDf.f: at x = .* it gives .*, and differences of f give"),
        (BadByLittle, "BadByLittle.df is not the derivative"),
        (BadOnOneSide, "BadOnOneSide.df is not the derivative"),
        (BadDfOfF, r"BadDfOfF\.df_of_f, compiled, is not the derivative|BadDfOfF\.df_of_f is not the derivative"),
        (NotANumber, "NotANumber.df is not the derivative of .* it gives nan"),
    ],
)
def test_a_wrong_activation_is_named(act, message, dtype):
    net, X, y = problem(act(), dtype=dtype)
    with pytest.raises(GradientError, match=message) as caught:
        check_gradients(net, X, y)
    report = caught.value.report
    assert not report.ok
    assert report.faults[0] in str(caught.value)
    assert "wrong" in repr(report)
    assert not check_gradients(net, X, y, raises=False).ok


def test_only_the_wrong_one_of_two_is_named():
    rng = np.random.default_rng(0)
    layers = [Layer(3, 4, Tanh(), seed=0), Layer(4, 4, BadDf(), seed=1), Layer(4, 2, Identity(), seed=2)]
    report = check_gradients(
        NeuralNetwork(layers, MSELoss(), 0.1), rng.normal(size=(9, 3)), rng.normal(size=(9, 2)), raises=False
    )
    assert len(report.faults) == 1
    assert "BadDf.df" in report.faults[0]


def test_what_is_another_in_float32_is_named():
    net, X, y = problem(Narrow(), dtype="float32")
    with pytest.raises(GradientError, match=r"Narrow\.f is another in float32"):
        check_gradients(net, X, y, rtol=1e-2)


class BadLoss(LossFunction):
    def loss(self, values, expected):
        return np.sum((values - expected) ** 4)

    def dloss(self, values, expected):
        return 3 * (values - expected) ** 3


class BadClasses(LossFunction):
    target = "class"

    def loss(self, values, expected):
        return np.sum(values**2) - values[expected, 0]

    def dloss(self, values, expected):
        d = 2 * values
        d[expected, 0] += 1
        return d


class BadElements(ElementwiseLoss):
    def f(self, v, t):
        return np.abs(v - t) ** 3

    def df(self, v, t):
        return 3 * (v - t) ** 2  # the sign is missing


class BadRow(LossFunction):
    target = "values"

    def loss(self, values, expected):
        return np.sum((values - expected) ** 2)

    def dloss(self, values, expected):
        return 2 * (values - expected)

    def row(self, values, expected, d):
        total = 0.0
        for i in range(values.size):
            d[i] = values[i] - expected[i]
            total += d[i] ** 2
        return total


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (BadLoss, "BadLoss.dloss is not the gradient of BadLoss.loss"),
        (BadClasses, "BadClasses.dloss is not the gradient of BadClasses.loss"),
        (BadElements, "BadElements.df is not the derivative of BadElements.f"),
        (BadRow, "BadRow.row gives a gradient that is not that of its loss"),
    ],
)
def test_a_wrong_loss_is_named(loss, message, dtype):
    net, X, y = problem(loss=loss(), dtype=dtype)
    y = np.arange(len(X)) % 4 if loss is BadClasses else y
    with pytest.raises(GradientError, match=message):
        check_gradients(net, X, y)


def stage_class(forward=1.0, backward=1.0, row=1.0, numpy_backward=1.0, numpy_row=1.0):
    """A stage, x = gamma x_in**2, with these factors in its parts: 1 is right."""

    def there(address, W):
        stage = stage_at(address)
        n, outs, stride, in_stride = stage.n, stage.outs, stage.stride, stage.in_stride
        x_in, x = pointer_at(stage.x_in, W), pointer_at(stage.x, W)
        for i in range(n):
            for j in range(outs):
                x[i * stride + j] = forward * W[j] * x_in[i * in_stride + j] ** 2

    def back(address, W):
        stage = stage_at(address)
        n, outs, stride, in_stride = stage.n, stage.outs, stage.stride, stage.in_stride
        x_in, dx, dx_in = pointer_at(stage.x_in, W), pointer_at(stage.dx, W), pointer_at(stage.dx_in, W)
        dW, wants_dx_in = pointer_at(stage.dW, W), stage.dx_in != 0
        for j in range(outs):
            dW[j] = 0
            for i in range(n):
                x_ij, dx_ij = x_in[i * in_stride + j], forward * dx[i * stride + j]
                dW[j] += row * x_ij**2 * dx_ij
                if wants_dx_in:
                    dx_in[i * stride + j] = backward * 2 * W[j] * x_ij * dx_ij

    class Square(Stage):
        rows = ("gamma",)
        trained = 1
        start = (0.5,)
        kernels = (there, back)

        def forward(self, x, training, key):
            return self.row("gamma") * x**2, x

        def backward(self, dx, kept):
            dgamma = numpy_row * np.sum(dx * kept**2, axis=1, keepdims=True)
            return numpy_backward * 2 * self.row("gamma") * kept * dx, [dgamma]

    return Square


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"backward": 1.01}, "Square's kernel back is not the derivative of the kernel there: dx is wrong"),
        ({"row": 0.5}, "Square's kernel back is not the derivative of the kernel there: dgamma is wrong"),
        ({"numpy_backward": -1.0}, "Square.backward is not the derivative of Square.forward: dx is wrong"),
        ({"numpy_row": 0.0}, "Square.backward is not the derivative of Square.forward: dgamma is wrong"),
        ({"forward": 2.0}, "Square's kernel there does not do what Square.forward does"),
        ({}, None),
    ],
)
def test_a_wrong_stage_is_named(parts, message, dtype):
    net, X, y = problem(middle=[stage_class(**parts)()], dtype=dtype)
    report = check_gradients(net, X, y, raises=False)
    assert report.ok is (message is None)
    if message is not None:
        assert report.faults[0].startswith(message)
        with pytest.raises(GradientError, match="Square"):
            check_gradients(net, X, y)


def test_a_formula_for_single_numbers_alone():
    class Branch(ActivationFunction):
        def f(self, x):
            if x > 0:
                return x * 2
            return x * 0.5

        def df(self, x):
            if x > 0:
                return x * 0 + 2
            return x * 0 + 0.5

    assert check_gradients(*problem(Branch())).ok


def test_outputs_that_are_not_finite_are_said_to_be():
    net, X, y = problem(middle=[LayerNorm()])
    net.layers[0].act_function = Overflows()
    with pytest.raises(GradientError, match=r"The outputs of layers\[0\].*are not all finite"):
        check_gradients(net, X, y)


class Overflows(ActivationFunction):
    def f(self, x):
        return np.exp(x * 1e6)

    def df(self, x):
        return 1e6 * np.exp(x * 1e6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"net": 3}, TypeError, "net is 3; expected a NeuralNetwork"),
        ({"X": np.ones((20, 4))}, ValueError, "X has"),
        ({"y": np.ones((3, 4))}, ValueError, "y has"),
        ({"X": np.full((20, 3), np.nan)}, ValueError, "X"),
        ({"sample_weight": np.ones(3)}, ValueError, "sample_weight"),
        ({"training": 1}, TypeError, "training is 1; expected True or False"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"rtol": 0}, ValueError, "rtol is 0"),
        ({"rtol": float("nan")}, ValueError, "rtol is nan"),
        ({"raises": None}, TypeError, "raises is None"),
    ],
)
def test_wrong_arguments_are_refused(change, error, message):
    net, X, y = problem()
    arguments = {"net": net, "X": X, "y": y, **change}
    with pytest.raises(error, match=message):
        check_gradients(arguments.pop("net"), arguments.pop("X"), arguments.pop("y"), **arguments)


def test_one_sample_under_batch_normalisation_is_refused():
    net, X, y = problem(middle=[BatchNorm()])
    with pytest.raises(ValueError, match="needs at least 2 in training"):
        check_gradients(net, X[:1], y[:1])
    assert check_gradients(net, X[:1], y[:1], training=False).ok


def test_the_report_is_a_table():
    report = check_gradients(*problem())
    lines = repr(report).splitlines()
    assert lines[0] == "Gradients are right (rtol = 0.0001)"
    assert len(lines) == len(report.rows) + 2
    assert any("layers[0] Layer" in line and "dW" in line for line in lines)
    assert fastnn.GradientCheck is type(report)
