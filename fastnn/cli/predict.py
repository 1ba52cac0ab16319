"""``fastnn predict``: from a table and a model to the table with predictions."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from ..tabular import TabularClassifier
from .models import Model, feature_names, features, listed, load_model, new_categories, text_columns
from .report import Debug, Json, Report, reporting
from .tables import STANDARD, check_out, polars, read_table, write_table


def predict(
    *,
    model: Annotated[str, typer.Argument(help="A file that fastnn train wrote.")],
    data: Annotated[str, typer.Argument(help="A table with the columns of training; - is standard input.")],
    out: Annotated[str, typer.Option(help="Where to write it: CSV, or by its name Parquet, Arrow, gzip.")] = STANDARD,
    proba: Annotated[bool, typer.Option("--proba", help="A column with the probability of each class, too.")] = False,
    interval: Annotated[float | None, typer.Option(help="Columns low and high, which cover so much, as 0.9.")] = None,
    column: Annotated[str, typer.Option(help="The name of the last column.")] = "prediction",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a table with the model's predictions in its last column.

    \b
    Example:
        fastnn predict houses.safetensors new.csv --out predictions.csv
    """
    with reporting(json, debug, data_out=out == STANDARD) as report:
        check_out(out, model, data)
        loaded = load_model(model)
        if proba and not isinstance(loaded, TabularClassifier):
            raise typer.BadParameter("the model is of regression; --interval is for that", param_hint="--proba")
        if interval is not None and isinstance(loaded, TabularClassifier):
            raise typer.BadParameter("the model is of classification; --proba is for that", param_hint="--interval")
        frame = read_table(data, text_columns(loaded))
        X = features(loaded, frame, data)
        told_of_columns(report, loaded, frame, X)
        made = _predictions(loaded, X, proba, interval, column)
        taken = [name for name in made if name in frame.columns]
        if taken:
            raise ValueError(f"{data!r} has a column {taken[0]!r} already; give the predictions another name: --column")
        write_table(frame.with_columns(polars().Series(name, values) for name, values in made.items()), out)
        report.say(f"{frame.height:,} predictions: {'standard output' if out == STANDARD else out}",
                   rows=frame.height, out=out, columns=list(made))  # fmt: skip


def told_of_columns(report: Report, model: Model, frame: Any, X: Any) -> None:
    """Say which categories are new and which columns are not used."""
    new = new_categories(model, X)
    for name, (count, labels) in new.items():
        rows = "1 row" if count == 1 else f"{count:,} rows"
        report.warn(f"column {name!r} has categories that training did not see, in {rows}: {listed(labels)}")
    report.values["new_categories"] = {name: {"rows": count, "labels": labels} for name, (count, labels) in new.items()}
    used = {*feature_names(model), model.target_name_}
    others = [name for name in frame.columns if name not in used]
    if others:
        report.say(f"columns that the model does not use: {listed(others)}", unused=others)


def _predictions(model: Model, X: Any, proba: bool, interval: float | None, column: str) -> dict[str, Any]:
    """The new columns by name; the prediction is the last."""
    made: dict[str, Any] = {}
    if isinstance(model, TabularClassifier):
        p = model.predict_proba(X)
        if proba:
            made = {f"probability_{label}": p[:, k] for k, label in enumerate(model.classes_.tolist())}
        return {**made, column: model.classes_[np.argmax(p, axis=1)].tolist()}
    if interval is not None:
        made["low"], made["high"] = np.ascontiguousarray(model.predict_interval(X, interval).T)
    if model.quantiles is not None:
        columns = np.ascontiguousarray(model.predict_quantiles(X).T)
        made.update({f"quantile_{level:g}": values for level, values in zip(model.quantiles, columns)})
    if model.distribution is not None:
        values, made["standard_deviation"] = model.predict(X, return_std=True)
        return {**made, column: values}
    return {**made, column: model.predict(X)}
