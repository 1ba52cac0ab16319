"""Layers without a matrix: dropout, noise and normalisation.

Each is one class with its NumPy form, `forward` and `backward`, on columns like the article's, and
beside it two kernels that do the same on rows (``kernels.stages`` says what they get). The reference runs
the NumPy form, and tests hold the kernels to it. A stage takes its width from the network it is put into.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ..checks import Array
from ..formulas.component import Component
from .base import BaseLayer


class Stage(BaseLayer, Component, ABC):
    """A layer that has as many outputs as inputs, and no matrix.

    `fastnn.check_gradients` holds `backward` against `forward`, and each against its kernel.
    """

    rows: tuple[str, ...] = ()  # names of the rows of its memory: the trained ones, then the others
    trained: int = 0  # how many of them training changes
    start: tuple[float, ...] = ()  # their values at first
    later: tuple[str, ...] = ()  # those that files from before they were added lack: then they are as at first
    sealed: tuple[str, ...] = ()  # those that `row` gives read-only: a network must hear of what is written there
    stands: str = "anywhere"  # in a network; "first" or "last" where it makes sense nowhere else
    is_compiled = False  # but for its two kernels, which are the class's
    kernels: tuple[Any, Any]  # forward and backward, compiled by kernels.stages
    of_the_class = Component.of_the_class | {
        "rows", "trained", "start", "later", "sealed", "stands", "kernels", "smallest_batch",
    }  # fmt: skip

    def __init__(self) -> None:
        self.trainable = True
        self._ins = self._outs = 0
        self._memory = np.empty(0)

    def build(self, width: int, dtype: np.dtype[Any]) -> None:
        """Take so many inputs, which the network says; nothing happens where it is so already."""
        if self._outs == 0:
            self._ins = self._outs = width
            start = np.array(type(self).start, dtype).reshape(-1, 1)
            self._memory = self._laid_out(np.broadcast_to(start, (self.memory_rows, width)), dtype)
        self.convert(dtype)

    @property
    def memory_rows(self) -> int:
        return len(type(self).rows) or self.trained_rows(max(1, self._outs))

    def trained_rows(self, width: int) -> int:
        """How many rows training changes in a network that gives it so many inputs: the class's `trained`.

        A stage whose rows have no names, but are as many as its settings say, says how many; and `array_shapes`.
        """
        return type(self).trained

    def array_shapes(self, width: int) -> dict[str, tuple[int, int]]:
        """The shapes of its `arrays` in such a network."""
        return dict.fromkeys(type(self).rows, (width, 1))

    def row(self, name: str) -> Array:
        """A view of the row of that name, as a column (outs, 1); read-only, if it is `sealed`."""
        row = self._row(name)
        if name in type(self).sealed:
            row.flags.writeable = False
        return row

    def _row(self, name: str) -> Array:
        row: Array = self._memory.reshape(self.memory_rows, -1)[type(self).rows.index(name)]
        return row[: self._outs].reshape(self._outs, 1)

    def arrays(self) -> dict[str, Array]:
        return {name: self._row(name) for name in type(self).rows}

    @property
    def settings(self) -> tuple[float, ...]:
        """What the kernels need to know besides, in their order."""
        return (0.0,)

    @property
    def is_plain(self) -> bool:
        return self.trained_rows(max(1, self._outs)) == 0

    @property
    def shape(self) -> tuple[int, int]:
        return self.trained_rows(max(1, self._outs)), self.stride

    @abstractmethod
    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        """The outputs for columns x, and what `backward` needs."""

    @abstractmethod
    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        """The gradients with respect to the inputs and to the trained rows, as columns."""

    def forward_pass(self, x: Any) -> Array:
        """The outputs for columns x (ins, N) in inference, in NumPy."""
        return self.forward(np.asarray(x), False, 0)[0]

    @property
    def attributes(self) -> dict[str, Any]:
        """The public attributes by name, but for `trainable`, which all layers have."""
        return {name: value for name, value in super().attributes.items() if name != "trainable"}

    @property
    def compared(self) -> dict[str, Any]:
        """What must come back from a file, but for what a file says of all layers."""
        of_layers = ("trainable", "_ins", "_outs", "_memory")
        return {name: value for name, value in super().compared.items() if name not in of_layers}
