"""The matrix products of a layer, on register tiles.

With rows as samples, `W` stored as (ins, outs) and every row padded to whole vectors::

    Y  = X W + b          the forward pass
    dX = dB W'            the gradient for the layer below (W' is the transpose)
    W  = W - lr X' dB     the gradient and the update of the weights, in one pass

All three are one function, ``C = alpha A B + beta D``, with different strides. It runs on tiles (see
``tile``), or in plain loops (see ``plain``), and is reached by address, so a test takes the other one
without compiling anything else. A second form takes only the rows of A and only the k that two lists
name: inputs that are zero in the whole batch need no arithmetic. LLVM makes scalar code of the tiles
where a processor has no vector units.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import from_dtype, types

from . import plain
from .compiling import compiled_address, inlined_kernel, kernel
from .cpu import VECTOR_REGISTERS
from .memory import pointer_plus
from .tile import make_tile, prefetch, width_of

# A tile of 6 x 2 vectors takes 12 of 16 registers, 6 x 4 takes 24 of 32: enough sums in flight to hide the latency of
# a multiply-add, with room for B's vectors and A's number. (8 x 2, with as many loads for two thirds of the arithmetic,
# was 5 to 13 % slower.) Where one vector of columns is left, it takes twice the rows for as many sums.
TILE_ROWS = 6
TILE_VECTORS = 4 if VECTOR_REGISTERS == 32 else 2

# How many rows of B one pass runs over: such a panel of a tile's vectors stays near.
DEPTH = 256

FAR = 2**20  # numbers of a B that no L2 cache holds: its next panel is then asked for ahead of time


def _make_multiply(listed: bool) -> Callable[..., None]:
    """The product on tiles: of all rows and all k, or of those in two lists, in ascending order."""
    full_four, full_three = make_tile(TILE_ROWS, 4, listed), make_tile(TILE_ROWS, 3, listed)
    full_two, high_one = make_tile(TILE_ROWS, 2, listed), make_tile(2 * TILE_ROWS, 1, listed)
    four_pair, four_one = make_tile(4, 2, listed), make_tile(4, 1, listed)
    two_pair, two_one = make_tile(2, 2, listed), make_tile(2, 1, listed)
    one_pair, one_one = make_tile(1, 2, listed), make_tile(1, 1, listed)

    def multiply(
        a: Any, a_row: int, a_k: int, b: Any, b_k: int, c: Any, c_row: int, d: Any, d_row: int,
        i_list: Any, rows: int, columns: int, k_list: Any, depth: int, alpha: float, beta: float,
    ) -> None:  # fmt: skip
        """C = alpha A B + beta D on tiles; `columns` is a multiple of the vector width."""
        width = width_of(c)
        full = rows // TILE_ROWS * TILE_ROWS
        if rows - full == 2 and full > 0:
            full -= TILE_ROWS  # two tiles of four rows beat one of six and one of two
        # the first k's sums begin with D; those of later ones are added to it, so that they wait for no earlier sums
        begins = alpha == 1 and beta == 1
        if listed:
            begins = begins and (depth == 0 or k_list[0] < DEPTH)
        k = 0
        while True:
            deep = min(DEPTH, depth - k)
            if listed:
                deep = piece(k_list, k, depth)
            what = i_list, k, k_list, deep, alpha, beta, begins
            j = 0
            while j < columns:
                vectors = panel((columns - j) // width)
                end = j + vectors * width
                looks_ahead = not listed and depth * b_k > FAR and end < columns
                ahead = k
                i = 0
                while i < rows:
                    if looks_ahead:  # while this panel of B is in use, each tile asks for a part of the next
                        more = min(k + deep, ahead + deep * TILE_ROWS // rows + 1)
                        for row in range(ahead, more):
                            prefetch(pointer_plus(b, row * b_k + end))
                        ahead = more
                    where = pointer_plus(b, j), b_k, pointer_plus(c, j), c_row, pointer_plus(d, j), d_row
                    if vectors == 1 and rows - i >= 2 * TILE_ROWS:
                        high_one(a, a_row, a_k, *where, i, *what)
                        i += 2 * TILE_ROWS
                    elif vectors > 1 and i < full:
                        if TILE_VECTORS == 4 and vectors == 4:
                            full_four(a, a_row, a_k, *where, i, *what)
                        elif TILE_VECTORS == 4 and vectors == 3:
                            full_three(a, a_row, a_k, *where, i, *what)
                        else:
                            full_two(a, a_row, a_k, *where, i, *what)
                        i += TILE_ROWS
                    else:  # the rows that are left, two vectors at a time
                        height = 4 if rows - i >= 4 else min(rows - i, 2)
                        for m in range(j, end, 2 * width):
                            pair = m + width < end
                            where = pointer_plus(b, m), b_k, pointer_plus(c, m), c_row, pointer_plus(d, m), d_row
                            if height == 4:
                                if pair:
                                    four_pair(a, a_row, a_k, *where, i, *what)
                                else:
                                    four_one(a, a_row, a_k, *where, i, *what)
                            elif height == 2:
                                if pair:
                                    two_pair(a, a_row, a_k, *where, i, *what)
                                else:
                                    two_one(a, a_row, a_k, *where, i, *what)
                            elif pair:
                                one_pair(a, a_row, a_k, *where, i, *what)
                            else:
                                one_one(a, a_row, a_k, *where, i, *what)
                        i += height
                j = end
            k += deep
            if k >= depth:
                return
            d, d_row, beta, begins = c, c_row, 1.0, False  # the next rows of B add to what is there

    return multiply


@inlined_kernel
def panel(vectors: int) -> int:
    """How many of the vectors of columns that are left the next tiles take: as equal parts as can be."""
    if TILE_VECTORS < vectors < 2 * TILE_VECTORS:
        return (vectors + 1) // 2
    return min(vectors, TILE_VECTORS)


@kernel
def piece(k_list: Any, first: int, count: int) -> int:
    """How many members of a list one pass takes: those below the next multiple of `DEPTH`.

    Whatever is left out, the sums are cut at the same k.
    """
    last = min(first + DEPTH, count)
    if first < count:
        limit = (k_list[first] // DEPTH + 1) * DEPTH
        while k_list[last - 1] >= limit:
            last -= 1
    return last - first


@lru_cache(maxsize=None)
def multiply_address(dtype: np.dtype[Any], tiled: bool = True, listed: bool = False) -> int:
    """Address of the compiled product for `dtype`: on tiles or plain, of everything or of what two lists name."""
    data, index, real, places = (
        types.CPointer(from_dtype(dtype)),
        types.int64,
        types.float64,
        types.CPointer(types.int64),
    )
    signature = types.void(
        data, index, index, data, index, data, index, data, index, places, index, index, places, index, real, real
    )  # fmt: skip
    function = _make_multiply(listed) if tiled else plain.multiply_listed if listed else plain.multiply
    return compiled_address(function, signature, f"product {tiled} {listed} {signature}")
