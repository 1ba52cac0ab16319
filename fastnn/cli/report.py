"""What commands say: to people in lines and tables, to scripts as one JSON object; and how they fail."""

from __future__ import annotations

import contextlib
import io
import json as as_json
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..words import many

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

UNREAD = 141  # the exit code of what SIGPIPE ends, in a shell


class Report:
    """What one command has to say.

    Parameters
    ----------
    json : bool
        Whether it is for a script: then `values` are printed at the end, and nothing else on standard output.
    data_out : bool
        Whether standard output is for data, and what is said goes to standard error.
    """

    def __init__(self, json: bool, data_out: bool = False) -> None:
        self.json, self.data_out = json, data_out
        self.values: dict[str, Any] = {}

    def say(self, text: str, **values: Any) -> None:
        """Say a line to people; keep values, by name, for scripts."""
        self.values.update(values)
        if not self.json:
            print(text, file=sys.stderr if self.data_out else sys.stdout, flush=True)

    def table(self, title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show a table to people."""
        if self.json or not rows:
            return
        table = Table()
        for head in heads:
            table.add_column(escape(head), overflow="fold")
        for row in rows:
            table.add_row(*(escape(readable(cell)) for cell in row))
        stream = sys.stderr if self.data_out else sys.stdout
        console = Console(file=stream, highlight=False, width=None if sys.stdout.isatty() else 110)
        with console.capture() as text:  # where nobody reads it, the console would end the process
            console.print(table)
        print(f"{title}\n{text.get()}", end="", file=stream, flush=True)  # as a title of the table it would be folded

    def warn(self, text: str) -> None:
        """Say on standard error what someone should know; scripts find it under "warnings", too."""
        self.values.setdefault("warnings", []).append(one_line(text))
        if not (self.json and self.data_out):  # there the object is alone on standard error
            print(f"fastnn: warning: {one_line(text)}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Print the values for a script."""
        if self.json:
            text = as_json.dumps(plain(self.values), allow_nan=False)
            print(text, file=sys.stderr if self.data_out else sys.stdout, flush=True)


@contextlib.contextmanager
def reporting(json: bool, debug: bool, data_out: bool = False) -> Iterator[Report]:
    """A report for one command: errors inside become one line on standard error and exit code 1.

    Where nobody reads standard output any more, as behind ``| head``, the command ends without a word.
    """
    if sys.stderr is None:  # closed by 2>&-, and print would write to standard output
        sys.stderr = io.StringIO()
    report = Report(json, data_out)
    try:
        if sys.stdout is None:
            raise OSError("standard output is closed; expected one, or > /dev/null")
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a terminal shows what it can
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = lambda message, *_args, **_more: report.warn(str(message))
            yield report
        report.end()
    except (typer.Exit, typer.BadParameter):
        raise
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):  # or Python complains when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(UNREAD) from None
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of polars
            raise
        if debug:
            traceback.print_exc()
        print(f"fastnn: error: {one_line(_said(error))}", file=sys.stderr, flush=True)
        raise typer.Exit(1) from None


def _said(error: BaseException) -> str:
    """What an error says, of the system's own without their numbers."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename!r}: {error.strerror}" if error.filename is not None else error.strerror
    return str(error) or type(error).__name__


def one_line(text: str) -> str:
    """A text without breaks of lines."""
    return " ".join(text.split())


def readable(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return f"{number:,.0f}" if 1e4 <= abs(number) < 1e9 else f"{number:.4g}"
    return str(value)


def rows_of(count: int) -> str:
    """So many rows."""
    return many(count, "row")


def plain(value: Any) -> Any:
    """A value in JSON's terms; what is not finite is null."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
