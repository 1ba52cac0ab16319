"""The article's door: columns in, checked once, and rows out for the kernels.

Kernels run without checks, so nothing reaches them that has not passed here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..checks import Array
from ..kernels.evaluate import all_finite
from ..room import no_room
from .tables import REAL, column_names, real_array_of, real_table


def real_array(values: Any, name: str) -> Array:
    """`values` as an array of real numbers of any dtype."""
    if type(values) is np.ndarray:
        return values if values.dtype.kind in REAL else real_array_of(values, name)
    if values is None:
        raise TypeError(f"{name} is None; expected real numbers")
    table = real_table(values, name)
    if table is not None:
        return table
    if isinstance(values, (list, tuple)) and any(isinstance(row, np.ma.MaskedArray) for row in values):
        return real_array(np.ma.stack(values), name)  # NumPy would forget what is masked
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name} cannot be made an array: {error}") from error
    return real_array_of(array, name)


READY, COPY = 1, 2


def sample_kind(x: Any, shape: tuple[int, int], dtype: np.dtype[Any]) -> int:
    """How a kernel can take x as one sample of `shape`: `READY` as it is, `COPY` from a copy, 0 not without checks.

    The kernel checks that its numbers are finite.
    """
    if type(x) is not np.ndarray or x.shape != shape:
        return 0
    if x.dtype is dtype and x.flags.carray:
        return READY
    return COPY if x.dtype.kind in "fiub" else 0


def are_ready(rows: Any, width: int, dtype: np.dtype[Any]) -> bool:
    """Whether a kernel can take them as rows (n, width) as they are, if their numbers are finite."""
    if type(rows) is not np.ndarray or rows.dtype is not dtype or not rows.flags.carray:
        return False
    shape = rows.shape
    return len(shape) == 2 and shape[1] == width and shape[0] > 0


def write_sample(x: Array, place: Array) -> Array:
    """Copy x, a view or of another dtype, to `place`; returns that."""
    if x.dtype.itemsize > place.dtype.itemsize:
        with np.errstate(over="ignore", under="ignore"):  # the kernel finds what became infinite
            place.reshape(x.shape)[...] = x
    elif x.shape == place.shape:
        place[...] = x
    else:
        place.reshape(x.shape)[...] = x
    return place


def rows_from_columns(
    values: Any, name: str, size: int, what: str, dtype: np.dtype[Any], offset: Array | None = None
) -> Array:
    """Columns (size, N) as finite, contiguous, writable-typed rows (N, size) of `dtype`.

    `what` completes the message "x has 3 rows but ...". A single number stands for one column
    of one row. `offset` (size,) is taken off, as in `finite_rows`.
    """
    array = real_array(values, name)
    if array.ndim == 0 and size == 1:
        array = array.reshape(1, 1)
    if array.ndim != 2:
        if array.ndim > 2:  # such as images
            hint = f"{name}.reshape(len({name}), -1).T makes columns of {math.prod(array.shape[1:])} numbers"
        else:
            hint = f"one sample is {name}.reshape(-1, 1), and samples as rows are {name}.T"
        raise ValueError(f"{name} has shape {array.shape}; expected columns, shape ({size}, N): {hint}")
    if array.shape[0] != size:
        hint = f" ({name}.T has it: are your samples rows?)" if array.shape[1] == size else ""
        if not hint and array.size == size:  # one image
            hint = f" ({name}.reshape(-1, 1) has it: is it one sample?)"
        raise ValueError(f"{name} has {array.shape[0]} rows but {what}; expected shape ({size}, N){hint}")
    if array.shape[1] == 0:
        raise ValueError(f"{name} has no columns; expected shape ({size}, N) with N of at least 1")
    return finite_rows(array.T, name, array, dtype, offset)


def finite_rows(
    rows: Array,
    name: str,
    given: Array,
    dtype: np.dtype[Any],
    offset: Array | None = None,
    numbers: Array | None = None,
) -> Array:
    """`rows` as a kernel takes them, or an error about `given`, which they are a view of.

    They have other `numbers` in what the caller calls so, or none but their own.
    An `offset`, float64 (ins,), is taken off in float64: `dtype` may hold the differences of the numbers, and not them.
    """
    try:
        if offset is not None:
            with np.errstate(all="ignore"):
                made = np.empty(rows.shape, dtype)
                rows = np.subtract(rows, offset, out=made, dtype=np.float64, casting="same_kind")
        elif rows.dtype is not dtype or not rows.flags.carray:
            with np.errstate(over="ignore", under="ignore"):  # the check below reports what became infinite
                rows = writable(np.ascontiguousarray(rows, dtype=dtype))
    except MemoryError:
        raise no_room(rows.size * dtype.itemsize, f"{name} {rows.shape} as {dtype}", "fewer samples") from None
    if not all_finite(rows):
        raise not_finite(name, given, dtype, numbers)
    return rows


def writable(rows: Array) -> Array:
    """`rows` itself, or if it is read-only an alias that is not: kernels only read it.

    Numba would compile every kernel once more for read-only arrays.
    """
    if rows.flags.writeable:
        return rows
    memory = (np.ctypeslib.as_ctypes_type(rows.dtype) * rows.size).from_address(rows.ctypes.data)
    memory.owner = rows  # type: ignore[attr-defined]  # the alias keeps `memory` alive, and so the array itself
    return np.ctypeslib.as_array(memory).reshape(rows.shape)


def not_finite(name: str, values: Any, dtype: np.dtype[Any], numbers: Array | None = None) -> ValueError:
    """The error for NaN, infinity, or a number too large for `dtype`; `numbers` are those of the rows, if others."""
    array, names = real_array(values, name), column_names(values)
    with np.errstate(over="ignore", under="ignore"):
        wrong = np.argwhere(~np.isfinite(np.atleast_2d(array).astype(dtype)))
    if not len(wrong):  # then it is the difference from the layer's offset that is too large
        return ValueError(f"{name} holds numbers too far, for {dtype}, from those that Standardize() was fitted to")
    row, column = wrong[0].tolist()
    value = np.atleast_2d(array)[row, column]
    reason = f", too large for {dtype}" if np.isfinite(value) else ""
    row = row if numbers is None else int(numbers[row])
    place = column if names is None else f"{names[column]!r}" + (" (a missing value)" if np.isnan(value) else "")
    return ValueError(f"{name} holds {value}{reason} at row {row}, column {place}; expected finite numbers")


def class_indices(values: Any, name: str, count: int, classes: int) -> Array:
    """Class indices as int64 (count, 1), each in 0..classes-1."""
    array = real_array(values, name)
    if array.dtype.kind == "f" and np.array_equal(array, np.trunc(array)) and np.all(np.abs(array) < 2.0**53):
        array = array.astype(np.int64)  # classes as floats, 0.0 and 1.0, as scikit-learn takes them
    if array.dtype.kind not in "iub":
        raise TypeError(
            f"{name} has dtype {array.dtype}; expected the number of a class, an integer from 0 to {classes - 1} "
            f"(for probabilities take SoftCrossEntropyLoss)"
        )
    if array.shape not in ((count,), (1, count)) and not (array.ndim == 0 and count == 1):
        raise ValueError(f"{name} has shape {array.shape}; expected one class index for each column: ({count},)")
    flat = array.reshape(count)
    if flat.min() < 0 or flat.max() >= classes:
        wrong = flat[(flat < 0) | (flat >= classes)][0]
        raise ValueError(f"{name} holds class {wrong} but the last layer has {classes} outputs: 0 to {classes - 1}")
    return writable(np.ascontiguousarray(flat, dtype=np.int64).reshape(count, 1))


def are_class_indices(values: Any) -> bool:
    """Whether a target that may be either is a class index: an integer, or a flat list of them."""
    array = np.asarray(values)
    return array.ndim < 2 and array.dtype.kind in "iu"
