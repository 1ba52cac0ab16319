"""What else than arrays holds numbers: data frames, sparse matrices, masked arrays, arrays of objects.

Nothing is imported for it: an object of pandas, polars or SciPy says by its attributes what it is.
"""

from __future__ import annotations

import contextlib
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..checks import Array, shown

Names = tuple[str, ...] | None

REAL = "fiub"  # the kinds of dtypes that are real numbers
READ_NUMBERS = 2**22  # of what is outside memory, that are read at a time to take some rows of them


def column_names(values: Any) -> Names:
    """The names of the columns of a data frame; None of anything else, and where not all are strings."""
    if isinstance(values, (np.ndarray, list, tuple)) or not _is_frame(values):
        return None
    names = tuple(values.columns)
    return names if all(isinstance(name, str) for name in names) else None


def index_names(values: Any) -> Names:
    """The names of the rows of a frame of pandas, which the article's door takes for inputs; None of anything else."""
    if isinstance(values, (np.ndarray, list, tuple)) or not hasattr(values, "iloc"):
        return None
    names = tuple(values.index)
    return names if all(isinstance(name, str) for name in names) else None


def check_names(found: Names, wanted: Names, name: str, what: str = "columns") -> None:
    """See that inputs with names, if they have any, are those of the first fit, in the same order."""
    if found is None or wanted is None or found == wanted:
        return
    missing = [one for one in wanted if one not in found]
    unexpected = [one for one in found if one not in wanted]
    fix = f"{name}[list(net.feature_names)]" if what == "columns" else f"{name}.loc[list(net.feature_names)]"
    if missing or unexpected:
        parts = [f"lacks {_listed(missing)}"] * bool(missing) + [f"has {_listed(unexpected)} besides"] * bool(
            unexpected
        )
        hint = "" if missing else f"; take {fix}"
    else:
        parts = [f"has the {what} {_listed(found)} in another order than in the first fit"]
        hint = f"; take {fix}"
    raise ValueError(f"{name} {' and '.join(parts)}; expected the {what} {_listed(wanted)}{hint}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(map(repr, names[:8])) + more


def checked_names(names: Any, count: int) -> Names:
    """The names of `count` inputs as a tuple, or None, or an error."""
    if names is None:
        return None
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise TypeError(f"feature_names is {shown(names)}; expected {count} strings, or None")
    made = tuple(names)
    for one in made:
        if not isinstance(one, str):
            raise TypeError(f"feature_names holds {shown(one)}; expected strings")
    if len(made) != count:
        raise ValueError(f"feature_names holds {len(made)} names; expected {count}, one for each input")
    return tuple(map(str, made))


def _is_frame(values: Any) -> bool:
    return hasattr(values, "columns") and (hasattr(values, "iloc") or hasattr(values, "get_columns"))


def is_sparse(values: Any) -> bool:
    """Whether it is a sparse matrix or array of SciPy, of any format."""
    return hasattr(values, "tocsr") and hasattr(values, "nnz") and hasattr(values, "shape")


class SparseRows:
    """The rows of a sparse matrix as dense arrays, some at a time: what fastnn reads chunk by chunk.

    Parameters
    ----------
    matrix
        Sparse, of two dimensions; a format other than CSR is converted to it.
    name : str
        What errors call it.
    """

    def __init__(self, matrix: Any, name: str) -> None:
        self.dtype, self.shape = np.dtype(matrix.dtype), tuple(matrix.shape)
        if self.dtype.kind not in REAL:
            raise TypeError(f"{name} has dtype {self.dtype}; expected real numbers (float, int or bool)")
        self._matrix = matrix.tocsr()

    def __getitem__(self, rows: slice | Array) -> Array:
        return np.asarray(self._matrix[rows].toarray())


def outside_memory(array: Any) -> bool:
    """Whether it is a memmap, or something sliceable that is no array in memory (HDF5, zarr, dask)."""
    if isinstance(array, np.ndarray):
        return isinstance(array, np.memmap)
    in_memory = any(hasattr(array, name) for name in ("__array_interface__", "__dlpack__", "iloc"))
    return not in_memory and all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__"))


class FlatRows:
    """The rows of an array outside memory, each flattened, such as an image.

    Parameters
    ----------
    table
        Of three dimensions or more, with ``shape``, ``dtype`` and ``[start:stop]``; where it lies in chunks, with
        ``chunks`` or ``shards``, of which the rows count.
    """

    def __init__(self, table: Any) -> None:
        self.table, self.dtype = table, np.dtype(table.dtype)
        self.shape = (table.shape[0], math.prod(table.shape[1:]))
        self.shards, self.chunks = (getattr(table, name, None) for name in ("shards", "chunks"))

    def __getitem__(self, rows: slice) -> Array:
        found = np.asarray(self.table[rows])
        return found.reshape(len(found), self.shape[1])


def flat(array: Any) -> Any:
    """An array outside memory with rows of one dimension."""
    return FlatRows(array) if len(array.shape) > 2 else array


class SomeRows:
    """Some rows of a table as arrays, some at a time: nothing is copied before it is asked for.

    Parameters
    ----------
    table : ndarray, SparseRows, or what gives its rows for ``table[start:stop]``
    rows : ndarray of int
        Their numbers, in ascending order.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.data.tables import SomeRows
    >>> SomeRows(np.arange(12).reshape(6, 2), np.array([0, 3, 5]))[1:]
    array([[ 6,  7],
           [10, 11]])
    """

    def __init__(self, table: Any, rows: Array) -> None:
        self.dtype, self.shape = np.dtype(table.dtype), (rows.size, *table.shape[1:])
        self.table, self.rows = table, rows

    def __getitem__(self, which: slice | Array) -> Array:
        rows, table = self.rows[which], self.table
        if isinstance(table, (np.ndarray, SparseRows)):
            return np.asarray(table[rows])
        found, done = np.empty((rows.size, *self.shape[1:]), self.dtype), 0
        most = max(1, READ_NUMBERS // max(1, math.prod(self.shape[1:])))
        while done < rows.size:
            first = int(rows[done])
            stop = int(np.searchsorted(rows, first + most))
            found[done:stop] = np.asarray(table[first : int(rows[stop - 1]) + 1])[rows[done:stop] - first]
            done = stop
        return found


def real_table(values: Any, name: str) -> Array | None:
    """The array of a data frame, a masked array or an array of objects; None if `values` is none of them.

    Raises
    ------
    ValueError, TypeError
        If a number is missing, or something is no number; the error names the column.
    """
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            place = tuple(int(i[0]) for i in np.nonzero(np.ma.getmaskarray(values)))
            raise ValueError(
                f"{name} is a masked array with masked entries, the first at {list(place)}; expected numbers: fill "
                f"them, {name}.filled(0.0), or leave those samples out"
            )
        return real_array_of(values.data, name)
    if is_sparse(values):
        raise TypeError(
            f"{name} is a sparse {type(values).__name__}, which only X of fit, predict and evaluate may be; "
            f"expected an array: {name}.toarray()"
        )
    if _is_frame(values):
        if hasattr(values, "iloc"):
            array = np.asarray(values)
            if array.dtype.kind in REAL and array.ndim == 2:
                return array
            columns = [values.iloc[:, j] for j in range(values.shape[1])]
        else:  # of all its columns together polars makes numbers, of times beside integers too
            columns = values.get_columns()
        made = [real_array_of(_plain(some), f"column {key!r} of {name}") for key, some in zip(values.columns, columns)]
        return np.column_stack(made) if made else np.empty(values.shape)
    if hasattr(values, "iloc"):
        return real_array_of(_plain(values), name)
    if hasattr(values, "detach") and hasattr(values, "cpu"):  # a tensor of PyTorch
        tensor = values.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":  # which NumPy has not
            tensor = tensor.float()
        return real_array_of(np.asarray(tensor), name)
    return None


def _plain(column: Any) -> Array:
    """A column of a frame as an array, with what is missing among its objects."""
    array = np.asarray(column)
    if array.dtype.kind in "fiu" or not hasattr(column, "isna") or array.dtype.kind == "O":
        return array
    missing = np.asarray(column.isna())
    if missing.any():
        array = array.astype(object)
        array[missing] = None
    return array


def real_array_of(array: Array, name: str) -> Array:
    """`array` as one of real numbers, or an error; objects that are all numbers become such."""
    kind = array.dtype.kind
    if kind in REAL:
        return array
    if kind == "O":
        return _numbers(array, name)
    hints = {
        "U": "for labels as text, take the numbers of the classes: np.unique({0}, return_inverse=True)[1]",
        "S": "for labels as text, take the numbers of the classes: np.unique({0}, return_inverse=True)[1]",
        "M": "for times, take the seconds since some moment: ({0} - start) / np.timedelta64(1, 's')",
        "m": "for durations, take seconds: {0} / np.timedelta64(1, 's')",
        "c": "take .real, .imag or np.abs of it, or its real and imaginary parts as two columns",
        "T": "for labels as text, take the numbers of the classes: np.unique({0}, return_inverse=True)[1]",
    }
    hint = f"; {hints[kind].format('it')}" if kind in hints else ""
    raise TypeError(f"{name} has dtype {array.dtype}; expected real numbers (float, int or bool){hint}")


def _numbers(array: Array, name: str) -> Array:
    """An array of objects that are numbers as int64, bool or float64."""
    kinds: set[type] = set()
    for place, value in np.ndenumerate(array):
        if isinstance(value, (bool, np.bool_)):
            kinds.add(bool)
        elif isinstance(value, numbers.Integral):
            kinds.add(int)
        elif isinstance(value, numbers.Real) or type(value).__name__ == "Decimal":
            kinds.add(float)
        else:
            where = f" at {place[0] if len(place) == 1 else list(place)}" if place else ""
            if value is None or type(value).__name__ in ("NAType", "NaTType"):
                raise ValueError(
                    f"{name} has a missing value{where}; expected finite numbers: fill it, or leave it out"
                )
            hint = "; for text take the number of its class, or one-hot columns" if isinstance(value, str) else ""
            if isinstance(value, (list, tuple, np.ndarray)):
                hint = "; are the rows of different lengths?"
            shown = repr(value) if len(repr(value)) < 60 else f"a {type(value).__name__}"
            raise TypeError(f"{name} has dtype object and holds {shown}{where}; expected real numbers{hint}")
    if kinds == {bool}:
        return array.astype(bool)
    for dtype in (np.int64, np.float64)[0 if kinds and kinds <= {int, bool} else 1 :]:
        with contextlib.suppress(OverflowError):
            return array.astype(dtype)
    raise ValueError(f"{name} holds integers that are too large for float64; expected finite numbers")
