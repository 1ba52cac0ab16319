"""Models of tables as one C99 file and its header: what becomes of each column, the networks, and their answer.

A row is numbers, one for each column: of a text or a category its place among those of training.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..files import Path
from ..files.c import Writer, check_dtype, document, header_of, narrow, places, sizes, stated, write
from ..files.c_text import FORMAT, KNOWN, Text, block, loop, plain
from ..files.steps import steps_of
from ..files.trace import CONCAT, Value, lowered, traced
from ..network import NeuralNetwork
from ..version import __version__
from .answer import Answer
from .encoders import Category, Encoder
from .preprocessor import Preprocessor
from .table import BOOL, DATE, DURATION, MISSING, ZONED_DATE

WIDE = np.dtype(np.float64)
LISTED = 200  # labels of a column at most that the comment names
WIDTH = 116  # of the lines of the comment
UNITS = {
    BOOL: "1 or 0",
    DATE: "days since 1970-01-01",
    ZONED_DATE: "days since 1970-01-01 in UTC",
    DURATION: "days",
}


def to_c(
    preprocessor: Preprocessor,
    networks: list[NeuralNetwork],
    answer: Answer,
    path: Path,
    name: str,
    dtype: str,
    calibration: Any,
) -> None:
    """Write a model; see `TabularRegressor.to_c`."""
    source, header = places(path, name)
    check_dtype(dtype, calibration)
    rows = None if calibration is None else preprocessor.numbers(calibration)
    quantised = []
    table, pieces = Text(name, "float64"), []
    stack, flash, has_integers = 0, 0, False
    real = "double" if dtype == "float64" else "float"
    lines = [f"{real} z[{preprocessor.width}];", *(f"double o{k}[{answer.outs}];" for k in range(len(networks)))]
    for k, (_, encoder, start) in enumerate(preprocessor.encoded()):
        lines += _column(table, encoder, k, start)
    for k, net in enumerate(networks):
        steps = steps_of(net.engine if dtype == "float64" else narrow(net.engine), FORMAT).first(answer.outs, FORMAT)
        writer = Writer(steps, f"{name}_net{k}", "float64" if dtype == "float64" else "float32")
        if rows is not None:
            outputs, predictor = writer.quantise(rows), net.engine.form.predictor
            quantised.append(outputs if predictor is None else predictor(outputs))
        made, needed = writer.pieces("static ")
        pieces += made
        stack, flash, has_integers = max(stack, needed), flash + writer.flash, has_integers or writer.has_integers
        if writer.made == "double":
            lines.append(f"{name}_net{k}_predict(z, o{k});")
        else:
            lines += ["{", f"    float y[{answer.outs}];", f"    {name}_net{k}_predict(z, y);",
                      *(f"    {line}" for line in loop(answer.outs, [f"o{k}[j] = y[j];"])), "}"]  # fmt: skip
    inputs = [f"x{k}" for k in range(len(networks))]
    result = lowered(traced(answer.formula, answer.outs, 1, WIDE, inputs), KNOWN)
    target = "p" if answer.labels is not None else "v" if answer.rank is not None else "y"
    own = [f"double v[{answer.width}];"] if answer.rank is not None else []
    lines = [*own, *lines, *table.loops(_parts(result), answer.outs, {f"x{k}": f"o{k}" for k in range(len(networks))},
                                        target)]  # fmt: skip
    lines += [] if answer.rank is None else _ranked(answer.width, answer.rank)
    numbers, functions, declared = _functions(answer, name, len(preprocessor.encoded()), lines, table)
    errors = []
    if rows is not None:
        wanted = answer.of([net.predict(rows)[:, : answer.outs] for net in networks])
        errors = stated(answer.of(quantised), wanted, "predictions" if answer.labels is None else "probabilities")
    stack += preprocessor.width * (4 if real == "float" else 8)
    stack += 8 * answer.outs * (len(networks) + 1) + 8 * answer.width
    said = [
        f"{plain(source.name)}: a model of a table, written by fastnn {__version__}.",
        *sizes(flash + table.flash, stack),
        *errors,
        "A row x has a number for each column, and NAN where one is missing:",
        *_about(preprocessor),
    ]
    text = document(said, header.name, [*table.constants, *pieces, *functions], has_integers)
    write({header: header_of(name, numbers, declared), source: text})


def _functions(
    answer: Answer, name: str, columns: int, lines: list[str], table: Text
) -> tuple[dict[str, int], list[str], list[str]]:
    """The functions around `lines`, which answer for a row, with what declares them, and the sizes in the header."""
    given = f"const double x[{columns}]"
    if answer.labels is None:
        outs = 1 if answer.rank is not None else answer.width
        predict = f"void {name}_predict({given}, double y[{outs}])"
        declared = [f"/* The predictions y for one row x. */\n{predict};"]
        return {"INS": columns, "OUTS": outs}, [f"{predict}\n{block(lines)}"], declared
    count = answer.width
    proba, predict = f"void {name}_predict_proba({given}, double p[{count}])", f"int {name}_predict({given})"
    classes = f"const char *const {name}_classes[{count}]"
    texts = ",\n    ".join(_literal(str(label)) for label in answer.labels)
    table.constants.append(f"{classes} = {{\n    {texts}\n}};")
    best = [f"double p[{count}];", "int best = 0;", f"{name}_predict_proba(x, p);",
            *(loop(count, ["if (p[j] > p[best]) best = j;"])), "return best;"]  # fmt: skip
    declared = [
        f"/* The names of the classes. */\nextern {classes};",
        f"/* The number of the most probable class for one row x. */\n{predict};",
        f"/* The probability p of each class for one row x. */\n{proba};",
    ]
    return {"INS": columns, "CLASSES": count}, [f"{proba}\n{block(lines)}", f"{predict}\n{block(best)}"], declared


def _parts(result: Value) -> list[Value]:
    """What lies side by side."""
    return list(result.inputs) if result.op == CONCAT else [result]


def _column(table: Text, encoder: Encoder, column: int, start: int) -> list[str]:
    """What writes that which column number `column` becomes into the row z, from `start` on."""
    if not encoder.width:
        return []
    parts = _parts(lowered(traced(encoder.numbers, 1, 1, WIDE), KNOWN))
    width = encoder.width // len(parts)
    return table.loops(parts, width, f"(x + {column})", f"(z + {start})")


def _ranked(count: int, rank: int) -> list[str]:
    """The value of that rank, from the smallest on, of the values v."""
    return [
        f"for (int i = 1; i < {count}; i++) {{",
        "    const double one = v[i];",
        "    int j = i;",
        "    for (; j > 0 && v[j - 1] > one; j--) v[j] = v[j - 1];",
        "    v[j] = one;",
        "}",
        f"y[0] = v[{rank}];",
    ]


def _about(preprocessor: Preprocessor) -> list[str]:
    """What each number of a row is."""
    lines = []
    for k, (name, encoder, _) in enumerate(preprocessor.encoded()):
        if isinstance(encoder, Category):
            labels = ", ".join(f"{i} {plain(label)}" for i, label in enumerate(encoder.labels[:LISTED]))
            more = len(encoder.labels) - LISTED
            what = labels + (f" and {more} more, in alphabetical order" if more > 0 else "") + "; -1 for all others"
        else:
            what = "not used" if encoder.kind == MISSING else UNITS.get(encoder.kind, "a number")
        lines.append(f"x[{k}] {plain(name)}: {what}")
    return [part for line in lines for part in _wrapped(line)]


def _wrapped(line: str) -> list[str]:
    """A line of a comment as some that are not too long."""
    words, made = line.split(" "), [""]
    for word in words:
        if made[-1] and len(made[-1]) + len(word) >= WIDTH:
            made.append("   ")
        made[-1] += (" " if made[-1] else "") + word
    return made


def _literal(text: str) -> str:
    """A text as C has it, in ASCII."""
    made = ""
    for byte in text.encode("utf-8", "surrogatepass"):
        made += chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
    return f'"{made}"'
