"""Which samples `validation_split` holds out: some of each class, at random, or the last ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from ..kernels.order import shuffle
from .columns import real_array
from .form import Form
from .rows import sample_weights
from .tables import SomeRows, SparseRows, is_sparse


class Parts(NamedTuple):
    """Samples in two parts.

    Attributes
    ----------
    X, y, sample_weight
        Of the samples to learn from.
    held_out : (X, y) or (X, y, sample_weight)
        The others.
    where : str
        Completes their names in errors.
    warning : str
        Which classes a part lacks; empty if none.
    """

    X: Any
    y: Array
    sample_weight: Array | None
    held_out: tuple[Any, ...]
    where: str
    warning: str


def split(form: Form, X: Any, y: Any, sample_weight: Any, part: float, seed: int | None, where: str = "") -> Parts:
    """Hold out that part of samples in memory: see `held_out_rows`.

    Rows that lie together are views of what is given; others are copied when the door takes them, once.
    """
    table = SparseRows(X, f"X{where}") if is_sparse(X) else real_array(X, f"X{where}")
    y, shape = real_array(y, f"y{where}"), tuple(table.shape)
    if len(shape) == 0 or y.ndim == 0 or shape[0] != y.shape[0]:
        raise ValueError(f"X{where} has shape {shape} and y{where} {y.shape}; expected as many targets as samples")
    count = shape[0]
    weight = sample_weights(sample_weight, None, None, count, f"sample_weight{where}")  # of all, before the cut
    rows_to_keep(count, part)
    classes, _ = form.classes_of(*form.row_targets(y, count, f"y{where}"))
    sides = held_out_rows(count, part, seed, classes)
    if seed is None and isinstance(table, np.ndarray):
        ends: list[Any] = [slice(rows[0], rows[-1] + 1) for rows in sides]
        where = f"{where}[{sides[1][0]}:{count}]"
        tables: list[Any] = [table[end] for end in ends]
    else:
        ends, tables = list(sides), [SomeRows(table, rows) for rows in sides]
    weights = [None if weight is None else weight[end] for end in ends]
    held_out = (tables[1], y[ends[1]], weights[1])[: 2 if weight is None else 3]
    return Parts(tables[0], y[ends[0]], weights[0], held_out, where, missing(classes, sides, seed))


def rows_to_keep(count: int, part: float) -> int:
    """How many of `count` samples stay when that part of them is held out for validation."""
    if isinstance(part, bool) or not 0 < part < 1:
        raise ValueError(f"validation_split is {part!r}; expected a number between 0 and 1")
    cut = count - round(count * part)
    if not 0 < cut < count:
        raise ValueError(f"validation_split is {part} of {count} samples, which leaves one side empty")
    return cut


def held_out_rows(count: int, part: float, seed: int | None, classes: Array | None = None) -> tuple[Array, Array]:
    """The numbers of the samples that stay, and of those held out, both in ascending order.

    Parameters
    ----------
    count : int
        Of samples.
    part : float
        How much of them is held out.
    seed : int, optional
        Of the draw; None holds out the last samples.
    classes : ndarray (count,) of int, optional
        The class of each sample: then that part of each class is held out, to within a sample.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.data.held_out import held_out_rows
    >>> kept, held = held_out_rows(10, 0.2, seed=0, classes=np.array([0] * 5 + [1] * 5))
    >>> held // 5  # one of each class
    array([0, 1])
    >>> held_out_rows(5, 0.4, seed=None)
    (array([0, 1, 2]), array([3, 4]))
    """
    kept = rows_to_keep(count, part)
    if seed is None:
        return np.arange(kept), np.arange(kept, count)
    order, chosen = _permutation(count, seed_of(seed, -2)), np.zeros(count, bool)
    if classes is None:
        chosen[order[: count - kept]] = True
    else:
        counts = np.bincount(classes)
        quota = shares(counts, count - kept, _permutation(counts.size, seed_of(seed, -3)))
        kind = np.min_scalar_type(counts.size)  # NumPy sorts short integers in less time
        order = order[np.argsort(classes[order].astype(kind), kind="stable")]  # class by class
        number = np.arange(count) - np.repeat(np.cumsum(counts) - counts, counts)  # of a sample in its class
        chosen[order[number < np.repeat(quota, counts)]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _permutation(count: int, seed: int) -> Array:
    order = np.empty(count, np.int64)
    shuffle(order.ctypes.data, count, seed, 0)
    return order


def shares(counts: Array, wanted: int, order: Sequence[int] | Array) -> Array:
    """How many samples of each class to take, `wanted` in all: as many as its size says, to within one.

    A class of one sample gives none, and one of more gives one at least and not all of them, as far as that can be.
    Of classes with equal claims those that are earlier in `order` have the odd ones.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.data.held_out import shares
    >>> shares(np.array([50, 30, 3, 1]), 8, range(4))
    array([4, 3, 1, 0])
    """
    most = np.maximum(counts - 1, 0)
    if most.sum() < wanted:
        most = counts
    least = np.minimum(1, most)
    if least.sum() > wanted:
        least = np.zeros_like(most)
    due = wanted * counts * (most > 0) / np.sum(counts[most > 0])
    taken: Array = np.clip(np.floor(due).astype(np.int64), least, most)
    rank = np.empty(counts.size)
    rank[order] = np.arange(counts.size)
    while (left := wanted - int(taken.sum())) != 0:
        step = 1 if left > 0 else -1
        free = np.flatnonzero(taken < most if left > 0 else taken > least)
        claims = np.lexsort((rank[free], step * (taken - due)[free]))
        taken[free[claims[: abs(left)]]] += step
    return taken


def missing(classes: Array | None, sides: tuple[Array, Array], seed: int | None) -> str:
    """A sentence about the classes that one of the two parts lacks; empty if none does."""
    if classes is None:
        return ""
    present = np.unique(classes)
    found = []
    for side, name in zip(sides, ("training", "validation")):
        lacking = np.setdiff1d(present, classes[side])
        if lacking.size:
            more = f" and {lacking.size - 8} more" if lacking.size > 8 else ""
            one = "class" if lacking.size == 1 else "classes"
            found.append(f"no sample of {one} {', '.join(map(str, lacking[:8]))}{more} for {name}")
    if not found:
        return ""
    hint = "validation_shuffle=True holds out a share of each class" if seed is None else "there are too few samples"
    return f"validation_split leaves {' and '.join(found)}; {hint}"


def seed_of(seed: int, number: int) -> int:
    """The seed of what is apart from a fit's own order, which has `seed` itself, as has chunk 0.

    It is that of the order within chunk `number`; -1 is for the chunks themselves, -2 and -3 for what is
    held out.
    """
    return (seed + number * 0x2545F4914F6CDD1D) % 2**63
