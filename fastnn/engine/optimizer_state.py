"""What an optimiser keeps between steps: its numbers for every parameter, how many steps it took, and epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import Array
from ..formulas.optimizers import Optimizer, descends_plainly
from ..kernels.cpu import padded
from ..kernels.evaluate import all_finite
from ..layers.base import BaseLayer, aligned_zeros
from ..layers.moment import at_moment
from ..layers.stage import Stage
from ..room import room


class OptimizerState:
    """The state of one network's training, which goes on from call to call.

    Attributes
    ----------
    starts : dict of str to float
        The optimiser's `state`, by which the numbers are laid out.
    steps : ndarray of int64, (1,)
        Steps taken so far.
    epochs : ndarray of int64, (1,)
        Complete epochs so far, over all calls, by which schedules of epochs go: they cannot be told from the steps,
        as calls may differ in batch size and in samples.
    numbers : tuple of ndarray
        For each layer the optimiser's numbers, (len(optimizer.state), *layer.shape), in the
        layout of the layer's own memory.
    gradients : tuple of ndarray
        For each layer room for its gradients, of shape ``layer.shape``, where a step needs all of
        them at once; others make do with a few rows at a time, and have an empty array here.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        layers: list[BaseLayer],
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        self.optimizer, self.layers = optimizer, list(layers)
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.starts = dict(optimizer.state)
        self._steps, self._epochs = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self._numbers: tuple[Array, ...] = ()
        self._gradients: tuple[Array, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """The attributes; the numbers are those of the moment at which the engine was asked."""
        numbers = tuple(at_moment(array) for array in self._numbers)
        counts = {"_steps": at_moment(self._steps), "_epochs": at_moment(self._epochs)}
        return {**self.__dict__, "_numbers": numbers, "_gradients": (), **counts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a copy or a pickle.

        Its arrays may be read-only, or a file's, or padded for another processor: the numbers go into new memory.
        """
        numbers = state["_numbers"]
        counts = {name: np.array(state[name], np.int64).reshape(1) for name in ("_steps", "_epochs")}
        self.__dict__.update(state, _numbers=(), _gradients=(), **counts)
        if numbers:
            self.make_room(np.dtype(numbers[0].dtype.type))
            self.numbers = [values[..., : layer.outs] for layer, values in zip(self.layers, numbers)]

    @property
    def steps(self) -> Array:
        """Steps taken so far, (1,). What is assigned is copied: kernels have the array's address."""
        return self._steps

    @steps.setter
    def steps(self, steps: Any) -> None:
        self._steps[...] = steps

    @property
    def epochs(self) -> Array:
        """Complete epochs so far, (1,). What is assigned is copied."""
        return self._epochs

    @epochs.setter
    def epochs(self, epochs: Any) -> None:
        self._epochs[...] = epochs

    @property
    def numbers(self) -> tuple[Array, ...]:
        """The optimiser's numbers, layer by layer. What is assigned, with padding or without, is copied."""
        return self._numbers

    @numbers.setter
    def numbers(self, numbers: Sequence[Array]) -> None:
        if len(numbers) != len(self._numbers):
            raise ValueError(f"numbers holds {len(numbers)} arrays; expected {len(self._numbers)}")
        for layer, place, values in zip(self.layers, self._numbers, numbers):
            place[:, :, : layer.outs] = values[..., : layer.outs]

    def arrays(self) -> list[Array]:
        """All that steps change, as it lies in memory: `steps`, `epochs`, and `numbers` if there is room for them."""
        return [self._steps, self._epochs, *self._numbers]

    def take_back(self, before: Sequence[Array]) -> None:
        """Set all to copies of `arrays`; numbers for which there was no room then are as before the first step."""
        for place, values in zip(self.arrays(), before):
            place[...] = values
        if len(before) < len(self.arrays()):
            self._begin()

    @property
    def is_finite(self) -> bool:
        """Whether no number is NaN or infinite, of an optimiser that begins with such."""
        ordinary = all(map(math.isfinite, self.starts.values()))
        return not ordinary or all(all_finite(numbers.reshape(1, -1)) for numbers in self._numbers)

    def begin_anew(self) -> None:
        """Set all as it is before the first step."""
        self._steps[...] = self._epochs[...] = 0
        self._begin()

    @property
    def gradients(self) -> tuple[Array, ...]:
        """Room for the gradients, layer by layer."""
        return self._gradients

    @property
    def is_plain(self) -> bool:
        """Whether a step is ``W -= lr dW`` and nothing else."""
        plain = descends_plainly(self.optimizer) and self.clip_norm is None and self.clip_value is None
        return plain and all(layer.is_plain for layer in self.layers)

    @property
    def needs_whole_gradients(self) -> bool:
        """Whether a step must have all gradients before it changes a weight: for their norm, or a shared layer."""
        return self.clip_norm is not None or len(set(map(id, self.layers))) < len(self.layers)

    def belongs_to(
        self, optimizer: Optimizer, layers: list[BaseLayer], clip_norm: float | None, clip_value: float | None
    ) -> bool:
        """Whether this is still the state of that optimiser for those layers."""
        same = self.optimizer is optimizer and self.layers == layers
        same = same and self.starts == optimizer.state and (self.clip_norm, self.clip_value) == (clip_norm, clip_value)
        return same and all(a.dtype == layer.dtype for a, layer in zip(self.numbers, layers))

    def give_back_room(self) -> None:
        """Let the arrays go: as they were before `make_room`."""
        self._numbers = self._gradients = ()

    def make_room(self, dtype: np.dtype[Any]) -> None:
        """Allocate the arrays, which plain descent does not need."""
        if self._numbers:
            return
        kinds = list(self.starts.values())
        count = sum(layer.memory.size for layer in self.layers)
        what = f"the state of {self.optimizer!r} for {count:,} numbers"
        with room(max(1, len(kinds)) * count * dtype.itemsize, what, "a smaller network, or SGD, which has none"):
            self._allocate(dtype, kinds)

    def _allocate(self, dtype: np.dtype[Any], kinds: list[float]) -> None:
        all_numbers, gradients = [], []
        for layer in self.layers:
            shape = (layer.shape[0], padded(layer.outs, dtype))
            count = shape[0] * shape[1]
            numbers = aligned_zeros(max(1, len(kinds)) * count, dtype).reshape(max(1, len(kinds)), *shape)
            all_numbers.append(numbers)
            whole = self.needs_whole_gradients or isinstance(layer, Stage)
            gradients.append(aligned_zeros(count, dtype).reshape(shape) if whole else np.empty(0, dtype))
        self._numbers, self._gradients = tuple(all_numbers), tuple(gradients)
        self._begin()

    def _begin(self) -> None:
        """Set the numbers as they are before the first step."""
        for numbers in self._numbers:
            for place, start in zip(numbers, self.starts.values()):
                place[...] = start
