"""Parquet: tables in files, read row group by row group."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array, shown
from ..extras import needs
from .blocks import Piece

PIECE_BYTES = 4 * 2**20  # of a row group that are made arrays at a time
NARROW = (np.float32, np.float16, np.bool_, np.int8, np.uint8, np.int16, np.uint16)  # what float32 holds exactly


class File(NamedTuple):
    """A file of a data set.

    Attributes
    ----------
    label : str
        Its path.
    source
        What `pyarrow.parquet.ParquetFile` opens, or one that is open.
    filesystem
        Of pyarrow; None for the local one.
    constants : dict
        The columns that folders say, such as ``year=2024``.
    """

    label: str
    source: Any
    filesystem: Any
    constants: dict[str, Any]

    def open(self) -> Any:
        """The open file; an OSError if it is none of Parquet, or gone."""
        if not isinstance(self.source, (str, os.PathLike)):
            return self.source
        parquet: Any = needs("pyarrow.parquet", "fastnn.parquet", "pyarrow")
        try:
            return parquet.ParquetFile(self.source, filesystem=self.filesystem)
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no file {self.label!r}") from None
        except Exception as error:
            raise OSError(f"{self.label!r} cannot be read as Parquet: {error}") from error


class ParquetTable:
    """Parquet files as samples: see `parquet`, which makes it. A `Table` of their row groups.

    Attributes
    ----------
    names : tuple of str
        The columns that are inputs.
    target, sample_weight : list of str, str or None
        Those that are targets, and weights.
    sizes : list of int
        The rows of each row group that has some.
    """

    def __init__(
        self, files: Sequence[File], target: str | Sequence[str] | None, columns: Any, sample_weight: str | None
    ) -> None:
        self.files, self.sample_weight = list(files), _name(sample_weight, "sample_weight")
        self._single = target is None or isinstance(target, str)
        self.target = [] if target is None else _names(target, "target")
        others = {*self.target, *([] if self.sample_weight is None else [self.sample_weight])}
        self.sizes: list[int] = []
        self._groups: list[tuple[File, int]] = []
        self._kinds: dict[str, set[type]] = {}
        wanted = [] if columns is None else _names(columns, "columns")
        if both := [name for name in wanted if name in others]:
            raise ValueError(f"columns holds {both[0]!r}, which is target or sample_weight; expected inputs alone")
        for file in self.files:
            opened = file.open()
            kinds = {**{f.name: f.type for f in opened.schema_arrow}, **file.constants}
            if columns is None:
                index = _index_names(opened.schema_arrow)
                inputs = [name for name in kinds if name not in others and name not in index]
                wanted = inputs if file is self.files[0] else wanted
                if more := [name for name in inputs if name not in wanted]:
                    raise ValueError(
                        f"{file.label!r} has the column {more[0]!r}, which {self.files[0].label!r} has not; expected "
                        "the same in all files: name those to use, parquet(..., columns=[...])"
                    )
            stored = opened.schema_arrow.names
            if twice := [name for name in (*wanted, *others) if stored.count(name) > 1]:
                raise ValueError(
                    f"{file.label!r} has the column {twice[0]!r} {stored.count(twice[0])} times; expected one of that "
                    "name: write the table anew with other names"
                )
            for role, names in (
                ("target", self.target), ("sample_weight", sorted(others - set(self.target))), ("columns", wanted)
            ):  # fmt: skip
                self._check(file, role, names, kinds)
            for group in range(opened.num_row_groups):
                if rows := opened.metadata.row_group(group).num_rows:  # of no rows nothing is read
                    self.sizes.append(rows)
                    self._groups.append((file, group))
        self.names = tuple(wanted)
        if not self.names:
            raise ValueError(f"{self} has no columns for inputs; expected some beside target and sample_weight")
        if not sum(self.sizes):
            raise ValueError(f"{self} has no rows; expected at least one")
        self._narrow = all(kind in NARROW for name in self.names for kind in self._kinds[name])
        # one for all files: those of the first may hold integers, and the next not
        self._target_dtype = np.result_type(*(kind for name in self.target for kind in self._kinds[name]), np.bool_)

    def __repr__(self) -> str:
        more = f" and {len(self.files) - 1} more files" if len(self.files) > 1 else ""
        return f"parquet({self.files[0].label!r}{more})" if self.files else "parquet of no files"

    def pieces(self, number: int) -> Iterator[Piece]:
        """As of `Table`; without a target the y of a piece is empty."""
        width = len(self.names)
        for batch in self._batches(number, [*self.names, *self.target, *filter(None, [self.sample_weight])]):
            X = np.empty((batch.rows, width), np.float32 if self._narrow else np.float64)
            for j, name in enumerate(self.names):
                X[:, j] = batch.column(name)
            weight = None if self.sample_weight is None else batch.column(self.sample_weight).astype(np.float64)
            yield Piece(X, self._targets(batch), weight)

    def targets(self, number: int) -> Array:
        """As of `Table`."""
        return np.concatenate([self._targets(batch) for batch in self._batches(number, self.target)])

    def where(self, number: int) -> str:
        """As of `Table`."""
        file, group = self._groups[number]
        return f"row group {group} of {file.label!r}"

    def _targets(self, batch: _Batch) -> Array:
        if not self.target:
            return np.empty(batch.rows)
        found = [batch.column(name).astype(self._target_dtype, copy=False) for name in self.target]
        return found[0] if self._single else np.stack(found, axis=1)

    def _batches(self, number: int, names: Sequence[str]) -> Iterator[_Batch]:
        (file, group), rows = self._groups[number], max(1, PIECE_BYTES // (8 * len(names)))
        where, opened = self.where(number), file.open()
        if group >= opened.num_row_groups or opened.metadata.row_group(group).num_rows != self.sizes[number]:
            raise ValueError(
                f"{file.label!r} has changed since it was opened; expected files that stay as they are during a fit"
            )
        stored = [name for name in names if name not in file.constants]
        batches = opened.iter_batches(batch_size=rows, row_groups=[group], columns=stored)
        while True:
            try:
                batch = next(batches, None)
            except Exception as error:
                raise OSError(f"{where} cannot be read: {error}") from error
            if batch is None:
                return
            yield _Batch(batch, file.constants, where)

    def _check(self, file: File, role: str, names: Iterable[str], kinds: dict[str, Any]) -> None:
        """See that a file has these columns, of numbers, and note of what kind they are."""
        types = needs("pyarrow", "fastnn.parquet", "pyarrow").types
        for name in names:
            if name not in kinds:
                known = ", ".join(map(repr, list(kinds)[:20]))
                raise ValueError(f"{role}: there is no column {name!r} in {file.label!r}; it has {known}")
            kind, dtype = kinds[name], None
            if name in file.constants:
                said = f"{kind!r} by the name of its folder"
                if isinstance(kind, (bool, int, float)):
                    dtype = np.asarray(kind).dtype
            else:
                said = f"of type {kind!s}"
                if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
                    dtype = np.dtype(kind.to_pandas_dtype())
                elif types.is_decimal(kind):
                    dtype = np.dtype(np.float64)
            if dtype is not None:
                self._kinds.setdefault(name, set()).add(dtype.type)
                continue
            cure = f"leave it out, parquet(..., columns=[...]), or write numbers in its place; {_TABULAR}"
            if role == "target":
                cure = f"write the number of each class in its place; {_TABULAR}"
            raise TypeError(f"column {name!r} of {file.label!r} is {said}; expected numbers: {cure}")


_TABULAR = "TabularClassifier and TabularRegressor take tables in memory as they are"


class _Batch:
    """Some rows of a row group."""

    def __init__(self, batch: Any, constants: dict[str, Any], where: str) -> None:
        self._batch, self._constants, self._where, self.rows = batch, constants, where, batch.num_rows

    def column(self, name: str) -> Array:
        """The numbers of a column, or a ValueError if one is missing or not finite."""
        if name in self._constants:
            return np.full(self.rows, self._constants[name])
        column = self._batch.column(self._batch.schema.get_field_index(name))
        if column.null_count:
            raise ValueError(
                f"column {name!r} has {column.null_count} missing values in {self._where}; expected numbers: fill them "
                "in the file, or leave those rows out"
            )
        pyarrow = needs("pyarrow", "fastnn.parquet", "pyarrow")
        if pyarrow.types.is_decimal(column.type):
            column = column.cast(pyarrow.float64())
        array: Array = column.to_numpy(zero_copy_only=False)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            value = array[~np.isfinite(array)][0]
            raise ValueError(
                f"column {name!r} holds {value} in {self._where}; expected finite numbers: fill them in the file, or "
                "leave those rows out"
            )
        return array


def parquet(
    source: Any, target: str | Sequence[str] | None = None, *, columns: Sequence[str] | None = None,
    sample_weight: str | None = None,
) -> ParquetTable:  # fmt: skip
    """Samples in Parquet files, larger than memory or not, for `fit`, `predict` and `evaluate` in the place of X and y.

    Row groups are read one after another while the network trains, and mixed in a buffer; see `NeuralNetwork.fit`.

    Parameters
    ----------
    source : path, list of paths, pyarrow.dataset.Dataset or pyarrow.parquet.ParquetFile
        A file, or a folder of files, with those in folders like ``year=2024`` in it, which are a column then.
    target : str or list of str, optional
        The column of the targets, or several for several outputs. `predict` needs none.
    columns : list of str, optional
        The inputs, in their order; by default all others, but not the index of a pandas frame that was written with
        it. They are the `feature_names` of the network.
    sample_weight : str, optional
        A column of weights.

    Returns
    -------
    ParquetTable

    Raises
    ------
    ImportError
        Without pyarrow: ``pip install "fastnn[parquet]"``.
    ValueError, TypeError
        If a column is missing in a file, or is none of numbers; the message names both. Missing values are an error
        of the fit, when it comes to them.
    OSError
        If a file is not there, or is none of Parquet.

    Examples
    --------
    >>> import fastnn, tempfile, numpy as np
    >>> import pyarrow as pa, pyarrow.parquet as pq
    >>> folder, rng = tempfile.mkdtemp(), np.random.default_rng(0)
    >>> for day in range(3):
    ...     size, age = rng.normal(size=(2, 500))
    ...     table = pa.table({"size": size, "age": age, "price": 2 * size - age})
    ...     pq.write_table(table, f"{folder}/day-{day}.parquet")
    >>> houses = fastnn.parquet(folder, target="price")
    >>> net = fastnn.mlp([2, 16, 1], "relu", seed=0)
    >>> history = net.fit(houses, epochs=10, batch_size=32, seed=0)
    >>> net.evaluate(houses, metrics="r2")["r2"] > 0.95
    True
    >>> net.feature_names
    ('size', 'age')
    """
    needs("pyarrow.parquet", "fastnn.parquet", "pyarrow")
    return ParquetTable(_files(source), target, columns, sample_weight)


def _files(source: Any) -> list[File]:
    parquet, dataset = (needs(f"pyarrow.{name}", "fastnn.parquet", "pyarrow") for name in ("parquet", "dataset"))
    if isinstance(source, parquet.ParquetFile):
        return [File("the ParquetFile", source, None, {})]
    if isinstance(source, (str, os.PathLike)) and "://" not in str(source):
        if not os.path.exists(source):
            raise FileNotFoundError(f"source is {os.fspath(source)!r}; expected a Parquet file or a folder of them")
        source = os.fspath(source)
    elif isinstance(source, (list, tuple)) and all(isinstance(one, (str, os.PathLike)) for one in source):
        source = [os.fspath(one) for one in source]
        for one in source:
            if not os.path.exists(one):
                raise FileNotFoundError(f"source holds {one!r}; expected Parquet files")
    elif not isinstance(source, (str, dataset.Dataset)):
        raise TypeError(
            f"source is {shown(source)}; expected the path of a Parquet file or folder, a list of paths, a "
            "pyarrow.dataset.Dataset, or a pyarrow.parquet.ParquetFile"
        )
    if not isinstance(source, dataset.Dataset):
        try:
            source = dataset.dataset(source, format="parquet", partitioning="hive", exclude_invalid_files=False)
        except needs("pyarrow", "fastnn.parquet", "pyarrow").ArrowException as error:
            raise OSError(f"source is {shown(source)}, which cannot be read as Parquet: {error}") from error
    if not isinstance(source, dataset.FileSystemDataset) or source.format.default_extname != "parquet":
        raise TypeError(f"source is a {type(source).__name__}; expected a data set of Parquet files")
    if getattr(source, "_scan_options", None):
        raise ValueError("source is a data set with a filter; expected all of its rows: write those that you want")
    files = [
        File(one.path, one.path, one.filesystem, dataset.get_partition_keys(one.partition_expression))
        for one in source.get_fragments()
    ]
    if not files:
        raise ValueError("source has no Parquet files; expected at least one")
    return files


def _index_names(schema: Any) -> set[str]:
    """The columns that pandas made of a frame's index, which are none of the frame's."""
    # an index that is a range is a dict there, and no column
    return {name for name in (schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(name, str)}


def _names(names: Any, name: str) -> list[str]:
    some = [names] if isinstance(names, str) else list(names) if isinstance(names, (list, tuple)) else [None]
    if not all(isinstance(one, str) for one in some):
        raise TypeError(f"{name} is {shown(names)}; expected the name of a column, or a list of names")
    if len(set(some)) < len(some):
        raise ValueError(f"{name} holds a column twice: {some}")
    return some  # type: ignore[return-value]


def _name(value: Any, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)}; expected the name of a column")
    return value
