"""What samples for a network look like, at either door."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from ..formulas.losses import LossFunction
from ..kernels.evaluate import all_finite
from .columns import are_class_indices, are_ready, class_indices, real_array, rows_from_columns
from .moments import Moments, Standard, moments
from .rows import blocks_of, feature_rows, given_rows, target_rows
from .tables import check_names, column_names, index_names
from .target_scale import TargetScale, scale_of


class Form(NamedTuple):
    """What samples for a network look like.

    Attributes
    ----------
    ins, outs : int
        Numbers of inputs, and of outputs.
    dtype : dtype
        float32 or float64.
    loss : LossFunction
        It knows what a target is.
    offset : ndarray (ins,) of float64, or None
        What the door takes off the inputs, in float64, before it narrows them: that of the `Standardize` in front.
    names : tuple of str, or None
        Of the inputs, as they were in the first fit.
    measures : bool
        Whether there is a `Standardize` in front that the next training is to fit.
    standard : Standard or None
        What was measured for it.
    scale : TargetScale or None
        What the door makes standardised targets with: that of the `StandardizeTargets` at the end.
    measures_targets : bool
        Whether there is one that the next training is to fit.
    """

    ins: int
    outs: int
    dtype: np.dtype[Any]
    loss: LossFunction
    offset: Array | None = None
    names: tuple[str, ...] | None = None
    measures: bool = False
    standard: Standard | None = None
    scale: TargetScale | None = None
    measures_targets: bool = False

    @property
    def door(self) -> tuple[Any, ...]:
        """What it makes of inputs depends on: forms for which it is equal make the same of the same."""
        offset = None if self.offset is None else self.offset.tobytes()
        return self.ins, self.dtype, offset, self.names, self.measures

    @property
    def doors(self) -> tuple[Any, ...]:
        """The same for inputs and targets."""
        scale = None if self.scale is None else np.stack(self.scale).tobytes()
        return self.door, scale, self.measures_targets

    @property
    def predictor(self) -> Callable[[Array], Array] | None:
        """What makes predictions, on the scale of the targets, of outputs (n, outs); None where they are the same.

        It makes float64 if targets are standardised, and raises a ValueError if the loss, a user's own, makes an
        array of another shape.
        """
        own = type(self.loss).predictions is not LossFunction.predictions
        if self.scale is None:
            return self._of_loss if own else None
        restore, of_loss = self.scale.restorer(), self._of_loss
        return (lambda outputs: restore(of_loss(outputs))) if own else restore

    def _of_loss(self, outputs: Array) -> Array:
        """What the loss makes of outputs."""
        with np.errstate(over="ignore", under="ignore"):
            found = np.asarray(self.loss.predictions(outputs))
        if found.shape != outputs.shape:
            raise ValueError(
                f"{type(self.loss).__name__}.predictions, given outputs of shape {outputs.shape}, returned an array of "
                f"shape {found.shape}; expected the same shape, a prediction for each output"
            )
        return found

    def of_dtype(self, dtype: np.dtype[Any]) -> Form:
        """The same with rows of that dtype."""
        return self._replace(dtype=dtype)

    def named(self, names: tuple[str, ...] | None, name: str = "X", what: str = "columns") -> Form:
        """The form with these names, unless it has some: then they must be the same."""
        check_names(names, self.names, name, what)
        return self if names is None or self.names is not None else self._replace(names=names)

    def measured(self, parts: Iterable[Array]) -> Form:
        """The form of a network whose `Standardize` is fitted to these rows, which are as the user gave them."""
        return self.measured_by(moments(parts, self.ins))

    def measured_by(self, found: Moments | None) -> Form:
        """The form of a network whose `Standardize` is fitted to rows of these moments."""
        if found is None:
            return self
        made = found.standard(self.dtype)
        offset = made.offset if np.any(made.offset) else None
        return self._replace(offset=offset, measures=False, standard=made)

    def fitted_to(self, X: Any, name: str = "X") -> Form:
        """The form of the network once it has begun to train on rows X: with their names, and measured."""
        form = self.named(column_names(X), name)
        return form.measured(given_rows(X, name, self.ins)) if self.measures else form

    def fitted_to_columns(self, x: Any) -> Form:
        """The same for columns x."""
        form = self.named(index_names(x), "x", "rows")
        if self.measures:
            rows = np.atleast_2d(real_array(x, "x")).T
            if rows.ndim == 2 and rows.shape[1] == self.ins:  # otherwise the door says so
                return form.measured(blocks_of(rows, self.ins))
        return form

    def fitted_to_targets(self, y: Any, name: str = "y", *, columns: bool = False) -> Form:
        """The form of the network once it has begun to train on targets y, rows or columns: with them measured."""
        if not self.measures_targets:
            return self
        array = real_array(y, name)
        rows = np.atleast_2d(array).T if columns else array.reshape(-1, 1) if array.ndim == 1 else array
        if rows.ndim != 2 or rows.shape[1] != self.outs:
            return self  # the door says so
        return self.measured_targets(blocks_of(rows, self.outs))

    def measured_targets(self, parts: Iterable[Array]) -> Form:
        """The form of a network whose `StandardizeTargets` is fitted to these rows, as the user gave them."""
        return self.measured_targets_by(moments(parts, self.outs))

    def measured_targets_by(self, found: Moments | None) -> Form:
        """The form of a network whose `StandardizeTargets` is fitted to targets of these moments."""
        made = scale_of(found, self.dtype)
        return self if made is None else self._replace(scale=made, measures_targets=False)

    def columns(self, x: Any, name: str = "x") -> Array:
        """The inputs x (ins, N) as checked rows (N, ins)."""
        check_names(index_names(x), self.names, name, "rows")
        what = f"the first layer takes {self.ins} inputs"
        return rows_from_columns(x, name, self.ins, what, self.dtype, self.offset)

    def outputs(self, values: Any, name: str) -> Array:
        """Outputs, or targets that are values, (outs, N), as checked rows (N, outs)."""
        return rows_from_columns(values, name, self.outs, f"the last layer has {self.outs} outputs", self.dtype)

    def column_targets(self, t: Any, count: int, name: str = "t", other: str = "x") -> tuple[Array, bool]:
        """The targets of `count` columns as the kernels take them, and whether they are class indices.

        They belong to the columns that the caller calls `other`.
        """
        if self.loss.target == "class" or (self.loss.target is None and self.scale is None and are_class_indices(t)):
            return class_indices(t, name, count, self.outs).view(self.dtype), True
        rows = self._before_scale.outputs(t, name)
        if rows.shape[0] != count:
            raise ValueError(
                f"{name} has {rows.shape[0]} columns but {other} has {count}; expected shape ({self.outs}, {count})"
            )
        self.in_domain(rows, name)
        return self._scaled(rows, name), False

    def rows(self, X: Any, name: str = "X") -> Array:
        """The inputs X (n_samples, ins) as checked rows."""
        if self.offset is None and are_ready(X, self.ins, self.dtype) and all_finite(X):
            return X  # type: ignore[no-any-return]
        check_names(column_names(X), self.names, name)
        return feature_rows(X, name, self.ins, self.dtype, self.offset)

    def row_targets(self, y: Any, count: int, name: str = "y") -> tuple[Array, bool]:
        """The targets of `count` rows as the kernels take them, and whether they are class indices."""
        loss = self.loss
        if self.scale is None and loss.target != "class" and are_ready(y, self.outs, self.dtype):
            domain = loss.domain
            if len(y) == count and all_finite(y) and (domain is None or domain.holds(y)):
                return y, False
        dtype = self._before_scale.dtype
        rows, classes = target_rows(y, name, count, self.outs, self.loss, dtype, self.scale is not None)
        if not classes:
            self.in_domain(rows, name)
            rows = self._scaled(rows, name)
        return rows, classes

    @property
    def _before_scale(self) -> Form:
        """The form in whose dtype targets are checked: float64, if they are standardised before they are narrowed."""
        return self if self.scale is None else self.of_dtype(np.dtype(np.float64))

    def _scaled(self, rows: Array, name: str) -> Array:
        """Checked targets that are values, standardised if there is a scale."""
        if self.scale is None:
            return rows
        with np.errstate(over="ignore", under="ignore"):
            scaled = np.ascontiguousarray(self.scale.standardized(rows), self.dtype)
        if not all_finite(scaled):
            raise ValueError(
                f"{name} holds numbers too far, for {self.dtype}, from those that StandardizeTargets() was fitted to"
            )
        return scaled

    def classes_of(self, targets: Array, classes: bool) -> tuple[Array | None, int]:
        """The class of each of these targets, ints (n,), and how many classes there are; None where they are values.

        0 and 1 under a loss of labels, as of a single logit, are classes.
        """
        if classes:
            return targets.view(np.int64).ravel(), self.outs
        domain = self.loss.domain
        if self.outs == 1 and domain is not None and domain.of_labels and np.all((targets == 0) | (targets == 1)):
            return targets.astype(np.int64).ravel(), 2
        return None, self.outs

    def in_domain(self, rows: Array, name: str) -> None:
        """See that the loss takes targets that are values, as checked rows (n, outs)."""
        if self.loss.domain is not None:
            self.loss.domain.check(rows, name, type(self.loss).__name__)
