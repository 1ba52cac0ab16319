"""The first epochs of fits of networks of one shape, taken together in the lanes of vectors (see ``kernels.lanes``)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import numpy as np

from ..checks import Array
from ..engine.lanes import Lanes, enough, likeness
from ..engine.plan import Plan
from ..kernels.lanes import steps_address
from .history import History
from .run import Run, next_chunk
from .sprint import Trial


def go_abreast(runs: Sequence[Run], histories: Sequence[History], epochs: int, chunk: int = 1) -> int:
    """Take the `epochs` of all runs, or as many as go well, and note them; each may go on alone from there.

    The runs have a common `fastnn.engine.lanes.likeness`, and there is nothing to do between their epochs. One that
    would leave the finite numbers stays where it was before, and so do all where the rest is not worth a vector.
    Takes, and returns, how many steps the next call of the kernel may take.
    """
    going = sorted(zip(runs, histories), key=lambda one: one[0].engine.number)
    for run, _ in going:
        run.adapt()
    engine, steps = runs[0].engine, epochs * runs[0].steps_per_epoch * len(runs)
    function = steps_address(engine.dtype, steps, steps)
    if function == 0:  # not worth compiling it
        return chunk
    lanes = Lanes(engine, runs[0].batch_size, function)
    while enough(len(going), engine.dtype) and not _interrupted(runs):
        done = len(going[0][1].epoch)
        if done == epochs or len({likeness(run.engine, run.batches) for run, _ in going}) > 1:
            break  # in the latter case another thread has changed or trained one of them
        steps = max(1, min(epochs - done, chunk // runs[0].steps_per_epoch)) * runs[0].steps_per_epoch
        trials = [Trial(run, history) for run, history in going]
        try:
            chunk = _advance([run for run, _ in going], steps, lanes, chunk)
        finally:
            going = [one for one, trial in zip(going, trials) if trial.settled()]
    return chunk


def _interrupted(runs: Sequence[Run]) -> bool:
    return any(run.interrupt is not None and run.interrupt.is_set() for run in runs)


def _advance(runs: Sequence[Run], steps: int, lanes: Lanes, chunk: int) -> int:
    """Take so many steps of each, at most `chunk` in a call; returns how many the next one may take."""
    end = runs[0].step + steps
    while (begin := runs[0].step) < end and not _interrupted(runs):
        most, started = min(chunk, end - begin), time.perf_counter()
        each = [run.rates_ahead(most) for run in runs]
        count = max(rates.size for rates in each)
        rates = np.stack([np.broadcast_to(own, count) for own in each])
        _take(runs, (), lanes, begin, begin + most, rates)
        chunk = next_chunk(chunk, most, most, time.perf_counter() - started)
    return chunk


def _take(runs: Sequence[Run], plans: tuple[Plan, ...], lanes: Lanes, begin: int, end: int, rates: Array) -> None:
    """Take the steps `begin` to `end` of each while nobody else works with any of the networks."""
    if len(plans) < len(runs):
        run = runs[len(plans)]
        run.engine.train_with(
            lambda plan: _take(runs, (*plans, plan), lanes, begin, end, rates), run.batch_size, run.samples.classes
        )
        return
    with contextlib.ExitStack() as counting:
        for run, plan in zip(runs, plans):
            counting.enter_context(run.counted(plan))
        lanes.train(plans, [run.address for run in runs], begin, end, rates)
