"""The matrix products of a layer, on register tiles.

With rows as samples, `W` stored as (ins, outs) and every row padded to whole vectors::

    Y  = X W + b          the forward pass
    dX = dB W'            the gradient for the layer below (W' is the transpose)
    W  = W - lr X' dB     the gradient and the update of the weights, in one pass

All three are one function, ``C = alpha A B + beta D``, with different strides. `_multiply_tiled`
runs it on tiles (see ``tile``), `plain.multiply` in plain loops; both are reached by address, so a
test takes the other one without compiling anything else. LLVM makes scalar code of the tiles
where a processor has no vector units.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import from_dtype, types

from . import plain
from .compiling import compiled_address
from .cpu import VECTOR_REGISTERS
from .memory import pointer_plus
from .tile import make_tile, width_of

# A tile of 6 x 2 vectors takes 12 of 16 registers, 8 x 2 takes 16 of 32: enough sums in flight
# to hide the latency of a multiply-add, with room for B's two vectors and A's number.
TILE_ROWS = 8 if VECTOR_REGISTERS == 32 else 6

# How many rows of B one pass runs over: such a panel of two vectors stays in the L1 cache.
DEPTH = 256

_tile_full_wide, _tile_full = make_tile(TILE_ROWS, 2), make_tile(TILE_ROWS, 1)
_tile_4_wide, _tile_4 = make_tile(4, 2), make_tile(4, 1)
_tile_2_wide, _tile_2 = make_tile(2, 2), make_tile(2, 1)
_tile_1_wide, _tile_1 = make_tile(1, 2), make_tile(1, 1)


def _multiply_tiled(
    a: Any, a_row: int, a_k: int, b: Any, b_k: int, c: Any, c_row: int, d: Any, d_row: int,
    rows: int, columns: int, depth: int, alpha: float, beta: float,
) -> None:  # fmt: skip
    """C = alpha A B + beta D on tiles; `columns` is a multiple of the vector width."""
    width = width_of(c)
    full = rows // TILE_ROWS * TILE_ROWS
    if TILE_ROWS == 6 and rows - full == 2 and full > 0:
        full -= 6  # two tiles of four rows beat one of six and one of two
    k = 0
    while True:
        deep = min(DEPTH, depth - k)
        for j in range(0, columns, 2 * width):
            wide = j + width < columns
            b_kj = pointer_plus(b, k * b_k + j)
            i = 0
            while i < rows:
                a_ik = pointer_plus(a, i * a_row + k * a_k)
                c_ij = pointer_plus(c, i * c_row + j)
                d_ij = pointer_plus(d, i * d_row + j)
                if i < full:
                    if wide:
                        _tile_full_wide(a_ik, a_row, a_k, b_kj, b_k, c_ij, c_row, d_ij, d_row, deep, alpha, beta)
                    else:
                        _tile_full(a_ik, a_row, a_k, b_kj, b_k, c_ij, c_row, d_ij, d_row, deep, alpha, beta)
                    i += TILE_ROWS
                elif rows - i >= 4:
                    if wide:
                        _tile_4_wide(a_ik, a_row, a_k, b_kj, b_k, c_ij, c_row, d_ij, d_row, deep, alpha, beta)
                    else:
                        _tile_4(a_ik, a_row, a_k, b_kj, b_k, c_ij, c_row, d_ij, d_row, deep, alpha, beta)
                    i += 4
                elif rows - i >= 2:
                    if wide:
                        _tile_2_wide(a_ik, a_row, a_k, b_kj, b_k, c_ij, c_row, d_ij, d_row, deep, alpha, beta)
                    else:
                        _tile_2(a_ik, a_row, a_k, b_kj, b_k, c_ij, c_row, d_ij, d_row, deep, alpha, beta)
                    i += 2
                else:
                    if wide:
                        _tile_1_wide(a_ik, a_row, a_k, b_kj, b_k, c_ij, c_row, d_ij, d_row, deep, alpha, beta)
                    else:
                        _tile_1(a_ik, a_row, a_k, b_kj, b_k, c_ij, c_row, d_ij, d_row, deep, alpha, beta)
                    i += 1
        k += deep
        if k >= depth:
            return
        d, d_row, beta = c, c_row, 1.0  # the next rows of B add to what is there


@lru_cache(maxsize=None)
def multiply_address(dtype: np.dtype[Any], tiled: bool = True) -> int:
    """Address of the compiled product for `dtype`; `tiled` chooses the form."""
    data, index, real = types.CPointer(from_dtype(dtype)), types.int64, types.float64
    signature = types.void(
        data, index, index, data, index, data, index, data, index, index, index, index, real, real
    )  # fmt: skip
    return compiled_address(_multiply_tiled if tiled else plain.multiply, signature)
