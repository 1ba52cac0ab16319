"""The gradient that a wide layer hands down, by which its W is not transposed: the same bits as with the transpose."""

import copy

import numpy as np
import pytest

from fastnn import Adam, BatchNorm, CrossEntropyLoss, Identity, Layer, NeuralNetwork, Tanh, set_num_threads
from fastnn.data.samples import Samples
from fastnn.engine import threads
from fastnn.kernels import recursion
from fastnn.kernels.cpu import lanes


def trained(dtype, batch_size, team, monkeypatch, wide):
    monkeypatch.setattr(recursion, "WIDE_LAYER", 1 if wide else 2**60)
    monkeypatch.setattr(threads, "WORTH_STARTING", 1)
    set_num_threads(team)
    widths, depth = (5, 5 * batch_size + 3, 5 * batch_size + 18, 5 * batch_size + 1, 3), np.random.default_rng(0)
    layers = [Layer(ins, outs, Tanh(), seed=depth) for ins, outs in zip(widths, widths[1:])]
    layers[-1].act_function = Identity()
    layers.insert(2, BatchNorm())
    net = NeuralNetwork(layers, CrossEntropyLoss(), 0.01, Adam(), dtype=dtype)
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(2 * batch_size - 5, 5)), rng.integers(0, 3, 2 * batch_size - 5)
    net.fit(X, y, epochs=2, batch_size=batch_size, shuffle=False, verbose=0)
    return net, X, y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("team", [1, 2])
@pytest.mark.parametrize("more", [0, 3])
def test_a_wide_layer_needs_no_transpose_of_its_weights(dtype, team, more, monkeypatch):
    batch_size, before = 8 * lanes(dtype) + 3 + more, threads.get_num_threads()
    try:
        (net, X, y), (twin, *_) = (trained(dtype, batch_size, team, monkeypatch, wide) for wide in (True, False))
        table = net.engine.plan()._table
        assert np.array_equal(table["flipped"] != 0, [False, True, False, True, False])  # those with a matrix, but the
        assert np.array_equal(table["Wt"] != 0, [False, False, False, False, True])  # last, of three columns
        assert np.array_equal(net.parameters, twin.parameters)
        x, t = X[:batch_size].T, y[:batch_size]
        monkeypatch.setattr(recursion, "WIDE_LAYER", 1)
        found = net.gradients(x, t)
        monkeypatch.setattr(recursion, "WIDE_LAYER", 2**60)
        expected = twin.gradients(x, t)
        for ours, theirs in zip(found.dxs, expected.dxs):
            assert np.array_equal(ours, theirs)
    finally:
        set_num_threads(before)


def test_the_first_layer_hands_a_gradient_down_where_it_is_wanted_whatever_came_before(monkeypatch):
    count = 8 * lanes("f8")
    layers = [Layer(4 * count, 5 * count, Tanh(), seed=0), Layer(5 * count, 3, Identity(), seed=1)]
    net, twin = (NeuralNetwork(copy.deepcopy(layers), CrossEntropyLoss(), 0.01) for _ in range(2))
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(4 * count, count)), rng.integers(0, 3, count)
    monkeypatch.setattr(recursion, "WIDE_LAYER", 2**60)
    expected = twin.gradients(x, t)
    monkeypatch.setattr(recursion, "WIDE_LAYER", 1)
    net.engine.gradient(Samples.of_rows(net.engine.form, x.T, t))  # without that of the inputs
    net.engine._gradients._make_room(2)  # as for a team
    for ours, theirs in zip(net.gradients(x, t).dxs, expected.dxs):
        assert np.array_equal(ours, theirs)


def test_only_wide_layers_in_batches_that_fill_vectors_are_flipped():
    width = lanes("f4")

    def flipped(ins, outs, capacity):
        return recursion.flipped_numbers(ins, outs, capacity, 1, np.dtype("f4")) > 0

    assert flipped(2048, 2048, 8 * width)
    assert not flipped(2048, 2048, 8 * width - 1)
    assert not flipped(2048, 2048, 513)
    assert flipped(32 * width, 32 * width, 8 * width)
    assert not flipped(32 * width - 1, 2048, 8 * width)
