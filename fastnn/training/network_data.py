"""What each of many networks learns from: the same samples, or some of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from ..data.columns import real_array
from ..data.form import Form
from ..data.held_out import split
from ..data.samples import Samples
from ..data.tables import SomeRows, column_names, is_sparse
from .epochs import weighed_samples
from .settings import Settings


class NetworkData(NamedTuple):
    """The samples of one network, which others may have too."""

    train: Samples
    given: tuple[Any, Any, Array | None]  # X, y and sample_weight
    weights: Array | None  # with those of the classes
    held_out: Samples | None
    validation: tuple[Any, ...] | None  # as given

    def with_validation(self, held_out: Samples, given: tuple[Any, ...]) -> NetworkData:
        """The same with these samples for validation."""
        return self._replace(held_out=held_out, validation=given)

    def drawn(self, rows: Array, form: Form, settings: Settings) -> NetworkData:
        """That of a network of that form that learns from these rows, with the same held out."""
        X, y, weight = self.given
        weight = None if weight is None else weight[rows]
        train, held_out, own = self.train, self.held_out, self.train.form
        if own is None or (own.standard is None and not form.measures_targets):
            train = train.take(rows)
        else:  # what standardises is fitted to these rows alone, and the door goes by that
            table = X if isinstance(X, SomeRows) else X.tocsr() if is_sparse(X) else real_array(X, "X")
            targets = real_array(y, "y")[rows]
            form = form.named(own.names).fitted_to(table[rows]).fitted_to_targets(targets)
            train = Samples.of_rows(form, table[rows], targets)
            if self.validation is not None:
                held_out = weighed_samples(form, self.validation)
        weights = train.weights(weight, settings.class_weight)
        return NetworkData(train, self.given, weights, held_out, self.validation)


def data_of_each(
    forms: Sequence[Form], X: Any, y: Any, settings: Settings, split_seeds: Sequence[int | None]
) -> list[NetworkData]:
    """What each network learns from; an array is checked and converted once, however many learn from it.

    `split_seeds` are those of the draws of what is held out, one for each network.
    """
    if y is None or callable(X) or isinstance(X, Iterator):
        raise TypeError(
            f"X is a {type(X).__name__} and y {'is None' if y is None else 'a ' + type(y).__name__}; a bank learns "
            "from arrays in memory: expected rows X with targets y, or a list of one array for each network"
        )

    validation_data, validation_split = settings.validation_data, settings.validation_split

    def validation(form: Form, *data_and_where: Any) -> tuple[Samples, tuple[Any, ...]]:
        *data, where = data_and_where
        return weighed_samples(form, tuple(data), f"{where} of validation_data"), tuple(data)

    def training(form: Form, X: Any, y: Any, weight: Any, seed: int | None, where: str) -> NetworkData:
        end, form, of_end = None, form.named(column_names(X), f"X{where}"), ""
        if validation_data is None and validation_split:
            parts = split(form, X, y, weight, validation_split, seed, where)
            X, y, weight, end, of_end, warning = parts
            if warning:
                warnings.warn(warning, UserWarning, stacklevel=6)
        form = form.fitted_to(X, f"X{where}").fitted_to_targets(y, f"y{where}")
        train = Samples.of_rows(form, X, y, where)
        weights = train.weights(weight, settings.class_weight, where)
        held_out = None if end is None else weighed_samples(form, end, of_end)
        return NetworkData(train, (X, y, None if weight is None else np.asarray(weight)), weights, held_out, end)

    seeds = split_seeds if are_many(X) else split_seeds[0]
    given = (X, y, settings.sample_weight, seeds)
    found: list[NetworkData] = _each(training, forms, given, ("X", "y", "sample_weight", "seed"))
    if validation_data is None:
        return found
    names = ("X of validation_data", "y of validation_data", "sample_weight of validation_data")
    fitted = [data.train.form or form for data, form in zip(found, forms)]
    ends = _each(validation, fitted, tuple(validation_data), names)
    return [data.with_validation(*end) for data, end in zip(found, ends)]


def _each(make: Callable[..., Any], forms: Sequence[Form], data: tuple[Any, ...], names: tuple[str, ...]) -> list[Any]:
    """What `make` makes of `data` for each form; of their k-th parts, if the first of them holds many data sets.

    Of the same objects, for forms with the same door, it is made once.
    """
    several = are_many(data[0])
    parts = [
        _parts(values, name, len(forms)) if several else [values] * len(forms) for values, name in zip(data, names)
    ]
    made: dict[tuple[Any, ...], Any] = {}
    results = []
    for k, (form, *own) in enumerate(zip(forms, *parts)):
        same = (form.doors, *(one if isinstance(one, int) else id(one) for one in own))
        if same not in made:
            made[same] = make(form, *own, f"[{k}]" if several else "")
        results.append(made[same])
    return results


def are_many(X: Any) -> bool:
    """Whether X holds many data sets: it is a list of arrays of two dimensions, or one array of three."""
    if isinstance(X, (list, tuple)):
        return len(X) > 0 and all(len(getattr(rows, "shape", ())) == 2 for rows in X)  # a frame of polars has no ndim
    return getattr(X, "ndim", 2) == 3


def _parts(values: Any, name: str, count: int) -> list[Any]:
    """One part of `values` for each network."""
    if values is None:
        return [None] * count
    if not hasattr(values, "__len__") or len(values) != count:
        have = f"holds {len(values)}" if hasattr(values, "__len__") else f"is {values!r}"
        raise ValueError(f"{name} {have}; expected a list of {count} arrays, one for each network, as X is many arrays")
    return list(values)


def bootstrap_rows(count: int, seed: int | None) -> Array:
    """The numbers of `count` samples, drawn with replacement from as many."""
    return np.random.default_rng(seed).integers(count, size=count)
