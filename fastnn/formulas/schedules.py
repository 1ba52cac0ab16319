"""Learning-rate schedules: the factor by which the learning rate is multiplied, step by step.

A schedule is given to a network in the place of its learning rate. It is called with the numbers
of many steps at once (arrays), so it costs nothing in the compiled loop::

    NeuralNetwork(layers, loss, CosineDecay(0.1, steps=1000))

With ``per="step"`` all steps that the optimiser has taken count, and with ``per="epoch"`` all epochs that it has
completed, over all calls of ``fit``, ``partial_fit`` and ``train``, whatever their batch sizes and numbers of samples;
files and checkpoints keep both counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ..checks import (
    an_object_of,
    at_least_one,
    between_zero_and_one,
    finite_number,
    flag,
    not_negative,
    one_of,
    positive_integer,
)
from .component import Component

Array = np.ndarray[Any, np.dtype[np.float64]]


class Schedule(Component, ABC):
    """A learning rate that depends on the step: subclass it and write `factor`.

    Parameters
    ----------
    lr : float
        The learning rate that `factor` multiplies.
    per : {"step", "epoch"}, default "step"
        What is counted.
    """

    required = {"lr": 0.1}
    is_compiled = False
    checked = {"lr": not_negative, "per": one_of("step", "epoch")}
    lr: float
    per: str

    def __init__(self, lr: float, per: str = "step") -> None:
        self.lr, self.per = lr, per

    @abstractmethod
    def factor(self, t: Array) -> Array:
        """The factors at the times t (steps or epochs from 0), an array of the same shape."""

    def rates(self, first: int, last: int, steps_per_epoch: int) -> Array:
        """The learning rates of the steps `first` to `last` (not included)."""
        t = np.arange(first, last)
        if self.per == "epoch":
            t = t // steps_per_epoch
        factor = np.asarray(self.factor(t.astype(float)))
        if factor.shape not in ((), t.shape) or factor.dtype.kind not in "fiub":
            raise ValueError(
                f"{type(self).__name__}.factor returned an array of shape {factor.shape} and dtype {factor.dtype} for "
                f"times of shape {t.shape}; expected a real factor for each"
            )
        rates = np.ascontiguousarray(np.broadcast_to(self.lr * factor, t.shape), dtype=float)
        if not np.all(np.isfinite(rates) & (rates >= 0)):
            wrong = int(np.flatnonzero(~(np.isfinite(rates) & (rates >= 0)))[0])
            raise ValueError(
                f"{self!r} gives the rate {rates[wrong]} at {self.per} {t[wrong]:,}; expected finite ones of at least 0"
            )
        return rates


class Constant(Schedule):
    """The same rate at every step."""

    def factor(self, t: Array) -> Array:
        return np.ones_like(t)


class StepDecay(Schedule):
    """Times `gamma` every `every` steps or epochs."""

    required = {"lr": 0.1, "every": 10}
    checked = {"every": positive_integer, "gamma": not_negative}

    def __init__(self, lr: float, every: int, gamma: float = 0.1, per: str = "epoch") -> None:
        super().__init__(lr, per)
        self.every, self.gamma = every, gamma

    def factor(self, t: Array) -> Array:
        return self.gamma ** (t // self.every)


class ExponentialDecay(Schedule):
    """Times `gamma` each step or epoch."""

    required = {"lr": 0.1, "gamma": 0.9}
    checked = {"gamma": not_negative}

    def __init__(self, lr: float, gamma: float, per: str = "epoch") -> None:
        super().__init__(lr, per)
        self.gamma = gamma

    def factor(self, t: Array) -> Array:
        return self.gamma**t


class InverseTimeDecay(Schedule):
    """lr / (1 + decay * t)**power (Robbins and Monro 1951; scikit-learn's "invscaling")."""

    required = {"lr": 0.1, "decay": 0.1}
    checked = {"decay": not_negative, "power": finite_number}

    def __init__(self, lr: float, decay: float, power: float = 1.0, per: str = "step") -> None:
        super().__init__(lr, per)
        self.decay, self.power = decay, power

    def factor(self, t: Array) -> Array:
        return (1.0 + self.decay * t) ** -self.power


class CosineDecay(Schedule):
    """Half a cosine from lr down to `final` * lr, with warm restarts if asked.

    Parameters
    ----------
    lr, per
        As in `Schedule`.
    steps : int
        Length of the (first) half cosine.
    final : float, default 0.0
        The last factor.
    restarts : bool, default False
        Start again at the end; otherwise stay at `final`.
    growth : float, default 1.0
        How much longer each half cosine is than the one before.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017).
    """

    required = {"lr": 0.1, "steps": 100}
    checked = {"steps": positive_integer, "final": not_negative, "restarts": flag, "growth": at_least_one}

    def __init__(
        self, lr: float, steps: int, final: float = 0.0, restarts: bool = False, growth: float = 1.0, per: str = "step"
    ) -> None:
        super().__init__(lr, per)
        self.steps, self.final, self.restarts, self.growth = steps, final, restarts, growth

    def factor(self, t: Array) -> Array:
        done = t / self.steps
        if not self.restarts:
            done = np.minimum(done, 1.0)
        elif self.growth == 1:
            done = done % 1.0
        else:  # the k-th restart is at (growth**k - 1) / (growth - 1) first lengths
            k = np.floor(np.log1p(done * (self.growth - 1)) / np.log(self.growth) + 1e-12)
            done = (done - (self.growth**k - 1) / (self.growth - 1)) / self.growth**k
        return self.final + (1 - self.final) * 0.5 * (1 + np.cos(np.pi * done))


class WarmUp(Schedule):
    """A straight line from 0 up to another schedule, over its first steps.

    Parameters
    ----------
    after : Schedule
        What follows; it starts at its own step 0 when the line ends.
    steps : int
        Length of the line, in the unit of `after`.
    """

    required = {"after": Constant(0.1), "steps": 10}
    checked = {"after": an_object_of(Schedule, "WarmUp(Constant(0.1), steps=5)"), "steps": positive_integer}

    def __init__(self, after: Schedule, steps: int) -> None:
        self.after, self.steps = after, steps

    @property
    def lr(self) -> float:
        """That of `after`, which is also set by it."""
        return self.after.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self.after.lr = value

    @property
    def per(self) -> str:
        """That of `after`."""
        return self.after.per

    @per.setter
    def per(self, value: str) -> None:
        self.after.per = value

    def factor(self, t: Array) -> Array:
        # Its start and all later times in one question: with two, twenty warm-ups in a row would ask a million times
        times = np.concatenate([np.zeros(1), np.maximum(t - self.steps, 0.0).ravel()])
        factors = np.broadcast_to(self.after.factor(times), times.shape)
        return np.where(t < self.steps, factors[0] * (t + 1) / self.steps, factors[1:].reshape(t.shape))


class OneCycle(Schedule):
    """Up to lr by half a cosine, then down to almost nothing by another.

    Parameters
    ----------
    lr : float
        The highest rate.
    steps : int
        Length of the whole cycle.
    rise : float, default 0.3
        The part of it that goes up.
    start, final : float, default 1/25 and 1e-4 / 25
        The first and the last factor.

    References
    ----------
    Smith and Topin, "Super-convergence: very fast training of neural networks using large
    learning rates" (2018).
    """

    required = {"lr": 0.1, "steps": 100}
    checked = {"steps": positive_integer, "rise": between_zero_and_one, "start": not_negative, "final": not_negative}

    def __init__(
        self, lr: float, steps: int, rise: float = 0.3, start: float = 0.04, final: float = 4e-6, per: str = "step"
    ) -> None:
        super().__init__(lr, per)
        self.steps, self.rise, self.start, self.final = steps, rise, start, final

    def factor(self, t: Array) -> Array:
        top = self.rise * self.steps - 1
        end = self.steps - 1
        up = np.clip(t / max(top, 1e-9), 0, 1)
        down = np.clip((t - top) / max(end - top, 1e-9), 0, 1)
        rising = 1 + (self.start - 1) * 0.5 * (1 + np.cos(np.pi * up))
        falling = self.final + (1 - self.final) * 0.5 * (1 + np.cos(np.pi * down))
        return np.where(t <= top, rising, falling)


class LogCosine(Schedule):
    """Whole cosines from 0 up to lr and down to 0 again, each twice as long as the one before.

    factor = (1 - cos(2 pi log2(1 + (2**cycles - 1) t / steps))) / 2.

    Parameters
    ----------
    lr, per
        As in `Schedule`; lr is the highest rate.
    steps : int
        Length of the whole; afterwards the rate is 0.
    cycles : int, default 4
        How many there are.

    References
    ----------
    Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular
    data" (2024).
    """

    required = {"lr": 0.1, "steps": 100}
    checked = {"steps": positive_integer, "cycles": positive_integer}

    def __init__(self, lr: float, steps: int, cycles: int = 4, per: str = "step") -> None:
        super().__init__(lr, per)
        self.steps, self.cycles = steps, cycles

    def factor(self, t: Array) -> Array:
        done = np.minimum(t / self.steps, 1.0)
        return 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + (2.0**self.cycles - 1) * done)))
