"""The kernels written for tiny networks give the bits of the generic ones, and are used where they should be."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st
from networks import LogCosh
from strategies import problems, targets_for

from fastnn import (
    ActivationFunction,
    Adam,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Dropout,
    ExponentialDecay,
    Identity,
    Layer,
    LeakyReLU,
    MSELoss,
    NeuralNetwork,
    Tanh,
    reference,
)
from fastnn.data.samples import Samples
from fastnn.kernels import special, tiny
from fastnn.training.run import Run
from fastnn.training.settings import Settings


class Bump(ActivationFunction):
    """With a product beside a sum, which a compiler may fuse or not, and an attribute."""

    def __init__(self, a):
        self.a = a

    def f(self, x):
        return self.a * x - x * x / (1 + x * x)

    def df(self, x):
        return self.a - 2 * x / (1 + x * x) ** 2


def network(sizes, activation=LeakyReLU, loss=MSELoss, lr=0.05, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    layers = [
        Layer(ins, outs, activation(), bias_init="he_normal", seed=rng, dtype=dtype)
        for ins, outs in zip(sizes, sizes[1:])
    ]
    return NeuralNetwork(layers, loss(), lr, dtype=dtype)


def columns(net, n=50, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(net.layers[0].ins, n))
    x[rng.random(x.shape) < 0.3] = 0.0
    return x, targets_for(net.loss_function, net.layers[-1].outs, n, rng)


def own_kernel(net):
    """Address of the network's own kernel, if its last steps were taken by that; else 0."""
    plan = net.engine.plan()
    return plan._tiny if plan._record[0]["take_steps"] == plan._tiny else 0


def trained(net, x, t, when, **arguments):
    """The mean loss, and whether the network's own kernel was used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(special, "when", when)
        loss = net.train(x, t, **arguments)
    return loss, own_kernel(net) != 0


def assert_same_bits(a, b):
    for layer, other in zip(a.layers, b.layers):
        for ours, theirs in zip(layer.arrays().values(), other.arrays().values()):
            np.testing.assert_array_equal(ours, theirs)
            np.testing.assert_array_equal(np.signbit(ours), np.signbit(theirs))


def assert_same_training(net, x, t, **arguments):
    twin = copy.deepcopy(net)
    loss, own = trained(net, x, t, "always", **arguments)
    generic_loss, generic_own = trained(twin, x, t, "never", **arguments)
    assert (own, generic_own) == (True, False)
    np.testing.assert_array_equal(loss, generic_loss)
    assert_same_bits(net, twin)


@hypothesis_settings(max_examples=15, deadline=None)
@given(problems(max_width=5, max_depth=3), st.sampled_from(["float64", "float32"]), st.booleans())
def test_the_bits_are_those_of_the_generic_kernel(problem, dtype, shuffle):
    net, x, t = problem
    net = NeuralNetwork(net.layers, net.loss_function, net.lr, dtype=dtype)
    if tiny.is_tiny([net.layers[0].ins, *(layer.outs for layer in net.layers)]):
        assert_same_training(net, x, t, epochs=3, shuffle=shuffle, seed=2)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("sizes", "activation", "loss"),
    [
        ((3, 10, 1), Tanh, BCEWithLogitsLoss),  # outputs of more than one vector
        ((2, 4, 3), lambda: Bump(0.7), LogCosh),
        ((4, 9), Identity, CrossEntropyLoss),
    ],
)
def test_formulas_of_all_kinds(sizes, activation, loss, dtype):
    net = network(sizes, activation, loss, dtype=dtype)
    assert_same_training(net, *columns(net), epochs=4, shuffle=True, seed=3)


def test_it_trains_as_the_reference_does():
    net = network((2, 4, 4, 3))
    x, t = columns(net)
    slow = reference.copy_of(net)
    loss, own = trained(net, x, t, "always", epochs=3, shuffle=True, seed=4)
    assert own
    assert loss == pytest.approx(slow.train(x, t, epochs=3, shuffle=True, seed=4), rel=1e-12)
    for layer, expected in zip(net.layers, slow._layers):
        np.testing.assert_allclose(layer.weights, expected._W, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(layer.biases, expected._b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("lr", [0.05, ExponentialDecay(0.1, 0.9), ExponentialDecay(0.1, 0.99, per="step")])
def test_a_run_may_change_over_at_any_step(lr, monkeypatch):
    nets = [network((2, 3, 2), lr=lr) for _ in range(3)]
    x, t = columns(nets[0], n=20)
    means = []
    for net, pieces in zip(nets, (["never"] * 3, ["always"] * 3, ["never", "always", "never"])):
        settings = Settings(epochs=5, batch_size=1, seed=5)
        run = Run(net.engine, Samples.of_columns(net.engine.form, x, t), settings)
        for when, steps in zip(pieces, (27, 1, 55)):
            monkeypatch.setattr(special, "when", when)
            if when == "never":
                net.layers[0].trainable = True  # the plan is made anew, without the kernel
            means.append(run.advance(steps))
        assert (own_kernel(net) != 0) == (pieces[-1] == "always")
    assert means[:3] == means[3:6] == means[6:]
    assert_same_bits(nets[0], nets[1])
    assert_same_bits(nets[0], nets[2])


def test_numbers_of_a_formula_may_change_without_another_kernel():
    net = network((2, 3, 2), lambda: Bump(0.5))
    x, t = columns(net)
    trained(net, x, t, "always")
    before = own_kernel(net)
    net.layers[0].act_function.a = 0.9
    assert_same_training(net, x, t)
    assert own_kernel(net) == before != 0


@pytest.mark.filterwarnings("ignore:training left the finite numbers")
def test_numbers_that_are_not_finite_are_the_same_too():
    with np.errstate(all="ignore"):
        net = network((2, 3, 2), lambda: Bump(0.5), lr=1e160)
        x, t = columns(net)
        assert_same_training(net, x, t)
    assert np.any(np.isnan(net.layers[0].weights))


def frozen():
    net = network((2, 3, 2))
    net.layers[0].trainable = False
    return net


def twice_the_same_layer():
    layer = Layer(2, 2, Tanh(), seed=0)
    return NeuralNetwork([layer, layer, Layer(2, 2, Tanh(), seed=1)], MSELoss(), 0.05)


@pytest.mark.parametrize(
    "make",
    [
        frozen,
        twice_the_same_layer,
        lambda: NeuralNetwork(network((2, 3, 2)).layers, MSELoss(), 0.01, Adam()),
        lambda: NeuralNetwork([Layer(2, 2, Tanh()), Dropout(0.0), Layer(2, 2, Tanh())], MSELoss(), 0.01),
        lambda: NeuralNetwork(network((2, 3, 2)).layers, MSELoss(), 0.01, clip_norm=1.0),
        lambda: network((2, 16, 16, 2)),
    ],
)
def test_everything_else_takes_the_generic_kernel(make):
    net = make()
    x, t = columns(net)
    twin = copy.deepcopy(net)
    loss, own = trained(net, x, t, "always", epochs=2)
    assert not own
    assert loss == trained(twin, x, t, "never", epochs=2)[0]
    assert_same_bits(net, twin)


def test_weighted_samples_take_the_generic_kernel(monkeypatch):
    monkeypatch.setattr(special, "when", "always")
    weighted, plain = network((2, 3, 2)), network((2, 3, 2))
    x, t = columns(plain)
    plain.fit(x.T, t.T, epochs=2, batch_size=1, shuffle=False)
    weighted.fit(x.T, t.T, epochs=2, batch_size=1, shuffle=False, sample_weight=np.full(x.shape[1], 1.0))
    assert own_kernel(plain) != 0
    assert own_kernel(weighted) == 0
    for a, b in zip(weighted.layers, plain.layers):
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-12)


def test_a_kernel_is_compiled_only_if_the_steps_repay_it(monkeypatch):
    unknown = float(np.random.default_rng().random())

    class Own(Bump):  # an activation that no cache knows
        def df(self, x):
            return self.a - 2 * x / (1 + x * x) ** 2 + unknown

    net, twin = (network((2, 3, 2), lambda: Own(0.5)) for _ in range(2))
    x, t = columns(net)
    assert not trained(net, x, t, "auto", epochs=2)[1]  # 100 steps
    monkeypatch.setattr(tiny.KERNELS, "saving", tiny.KERNELS.compiling / 350)
    assert not trained(net, x, t, "auto", epochs=2)[1]
    assert trained(net, x, t, "auto", epochs=4)[1]  # those taken before count too
    assert trained(twin, x[:, :2], t[:, :2], "auto")[1]  # and now it is there
