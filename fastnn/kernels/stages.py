"""Layers without a matrix: how the recursion reaches them.

A stage is one class with its NumPy form (see ``fastnn.layers.stage``) and beside it, in the same file, two
kernels. They stand outside this folder and may be a user's own, so they are plain functions, which
are compiled here and called by address::

    def forward(address, W):
        stage = stage_at(address)
        ...

`address` is that of a STAGE record (see ``records``), which says where everything is: numbers are read
with ``pointer_at(stage.x_in, W)``. W points to the stage's parameters, row by row, and tells the dtype.
The forward pass writes x, and into y what the backward pass needs, which writes dx_in, where it is wanted,
and dW. ``uniform`` gives random numbers. Columns beyond `outs` are left alone. In inference several threads
run a stage at once, each on samples of its own; in training one thread runs it on the whole batch.
"""

from __future__ import annotations

from functools import lru_cache
from types import FunctionType
from typing import Any

import numpy as np
from numba import from_dtype, types

from .compiling import compiled_address, undisturbed
from .formula import function_digest
from .memory import pointer_at as pointer_at
from .random import uniform as uniform
from .records import stage_at as stage_at
from .recursion import FLOAT64 as FLOAT64
from .refusal import Text, check_text, explained

_HINT = (
    "A kernel of a stage is compiled as a function (address, W): loops over numbers at the pointers that stage_at and "
    "pointer_at give, with arithmetic, NumPy functions of numbers, and functions with @numba.njit."
)


@lru_cache(maxsize=None)
@undisturbed
def stage_addresses(cls: Any, dtype: np.dtype[Any]) -> tuple[int, int]:
    """Addresses of the two compiled functions, `kernels`, of a class of stages.

    Raises
    ------
    FormulaError
        If Numba cannot compile one, or it does what compiled text cannot: raise errors, print.
    """
    there, back = (_address(cls, function, dtype) for function in cls.kernels)
    return there, back


def _address(cls: type, function: FunctionType, dtype: np.dtype[Any]) -> int:
    text = Text(function, f"{cls.__name__}'s kernel {function.__name__}", None, (), _HINT)
    check_text(text)
    signature = types.void(types.int64, types.CPointer(from_dtype(dtype)))
    try:
        return compiled_address(function, signature, function_digest(function))
    except Exception as error:  # Numba lets some of Python's own through, as AttributeError
        raise explained(text, error) from None
