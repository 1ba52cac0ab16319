"""Callbacks that write down what each epoch gave."""

from __future__ import annotations

import csv
import io
import math
import os
import pathlib
import tempfile
from typing import Any

from ..checks import (
    flag,
    path,
    path_text,
)
from ..extras import needs
from .callbacks import Callback, Logs, is_whole, same_names


class CSVLogger(Callback):
    """Write one line an epoch to a CSV file, in UTF-8.

    A fit that goes on from a `Checkpoint` goes on in its file, too: the rows of epochs after the checkpoint,
    which are trained again, are dropped, and all others stay.

    Parameters
    ----------
    path : str or path-like
        The file.
    append : bool, default False
        Whether to go on in an existing file, with its columns; otherwise it is replaced.

    Raises
    ------
    OSError
        Before training begins, if the file cannot be written.
    """

    checked = {"path": path, "append": flag}
    path: pathlib.Path

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path, self.append = path, append  # type: ignore[assignment]  # its check makes it a path

    def on_train_begin(self) -> None:
        self._names: list[str] = []
        self._lines = 0  # of the file, that stay or were written
        self._cut = self._resumed = False
        _check_place(self.path)
        if self.append:
            self._names, self._lines = self._header(), len(self._in_file())

    def on_epoch_begin(self, epoch: int) -> None:
        self._cut_to_lines()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._cut_to_lines()
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        self._names = self._names or ["epoch", *logs]
        if self._lines == 0:
            writer.writerow(self._names)
        writer.writerow([{"epoch": epoch, **logs}.get(name, "") for name in self._names])
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
        self._lines += text.getvalue().count("\n")

    def on_train_end(self) -> None:
        if self._resumed:  # also where there was no epoch left
            self._cut_to_lines()

    def get_state(self) -> dict[str, Any]:
        """The columns, and how many lines the file has."""
        return {"names": self._names, "lines": self._lines}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back, all or none; the file changes when the next epoch begins."""
        same_names(self, state, ["names", "lines"])
        names, lines = state["names"], state["lines"]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"its columns are {names!r:.80}; expected their names")
        if not is_whole(lines, 1, math.inf):
            raise ValueError(f"its file had {lines!r:.80} lines; expected a whole number above 0")
        if (header := self._header()) not in ([], names):
            raise ValueError(
                f"path is {str(self.path)!r}, a file with the columns {header}; expected {names}, those of the fit "
                "that goes on: delete the file, or take the path of then"
            )
        self._names, self._lines, self._resumed = names, lines, True

    def _in_file(self) -> list[bytes]:
        """The lines of the file, without their ends."""
        lines = self.path.read_bytes().split(b"\n") if self.path.exists() else []
        return lines[:-1] if lines and not lines[-1] else lines

    def _header(self) -> list[str]:
        """The columns that the file has, if there is one."""
        try:
            return next(csv.reader([line.decode("utf-8-sig") for line in self._in_file()[:1]]), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"path is {str(self.path)!r}, which is no CSV file in UTF-8: {error}") from None

    def _cut_to_lines(self) -> None:
        """Once in a fit: drop what comes after the lines that stay."""
        if self._cut:
            return
        self._cut = True
        kept = self._in_file()[: self._lines]
        self._lines = len(kept)
        size = sum(len(line) + 1 for line in kept)
        with self.path.open("ab") as file:
            if file.tell() < size:
                file.write(b"\r\n")  # the last line had no end
            else:
                file.truncate(size)


class TensorBoard(Callback):
    """Write loss and metrics for TensorBoard into `log_dir` (needs tensorboardX)."""

    checked = {"log_dir": path_text}
    log_dir: str

    def __init__(self, log_dir: str | os.PathLike[str] = "runs") -> None:
        self.log_dir = log_dir  # type: ignore[assignment]  # its check makes it a string
        self._writer: Any = None
        self._tensorboard()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_writer": None}  # a thread and a file, which no copy has

    def on_train_begin(self) -> None:
        if self._writer is None:  # who only holds it, such as a rank that writes nothing, makes no file
            self._writer = self._tensorboard().SummaryWriter(self.log_dir)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        for name, value in logs.items():
            self._writer.add_scalar(name, value, epoch)

    def on_train_end(self) -> None:
        self._writer.flush()

    @staticmethod
    def _tensorboard() -> Any:
        return needs("tensorboardX", "the callback TensorBoard", "tensorboardX")


def _check_place(path: pathlib.Path) -> None:
    """See that a file can be written at `path`, before hours go into what is to stand there.

    Raises
    ------
    OSError
        If it cannot: there is no such folder, or no right to write, or something else than a file.
    """
    folder = pathlib.Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"path is {str(path)!r}, but there is no folder {str(folder)!r}; make it first")
    if path.is_dir():
        raise IsADirectoryError(f"path is {str(path)!r}, which is a folder; expected the name of a file")
    if path.exists() and not path.is_file():
        raise OSError(f"path is {str(path)!r}, which is no ordinary file; expected the name of a file")
    try:
        if path.exists():
            path.open("ab").close()
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise type(error)(f"path is {str(path)!r}, which cannot be written: {error}") from error
