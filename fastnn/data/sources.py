"""Where a stream of samples comes from: arrays outside memory, slice by slice, or the caller's chunks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array, shown
from ..kernels.order import shuffle
from .batches import Batches
from .blocks import Blocks, Table
from .columns import real_array
from .form import Form
from .held_out import held_out_rows, missing, rows_to_keep, seed_of
from .loader import Given, is_loader, loader
from .parquet import ParquetTable
from .rows import check_count, check_rows, sample_weights
from .source import Chunk, Source
from .stored import StoredArrays, stored_rows
from .tables import Names, SomeRows, SparseRows, check_names, column_names, flat, is_sparse, outside_memory

CHUNK_BYTES = 64 * 2**20  # of rows in the network's dtype; two such chunks are in memory at a time


class Slices(Source):
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

    def targets(self) -> Iterator[tuple[str, Any]]:
        """The targets of each chunk, and where they are."""
        for number in range(self._chunk_count):
            start, stop = self._bounds(number)
            y = self.y if self._kept is None else SomeRows(self.y, self._kept)
            yield f"[{start}:{stop}]", real_array(y[start:stop], f"y[{start}:{stop}]")

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


class Opened(NamedTuple):
    """What X and y turned out to be: a source, or arrays in memory."""

    source: Source | None
    X: Any
    y: Any
    sample_weight: Any


def opened(X: Any, y: Any, sample_weight: Any, epochs: int, batch_size: int, equal: bool, form: Form) -> Opened:
    """The source that X and y are, with `equal` batches or not; without a source, they are in memory now.

    What is outside memory and fits into one chunk is read here, once.
    """
    _check_kind(X, y)
    if isinstance(X, ParquetTable):
        return _table(X, sample_weight, batch_size, equal, form)
    if y is None and not hasattr(X, "shape"):
        return Opened(_given(X, sample_weight, epochs, batch_size), X, y, None)
    if y is None:
        raise ValueError("y is None; expected the targets of X (only an iterable of chunks (X, y) brings them along)")
    if is_sparse(X):
        check_rows(tuple(X.shape), "X", form.ins)
        X = SparseRows(X, "X")
    if not outside_memory(X):
        return Opened(None, X, y, sample_weight)
    X = _rows_outside(X, form)
    y = y if outside_memory(y) else real_array(y, "y")
    check_count(tuple(y.shape), "y", X.shape[0])
    rows_each = _rows_each(form, batch_size, CHUNK_BYTES)
    if X.shape[0] <= rows_each:
        return Opened(None, X[:], y[:], sample_weight)
    weights = sample_weights(sample_weight, None, None, X.shape[0])
    if stored_rows(X):
        return Opened(_blocks(StoredArrays(X, y, weights), batch_size, equal, form), X, y, weights)
    return Opened(Slices(X, y, weights, batch_size, rows_each, equal), X, y, weights)


def gathered(X: Any, y: Any, sample_weight: Any, form: Form, name: str = "X") -> tuple[Any, Any, Any]:
    """X, y and the weights in memory: what brings its targets along is read to its end."""
    if not brings_targets(X):
        return X, y, sample_weight
    _check_kind(X, y)
    if isinstance(X, ParquetTable):
        return _table(X, sample_weight, 1, True, form, read=True)[1:]
    chunks = list(_given(X, sample_weight, 1, 32).chunks(0, None))
    if not chunks:
        raise ValueError(f"{name} gave no chunks; expected at least one")
    rows, targets = [], []
    for one in chunks:
        form = form.named(column_names(one.X), f"X{one.where}")
        rows.append(form.rows(one.X, f"X{one.where}"))
        targets.append(real_array(one.y, f"y{one.where}"))
    weights = None
    if any(one.sample_weight is not None for one in chunks):  # of a chunk without them each counts once, as in a fit
        weights = np.concatenate(
            [
                np.ones(len(some)) if one.sample_weight is None else real_array(one.sample_weight, "sample_weight")
                for some, one in zip(rows, chunks)
            ]
        )
    return np.concatenate(rows), np.concatenate(targets), weights


def brings_targets(X: Any) -> bool:
    """Whether it is a data set with its targets in it: a `ParquetTable`, or a DataLoader of PyTorch."""
    return isinstance(X, ParquetTable) or is_loader(X)


def check_in_memory(X: Any, whose: str, name: str = "X") -> None:
    """See that X is no source that is read part by part, for those who learn from arrays alone.

    Raises
    ------
    TypeError
        If it is one; it says what `whose` door takes instead.
    """
    _check_no_group(X, name)
    kind = f"a {type(X).__name__}"
    if isinstance(X, ParquetTable):
        kind, how = str(X), f"frame = pandas.read_parquet({X.files[0].label!r})"
    elif isinstance(X, (str, bytes, os.PathLike)):
        raise TypeError(
            f"{name} is {shown(X)}; {whose} takes tables in memory: expected what reads the file, such as "
            "pandas.read_csv(...) or pandas.read_parquet(...)"
        )
    elif callable(X) and not hasattr(X, "shape"):
        kind, how = f"the function {getattr(X, '__name__', kind)}", "X, y = map(numpy.concatenate, zip(*X()))"
    elif is_loader(X) or _is_read_once(X):
        how = "X, y = map(numpy.concatenate, zip(*X))"
    else:
        return
    raise TypeError(
        f"{name} is {kind}, which is read part by part; {whose} takes rows X and targets y in memory: expected these, "
        f"as of {how}, or the fit of a NeuralNetwork, which takes it as it is"
    )


def _is_read_once(X: Any) -> bool:
    """Whether it gives parts one after another, and is no sequence or table."""
    return isinstance(X, Iterable) and not any(hasattr(X, name) for name in ("__len__", "shape", "__array__"))


def input_names(X: Any) -> Names:
    """The names of the inputs, where X has some."""
    return X.names if isinstance(X, ParquetTable) else column_names(X)


def row_parts(X: Any, form: Form) -> tuple[int, Iterator[tuple[str, Any]]] | None:
    """The number of the rows of X, and the rows, some at a time, with where they are; None if X is in memory."""
    if isinstance(X, ParquetTable):
        _check_inputs(X, form)
        numbers = range(len(X.sizes))
        return sum(X.sizes), ((f" of {X.where(k)}", piece.X) for k in numbers for piece in X.pieces(k))
    _check_kind(X, None)
    if is_loader(X):
        raise TypeError(
            "X is a DataLoader, which brings targets along and may mix its rows; expected rows, as of one batch: "
            "np.concatenate([net.predict(X) for X, y in loader])"
        )
    sparse = is_sparse(X)
    if not sparse and not outside_memory(X):
        return None
    if sparse:
        check_rows(tuple(X.shape), "X", form.ins)
    rows = SparseRows(X, "X") if sparse else _rows_outside(X, form)
    each = max(1, CHUNK_BYTES // (form.ins * form.dtype.itemsize))
    return X.shape[0], ((f"[{first}:]", rows[first : first + each]) for first in range(0, X.shape[0], each))


def _rows_outside(X: Any, form: Form) -> Any:
    """An array outside memory with rows of one dimension, checked by what it says of itself."""
    if np.dtype(X.dtype).kind == "V":  # records, whose columns are in no shape
        real_array(np.empty(0, X.dtype), "X")
    X = flat(X)
    check_rows(tuple(X.shape), "X", form.ins)
    return X


def _rows_each(form: Form, batch_size: int, room: int) -> int:
    """The rows of a chunk of so many bytes, in whole batches."""
    row_bytes = (form.ins + form.outs) * form.dtype.itemsize
    return batch_size * max(1, room // (row_bytes * batch_size))


def _blocks(table: Table, batch_size: int, equal: bool, form: Form) -> Blocks:
    room = max(1, 2 * CHUNK_BYTES // (8 * (form.ins + form.outs)))
    return Blocks(table, batch_size, _rows_each(form, batch_size, CHUNK_BYTES // 4), room, equal)


def _table(
    X: ParquetTable, sample_weight: Any, batch_size: int, equal: bool, form: Form, *, read: bool = False
) -> Opened:
    """What a table is: a source, or if it fits into a chunk, or is to be `read`, arrays."""
    if not X.target:
        raise ValueError(f"X is {X} without a target; expected parquet(..., target='a column')")
    if sample_weight is not None:
        raise ValueError(f"sample_weight is given but X is {X}; expected parquet(..., sample_weight='a column')")
    _check_inputs(X, form)
    source = _blocks(X, batch_size, equal, form)
    if read or source.count <= _rows_each(form, batch_size, CHUNK_BYTES):
        return Opened(None, *source.read())
    return Opened(source, X, None, None)


def _check_inputs(X: ParquetTable, form: Form) -> None:
    check_names(X.names, form.names, "X")
    if len(X.names) != form.ins:
        names = ", ".join(map(repr, X.names[:20]))
        raise ValueError(
            f"X is {X} with {len(X.names)} columns for inputs ({names}) but the first layer takes {form.ins}; expected "
            "parquet(..., columns=[...]) with as many names"
        )


def _given(X: Any, sample_weight: Any, epochs: int, batch_size: int) -> Given:
    if not callable(X) and not isinstance(X, Iterable):
        raise TypeError(f"X is {X!r} and y is None; expected arrays X and y, or an iterable of chunks (X, y)")
    if sample_weight is not None:
        raise ValueError("sample_weight is given but X is made of chunks; give (X, y, sample_weight) in each chunk")
    if isinstance(X, Iterator) and epochs > 1:
        raise ValueError(
            f"X is a {type(X).__name__}, which gives its chunks only once, but epochs is {epochs}; "
            "give a function that returns a new one for each epoch: fit(lambda: chunks(), epochs=...)"
        )
    return loader(X, batch_size) if is_loader(X) else Given(X)


def _check_kind(X: Any, y: Any) -> None:
    """Say what to do with things that look like data and are none."""
    kind = type(X).__name__
    if y is not None and (callable(X) or isinstance(X, Iterator) or brings_targets(X)):
        kind = "function" if callable(X) and not brings_targets(X) else kind
        whose = "chunks (X, y) bring their" if not isinstance(X, ParquetTable) else "column is its"
        raise ValueError(f"y is given but X is a {kind}, whose {whose} targets; leave y out")
    if isinstance(X, (str, bytes, os.PathLike)):
        raise TypeError(
            f"X is {X!r}; expected arrays, or what reads the file: fastnn.parquet({X!r}, target='a column'), a dataset "
            "of h5py.File(...), an array of zarr.open(...), numpy.load(..., mmap_mode='r')"
        )
    package = type(X).__module__.partition(".")[0]
    if package == "pyarrow" and not hasattr(X, "shape"):
        raise TypeError(f"X is a {kind} of pyarrow; expected fastnn.parquet(X, target='a column')")
    for name, some in (("X", X), ("y", y)):
        _check_no_group(some, name)


def _check_no_group(some: Any, name: str) -> None:
    """Say which arrays there are in a file, a group or a dict; and what is wrong with a dataset that is none."""
    if type(some).__module__.startswith("h5py"):
        if not some:
            raise ValueError(f"{name} is of a closed HDF5 file; expected one that is open until the fit is over")
        if getattr(some, "shape", ()) is None:
            raise ValueError(f"{name} is a dataset of HDF5 without a shape; expected numbers in it")
    if hasattr(some, "keys") and not hasattr(some, "shape"):
        keys = list(some.keys())
        raise TypeError(
            f"{name} is a {type(some).__name__} of {', '.join(map(shown, keys[:8])) or 'nothing'}; expected one of "
            f"its arrays{f', such as {name}[{shown(keys[0])}]' if keys else ''}"
        )
