"""Whatever holds the same numbers gives the same bits, is not written, and compiles nothing."""

from __future__ import annotations

import fractions
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import CrossEntropyLoss, Identity, Layer, LeakyReLU, MSELoss, NeuralNetwork, Tanh

pd = pytest.importorskip("pandas")

INS, OUTS, MANY = 3, 2, 5
CLASSES = np.array([1, 0, 0, 1, 1])

each_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])
one_or_many = pytest.mark.parametrize("n", [1, MANY])


def network(dtype, loss):
    layers = [Layer(INS, 4, LeakyReLU(), seed=0), Layer(4, OUTS, Tanh(), bias_init="he_normal", seed=1)]
    return NeuralNetwork(layers, loss, 0.125, dtype=dtype)


def everything(net, x, t):
    """The bits of all that `net` makes of x and t: what each call returns, and the parameters after it."""
    parameters = [array for layer in net._layers for array in (layer._W, layer._b)]
    start = [np.array(array) for array in parameters]
    values = np.zeros((OUTS, np.asarray(x).shape[1]))
    calls = {
        "forward_pass": lambda: net.forward_pass(x),
        "train": lambda: net.train(x, t),
        "train, batches": lambda: net.train(x, t, epochs=2, batch_size=2, shuffle=True, seed=3),
        "gradients": lambda: np.concatenate([g.ravel() for part in net.gradients(x, t)[:3] for g in part]),
        "loss": lambda: net.loss(values, t),
    }
    result = {}
    for name, call in calls.items():
        result[name] = np.asarray(call()).tobytes(), *(array.tobytes() for array in parameters)
        for array, before in zip(parameters, start):
            array[...] = before
    return result


def signatures():
    """How often each kernel was compiled."""
    kernels = [*vars(fastnn.kernels.epoch).values(), *vars(fastnn.kernels.recursion).values()]
    return {kernel.__name__: len(kernel.signatures) for kernel in kernels if hasattr(kernel, "signatures")}


def check(dtype, loss, x, t, plain_x, plain_t):
    """x and t give the bits of plain_x and plain_t, compile nothing and stay as they are."""
    net = network(dtype, loss)
    plain = everything(net, plain_x, plain_t)
    assert everything(net, plain_x.astype(dtype), plain_t.astype(dtype if plain_t.dtype.kind == "f" else int)) == plain
    compiled, before = signatures(), (memory(x), memory(t))
    assert everything(net, x, t) == plain
    assert signatures() == compiled
    assert (memory(x), memory(t)) == before


def memory(values):
    return np.asarray(values).tobytes()


# --- layouts: the same numbers at other places -----------------------------------------------


def strided(a, step=2):
    """A view of every other number of a larger array; a negative step turns both axes around."""
    big = np.full((abs(step) * a.shape[0], abs(step) * a.shape[1]), 99, a.dtype)
    view = big[::step, ::step]
    view[...] = a
    return view


def read_only(a):
    a.flags.writeable = False
    return a


def unaligned(a, order="C"):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape, order=order)
    view[...] = a
    return view


def memmap(a, mode, order="C"):
    def make(path):
        with open(path, "wb") as file:
            file.write(a.tobytes(order))
        return np.memmap(path, a.dtype, mode, 0, a.shape, order)

    return make


class Subclass(np.ndarray):
    pass


class ArrayLike:
    """Not an array, but it can become one."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def in_a_record(a):
    records = np.zeros(a.shape, [("before", "u1"), ("value", a.dtype), ("after", "u2")])
    records["value"] = a
    return records["value"]


LAYOUTS = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "strided": strided,
    "strided by 3": lambda a: strided(a, 3),
    "negative strides": lambda a: strided(a, -1),
    "negative strides by 2": lambda a: strided(a, -2),
    "rows turned": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "columns turned": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
    "slice of columns": lambda a: np.hstack([a, a])[:, : a.shape[1]],
    "slice of rows": lambda a: np.vstack([a, a])[: a.shape[0]],
    "read-only": read_only,
    "read-only, Fortran": lambda a: read_only(np.asfortranarray(a)),
    "read-only, strided": lambda a: read_only(strided(a)),
    "bytes": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "unaligned": unaligned,
    "unaligned, Fortran": lambda a: unaligned(a, "F"),
    "unaligned, read-only": lambda a: read_only(unaligned(a)),
    "in a record": in_a_record,
    "subclass": lambda a: a.view(Subclass),
    "masked array": lambda a: np.ma.masked_array(a),
    "unpickled": lambda a: pickle.loads(pickle.dumps(a)),
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder("S")),
    "other byte order, Fortran": lambda a: np.asfortranarray(a).astype(a.dtype.newbyteorder("S")),
    "other byte order, read-only": lambda a: read_only(a.astype(a.dtype.newbyteorder("S"))),
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(map(tuple, a.tolist())),
    "list of rows": list,
    "__array__": ArrayLike,
    "__array__, read-only": lambda a: ArrayLike(read_only(a)),
    "memoryview": memoryview,
    "DataFrame": pd.DataFrame,
    "DataFrame of columns": lambda a: pd.DataFrame({f"c{i}": column for i, column in enumerate(a.T)}),
    "DataFrame, turned": lambda a: pd.DataFrame(np.ascontiguousarray(a.T)).T,
}


@each_dtype
@one_or_many
@pytest.mark.parametrize("own", ["float64", "float32"])  # the dtype of the arrays
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout(layout, own, n, dtype):
    rng = np.random.default_rng(0)
    plain_x, plain_t = rng.normal(size=(INS, n)).astype(own).astype(float), rng.normal(size=(OUTS, n)).astype(own)
    x, t = (LAYOUTS[layout](np.array(a, own, order="C")) for a in (plain_x, plain_t))
    assert np.array_equal(x, plain_x)
    check(dtype, MSELoss(), x, t, plain_x, plain_t.astype(float))


@each_dtype
@one_or_many
@pytest.mark.parametrize("own", ["float64", "float32", ">f8", "float16", "uint8"])
@pytest.mark.parametrize(("mode", "order"), [("r", "C"), ("r", "F"), ("c", "C"), ("r+", "F")])
def test_memmap(mode, order, own, n, dtype, tmp_path):
    rng = np.random.default_rng(1)
    plain_x, plain_t = (rng.integers(0, 9, (rows, n)).astype(float) for rows in (INS, OUTS))
    paths = [tmp_path / "x", tmp_path / "t"]
    x, t = (memmap(a.astype(own), mode, order)(path) for a, path in zip((plain_x, plain_t), paths))
    before = [path.read_bytes() for path in paths]
    check(dtype, MSELoss(), x, t, plain_x, plain_t)
    assert [path.read_bytes() for path in paths] == before


# --- dtypes: the same numbers in other types -------------------------------------------------

INTS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", ">i2", ">i4", ">i8", ">u4"]
FLOATS = ["float16", ">f2", "float32", ">f4", "float64", ">f8", "longdouble"]


@each_dtype
@one_or_many
@pytest.mark.parametrize(
    "layout", ["C", "Fortran", "strided", "negative strides", "read-only", "unaligned", "DataFrame"]
)
@pytest.mark.parametrize("own", ["bool", *INTS, *FLOATS])
def test_dtype(own, layout, n, dtype):
    rng = np.random.default_rng(2)
    kind = np.dtype(own).kind
    low, high = (0, 2) if kind == "b" else (0, 100) if kind == "u" else (-100, 100)
    x, t = (rng.integers(low, high, (rows, n)) / (8 if kind == "f" else 1) for rows in (INS, OUTS))
    x, t = (LAYOUTS[layout](a.astype(own)) for a in (x, t))
    check(dtype, MSELoss(), x, t, np.array(x, float, order="C"), np.array(t, float, order="C"))


@each_dtype
def test_extreme_integers(dtype):
    for own in ("int64", "uint64"):
        x = np.array([[np.iinfo(own).min], [np.iinfo(own).max], [1]], own)
        check(dtype, MSELoss(), x, np.zeros((OUTS, 1), own), x.astype(float), np.zeros((OUTS, 1)))


@each_dtype
@pytest.mark.parametrize("make", [float, np.float64, np.float32, np.float16, np.array, lambda v: [[v]]])
def test_scalars(make, dtype):
    layers = [Layer(1, 3, Tanh(), seed=0), Layer(3, 1, Identity(), seed=1)]
    net, plain = (NeuralNetwork(pickle.loads(pickle.dumps(layers)), MSELoss(), 0.125, dtype=dtype) for _ in range(2))
    for v in (0.5, -2.0, 0.0):
        x, t, column, target = make(v), make(2 * v), np.array([[v]]), np.array([[2 * v]])
        assert net.forward_pass(x).shape == (1, 1)
        assert net.forward_pass(x) == plain.forward_pass(column)
        assert net.loss(x, t) == plain.loss(column, target)
        assert net.gradients(x, t).loss == plain.gradients(column, target).loss
        assert net.train(x, t) == plain.train(column, target)
        assert net.train(x, t, epochs=2) == plain.train(column, target, epochs=2)
        assert net.train(column, t) == plain.train(column, target)
        assert net._layers[0]._W.tobytes() == plain._layers[0]._W.tobytes()


# --- class indices ---------------------------------------------------------------------------

CLASS_FORMS = {
    "array": lambda c: c,
    "row": lambda c: c[None],
    "list": lambda c: c.tolist(),
    "tuple": lambda c: tuple(c.tolist()),
    "list of row": lambda c: [c.tolist()],
    "list of NumPy integers": list,
    "strided": lambda c: np.repeat(c, 2)[::2],
    "negative strides": lambda c: np.ascontiguousarray(c[::-1])[::-1],
    "column turned": lambda c: np.ascontiguousarray(c[:, None]).T,
    "read-only": lambda c: read_only(c.copy()),
    "read-only row": lambda c: read_only(c[None].copy()),
    "broadcast": lambda c: np.broadcast_to(c, (1, c.size)),
    "bytes": lambda c: np.frombuffer(c.tobytes(), c.dtype),
    "unaligned": unaligned,
    "in a record": in_a_record,
    "other byte order": lambda c: c.astype(c.dtype.newbyteorder("S")),
    "unpickled": lambda c: pickle.loads(pickle.dumps(c)),
    "Series": pd.Series,
    "Series with an index": lambda c: pd.Series(c, index=[f"row {i}" for i in range(c.size)][::-1]),
    "column of a DataFrame": lambda c: pd.DataFrame({"a": c, "b": c})["b"],
    "row of a DataFrame": lambda c: pd.DataFrame([c, c]).iloc[1],
    "Index": pd.Index,
}
ONE_CLASS = {
    "int": int,
    "int64": np.int64,
    "int8": np.int8,
    "uint8": np.uint8,
    "uint64": np.uint64,
    "0-d": np.array,
    "0-d uint8": lambda c: np.array(c, np.uint8),
    "0-d, read-only": lambda c: read_only(np.array(c)),
    "of an array": lambda c: np.array([9, c, 9])[1],
}


@each_dtype
@one_or_many
@pytest.mark.parametrize("own", ["int64", "uint8", "int32", "uint64"])
@pytest.mark.parametrize("form", CLASS_FORMS)
def test_class_indices(form, own, n, dtype):
    x = np.random.default_rng(3).normal(size=(INS, n)).astype(dtype)
    check(dtype, CrossEntropyLoss(), x, CLASS_FORMS[form](CLASSES[:n].astype(own)), x, CLASSES[:n].copy())


@each_dtype
def test_class_indices_memmap(dtype, tmp_path):
    x = np.random.default_rng(3).normal(size=(INS, MANY))
    check(dtype, CrossEntropyLoss(), x, memmap(CLASSES, "r")(tmp_path / "t"), x, CLASSES)


@each_dtype
@pytest.mark.parametrize("form", ONE_CLASS)
def test_one_class_index(form, dtype):
    for c in range(OUTS):
        for own in (dtype, float, int, "float16"):  # both ways in: as it is, and converted
            x = np.array([[1], [0], [-2]]).astype(own)
            check(dtype, CrossEntropyLoss(), x, ONE_CLASS[form](c), x, np.array([c]))


def test_many_classes_in_a_small_type():
    x = np.ones((INS, 1))
    net = NeuralNetwork([Layer(INS, 300, Identity(), seed=0)], CrossEntropyLoss(), 0.0, dtype="float32")
    for c in (0, 127, 128, 255, 256, 299):
        own = np.uint8 if c < 256 else np.uint16
        assert (
            net.train(x, own(c)) == net.train(x, c) == net.train(x, [c]) == net.loss(net.forward_pass(x), np.array([c]))
        )


# --- numbers ---------------------------------------------------------------------------------


@each_dtype
@one_or_many
@pytest.mark.parametrize(
    "rate",
    [np.float64(0.125), np.float32(0.125), np.float16(0.125), fractions.Fraction(1, 8), np.array(0.125)],
    ids=repr,
)
def test_learning_rate(rate, n, dtype):
    x, t = np.ones((INS, n), dtype), np.zeros((OUTS, n), dtype)
    plain = everything(network(dtype, MSELoss()), x, t)
    compiled = signatures()
    layers = network(dtype, MSELoss())._layers
    assert everything(NeuralNetwork(layers, MSELoss(), rate, dtype=dtype), x, t) == plain
    net = network(dtype, MSELoss())
    net.lr = rate
    assert everything(net, x, t) == plain
    net.lr = 1
    assert everything(net, x, t)["train"] != plain["train"]
    assert signatures() == compiled


@each_dtype
@pytest.mark.parametrize("number", [np.int64, np.int8, np.uint8, np.uint64])
def test_numpy_integers_as_settings(number, dtype):
    x, t = np.ones((INS, MANY)), np.zeros((OUTS, MANY))
    plain, net = network(dtype, MSELoss()), network(dtype, MSELoss())
    expected = plain.train(x, t, epochs=3, batch_size=2, shuffle=True, seed=5)
    compiled = signatures()
    assert net.train(x, t, epochs=number(3), batch_size=number(2), shuffle=np.True_, seed=number(5)) == expected
    assert memory(net._layers[0]._W) == memory(plain._layers[0]._W)
    assert signatures() == compiled
    layer = Layer(number(2), number(3), Tanh(), seed=number(1))
    assert (type(layer.ins), type(layer.outs)) == (int, int)
    assert memory(layer._W) == memory(Layer(2, 3, Tanh(), seed=1)._W)
