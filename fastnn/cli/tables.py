"""Files of tables as wholes, and files of what is made block by block."""

from __future__ import annotations

import contextlib
import gzip
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import typer

from ..files import check_target, replaced
from .source import STANDARD, opened, polars

OTHERS = (".npz", ".npy", ".xlsx", ".xls", ".ods", ".json", ".jsonl", ".ndjson", ".zip", ".bz2", ".xz", ".zst")
BINARY = (".parquet", ".arrow", ".feather", ".ipc")


def read_table(path: str, texts: Iterable[str] = ()) -> Any:
    """A file as a frame of polars; see `fastnn.cli.source.opened`."""
    with opened(path, texts) as source:
        return polars().concat(source.blocks(), rechunk=True)


def write_table(frame: Any, path: str) -> None:
    """Write a frame of polars to a file; see `write_blocks`."""
    write_blocks([frame], path)


def write_blocks(frames: Iterable[Any], path: str) -> None:
    """Write frames, one below the other, to a file, whole or not at all.

    Each is asked for when those before are written. By the name of the file it is Parquet, Arrow, or CSV, with .gz in
    gzip. To standard output goes CSV, block by block.
    """
    if not is_binary(path):
        write_texts(_as_csv(frames), path)
        return
    with tempfile.TemporaryDirectory(prefix="fastnn-", ignore_cleanup_errors=True) as folder:
        lazy = _stored(frames, folder)
        with writing(path), replaced(path) as file:
            (lazy.sink_parquet if path.lower().endswith(".parquet") else lazy.sink_ipc)(file)


def write_texts(texts: Iterable[bytes], path: str) -> None:
    """Write the parts of a CSV to a file, whole or not at all, or to standard output."""
    if path == STANDARD:
        for text in texts:
            with writing("standard output"):
                _out(text)
        return
    with writing(path), replaced(path) as file, _packed(file, path.lower()) as target:
        for text in texts:
            target.write(text)


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Errors of the system that name no file, such as a full disk, with the name of what is written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        why = error.strerror or str(error)
        if error.filename is not None or (error.strerror is None and "(os error" not in why):  # polars has no strerror
            raise
        raise OSError(f"{path!r} cannot be written: {why}") from None


def is_binary(path: str) -> bool:
    """Whether a table goes to a file of that name as Parquet or Arrow."""
    return path.lower().endswith(BINARY)


def _out(text: bytes) -> None:
    """Write UTF-8 to standard output; a terminal shows of it what it can."""
    stream = sys.stdout
    if stream.isatty():
        stream.write(text.decode().encode(stream.encoding, "replace").decode(stream.encoding))
    else:
        stream.flush()
        stream.buffer.write(text)
    stream.flush()


def _as_csv(frames: Iterable[Any]) -> Iterator[bytes]:
    """CSV, frame by frame."""
    pl = polars()
    for k, frame in enumerate(frames):
        bad = [name for name, dtype in frame.schema.items() if dtype.is_nested() or dtype in (pl.Duration, pl.Binary)]
        if bad:
            dtype = frame.schema[bad[0]].base_type()
            raise ValueError(
                f"column {bad[0]!r} is of type {dtype}, which CSV cannot hold; expected a name for what is written "
                "that ends in .parquet or .arrow"
            )
        yield frame.write_csv(include_header=k == 0).encode()


def _stored(frames: Iterable[Any], folder: str) -> Any:
    """Frames as a lazy one, whose blocks lie in a folder: polars writes no file of its own in parts."""
    pl, places = polars(), []
    for k, frame in enumerate(frames):
        places.append(pathlib.Path(folder, f"{k}.arrow"))
        with writing(str(places[-1])):
            frame.write_ipc(places[-1])
    return pl.scan_ipc(places, glob=False)


@contextlib.contextmanager
def _packed(file: BinaryIO, name: str) -> Iterator[Any]:
    """What is written to `file`, packed if its name says so."""
    if not name.endswith(".gz"):
        yield file
        return
    with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
        yield packed


def check_name(path: str, option: str = "--out") -> None:
    """See that the name of a table to write promises none but what is written.

    Raises
    ------
    typer.BadParameter
        If it is that of a kind of file that is only read, or of none that is known here.
    """
    if path.lower().endswith((*OTHERS, *(f"{ending}.gz" for ending in BINARY))):
        raise typer.BadParameter(
            f"{path!r} is the name of a file that is not written; expected .csv, .csv.gz, .parquet or .arrow",
            param_hint=option,
        )


def check_out(path: str, *others: str, option: str = "--out", written: Iterable[str] = ()) -> None:
    """See that a file can be written there, and that it is none of `others`, which are read, or that are `written`.

    Raises
    ------
    typer.BadParameter
        If it is one of them, or standard output, or nothing.
    OSError, ValueError
        If there is no place for a file.
    """
    if path == STANDARD:
        raise typer.BadParameter("it is standard output; expected the name of a file", param_hint=option)
    if not path:
        raise typer.BadParameter("it is empty; expected the name of a file", param_hint=option)
    for given in written:
        if os.path.realpath(path) == os.path.realpath(given):
            raise typer.BadParameter(f"{path!r} is written, too; expected another one", param_hint=option)
    for given in others:
        if given != STANDARD and os.path.exists(path) and os.path.exists(given) and os.path.samefile(path, given):
            raise typer.BadParameter(f"{path!r} is the file that is read; expected another one", param_hint=option)
    try:
        folder = check_target(path).parent
    except (OSError, ValueError) as error:
        raise type(error)(str(error).replace("path is", f"{option} is", 1)) from None
    try:  # before hours of training: permissions do not say all
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"{path!r} cannot be written: {str(folder)!r} takes no new file ({error.strerror})") from None
