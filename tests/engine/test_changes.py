"""A change is noticed by those whom it concerns, and costs nobody else anything."""

import copy
import pickle

import numpy as np
import pytest

from fastnn import Adam, Constant, HuberLoss, Identity, Layer, LeakyReLU, MSELoss, NeuralNetwork, Tanh
from fastnn.changes import Watched
from fastnn.engine.plan import Plan

ROW = np.ones((1, 3))


def network():
    layers = [Layer(3, 4, LeakyReLU(), seed=0), Layer(4, 4, Tanh(), seed=1), Layer(4, 2, Identity(), seed=2)]
    return NeuralNetwork(layers, HuberLoss(), 0.1)


@pytest.fixture
def read(monkeypatch):
    """The layers whose formulas were read anew."""
    layers, inner = [], Plan._formulas_of

    def watched(plan, layer):
        layers.append(layer)
        return inner(plan, layer)

    monkeypatch.setattr(Plan, "_formulas_of", watched)
    return layers


def other_optimizer(net):
    Adam().beta1 = 0.8


def new_layer(net):
    Layer(3, 4, Tanh())


def activation_of_another_network(net):
    network().layers[0].act_function.leaky_param = 0.5


def weights_of_the_network(net):
    net.layers[0].weights = np.ones((4, 3))
    net._layers[1]._b -= 1


def learning_rate(net):
    net.lr = 0.3


@pytest.mark.parametrize(
    "change", [other_optimizer, new_layer, activation_of_another_network, weights_of_the_network, learning_rate]
)
def test_what_does_not_concern_a_plan_is_not_read(change, read):
    net = network()
    net.predict(ROW)
    read.clear()
    for _ in range(3):
        change(net)
        net.predict(ROW)
        net.train(ROW.T, np.zeros((2, 1)))
    assert [layer for layer in read if layer in net.layers] == []


def test_only_the_layer_that_moved_is_read(read):
    net = network()
    before = net.predict(ROW)
    read.clear()
    net.layers[0].act_function.leaky_param = 0.9
    assert not np.array_equal(net.predict(ROW), before)
    assert read == [net.layers[0]]
    net.layers[1].act_function = Identity()
    net.layers[2].l2 = 0.1
    net.predict(ROW)
    assert read == net.layers


def test_a_change_of_the_optimiser_is_used_by_the_next_step():
    x, t = ROW.T, np.zeros((2, 1))
    net = network()
    twin = copy.deepcopy(net)
    net.train(x, t)
    twin.train(x, t)
    net.optimizer.momentum = 0.9
    net.train(x, t)
    twin.train(x, t)
    assert net.allclose(twin)  # the first step with momentum is the plain one
    net.train(x, t)
    twin.train(x, t)
    assert not net.allclose(twin)
    net.clip_norm = 1e-9
    before = net.get_weights()
    net.optimizer = type(net.optimizer)()
    net.train(x, t)
    for a, b in zip(before, net.get_weights()):
        np.testing.assert_allclose(a[0], b[0], atol=1e-8)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("make", [Identity, LeakyReLU, MSELoss, lambda: Layer(2, 3, Tanh()), network])
def test_copies_have_stamps_of_their_own(make, protocol):
    thing = make()
    for copied in (pickle.loads(pickle.dumps(thing, protocol)), copy.copy(thing), copy.deepcopy(thing)):
        if isinstance(thing, Watched):
            assert copied.stamp != thing.stamp
        else:
            assert copied.predict(ROW).shape == (1, 2)


def test_settings_are_the_only_attributes():
    assert vars(LeakyReLU(0.3)) == {"leaky_param": 0.3}
    with pytest.raises(TypeError, match=r"Identity\(\) takes no arguments"):
        Identity(0.5)


def test_a_copy_has_a_rate_of_its_own_and_a_schedule_comes_back_as_it_was_given():
    net = network()
    twin = copy.copy(net)
    net.lr = 0.3
    assert (net.lr, twin.lr) == (0.3, 0.1)
    constant = Constant(0.5)
    net.lr = constant
    assert net.lr is constant
    net.lr.lr = 0.25
    net.lr = 0.125
    assert (net.lr, constant.lr) == (0.125, 0.25)
