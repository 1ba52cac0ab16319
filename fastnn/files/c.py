"""A network as one C99 file and its header: nothing allocated, weights constant, no library but ``math.h``.

``predict`` goes through the steps of ``steps``: a matrix is a call of one function, written out once; an activation is
a function of one number, a stage a loop or a few. Their text comes from the NumPy formula (see ``trace``).

In int8 the inputs of each matrix are whole numbers q from -128 to 127 that stand for ``middle + step * q``, with
middle and step from the calibration rows: of each input of the network its own, further on one for all. The weights
are whole numbers from -127 to 127, with a scale for each row. So a row's sum is ``scale * sum(w q) + bias``, where the
bias has the part of the middles, and what rounding adds on the average.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array, one_of, shown
from ..engine.engine import Engine
from ..formulas.activations import ActivationFunction
from ..formulas.optimizers import SGD
from ..layers.targets import StandardizeTargets
from ..version import __version__
from .arrays import Path, check_target, named, replaced
from .steps import Formula, Lookup, Matrix, Steps, in_terms_of, steps_of
from .trace import INPUT, REDUCTIONS, Value, in_order

FORMAT = "C"
BESIDE = 256  # bytes of stack for registers and return addresses, beside the arrays
WIDEST = 2**31 // (128 * 128)  # inputs whose products add up to no more than 32 bits hold

_WORDS = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long "
    "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile "
    "while asm class delete false new namespace operator private protected public template this throw true try "
    "virtual bool main"
)
KEYWORDS = frozenset(_WORDS.split())
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


def to_c(engine: Engine, path: Path, name: str, dtype: str, calibration: Any) -> None:
    """Write the files; see `NeuralNetwork.to_c`."""
    source, header = places(path, name)
    check_dtype(dtype, calibration)
    outputs = None if calibration is None else engine.outputs(engine.form.rows(calibration, "calibration"))
    names, predictor = engine.form.names, engine.form.predictor
    engine = engine if dtype == "float64" else narrow(engine)
    steps = steps_of(engine, FORMAT).named(names)
    writer = Writer(steps, name, "float64" if dtype == "float64" else "float32")
    if outputs is not None:
        made = writer.quantise(engine.form.rows(calibration))
        made, outputs = (made, outputs) if predictor is None else (predictor(made), predictor(outputs))
        writer.about = stated(made, outputs, "predictions")
    text = writer.source(header.name)
    write({header: writer.header(), source: text})


def check_dtype(dtype: Any, calibration: Any) -> None:
    """See that `dtype` is one that C may have, and that there are rows to calibrate on if it wants some."""
    one_of("float32", "float64", "int8")(dtype, "dtype")
    if (dtype == "int8") != (calibration is not None):
        raise ValueError(
            "calibration is missing; expected rows (n_samples, n_features) such as the network will meet, from which "
            "int8 takes its steps"
            if dtype == "int8"
            else f"calibration is given, but dtype is {dtype!r}; expected dtype='int8', or no calibration"
        )


def stated(made: Array, wanted: Array, what: str) -> list[str]:
    """How far what int8 makes of the calibration rows is from what is wanted, for a comment."""
    with np.errstate(all="ignore"):
        error = np.abs(made.astype(np.float64) - wanted)
    if not np.all(np.isfinite(error)):
        raise ValueError("calibration makes outputs that are not finite; expected rows such as in training")
    largest, mean = _rounded_up(float(error.max())), _rounded_up(math.sqrt(float(np.mean(error**2))))
    return [
        f"Weights and the inputs of each matrix are int8, sums int32, calibrated on {len(made)} rows. On these the",
        f"{what} differ from the network's by at most {largest:.2g} (root mean square {mean:.2g}); they lie",
        f"from {float(wanted.min()):.4g} to {float(wanted.max()):.4g}.",
    ]


def places(path: Path, name: Any) -> tuple[Any, Any]:
    """Where the C file and its header go, if `path` and the functions' `name` are fine."""
    source = check_target(path)
    if source.suffix != ".c" or re.search(r'["\\?\x00-\x1f]', source.name):
        raise ValueError(
            f"path is {str(path)!r}; expected the name of a C file, such as 'model.c': the header is written beside it"
        )
    header = check_target(named(path).with_suffix(".h"))
    _check_name(name)
    return source, header


def write(texts: dict[Any, str]) -> None:
    """Write files as wholes."""
    for target, content in texts.items():
        with replaced(target) as file:
            file.write(content.encode("ascii"))


def narrow(engine: Engine) -> Engine:
    """The network in float32, with layers of its own; means far from 0 that would suffer go into an offset."""

    def made() -> Engine:
        layers = copy.deepcopy(engine.layers)
        return Engine(layers, engine.loss, engine.rate, SGD(), clip_norm=None, clip_value=None, dtype="float32")

    return engine.alone(made)


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"name is {shown(name)}; expected a string: the C functions' names begin with it")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in KEYWORDS or "__" in name:
        reason = "a word of C's own" if name in KEYWORDS else "no name in C"
        raise ValueError(
            f"name is {shown(name)}, which is {reason}; expected letters, digits and single underscores, a letter "
            "first, such as 'model'"
        )


class Quantised(NamedTuple):
    """A matrix in int8: sums are ``scale * (W q) + bias``, with ``q = round((x - middle) * per_step)``.

    Attributes
    ----------
    W : ndarray (outs, ins) of int8
    scale, bias : ndarray (outs,) of float32
    middle, per_step : ndarray (ins,) or (1,) of float32
    """

    W: Array
    scale: Array
    bias: Array
    middle: Array
    per_step: Array

    def inputs(self, x: Array) -> Array:
        """q of rows x (n, ins) of float32, as the C code computes it."""
        return np.clip(np.floor((x - self.middle) * self.per_step + np.float32(0.5)), -128, 127)

    def outputs(self, x: Array) -> Array:
        """W x + b of rows x, as the C code computes it."""
        sums = self.inputs(x).astype(np.float64) @ self.W.T.astype(np.float64)  # whole numbers: exact
        return sums.astype(np.float32) * self.scale + self.bias


def quantised(matrix: Matrix, x: Array, each: bool) -> Quantised:
    """A matrix for inputs such as the rows x; `each` of them has a step of its own, or all have one."""
    low, high = (x.min(axis=0), x.max(axis=0)) if each else (x.min().reshape(1), x.max().reshape(1))
    middle = ((low.astype(np.float64) + high) / 2).astype(np.float32)
    step = (high.astype(np.float64) - low) / 255
    step = np.where(step > 0, step, 1.0)
    W = matrix.W.astype(np.float64)
    if each:
        step = balanced(W, step, x.std(axis=0, dtype=np.float64))
    per_step = (1 / step).astype(np.float32)
    weights = W * (1 / per_step.astype(np.float64))
    scale = np.abs(weights).max(axis=1) / 127
    scale = np.where(scale > 0, scale, 1.0)
    whole = np.round(weights / scale[:, None]).astype(np.int8)
    made = Quantised(whole, scale.astype(np.float32), np.array(matrix.b, np.float32), middle, per_step)
    # What rounding adds to a sum on the average is known, and goes into the bias
    exact = x.mean(axis=0, dtype=np.float64) @ W.T + matrix.b
    made.bias[:] += exact - made.outputs(x).mean(axis=0, dtype=np.float64)
    return made


def balanced(W: Array, step: Array, spread: Array) -> Array:
    """Steps of inputs with that standard deviation, at least `step`, with which W loses less by rounding.

    In a row whose largest ``w step`` is M, weights are rounded to M / 127: a rare input with a large weight leaves few
    levels to all others. Their inputs need fewer, so that a step of theirs may be larger, and with it ``w step``. The
    errors of an input, ``w step`` of its own and ``M / 127 spread / step`` of its weight's, are least where they are
    equal. No step is so large that M grows. (The weights' part is taken off the inputs', as in Xiao and others,
    "SmoothQuant", 2023.)
    """
    size = np.abs(W)
    largest = (size * step).max(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        best = np.sqrt(np.mean(largest) / 127 * spread / np.sqrt(np.mean(W**2, axis=0)))
        most = np.where(size > 0, largest / size, np.inf).min(axis=0)
    best = np.minimum(best, most)
    return np.where(np.isfinite(best), np.maximum(step, best), step)


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


class Writer(Text):
    """The C text of a network.

    Parameters
    ----------
    steps : Steps
    name, dtype : str
        As of a `Text`.
    """

    def __init__(self, steps: Steps, name: str, dtype: str) -> None:
        super().__init__(name, dtype)
        self.steps = steps
        self.given = "double" if steps.offset is not None else self.real  # what inputs are
        self.made = "double" if steps.result_dtype == np.float64 else self.real  # what predictions are
        self.quantised: dict[int, Quantised] = {}  # by the place of a matrix
        self.about: list[str] = []  # more lines of the comment

    # --- int8 -----------------------------------------------------------------------------------

    def quantise(self, rows: Array) -> Array:
        """Take the matrices to int8, calibrated on rows (n, ins); returns the outputs (n, outs) that they make then."""
        x, first = rows.astype(np.float32), True
        with np.errstate(all="ignore"):
            for step in self.steps.steps:
                if isinstance(step, Matrix):
                    if step.W.shape[1] >= WIDEST:
                        raise ValueError(
                            f"layers[{step.place}] has {step.W.shape[1]} inputs; expected fewer than {WIDEST} for "
                            "int8, or their sum would not fit into 32 bits: take dtype='float32'"
                        )
                    made = self.quantised[step.place] = quantised(step, x, first)
                    x, first = made.outputs(x), False
                else:
                    x = np.ascontiguousarray(np.asarray(step.formula(x.T), np.float32).T)
        return x

    # --- the files ------------------------------------------------------------------------------

    def source(self, header: str) -> str:
        """The text of the C file, which includes `header`."""
        steps = self.steps
        pieces, stack = self.pieces()
        widths = [steps.ins, *(len(step.b) for step in steps.steps if isinstance(step, Matrix))]
        names = steps.names
        about = [
            f"{plain(header[:-2])}.c: a network {'-'.join(map(str, widths))}, written by fastnn {__version__}.",
            *sizes(self.flash, stack),
            *self.about,
            *([] if names is None else [f"Inputs: {plain(', '.join(names))}"]),
        ]
        return document(about, header, pieces, self.has_integers)

    @property
    def has_integers(self) -> bool:
        """Whether its text needs ``stdint.h``."""
        return bool(self.quantised or self.steps.lookups)

    def pieces(self, storage: str = "") -> tuple[list[str], int]:
        """Arrays and functions, of which ``predict`` has `storage`; and the bytes of the arrays on the stack."""
        steps, name, real, outs = self.steps, self.name, self.real, self.steps.outs
        body, floats, bytes_ = self._outputs()
        if steps.predictions:
            text = f"static void {name}_outputs(const {self.given} *x, {real} *y)\n{body}"
            lines = [f"{real} o[{outs}];", f"{name}_outputs(x, o);", *self._predictions()]
            predict = [text, f"{storage}{self._declared('predict', 'y', self.made, outs)}\n{block(lines)}"]
        else:
            predict = [f"{storage}{self._declared('predict', 'y', real, outs)}\n{body}"]
        if steps.probabilities is not None:
            parts = [in_terms_of(KNOWN, part, steps.loss, FORMAT) for part in steps.parts]
            called = "outputs" if steps.predictions else "predict"
            lines = [f"{real} y[{outs}];", f"{name}_{called}(x, y);", *self.loops(parts, outs, "y", "p")]
            predict.append(f"{storage}{self._declared('predict_proba', 'p', real, self.classes)}\n{block(lines)}")
        itemsize = self.dtype.itemsize
        stack = floats * itemsize + bytes_ + (outs * itemsize if len(predict) > 1 else 0)
        helpers = []
        if self.quantised:
            helpers.append(_DENSE_INT8)
        if any(isinstance(step, Matrix) and step.place not in self.quantised for step in steps.steps):
            helpers.append(_DENSE)
        filled = [text.replace("NAME", name).replace("REAL", real) for text in helpers]
        functions = [f"{comment}\nstatic {real} {own}{text}" for text, (own, comment) in self.functions.items()]
        return [*self.constants, *filled, *functions, *predict], stack

    @property
    def classes(self) -> int:
        """How many probabilities there are."""
        return sum(part.width for part in self.steps.parts)

    def header(self) -> str:
        """The text of the header."""
        numbers = {"INS": self.steps.ins, "OUTS": self.steps.outs}
        declared = [
            "/* The predictions y for one sample x; the two do not overlap. */\n"
            f"{self._declared('predict', 'y', self.made, self.steps.outs)};"
        ]
        if self.steps.probabilities is not None:
            numbers["CLASSES"] = self.classes
            declared.append(
                "/* The probability p of each class for one sample x. */\n"
                f"{self._declared('predict_proba', 'p', self.real, self.classes)};"
            )
        return header_of(self.name, numbers, declared)

    def _declared(self, function: str, result: str, kind: str, count: int) -> str:
        given = f"const {self.given} x[{self.steps.ins}]"
        return f"void {self.name}_{function}({given}, {kind} {result}[{count}])"

    def _predictions(self) -> list[str]:
        """What makes of the outputs o the predictions y."""
        lines = []
        for step in self.steps.predictions:
            target = "y" if step is self.steps.predictions[-1] else "o"
            if isinstance(step.part, StandardizeTargets):  # in double, which tells one second since 1970 from the next
                scale = step.part.scale
                std, mean = self.array("double", scale.std, "std"), self.array("double", scale.mean, "mean")
                lines += loop(step.width, [f"{target}[j] = o[j] * {std}[j] + {mean}[j];"])
            else:
                lines += self._formula(step, "o", target)
        return lines

    def _outputs(self) -> tuple[str, int, int]:
        """The text that makes outputs y, and how many numbers of the network's type and bytes its arrays have."""
        steps, lines, at = self.steps, [], "x"
        last = max((i for i, step in enumerate(steps.steps) if isinstance(step, Matrix)), default=-1)
        sizes = {"a": 0, "b": 0, "q": 0}

        def place(width: int, index: int, new: bool) -> str:
            if index >= last:
                return "y"
            if not new and at in ("a", "b"):
                target = at
            else:
                target = "b" if at == "a" else "a"
            sizes[target] = max(sizes[target], width)
            return target

        if steps.offset is not None:
            offset = self.array("double", steps.offset, "offset")
            target = place(steps.ins, -1, True) if last >= 0 else "y"
            lines += loop(steps.ins, [f"{target}[j] = ({self.real})({at}[j] - {offset}[j]);"])
            at = target
        for index, step in enumerate(steps.steps):
            if isinstance(step, Matrix):
                target = place(len(step.b), index, True)
                lines += self._matrix(step, at, target)
                if step.place in self.quantised:
                    sizes["q"] = max(sizes["q"], step.W.shape[1])
            elif isinstance(step, Lookup):
                target = place(step.width, index, True)
                lines += self._lookup(step, at, target)
            else:
                target = place(step.width, index, False)
                lines += self._formula(step, at, target)
            at = target
        if at == "x":
            lines += loop(steps.ins, ["y[j] = x[j];"])
        declared = [f"{self.real} {buffer}[{sizes[buffer]}];" for buffer in "ab" if sizes[buffer]]
        declared += [f"int8_t q[{sizes['q']}];"] if sizes["q"] else []
        return block(declared + lines), sizes["a"] + sizes["b"], sizes["q"]

    def _lookup(self, step: Lookup, source: str, target: str) -> list[str]:
        """Vectors of the table in the places of the categories' numbers."""
        table = self.array(self.real, step.table, f"table{step.place}")
        ends = self.array("double", step.counts - 0.5, f"ends{step.place}")
        firsts = self.array("int32_t", step.firsts, f"firsts{step.place}")
        size, places = step.size, step.columns * step.size
        lines = [
            f"for (int c = 0; c < {step.columns}; c++) {{",
            f"    const double number = {source}[c * {size}];",
            f"    const int known = number > -0.5 && number < {ends}[c];",
            f"    const {self.real} *v = {table} + (known ? {size} * ({firsts}[c] + (int32_t)rint(number)) : 0);",
            f"    for (int j = 0; j < {size}; j++) {target}[c * {size} + j] = known ? v[j] : {self.literal(0)};",
            "}",
        ]
        if step.width > places:
            lines.append(f"for (int j = {places}; j < {step.width}; j++) {target}[j] = {source}[j];")
        return lines

    def _matrix(self, step: Matrix, source: str, target: str) -> list[str]:
        (outs, ins), name, of = step.W.shape, self.name, f"{step.place}"
        made = self.quantised.get(step.place)
        if made is None:
            W = self.array(self.real, step.W.T, f"W{of}")
            b = self.array(self.real, step.b, f"b{of}")
            return [f"{name}_dense({source}, {ins}, {W}, {b}, {outs}, {target});"]
        W = self.array("int8_t", made.W, f"W{of}")
        scale, bias = self.array("float", made.scale, f"scale{of}"), self.array("float", made.bias, f"bias{of}")
        if made.middle.size > 1:
            middle, per_step = (
                f"{self.array('float', numbers, f'{kind}{of}')}[j]"
                for kind, numbers in (("middle", made.middle), ("per_step", made.per_step))
            )
        else:
            middle, per_step = self.literal(float(made.middle[0])), self.literal(float(made.per_step[0]))
        return [
            *loop(ins, [f"q[j] = {name}_whole(({source}[j] - {middle}) * {per_step});"]),
            f"{name}_dense_int8(q, {ins}, {W}, {scale}, {bias}, {outs}, {target});",
        ]

    def _formula(self, step: Formula, source: str, target: str) -> list[str]:
        if step.result.op == INPUT and source == target:
            return []
        if isinstance(step.part, ActivationFunction):
            return loop(step.width, [f"{target}[j] = {self.function(step)}({source}[j]);"])
        result = in_terms_of(KNOWN, step.result, step.part, FORMAT)
        return self.loops([result], step.width, source, target)


# Of the forms that were tried, the one that no level of optimisation makes slow: its inner loop is over the outputs,
# which compilers vectorise as it stands, and it takes four inputs at a time.
_DENSE = """\
/* y = W x + b; W is kept by columns. */
static void NAME_dense(const REAL *restrict x, int ins, const REAL *restrict W, const REAL *restrict b, int outs,
                       REAL *restrict y)
{
    int i, j = 0;
    for (i = 0; i < outs; i++) y[i] = b[i];
    for (; j + 4 <= ins; j += 4, W += 4 * outs) {
        const REAL x0 = x[j], x1 = x[j + 1], x2 = x[j + 2], x3 = x[j + 3];
        const REAL *W1 = W + outs, *W2 = W1 + outs, *W3 = W2 + outs;
        for (i = 0; i < outs; i++) y[i] = y[i] + W[i] * x0 + W1[i] * x1 + W2[i] * x2 + W3[i] * x3;
    }
    for (; j < ins; j++, W += outs)
        for (i = 0; i < outs; i++) y[i] += W[i] * x[j];
}
"""

_DENSE_INT8 = """\
/* The whole number nearest to x, from -128 to 127. */
static int8_t NAME_whole(float x)
{
    return (int8_t)(x >= 127.0f ? 127.0f : x > -128.0f ? floorf(x + 0.5f) : -128.0f);
}

/* y = scale * (W q) + bias. */
static void NAME_dense_int8(const int8_t *q, int ins, const int8_t *W, const float *scale, const float *bias, int outs,
                            float *y)
{
    for (int i = 0; i < outs; i++, W += ins) {
        int32_t sum = 0;
        for (int j = 0; j < ins; j++) sum += (int32_t)W[j] * q[j];
        y[i] = (float)sum * scale[i] + bias[i];
    }
}
"""


def sizes(flash: int, stack: int) -> list[str]:
    """What a comment says of bytes."""
    return [
        f"Constants: {flash} bytes.",
        f"Stack: {stack} bytes of arrays, and at most {BESIDE} beside them, with -Os or -O2.",
        "Nothing is allocated, and no variable is kept from call to call: calls may run side by side.",
    ]


def document(about: list[str], header: str, pieces: list[str], has_integers: bool) -> str:
    """A C file: a comment, what it includes, and pieces."""
    includes = f'#include "{header}"\n\n#include <math.h>\n' + ("#include <stdint.h>\n" if has_integers else "")
    return "\n".join(piece.rstrip("\n") + "\n" for piece in [_comment(about) + includes, *pieces])


def header_of(name: str, numbers: dict[str, int], declared: list[str]) -> str:
    """A header: numbers by name, and declarations."""
    upper = name.upper()
    guard = f"{upper}_H_INCLUDED"
    lines = [
        f"#ifndef {guard}", f"#define {guard}", "", *(f"#define {upper}_{key} {n}" for key, n in numbers.items()), "",
        "#ifdef __cplusplus", 'extern "C" {', "#endif", "", "\n\n".join(declared), "",
        "#ifdef __cplusplus", "}", "#endif", "", "#endif", "",
    ]  # fmt: skip
    return "\n".join(lines)


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


def _comment(lines: list[str]) -> str:
    return "/*\n" + "".join(f" * {line}\n" for line in lines) + " */\n"


def _rounded_up(x: float) -> float:
    """x to two digits, and not below it."""
    if x == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(x)) - 1)
    return math.ceil(x / unit * (1 + 1e-12)) * unit
