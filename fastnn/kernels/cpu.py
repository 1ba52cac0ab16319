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

VECTOR_REGISTERS: int = (
    32 if "avx512f" in _FEATURES or not platform.machine().lower().startswith(("x86", "amd")) else 16
)
"""How many of them there are (AVX-512 and AArch64: 32; AVX and SSE: 16)."""


def lanes(dtype: np.typing.DTypeLike) -> int:
    """Numbers of `dtype` in one vector register."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def padded(count: int, dtype: np.typing.DTypeLike) -> int:
    """`count` rounded up to whole vectors.

    Rows of weights and activations have this length, so that no kernel needs a scalar tail. The
    numbers in the padding take part in the arithmetic and never in a result.
    """
    width = lanes(dtype)
    return -(-count // width) * width
