"""What a fit is told: the keywords of `fastnn.NeuralNetwork.fit`, checked once."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..checks import flag, one_or_many, positive_integer, seed as checked_seed
from ..data.sources import brings_targets
from ..formulas.metrics import Metric, named_metrics
from .callbacks import Callback, check_callbacks

Metrics = Iterable[str | Callable[..., float]] | str | Callable[..., float] | None


def measures_of(metrics: Metrics) -> dict[str, Metric]:
    """The metrics by name: of one, of many, or of None for none."""

    def one(value: Any) -> bool:
        return isinstance(value, str) or callable(value)

    some = one_or_many(metrics, "metrics", one, "names or functions")
    for metric in some:
        if not one(metric):
            raise TypeError(f"metrics holds {metric!r}; expected names or functions")
    return named_metrics(some)


def callback_list(callbacks: Iterable[Callback] | Callback | None) -> list[Callback]:
    """A list of one callback, of many, or of None for none."""
    return one_or_many(callbacks, "callbacks", lambda value: isinstance(value, (Callback, type)), "a list of Callback")


def validation_parts(data: Any) -> tuple[Any, ...] | None:
    """The two or three parts of `validation_data`, or None; what brings its targets along comes with None for them."""
    if data is None:
        return None
    if brings_targets(data):
        return data, None
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        have = f"has {len(data)} items" if isinstance(data, (tuple, list)) else f"is a {type(data).__name__}"
        raise ValueError(f"validation_data {have}; expected (X, y), or (X, y, sample_weight)")
    return tuple(data)


@dataclass(frozen=True)
class Settings:
    """The keywords of `fastnn.NeuralNetwork.fit`, which documents them; `fastnn.NetworkBank.fit` has more.

    A keyword is added here, and where it acts.

    Raises
    ------
    ValueError, TypeError
        If one does not fit.
    """

    epochs: int = 1
    batch_size: int = 32
    validation_data: tuple[Any, ...] | None = None
    validation_split: float = 0.0
    validation_shuffle: bool = True
    shuffle: bool = True
    sample_weight: Any = None
    class_weight: Mapping[Any, float] | Sequence[float] | str | None = None
    metrics: Metrics = ()
    train_metrics: bool | None = None  # whether they are measured on the training samples; None: without validation
    callbacks: Any = ()  # given as one or many; kept as a tuple of Callback
    verbose: int = 1
    seed: int | None = None
    split_seed: int | None = None  # of the draw of what `validation_split` holds out; None: the last samples
    equal_batches: bool = True  # their sizes differ by one at most; else all have batch_size, and the last the rest
    averaged: bool = False  # a batch's loss is its weighted average, and penalties are divided by its total weight
    measures: dict[str, Metric] = field(init=False)  # the metrics by name
    of_training: dict[str, Metric] = field(init=False)  # those that are measured on the training samples, too

    def __post_init__(self) -> None:
        seed = None if self.seed is None else checked_seed(self.seed)
        checked = {
            "epochs": positive_integer(self.epochs, "epochs"),
            "batch_size": positive_integer(self.batch_size, "batch_size"),
            "seed": seed,
            "shuffle": flag(self.shuffle, "shuffle"),
            "validation_shuffle": flag(self.validation_shuffle, "validation_shuffle"),
            "callbacks": check_callbacks(callback_list(self.callbacks)),
            "measures": measures_of(self.metrics),
            "validation_data": validation_parts(self.validation_data),
        }
        if isinstance(self.class_weight, np.ndarray):  # of which nobody can ask whether it is "balanced"
            checked["class_weight"] = self.class_weight.tolist()
        if self.train_metrics is not None:
            flag(self.train_metrics, "train_metrics")
        part = self.validation_split
        if isinstance(part, (bool, np.bool_)) or not isinstance(part, numbers.Real) or not 0 <= part < 1:
            raise ValueError(f"validation_split is {part!r}; expected a number between 0 and 1, or 0 for none")
        if self.validation_data is not None and part:
            raise ValueError(
                f"validation_split is {part!r} but validation_data are given, too; expected one of the two: without "
                "validation_split all samples are trained on"
            )
        if self.verbose not in (0, 1, 2):
            raise ValueError(f"verbose is {self.verbose!r}; expected 0, 1 or 2")
        measures: Any = checked["measures"]
        if measures and self.train_metrics is False and not self.validates:
            raise ValueError(
                f"train_metrics is False and there are no validation data: the metrics {', '.join(measures)} would be "
                "measured nowhere; leave them out, or give validation_data or validation_split"
            )
        trains = not self.validates if self.train_metrics is None else self.train_metrics
        checked["of_training"] = measures if trains else {}
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def validates(self) -> bool:
        """Whether there are validation data, or samples to hold out for it."""
        return self.validation_data is not None or bool(self.validation_split)

    @property
    def monitor(self) -> str:
        """What callbacks judge the fit by if they are not told: the same quantity in every epoch."""
        return "val_loss" if self.validates else "loss"
