"""Where texts stand in a column of numbers or dates; and dates that may be meant otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tabular.table import BOOL, DATE, DURATION, NUMBER, ZONED_DATE
from .report import Report
from .source import Source, polars


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


def warn_of_dates(report: Report, source: Source, names: Iterable[str]) -> None:
    """Warn of columns of these where a date may be meant with the month first."""
    for name in names:
        if source.csv is not None and name in source.csv.doubtful:
            report.warn(
                f"column {name!r} holds dates as 01/02/2024, and no row says whether the day or the month comes first; "
                "the day is taken for it; if the month is meant, expected 2024-01-02: change the file"
            )
