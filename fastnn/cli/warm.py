"""``fastnn warmup``: compile everything ahead."""

from __future__ import annotations

from typing import Annotated

import typer

from ..warmup import compile_all
from .report import Debug, Json, reporting

DTYPES = ("float32", "float64")


def warmup(
    *,
    dtype: Annotated[list[str] | None, typer.Option(help="float32 or float64; by default both.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="In so many processes, but not more than cores.")] = 1,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Compile all kernels into the disk cache, once for all processes.

    \b
    Example:
        fastnn warmup --jobs 4
    """
    with reporting(json, debug) as report:
        dtypes = dtype or DTYPES
        for one in dtypes:
            if one not in DTYPES:
                raise typer.BadParameter(f"{one!r}; expected float32 or float64", param_hint="--dtype")
        for one, count, seconds in compile_all(dtypes, jobs):
            report.say(f"{one}: kernels and {count} formulas ready in {seconds:.1f} s",
                       **{one: {"formulas": count, "seconds": round(seconds, 3)}})  # fmt: skip
