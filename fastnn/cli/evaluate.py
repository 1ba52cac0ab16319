"""``fastnn evaluate``: how good a model's predictions of a table are."""

from __future__ import annotations

from typing import Annotated

import typer

from ..tabular import TabularClassifier
from .models import features, load_model, scores, text_columns
from .predict import told_of_columns
from .report import Debug, Json, reporting
from .tables import read_table
from .target import column_of, is_there


def evaluate(
    *,
    model: Annotated[str, typer.Argument(help="A file that fastnn train wrote.")],
    data: Annotated[str, typer.Argument(help="A table with the target; - is standard input.")],
    target: Annotated[str | None, typer.Option(help="Its column; by default of the name that it had.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare a model's predictions with the truth.

    \b
    Example:
        fastnn evaluate houses.safetensors test.csv
    """
    with reporting(json, debug) as report:
        loaded = load_model(model)
        name = target if target is not None else loaded.target_name_
        if name is None:
            raise typer.BadParameter("the model does not know its target's name; expected one", param_hint="--target")
        of_texts = isinstance(loaded, TabularClassifier) and loaded.classes_.dtype.kind in "UO"
        frame = read_table(data, [*text_columns(loaded), *([name] if of_texts else [])])
        series = column_of(frame, name, data)
        there = is_there(series)
        if not there.any():
            raise ValueError(f"the target {name!r} is missing in all rows; expected values")
        if not there.all():
            missing = int((~there).sum())
            report.say(f"target {name!r} is missing in {missing:,} rows, which are left out", rows_left_out=missing)
            frame, series = frame.filter(there), series.filter(there)
        if not isinstance(loaded, TabularClassifier) and not series.dtype.is_numeric():
            raise ValueError(f"the target {name!r} is of type {series.dtype}; expected numbers")
        X = features(loaded, frame, data)
        told_of_columns(report, loaded, frame.drop(name), X)
        measured = scores(loaded, X, series.to_numpy())
        report.table(f"{data}: {frame.height:,} rows", ("score", "value"), list(measured.items()))
        report.values.update(rows=frame.height, scores=measured)
