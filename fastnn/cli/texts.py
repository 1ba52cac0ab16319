"""Columns of texts that are, it seems, meant to be numbers or dates; and dates that may be meant otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tabular.table import BOOL, DATE, DURATION, NUMBER, ZONED_DATE
from .report import Report, many, rows_of
from .source import Source, polars

MANY, MOST = 20, 0.9  # more different texts than so many, of which in so many of the rows stands a number
LIKE_NUMBER = r"""^\s*\(?[-+]?\s*[$€£¥]?\s*(\d{1,3}([,.'’\s]\d{3})+|\d+)?([.,]\d*)?([eE][-+]?\d+)?\s*[%$€£¥]?\)?\s*$"""
MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
LIKE_DATE = (
    r"(?i)^\s*(\d{1,2}[-/.]\s?\d{1,2}[-/.]\s?(\d{4}|\d{2})|\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?|"
    rf"\d{{1,2}}\.?[-/ ]?{MONTH}\.?[-/, ]*\d{{2,4}}|{MONTH}\.? \d{{1,2}},? \d{{4}})([T\s]+\d{{1,2}}:\d{{2}}.*)?\s*$"
)
MEANT = {  # what nearly all rows hold: how it looks, how it should, and what may make that of it
    "numbers": (
        LIKE_NUMBER,
        "1234.5, without spaces, currencies, percent or separators of thousands",
        'pandas.read_csv(..., thousands=".", decimal=",")',
    ),
    "dates": (
        LIKE_DATE,
        "2024-12-31 or 2024-12-31T10:00, all of one form",
        'pandas.to_datetime(column, format="%m/%d/%Y")',
    ),
}


def _no_number(series: Any) -> Any:
    return series.cast(polars().Float64, strict=False).is_null()


def _no_bool(series: Any) -> Any:
    return ~series.str.to_lowercase().is_in(["true", "false"])


def _no_date(series: Any) -> Any:
    days, found = series.str.slice(0, 10), True
    for form in ("%Y-%m-%d", "%Y/%m/%d", "%d-%m-%Y", "%d/%m/%Y", "%d.%m.%Y"):
        found = days.str.to_date(form, strict=False).is_null() & found
    return found


def _no_time(series: Any) -> Any:
    return ~series.str.contains(r"^\d{1,2}:\d{2}")


WRITTEN = {
    NUMBER: ("1234.5", _no_number), BOOL: ("true and false", _no_bool), DATE: ("2024-12-31", _no_date),
    ZONED_DATE: ("2024-12-31T10:00Z", _no_date), DURATION: ("10:30", _no_time),
}  # fmt: skip
"""Of the kinds of columns that are no texts: how their values stand in a CSV, and where a series has others."""


def first_text(source: Source, name: str, kind: str = NUMBER) -> tuple[str, str] | None:
    """The first text in a column of texts that is none of that kind, and where it stands; None if it has no texts.

    Where all texts could be of that kind, as dates of several forms, it is the first of them.
    """
    pl = polars()
    if source.schema[name] not in (pl.String, pl.Categorical):
        return None

    def wanted(series: Any) -> Any:
        return series.is_not_null() & WRITTEN[kind][1](series.cast(pl.String))

    return source.find(name, wanted) or source.find(name, lambda series: series.is_not_null())


def shown_text(source: Source, name: str) -> str:
    """The first text in a column that is no number, as errors show it."""
    found = first_text(source, name)
    return "none" if found is None else f"{found[0]!r} in {found[1]}"


def warn_of_texts(report: Report, source: Source, frame: Any) -> None:
    """Warn of the columns of texts of a frame in which nearly all rows hold numbers or dates as people write them."""
    pl = polars()
    for series in frame:
        if series.dtype not in (pl.Categorical, pl.String):
            continue
        counts = series.drop_nulls().value_counts(sort=False)
        all_rows = int(counts["count"].sum())
        if counts.height <= min(MANY, all_rows // 2):
            continue
        texts = counts[series.name].cast(pl.String)
        for what, (form, expected, cure) in MEANT.items():
            there = texts.str.contains(form) & texts.str.contains(r"\d")
            rows = int(counts["count"].filter(there).sum())
            if rows >= MOST * all_rows:
                count = many(counts.height, "category", "categories")
                text, where = first_text(source, series.name) or (texts[0], "some row")
                report.warn(
                    f"column {series.name!r} is of texts, {count}, but {what} stand in {rows:,} of "
                    f"{rows_of(all_rows)}; {text!r} is none as it is written, in {where}; if {what} are meant, "
                    f"expected {expected}, and NA for missing ones: change the file, as by {cure}"
                )
                break


def warn_of_dates(report: Report, source: Source, names: Iterable[str]) -> None:
    """Warn of columns of these where a date may be meant with the month first."""
    for name in names:
        if source.csv is not None and name in source.csv.doubtful:
            report.warn(
                f"column {name!r} holds dates as 01/02/2024, and no row says whether the day or the month comes first; "
                "the day is taken for it; if the month is meant, expected 2024-01-02: change the file"
            )
