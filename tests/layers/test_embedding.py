"""Vectors of categories: the same as a layer on one-hot columns."""

import copy
import pickle

import numpy as np
import pytest
from networks import bits

import fastnn
from fastnn import Adam, Embedding, Identity, Layer, MSELoss, NeuralNetwork, Tanh, check_gradients, reference

COUNTS, SIZE = (5, 3), 2


def network(dtype="float64", optimizer=None, **more):
    rng = np.random.default_rng(0)
    layers = [Embedding(COUNTS, SIZE, seed=1), Layer(7, 6, Tanh(), seed=rng), Layer(6, 1, Identity(), seed=rng)]
    return NeuralNetwork(layers, MSELoss(), 0.05, optimizer, dtype=dtype, **more)


def data(n=40, seed=0):
    """Inputs (7, n): the numbers of categories, -1 and too large ones among them, with anything beside them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(7, n)) * 100
    x[0], x[2] = rng.integers(-1, 6, n), rng.integers(-1, 4, n)
    x[4:] = rng.normal(size=(3, n))
    return x, rng.normal(size=(1, n))


def one_hot(x):
    """The one-hot columns of the same samples, and the other inputs."""
    parts = [(x[0] == np.arange(5)[:, None]), (x[2] == np.arange(3)[:, None])]
    return np.concatenate([*parts, x[4:]]).astype(float)


@pytest.mark.parametrize("optimizer", [None, Adam()])
@pytest.mark.parametrize("batch_size", [1, 8, 40])
def test_it_trains_as_a_layer_on_one_hot_columns(optimizer, batch_size):
    net, (x, t) = network(optimizer=optimizer), data()
    first = Layer(11, 7, Identity(), init="zeros")
    table = net.layers[0].table
    W = np.zeros((7, 11))
    W[:2, :5], W[2:4, 5:8], W[4:, 8:] = table[:5].T, table[5:].T, np.eye(3)
    first.weights = W
    twin = NeuralNetwork([first, *copy.deepcopy(net.layers[1:])], MSELoss(), 0.05, optimizer)
    np.testing.assert_allclose(net.forward_pass(x), twin.forward_pass(one_hot(x)), rtol=1e-12)
    given, wanted = net.gradients(x, t), twin.gradients(one_hot(x), t)
    d = np.concatenate([given.dWs[0], given.dbs[0]], axis=1).T.ravel()[: 8 * SIZE].reshape(8, SIZE)
    np.testing.assert_allclose(d[:5], wanted.dWs[0][:2, :5].T, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(d[5:], wanted.dWs[0][2:4, 5:8].T, rtol=1e-10, atol=1e-14)
    assert not given.dxs[0][:4].any()
    slow = reference.copy_of(net)
    for some in (net, slow):
        some.train(x, t, epochs=3, batch_size=batch_size)
    np.testing.assert_allclose(net.forward_pass(x), slow.forward_pass(x), rtol=1e-9)


def test_gradients_are_right():
    x, t = data()
    report = check_gradients(network(), x.T, t.T)
    assert any(row.what == "dvectors" and row.compared > 5 for row in report.rows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_comes_back(tmp_path, dtype):
    net, (x, t) = network(dtype, Adam()), data()
    net.train(x, t, epochs=2, batch_size=8)
    net.save(tmp_path / "a")
    for twin in (fastnn.load(tmp_path / "a"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert bits(twin) == bits(net)
        twin.train(x, t, epochs=2, batch_size=8)
    net.train(x, t, epochs=2, batch_size=8)
    assert bits(twin) == bits(net)


def test_a_network_of_one_hundred_thousand_categories_is_small():
    net = NeuralNetwork([Embedding(100_000), Layer(10, 1, Identity())], MSELoss(), 0.1, Adam(), dtype="float32")
    assert net.layers[0].memory.nbytes < 2 * 100_000 * 8 * 4
    assert net.layers[0].table.shape == (100_000, 8)
    x = np.zeros((10, 3), np.float32)
    x[0] = [0, 99_999, 100_000]
    out = net.layers[0].forward_pass(x)
    np.testing.assert_array_equal(out[:8, :2], net.layers[0].table[[0, -1]].T)
    assert not out[:8, 2].any()


@pytest.mark.parametrize("categories", [0, [], "a", [3, -1], 2.5, [2**25], None])
def test_what_are_no_counts_is_refused(categories):
    with pytest.raises(ValueError, match="categories is"):
        Embedding(categories)


def test_too_few_inputs_are_refused():
    with pytest.raises(ValueError, match="has 5 inputs; expected 8 for each of 1 columns"):
        NeuralNetwork([Embedding(3), Layer(5, 1, Identity())], MSELoss(), 0.1)
