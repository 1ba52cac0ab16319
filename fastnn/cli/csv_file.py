"""A CSV whose columns' types are known: its rows as frames, and as they stand in it."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from ..extras import needs
from .records import MARK, Records


class CsvFile:
    """A CSV in a file.

    Parameters
    ----------
    place : pathlib.Path
    options : dict
        How polars reads it: ``schema``, ``separator`` and others.
    doubtful : set of str
        Columns of dates, of which no row says whether the day or the month comes first.
    """

    def __init__(self, place: pathlib.Path, options: dict[str, Any], doubtful: set[str]) -> None:
        self._place, self._options, self.doubtful = place, options, doubtful
        self.schema: dict[str, Any] = dict(options["schema"])
        self._records = Records(place, options["separator"])

    def frames(self, rows: int) -> Iterator[Any]:
        """Frames of so many rows each, but the last."""
        pl = needs("polars", "the command line", 'polars, which "fastnn[cli]" brings')
        records = iter(self._records)
        names = next(records).text
        while some := [record.text for record in itertools.islice(records, rows)]:
            frame = pl.read_csv(b"\n".join([names, *some, b""]), **self._options)
            if frame.height != len(some):
                raise ValueError(
                    f"its {len(some):,} records were read as {frame.height:,}; expected quotes around whole texts"
                )
            yield frame

    def line(self, row: int) -> int:
        """The number of the line, from 1 on, where a row, counted from 0 on, begins."""
        return next(itertools.islice(self._records, row + 1, None)).line

    def beside(self, frames: Iterable[Any]) -> Iterator[bytes]:
        """Its text, as it stands in it, with the columns of frames behind its own; empty lines are left out."""
        with self._place.open("rb") as file:
            start = file.readline()
        end = b"\r\n" if start.endswith(b"\r\n") else b"\n"
        separator: str = self._options["separator"]
        records = (record.text for record in self._records)
        for k, frame in enumerate(frames):
            text = frame.write_csv(
                include_header=k == 0, separator=separator, decimal_comma=self._options.get("decimal_comma", False)
            )
            made = Records(text.encode(), separator)  # first in zip, or it would take one more of the others
            whole = b"".join(left + separator.encode() + right.text + end for right, left in zip(made, records))
            yield MARK + whole if k == 0 and start.startswith(MARK) else whole
