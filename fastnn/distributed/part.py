"""A chunk of the user's data that has passed the door of a network, on the machine where it lies."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from ..data.columns import real_array
from ..data.form import Form
from ..data.held_out import held_out_rows, seed_of
from ..data.moments import Moments, moments
from ..data.rows import ClassWeight, blocks_of, given_rows, sample_weights
from ..data.samples import Samples
from ..data.tables import SomeRows, SparseRows, column_names, is_sparse
from ..training.run import mark_of
from ..version import __version__
from .agreement import ROWS, Described, described


class About(NamedTuple):
    """What the others must know of a part.

    Attributes
    ----------
    described : dict
        See `agreement.described`; with names of columns and dtypes.
    mark : int
        A number that tells the same rows from others.
    weight : float
        The sum of the weights.
    classes : ndarray of int, optional
        Which there are; None where targets are values.
    """

    described: Described
    mark: int
    weight: float
    classes: Array | None = None

    @property
    def size(self) -> int:
        """How many rows."""
        return int(self.described[ROWS])


class Found(NamedTuple):
    """What is measured of a part before anything is converted."""

    inputs: Moments | None
    targets: Moments | None
    classes: Array | None  # how often each occurs; None where targets are values


class Part(NamedTuple):
    """See the module; ``samples`` is None where there are no rows."""

    number: int
    samples: Samples | None
    weights: Array | None
    about: About


class HeldOut(NamedTuple):
    """The rows that `validation_split` holds out of chunks.

    Attributes
    ----------
    counts : list of int
        How many of each chunk.
    seed : int, optional
        Of the draw, by which each class gives its share; None for the last rows of a chunk.
    """

    counts: list[int]
    seed: int | None

    def sides(self, number: int, count: int, classes: Array | None) -> tuple[Array, Array]:
        """The rows of that chunk, which has `count`, that stay, and those held out."""
        some, every = self.counts[number], np.arange(count)
        if some in (0, count):
            return every[some:], every[:some]
        seed = None if self.seed is None else seed_of(self.seed, number)
        return held_out_rows(count, some / count, seed, classes)


class Door(NamedTuple):
    """What makes parts of chunks.

    Attributes
    ----------
    form : Form
    class_weight : dict or sequence, optional
    where : str
        Completes the names of X and y in errors.
    held_out : HeldOut, optional
        Then a part has the rows of a chunk that stay, or else, where it is of `validation`, those held out.
    validation : bool
    version : str
        Of the fastnn that asks.
    """

    form: Form
    class_weight: ClassWeight = None
    where: str = ""
    held_out: HeldOut | None = None
    validation: bool = False
    version: str = __version__

    def of_validation(self, form: Form) -> Door:
        """The door for what this one holds out, by a form that knows what the others have measured."""
        return self._replace(form=form, class_weight=None, validation=True)

    def _rows(self, number: int, samples: Samples) -> Array | slice:
        """Which rows of a chunk are in its part."""
        if self.held_out is None:
            return slice(None)
        classes, _ = self.form.classes_of(samples.targets, samples.classes)
        return self.held_out.sides(number, samples.size, classes)[self.validation]

    def part(self, number: int, X: Any, y: Any = None, sample_weight: Any = None) -> Part:
        """A chunk as a part; with y None, X is ``(X, y)`` or ``(X, y, sample_weight)``."""
        check_version(self.version)
        where = f"{self.where} of chunk {number}"
        if y is None:
            if not isinstance(X, (tuple, list)) or len(X) not in (2, 3):
                raise TypeError(
                    f"X{where} is a {type(X).__name__} and y is None; expected (X, y) or (X, y, sample_weight), or y "
                    "beside X"
                )
            X, y, sample_weight = (*X, None)[:3]
        kinds = {f"dtype of {name}": str(getattr(some, "dtype", "")) for name, some in (("X", X), ("y", y))}
        about = described(None, X, y, **kinds)
        if about[ROWS] == 0 and len(np.shape(y)) > 0 and np.shape(y)[0] == 0:
            return Part(number, None, None, About(about, 0, 0.0))
        form = self.form.named(column_names(X), f"X{where}")
        rows = form.rows(X, f"X{where}")
        targets, classes = form.row_targets(y, rows.shape[0], f"y{where}")
        found = (None, 0) if self.class_weight is None else form.classes_of(targets, classes)
        weights = sample_weights(
            sample_weight, self.class_weight, found[0], rows.shape[0], f"sample_weight{where}", found[1]
        )
        samples = Samples(rows, targets, classes, real_array(y, f"y{where}"))
        mine = self._rows(number, samples)
        samples, weights = samples.take(mine), None if weights is None else weights[mine]
        about[ROWS] = samples.size
        if samples.size == 0:
            return Part(number, None, None, About(about, 0, 0.0))
        weight = float(samples.size if weights is None else weights.sum())
        mark = mark_of(samples.rows, samples.targets, weights)
        present, _ = form.classes_of(samples.targets, samples.classes)
        summary = About(about, mark, weight, None if present is None else np.unique(present))
        return Part(number, samples.weighed(weights), weights, summary)

    def found(self, number: int, X: Any, y: Any = None, sample_weight: Any = None) -> Found:
        """What layers that standardise, and "balanced", must know of a chunk; it is checked, too."""
        samples = self._replace(class_weight=None, held_out=None).part(number, X, y, sample_weight).samples
        if samples is None:
            return Found(None, None, None)
        X, y = (X[0], X[1]) if y is None else (X, y)
        form, mine, targets = self.form, self._rows(number, samples), real_array(y, "y")
        if not isinstance(mine, slice):
            if mine.size == 0:  # all are held out
                return Found(None, None, None)
            X = SomeRows(SparseRows(X, "X") if is_sparse(X) else real_array(X, "X"), mine)
        targets = targets.reshape(len(targets), -1)[mine]
        classes, count = form.classes_of(samples.targets[mine], samples.classes)
        return Found(
            moments(given_rows(X, "X", form.ins), form.ins) if form.measures else None,
            moments(blocks_of(targets, form.outs), form.outs) if form.measures_targets else None,
            None if classes is None else np.bincount(classes, minlength=count),
        )


def check_version(version: str) -> None:
    """See that this machine has the fastnn that asks.

    Raises
    ------
    ImportError
        If it has another.
    """
    if version != __version__:
        raise ImportError(
            f"a worker has fastnn {__version__} but the client has {version}; expected the same on all: install "
            f"fastnn=={version} there"
        )
