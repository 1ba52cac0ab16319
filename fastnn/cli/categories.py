"""The categories that training did not see, counted block by block."""

from __future__ import annotations

from typing import Any

from ..tabular.encoders import Category
from ..tabular.table import TEXT, Table
from ..words import listed
from .models import Model, feature_names
from .report import Report, rows_of

NAMED = 100  # new categories of a column that are kept, the first ones in alphabetical order


class NewCategories:
    """Of each column, in how many rows a category is new, and which ones are.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
    """

    def __init__(self, model: Model) -> None:
        pairs = enumerate(zip(feature_names(model), model.preprocessor_.encoders_))
        self._encoders = {k: (name, encoder) for k, (name, encoder) in pairs if isinstance(encoder, Category)}
        self._counts: dict[str, int] = {}
        self._labels: dict[str, set[str]] = {}

    def add(self, X: Any) -> None:
        """Count those of a frame with the columns of the model, in its order."""
        table = Table(X)
        for k, (name, encoder) in self._encoders.items():
            column = table.column(k)
            if not encoder.accepts(column):
                continue  # which the prediction says
            codes = encoder.codes(column, None)
            values = column.values if column.kind == TEXT else [None if v != v else f"{v:g}" for v in column.values]
            new = [value for value, code in zip(values, codes) if code < 0 and value is not None]
            if new:
                self._counts[name] = self._counts.get(name, 0) + len(new)
                self._labels[name] = set(sorted(self._labels.get(name, set()).union(new))[: NAMED + 1])

    def say(self, report: Report) -> None:
        """Warn of them, and keep them for scripts."""
        values = {}
        for name, count in self._counts.items():
            labels = sorted(self._labels[name])
            rows = rows_of(count)
            many = f" (more than {NAMED})" if len(labels) > NAMED else ""
            report.warn(f"column {name!r} has categories that training did not see{many}, in {rows}: {listed(labels)}")
            values[name] = {"rows": count, "labels": labels[:NAMED]}
        report.values["new_categories"] = values
