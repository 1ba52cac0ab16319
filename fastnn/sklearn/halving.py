"""Successive halving: how many epochs for how many candidates, and which of them go on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..checks import Array


def budgets(candidates: int, factor: float, least: int | None, most: int) -> Iterator[tuple[int, int]]:
    """How many candidates there are in each round, and how many epochs they have had at its end.

    The numbers of scikit-learn's ``HalvingGridSearchCV``: ``ceil(candidates / factor)`` go on, with `factor` times as
    many epochs, until fewer than `factor` are left or `most` is reached. With `least` None the first
    round is as long as lets the last one come to `most`.
    """
    last = math.floor(math.log(candidates, factor))
    if least is None:
        least = max(1, int(most // factor**last))
    rounds = 1 + min(last, math.floor(math.log(most // least, factor)))
    for number in range(rounds):
        yield candidates, min(int(factor**number * least), most)
        candidates = math.ceil(candidates / factor)


def best(scores: Array, numbers: Sequence[int], count: int) -> list[int]:
    """The `count` of these candidates with the best scores, those without a score last; in the order given."""
    worst_first = np.roll(np.argsort(scores, kind="stable"), np.count_nonzero(np.isnan(scores)))
    return sorted(int(numbers[k]) for k in worst_first[len(worst_first) - count :])
