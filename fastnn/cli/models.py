"""Models in files, and what there is to say of their columns and of what they predict."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import saving
from ..checks import Array
from ..network import NeuralNetwork, load
from ..tabular import TabularClassifier, TabularRegressor
from ..tabular.encoders import Category, Number
from ..tabular.table import TEXT, Table

Model = TabularClassifier | TabularRegressor


def load_any(path: str) -> Model | NeuralNetwork:
    """The model of a table, or the network, that a file holds.

    Raises
    ------
    OSError, ValueError
        If there is no such file, or it is damaged, or of another kind.
    """
    about, _ = saving.read_more(path, "tabular")
    if about is None:
        return load(path)
    kind = about.get("kind") if isinstance(about, dict) else None
    return TabularClassifier.load(path) if kind == "TabularClassifier" else TabularRegressor.load(path)


def load_model(path: str) -> Model:
    """The model of a table that a file holds; see `load_any`."""
    model = load_any(path)
    if isinstance(model, NeuralNetwork):
        raise ValueError(f"{path!r} is a network without a table's columns; expected a model that `fastnn train` wrote")
    return model


def feature_names(model: Model) -> list[str]:
    """The names of the columns; x0, x1 and on, where the model was fitted with an array."""
    return [str(name) for name in getattr(model, "feature_names_in_", [f"x{k}" for k in range(model.n_features_in_)])]


def text_columns(model: Model) -> list[str]:
    """The columns that were texts in training, and have to be read as such."""
    return [n for n, encoder in zip(feature_names(model), model.preprocessor_.encoders_) if encoder.kind == TEXT]


def features(model: Model, frame: Any, path: str) -> Any:
    """The columns of a frame that the model needs, in its order.

    Raises
    ------
    ValueError
        If one is missing.
    """
    names = feature_names(model)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"{path!r} lacks the column{'s' * (len(missing) > 1)} {listed(missing)}; the model needs {listed(names)}"
        )
    return frame.select(names)


def new_categories(model: Model, frame: Any) -> dict[str, tuple[int, list[str]]]:
    """Of columns with categories that training did not see: in how many rows, and which."""
    table, found = Table(frame), {}
    for k, (name, encoder) in enumerate(zip(feature_names(model), model.preprocessor_.encoders_)):
        if isinstance(encoder, Category):
            column = table.column(k)
            codes = encoder.codes(column, None)
            values = column.values if column.kind == TEXT else [None if v != v else f"{v:g}" for v in column.values]
            new = [value for value, code in zip(values, codes) if code < 0 and value is not None]
            if new:
                found[name] = (len(new), sorted(set(new)))
    return found


def columns(model: Model) -> list[dict[str, Any]]:
    """Of each column its name, its kind, what was done to it, and how much the predictions change with it."""
    made = []
    encoders = model.preprocessor_.encoders_
    for name, encoder, share in zip(feature_names(model), encoders, model.feature_importances_):
        if isinstance(encoder, Number):
            done = f"minus {encoder.centre:.4g}, times {encoder.scale:.4g}, clipped softly at 3"
            done += "; missing: the median, and said in a column of its own" if encoder.indicator else ""
        elif isinstance(encoder, Category) and encoder.embedded:
            done = f"{len(encoder.labels)} categories, each a trained vector"
        elif isinstance(encoder, Category):
            done = f"{len(encoder.labels)} categories, {encoder.width} column{'s' * (encoder.width > 1)}"
        else:
            done = "1 and -1" if encoder.width else "left out: without any value"
        made.append({"column": name, "kind": encoder.kind, "treatment": done, "importance": float(share)})
    return made


def parameters(network: NeuralNetwork) -> int:
    """How many numbers a network has learnt."""
    return sum(array.size for layer in network.get_weights() for array in layer)


def scores(model: Model, X: Any, y: Array) -> dict[str, float]:
    """How good the predictions of these rows are."""
    if isinstance(model, TabularClassifier):
        p = model.predict_proba(X)
        places = {label: k for k, label in enumerate(model.classes_.tolist())}
        numbers = np.array([places.get(label, -1) for label in y.tolist()])
        of_class = np.where(numbers >= 0, p[np.arange(len(p)), numbers], 0.0)
        recalls = [np.mean(np.argmax(p[numbers == k], axis=1) == k) for k in np.unique(numbers[numbers >= 0])]
        found = {
            "accuracy": np.mean(np.argmax(p, axis=1) == numbers),
            "balanced_accuracy": np.mean(recalls) if recalls else 0.0,
            "log_loss": -np.mean(np.log(np.maximum(of_class, np.finfo(float).eps))),
        }
    else:
        y = y.astype(np.float64)
        errors = y - model.predict(X)
        spread = np.mean((y - y.mean()) ** 2)
        found = {
            "r2": 1 - np.mean(errors**2) / spread if spread > 0 else float("nan"),
            "rmse": np.sqrt(np.mean(errors**2)),
            "mae": np.mean(np.abs(errors)),
        }
        if model.quantiles is not None and np.size(model.quantiles) > 1:
            low, high = model.predict_interval(X).T
            found["covered"] = np.mean((low <= y) & (y <= high))
    return {name: float(value) for name, value in found.items()}


def listed(names: list[str]) -> str:
    """Some names, quoted."""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(map(repr, names[:8])) + more
