"""Callbacks: code of yours, or of ours, that runs between the epochs of a fit."""

from __future__ import annotations

import inspect
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ..checks import (
    Array,
    Checked,
    function_of,
    instance_hint,
    not_negative,
    shown,
)
from ..engine.engine import Engine
from ..formulas.metrics import Metric
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
    stays : str
        Why it cannot be sent to another process, as a `NetworkBank` does under ``joblib.parallel_config``; empty if it
        can: then the copy of there sends its attributes home.

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
    stays: str = ""  # why it cannot be sent to another process, if it cannot

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

    def __repr__(self) -> str:
        """The class, and the settings that are not as by default."""
        parameters = inspect.signature(type(self)).parameters
        own = {name: vars(self)[name] for name in parameters if name in vars(self)}
        told = [f"{name}={shown(x)}" for name, x in own.items() if repr(x) != repr(parameters[name].default)]
        return f"{type(self).__name__}({', '.join(told)})"


def check_callbacks(callbacks: Iterable[Callback]) -> tuple[Callback, ...]:
    """The callbacks, or an error unless all are."""
    callbacks = tuple(callbacks)
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks holds {shown(callback)}; expected Callback objects{instance_hint(callback)}")
        hooks = [name for name in dir(callback) if name.startswith("on_") and callable(getattr(callback, name, None))]
        if unknown := [name for name in hooks if not hasattr(Callback, name)]:
            known = ", ".join(name for name in vars(Callback) if name.startswith("on_"))
            warnings.warn(
                f"{type(callback).__name__}.{unknown[0]} is never called; a fit calls {known}",
                RuntimeWarning,
                stacklevel=5,
            )
    if len(set(map(id, callbacks))) < len(callbacks):
        twice = next(one for k, one in enumerate(callbacks) if any(one is other for other in callbacks[:k]))
        raise ValueError(f"callbacks holds one {type(twice).__name__} twice, which would see every epoch twice")
    return callbacks


def may_add_quantities(callback: Callback) -> bool:
    """Whether it may put something into the logs: it is, or calls, code that is not fastnn's."""
    own = type(callback).__module__.partition(".")[0] == __name__.partition(".")[0]
    return not own or isinstance(callback, LambdaCallback)


def is_whole(value: Any, least: int, most: float) -> bool:
    """Whether a state's value is a whole number in these bounds."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def same_names(callback: Callback, state: Mapping[str, Any], names: Iterable[str]) -> None:
    """See that a state has these names and no others."""
    if set(state) != set(names):
        raise ValueError(
            f"the state of {type(callback).__name__} has {sorted(map(str, state))}; expected {sorted(names)}"
        )


class LambdaCallback(Callback):
    """Functions as a callback, with the arguments of the methods of `Callback`."""

    stays = "what its functions write to would stay there: make a subclass of Callback"

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
