"""What all layers have in common: sizes, memory, and whether training changes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ..changes import Watched
from ..checks import Array, Checked, flag, not_negative, optional, positive_number, shown
from ..data.columns import real_array
from ..formulas.optimizers import Optimizer
from ..kernels.cpu import VECTOR_BYTES, padded
from .moment import at_moment


def aligned_zeros(count: int, dtype: np.dtype[Any]) -> Array:
    """`count` zeros that start at a multiple of the cache line and of the vector width."""
    step = max(64, VECTOR_BYTES)
    raw = np.zeros(count * dtype.itemsize + step, np.uint8)
    skip = -raw.ctypes.data % step
    return raw[skip : skip + count * dtype.itemsize].view(dtype)


def row_length(memory: Array, rows: int, outs: int) -> int:
    """How long the rows of a layer's memory are: what its size says, so that the two never disagree."""
    return memory.size // rows if rows else padded(outs, memory.dtype)


def float_dtype(dtype: np.typing.DTypeLike) -> np.dtype[Any]:
    """`dtype` as float32 or float64 of this machine's byte order, or an error."""
    try:
        found = np.dtype(dtype)
        if isinstance(dtype, np.generic):  # NumPy would take the number's own
            raise TypeError
    except Exception as error:  # also what its __repr__ raises, which NumPy calls
        raise TypeError(f"dtype is {shown(dtype)}; expected 'float32' or 'float64'") from error
    if found not in (np.float32, np.float64):
        raise ValueError(f"dtype is {found.name!r}; expected 'float32' or 'float64'")
    return np.dtype(found.type)


class BaseLayer(Checked, Watched, ABC):
    """What all layers have in common: sizes, memory, and whether training changes it.

    Attributes
    ----------
    trainable : bool
        Whether training changes the layer's parameters.
    lr_factor : float
        By which the learning rate is multiplied for this layer, above 0.
    """

    checked = {
        "l1": not_negative, "l2": not_negative, "max_norm": optional(not_negative), "trainable": flag,
        "lr_factor": positive_number,
    }  # fmt: skip
    smallest_batch: int = 1  # of training
    trainable: bool
    _ins: int
    _outs: int
    _memory: Array
    l1: float = 0.0
    l2: float = 0.0
    lr_factor: float = 1.0
    max_norm: float | None = None

    @property
    def ins(self) -> int:
        """Number of inputs."""
        return self._ins

    @property
    def outs(self) -> int:
        """Number of outputs."""
        return self._outs

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._memory.dtype

    @property
    def memory(self) -> Array:
        """All numbers of the layer, (memory_rows * stride,), as the kernels take them: aligned, and its own."""
        return self._memory

    @property
    def stride(self) -> int:
        """Row length of the memory: `outs` padded to whole vectors, with zeros."""
        return row_length(self._memory, self.memory_rows, self._outs)

    def __getstate__(self) -> dict[str, Any]:
        """The attributes, with a copy of the memory: who keeps a pickle's buffers keeps what it was."""
        return {**super().__getstate__(), "_memory": at_moment(self._memory)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a copy or a pickle.

        Its memory may be read-only, or a file's, or padded for another processor: the numbers go into new memory.
        """
        super().__setstate__(state)
        memory, count = state.get("_memory"), self.memory_rows
        if (
            not isinstance(memory, np.ndarray)
            or memory.ndim != 1
            or memory.size % max(count, 1)
            or memory.size < count * self._outs
        ):
            raise ValueError(f"this {type(self).__name__} cannot be unpickled: its memory is damaged")
        rows = memory.reshape(count, -1)[:, : self._outs] if count else memory.reshape(0, self._outs)
        self._memory = self._laid_out(rows, float_dtype(memory.dtype))

    def convert(self, dtype: np.dtype[Any]) -> None:
        """Change the dtype of the memory, keeping its values."""
        memory = self._memory
        if dtype != memory.dtype:
            count = self.memory_rows
            rows = memory.reshape(count, row_length(memory, count, self._outs))[:, : self._outs]
            with np.errstate(over="ignore", under="ignore"):
                converted = self._laid_out(rows, dtype)
            if np.isinf(converted).sum() > np.isinf(rows).sum():
                raise ValueError(f"this {type(self).__name__} holds numbers too large for {dtype}")
            self._memory = converted

    def _laid_out(self, rows: Array, dtype: np.dtype[Any]) -> Array:
        """Memory of its own for `rows` (memory_rows, outs), padded.

        It is complete before the layer has it: another thread may look at any moment.
        """
        stride = padded(self._outs, dtype)
        memory = aligned_zeros(rows.shape[0] * stride, dtype)
        memory.reshape(rows.shape[0], stride)[:, : self._outs] = rows
        return memory

    @property
    @abstractmethod
    def memory_rows(self) -> int:
        """Rows of its memory, trained or not."""

    @abstractmethod
    def arrays(self) -> dict[str, Array]:
        """The layer's arrays by name, as views: parameters, and what else it keeps."""

    def lr_factors(self, optimizer: Optimizer) -> tuple[float, float]:
        """By what the rate is multiplied in a step of `optimizer`: for W, or all rows of a stage, and for b."""
        return self.lr_factor, self.lr_factor

    @property
    @abstractmethod
    def is_plain(self) -> bool:
        """Whether training it needs nothing but the fused step of plain descent."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Rows and row length of the part of its memory that training changes."""

    def wipe_padding(self) -> None:
        """Set what lies behind the numbers of a row to zero, as it is while all are finite: an overflow leaves NaN."""
        if self._memory.size:
            self._memory.reshape(self.memory_rows, -1)[:, self.outs :] = 0.0

    @property
    def parameter_count(self) -> int:
        """How many numbers training changes."""
        return self.shape[0] * self.outs

    def trained_numbers(self) -> Array:
        """What training changes, without padding: a view (rows, outs) of its memory."""
        rows, stride = self.shape
        return self._memory.ravel()[: rows * stride].reshape(rows, stride)[:, : self.outs]

    @abstractmethod
    def forward_pass(self, x: Any) -> Array:
        """The outputs for columns x (ins, N) in inference."""


def assign(name: str, place: Array, values: Any) -> None:
    """Write `values` into `place`, an array of a layer, or raise an error that calls them `name`."""
    place[...] = fitting(name, place, values)


def fitting(name: str, place: Array, values: Any) -> Array:
    """`values` as an array that can be written into `place`, or an error that calls them `name`."""
    array = real_array(values, name)
    if array.shape != place.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {place.shape}")
    with np.errstate(over="ignore", under="ignore"):
        converted = array.astype(place.dtype)
    if not np.array_equal(np.isinf(converted), np.isinf(array)):
        raise ValueError(f"{name} holds numbers too large for {place.dtype}")
    if not np.isfinite(converted).all():
        raise ValueError(f"{name} holds NaN or infinity; expected finite numbers")
    return converted
