"""The program ``fastnn``, which is ``python -m fastnn``, too.

Its commands need the packages of ``pip install "fastnn[cli]"``. Without them there is ``warmup`` alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys

from .version import __version__
from .warmup import compile_all

NEEDED = ("typer", "rich", "polars", "narwhals", "sklearn")


def main(arguments: list[str] | None = None) -> None:
    """Run one command; `arguments` are those of the process by default. Ends by SystemExit with the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        _without_extra(given, missing)
    else:
        try:
            from .cli.app import app
        except KeyboardInterrupt:  # as the program itself ends by one
            sys.exit(130)
        app(given, prog_name="fastnn")


def _without_extra(given: list[str], missing: list[str]) -> None:
    """Warm up, or say what the other commands need."""
    hint = f'other commands need {", ".join(missing)}: pip install "fastnn[cli]"'
    if given and not given[0].startswith("-") and given[0] != "warmup":
        print(f'fastnn: error: {given[0]!r} needs {", ".join(missing)}: pip install "fastnn[cli]"', file=sys.stderr)
        sys.exit(1)
    parser = argparse.ArgumentParser(prog="fastnn", description="fastnn's command line.", epilog=hint)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    warm = commands.add_parser("warmup", help="compile all kernels into the disk cache, once for all processes")
    dtypes = ["float32", "float64"]
    warm.add_argument("--dtype", nargs="+", choices=dtypes, default=dtypes, help="default: both")
    warm.add_argument("--jobs", type=int, default=1, help="in so many processes, but not more than cores")
    options = parser.parse_args(given)
    if options.jobs < 1:
        parser.error(f"argument --jobs: {options.jobs}; expected 1 at least")
    try:
        for dtype, count, seconds in compile_all(options.dtype, options.jobs):
            print(f"{dtype}: kernels and {count} formulas ready in {seconds:.1f} s")
    except OSError as error:
        print(f"fastnn: error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
