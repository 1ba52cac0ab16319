"""Gradients in memory that is kept between calls, and the gradient as one vector."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import slopes

from fastnn import BatchNorm, Dropout, Identity, Layer, LayerNorm, LeakyReLU, MAELoss, MSELoss, NeuralNetwork, Tanh


def small(dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    layers = [Layer(3, 5, Tanh(), seed=rng), Layer(5, 2, Identity(), seed=rng)]
    return NeuralNetwork(layers, MSELoss(), 0.1, dtype=dtype)


def samples(n, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)).astype(dtype), rng.normal(size=(n, 2)).astype(dtype)


def everything(gradients):
    return [a.tobytes() for some in gradients[:3] for a in some] + [gradients.loss]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_do_not_depend_on_the_calls_before(dtype):
    net = small(dtype)
    for n in (7, 3, 7, 20, 1, 8):
        X, y = samples(n, dtype, n)
        for _ in range(2):
            assert everything(net.gradients(X.T, y.T)) == everything(copy.deepcopy(net).gradients(X.T, y.T))
            net.loss_and_gradient(X, y)
        net.fit(X, y, 1, seed=0)


def test_gradients_are_the_callers_own():
    net, (X, y) = small(), samples(9)
    first, vector = net.gradients(X.T, y.T), net.loss_and_gradient(X, y)[1]
    before, vector_before = everything(first), vector.copy()
    other = samples(9, seed=1)
    net.gradients(other[0].T, other[1].T)
    net.loss_and_gradient(*other)
    assert everything(first) == before
    assert vector.tobytes() == vector_before.tobytes()
    first.dxs[0][...] = first.dWs[0][...] = vector[...] = np.nan
    assert everything(net.gradients(X.T, y.T)) == before


def test_gradients_after_changes():
    net, (X, y) = small(), samples(9)

    def fresh():
        return everything(copy.deepcopy(net).gradients(X.T, y.T))

    net.gradients(X.T, y.T)
    net.layers[0].weights[...] *= 2
    assert everything(net.gradients(X.T, y.T)) == fresh()
    net.layers[0].act_function = LeakyReLU()
    assert everything(net.gradients(X.T, y.T)) == fresh()
    net.layers[0].trainable = False
    assert everything(net.gradients(X.T, y.T)) == fresh()
    assert not net.gradients(X.T, y.T).dWs[0].any()
    assert not net.loss_and_gradient(X, y)[1][: 4 * 5].any()
    net.layers[0].trainable = True
    net.layers[1:] = [Layer(5, 4, Tanh(), seed=5), Layer(4, 2, Identity(), seed=6)]
    assert everything(net.gradients(X.T, y.T)) == fresh()
    net._loss_function = MAELoss()
    assert everything(net.gradients(X.T, y.T)) == fresh()


def test_a_large_gradient_plan_is_not_kept(monkeypatch):
    net, (X, y) = small(), samples(50)
    net.gradients(X.T, y.T)
    assert net.engine._gradients is not None
    monkeypatch.setattr("fastnn.engine.engine._KEPT_BYTES", net.engine._gradients.nbytes)
    kept = net.engine._gradients
    net.gradients(X[:20].T, y[:20].T)
    assert net.engine._gradients is kept
    more = samples(51)
    net.gradients(more[0].T, more[1].T)
    assert net.engine._gradients is None


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_loss_and_gradient_are_those_of_gradients(dtype):
    net, (X, y) = small(dtype), samples(30, dtype)
    loss, gradient = net.loss_and_gradient(X, y)
    lists = net.gradients(X.T, y.T)
    expected = [np.concatenate([dW.T.ravel(), db.ravel()]) for dW, db in zip(lists.dWs, lists.dbs)]
    assert loss == lists.loss
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(gradient, np.concatenate(expected))
    assert loss == net.loss_and_gradient(X.tolist(), y.tolist())[0]
    assert gradient.shape == net.parameters.shape


def test_parameters_are_what_the_gradient_is_of():
    shared = Layer(3, 3, Tanh(), seed=0, bias_init="he_normal")
    net = NeuralNetwork(
        [shared, BatchNorm(), LayerNorm(), Dropout(0.5), shared, Layer(3, 2, Identity(), seed=1)], MSELoss(), 0.1
    )
    X, y = samples(8)
    start = net.parameters
    assert start.size == 12 + 6 + 6 + 8  # the shared layer once
    _, gradient = net.loss_and_gradient(X, y)
    assert gradient == pytest.approx(slopes(net, X, y), rel=1e-4, abs=1e-7)
    assert net.parameters.tobytes() == start.tobytes()
    assert np.all(net.layers[1].arrays()["running_var"] == 1)  # no parameter


def test_loss_and_gradient_serve_scipy():
    optimize = pytest.importorskip("scipy.optimize")
    net, (X, _) = small(), samples(40)
    y = np.stack([X[:, 0] * 0.5, X[:, 1] - X[:, 2]], axis=1)

    def function(vector):
        net.parameters = vector
        return net.loss_and_gradient(X, y)

    result = optimize.minimize(function, net.parameters, jac=True, method="L-BFGS-B")
    assert result.fun < 0.01
    with pytest.raises(ValueError, match=r"parameters has shape \(3,\); expected \(32,\)"):
        net.parameters = np.zeros(3)
    for X_bad, y_bad, message in ((X.T, y, "X has 40 columns"), (X, y[:5], "y has 5 rows"), (X * np.inf, y, "X holds")):
        with pytest.raises(ValueError, match=message):
            net.loss_and_gradient(X_bad, y_bad)


def test_gradients_in_many_threads():
    net = small()
    inputs = [samples(n, seed=n) for n in (3, 9, 30, 31)]
    expected = [(everything(net.gradients(X.T, y.T)), net.loss_and_gradient(X, y)[1].tobytes()) for X, y in inputs]

    def work(i):
        X, y = inputs[i % 4]
        return (everything(net.gradients(X.T, y.T)), net.loss_and_gradient(X, y)[1].tobytes()) == expected[i % 4]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(400)))
