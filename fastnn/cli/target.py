"""The column to predict: whether it is of classes or of values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import typer

from ..words import listed, many
from .report import plain, rows_of
from .source import Source, polars
from .texts import shown_text

FEW, ROWS_EACH = 20, 5  # whole numbers of so few values, each in so many rows on average, are classes
EXACT = 2.0**53  # from here on floats skip whole numbers


class Target(NamedTuple):
    """What is known of the target: what the task is, why, and the values."""

    task: str
    reason: str
    values: Any  # a series


def check_columns(columns: list[str], target: str, dropped: Iterable[str], path: str) -> None:
    """See that there is a target of that name, and what is to be left out.

    Raises
    ------
    typer.BadParameter
        If the target is to be left out.
    ValueError
        If there is no such column.
    """
    if target not in columns:
        unnamed = any(re.fullmatch(r"[-+]?[\d.,]+(e-?\d+)?", name) for name in columns)
        hint = "; is its first line one of names?" if unnamed else ""
        raise ValueError(f"{path!r} has no column {target!r} for the target; it has {listed(columns)}{hint}")
    for name in dropped:
        if name == target:
            raise typer.BadParameter(f"{name!r} is the target, which is needed; expected others", param_hint="--drop")
        if name not in columns:
            raise ValueError(f"{path!r} has no column {name!r} for --drop to leave out; it has {listed(columns)}")


def column_of(frame: Any, name: str) -> Any:
    """The column of that name; categories as texts, and numbers that NumPy has no type for as floats."""
    series = frame[name]
    pl = polars()
    if series.dtype in (pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    return series.cast(pl.Float64) if series.dtype == pl.Int128 or series.dtype.is_decimal() else series


def is_there(series: Any) -> Any:
    """Where a series has a value."""
    return series.is_not_null() & series.is_not_nan() if series.dtype.is_float() else series.is_not_null()


def read_target(series: Any, task: str | None, source: Source) -> Target:
    """The task for a target without missing values, of this source: the one that is given, or what its values say.

    Raises
    ------
    ValueError
        If its values do not suit a task.
    """
    name, different, rows = series.name, series.n_unique(), len(series)
    pl = polars()
    numeric = series.dtype.is_numeric()
    if not numeric and series.dtype not in (pl.String, pl.Boolean):
        raise ValueError(f"the target {name!r} is of type {series.dtype.base_type()}; expected numbers, texts or bools")
    if rows and different < 2:
        raise ValueError(
            f"the target {name!r} has the same value in all rows, {plain(series[0])!r}; expected two at least"
        )
    if task == "regression" and not numeric and series.dtype != pl.Boolean:
        raise ValueError(
            f"the target {name!r} holds texts, as {shown_text(source, name)}; expected numbers for --task regression, "
            "such as 1234.5"
        )
    if task is not None:
        if task == "regression" and not numeric:
            series = series.cast(pl.Int8)
        if task == "classification" and series.dtype.is_float() and (series != series.floor()).any():
            raise ValueError(
                f"the target {name!r} holds fractions, as {series.filter(series != series.floor())[0]}; expected whole "
                "numbers, texts or bools for --task classification"
            )
        return Target(task, "as --task says", series)
    if series.dtype == pl.Boolean or not numeric:
        if not numeric and different > max(2, rows / 2):
            raise ValueError(
                f"the target {name!r} has {many(different, 'different text')} in {rows_of(rows)}, as "
                f"{shown_text(source, name)}; expected classes, each in several rows, or numbers, such as 1234.5"
            )
        kind = "bool" if series.dtype == pl.Boolean else "text"
        return Target("classification", many(different, f"different {kind}"), series)
    values = series.to_numpy()
    whole = bool(np.all((np.floor(values) == values) & (np.abs(values) < EXACT)))
    if whole and (different == 2 or (different <= FEW and rows >= ROWS_EACH * different)):
        return Target("classification", many(different, "different whole number"), series.cast(pl.Int64))
    return Target("regression", many(different, "different number"), series)
