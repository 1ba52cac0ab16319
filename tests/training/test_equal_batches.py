"""fit takes batches of equal size: what they compute, on any threads, resumed, in banks, streamed."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from networks import bits, classifier
from strategies import problems

import fastnn
from fastnn import (
    SGD,
    Adam,
    BatchNorm,
    BCEWithLogitsLoss,
    Checkpoint,
    CrossEntropyLoss,
    Dropout,
    Identity,
    Layer,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    OneCycle,
    reference,
)
from fastnn.data import sources


def rows_of(x, t):
    return x.T, t if np.ndim(t) == 1 else t.T


@settings(max_examples=100, deadline=None)
@given(problems(), st.integers(1, 45), st.integers(1, 4), st.booleans())
def test_fit_equals_the_reference(problem, batch_size, epochs, shuffle):
    net, x, t = problem
    slow = reference.copy_of(net)
    arguments = {"epochs": epochs, "batch_size": batch_size, "shuffle": shuffle, "seed": 3}
    history = net.fit(*rows_of(x, t), **arguments)
    expected = slow.train(x, t, **arguments, equal_batches=True)
    assert history["loss"][-1] == pytest.approx(expected, rel=1e-10, abs=1e-10)
    for layer, other in zip(net.layers, slow._layers):
        np.testing.assert_allclose(layer.weights, other._W, rtol=1e-10, atol=1e-10 * max(1, np.abs(other._W).max()))
        np.testing.assert_allclose(layer.biases, other._b, rtol=1e-10, atol=1e-10 * max(1, np.abs(other._b).max()))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 90), st.integers(1, 40), st.sampled_from([SGD, Adam]), st.booleans())
def test_with_weights_stages_and_metrics_it_is_one_fit_for_each_batch(count, batch_size, optimizer, shuffle):
    rng = np.random.default_rng(0)
    X, y, weight = rng.normal(size=(count, 4)), rng.integers(0, 3, count), rng.random(count) + 0.1
    layers = [Layer(4, 6, Identity(), seed=0), Layer(6, 3, Identity(), seed=1)]
    net = NeuralNetwork(layers, CrossEntropyLoss(), 0.05, optimizer())
    twin = copy.deepcopy(net)
    order = reference.shuffled(count, 7, 0) if shuffle else np.arange(count)
    history = net.fit(X, y, batch_size=batch_size, sample_weight=weight, metrics=["accuracy"], seed=7, shuffle=shuffle)
    parts = np.array_split(order, -(-count // batch_size))
    losses, right = [], 0
    for part in parts:
        right += (twin.predict_classes(X[part]) == y[part]).sum()
        losses.append(twin.partial_fit(X[part], y[part], len(part), weight[part]) * len(part))
    assert net.allclose(twin, rtol=1e-12, atol=1e-14)
    assert history["loss"] == pytest.approx([sum(losses) / count])
    assert history["accuracy"] == pytest.approx([right / count])


@pytest.mark.parametrize("count", [1, 2, 3, 33, 65, 90, 91])
def test_partial_fit_takes_the_same_batches(count):
    net, X, y = classifier(optimizer=Adam())
    X, y = np.tile(X, (2, 1))[:count], np.tile(y, 2)[:count]
    twin = copy.deepcopy(net)
    net.fit(X, y, epochs=3, shuffle=False)
    for _ in range(3):
        twin.partial_fit(X, y)
    assert bits(net) == bits(twin)


def test_one_sample_does_not_move_the_network_as_a_whole_batch_would():
    rng = np.random.default_rng(0)
    X, y = np.ones((33, 1)), np.zeros(33)
    y[-1] = 1000.0

    def last(train):
        net = NeuralNetwork([Layer(1, 1, Identity(), init="zeros", seed=rng)], MSELoss(), 0.1)
        train(net)
        return abs(net.predict([[1.0]]).item())

    article = last(lambda net: net.train(X.T, y[None], batch_size=32))
    assert article == pytest.approx(400)  # the whole of its gradient
    assert last(lambda net: net.fit(X, y, batch_size=32, shuffle=False)) == pytest.approx(400 / 16)


@pytest.mark.parametrize("count", [1, 33, 64, 65, 203])
def test_train_keeps_the_articles_batches(count):
    rng = np.random.default_rng(1)
    net = NeuralNetwork([Layer(3, 2, Identity(), seed=0)], MSELoss(), 0.05)
    twin, x, t = copy.deepcopy(net), rng.normal(size=(3, count)), rng.normal(size=(2, count))
    net.train(x, t, batch_size=32)
    for first in range(0, count, 32):
        twin.train(x[:, first : first + 32], t[:, first : first + 32], batch_size=32)
    np.testing.assert_allclose(net.layers[0].weights, twin.layers[0].weights, rtol=1e-13)


def test_schedules_and_random_numbers_know_the_same_steps():
    counts = []
    for count in (33, 64, 65, 90):
        rng = np.random.default_rng(0)
        layers = [Dropout(0.5), Layer(4, 3, Identity(), seed=0)]
        net = NeuralNetwork(layers, CrossEntropyLoss(), OneCycle(0.1, 2 * -(-count // 32)), Adam())
        twin = reference.copy_of(net)
        X, y = rng.normal(size=(count, 4)), rng.integers(0, 3, count)
        net.fit(X, y, epochs=2, seed=5)
        counts.append(int(net.engine.state.steps[0]))
        rates = OneCycle(0.1, 2 * -(-count // 32)).rates(0, counts[-1], counts[-1] // 2)
        step = 0
        for epoch in range(2):
            for part in np.array_split(reference.shuffled(count, 5, epoch), counts[-1] // 2):
                twin.lr = rates[step]
                _, dWs, dbs, _ = twin.gradients(X[part].T, y[part], True, 5, step)
                twin._step(dWs, dbs)
                step += 1
        np.testing.assert_allclose(net.layers[1].weights, twin._layers[1]._W, rtol=1e-9)
    assert counts == [4, 4, 6, 6]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("count", [193, 205, 257])
def test_the_bits_do_not_depend_on_the_threads(count, shuffle, always_teams):
    before, results = fastnn.get_num_threads(), []
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(count, 70)), rng.integers(0, 5, count)
    try:
        for threads in (1, 2, 3):
            fastnn.set_num_threads(threads)
            layers = [Layer(70, 33, Identity(), seed=0), Layer(33, 5, Identity(), seed=1)]
            net = NeuralNetwork(layers, CrossEntropyLoss(), 0.01, Adam())
            history = net.fit(
                X, y, epochs=3, seed=3, shuffle=shuffle, validation_split=0.1, metrics=["accuracy"], verbose=0
            )
            results.append((bits(net), dict(history)))
    finally:
        fastnn.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_a_bank_takes_the_batches_of_fit():
    _, X, y = classifier()
    bank = NetworkBank([classifier(optimizer=Adam())[0] for _ in range(3)])
    twins = copy.deepcopy(bank.to_networks())
    bank.fit(X[:65], y[:65], epochs=3, seed=1)
    for k, twin in enumerate(twins):
        twin.fit(X[:65], y[:65], epochs=3, seed=1 + k)
        assert bits(bank[k]) == bits(twin)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 6))
def test_a_stream_takes_the_batches_of_the_array(count, batch_size, batches_each):
    rng = np.random.default_rng(count)
    X, y = rng.normal(size=(count, 4)), rng.integers(0, 3, count)

    class Sliced:
        shape, dtype = X.shape, X.dtype

        def __getitem__(self, which):
            return X[which]

    mine = classifier(optimizer=Adam())[0]
    other = copy.deepcopy(mine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "CHUNK_BYTES", batches_each * batch_size * (4 + 3) * 8)
        history = mine.fit(Sliced(), y, epochs=2, batch_size=batch_size, shuffle=False)
    expected = other.fit(X, y, epochs=2, batch_size=batch_size, shuffle=False)
    assert bits(mine) == bits(other)
    assert history["loss"] == pytest.approx(expected["loss"])


def test_a_chunk_of_a_few_too_many_is_parted_alike():
    mine, X, y = classifier()
    other = copy.deepcopy(mine)
    mine.fit(lambda: iter([(X[:35], y[:35]), (X[35:], y[35:])]), batch_size=32, shuffle=False)
    for part in (slice(18), slice(18, 35), slice(35, 63), slice(63, 90)):  # 18 + 17, 28 + 27
        other.partial_fit(X[part], y[part])
    assert bits(mine) == bits(other)


@pytest.mark.parametrize("count", [65, 90])
def test_a_killed_fit_goes_on(tmp_path, count):
    def start(epochs, path):
        net, X, y = classifier(optimizer=Adam())
        history = net.fit(X[:count], y[:count], epochs=epochs, seed=2, callbacks=Checkpoint(tmp_path / path))
        return bits(net), dict(history)

    start(3, "halves")
    assert start(7, "halves") == start(7, "whole")


def test_batch_norm_takes_what_fit_makes_of_65_samples():
    layers = [BatchNorm(), Layer(3, 1, Identity(), seed=0)]
    net = NeuralNetwork(layers, BCEWithLogitsLoss(), 0.1)
    X = np.random.default_rng(0).normal(size=(65, 3))
    net.fit(X, X[:, 0] > 0, batch_size=64)
    with pytest.raises(ValueError, match="batch_size is 64 of 65 samples, which leaves a batch of 1"):
        net.train(X.T, (X[:, 0] > 0)[None], batch_size=64)
