"""The command line: ``python -m fastnn``."""

from __future__ import annotations

import argparse
import time

from .version import __version__
from .warmup import warmup


def main(arguments: list[str] | None = None) -> None:
    """Run one command; `arguments` are those of the process by default."""
    parser = argparse.ArgumentParser(prog="python -m fastnn", description="fastnn's command line.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    warm = commands.add_parser("warmup", help="compile all kernels into the disk cache, once for all processes")
    warm.add_argument(
        "--dtype", nargs="+", choices=["float32", "float64"], default=["float32", "float64"], help="default: both"
    )
    options = parser.parse_args(arguments)
    for dtype in options.dtype:
        started = time.perf_counter()
        count = len(list(warmup(dtype)))
        print(f"{dtype}: kernels and {count} formulas ready in {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
