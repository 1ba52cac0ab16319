"""What all layers have in common: sizes, memory, and whether training changes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ..changes import Watched, changed
from ..data.columns import real_array
from ..kernels.cpu import VECTOR_BYTES

Array = np.ndarray[Any, np.dtype[Any]]


def aligned_zeros(count: int, dtype: np.dtype[Any]) -> Array:
    """`count` zeros that start at a multiple of the cache line and of the vector width."""
    step = max(64, VECTOR_BYTES)
    raw = np.zeros(count * dtype.itemsize + step, np.uint8)
    skip = -raw.ctypes.data % step
    return raw[skip : skip + count * dtype.itemsize].view(dtype)


def float_dtype(dtype: np.typing.DTypeLike) -> np.dtype[Any]:
    """`dtype` as float32 or float64 of this machine's byte order, or an error."""
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise TypeError(f"dtype is {dtype!r}; expected 'float32' or 'float64'") from error
    if found not in (np.float32, np.float64):
        raise ValueError(f"dtype is {found.name!r}; expected 'float32' or 'float64'")
    return np.dtype(found.type)


def shared_elsewhere(index: int, found: np.dtype[Any], dtype: np.dtype[Any]) -> ValueError:
    """The error for a layer whose dtype another network has changed."""
    return ValueError(
        f"layers[{index}] is {found} but the network is {dtype}: another network with dtype={found.name!r} shares it"
    )


class BaseLayer(Watched, ABC):
    """What all layers have in common: sizes, memory, and whether training changes it.

    Attributes
    ----------
    trainable : bool
        Whether training changes the layer's parameters.
    """

    trainable: bool
    _ins: int
    _outs: int
    _stride: int  # row length of the memory: outs padded to whole vectors
    _memory: Array
    l1: float = 0.0
    l2: float = 0.0
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

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a copy or a pickle, and see that its memory is of the size that kernels expect."""
        self.__dict__.update(state)
        memory = state.get("_memory")
        if not isinstance(memory, np.ndarray) or memory.shape != (self.memory_rows * self._stride,):
            raise ValueError(f"this {type(self).__name__} cannot be unpickled: its memory is damaged")
        changed()

    @property
    def memory_rows(self) -> int:
        """Rows of its memory, trained or not."""
        return self.shape[0]

    @abstractmethod
    def arrays(self) -> dict[str, Array]:
        """The layer's arrays by name, as views: parameters, and what else it keeps."""

    @property
    @abstractmethod
    def is_plain(self) -> bool:
        """Whether training it needs nothing but the fused step of plain descent."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Rows and row length of the part of its memory that training changes."""

    @property
    def parameter_count(self) -> int:
        """How many numbers training changes."""
        return self.shape[0] * self.outs

    @abstractmethod
    def forward_pass(self, x: Any) -> Array:
        """The outputs for columns x (ins, N) in inference."""

    @abstractmethod
    def _allocate(self, dtype: np.dtype[Any]) -> None:
        """Make the memory, for `dtype`."""

    @abstractmethod
    def _convert(self, dtype: np.dtype[Any]) -> None:
        """Change the dtype of the memory, keeping its values."""

    @staticmethod
    def _assign(name: str, place: Array, values: Any) -> None:
        array = real_array(values, name)
        if array.shape != place.shape:
            raise ValueError(f"{name} has shape {array.shape}; expected {place.shape}")
        with np.errstate(over="ignore"):
            converted = array.astype(place.dtype)
        if not np.array_equal(np.isinf(converted), np.isinf(array)):
            raise ValueError(f"{name} holds numbers too large for {place.dtype}")
        place[...] = converted
