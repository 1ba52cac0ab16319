"""Chunks that the caller makes: of an iterable, or the batches of a `torch.utils.data.DataLoader`.

Nothing of PyTorch is imported for it: a script that has a loader has done so.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..checks import shown
from .columns import real_array
from .form import Form
from .source import Chunk, Source
from .tables import column_names

TOGETHER = 32  # batches at most that are a chunk
TARGETS = {"y", "target", "targets", "label", "labels"}  # what the parts of a batch may be called
WEIGHTS = {"sample_weight", "weight", "weights"}


class Given(Source):
    """The chunks that an iterable gives, or what a function without arguments returns.

    Nobody knows how many there are before they have come.
    """

    lasting = False  # a generator may fill the same array again and again
    known = False
    word = "chunk"

    def __init__(self, X: Any) -> None:
        self.X = X

    def chunks(self, epoch: int, seed: int | None) -> Iterator[Chunk]:
        """All chunks, in the order in which they come."""
        made = self.X() if callable(self.X) else self.X
        if not isinstance(made, Iterable):
            raise TypeError(f"X() returned {made!r}; expected an iterable of chunks (X, y)")
        return map(self._chunk, itertools.count(), made)  # map keeps no chunk that it has handed on

    def sample(self) -> Iterator[Chunk]:
        """The chunks from which to learn about all samples: the first, which an iterator gives again later."""
        if not isinstance(self.X, Iterator):
            return itertools.islice(self.chunks(0, None), 1)
        first = list(itertools.islice(self.X, 1))
        self.X = itertools.chain(first, self.X)
        return map(self._chunk, itertools.count(), first)

    def targets(self) -> Iterator[tuple[str, Any]]:
        """The targets of that chunk, and where they are."""
        return ((chunk.where, real_array(chunk.y, f"y{chunk.where}")) for chunk in self.sample())

    def hold_out(self, part: float, seed: int | None, form: Form) -> tuple[tuple[Any, ...], str]:
        """Nobody knows where the end is."""
        raise ValueError(
            f"validation_split is {part!r} but X is made of chunks, whose end is not known; give validation_data"
        )

    def _chunk(self, number: int, chunk: Any) -> Chunk:
        name = f"{self.word} {number}"
        if isinstance(chunk, Mapping):
            chunk = _of_mapping(chunk, name)
        if not isinstance(chunk, (tuple, list)) or len(chunk) not in (2, 3):
            have = f"{len(chunk)} parts" if isinstance(chunk, (tuple, list)) else f"a {type(chunk).__name__}"
            raise TypeError(f"{name} of X is {have}; expected (X, y) or (X, y, sample_weight)")
        X, y, weight = (*chunk, None)[:3]
        return Chunk(number, f" of {name}", X, y, weight)


class Loader(Given):
    """The batches of a `torch.utils.data.DataLoader`, each a step, in the order in which they come.

    Some of one size make a chunk: to hand each over from thread to thread would take longer than its step.
    """

    batched = True
    lasting = True  # a chunk is an array of its own
    word = "batch"

    def chunks(self, epoch: int, seed: int | None) -> Iterator[Chunk]:
        """As of `Source`."""
        some: list[Chunk] = []
        for batch in super().chunks(epoch, seed):
            if some and (len(some) == TOGETHER or _kinds(batch) != _kinds(some[0])):
                yield _together(some)
                some = []
            some.append(batch)
        if some:
            yield _together(some)

    def _chunk(self, number: int, chunk: Any) -> Chunk:
        number, where, X, *others, _ = super()._chunk(number, chunk)
        if column_names(X) is None:  # else they are to be seen at the door
            X = real_array(X, f"X{where}")
            if X.ndim > 2:  # such as images
                X = X.reshape(X.shape[0], -1)
        y, weight = (
            None if some is None else real_array(some, f"{name}{where}")
            for name, some in zip(("y", "sample_weight"), others)
        )
        return Chunk(number, where, X, y, weight)


def _kinds(batch: Chunk) -> list[Any]:
    """What is the same in batches that can be taken together; a frame, or what is no table, is taken alone."""
    if not isinstance(batch.X, np.ndarray) or batch.X.ndim < 2:
        return [id(batch)]
    return [None if some is None else (some.shape, some.dtype) for some in (batch.X, batch.y, batch.sample_weight)]


def _together(some: list[Chunk]) -> Chunk:
    """Batches of one size as a chunk."""
    first, last = some[0], some[-1]
    if not isinstance(first.X, np.ndarray):
        return Chunk(*first[:5], first.X.shape[0])
    where = first.where if first is last else f" of batches {first.number} to {last.number}"
    parts = zip(*((batch.X, batch.y, batch.sample_weight) for batch in some))
    X, y, weight = (None if part[0] is None else np.concatenate(part) if part[0].ndim else part[0] for part in parts)
    return Chunk(first.number, where, X, y, weight, len(first.X) if first.X.ndim else 1)


def is_loader(X: Any) -> bool:
    """Whether it is a DataLoader of PyTorch."""
    module = sys.modules.get("torch.utils.data")
    return module is not None and isinstance(X, module.DataLoader)


def loader(X: Any, batch_size: int) -> Loader:
    """The source of its batches; `batch_size` is what `fit` was told, whose default of 32 says nothing."""
    own = getattr(X, "batch_size", None)
    if batch_size not in (32, own):
        raise ValueError(
            f"batch_size is {batch_size} but X is a DataLoader, which makes its batches itself, of "
            f"{own or 'its own sizes'}; leave batch_size out, or set it where the loader is made"
        )
    return Loader(X)


def _of_mapping(chunk: Mapping[Any, Any], name: str) -> tuple[Any, ...]:
    """The parts of a chunk with names: one is the target's, one may be the weight's, and one is left."""
    y, weight = ([key for key in chunk if key in known] for known in (TARGETS, WEIGHTS))
    inputs = [key for key in chunk if key not in (*y, *weight)]
    if len(y) != 1 or len(inputs) != 1 or len(weight) > 1:
        raise TypeError(
            f"{name} of X is a dict of {', '.join(map(shown, chunk))}; expected inputs and one of "
            f"{', '.join(sorted(TARGETS))}, or say which: fit(lambda: ((some['inputs'], some['target']) for some in X))"
        )
    return tuple(chunk[key] for key in (*inputs, *y, *weight))
