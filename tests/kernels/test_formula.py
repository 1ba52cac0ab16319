"""A user's own activation and loss: compiled without a decorator, or refused with a reason."""

import inspect
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from networks import LogCosh

from fastnn import (
    ActivationFunction,
    ElementwiseLoss,
    FormulaError,
    Identity,
    Layer,
    LeakyReLU,
    LossFunction,
    MSELoss,
    NeuralNetwork,
    reference,
)

SCALE = 1.5


def helper(x):
    return np.exp(-x * x) * SCALE


class Bell(ActivationFunction):
    """Uses attributes of every kind, a method, a module-level function and a global number."""

    def __init__(self, width, order=2, shifted=True):
        self.width, self.order, self.shifted = width, order, shifted
        self.note = "no number: never looked at"

    def inner(self, x):
        return x / self.width + self.shifted * 0.1

    def f(self, x):
        return helper(self.inner(x)) + x**self.order * 0.01

    def df(self, x):
        return -2 * self.inner(x) * helper(self.inner(x)) / self.width + self.order * x ** (self.order - 1) * 0.01


class Hinge(LossFunction):
    """Crammer and Singer's multi-class hinge; target_class as the article's cross-entropy has it."""

    def loss(self, values, target_class):
        margins = np.maximum(0, values - values[target_class, 0] + 1)
        return np.sum(margins) - 1

    def dloss(self, values, target_class):
        d = (values - values[target_class, 0] + 1 > 0) * 1.0
        d[target_class, 0] -= np.sum(d)
        return d


class Quartic(ElementwiseLoss):
    def __init__(self, weight):
        self.weight = weight

    def f(self, v, t):
        return self.weight * (v - t) ** 4

    def df(self, v, t):
        return 4 * self.weight * (v - t) ** 3


def networks(activation, loss, dtype="float64"):
    rng = np.random.default_rng(0)
    layers = [Layer(3, 5, activation, seed=rng), Layer(5, 4, Identity(), seed=rng)]
    net = NeuralNetwork(layers, loss, 0.02, dtype=dtype)
    return net, reference.copy_of(net), rng.normal(size=(3, 20)), rng


def assert_trains_like_the_reference(activation, loss, targets, dtype="float64"):
    net, slow, x, rng = networks(activation, loss, dtype)
    t = targets(rng)
    for batch_size in (1, 6):
        net.train(x, t, batch_size=batch_size)
        slow.train(x, t, batch_size=batch_size)
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    for a, b in zip(net.layers, slow._layers):
        np.testing.assert_allclose(a.weights, b._W, rtol=tolerance, atol=tolerance)


def values(rng):
    return rng.normal(size=(4, 20))


def classes(rng):
    return rng.integers(0, 4, 20)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_own_activation_and_losses(dtype):
    assert_trains_like_the_reference(Bell(2.0), MSELoss(), values, dtype)
    assert_trains_like_the_reference(LeakyReLU(), LogCosh(), values, dtype)
    assert_trains_like_the_reference(LeakyReLU(), Hinge(), classes, dtype)
    assert_trains_like_the_reference(LeakyReLU(), Quartic(0.3), values, dtype)


def test_parameters_may_change_without_compiling_again():
    act, loss = Bell(2.0), Quartic(0.3)
    net, _, x, rng = networks(act, loss)
    t = values(rng)
    net.train(x, t)
    blocks = int(net.engine.plan()._table[0]["f"])
    act.width, act.shifted, loss.weight = 0.7, False, 0.1
    slow = reference.copy_of(net)
    net.train(x, t)
    slow.train(x, t)
    assert int(net.engine.plan()._table[0]["f"]) == blocks
    np.testing.assert_allclose(net.layers[0].weights, slow._layers[0]._W, rtol=1e-10)


def test_classes_of_the_same_name_do_not_mix():
    def make(factor):
        class Scaled(ActivationFunction):
            def f(self, x):
                return x * factor

            def df(self, x):
                return x * 0 + factor

        return Scaled()

    x = np.ones((2, 1))
    for factor in (2.0, 3.0):
        layer = Layer(2, 1, make(factor), init="zeros", bias_init=lambda *_: np.ones((1, 1)))
        net = NeuralNetwork([layer], MSELoss(), 1)
        assert net.forward_pass(x)[0, 0] == factor


def test_inherited_formula_and_from_import_of_numpy_functions():
    from numpy import exp, tanh

    class Mish(ActivationFunction):
        def f(self, x):
            return x * tanh(np.log1p(exp(x)))

        def df(self, x):
            e = exp(x)
            s = tanh(np.log1p(e))
            return s + x * (1 - s**2) * e / (1 + e)

    class Louder(Mish):
        def f(self, x):
            return x * tanh(np.log1p(exp(x))) * 1.0

    assert_trains_like_the_reference(Louder(), MSELoss(), values)


class Indexing(ActivationFunction):
    def f(self, x):
        y = x * 2
        y[y < 0] = 0
        return y

    def df(self, x):
        return x


class Missing(ActivationFunction):
    def f(self, x):
        return x + self.offset

    def df(self, x):
        return x


class Foreign(ActivationFunction):
    def f(self, x):
        return sorted(inspect.getmembers(x))

    def df(self, x):
        return x


class BadLoss(LossFunction):
    def loss(self, values, expected):
        return np.linalg.nothing(values - expected)

    def dloss(self, values, expected):
        return values


@pytest.mark.parametrize(
    ("cls", "line", "reason"),
    [
        (Indexing, "y[y < 0] = 0", "setitem"),
        (Missing, "return x + self.offset", "offset"),
        (Foreign, "return sorted", ""),
    ],
)
def test_refused_activation_names_line_and_reason(cls, line, reason):
    net = NeuralNetwork([Layer(2, 1, cls())], MSELoss(), 0.1)
    before = net.layers[0].weights.copy()
    with pytest.raises(FormulaError, match=f"{cls.__name__}.f cannot be compiled") as caught:
        net.train(np.ones((2, 1)), np.ones((1, 1)))
    message = str(caught.value)
    source, start = inspect.getsourcelines(cls)
    number = start + next(i for i, text in enumerate(source) if line in text)
    assert f"{__file__}, line {number}" in message
    assert line in message
    assert reason in message
    np.testing.assert_array_equal(net.layers[0].weights, before)


def test_refused_loss_names_line_and_reason():
    net = NeuralNetwork([Layer(2, 1, Identity())], BadLoss(), 0.1)
    with pytest.raises(FormulaError, match=r"BadLoss\.loss cannot be compiled.*line \d+.*has no attribute 'nothing'"):
        net.train(np.ones((2, 1)), np.ones((1, 1)))


def test_activation_that_is_not_finite_at_zero_does_not_spread_through_the_padding():
    class Root(ActivationFunction):
        def f(self, x):
            return np.sqrt(np.abs(x))

        def df(self, x):
            return np.where(x > 0, 0.5, -0.5) / np.sqrt(np.abs(x))

    with np.errstate(divide="ignore"):
        assert_trains_like_the_reference(Root(), MSELoss(), values)


SCRIPT = """
    import numpy as np
    from numba.core import event

    compiled = []

    class Recorder(event.Listener):
        def on_start(self, e): compiled.append(str(e.data["dispatcher"]))
        def on_end(self, e): pass

    event.register("numba:compile", Recorder())
    from own_activation import Own
    from fastnn import *

    for widths in {widths}:
        layers = [Layer(a, b, Own()) for a, b in zip(widths, widths[1:])]
        net = NeuralNetwork(layers, CrossEntropyLoss(), 0.1)
        x = np.ones((widths[0], 9))
        t = np.zeros(9, int)
        net.train(x, t, batch_size=4, shuffle=True)
        net.train(x[:, :1].copy(), 0)
        net.forward_pass(x)
    print(len(compiled))
    print(compiled[:5])
"""

OWN = """
    import numpy as np
    from fastnn import ActivationFunction

    class Own(ActivationFunction):
        def __init__(self):
            self.slope = 0.3
        def f(self, x):
            return np.maximum(x, self.slope * x)
        def df(self, x):
            return np.where(x > 0, 1, self.slope)
"""


def test_nothing_is_compiled_for_another_width_or_depth_nor_in_a_second_process(tmp_path):
    import fastnn

    (tmp_path / "own_activation.py").write_text(textwrap.dedent(OWN))
    environment = {
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": f"{tmp_path}:{fastnn.__path__[0]}/..",
        "PATH": "",
    }

    def compilations(widths):
        script = textwrap.dedent(SCRIPT).format(widths=widths)
        result = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
        )
        return result.stdout.splitlines()

    first = int(compilations([[2, 3]])[0])
    assert first > 0
    both = int(compilations([[2, 3], [7, 40, 30, 5]])[0])
    again, what = compilations([[5, 9, 200, 4, 3], [1, 1]])
    assert (both, int(again)) == (0, 0), what
