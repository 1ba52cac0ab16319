"""Arrays that formulas read: as attributes of losses, activations and optimisers, whatever becomes of them."""

import copy
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from networks import Pinball

import fastnn
from fastnn import (
    ActivationFunction,
    Adam,
    ElementwiseLoss,
    FormulaError,
    Identity,
    Layer,
    LossFunction,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    Optimizer,
    Tanh,
    check_gradients,
)
from fastnn.kernels import special
from fastnn.kernels.fields import MOST_NUMBERS

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(50, 2)), RNG.normal(size=(50, 3))
DTYPES = ["float64", "float32"]


class Weighed(LossFunction):
    def __init__(self, weights):
        self.weights = weights

    def loss(self, values, expected):
        return np.sum(self.weights * (values - expected) ** 2)

    def dloss(self, values, expected):
        return 2 * self.weights * (values - expected)


class Polynomial(ActivationFunction):
    def __init__(self, coefficients):
        self.coefficients = coefficients

    def f(self, x):
        y = x * 0
        for c in self.coefficients:
            y = y * x + c
        return y

    def df(self, x):
        y, slope = x * 0, x * 0
        for k in range(len(self.coefficients)):
            slope, y = slope * x + y, y * x + self.coefficients[k]
        return slope


class Hinges(ActivationFunction):
    """Of a table of two columns, knots and slopes."""

    def __init__(self, table):
        self.table = table

    def f(self, x):
        y = x * 0
        for k in range(self.table.shape[0] - 1):
            y = y + self.table[k + 1, 1] * np.maximum(x - self.table[k, 0], 0)
        return y

    def df(self, x):
        y = x * 0
        for k in range(self.table.shape[0] - 1):
            y = y + np.where(x > self.table[k, 0], self.table[k + 1, 1], 0)
        return y


class Costs(LossFunction):
    target = "class"

    def __init__(self, costs):
        self.costs = costs

    def loss(self, values, expected):
        return np.sum(self.costs[expected].reshape(-1, 1) * values**2)

    def dloss(self, values, expected):
        return 2 * self.costs[expected].reshape(-1, 1) * values


class Mixed(ElementwiseLoss):
    def __init__(self, shares, on):
        self.shares, self.on = shares, on

    def f(self, v, t):
        e = np.abs(v - t)
        return self.shares[0] * e + self.shares[-1] * e**2 * np.where(self.on[1], 1, 0)

    def df(self, v, t):
        return self.shares[0] * np.sign(v - t) + 2 * self.shares[-1] * (v - t) * np.where(self.on[1], 1, 0)


class Blend(Optimizer):
    state = {"m": 0.0}

    def __init__(self, parts):
        self.parts = parts

    def update(self, w, g, lr, step, m):
        m = self.parts[0] * m + self.parts[1] * g
        return w - lr * m, m


def network(loss=None, act=None, optimizer=None, dtype="float64", outs=3):
    layers = [Layer(2, 4, act or Tanh(), seed=0), Layer(4, outs, Identity(), seed=1)]
    return NeuralNetwork(layers, loss or MSELoss(), 0.01, optimizer, dtype=dtype)


def by_numpy(net, X=X, Y=Y):
    """The mean loss, as the text says it in NumPy, from activations as it says them."""
    x = X.T.astype(net.dtype)
    for layer in net.layers:
        x = layer.act_function.f(layer.weights @ x + layer.biases)
    columns = Y.reshape(len(Y), -1, 1) if Y.ndim > 1 else Y
    return np.mean([net.loss_function.loss(v.reshape(-1, 1), t) for v, t in zip(x.T, columns)])


def same(net, *data):
    """Whether the kernels compute what the text says now."""
    X_, Y_ = data or (X, Y)
    expected = by_numpy(net, X_, Y_)
    narrow = np.float32 in (net.dtype, getattr(getattr(net.loss_function, "taus", None), "dtype", None))
    assert net.evaluate(X_, Y_)["loss"] == pytest.approx(expected, rel=1e-5 if narrow else 1e-12)
    return expected


FORMS = [
    [0.05, 0.5, 0.95], (0.05, 0.5, 0.95), ((0.05,), (0.5,), (0.95,)), np.array([0.05, 0.5, 0.95]),
    np.array([0.05, 0.5, 0.95], "f4"), np.array([0.05, 0.5, 0.95], ">f8"), np.array([[0.05], [0.5], [0.95]]),
    np.array([0.05, 9, 0.5, 9, 0.95])[::2], [np.float32(0.5), 1, True], [1, 0, 1], np.array([1, 0, 1], np.int32),
    [True, False, True],
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_any_array_list_or_tuple_of_numbers_will_do(form, dtype):
    if np.asarray(form).dtype.kind == "b":
        net = network(Weighed(np.reshape(form, (-1, 1)).tolist()), dtype=dtype)
        assert net.loss_function.weights.dtype == bool
    else:
        net = network(Pinball(form), dtype=dtype)
        assert isinstance(net.loss_function.taus, np.ndarray)
    same(net)
    net.fit(X, Y, epochs=2, verbose=0)
    same(net)


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_all_kinds_of_formulas(dtype):
    table = [[-1.0, 0.0], [0.0, 0.5], [1.0, 0.25], [2, 0.125]]
    for net in (
        network(act=Polynomial([0.1, 0.5, 0.0]), dtype=dtype),
        network(act=Hinges(table), dtype=dtype),
        network(Mixed((0.25, 0.75), [False, True]), dtype=dtype),
        network(Pinball([0.1, 0.5, 0.9]), Polynomial([[1.0]][0]), dtype=dtype),
    ):
        same(net)
        if not isinstance(net.loss_function, Mixed):
            assert check_gradients(net, X[:5], Y[:5])
    classes = RNG.integers(0, 3, 50)
    net = network(Costs(np.arange(9).reshape(3, 3)), dtype=dtype)
    same(net, X, classes)
    blend, adam = network(optimizer=Blend([0.9, 0.1]), dtype=dtype), network(optimizer=Adam(), dtype=dtype)
    weight, m = blend.layers[1].weights.copy(), 0.0
    twin = copy.deepcopy(blend)
    for parts in ([0.9, 0.1], [0.5, 2.0]):
        blend.optimizer.parts[:] = parts
        gradient = twin.gradients(X.T, Y.T).dWs[1]
        m = parts[0] * m + parts[1] * gradient
        weight = weight - 0.01 * m
        blend.fit(X, Y, batch_size=50, shuffle=False, verbose=0)
        np.testing.assert_allclose(blend.layers[1].weights, weight, rtol=1e-3 if dtype == "float32" else 1e-9)
        twin.set_weights(blend.get_weights())
    adam.fit(X, Y, verbose=0)


CHANGES = {
    "a number": lambda loss: loss.taus.__setitem__(0, 0.3),
    "all": lambda loss: loss.taus.fill(0.25),
    "a view": lambda loss: loss.taus[1:].__iadd__(0.125),
    "out": lambda loss: np.multiply(loss.taus, 0.5, out=loss.taus),
    "sorted": lambda loss: loss.taus[::-1].sort(),
    "+=": lambda loss: setattr(loss, "taus", loss.taus.__iadd__(0.01)),
    "assigned": lambda loss: setattr(loss, "taus", np.array([0.6, 0.7, 0.8])),
    "a list": lambda loss: setattr(loss, "taus", [0.6, 0.7, 0.8]),
    "float32": lambda loss: setattr(loss, "taus", np.array([0.6, 0.7, 0.8], "f4")),
    "a column": lambda loss: setattr(loss, "taus", np.array([[0.6], [0.7], [0.8]])),
    "integers": lambda loss: setattr(loss, "taus", [1, 0, 1]),
    "around": lambda loss: vars(loss).update(taus=np.array([0.6, 0.7, 0.8])),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_changes_an_array_is_used_by_the_next_call(change, dtype):
    taus = np.array([0.2, 0.5, 0.9])
    net = network(Pinball(taus), dtype=dtype)
    assert net.loss_function.taus is taus
    other = network(net.loss_function, dtype="float64")  # which shares it
    first, before = same(net), same(other)
    CHANGES[change](net.loss_function)
    assert same(net) != first
    assert same(other) != before
    twin = network(Pinball(net.loss_function.taus.copy()), dtype=dtype)
    for one in (net, twin):
        one.train(X.T, Y.T)
        one.train(X[:1].T, Y[:1].T)
        one.fit(X, Y, batch_size=7, verbose=0, seed=0)
    assert np.array_equal(net.parameters, twin.parameters)


@pytest.mark.parametrize("kernel", ["never", "always"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_activation_that_changes_in_place(kernel, dtype, monkeypatch):
    monkeypatch.setattr(special, "when", kernel)
    coefficients = np.array([0.1, 0.5, 0.0])
    net = network(act=Polynomial(coefficients), dtype=dtype)
    for value in (1.0, -0.5, 0.25):
        coefficients[0] = value
        fresh = network(act=Polynomial(coefficients.copy()), dtype=dtype)
        fresh.set_weights(net.get_weights())
        assert np.array_equal(net.predict(X), fresh.predict(X))
        assert np.array_equal(net.predict(X[:1]), fresh.predict(X[:1]))
        assert np.array_equal(net.forward_pass(X[:1].T), fresh.forward_pass(X[:1].T))
        gradients = net.gradients(X.T, Y.T).dWs[0], fresh.gradients(X.T, Y.T).dWs[0]
        assert np.array_equal(*gradients)
        for one in (net, fresh):
            one.train(X.T, Y.T)
            one.fit(X, Y, epochs=3, batch_size=1, shuffle=False, verbose=0)
        assert np.array_equal(net.parameters, fresh.parameters)


def test_a_callback_may_change_an_array_between_epochs():
    def fitted(change):
        net = network(Pinball([0.2, 0.5, 0.9]))
        at = fastnn.LambdaCallback(on_epoch_end=lambda epoch, logs: change(net.loss_function, epoch))
        return net.fit(X, Y, epochs=4, verbose=0, seed=0, callbacks=[at])["loss"]

    def in_place(loss, epoch):
        loss.taus[0] = 0.1 * epoch

    def anew(loss, epoch):
        loss.taus = [0.1 * epoch, 0.5, 0.9]

    assert fitted(in_place) == fitted(anew)
    assert fitted(in_place) != fitted(lambda loss, epoch: None)


def test_another_value_or_length_compiles_nothing():
    from fastnn.kernels import blocks

    net = network(act=Polynomial([0.1, 0.5, 0.0]))
    net.predict(X)
    kept = blocks.block_address.cache_info().misses
    for coefficients in ([1.0], np.arange(1.0, 100.0), [0.5, 0.25]):
        net.layers[0].act_function.coefficients = coefficients
        net.predict(X[:1] * 0.01)
    assert blocks.block_address.cache_info().misses == kept


def test_copies_pickles_and_files_keep_arrays_and_their_own(tmp_path):
    net = network(Pinball([0.2, 0.5, 0.9]), Polynomial(np.array([0.1, 0.5, 0.0], "f4")), Blend([0.9, 0.1]))
    expected = same(net)
    path = tmp_path / "net"
    net.save(path)
    loaded = fastnn.load(path, custom=[Pinball, Polynomial, Blend])
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), loaded):
        assert same(twin) == expected
        assert twin.loss_function.taus.dtype == np.float64
        assert twin.layers[0].act_function.coefficients.dtype == np.float32
        assert not twin.loss_function.difference(net.loss_function)
        twin.loss_function.taus[0] = 0.7
        assert "taus is array" in twin.loss_function.difference(net.loss_function)
        assert same(twin) != expected
        assert same(net) == expected
        for one in (net, twin):
            assert repr(one.optimizer) == "Blend(parts=array([0.9, 0.1]))"
    bank = NetworkBank([copy.deepcopy(net), copy.deepcopy(net)])
    bank[1].loss_function.taus[:] = 0.5
    losses = bank.evaluate(X, Y)["loss"]
    assert losses[0] == pytest.approx(expected)
    assert losses[1] == pytest.approx(same(bank[1]))


@pytest.mark.parametrize("array", [
    [1, 2], [True, False], np.array([1.5], "f2"), [[0.1, 1e300], [-0.0, 5e-324]], [np.inf, -np.inf], [2**62, 1],
    np.array([255], np.uint8), np.ones((2, 3, 4)),
], ids=repr)  # fmt: skip
def test_arrays_in_files_come_back_bit_for_bit(array, tmp_path):
    loss = Pinball(array)
    before = loss.taus
    about = json.loads(json.dumps(loss.described()))
    after = fastnn.saving.restore(about, {"Pinball": Pinball}).taus
    assert (after.dtype, after.shape, after.tobytes()) == (before.dtype, before.shape, before.tobytes())


@pytest.mark.parametrize("about", [
    {"dtype": "object", "array": [1]}, {"dtype": "float64", "array": [[1], [2, 3]]}, {"dtype": "int8", "array": [300]},
    {"dtype": "float64", "array": ["a"]}, {"dtype": "float64", "array": 1.0}, {"dtype": "float64", "array": []},
    {"dtype": "int64", "array": [0.5]}, {"dtype": "float32", "array": [0.1]}, {"dtype": "bool", "array": [2]},
    {"dtype": ["float64"], "array": [1.0]}, {"dtype": "float64", "array": [[[]]]}, {"dtype": "float64", "array": {}},
    {"dtype": "float64", "array": [None]}, {"dtype": "int64", "array": [2**64]}, [1.0],
    {"dtype": "float64", "array": [0.0] * (MOST_NUMBERS + 1)},
], ids=lambda about: repr(about)[:40])  # fmt: skip
def test_what_a_file_says_of_an_array_is_not_trusted(about):
    with pytest.raises(ValueError, match=r"Pinball.*expected"):
        fastnn.saving.restore({"class": "Pinball", "own": True, "settings": {"taus": about}}, {"Pinball": Pinball})


WRONG = {
    "NaN": ([0.5, np.nan], r"has NaN at \[1\]"),
    "NaN in a row": ([[0.5, np.nan]], r"has NaN at \[0, 1\]"),
    "objects": (np.array([1, None], object), "dtype object"),
    "strings": (["a", "b"], r"is a list, \['a', 'b'\]"),
    "array of strings": (np.array(["a"]), "dtype <U1"),
    "ragged": ([[1.0], [1.0, 2.0]], r"rows are equally long"),
    "nothing": ([], r"is a list, \[\]"),
    "an empty array": (np.zeros(0), "at least 1 and at most"),
    "too many": (np.zeros(MOST_NUMBERS + 1), r"at most 1,048,576 numbers"),
    "complex": (np.array([1j]), "dtype complex128"),
    "masked": (np.ma.array([1.0, 2.0], mask=[False, True]), "is a MaskedArray"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "dtype datetime64"),
    "unsigned": (np.array([1], np.uint64), r"expected int64, as array.astype\(int\) is"),
    "small integers": (np.array([100], np.int8), r"expected int64.*wrap around"),
    "larger": ([10**30, 1], "is a list"),
}


WAYS = {
    "loss": lambda bad: network(Pinball(bad)),
    "elementwise": lambda bad: network(Mixed(bad, [1, 1])),
    "activation": lambda bad: network(act=Polynomial(bad)),
    "optimiser": lambda bad: network(optimizer=Blend(bad)),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("make", WAYS.values(), ids=list(WAYS))
def test_an_array_that_is_none_of_numbers_is_refused_at_once(make, kind):
    bad, words = WRONG[kind]
    with pytest.raises(FormulaError, match=words):
        make(bad)


def test_an_array_that_becomes_wrong_is_refused_by_the_next_call_and_comes_back():
    net = network(Pinball([0.2, 0.5, 0.9]))
    expected, before = same(net), net.parameters
    for wrong in (np.nan, [0.5], [0.5, 0.5], "a", None):
        net.loss_function.taus = [0.2, 0.5, 0.9]
        if isinstance(wrong, float):
            net.loss_function.taus[1] = wrong
        else:
            net.loss_function.taus = wrong if not isinstance(wrong, list) or len(wrong) > 1 else [[0.5, 0.5]]
        with pytest.raises(FormulaError, match="taus"):
            net.fit(X, Y, verbose=0)
        with pytest.raises(FormulaError, match="taus"):
            net.evaluate(X, Y)
        assert np.array_equal(net.parameters, before)
    net.loss_function.taus = [0.2, 0.5, 0.9]
    assert same(net) == expected


def test_shapes_that_do_not_fit_are_refused_when_the_network_is_made():
    with pytest.raises(
        FormulaError, match=r"Weighed\.dloss.*\(3, 3\); expected.*self.weights has shape \(3,\).*reshape"
    ):
        network(Weighed([1.0, 2.0, 3.0]))
    with pytest.raises(FormulaError, match=r"Weighed\.loss.*broadcast.*self.weights has shape \(2, 1\)"):
        network(Weighed([[1.0], [2.0]]))
    with pytest.raises(
        FormulaError, match=r"Costs\.loss, given .* class 2, raised IndexError.*self.costs has shape \(2, 3\)"
    ):
        network(Costs(np.ones((2, 3))))
    with pytest.raises(FormulaError, match=r"Blend\.update.*IndexError.*Blend.parts of shape \(1,\)"):
        network(optimizer=Blend([0.9]))
    with pytest.raises(FormulaError, match=r"Hinges\.f.*raised .*Hinges.table of shape \(2, 1\)"):
        network(act=Hinges([[0.0], [1.0]]))
    net = network()
    with pytest.raises(FormulaError, match="Blend"):
        net.optimizer = Blend([0.9])


def test_one_value_for_each_output_is_no_matter_of_single_numbers():
    class Quantiles(ElementwiseLoss):
        def __init__(self, taus):
            self.taus = taus

        def f(self, v, t):
            return np.maximum(self.taus * (t - v), (self.taus - 1) * (t - v))

        def df(self, v, t):
            return np.where(t > v, -self.taus, 1 - self.taus)

    for taus in ([[0.1], [0.5], [0.9]], [0.1, 0.5, 0.9], [0.5]):
        with pytest.raises(FormulaError, match=r"Quantiles\.f makes an array of one number.*LossFunction.*columns"):
            network(Quantiles(taus))
    same(network(Quantiles(0.25)))


@pytest.mark.parametrize("at", ["max(int(x * 4), -1)", "min(int(x), 2)", "int(x) % 7"])
def test_places_computed_from_numbers_must_be_there_for_all_of_them(at, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "import fastnn\nclass Own(fastnn.ActivationFunction):\n    def __init__(self): self.table = [0.5, 1.0, 2.0]\n"
        f"    def f(self, x): return x * self.table[{at}]\n    def df(self, x): return self.table[0] + 0 * x\n"
    )
    scope = {"__name__": "own"}
    exec(compile(path.read_text(), path, "exec"), scope)
    with pytest.raises(FormulaError, match=r"Own\.f, given numbers of up to 1e\+06, raised IndexError.*min\(max"):
        network(act=scope["Own"]())


@pytest.mark.parametrize("dtype", DTYPES)
def test_places_that_are_kept_within_will_do(dtype):
    class Steps(ActivationFunction):
        def __init__(self, table):
            self.table = table

        def f(self, x):
            return x * self.table[min(max(int(x * 2), 0), len(self.table) - 1)]

        def df(self, x):
            return self.table[min(max(int(x * 2), 0), len(self.table) - 1)] + 0 * x

    table = np.array([0.5, 1.0, 2.0])
    net = NeuralNetwork([Layer(1, 1, Steps(table), seed=0)], MSELoss(), 0.1, dtype=dtype)
    net.layers[0].weights[...], net.layers[0].biases[...] = 1, 0
    x = np.array([[-3.0], [0.25], [0.75], [1.25], [1e6], [-1e6]])
    np.testing.assert_allclose(net.predict(x), x * table[[0, 0, 1, 2, 2, 0], None])


def test_a_formula_cannot_write_into_an_array():
    class Writes(ActivationFunction):
        def __init__(self):
            self.table = [0.5, 1.0]

        def f(self, x):
            self.table[0] = 2.0
            return x * self.table[0]

        def df(self, x):
            return self.table[0] + 0 * x

    with pytest.raises(FormulaError, match=r"Writes\.f.*`self.table\[0\] = 2.0`: a formula cannot write into an array"):
        network(act=Writes()).predict(X)


def test_what_no_formula_reads_is_left_alone():
    class Notes(Tanh):
        def __init__(self):
            self.seen, self.names, self.statistics = [1], ("a", "b"), np.full(3, np.nan)
            self.shape = [1, 2]

        def note(self):
            return self.seen, self.names, self.statistics, self.shape

    act = Notes()
    assert type(act.seen) is list
    assert type(act.names) is tuple
    assert type(act.shape) is list
    network(act=act).fit(X, Y, verbose=0)
    act.seen.append(2)
    act.statistics[0] = 1
    network(act=act).predict(X)


def test_an_array_of_no_dimensions_is_a_number():
    loss = Mixed([0.25, 0.75], [1, 1])
    act = fastnn.LeakyReLU(np.array(0.25))
    net = network(loss, act)
    same(net)
    assert isinstance(act.leaky_param, float)


def test_a_name_that_is_long_and_an_array_that_is_are_shown_in_one_line():
    shown = repr(Polynomial(np.arange(1000.0).reshape(10, 100)))
    assert "\n" not in shown
    assert "..." in shown
    assert len(shown) < 200


def test_a_second_process_finds_the_kernels_and_its_own_numbers(tmp_path):
    (tmp_path / "own.py").write_text(
        "import sys\nimport numpy as np\nimport fastnn\n"
        "class Scaled(fastnn.ActivationFunction):\n"
        "    def __init__(self, c): self.c = c\n"
        "    def f(self, x): return self.c[0] * x + self.c[1]\n"
        "    def df(self, x): return self.c[0] + 0 * x\n"
        "layer = fastnn.Layer(1, 1, Scaled([float(a) for a in sys.argv[1:]]), seed=0)\n"
        "layer.weights[...], layer.biases[...] = 1, 0\n"
        "net = fastnn.NeuralNetwork([layer], fastnn.MSELoss(), 0.1)\n"
        "print(net.predict(np.array([[1.0], [2.0]])).ravel().tolist())\n"
    )

    def run(*numbers):
        return subprocess.run(
            [sys.executable, tmp_path / "own.py", *numbers], capture_output=True, text=True, check=True
        ).stdout.strip()

    assert run("1", "0") == "[1.0, 2.0]"
    assert run("2", "5") == "[7.0, 9.0]"
    assert run("2", "5", "8") == "[7.0, 9.0]"
