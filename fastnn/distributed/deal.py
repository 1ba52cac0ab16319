"""Which rows of each rank make up the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..data.batches import Batches
from ..layers.base import BaseLayer


class Deal(NamedTuple):
    """See the module.

    Rows that were dealt out in turn make the batches of one process: of a batch of samples a to b rank r has the rows
    that are samples r, r + P, ... of them. Of other parts each rank has an equal part of its own rows in every batch.

    Attributes
    ----------
    counts : tuple of int
        Rows of each rank.
    batches : Batches
        Of all rows.
    steps : int
    dealt : bool
        Whether the counts are those of rows that were dealt out in turn.

    Examples
    --------
    >>> from fastnn.distributed.deal import Deal
    >>> deal = Deal.of([4, 3], batch_size=3)
    >>> [[deal.start(rank, k) for k in range(deal.steps + 1)] for rank in (0, 1)]
    [[0, 2, 3, 4], [0, 1, 2, 3]]
    >>> deal = Deal.of([9, 3], batch_size=4)
    >>> [[deal.start(rank, k) for k in range(deal.steps + 1)] for rank in (0, 1)]
    [[0, 3, 6, 9], [0, 1, 2, 3]]
    """

    counts: tuple[int, ...]
    batches: Batches
    steps: int
    dealt: bool

    @classmethod
    def of(cls, counts: Iterable[int], batch_size: int, every: int = 1) -> Deal:
        """The deal of so many rows on each rank in batches of at most so many samples, or, undealt, about as many.

        Local steps, with `every` above 1, are on equal parts of the rank's own rows.
        """
        counts = tuple(counts)
        total, size = sum(counts), len(counts)
        batches = Batches.equal(total, batch_size)
        dealt = every == 1 and all(count == -((rank - total) // size) for rank, count in enumerate(counts))
        steps = batches.steps if dealt else min(batches.steps, max(counts))  # no batch is without samples
        return cls(counts, batches, steps, dealt)

    def start(self, rank: int, k: int) -> int:
        """How many rows of a rank come before batch number `k`."""
        if self.dealt:
            return max(0, -((rank - self.batches.start(k)) // len(self.counts)))
        return self.equal_parts(rank).start(k)

    def equal_parts(self, rank: int) -> Batches:
        """The rows of a rank in as many parts as there are steps."""
        count = self.counts[rank]
        return Batches(count, count // self.steps, count % self.steps, self.steps)

    def sizes(self, k: int) -> list[int]:
        """How many samples of batch number `k` each rank has."""
        return [self.start(rank, k + 1) - self.start(rank, k) for rank in range(len(self.counts))]

    def check(self, layers: Sequence[BaseLayer], batch_size: int, every: int) -> None:
        """See that no share is too small for a layer, or, in local steps, without a sample.

        Raises
        ------
        ValueError
            The same on all ranks.
        """
        most = max((layer.smallest_batch, index) for index, layer in enumerate(layers))
        least = 1 if every > 1 else 0
        for k in range(self.steps) if most[0] > 1 or least else ():
            for rank, share in enumerate(self.sizes(k)):
                if share < least:
                    raise ValueError(
                        f"batch_size is {batch_size} on {len(self.counts)} ranks with every={every}, which leaves rank "
                        f"{rank} without a sample in batch {k}; expected a batch_size that gives each rank one, or "
                        "every=1"
                    )
                if 0 < share < most[0]:
                    raise ValueError(
                        f"batch_size is {batch_size} on {len(self.counts)} ranks, which leaves rank {rank} a share of "
                        f"{share} in batch {k}, but layers[{most[1]}] is {layers[most[1]]!r}, which needs at least "
                        f"{most[0]}; take a larger batch_size, or fewer ranks"
                    )
