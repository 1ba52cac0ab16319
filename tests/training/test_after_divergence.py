"""Weights that are set after training left the finite numbers train as if nothing had happened."""

import copy
import math

import numpy as np
import pytest

from fastnn import SGD, Adam, Identity, Layer, MSELoss, NeuralNetwork, Tanh

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(2, 40)), rng.normal(size=(3, 40))


def one_by_one(net):
    return [net.train(X[:, i : i + 1], Y[:, i : i + 1]) for i in range(40)][-1]


def in_one_call(net):
    return net.train(X, Y, epochs=3)


def in_batches(net):
    return net.train(X, Y, epochs=3, batch_size=16)


def fitted(net):
    return net.fit(X.T, Y.T, epochs=3, verbose=0, seed=0)["loss"]


def assign(net, weights):
    for layer, (W, b) in zip(net.layers, weights):
        layer.weights, layer.biases = W, b


def write(net, weights):
    for layer, (W, b) in zip(net.layers, weights):
        layer.weights[...], layer.biases[...] = W, b


@pytest.mark.filterwarnings("ignore:training left:RuntimeWarning")
@pytest.mark.parametrize("optimizer", [SGD, Adam])
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("put", [assign, write, NeuralNetwork.set_weights])
@pytest.mark.parametrize("diverge", [one_by_one, in_one_call, in_batches])
@pytest.mark.parametrize("go_on", [one_by_one, in_batches, fitted])
def test_new_weights_train_as_in_a_new_network(go_on, diverge, put, l2, optimizer):
    layers = [Layer(2, 4, Tanh(), seed=1, l2=l2), Layer(4, 3, Identity(), seed=2, l2=l2)]
    net = NeuralNetwork(layers, MSELoss(), 0.05, optimizer())
    twin = copy.deepcopy(net)
    net.lr = 1e300
    assert not math.isfinite(diverge(net))
    net.lr = 0.05
    put(net, twin.get_weights())
    assert go_on(net) == go_on(twin)


def test_weights_that_are_written_before_a_loss_has_shown_the_divergence_can_be_fitted():
    net = NeuralNetwork([Layer(2, 3, Identity(), seed=0, l2=0.1)], MSELoss(), 1e300)
    twin = copy.deepcopy(net)
    assert math.isfinite(net.train(X[:, :1] * 1e10, Y[:, :1]))
    assert not np.isfinite(net.layers[0].weights).any()
    write(net, twin.get_weights())
    net.lr = twin.lr = 0.1
    assert fitted(net) == fitted(twin)
