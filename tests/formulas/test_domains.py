"""Targets that a loss does not take are refused at every door, before anything changes."""

import numpy as np
import pytest
from networks import bits

from fastnn import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Identity,
    Layer,
    LossFunction,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    PoissonNLLLoss,
    SoftCrossEntropyLoss,
    Tanh,
)
from fastnn.formulas.domain import Domain

X = np.random.default_rng(0).normal(size=(40, 2))
SIGNS = np.where(X[:, :1] > 0, 1.0, -1.0)
SIGNS[0] = -1


class Positive(LossFunction):
    target = "values"
    domain = Domain(lowest=0.5, cure="add one")

    def loss(self, values, expected):
        return np.sum((values - expected) ** 2)

    def dloss(self, values, expected):
        return 2 * (values - expected)


def network(loss, outs, dtype="float64"):
    layers = [Layer(2, 4, Tanh(), seed=0), Layer(4, outs, Identity(), seed=1)]
    return NeuralNetwork(layers, loss, 0.01, dtype=dtype)


BAD = [
    (BCEWithLogitsLoss(), SIGNS, r"holds -1.0 at sample 0, output 0.*from 0 to 1.*\(y \+ 1\) / 2"),
    (BCEWithLogitsLoss(), np.full((40, 1), 2), "holds 2.0 at sample 0.*CrossEntropyLoss"),
    (BCEWithLogitsLoss(), np.full((40, 3), 1.1), "holds 1.1.* at sample 0, output 0"),
    (PoissonNLLLoss(), np.full((40, 1), -1), "holds -1.0 .*at least 0.*counts"),
    (SoftCrossEntropyLoss(), np.full((40, 3), 1.0), "adds up to 3 at sample 0.*probabilities"),
    (SoftCrossEntropyLoss(), np.tile([1.5, -0.5, 0.0], (40, 1)), "holds 1.5 at sample 0"),
    (SoftCrossEntropyLoss(), np.tile([0.5, 0.4, 0.0], (40, 1)), "adds up to 0.9 at sample 0"),
    (Positive(), np.zeros((40, 2)), "y.* holds 0.0|holds 0.0 at sample 0.*Positive takes targets of at least 0.5: add"),
]

DOORS = {
    "fit": lambda net, y: net.fit(X, y),
    "partial_fit": lambda net, y: net.partial_fit(X, y),
    "validation": lambda net, y: net.fit(X, np.full(y.shape, 1 / y.shape[1]), validation_data=(X, y)),
    "stream": lambda net, y: net.fit(iter([(X, y)])),
    "evaluate": lambda net, y: net.evaluate(X, y),
    "train": lambda net, y: net.train(X.T, y.T),
    "a column": lambda net, y: net.train(X[:1].T.copy(), y[:1].T.astype(net.dtype)),
    "an integer column": lambda net, y: net.train(X[:1].T.copy(), np.ascontiguousarray(y[:1].T)),
    "loss": lambda net, y: net.loss(np.zeros(y.T.shape), y.T),
    "gradients": lambda net, y: net.gradients(X.T, y.T),
    "loss_and_gradient": lambda net, y: net.loss_and_gradient(X, y),
    "find_lr": lambda net, y: net.find_lr(X, y),
    "bank": lambda net, y: NetworkBank([net]).fit(X, y),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("loss", "y", "message"), BAD)
def test_targets_outside_the_domain(loss, y, message, door):
    if door == "validation" and isinstance(loss, Positive):
        pytest.skip("its other targets are outside too")
    net = network(loss, y.shape[1])
    before = bits(net)
    with pytest.raises(ValueError, match=message):
        DOORS[door](net, y)
    assert bits(net) == before
    assert int(net.engine.state.steps[0]) == 0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_rounding_and_smoothing_make_is_taken(dtype):
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(50), size=40).astype(np.float32)
    network(SoftCrossEntropyLoss(), 50, dtype).fit(X, shares)
    network(SoftCrossEntropyLoss(), 3, dtype).fit(X, np.tile([0.33, 0.33, 0.33], (40, 1)))
    smooth = 0.9 * (SIGNS > 0) + 0.05
    network(BCEWithLogitsLoss(), 1, dtype).fit(X, smooth)
    network(BCEWithLogitsLoss(), 1, dtype).fit(X, SIGNS > 0)
    network(BCEWithLogitsLoss(), 1, dtype).train(X[:1].T.copy(), np.array([[1 + 1e-7]]))
    network(PoissonNLLLoss(), 1, dtype).fit(X, np.arange(40))
    network(CrossEntropyLoss(0.1), 3, dtype).fit(X, np.arange(40) % 3)
    network(MSELoss(), 1, dtype).fit(X, 1e3 * SIGNS)


def test_the_domain_is_the_class_s():
    with pytest.raises(TypeError, match="domain cannot be set on one object"):
        BCEWithLogitsLoss().domain = None
