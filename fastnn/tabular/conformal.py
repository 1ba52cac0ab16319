"""What held-out rows say of new ones: quantiles that so many of those lie below (conformal prediction)."""

from __future__ import annotations

import math

import numpy as np

from ..checks import Array
from ..words import many


def conformal_level(level: float, count: float) -> float:
    """Which quantile of `count` held-out residuals a new one is below with probability `level`, or farther out.

    It is farther out by rounding, and by one residual more: the same rows have chosen the epoch, and are a little
    better known than new ones. Weighted rows are as many as `parts.as_many_as` says.

    Examples
    --------
    >>> from fastnn.tabular.conformal import conformal_level
    >>> [round(100 * conformal_level(level, 100)) for level in (0.05, 0.5, 0.95)]
    [4, 50, 97]
    """
    count = math.floor(count + 1e-9)
    if level > 0.5:
        return min(1.0, (math.ceil((count + 1) * level) + 1) / count)
    return max(0.0, (math.floor((count + 1) * level) - 1) / count) if level < 0.5 else level


def rows_needed(level: float) -> int:
    """How many held-out rows a quantile of that level needs: ceil((n + 1) level) is no more than n.

    Of fewer ones the outermost residual is the nearest there is, and covers less.

    Examples
    --------
    >>> from fastnn.tabular.conformal import rows_needed
    >>> [rows_needed(level) for level in (0.05, 0.1, 0.5, 0.9, 0.95, 0.99)]
    [19, 9, 1, 9, 19, 99]
    """
    level = max(level, 1 - level)
    return math.ceil(level / (1 - level) - 1e-6)


def too_few(level: float, count: float, part: float) -> str:
    """A sentence, where `count` held-out rows, that part of all, are too few for a quantile of that level."""
    count, needed = math.floor(count + 1e-9), rows_needed(level)
    if count >= needed:
        return ""
    of = f", as of {math.ceil(needed / part)} rows with validation_fraction={part:g}" if part else ""
    return (
        f"{many(count, 'held-out row')} cannot say what {max(level, 1 - level):.4g} of all new ones are below: the "
        f"outermost residual is taken, which {1 / (count + 1):.2g} of them or more exceed; expected {needed} held-out "
        f"rows at least{of}"
    )


def quantiles_of(values: Array, levels: Array | float, weight: Array | None) -> Array:
    """Quantiles (levels,) of values (n,), each one of these: the lowest that so much of the weight is not above.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tabular.conformal import quantiles_of
    >>> quantiles_of(np.array([3.0, 1, 2, 4]), np.array([0, 0.5, 0.6, 1]), None)
    array([1., 2., 3., 4.])
    >>> quantiles_of(np.array([3.0, 1, 2, 4]), np.array([0.5]), np.array([1.0, 1, 1, 9]))
    array([4.])
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(np.ones(len(values)) if weight is None else weight[order])
    places = np.searchsorted(reached / reached[-1], levels)
    made: Array = values[order][np.minimum(places, len(values) - 1)]
    return made
