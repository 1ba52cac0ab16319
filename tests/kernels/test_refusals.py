"""Formulas that cannot be compiled: the class, the method, the line and the reason, for all kinds of formulas."""

import functools
import re
import sys

import numba
import numpy as np
import pytest

import fastnn
from fastnn import ActivationFunction, FormulaError, Identity, Layer, LossFunction, MSELoss, NeuralNetwork

HEAD = """
import functools
import numba
import numpy as np
import fastnn
from fastnn import ActivationFunction, ElementwiseLoss, LossFunction, Optimizer
from fastnn.kernels.stages import pointer_at, stage_at
from fastnn.layers.stage import Stage

TABLE = {"a": 1.0}
PARTIAL = functools.partial(np.add, 1.0)

@functools.lru_cache
def remembered(x):
    return x

def two(x, y):
    return x + y

def unfinished(x):
    return x * nowhere

@numba.njit
def strict(x):
    if x > 1e9:
        raise ValueError
    return x

class Callable:
    def __call__(self, x):
        return x

CALLABLE = Callable()
"""

OF_SELF = """
    rate = 0.1

    def __init__(self):
        self.kind, self.table, self.nothing = "a", np.ones(3), None

    @property
    def slope(self):
        return 0.1

    @staticmethod
    def still(x):
        return x

    def shared(self, x):
        return x

    def inner(self, x):
        return x + nowhere
"""

# (class, its text, the method that is bad, its variable, how the hint begins)
PLACES = {
    "activation f": ("Bad(ActivationFunction)", "f(self, x)", "df(self, x)", "x", "An activation"),
    "activation df": ("Bad(ActivationFunction)", "df(self, x)", "f(self, x)", "x", "An activation"),
    "elementwise f": ("Bad(ElementwiseLoss)", "f(self, v, t)", "df(self, v, t)", "v", "A loss of f and df"),
    "elementwise df": ("Bad(ElementwiseLoss)", "df(self, v, t)", "f(self, v, t)", "v", "A loss of f and df"),
    "loss": ("Bad(LossFunction)", "loss(self, values, expected)", "dloss(self, values, expected)", "values", "A loss"),
    "dloss": ("Bad(LossFunction)", "dloss(self, values, expected)", "loss(self, values, expected)", "values", "A loss"),
    "optimiser": ("Bad(Optimizer)", "update(self, w, g, lr, step)", "other(self, w)", "w", "An update"),
    "stage forward": ("Bad(Stage)", "there(address, W)", "back(address, W)", "W[0]", "A kernel of a stage"),
    "stage backward": ("Bad(Stage)", "back(address, W)", "there(address, W)", "W[0]", "A kernel of a stage"),
}

# the lines of a body, of which the one marked ! is named; and a part of the reason
KINDS = {
    "undefined name": ("!return {v} * nowhere", "the name nowhere is not defined"),
    "undefined name in a branch": ("if W0:|    !return {v} + nowhere|return {v}", "the name nowhere is not defined"),
    "raise": ("if W0:|    !raise ValueError('no')|return {v}", "cannot raise errors"),
    "raise in a compiled helper": ("return strict({v})", "cannot raise errors"),
    "assert": ("!assert 1 < 2|return {v}", "cannot raise errors"),
    "print": ("!print(1)|return {v}", "cannot print"),
    "try": ("try:|    return {v}|!except ValueError:|    return {v}", "cannot catch errors"),
    "with": ("!with np.errstate(all='ignore'):|    return {v}", "cannot use with"),
    "yield": ("!yield {v}", "cannot yield"),
    "import": ("!import math|return {v}", "cannot import"),
    "dict": ("!return {v} * TABLE['a']", "TABLE is a dict"),
    "partial": ("!return PARTIAL({v})", "PARTIAL is an object of functools.partial"),
    "cached": ("!return remembered({v})", "remembered is an object of functools"),
    "object": ("!return CALLABLE({v})", "CALLABLE is an object of .*Callable"),
    "missing NumPy function": ("!return np.nothing({v})", "np.nothing does not exist.*no attribute 'nothing'"),
    "unknown NumPy function": ("!return np.piecewise({v}, 1, 2)", "Numba does not know np.piecewise"),
    "wrong arguments of a helper": ("!return two({v})", "called with arguments that it does not take|two is a Python"),
    "string": ("!return {v} + 'a'", r"Numba has no .*add"),
    "undefined name in a helper": ("return unfinished({v})", "nowhere is not defined|unfinished is a Python function"),
}
OF_CLASSES = {
    "property": ("!return {v} * self.slope", "self.slope is a property"),
    "class attribute": ("!return {v} * self.rate", "self.rate belongs to the class"),
    "string attribute": ("!return {v} * (self.kind == 'a')", "self.kind is no number set in __init__"),
    "None attribute": ("!return {v} * self.nothing", "self.nothing is no number"),
    "missing attribute": ("!return {v} * self.absent", "self.absent is no number"),
    "static method": ("!return self.still({v})", "self.still is a staticmethod"),
    "super": ("!return super().shared({v})", r"cannot call super\(\)"),
    "setting": ("!self.last = 1.0|return {v}", "cannot set self.last"),
    "method inside": ("return self.inner({v})", "the name nowhere is not defined"),
    "arguments of a method": ("!return self.shared({v}, {v})", r"shared takes \(self, x\)"),
    "tuple": ("!return {v}, {v}, {v}", "returns a tuple of 3|returns 3 numbers|returns a tuple"),
    "nothing": ("!{v} * 2", "returns None"),
    "string result": ("!return 'a'", "returns a string"),
    "list result": ("!return [1.0]", "returns a list"),
}
OF_NUMBERS = {
    "written array": ("!self.table[0] = 1.0|return {v}", "cannot write into an array of self"),
    "astype": ("!return {v}.astype(np.float64)", "has no .astype; leave it out"),
    "setitem": ("y = {v} * 2|!y[y < 0] = 0|return y", "setitem"),
}


def cases():
    for place in PLACES:
        kinds = dict(KINDS)
        if "stage" not in place:
            kinds |= OF_CLASSES
        if not place.endswith("loss") and "stage" not in place:
            kinds |= OF_NUMBERS
        for number, (kind, case) in enumerate(kinds.items()):
            if place == "optimiser" and kind in ("nothing", "string result", "list result"):
                continue  # an update says what it returns in its own words: tests/formulas/test_optimizers.py
            yield pytest.param(place, *case, "float32" if number % 2 else "float64", id=f"{place}: {kind}")


def written(place, body, folder):
    """The class with such a method, in a file; the class, the name of the method, and the line and text of the !."""
    bases, bad, good, variable, _ = PLACES[place]
    lines = body.format(v=variable).replace("W0", f"np.sum({variable}) > 1e9").split("|")
    if "stage" in place:
        lines = [re.sub(r"return (.*)", r"W[0] = \1", line) for line in lines]
        text = f"{HEAD}\ndef {bad}:\n" + "".join(f"    {line}\n" for line in lines)
        text += f"\ndef {good}:\n    W[0] = W[0]\n\nclass {bases}:\n    kernels = (there, back)\n    rows = ('a',)\n"
        text += (
            "    start = (0.0,)\n    trained = 1\n    def forward(self, x, training, key):\n        return x, None\n"
        )
        text += "    def backward(self, dx, kept):\n        return dx, [dx[:, :1]]\n"
    else:
        fine = "return 0.5" if place == "dloss" else f"return {variable}"
        text = f"{HEAD}\nclass {bases}:{OF_SELF}\n    def {bad}:\n" + "".join(f"        {line}\n" for line in lines)
        text += f"\n    def {good}:\n        {fine}\n"
    marked = [i for i, line in enumerate(text.splitlines(), 1) if line.lstrip().startswith("!")]
    quoted = text.splitlines()[marked[0] - 1].lstrip(" !") if marked else ""
    path = folder / "own.py"
    path.write_text(text.replace("!", "", 1))
    scope = {"__name__": "own"}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    return scope["Bad"], bad.partition("(")[0], path, (marked or [0])[0], quoted


def network(place, bad, dtype):
    if place.startswith("activation"):
        return NeuralNetwork([Layer(2, 2, bad, seed=0)], MSELoss(), 0.1, dtype=dtype)
    if place == "optimiser":
        return NeuralNetwork([Layer(2, 2, Identity(), seed=0)], MSELoss(), 0.1, bad, dtype=dtype)
    if place.startswith("stage"):
        return NeuralNetwork([Layer(2, 2, Identity(), seed=0), bad], MSELoss(), 0.1, dtype=dtype)
    return NeuralNetwork([Layer(2, 2, Identity(), seed=0)], bad, 0.1, dtype=dtype)


OLD_NUMBA = tuple(map(int, numba.__version__.split(".")[:2])) < (0, 62)
CALLS = ("called with arguments that it does not take|two is a Python", r"shared takes \(self, x\)")


@pytest.mark.parametrize(("place", "body", "reason", "dtype"), list(cases()))
def test_a_bad_formula_is_refused_by_name_line_and_reason(place, body, reason, dtype, tmp_path, capfd):
    cls, method, path, line, quoted = written(place, body, tmp_path)
    name = f"Bad's kernel {method}" if "stage" in place else f"Bad.{method}"
    net = network(place, cls(), dtype)
    before = net.parameters
    with pytest.raises(FormulaError) as caught:
        net.train(np.ones((2, 3)), np.ones((2, 3)), batch_size=3)
    message = str(caught.value)
    assert message.startswith(name), message
    if OLD_NUMBA and reason in CALLS:
        pytest.skip("this Numba does not say which call it means")
    assert re.search(reason, message), message
    if reason == "cannot catch errors" and sys.version_info < (3, 11):  # whose bytecode marks the try
        line, quoted = line - 2, "try:"
    if line and "cannot be compiled" in message:
        assert f"{path}, line {line}" in message
        assert f"`{quoted}`" in message
    assert len(message) < 1000
    assert "nopython" not in message
    if "cannot be compiled" in message:
        assert PLACES[place][-1] in message
        assert "\n" not in message
    if reason != "cannot print":  # NumPy has run it before, on arrays
        assert not capfd.readouterr().out
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize(
    ("bases", "method", "expected"),
    [
        ("ActivationFunction", "f(self)", r"Bad.f takes \(self\); expected \(self, x\)"),
        ("ActivationFunction", "df(self, x, y)", r"Bad.df takes \(self, x, y\); expected \(self, x\)"),
        ("ActivationFunction", "df_of_f(self, x)", r"Bad.df_of_f takes \(self, x\); expected \(self, x, f\)"),
        ("ElementwiseLoss", "df(self, v)", r"Bad.df takes \(self, v\); expected \(self, v, t\)"),
        ("LossFunction", "dloss(self, values)", r"Bad.dloss takes \(self, values\); expected \(self, values, expected"),
    ],
)
def test_a_method_that_takes_something_else_is_refused(bases, method, expected):
    names = {"ActivationFunction": "x", "ElementwiseLoss": "v, t", "LossFunction": "values, expected"}
    scope = {"Base": getattr(fastnn, bases)}
    methods = ("loss", "dloss") if bases == "LossFunction" else ("f", "df")
    text = "class Bad(Base):\n" + "".join(f"    def {m}(self, {names[bases]}): return 0.5\n" for m in methods)
    exec(f"{text}    def {method}: return 0.5\n", scope)
    net = network({"ActivationFunction": "activation"}.get(bases, "loss"), scope["Bad"](), "float64")
    with pytest.raises(FormulaError, match=expected):
        net.train(np.ones((2, 3)), np.ones((2, 3)))


def test_a_decorated_method_is_refused():
    class Bad(fastnn.ActivationFunction):
        @staticmethod
        def f(x):
            return x

        def df(self, x):
            return x * 0 + 1

    with pytest.raises(FormulaError, match=r"Bad\.f is a staticmethod; expected a plain method"):
        network("activation", Bad(), "float64").train(np.ones((2, 3)), np.ones((2, 3)))


ONLY_FLOAT64 = {
    "activation f": [
        ("for k in (x, 2.0):|    x = x + k|return x", r"getiter.*numbers written in a formula.*write int\(3\)"),
        ("return twice(x, 3)", r"numbers written in a formula.*write int\(3\)"),
    ],
    "loss": [
        ("!return np.dot(values.T, np.ones(values.shape))[0, 0]", r"no dot.*the column is float32.*np\.zeros_like"),
        ("d = np.zeros(values.shape)|if values[0, 0] > 0:|    d = values * 2|return np.sum(d)", "unify.*zeros_like"),
    ],
    "dloss": [
        ("!return np.eye(values.size) @ values", "float64.*float32.*the column is float32"),
        ("if values[0, 0] > 0:|    return values * 1.0|return values * 0 + 1", "unify return type.*float64"),
    ],
}


@pytest.mark.parametrize(
    ("place", "body", "reason"), [(place, *case) for place, some in ONLY_FLOAT64.items() for case in some]
)
def test_what_fails_in_float32_alone_names_method_line_dtype_and_reason(place, body, reason, tmp_path, monkeypatch):
    helper = "def twice(x, n):\n    return x * np.zeros(n).size\n"
    monkeypatch.setattr(sys.modules[__name__], "HEAD", HEAD + helper)
    cls, method, path, line, quoted = written(place, body, tmp_path)
    x = np.ones((2, 3))
    assert np.isfinite(network(place, cls(), "float64").train(x, x))
    with pytest.raises(FormulaError, match=reason) as caught:
        network(place, cls(), "float32").train(x, x)
    message = str(caught.value)
    assert message.startswith(f"Bad.{method} cannot be compiled: {path}, line ")
    assert "in float64 it compiles, but in float32" in message
    assert not line or f"line {line}: `{quoted}`" in message


@pytest.mark.parametrize("body", [
    "return {v} * np.zeros(3).size", "return {v} * self.table[1 + 1]", "return {v} * np.roll(self.table, 1)[0]",
    "y = {v} * 0|for k in range(len(self.table) - 1):|    y = y + self.table[k + 1] * {v}|return y",
    "i, y = 0, {v} * 0|while i < 3:|    y = y + self.table[i]|    i += 1|return y", "i = 5|return {v} * (i >> 1)",
    "return {v} * np.sum(self.table.reshape(-1, 1))", "return {v} if np.any(self.table > 2) else -{v}",
     "return np.ldexp({v}, 2)", "return {v} * np.full(3, 0.5)[0]",
])  # fmt: skip
def test_places_and_lengths_are_whole_numbers_in_float32_too(body, tmp_path):
    cls, _, _, _, _ = written("elementwise f", body, tmp_path)
    x, losses = np.full((2, 3), 0.75), []
    for dtype in ("float64", "float32"):
        losses.append(network("elementwise f", cls(), dtype).train(x, x))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.skipif(OLD_NUMBA, reason="an old Numba says it in other words")
def test_a_mask_that_numba_cannot_set_numbers_by_is_named(tmp_path):
    cls, _, path, line, quoted = written("dloss", "d = values * 1|!d[d < 0] = 0|return d", tmp_path)
    with pytest.raises(FormulaError, match=r"cannot set numbers of a column by a mask.*np\.where") as caught:
        network("dloss", cls(), "float64").train(np.ones((2, 3)), np.ones((2, 3)))
    assert f"{path}, line {line}: `{quoted}`" in str(caught.value)


def test_a_closure_that_is_not_filled_yet_is_a_name_that_is_not_defined():
    class Bad(fastnn.ActivationFunction):
        def f(self, x):
            return x * later

        def df(self, x):
            return x * 0 + 1

    with pytest.raises(FormulaError, match=r"Bad\.f cannot be compiled.*the name later is not defined"):
        network("activation", Bad(), "float64").train(np.ones((2, 3)), np.ones((2, 3)))
    later = 2.0
    assert later * np.isfinite(network("activation", Bad(), "float64").train(np.ones((2, 3)), np.ones((2, 3)))) == 2


def test_built_in_formulas_pass_all_that_is_refused():
    """They are checked before their machine code is looked for on the disk."""
    for cls in (fastnn.Adam, fastnn.SGD, fastnn.AMSGrad):
        assert np.isfinite(network("optimiser", cls(), "float64").train(np.ones((2, 3)), np.ones((2, 3))))


def test_a_function_that_only_wraps_another_is_compiled_as_it_is():
    """What looks unusual and compiles is not refused: functions within functions, a list of constants."""

    def twice(function):
        @functools.wraps(function)
        def wrapped(x):
            return function(x) * 2

        return wrapped

    doubled = twice(lambda x: x + 1)

    class Unusual(fastnn.ActivationFunction):
        def f(self, x):
            inner = lambda v: v * 2  # noqa: E731
            return inner(doubled(x)) + sum([c * x for c in (1.0, 2.0)])

        def df(self, x):
            return x * 0 + 7

    net = network("activation", Unusual(), "float64")
    net.layers[0].weights, net.layers[0].biases = np.eye(2), np.zeros((2, 1))
    np.testing.assert_allclose(net.forward_pass(np.ones((2, 1))), 11.0)


def helper_of_some(x):
    if x > 0:
        return x


class SomeNumbers(ActivationFunction):
    def f(self, x):
        return x if x > 0 else None

    def df(self, x):
        return x * 0


class NoElse(ActivationFunction):
    def f(self, x):
        return x

    def df(self, x):
        if x > 0:
            return x * 0


class ByHelper(ActivationFunction):
    def f(self, x):
        return helper_of_some(x)

    def df(self, x):
        return x * 0


class NoLoss(LossFunction):
    target = "values"

    def loss(self, values, expected):
        if values[0, 0] > 0:
            return np.sum(values)

    def dloss(self, values, expected):
        return values


@pytest.mark.parametrize("formula", [SomeNumbers, NoElse, ByHelper, NoLoss])
def test_none_on_some_way_through_is_refused(formula):
    act, loss = (Identity(), formula()) if formula is NoLoss else (formula(), MSELoss())
    with pytest.raises(FormulaError, match="returns None on some way through it"):
        NeuralNetwork([Layer(2, 2, act, seed=0)], loss, 0.1).train(np.ones((2, 4)), np.ones((2, 4)))
