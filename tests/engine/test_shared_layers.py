"""A layer that stands three times in a network: one set of weights, in gradients, batches and files."""

import numpy as np
import pytest

from fastnn import SGD, Identity, Layer, MSELoss, NeuralNetwork, Tanh, load

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))


def network(optimizer=None):
    shared = Layer(4, 4, Tanh(), seed=1)
    layers = [Layer(3, 4, Tanh(), seed=0), shared, shared, shared, Layer(4, 2, Identity(), seed=2)]
    return NeuralNetwork(layers, MSELoss(), 0.05, optimizer)


def slopes(net, e=1e-6):
    """The gradient by finite differences."""
    at, found = net.parameters, []
    for i in range(at.size):
        losses = []
        for sign in (1, -1):
            moved = at.copy()
            moved[i] += sign * e
            net.parameters = moved
            losses.append(net.evaluate(X, Y)["loss"])
        found.append((losses[0] - losses[1]) / (2 * e))
    net.parameters = at
    return np.array(found)


@pytest.mark.parametrize("optimizer", [None, SGD(momentum=0.9)])
def test_a_step_of_a_batch_is_one_with_the_sum_of_its_gradients(optimizer):
    net = network(optimizer)
    before, gradient = net.parameters, net.loss_and_gradient(X, Y)[1]
    np.testing.assert_allclose(gradient, slopes(net), atol=1e-8)
    net.train(X.T, Y.T, batch_size=8)
    np.testing.assert_allclose(net.parameters, before - 0.05 * gradient, rtol=0, atol=1e-14)


def test_online_each_place_takes_its_step_as_in_the_article():
    net = network()
    layers, x, t = net.layers, X[:1].T.copy(), Y[:1].T.copy()
    twin = network()
    xs = [x]
    for layer in twin.layers:
        xs.append(layer.forward_pass(xs[-1]))
    dx = 2 * (xs[-1] - t) / t.size
    for layer, below in zip(reversed(twin.layers), reversed(xs[:-1])):
        y = layer._W @ below + layer._b
        db = layer.act_function.df(y) * dx
        dx = layer._W.T @ db
        layer._W -= 0.05 * db @ below.T
        layer._b -= 0.05 * db
    net.train(x, t)
    np.testing.assert_allclose(net.parameters, twin.parameters, rtol=1e-12)
    assert layers[1] is layers[3]


def test_a_file_keeps_it_one(tmp_path):
    net = network()
    net.save(tmp_path / "net.safetensors")
    twin = load(tmp_path / "net.safetensors")
    assert twin.layers[1] is twin.layers[2] is twin.layers[3]
    net.fit(X, Y, epochs=2, seed=0)
    twin.fit(X, Y, epochs=2, seed=0)
    assert twin.parameters.tobytes() == net.parameters.tobytes()
