"""What a stream of samples is: chunks, one after another, for as many epochs as are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from .batches import Batches
from .form import Form


class Chunk(NamedTuple):
    """Some samples, as the caller's data hold them."""

    number: int  # of the chunk in its source
    where: str  # completes a name: "X" + where is "X[0:1000]" or "X of chunk 3"
    X: Any
    y: Any
    sample_weight: Any
    batch_size: int | None = None  # of its batches, where the source has made them


class Source(ABC):
    """Where the chunks come from. A format is a class of its own, which says here what it knows beforehand.

    Attributes
    ----------
    X
        What the user gave.
    names : tuple of str or None
        Of the inputs.
    lasting : bool
        Whether what it gave stays as it is when the next chunk is read.
    known : bool
        Whether all targets can be read before the first step.
    batched : bool
        Whether it has made batches, to be taken in the order in which they come.
    batches : Batches or None
        Those of an epoch.
    count, steps, rows_each : int
        Samples and steps of an epoch, and samples of a chunk; 0 where nobody knows.
    """

    X: Any
    names: tuple[str, ...] | None = None
    lasting = True
    known = True
    batched = False
    count: int = 0
    rows_each: int = 0

    @property
    def batches(self) -> Batches | None:
        """Those of an epoch, of all chunks in their own order."""
        return None

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return 0 if self.batches is None else self.batches.steps

    @abstractmethod
    def chunks(self, epoch: int, seed: int | None) -> Iterator[Chunk]:
        """All chunks, each read when it is asked for; `seed` sets their order in that epoch."""

    def sample(self) -> Iterator[Chunk]:
        """The chunks from which to learn about all samples: all."""
        return self.chunks(0, None)

    @abstractmethod
    def targets(self) -> Iterator[tuple[str, Any]]:
        """The targets, some at a time, and where they are."""

    def classes(self, form: Form) -> Array | None:
        """The class of each sample, or None where they have none; all targets are read and checked."""
        found = [form.classes_of(*form.row_targets(y, y.shape[0], f"y{where}"))[0] for where, y in self.targets()]
        some = [one for one in found if one is not None]
        return np.concatenate(some) if len(some) == len(found) else None

    @abstractmethod
    def hold_out(self, part: float, seed: int | None, form: Form) -> tuple[tuple[Any, ...], str]:
        """Be without that part of the samples from now on (see `held_out_rows`).

        Returns them, and the classes that are missing in a part.
        """
