"""Training that leaves the finite numbers: a fit stops and gives back the last good weights, `train` warns."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable

import numpy as np

from ..checks import Array
from ..engine.optimizer_state import OptimizerState
from ..kernels.evaluate import all_finite
from ..layers.base import BaseLayer
from .callbacks import Callback, Logs, Trainee
from .run import Divergence


class DivergedError(ArithmeticError):
    """Training ran away: the loss or a weight is no longer finite."""


def finite_layers(layers: Iterable[BaseLayer]) -> bool:
    """Whether no number that the layers hold is NaN or infinite."""
    return all(all_finite(layer.memory.reshape(1, -1)) for layer in layers)


class NaNGuard(Callback):
    """Stop a run that diverges, and give back what the last good epoch left; every fit has one.

    That is the weights, and what the optimiser keeps between steps: its averages would carry the NaN into the next fit.

    Raises
    ------
    DivergedError
        After an epoch whose loss, or a weight after it, is NaN or infinite.
    """

    sizes: Callable[[], str] | None = None  # says how large inputs and targets are

    def on_train_begin(self) -> None:
        self._state: OptimizerState | None = None
        self._weights: list[Array] = []
        self._numbers: list[Array] = []
        self.net.engine.alone(self.net.engine.clear_up)  # weights may have been written over NaN
        self._keep()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not (math.isfinite(logs["loss"]) and finite_layers(self.net.layers)):
            self.net.engine.alone(self._give_back)
            raise DivergedError(
                f"training diverged in epoch {epoch}: the loss or a weight is no longer finite. The network has the "
                f"weights from before that epoch. A smaller learning rate than {self.net.lr}, clip_norm=1.0, inputs of "
                "mean 0 and variance 1 (a Standardize layer), or targets of about that size (StandardizeTargets as the "
                f"last layer), may help.{'' if self.sizes is None else self.sizes()}"
            )
        self._keep()

    def _keep(self) -> None:
        """Copy all that training changes; what is there already is overwritten."""
        layers, state = self.net.engine.layers, self.net.engine.state
        if state is not self._state:  # the first, or a callback has set another optimiser
            self._state, self._numbers = state, []
        for copies, arrays in ((self._weights, [layer.memory for layer in layers]), (self._numbers, state.arrays())):
            copies += [np.empty_like(array) for array in arrays[len(copies) :]]  # an epoch makes room for numbers
            for place, array in zip(copies, arrays):
                place[...] = array

    def _give_back(self) -> None:
        state = self.net.engine.state
        for layer, weights in zip(self.net.engine.layers, self._weights):
            layer.memory[...] = weights
        if state is self._state:
            state.take_back(self._numbers)
        else:
            state.begin_anew()


def after_divergence(net: Trainee, loss: float, divergence: Divergence) -> None:
    """Clear up behind a `train` that left the finite numbers; say it once, as NumPy does in the article's loop."""
    net.engine.alone(net.engine.clear_up)
    if net.engine.warned:
        return
    net.engine.warned = True
    step, window, last_loss = divergence
    where = f"at step {step + 1:,}" if window == 1 else f"in steps {step + 1:,} to {step + window:,}"
    last = "there was no finite one before" if last_loss is None else f"the last finite one was {last_loss:.4g}"
    warnings.warn(
        f"training left the finite numbers {where}: the loss is {loss}, {last}, and the weights are of no more "
        f"use. A learning rate smaller than {net.lr}, inputs of mean 0 and variance 1 (or pixels from 0 to 1), "
        "targets of about that size, or clip_norm=1.0 may help. This is said once for a network.",
        RuntimeWarning,
        stacklevel=3,
    )
