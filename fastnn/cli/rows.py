"""The rows of a table that a training keeps in memory, in as few bytes as hold them exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Array
from ..room import available, no_room
from ..tabular.encoders import VECTOR
from .report import rows_of
from .source import Source, polars
from .target import column_of, is_there

FEWEST = 10_000  # rows at random, which are still worth a model when all do not fit
LESS = "a machine with more memory, or --sample-rows with fewer rows, or --drop with columns to leave out"


class Rows:
    """Rows with a target: all of them, or some at random.

    Texts are kept as categories and whole numbers in as many bytes as they need. While it reads, it looks whether the
    memory suffices for what training makes of the rows, 4 bytes for each input of the network. Where it does not, and
    nobody said how many to keep, it keeps as many at random as need half of what is free then.

    Parameters
    ----------
    target : str
    dropped : list of str
        Columns to leave out.
    most : int or None
        How many rows to keep; by default all for which there is room.
    seed : int
        Of the choice.
    max_one_hot : int
        As for a `fastnn.tabular.Preprocessor`.

    Attributes
    ----------
    read, without_target : int
        How many rows there were, and how many of them without a target.
    crowded : bool
        Whether the memory has room for some of the rows only.
    """

    def __init__(self, target: str, dropped: list[str], most: int | None, seed: int, max_one_hot: int) -> None:
        self._target, self._dropped, self._most, self._max_one_hot = target, dropped, most, max_one_hot
        self._rng = np.random.default_rng(seed)
        self._frames: list[Any] = []
        self._keys: list[Array] = []  # a random number for each row: the rows of the smallest ones are kept
        self._labels: dict[str, set[Any]] = {}
        self.read = self.without_target = 0
        self.crowded = False

    def of(self, source: Source) -> Any:
        """The rows of a table as a frame, in their order.

        Raises
        ------
        MemoryError
            If the memory does not suffice, not even for `FEWEST` rows where nobody said how many.
        """
        for frame in source.blocks():
            there = is_there(column_of(frame, self._target))
            frame = frame.drop(self._dropped)
            source.check_finite(frame, self.read, there)
            self.read += frame.height
            frame = self._small(frame.filter(there))
            self.without_target += int((~there).sum())
            self._frames.append(frame)
            self._keys.append(self._rng.random(frame.height))
            if self._most is not None and sum(map(len, self._keys)) > 2 * self._most:
                self._choose()
            self._make_room()
        if self._most is not None:
            self._choose()
        return self._together()

    def _small(self, frame: Any) -> Any:
        """The same values in fewer bytes."""
        pl, made = polars(), []
        for series in frame:
            if series.dtype == pl.Int64:
                series = series.shrink_dtype()
            elif series.dtype == pl.String and series.name != self._target:
                series = series.cast(pl.Categorical)
                labels = self._labels.setdefault(series.name, set())
                if len(labels) <= self._max_one_hot:
                    labels.update(series.unique().to_list())
            made.append(series)
        return pl.DataFrame(dict(zip(frame.columns, made)))  # of a list it would rename a column without a name

    def _together(self) -> Any:
        return polars().concat(self._frames, how="vertical_relaxed")

    def _choose(self) -> None:
        """Keep the rows of the smallest keys."""
        keys, frame = np.concatenate(self._keys), self._together()
        if self._most is not None and len(keys) > self._most:
            rows = np.sort(np.argpartition(keys, self._most)[: self._most])
            keys, frame = keys[rows], frame[rows]
        self._keys, self._frames = [keys], [frame]

    def _make_room(self) -> None:
        """See that training on these rows does not need more than is free: keep fewer, or raise."""
        rows, width = sum(map(len, self._keys)), 0
        for name, dtype in self._frames[-1].schema.items():
            labels = len(self._labels.get(name, ()))
            if name != self._target and labels > self._max_one_hot:
                width += VECTOR
            elif name != self._target:
                width += max(labels, 2 if dtype.is_numeric() else 1)
        each, free = 4 * width + 16, available()  # and a column as it is made
        needed = each * (rows if self._most is None else min(rows, self._most))
        if needed <= free:
            return
        fitting = int(free / (2 * each))
        if fitting < FEWEST or (self._most is not None and not self.crowded):  # the number of rows was said
            raise no_room(needed, f"training on the first {rows_of(self.read)}", LESS)
        self.crowded, self._most = True, fitting
        self._choose()
