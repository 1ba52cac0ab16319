"""Several threads in one kernel.

Each thread of a team runs the same kernel on its share of the samples, or of the rows of W, and
the threads meet where one needs what another wrote. A meeting costs a few hundred nanoseconds,
far less than to start a thread. Each sum lies within one share, so the results do not depend on
how many threads there are.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import lru_cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .compiling import kernel
from .memory import call, pointer_at
from .order import INT64

SPINS = 2000  # looks at the others before a thread offers its core to someone else (some 20 us)

_PAUSE: tuple[str, list[int]] = ("llvm.x86.sse2.pause", [])
_YIELD = ("llvm.aarch64.hint", [1])
_HINT = {"x86_64": _PAUSE, "amd64": _PAUSE, "aarch64": _YIELD, "arm64": _YIELD}.get(platform.machine().lower())


@lru_cache(maxsize=None)
def give_way_address() -> int:
    """Address of the system's function that lets another thread have this core."""
    if sys.platform == "win32":
        function: Any = ctypes.windll.kernel32.SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


@intrinsic
def _arrive(typingctx: Any, counter: Any) -> Any:
    """Add 1 to the counter that all threads see; returns what it was."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", args[0], ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(counter), codegen


@intrinsic
def _look(typingctx: Any, counter: Any) -> Any:
    """The counter as it is now."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(args[0], ordering="acquire", align=8)

    return types.int64(counter), codegen


@intrinsic
def _pause(typingctx: Any) -> Any:
    """Tell the processor that this is a loop that waits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _HINT is not None:
            name, values = _HINT
            constants = [ir.Constant(ir.IntType(32), value) for value in values]
            kind = ir.FunctionType(ir.VoidType(), [constant.type for constant in constants])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), constants)
        return context.get_dummy_value()

    return types.void(), codegen


@kernel
def meet(net: Any) -> None:
    """Wait until all threads of the team are here; what each wrote before, all see after."""
    if net.team > 1:
        counter = pointer_at(net.meetings, INT64)
        everyone = (_arrive(counter) // net.team + 1) * net.team
        looks = 0
        while _look(counter) < everyone:
            _pause()
            looks += 1
            if looks > SPINS:
                call(net.give_way)


@kernel
def assemble(net: Any) -> bool:
    """The first meeting: False if it was called off, as when a thread could not start."""
    if net.team == 1:
        return True
    counter = pointer_at(net.meetings, INT64)
    _arrive(counter)
    looks = 0
    while _look(counter) < net.team:
        _pause()
        looks += 1
        if looks > SPINS:
            call(net.give_way)
        if _look(pointer_at(net.called_off, INT64)) != 0:
            break
    return _look(counter) >= net.team  # when all were here, it is too late to call it off


@kernel
def share(count: int, grain: int, who: int, team: int) -> tuple[int, int]:
    """The first and the last + 1 of `count` things that thread `who` takes, in whole grains."""
    grains = (count + grain - 1) // grain
    return min(count, grains * who // team * grain), min(count, grains * (who + 1) // team * grain)
