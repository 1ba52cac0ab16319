"""Arrays of HDF5 and zarr, which lie in chunks on disk: each is read once an epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..checks import Array
from .blocks import Piece
from .columns import not_finite, real_array
from .tables import FlatRows

BLOCK_BYTES = 4 * 2**20  # of rows that are read at a time, or a chunk of theirs if it has more


def stored_rows(array: Any) -> int:
    """The rows of a chunk of an array as it is stored; 0 if it is not in chunks."""
    for name in ("shards", "chunks"):
        sizes = getattr(array, name, None)
        if isinstance(sizes, tuple) and sizes and isinstance(sizes[0], int):
            return sizes[0]
    return 0


class StoredArrays:
    """A `Table` of arrays X and y, in blocks of whole chunks of X.

    Parameters
    ----------
    X, y : array_like
        With ``shape``, ``dtype`` and ``[start:stop]``; X in chunks.
    weights : ndarray (n,), optional
    """

    names: tuple[str, ...] | None = None

    def __init__(self, X: Any, y: Any, weights: Array | None) -> None:
        self._X, self._y, self._weights = X, y, weights
        count, rows = int(X.shape[0]), stored_rows(X)
        row_bytes = math.prod(X.shape[1:]) * np.dtype(X.dtype).itemsize
        self._each = rows * max(1, BLOCK_BYTES // max(1, rows * row_bytes))
        self.sizes: Sequence[int] = [min(self._each, count - first) for first in range(0, count, self._each)]

    def pieces(self, number: int) -> Iterator[Piece]:
        """As of `Table`."""
        rows = self._rows(number)
        weights = None if self._weights is None else self._weights[rows]
        X, y = self._read(self._X, "X", rows), self.targets(number)
        count = min(len(X), len(y))  # fewer than there were is an error of whoever counts them
        yield Piece(X[:count], y[:count], None if weights is None else weights[:count])

    def targets(self, number: int) -> Array:
        """As of `Table`."""
        return self._read(self._y, "y", self._rows(number))

    def where(self, number: int) -> str:
        """As of `Table`."""
        rows = self._rows(number)
        return f"X[{rows.start}:{rows.stop}]"

    def _rows(self, number: int) -> slice:
        first = number * self._each
        return slice(first, first + self.sizes[number])

    @staticmethod
    def _read(array: Any, name: str, rows: slice) -> Array:
        where = f"{name}[{rows.start}:{rows.stop}]"
        try:
            found = array[rows]
        except Exception as error:
            given = array.table if isinstance(array, FlatRows) else array
            kind = f"{type(given).__module__.partition('.')[0]} array"
            raise OSError(f"{where} cannot be read from the {kind}: {error or type(error).__name__}") from error
        numbers = real_array(found, where)
        if not np.isfinite(numbers).all():  # the row is known here, and not when it is mixed with others
            raise not_finite(name, numbers.reshape(len(numbers), -1), numbers.dtype, np.arange(rows.start, rows.stop))
        return numbers
