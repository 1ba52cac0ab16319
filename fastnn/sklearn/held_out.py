"""The samples of a fit, and those that it holds out to know when to stop."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, train_test_split
from sklearn.utils import _safe_indexing

from ..checks import Array


class Sample(NamedTuple):
    """Checked samples: rows, targets of two dimensions, and the weights of their losses, if they differ."""

    X: Any
    targets: Array
    weight: Array | None

    @property
    def size(self) -> int:
        """How many there are."""
        return int(self.X.shape[0])


def split(
    sample: Sample, fraction: float, rng: np.random.RandomState, stratify: Array | None, groups: Any = None
) -> tuple[Sample, Sample]:
    """The samples to learn from and those to hold out: at random, or by groups that stay together.

    Raises
    ------
    ValueError
        If one side would be too small.
    """
    arrays = [sample.X, sample.targets, *([] if sample.weight is None else [sample.weight])]
    if groups is None:
        parts = train_test_split(*arrays, random_state=rng, test_size=fraction, stratify=stratify)
    else:
        splitter = GroupShuffleSplit(1, test_size=fraction, random_state=rng)
        sides = next(splitter.split(sample.X, groups=groups))
        parts = [_safe_indexing(array, side) for array in arrays for side in sides]
    train, held_out = (Sample(*(*parts[side::2], None)[:3]) for side in (0, 1))
    if held_out.size < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    return train, held_out
