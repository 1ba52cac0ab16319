"""What samples for a network look like, at either door."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from ..formulas.losses import LossFunction
from .columns import are_class_indices, class_indices, rows_from_columns
from .rows import feature_rows, target_rows


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
    """

    ins: int
    outs: int
    dtype: np.dtype[Any]
    loss: LossFunction

    def columns(self, x: Any, name: str = "x") -> Array:
        """The inputs x (ins, N) as checked rows (N, ins)."""
        return rows_from_columns(x, name, self.ins, f"the first layer takes {self.ins} inputs", self.dtype)

    def outputs(self, values: Any, name: str) -> Array:
        """Outputs, or targets that are values, (outs, N), as checked rows (N, outs)."""
        return rows_from_columns(values, name, self.outs, f"the last layer has {self.outs} outputs", self.dtype)

    def column_targets(self, t: Any, count: int, name: str = "t", other: str = "x") -> tuple[Array, bool]:
        """The targets of `count` columns as the kernels take them, and whether they are class indices.

        They belong to the columns that the caller calls `other`.
        """
        if self.loss.target == "class" or (self.loss.target is None and are_class_indices(t)):
            return class_indices(t, name, count, self.outs).view(self.dtype), True
        rows = self.outputs(t, name)
        if rows.shape[0] != count:
            raise ValueError(
                f"{name} has {rows.shape[0]} columns but {other} has {count}; expected shape ({self.outs}, {count})"
            )
        self.in_domain(rows, name)
        return rows, False

    def rows(self, X: Any, name: str = "X") -> Array:
        """The inputs X (n_samples, ins) as checked rows."""
        return feature_rows(X, name, self.ins, self.dtype)

    def row_targets(self, y: Any, count: int, name: str = "y") -> tuple[Array, bool]:
        """The targets of `count` rows as the kernels take them, and whether they are class indices."""
        rows, classes = target_rows(y, name, count, self.outs, self.loss, self.dtype)
        if not classes:
            self.in_domain(rows, name)
        return rows, classes

    def in_domain(self, rows: Array, name: str) -> None:
        """See that the loss takes targets that are values, as checked rows (n, outs)."""
        if self.loss.domain is not None:
            self.loss.domain.check(rows, name, type(self.loss).__name__)
