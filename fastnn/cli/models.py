"""Models in files, and what there is to say of their columns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .. import saving
from ..network import NeuralNetwork, load
from ..tabular import TabularClassifier, TabularRegressor
from ..tabular.encoders import Category, Number
from ..tabular.table import TEXT
from ..words import listed, many
from .source import Source
from .texts import WRITTEN, first_text

Model = TabularClassifier | TabularRegressor


def load_any(path: str) -> Model | NeuralNetwork:
    """The model of a table, or the network, that a file holds.

    Raises
    ------
    OSError, ValueError
        If there is no such file, or it is damaged, or of another kind.
    """
    try:
        about, _ = saving.read_more(path, "tabular")
    except (OSError, ValueError) as error:
        raise type(error)(str(error).replace("path is", "the model is", 1)) from None
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


def check_features(model: Model, source: Source) -> None:
    """See that a table has the columns that the model needs, and no texts where training had numbers or dates.

    Raises
    ------
    ValueError
        If one is missing, or holds a text.
    """
    names = feature_names(model)
    missing = [name for name in names if name not in source.columns]
    if missing:
        raise ValueError(
            f"{source.name!r} lacks the column{'s' * (len(missing) > 1)} {listed(missing)}; the model needs "
            f"{listed(names)}"
        )
    for name, encoder in zip(names, model.preprocessor_.encoders_):
        if encoder.kind in WRITTEN and (found := first_text(source, name, encoder.kind)) is not None:
            raise ValueError(
                f"{source.name!r}: column {name!r} holds {found[0]!r} in {found[1]}, and was of kind {encoder.kind!r} "
                f"in training; expected values such as {WRITTEN[encoder.kind][0]}, or NA for what is missing"
            )


@contextlib.contextmanager
def block_from(row: int) -> Iterator[None]:
    """Errors of a block of rows with the number of its first: they count from there."""
    try:
        yield
    except ValueError as error:
        raise error if row == 0 else ValueError(f"in the block from row {row:,} on: {error}") from error


def columns(model: Model) -> list[dict[str, Any]]:
    """Of each column its name, its kind, what was done to it, and how much the predictions change with it."""
    made = []
    encoders = model.preprocessor_.encoders_
    for name, encoder, share in zip(feature_names(model), encoders, model.feature_importances_):
        if isinstance(encoder, Number):
            sign = "plus" if encoder.centre < 0 else "minus"
            done = f"{sign} {abs(encoder.centre):.4g}, times {encoder.scale:.4g}, clipped softly at 3"
            done += "; missing: the median, and said in a column of its own" if encoder.indicator else ""
        elif isinstance(encoder, Category) and encoder.embedded:
            done = f"{many(len(encoder.labels), 'category', 'categories')}, each a trained vector"
        elif isinstance(encoder, Category):
            done = f"{many(len(encoder.labels), 'category', 'categories')}, {many(encoder.width, 'column')}"
        else:
            done = "1 and -1" if encoder.width else "left out: without any value"
        made.append({"column": name, "kind": encoder.kind, "treatment": done, "importance": float(share)})
    return made


def parameters(network: NeuralNetwork) -> int:
    """How many numbers a network has learnt."""
    return sum(array.size for layer in network.get_weights() for array in layer)
