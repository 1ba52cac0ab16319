"""The records of a CSV as they stand in it: its lines, but for breaks inside quotes."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..checks import Array

AT_ONCE = 1 << 22  # bytes
BREAK, RETURN, QUOTE = b'\n\r"'
MARK = b"\xef\xbb\xbf"  # of UTF-8, which may stand in front of a file


class Record(NamedTuple):
    """One record without its break, and the number of its first line, from 1 on."""

    text: bytes
    line: int


class Records:
    """The records of a CSV in a file, of which each has as many fields as the first one, its names.

    Lines without anything are none, unless there is one column.

    Parameters
    ----------
    source : pathlib.Path or bytes
        A file, or what would be in it.
    separator : str
        What parts the fields.

    Examples
    --------
    >>> from fastnn.cli.records import Records
    >>> for record in Records(b'a;b\\r\\n1,50;"x\\ny"\\r\\n\\r\\n007;\\r\\n', ";"):
    ...     print(record.line, record.text)
    1 b'a;b'
    2 b'1,50;"x\\ny"'
    5 b'007;'
    """

    def __init__(self, source: pathlib.Path | bytes, separator: str) -> None:
        self._source, self._separator = source, ord(separator)

    def __iter__(self) -> Iterator[Record]:
        """The record of names, and those of the rows; see `check` for errors."""
        for data, starts, ends, lines in self._kept():
            for start, end, line in zip(starts.tolist(), ends.tolist(), lines.tolist()):
                yield Record(data[start:end], line)

    def check(self) -> None:
        """Read all of them.

        Raises
        ------
        ValueError
            If one has more or fewer fields than the first, a quote is none of CSV, or a text is not UTF-8; it says in
            which line.
        """
        for _ in self._kept():
            pass

    def _kept(self) -> Iterator[tuple[bytes, Array, Array, Array]]:
        """Bytes, where each record starts and ends there, and its first line."""
        width = 0
        for data, starts, ends, lines, fields in self._pieces():
            kept = ends > starts
            if not width and kept.any():
                first = int(np.argmax(kept))
                width = int(fields[first])
                kept[first:] |= width == 1  # in front of the names there may be lines without anything
            elif width == 1:
                kept[:] = True
            wrong = kept & (fields != width)
            if wrong.any():
                k = int(np.argmax(wrong))
                many = fields[k] > width
                hint = f", and quotes around a text with {chr(self._separator)!r}" if many else ""
                raise ValueError(
                    f"line {lines[k]:,} has {'more' if many else 'fewer'} fields than the first, {fields[k]} and not "
                    f"{width}; expected as many{hint}"
                )
            yield data, starts[kept], ends[kept], lines[kept]

    def _pieces(self) -> Iterator[tuple[bytes, Array, Array, Array, Array]]:
        """Bytes of whole records; where each starts and ends there; its first line; how many fields it has."""
        with io.BytesIO(self._source) if isinstance(self._source, bytes) else self._source.open("rb") as file:
            rest, line = file.read(len(MARK)).removeprefix(MARK), 1
            while True:
                more = file.read(max(AT_ONCE, len(rest)))
                data = rest + more
                if not more:
                    data += b"\n"  # one without anything, where the last one has its own
                signs = np.frombuffer(data, np.uint8)
                quotes, breaks = np.flatnonzero(signs == QUOTE), np.flatnonzero(signs == BREAK)
                ends = breaks[np.searchsorted(quotes, breaks) % 2 == 0]
                if not more and len(quotes) % 2:
                    ends = np.append(ends, len(data) - 1)  # of a quote that is not closed
                if ends.size:
                    starts = np.append(0, ends[:-1] + 1)
                    lines = line + np.searchsorted(breaks, starts)
                    self._check(signs, quotes[quotes < ends[-1]], starts, lines)
                    check_utf8(data[: ends[-1]], line)
                    parts = np.flatnonzero(signs == self._separator)
                    parts = parts[np.searchsorted(quotes, parts) % 2 == 0] if quotes.size else parts
                    fields = 1 + np.diff(np.searchsorted(parts, ends), prepend=0)
                    rest, line = data[ends[-1] + 1 :], line + int(np.searchsorted(breaks, ends[-1])) + 1
                    ends = ends - (signs[np.maximum(ends - 1, 0)] == RETURN) * (ends > starts)
                    if not more and ends[-1] == starts[-1]:
                        starts, ends, lines, fields = starts[:-1], ends[:-1], lines[:-1], fields[:-1]
                    yield data, starts, ends, lines, fields
                else:
                    rest = data
                if not more:
                    return

    def _check(self, signs: Array, quotes: Array, starts: Array, lines: Array) -> None:
        """See that quotes are around whole fields: elsewhere they part the fields in other places than is meant."""
        opening, closing = quotes[::2], quotes[1::2]
        before = signs[np.maximum(opening - 1, 0)]
        wrong = ~np.isin(before, [self._separator, BREAK, QUOTE])
        wrong[: closing.size] |= ~np.isin(signs[closing + 1], [self._separator, BREAK, RETURN, QUOTE])
        wrong[: closing.size] &= closing > opening[: closing.size] + 1  # two of them, side by side, change nothing
        wrong[closing.size :] = True
        if wrong.any():
            line = lines[np.searchsorted(starts, opening[np.argmax(wrong)], side="right") - 1]
            raise ValueError(
                f'in line {line:,} a quote (") is not closed, or stands in a text without quotes; expected '
                '"5"" nails" for 5" nails'
            )


def check_utf8(data: bytes, line: int) -> None:
    """See that bytes, which begin in that line, are UTF-8.

    Raises
    ------
    ValueError
        If they are not; it says in which line.
    """
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise ValueError(f"its texts are not UTF-8, in line {line:,}; expected UTF-8: save it as that") from None
