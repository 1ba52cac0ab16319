"""Checkpoints: a run that was killed goes on, and ends with the bits it would have ended with."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import numpy as np

from .. import saving
from ..formulas.schedules import Constant
from .callbacks import Callback, Logs
from .history import History
from .run import Run
from .stream import StreamRun


class Checkpoint(Callback):
    """Keep a file from which the same fit goes on after a crash.

    Call the same ``fit`` again, with a `Checkpoint` of the same path: where the file exists, it goes
    on after the last epoch in it. Weights, optimiser, learning rate, the order of the samples and
    the state of the other callbacks are as if nothing had happened. The file stays when the fit is
    complete; the network can also be read from it with `fastnn.load`.

    Parameters
    ----------
    path : str or path-like
        The file. It is replaced as a whole, so it is valid at any moment.
    every : int, default 1
        After how many epochs it is written; also at the end.

    Raises
    ------
    ValueError
        If the file is of another network or another fit: other sizes, samples, batch size, shuffling
        or seed.

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

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        self.path, self.every = pathlib.Path(path), every

    def attach(self, run: Run | StreamRun, history: History, callbacks: list[Callback]) -> None:
        """Take what belongs to the state of the fit, and the file's state if there is one."""
        self._run, self._history = run, history
        self._others = [callback for callback in callbacks if callback is not self]
        self._written = 0
        if self.path.exists():
            self._restore()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if epoch % self.every == 0:
            self._write(epoch)

    def on_train_end(self) -> None:
        if self._history.epoch and self._history.epoch[-1] > self._written and not self._history.stopped:
            self._write(self._history.epoch[-1])

    def _write(self, epoch: int) -> None:
        numbers, arrays = [], {}
        for i, callback in enumerate(self._others):
            state = callback.get_state()
            numbers.append({name: value for name, value in state.items() if not isinstance(value, np.ndarray)})
            arrays.update({f"callback.{i}.{n}": value for n, value in state.items() if isinstance(value, np.ndarray)})
        history = {"epoch": self._history.epoch, "columns": dict(self._history)}
        more = {"run": {"epoch": epoch, **self._identity()}, "history": history, "callbacks": numbers}
        saving.save(self._run.engine, self.path, more, arrays)
        self._written = epoch

    def _identity(self) -> dict[str, Any]:
        """What must be the same for the fit to go on."""
        return self._run.identity()

    def _restore(self) -> None:
        description, tensors = saving.read(self.path)
        if "run" not in description:
            raise ValueError(f"{str(self.path)!r} holds a network but no fit to go on with")
        engine, run, then = self._run.engine, self._run, description["run"]
        sizes = [(layer.ins, layer.outs) for layer in engine.layers]
        if sizes != [(about["ins"], about["outs"]) for about in description["layers"]]:
            raise ValueError(f"{str(self.path)!r} holds another network; delete it, or take another path")
        run.go_on(then, then["epoch"], str(self.path))
        engine.weights = saving.layer_arrays(engine, tensors)
        saving.restore_optimizer(engine.state, description, tensors)
        lr = description["lr"]
        if isinstance(lr, dict):
            engine.rate.lr = lr["settings"]["lr"]
        else:  # another network may have been given the same object
            engine.rate = Constant(lr)
        for epoch, *values in zip(description["history"]["epoch"], *description["history"]["columns"].values()):
            self._history.add(epoch, dict(zip(description["history"]["columns"], values)))
        for i, (callback, state) in enumerate(zip(self._others, description["callbacks"])):
            prefix = f"callback.{i}."
            arrays = {name.removeprefix(prefix): a for name, a in tensors.items() if name.startswith(prefix)}
            if state or arrays:
                callback.set_state({**state, **arrays})
        self._written = then["epoch"]
