"""The samples of a fit, and those that it holds out to know when to stop."""

from __future__ import annotations

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, train_test_split
from sklearn.utils import _safe_indexing, column_or_1d

from ..checks import Array
from ..data.rows import sample_weights


class Sample(NamedTuple):
    """Checked samples: rows, targets of two dimensions, and the weights of their losses, if they differ."""

    X: Any
    targets: Array
    weight: Array | None

    @property
    def size(self) -> int:
        """How many there are."""
        return int(self.X.shape[0])


def checked_weights(weight: Any, count: int, name: str = "sample_weight") -> Array:
    """The weights of so many samples, float64 (count,); a number is that of each.

    Raises
    ------
    ValueError, TypeError
        If these are no weights, or all 0, or their sum is infinite.
    """
    given = np.full(count, weight, float) if isinstance(weight, Real) else weight
    found = np.asarray(sample_weights(given, None, None, count, name))
    with np.errstate(over="ignore"):
        total = found.sum()
    if total == 0:
        raise ValueError(f"{name} holds zeros alone, so that no sample counts; expected some weights above 0")
    if total == np.inf:
        raise ValueError(f"{name} has an infinite sum; expected smaller numbers: all of them may be divided by one")
    return found


def checked_groups(groups: Any, count: int) -> Array:
    """The group of each of so many samples.

    Raises
    ------
    ValueError
        If these are none.
    """
    try:
        found: Array = column_or_1d(groups)
    except ValueError as error:
        raise ValueError(f"validation_groups: {error}") from error
    if len(found) != count:
        raise ValueError(f"validation_groups has {len(found)} values but X has {count} rows; expected one for each row")
    if len(np.unique(found)) < 2:
        raise ValueError("validation_groups holds one group alone; expected two at least, one of them to hold out")
    return found


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
    for side, what in ((train, "to learn from"), (held_out, "that are held out")):
        if side.weight is not None and not side.weight.any():
            raise ValueError(
                f"sample_weight or class_weight gives all {side.size} samples {what} the weight 0; expected some above "
                "0: leave out those that do not count, or give validation_data"
            )
    return train, held_out
