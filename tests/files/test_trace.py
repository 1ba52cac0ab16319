"""What formulas compute, read off their text, against NumPy itself."""

import importlib
import importlib.util
import sys

import numpy as np
import pytest

import fastnn
from fastnn import FormulaError, Identity, Layer, MSELoss, NeuralNetwork
from fastnn.files.c_text import KNOWN as IN_C
from fastnn.files.trace import COMPOSED, evaluate, in_order, lowered, traced

_SIMPLE = (
    "add subtract multiply divide negative absolute exp log sqrt tanh sin cos floor ceil power maximum minimum greater "
    "greater_equal less less_equal equal logical_and logical_or logical_not where"
)
NUMPY = {
    **{name: getattr(np, name) for name in _SIMPLE.split()},
    "sum": lambda x: x.sum(axis=0, keepdims=True),
    "max": lambda x: x.max(axis=0, keepdims=True),
    "min": lambda x: x.min(axis=0, keepdims=True),
    "concat": lambda *parts: np.concatenate(parts, axis=0),
}
X = np.concatenate([np.random.default_rng(0).normal(size=296) * 3, [0.0, 1e-9, -1e-9, 40.0]]).reshape(3, 100)
POSITIVE = np.abs(X) + 1e-3


def computed(formula, x):
    """A formula in simple functions alone, computed with NumPy."""
    result = lowered(traced(formula, x.shape[0], 0, x.dtype), set(NUMPY))
    assert {value.op for value in in_order(result)} <= {*NUMPY, "input", "constant"}
    with np.errstate(all="ignore"):
        return np.broadcast_to(evaluate(result, NUMPY, {"x": x}, lambda number: number.reshape(-1, 1)), x.shape)


OF_TWO = [
    "hypot",
    "logaddexp",
    "floor_divide",
    "remainder",
    "copysign",
    "fmax",
    "fmin",
    "not_equal",
    "heaviside",
    "power",
]
OF_ONE = [name for name in COMPOSED if name not in {*OF_TWO, "clip", "mean", "var", "std", "logical_xor"}]


@pytest.mark.parametrize("name", OF_ONE)
def test_functions_in_terms_of_others(name):
    function = getattr(np, name)
    own = {"arccosh": POSITIVE + 1, "arctanh": np.tanh(X / 9), "log1p": POSITIVE - 1}
    x = own.get(name, POSITIVE if name.startswith("log") else np.minimum(X, 9.0))
    with np.errstate(all="ignore"):
        expected = function(x)
    np.testing.assert_allclose(computed(function, x), expected, rtol=3e-14, atol=1e-15)


@pytest.mark.parametrize("name", OF_TWO)
def test_functions_of_two_numbers(name):
    function = getattr(np, name)
    for other in (0.5, 2.0, np.array([[0.5], [-1.0], [3.0]])):
        x = POSITIVE if name == "power" else X
        with np.errstate(all="ignore"):
            expected = function(x, other)
        np.testing.assert_allclose(computed(lambda x, other=other: function(x, other), x), expected, rtol=1e-14)


@pytest.mark.parametrize("power", [-3, -1, 1, 2, 7, 16, 0.5, 1.5, 0, 17])
def test_powers(power):
    np.testing.assert_allclose(computed(lambda x: x**power, POSITIVE), POSITIVE**power, rtol=1e-13)


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: np.clip(x, -1, 2) + np.clip(x, a_min=-2, a_max=None) if False else np.clip(x, -1, 2),
        lambda x: (x > 0) * 2.0 + (x < -1),
        lambda x: np.where((x > 0) ^ (x > 1), x, ~(x > 2)),
        lambda x: np.where(x, 1, 0) + np.maximum(x > 0, 0.1),
        lambda x: x - x.mean(axis=0, keepdims=True) + np.std(x, axis=0, keepdims=True) * x.min(axis=0, keepdims=True),
        lambda x: x.var(axis=0, keepdims=True) + np.zeros_like(x),
        lambda x: -x + +x * np.ones_like(x) / 1 - 0,
        lambda x: np.full((3, 1), 2.0),
        lambda x: 5,
        lambda x: x * np.array([[1.0], [2.0], [3.0]]) + np.float32(0.5),
        lambda x: np.isnan(x) * 1.0 + np.isfinite(x) * 2.0 + np.isinf(x / 0) * 4.0 + np.signbit(x) * 8.0,
    ],
)
def test_formulas(formula):
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(computed(formula, X), np.broadcast_to(formula(X), X.shape), rtol=1e-12, atol=1e-14)


def test_what_does_nothing_is_the_input_itself():
    for formula in (
        lambda x: x,
        lambda x: x * 1,
        lambda x: 1.0 * x + 0,
        lambda x: x / 1 - 0,
        lambda x: x * np.ones_like(x),
    ):
        assert traced(formula, 3, 0, X.dtype).op == "input"


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        (lambda x: np.sort(x, axis=0), "np.sort cannot be exported"),
        (lambda x: np.linalg.norm(x), "an array of its own|np.norm"),
        (lambda x: np.multiply.reduce(x), "np.multiply with reduce"),
        (lambda x: np.add.reduce(x), "np.sum must be that of each sample: axis=0, keepdims=True"),
        (lambda x: np.modf(x)[0], "np.modf"),
        (lambda x: x.sum(), "np.sum must be that of each sample: axis=0, keepdims=True"),
        (lambda x: x.sum(axis=1, keepdims=True), "np.sum must be that of each sample"),
        (lambda x: np.mean(x, axis=0), "np.mean must be that of each sample"),
        (lambda x: x + np.array([[1.0], [2.0]]), "numbers a sample"),
        (lambda x: x + np.ones((2, 2)), r"an array of shape \(2, 2\) beside the numbers"),
        (lambda x: x + 1j, "which is no number"),
        (lambda x: x + "a", "which is no number"),
        (lambda x: [one for one in x], "by a loop"),  # noqa: C416
        (lambda x: x and 1, "by if, and, or, not"),
        (lambda x: 1 < x < 2, "by if, and, or, not"),
        (lambda x: int(x), "fails on what stands for the numbers"),
        (lambda x: x.undefined, ".undefined of an array"),
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (lambda x: np.hstack([x, x]), "samples are put one after another"),
        (lambda x: range(x.shape[1]), "number of samples"),
        (lambda x: None, "no number"),
    ],
)
def test_formulas_that_cannot_be_told(formula, reason):
    with pytest.raises(FormulaError, match=reason):
        lowered(traced(formula, 3, 0, X.dtype), set(NUMPY))


def test_every_function_is_known_or_made_of_known_ones():
    vocabularies = [IN_C]
    if importlib.util.find_spec("onnx") is not None:
        vocabularies.append(importlib.import_module("fastnn.files.onnx").KNOWN)
    for known in vocabularies:
        for name, compose in COMPOSED.items():
            count = compose.__code__.co_argcount
            arguments = [0.5, 1.5][: count - 1]
            axis = {"axis": 0, "keepdims": True} if name in ("mean", "var", "std") else {}
            function = getattr(np, name)
            kind = (lambda x: x > 0) if name == "logical_xor" else (lambda x: x)
            more = [True] if name == "logical_xor" else arguments
            lowered(traced(lambda x, f=function, k=kind, m=more, a=axis: f(k(x), *m, **a), 3, 0, X.dtype), known)


def test_long_formulas_take_no_recursion():
    def long(x):
        for _ in range(5000):
            x = x * 1.0001 + 0.001
        return x

    np.testing.assert_allclose(computed(long, X), long(X), rtol=1e-12)


@pytest.mark.parametrize("name", ["onnx", "torch", "keras"])
def test_a_missing_package_is_named(name, monkeypatch, tmp_path):
    net = NeuralNetwork([Layer(2, 1, Identity())], MSELoss(), 0.1)
    monkeypatch.setitem(sys.modules, name, None)
    for part in (name, f"{name}_reading"):
        monkeypatch.delitem(sys.modules, f"fastnn.files.{part}", raising=False)
        monkeypatch.delattr(fastnn.files, part, raising=False)
    with pytest.raises(ImportError, match=f"needs {name}: pip install {name}"):
        getattr(net, f"to_{name}")(*[tmp_path / "net"] * (name == "onnx"))
    with pytest.raises(ImportError, match=f"needs {name}: pip install {name}"):
        getattr(fastnn, f"from_{name}")(tmp_path / "net")
