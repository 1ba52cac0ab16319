"""The door for tables: data frames and arrays in, columns of one kind each out.

pandas, polars and pyarrow are read through narwhals, which is imported when the first frame comes. A column comes out
as float64 numbers with NaN where one is missing (a bool is 0 or 1, a date the days since 1970 in UTC, a duration
days), or as texts with None where one is missing.
"""

from __future__ import annotations

import datetime
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array, shown
from ..data.sources import check_in_memory
from ..data.tables import is_sparse
from ..extras import needs
from ..words import listed

NUMBER, BOOL, TEXT, DATE, ZONED_DATE, DURATION, MISSING, MIXED = (
    "number", "bool", "text", "date", "date with a time zone", "duration", "missing", "mixed objects",
)  # fmt: skip
KINDS = (NUMBER, BOOL, TEXT, DATE, ZONED_DATE, DURATION, MISSING)
"""What a column may be; "missing" is one without any value."""

CONTAINERS = (list, tuple, set, frozenset, Mapping, np.ndarray)
"""What holds several values and is none itself."""

PLAIN = frozenset({type(None), str, int, float, bool})
"""Types of most values."""

AT_ONCE = 65_536  # texts
EXACT = 2**53  # up to which each whole number is a float64 of its own
FINE = ("us", "ns", "ps", "fs", "as", "generic")  # units of times that microseconds hold
DAY = 86_400.0  # seconds
_EPOCH = datetime.datetime(1970, 1, 1)


class Column(NamedTuple):
    """The values of a column: float64 with NaN for what is missing, or of texts a list with None for it.

    `of` says what the texts were: texts; the numbers or bools that are the categories of a column; or objects of
    several kinds, which are in the list as they are.
    """

    kind: str
    values: Any
    of: str = TEXT

    @property
    def said(self) -> str:
        """How errors call its kind."""
        return kind_said(self.kind, self.of)

    def take(self, rows: Array | None) -> Any:
        """The values of these rows, or of all."""
        if rows is None:
            return self.values
        return [self.values[k] for k in rows] if isinstance(self.values, list) else self.values[rows]


def kind_said(kind: str, of: str) -> str:
    """How errors call the kind of a column, or that of its categories."""
    return kind if kind != TEXT or of == TEXT else MIXED if of == MIXED else f"category of {of}s"


class Table:
    """A data frame or a two-dimensional array, column by column.

    Parameters
    ----------
    values : data frame or array_like (n_samples, n_features)

    Attributes
    ----------
    names : tuple of str or None
        Of the columns; None of an array.
    shape : (int, int)
        Rows and columns.

    Raises
    ------
    TypeError, ValueError
        If it is no table, two columns have the same name, or there is no row or column.
    """

    def __init__(self, values: Any) -> None:
        if is_sparse(values):
            raise TypeError(
                "Sparse data was passed for X, but dense data is required: X.toarray() makes it dense, and "
                "fastnn.sklearn's estimators take it as it is"
            )
        if type(values).__name__ == "LazyFrame":
            raise TypeError("X is a lazy frame; expected one in memory: X.collect()")
        if not isinstance(values, dict):  # of columns, which pandas makes a frame of
            check_in_memory(values, "a model of tables")
        self.names: tuple[str, ...] | None = None
        self._column: Callable[[int], Column]
        self._values: Callable[[int], list[Any]]
        self._index: Any = None
        if hasattr(values, "columns") and not isinstance(values, np.ndarray):
            self._open_frame(values)
        else:
            self._open_array(values)
        n_samples, n_features = self.shape
        if n_samples == 0:
            raise ValueError(
                f"Found array with 0 sample(s) (shape={self.shape}) while a minimum of 1 is required: X has no rows"
            )
        if n_features == 0:
            raise ValueError(
                f"Found array with 0 feature(s) (shape={self.shape}) while a minimum of 1 is required: X has no columns"
            )

    def _open_frame(self, frame: Any) -> None:
        narwhals = needs("narwhals", "a data frame", "narwhals")
        found = [str(name) for name in (frame.column_names if hasattr(frame, "column_names") else frame.columns)]
        if len(set(found)) < len(found):
            twice = next(name for k, name in enumerate(found) if name in found[:k])
            raise ValueError(
                f"X has two columns named {twice!r}; expected different names: rename one, or leave one out"
            )
        try:
            opened = narwhals.from_native(frame, eager_only=True)
        except TypeError as error:
            batch = "; pyarrow.Table.from_batches([X]) makes a table of it" * (type(frame).__name__ == "RecordBatch")
            raise TypeError(
                f"X is {shown(type(frame))}; expected a frame of pandas, polars or pyarrow in memory, or an array: "
                f"{error}{batch}"
            ) from None
        self.names, self.shape = tuple(found), (int(opened.shape[0]), len(found))
        self._index = index_of(frame)
        self._column = lambda k: series_column(narwhals, opened[:, k], found[k], self.row)
        self._values = lambda k: opened[:, k].to_list()

    def _open_array(self, values: Any) -> None:
        if values is None:
            raise ValueError("X is None; expected a data frame, or an array (n_samples, n_features)")
        array = values if isinstance(values, np.ndarray) else _as_array(values)
        if isinstance(array, np.ma.MaskedArray):
            numeric, gone = array.dtype.kind in "fiub", np.ma.getmaskarray(array)
            array = array.data.astype(np.float64 if numeric else object)
            array[gone] = np.nan if numeric else None
        array = np.asarray(array)  # a matrix has no column of one dimension
        if isinstance(values, Mapping) or array.dtype.names or (array.dtype == object and _has_records(array)):
            raise TypeError(
                f"X is {shown(type(values))} of columns or records; expected a data frame or rows of values: "
                "pandas.DataFrame(X) makes a frame of it"
            )
        if array.ndim != 2:
            series = hasattr(values, "to_frame")
            raise ValueError(
                f"Expected 2D array, got {array.ndim}D array of shape {array.shape} instead. Reshape your data: "
                f"{'X.to_frame()' if series else 'X.reshape(-1, 1)'} makes one column of it"
                f", {'X.to_frame().T' if series else 'X.reshape(1, -1)'} one row"
            )
        if array.dtype.kind == "c":
            raise ValueError("Complex data not supported: X has complex numbers; take .real and .imag as two columns")
        if array.dtype.kind not in "fiubUSTMmO":
            raise TypeError(f"X has dtype {array.dtype}; expected numbers, texts, dates or objects")
        self.shape = (int(array.shape[0]), int(array.shape[1]))
        self._column = lambda k: array_column(array[:, k], f"column {k} of X", self.row)
        self._values = lambda k: (array if array.dtype.kind not in "Mm" else array.astype(object))[:, k].tolist()

    def column(self, k: int) -> Column:
        """Column number `k`; finite numbers or missing ones.

        Raises
        ------
        ValueError, TypeError
            If it holds infinities, or what is no value of a table.
        """
        column = self._column(k)
        if column.kind != TEXT:
            infinite = np.isinf(column.values)
            if infinite.any():
                row = self.row(int(np.argmax(infinite)))
                raise ValueError(
                    f"{self.name(k)} holds infinity in {row}, or a value too large for dtype('float64'); expected "
                    "finite numbers, or NaN for what is missing"
                )
            if np.isnan(column.values).all():
                return Column(MISSING, column.values)
        elif column.values.count(None) == len(column.values):
            return Column(MISSING, np.full(len(column.values), np.nan))
        return column

    def rounded(self, k: int, values: Array) -> str:
        """A sentence about column number `k`, where whole numbers differ, but not as float64; empty if none do."""
        large = np.flatnonzero(np.abs(np.nan_to_num(values)) >= EXACT)
        if large.size == 0:
            return ""
        given = self._values(k)
        whole = {given[place] for place in large if isinstance(given[place], numbers.Integral)}
        same = len(whole) - len({float(value) for value in whole})
        if same == 0:
            return ""
        return (
            f"{self.name(k)} has {len(whole)} different whole numbers from 2**53 on, {same} of which are rounded to "
            "others of them: float64 has no more digits. Take texts of what are names or codes, and differences from a "
            "start of times and amounts"
        )

    def texts(self, k: int) -> Column:
        """The same, each value as a text, whatever it is: of columns that held objects of several kinds."""
        values = self._values(k)
        check_cells(values, self.name(k), self.row)
        return Column(TEXT, texts_of(values), MIXED)

    def name(self, k: int) -> str:
        """How errors call column number `k`."""
        return f"column {k} of X" if self.names is None else f"column {self.names[k]!r} of X"

    def row(self, k: int) -> str:
        """How errors call row number `k`."""
        return rows_said([k], self._index)


def index_of(values: Any) -> Any:
    """The labels of the rows of a frame or series of pandas; None of anything else."""
    return values.index if hasattr(values, "iloc") else None


def in_another_order(index: Any, other: Any) -> bool:
    """Whether two indexes of pandas, each of different labels, have the same ones in another order."""
    if index is None or other is None or len(index) != len(other) or index.equals(other):
        return False
    alike = index.nlevels == other.nlevels and index.is_unique and other.is_unique
    return bool(alike and index.isin(other).all())


def rows_said(rows: Sequence[int], index: Any) -> str:
    """How errors call rows: by their numbers from 0 on, and by their labels, where these are something else."""
    said = listed(rows, "row")
    labels = [] if index is None else [index[k] for k in rows]
    return said if labels in ([], list(rows)) else f"{said} (index {listed(labels)})"


def _as_array(values: Any) -> Array:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"X is no table: {error}; expected rows of the same length") from None
    if array.ndim == 2 and array.dtype.kind in "US" and isinstance(values, Sequence):
        # NumPy makes texts of the numbers that lie beside texts
        array = np.array([list(row) for row in values], dtype=object)
    return array


def _has_records(array: Array) -> bool:
    """Whether these are dicts, as JSON has them, one for each row."""
    return array.ndim == 1 and array.size > 0 and isinstance(array[0], Mapping)


def series_column(narwhals: Any, series: Any, name: str, row: Callable[[int], str]) -> Column:
    """A series of narwhals as a column; errors call its rows as `row` says."""
    dtype = series.dtype
    if dtype == narwhals.Boolean:
        return Column(BOOL, _floats(series.to_numpy()))
    if dtype in (narwhals.Int128, narwhals.UInt128):  # of which NumPy has none
        series = series.cast(narwhals.Float64)
    if dtype.is_numeric():
        return Column(NUMBER, _floats(series.to_numpy()))
    if dtype == narwhals.String:
        return Column(TEXT, _shared_texts(series))
    if dtype in (narwhals.Categorical, narwhals.Enum):
        return _of_categories(series.to_list())
    if dtype == narwhals.Date:
        return Column(DATE, _floats(series.cast(narwhals.Datetime("us")).dt.timestamp("us").to_numpy()) / (DAY * 1e6))
    if dtype == narwhals.Datetime:
        kind = DATE if getattr(dtype, "time_zone", None) is None else ZONED_DATE
        if _is_coarse(dtype):  # and may be too far away for microseconds
            return Column(kind, _floats(series.dt.timestamp("ms").to_numpy()) / (DAY * 1e3))
        return Column(kind, _floats(series.dt.timestamp("us").to_numpy()) / (DAY * 1e6))
    if dtype == narwhals.Duration:
        if _is_coarse(dtype):
            return Column(DURATION, _floats(series.dt.total_milliseconds().to_numpy()) / (DAY * 1e3))
        return Column(DURATION, _floats(series.dt.total_microseconds().to_numpy()) / (DAY * 1e6))
    if dtype in (narwhals.List, narwhals.Struct, narwhals.Array, narwhals.Binary):
        raise TypeError(
            f"column {name!r} of X has dtype {dtype}; expected numbers, bools, texts, categories, dates or durations: "
            "make columns of its parts"
        )
    return array_column(np.asarray(series.to_numpy()), f"column {name!r} of X", row)


def _is_coarse(dtype: Any) -> bool:
    """Whether times of narwhals are of seconds or milliseconds."""
    return getattr(dtype, "time_unit", "us") in ("s", "ms")


def _shared_texts(series: Any) -> list[str | None]:
    """A series of texts, of which equal ones are one object: of millions of rows they fill the memory otherwise."""
    made: list[str | None] = []
    shared: dict[str | None, str | None] = {}
    for first in range(0, len(series), AT_ONCE):
        texts = texts_of(series[first : first + AT_ONCE].to_list())
        made += texts if len(shared) > AT_ONCE else [shared.setdefault(text, text) for text in texts]
    return made


def array_column(values: Array, name: str, row: Callable[[int], str]) -> Column:
    """A one-dimensional array as a column; errors call it `name`, and its rows as `row` says."""
    kind = values.dtype.kind
    if kind == "b":
        return Column(BOOL, values.astype(np.float64))
    if kind in "fiu":
        return Column(NUMBER, values.astype(np.float64))
    if kind in "UST":
        return Column(TEXT, texts_of(values.tolist()))
    if kind in "Mm":
        micro = values.astype(f"{kind}8[us]")
        if np.datetime_data(values.dtype)[0] not in FINE:
            changed = (micro.astype(values.dtype) != values) & ~np.isnat(values)
            if changed.any():
                k = int(np.argmax(changed))
                raise ValueError(
                    f"{name} holds {values[k]} in {row(k)}; expected dates and durations of less than 292,000 years"
                )
        days = micro.astype(np.int64) / (DAY * 1e6)
        days[np.isnat(micro)] = np.nan
        return Column(DATE if kind == "M" else DURATION, days)
    if kind == "O":
        return _of_objects(values.tolist(), name, row)
    raise TypeError(f"{name} has dtype {values.dtype}; expected numbers, bools, texts, categories, dates or durations")


def check_cells(values: list[Any], name: str, row: Callable[[int], str]) -> None:
    """Refuse what is no value of a table: lists, dicts and the like, complex numbers, objects that say nothing."""
    for k, value in enumerate(values):
        kind = type(value)
        if kind in PLAIN:
            continue
        if isinstance(value, CONTAINERS):
            what, fix = shown(kind), "make columns of its parts"
        elif isinstance(value, complex):
            what, fix = "a complex number", "take its real and its imaginary part as two columns"
        elif not any({"__str__", "__repr__"} & set(vars(base)) for base in kind.__mro__[:-1]):
            what, fix = f"an object of {kind.__name__}, which has no text of its own", "make columns of what it has"
        else:
            continue
        raise TypeError(f"{name} holds {what} in {row(k)}; expected numbers, bools, texts, dates or durations: {fix}")


def _of_objects(values: list[Any], name: str, row: Callable[[int], str]) -> Column:
    """A column of Python objects: of one kind if all are, else of texts."""
    check_cells(values, name, row)
    kinds = {kind_of(value) for value in values} - {MISSING}
    if not kinds:
        return Column(MISSING, np.full(len(values), np.nan))
    if kinds <= {NUMBER, BOOL}:
        kind = BOOL if kinds == {BOOL} else NUMBER
    elif len(kinds) == 1:
        kind = kinds.pop()
    elif kinds <= {DATE, ZONED_DATE}:
        raise ValueError(f"{name} has dates with a time zone and without one; expected all of one sort")
    else:
        return Column(TEXT, [None if is_missing(value) else value for value in values], MIXED)
    if kind == TEXT:
        return Column(TEXT, texts_of(values))
    return Column(kind, np.array([number_of(value, kind) for value in values]))


def _of_categories(values: list[Any]) -> Column:
    """A column of categories, which may be texts, numbers, bools, or anything else."""
    different = set(values)
    kinds = {kind_of(value) for value in different} - {MISSING}
    if len(kinds) > 1:
        return Column(TEXT, [None if is_missing(value) else value for value in values], MIXED)
    texts = {value: None if is_missing(value) else text_of(value) for value in different}
    return Column(
        TEXT, [texts[value] for value in values], NUMBER if NUMBER in kinds else BOOL if BOOL in kinds else TEXT
    )


def kind_of(value: Any) -> str:
    """Of what kind a single value is."""
    if is_missing(value):
        return MISSING
    if isinstance(value, (bool, np.bool_)):
        return BOOL
    if isinstance(value, (numbers.Real, Decimal)):
        return NUMBER
    if _is_period(value):
        return DATE
    if isinstance(value, (datetime.date, np.datetime64)):  # a datetime is a date
        return DATE if getattr(value, "tzinfo", None) is None else ZONED_DATE
    if isinstance(value, (datetime.timedelta, np.timedelta64, datetime.time)):
        return DURATION
    return TEXT


def _is_period(value: Any) -> bool:
    """Whether it is a pandas.Period, which stands for its start."""
    return type(value).__name__ == "Period" and hasattr(value, "start_time")


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, NaT, NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    if isinstance(value, (float, np.floating)):
        return math.isnan(value)
    return isinstance(value, Decimal) and value.is_nan()


def number_of(value: Any, kind: str) -> float:
    """A single value of that kind as a number."""
    if is_missing(value):
        return math.nan
    if kind in (NUMBER, BOOL):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if _is_period(value):
        value = value.start_time
    if isinstance(value, np.datetime64):
        return float(value.astype("M8[us]").astype(np.int64)) / (DAY * 1e6)
    if isinstance(value, np.timedelta64):
        return float(value.astype("m8[us]").astype(np.int64)) / (DAY * 1e6)
    if isinstance(value, datetime.time):
        return ((value.hour * 60 + value.minute) * 60 + value.second + value.microsecond / 1e6) / DAY
    if isinstance(value, datetime.timedelta):
        return (value // datetime.timedelta(microseconds=1)) / (DAY * 1e6)
    if not isinstance(value, datetime.datetime):
        return float((value - _EPOCH.date()).days)
    start = _EPOCH if value.tzinfo is None else _EPOCH.replace(tzinfo=datetime.timezone.utc)
    return ((value - start) // datetime.timedelta(microseconds=1)) / (DAY * 1e6)


def texts_of(values: list[Any]) -> list[str | None]:
    """Values as texts, with None for what is missing."""
    if {type(value) for value in values} <= {str, type(None)}:
        return values
    return [None if is_missing(value) else text_of(value) for value in values]


def text_of(value: Any) -> str:
    """A value as a text; 3 and 3.0 are the same one."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, (numbers.Real, Decimal)) and math.isfinite(value) and value % 1 == 0:
        return str(math.floor(value))
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _floats(values: Array) -> Array:
    """Numbers, or objects that are numbers, as float64 with NaN for what is missing."""
    if values.dtype == object:
        return np.array([number_of(value, NUMBER) for value in values.tolist()], np.float64)
    return values.astype(np.float64)
