"""The ecosystem's door: samples as rows in, checked once.

The twin of ``columns``: ``X`` is (n_samples, n_features) here.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..checks import Array
from ..formulas.losses import LossFunction
from ..room import room
from .columns import class_indices, finite_rows, real_array
from .tables import SomeRows, SparseRows, column_names, is_sparse, outside_memory

SPARSE_NUMBERS = 2**20  # of a sparse matrix that are made dense at a time, or measured


def feature_rows(X: Any, name: str, features: int, dtype: np.dtype[Any], offset: Array | None = None) -> Array:
    """Samples (n, features) as finite, contiguous rows of `dtype`, less the `offset` (see `finite_rows`)."""
    if is_sparse(X) or isinstance(X, SomeRows):
        return _dense_rows(X, name, features, dtype, offset)
    array = _whole(X, name)
    check_rows(array.shape, name, features)
    return finite_rows(array, name, X if column_names(X) else array, dtype, offset)


def _whole(X: Any, name: str) -> Array:
    """Samples as an array; rows of what was outside memory are flat, as they are where some of them are read."""
    array = real_array(X, name)
    return array.reshape(len(array), math.prod(array.shape[1:])) if array.ndim > 2 and outside_memory(X) else array


def _dense_rows(X: Any, name: str, features: int, dtype: np.dtype[Any], offset: Array | None) -> Array:
    """The rows of a sparse matrix, or some of a table, made some at a time: only the result is there as a whole."""
    blocks, first, count = given_rows(X, name, features), 0, X.shape[0]
    with room(count * features * dtype.itemsize, f"{name} {tuple(X.shape)}, dense, as {dtype}", "fewer samples"):
        rows = np.empty((count, features), dtype)
    if isinstance(X, SomeRows) and isinstance(X.table, np.ndarray) and X.dtype == dtype and offset is None:
        np.take(X.table, X.rows, axis=0, out=rows, mode="clip")  # "raise" would go by way of another array
        return finite_rows(rows, name, rows, dtype, None, X.rows)
    for some in blocks:
        last, where, numbers = first + len(some), f"{name}[{first}:{first + len(some)}]", None
        if isinstance(X, SomeRows):
            some, where, numbers = real_array(some, name), name, X.rows[first:last]
        rows[first:last] = finite_rows(some, where, some, dtype, offset, numbers)
        first = last
    return rows


def given_rows(X: Any, name: str, features: int) -> Iterator[Array]:
    """Samples (n, features) in blocks of some rows, of the dtype in which they are given."""
    array = X if isinstance(X, SomeRows) else SparseRows(X, name) if is_sparse(X) else _whole(X, name)
    check_rows(array.shape, name, features)
    return blocks_of(array, features)


def blocks_of(array: Any, features: int) -> Iterator[Array]:
    """Rows in blocks that take little memory as float64."""
    each = max(1, SPARSE_NUMBERS // features)
    return (array[first : first + each] for first in range(0, array.shape[0], each))


def check_rows(shape: tuple[int, ...], name: str, features: int) -> None:
    """Raise an error unless `shape` is that of samples as rows."""
    data = name.partition(" ")[0]  # "X" of "X of chunk 3"
    if len(shape) != 2:
        if len(shape) > 2:  # such as images
            hint = f"{data}.reshape(len({data}), -1) makes rows of {math.prod(shape[1:])} numbers"
        else:
            hint = f"{data}.reshape(-1, 1) makes rows of one feature, {data}.reshape(1, -1) one row"
        raise ValueError(f"{name} has shape {shape}; expected rows, shape (n_samples, {features}): {hint}")
    if shape[1] != features:
        hint = f" ({data}.T has it: are your samples columns?)" if shape[0] == features else ""
        if not hint and math.prod(shape) == features:  # one image
            hint = f" ({data}.reshape(1, -1) has it: is it one sample?)"
        raise ValueError(
            f"{name} has {shape[1]} columns but the first layer takes {features} inputs; "
            f"expected shape (n_samples, {features}){hint}"
        )
    if shape[0] == 0:
        raise ValueError(f"{name} has no rows; expected shape (n_samples, {features}) with at least one")


def check_count(shape: tuple[int, ...], name: str, count: int) -> None:
    """Raise an error unless `shape` is that of one target for each of `count` samples."""
    if len(shape) == 0 or shape[0] != count:
        have = "no rows" if len(shape) == 0 else f"{shape[0]} rows"
        raise ValueError(f"{name} has {have} but X has {count}; expected one target for each sample")


def target_rows(
    y: Any, name: str, count: int, outs: int, loss: LossFunction, dtype: np.dtype[Any], values: bool = False
) -> tuple[Array, bool]:
    """Targets of `count` samples for the kernels, and whether they are class indices.

    Class indices are (n,), or one-hot rows (n, outs); values are (n, outs), or (n,) for one output. `values` says that
    they are values where the loss takes both.
    """
    array = real_array(y, name)
    check_count(array.shape, name, count)
    classes = loss.target == "class" or (
        loss.target is None
        and not values
        and array.ndim == 1
        and (array.dtype.kind in "iu" or (outs > 1 and array.dtype.kind == "b"))
    )
    if classes:
        if array.ndim == 2 and array.shape[1] == outs and outs > 1:
            array = _one_hot_classes(array, name, loss)
        elif array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        return class_indices(array, name, count, outs).view(dtype), True
    if array.ndim == 1 and outs == 1:
        array = array.reshape(count, 1)
    if array.shape != (count, outs):
        raise ValueError(
            f"{name} has shape {array.shape}; expected ({count}, {outs}), as the last layer has {outs} outputs"
        )
    return finite_rows(array, name, array, dtype), False


def _one_hot_classes(array: Array, name: str, loss: LossFunction) -> Array:
    if not np.all((array == 0) | (array == 1)) or not np.all(array.sum(axis=1) == 1):
        raise ValueError(
            f"{name} has rows that are not one-hot, which {type(loss).__name__} does not take; "
            "for probabilities use SoftCrossEntropyLoss"
        )
    classes: Array = np.argmax(array, axis=1)
    return classes


ClassWeight = Mapping[Any, float] | Sequence[float] | str | None


def sample_weights(
    sample_weight: Any,
    class_weight: ClassWeight,
    classes: Array | None,
    count: int,
    name: str = "sample_weight",
    class_count: int = 0,
) -> Array | None:
    """The weight of each sample's loss, float64 (count,), or None where all are 1.

    `classes` says of which class each sample is, of 0 to `class_count` - 1.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = np.ones(count)
    if sample_weight is not None:
        array = real_array(sample_weight, name)
        if array.shape == (count, 1):  # a column of a table
            array = array[:, 0]
        if array.shape != (count,):
            raise ValueError(f"{name} has shape {array.shape}; expected ({count},), one weight for each sample")
        weights = weights * array
        if not np.all(np.isfinite(weights)) or np.any(weights < 0):
            raise ValueError(f"{name} holds negative or not finite numbers; expected weights of at least 0")
    if class_weight is not None:
        if classes is None:
            raise ValueError("class_weight is given but the targets are no classes; use sample_weight")
        by_class = _class_weights(class_weight, classes, class_count)
        with np.errstate(under="ignore"):
            weights = weights * by_class
    return np.ascontiguousarray(weights)


def _class_weights(class_weight: Mapping[Any, float] | Sequence[float] | str, classes: Array, count: int) -> Array:
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(
                f"class_weight is {class_weight!r}; expected 'balanced', a dict from class to weight, or {count} "
                "weights"
            )
        class_weight = balanced_weights(np.bincount(classes))
    if not isinstance(class_weight, Mapping):
        array = real_array(class_weight, "class_weight")
        if array.shape != (count,):
            raise ValueError(f"class_weight has shape {array.shape}; expected ({count},), a weight for each class")
        class_weight = dict(enumerate(array.tolist()))
    by_class = np.ones(count)
    for label, weight in class_weight.items():
        if not isinstance(label, numbers.Real) or label not in range(count):
            raise ValueError(f"class_weight has the key {label!r}, which is no class; expected 0 to {count - 1}")
        if not isinstance(weight, numbers.Real) or not 0 <= float(weight) < np.inf:
            raise ValueError(f"class_weight of class {label!r} is {weight!r}; expected a finite number of at least 0")
        by_class[int(label)] = float(weight)
    return np.asarray(by_class[classes])


def balanced_weights(counts: Array) -> dict[Any, float]:
    """Weights that give all classes which occur the same total; `counts` says how often each does."""
    found = np.flatnonzero(counts)
    weights = counts.sum() / (found.size * counts[found])
    return dict(zip(found.tolist(), weights.tolist()))


def many_zeros(rows: Array) -> bool:
    """Whether so many inputs are zero, going by a few rows, that it pays to look for those that all of a batch have."""
    if rows.shape[1] < 64:
        return False
    some = rows[:: max(1, rows.shape[0] // 16)][:16]
    return int(np.count_nonzero(some)) < 0.6 * some.size
