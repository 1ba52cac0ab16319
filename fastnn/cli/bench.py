"""``fastnn bench``: how fast networks train and predict on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
import typer

from ..engine.threads import get_num_threads
from ..perceptron import mlp
from .report import Debug, Json, reporting

SIZES = ([16, 64, 64, 26], [784, 128, 10], [64, 256, 256, 256, 1])
ROWS = 4096


def bench(
    *,
    seconds: Annotated[float, typer.Option(min=0.01, max=3600, help="How long to measure each number.")] = 1.0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure training and predictions on random numbers, compilation left out.

    \b
    Example:
        fastnn bench --seconds 0.5
    """
    with reporting(json, debug) as report:
        rng = np.random.default_rng(0)
        found = []
        for sizes in SIZES:
            net = mlp(sizes, "relu", optimizer="adam", dtype="float32", seed=0)
            X = rng.normal(size=(ROWS, sizes[0])).astype(np.float32)
            y = rng.normal(size=(ROWS, sizes[-1])).astype(np.float32)
            net.fit(X, y, epochs=1, batch_size=128)
            net.predict(X[:1])
            epochs = _rate(partial(net.fit, X, y, epochs=1, batch_size=128), seconds)
            calls = _rate(partial(net.predict, X), seconds)
            singles = _rate(partial(net.predict, X[:1]), seconds)
            found.append(("-".join(map(str, sizes)), ROWS * epochs, ROWS * calls, 1e6 / singles))
        title = f"float32, batches of 128, at most {get_num_threads()} threads"
        heads = ("network", "rows trained/s", "rows predicted/s", "one row, µs")
        report.table(title, heads, [(name, f"{t:,.0f}", f"{p:,.0f}", f"{one:.1f}") for name, t, p, one in found])
        keys = ("network", "trained_rows_per_second", "predicted_rows_per_second", "microseconds_of_one_row")
        found_by_name = [dict(zip(keys, row)) for row in found]
        report.values.update(threads=get_num_threads(), measured=found_by_name)


def _rate(call: Callable[[], object], seconds: float) -> float:
    """How often a second a call ends."""
    started, count = time.perf_counter(), 0
    while (taken := time.perf_counter() - started) < seconds or count == 0:
        call()
        count += 1
    return count / taken
