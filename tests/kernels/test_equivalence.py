"""The kernels compute what the NumPy reference computes, on random networks."""

import copy

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from strategies import problems

from fastnn import MSELoss, NeuralNetwork, Tanh, reference


def assert_same_parameters(net, slow, tolerance):
    for layer, expected in zip(net.layers, slow._layers):
        for ours, theirs in ((layer.weights, expected._W), (layer.biases, expected._b)):
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * max(1, np.abs(theirs).max()))


def trained(slow, x, t, **arguments):
    """The loss of the reference, in training that does not leap: there the last digits would decide."""
    with np.errstate(all="ignore"):
        loss = slow.train(x, t, **arguments)
    assume(loss < 1e3 and all(np.abs(layer._W).max() < 100 for layer in slow._layers))
    return loss


@settings(max_examples=120, deadline=None)
@given(problems(), st.integers(1, 45), st.integers(1, 4), st.booleans())
def test_float64_training_equals_the_reference(problem, batch_size, epochs, shuffle):
    net, x, t = problem
    slow = reference.copy_of(net)
    arguments = {"epochs": epochs, "batch_size": batch_size, "shuffle": shuffle, "seed": 3}
    expected = trained(slow, x, t, **arguments)
    loss = net.train(x, t, **arguments)
    assert loss == pytest.approx(expected, rel=1e-10, abs=1e-10)
    assert_same_parameters(net, slow, 1e-10)
    np.testing.assert_allclose(net.forward_pass(x), slow.forward_pass(x), rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(1, 45), st.integers(1, 2))
def test_float32_training_stays_within_1e_4(problem, batch_size, epochs):
    net, x, t = problem
    slow = reference.copy_of(net)
    fast = NeuralNetwork(net.layers, net.loss_function, net.lr, dtype="float32")
    trained(slow, x, t, epochs=epochs, batch_size=batch_size)
    fast.train(x, t, epochs=epochs, batch_size=batch_size)
    assert_same_parameters(fast, slow, 1e-4)


@settings(max_examples=80, deadline=None)
@given(problems())
def test_gradients_equal_the_reference(problem):
    net, x, t = problem
    before = copy.deepcopy(net)
    ours, theirs = net.gradients(x, t), reference.copy_of(net).gradients(x, t)
    for our_list, their_list in zip(ours[:3], theirs[:3]):
        assert [a.shape for a in our_list] == [a.shape for a in their_list]
        for a, b in zip(our_list, their_list):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    assert ours.loss == pytest.approx(theirs[3], rel=1e-12, abs=1e-12)
    assert net.loss(net.forward_pass(x), t) == pytest.approx(theirs[3], rel=1e-10, abs=1e-12)
    for a, b in zip(net.layers, before.layers):
        np.testing.assert_array_equal(a.weights, b.weights)


@settings(max_examples=40, deadline=None)
@given(problems())
def test_many_columns_equal_single_calls_bit_for_bit(problem):
    net, x, t = problem
    twin = copy.deepcopy(net)
    n = x.shape[1]
    losses = [twin.train(x[:, i : i + 1], t[..., i : i + 1] if np.ndim(t) == 2 else t[i]) for i in range(n)]
    assert net.train(x, t) == pytest.approx(np.mean(losses), rel=1e-12, abs=1e-14)
    for a, b in zip(net.layers, twin.layers):
        np.testing.assert_array_equal(a.weights, b.weights)
        np.testing.assert_array_equal(a.biases, b.biases)


def test_the_reference_is_the_article_loop():
    rng = np.random.default_rng(0)
    layers = [reference.Layer(3, 5, Tanh(), seed=rng), reference.Layer(5, 2, Tanh(), seed=rng)]
    net = reference.NeuralNetwork(layers, MSELoss(), 0.1)
    twin = copy.deepcopy(net)
    x, t = rng.normal(size=(3, 30)), rng.normal(size=(2, 30))
    net.train(x, t)
    for i in range(30):
        twin.train_column(x[:, i : i + 1], t[:, i : i + 1])
    for a, b in zip(net._layers, twin._layers):
        np.testing.assert_allclose(a._W, b._W, rtol=1e-14)


def test_shuffling_visits_every_sample_once_an_epoch_and_differs_between_epochs():
    orders = [reference.shuffled(50, seed, epoch) for seed in (0, 1) for epoch in range(3)]
    for order in orders:
        assert sorted(order) == list(range(50))
    assert len({tuple(order) for order in orders}) == 6


def test_shuffled_order_is_uniform():
    # each of the 24 orders of 4 samples, over 4,800 epochs: chi squared with 23 degrees of freedom
    counts = {}
    for epoch in range(4800):
        order = tuple(reference.shuffled(4, 7, epoch))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 50
