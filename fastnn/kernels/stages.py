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

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import from_dtype, types

from .compiling import compiled_address
from .formula import function_digest
from .memory import pointer_at as pointer_at
from .random import uniform as uniform
from .records import stage_at as stage_at
from .recursion import FLOAT64 as FLOAT64


@lru_cache(maxsize=None)
def stage_addresses(
    forward: Callable[[int, Any], None], backward: Callable[[int, Any], None], dtype: np.dtype[Any]
) -> tuple[int, int]:
    """Addresses of the two compiled functions of a stage."""
    signature = types.void(types.int64, types.CPointer(from_dtype(dtype)))
    there, back = (compiled_address(f, signature, function_digest(f)) for f in (forward, backward))
    return there, back
