"""What targets a loss takes: declared by its class, looked at by both doors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

Array = Any

SLACK = 1e-6  # what rounding adds to a number, as of a sum of probabilities in float32
LOOSE = 0.01  # what may lack of a sum: probabilities are often given with two digits
FEW = 32  # targets that are looked at one by one, which takes less time than NumPy's calls


class Domain(NamedTuple):
    """The targets that a loss takes; a `LossFunction` of your own may declare one as its ``domain``.

    Attributes
    ----------
    lowest, highest : float
        No target is outside; a millionth is borne, for rounding.
    adds_up : bool
        Whether the targets of a sample must add up to 1, to within a hundredth.
    cure : str
        What to do with targets that are outside, for the message.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.formulas.domain import Domain
    >>> Domain(lowest=0, cure="take the logarithm yourself").check(np.array([[1.0], [-2.0]]), "y", "MyLoss")
    Traceback (most recent call last):
    ...
    ValueError: y holds -2.0 at sample 1, output 0; MyLoss takes targets of at least 0: take the logarithm yourself
    """

    lowest: float = -math.inf
    highest: float = math.inf
    adds_up: bool = False
    cure: str = ""

    @property
    def of_labels(self) -> bool:
        """Whether each target says of something that it is there, 1, or not, 0."""
        return (self.lowest, self.highest) == (0, 1) and not self.adds_up

    @property
    def example(self) -> float:
        """A target that is inside, of a sample with one output."""
        return 1.0 if self.adds_up else min(max(0.0, self.lowest), self.highest)

    def holds(self, targets: Array) -> bool:
        """Whether a few targets are inside, told with little Python; False where `check` must look."""
        size = targets.size
        if self.adds_up or size > FEW:
            return False
        if size == 1:
            return bool(self.lowest <= targets.item() <= self.highest)
        numbers = targets.ravel().tolist()
        return bool(min(numbers) >= self.lowest and max(numbers) <= self.highest)

    def check(self, rows: Array, name: str, loss: str) -> None:
        """See that targets, as rows (n, outs) of finite numbers, are inside.

        Raises
        ------
        ValueError
            If they are not; `name` is theirs, `loss` that of the loss's class.
        """
        if self.holds(rows):
            return
        low, high = self.lowest - SLACK, self.highest + SLACK
        cure = f": {self.cure}" if self.cure else ""
        if (low > -math.inf and rows.min() < low) or (high < math.inf and rows.max() > high):
            sample, output = (int(places[0]) for places in np.nonzero((rows < low) | (rows > high)))
            raise ValueError(
                f"{name} holds {rows[sample, output]} at sample {sample}, output {output}; {loss} takes targets "
                f"{self._words()}{cure}"
            )
        if self.adds_up:
            sums = rows @ np.ones(rows.shape[1], rows.dtype)  # some times as fast as sum(axis=1)
            if not np.all(np.abs(sums - 1) <= LOOSE + SLACK):
                sample = int(np.argmax(np.abs(sums - 1)))
                raise ValueError(
                    f"{name} adds up to {sums[sample]:.6g} at sample {sample}; {loss} takes the probabilities of all "
                    f"classes, which add up to 1{cure}"
                )

    def _words(self) -> str:
        if self.highest == math.inf:
            return f"of at least {self.lowest:g}"
        if self.lowest == -math.inf:
            return f"of at most {self.highest:g}"
        return f"from {self.lowest:g} to {self.highest:g}"
