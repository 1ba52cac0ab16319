"""Inputs that are zero in a whole batch, as the border of an image is: a product can pass over them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import from_dtype, types

from .compiling import compiled_address, inlined_kernel
from .tile import either, load, splat, store, width_of


@inlined_kernel
def worth_listing(count: int, of: int) -> bool:
    """Whether a product is quicker by a list of `count` columns than of all `of`: a list costs a tenth of its time."""
    return 4 * count < 3 * of


@lru_cache(maxsize=None)
def nonzero_columns_address(dtype: np.dtype[Any]) -> int:
    """Address of the compiled `nonzero_columns`: most networks never see such inputs."""
    index, data = types.int64, types.CPointer(from_dtype(dtype))
    return compiled_address(
        nonzero_columns, index(data, index, index, index, index, index, types.CPointer(index), data)
    )


def nonzero_columns(x: Any, x_stride: int, first: int, last: int, begin: int, end: int, places: Any, room: Any) -> int:
    """Write the columns from `begin` to `end` that rows `first` to `last` of x are not all zero in to `places`.

    Returns how many there are. `room` holds one vector.
    """
    width, count, j = width_of(x), 0, begin
    while j + width <= end:
        some = splat(x, 0.0)
        for i in range(first, last):
            some = either(some, load(x, i * x_stride + j))
        store(some, room, 0)
        for lane in range(width):
            places[count] = j + lane
            count += room[lane] != 0
        j += width
    while j < end:
        places[count] = j
        for i in range(first, last):
            if x[i * x_stride + j] != 0:
                count += 1
                break
        j += 1
    return count
