"""Callbacks that watch a quantity: they stop, slow down or save by it."""

from __future__ import annotations

import math
import os
import pathlib
import string
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..checks import (
    Array,
    between_zero_and_one,
    count,
    flag,
    not_negative,
    one_of,
    optional,
    path_text,
    shown,
    text,
)
from ..extras import needs
from ..files import check_target
from ..formulas.metrics import Metric, greater_is_better
from ..formulas.schedules import Schedule
from .callbacks import Callback, Logs, StopTraining, is_whole, same_names


class _Monitor(Callback):
    """Watches one quantity and knows when it is the best so far."""

    checked = {"monitor": optional(text), "mode": one_of("auto", "min", "max"), "min_delta": not_negative}

    def __init__(self, monitor: str | None, mode: str, min_delta: float) -> None:
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta

    @property
    def watched(self) -> str:
        """The quantity: `monitor`, or what the fit is judged by."""
        return self.monitor or self.monitored

    @property
    def low_is_good(self) -> bool:
        """Whether it is the better the smaller it is."""
        return self.mode == "min" or (self.mode == "auto" and not greater_is_better(self.watched, self.measures))

    needs_direction = True

    def on_train_begin(self) -> None:
        self.best = math.nan
        self.best_epoch = 0
        self._said_nan = False
        if self.needs_direction and self.mode == "auto":
            check_direction(self.watched, self.measures)
        if self.quantities is not None:
            self._check_watched(self.quantities)

    def get_state(self) -> dict[str, Any]:
        """The best value so far, its epoch, and of which quantity."""
        return {
            "best": self.best, "best_epoch": self.best_epoch,
            "watched": self.watched, "low_is_good": self.low_is_good,
        }  # fmt: skip

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back, all or none."""
        same_names(self, state, _Monitor.get_state(self))
        best, epoch, watched, low = (state[name] for name in ("best", "best_epoch", "watched", "low_is_good"))
        if watched != self.watched or low is not self.low_is_good:
            mine, then = (f"{name!r}, the {'smaller' if good else 'larger'} the better"
                          for name, good in ((self.watched, self.low_is_good), (watched, low)))  # fmt: skip
            raise ValueError(f"{type(self).__name__} watches {mine}, but watched {then}")
        if not _is_number(best) or not is_whole(epoch, 0, self.resumed) or (epoch == 0) > math.isnan(best):
            raise ValueError(f"the best is {best!r} in epoch {epoch!r}; expected one of {self.resumed} epochs")
        self.best, self.best_epoch = float(best), epoch

    def _check_watched(self, names: Iterable[str]) -> None:
        if self.watched not in names:
            hint = f"; fit measures {self.watched!r} with train_metrics=True" if f"val_{self.watched}" in names else ""
            raise ValueError(f"monitor is {self.watched!r}; expected one of {', '.join(names)}{hint}")

    def improved(self, epoch: int, logs: Logs) -> bool:
        """Whether this epoch is better than the best before by more than `min_delta`."""
        self._check_watched(logs)
        value = float(logs[self.watched])
        if math.isnan(value):
            if not self._said_nan:
                self._said_nan = True
                warnings.warn(
                    f"{self.watched} is NaN in epoch {epoch}, which {type(self).__name__} takes for no improvement; "
                    "this is said once for a fit",
                    RuntimeWarning,
                    stacklevel=2,
                )
            return False
        gain = self.best - value if self.low_is_good else value - self.best
        better = math.isnan(self.best) or gain > self.min_delta
        if better:
            self.best, self.best_epoch = value, epoch
        return better


def check_direction(name: str, measures: Mapping[str, Metric]) -> bool:
    """Whether a quantity is the better the larger it is, or an error where nobody knows."""
    if (known := greater_is_better(name, measures)) is None:
        raise ValueError(
            f"monitor is {name!r}, and it is not known whether small or large is good; expected mode='min' or "
            "mode='max', or an attribute greater_is_better, True or False, on the metric's function"
        )
    return known


class EarlyStopping(_Monitor):
    """Stop when a quantity has not improved for `patience` epochs.

    Parameters
    ----------
    monitor : str, optional
        What to watch; by default ``"val_loss"`` where there is validation, else ``"loss"``.
    patience : int, default 10
        How many epochs without improvement are borne.
    min_delta : float, default 0.0
        What does not count as improvement.
    mode : {"auto", "min", "max"}, default "auto"
        Whether small or large is good; "auto" knows it of the loss, of fastnn's metrics, and of functions with an
        attribute ``greater_is_better``. What is NaN is no improvement.
    restore_best : bool, default True
        Whether the network gets the weights of its best epoch back at the end.
    """

    checked = {"patience": count, "restore_best": flag}

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience, self.restore_best = patience, restore_best

    def on_train_begin(self) -> None:
        self._weights: list[tuple[Array, ...]] | None = None
        super().on_train_begin()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.improved(epoch, logs):
            if self.restore_best:
                self._weights = self.net.get_weights()
        elif epoch - self.best_epoch >= self.patience:
            since = f"has not improved since epoch {self.best_epoch}" if self.best_epoch else "was NaN in all epochs"
            raise StopTraining(f"{self.watched} {since}")

    def get_state(self) -> dict[str, Any]:
        """Also the weights of the best epoch."""
        return {**super().get_state(), **_by_place(self._weights or [])}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back, all or none."""
        numbers = {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}
        weights = None
        if self.restore_best and numbers.get("best_epoch") != 0:
            places = _by_place(layer.arrays().values() for layer in self.net.layers)
            same_names(self, state, [*numbers, *places])
            for name, place in places.items():
                array = np.asarray(state[name])
                if array.shape != place.shape or array.dtype != place.dtype or not np.isfinite(array).all():
                    raise ValueError(f"the best weights {name} are not {place.shape} finite numbers of {place.dtype}")
            layers = enumerate(self.net.layers)
            weights = [tuple(state[f"{i}.{j}"] for j in range(len(layer.arrays()))) for i, layer in layers]
        else:
            same_names(self, state, numbers)
        super().set_state(numbers)
        self._weights = weights

    def on_train_end(self) -> None:
        if self._weights is not None:
            self.net.set_weights(self._weights)
            self._weights = None


def _by_place(layers: Iterable[Iterable[Array]]) -> dict[str, Array]:
    """The arrays of each layer, under the number of the layer and theirs."""
    return {f"{i}.{j}": array for i, arrays in enumerate(layers) for j, array in enumerate(arrays)}


class ReduceLROnPlateau(_Monitor):
    """Multiply the learning rate by `factor` when a quantity has not improved for `patience` epochs.

    Parameters
    ----------
    monitor, min_delta, mode
        As in `EarlyStopping`.
    factor : float, default 0.1
        Below 1.
    patience : int, default 10
        How many epochs without improvement are borne.
    min_lr : float, default 0.0
        The learning rate goes no lower; one that is below stays.
    """

    checked = {"factor": between_zero_and_one, "patience": count, "min_lr": not_negative}

    def __init__(
        self,
        monitor: str | None = None,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor, self.patience, self.min_lr = factor, patience, min_lr

    def on_train_begin(self) -> None:
        super().on_train_begin()
        self._since = 0

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.improved(epoch, logs):
            self._since = epoch
        elif epoch - self._since >= self.patience:
            self._since = epoch
            lr = self.net.lr
            if isinstance(lr, Schedule):
                lr.lr = self._reduced(lr.lr)
            else:
                self.net.lr = self._reduced(lr)

    def _reduced(self, lr: float) -> float:
        return min(lr, max(lr * self.factor, self.min_lr))  # a limit above the rate does not raise it

    def get_state(self) -> dict[str, Any]:
        """Also the epoch of the last improvement or change."""
        return {**super().get_state(), "since": self._since}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back, all or none."""
        rest = dict(state)
        since = rest.pop("since", None)
        if not is_whole(since, 0, self.resumed):
            raise ValueError(f"since is {since!r}; expected one of {self.resumed} epochs")
        super().set_state(rest)
        self._since = since


class ModelCheckpoint(_Monitor):
    """Save the network after every epoch, or after every one that is the best so far.

    Parameters
    ----------
    path : str or path-like
        Where to; ``{epoch}`` and names of quantities in it are filled in, as in
        ``"net-{epoch}-{val_loss:.3f}.safetensors"``.
    monitor, mode
        As in `EarlyStopping`.
    save_best_only : bool, default True
        Whether to save improvements alone.
    """

    checked = {"path": path_text, "save_best_only": flag}
    path: str

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str | None = None,
        mode: str = "auto",
        save_best_only: bool = True,
    ) -> None:
        super().__init__(monitor, mode, 0.0)
        self.path, self.save_best_only = path, save_best_only  # type: ignore[assignment]  # its check makes it a string
        self.needs_direction = self.save_best_only

    def on_train_begin(self) -> None:
        super().on_train_begin()
        try:
            named = [name for _, name, _, _ in string.Formatter().parse(self.path) if name is not None]
        except ValueError as error:
            raise ValueError(f"path is {self.path!r}: {error}") from None
        for name in named:
            known = self.quantities is None or name in ("epoch", *self.quantities)
            if not known or not name or name.isdigit() or any(sign in name for sign in ".["):
                names = ", ".join(["epoch", *(self.quantities or ())])
                raise ValueError(f"path is {self.path!r}, with {{{name}}} in it; expected names among {names}")
        example = pathlib.Path(self._filled(1, dict.fromkeys(named, 0.5)))
        if "{" not in os.path.dirname(self.path):
            check_target(example)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not self.save_best_only or self.improved(epoch, logs):
            self.net.save(self._filled(epoch, logs))

    def _filled(self, epoch: int, logs: Logs) -> str:
        try:
            return self.path.format(**{**logs, "epoch": epoch})
        except (KeyError, IndexError, ValueError, TypeError) as error:
            reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"path is {self.path!r}, which cannot be filled in: {reason}") from None


def a_trial(value: Any, name: str) -> Any:
    """The check that a value is a trial of Optuna."""
    if isinstance(value, type) or not all(callable(getattr(value, one, None)) for one in ("report", "should_prune")):
        raise TypeError(f"{name} is {shown(value)}; expected the trial that Optuna gives to an objective")
    return value


class OptunaPruning(_Monitor):
    """Report a quantity to a trial of Optuna after every epoch, and end the fit if the study's pruner says so.

    A pruned fit raises ``optuna.TrialPruned``, and the network stays as it was after that epoch. The estimators of
    `fastnn.sklearn` take it too: ``MLPClassifier(callbacks=[OptunaPruning(trial)])``.

    Parameters
    ----------
    trial : optuna.trial.Trial
    monitor : str, optional
        What to report; by default ``"val_loss"`` where there is validation, else ``"loss"``. Where it goes against
        the study's direction, such as a loss in one that maximizes the accuracy, it is reported with its sign
        changed, so that the pruner ends the worse trials.

    Raises
    ------
    TypeError
        If `trial` is no trial.
    """

    checked = {"trial": a_trial}
    needs_direction = False
    stays = "its trial is known to this process alone"

    def __init__(self, trial: Any, monitor: str | None = None) -> None:
        super().__init__(monitor, "auto", 0.0)
        self.trial = trial

    def __deepcopy__(self, memo: object) -> OptunaPruning:
        """Another one for the same trial: the study would hear nothing of a copy."""
        return type(self)(self.trial, self.monitor)

    def on_train_begin(self) -> None:
        super().on_train_begin()
        self._pruned = needs("optuna", "the callback OptunaPruning", "optuna").TrialPruned
        self._sign = 1.0
        study, large = getattr(self.trial, "study", None), greater_is_better(self.watched, self.measures)
        if study is not None and len(study.directions) == 1 and large is not None:
            self._sign = 1.0 if large == (study.direction.name == "MAXIMIZE") else -1.0

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._check_watched(logs)
        value = float(logs[self.watched])
        self.trial.report(self._sign * value, epoch)
        if self.trial.should_prune():
            raise self._pruned(f"pruned after epoch {epoch}, with {self.watched} {value:.6g}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))
