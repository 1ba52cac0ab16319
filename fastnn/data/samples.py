"""Samples in memory that have passed a door."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..checks import Array
from .columns import real_array
from .form import Form
from .rows import ClassWeight, sample_weights


class Samples(NamedTuple):
    """Samples in memory that have passed a door, ready for kernels.

    Attributes
    ----------
    rows : ndarray (n, ins)
    targets : ndarray
        Rows of values (n, outs), or class indices: int64 (n, 1), seen as numbers of the network's dtype.
    classes : bool
        Which of the two.
    y : ndarray or None
        The targets as given, for metrics.
    weight : ndarray (n,) or None
        Weights for scores of validation.
    form : Form or None
        What they were made for, with what was learnt from them on the way.
    """

    rows: Array
    targets: Array
    classes: bool
    y: Array | None = None
    weight: Array | None = None
    form: Form | None = None

    @classmethod
    def of_columns(cls, form: Form, x: Any, t: Any) -> Samples:
        """Check and convert columns: the article's door."""
        rows = form.columns(x)
        return cls(rows, *form.column_targets(t, rows.shape[0]), form=form)

    @classmethod
    def of_rows(cls, form: Form, X: Any, y: Any, where: str = "") -> Samples:
        """Check and convert rows: the ecosystem's door. `where` completes the names of X and y in errors."""
        name = f"y{where}"
        rows = form.rows(X, f"X{where}")
        targets, classes = form.row_targets(y, rows.shape[0], name)
        return cls(rows, targets, classes, y if targets is y else real_array(y, name), None, form)

    @property
    def size(self) -> int:
        """How many there are."""
        return int(self.rows.shape[0])

    def fit(self, form: Form) -> bool:
        """Whether they are what a door would make of samples of that form."""
        width = 8 // form.dtype.itemsize if self.classes else form.outs
        rows, targets = self.rows, self.targets
        return (
            rows.shape == (len(targets), form.ins)
            and targets.shape == (len(rows), width)
            and rows.dtype == targets.dtype == form.dtype
        )

    def weights(self, sample_weight: Any, class_weight: ClassWeight = None, where: str = "") -> Array | None:
        """The weight of each sample's loss, float64 (n,), or None where all are 1."""
        name, classes, count = f"sample_weight{where}", None, 0
        if class_weight is not None and self.form is not None:
            classes, count = self.form.classes_of(self.targets, self.classes)
        found = sample_weights(sample_weight, class_weight, classes, self.size, name, count)
        if found is not None and not found.any():
            given = " and ".join([name] * (sample_weight is not None) + ["class_weight"] * (class_weight is not None))
            raise ValueError(
                f"{given} gives all {self.size} samples the weight 0, so that none counts; expected some above 0"
            )
        return found

    def weighed(self, weight: Array | None) -> Samples:
        """The same samples with these weights for scores."""
        return self._replace(weight=weight)

    def take(self, which: Array | slice) -> Samples:
        """The samples of these numbers: copies, or of a slice views."""
        y = None if self.y is None else self.y[which]
        return Samples(self.rows[which], self.targets[which], self.classes, y, form=self.form)
