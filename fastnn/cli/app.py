"""The program: its commands, each in a file of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from ..version import __version__
from .bench import bench
from .evaluate import evaluate
from .export import export
from .info import info
from .plot import plot
from .predict import predict
from .train import train
from .warm import warmup

app = typer.Typer(
    name="fastnn",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")]


@app.callback()
def fastnn(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Networks for tables, from the command line.

    \b
    Exit codes: 0 done; 1 a file, or the data in it, are not as expected; 2 the command was not used as it may be;
    130 interrupted.
    """


for command in (train, predict, evaluate, info, export, plot, bench, warmup):
    app.command()(command)
