"""Where a stream of samples comes from: arrays outside memory, slice by slice, or the caller's chunks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from ..kernels.order import shuffle
from .batches import Batches
from .columns import real_array
from .form import Form
from .held_out import held_out_rows, missing, rows_to_keep, seed_of
from .rows import check_count, check_rows, sample_weights
from .tables import SomeRows, SparseRows, is_sparse

CHUNK_BYTES = 64 * 2**20  # of rows in the network's dtype; two such chunks are in memory at a time


class Chunk(NamedTuple):
    """Some samples, as the caller's data hold them."""

    number: int  # of the chunk in its source
    where: str  # completes a name: "X" + where is "X[0:1000]" or "X of chunk 3"
    X: Any
    y: Any
    sample_weight: Any


class Slices:
    """The chunks of arrays that can be sliced: `rows_each` samples each, the last one fewer.

    Parameters
    ----------
    X, y : array_like
        Of `shape`, and with rows under ``[start:stop]``.
    weights : ndarray (n,), optional
    batch_size : int
    rows_each : int
        A multiple of it, so that the batches are those of the whole.
    equal : bool
        Whether the batches are (see `Batches`).
    """

    lasting = True  # what a slice gave stays as it is when the next one is read

    def __init__(self, X: Any, y: Any, weights: Array | None, batch_size: int, rows_each: int, equal: bool) -> None:
        self.X, self.y, self.weights = X, y, weights
        self.count, self.rows_each = int(X.shape[0]), rows_each
        self._kept: Array | None = None  # the numbers of the samples that are left, if not all up to `count` are
        self._batch_size, self._equal, self._batches_each = batch_size, equal, rows_each // batch_size

    @property
    def batches(self) -> Batches:
        """Those of an epoch, of all chunks in their own order."""
        return Batches.of(self.count, self._batch_size, self._equal)

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.batches.steps

    @property
    def _chunk_count(self) -> int:
        return -(-self.steps // self._batches_each)

    def chunks(self, epoch: int, seed: int | None) -> Iterator[Chunk]:
        """All chunks, each read when it is asked for; `seed` sets their order in that epoch."""
        order = np.arange(self._chunk_count, dtype=np.int64)
        if seed is not None:
            shuffle(order.ctypes.data, order.size, seed_of(seed, -1), epoch)
        return map(self._chunk, order.tolist())

    def _bounds(self, number: int) -> tuple[int, int]:
        """Where a chunk begins and ends: it has as many batches as `rows_each` may hold."""
        batches, first = self.batches, number * self._batches_each
        return batches.start(first), batches.start(min(first + self._batches_each, batches.steps))

    def _chunk(self, number: int) -> Chunk:
        start, stop = self._bounds(number)
        if self._kept is not None:
            rows = self._kept[start:stop]
            weights = None if self.weights is None else self.weights[rows]
            return Chunk(number, "", SomeRows(self.X, rows), SomeRows(self.y, rows)[:], weights)
        weights = None if self.weights is None else self.weights[start:stop]
        return Chunk(number, f"[{start}:{stop}]", self.X[start:stop], self.y[start:stop], weights)

    def sample(self) -> Iterator[Chunk]:
        """The chunks from which to learn about all samples: all."""
        return self.chunks(0, None)

    def targets(self) -> Iterator[tuple[str, Any]]:
        """The targets of each chunk, and where they are."""
        for number in range(self._chunk_count):
            start, stop = self._bounds(number)
            y = self.y if self._kept is None else SomeRows(self.y, self._kept)
            yield f"[{start}:{stop}]", real_array(y[start:stop], f"y[{start}:{stop}]")

    def classes(self, form: Form) -> Array | None:
        """The class of each sample, or None where they have none; all targets are read and checked."""
        found = [form.classes_of(*form.row_targets(y, y.shape[0], f"y{where}"))[0] for where, y in self.targets()]
        some = [one for one in found if one is not None]
        return np.concatenate(some) if len(some) == len(found) else None

    def hold_out(self, part: float, seed: int | None, form: Form) -> tuple[tuple[Any, ...], str]:
        """Be without that part of the samples from now on (see `held_out_rows`).

        Returns them, and the classes that are missing in a part.
        """
        rows_to_keep(self.count, part)
        classes = self.classes(form)
        sides = kept, held = held_out_rows(self.count, part, seed, classes)
        X, y = SomeRows(self.X, held), SomeRows(self.y, held)[:]
        self.count, self._kept = kept.size, None if seed is None else kept
        return (X, y) if self.weights is None else (X, y, self.weights[held]), missing(classes, sides, seed)


class Given:
    """The chunks that an iterable gives, or what a function without arguments returns.

    Nobody knows how many there are before they have come, so `count`, `steps` and `rows_each` are 0.
    """

    lasting = False  # a generator may fill the same array again and again
    batches: Batches | None = None
    count = steps = rows_each = 0

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

    @staticmethod
    def _chunk(number: int, chunk: Any) -> Chunk:
        if not isinstance(chunk, (tuple, list)) or len(chunk) not in (2, 3):
            have = f"{len(chunk)} parts" if isinstance(chunk, (tuple, list)) else f"a {type(chunk).__name__}"
            raise TypeError(f"chunk {number} of X is {have}; expected (X, y) or (X, y, sample_weight)")
        return Chunk(number, f" of chunk {number}", *chunk, *[None] * (3 - len(chunk)))


def opened(
    X: Any, y: Any, sample_weight: Any, epochs: int, batch_size: int, equal: bool, form: Form
) -> tuple[Slices | Given | None, Any, Any]:
    """The source that X and y are, with `equal` batches or not, and X and y; without a source, they are in memory now.

    Arrays outside memory that fit into one chunk are read here, once.
    """
    if y is None and not hasattr(X, "shape"):
        return _given(X, sample_weight, epochs), X, y
    if y is None:
        raise ValueError("y is None; expected the targets of X (only an iterable of chunks (X, y) brings them along)")
    if callable(X) or isinstance(X, Iterator):
        kind = "function" if callable(X) else type(X).__name__
        raise ValueError(f"y is given but X is a {kind}, whose chunks (X, y) bring their targets; leave y out")
    if is_sparse(X):
        check_rows(tuple(X.shape), "X", form.ins)
        X = SparseRows(X, "X")
    if not outside_memory(X):
        return None, X, y
    check_rows(tuple(X.shape), "X", form.ins)
    y = y if outside_memory(y) else real_array(y, "y")
    check_count(tuple(y.shape), "y", X.shape[0])
    row_bytes = (form.ins + form.outs) * form.dtype.itemsize
    rows_each = batch_size * max(1, CHUNK_BYTES // (row_bytes * batch_size))
    if X.shape[0] <= rows_each:
        return None, X[:], y[:]
    weights = sample_weights(sample_weight, None, None, X.shape[0])
    return Slices(X, y, weights, batch_size, rows_each, equal), X, y


def _given(X: Any, sample_weight: Any, epochs: int) -> Given:
    if not callable(X) and not isinstance(X, Iterable):
        raise TypeError(f"X is {X!r} and y is None; expected arrays X and y, or an iterable of chunks (X, y)")
    if sample_weight is not None:
        raise ValueError("sample_weight is given but X is made of chunks; give (X, y, sample_weight) in each chunk")
    if isinstance(X, Iterator) and epochs > 1:
        raise ValueError(
            f"X is a {type(X).__name__}, which gives its chunks only once, but epochs is {epochs}; "
            "give a function that returns a new one for each epoch: fit(lambda: chunks(), epochs=...)"
        )
    return Given(X)


def outside_memory(array: Any) -> bool:
    """Whether it is a memmap, or something sliceable that is no array in memory (HDF5, zarr, dask)."""
    if isinstance(array, np.ndarray):
        return isinstance(array, np.memmap)
    in_memory = any(hasattr(array, name) for name in ("__array_interface__", "__dlpack__", "iloc"))
    return not in_memory and all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__"))
