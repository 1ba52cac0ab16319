"""What becomes of one column: a class for each kind, fitted on the training rows, kept in a file as plain numbers.

An encoder writes the columns that it makes into a given place, (n, width), which holds zeros. `one` does the same for
a single value, with the same arithmetic. `numbers` says it as a NumPy formula, which exports compute anywhere: an
encoder that is added says there what goes to ONNX and C.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from math import sqrt
from typing import Any

import numpy as np

from ..checks import Array, finite_number, flag, not_negative, one_of
from ..words import listed
from .table import (
    BOOL,
    DATE,
    DURATION,
    EXACT,
    MISSING,
    MIXED,
    NUMBER,
    TEXT,
    ZONED_DATE,
    Column,
    kind_of,
    kind_said,
    number_of,
    texts_of,
)

VECTOR = 8  # how many numbers stand for a category, where there are many
CLIP = 3.0  # what numbers stay below in size
WORDS = {"true": 1.0, "false": 0.0}  # texts of bools
AT_ONCE = 100  # new values, of which some are named
FAR = 1e150  # products of two such numbers are finite
REAL = frozenset({int, float, bool, np.float64, np.float32, np.int64, np.int32, np.bool_})
"""Types of single values that are numbers for sure."""
NUMBERS = REAL - {bool, np.bool_}


class Encoder(ABC):
    """One column of a table as columns of numbers.

    Attributes
    ----------
    kind : str
        Of which kind the column was in `fit`.
    width : int
        How many columns it becomes.
    """

    kind: str
    width: int

    @abstractmethod
    def write(self, column: Column, rows: Array | None, out: Array, name: str) -> None:
        """Write rows of a column, whose kind is fine, into `out` (n, width)."""

    @abstractmethod
    def numbers(self, values: Array) -> Array:
        """What becomes of numbers (n, 1), NaN for what is missing; (n, width).

        Of a text the number is that of its label among `labels`, -1 for what is missing or new. It is written for
        exports, in NumPy alone: see `fastnn.files.trace`.
        """

    @abstractmethod
    def one(self, value: Any, row: Array, start: int) -> bool:
        """Write a single value of a frame into zeros from `start` on; False if it is an unusual one."""

    @abstractmethod
    def names(self, name: str) -> list[str]:
        """The names of what the column `name` becomes."""

    @property
    @abstractmethod
    def spans(self) -> list[float]:
        """The range of each column that it makes: 1 of 0 and 1, 2 of -1 and 1, and 0 where it is no flag."""

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What makes an encoder like it, in JSON's terms."""

    def accepts(self, column: Column) -> bool:
        """Whether a column at predict is of a kind that this one can read."""
        return column.kind in (self.kind, MISSING)

    @property
    def reads_texts(self) -> bool:
        """Whether it takes a column as texts, whatever that holds: see `Table.texts`."""
        return False

    @property
    def said(self) -> str:
        """How errors call its kind."""
        return self.kind

    @property
    def fix(self) -> str:
        """What to do with a column that it does not accept."""
        return "convert it"


class Number(Encoder):
    """A number, centred at its median, divided by its interquartile range, and softly clipped at 3.

    Where that range is 0, it is half of the whole range; a constant becomes 0. What is missing becomes 0, which is
    the median, and a column of its own says so, if any was missing in `fit`. Dates and durations are numbers, too.
    """

    def __init__(self, kind: str, centre: float, scale: float, indicator: bool) -> None:
        self.kind = one_of(NUMBER, DATE, ZONED_DATE, DURATION)(kind, "kind")
        self.centre, self.scale = finite_number(centre, "centre"), not_negative(scale, "scale")
        if self.scale > FAR:
            raise ValueError(f"scale is {scale!r}; expected at most {FAR}")
        self.indicator = flag(indicator, "indicator")
        self.width = 1 + self.indicator
        self._half_centre, self._twice_scale = 0.5 * self.centre, 2.0 * self.scale

    @classmethod
    def fit(cls, kind: str, values: Array) -> Number:
        """Measure the values, of which one is there at least."""
        there = values[~np.isnan(values)]
        part = 0.5 if np.abs(there).max() > FAR else 1.0  # between two of them NumPy goes by their difference
        low, centre, high = (float(value) / part for value in np.quantile(there * part, (0.25, 0.5, 0.75)))
        spread = high / 2 - low / 2  # half of it: the whole may be too large for a number
        if spread == 0:
            spread = (float(there.max()) / 2 - float(there.min()) / 2) / 2
        scale = 0.0 if spread == 0 else 0.5 / max(spread, 1 / FAR)
        return cls(kind, centre, scale, there.size < values.size)

    def accepts(self, column: Column) -> bool:
        return super().accepts(column) or (self.kind == NUMBER and column.kind == BOOL)

    def write(self, column: Column, rows: Array | None, out: Array, name: str) -> None:
        out[:] = self.numbers(column.take(rows)[:, None])

    def numbers(self, values: Array) -> Array:
        missing = np.isnan(values)
        there = np.where(missing, self.centre, values)
        made = clipped(there, self._half_centre, self._twice_scale)
        return np.hstack([made, missing]) if self.indicator else made

    def one(self, value: Any, row: Array, start: int) -> bool:
        if type(value) not in REAL:
            if self.kind == NUMBER or kind_of(value) != self.kind:
                return False
            value = number_of(value, self.kind)
        elif self.kind != NUMBER and value == value:
            return False
        value = float(value)
        if value - value != 0:
            if value == value:  # infinite
                return False
            if self.indicator:
                row[start + 1] = 1
            return True
        row[start] = clipped_one(value, self._half_centre, self._twice_scale)
        return True

    def names(self, name: str) -> list[str]:
        return [name, f"{name}_missing"][: self.width]

    @property
    def spans(self) -> list[float]:
        return [0.0, 1.0][: self.width]

    def described(self) -> dict[str, Any]:
        return {"kind": self.kind, "centre": self.centre, "scale": self.scale, "indicator": self.indicator}


def clipped(values: Array, half_centre: float, twice_scale: float) -> Array:
    """z / sqrt(1 + (z / 3)**2) of z = (values - centre) * scale, which overflows nowhere."""
    z = np.clip(values * 0.5 - half_centre, -FAR, FAR)
    z = np.clip(z * twice_scale, -FAR, FAR)
    q = z / CLIP
    made: Array = z / np.sqrt(1.0 + q * q)
    return made


def clipped_one(value: float, half_centre: float, twice_scale: float) -> float:
    """The same bits for one number, in less time."""
    z = value * 0.5 - half_centre
    if not -FAR <= z <= FAR:
        z = FAR if z > 0 else -FAR
    z *= twice_scale
    if not -FAR <= z <= FAR:
        z = FAR if z > 0 else -FAR
    q = z / CLIP
    return z / sqrt(1.0 + q * q)


class Flag(Encoder):
    """A bool: 1 or -1, and 0 where it is missing."""

    width = 1
    kind = BOOL

    def accepts(self, column: Column) -> bool:
        return super().accepts(column) or (column.kind == NUMBER and bool(np.isin(known(column.values), (0, 1)).all()))

    def write(self, column: Column, rows: Array | None, out: Array, name: str) -> None:
        out[:] = self.numbers(column.take(rows)[:, None])

    def numbers(self, values: Array) -> Array:
        return np.where(np.isnan(values), 0.0, 2.0 * values - 1.0)

    def one(self, value: Any, row: Array, start: int) -> bool:
        if type(value) is not bool and type(value) is not np.bool_:
            return False
        row[start] = 1 if value else -1
        return True

    def names(self, name: str) -> list[str]:
        return [name]

    @property
    def spans(self) -> list[float]:
        return [2.0]

    def described(self) -> dict[str, Any]:
        return {"kind": BOOL}


class Empty(Encoder):
    """A column without any value in `fit`: it becomes nothing, whatever is in it later."""

    width = 0
    kind = MISSING

    def accepts(self, column: Column) -> bool:
        return True

    def write(self, column: Column, rows: Array | None, out: Array, name: str) -> None:
        pass

    def numbers(self, values: Array) -> Array:
        return values[:, :0]

    def one(self, value: Any, row: Array, start: int) -> bool:
        return True

    def names(self, name: str) -> list[str]:
        return []

    @property
    def spans(self) -> list[float]:
        return []

    def described(self) -> dict[str, Any]:
        return {"kind": MISSING}


class Category(Encoder):
    """A text or a category: a column for each that was there in `fit`, 1 where it is it, else 0.

    Of two there is one column, 1 for the first and -1 for the second. What is missing or new is 0 in all of them. Of
    `embedded` ones there are as many columns as a vector has numbers (see `fastnn.Embedding`), of which the first has
    the number of the category, or -1.

    Texts are compared as texts. Where either side has numbers or bools, the numbers are compared, as which the texts
    are read: 1 is "1", "01" or "1.0", and True is "True" or "true". That needs labels which are all numbers, or all
    bools, and no two of them the same one: else the column is not accepted. A column of objects of several kinds in
    `fit` is one of texts ever after.
    """

    kind = TEXT

    def __init__(self, labels: list[str], of: str = TEXT, embedded: bool = False) -> None:
        if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
            raise ValueError("the labels of a category are no texts")
        self.places = {label: k for k, label in enumerate(labels)}
        if len(self.places) < len(labels):
            raise ValueError("two labels of a category are the same")
        self.of = one_of(TEXT, NUMBER, BOOL, MIXED)(of, "of")
        self.labels, self.embedded = labels, flag(embedded, "embedded")
        self.width = VECTOR if embedded else 1 if len(labels) <= 2 else len(labels)
        self._are_bools = all(label.casefold() in WORDS for label in labels)
        self._by_number = None if of == MIXED else _by_number(labels)

    @classmethod
    def fit(cls, values: list[Any], of: str, most: int) -> Category:
        """Take the labels, of which one is there at least; more than `most` are embedded."""
        labels = sorted({value for value in texts_of(values) if value is not None})
        return cls(labels, of, len(labels) > most)

    @property
    def reads_texts(self) -> bool:
        return self.of == MIXED

    @property
    def said(self) -> str:
        return kind_said(TEXT, self.of)

    @property
    def fix(self) -> str:
        return f"convert it to what it was, such as {self.labels[0]!r}"

    def accepts(self, column: Column) -> bool:
        if column.kind == MISSING or self.of == MIXED or (column.kind == TEXT and column.of == self.of):
            return True
        if column.kind not in (TEXT, NUMBER, BOOL) or self._by_number is None:
            return False
        if column.kind == TEXT and column.of == MIXED:
            kinds = {kind_of(value) for value in column.values} - {MISSING, TEXT}
        else:
            kinds = {column.of if column.kind == TEXT else column.kind}
        if BOOL in kinds and not set(self._by_number) <= {0.0, 1.0}:
            return False
        if self._are_bools and column.kind == NUMBER:
            return bool(np.isin(known(column.values), (0, 1)).all())
        return kinds <= {TEXT, NUMBER, BOOL}

    def codes(self, column: Column, rows: Array | None) -> Array:
        """The number of each value's label, -1 for what is missing or new."""
        values, of = column.take(rows), column.of
        if isinstance(values, np.ndarray):  # all missing, or numbers
            values, of = values.tolist(), NUMBER
        if self.of == MIXED or (of == self.of and of != MIXED and column.kind == TEXT):
            found = [self.places.get(text, -1) for text in texts_of(values)]  # type: ignore[arg-type]
        else:
            found = [self._code(value, of) for value in values]
        return np.array(found, np.int64)

    def _code(self, value: Any, of: str) -> int:
        """The number of the label that is the same number; of a text among texts, of the same text."""
        if isinstance(value, str) and self.of == TEXT and of == MIXED:
            return self.places.get(value, -1)
        number = number_in(value) if isinstance(value, str) else number_of(value, NUMBER)
        return -1 if self._by_number is None or number is None else self._by_number.get(number, -1)

    def write(self, column: Column, rows: Array | None, out: Array, name: str) -> None:
        codes = self.codes(column, rows)
        known = np.flatnonzero(codes >= 0)
        if self.embedded:
            out[:, 0] = codes
        elif self.width == 1:
            out[known, 0] = 1.0 - 2.0 * codes[known]
        else:
            out[known, codes[known]] = 1.0

    def new(self, column: Column, written: Array) -> str:
        """A sentence about a column, written to (n, width), where most of several values are new; else empty."""
        values = column.values if isinstance(column.values, list) else column.values.tolist()
        there = np.array([value is not None and value == value for value in values], bool)
        new = np.flatnonzero(there & (written[:, 0] < 0 if self.embedded else ~written.any(axis=1)))
        if len(new) * 2 <= there.sum() or there.sum() < 2:
            return ""
        some = ", ".join(map(repr, list(dict.fromkeys(values[k] for k in new[:AT_ONCE]))[:3]))
        return (
            f"has {len(new)} of {there.sum()} values in categories that fit did not see, such as {some}: they are "
            f"taken as missing ones. fit saw {listed(self.labels)}; a text is the same only if it is written alike. "
            "This is said once"
        )

    def numbers(self, values: Array) -> Array:
        if self.embedded:
            return values * np.eye(1, VECTOR)
        if self.width == 1:
            return np.where(values >= 0, 1.0 - 2.0 * values, 0.0)
        return np.where(values == np.arange(self.width)[None], 1.0, 0.0)

    def one(self, value: Any, row: Array, start: int) -> bool:
        if value is None:
            code = -1
        elif type(value) is str and self.of in (TEXT, MIXED):
            code = self.places.get(value, -1)
        elif type(value) in NUMBERS and self._by_number is not None and not self._are_bools:
            code = self._by_number.get(float(value), -1)
        else:
            return False
        if self.embedded:
            row[start] = code
        elif code >= 0:
            if self.width == 1:
                row[start] = 1 - 2 * code
            else:
                row[start + code] = 1
        return True

    def names(self, name: str) -> list[str]:
        labels = range(VECTOR) if self.embedded else self.labels[: self.width]
        return [f"{name}_{label}" for label in labels]

    @property
    def spans(self) -> list[float]:
        return [0.0 if self.embedded else 2.0 if self.width == 1 else 1.0] * self.width

    def described(self) -> dict[str, Any]:
        return {"kind": TEXT, "labels": self.labels, "of": self.of, "embedded": self.embedded}


def known(values: Array) -> Array:
    """The values that are not missing."""
    return values[~np.isnan(values)]


def number_in(text: str) -> float | None:
    """The number, or the bool, that a text says exactly; None if it says none."""
    number = WORDS.get(text.casefold())
    if number is None and "_" not in text:
        with contextlib.suppress(ValueError):
            number = float(text)
    return number if number is not None and abs(number) < EXACT else None


def _by_number(labels: list[str]) -> dict[float, int] | None:
    """The place of each label's number; None if one says none, two say the same, or bools are among numbers."""
    found: dict[float, int] = {}
    for k, label in enumerate(labels):
        number = number_in(label)
        if number is None or number in found or (label.casefold() in WORDS) != (labels[0].casefold() in WORDS):
            return None
        found[number] = k
    return found


def fitted(column: Column, rows: Array | None, most: int) -> Encoder:
    """The encoder for a column, measured on these rows of it."""
    values = column.take(rows)
    if column.kind == TEXT:
        there = any(value is not None for value in values)
    else:
        there = bool(known(values).size)
    if not there:
        return Empty()
    if column.kind == TEXT:
        return Category.fit(values, column.of, most)
    return Flag() if column.kind == BOOL else Number.fit(column.kind, values)


def restored(about: Any) -> Encoder:
    """The encoder that `Encoder.described` described.

    Raises
    ------
    ValueError, TypeError
        If the description is none.
    """
    if not isinstance(about, dict) or not isinstance(about.get("kind"), str):
        raise ValueError(f"a column is described by {about!s:.80}; expected its kind and what belongs to it")
    settings = {name: value for name, value in about.items() if name != "kind"}
    kind = about["kind"]
    expected = {TEXT: {"labels", "of", "embedded"}, BOOL: set(), MISSING: set()}.get(
        kind, {"centre", "scale", "indicator"}
    )
    if set(settings) != expected:
        raise ValueError(f"a column of {kind!r} is described by {sorted(settings)}; expected {sorted(expected)}")
    if kind == TEXT:
        return Category(**settings)
    if kind in (BOOL, MISSING):
        return Flag() if kind == BOOL else Empty()
    return Number(kind, **settings)
