"""The clock of the kernels, the system's monotonic one: what a step takes is measured where it is taken."""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_MONOTONIC = 6 if sys.platform == "darwin" else 1  # what the system calls the clock
_INT64 = ir.IntType(64)


@lru_cache(maxsize=None)
def clock_address() -> int:
    """Address of the system's function that reads the clock."""
    if sys.platform == "win32":
        function: Any = ctypes.windll.kernel32.QueryPerformanceCounter
    else:
        function = ctypes.CDLL(None).clock_gettime
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


@lru_cache(maxsize=None)
def ticks_per_second() -> float:
    """What the kernels count in."""
    if sys.platform == "win32":
        frequency = ctypes.c_int64()
        ctypes.windll.kernel32.QueryPerformanceFrequency(ctypes.byref(frequency))
        return float(frequency.value)
    return 1e9


@intrinsic
def now(typingctx: Any, address: Any) -> Any:
    """The time in ticks, by the function at `address`: see `clock_address`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        windows = sys.platform == "win32"
        place = cgutils.alloca_once(builder, _INT64, size=2)  # a timespec: seconds, nanoseconds
        values = [place] if windows else [ir.Constant(ir.IntType(32), _MONOTONIC), place]
        kind = ir.FunctionType(ir.IntType(32), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
        if windows:
            return builder.load(place)
        seconds, nanoseconds = (builder.load(builder.gep(place, [ir.Constant(_INT64, i)])) for i in range(2))
        return builder.add(builder.mul(seconds, ir.Constant(_INT64, 10**9)), nanoseconds)

    return types.int64(types.int64), codegen
