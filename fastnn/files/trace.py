"""What a NumPy formula computes, read off its text by running it on a stand-in for the numbers.

`traced` calls a formula, or the `forward` of a stage, with a `Value`, which notes what NumPy is asked to do with it.
What comes out is a `Value` too, made of others; `evaluate` computes it anew, step by step, with the functions of
another language. Python's own part of the text (methods of self, helpers, loops, settings) has run by then.

A language need not know all of NumPy: what it lacks is put in terms of simpler functions (`COMPOSED`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from ..checks import Array
from ..kernels.formula import FormulaError

_BOOLEAN_WORDS = "greater greater_equal less less_equal equal not_equal logical_and logical_or logical_xor logical_not"
BOOLEAN = frozenset(_BOOLEAN_WORDS.split())
REDUCTIONS = frozenset({"sum", "max", "min"})
INPUT, CONSTANT, CONCAT = "input", "constant", "concat"

_REDUCED = {"add": "sum", "maximum": "max", "minimum": "min"}  # what ``np.add.reduce`` and the like are
_SAME = {  # names of one function
    "true_divide": "divide", "float_power": "power", "fabs": "absolute", "abs": "absolute", "conjugate": "positive",
    "amax": "max", "amin": "min", "hstack": CONCAT, "concatenate": CONCAT, "bitwise_and": "logical_and",
    "bitwise_or": "logical_or", "bitwise_xor": "logical_xor", "invert": "logical_not", "bitwise_not": "logical_not",
}  # fmt: skip
_counter = itertools.count()


class Value(np.lib.mixins.NDArrayOperatorsMixin):
    """A number, or a row of numbers, of each sample: an input, constant, or made of other values.

    Attributes
    ----------
    op : str
        The name of NumPy's function that makes it, or INPUT or CONSTANT.
    inputs : tuple of Value
        Of what.
    width : int
        How many numbers each sample has of it.
    axis : int
        Where they lie in the array that it stands for: 0 if samples are columns, 1 if they are rows.
    number : ndarray (width,) or None
        Of a constant.
    name : str
        Of an input.
    place : int
        A value comes after those of which it is made.
    """

    def __init__(
        self,
        op: str,
        inputs: Sequence[Value],
        width: int,
        axis: int,
        dtype: np.dtype[Any],
        number: Array | None = None,
        name: str = "",
    ) -> None:
        self.op, self.inputs, self.width, self.axis, self.number = op, tuple(inputs), width, axis, number
        self.dtype, self.name = dtype, name
        self.place = next(_counter)

    @property
    def is_boolean(self) -> bool:
        """Whether it is true or false, for each number."""
        if self.number is not None:
            return self.number.dtype == np.bool_
        return self.op in BOOLEAN or (self.op == "where" and all(one.is_boolean for one in self.inputs[1:]))

    # --- what a formula may ask of an array -----------------------------------------------------

    @property
    def shape(self) -> tuple[Any, ...]:
        """That of the array that it stands for; the number of samples is not known."""
        shape: list[Any] = [_Unknown(), _Unknown()]
        shape[self.axis] = self.width
        return tuple(shape)

    ndim = 2

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **more: Any) -> Value:
        name = ufunc.__name__
        if method == "reduce" and name in _REDUCED:
            return self._reduced(_REDUCED[name], *inputs[1:], **more)
        if method != "__call__" or more or ufunc.nout != 1:
            refuse(f"np.{name} with {', '.join(more) or method} cannot be exported")
        return self._made(_SAME.get(name, name), inputs)

    def __array_function__(self, function: Any, types: Any, inputs: tuple[Any, ...], more: Mapping[str, Any]) -> Any:
        name = _SAME.get(function.__name__, function.__name__)
        if name in ("where", "clip"):
            return self._made(name, (*inputs, *more.values()))
        if name in ("sum", "mean", "var", "std", "max", "min"):
            return self._reduced(name, *inputs[1:], **more)
        if name == CONCAT:
            parts = [self._as_value(one) for one in inputs[0]]
            axis = more.get("axis", inputs[1] if len(inputs) > 1 else 1 if function is np.hstack else 0)
            if axis not in (self.axis, self.axis - 2):
                refuse("samples are put one after another, so that one would depend on others")
            return Value(CONCAT, parts, sum(one.width for one in parts), self.axis, self.dtype)
        if name in ("ones_like", "zeros_like", "full_like"):
            number = {"ones_like": 1.0, "zeros_like": 0.0}.get(name, inputs[1] if len(inputs) > 1 else 0.0)
            return number + 0 * np.ones((1, 1))
        if name == "copy":
            return self
        return refuse(f"np.{name} cannot be exported")

    def mean(self, axis: Any = None, **more: Any) -> Value:
        return self._reduced("mean", axis, **more)

    def sum(self, axis: Any = None, **more: Any) -> Value:
        return self._reduced("sum", axis, **more)

    def var(self, axis: Any = None, **more: Any) -> Value:
        return self._reduced("var", axis, **more)

    def std(self, axis: Any = None, **more: Any) -> Value:
        return self._reduced("std", axis, **more)

    def max(self, axis: Any = None, **more: Any) -> Value:
        return self._reduced("max", axis, **more)

    def min(self, axis: Any = None, **more: Any) -> Value:
        return self._reduced("min", axis, **more)

    def copy(self) -> Value:
        return self

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            refuse(f".{name} of an array cannot be exported")
        raise AttributeError(name)

    def __array__(self, *dtype: Any, **copy: Any) -> NoReturn:
        refuse("it makes an array of its own of the numbers (np.asarray, a list)")

    def __float__(self) -> NoReturn:
        refuse("it makes a Python number of each (math.exp, float); write NumPy's function")

    def __bool__(self) -> NoReturn:
        refuse("what it does depends on the numbers by if, and, or, not; write np.where, &, |, ~")

    def __getitem__(self, key: Any) -> NoReturn:
        refuse("it takes some of the numbers by an index; write np.where")

    def __iter__(self) -> NoReturn:
        refuse("it goes through the numbers by a loop")

    # --- how it is noted ------------------------------------------------------------------------

    def _as_value(self, number: Any) -> Value:
        if isinstance(number, Value):
            return number
        array = np.asarray(number)
        if array.dtype.kind not in "biuf":
            refuse(f"it takes {number!r}, which is no number")
        if array.ndim == 2 and array.shape[1 - self.axis] == 1:
            array = array.ravel()
        elif array.ndim == 0 or array.size == 1:
            array = array.reshape(1)
        else:
            refuse(f"it takes an array of shape {array.shape} beside the numbers; expected (outs, 1), or one number")
        array = array if array.dtype == np.bool_ else array.astype(np.float64)
        array = array[:1] if np.all(array == array[0]) else array
        return Value(CONSTANT, (), array.size, self.axis, self.dtype, array)

    def _made(self, name: str, inputs: Sequence[Any]) -> Value:
        values = [self._as_value(one) for one in inputs]
        simple = _simplified(name, values)
        if simple is not None:
            return simple
        if name == "power":
            power = _of_whole_power(*values)
            if power is not None:
                return power
        widths = {one.width for one in values} - {1}
        if len(widths) > 1:
            refuse(f"np.{name} of {' and '.join(str(one.width) for one in values)} numbers a sample cannot be exported")
        return Value(name, values, widths.pop() if widths else 1, self.axis, self.dtype)

    def _reduced(self, name: str, axis: Any = None, keepdims: Any = False, **more: Any) -> Value:
        if axis not in (self.axis, self.axis - 2) or keepdims is not True or more:
            refuse(f"np.{name} must be that of each sample: axis={self.axis}, keepdims=True, and nothing else")
        return Value(name, (self,), 1, self.axis, self.dtype)


class _Unknown:
    """The number of samples, of which no formula may make use."""

    def __getattr__(self, name: str) -> NoReturn:
        refuse("it asks for the number of samples")

    def __eq__(self, other: object) -> NoReturn:
        refuse("it asks for the number of samples")

    __lt__ = __gt__ = __le__ = __ge__ = __add__ = __mul__ = __sub__ = __truediv__ = __rtruediv__ = __eq__
    __index__ = __int__ = __float__ = lambda self: refuse("it asks for the number of samples")
    __hash__ = object.__hash__


def refuse(reason: str) -> NoReturn:
    """Raise the error that says why a formula cannot be exported."""
    raise FormulaError(reason)


def _simplified(name: str, values: list[Value]) -> Value | None:
    """x * 1, x / 1, x + 0 and x - 0 are x: dropout, in inference, is nothing."""
    if name == "positive":
        return values[0]
    neutral = {"multiply": 1.0, "divide": 1.0, "add": 0.0, "subtract": 0.0}.get(name)
    if neutral is not None:
        for x, other in (values, values[::-1]) if name in ("multiply", "add") else (values,):
            if other.number is not None and np.all(other.number == neutral) and not x.is_boolean:
                return x
    return None


def _of_whole_power(x: Value, n: Value) -> Value | None:
    """x**n as products, for whole n up to 16; the square root for 0.5."""
    if n.number is None or n.width != 1:
        return None
    power = float(n.number[0])
    if power == 0.5:
        return Value("sqrt", (x,), x.width, x.axis, x.dtype)
    if not power.is_integer() or not 1 <= abs(power) <= 16:
        return None
    product: Any = None
    rest, square = int(abs(power)), x
    while rest:
        if rest % 2:
            product = square if product is None else product * square
        rest //= 2
        square = square * square if rest else square
    result: Value = product if power > 0 else 1 / product
    return result


# --- functions in terms of others -----------------------------------------------------------------


def _log1p(x: Any) -> Any:
    """Kahan's: what 1 + x lost to rounding, log(1 + x) has lost as well."""
    u = 1 + x
    return np.where(x > 1, np.log(u), np.where(u == 1, x, np.log(u) * (x / np.where(u == 1, 1, u - 1))))


def _expm1(x: Any) -> Any:
    t = np.tanh(np.clip(x, -1, 1) / 2)
    return np.where(np.abs(x) < 1, 2 * t / (1 - t), np.exp(x) - 1)


def _hypot(a: Any, b: Any) -> Any:
    a, b = np.abs(a), np.abs(b)
    large = np.maximum(a, b)
    ratio = np.minimum(a, b) / np.where(large == 0, 1, large)
    return large * np.sqrt(1 + ratio * ratio)


COMPOSED: dict[str, Callable[..., Any]] = {
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "expm1": _expm1,
    "log1p": _log1p,
    "exp2": lambda x: np.exp(x * np.log(2.0)),
    "log2": lambda x: np.log(x) / np.log(2.0),
    "log10": lambda x: np.log(x) / np.log(10.0),
    "cbrt": lambda x: np.sign(x) * np.abs(x) ** (1 / 3),
    "hypot": _hypot,
    "logaddexp": lambda a, b: np.maximum(a, b) + np.log1p(np.exp(-np.abs(a - b))),
    "clip": lambda x, a, b: np.minimum(np.maximum(x, a), b),
    "sign": lambda x: np.where(x > 0, 1, np.where(x < 0, -1, x)),
    "heaviside": lambda x, h: np.where(x > 0, 1, np.where(x < 0, 0, np.where(x == 0, h, x))),
    "sinh": lambda x: (np.expm1(x) - np.expm1(-x)) / 2,
    "cosh": lambda x: (np.exp(x) + np.exp(-x)) / 2,
    "arcsinh": lambda x: np.sign(x) * np.log1p(np.abs(x) + x * x / (1 + np.sqrt(1 + x * x))),
    "arccosh": lambda x: np.log(x + np.sqrt(x - 1) * np.sqrt(x + 1)),
    "arctanh": lambda x: np.log1p(2 * x / (1 - x)) / 2,
    "trunc": lambda x: np.where(x < 0, np.ceil(x), np.floor(x)),
    "floor_divide": lambda x, y: np.floor(x / y),
    "remainder": lambda x, y: x - np.floor(x / y) * y,
    "copysign": lambda x, y: np.where(y < 0, -np.abs(x), np.abs(x)),
    "deg2rad": lambda x: x * (np.pi / 180),
    "rad2deg": lambda x: x * (180 / np.pi),
    "fmax": lambda x, y: np.where(x != x, y, np.where(y != y, x, np.maximum(x, y))),
    "fmin": lambda x, y: np.where(x != x, y, np.where(y != y, x, np.minimum(x, y))),
    "isnan": lambda x: x != x,
    "isinf": lambda x: np.abs(x) == np.inf,
    "isfinite": lambda x: np.abs(x) < np.inf,
    "signbit": lambda x: x < 0,
    "not_equal": lambda x, y: ~(x == y),
    "logical_xor": lambda x, y: (x & ~y) | (y & ~x),
    "mean": lambda x: x.sum(axis=x.axis, keepdims=True) / x.width,
    "var": lambda x: ((x - x.mean(axis=x.axis, keepdims=True)) ** 2).mean(axis=x.axis, keepdims=True),
    "std": lambda x: np.sqrt(x.var(axis=x.axis, keepdims=True)),
}
"""Functions that a language may lack, in terms of those that it has."""


# --- tracing and computing -------------------------------------------------------------------------


def traced(
    formula: Callable[..., Any], width: int, axis: int, dtype: np.dtype[Any], names: Sequence[str] = ("x",)
) -> Value:
    """What `formula` makes of the numbers of a sample.

    Parameters
    ----------
    formula : function
        Of one array, or of one for each of `names`: columns (width, N) if `axis` is 0, rows (N, width) if it is 1. It
        returns one such array.
    width, axis : int
    dtype : dtype
        Of the numbers.
    names : sequence of str
        Of the inputs.

    Raises
    ------
    FormulaError
        If it cannot be told from the text; the message is the reason alone.
    """
    inputs = [Value(INPUT, (), width, axis, dtype, name=name) for name in names]
    try:
        with np.errstate(all="ignore"):
            result = formula(*inputs)
    except FormulaError:
        raise
    except Exception as error:
        refuse(f"its text fails on what stands for the numbers: {type(error).__name__}: {error}")
    if not isinstance(result, Value):
        result = 0 * inputs[0] + result  # a constant, for each sample
    return result if not result.is_boolean else np.where(result, 1, 0)  # type: ignore[return-value]


def in_order(result: Value) -> list[Value]:
    """All values of which `result` is made, and itself, each after those that it needs."""
    found: dict[int, Value] = {}
    waiting = [result]
    while waiting:
        value = waiting.pop()
        if value.place not in found:
            found[value.place] = value
            waiting += value.inputs
    return [found[place] for place in sorted(found)]


def lowered(result: Value, known: frozenset[str] | set[str]) -> Value:
    """`result` in terms of `known` functions, with no true or false where a number is wanted, or the other way about.

    Raises
    ------
    FormulaError
        If a function is neither known nor made of those that are.
    """
    return _lowered(result, known, {}, {})


def _lowered(
    result: Value, known: frozenset[str] | set[str], done: dict[int, Value], made: dict[tuple[Any, ...], Value]
) -> Value:
    """See `lowered`; `done` has what became of a value, by its place, and `made` those that were made, by what of."""
    for value in in_order(result):
        if value.place in done:
            continue
        if value.op in (INPUT, CONSTANT):
            new = value
        else:
            inputs = [done[one.place] for one in value.inputs]
            if value.op in known or value.op in (CONCAT, "where"):
                inputs = _of_right_kind(value.op, inputs, done)
                new = Value(value.op, inputs, value.width, value.axis, value.dtype)
            elif value.op in COMPOSED:
                new = _lowered(COMPOSED[value.op](*inputs), known, done, made)
            else:
                refuse(f"np.{value.op} cannot be exported")
        number = None if new.number is None else (new.number.dtype, new.number.tobytes())
        new = made.setdefault((new.op, new.name, number, *(one.place for one in new.inputs)), new)
        done[value.place] = done[new.place] = new
    return done[result.place]


def _of_right_kind(op: str, inputs: list[Value], done: dict[int, Value]) -> list[Value]:
    """The inputs of a function, with numbers for what is true or false, or the other way about."""
    if op == "where":
        kinds = [True] + [all(one.is_boolean for one in inputs[1:])] * 2
    else:
        kinds = [op.startswith("logical")] * len(inputs)
    right = []
    for value, boolean in zip(inputs, kinds):
        if value.is_boolean == boolean:
            right.append(value)
            continue
        if value.number is not None:
            number = value.number.astype(np.bool_ if boolean else np.float64)
            new = Value(CONSTANT, (), value.width, value.axis, value.dtype, number)
        elif boolean:
            zero = Value(CONSTANT, (), 1, value.axis, value.dtype, np.zeros(1))
            equal = Value("equal", (value, zero), value.width, value.axis, value.dtype)
            new = Value("logical_not", (equal,), value.width, value.axis, value.dtype)
        else:
            numbers = (Value(CONSTANT, (), 1, value.axis, value.dtype, np.full(1, x)) for x in (1.0, 0.0))
            new = Value("where", (value, *numbers), value.width, value.axis, value.dtype)
        for one in in_order(new):
            done.setdefault(one.place, one)
        right.append(new)
    return right


def evaluate(
    result: Value, known: Mapping[str, Callable[..., Any]], given: Mapping[str, Any], constant: Callable[[Array], Any]
) -> Any:
    """Compute `result` with the functions `known`, by the names of NumPy's.

    Parameters
    ----------
    result : Value
        In terms of what is known (see `lowered`).
    known : mapping of str to function
    given : mapping of str to anything
        What the functions take for the inputs, by name.
    constant : function
        What they take for constants, from arrays (1,) or (width,).
    """
    found: dict[int, Any] = {}
    for value in in_order(result):
        if value.op == INPUT:
            found[value.place] = given[value.name]
        elif value.number is not None:
            found[value.place] = constant(value.number)
        else:
            found[value.place] = known[value.op](*(found[one.place] for one in value.inputs))
    return found[result.place]
