"""Columns of texts that are, it seems, meant to be numbers."""

from __future__ import annotations

from typing import Any

from .report import Report
from .source import polars

MANY, MOST = 20, 0.9  # more different texts than so many, of which in so many of the rows stands a number
NUMBER = r"^\s*[-+]?(\d{1,3}([,.' ]\d{3})+|\d+)?([.,]\d*)?([eE][-+]?\d+)?\s*%?\s*$"


def no_number(series: Any) -> Any:
    """The first text that is no number as it is written; the first one, if all are."""
    pl = polars()
    others = series.filter(series.cast(pl.Float64, strict=False).is_null() & series.is_not_null())
    return others[0] if len(others) else series[0]


def warn_of_numbers(report: Report, X: Any) -> None:
    """Warn of the columns of texts in which nearly all rows hold numbers: with spaces, percent, or few other texts."""
    pl = polars()
    for series in X:
        if series.dtype not in (pl.Categorical, pl.String):
            continue
        counts = series.drop_nulls().value_counts(sort=False)
        if counts.height <= MANY:
            continue
        texts = counts[series.name].cast(pl.String)
        there = texts.str.contains(NUMBER) & texts.str.contains(r"\d")
        rows, all_rows = int(counts["count"].filter(there).sum()), int(counts["count"].sum())
        if rows >= MOST * all_rows:
            report.warn(
                f"column {series.name!r} is of texts, {counts.height:,} categories, but numbers stand in {rows:,} of "
                f"{all_rows:,} rows; {no_number(texts)!r} is none as it is written; if numbers are meant, expected "
                "1234.5, without spaces, percent or separators of thousands, and NA for missing ones: change the file"
            )
