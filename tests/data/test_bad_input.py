"""Whatever is wrong with an argument raises an error that names it, and changes nothing."""

from __future__ import annotations

import datetime
import re
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import pytest
from networks import bits

from fastnn import (
    ActivationFunction,
    CrossEntropyLoss,
    FormulaError,
    HuberLoss,
    Identity,
    Layer,
    LeakyReLU,
    MSELoss,
    NeuralNetwork,
    Tanh,
    reference,
)

INS, OUTS, MANY = 3, 2, 5
DTYPES = ["float64", "float32"]
NAN = float("nan")


def data(n):
    rng = np.random.default_rng(7)
    return rng.normal(size=(INS, MANY))[:, :n].copy(), rng.normal(size=(OUTS, MANY))[:, :n].copy()


CLASSES = np.array([0, 1, 1, 0, 1])


def settings(net):
    """All else that a refused call must leave alone."""
    layers = [(layer, layer.ins, layer.outs, layer.dtype, vars(layer.act_function)) for layer in net._layers]
    return repr((net.lr, net.dtype, net._loss_function, layers))


class Victim:
    """A network that is abused, and what its next training must give: what it gave before."""

    def __init__(self, dtype, loss):
        layers = [Layer(INS, 4, LeakyReLU(), seed=0), Layer(4, OUTS, Tanh(), bias_init="he_normal", seed=1)]
        self.net = NeuralNetwork(layers, loss, 0.1, dtype=dtype)
        self.x, self.t = data(MANY)
        if isinstance(loss, CrossEntropyLoss):
            self.t = CLASSES
        self.start = [np.array(array) for layer in layers for array in (layer._W, layer._b)]
        self.expected = self.trained()

    def trained(self):
        """Train on many columns and on one, then put everything back."""
        x1 = self.x[:, :1].astype(self.net.dtype)
        losses = [self.net.train(self.x, self.t, epochs=2, batch_size=2), self.net.train(x1, self.t[..., :1])]
        result = losses, bits(self.net)
        assert np.isfinite(losses).all()
        self.restore()
        return result

    def restore(self):
        arrays = iter(self.start)
        for layer in self.net._layers:
            layer._W[...], layer._b[...] = next(arrays), next(arrays)

    @contextmanager
    def refuses(self, *names, error=(ValueError, TypeError)):
        """The block raises an error that names one of `names`; the network is as good as new."""
        before = bits(self.net), settings(self.net)
        try:
            with pytest.raises(error) as caught:
                yield caught
            assert (bits(self.net), settings(self.net)) == before
            named(caught, *names)
            assert self.trained() == self.expected
        except BaseException:
            victim.cache_clear()  # the next test gets another one
            raise


def named(caught, *names):
    assert any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", str(caught.value)) for name in names), str(caught.value)


@lru_cache(maxsize=None)
def victim(dtype="float64", loss=MSELoss):
    return Victim(dtype, loss())


# --- arrays ----------------------------------------------------------------------------------


def put(value, *place):
    """Makes a copy of the good array with one wrong number."""

    def bad(a):
        a = a.copy()
        a[place] = value
        return a

    return bad


RAGGED = [[1.0], [1.0, 2.0]]
BAD_ARRAYS = {
    "a row missing": lambda a: a[1:],
    "a row too many": lambda a: np.vstack([a, a[:1]]),
    "rows as columns": lambda a: np.ones((a.shape[1] + a.shape[0], a.shape[0])),
    "no columns": lambda a: a[:, :0],
    "no rows": lambda a: a[:0],
    "nothing": lambda a: [],
    "nothing in nothing": lambda a: [[]],
    "scalar": lambda a: 1.5,
    "1-D column": lambda a: a[:, 0],
    "1-D row": lambda a: a[0],
    "3-D": lambda a: a[:, :, None],
    "3-D, first axis": lambda a: a[None],
    "nan": put(NAN, -1, -1),
    "nan first": put(NAN, 0, 0),
    "inf": put(np.inf, 0, -1),
    "-inf": put(-np.inf, -1, 0),
    "nan in Fortran order": lambda a: np.asfortranarray(put(NAN, -1, -1)(a)),
    "nan in float32": lambda a: put(NAN, -1, -1)(a).astype(np.float32),
    "inf in float16": lambda a: put(np.inf, -1, -1)(a).astype(np.float16),
    "nan, big-endian": lambda a: put(NAN, -1, -1)(a).astype(">f8"),
    "nan, read-only": lambda a: np.frombuffer(put(NAN, -1, -1)(a).tobytes(), a.dtype).reshape(a.shape),
    "nan in a list": lambda a: put(NAN, -1, -1)(a).tolist(),
    "all nan": lambda a: np.full(a.shape, NAN),
    "text among objects": lambda a: put("1.5", -1, -1)(a.astype(object)),
    "objects": lambda a: np.full(a.shape, None),
    "str": lambda a: a.astype(str),
    "bytes": lambda a: a.astype("S8"),
    "text": lambda a: "abc",
    "complex": lambda a: a + 0j,
    "complex64": lambda a: a.astype(np.complex64),
    "ragged": lambda a: RAGGED,
    "ragged arrays": lambda a: [np.ones(2), np.ones(3)],
    "None": lambda a: None,
    "None in a list": lambda a: [[None]] * len(a),
    "datetime64": lambda a: np.zeros(a.shape, "M8[s]"),
    "timedelta64": lambda a: np.zeros(a.shape, "m8[s]"),
    "datetime": lambda a: [[datetime.datetime(2024, 1, 1)]] * len(a),
    "a record": lambda a: np.zeros(a.shape, [("v", "f8")]),
    "int beyond int64": lambda a: [[10**400]] * len(a),
    "dict": lambda a: {"a": 1},
    "set": lambda a: {1.0, 2.0},
    "generator": lambda a: (row for row in a),
}
if np.finfo(np.longdouble).max > np.finfo(np.float64).max:
    BAD_ARRAYS["beyond float64"] = lambda a: put(np.finfo(np.longdouble).max, -1, -1)(a.astype(np.longdouble))

DOORS = {
    "forward_pass(x)": ("x", lambda net, x, t, bad: net.forward_pass(bad)),
    "train(x)": ("x", lambda net, x, t, bad: net.train(bad, t)),
    "train(x), batches": ("x", lambda net, x, t, bad: net.train(bad, t, epochs=2, batch_size=2, shuffle=True, seed=1)),
    "gradients(x)": ("x", lambda net, x, t, bad: net.gradients(bad, t)),
    "train(t)": ("t", lambda net, x, t, bad: net.train(x, bad)),
    "train(t), batches": ("t", lambda net, x, t, bad: net.train(x, bad, epochs=2, batch_size=2)),
    "train(t), x a list": ("t", lambda net, x, t, bad: net.train(x.tolist(), bad)),
    "gradients(t)": ("t", lambda net, x, t, bad: net.gradients(x, bad)),
    "loss(values)": ("values", lambda net, x, t, bad: net.loss(bad, t)),
    "loss(expected)": ("expected", lambda net, x, t, bad: net.loss(net.forward_pass(x), bad)),
}
each_door = pytest.mark.parametrize("door", DOORS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
one_or_many = pytest.mark.parametrize("n", [1, MANY])


def knock(door, net, n, make_bad):
    """Call the door with good arguments but one (in the network's dtype: the shortest way in)."""
    name, call = DOORS[door]
    x, t = (a.astype(net.dtype) for a in data(n))
    return call(net, x, t, make_bad(x if name == "x" else t))


@each_dtype
@one_or_many
@each_door
@pytest.mark.parametrize("bad", BAD_ARRAYS)
def test_array(door, bad, n, dtype):
    name, _ = DOORS[door]
    with victim(dtype).refuses(name):
        knock(door, victim(dtype).net, n, BAD_ARRAYS[bad])


@one_or_many
@each_door
def test_overflows_float32(door, n):
    net = victim("float32").net
    for big in (1e300, -1e39):
        with victim("float32").refuses(DOORS[door][0]) as caught:
            knock(door, net, n, lambda a, big=big: put(big, -1, -1)(a.astype(float)))
        assert "float32" in str(caught.value)


@pytest.mark.parametrize("n", [1, 4])
@each_door
def test_samples_as_rows_get_a_hint(door, n):
    name, _ = DOORS[door]
    with victim().refuses(name) as caught:
        knock(door, victim().net, n, lambda a: np.ascontiguousarray(a.T))
    assert f"{name}.T" in str(caught.value)


@each_door
def test_the_error_says_where(door):
    net, name = victim().net, DOORS[door][0]
    with victim().refuses(name) as caught:
        knock(door, net, MANY, put(NAN, 1, 3))
    for text in ("nan", "row 1", "column 3"):
        assert text in str(caught.value)


COUNTS = [(1, 2), (2, 1), (1, MANY), (MANY, 1), (MANY, MANY - 1), (MANY - 1, MANY)]


@each_dtype
@pytest.mark.parametrize(("columns", "targets"), COUNTS)
@pytest.mark.parametrize("loss", [MSELoss, CrossEntropyLoss])
def test_counts_of_columns_differ(columns, targets, loss, dtype):
    v = victim(dtype, loss)
    x = v.x[:, :columns].astype(dtype)
    t = v.t[..., :targets]
    values = v.net.forward_pass(x)
    for call in (v.net.train, v.net.gradients, lambda x, t: v.net.train(x, t, batch_size=3)):
        with v.refuses("t"):
            call(x, t)
    with v.refuses("expected") as caught:
        v.net.loss(values, t)
    assert not re.search(r"\bx\b", str(caught.value)), "loss has no argument x"


# --- class indices ---------------------------------------------------------------------------

BAD_CLASS = {  # for one column; for many it is the last of a list
    "negative": -1,
    "too large": OUTS,
    "much too large": 10**6,
    "int64 min": -(2**63),
    "uint64 max": np.uint64(2**64 - 1),
    "beyond int64": 2**70,
    "float": 1.5,
    "float64": np.float64(0.5),
    "float32": np.float32(0.25),
    "half": 0.5,
    "nan": NAN,
    "str": "1",
    "None": None,
    "complex": 1j,
    "datetime64": np.datetime64(1, "s"),
}
BAD_CLASSES = {
    "too few": lambda n: np.zeros(n - 1, int),
    "too many": lambda n: np.zeros(n + 1, int),
    "none": lambda n: [],
    "one-hot": lambda n: np.eye(3, n, dtype=int)[:OUTS],
    "as floats": lambda n: np.full(n, 0.5),
    "3-D": lambda n: np.zeros((1, 1, n), int),
    "ragged": lambda n: RAGGED,
    "wrapped": lambda n: np.full(n, 2**64 - 1, np.uint64),
    "wrapped in float32": lambda n: np.full(n, 2**32),
    "negative in the middle": lambda n: -np.eye(1, n, n // 2, dtype=int)[0],
}
CLASS_DOORS = {
    "train": ("t", lambda net, x, t: net.train(x, t)),
    "train, batches": ("t", lambda net, x, t: net.train(x, t, epochs=2, batch_size=2, shuffle=True)),
    "gradients": ("t", lambda net, x, t: net.gradients(x, t)),
    "loss": ("expected", lambda net, x, t: net.loss(net.forward_pass(x), t)),
}
each_class_door = pytest.mark.parametrize("door", CLASS_DOORS)


def refuses_class(dtype, door, n, t):
    v, (name, call) = victim(dtype, CrossEntropyLoss), CLASS_DOORS[door]
    with v.refuses(name):
        call(v.net, v.x[:, :n].astype(dtype), t)


@each_dtype
@each_class_door
@pytest.mark.parametrize("bad", BAD_CLASS)
def test_class_index(door, bad, dtype):
    refuses_class(dtype, door, 1, BAD_CLASS[bad])
    refuses_class(dtype, door, 1, [BAD_CLASS[bad]])
    refuses_class(dtype, door, MANY, [0] * (MANY - 1) + [BAD_CLASS[bad]])


@each_dtype
@each_class_door
@one_or_many
@pytest.mark.parametrize("bad", BAD_CLASSES)
def test_class_indices(door, bad, n, dtype):
    refuses_class(dtype, door, n, BAD_CLASSES[bad](n))


# --- numbers ---------------------------------------------------------------------------------

BAD_RATES = [-0.1, -1, NAN, np.inf, -np.inf, np.float64("nan"), np.float32(-1), "0.1", b"1", True, np.True_, None, 1j]
BAD_RATES += [[0.1], (0.1,), {}, 10**400, np.array([0.1]), np.array([0.1, 0.2]), np.array("0.1"), np.array(True)]
BAD_RATES += [np.array(0.1j), np.array(NAN), np.array(-0.1), np.datetime64(1, "s"), MSELoss()]
BAD_COUNTS = [0, -1, np.int64(0), 1.0, 2.5, np.float64(1), NAN, True, np.True_, "1", None, 1j, [1], np.array([1, 2])]


@pytest.mark.parametrize("rate", BAD_RATES, ids=lambda rate: repr(rate)[:20])
def test_learning_rate(rate):
    v = victim()
    with v.refuses("learning_rate", "lr"):
        NeuralNetwork(v.net._layers, MSELoss(), rate)
    with v.refuses("learning_rate", "lr"):
        v.net.lr = rate
    assert v.net.lr == 0.1
    assert v.trained() == v.expected


@one_or_many
@pytest.mark.parametrize("name", ["epochs", "batch_size"])
@pytest.mark.parametrize("count", BAD_COUNTS, ids=repr)
def test_epochs_and_batch_size(name, count, n):
    v = victim()
    for shuffle in (False, True):
        with v.refuses(name):
            v.net.train(v.x[:, :n].copy(), v.t[:, :n].copy(), shuffle=shuffle, **{name: count})


@one_or_many
@pytest.mark.parametrize("seed", [-1, np.int8(-1), 1.5, 1.0, NAN, "1", True, 2**63, 2**200, [1], np.array([1, 2])])
def test_seed_of_train(seed, n):
    v = victim()
    for shuffle in (False, True):
        with v.refuses("seed"):
            v.net.train(v.x[:, :n].copy(), v.t[:, :n].copy(), shuffle=shuffle, seed=seed)


# --- making layers and networks --------------------------------------------------------------


def refuses(name, function, *args, **kwargs):
    with pytest.raises((ValueError, TypeError)) as caught:
        function(*args, **kwargs)
    named(caught, name)


@pytest.mark.parametrize("name", ["ins", "outs"])
@pytest.mark.parametrize("count", BAD_COUNTS, ids=repr)
def test_size_of_layer(name, count):
    refuses(name, Layer, **{"ins": 2, "outs": 3, "act_function": Tanh(), name: count})


@pytest.mark.parametrize("act", [Tanh, None, "tan", b"tanh", np.tanh, 3, MSELoss(), len], ids=repr)
def test_activation_of_layer(act):
    refuses("act_function", Layer, 2, 3, act)


BAD_INITS = {
    "unknown": "nope",
    "empty": "",
    "capital": "He_normal",
    "number": 3,
    "list": ["he_normal"],
    "dict": {},
    "transposed": lambda outs, ins, rng: np.zeros((ins, outs)),
    "scalar": lambda outs, ins, rng: 0.5,
    "1-D": lambda outs, ins, rng: np.zeros(outs * ins),
    "3-D": lambda outs, ins, rng: np.zeros((outs, ins, 1)),
    "None": lambda outs, ins, rng: None,
    "ragged": lambda outs, ins, rng: RAGGED,
    "str": lambda outs, ins, rng: np.full((outs, ins), "1"),
    "complex": lambda outs, ins, rng: np.full((outs, ins), 1j),
    "object": lambda outs, ins, rng: np.full((outs, ins), None),
}


@pytest.mark.parametrize("name", ["init", "bias_init"])
@pytest.mark.parametrize("init", BAD_INITS)
def test_init_of_layer(name, init):
    refuses(name, Layer, 2, 3, Tanh(), **{name: BAD_INITS[init]})


@pytest.mark.parametrize("name", ["init", "bias_init"])
def test_init_overflows_float32(name):
    refuses(name, Layer, 2, 3, Tanh(), dtype="float32", **{name: lambda outs, ins, rng: np.full((outs, ins), 1e300)})


@pytest.mark.parametrize("seed", [-1, 1.5, NAN, "one", [-1], Tanh()], ids=repr)
def test_seed_of_layer(seed):
    refuses("seed", Layer, 2, 3, Tanh(), seed=seed)


@pytest.mark.parametrize(
    "dtype",
    ["float16", np.float16, "int", int, "garbage", complex, object, str, 3, "longdouble", [("v", "f8")]],
    ids=repr,
)
def test_dtype(dtype):
    if dtype == "longdouble" and np.dtype(dtype) == np.float64:
        pytest.skip("long double is float64 here")
    refuses("dtype", Layer, 2, 3, Tanh(), dtype=dtype)
    with victim().refuses("dtype"):
        NeuralNetwork(victim().net._layers, MSELoss(), 0.1, dtype=dtype)


BAD_LAYERS = {
    "empty": [],
    "empty tuple": (),
    "None": None,
    "a layer": Layer(2, 3, Tanh()),
    "number": 3,
    "text": "layers",
    "None in it": [None],
    "class in it": [Layer],
    "activation in it": [Layer(2, 3, Tanh()), Tanh()],
    "list in it": [[Layer(2, 3, Tanh())]],
    "reference": [reference.Layer(2, 3, Tanh())],
    "array": np.zeros((2, 3)),
}


@pytest.mark.parametrize("layers", BAD_LAYERS)
def test_layers(layers):
    refuses("layers", NeuralNetwork, BAD_LAYERS[layers], MSELoss(), 0.1)


@pytest.mark.parametrize("loss", [MSELoss, None, "mes", b"mse", Tanh(), 3, len], ids=repr)
def test_loss_function(loss):
    for dtype in (None, "float32"):
        with victim().refuses("loss_function"):
            NeuralNetwork(victim().net._layers, loss, 0.1, dtype=dtype)


@pytest.mark.parametrize("name", ["act_function", "loss_function"])
def test_a_class_gets_a_hint(name):
    with pytest.raises(TypeError, match=r"write \w+\(\), not \w+"):
        NeuralNetwork([Layer(2, 3, Tanh if name == "act_function" else Tanh())], MSELoss, 0.1)


def test_incompatible_layers():
    layers = [Layer(2, 3, Tanh()), Layer(3, 17, Tanh()), Layer(19, 2, Tanh())]
    with pytest.raises(ValueError, match=r"^Layers should have compatible shapes\..*\b17\b.*\b19\b"):
        NeuralNetwork(layers, MSELoss(), 0.1, dtype="float32")
    assert [layer.dtype.name for layer in layers] == ["float64"] * 3


# --- what is set later -----------------------------------------------------------------------

BAD_PARAMETERS = [
    "rows as columns",
    "a row missing",
    "1-D column",
    "3-D",
    "scalar",
    "nothing",
    "None",
    "ragged",
    "text",
]
BAD_PARAMETERS += [
    "text among objects",
    "objects",
    "str",
    "complex",
    "datetime64",
    "a record",
    "dict",
    "int beyond int64",
]


@each_dtype
@pytest.mark.parametrize("name", ["_W", "weights", "_b", "biases"])
@pytest.mark.parametrize("bad", BAD_PARAMETERS)
def test_parameters(name, bad, dtype):
    layer = victim(dtype).net._layers[0]
    good = np.array(getattr(layer, name), float)
    with victim(dtype).refuses(name, "W" if name in ("_W", "weights") else "b"):
        setattr(layer, name, BAD_ARRAYS[bad](good))


@pytest.mark.parametrize("name", ["_W", "weights", "_b", "biases"])
def test_parameters_overflow_float32(name):
    layer = victim("float32").net._layers[0]
    good = np.array(getattr(layer, name), float)
    with victim("float32").refuses(name, "W" if name in ("_W", "weights") else "b"):
        setattr(layer, name, put(1e300, -1, -1)(good))


class NoFormula(ActivationFunction):
    def f(self, x):
        return np.linalg.inv(x)

    def df(self, x):
        return x


def every_call(v):
    """Each call that must refuse, in both forms, and again: an error must not make the next call succeed."""
    x1, t1 = (a[:, :1].astype(v.net.dtype) for a in (v.x, v.t))
    calls = [lambda: v.net.train(x1, t1), lambda: v.net.train(v.x, v.t), lambda: v.net.gradients(v.x, v.t)]
    return [*calls, lambda: v.net.loss(t1, t1), lambda: v.net.forward_pass(x1), lambda: v.net.forward_pass(v.x)]


@pytest.mark.parametrize("act", [Tanh, None, "tan", np.tanh, 3, MSELoss(), NoFormula()], ids=repr)
def test_activation_set_later(act):
    v = Victim("float64", MSELoss())
    layer, good, before = v.net._layers[1], v.net._layers[1].act_function, bits(v.net)

    def use(call):  # the activation may be refused at once, or by the call
        if layer.act_function is not act:
            layer.act_function = act
        call()

    for call in every_call(v):
        for _ in range(2):
            with pytest.raises((ValueError, TypeError)) as caught:
                use(call)
            named(caught, "act_function", "NoFormula.f")
            assert bits(v.net) == before
        layer.act_function = good
        assert v.trained() == v.expected


def test_formula_error_is_raised_again():
    v = Victim("float64", MSELoss())
    v.net._layers[1].act_function = NoFormula()
    for call in every_call(v) * 2:
        with pytest.raises(FormulaError, match="NoFormula"):
            call()


def test_loss_set_later():
    v = Victim("float64", HuberLoss())
    good = v.net._loss_function
    for bad in (MSELoss, None, "mes", b"mse", Tanh()):
        before = bits(v.net)
        with pytest.raises((TypeError, ValueError), match="loss_function"):
            v.net._loss_function = bad
        assert v.net._loss_function is good
        assert bits(v.net) == before
        assert v.trained() == v.expected


LATER_LAYERS = {
    "appended": (lambda layers: layers.append(Layer(17, 2, Tanh())), r"^Layers should have compatible shapes\..*2.*17"),
    "replaced": (lambda layers: layers.__setitem__(0, Layer(INS, 19, Tanh())), r"^Layers should have .*19.*4"),
    "removed": (lambda layers: layers.clear(), "layers"),
    "no layer": (lambda layers: layers.append(Tanh()), "layers"),
    "class": (lambda layers: layers.__setitem__(0, Layer), "layers"),
    "another dtype": (lambda layers: layers.append(Layer(OUTS, OUTS, Identity(), dtype="float32")), "float32"),
}


@pytest.mark.parametrize("change", LATER_LAYERS)
def test_layers_changed_later(change):
    v = Victim("float64", MSELoss())
    layers, before = list(v.net._layers), bits(v.net)
    LATER_LAYERS[change][0](v.net._layers)
    for call in every_call(v) * 2:
        with pytest.raises((ValueError, TypeError), match=LATER_LAYERS[change][1]):
            call()
    v.net._layers[:] = layers
    assert bits(v.net) == before
    assert v.trained() == v.expected


def test_refused_calls_leave_the_lock_free():
    v = victim()
    for _ in range(3):
        with v.refuses("t"):
            v.net.train(v.x[:, :1].copy(), [[1.0]])
        with v.refuses("x"):
            v.net.forward_pass(np.full((INS, 1), NAN))


@each_dtype
@one_or_many
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("loss", [MSELoss, CrossEntropyLoss])
@pytest.mark.filterwarnings("ignore:training left the finite numbers")
def test_a_diverged_network_can_be_put_back(loss, batch_size, n, dtype):
    """NaN and infinity must not survive in what the user cannot see (padding, scratch memory)."""
    v = Victim(dtype, loss())
    v.net.lr = np.finfo(dtype).max / 2
    for _ in range(5):
        v.net.train(v.x[:, :n].astype(dtype), v.t[..., :n], epochs=3, batch_size=batch_size)
        v.net.train(v.x[:, :1].astype(dtype), v.t[..., :1])
    assert not np.isfinite(v.net._layers[0]._W).all()
    v.net.lr = 0.1
    v.restore()
    assert v.trained() == v.expected


def test_images_get_a_hint_that_fits():
    net = NeuralNetwork([Layer(784, 1, Identity(), init="zeros")], MSELoss(), 0.1)
    image, images = np.zeros((28, 28)), np.zeros((5, 28, 28))
    for call, given, hint in [
        (net.predict, image, "X.reshape(1, -1) has it: is it one sample?"),
        (net.forward_pass, image, "x.reshape(-1, 1) has it: is it one sample?"),
        (net.forward_pass, images, "x.reshape(len(x), -1).T makes columns of 784 numbers"),
    ]:
        with pytest.raises(ValueError, match=re.escape(hint)):
            call(given)
    assert net.predict(image.reshape(1, -1)).shape == (1, 1)
    assert net.forward_pass(images.reshape(len(images), -1).T).shape == (1, 5)


def test_a_list_of_masked_rows_is_masked():
    net = NeuralNetwork([Layer(2, 1, Identity(), init="zeros")], MSELoss(), 0.1)
    rows = list(np.ma.masked_array(np.ones((3, 2)), [[0, 0], [0, 1], [0, 0]]))
    with pytest.raises(ValueError, match=r"X is a masked array with masked entries, the first at \[1, 1\]"):
        net.predict(rows)
    assert net.predict([rows[0], np.ones(2)]).shape == (2, 1)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda net: net.evaluate(np.ones((3, 2)), None), "y"),
        (lambda net: net.predict(None), "X"),
        (lambda net: net.train(np.ones((2, 3)), None), "t"),
        (lambda net: net.train(np.ones((2, 1)), None), "t"),
        (lambda net: net.find_lr(np.ones((3, 2)), None), "y"),
        (lambda net: net.fit(np.ones((3, 2)), np.ones(3), validation_data=(None, np.ones(3))), "X of validation_data"),
    ],
)
def test_none_is_no_missing_value(call, name):
    net = NeuralNetwork([Layer(2, 1, Identity(), init="zeros")], MSELoss(), 0.1)
    with pytest.raises(TypeError, match=f"^{name} is None; expected real numbers"):
        call(net)


def test_flags_that_are_none():
    net = NeuralNetwork([Layer(2, 1, Identity(), init="zeros")], MSELoss(), 0.1)
    x, t = np.ones((2, 1)), np.ones((1, 1))
    with pytest.raises(TypeError, match=r"^training is 'no'; expected True or False"):
        net.gradients(x, t, training="no")
    with pytest.raises(TypeError, match=r"^shuffle is 'no'; expected True or False"):
        net.train(x, t, shuffle="no")
