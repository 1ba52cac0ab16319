"""Epochs between which there is nothing to do: many of them in one call of the kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .callbacks import Callback, StopTraining, Trainee
from .guard import NaNGuard, finite_layers
from .history import History
from .run import Run


class Watch(Callback):
    """A callback that looks at the losses alone, and can do without that for some epochs.

    A fit whose callbacks are all of this kind, without validation and metrics, takes many epochs in one call of
    the kernel where that does not change what they make of it. `on_epoch_begin` is not called.
    """

    def epochs_ahead(self) -> int:
        """How many of the next epochs may be over before `on_epoch_end` is called for them, at least 1.

        It is asked after each call for the last of them, and may raise `StopTraining`, or change the network, in
        none of them but the last.
        """
        return 1


def sprint(net: Trainee, run: Run, history: History, epochs: int, watches: Sequence[Watch] = ()) -> None:
    """Take the epochs that `history` lacks, with the results, bit for bit, of a `NaNGuard` after each.

    Where an epoch is short, one call of the kernel takes many. If not everything is finite after
    it, it is taken back, and its epochs come again one by one, up to the one that diverges.
    """
    guard: NaNGuard | None = None  # it holds the weights from before the next epoch
    one_by_one = False
    while (done := len(history.epoch)) < epochs:
        ahead = min([epochs - done, *(watch.epochs_ahead() for watch in watches)])
        count = 1 if one_by_one else run.epochs_at_once(ahead)
        try:
            if count == 1:
                if guard is None:
                    guard = NaNGuard()
                    guard.net, guard.sizes = net, run.sizes
                    guard.on_train_begin()
                logs = run.epoch()
                history.add(done + 1, logs)
                guard.on_epoch_end(done + 1, logs)
            else:
                guard = None  # one copy of the weights at a time
                one_by_one = not _at_once(run, history, count)
        except KeyboardInterrupt:
            _show(watches, history, done)
            raise
        _show(watches, history, done)


def _show(watches: Sequence[Watch], history: History, done: int) -> None:
    """Let the watches see the epochs after the first `done`; all have their turn before one stops the fit."""
    stop: StopTraining | None = None
    for epoch in history.epoch[done:]:
        for watch in watches:
            try:
                watch.on_epoch_end(epoch, {"loss": history["loss"][epoch - 1]})
            except StopTraining as request:
                stop = stop or request
    if stop is not None:
        raise stop


def _at_once(run: Run, history: History, count: int) -> bool:
    """Take `count` epochs; False, and everything is as it was, if one of them diverges."""
    trial = Trial(run, history)
    finite = False
    try:
        run.advance(count * run.steps_per_epoch)
    finally:  # Ctrl-C is heard after the kernel's call: its epochs count
        finite = trial.settled()
    return finite


class Trial:
    """Epochs of a run that are noted in its history, or taken back if one of them diverges; it begins when made."""

    def __init__(self, run: Run, history: History) -> None:
        self._run, self._history, self._step = run, history, run.step
        self._places = run.engine.training_arrays(run.batch_size)
        self._before = run.engine.alone(lambda: [place.copy() for place in self._places])

    def settled(self) -> bool:
        """Note the epochs that have been taken since; False, and all is as it was, if not everything is finite."""
        run, first = self._run, len(self._history.epoch)
        losses = run.losses[first : run.step // run.steps_per_epoch]
        finite = bool(np.isfinite(losses).all()) and finite_layers(run.engine.layers)
        if finite:
            for epoch, loss in enumerate(losses.tolist(), first + 1):
                self._history.add(epoch, {"loss": loss})
        else:
            run.step = self._step
            for place, kept in zip(self._places, self._before):
                place[...] = kept
        return finite
