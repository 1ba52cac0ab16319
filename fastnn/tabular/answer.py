"""What an estimator makes of its networks' outputs: all that an export needs to know of it, besides its columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array


class Answer(NamedTuple):
    """What becomes of the outputs of networks, in float64.

    Attributes
    ----------
    formula : function
        Of the outputs (n, outs) of each network, in NumPy alone (see `fastnn.files.trace`): (n, width), the
        probabilities of classes, or values.
    outs : int
        How many of a network's outputs it takes, the first ones.
    width : int
        How many numbers it makes.
    labels : list or None
        The classes, of which the most probable one is the prediction. None: the values are.
    rank : int or None
        Which of the values in ascending order is the only prediction.
    """

    formula: Callable[..., Array]
    outs: int
    width: int
    labels: list[Any] | None = None
    rank: int | None = None

    def of(self, outputs: list[Array]) -> Array:
        """Probabilities or predictions (n, width) of the outputs (n, outs) of each network."""
        values = self.formula(*(one.astype(np.float64) for one in outputs))
        return values if self.rank is None else np.sort(values, axis=1)[:, self.rank : self.rank + 1]
