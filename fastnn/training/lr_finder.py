"""The learning-rate range test: one short run with a rate that grows, and the curve of its losses."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..checks import Array, positive_integer, positive_number
from ..data.samples import Samples
from ..engine.engine import Engine
from ..extras import needs
from ..formulas.schedules import Constant
from ..room import room
from .guard import DivergedError
from .run import Run
from .settings import Settings

WINDOW = 0.1  # of all steps: over so many a loss is averaged, and the fall of the average is measured
SHORTEST = 5  # but over no fewer than these


class LRCurve:
    """The loss over the learning rate, as `NeuralNetwork.find_lr` measured it.

    Attributes
    ----------
    lrs : ndarray (n,)
        The learning rates, each larger than the one before by the same factor.
    losses : ndarray (n,)
        The loss of the batch that was learnt at each rate, before its step.
    smoothed : ndarray (n,)
        The exponential moving average of the losses over `window` steps, corrected for its start
        at zero.
    window : int
        A tenth of the steps, but at least 5.

    References
    ----------
    Smith, "Cyclical learning rates for training neural networks" (2017), section 3.3.

    Examples
    --------
    >>> from fastnn.training.lr_finder import LRCurve
    >>> curve = LRCurve([0.001, 0.01, 0.1, 1.0], [2.0, 1.75, 0.75, 4.0], [2.0, 1.75, 0.75, 4.0])
    >>> curve.suggestion
    0.01
    """

    def __init__(self, lrs: Any, losses: Any, smoothed: Any, window: int = 1) -> None:
        self.lrs, self.losses, self.smoothed = (np.array(values, float) for values in (lrs, losses, smoothed))
        self.window = window

    @property
    def suggestion(self) -> float:
        """The rate from which on the smoothed loss falls most steeply over the logarithm of the rate.

        The fall is measured over `window` steps. The average of fewer than `window` batches does not
        count.

        Raises
        ------
        ValueError
            If the smoothed loss never falls.
        """
        settled = self.smoothed[self.window - 1 :]
        falls = settled[: -self.window] - settled[self.window :]
        if len(falls) == 0 or falls.max() <= 0:
            raise ValueError(
                f"the loss never falls between the rates {self.lrs[0]:.3g} and {self.lrs[-1]:.3g}: give find_lr a "
                "smaller lowest, a larger highest or more steps, and look at its plot()"
            )
        return float(self.lrs[self.window - 1 + int(np.argmax(falls))])

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses, their average and the suggestion over the rates; returns the axes (needs matplotlib)."""
        pyplot = needs("matplotlib.pyplot", "LRCurve.plot", "matplotlib")
        ax = pyplot.gca() if ax is None else ax
        ax.plot(self.lrs, self.losses, label="loss of each batch", alpha=0.3)
        ax.plot(self.lrs, self.smoothed, label="smoothed")
        with contextlib.suppress(ValueError):  # a curve that never falls has none, and its plot shows why
            ax.axvline(self.suggestion, label=f"suggestion: {self.suggestion:.2g}", color="black", linestyle="--")
        ax.set_xscale("log")
        ax.set_xlabel("learning rate")
        ax.set_ylabel("loss")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        try:
            found = f"suggestion {self.suggestion:.3g}"
        except ValueError:
            found = "no suggestion: the loss never falls"
        best = int(np.argmin(self.smoothed))
        return (
            f"LRCurve({len(self.lrs)} rates from {self.lrs[0]:.3g} to {self.lrs[-1]:.3g}, {found}, "
            f"lowest smoothed loss {self.smoothed[best]:.4g} at {self.lrs[best]:.3g})"
        )


class Average:
    """An exponential moving average over `window` numbers or so, corrected for its start at zero (as in Adam)."""

    def __init__(self, window: int) -> None:
        self._keep = 1 - 1 / window
        self._sum = self._weight = 0.0

    def add(self, number: float) -> float:
        """Take one more number in; returns the average."""
        self._sum += (1 - self._keep) * (number - self._sum)
        self._weight += (1 - self._keep) * (1 - self._weight)
        return self._sum / self._weight


def find_lr(engine: Engine, samples: Samples, lowest: float, highest: float, steps: int, settings: Settings) -> LRCurve:
    """See `NeuralNetwork.find_lr`."""
    lowest, highest = positive_number(lowest, "lowest"), positive_number(highest, "highest")
    if lowest >= highest:
        raise ValueError(f"lowest is {lowest} and highest {highest}; expected a highest above the lowest")
    if positive_integer(steps, "steps") < 2 * SHORTEST:
        raise ValueError(f"steps is {steps}; expected at least {2 * SHORTEST}, and better 50 or more")
    with room(5 * 8 * steps, f"find_lr with steps {steps}", "fewer steps"):  # geomspace works in five arrays or so
        rates = np.geomspace(lowest, highest, steps)
    losses: list[float] = []
    smoothed: list[float] = []
    window = max(SHORTEST, math.ceil(WINDOW * steps))
    average, best = Average(window), math.inf
    probe = copy.deepcopy(engine)
    probe.take_up(samples.form)
    for loss in _batch_losses(Run(probe, samples, settings), rates):
        if not math.isfinite(loss):
            break
        losses.append(loss)
        smoothed.append(average.add(loss))
        if len(losses) >= window:
            best = min(best, smoothed[-1])
            if smoothed[-1] > _limit(best, smoothed[window - 1]):
                break
    if not losses:
        raise DivergedError(
            "the loss of the first batch is not finite, before any step: the weights are too large, or the inputs "
            "are. Make the layers anew, or scale the inputs to mean 0 and variance 1."
        )
    return LRCurve(rates[: len(losses)], losses, smoothed, window)


def _batch_losses(run: Run, rates: Array) -> Iterator[float]:
    """Take a step at each rate; yields the mean loss of its batch, before the step."""
    mean = 0.0  # of the current epoch
    for rate in rates:
        k = run.step % run.steps_per_epoch
        seen = run.batches.start(k)
        batch = run.batches.start(k + 1) - seen
        run.engine.rate = Constant(float(rate))
        before, mean = mean * seen, run.advance(1)
        yield (mean * (seen + batch) - before) / batch


def _limit(best: float, first: float) -> float:
    """The smoothed loss at which the run has seen enough: 4 times the best.

    A best near 0 or below says nothing about the size of a loss: a tenth of the fall does then.
    """
    return best + 3 * max(abs(best), (first - best) / 10)
