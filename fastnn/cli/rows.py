"""The rows of a table that a training keeps in memory, in as few bytes as hold them exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Array
from ..room import available, no_room
from ..tabular.encoders import VECTOR
from .source import Source, polars
from .target import column_of, is_there

LESS = "a machine with more memory, or --sample-rows with fewer rows, or --drop with columns to leave out"


class Rows:
    """Rows with a target: all of them, or some at random.

    Texts are kept as categories and whole numbers in as many bytes as they need. While it reads, it looks whether the
    memory suffices for what training makes of the rows, 4 bytes for each input of the network.

    Parameters
    ----------
    target : str
    dropped : list of str
        Columns to leave out.
    most : int or None
        How many rows to keep; by default all.
    seed : int
        Of the choice.
    max_one_hot : int
        As for a `fastnn.tabular.Preprocessor`.

    Attributes
    ----------
    read, without_target : int
        How many rows there were, and how many of them without a target.
    """

    def __init__(self, target: str, dropped: list[str], most: int | None, seed: int, max_one_hot: int) -> None:
        self._target, self._dropped, self._most, self._max_one_hot = target, dropped, most, max_one_hot
        self._rng = np.random.default_rng(seed)
        self._frames: list[Any] = []
        self._keys: list[Array] = []  # a random number for each row: the rows of the smallest ones are kept
        self._labels: dict[str, set[Any]] = {}
        self.read = self.without_target = 0

    def of(self, source: Source) -> Any:
        """The rows of a table as a frame, in their order.

        Raises
        ------
        MemoryError
            If the memory does not suffice.
        """
        for frame in source.blocks():
            there = is_there(column_of(frame, self._target))
            self.read += frame.height
            frame = self._small(frame.drop(self._dropped).filter(there))
            self.without_target += int((~there).sum())
            self._frames.append(frame)
            if self._most is not None:
                self._keys.append(self._rng.random(frame.height))
                if sum(map(len, self._keys)) > 2 * self._most:
                    self._choose()
            self._see_room()
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
        return pl.DataFrame(made)

    def _together(self) -> Any:
        return polars().concat(self._frames, how="vertical_relaxed")

    def _choose(self) -> None:
        """Keep the rows of the smallest keys."""
        keys, frame = np.concatenate(self._keys), self._together()
        if self._most is not None and len(keys) > self._most:
            rows = np.sort(np.argpartition(keys, self._most)[: self._most])
            keys, frame = keys[rows], frame[rows]
        self._keys, self._frames = [keys], [frame]

    def _see_room(self) -> None:
        rows, width = sum(frame.height for frame in self._frames), 0
        for name, dtype in self._frames[-1].schema.items():
            labels = len(self._labels.get(name, ()))
            if name != self._target and labels > self._max_one_hot:
                width += VECTOR
            elif name != self._target:
                width += max(labels, 2 if dtype.is_numeric() else 1)
        needed = rows * (4 * width + 16)  # and a column as it is made
        if needed > available():
            raise no_room(needed, f"training on the first {self.read:,} rows", LESS)
