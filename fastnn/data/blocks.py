"""Samples that lie in blocks, such as row groups of files: read one after another, mixed in a buffer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..checks import Array
from .batches import Batches
from .form import Form
from .held_out import held_out_rows, missing, rows_to_keep
from .source import Chunk, Source


class Piece(NamedTuple):
    """Some samples that follow one another."""

    X: Array
    y: Array
    sample_weight: Array | None

    def take(self, rows: Array | slice) -> Piece:
        """Some of them."""
        return Piece(self.X[rows], self.y[rows], None if self.sample_weight is None else self.sample_weight[rows])


class Table(Protocol):
    """Data in blocks: what a format says of itself. All its pieces have the same dtypes.

    Attributes
    ----------
    names : tuple of str or None
        Of the inputs.
    sizes : sequence of int
        The samples of each block.
    """

    @property
    def names(self) -> tuple[str, ...] | None: ...
    @property
    def sizes(self) -> Sequence[int]: ...

    def pieces(self, number: int) -> Iterator[Piece]:
        """The samples of a block in their order, as few at a time as memory asks for."""

    def targets(self, number: int) -> Array:
        """The targets of a block."""

    def where(self, number: int) -> str:
        """What errors call a block."""


class Blocks(Source):
    """The chunks of a `Table`: `rows_each` samples each, the last one fewer.

    Blocks are read in an order that the seed draws, each as it lies; from a buffer of `room` samples each chunk takes
    some at random. Without a seed they come in their own order.
    """

    def __init__(self, table: Table, batch_size: int, rows_each: int, room: int, equal: bool) -> None:
        self.X, self.names, self.rows_each = table, table.names, rows_each
        self.count, self._room = int(sum(table.sizes)), room
        self._batch_size, self._equal = batch_size, equal
        self._kept: Array | None = None  # the numbers of the samples that are left, if not all are
        self._starts = np.concatenate([[0], np.cumsum(table.sizes)])

    @property
    def batches(self) -> Batches:
        """Those of an epoch."""
        return Batches.of(self.count, self._batch_size, self._equal)

    def chunks(self, epoch: int, seed: int | None) -> Iterator[Chunk]:
        """As of `Source`."""
        order, rng = np.arange(len(self.X.sizes)), None
        if seed is not None:
            rng = np.random.default_rng([seed, epoch])
            rng.shuffle(order)
        buffer = Buffer(self._pieces(order), min(self._room, self.count))
        for number, size in enumerate(self._sizes()):
            yield Chunk(number, f" of chunk {number}", *buffer.take(size, rng))

    def _sizes(self) -> Iterator[int]:
        """How many samples each chunk has: whole batches, so that they are those of all samples."""
        batches, each = self.batches, self.rows_each // self._batch_size
        for first in range(0, batches.steps, each):
            yield batches.start(min(first + each, batches.steps)) - batches.start(first)

    def _pieces(self, order: Iterable[int]) -> Iterator[Piece]:
        """The samples of these blocks that are left, in their order."""
        for number in order:
            at = int(self._starts[number])
            for piece in self.X.pieces(number):
                rows = self._left(at, at + len(piece.X))
                at += len(piece.X)
                yield piece if rows is None else piece.take(rows)
            if at != self._starts[number + 1]:
                have = at - int(self._starts[number])
                raise ValueError(
                    f"{self.X.where(number)} has {have} rows, and had {self.X.sizes[number]} when it was opened; "
                    "expected data that stay as they are during a fit"
                )

    def _left(self, first: int, last: int) -> Array | None:
        """Which of the samples `first` to `last` are left; None for all."""
        if self._kept is None:
            return None
        start, stop = np.searchsorted(self._kept, [first, last])
        return self._kept[start:stop] - first

    def targets(self) -> Iterator[tuple[str, Any]]:
        """As of `Source`."""
        for number in range(len(self.X.sizes)):
            y, at = self.X.targets(number), int(self._starts[number])
            rows = self._left(at, at + len(y))
            yield f" of {self.X.where(number)}", y if rows is None else y[rows]

    def hold_out(self, part: float, seed: int | None, form: Form) -> tuple[tuple[Any, ...], str]:
        """As of `Source`; all samples are read for it, once."""
        rows_to_keep(self.count, part)
        classes = self.classes(form)
        sides = kept, held = held_out_rows(self.count, part, seed, classes)
        self._kept = held
        some = joined(list(self._pieces(range(len(self.X.sizes)))))
        self.count, self._kept = kept.size, kept
        return some[: 2 if some.sample_weight is None else 3], missing(classes, sides, seed)

    def read(self) -> Piece:
        """All samples."""
        return joined(list(self._pieces(range(len(self.X.sizes)))))


class Buffer:
    """The samples of pieces, of which `room` are in memory, to be taken in their order or at random.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.data.blocks import Buffer, Piece
    >>> def pieces():
    ...     for first in range(0, 8, 2):
    ...         yield Piece(np.arange(first, first + 2).reshape(2, 1), np.arange(first, first + 2), None)
    >>> buffer = Buffer(pieces(), room=4)
    >>> buffer.take(3, None).y, buffer.take(5, None).y
    (array([0, 1, 2]), array([3, 4, 5, 6, 7]))
    >>> buffer, rng = Buffer(pieces(), room=4), np.random.default_rng(0)
    >>> sorted([*buffer.take(3, rng).y.tolist(), *buffer.take(5, rng).y.tolist()])  # each once
    [0, 1, 2, 3, 4, 5, 6, 7]
    """

    def __init__(self, pieces: Iterator[Piece], room: int) -> None:
        self._pieces, self._room = pieces, room
        self._rest: Piece | None = None  # of a piece that did not fit
        self._places: Piece | None = None
        self._filled = 0

    def take(self, count: int, rng: np.random.Generator | None) -> Piece:
        """The next so many samples; with `rng` as many of those in the buffer."""
        if rng is None:
            return joined(list(self._next(count)))
        parts = []
        while count:
            self._fill()
            some = min(count, self._filled)
            parts.append(self._draw(some, rng))
            count -= some
        return joined(parts)

    def _next(self, count: int) -> Iterator[Piece]:
        """So many samples of the pieces, or all that are left."""
        while count:
            piece = self._rest or next(self._pieces, None)
            self._rest = None
            if piece is None:
                return
            if len(piece.X) > count:
                piece, self._rest = piece.take(slice(count)), piece.take(slice(count, None))
            count -= len(piece.X)
            yield piece

    def _fill(self) -> None:
        for piece in self._next(self._room - self._filled):
            places = self._places
            if places is None:  # the first says of what kind they are
                places = self._places = Piece(
                    *(None if part is None else np.empty((self._room, *part.shape[1:]), part.dtype) for part in piece)  # type: ignore[arg-type]
                )
            for place, part in zip(places, piece):
                if place is not None and part is not None:
                    place[self._filled : self._filled + len(part)] = part
            self._filled += len(piece.X)

    def _draw(self, count: int, rng: np.random.Generator) -> Piece:
        """So many samples of the buffer, at random; the last ones go where they were."""
        assert self._places is not None
        chosen = rng.choice(self._filled, count, replace=False)
        found = self._places.take(chosen)
        self._filled -= count
        stays = np.ones(count, bool)
        stays[chosen[chosen >= self._filled] - self._filled] = False
        holes, last = chosen[chosen < self._filled], np.flatnonzero(stays) + self._filled
        for place in self._places:
            if place is not None:
                place[holes] = place[last]
        return found


def joined(pieces: Sequence[Piece]) -> Piece:
    """The samples of pieces as one."""
    if len(pieces) == 1:
        return pieces[0]
    X, y, weights = zip(*pieces)
    return Piece(np.concatenate(X), np.concatenate(y), None if weights[0] is None else np.concatenate(weights))
