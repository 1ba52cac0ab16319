"""What each network of a bank learns from: the same samples, or some of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .epochs import Samples, split

if TYPE_CHECKING:
    from ..network import NeuralNetwork

Array = np.ndarray[Any, np.dtype[Any]]


class Share(NamedTuple):
    """The samples of one network, which others may have too."""

    train: Samples
    sample_weight: Array | None  # as given
    weights: Array | None  # with those of the classes
    held_out: Samples | None


def shares_of(
    networks: Sequence[NeuralNetwork],
    X: Any,
    y: Any,
    sample_weight: Any,
    class_weight: Mapping[Any, float] | str | None,
    validation_data: tuple[Any, Any] | None,
    validation_split: float,
) -> list[Share]:
    """The share of each network; an array is checked and converted once, however many learn from it."""
    if y is None or callable(X) or isinstance(X, Iterator):
        raise TypeError(
            f"X is a {type(X).__name__} and y {'is None' if y is None else 'a ' + type(y).__name__}; a bank learns "
            "from arrays in memory: expected rows X with targets y, or a list of one array for each network"
        )
    net, count = networks[0], len(networks)

    def validation(X: Any, y: Any, where: str) -> Samples:
        return Samples.of(net, X, y, f"{where} of validation_data")

    def training(X: Any, y: Any, weight: Any, where: str) -> Share:
        held_out = None
        if validation_data is None and validation_split:
            X, y, weight, end = split(X, y, weight, validation_split, where)
            held_out = validation(*end, where)
        train = Samples.of(net, X, y, where)
        weights = train.weights(weight, class_weight, where)
        return Share(train, None if weight is None else np.asarray(weight), weights, held_out)

    shares = _each(training, (X, y, sample_weight), ("X", "y", "sample_weight"), count)
    if validation_data is None:
        return shares
    names = ("X of validation_data", "y of validation_data")
    held_out = _each(validation, tuple(validation_data), names, count)
    return [share._replace(held_out=end) for share, end in zip(shares, held_out)]


def _each(make: Callable[..., Any], data: tuple[Any, ...], names: tuple[str, ...], count: int) -> list[Any]:
    """What `make` makes of `data` for each network; of their k-th parts, if the first of them holds many data sets.

    Of the same objects it is made once.
    """
    if not many(data[0]):
        return [make(*data, "")] * count
    parts = [_parts(values, name, count) for values, name in zip(data, names)]
    made: dict[tuple[int, ...], Any] = {}
    results = []
    for k, own in enumerate(zip(*parts)):
        same = tuple(map(id, own))
        if same not in made:
            made[same] = make(*own, f"[{k}]")
        results.append(made[same])
    return results


def many(X: Any) -> bool:
    """Whether X holds many data sets: it is a list of arrays of two dimensions, or one array of three."""
    if isinstance(X, (list, tuple)):
        return len(X) > 0 and all(getattr(rows, "ndim", 0) == 2 for rows in X)
    return getattr(X, "ndim", 2) == 3


def _parts(values: Any, name: str, count: int) -> list[Any]:
    """One part of `values` for each network."""
    if values is None:
        return [None] * count
    if not hasattr(values, "__len__") or len(values) != count:
        have = f"holds {len(values)}" if hasattr(values, "__len__") else f"is {values!r}"
        raise ValueError(f"{name} {have}; expected a list of {count} arrays, one for each network, as X is many arrays")
    return list(values)
