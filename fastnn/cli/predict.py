"""``fastnn predict``: from a table and a model to the table with predictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import typer

from ..tabular import TabularClassifier
from ..words import listed, many
from .categories import NewCategories
from .models import Model, block_from, check_features, feature_names, load_model, text_columns
from .report import Debug, Json, Report, reporting
from .source import STANDARD, Source, opened, polars
from .tables import check_name, check_out, is_binary, write_blocks, write_texts
from .texts import warn_of_dates


def predict(
    *,
    model: Annotated[str, typer.Argument(help="A file that fastnn train wrote.")],
    data: Annotated[str, typer.Argument(help="A table with the columns of training; - is standard input.")],
    out: Annotated[str, typer.Option(help="Where to write it: CSV, or by its name Parquet, Arrow, gzip.")] = STANDARD,
    proba: Annotated[bool, typer.Option("--proba", help="A column with the probability of each class, too.")] = False,
    interval: Annotated[float | None, typer.Option(help="Columns low and high, which cover so much, as 0.9.")] = None,
    column: Annotated[str, typer.Option(help="The name of the last column.")] = "prediction",
    prefix: Annotated[str, typer.Option(help="What the names of all columns that are added begin with.")] = "",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a table with the model's predictions in its last column.

    \b
    Example:
        fastnn predict houses.safetensors new.csv --out predictions.csv
    """
    with reporting(json, debug, data_out=out == STANDARD) as report:
        check_name(out)
        if out != STANDARD:
            check_out(out, model, data)
        if not column:
            raise typer.BadParameter("it is empty; expected a name", param_hint="--column")
        if interval is not None and not 0 < interval < 1:
            raise typer.BadParameter(f"{interval}; expected a number between 0 and 1", param_hint="--interval")
        loaded = load_model(model)
        if proba and not isinstance(loaded, TabularClassifier):
            raise typer.BadParameter("the model is of regression; --interval is for that", param_hint="--proba")
        if interval is not None and isinstance(loaded, TabularClassifier):
            raise typer.BadParameter("the model is of classification; --proba is for that", param_hint="--interval")
        numbers = feature_names(loaded) if is_binary(out) else None
        with opened(data, text_columns(loaded), numbers) as source:
            check_features(loaded, source)
            warn_of_dates(report, source, feature_names(loaded))
            new, made = NewCategories(loaded), _Made(loaded, proba, interval, column, prefix)
            blocks = made.blocks(source, new)
            if source.csv is not None and not is_binary(out):
                write_texts(source.csv.beside(predicted for _, predicted in blocks), out)
            else:
                write_blocks((frame.hstack(predicted) for frame, predicted in blocks), out)
        new.say(report)
        say_unused(report, loaded, source.columns)
        report.say(f"{many(made.rows, 'prediction')}: {'standard output' if out == STANDARD else out}",
                   rows=made.rows, out=out, columns=made.columns)  # fmt: skip


def say_unused(report: Report, model: Model, columns: list[str]) -> None:
    """Say which columns are not used."""
    used = {*feature_names(model), model.target_name_}
    others = [name for name in columns if name not in used]
    if others:
        report.say(f"columns that the model does not use: {listed(others)}", unused=others)


class _Made:
    """The blocks of a table with predictions, and what they have in common."""

    def __init__(self, model: Model, proba: bool, interval: float | None, column: str, prefix: str) -> None:
        self.model, self.proba, self.interval, self.column, self.prefix = model, proba, interval, column, prefix
        self.rows, self.columns = 0, [prefix + column]

    def blocks(self, source: Source, new: NewCategories) -> Iterator[tuple[Any, Any]]:
        """Each block, and its predictions as a frame; categories that are new go to `new`."""
        names = feature_names(self.model)
        for frame in source.blocks(self.model.preprocessor_.width):
            X = frame.select(names)
            source.check_finite(X, self.rows)
            with block_from(self.rows):
                new.add(X)
                found = _predictions(self.model, X, self.proba, self.interval, self.column)
            made = {self.prefix + name: values for name, values in found.items()}
            self.columns = list(made)
            taken = [name for name in made if name in frame.columns]
            if taken:
                raise ValueError(
                    f"{source.name!r} has the column{'s' * (len(taken) > 1)} {listed(taken)} already; expected other "
                    f"names of what is added: --prefix new_ puts new_ before all of them, --column names the last one"
                )
            self.rows += frame.height
            yield frame, polars().DataFrame(made)


def _predictions(model: Model, X: Any, proba: bool, interval: float | None, column: str) -> dict[str, Any]:
    """The new columns by name; the prediction is the last."""
    made: dict[str, Any] = {}
    if isinstance(model, TabularClassifier):
        p = model.predict_proba(X)
        if proba:
            made = {f"probability_{label}": p[:, k] for k, label in enumerate(model.classes_.tolist())}
        return _with_last(made, column, model.classes_[np.argmax(p, axis=1)].tolist())
    if interval is not None:
        made["low"], made["high"] = np.ascontiguousarray(model.predict_interval(X, interval).T)
    if model.quantiles is not None:
        columns = np.ascontiguousarray(model.predict_quantiles(X).T)
        made.update({f"quantile_{float(level)}": values for level, values in zip(model.quantiles, columns)})
    if model.distribution is not None:
        values, made["standard_deviation"] = model.predict(X, return_std=True)
        return _with_last(made, column, values)
    return _with_last(made, column, model.predict(X))


def _with_last(made: dict[str, Any], column: str, values: Any) -> dict[str, Any]:
    """The new columns with the last one, whose name none of them has."""
    if column in made:
        raise typer.BadParameter(
            f"{column!r} is a column that comes before it; expected none of {listed(list(made))}", param_hint="--column"
        )
    return {**made, column: values}
