"""The summary: a table for each group, in place of pytest-benchmark's own."""

import statistics
from typing import Any

import numba
import numpy as np
import pytest

from fastnn import __version__
from fastnn.kernels.cpu import VECTOR_BYTES

MEASURED: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Leave out pytest-benchmark's tables, which have a row for every turn (``--benchmark-verbose`` shows them)."""
    config.option.benchmark_quiet = True


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_group_stats(config: pytest.Config, benchmarks: list[dict[str, Any]]) -> None:
    """Keep what was measured now; None lets pytest-benchmark go on."""
    config.stash[MEASURED] = [benchmark for benchmark in benchmarks if benchmark["path"] is None]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the tables."""
    measured = config.stash.get(MEASURED, [])
    if not measured:
        return
    terminalreporter.section("benchmarks")
    terminalreporter.write_line(_versions())
    groups: dict[str, list[dict[str, Any]]] = {}
    for benchmark in measured:
        groups.setdefault(benchmark["group"], []).append(benchmark)
    names = [benchmark["extra_info"]["contestant"] for benchmark in measured]
    width = max(map(len, names))
    for group, benchmarks in groups.items():
        terminalreporter.write_line("")
        terminalreporter.write_line(f"{group}: time per {benchmarks[0]['extra_info']['unit']}, ratio", bold=True)
        medians = _medians(benchmarks)
        first = next(iter(medians.values()))
        for name, median in medians.items():
            terminalreporter.write_line(f"  {name:{width}}  {_readable(median):>10}  {median / first:8.2f}")


def _medians(benchmarks: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds per step of each contestant: the median of its turns' medians."""
    turns: dict[str, list[float]] = {}
    for benchmark in benchmarks:
        info = benchmark["extra_info"]
        turns.setdefault(info["contestant"], []).append(benchmark["median"] / info["steps"])
    return {name: statistics.median(seconds) for name, seconds in turns.items()}


def _readable(seconds: float) -> str:
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.2f} {unit}"
    return f"{seconds * 1e9:.2f} ns"


def _versions() -> str:
    """What was measured with what; the BLAS and its threads if threadpoolctl is there to say."""
    fastnn = f"fastnn {__version__} (Numba {numba.__version__}, {8 * VECTOR_BYTES}-bit vectors)"
    return f"{fastnn}, NumPy {np.__version__} ({_blas()})"


def _blas() -> str:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "BLAS unknown: threadpoolctl is not installed"
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    descriptions = {
        "{internal_api} for {architecture}, threads: {num_threads}".format_map({"architecture": "any", **library})
        for library in libraries
    }
    return "; ".join(sorted(descriptions))
