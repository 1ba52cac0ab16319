"""``fastnn evaluate``: how good a model's predictions of a table are."""

from __future__ import annotations

from typing import Annotated

import typer

from ..tabular import TabularClassifier
from ..words import listed
from .categories import NewCategories
from .models import block_from, check_features, feature_names, load_model, text_columns
from .predict import say_unused
from .report import Debug, Json, reporting, rows_of
from .scores import Scores
from .source import opened, polars
from .target import check_columns, column_of, is_there
from .texts import first_text, warn_of_dates


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
        of_texts = of_texts and name not in feature_names(loaded)
        with opened(data, [*text_columns(loaded), *([name] if of_texts else [])]) as source:
            check_columns(source.columns, name, (), data)
            check_features(loaded, source)
            warn_of_dates(report, source, feature_names(loaded))
            new, counted, rows = NewCategories(loaded), Scores(loaded), 0
            for frame in source.blocks(loaded.preprocessor_.width):
                series = column_of(frame, name)
                if series.dtype == polars().Boolean and not isinstance(loaded, TabularClassifier):
                    series = series.cast(polars().Int8)
                there = is_there(series)
                source.check_finite(frame.select(list(dict.fromkeys([*feature_names(loaded), name]))), rows, there)
                X, y = frame.select(feature_names(loaded)).filter(there), series.filter(there)
                if X.height:
                    if not isinstance(loaded, TabularClassifier) and not y.dtype.is_numeric():
                        found = first_text(source, name)
                        what = f"holds {found[0]!r} in {found[1]}" if found else f"is of type {y.dtype.base_type()}"
                        raise ValueError(f"{source.name!r}: the target {name!r} {what}; expected numbers, as 1234.5")
                    with block_from(rows):
                        new.add(X)
                        counted.add(X, y.to_numpy())
                rows += frame.height
        if not counted.rows:
            raise ValueError(f"the target {name!r} is missing in all rows; expected values")
        if missing := rows - counted.rows:
            report.say(f"target {name!r} is missing in {rows_of(missing)}, left out", rows_left_out=missing)
        if isinstance(loaded, TabularClassifier) and counted.unknown:
            strange = [str(label) for label in list(counted.unknown)[:9]]
            known = f"the model knows {listed([str(label) for label in loaded.classes_])}"
            missed = sum(counted.unknown.values())
            if missed == counted.rows:
                raise ValueError(f"the target {name!r} has no class of the model's, but {listed(strange)}; {known}")
            report.warn(
                f"target {name!r} has classes that training did not see, in {rows_of(missed)}, which count as wrong: "
                f"{listed(strange)}; {known}"
            )
        new.say(report)
        say_unused(report, loaded, [column for column in source.columns if column != name])
        measured = counted.values()
        report.table(f"{data}: {rows_of(counted.rows)}", ("score", "value"), list(measured.items()))
        report.values.update(rows=counted.rows, scores=measured)
