"""Callbacks: code of yours, or of ours, that runs between the epochs of a fit."""

from __future__ import annotations

import csv
import io
import math
import os
import pathlib
import string
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..checks import (
    Array,
    Checked,
    between_zero_and_one,
    count,
    flag,
    function_of,
    not_negative,
    one_of,
    optional,
    path,
    path_text,
    text,
)
from ..engine.engine import Engine
from ..extras import needs
from ..formulas.metrics import Metric, greater_is_better
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
    """Raise it to end the fit, with its history; its message becomes ``history.stopped``.

    At the end of an epoch, all callbacks have their turn first. Any other method of a callback may raise it too, and
    so may a metric or a generator of chunks: the fit ends at once, and its history has the epochs that are complete.
    In a bank it ends the fit of that network only.
    """

    @property
    def reason(self) -> str:
        """Its text, or one in its place."""
        kind = "" if type(self) is StopTraining else f" ({type(self).__name__})"
        return str(self) or f"a callback stopped it{kind}"


class Callback(Checked):
    """Something that runs during a fit: subclass it and override what you need.

    Attributes
    ----------
    net : NeuralNetwork
        The network in training, from `on_train_begin` on.
    monitored : str
        What the fit is judged by unless a callback is told: ``"val_loss"`` where there is validation, else
        ``"loss"``; the same in all its epochs.
    quantities : tuple of str, optional
        The names in the logs of every epoch; None where callbacks that are not fastnn's own may add to them.
    resumed : int
        How many epochs a `Checkpoint` brought along; 0 in a fit that starts anew.
    measures : mapping of str to function
        The metrics of the fit by name.

    Examples
    --------
    >>> from fastnn import Callback
    >>> class Report(Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         print(f"{epoch}: {logs['loss']:.3f}")
    """

    net: Trainee
    monitored: str = "loss"
    quantities: tuple[str, ...] | None = None
    resumed: int = 0
    measures: Mapping[str, Metric] = {}

    def on_train_begin(self) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch; they are counted from 1."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """After an epoch, with its loss and metrics."""

    def on_train_end(self) -> None:
        """After the last epoch, also when training was interrupted."""

    def get_state(self) -> dict[str, Any]:
        """What a `Checkpoint` must keep of this callback: numbers and arrays by name.

        Asked for after an epoch, when all callbacks have had their turn.
        """
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back what `get_state` gave; called after `on_train_begin`, when the network has its state again.

        What it raises ends the fit before it goes on, with the network as it was.
        """


def check_callbacks(callbacks: Iterable[Callback]) -> tuple[Callback, ...]:
    """The callbacks, or an error unless all are."""
    callbacks = tuple(callbacks)
    for callback in callbacks:
        if not isinstance(callback, Callback):
            hint = " (write EarlyStopping(), not EarlyStopping)" if isinstance(callback, type) else ""
            raise TypeError(f"callbacks holds {callback!r}; expected Callback objects{hint}")
    return callbacks


def may_add_quantities(callback: Callback) -> bool:
    """Whether it may put something into the logs: it is, or calls, code that is not fastnn's."""
    own = type(callback).__module__.partition(".")[0] == __name__.partition(".")[0]
    return not own or isinstance(callback, LambdaCallback)


def check_place(path: pathlib.Path) -> None:
    """See that a file can be written at `path`, before hours go into what is to stand there.

    Raises
    ------
    OSError
        If it cannot: there is no such folder, or no right to write, or something else than a file.
    """
    folder = pathlib.Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"path is {str(path)!r}, but there is no folder {str(folder)!r}; make it first")
    if path.is_dir():
        raise IsADirectoryError(f"path is {str(path)!r}, which is a folder; expected the name of a file")
    if path.exists() and not path.is_file():
        raise OSError(f"path is {str(path)!r}, which is no ordinary file; expected the name of a file")
    try:
        if path.exists():
            path.open("ab").close()
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise type(error)(f"path is {str(path)!r}, which cannot be written: {error}") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))


def _is_whole(value: Any, least: int, most: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _same_names(callback: Callback, state: Mapping[str, Any], names: Iterable[str]) -> None:
    """See that a state has these names and no others."""
    if set(state) != set(names):
        raise ValueError(
            f"the state of {type(callback).__name__} has {sorted(map(str, state))}; expected {sorted(names)}"
        )


class LambdaCallback(Callback):
    """Functions as a callback, with the arguments of the methods of `Callback`."""

    checked = {
        "on_train_begin": function_of(),
        "on_epoch_begin": function_of("epoch"),
        "on_epoch_end": function_of("epoch", "logs"),
        "on_train_end": function_of(),
    }

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
        for name, function in given.items():
            if function is not None:
                setattr(self, name, function)


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
        _same_names(self, state, _Monitor.get_state(self))
        best, epoch, watched, low = (state[name] for name in ("best", "best_epoch", "watched", "low_is_good"))
        if watched != self.watched or low is not self.low_is_good:
            mine, then = (f"{name!r}, the {'smaller' if good else 'larger'} the better"
                          for name, good in ((self.watched, self.low_is_good), (watched, low)))  # fmt: skip
            raise ValueError(f"{type(self).__name__} watches {mine}, but watched {then}")
        if not _is_number(best) or not _is_whole(epoch, 0, self.resumed) or (epoch == 0) > math.isnan(best):
            raise ValueError(f"the best is {best!r} in epoch {epoch!r}; expected one of {self.resumed} epochs")
        self.best, self.best_epoch = float(best), epoch

    def _check_watched(self, names: Iterable[str]) -> None:
        if self.watched not in names:
            raise ValueError(f"monitor is {self.watched!r}; expected one of {', '.join(names)}")

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
        self._weights: list[Any] | None = None
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
            _same_names(self, state, [*numbers, *places])
            for name, place in places.items():
                array = np.asarray(state[name])
                if array.shape != place.shape or array.dtype != place.dtype or not np.isfinite(array).all():
                    raise ValueError(f"the best weights {name} are not {place.shape} finite numbers of {place.dtype}")
            layers = enumerate(self.net.layers)
            weights = [tuple(state[f"{i}.{j}"] for j in range(len(layer.arrays()))) for i, layer in layers]
        else:
            _same_names(self, state, numbers)
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
        if not _is_whole(since, 0, self.resumed):
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
            check_place(example)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not self.save_best_only or self.improved(epoch, logs):
            self.net.save(self._filled(epoch, logs))

    def _filled(self, epoch: int, logs: Logs) -> str:
        try:
            return self.path.format(**{**logs, "epoch": epoch})
        except (KeyError, IndexError, ValueError, TypeError) as error:
            reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"path is {self.path!r}, which cannot be filled in: {reason}") from None


class CSVLogger(Callback):
    """Write one line an epoch to a CSV file, in UTF-8.

    A fit that goes on from a `Checkpoint` goes on in its file, too: the rows of epochs after the checkpoint,
    which are trained again, are dropped, and all others stay.

    Parameters
    ----------
    path : str or path-like
        The file.
    append : bool, default False
        Whether to go on in an existing file, with its columns; otherwise it is replaced.

    Raises
    ------
    OSError
        Before training begins, if the file cannot be written.
    """

    checked = {"path": path, "append": flag}
    path: pathlib.Path

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path, self.append = path, append  # type: ignore[assignment]  # its check makes it a path

    def on_train_begin(self) -> None:
        self._names: list[str] = []
        self._lines = 0  # of the file, that stay or were written
        self._cut = self._resumed = False
        check_place(self.path)
        if self.append:
            self._names, self._lines = self._header(), len(self._in_file())

    def on_epoch_begin(self, epoch: int) -> None:
        self._cut_to_lines()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._cut_to_lines()
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        self._names = self._names or ["epoch", *logs]
        if self._lines == 0:
            writer.writerow(self._names)
        writer.writerow([{"epoch": epoch, **logs}.get(name, "") for name in self._names])
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
        self._lines += text.getvalue().count("\n")

    def on_train_end(self) -> None:
        if self._resumed:  # also where there was no epoch left
            self._cut_to_lines()

    def get_state(self) -> dict[str, Any]:
        """The columns, and how many lines the file has."""
        return {"names": self._names, "lines": self._lines}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back, all or none; the file changes when the next epoch begins."""
        _same_names(self, state, ["names", "lines"])
        names, lines = state["names"], state["lines"]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"its columns are {names!r:.80}; expected their names")
        if not _is_whole(lines, 1, math.inf):
            raise ValueError(f"its file had {lines!r:.80} lines; expected a whole number above 0")
        if (header := self._header()) not in ([], names):
            raise ValueError(
                f"path is {str(self.path)!r}, a file with the columns {header}; expected {names}, those of the fit "
                "that goes on: delete the file, or take the path of then"
            )
        self._names, self._lines, self._resumed = names, lines, True

    def _in_file(self) -> list[bytes]:
        """The lines of the file, without their ends."""
        lines = self.path.read_bytes().split(b"\n") if self.path.exists() else []
        return lines[:-1] if lines and not lines[-1] else lines

    def _header(self) -> list[str]:
        """The columns that the file has, if there is one."""
        try:
            return next(csv.reader([line.decode("utf-8-sig") for line in self._in_file()[:1]]), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"path is {str(self.path)!r}, which is no CSV file in UTF-8: {error}") from None

    def _cut_to_lines(self) -> None:
        """Once in a fit: drop what comes after the lines that stay."""
        if self._cut:
            return
        self._cut = True
        kept = self._in_file()[: self._lines]
        self._lines = len(kept)
        size = sum(len(line) + 1 for line in kept)
        with self.path.open("ab") as file:
            if file.tell() < size:
                file.write(b"\r\n")  # the last line had no end
            else:
                file.truncate(size)


class TensorBoard(Callback):
    """Write loss and metrics for TensorBoard into `log_dir` (needs tensorboardX)."""

    checked = {"log_dir": path_text}
    log_dir: str

    def __init__(self, log_dir: str | os.PathLike[str] = "runs") -> None:
        self.log_dir = log_dir  # type: ignore[assignment]  # its check makes it a string
        self._writer = needs("tensorboardX", "the callback TensorBoard", "tensorboardX").SummaryWriter(self.log_dir)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        for name, value in logs.items():
            self._writer.add_scalar(name, value, epoch)

    def on_train_end(self) -> None:
        self._writer.flush()


class TimeLimit(Callback):
    """Stop after the first epoch that ends more than `seconds` after the start; the fit is then finished."""

    checked = {"seconds": not_negative}

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

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

    sizes: Callable[[], str] | None = None  # says how large inputs and targets are

    def on_train_begin(self) -> None:
        self._good = self.net.get_weights()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not (math.isfinite(logs["loss"]) and finite_layers(self.net.layers)):
            self.net.set_weights(self._good)
            raise DivergedError(
                f"training diverged in epoch {epoch}: the loss or a weight is no longer finite. The network has the "
                f"weights from before that epoch. A smaller learning rate than {self.net.lr}, clip_norm=1.0, inputs of "
                "mean 0 and variance 1 (a Standardize layer), or targets of about that size, (y - y.mean()) / y.std(), "
                f"may help.{'' if self.sizes is None else self.sizes()}"
            )
        for kept, layer in zip(self._good, self.net.layers):
            for place, array in zip(kept, layer.arrays().values()):
                place[...] = array
