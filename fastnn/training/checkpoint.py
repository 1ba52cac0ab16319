"""Checkpoints: a run that was killed goes on, and ends with the bits it would have ended with."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import saving
from ..checks import Array, learning_rate, path, positive_integer
from ..data.samples import Samples
from ..data.tables import checked_names
from ..engine.engine import Engine
from ..files import check_target
from ..formulas.schedules import Constant
from .callbacks import Callback
from .history import History
from .kept import Kept, checksum, difference, in_json, read_kept
from .run import Steps, mark_of

_left_with: WeakKeyDictionary[Engine, Any] = WeakKeyDictionary()  # the rates at the ends of fits that were kept


class Checkpoint(Callback):
    """Keep a file from which the same fit goes on after a crash.

    Call the same ``fit`` again, with a `Checkpoint` of the same path: where the file exists, it goes
    on after the last epoch in it. Weights, optimiser, learning rate, the order of the samples and
    the state of the other callbacks are as if nothing had happened. The file stays when the fit is
    complete: with more ``epochs`` it goes on; one that a callback ended (`StopTraining`, as of
    `EarlyStopping`) is finished, and trains nothing when it is called again. The network can also be
    read from the file with `fastnn.load`.

    Where it stands among the callbacks does not matter: it is written when all of them have had their
    turn. Of several with paths of their own, the one that is furthest on counts.

    Parameters
    ----------
    path : str or path-like
        The file. It is replaced as a whole, so it is valid at any moment.
    every : int, default 1
        After how many epochs it is written; also at the end.

    Raises
    ------
    ValueError
        If the file is damaged, or of another network or another fit: other layers, loss, optimiser or learning
        rate, other samples, samples held out, batch size, shuffling, seed, metrics, or callbacks. Nothing has
        changed then. Those
        callbacks that keep no state, and stand behind all that do, may come and go.
    OSError
        Before training begins, if the file cannot be written there.

    Examples
    --------
    >>> import fastnn, numpy as np, os, tempfile
    >>> X, y = np.eye(4), np.arange(4)
    >>> folder = tempfile.TemporaryDirectory()
    >>> def fit(epochs):
    ...     layer = fastnn.Layer(4, 4, fastnn.Identity(), seed=0)
    ...     net = fastnn.NeuralNetwork([layer], fastnn.CrossEntropyLoss(), 0.1, fastnn.Adam())
    ...     checkpoint = fastnn.Checkpoint(os.path.join(folder.name, "run.safetensors"))
    ...     return net.fit(X, y, epochs=epochs, callbacks=[checkpoint], seed=0)
    >>> _ = fit(3)          # killed here, say
    >>> fit(5).epoch        # the same fit goes on
    [1, 2, 3, 4, 5]
    >>> folder.cleanup()
    """

    checked = {"path": path, "every": positive_integer}
    path: pathlib.Path

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        self.path, self.every = path, every  # type: ignore[assignment]  # its check makes it a path


class Keeper:
    """What keeps a fit in its checkpoints, and goes on from them where all that must be the same is.

    Parameters
    ----------
    run : Steps
    callbacks : sequence of Callback
        The caller's.
    history : History
    columns : sequence of str
        The quantities that each epoch adds to it.
    held_out : Samples, optional
        For validation.
    """

    def __init__(
        self,
        run: Steps,
        callbacks: Sequence[Callback],
        history: History,
        columns: Sequence[str],
        held_out: Samples | None,
    ) -> None:
        self._engine, self._run, self._history, self._columns = run.engine, run, history, list(columns)
        self._checkpoints = [callback for callback in callbacks if isinstance(callback, Checkpoint)]
        others = [callback for callback in callbacks if not isinstance(callback, Checkpoint)]
        while others and not _keeps_state(others[-1]):
            others.pop()
        self._callbacks = others
        if not self._checkpoints:
            return
        _check_paths(callbacks)
        self._held_out = 0 if held_out is None else mark_of(held_out.rows, held_out.targets)
        self._begun_with = self._now()["lr"]
        self._identity = run.identity()

    def _now(self) -> dict[str, Any]:
        """What a file would say of the network."""
        now: dict[str, Any] = in_json(saving.description(self._engine))
        return now

    # --- writing -------------------------------------------------------------------------------

    def keep(self, epoch: int, stopped: str, last: bool) -> None:
        """Write those checkpoints that are due after an epoch, when all callbacks have had their turn."""
        due = [checkpoint for checkpoint in self._checkpoints if last or epoch % checkpoint.every == 0]
        if not due:
            return
        engine, callbacks = self._engine, []
        arrays: dict[str, Array] = {}
        for i, callback in enumerate(self._callbacks):
            state, own = _state_of(callback)
            callbacks.append({"class": type(callback).__name__, "state": state, "arrays": sorted(own)})
            arrays.update({f"callback.{i}.{name}": array for name, array in own.items()})
        run: dict[str, Any] = {
            **self._identity, "epoch": epoch, "step": self._run.step, "held_out": self._held_out,
            "rate": self._begun_with,
        }  # fmt: skip
        history = {"epoch": self._history.epoch, "columns": dict(self._history), "stopped": stopped}
        more: dict[str, Any] = {"run": run, "history": history, "callbacks": callbacks}
        engine.alone(lambda: self._write(due, more, arrays))  # so that the sum is that of what is saved

    def _write(self, due: list[Checkpoint], more: dict[str, Any], arrays: dict[str, Array]) -> None:
        engine = self._engine
        states = [numbers[:, :, : layer.outs] for layer, numbers in zip(engine.layers, engine.state.numbers)]
        own_layers = [array for layer in engine.layers for array in layer.arrays().values()]
        more["run"]["checksum"] = checksum(
            {**self._now(), **more}, [*own_layers, *states, *(arrays[name] for name in sorted(arrays))]
        )
        for checkpoint in due:
            saving.save(engine, checkpoint.path, more, arrays)

    def end(self) -> None:
        """Note how the fit leaves its network, so that another call knows that it is nobody else's change."""
        if self._checkpoints:
            _left_with[self._engine] = self._now()["lr"]

    # --- reading -------------------------------------------------------------------------------

    def found(self) -> Kept | None:
        """The checkpoint to go on from, checked against everything, or None if there is none yet."""
        best: Kept | None = None
        for checkpoint in self._checkpoints:
            if checkpoint.path.exists():
                kept = read_kept(checkpoint.path)
                self._check(kept)
                if best is not None and kept.run["seed"] != best.run["seed"]:
                    raise kept.other("fit", f"seed was {kept.run['seed']}, but {best.run['seed']} in {best.path!r}")
                if best is None or kept.epoch > best.epoch:
                    best = kept
        return best

    def _check(self, kept: Kept) -> None:
        self._check_network(kept)
        self._check_rate(kept)
        run, per_epoch = kept.run, self._run.steps_per_epoch
        try:
            self._run.agreed_seed(run)
        except ValueError as error:
            raise kept.other("fit", str(error)) from None
        if run["held_out"] != self._held_out:
            raise kept.other("fit", "the validation data are not what they were")
        if list(kept.columns) != self._columns:
            raise kept.other("fit", f"its epochs give {self._columns} but gave {list(kept.columns)}")
        if run["step"] != run["epoch"] * per_epoch if per_epoch else run["step"] < run["epoch"]:
            raise kept.damaged(f"{run['step']} steps are not those of {run['epoch']} epochs")
        have, had = [type(callback).__name__ for callback in self._callbacks], [name for name, _ in kept.callbacks]
        if have != had:
            raise kept.other("fit", f"callbacks is [{', '.join(have)}] but was [{', '.join(had)}]")
        self._check_arrays(kept)

    def _check_network(self, kept: Kept) -> None:
        now = self._now()
        for name in ("layers", "dtype", "loss", "optimizer", "clip_norm", "clip_value"):
            mine, then = ([_unfitted(layer) for layer in some] if isinstance(some, list) else some
                          for some in (now[name], kept.description.get(name)))  # fmt: skip
            if found := difference(mine, then, name):
                raise kept.other("network", found)
        mine = self._run.feature_names
        if mine is not None and (names := self._names(kept)) and (found := difference(list(mine), list(names))):
            raise kept.other("fit", f"feature_names{found}")

    def _names(self, kept: Kept) -> tuple[str, ...] | None:
        try:
            return checked_names(kept.description.get("feature_names"), self._engine.ins)
        except (TypeError, ValueError) as error:
            raise kept.damaged(str(error)) from None

    def _check_rate(self, kept: Kept) -> None:
        """The rate is that of the beginning, or as the fit left it; callbacks change only the `lr` of a schedule."""
        mine, begun, then = self._begun_with, kept.begun_with, kept.description.get("lr")
        for rate in (begun, then):
            try:
                learning_rate(saving.base_rate(rate))
            except (KeyError, TypeError, ValueError):
                raise kept.damaged(f"{rate!r:.80} is no learning rate") from None
        known = [begun, then, _left_with.get(self._engine, begun)]
        if all(difference(mine, rate) for rate in known):
            raise kept.other("fit", difference(mine, begun, "lr"))
        if found := difference(_without_rate(mine), _without_rate(then), "lr"):
            raise kept.other("fit", found)

    def _check_arrays(self, kept: Kept) -> None:
        """Shapes, dtypes, and the sum of all."""
        engine, tensors = self._engine, kept.tensors
        try:
            found = saving.layer_arrays(engine, tensors)
            numbers = [tensors[f"optimizer.{i}"] for i in range(len(engine.layers))] if _has_state(kept, engine) else []
        except KeyError as error:
            raise kept.damaged(f"it lacks the array {error}") from None
        kinds = max(1, len(engine.optimizer.state))
        wanted = [
            *((f"layers.{i}.{name}", place.shape) for i, one in enumerate(engine.layers)
              for name, place in one.arrays().items()),
            *((f"optimizer.{i}", (kinds, one.shape[0], one.outs)) for i, one in enumerate(engine.layers) if numbers),
        ]  # fmt: skip
        arrays = [array for some in found for array in some]
        for (name, shape), array in zip(wanted, [*arrays, *numbers]):
            if array.shape != shape or array.dtype != engine.dtype:
                have, want = f"shape {array.shape} and dtype {array.dtype}", f"{shape} and {engine.dtype}"
                raise kept.damaged(f"{name} has {have}; expected {want}")
        if not all(np.isfinite(array).all() for array in arrays):
            raise kept.damaged("not all of its weights are finite")
        own = [tensors[name] for name in sorted(tensors) if name.startswith("callback.")]
        if checksum(kept.description, [*arrays, *numbers, *own]) != kept.run["checksum"]:
            raise kept.damaged("its sum is not that of what it holds")

    # --- going on ------------------------------------------------------------------------------

    def restore(self, kept: Kept, callbacks: Sequence[Callback]) -> None:
        """Go on from a checkpoint that has been checked: all of it, or, if one of `callbacks` refuses, nothing."""
        engine = self._engine
        with self._all_or_nothing(callbacks):
            engine.weights = saving.layer_arrays(engine, kept.tensors)
            saving.restore_optimizer(engine.state, kept.description, kept.tensors)
            lr = kept.description["lr"]
            if isinstance(lr, dict):
                engine.rate.lr = float(saving.base_rate(lr))
            else:  # another network may have been given the same object
                engine.rate = Constant(lr)
            for layer in engine.measuring:  # their numbers are there
                layer.fitted = True
            engine.feature_names = self._names(kept) or engine.feature_names
            for callback, (name, state) in zip(self._callbacks, kept.callbacks):
                if state:
                    try:
                        callback.set_state(state)
                    except (OSError, MemoryError):
                        raise
                    except Exception as error:
                        reason = error if isinstance(error, ValueError) else repr(error)
                        raise kept.other("fit", f"{name}.set_state does not take its state: {reason}") from error
        columns = kept.columns
        for epoch, values in enumerate(zip(*columns.values()), 1):
            self._history.add(epoch, dict(zip(columns, values)))
        self._history.stopped = kept.stopped
        seed = self._run.agreed_seed(kept.run)
        self._run.go_on(seed, columns["loss"], kept.run["step"])
        if self._checkpoints:
            self._identity["seed"], self._begun_with = seed, kept.begun_with

    @contextmanager
    def _all_or_nothing(self, callbacks: Sequence[Callback]) -> Iterator[None]:
        """What happens inside is undone if it raises: in the network, its optimiser, its rate and the callbacks."""
        engine, state = self._engine, self._engine.state
        weights, rate, lr = engine.weights, engine.rate, engine.rate.lr
        steps, epochs = state.steps.copy(), state.epochs.copy()
        numbers = [array.copy() for array in state.numbers]
        fitted, names = [(layer, layer.fitted) for layer in engine.measuring], engine.feature_names
        attributes = [dict(vars(callback)) for callback in callbacks]
        try:
            yield
        except BaseException:
            engine.weights, engine.rate, rate.lr = weights, rate, lr
            state.steps, state.epochs, engine.feature_names = steps, epochs, names
            if not numbers:  # there was no room for any
                state.give_back_room()
            for place, array in zip(state.numbers, numbers):
                place[...] = array
            for layer, was in fitted:
                layer.fitted = was
            for callback, before in zip(callbacks, attributes):
                vars(callback).clear()
                vars(callback).update(before)
            raise


def kept_split_seed(callbacks: Iterable[Callback]) -> int | None:
    """The seed of the draw of the samples held out in a fit of which there is a checkpoint; None if there is none."""
    for checkpoint in callbacks:
        if isinstance(checkpoint, Checkpoint) and checkpoint.path.exists():
            run = read_kept(checkpoint.path).run
            if run["validation_shuffle"]:
                return run["split_seed"]
    return None


def _keeps_state(callback: Callback) -> bool:
    """Whether it has a `get_state` or `set_state` of its own."""
    return any(
        getattr(getattr(callback, name), "__func__", None) is not getattr(Callback, name)
        for name in ("get_state", "set_state")
    )


def _state_of(callback: Callback) -> tuple[dict[str, Any], dict[str, Array]]:
    """The numbers and the arrays of a callback's state."""
    name, state = type(callback).__name__, callback.get_state()
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise TypeError(f"{name}.get_state returned {state!r:.80}; expected a dict of numbers and arrays by name")
    arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray) and value.ndim}
    for key, array in arrays.items():
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise TypeError(f"{name}.get_state returned {key!r} of dtype {array.dtype}; expected numbers")
    rest = {
        key: value[()] if isinstance(value, np.ndarray) else value for key, value in state.items() if key not in arrays
    }
    try:
        return in_json(rest), arrays
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{name}.get_state returned what no file can keep: {error}") from error


def _check_paths(callbacks: Iterable[Callback]) -> None:
    """Each checkpoint has a place to be written to, which is no other callback's."""
    owners: dict[str, str] = {}
    for callback in callbacks:
        if (path := getattr(callback, "path", None)) is not None:
            name, place = type(callback).__name__, os.path.realpath(path)
            if isinstance(callback, Checkpoint):
                check_target(callback.path)
            if place in owners and Checkpoint.__name__ in (name, owners[place]):
                raise ValueError(f"{owners[place]} and {name} have the same path {str(path)!r}; expected one for each")
            owners[place] = name


def _has_state(kept: Kept, engine: Engine) -> bool:
    """Whether there are, or must be, numbers of the optimiser: plain descent has none, but may have room for them."""
    return not engine.state.is_plain or any(name.startswith("optimizer.") for name in kept.tensors)


def _unfitted(layer: Any) -> Any:
    """The description of a layer without what training has made of it."""
    if isinstance(layer, dict) and isinstance(layer.get("settings"), dict):
        settings = {name: value for name, value in layer["settings"].items() if name != "fitted"}
        return {**layer, "settings": settings}
    return layer


def _without_rate(rate: Any) -> Any:
    """The description of a schedule without its `lr`, which may be that of another one in it; nothing of a number."""
    if not isinstance(rate, dict):
        return None
    settings = rate.get("settings")
    if not isinstance(settings, dict):  # no schedule: then it is like none
        return rate
    parts = {name: _without_rate(part) for name, part in settings.items() if isinstance(part, dict)}
    return {**rate, "settings": {**settings, **parts, "lr": None}}
