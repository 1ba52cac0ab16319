"""Which rows of which part make a batch: dealt out from all parts in turn, whoever holds them."""

from __future__ import annotations

import numpy as np

from ..checks import Array


def dealt(sizes: Array, count: int) -> Array:
    """How many of the first `count` rows come from each part, when rows are dealt from all parts in proportion.

    Row j of a part of n has its turn at (j + 1/2) / n, and of those with the same turn that of the first part comes
    first: parts of equal size give a row each in turn. What a part has given never becomes less with more rows
    (Webster's method of sharing out seats), so that batches can be cut anywhere.

    Parameters
    ----------
    sizes : ndarray (parts,) of int
        Rows of each part; a part may have none.
    count : int
        From 0 to their sum.

    Returns
    -------
    ndarray (parts,) of int64

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.distributed.proportion import dealt
    >>> dealt(np.array([4, 4, 4]), 5)
    array([2, 2, 1])
    >>> dealt(np.array([6, 2, 0]), 4)
    array([3, 1, 0])
    """
    if count <= 0:
        return np.zeros(sizes.size, np.int64)

    def until(turn: float) -> Array:
        """How many rows of each have had their turn then."""
        return np.asarray(np.minimum(np.floor(sizes * turn + 0.5), sizes).astype(np.int64))

    before, after = 0.0, 1.0
    while before < (middle := (before + after) / 2) < after:
        before, after = (before, middle) if until(middle).sum() >= count else (middle, after)
    low, high = until(before), until(after)
    tied = high - low
    return np.asarray(low + np.clip(count - low.sum() - (np.cumsum(tied) - tied), 0, tied))
