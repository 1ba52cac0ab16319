"""Steps whose gradients are the sums of those of several networks, here of one process."""

from types import SimpleNamespace

import numpy as np
import pytest

from fastnn import SGD, Adam, BatchNorm, CrossEntropyLoss, Identity, Layer, NeuralNetwork, Tanh
from fastnn.data.samples import Samples
from fastnn.engine.gradients import BatchPart
from fastnn.engine.plan import gradient_numbers

RNG = np.random.default_rng(2)
X, Y = RNG.normal(size=(12, 5)), RNG.integers(0, 3, 12)
OPTIMIZERS = {"Adam": Adam, "SGD": SGD}


def network(optimizer="Adam", tied=False, **settings):
    shared = Layer(7, 7, Tanh(), seed=4)
    middle = [shared, shared] if tied else [Layer(7, 7, Tanh(), seed=5, l2=0.1)]
    layers = [Layer(5, 7, Tanh(), seed=1), *middle, Layer(7, 3, Identity(), seed=2)]
    return NeuralNetwork(layers, CrossEntropyLoss(), 0.1, OPTIMIZERS[optimizer](), **settings)


def step(net, share, others=0.0):
    """A shared step whose sum is this network's and `others`; returns the gradients that this one gave."""
    given = []

    def add(block, parts=None):
        assert block.size == gradient_numbers(net.layers, net.dtype)
        given.append(block.copy())
        block += others

    exchange = SimpleNamespace(add=add, size=1)
    loss, penalties = net.engine.shared_step(share, exchange, 12, seed=0, step=0, lr=0.1)
    return given[0], loss, penalties


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("clip_norm", [None, 0.01])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cut", [0, 1, 5, 12])
def test_two_shares_make_the_step_of_a_batch(optimizer, clip_norm, tied, cut):
    whole = network(optimizer, tied, clip_norm=clip_norm)
    logs = whole.fit(X, Y, batch_size=12, shuffle=False, verbose=0)
    parts = []
    for rows in (slice(0, cut), slice(cut, 12)):
        count = len(X[rows])
        net = network(optimizer, tied, clip_norm=clip_norm)
        samples = Samples.of_rows(net.engine.form, X[rows], Y[rows]) if count else None
        parts.append(BatchPart(samples, np.full(count, count / 12)))
    first, second = (step(network(optimizer, tied, clip_norm=clip_norm), part)[0] for part in parts)
    for part, others in zip(parts, (second, first)):
        net = network(optimizer, tied, clip_norm=clip_norm)
        step(net, part, others)
        np.testing.assert_allclose(net.parameters, whole.parameters, rtol=0, atol=1e-12)
    assert np.isfinite(logs["loss"][0])


def test_an_exchange_that_fails_changes_nothing():
    net = network()
    before = net.parameters
    share = BatchPart(Samples.of_rows(net.engine.form, X, Y))

    def add(block, parts=None):
        raise OSError

    exchange = SimpleNamespace(add=add, size=1)
    with pytest.raises(OSError):  # noqa: PT011  # nothing else raises it
        net.engine.shared_step(share, exchange, 12, seed=0, step=0, lr=0.1)
    assert np.array_equal(net.parameters, before)
    assert net.engine.state.steps[0] == 0


def test_outputs_and_the_number_behind_the_gradients_are_the_callers():
    net = network()
    wanted, out = net.outputs(X), np.empty((12, 3))
    share = BatchPart(Samples.of_rows(net.engine.form, X, Y), None, out)
    given, _, penalties = step(net, share)
    assert np.array_equal(out, wanted)
    assert penalties > 0
    again, _, _ = step(network(), share._replace(outputs=None), np.eye(1, given.size, given.size - 1)[0] * 1e9)
    assert np.array_equal(given[:-1], again[:-1])


def test_a_network_that_normalises_batches_moves_its_averages_by_its_own_share():
    layers = [Layer(5, 7, Tanh(), seed=1), BatchNorm(), Layer(7, 3, Identity(), seed=2)]
    net = NeuralNetwork(layers, CrossEntropyLoss(), 0.1)
    before = layers[1].memory.copy()
    step(net, BatchPart(None))
    assert np.array_equal(layers[1].memory, before)
    step(net, BatchPart(Samples.of_rows(net.engine.form, X, Y)))
    assert not np.array_equal(layers[1].memory, before)
