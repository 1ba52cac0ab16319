"""The C text of formulas, as functions of one number or as loops, and of the constants that they need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..checks import Array
from .steps import Formula, in_terms_of
from .trace import INPUT, REDUCTIONS, Value, in_order

FORMAT = "C"

_OPERATORS = {
    "add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}", "negative": "-{}",
    "greater": "{} > {}", "greater_equal": "{} >= {}", "less": "{} < {}", "less_equal": "{} <= {}",
    "equal": "{} == {}", "not_equal": "{} != {}", "logical_and": "{} && {}", "logical_or": "{} || {}",
    "logical_not": "!{}", "where": "{} ? {} : {}",
    "maximum": "({0} > {1} || {0} != {0}) ? {0} : {1}", "minimum": "({0} < {1} || {0} != {0}) ? {0} : {1}",
}  # fmt: skip
_SAME_NAME = (
    "exp exp2 expm1 log log1p log2 log10 sqrt cbrt hypot sin cos tan sinh cosh tanh floor ceil rint trunc fmod "
    "copysign fmax fmin"
)
_FUNCTIONS = {
    "absolute": "fabs", "power": "pow", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    **{name: name for name in _SAME_NAME.split()},
}  # fmt: skip
KNOWN = {*_OPERATORS, *_FUNCTIONS, "sum", "max", "min"}


class Text:
    """C text of formulas, and of the constant arrays that they need.

    Parameters
    ----------
    name : str
        With which all names begin.
    dtype : {"float32", "float64"}
        Of its numbers.
    """

    def __init__(self, name: str, dtype: str) -> None:
        self.name, self.dtype = name, np.dtype(dtype)
        self.real, self.suffix = ("float", "f") if dtype == "float32" else ("double", "")
        self.constants: list[str] = []  # declarations of arrays
        self.functions: dict[str, tuple[str, str]] = {}  # of one number: name and comment, by the text after the name
        self.flash = 0  # bytes of the arrays
        self._names = 0

    # --- numbers and arrays ---------------------------------------------------------------------

    def literal(self, number: float) -> str:
        """A number of the network's type."""
        with np.errstate(over="ignore", under="ignore"):
            value = self.dtype.type(number)
        if np.isnan(value):
            return "NAN"
        if np.isinf(value):
            return "INFINITY" if value > 0 else "(-INFINITY)"
        text = _digits(value) + self.suffix
        return f"({text})" if text.startswith("-") else text

    def array(self, kind: str, numbers: Array, name: str = "") -> str:
        """The name of a constant array of `kind`: float, double, int8_t or int32_t."""
        if not name:
            name, self._names = f"c{self._names}", self._names + 1
        full = f"{self.name}_{name}"
        flat = np.asarray(numbers).ravel()
        if kind.startswith("int"):
            texts = [str(int(x)) for x in flat]
        else:
            dtype, suffix = (np.float32, "f") if kind == "float" else (np.float64, "")
            with np.errstate(over="ignore", under="ignore"):
                cast = flat.astype(dtype)
            if not np.all(np.isfinite(cast)):
                raise ValueError(f"{name} holds numbers too large for {dtype.__name__}; expected dtype='float64'")
            texts = [_digits(x) + suffix for x in cast]
        self.flash += flat.size * {"int8_t": 1, "int32_t": 4, "float": 4, "double": 8}[kind]
        lines = [", ".join(texts[first : first + 10]) for first in range(0, len(texts), 10)]
        self.constants.append(f"static const {kind} {full}[{flat.size}] = {{\n    " + ",\n    ".join(lines) + "\n};")
        return full

    # --- formulas -------------------------------------------------------------------------------

    def expression(self, value: Value, names: dict[int, str], at: str) -> str:
        """What computes a value of those that have names."""

        def named(one: Value) -> str:
            if one.number is None or one.width > 1:
                return names[one.place] + (f"[{at}]" if one.number is not None else "")
            if one.is_boolean:
                return "1" if one.number[0] else "0"
            return self.literal(float(one.number[0]))

        inputs = [named(one) for one in value.inputs]
        if value.op in _OPERATORS:
            return _OPERATORS[value.op].format(*inputs)
        return f"{_FUNCTIONS[value.op]}{self.suffix}({', '.join(inputs)})"

    def _statements(self, wanted: Sequence[Value], names: dict[int, str], at: str) -> list[str]:
        """What computes `wanted` at one number, of the values that have names; theirs are added."""
        lines, needed, waiting = [], {}, list(wanted)
        while waiting:
            value = waiting.pop()
            if value.place not in names and value.place not in needed and value.number is None:
                needed[value.place] = value
                waiting += value.inputs
        for place in sorted(needed):
            kind, names[place] = "int" if needed[place].is_boolean else self.real, f"t{len(names)}"
            lines.append(f"const {kind} {names[place]} = {self.expression(needed[place], names, at)};")
        return lines

    def _result(self, value: Value, names: dict[int, str], at: str) -> str:
        if value.number is not None:
            return self.literal(float(value.number[0])) if value.width == 1 else f"{names[value.place]}[{at}]"
        return names[value.place]

    def function(self, formula: Formula) -> str:
        """The name of the C function of one number that an activation is."""
        result = in_terms_of(KNOWN, formula.result, formula.part, FORMAT)
        names = {value.place: "x" for value in in_order(result) if value.op == INPUT}
        lines = self._statements([result], names, "0")
        body = "".join(f"    {line}\n" for line in lines) + f"    return {self._result(result, names, '0')};\n"
        if not any(value.op == INPUT for value in in_order(result)):
            body = "    (void)x;\n" + body
        text = f"({self.real} x)\n{{\n{body}}}\n"
        comment = f"/* {plain(repr(formula.part))} */"
        return self.functions.setdefault(text, (f"{self.name}_f{len(self.functions)}", comment))[0]

    def loops(self, parts: Sequence[Value], width: int, source: str | dict[str, str], target: str) -> list[str]:
        """What makes of `width` numbers at `source` the `parts`, one after another, at `target`.

        Of several inputs `source` has a place for each, by name; one that has one number only is the same for all.
        Sums and the like are loops of their own; what they, or the last one, need of each number is computed in each.
        """
        names: dict[int, str] = {}
        sources = source if isinstance(source, dict) else {"x": source}
        values = in_order(parts[0] if len(parts) == 1 else _together(parts))
        of_each: dict[int, bool] = {}  # whether a value differs from number to number
        for value in values:
            constant = value.number is not None
            if constant and value.width > 1:
                assert value.number is not None
                names[value.place] = self.array(self.real, value.number)
            if value.op == INPUT and value.width < width:
                names[value.place] = f"{sources[value.name]}[0]"
            of_each[value.place] = (
                (value.op == INPUT and value.width == width)
                or (constant and value.width > 1)
                or (value.op not in REDUCTIONS and any(of_each[one.place] for one in value.inputs))
            )
        each = {one.place: f"{sources[one.name]}[j]" for one in values if one.op == INPUT and of_each[one.place]}
        lines = []
        for value in values:
            if value.op == INPUT or value.number is not None or of_each[value.place]:
                continue
            if value.op in REDUCTIONS:
                (of,) = value.inputs
                mine = f"r{len(names)}"
                within = {**names, **each}
                if not of_each[of.place]:
                    lines.append(f"const {self.real} {mine} = {self._result(of, within, 'j')};")
                    names[value.place] = mine
                    continue
                inner = self._statements([of], within, "j")
                x = self._result(of, within, "j")
                start = {"sum": self.literal(0), "max": "-INFINITY", "min": "INFINITY"}[value.op]
                update = {
                    "sum": "{0} += {1};",
                    "max": "if ({1} > {0} || {1} != {1}) {0} = {1};",
                    "min": "if ({1} < {0} || {1} != {1}) {0} = {1};",
                }[value.op]
                lines.append(f"{self.real} {mine} = {start};")
                lines += loop(width, [*inner, update.format(mine, x)])
                names[value.place] = mine
            elif value.op != "together":
                lines += self._statements([value], names, "0")
        offset = 0
        for part in parts:
            within = {**names, **each}
            inner = self._statements([part], within, "j")
            place = f"{target}[j]" if not offset else f"{target}[{offset} + j]"
            count = width if part.width == 1 and of_each[part.place] else part.width
            lines += loop(count, [*inner, f"{place} = {self._result(part, within, 'j')};"])
            offset += count
        declares = any(line.startswith((self.real, "const", "int ")) for line in lines)
        return ["{", *(f"    {line}" for line in lines), "}"] if declares else lines


def _together(parts: Sequence[Value]) -> Value:
    """A value that needs all of these."""
    return Value("together", parts, 1, parts[0].axis, parts[0].dtype)


def loop(count: int, lines: list[str]) -> list[str]:
    """A loop over j."""
    head = f"for (int j = 0; j < {count}; j++)"
    if len(lines) == 1:
        return [f"{head} {lines[0]}"]
    return [f"{head} {{", *(f"    {line}" for line in lines), "}"]


def block(lines: Iterable[str]) -> str:
    return "{\n" + "".join(f"    {line}\n" for line in lines) + "}\n"


def _digits(value: Any) -> str:
    """The shortest decimal number that is read back as `value`, with a point or an exponent."""
    if value and not 1e-4 <= abs(value) < 1e9:
        return np.format_float_scientific(value, trim="0")
    return repr(float(str(value)))


def plain(text: str) -> str:
    """`text` for a comment: in ASCII, and with nothing that ends or begins one."""
    text = " ".join(text.split())
    return re.sub(r"\*/|/\*|//|[^ -~]|[?\\]", "_", text)
