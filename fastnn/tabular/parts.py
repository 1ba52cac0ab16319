"""Which rows of a table are trained on, and which are held out: never copies of one row on both sides."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from ..data.held_out import held_out_rows
from .table import NUMBER, Table, texts_of
from .words import many

SMALL = 10_000  # rows, up to which their order makes no difference, and whole weights are as good as so many rows
TELLS_APART = 0.9  # of the rows that differ: a measured number of so many values is the same in copies alone


class Counted(NamedTuple):
    """The rows that count.

    Attributes
    ----------
    rows : ndarray of int
        Their numbers, each as often as it counts.
    originals : ndarray of int
        For each of them the number of the row that it is a copy of, from 0 on, in ascending order.
    weight : ndarray or None
        Of each row of the table, if those that count differ.
    """

    rows: Array
    originals: Array
    weight: Array | None


def counted(table: Table, y: Array, weight: Array | None) -> Counted:
    """The rows of weights above 0, of which whole ones are counts, up to `SMALL` rows in an order of their own.

    What divides all weights makes no difference: all rows five times are no more than all rows.
    """
    rows = np.arange(table.shape[0]) if weight is None else np.flatnonzero(weight)
    if weight is not None:
        there = weight[rows]
        if there.max() < 2**53 and np.array_equal(there, np.round(there)):
            there = there / np.gcd.reduce(there.astype(np.int64))
            if there.sum() <= SMALL:  # a weight of 2 is as good as the row twice
                rows, there = np.repeat(rows, there.astype(int)), np.ones(1)  # all of them are equal then
        weight = None if (there == there[0]).all() else of_mean_one(weight, rows)
    if len(rows) > SMALL:
        return Counted(rows, np.arange(len(rows)), weight)
    rows, originals = _in_own_order(table, y, rows)
    return Counted(rows, originals, weight)


def of_mean_one(weight: Array, rows: Array) -> Array:
    """Weights over their mean on these rows, whatever their size: float32 holds them, and steps are as without."""
    with np.errstate(under="ignore"):
        made = weight / weight[rows].max()
        return np.asarray(made / made[rows].mean())


def _in_own_order(table: Table, y: Array, rows: Array) -> tuple[Array, Array]:
    """These rows in an order that their values say, the same however they are given; and their originals.

    A row that is here twice is one of two copies. So is one of two with the same values, the target included, if a
    column of numbers that are not whole tells nearly all others apart, and there are no more copies of each than
    others. Without such a column, as in a table of sex, class and survival, rows with the same values are rows of their
    own.
    """
    keys: list[Array] = [y[rows, k] for k in range(y.shape[1])] if y.ndim == 2 else [y[rows]]
    measured = 0
    for k in range(table.shape[1]):
        column = table.column(k)
        values = column.values
        if isinstance(values, list):
            texts: list[Any] = texts_of(values)
            ranks = {text: rank for rank, text in enumerate(sorted(set(texts) - {None}))}
            values = np.array([ranks.get(text, -1) for text in texts])
        keys.append(values[rows])
        if column.kind == NUMBER:
            numbers = np.unique(keys[-1])
            if np.any(numbers % 1 > 0):
                measured = max(measured, numbers.size)
    order = np.lexsort(keys)
    rows = rows[order]
    differs = np.zeros(len(rows) - 1, bool)
    for key in keys:
        before, after = key[order][:-1], key[order][1:]
        differs |= (before != after) & ~(np.isnan(before) & np.isnan(after))
    different = 1 + int(differs.sum())
    if measured < TELLS_APART * different or different**2 < len(rows):
        differs = rows[1:] != rows[:-1]
    return rows, np.append(0, np.cumsum(differs))


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
    first = np.flatnonzero(np.append(True, originals[1:] != originals[:-1]))
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
