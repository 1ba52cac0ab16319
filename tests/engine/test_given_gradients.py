"""A gradient as a vector, and the step from one: together the bits of a training step."""

import copy

import numpy as np
import pytest

import fastnn
from fastnn import (
    SGD,
    Adam,
    AdamW,
    BatchNorm,
    Dropout,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    MSELoss,
    NeuralNetwork,
    RProp,
    Tanh,
)
from fastnn.data.samples import Samples

OPTIMIZERS = [SGD(), SGD(momentum=0.9, nesterov=True), Adam(), AdamW()]
OPTIONS = {
    "nothing": ({}, {}),
    "l1": ({"l1": 0.01}, {}),
    "l2 and max_norm": ({"l2": 0.1, "max_norm": 0.8}, {}),
    "clip_norm": ({"l2": 0.1}, {"clip_norm": 0.3}),
    "clip_value": ({}, {"clip_value": 0.01}),
    "both": ({"l1": 0.01}, {"clip_norm": 0.3, "clip_value": 0.05}),
}


@pytest.fixture(params=[1, 2])
def team(request, always_teams):
    """The number of threads, for work that would otherwise be too small for two."""
    before = fastnn.get_num_threads()
    fastnn.set_num_threads(request.param)
    yield request.param
    fastnn.set_num_threads(before)


def network(optimizer, dtype, option="nothing", stages=False, frozen=False):
    of_layers, of_network = OPTIONS[option]
    rng = np.random.default_rng(0)
    layers = [
        Layer(5, 21, Tanh(), seed=rng, **of_layers),
        *([BatchNorm(), Dropout(0.2), LayerNorm()] if stages else []),
        Layer(21, 7, LeakyReLU(), seed=rng, trainable=not frozen, **of_layers),
        *([BatchNorm()] if stages else []),
        Layer(7, 3, Identity(), seed=rng, **of_layers),
    ]
    if stages and frozen:
        layers[1].trainable = False
    return NeuralNetwork(layers, MSELoss(), 0.05, optimizer, dtype=dtype, **of_network)


def samples(n, net):
    rng = np.random.default_rng(n)
    return rng.normal(size=(net.layers[0].ins, n)), rng.normal(size=(net.layers[-1].outs, n))


def own_step(net, x, t, seed=0, **options):
    """What ``net.train(x, t, batch_size=n, seed=seed)`` does, with the gradient seen on the way: (loss, gradient)."""
    engine = net.engine
    loss, gradient = engine.gradient(Samples.of_columns(engine.form, x, t), seed=seed, **options)
    penalties = engine.step(gradient)
    return loss + penalties, gradient


def everything(net):
    state = net.engine.state
    arrays = [a for layer in net.layers for a in layer.arrays().values()]
    return [a.tobytes() for a in arrays] + [numbers.tobytes() for numbers in state.numbers] + [int(state.steps[0])]


def assert_same_steps(net, twin, n, steps=3):
    x, t = samples(n, net)
    for seed in range(steps):
        expected = twin.train(x, t, batch_size=n, seed=seed)
        loss, _ = own_step(net, x, t, seed)
        assert loss == pytest.approx(expected, rel=1e-12 if net.dtype == np.float64 else 1e-6)
        assert everything(net) == everything(twin)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("option", OPTIONS)
def test_a_step_from_a_gradient_has_the_bits_of_a_training_step(option, optimizer, dtype, team):
    for stages, frozen in ((False, False), (True, False), (False, True), (True, True)):
        net, twin = (network(optimizer, dtype, option, stages, frozen) for _ in range(2))
        for n in (2, 33):
            assert_same_steps(net, twin, n)
        if team == 2:
            assert net.engine._gradients._team == twin.engine.plan()._team == 2


def test_the_largest_batch_of_the_same_bits_and_beyond():
    net, twin = network(None, "float64"), network(None, "float64")
    assert_same_steps(net, twin, 256)
    x, t = samples(600, net)  # the product adds up a batch in pieces of 256, each of which changes the weights
    own_step(net, x, t)
    twin.train(x, t, batch_size=600)
    assert twin.allclose(net, rtol=1e-12, atol=1e-14)
    net, twin = network(Adam(), "float64"), network(Adam(), "float64")
    assert_same_steps(net, twin, 600)  # an optimiser sees the sum of the pieces


def test_a_single_sample():
    net, twin = network(Adam(), "float64"), network(Adam(), "float64")
    assert_same_steps(net, twin, 1)
    net, twin = network(None, "float64"), network(None, "float64")
    x, t = samples(1, net)
    own_step(net, x, t)
    twin.train(x, t, batch_size=1)  # the article's loop: it rounds lr * x, and then multiplies by db
    assert twin.allclose(net, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("training", [0, 1, 2])
def test_gradients_do_not_depend_on_the_threads(dtype, training, always_teams):
    before, found = fastnn.get_num_threads(), []
    weights = np.linspace(0.5, 2.0, 301)
    try:
        for count in (1, 2, 3):
            fastnn.set_num_threads(count)
            net = network(None, dtype, stages=True)
            x, t = samples(301, net)
            plan = net.engine._gradient_plan(301)
            loss, gradient = plan.vector(Samples.of_columns(net.engine.form, x, t), weights, training, 7)
            assert plan._team == count
            lists = net.gradients(x, t, training=True, seed=5)
            found.append([loss, gradient.tobytes(), lists.loss, *(a.tobytes() for some in lists[:3] for a in some)])
    finally:
        fastnn.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_weights_of_samples():
    net, weights = network(None, "float64"), np.linspace(0.0, 2.0, 12)
    x, t = samples(12, net)
    single = [net.loss_and_gradient(x.T[i : i + 1], t.T[i : i + 1]) for i in range(12)]
    loss, gradient = net.engine.gradient(Samples.of_columns(net.engine.form, x, t), weights)
    assert loss == pytest.approx(sum(w * one for w, (one, _) in zip(weights, single)) / 12)
    np.testing.assert_allclose(gradient, sum(w * g for w, (_, g) in zip(weights, single)) / 12, atol=1e-14)
    twin = copy.deepcopy(net)
    twin.fit(x.T, t.T, batch_size=12, sample_weight=weights, shuffle=False, seed=0, verbose=0)
    own_step(net, x, t, weights=weights)
    assert everything(net) == everything(twin)


def test_a_frozen_layer_has_no_gradient():
    net = network(None, "float64", stages=True, frozen=True)
    x, t = samples(9, net)
    _, gradient = net.loss_and_gradient(x.T, t.T)
    first = 6 * 21
    assert gradient[:first].any()
    assert not gradient[first : first + 2 * 21].any()  # gamma and beta of the frozen normalisation
    before = net.parameters
    net.engine.step(np.ones_like(gradient), 0.1)
    moved = net.parameters != before
    assert moved[:first].all()
    assert not moved[first : first + 2 * 21].any()
    np.testing.assert_array_equal(net.loss_and_gradient(x.T, t.T)[1][first : first + 2 * 21], 0)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, RProp()], ids=repr)
def test_a_layer_that_stands_twice_gets_its_whole_gradient_once(optimizer):
    shared = Layer(4, 4, Tanh(), seed=0)
    net = NeuralNetwork([shared, shared, Layer(4, 2, Identity(), seed=1)], MSELoss(), 0.05, optimizer)
    x, t = samples(9, net)
    W, b, state = shared.weights.copy(), shared.biases.copy(), {}
    for step in (1.0, 2.0, 3.0):
        lists = net.gradients(x, t)
        for name, w, g in (("W", W, lists.dWs[0] + lists.dWs[1]), ("b", b, lists.dbs[0] + lists.dbs[1])):
            numbers = state.get(name) or [np.full_like(w, start) for start in optimizer.state.values()]
            w[...], *state[name] = optimizer.update(w, g, 0.05, step, *numbers)
        if isinstance(optimizer, AdamW):  # its decay is due at each place
            W, b = W - 0.05 * 0.01 * W, b - 0.05 * 0.01 * b
        own_step(net, x, t)
        np.testing.assert_allclose(shared.weights, W, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(shared.biases, b, rtol=1e-9, atol=1e-12)


def test_nothing_of_an_overflow_stays_behind():
    net = network(Adam(), "float64", "clip_norm")
    x, t = samples(9, net)
    for layer in net.layers:
        layer.weights[...] *= 1e200
    with np.errstate(all="ignore"):
        net.loss_and_gradient(x.T, t.T)
    fresh = network(Adam(), "float64", "clip_norm")
    for layer, other in zip(net.layers, fresh.layers):
        layer.weights[...], layer.biases[...] = other.weights, other.biases
    gradient = np.linspace(-1, 1, net.parameters.size)
    for each in (net, fresh):
        each.engine.step(gradient, 0.1)
    assert everything(net) == everything(fresh)


@pytest.mark.parametrize("weights", [np.ones(2), np.ones(0), np.full(9, np.nan), -np.ones(9), np.ones((9, 2))])
def test_weights_that_do_not_fit_are_refused(weights):
    net = network(None, "float64")
    with pytest.raises((ValueError, TypeError), match="weights"):
        net.engine.gradient(Samples.of_columns(net.engine.form, *samples(9, net)), weights)


def test_weights_of_any_kind_are_taken_as_numbers():
    net = network(None, "float64")
    some = Samples.of_columns(net.engine.form, *samples(9, net))
    expected = net.engine.gradient(some, np.arange(9.0))
    for weights in (np.arange(9), np.arange(9, dtype="f4"), np.arange(18.0)[::2] / 2, list(range(9))):
        loss, gradient = net.engine.gradient(some, weights)
        assert loss == expected[0]
        np.testing.assert_array_equal(gradient, expected[1])


def test_samples_of_another_network_are_refused():
    net, other = network(None, "float64"), NeuralNetwork([Layer(4, 3, Tanh())], MSELoss(), 0.1)
    for wrong in (other, network(None, "float32")):
        with pytest.raises(ValueError, match="samples do not fit"):
            net.engine.gradient(Samples.of_columns(wrong.engine.form, *samples(9, wrong)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300, 1j, "a"])
def test_vectors_that_do_not_fit_are_refused(bad):
    net = network(Adam(), "float32")
    vector = np.full(net.parameters.size, bad)
    before = everything(net)
    with pytest.raises((ValueError, TypeError), match="vector"):
        net.engine.step(vector)
    assert everything(net) == before
    with pytest.raises(ValueError, match="vector has shape"):
        net.engine.step(np.zeros(3))
