"""Tables in files: CSV, Parquet, Arrow and NPZ, each in gzip, too, or from standard input."""

from __future__ import annotations

import gzip
import io
import os
import pathlib
import sys
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import typer

from ..extras import needs
from ..files import check_target, replaced

STANDARD = "-"
MISSING = [
    "", "#N/A", "#NA", "<NA>", "N/A", "NA", "NULL", "NaN", "-NaN", "None", "n/a", "nan", "-nan", "null", "NONE", "?",
]  # fmt: skip
"""What stands for a missing value in CSV."""


def polars() -> Any:
    """The library that reads and writes the files."""
    return needs("polars", "the command line", 'polars, which "fastnn[cli]" brings')


def read_table(path: str, texts: Iterable[str] = ()) -> Any:
    """A file as a frame of polars.

    What it is, is told from its first bytes, and not from its name.

    Parameters
    ----------
    path : str
        ``"-"`` is standard input.
    texts : iterable of str
        Columns that are texts, even where they look like numbers or dates.

    Raises
    ------
    OSError, ValueError
        If there is no such file, or it holds no table with a row.
    """
    name = "standard input" if path == STANDARD else path
    content: Any = sys.stdin.buffer.read() if path == STANDARD else pathlib.Path(path).read_bytes()
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        frame = _frame(content, set(texts))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{name!r} is damaged: {error}") from None
    except Exception as error:
        raise ValueError(f"{name!r} is no table that can be read: {error}") from error
    if frame.width == 0 or frame.height == 0:
        raise ValueError(f"{name!r} has no rows; expected a line of names and at least one of values")
    return frame


def _frame(content: bytes, texts: set[str]) -> Any:
    """The table in these bytes."""
    pl = polars()
    if content[:4] == b"PAR1":
        frame = pl.read_parquet(io.BytesIO(content))
    elif content[:6] == b"ARROW1":
        frame = pl.read_ipc(io.BytesIO(content))
    elif content[:4] == b"\xff\xff\xff\xff":
        frame = pl.read_ipc_stream(io.BytesIO(content))
    elif content[:4] == b"PK\x03\x04":
        frame = pl.DataFrame(_arrays(content))
    else:
        return _csv(content, texts)
    return frame


def _csv(content: bytes, texts: set[str]) -> Any:
    pl = polars()
    if not content.strip():
        raise ValueError("it is empty")
    content = content.removeprefix(b"\xef\xbb\xbf")
    if b"\x00" in content[:4096]:
        raise ValueError("it is none of CSV, Parquet, Arrow, NPZ and gzip of one of them")
    first = content.lstrip().split(b"\n", 1)[0]
    separator = max(",;\t|", key=lambda sign: first.count(sign.encode()))
    names = pl.read_csv(io.BytesIO(first), separator=separator, has_header=False, infer_schema=False).row(0)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"it has two columns named {min(map(str, twice))!r}; expected different names: rename one")
    return pl.read_csv(
        io.BytesIO(content),
        separator=separator,
        null_values=MISSING,
        try_parse_dates=True,
        infer_schema_length=None,
        schema_overrides={name: pl.String for name in names if name in texts},
    )


def _arrays(content: bytes) -> dict[str, Any]:
    """The columns of an NPZ: of an array (n,) one with its name, of one (n, k) as many: name0, name1 and on."""
    columns: dict[str, Any] = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        for name in file.files:
            array = file[name]
            if array.ndim not in (1, 2):
                raise ValueError(f"its array {name!r} has shape {array.shape}; expected (n,) or (n, k)")
            for k, values in enumerate([array] if array.ndim == 1 else array.T):
                new = name if array.ndim == 1 else f"{name}{k}"
                if new in columns:
                    raise ValueError(f"it has two columns named {new!r}; expected different names")
                columns[new] = values.astype(str) if values.dtype.kind in "SU" else np.ascontiguousarray(values)
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"its arrays have {sorted(lengths)} rows; expected the same number")
    return columns


def write_table(frame: Any, path: str) -> None:
    """Write a frame of polars to a file, whole or not at all: by its name Parquet, Arrow, or CSV, with .gz in gzip."""
    if path == STANDARD:
        sys.stdout.write(frame.write_csv())
        sys.stdout.flush()
        return
    name = path.lower()
    with replaced(path) as file:
        if name.endswith(".parquet"):
            frame.write_parquet(file)
        elif name.endswith((".arrow", ".feather", ".ipc")):
            frame.write_ipc(file)
        elif name.endswith(".gz"):
            file.write(gzip.compress(frame.write_csv().encode(), 6))
        else:
            frame.write_csv(file)


def check_out(path: str, *inputs: str, option: str = "--out") -> None:
    """See that a file can be written there, and that it is none of those that are read.

    Raises
    ------
    typer.BadParameter
        If it is one of them.
    OSError, ValueError
        If there is no place for a file.
    """
    if path == STANDARD:
        return
    for given in inputs:
        if given != STANDARD and os.path.exists(path) and os.path.exists(given) and os.path.samefile(path, given):
            raise typer.BadParameter(f"{path!r} is the file that is read; expected another one", param_hint=option)
    check_target(path)
