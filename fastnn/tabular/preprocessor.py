"""Tables in, rows of numbers out: what the networks of this room are trained on."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..checks import Array, positive_integer
from ..room import room
from ..words import listed
from .encoders import Category, Encoder, fitted, restored
from .table import MIXED, NUMBER, TEXT, Table
from .texts import meant


class Preprocessor(TransformerMixin, BaseEstimator):
    """Columns of a data frame or an array as float32 numbers of about the same size.

    ==================  =====================================================================================
    numbers             minus the median, divided by the interquartile range (half the whole range where that
                        is 0; a constant becomes 0), then z / sqrt(1 + (z / 3)**2), which stays below 3
    missing numbers     the median, and in a column of its own 1 where one is missing (if any was in `fit`)
    bools               1 and -1, and 0 where one is missing
    texts, categories   a column for each, 1 where it is it; of two one column, 1 and -1; 0 for missing and new ones
    many of them        more than `max_one_hot`: 8 columns, in front of all others, where an `Embedding` puts the
                        category's vector; the first has the number of the category, -1 for missing and new ones
    dates, durations    days since 1970 in UTC, or days, and then as numbers; times of the day are durations, and a
                        period is its start
    objects             what they are, if all are of one kind; else texts (``str(value)``), and 1 is 1.0: so they
                        are in predict, too, whatever they are there
    intervals           texts: "(0, 10]"
    without any value   nothing
    ==================  =====================================================================================

    Parameters
    ----------
    max_one_hot : int, default 100
        A column with more categories than that has no column for each.

    Attributes
    ----------
    encoders_ : list of Encoder
        One for each column.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        The names of the columns, if `fit` was given a frame.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tabular import Preprocessor
    >>> X = np.array([[1.0, "red"], [2.0, "blue"], [3.0, "green"], [None, "red"]], dtype=object)
    >>> preprocessor = Preprocessor().fit(X)
    >>> preprocessor.get_feature_names_out().tolist()
    ['x0', 'x0_missing', 'x1_blue', 'x1_green', 'x1_red']
    >>> preprocessor.transform(X).round(2)
    array([[-0.95,  0.  ,  0.  ,  0.  ,  1.  ],
           [ 0.  ,  0.  ,  1.  ,  0.  ,  0.  ],
           [ 0.95,  0.  ,  0.  ,  1.  ,  0.  ],
           [ 0.  ,  1.  ,  0.  ,  0.  ,  1.  ]], dtype=float32)
    """

    feature_names_in_: Array

    def __init__(self, max_one_hot: int = 100) -> None:
        self.max_one_hot = max_one_hot

    # --- fit ----------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> Preprocessor:
        """Learn from a data frame of pandas, polars or pyarrow, or an array (n_samples, n_features).

        Raises
        ------
        TypeError, ValueError
            If X is no table, has two columns of one name or infinities, or a column is of a kind that is none of
            those above. A preprocessor that was fitted before stays as it was.
        """
        return self.fit_table(Table(X))

    def fit_table(self, table: Table, rows: Array | None = None) -> Preprocessor:
        """The same for these rows of a table, or all of them."""
        most = positive_integer(self.max_one_hot, "max_one_hot")
        encoders = []
        for k in range(table.shape[1]):
            column = table.column(k)
            encoder, said = fitted(column, rows, most), ""
            if isinstance(encoder, Category) and encoder.of in (TEXT, MIXED):
                said = meant(encoder.labels, table.name(k), encoder.of == MIXED)
            elif column.kind == NUMBER:
                said = table.rounded(k, column.values)
            if said:
                warnings.warn(said, UserWarning, stacklevel=4)
            encoders.append(encoder)
        self._take(encoders, table.names)
        return self

    def _take(self, encoders: list[Encoder], names: tuple[str, ...] | None) -> None:
        """Be fitted with these."""
        if names is None:
            if hasattr(self, "feature_names_in_"):
                del self.feature_names_in_
        else:
            self.feature_names_in_ = np.array(names, dtype=object)
        self.encoders_, self.n_features_in_ = encoders, len(encoders)
        embedded = [isinstance(encoder, Category) and encoder.embedded for encoder in encoders]
        self._starts, self._width = [0] * len(encoders), 0
        for k in sorted(range(len(encoders)), key=lambda k: not embedded[k]):  # stable: their order is kept
            self._starts[k] = self._width
            self._width += encoders[k].width
        self.many_categories_ = [len(one.labels) for one, many in zip(encoders, embedded) if many]  # type: ignore[attr-defined]
        self._said: set[str] = set()  # columns that are new
        self._said_new: set[int] = set()  # columns with categories that are new
        self._one = _OneRow(encoders, self._starts, self._width, names)

    @property
    def width(self) -> int:
        """How many columns come out."""
        return self._width

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_one"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "encoders_" in state:
            self._one = _OneRow(self.encoders_, self._starts, self._width, self._names())

    def _names(self) -> tuple[str, ...] | None:
        names = vars(self).get("feature_names_in_")
        return None if names is None else tuple(names)

    # --- transform ----------------------------------------------------------------------------

    def transform(self, X: Any) -> Array:
        """The numbers, float32 (n_samples, n_features_out).

        The columns of a frame are taken by name, in whatever order; those that `fit` did not see are ignored, which
        is said once. An array is taken as it lies; so is a frame, where `fit` was given an array, and both are said.

        Raises
        ------
        ValueError, TypeError
            If a column is missing, or of another kind than in `fit`, or holds infinities.
        """
        check_is_fitted(self)
        return self.numbers(X)

    def numbers(self, X: Any) -> Array:
        """`transform`, whatever `set_output` says."""
        one = self._one.rows(X)
        if one is not None:
            if type(X) is np.ndarray and "feature_names_in_" in vars(self):
                self._say_names(False)
            return one
        table = Table(X)
        places = self.places(table)
        if (table.names is None) is not (self._names() is None):
            self._say_names(table.names is not None)
        return self.matrix(table, places)

    def _say_names(self, later: bool) -> None:
        """Warn, as scikit-learn does, that columns are taken by place, as only one of `fit` and this call has names."""
        what, how = ("has", "without") if later else ("does not have valid", "with")
        warnings.warn(
            f"X {what} feature names, but {type(self).__name__} was fitted {how} feature names: columns are taken in "
            "their order",
            UserWarning,
            stacklevel=5,
        )

    def places(self, table: Table) -> list[int]:
        """Where the columns of `fit` are in a table."""
        names = self._names()
        if names is None or table.names is None:
            if table.shape[1] != self.n_features_in_:
                raise ValueError(
                    f"X has {table.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} "
                    "features as input"
                )
            return list(range(self.n_features_in_))
        found = {name: k for k, name in enumerate(table.names)}
        missing = [name for name in names if name not in found]
        if missing:
            raise ValueError(
                f"X lacks the {listed(missing, 'column')}; expected all columns of fit: {listed(names)}. "
                "For one without values give a column of NaN or None"
            )
        new = [name for name in table.names if name not in names and name not in self._said]
        if new:
            self._said.update(new)
            warnings.warn(
                f"X has the new {listed(new, 'column')}, which fit did not see: ignored. This is said once",
                UserWarning,
                stacklevel=4,
            )
        return [found[name] for name in names]

    def matrix(self, table: Table, places: list[int], rows: Array | None = None) -> Array:
        """The numbers of these rows of a table, whose columns are at these places."""
        n = table.shape[0] if rows is None else len(rows)
        with room(n * self.width * 4, f"X as numbers, ({n}, {self.width})", "fewer rows, or a smaller max_one_hot"):
            out = np.zeros((n, self.width), np.float32)
        for k, (place, encoder) in enumerate(zip(places, self.encoders_)):
            column, name = table.texts(place) if encoder.reads_texts else table.column(place), table.name(place)
            if not encoder.accepts(column):
                raise ValueError(
                    f"{name} is of kind {column.said!r}, but was {encoder.said!r} in fit; expected the same kind: "
                    f"{encoder.fix}"
                )
            written = out[:, self._starts[k] : self._starts[k] + encoder.width]
            encoder.write(column, rows, written, name)
            first = rows is None and k not in self._said_new  # in predict
            if first and isinstance(encoder, Category) and (said := encoder.new(column, written)):
                self._said_new.add(k)
                warnings.warn(f"{name} {said}", UserWarning, stacklevel=4)
        return out

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """The names of the columns that come out: of each column its name, or name and category, each once.

        Where a name is taken, as ``a_missing`` by a column of the table, it has a number behind it: ``a_missing_2``.
        """
        check_is_fitted(self)
        names = self._names() or tuple(f"x{k}" for k in range(self.n_features_in_))
        if input_features is not None:
            given = tuple(map(str, input_features))
            if len(given) != len(names) or (self._names() is not None and given != names):
                raise ValueError("input_features is not equal to feature_names_in_")
            names = given
        made, own = np.empty(self._width, dtype=object), np.zeros(self._width, bool)
        for name, encoder, start in zip(names, self.encoders_, self._starts):
            found = encoder.names(name)
            made[start : start + encoder.width] = found
            own[start : start + encoder.width] = [one == name for one in found]
        taken = set(made[own])  # the table's own names stay
        for k in np.flatnonzero(~own):
            if made[k] in taken:
                others = (f"{made[k]}_{n}" for n in itertools.count(2))
                made[k] = next(other for other in others if other not in taken)
            taken.add(made[k])
        return made

    def spans(self) -> Array:
        """The range of each column that comes out as a flag, 1 or 2, and 0 of all others."""
        made = np.zeros(self._width)
        for encoder, start in zip(self.encoders_, self._starts):
            made[start : start + encoder.width] = encoder.spans
        return made

    def sums(self, values: Array) -> Array:
        """Of a value for each column that comes out, the sums over those that each column of `fit` became."""
        pairs = zip(self._starts, self.encoders_)
        return np.array([values[start : start + encoder.width].sum() for start, encoder in pairs])

    def encoded(self) -> list[tuple[str, Encoder, int]]:
        """Each column of `fit`: its name, its encoder, and where what it becomes begins."""
        names = self._names() or tuple(f"x{k}" for k in range(self.n_features_in_))
        return list(zip(names, self.encoders_, self._starts))

    # --- files --------------------------------------------------------------------------------

    def described(self) -> dict[str, Any]:
        """All that was learnt, in JSON's terms."""
        names = self._names()
        return {
            "max_one_hot": int(self.max_one_hot),
            "names": None if names is None else list(names),
            "columns": [encoder.described() for encoder in self.encoders_],
        }

    @classmethod
    def made(cls, about: Any) -> Preprocessor:
        """The preprocessor that `described` described.

        Raises
        ------
        ValueError, TypeError
            If the description is none.
        """
        if not isinstance(about, dict) or set(about) != {"max_one_hot", "names", "columns"}:
            raise ValueError("its preprocessing is not described by max_one_hot, names and columns")
        names, columns = about["names"], about["columns"]
        if not isinstance(columns, list) or not columns:
            raise ValueError("its columns are no list of at least one")
        if names is not None and (
            not isinstance(names, list)
            or not all(isinstance(name, str) for name in names)
            or len(set(names)) != len(columns)
        ):
            raise ValueError("its names are not a different text for each column")
        self = cls(positive_integer(about["max_one_hot"], "max_one_hot"))
        self._take([restored(column) for column in columns], None if names is None else tuple(names))
        return self

    def __sklearn_tags__(self) -> Any:
        tags = tags_of_tables(super().__sklearn_tags__())
        tags.transformer_tags.preserves_dtype = []  # float32 comes out
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "encoders_")


def tags_of_tables(tags: Any) -> Any:
    """scikit-learn's tags of what takes tables with texts and missing values."""
    tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
    return tags


class _OneRow:
    """The way of a single row, as a server has them: a hundred times as fast, and the same numbers.

    What is unusual about a row, it leaves to the other way.
    """

    def __init__(self, encoders: list[Encoder], starts: list[int], width: int, names: tuple[str, ...] | None) -> None:
        self._names, self._width, self._count = None if names is None else list(names), width, len(encoders)
        self._index: Any = None  # the columns of the first frame of pandas, as it has them
        self._are_numbers = all(encoder.kind == NUMBER for encoder in encoders)
        self._ways = [(k, encoder.one, starts[k]) for k, encoder in enumerate(encoders)]

    def rows(self, X: Any) -> Array | None:
        """The numbers (1, width) of X, or None if it is not one usual row."""
        values = self._values(X)
        if values is None:
            return None
        out = np.zeros((1, self._width), np.float32)
        row = out[0]
        try:
            for k, write, start in self._ways:
                if not write(values[k], row, start):
                    return None
        except OverflowError:  # an integer that is too large for a float
            return None
        return out

    def _values(self, X: Any) -> Any:
        """The values of the only row of X, or None."""
        cls = type(X)
        if cls is np.ndarray:
            return X[0].tolist() if X.shape == (1, self._count) and X.dtype.kind in "fiubO" else None
        if self._names is None:
            return None
        maker = cls.__module__.partition(".")[0]
        if maker == "polars" and cls.__name__ == "DataFrame":
            return X.row(0) if X.height == 1 and X.columns == self._names else None
        if maker != "pandas" or cls.__name__ != "DataFrame" or len(X) != 1:
            return None
        columns = X.columns
        if self._index is None and list(map(str, columns)) == self._names:
            self._index = columns
        if self._index is None or not columns.equals(self._index):
            return None
        if self._are_numbers:  # then they are one array
            return X.values[0].tolist()
        return cells_of_pandas(X)


def cells_of_pandas(frame: Any) -> list[Any]:
    """The values of a frame of one row: ``frame.iloc[0].tolist()`` in a quarter of the time.

    pandas has no quick way to them that is public, but its blocks have been what they are since pandas 1; where they
    are something else, the public way is taken.
    """
    cells = [None] * frame.shape[1]
    try:
        for block in getattr(frame, "_mgr").blocks:  # noqa: B009
            values, places = block.values, block.mgr_locs.as_array
            if values.ndim == 1:  # an extension's, of one column
                cells[places[0]] = values[0]
            else:
                for place, value in zip(places, values[:, 0].tolist()):
                    cells[place] = value
    except (AttributeError, TypeError, IndexError):
        return list(frame.iloc[0].tolist())
    return cells
