"""Optimisers against PyTorch's results, the reference, and each other's limits."""

import copy
import json
import pathlib

import numpy as np
import pytest
from strategies import built_in

import fastnn
from fastnn import (
    SGD,
    Adam,
    CosineDecay,
    FormulaError,
    Identity,
    Layer,
    MSELoss,
    NeuralNetwork,
    Optimizer,
    ReLU,
    RProp,
    Tanh,
    reference,
)

GOLDEN = json.loads((pathlib.Path(__file__).parent.parent / "golden" / "torch_golden.json").read_text())["golden"]
OPTIMIZERS = built_in(Optimizer)


def torch_problem(optimizer=None, **clipping):
    """The network and the data of ``golden/torch_golden.py``."""
    rng = np.random.default_rng(7)
    W1, b1, W2, b2 = (rng.normal(size=shape) * 0.5 for shape in ((5, 3), (5,), (2, 5), (2,)))
    x, t = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    net = NeuralNetwork([Layer(3, 5, Tanh()), Layer(5, 2, Tanh())], MSELoss(), 0.02, optimizer, **clipping)
    net.set_weights([(W1, b1[:, None]), (W2, b2[:, None])])
    return net, x.T, t.T


@pytest.mark.parametrize("name", GOLDEN)
def test_fifty_steps_equal_pytorchs(name):
    if name.startswith("clip"):
        setting, value = name.split("=")
        net, x, t = torch_problem(**{setting: float(value)})
    else:
        cls, arguments = name.rstrip(")").split("(")
        settings = dict(part.split("=") for part in arguments.split(", ") if part)
        net, x, t = torch_problem(getattr(fastnn, cls)(**{key: eval(value) for key, value in settings.items()}))
    net.train(x, t, epochs=50, batch_size=20)
    ours = [array for pair in net.get_weights() for array in pair]
    # PyTorch adds 1e-6 to the norm, and keeps NAdam's product of momenta in float32
    tolerance = 1e-6 if name.startswith(("clip_norm", "NAdam")) else 1e-9
    for a, b in zip(ours, GOLDEN[name]):
        np.testing.assert_allclose(a, np.reshape(b, a.shape), rtol=tolerance, atol=tolerance)


def mixed_network(optimizer, dtype="float64", lr=0.01, **clipping):
    """A network with every kind of penalty, a frozen layer, and data for it."""
    rng = np.random.default_rng(0)
    layers = [
        Layer(4, 9, ReLU(), seed=rng, l2=0.01),
        Layer(9, 6, Tanh(), seed=rng, l1=0.001, max_norm=1.0),
        Layer(6, 5, Tanh(), seed=rng, trainable=False),
        Layer(5, 3, Identity(), seed=rng),
    ]
    net = NeuralNetwork(layers, MSELoss(), lr, optimizer, dtype=dtype, **clipping)
    return net, rng.normal(size=(4, 30)), rng.normal(size=(3, 30))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 2e-3)])
def test_equals_the_reference_with_penalties_clipping_and_frozen_layers(optimizer, dtype, tolerance):
    net, x, t = mixed_network(optimizer.example(), dtype, clip_norm=0.8, clip_value=0.3)
    slow = reference.copy_of(net)
    frozen = net.layers[2].weights.copy()
    for batch_size in (1, 8, 30):
        loss = net.train(x, t, epochs=2, batch_size=batch_size, shuffle=True, seed=1)
        expected = slow.train(x, t, epochs=2, batch_size=batch_size, shuffle=True, seed=1)
        assert loss == pytest.approx(expected, rel=max(tolerance, 1e-8))
    for layer, expected in zip(net.layers, slow._layers):
        np.testing.assert_allclose(layer.weights, expected._W, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(layer.biases, expected._b, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(net.layers[2].weights, frozen)
    assert np.linalg.norm(net.layers[1].weights, axis=1).max() <= 1 + 1e-6


def test_penalties_are_in_the_loss_and_their_gradient_is_right():
    net, x, t = mixed_network(None, lr=0.0)
    net.layers[1].max_norm = None
    with_penalties = net.train(x, t, batch_size=30)
    W0, W1 = net.layers[0].weights, net.layers[1].weights
    penalty = 0.01 / 2 * np.sum(W0**2) + 0.001 * np.sum(np.abs(W1))
    assert with_penalties == pytest.approx(net.gradients(x, t).loss + penalty, rel=1e-12)


def test_own_optimizer_is_compiled():
    class SignDescent(Optimizer):
        state = {"m": 0.5}

        def __init__(self, beta):
            self.beta = beta

        def update(self, w, g, lr, step, m):
            m = self.beta * m + (1 - self.beta) * g
            return w - lr / np.sqrt(step) * np.sign(m), m

    net, x, t = torch_problem(SignDescent(0.7))
    slow = reference.copy_of(net)
    net.train(x, t, epochs=3, batch_size=7)
    slow.train(x, t, epochs=3, batch_size=7)
    np.testing.assert_allclose(net.layers[0].weights, slow._layers[0]._W, rtol=1e-12)


class NoState(Optimizer):
    def update(self, w, g, lr, step):
        return w - lr * np.sign(g) / step


class Adamax(Optimizer):
    """Kingma and Ba (2015), algorithm 2."""

    state = {"m": 0.0, "u": 1e-8}

    def update(self, w, g, lr, step, m, u):
        m = 0.9 * m + (1 - 0.9) * g
        u = np.maximum(0.999 * u, np.abs(g))
        return w - lr / (1 - 0.9**step) * m / u, m, u


class FourStates(Optimizer):
    state = {"a": 0.0, "b": 1.0, "c": 0.5, "d": 0.0}

    def __init__(self):
        self.beta = 0.8

    def update(self, w, g, lr, step, a, b, c, d):
        a = self.beta * a + g
        b = b + g * g
        c = 0.5 * (c + a / np.sqrt(b))
        d = np.maximum(d, np.abs(c))
        return w - lr * c / (1 + d), a, b, c, d


class SevenStates(Optimizer):
    state = {f"s{k}": 0.1 * k for k in range(7)}

    def update(self, w, g, lr, step, s0, s1, s2, s3, s4, s5, s6):
        return w - lr * (g + s0 + s6), 0.5 * s1, s2 + g, 0.5 * s3 - g, 0.1 * s4, s5 * s2, 0.5 * s6 - s5, 0.3 * s0


class AnyState(Optimizer):
    def update(self, w, g, lr, step, *state):
        return (w - lr * g, *state)


class AnyTwo(AnyState):
    state = {"a": 0.0, "b": 0.0}


class AnyOne(AnyState):
    state = {"a": 0.0}


@pytest.mark.parametrize("optimizer", [NoState, Adamax, FourStates, SevenStates, AnyTwo, AnyOne])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-4)])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_any_number_of_states(optimizer, dtype, tolerance, clip_norm):
    net, x, t = mixed_network(optimizer(), dtype, clip_norm=clip_norm)
    slow = reference.copy_of(net)
    for batch_size in (1, 7):
        net.train(x, t, epochs=2, batch_size=batch_size)
        slow.train(x, t, epochs=2, batch_size=batch_size)
    for layer, expected in zip(net.layers, slow._layers):
        np.testing.assert_allclose(layer.weights, expected._W, rtol=tolerance, atol=tolerance)
    for place, kind in enumerate(optimizer.state):
        ours, theirs = net.engine.state.numbers[0][place], slow._state[0][place]
        np.testing.assert_allclose(ours[:-1, :9].T, theirs, rtol=tolerance, atol=tolerance, err_msg=kind)


class TakesTooFew(Optimizer):
    state = {"m": 0.0, "v": 0.0}

    def update(self, w, g, lr, step, m):
        return w - lr * g, m, m


class TakesTooMany(Optimizer):
    def update(self, w, g, lr, step, m):
        return w - lr * g


class ReturnsTooFew(Optimizer):
    state = {"m": 0.0, "v": 0.0}

    def update(self, w, g, lr, step, m, v):
        return w - lr * g, m


class ReturnsTooMany(Optimizer):
    state = {"m": 0.0}

    def update(self, w, g, lr, step, m):
        return w - lr * g, m, m


class ReturnsNoState(Optimizer):
    state = {"m": 0.0}

    def update(self, w, g, lr, step, m):
        return w - lr * g


class ReturnsATuple(Optimizer):
    def update(self, w, g, lr, step):
        return (w - lr * g,)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (TakesTooFew, r"TakesTooFew.update takes \(self, w, g, lr, step, m\); expected \(self, w, g, lr, step, m, v\)"),
        (TakesTooMany, r"TakesTooMany.update takes \(self, w, g, lr, step, m\); expected \(self, w, g, lr, step\)"),
        (ReturnsTooFew, r"ReturnsTooFew.update returns 2 numbers; expected 3, \(w, m, v\)"),
        (ReturnsTooMany, r"ReturnsTooMany.update returns 3 numbers; expected 2, \(w, m\)"),
        (ReturnsNoState, r"ReturnsNoState.update returns w alone; expected 2 numbers, \(w, m\)"),
        (ReturnsATuple, r"ReturnsATuple.update returns a tuple of 1; expected w alone, as it has no state"),
    ],
)
def test_an_update_of_another_number_of_states_is_refused(optimizer, message):
    net, x, t = torch_problem(optimizer())
    before = [array for pair in net.get_weights() for array in pair]
    with pytest.raises(FormulaError, match=message):
        net.train(x, t, batch_size=7)
    for now, then in zip([array for pair in net.get_weights() for array in pair], before):
        np.testing.assert_array_equal(now, then)


def test_state_goes_on_from_call_to_call():
    one, x, t = torch_problem(Adam())
    two = copy.deepcopy(one)
    one.train(x, t, epochs=6, batch_size=8)
    for _ in range(6):
        two.train(x, t, batch_size=8)
    np.testing.assert_array_equal(one.layers[0].weights, two.layers[0].weights)


def test_changing_the_optimizer_or_its_settings_takes_effect():
    net, x, t = torch_problem()
    net.train(x, t, batch_size=20)
    net.optimizer = SGD(momentum=0.9)
    net.clip_norm = 0.1
    slow = reference.copy_of(net)
    net.train(x, t, batch_size=20, epochs=3)
    slow.train(x, t, batch_size=20, epochs=3)
    np.testing.assert_allclose(net.layers[0].weights, slow._layers[0]._W, rtol=1e-12)
    net.optimizer.momentum = 0.0
    net.clip_norm = None
    before = net.layers[0].weights.copy()
    dW = net.gradients(x, t).dWs[0]
    net.train(x, t, batch_size=20)
    np.testing.assert_allclose(net.layers[0].weights, before - 0.02 * dW, rtol=1e-12)


def test_schedule_runs_inside_the_epochs():
    net, x, t = torch_problem()
    by_hand = copy.deepcopy(net)
    net.lr = CosineDecay(0.1, steps=12)
    rates = net.lr.rates(0, 15, 3)
    net.train(x, t, epochs=5, batch_size=8)  # 3 steps to an epoch
    for step in range(15):
        by_hand.lr = float(rates[step])
        columns = slice(8 * (step % 3), 8 * (step % 3) + 8)
        by_hand.train(x[:, columns], t[:, columns], batch_size=8)
    np.testing.assert_allclose(net.layers[0].weights, by_hand.layers[0].weights, rtol=1e-12)


def test_rprop_settles_where_the_gradient_vanishes():
    net, x, t = torch_problem(RProp())
    net.train(x, t, epochs=2000, batch_size=20)
    assert max(np.abs(dW).max() for dW in net.gradients(x, t).dWs) < 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(momentum=1.0), "momentum is 1.0"),
        (lambda: SGD(momentum=float("nan")), "momentum is nan"),
        (lambda: Adam(beta1=-0.1), "beta1 is -0.1"),
        (lambda: Adam(weight_decay=-1), "weight_decay is -1"),
        (lambda: RProp(grow=0.9), "shrink and grow"),
        (lambda: torch_problem(clip_norm=0.0), "clip_norm is 0.0"),
        (lambda: torch_problem(clip_value=float("inf")), "clip_value is inf"),
        (lambda: Layer(1, 1, ReLU(), l1=-1.0), "l1 is -1.0"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("optimizer", [Adam, "adma", 3])
def test_what_is_no_optimizer(optimizer):
    net, _, _ = torch_problem()
    with pytest.raises((TypeError, ValueError), match="optimizer is"):
        NeuralNetwork(net.layers, MSELoss(), 0.1, optimizer)
    before = net.optimizer
    with pytest.raises((TypeError, ValueError), match="optimizer is"):
        net.optimizer = optimizer
    assert net.optimizer is before


@pytest.mark.parametrize("rate", ["lr", "learning_rate"])
def test_a_rate_that_would_change_nothing_is_refused(rate):
    net = fastnn.mlp([2, 3, 1], seed=0)
    with pytest.raises(AttributeError, match=rf"Adam.{rate} is 0.5, which would change nothing; .* net.lr = 0.01"):
        setattr(net.optimizer, rate, 0.5)

    class Own(Adam):  # which may have one
        def __init__(self):
            super().__init__()
            setattr(self, rate, 2.0)

    assert getattr(Own(), rate) == 2.0
