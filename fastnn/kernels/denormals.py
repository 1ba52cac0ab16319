"""Numbers too small for full precision (below 1e-38 in float32, 1e-308 in float64) count as zero in training.

The running means of an optimiser fade towards zero wherever gradients have stopped, and arithmetic on such
numbers is many times slower. On processors other than x86 they stay what they are.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_X86 = platform.machine().lower() in {"x86_64", "amd64"}
_FLUSH = (1 << 15) | (1 << 6)  # of results, and of operands: two bits of the control register MXCSR
_WORD, _BYTE = ir.IntType(32), ir.IntType(8)


def _access(builder: Any, name: str, place: Any) -> None:
    """Store the control register in `place`, or load it from there."""
    signature = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer()])
    function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.x86.sse.{name}")
    builder.call(function, [builder.bitcast(place, _BYTE.as_pointer())])


@intrinsic
def flush_denormals(typingctx: Any) -> Any:
    """Treat them as zero from here on; returns what `restore_denormals` needs."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not _X86:
            return ir.Constant(_WORD, 0)
        place = cgutils.alloca_once(builder, _WORD)
        _access(builder, "stmxcsr", place)
        before = builder.load(place)
        builder.store(builder.or_(before, ir.Constant(_WORD, _FLUSH)), place)
        _access(builder, "ldmxcsr", place)
        return before

    return types.uint32(), codegen


@intrinsic
def restore_denormals(typingctx: Any, before: Any) -> Any:
    """Treat them as before `flush_denormals`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _X86:
            place = cgutils.alloca_once(builder, _WORD)
            builder.store(args[0], place)
            _access(builder, "ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.uint32), codegen
