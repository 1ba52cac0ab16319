"""Tables in files, read in blocks of rows: CSV, Parquet, Arrow and NPZ, each in gzip, too, or from standard input.

polars reads the files, block by block. What it cannot read so from where it is (gzip, standard input, the arrays of an
NPZ), lies in a temporary folder meanwhile. An Arrow stream is read whole.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import pathlib
import re
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from ..extras import needs
from .csv_file import CsvFile
from .records import MARK, Records
from .unreadable import BINARY, check_arrays, check_known

STANDARD = "-"
MISSING = [
    "", "#N/A", "#NA", "<NA>", "N/A", "NA", "NULL", "NaN", "-NaN", "None", "n/a", "nan", "-nan", "null", "NONE", "?",
]  # fmt: skip
"""What stands for a missing value in CSV."""

HEAD = 1 << 16  # bytes of a file that say what it is; a CSV with no more is asked for all its rows at once
SAMPLE = 10_000  # rows of a CSV that say at first of what type a column is
MOST = 65_536  # rows of a block at most
LEAST = 1024  # and at least
CELLS = 2**23  # numbers of a block, about
LOST = r"^[+-]?0\d+([.,]\d*)?$"  # what a number does not hold as it stands there
KINDS, NO_COLUMNS = "biufSUMm", {"c": "complex numbers", "O": "objects of Python", "V": "records"}  # of dtypes
DAY_FIRST = r"^\s*(\d{1,2})[-/]\d{1,2}[-/]\d{4}"
LOST_BY_FLOATS = rf"{LOST}|^[+-]?\d{{16,}}$"


def polars() -> Any:
    """The library that reads and writes the files."""
    return needs("polars", "the command line", 'polars, which "fastnn[cli]" brings')


class Source:
    """A table in a file, of which some rows at a time are in memory.

    Parameters
    ----------
    name : str
        How errors call it.
    schema : dict
        The types of polars of its columns, by name.
    frames : function
        Of a number of rows: frames of about so many, one after another.

    Attributes
    ----------
    csv : CsvFile or None
        The file, if it is a CSV.
    """

    def __init__(self, name: str, schema: dict[str, Any], frames: Callable[[int], Iterable[Any]]) -> None:
        self.name, self.schema, self._frames = name, schema, frames
        self.csv: CsvFile | None = None

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return list(self.schema)

    def blocks(self, width: int = 0) -> Iterator[Any]:
        """Frames of the same number of rows each, but the last, which has two at least if the table has.

        Parameters
        ----------
        width : int
            How many numbers a row becomes, if they are more than its columns: the more, the fewer rows has a block.

        Raises
        ------
        ValueError
            If the file is damaged, or holds no table with a row.
        """
        rows = min(MOST, max(LEAST, CELLS // max(width, len(self.schema), 1)))
        kept = None
        with _clear_errors(self.name):
            for frame in self._frames(rows):
                kept = frame if kept is None else kept.vstack(frame)
                while kept.height > rows + 1:  # one row alone may go ways of its own
                    yield kept.head(rows)
                    kept = kept.slice(rows)
        if kept is None or kept.width == 0 or kept.height == 0:
            raise ValueError(f"{self.name!r} has no rows; expected a line of names and at least one of values")
        yield kept

    def where(self, row: int) -> str:
        """How errors call a row, counted from 0 on."""
        return f"row {row:,}" + ("" if self.csv is None else f" (line {self.csv.line(row):,})")

    def find(self, name: str, wanted: Callable[[Any], Any]) -> tuple[Any, str] | None:
        """The first value of a column that is `wanted`, and where it stands; None if there is none."""
        row = 0
        for frame in self.blocks():
            found = wanted(frame[name]).fill_null(False)
            if found.any():
                place = int(found.arg_max())
                return frame[name][place], self.where(row + place)
            row += frame.height
        return None

    def check_finite(self, frame: Any, row: int, there: Any = True) -> None:
        """See that columns of a block, of which the first row is number `row`, are finite.

        Parameters
        ----------
        frame : DataFrame of polars
        row : int
        there : series of bool, optional
            The rows that count.

        Raises
        ------
        ValueError
            If there is an infinity; it says in which row.
        """
        for series in frame:
            if series.dtype.is_float() and (endless := series.is_infinite().fill_null(False) & there).any():
                raise ValueError(
                    f"{self.name!r}: column {series.name!r} is infinite in {self.where(row + int(endless.arg_max()))}, "
                    "or too large for float64; expected finite numbers, or NA for what is missing"
                )


@contextlib.contextmanager
def opened(path: str, texts: Iterable[str] = (), numbers: Iterable[str] | None = None) -> Iterator[Source]:
    """A file as a source of blocks, for this block of code.

    What it is, is told from its first bytes, and not from its name.

    Parameters
    ----------
    path : str
        ``"-"`` is standard input.
    texts : iterable of str
        Columns that are texts, even where they look like numbers or dates.
    numbers : iterable of str, optional
        If they are given, the only columns of a CSV that are numbers, even where 007 becomes 7; others are texts then.

    Raises
    ------
    OSError, ValueError
        If there is no such file, or it holds no table.
    """
    name = "standard input" if path == STANDARD else path
    with tempfile.TemporaryDirectory(prefix="fastnn-", ignore_cleanup_errors=True) as folder:
        with _clear_errors(name):
            place = pathlib.Path(path)
            if not path:
                raise FileNotFoundError
            if path == STANDARD:
                place = _kept(sys.stdin.buffer, folder, "given")
            elif not place.is_file() and not place.is_dir():  # a pipe, which can be read once
                with place.open("rb") as file:
                    place = _kept(file, folder, "given")
            if _start(place)[:2] == b"\x1f\x8b":
                with gzip.open(place) as packed:
                    place = _kept(cast(BinaryIO, packed), folder, "unpacked")
            found = _read(place, path, folder, set(texts), numbers)
            source = Source(name, found.schema, found.frames)
            source.csv = found if isinstance(found, CsvFile) else None
        yield source


@contextlib.contextmanager
def _clear_errors(name: str) -> Iterator[None]:
    """Errors of what reads the file `name` as one that names it."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {name!r}") from None
    except IsADirectoryError:
        raise IsADirectoryError(f"{name!r} is a folder; expected the file of a table") from None
    except PermissionError:
        raise PermissionError(f"{name!r} may not be read: its permissions do not allow it") from None
    except MemoryError:
        raise
    except OSError as error:  # where something else than the system says it, it is of the content
        if error.strerror is not None and error.errno != errno.EINVAL:
            raise
        raise ValueError(f"{name!r} is damaged: {error}") from None
    except (EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"{name!r} is damaged: {error}") from None
    except Exception as error:
        raise ValueError(f"{name!r} is no table that can be read: {_plainly(error)}") from error


def _plainly(error: Exception) -> str:
    """What an error says, without the advice that is for programs."""
    return str(error).partition("\n\n")[0]


def _kept(stream: BinaryIO, folder: str, name: str) -> pathlib.Path:
    """What a stream holds, in a file."""
    place = pathlib.Path(folder, name)
    with place.open("wb") as file:
        while part := stream.read(1 << 20):
            try:
                file.write(part)
            except OSError as error:
                why = f"{folder!r}, as TMPDIR says, has no room for what is read: {error.strerror}"
                raise OSError(error.errno, why) from None
    return place


def _start(place: pathlib.Path) -> bytes:
    with place.open("rb") as file:
        return file.read(HEAD)


class _Read(NamedTuple):
    """The columns of the table in a file, and what reads it."""

    schema: dict[str, Any]
    frames: Callable[[int], Iterable[Any]]


def _read(
    place: pathlib.Path, name: str, folder: str, texts: set[str], numbers: Iterable[str] | None
) -> _Read | CsvFile:
    pl, start = polars(), _start(place)
    if start[:4] == b"PAR1" and BINARY.search(start):  # or it is a name of a column
        lazy = pl.scan_parquet(place, glob=False)
    elif start[:8] == b"ARROW1\x00\x00":
        lazy = pl.scan_ipc(place, glob=False)
    elif start[:4] == b"\xff\xff\xff\xff":
        whole = pl.read_ipc_stream(place)
        return _Read(dict(whole.schema), whole.iter_slices)
    elif start[:4] == b"PK\x03\x04":
        columns, length = _arrays(place, folder)
        frame = pl.DataFrame({name: _plain(values[:0]) for name, values in columns.items()})
        return _Read(dict(frame.schema), lambda rows: (
            pl.DataFrame({name: _plain(values[first : first + rows]) for name, values in columns.items()})
            for first in range(0, length, rows)
        ))  # fmt: skip
    else:
        return _csv(place, name, start, texts, numbers)
    return _Read(dict(lazy.collect_schema()), lambda rows: lazy.collect_batches(chunk_size=rows, maintain_order=True))


def _csv(place: pathlib.Path, path: str, start: bytes, texts: set[str], numbers: Iterable[str] | None) -> CsvFile:
    pl = polars()
    if not start.strip():
        raise ValueError("it is empty")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError("its texts are UTF-16; expected UTF-8: save it as that")
    check_known(start, path)
    if b"\n" not in start and b"\r" in start.strip():
        raise ValueError("its lines end in CR alone; expected LF or CR LF: save it with these")
    head, separator = _head(start.removeprefix(MARK).lstrip())
    Records(place, separator).check()
    names = pl.read_csv(head + b"\n", separator=separator, has_header=False, infer_schema=False).row(0)
    names = tuple("" if name is None else name for name in names)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"it has two columns named {min(twice)!r}; expected different names: rename one")
    given: dict[str, Any] = {"separator": separator, "null_values": MISSING, "try_parse_dates": True, "glob": False}
    asked = {"infer_schema_length": SAMPLE, "schema_overrides": {name: pl.String for name in names if name in texts}}
    guessed = _guess(place, given, asked)
    # A column is of the type that all its rows say. To ask each of them takes long. So the first rows are asked; and
    # if they know of every column, and all others can be read so, these would have said the same.
    lazy = pl.scan_csv(place, **guessed)
    if len(start) < HEAD or not _holds(lazy, lazy.head(SAMPLE), texts):
        guessed = _guess(place, given, {**asked, "infer_schema_length": None})
        lazy = pl.scan_csv(place, **guessed)
        for name, dtype in guessed["schema"].items():
            if dtype.is_temporal() and not _reads(lazy.select(name)):  # dates in several forms
                guessed["schema"] = {**guessed["schema"], name: pl.String}
    as_texts = pl.scan_csv(place, infer_schema=False, **given)
    if numbers is not None:
        codes = _codes(as_texts, guessed["schema"], set(numbers))
        guessed["schema"] = {**guessed["schema"], **dict.fromkeys(codes, pl.String)}
    return CsvFile(place, guessed, _doubtful(as_texts, guessed["schema"]))


def _codes(lazy: Any, schema: dict[str, Any], others: set[str]) -> list[str]:
    """The columns of numbers, but for others, that do not hold what stands in a frame of texts, as 007 or long ones."""
    pl = polars()
    numeric = [name for name, dtype in schema.items() if dtype.is_numeric() and name not in others]
    asked = {name: LOST if schema[name] == pl.Int64 else LOST_BY_FLOATS for name in numeric}
    lost = lazy.select(pl.col(name).str.contains(form).any() for name, form in asked.items()).collect()
    return [name for name in numeric if lost[name][0]]


def _doubtful(lazy: Any, schema: dict[str, Any]) -> set[str]:
    """The columns of dates, as 01/02/2024 in a frame of texts, in which no first number is above 12."""
    pl = polars()
    dates = [name for name, dtype in schema.items() if dtype.is_temporal()]
    days = lazy.select(pl.col(name).str.extract(DAY_FIRST).cast(pl.Int8).max() for name in dates).collect()
    return {name for name in dates if days[name][0] is not None and days[name][0] <= 12}


def _head(start: bytes) -> tuple[bytes, str]:
    """The line of names of a CSV, which may have breaks in quotes, and what parts its fields."""
    found = re.match(rb'(?:"[^"]*"|[^"\n])*', start)
    head = found.group() if found and start[found.end() : found.end() + 1] in (b"", b"\n") else start.split(b"\n", 1)[0]
    lines = [re.sub(rb'"[^"]*"', b"", line) for line in (head, start[len(head) + 1 :])]
    counts = [lines[0], lines[1].split(b"\n", 1)[0] or lines[0]]  # a name may have a comma where semicolons part

    def parts(sign: str) -> tuple[int, int]:
        first, second = (line.count(sign.encode()) for line in counts)
        return min(first, second), first

    return head, max(",;\t|", key=parts)


def _guess(place: pathlib.Path, given: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """How to read a CSV, with the types that its rows say; 1,5 is a number where that makes more columns numbers."""
    pl = polars()
    schema = pl.scan_csv(place, **given, **asked).collect_schema()
    if given["separator"] != ",":
        comma = pl.scan_csv(place, decimal_comma=True, **given, **asked).collect_schema()
        if _floats(comma) > _floats(schema):
            return {**given, "decimal_comma": True, "schema": comma}
    return {**given, "schema": schema}


def _floats(schema: Any) -> int:
    return sum(dtype.is_float() for dtype in schema.values())


def _holds(lazy: Any, first: Any, texts: set[str]) -> bool:
    """Whether the types of a frame, which its first rows said, are those of all rows."""
    pl = polars()
    try:
        counts = first.select(pl.all().count()).collect().row(0, named=True)
    except pl.exceptions.ComputeError:
        return False
    # nothing is known of a column without a value
    return all(count or name in texts for name, count in counts.items()) and _reads(lazy)


def _reads(lazy: Any) -> bool:
    """Whether all rows can be read with the types of a frame."""
    pl = polars()
    try:
        lazy.select(pl.all().count()).collect(engine="streaming")
    except pl.exceptions.ComputeError:
        return False
    return True


def _arrays(place: pathlib.Path, folder: str) -> tuple[dict[str, Any], int]:
    """The columns of an NPZ, and their length: of an array (n,) one with its name, of one (n, k) name0, name1 and on.

    They stay on the disk.
    """
    columns: dict[str, Any] = {}
    with zipfile.ZipFile(place) as file:
        check_arrays(file)
        for k, member in enumerate(file.namelist()):
            name = member.removesuffix(".npy")
            with file.open(member) as stream:
                place = _kept(cast(BinaryIO, stream), folder, f"{k}.npy")
            try:
                array = np.load(place, mmap_mode="r", allow_pickle=False)
                kind = array.dtype.kind
            except ValueError as error:
                if "object" not in str(error):
                    raise
                kind = "O"
            if kind not in KINDS:
                raise ValueError(
                    f"its array {name!r} is of {NO_COLUMNS.get(kind, 'bytes')}; expected numbers, bools, texts or times"
                )
            if array.ndim not in (1, 2):
                raise ValueError(f"its array {name!r} has shape {array.shape}; expected (n,) or (n, k)")
            for j, values in enumerate([array] if array.ndim == 1 else array.T):
                new = name if array.ndim == 1 else f"{name}{j}"
                if new in columns:
                    raise ValueError(f"it has two columns named {new!r}; expected different names")
                columns[new] = values
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"its arrays have {', '.join(map(str, sorted(lengths)))} rows; expected the same number")
    return columns, max(lengths, default=0)


def _plain(values: Any) -> Any:
    """Values of NumPy as polars takes them."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "S":
        return np.char.decode(values, "utf-8")
    if kind in "Mm" and np.datetime_data(values.dtype)[0] not in ("ms", "us", "ns", *("D" * (kind == "M"))):
        return values.astype(f"{kind}8[us]")
    return values.astype(np.float64) if kind == "f" and size > 8 else np.ascontiguousarray(values)
