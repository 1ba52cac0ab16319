"""a * b + c, rounded once where the processor has an instruction for it."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from .cpu import FUSED


def multiply_add_ir(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c of LLVM numbers or vectors; without the instruction, a multiplication and an addition."""
    if not FUSED:
        return builder.fadd(builder.fmul(a, b), c)
    number = a.type.element if isinstance(a.type, ir.VectorType) else a.type
    lanes = f"v{a.type.count}" if isinstance(a.type, ir.VectorType) else ""
    name = f"llvm.fma.{lanes}f{32 if isinstance(number, ir.FloatType) else 64}"
    signature = ir.FunctionType(a.type, [a.type] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), [a, b, c])


@intrinsic
def multiply_add(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, of numbers or of vectors element by element."""
    return a(a, a, a), lambda context, builder, sig, args: multiply_add_ir(builder, *args)
