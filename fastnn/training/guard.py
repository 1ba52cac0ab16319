"""The guard of every fit: it stops one that diverges, and gives back the last good weights and optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from ..checks import Array
from ..kernels.evaluate import all_finite
from ..layers.base import BaseLayer
from .callbacks import Callback, Logs


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
        self._kept = [array.copy() for array in self._arrays()]

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not (math.isfinite(logs["loss"]) and finite_layers(self.net.layers)):
            self.net.engine.alone(self._give_back)
            raise DivergedError(
                f"training diverged in epoch {epoch}: the loss or a weight is no longer finite. The network has the "
                f"weights from before that epoch. A smaller learning rate than {self.net.lr}, clip_norm=1.0, inputs of "
                "mean 0 and variance 1 (a Standardize layer), or targets of about that size (StandardizeTargets as the "
                f"last layer), may help.{'' if self.sizes is None else self.sizes()}"
            )
        arrays = self._arrays()
        self._kept += [array.copy() for array in arrays[len(self._kept) :]]  # the first epoch makes room for numbers
        for place, array in zip(self._kept, arrays):
            place[...] = array

    def _arrays(self) -> list[Array]:
        """All that training changes, as it lies in memory."""
        engine = self.net.engine
        return [*(layer.memory for layer in engine.layers), *engine.state.arrays()]

    def _give_back(self) -> None:
        layers = self.net.engine.layers
        for layer, kept in zip(layers, self._kept):
            layer.memory[...] = kept
        self.net.engine.state.take_back(self._kept[len(layers) :])
