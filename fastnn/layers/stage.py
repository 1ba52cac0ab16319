"""Layers without a matrix: dropout, noise and normalisation.

Each is one class with its NumPy form, `forward` and `backward`, on columns like the article's, and
beside it two kernels that do the same on rows (``kernels.stages`` says what they get). The reference runs
the NumPy form, and tests hold the kernels to it. A stage takes its width from the network it is put into.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ..kernels.cpu import padded
from .base import BaseLayer, aligned_zeros

Array = np.ndarray[Any, np.dtype[Any]]


class Stage(BaseLayer, ABC):
    """A layer that has as many outputs as inputs, and no matrix."""

    rows: tuple[str, ...] = ()  # names of the rows of its memory: the trained ones, then the others
    trained: int = 0  # how many of them training changes
    start: tuple[float, ...] = ()  # their values at first
    kernels: tuple[Any, Any]  # forward and backward, compiled by kernels.stages

    def __init__(self) -> None:
        self.trainable = True
        self._ins = self._outs = self._stride = 0
        self._memory = aligned_zeros(0, np.dtype(np.float64))

    def build(self, width: int, dtype: np.dtype[Any]) -> None:
        """Take so many inputs, which the network says; nothing happens where it is so already."""
        if self._outs == 0:
            self._ins = self._outs = width
            self._allocate(dtype)
            for name, value in zip(self.rows, self.start):
                self.row(name)[...] = value
        self._convert(dtype)

    def _allocate(self, dtype: np.dtype[Any]) -> None:
        self._stride = padded(self._outs, dtype)
        self._memory = aligned_zeros(len(self.rows) * self._stride, dtype)

    def _convert(self, dtype: np.dtype[Any]) -> None:
        if dtype != self.dtype:
            before = [array.copy() for array in self.arrays().values()]
            self._allocate(dtype)
            for name, values in zip(self.rows, before):
                self._assign(name, self.row(name), values)

    @property
    def memory_rows(self) -> int:
        return len(self.rows)

    def row(self, name: str) -> Array:
        """A view of the row of that name, as a column (outs, 1)."""
        first = self.rows.index(name) * self._stride
        return self._memory[first : first + self._outs].reshape(self._outs, 1)

    def arrays(self) -> dict[str, Array]:
        return {name: self.row(name) for name in self.rows}

    @property
    def settings(self) -> tuple[float, ...]:
        """What the kernels need to know besides, in their order."""
        return (0.0,)

    @property
    def is_plain(self) -> bool:
        return self.trained == 0

    @property
    def shape(self) -> tuple[int, int]:
        return self.trained, self._stride

    @abstractmethod
    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        """The outputs for columns x, and what `backward` needs."""

    @abstractmethod
    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        """The gradients with respect to the inputs and to the trained rows, as columns."""

    def forward_pass(self, x: Any) -> Array:
        """The outputs for columns x (ins, N) in inference, in NumPy."""
        return self.forward(np.asarray(x), False, 0)[0]

    def __repr__(self) -> str:
        public = {name: value for name, value in vars(self).items() if not name.startswith("_") and name != "trainable"}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in public.items())})"
