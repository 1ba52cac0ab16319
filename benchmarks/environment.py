"""Variables of the environment that make a library slower than it is, or hold it to fewer of the instructions."""

from __future__ import annotations

import os
import sys

SLOWING = (
    "ATEN_CPU_CAPABILITY", "BLIS_ARCH_TYPE", "DNNL_MAX_CPU_ISA", "FASTNN_NUM_THREADS", "FASTNN_TINY",
    "JAX_DEBUG_NANS", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DISABLE_JIT", "MKL_CBWR", "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS", "NPY_DISABLE_CPU_FEATURES", "NUMBA_BOUNDSCHECK", "NUMBA_CPU_FEATURES",
    "NUMBA_CPU_NAME", "NUMBA_DISABLE_JIT", "NUMBA_OPT", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE", "TORCH_COMPILE_DISABLE", "XLA_FLAGS",
)  # fmt: skip
"""Kernels for another processor, checks, interpreters, other numbers of threads: nobody is measured with these."""

HELD = {
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2", "BENCHMARKS_MARCH": "haswell", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma",
        "NUMBA_CPU_NAME": "haswell", "ONEDNN_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    },
}  # fmt: skip
"""What holds NumPy, OpenBLAS, Numba, XLA, PyTorch and the C compiler (`peers.compiler`) to a set of instructions."""


def freed(instructions: str = "") -> dict[str, str]:
    """The environment without `SLOWING`, and held to a set of instructions of `HELD` if one is named."""
    kept = {name: value for name, value in os.environ.items() if name not in SLOWING}
    return {**kept, **(HELD[instructions] if instructions else {})}


def start_free(module: str) -> None:
    """Start this program again if it has some of `SLOWING`: libraries read them when they are imported."""
    if any(name in os.environ for name in SLOWING):
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], freed())


def blas() -> str:
    """Which BLAS is loaded in this process and whose kernels it chose; empty without threadpoolctl."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return ""
    found = [
        f"{library['internal_api']} {library['version']} for {library.get('architecture', 'an unnamed processor')}"
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]
    return " and ".join(dict.fromkeys(found))
