"""Callbacks: code of yours, or of ours, that runs between the epochs of a fit."""

from __future__ import annotations

import csv
import math
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ..checks import Array
from ..engine.engine import Engine
from ..extras import needs
from ..formulas.schedules import Schedule
from ..kernels.evaluate import all_finite
from ..layers.base import BaseLayer

Logs = Mapping[str, float]


class Trainee(Protocol):
    """The network in training, as callbacks and the loops of this folder see it: a `fastnn.NeuralNetwork`."""

    engine: Engine

    @property
    def layers(self) -> list[BaseLayer]:
        """The layers, from input to output."""

    @property
    def lr(self) -> Any:
        """The learning rate or the schedule; it may be set."""

    @lr.setter
    def lr(self, value: Any) -> None: ...

    def get_weights(self) -> list[tuple[Array, ...]]:
        """Copies of the arrays of every layer."""

    def set_weights(self, weights: Sequence[Sequence[Any]]) -> None:
        """Set them."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file."""


class StopTraining(Exception):
    """Raise it in a callback to end the fit after this epoch; its message becomes ``history.stopped``."""


class Callback:
    """Something that runs during a fit: subclass it and override what you need.

    Attributes
    ----------
    net : NeuralNetwork
        The network in training, from `on_train_begin` on.
    monitored : str
        What the fit is judged by unless a callback is told: ``"val_loss"`` where there is validation, else
        ``"loss"``; the same in all its epochs.

    Examples
    --------
    >>> from fastnn import Callback
    >>> class Report(Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         print(f"{epoch}: {logs['loss']:.3f}")
    """

    net: Trainee
    monitored: str = "loss"

    def on_train_begin(self) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch; they are counted from 1."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """After an epoch, with its loss and metrics."""

    def on_train_end(self) -> None:
        """After the last epoch, also when training was interrupted."""

    def get_state(self) -> dict[str, Any]:
        """What a `Checkpoint` must keep of this callback: numbers and arrays by name."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back what `get_state` gave; called after `on_train_begin`."""


def check_callbacks(callbacks: Iterable[Callback]) -> tuple[Callback, ...]:
    """The callbacks, or an error unless all are."""
    callbacks = tuple(callbacks)
    for callback in callbacks:
        if not isinstance(callback, Callback):
            hint = " (write EarlyStopping(), not EarlyStopping)" if isinstance(callback, type) else ""
            raise TypeError(f"callbacks holds {callback!r}; expected Callback objects{hint}")
    return callbacks


class LambdaCallback(Callback):
    """Functions as a callback, with the arguments of the methods of `Callback`."""

    def __init__(
        self,
        on_train_begin: Callable[[], None] | None = None,
        on_epoch_begin: Callable[[int], None] | None = None,
        on_epoch_end: Callable[[int, Logs], None] | None = None,
        on_train_end: Callable[[], None] | None = None,
    ) -> None:
        given = {
            "on_train_begin": on_train_begin,
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_end": on_train_end,
        }
        vars(self).update({name: function for name, function in given.items() if function is not None})


class _Monitor(Callback):
    """Watches one quantity and knows when it is the best so far."""

    def __init__(self, monitor: str | None, mode: str, min_delta: float) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode is {mode!r}; expected 'auto', 'min' or 'max'")
        self.monitor, self.mode, self.min_delta = monitor, mode, float(min_delta)

    @property
    def watched(self) -> str:
        """The quantity: `monitor`, or what the fit is judged by."""
        return self.monitor or self.monitored

    def on_train_begin(self) -> None:
        self.best = math.nan
        self.best_epoch = 0

    def get_state(self) -> dict[str, Any]:
        """The best value so far, and its epoch."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]

    def improved(self, epoch: int, logs: Logs) -> bool:
        """Whether this epoch is better than the best before by more than `min_delta`."""
        name = self.watched
        if name not in logs:
            raise ValueError(f"monitor is {name!r}; expected one of {', '.join(logs)}")
        low_is_good = self.mode == "min" or (self.mode == "auto" and not high_is_good(name))
        gain = self.best - logs[name] if low_is_good else logs[name] - self.best
        better = math.isnan(self.best) or gain > self.min_delta
        if better:
            self.best, self.best_epoch = logs[name], epoch
        return better


def high_is_good(name: str) -> bool:
    """Whether a quantity of this name is the better the larger it is."""
    return name.removeprefix("val_").startswith(("accuracy", "top_", "f1", "auc", "r2"))


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
        Whether small or large is good; "auto" knows by the name.
    restore_best : bool, default True
        Whether the network gets the weights of its best epoch back at the end.
    """

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
        super().on_train_begin()
        self._weights: list[Any] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.improved(epoch, logs):
            if self.restore_best:
                self._weights = self.net.get_weights()
        elif epoch - self.best_epoch >= self.patience:
            raise StopTraining(f"{self.watched} has not improved since epoch {self.best_epoch}")

    def get_state(self) -> dict[str, Any]:
        """Also the weights of the best epoch."""
        weights = {f"{i}.{j}": a for i, arrays in enumerate(self._weights or []) for j, a in enumerate(arrays)}
        return {**super().get_state(), **weights}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back."""
        super().set_state(state)
        if any(name.startswith("0.") for name in state):
            layers = enumerate(self.net.layers)
            self._weights = [tuple(state[f"{i}.{j}"] for j in range(len(layer.arrays()))) for i, layer in layers]

    def on_train_end(self) -> None:
        if self._weights is not None:
            self.net.set_weights(self._weights)
            self._weights = None


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
        The learning rate goes no lower.
    """

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
        if not 0 < factor < 1:
            raise ValueError(f"factor is {factor}; expected a number between 0 and 1")
        self.factor, self.patience, self.min_lr = float(factor), patience, float(min_lr)

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
                lr.lr = max(lr.lr * self.factor, self.min_lr)
            else:
                self.net.lr = max(lr * self.factor, self.min_lr)

    def get_state(self) -> dict[str, Any]:
        """Also the epoch of the last improvement or change."""
        return {**super().get_state(), "since": self._since}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back."""
        super().set_state(state)
        self._since = state["since"]


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

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str | None = None,
        mode: str = "auto",
        save_best_only: bool = True,
    ) -> None:
        super().__init__(monitor, mode, 0.0)
        self.path, self.save_best_only = os.fspath(path), bool(save_best_only)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.improved(epoch, logs) or not self.save_best_only:
            self.net.save(self.path.format(epoch=epoch, **logs))


class CSVLogger(Callback):
    """Write one line an epoch to a CSV file; `append` goes on in an existing one."""

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path, self.append = pathlib.Path(path), append

    def on_train_begin(self) -> None:
        self._names: list[str] = []
        if self.append and self.path.exists():
            with self.path.open(newline="") as file:
                self._names = next(csv.reader(file), [])
        else:
            self.path.write_text("")

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if not self._names:
                self._names = ["epoch", *logs]
                writer.writerow(self._names)
            writer.writerow([{"epoch": epoch, **logs}.get(name, "") for name in self._names])


class TensorBoard(Callback):
    """Write loss and metrics for TensorBoard into `log_dir` (needs tensorboardX)."""

    def __init__(self, log_dir: str | os.PathLike[str] = "runs") -> None:
        self.log_dir = os.fspath(log_dir)
        self._writer = needs("tensorboardX", "the callback TensorBoard", "tensorboardX").SummaryWriter(self.log_dir)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        for name, value in logs.items():
            self._writer.add_scalar(name, value, epoch)

    def on_train_end(self) -> None:
        self._writer.flush()


class TimeLimit(Callback):
    """Stop after the first epoch that ends more than `seconds` after the start."""

    def __init__(self, seconds: float) -> None:
        self.seconds = float(seconds)

    def on_train_begin(self) -> None:
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if time.monotonic() - self._started > self.seconds:
            raise StopTraining(f"the time limit of {self.seconds:g} s is over")


class DivergedError(ArithmeticError):
    """Training ran away: the loss or a weight is no longer finite."""


def finite_layers(layers: Iterable[BaseLayer]) -> bool:
    """Whether no number that the layers hold is NaN or infinite."""
    return all(all_finite(layer.memory.reshape(1, -1)) for layer in layers)


class NaNGuard(Callback):
    """Stop a run that diverges, and give back the last good weights; every fit has one.

    Raises
    ------
    DivergedError
        After an epoch whose loss, or a weight after it, is NaN or infinite.
    """

    def on_train_begin(self) -> None:
        self._good = self.net.get_weights()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not (math.isfinite(logs["loss"]) and finite_layers(self.net.layers)):
            self.net.set_weights(self._good)
            raise DivergedError(
                f"training diverged in epoch {epoch}: the loss or a weight is no longer finite. The network has the "
                f"weights from before that epoch. A smaller learning rate than {self.net.lr}, clip_norm=1.0, or "
                "inputs of mean 0 and variance 1 may help."
            )
        for kept, layer in zip(self._good, self.net.layers):
            for place, array in zip(kept, layer.arrays().values()):
                place[...] = array
