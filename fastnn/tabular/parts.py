"""Which rows of a table are trained on, and which are held out: never copies of one row on both sides."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from ..data.held_out import held_out_rows
from ..words import many
from .table import NUMBER, Table, texts_of

SMALL = 10_000  # rows, up to which their order makes no difference, and whole weights are as good as so many rows
HALF, MIX = np.uint64(32), np.uint64(0xD6E8FEB86659FD93)  # half of the bits, and an odd number
TELLS_APART = 0.9  # of the rows that differ: a measured number of so many values is the same in copies alone


class Counted(NamedTuple):
    """The rows that count.

    Attributes
    ----------
    rows : ndarray of int
        Their numbers, each as often as it counts.
    originals : ndarray of int
        For each of them the number of the row that it is a copy of, from 0 on, in the order of the first ones.
    weight : ndarray or None
        Of each row of the table, if those that count differ.
    """

    rows: Array
    originals: Array
    weight: Array | None


def counted(table: Table, y: Array, weight: Array | None) -> Counted:
    """The rows of weights above 0, of which whole ones are counts, up to `SMALL` rows in an order of their own.

    What divides all weights makes no difference: all rows five times are no more than all rows.

    A row that is here twice is one of two copies. So is one of two with the same values, the target included, if a
    column of numbers that are not whole tells nearly all others apart, and there are no more copies of each than
    others. Without such a column, as in a table of sex, class and survival, rows with the same values are rows of their
    own.
    """
    rows = np.arange(table.shape[0]) if weight is None else np.flatnonzero(weight)
    if weight is not None:
        there = weight[rows]
        if there.max() < 2**53 and np.array_equal(there, np.round(there)):
            there = there / np.gcd.reduce(there.astype(np.int64))
            if there.sum() <= SMALL:  # a weight of 2 is as good as the row twice
                rows, there = np.repeat(rows, there.astype(int)), np.ones(1)  # all of them are equal then
        weight = None if (there == there[0]).all() else of_mean_one(weight, rows)
    keys, measured = _keys(table, y)
    if len(rows) <= SMALL:
        rows = rows[np.lexsort([key[rows] for key in keys])]
    values = _numbered(_mixed(keys)[rows])
    different = 1 + int(values.max())
    if different == len(rows):
        return Counted(rows, values, weight)
    told_apart = max((np.unique(key[rows]).size for key in measured), default=0)
    copies = told_apart >= TELLS_APART * different and different**2 >= len(rows)
    return Counted(rows, values if copies else _numbered(rows), weight)


def of_mean_one(weight: Array, rows: Array) -> Array:
    """Weights over their mean on these rows, whatever their size: float32 holds them, and steps are as without."""
    with np.errstate(under="ignore"):
        made = weight / weight[rows].max()
        return np.asarray(made / made[rows].mean())


def _keys(table: Table, y: Array) -> tuple[list[Array], list[Array]]:
    """Targets and columns as float64 (n,) each, texts as the places of theirs; and which of them are measured."""
    keys = [np.asarray(target, np.float64) for target in y.T.reshape(-1, len(y))]
    measured = []
    for k in range(table.shape[1]):
        column = table.column(k)
        values = column.values
        if isinstance(values, list):
            texts: list[Any] = texts_of(values)
            ranks = {text: rank for rank, text in enumerate(sorted(set(texts) - {None}))}
            values = np.array([ranks.get(text, -1) for text in texts], np.float64)
        elif column.kind == NUMBER and np.any(values % 1 > 0):
            measured.append(values)
        keys.append(values)
    return keys, measured


def _mixed(keys: list[Array]) -> Array:
    """A whole number (n,) for each row, the same for the same values, and by all chances for no others."""
    odd = np.random.default_rng(0).integers(2**63, size=len(keys), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    made = np.zeros(len(keys[0]), np.uint64)
    for key, factor in zip(keys, odd):
        same = np.where(np.isnan(key), np.nan, key + 0.0).view(np.uint64)  # one NaN, and one zero
        made ^= (same ^ same >> HALF) * factor  # the last bits of whole numbers are 0, and of their products, too
        made ^= made >> HALF
        made *= MIX
    return made


def _numbered(values: Array) -> Array:
    """The number (n,) of each value, from 0 on, in the order in which they first come."""
    _, first, code = np.unique(values, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return np.asarray(number[code])


class Parts(NamedTuple):
    """The numbers of the rows to train on and to hold out, and of the latter the originals."""

    train: Array
    held: Array
    originals: Array


def parted(some: Counted, part: float, seed: int, classes: Array | None) -> Parts:
    """The rows in two parts, at random and of each class its share; the copies of a row are all in one.

    Raises
    ------
    ValueError
        If `part` is above 0, but leaves one of the parts empty.
    """
    rows, originals, _ = some
    if part == 0:
        return Parts(rows, rows[:0], originals[:0])
    _, first = np.unique(originals, return_index=True)
    count = len(first)
    held = round(count * part)
    if not 0 < held < count:
        of = f"{many(count, 'row')} (n_samples={count})" + " without copies" * (count < len(rows))
        least = f"more than {0.5 / count:.4g} and less than {1 - 0.5 / count:.4g}, or " if count > 1 else ""
        raise ValueError(
            f"validation_fraction is {part:g}, which of {of} holds out {'none' if held == 0 else 'all'}; expected "
            f"{least}0 to hold none out and keep the last epoch"
        )
    _, chosen = held_out_rows(count, part, seed, None if classes is None else classes[rows[first]])
    out = np.isin(originals, chosen)
    return Parts(rows[~out], rows[out], originals[out])


def as_many_as(originals: Array, weight: Array | None) -> float:
    """As how many rows of one weight, each there once, these rows are: (sum of weights)**2 / sum of their squares.

    Kish, "Survey sampling" (1965); copies of a row are one row of their weights' sum.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tabular.parts import as_many_as
    >>> as_many_as(np.array([0, 1, 2, 2]), None), as_many_as(np.array([0, 1]), np.array([1.0, 0.0]))
    (2.6666666666666665, 1.0)
    """
    by_row = np.bincount(originals, weight)
    return float(by_row.sum() ** 2 / (by_row**2).sum())
