"""What ``np`` means inside a compiled formula: NumPy, with some functions in a faster form.

``np.exp``, ``np.tanh`` and ``np.log1p`` of one number are library calls in Numba: 2 to 20 ns each, and a
call stops LLVM from vectorising the loop around it. The functions here are polynomials and selections
without branches, so that a loop over them becomes vector code. Each keeps NumPy's result to
within a few units in the last place, infinities and NaN included; ``tests/test_numpy_scalars.py``
holds them to that. Arrays and other types go to NumPy's own function.

The method is the usual one (Cody and Waite 1980): x = n ln 2 + r with a whole number n and
\\|r\\| <= ln 2 / 2, then ``exp(x) = 2**n exp(r)`` with a minimax polynomial for exp(r) - 1. For log1p it
is that of FreeBSD's msun (Sun Microsystems 1993): 1 + x = 2**n m with m between sqrt(1/2) and sqrt(2), and a
polynomial in s = (m - 1) / (m + 1) for log(m). ``np.log`` stays the library's: losses take it once for a sample, and
alone it is quicker there.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from .compiling import part_of_formulas
from .fused import multiply_add
from .part import OVERLOAD


@intrinsic
def _power_of_two(typingctx: Any, n: Any) -> Any:
    """2**n for a whole number n in the exponent's range, made from its bits.

    Adding 1.5 * 2**52 leaves n in the lowest bits of the sum (2**23 in float32), where vector
    units without a conversion to int64 can take it from.
    """
    bits, shift, bias = (64, 52, 1023) if n.bitwidth == 64 else (32, 23, 127)
    whole = ir.IntType(bits)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (value,) = args
        shifted = builder.fadd(value, ir.Constant(value.type, 1.5 * 2.0**shift))
        exponent = builder.add(builder.bitcast(shifted, whole), ir.Constant(whole, bias))
        return builder.bitcast(builder.shl(exponent, ir.Constant(whole, shift)), value.type)

    return n(n), codegen


@intrinsic
def _split(typingctx: Any, x: Any) -> Any:
    """x = 2**n m, as (n, m), with a whole number n and m between sqrt(1/2) and sqrt(2); x is positive and normal.

    The bits of x, seen as a whole number, are those of n and, below, of m. What is added beforehand moves the border
    from one power of two to the next to sqrt(1/2) times it. A whole number becomes one with a fraction as in
    `_power_of_two`, backwards.
    """
    bits, shift, bias, root = (64, 52, 1023, 0x3FE6A09E667F3BCD) if x.bitwidth == 64 else (32, 23, 127, 0x3F3504F3)
    whole = ir.IntType(bits)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (value,) = args

        def number(n: int) -> Any:
            return ir.Constant(whole, n)

        moved = builder.add(builder.bitcast(value, whole), number((bias << shift) - root))
        low = builder.and_(moved, number((1 << shift) - 1))
        m = builder.bitcast(builder.add(low, number(root)), value.type)
        zero = 2.0**shift  # in its lowest bits lies a whole number
        high = builder.or_(builder.lshr(moved, number(shift)), number((bias + shift) << shift))
        n = builder.fsub(builder.bitcast(high, value.type), ir.Constant(value.type, zero + bias))
        return context.make_tuple(builder, signature.return_type, [n, m])

    return types.UniTuple(x, 2)(x), codegen


def _reduce64(x: float) -> tuple[float, float]:
    """exp(x) = (1 + q) * 2**n, as (q, n); float64."""
    n = multiply_add(x, 1.4426950408889634, 6755399441055744.0) - 6755399441055744.0
    r = multiply_add(-n, 1.90821492927058770002e-10, multiply_add(-n, 6.93147180369123816490e-01, x))
    p = multiply_add(2.0914686968086877e-09, r, 2.5105217004720745e-08)
    p = multiply_add(p, r, 2.7557273643110295e-07)
    p = multiply_add(p, r, 2.7557255400206424e-06)
    p = multiply_add(p, r, 2.4801587325547741e-05)
    p = multiply_add(p, r, 1.9841269874820625e-04)
    p = multiply_add(p, r, 1.3888888888883748e-03)
    p = multiply_add(p, r, 8.3333333333261351e-03)
    p = multiply_add(p, r, 4.1666666666666670e-02)
    p = multiply_add(p, r, 1.6666666666666671e-01)
    p = multiply_add(p, r, 0.5)
    return multiply_add(p * r, r, r), n


def _reduce32(x: Any) -> Any:
    """The same in float32."""
    magic = np.float32(12582912.0)
    n = multiply_add(x, np.float32(1.44269504), magic) - magic
    r = multiply_add(-n, np.float32(-2.12194440e-4), multiply_add(-n, np.float32(0.693359375), x))
    p = multiply_add(np.float32(1.9890990825e-04), r, np.float32(1.3933649996e-03))
    p = multiply_add(p, r, np.float32(8.3333109255e-03))
    p = multiply_add(p, r, np.float32(4.1666464925e-02))
    p = multiply_add(p, r, np.float32(1.6666666682e-01))
    p = multiply_add(p, r, np.float32(0.5))
    return multiply_add(p * r, r, r), n


def _forms(
    reduce: Callable[..., Any], real: Any, lowest: float, highest: float, magic: float, flat: float
) -> dict[str, Callable[..., Any]]:
    """exp, expm1 and tanh of one number of the type `real`, on top of `reduce`.

    Below `lowest` exp is 0 and above `highest` infinite; beyond half of `flat` tanh is 1 and -1. To
    add and subtract `magic` rounds to a whole number.
    """
    reduce = part_of_formulas(reduce)
    one, two, half = real(1), real(2), real(0.5)
    lowest, highest, magic, flat = real(lowest), real(highest), real(magic), real(flat)

    @part_of_formulas
    def parts(x: Any) -> Any:
        """exp(x) = (1 + q) * s * t: one power of two would be out of range where exp(x) is not."""
        q, n = reduce(lowest if x < lowest else highest if x > highest else x)
        part = multiply_add(n, half, magic) - magic
        return q, _power_of_two(part), _power_of_two(n - part)

    @part_of_formulas
    def exp(x: Any) -> Any:
        q, s, t = parts(real(x))
        return multiply_add(q, s, s) * t

    @part_of_formulas
    def expm1(x: Any) -> Any:
        q, s, t = parts(real(x))
        return multiply_add(q, s, s - one / t) * t

    @part_of_formulas
    def tanh(x: Any) -> Any:
        """-u / (u + 2) with u = exp(-2 |x|) - 1."""
        z = -two * abs(real(x))
        q, n = reduce(-flat if z < -flat else z)
        s = _power_of_two(n)
        u = multiply_add(q, s, s - one)
        y = -u / (u + two)
        return -y if x < 0 else y

    return {"exp": exp, "expm1": expm1, "tanh": tanh}


def _series64(z: float) -> float:
    """log((1 + s) / (1 - s)) = 2 s + s * series(s**2); float64."""
    w = z * z
    odd = multiply_add(multiply_add(1.531383769920937332e-01, w, 2.222219843214978396e-01), w, 3.999999999940941908e-01)
    even = multiply_add(1.479819860511658591e-01, w, 1.818357216161805012e-01)
    even = multiply_add(multiply_add(even, w, 2.857142874366239149e-01), w, 6.666666666666735130e-01)
    return multiply_add(w, odd, z * even)


def _series32(z: Any) -> Any:
    """The same in float32."""
    w = z * z
    odd = multiply_add(np.float32(0.24279078841), w, np.float32(0.40000972152))
    even = multiply_add(np.float32(0.28498786688), w, np.float32(0.66666662693))
    return multiply_add(w, odd, z * even)


def _log1p(series: Callable[..., Any], real: Any, ln2: float, ln2_rest: float) -> Callable[..., Any]:
    """log1p of one number of the type `real`, on top of `series`.

    ``ln2 + ln2_rest`` is ln 2, the first so short that its product with an exponent is exact.
    """
    series = part_of_formulas(series)
    one, two, three, half, ln2, ln2_rest = (real(number) for number in (1, 2, 3, 0.5, ln2, ln2_rest))
    nan, infinity = real(np.nan), real(np.inf)

    @part_of_formulas
    def log1p(x: Any) -> Any:
        """log(u), and what u = 1 + x has lost, divided by u."""
        x = real(x)
        u = one + x
        n, m = _split(u)
        lost = one - (u - x) if x > three else x - (u - one)
        f = m - one
        s, h = f / (f + two), half * f * f
        small = multiply_add(s, h + series(s * s), multiply_add(n, ln2_rest, lost / u))
        y = multiply_add(n, ln2, f - (h - small))
        y = y if x < infinity else x  # NaN stays
        return y if x > -one or x != x else -infinity if x == -one else nan

    return log1p


_FORMS = {
    types.float32: {
        **_forms(_reduce32, np.float32, -104.0, 89.0, 12582912.0, 20.0),
        "log1p": _log1p(_series32, np.float32, 6.9313812256e-01, 9.0580006145e-06),
    },
    types.float64: {
        **_forms(_reduce64, np.float64, -746.0, 710.0, 6755399441055744.0, 40.0),
        "log1p": _log1p(_series64, np.float64, 6.93147180369123816490e-01, 1.90821492927058770002e-10),
    },
}


def _own_form(name: str) -> Callable[..., Any]:
    """A function that means ``np.name``, and inside a formula our form of it."""
    original = getattr(np, name)

    def function(x):  # type: ignore[no-untyped-def]
        return original(x)

    @overload(function, jit_options=OVERLOAD)
    def choose(x):  # type: ignore[no-untyped-def]  # Numba wants the signature of what it returns
        if not isinstance(x, types.Number) or isinstance(x, types.Complex):
            return lambda x: original(x)
        form = _FORMS.get(x, _FORMS[types.float64])[name]
        return lambda x: form(x)

    function.__name__ = name
    return function


def _own_choice(name: str, prefers: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """``np.maximum`` or ``np.minimum`` as a selection: Numba's own has branches.

    Like NumPy's it gives NaN where either number is NaN: ``prefers`` is false then, which leaves y. What
    replaces a NaN in x is a constant, as LLVM would make one selection with two conditions, and
    in scalar code a branch, out of anything that x itself takes part in.
    """
    original = getattr(np, name)

    def function(x, y):  # type: ignore[no-untyped-def]
        return original(x, y)

    @overload(function, jit_options=OVERLOAD)
    def choose(x, y):  # type: ignore[no-untyped-def]
        kinds = {x, y} - {types.boolean}
        if not kinds or not kinds <= {types.float32, types.float64}:
            return lambda x, y: original(x, y)
        real = np.float64 if types.float64 in kinds else np.float32
        nan, no, yes = real(np.nan), real(0), real(1)

        def select(x, y):  # type: ignore[no-untyped-def]
            a, b = real(x), real(y)
            chosen = a if prefers(a, b) else b
            return nan if a != a else chosen

        def select_of_two(x, y):  # type: ignore[no-untyped-def]  # both are made ahead of a loop
            b = real(y)
            of_true, of_false = yes if prefers(yes, b) else b, no if prefers(no, b) else b
            return of_true if x else of_false

        return select_of_two if x == types.boolean else select

    function.__name__ = name
    return function


def where(condition, x, y):  # type: ignore[no-untyped-def]
    """``np.where`` of three values; for single numbers a selection, not an array."""
    return np.where(condition, x, y)


@overload(where, jit_options=OVERLOAD)
def _where(condition, x, y):  # type: ignore[no-untyped-def]
    if all(isinstance(value, (types.Number, types.Boolean)) for value in (condition, x, y)):
        return lambda condition, x, y: x if condition else y
    return lambda condition, x, y: np.where(condition, x, y)


def clip(x, a_min, a_max):  # type: ignore[no-untyped-def]
    """``np.clip``; of single numbers two selections."""
    return np.clip(x, a_min, a_max)


@overload(clip, jit_options=OVERLOAD)
def _clip(x, a_min, a_max):  # type: ignore[no-untyped-def]
    if all(isinstance(value, (types.Number, types.Boolean)) for value in (x, a_min, a_max)):
        return lambda x, a_min, a_max: least(greatest(x, a_min), a_max)
    return lambda x, a_min, a_max: np.clip(x, a_min, a_max)


def heaviside(x, h0):  # type: ignore[no-untyped-def]
    """``np.heaviside``, of single numbers alone."""
    return np.heaviside(x, h0)


@overload(heaviside, jit_options=OVERLOAD)
def _heaviside(x, h0):  # type: ignore[no-untyped-def]
    if isinstance(x, types.Float) and isinstance(h0, (types.Number, types.Boolean)):
        return lambda x, h0: x * 0 + (1 if x > 0 else 0) if x != 0 else x * 0 + h0  # NaN stays
    return None


greatest = _own_choice("maximum", part_of_formulas(lambda a, b: a > b))
least = _own_choice("minimum", part_of_formulas(lambda a, b: a < b))


def _own_reduction(name: str, combine: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """``np.sum`` or ``np.max`` of a one-dimensional array, in four chains.

    One chain would wait for each of its steps; four run side by side, always in the same order.
    """
    original = getattr(np, name)

    def function(values, axis=None):  # type: ignore[no-untyped-def]
        return original(values, axis)

    @part_of_formulas
    def reduce(values: Any) -> Any:
        result, rest = values[0], 1
        if values.size >= 8:
            a, b, c, d = values[0], values[1], values[2], values[3]
            rest = values.size // 4 * 4
            for i in range(4, rest, 4):
                a, b = combine(a, values[i]), combine(b, values[i + 1])
                c, d = combine(c, values[i + 2]), combine(d, values[i + 3])
            result = combine(combine(a, b), combine(c, d))
        for i in range(rest, values.size):
            result = combine(result, values[i])
        return result

    @overload(function, jit_options=OVERLOAD)
    def choose(values, axis=None):  # type: ignore[no-untyped-def]
        if axis is not None and not isinstance(axis, (types.Omitted, types.NoneType)):
            return lambda values, axis=None: original(values, axis)
        if isinstance(values, types.Array) and values.ndim == 1 and isinstance(values.dtype, types.Float):
            return lambda values, axis=None: reduce(values)
        return lambda values, axis=None: original(values)

    function.__name__ = name
    return function


@part_of_formulas
def _larger(a, b):  # type: ignore[no-untyped-def]
    """NaN where either is; what looks for one in b waits for no earlier number."""
    return b if a < b or b != b else a


@part_of_formulas
def _sum(a, b):  # type: ignore[no-untyped-def]
    return a + b


COSTLY = ("exp", "expm1", "tanh", "log1p")
"""What takes longer than arithmetic, and can be done for all numbers of a vector at once."""

OWN: dict[str, Callable[..., Any]] = {
    **{name: _own_form(name) for name in COSTLY},
    "maximum": greatest,
    "minimum": least,
    "where": where,
    "clip": clip,
    "heaviside": heaviside,
    "sum": _own_reduction("sum", _sum),
    "max": _own_reduction("max", _larger),
}
"""Our forms, by the NumPy name they stand for."""

namespace = ModuleType("numpy")
"""What a formula sees as ``np``: all of NumPy, with `OWN` in it."""
vars(namespace).update({**vars(np), **OWN})
