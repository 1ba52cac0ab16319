"""A network as one C99 file and its header: nothing allocated, weights constant, no library but ``math.h``.

``predict`` goes through the steps of ``steps``: a matrix is a call of one function, written out once; an activation is
a function of one number, a stage a loop or a few. Their text comes from the NumPy formula (see ``trace``). In int8
matrices are those of ``quantised``.
"""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import numpy as np

from ..checks import Array, one_of, shown
from ..engine.engine import Engine
from ..formulas.activations import ActivationFunction
from ..formulas.optimizers import SGD
from ..layers.targets import StandardizeTargets
from ..version import __version__
from .arrays import Path, check_target, named, replaced
from .c_text import FORMAT, KNOWN, Text, block, loop, plain
from .quantised import WIDEST, Quantised, quantised
from .steps import Formula, Lookup, Matrix, Steps, in_terms_of, steps_of
from .trace import INPUT

BESIDE = 256  # bytes of stack for registers and return addresses, beside the arrays

_WORDS = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long "
    "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile "
    "while asm class delete false new namespace operator private protected public template this throw true try "
    "virtual bool main"
)
KEYWORDS = frozenset(_WORDS.split())


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


def _comment(lines: list[str]) -> str:
    return "/*\n" + "".join(f" * {line}\n" for line in lines) + " */\n"


def _rounded_up(x: float) -> float:
    """x to two digits, and not below it."""
    if x == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(x)) - 1)
    return math.ceil(x / unit * (1 + 1e-12)) * unit
