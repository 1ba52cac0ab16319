"""What a fit is told: the keywords of `fastnn.NeuralNetwork.fit`, checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..checks import positive_integer, seed as checked_seed
from ..formulas.metrics import Metric, named_metrics
from .callbacks import Callback, check_callbacks


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
    validation_data: tuple[Any, Any] | None = None
    validation_split: float = 0.0
    shuffle: bool = True
    sample_weight: Any = None
    class_weight: Mapping[Any, float] | str | None = None
    metrics: Iterable[str | Callable[..., float]] = ()
    callbacks: Sequence[Callback] = ()
    verbose: int = 1
    seed: int | None = None
    measures: dict[str, Metric] = field(init=False)  # the metrics by name

    def __post_init__(self) -> None:
        seed = None if self.seed is None else checked_seed(self.seed)
        checked = {
            "epochs": positive_integer(self.epochs, "epochs"),
            "batch_size": positive_integer(self.batch_size, "batch_size"),
            "seed": seed,
            "callbacks": check_callbacks(self.callbacks),
            "measures": named_metrics(self.metrics),
        }
        if self.verbose not in (0, 1, 2):
            raise ValueError(f"verbose is {self.verbose!r}; expected 0, 1 or 2")
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
