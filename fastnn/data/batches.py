"""How the samples of an epoch are parted into batches."""

from __future__ import annotations

from typing import NamedTuple

from ..kernels.order import start_of


class Batches(NamedTuple):
    """The batches of an epoch, one after another: the first `larger` of them have a sample more than the others.

    Attributes
    ----------
    rows : int
        Samples of an epoch.
    batch_size : int
        Of a batch behind the larger ones; the last may be shorter.
    larger : int
        How many batches have one sample more.
    steps : int
        How many batches there are.

    Examples
    --------
    >>> from fastnn.data.batches import Batches
    >>> some = Batches.equal(10, 4)
    >>> [some.start(k) for k in range(some.steps + 1)]
    [0, 4, 7, 10]
    >>> some = Batches.full(10, 4)
    >>> [some.start(k) for k in range(some.steps + 1)]
    [0, 4, 8, 10]
    """

    rows: int
    batch_size: int
    larger: int
    steps: int

    @classmethod
    def equal(cls, rows: int, batch_size: int) -> Batches:
        """As few batches of at most so many samples as there can be, whose sizes differ by one at most.

        Any of them that follow one another are those of their samples alone, so a chunk of a stream knows its own.
        These are the parts that `numpy.array_split` makes.
        """
        steps = -(-rows // batch_size)
        return cls(rows, rows // steps, rows % steps, steps)

    @classmethod
    def full(cls, rows: int, batch_size: int) -> Batches:
        """Batches of so many samples, and of the rest a last, shorter one."""
        return cls(rows, min(batch_size, rows), 0, -(-rows // batch_size))

    @classmethod
    def of(cls, rows: int, batch_size: int, equal: bool) -> Batches:
        """`equal` or `full` ones."""
        return cls.equal(rows, batch_size) if equal else cls.full(rows, batch_size)

    def start(self, k: int) -> int:
        """How many samples come before batch number `k`."""
        return start_of(self, k)

    @property
    def largest(self) -> int:
        """Samples of the first and largest one."""
        return self.batch_size + (self.larger > 0)

    @property
    def smallest(self) -> int:
        """Samples of the last and smallest one."""
        return self.rows - self.start(self.steps - 1)
