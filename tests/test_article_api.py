"""The article's way of working: what it does to a network must do the same here."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
from networks import bits
from strategies import ACTIVATIONS, LOSSES, targets_for

from fastnn import (
    ELU,
    INITIALIZERS,
    SELU,
    ActivationFunction,
    CrossEntropyLoss,
    HuberLoss,
    Identity,
    Layer,
    LeakyReLU,
    MAELoss,
    MSELoss,
    NeuralNetwork,
    ReLU,
    Sigmoid,
    SoftCrossEntropyLoss,
    Tanh,
    create_bias_vector,
    create_weight_matrix,
    reference,
)
from fastnn.data.columns import READY, sample_kind

INS, OUTS, N = 3, 2, 7
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
each_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])


def network(dtype="float64", loss=None, act=None, rate=0.05):
    layers = [
        Layer(INS, 5, act or LeakyReLU(), bias_init="he_normal", seed=0),
        Layer(5, 4, Tanh(), bias_init="he_normal", seed=1),
        Layer(4, OUTS, Identity(), seed=2),
    ]
    return NeuralNetwork(layers, loss or MSELoss(), rate, dtype=dtype)


def columns(n=N, outs=OUTS, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(INS, n)), rng.normal(size=(outs, n))


def assert_close(net, slow, dtype="float64"):
    for layer, expected in zip(net._layers, slow._layers):
        np.testing.assert_allclose(layer._W, expected._W, TOLERANCE[dtype], TOLERANCE[dtype])
        np.testing.assert_allclose(layer._b, expected._b, TOLERANCE[dtype], TOLERANCE[dtype])


# --- changes between calls -------------------------------------------------------------------


def write_weights(net):
    net._layers[0]._W[1, :2] = 0.75
    net._layers[0]._b[-1] = -0.5


def assign_weights(net):
    net._layers[1]._W = np.linspace(-1, 1, 20).reshape(4, 5)
    net._layers[1]._b = [[1], [2], [3], [4]]


def subtract_from_weights(net):
    net._layers[0]._W -= np.arange(15.0).reshape(5, 3) / 20
    net._layers[2]._b += 1


def public_names(net):
    net.layers[0].weights = net.layers[0].weights[::-1] * 2
    net.layers[0].weights *= 0.5
    net.layers[2].biases[:] = 0.3


def overlapping_assignment(net):
    net._layers[0]._W = net._layers[0]._W[::-1]
    net._layers[1]._b = net._layers[1]._b[::-1]


def change_rate(net):
    net.lr = 0.3


def change_activation(net):
    net._layers[1].act_function = Sigmoid()


def share_activation(net):
    net._layers[1].act_function = net._layers[0].act_function


def change_parameter(net):
    net._layers[0].act_function.leaky_param = 0.3


def parameter_becomes_int(net):
    net._layers[0].act_function.leaky_param = 1


def parameter_becomes_numpy(net):
    net._layers[0].act_function.leaky_param = np.float32(0.25)


def change_loss_parameter(net):
    net._loss_function.delta = 0.125


def replace_loss(net):
    net._loss_function = OTHER_LOSS


def replace_layer(net):
    net._layers[0] = Layer(INS, 5, OTHER_ACTIVATION, seed=9, dtype=net.dtype)


def swap_layers(net):
    net._layers[0], net._layers[1:] = OTHER_LAYERS[net.dtype.name], net._layers[1:]


def append_layer(net):
    net._layers.append(Layer(OUTS, OUTS, OTHER_ACTIVATION, seed=9, dtype=net.dtype))


def remove_layer(net):
    net._layers[1:] = [Layer(5, OUTS, OTHER_ACTIVATION, seed=9, dtype=net.dtype)]


def new_list(net):
    net._layers = [*net._layers, Layer(OUTS, OUTS, OTHER_ACTIVATION, seed=9, dtype=net.dtype)]


OTHER_LOSS, OTHER_ACTIVATION = MAELoss(), ELU(0.5)  # made before any network: making one is no change to it
OTHER_LAYERS = {dtype: Layer(INS, 5, ReLU(), seed=8, dtype=dtype) for dtype in ("float64", "float32")}
CHANGES = [write_weights, assign_weights, subtract_from_weights, public_names, overlapping_assignment]
CHANGES += [change_rate, change_activation, share_activation, change_parameter, parameter_becomes_int]
CHANGES += [parameter_becomes_numpy, change_loss_parameter, replace_loss, replace_layer, swap_layers]
CHANGES += [append_layer, remove_layer, new_list]


def one_step(net, x, t):
    return net.train(x[:, :1].copy(), t[:, :1].copy())


CALLS = {
    "train": one_step,
    "train, batches": lambda net, x, t: net.train(x, t, epochs=2, batch_size=3),
    "forward_pass": lambda net, x, t: net.forward_pass(x),
    "forward_pass of one": lambda net, x, t: net.forward_pass(x[:, :1].copy()),
    "loss": lambda net, x, t: net.loss(t, t + 1),
    "gradients": lambda net, x, t: np.concatenate([g.ravel() for part in net.gradients(x, t)[:3] for g in part]),
}


@each_dtype
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("change", CHANGES)
def test_the_next_call_knows(change, call, dtype):
    net, (x, t) = network(dtype, HuberLoss(0.5)), columns()
    x, t = x.astype(dtype), t.astype(dtype)
    for warm in CALLS.values():
        warm(net, x, t)
    change(net)
    slow = reference.copy_of(net)
    found, expected = CALLS[call](net, x, t), CALLS[call](slow, x.astype(float), t.astype(float))
    np.testing.assert_allclose(found, expected, 10 * TOLERANCE[dtype], 10 * TOLERANCE[dtype])
    assert_close(net, slow, dtype)


def test_rate_of_every_kind_is_used_at_once():
    net, (x, t) = network(), columns(1)
    for rate in (0.0, 0.5, np.float32(0.25), 1, 1e-300):
        net.lr = rate
        slow = reference.copy_of(net)
        net.train(x, t)
        slow.train(x, t)
        assert_close(net, slow)


def test_changes_made_between_the_steps_of_a_loop():
    net, (x, t) = network(), columns(12)
    slow = reference.copy_of(net)
    slow._layers[0].act_function = LeakyReLU()  # not shared: each network gets its own changes
    for i in range(12):
        for one in (net, slow):
            one.lr = 0.1 / (i + 1)
            one._layers[0].act_function.leaky_param = 0.1 + i / 20
            one._layers[0]._W[i % 5] *= 0.5
            one.train(x[:, i : i + 1].copy(), t[:, i : i + 1].copy())
    assert_close(net, slow)


def test_assigned_arrays_are_copied():
    layer = Layer(INS, 2, Tanh())
    W = np.ones((2, INS))
    layer._W = W
    layer._W[...] = 7
    W[0] = 3
    assert (layer._W == 7).all()
    assert layer.weights.base is not None
    assert np.shares_memory(layer.weights, layer._W)
    assert np.shares_memory(layer.biases, layer._b)


def test_a_view_kept_across_training_stays_the_layer():
    net, (x, t) = network(), columns()
    W, before = net._layers[0]._W, net._layers[0]._W.copy()
    net.train(x, t, batch_size=3)
    assert not np.array_equal(W, before)
    assert np.array_equal(W, net._layers[0]._W)
    W[...] = before
    assert np.array_equal(net.layers[0].weights, before)


# --- shared layers ---------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_layer_in_two_networks(batch_size):
    shared, (x, t) = Layer(INS, 4, Tanh(), seed=0), columns()
    nets = [NeuralNetwork([shared, Layer(4, OUTS, Identity(), seed=i)], MSELoss(), 0.1) for i in (1, 2)]
    slow = [reference.copy_of(net) for net in nets]
    slow[1]._layers[0] = slow[0]._layers[0]
    for _ in range(3):
        for one in (*nets, *slow):
            one.train(x, t, batch_size=batch_size)
    for net, expected in zip(nets, slow):
        assert_close(net, expected)
    assert nets[0]._layers[0] is nets[1]._layers[0]
    np.testing.assert_allclose(nets[0].forward_pass(x), slow[0].forward_pass(x), 1e-12)


@each_dtype
@pytest.mark.parametrize("depth", [2, 3])
def test_the_same_layer_twice_in_one_network(depth, dtype):
    """Online: the article's recursion updates the layer at the top before it is used below."""
    shared, (x, t) = Layer(INS, INS, Tanh(), bias_init="he_normal", seed=0), columns()
    net = NeuralNetwork([shared] * depth + [Layer(INS, OUTS, Identity(), seed=1)], MSELoss(), 0.1, dtype=dtype)
    slow = reference.copy_of(net)
    slow._layers[:depth] = [slow._layers[0]] * depth
    for i in range(N):
        slow.train_column(x[:, i : i + 1], t[:, i : i + 1])
    net.train(x, t)
    assert_close(net, slow, dtype)
    np.testing.assert_allclose(net.forward_pass(x), slow.forward_pass(x), TOLERANCE[dtype], TOLERANCE[dtype])


def test_a_shared_activation_and_loss():
    act, loss, (x, t) = LeakyReLU(), HuberLoss(), columns()
    nets = [NeuralNetwork([Layer(INS, OUTS, act, seed=i)], loss, 0.1) for i in range(2)]
    for net in nets:
        net.train(x, t)
    act.leaky_param, loss.delta = 0.5, 0.25
    for net in nets:
        slow = reference.copy_of(net)
        assert net.train(x, t) == pytest.approx(slow.train(x, t), rel=1e-12)
        assert_close(net, slow)


# --- initialisation --------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(300, 200), (7, 3), (1, 1)])
def test_the_articles_initialisers(rows, columns):
    W, b = create_weight_matrix(rows, columns), create_bias_vector(rows)
    assert (W.shape, b.shape, W.dtype) == ((rows, columns), (rows, 1), float)
    assert not np.array_equal(W, create_weight_matrix(rows, columns))
    if rows == 300:
        assert W.std() == pytest.approx(1 / (rows * columns), rel=0.02)
        assert b.std() == pytest.approx(1 / rows, rel=0.3)
        assert abs(W.mean()) < 0.02 / (rows * columns)


def test_init_article_draws_both():
    layer = Layer(200, 300, LeakyReLU(), init="article", seed=0)
    assert layer._W.std() == pytest.approx(1 / 60_000, rel=0.02)
    assert layer._b.std() == pytest.approx(1 / 300, rel=0.2)
    assert (layer._W.shape, layer._b.shape) == ((300, 200), (300, 1))
    assert not Layer(200, 300, LeakyReLU(), init="article", bias_init="zeros", seed=0)._b.any()


VARIANCES = {
    "he_normal": lambda outs, ins: 2 / ins,
    "he_uniform": lambda outs, ins: 2 / ins,
    "glorot_normal": lambda outs, ins: 2 / (ins + outs),
    "glorot_uniform": lambda outs, ins: 2 / (ins + outs),
    "lecun_normal": lambda outs, ins: 1 / ins,
    "lecun_uniform": lambda outs, ins: 1 / ins,
    "orthogonal": lambda outs, ins: 1 / max(outs, ins),
    "standard_normal": lambda outs, ins: 1.0,
    "article": lambda outs, ins: 1 / (outs * ins) ** 2,
    "zeros": lambda outs, ins: 0.0,
}


@pytest.mark.parametrize(("outs", "ins"), [(120, 180), (180, 120), (150, 150)])
@pytest.mark.parametrize("name", INITIALIZERS)
def test_initialiser(name, outs, ins):
    W = Layer(ins, outs, Tanh(), init=name, seed=1)._W
    assert W.shape == (outs, ins)
    spread = np.sqrt(VARIANCES[name](outs, ins))
    assert W.std() == pytest.approx(spread, rel=0.02)
    assert abs(W.mean()) <= 0.02 * spread
    if name.endswith("uniform"):
        assert np.abs(W).max() == pytest.approx(np.sqrt(3) * spread, rel=0.01)
    if name.endswith("normal"):
        assert np.mean(np.abs(W) < spread) == pytest.approx(0.6827, abs=0.01)
    if name == "orthogonal":
        gram = W @ W.T if outs <= ins else W.T @ W
        np.testing.assert_allclose(gram, np.eye(min(outs, ins)), atol=1e-12)
    np.testing.assert_array_equal(W, Layer(ins, outs, ReLU(), init=name, seed=1)._W)
    assert name == "zeros" or not np.array_equal(W, Layer(ins, outs, Tanh(), init=name, seed=2)._W)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_the_activation_chooses_the_initialiser(act):
    default, named = Layer(20, 30, act.example(), seed=3), Layer(20, 30, act.example(), init=act.init, seed=3)
    np.testing.assert_array_equal(default._W, named._W)
    assert act.init == ("lecun_normal" if act in (Identity, SELU) else "glorot_normal")


def test_seeds_reproduce():
    for seed in (0, 123, np.int64(5), 2**100):
        np.testing.assert_array_equal(Layer(4, 5, Tanh(), seed=seed)._W, Layer(4, 5, Tanh(), seed=seed)._W)
    assert not np.array_equal(Layer(4, 5, Tanh())._W, Layer(4, 5, Tanh())._W)
    rng = np.random.default_rng(0)
    first, second = Layer(4, 5, Tanh(), seed=rng), Layer(4, 5, Tanh(), seed=rng)
    assert not np.array_equal(first._W, second._W)
    np.testing.assert_array_equal(first._W, Layer(4, 5, Tanh(), seed=0)._W)
    single = Layer(4, 5, Tanh(), seed=0, dtype="float32")
    np.testing.assert_array_equal(single._W, first._W.astype(np.float32))


def test_own_initialiser():
    def ramp(outs, ins, rng):
        return np.arange(outs * ins).reshape(outs, ins)

    layer = Layer(3, 2, Tanh(), init=ramp, bias_init=ramp, dtype="float32")
    np.testing.assert_array_equal(layer._W, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(layer._b, [[0], [1]])


# --- copies ----------------------------------------------------------------------------------

COPIES = [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), lambda net: pickle.loads(pickle.dumps(net, 0))]


@each_dtype
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("make", COPIES, ids=["deepcopy", "pickle", "pickle, protocol 0"])
@pytest.mark.parametrize("loss", [HuberLoss(0.5), CrossEntropyLoss()], ids=repr)
def test_copies_are_equal_and_independent(loss, make, trained, dtype):
    net, (x, t) = network(dtype, loss, LeakyReLU(0.2)), columns()
    if isinstance(loss, CrossEntropyLoss):
        t = np.arange(N) % OUTS
    if trained:
        net.train(x, t, epochs=2, batch_size=3)
    twin = make(net)
    assert repr(twin) == repr(net)
    assert (twin.dtype, twin.lr) == (net.dtype, net.lr)
    assert bits(twin) == bits(net)
    assert twin.forward_pass(x).tobytes() == net.forward_pass(x).tobytes()
    assert not any(np.shares_memory(a._memory, b._memory) for a, b in zip(net._layers, twin._layers))
    before = bits(net)
    results = [one.train(x, t, epochs=2, batch_size=2) for one in (twin, net)]
    assert results[0] == results[1]
    assert bits(twin) == bits(net) != before
    twin._layers[0].act_function.leaky_param = 0.9
    twin.lr = 0.5
    twin._layers[1]._W[...] = 0
    before = bits(net)
    slow = reference.copy_of(twin)
    found, expected = twin.train(x, t), slow.train(x.astype(dtype), t)
    assert found == pytest.approx(expected, rel=TOLERANCE[dtype])
    assert_close(twin, slow, dtype)
    assert bits(net) == before
    assert net._layers[0].act_function.leaky_param == 0.2


@each_dtype
@pytest.mark.parametrize("make", COPIES, ids=["deepcopy", "pickle", "pickle, protocol 0"])
def test_copies_are_as_fast(make, dtype):
    """The short way in for a single column compares dtypes by identity, which copying does not keep."""
    net = make(network(dtype))
    assert sample_kind(np.zeros((INS, 1), dtype), (INS, 1), net.dtype) == READY


def test_copies_of_a_layer():
    layer = Layer(3, 4, LeakyReLU(0.3), seed=0, bias_init="he_normal")
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin._W, layer._W)
        np.testing.assert_array_equal(twin._b, layer._b)
        twin._W[...] = 0
        assert layer._W.all()


def test_layers_shared_in_a_copied_network_stay_shared():
    shared = Layer(INS, INS, Tanh(), seed=0)
    twin = pickle.loads(pickle.dumps(NeuralNetwork([shared, shared], MSELoss(), 0.1)))
    assert twin._layers[0] is twin._layers[1]


# --- a script as written for the article's nn.py ---------------------------------------------


def col(a):
    return np.atleast_2d(a).T


def digits(n, seed=0):
    """Rows as in the article's CSV file: a class, then pixels, all integers."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    pixels = rng.integers(0, 80, (n, 9)) * (rng.random((n, 9)) < 0.5)
    pixels[np.arange(n), labels] += 175
    return np.column_stack([labels, pixels]).astype(rng.choice([int, np.int32]))


@pytest.mark.parametrize("kind", [int, np.uint8, np.int32, float])
def test_a_classifier_on_rows_of_integers(kind):
    rows = digits(300).astype(kind)
    net = NeuralNetwork([Layer(9, 8, LeakyReLU(), seed=0), Layer(8, 4, LeakyReLU(), seed=1)], CrossEntropyLoss(), 1e-4)
    slow = reference.copy_of(net)

    def accuracy(one):
        return sum(np.argmax(one.forward_pass(col(row[1:])).flatten()) == row[0] for row in rows) / len(rows)

    before = accuracy(net)
    for row in rows:
        label = row[0] if kind is not float else int(row[0])
        net.train(col(row[1:]), label)
        slow.train_column(col(row[1:]).astype(float), int(label))
    assert_close(net, slow)
    assert accuracy(net) == accuracy(slow) > before
    out, label = net.forward_pass(col(rows[0, 1:])), int(rows[0, 0])
    assert out.shape == (4, 1)
    assert net.loss(out, label) == pytest.approx(CrossEntropyLoss().loss(out, label), rel=1e-12)


SCRIPT = """
from fastnn import *
import numpy as np

class SignedSqrt(ActivationFunction):
    def __init__(self, softness=1):
        self.softness = softness
    def f(self, x):
        return np.sign(x) * np.sqrt(np.abs(x) + self.softness)
    def df(self, x):
        return 0.5 / np.sqrt(np.abs(x) + self.softness)

class CubicLoss(LossFunction):
    def loss(self, values, expected):
        return np.mean(np.abs(values - expected) ** 3)
    def dloss(self, values, expected):
        return 3 * (values - expected) * np.abs(values - expected) / values.size

layers = [Layer(2, 3, SignedSqrt(), seed=0), Layer(3, 2, SignedSqrt(2), seed=1)]
layers[0]._W, layers[0]._b = create_weight_matrix(3, 2), create_bias_vector(3)
net = NeuralNetwork(layers, CubicLoss(), 0.01)
x, t = np.array([[1], [2]]), np.array([[3], [4]])
before = net.loss(net.forward_pass(x), t)
for _ in range(50):
    net.train(x, t)
"""


def test_a_script_without_a_file():
    """Everything by the names of the article, with formulas whose source nobody can look up."""
    names = {}
    exec(SCRIPT, names)
    net, x, t = names["net"], names["x"], names["t"]
    assert net.loss(net.forward_pass(x), t) < names["before"]
    slow = reference.copy_of(net)
    net.train(x, t)
    slow.train(x, t)
    assert_close(net, slow)


def test_one_hot_targets_from_a_table():
    rows = digits(60)
    ts = {t: col(np.arange(4) == t) for t in range(4)}
    net = NeuralNetwork([Layer(9, 5, LeakyReLU(), seed=0), Layer(5, 4, LeakyReLU(), seed=1)], MSELoss(), 1e-5)
    slow = reference.copy_of(net)
    for row in rows:
        net.train(col(row[1:]), ts[row[0]])
        slow.train_column(col(row[1:]).astype(float), ts[row[0]].astype(float))
    assert_close(net, slow)


def test_the_articles_first_demo():
    net = NeuralNetwork([Layer(2, 4, LeakyReLU()), Layer(4, 4, LeakyReLU()), Layer(4, 1, LeakyReLU())], MSELoss(), 0.01)
    slow, rng = reference.copy_of(net), np.random.default_rng(0)
    t = np.zeros(shape=(1, 1))
    xs = [rng.normal(0, 1, (2, 1)) for _ in range(200)]

    def mean_loss(one):
        return sum(one.loss(one.forward_pass(x), t) for x in xs) / len(xs)

    before = mean_loss(net)
    assert before == pytest.approx(mean_loss(slow), rel=1e-12)
    for x in xs:
        net.train(x, t)
        slow.train_column(x, t)
    assert mean_loss(net) == pytest.approx(mean_loss(slow), rel=1e-9)
    assert mean_loss(net) < before
    assert_close(net, slow)


@each_dtype
def test_soft_targets_from_another_network(dtype):
    teacher = network(dtype, CrossEntropyLoss())
    student = NeuralNetwork([Layer(INS, OUTS, Identity(), seed=5)], SoftCrossEntropyLoss(), 0.1, dtype=dtype)
    slow, (x, _) = reference.copy_of(student), columns(20)
    for i in range(20):
        out = teacher.forward_pass(x[:, i : i + 1])
        soft = np.exp(out) / np.exp(out).sum()
        student.train(x[:, i : i + 1], soft)
        slow.train_column(x[:, i : i + 1], soft.astype(float))
    assert_close(student, slow, dtype)
    many = np.exp(teacher.forward_pass(x))
    many /= many.sum(axis=0)
    assert student.loss(student.forward_pass(x), many) == pytest.approx(
        reference.copy_of(student).loss(student.forward_pass(x).astype(float), many.astype(float)), rel=TOLERANCE[dtype]
    )


def test_an_activation_and_a_loss_as_the_article_writes_them():
    class Squash(ActivationFunction):
        def f(self, x):
            return x / (1 + np.abs(x))

        def df(self, x):
            return 1 / (1 + np.abs(x)) ** 2

    net, (x, t) = network(act=Squash()), columns()
    slow = reference.copy_of(net)
    net.train(x, t)
    slow.train(x, t)
    assert_close(net, slow)
    assert net._layers[0].forward_pass(x).shape == (5, N)
    np.testing.assert_allclose(net._layers[0].forward_pass(x), slow._layers[0].forward_pass(x), 1e-12)


# --- many columns in one call ----------------------------------------------------------------


def problem(loss, dtype, n=23, act=None, rate=0.02):
    net, (x, _) = network(dtype, loss, act, rate), columns(n)
    x[np.random.default_rng(5).random(x.shape) < 0.3] = 0  # zeros of the input take another path
    t = targets_for(loss, OUTS, n, np.random.default_rng(6))
    return net, x.astype(dtype), t.astype(dtype) if t.dtype.kind == "f" else t


@each_dtype
@pytest.mark.parametrize("loss", LOSSES)
def test_columns_are_single_calls(loss, dtype):
    net, x, t = problem(loss.example(), dtype)
    twin = copy.deepcopy(net)
    total = 0.0
    for i in range(x.shape[1]):
        total += net.train(x[:, i : i + 1].copy(), t[..., i : i + 1].copy() if t.ndim == 2 else t[i])
    assert twin.train(x, t) == pytest.approx(total / x.shape[1], rel=1e-14)
    assert bits(twin) == bits(net)


@each_dtype
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_columns_are_single_calls_for_every_activation(act, dtype):
    net, x, t = problem(MSELoss(), dtype, act=act.example())
    twin = copy.deepcopy(net)
    for i in range(x.shape[1]):
        net.train(x[:, i : i + 1], t[:, i : i + 1])
    twin.train(x, t)
    assert bits(twin) == bits(net)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 22, 23, 100])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_batches_are_the_references(loss, shuffle, batch_size):
    net, x, t = problem(loss.example(), "float64")
    slow = reference.copy_of(net)
    options = {"epochs": 3, "batch_size": batch_size, "shuffle": shuffle, "seed": 2**62 + 5}
    assert net.train(x, t, **options) == pytest.approx(slow.train(x, t, **options), rel=1e-12)
    assert_close(net, slow)


@pytest.mark.parametrize(("n", "batch_size"), [(7, 3), (5, 4), (4, 3), (2, 2), (3, 7)])
def test_a_short_last_batch_is_used_with_its_own_mean(n, batch_size):
    net, x, t = problem(MSELoss(), "float64", n)
    twin = copy.deepcopy(net)
    net.train(x, t, batch_size=batch_size)
    for first in range(0, n, batch_size):
        part = slice(first, first + batch_size)
        _, dWs, dbs, _ = twin.gradients(x[:, part], t[:, part])
        for layer, dW, db in zip(twin._layers, dWs, dbs):
            layer._W -= twin.lr * dW
            layer._b -= twin.lr * db
    assert_close(net, twin)


@each_dtype
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_seed_repeats(batch_size, dtype):
    results = []
    for seed in (0, 0, 1, 2**63 - 1, None, None):
        net, x, t = problem(MSELoss(), dtype)
        loss = net.train(x, t, epochs=4, batch_size=batch_size, shuffle=True, seed=seed)
        results.append((loss, bits(net)))
    assert results[0] == results[1]
    assert all(a != b for a, b in itertools.combinations(results[1:], 2))


def test_many_epochs_are_many_calls():
    """Training comes back to Python now and then, in the middle of an epoch: nothing may show."""
    net, x, t = problem(MSELoss(), "float64", 2000, rate=0.001)
    twin, slow = copy.deepcopy(net), reference.copy_of(net)
    loss = net.train(x, t, epochs=200)
    for _ in range(200):
        last = twin.train(x, t)
    assert (loss, bits(net)) == (last, bits(twin))
    options = {"epochs": 3, "batch_size": 7, "shuffle": True, "seed": 11}
    slow = reference.copy_of(net)
    assert net.train(x, t, **options) == pytest.approx(slow.train(x, t, **options), rel=1e-12)
    assert_close(net, slow)


# --- a sample alone and among others ---------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(3, 2), (17, 31, 5), (300, 257, 100, 10), (1, 300, 1), (33, 8, 8, 16)], ids=str)
def test_a_sample_gives_the_same_bits_alone_and_among_others(sizes, act, dtype):
    layers = [Layer(a, b, act.example(), bias_init="he_normal", seed=a * b) for a, b in zip(sizes, sizes[1:])]
    net, rng = NeuralNetwork(layers, MSELoss(), 0.1, dtype=dtype), np.random.default_rng(0)
    x = rng.normal(size=(sizes[0], 300)).astype(dtype)
    x[rng.random(x.shape) < 0.3] = 0
    together = net.forward_pass(x)
    assert together.shape == (sizes[-1], 300)
    for i in (0, 1, 2, 63, 127, 128, 129, 255, 256, 298, 299):
        alone = net.forward_pass(x[:, i : i + 1].copy())
        assert alone.tobytes() == together[:, i].tobytes()
        assert net.forward_pass(x[:, i : i + 1].tolist()).tobytes() == alone.tobytes()
    for first, last in ((0, 2), (3, 10), (100, 229), (299, 300)):
        assert net.forward_pass(x[:, first:last]).tobytes("F") == together[:, first:last].tobytes("F")


@each_dtype
def test_the_sign_of_a_zero_is_the_same_alone_and_among_others(dtype):
    net = NeuralNetwork(
        [Layer(70, 40, Identity(), seed=1), Layer(40, 9, Identity(), seed=2)], MSELoss(), 0.1, dtype=dtype
    )
    net.set_weights([(W, np.full_like(b, -0.0)) for W, b in net.get_weights()])
    together = net.forward_pass(np.zeros((70, 40), dtype))
    for x in (np.zeros((70, 1), dtype), np.zeros((70, 3), dtype)):
        assert net.forward_pass(x).tobytes("F") == together[:, : x.shape[1]].tobytes("F")


@each_dtype
def test_outputs_are_the_references(dtype):
    net = network(dtype)
    x = columns(300)[0].astype(dtype)
    slow = reference.copy_of(net).forward_pass(x.astype(float))
    np.testing.assert_allclose(net.forward_pass(x), slow, TOLERANCE[dtype], TOLERANCE[dtype])
    assert net.forward_pass(x).dtype == dtype
    first = net.forward_pass(x)
    net.forward_pass(-x)
    np.testing.assert_allclose(first, slow, TOLERANCE[dtype], TOLERANCE[dtype])  # not the network's own memory


@pytest.mark.parametrize(("W", "b"), [("_W", "_b"), ("W", "b"), ("weights", "biases")])
def test_each_name_of_the_weights_reaches_the_kernels(W, b):
    net, x = network(), columns()[0]
    layer = net.layers[-1]
    setattr(layer, W, np.ones((OUTS, 4)))
    setattr(layer, b, np.full((OUTS, 1), 2.0))
    assert np.array_equal(getattr(layer, W), np.ones((OUTS, 4)))
    hidden = net.layers[1].forward_pass(net.layers[0].forward_pass(x))
    np.testing.assert_allclose(net.forward_pass(x), hidden.sum(axis=0) + np.full((OUTS, N), 2.0))


def test_the_learning_rate_has_the_constructors_name_too():
    net, twin = network(), network()
    net.learning_rate = twin.lr = 0.25
    assert (net.lr, net.learning_rate) == (0.25, 0.25)
    x, t = columns()
    assert net.train(x, t, epochs=2) == twin.train(x, t, epochs=2)
    with pytest.raises(ValueError, match="learning_rate is -1"):
        net.learning_rate = -1
