"""What the compiler may assume of this processor: how wide a vector is, and whether it has FMA."""

from __future__ import annotations

import platform

import llvmlite.binding as llvm
import numpy as np
from numba.core import config


def _features() -> frozenset[str]:
    """The enabled LLVM features, as Numba will use them (``NUMBA_CPU_FEATURES`` included)."""
    if config.CPU_FEATURES is not None:
        flags = str(config.CPU_FEATURES).split(",")
    else:
        flags = llvm.get_host_cpu_features().flatten().split(",")
    return frozenset(flag[1:] for flag in flags if flag.startswith("+"))


_FEATURES = _features()
_MACHINE = platform.machine().lower()
_X86 = _MACHINE in {"x86_64", "amd64", "i386", "i686", "x86"}

FUSED: bool = "fma" in _FEATURES or _MACHINE in {"aarch64", "arm64"}
"""Whether a fused multiply-add is one instruction; elsewhere it would be a library call."""

VECTOR_BYTES: int = 64 if "avx512f" in _FEATURES else 32 if "avx" in _FEATURES else 16
"""Bytes of one vector register."""

CACHE_LINE: int = 64
"""Bytes of one cache line."""

VECTOR_REGISTERS: int = (
    32 if "avx512f" in _FEATURES or not platform.machine().lower().startswith(("x86", "amd")) else 16
)
"""How many of them there are (AVX-512 and AArch64: 32; AVX and SSE: 16)."""


def lanes(dtype: np.typing.DTypeLike) -> int:
    """Numbers of `dtype` in one vector register."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def whole_vectors(count: int, dtype: np.typing.DTypeLike) -> int:
    """`count` rounded up to whole vectors: so many numbers of a row take part in the arithmetic."""
    width = lanes(dtype)
    return -(-count // width) * width


def padded(count: int, dtype: np.typing.DTypeLike) -> int:
    """The length of a row of weights or activations that holds `count` numbers.

    Whole vectors, so that no kernel needs a scalar tail; and one cache line more where the row
    would be a multiple of 512 bytes, since the rows of a panel would then compete for an eighth
    of the L1 cache (128x512x512 in float32: 70 GFLOP/s without, 87 with).
    """
    length, size = whole_vectors(count, dtype), np.dtype(dtype).itemsize
    return length + CACHE_LINE // size if length * size % (8 * CACHE_LINE) == 0 else length
