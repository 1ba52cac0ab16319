"""Epochs between which there is nothing to do: many of them in one call of the kernel."""

from __future__ import annotations

import numpy as np

from .callbacks import Trainee
from .guard import NaNGuard, finite_layers
from .history import History
from .run import Run


def sprint(net: Trainee, run: Run, history: History, epochs: int) -> None:
    """Take the epochs that `history` lacks, with the results, bit for bit, of a `NaNGuard` after each.

    Where an epoch is short, one call of the kernel takes many. If not everything is finite after
    it, it is taken back, and its epochs come again one by one, up to the one that diverges.
    """
    guard: NaNGuard | None = None  # it holds the weights from before the next epoch
    one_by_one = False
    while (done := len(history.epoch)) < epochs:
        count = 1 if one_by_one else run.epochs_at_once(epochs - done)
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


def _at_once(run: Run, history: History, count: int) -> bool:
    """Take `count` epochs; False, and everything is as it was, if one of them diverges."""
    first, step = len(history.epoch), run.step
    places = run.engine.training_arrays(run.batch_size)
    before = run.engine.alone(lambda: [place.copy() for place in places])
    finite = False
    try:
        run.advance(count * run.steps_per_epoch)
    finally:  # Ctrl-C is heard after the kernel's call: its epochs count
        losses = run.losses[first : run.step // run.steps_per_epoch]
        finite = bool(np.isfinite(losses).all()) and finite_layers(run.engine.layers)
        if finite:
            for epoch, loss in enumerate(losses.tolist(), first + 1):
                history.add(epoch, {"loss": loss})
        else:
            run.step = step
            for place, kept in zip(places, before):
                place[...] = kept
    return finite
