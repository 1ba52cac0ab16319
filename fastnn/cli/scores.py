"""How good predictions are, counted block by block."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Array
from ..tabular import TabularClassifier, TabularRegressor


class Scores:
    """The scores of a model on rows that come in blocks.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
    """

    def __init__(self, model: TabularClassifier | TabularRegressor) -> None:
        self.model, self.rows = model, 0
        self._sums: dict[str, float] = {}
        self._mean = 0.0  # of the targets
        if isinstance(model, TabularClassifier):
            self._places = {label: k for k, label in enumerate(model.classes_.tolist())}
            self.unknown: dict[Any, int] = {}  # of each class that the model does not know, its rows
            self._seen, self._found = np.zeros((2, len(self._places)), np.int64)  # rows of each class; and right ones

    def add(self, X: Any, y: Array) -> Scores:
        """Count the predictions of these rows, whose targets are y."""
        if len(y) == 0:
            return self
        if isinstance(self.model, TabularClassifier):
            labels = y.tolist()
            numbers = np.array([self._places.get(label, -1) for label in labels])
            for place in np.flatnonzero(numbers < 0).tolist():
                self.unknown[labels[place]] = self.unknown.get(labels[place], 0) + 1
            p = self.model.predict_proba(X)
            right = np.argmax(p, axis=1) == numbers
            of_class = np.where(numbers >= 0, p[np.arange(len(p)), numbers], 0.0)
            self._add("right", right)
            self._add("log_loss", -np.log(np.maximum(of_class, np.finfo(float).eps)))
            self._seen += np.bincount(numbers[numbers >= 0], minlength=len(self._seen))
            self._found += np.bincount(numbers[right], minlength=len(self._seen))
        else:
            y = y.astype(np.float64)
            errors = y - self.model.predict(X)
            self._add("squares", errors**2)
            self._add("absolute", np.abs(errors))
            # Of the whole, the squares around its mean are those of the parts, and of the way between their means
            way = y.mean() - self._mean
            self._add("spread", (y - y.mean()) ** 2)
            self._sums["spread"] += way**2 * self.rows * len(y) / (self.rows + len(y))
            self._mean += way * len(y) / (self.rows + len(y))
            if self.model.quantiles is not None and np.size(self.model.quantiles) > 1:
                low, high = self.model.predict_interval(X).T
                self._add("covered", (low <= y) & (y <= high))
        self.rows += len(y)
        return self

    def _add(self, name: str, values: Array) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + float(values.sum())

    def values(self) -> dict[str, float]:
        """The scores, by name, of all rows so far, of which there is one at least."""
        means = {name: value / self.rows for name, value in self._sums.items()}
        if isinstance(self.model, TabularClassifier):
            seen = self._seen > 0
            recalls = np.append(self._found[seen] / self._seen[seen], np.zeros(len(self.unknown)))
            return {
                "accuracy": means["right"],
                "balanced_accuracy": float(recalls.mean()),
                "log_loss": means["log_loss"],
            }
        found = {
            "r2": 1 - means["squares"] / means["spread"] if means["spread"] > 0 else float("nan"),
            "rmse": float(np.sqrt(means["squares"])),
            "mae": means["absolute"],
        }
        return found | ({"covered": means["covered"]} if "covered" in means else {})
