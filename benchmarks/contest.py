"""A contest: contestants that do the same work, timed in turns."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import pytest

try:
    from threadpoolctl import threadpool_limits
except ImportError:
    threadpool_limits = None

TURNS, ROUNDS = 5, 2

in_turns = pytest.mark.parametrize("turn", range(TURNS))
"""Decorator of a test: all contestants once, then all again, so that other work on the machine meets each of them."""


def with_fastnn_and(*peers: str) -> pytest.MarkDecorator:
    """Decorator of a test: for fastnn, and twice for each of `peers`, whose BLAS may have one thread only."""
    one_thread = pytest.mark.skipif(threadpool_limits is None, reason="threadpoolctl is not installed")
    runs = [("fastnn", None)]
    for peer in peers:
        runs += [(peer, None), pytest.param(peer, 1, marks=one_thread)]
    return pytest.mark.parametrize(("peer", "threads"), runs)


class Run(NamedTuple):
    """What a round times: a call that takes `steps` steps, or rows, whatever the contest counts."""

    call: Callable[[], object]
    steps: int


class Contest:
    """The `runs` of one workload by name; `group` names it and `unit` says what a step is."""

    def __init__(self, group: str, unit: str, runs: dict[str, Run]) -> None:
        self.group, self.unit, self.runs = group, unit, runs

    def time(self, benchmark: Any, name: str, threads: int | None = None) -> None:
        """Time the contestant `name`, after one round that does not count.

        `threads` is for NumPy's BLAS; by default it has as many as the environment gives it.
        """
        run = self.runs[name]
        shown = name if threads is None else f"{name}, BLAS threads: {threads}"
        label(benchmark, self.group, shown, self.unit, run.steps)
        limits = nullcontext() if threads is None else threadpool_limits(threads, "blas")
        with limits:
            benchmark.pedantic(run.call, rounds=ROUNDS, warmup_rounds=1)


def label(benchmark: Any, group: str, name: str, unit: str, steps: int = 1) -> None:
    """Tell the summary where a benchmark belongs."""
    benchmark.group = group
    benchmark.extra_info.update(contestant=name, unit=unit, steps=steps)
