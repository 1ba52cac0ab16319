"""Classes of one's own: what the kernels compile is what the text says, or it is refused with the reason."""

import numpy as np
import pytest

import fastnn
from fastnn import (
    SGD,
    ActivationFunction,
    CrossEntropyLoss,
    ElementwiseLoss,
    Identity,
    Layer,
    LossFunction,
    MSELoss,
    NeuralNetwork,
    Optimizer,
    Schedule,
    Tanh,
    reference,
)
from fastnn.formulas.component import Component, built_in
from fastnn.layers.stage import Stage

RNG = np.random.default_rng(0)
X, VALUES, CLASSES = RNG.normal(size=(3, 20)), RNG.normal(size=(2, 20)), RNG.integers(0, 2, 20)


def network(act=None, loss=None, lr=0.1, optimizer=None):
    layers = [Layer(3, 4, act or Tanh(), seed=0), Layer(4, 2, Identity(), seed=1)]
    return NeuralNetwork(layers, loss or MSELoss(), lr, optimizer)


class TwiceAsFar(SGD):  # is_plain_descent is inherited, and no longer true
    def update(self, w, g, lr, step, v):
        return w - 2 * lr * g, v


class Sum(MSELoss):  # f and df are inherited
    def loss(self, values, expected):
        return np.sum((values - expected) ** 2)

    def dloss(self, values, expected):
        return 2 * (values - expected)


class Square(CrossEntropyLoss):  # row is inherited
    def loss(self, values, target_class):
        return values[target_class, 0] ** 2

    def dloss(self, values, target_class):
        d = np.zeros_like(values)
        d[target_class, 0] = 2 * values[target_class, 0]
        return d


class OfClasses(ElementwiseLoss):
    target = "class"

    def f(self, v, t):
        return (v - t) ** 2

    def df(self, v, t):
        return 2 * (v - t)


class Clipped(ActivationFunction):
    def f(self, x):
        return np.clip(x, -0.5, 0.5) + np.heaviside(x, 0.5)

    def df(self, x):
        return np.where((x > -0.5) & (x < 0.5), 1, 0)


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize(
    ("net", "targets"),
    [
        (lambda: network(optimizer=TwiceAsFar()), VALUES),
        (lambda: network(loss=Sum()), VALUES),
        (lambda: network(loss=Square()), CLASSES),
        (lambda: network(loss=OfClasses()), CLASSES),
        (lambda: network(act=Clipped()), VALUES),
    ],
)
def test_what_a_subclass_writes_is_what_counts(net, targets, batch_size):
    net = net()
    slow = reference.copy_of(net)
    assert net.train(X, targets, batch_size=batch_size) == pytest.approx(slow.train(X, targets, batch_size=batch_size))
    for layer, expected in zip(net.layers, slow._layers):
        np.testing.assert_allclose(layer.weights, expected._W, rtol=1e-12, atol=1e-14)


class Softmax(ActivationFunction):
    def f(self, x):
        return np.exp(x) / np.sum(np.exp(x))

    def df(self, x):
        return self.f(x) * (1 - self.f(x))


class Running(ActivationFunction):
    def f(self, x):
        return np.cumsum(x) * 1.0

    def df(self, x):
        return x * 0 + 1


class FlatGradient(LossFunction):
    def loss(self, values, expected):
        return np.sum((values - expected) ** 2)

    def dloss(self, values, expected):
        return (2 * (values - expected))[:, 0]


class TooFar(LossFunction):
    def loss(self, values, target_class):
        return -values[target_class + 5, 0]

    def dloss(self, values, target_class):
        return values * 0


class Backwards(Schedule):
    def factor(self, t):
        return t * 0 - 1


class StateOfNames(Optimizer):
    state = ["a"]

    def update(self, w, g, lr, step, a):
        return w, a


def kernel(address, W):
    pass


class MoreTrainedThanThere(Stage):
    rows, trained, start, kernels = ("gamma",), 2, (1.0,), (kernel, kernel)

    def forward(self, x, training, key):
        return x, None

    def backward(self, dx, kept):
        return dx, []


class WithoutKernels(MoreTrainedThanThere):
    trained, kernels = 1, None


class WithoutInit(MoreTrainedThanThere):
    trained = 1

    def __init__(self):
        pass


class StartTooShort(MoreTrainedThanThere):
    trained, start = 1, ()


def staged(stage):
    return NeuralNetwork([Layer(3, 4, Tanh()), stage(), Layer(4, 2, Tanh())], MSELoss(), 0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: network(act=Softmax()), "Softmax.f makes something else .* take Identity, and CrossEntropyLoss"),
        (lambda: network(act=Running()), "Running.f makes something else of whole arrays"),
        (
            lambda: network(loss=FlatGradient()).train(X, VALUES),
            r"FlatGradient.dloss cannot be compiled: .* it returns an array of 1 dimension",
        ),
        (lambda: network(loss=TooFar()).train(X, CLASSES), "TooFar.loss, .* raised IndexError: index 5"),
        (lambda: network(lr=Backwards(0.1)).train(X, VALUES), "Backwards.* gives the rate -0.1 at step 0"),
        (lambda: network(optimizer=StateOfNames()), r"StateOfNames.state is \['a'\]; expected a dict"),
        (lambda: staged(MoreTrainedThanThere), "trained is 2; expected how many of its 1 rows"),
        (lambda: staged(WithoutKernels), "kernels is None; expected a tuple of two plain functions"),
        (lambda: staged(WithoutInit), r"has not called super\(\).__init__\(\)"),
        (lambda: staged(StartTooShort), r"start is \(\); expected a tuple with a number for each of its 1 rows"),
        (lambda: setattr(Tanh(), "f", abs), "Tanh.f is a method, and the kernels compile that of the class"),
    ],
)
def test_what_the_kernels_cannot_do_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_constant_that_has_changed_is_read_anew_by_a_new_class():
    scope = {"np": np, "ActivationFunction": ActivationFunction, "A": 1.25}
    exec("def helper(x):\n    return x * A", scope)
    cell = """
class Act(ActivationFunction):
    def f(self, x):
        return helper(x)
    def df(self, x):
        return x * 0 + A
"""
    for value in (1.25, 9.75):
        scope["A"] = value
        exec(cell, scope)
        layer = Layer(2, 2, scope["Act"](), seed=0)
        net = NeuralNetwork([layer], MSELoss(), 0.1)
        np.testing.assert_allclose(net.forward_pass(X[:2]), layer.forward_pass(X[:2]), rtol=1e-13)


@pytest.mark.parametrize("name", built_in(Component))
def test_every_built_in_class_is_exported_and_has_an_example(name):
    cls = built_in(Component)[name]
    if not cls.__module__.startswith("fastnn.sklearn."):  # a door's own are not for users to name
        assert getattr(fastnn, name) is cls
        assert name in fastnn.__all__
    assert type(cls.example()) is cls
