"""A training run: the steps of many epochs, taken by the kernel in chunks."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.rows import many_zeros
from ..engine.threads import run_team, team_size
from ..formulas.schedules import Schedule
from ..kernels.epoch import train_steps
from ..kernels.records import RUN

if TYPE_CHECKING:
    from ..article import ArticleNetwork
    from ..engine.plan import Plan

Array = np.ndarray[Any, np.dtype[Any]]

CHUNK_SECONDS = 0.1  # the kernel comes back this often: for Ctrl-C, and for other threads


class Run:
    """Training of `net` on `rows` and `targets`, which the door has checked.

    Parameters
    ----------
    net : ArticleNetwork
    rows : ndarray (n, ins)
    targets : ndarray
        Rows of values or class indices, as the kernels take them.
    classes : bool
        Which of the two.
    batch_size : int
    shuffle : bool
    seed : int or None
        Of the order; None draws one.
    weights : ndarray (n,) of float64, optional
        Weights of the samples' losses.
    keep_outputs : bool
        Whether to keep each sample's output of the current epoch in ``outputs``, (n, outs).
    epochs : int, default 0
        Of how many epochs to keep the mean loss in ``losses``, (epochs,).
    """

    interrupt: threading.Event | None = None  # set by another thread, it does what Ctrl-C does in the main one

    def __init__(
        self,
        net: ArticleNetwork,
        rows: Array,
        targets: Array,
        classes: bool,
        batch_size: int,
        shuffle: bool,
        seed: int | None,
        weights: Array | None = None,
        keep_outputs: bool = False,
        epochs: int = 0,
    ) -> None:
        count = rows.shape[0]
        self.net, self.rows, self.classes = net, rows, classes
        self.batch_size = min(batch_size, count)
        self.steps_per_epoch: int = -(-count // self.batch_size)
        self.step = 0
        self.chunk = 1  # how many steps the next call of the kernel may take
        self._loss_sum = 0.0  # of the current epoch
        self.outputs = np.empty((count, net.layers[-1].outs), net.dtype) if keep_outputs else None
        self.losses = np.empty(epochs)
        self._order = np.empty(count, np.int64) if shuffle else None
        self._kept = (rows, targets, weights)
        self._bare = weights is None and not keep_outputs
        self._record = np.zeros(1, RUN)
        record = self._record[0]
        record["rows"], record["batch_size"] = count, self.batch_size
        record["x"], record["t"] = rows.ctypes.data, targets.ctypes.data
        self._sparse = many_zeros(rows)
        self._seeded = seed is not None
        record["epochs"], record["diverged"] = epochs, -1
        record["seed"] = secrets.randbits(62) if seed is None else seed
        losses = self.losses if epochs else None
        places = {"order": self._order, "weights": weights, "outputs": self.outputs, "losses": losses}
        for name, array in places.items():
            record[name] = 0 if array is None else array.ctypes.data
        self._address = int(self._record.ctypes.data)

    def advance(self, steps: int) -> float:
        """Take so many steps; returns the mean loss of the current epoch so far.

        Each loss is taken before its step.
        """
        net, end = self.net, self.step + steps
        state = net._optimizer_state()
        while self.step < end:
            if self.interrupt is not None and self.interrupt.is_set():
                raise KeyboardInterrupt
            count = min(self.chunk, end - self.step)
            rates = self._rates(self.step + count)
            started = time.perf_counter()
            plan = net._ready(self.batch_size)
            with plan.lock:
                plan.expect(self.classes)
                plan.pass_over_zeros(self._sparse)
                plan.descend(state, batches=self.batch_size > 1)
                plan.choose_steps(self.batch_size, count, end - self.step if self._bare else 0)
                plan.loss_sum[0] = self._loss_sum  # another call may have used it meanwhile
                try:
                    run_team(plan, self._team(plan, count), self._kernel(plan, count, rates))
                finally:  # Ctrl-C is heard when the kernel returns: its steps count
                    reached = int(self._record[0]["reached"])
                    if plan.plain:
                        state.steps += reached - self.step
                    self.step = reached
                    self._loss_sum = float(plan.loss_sum[0])
            a_step = max(time.perf_counter() - started, 1e-6) / count
            self.chunk = max(1, min(8 * self.chunk, int(CHUNK_SECONDS / a_step)))
        within = (self.step - 1) % self.steps_per_epoch + 1
        return self._loss_sum / int(min(self.rows.shape[0], within * self.batch_size))

    def _kernel(self, plan: Plan, count: int, rates: Array) -> Callable[[int], bool]:
        """The next `count` steps, as what each thread of a team calls with its number."""
        begin, run = self.step, self._address
        self._record[0]["reached"] = begin
        return lambda who: train_steps(plan.address, run, begin, begin + count, rates, who)

    def _team(self, plan: Plan, count: int) -> int:
        """How many threads suit the next `count` steps."""
        if self.interrupt is not None:  # then each thread trains a network of its own
            return 1
        products = 3 * self.batch_size * sum(layer.ins * layer.outs for layer in plan.layers)
        return team_size(products, count, self.batch_size // 4)

    def epoch(self) -> dict[str, float]:
        """Take the steps of the next epoch; returns its mean loss."""
        return {"loss": self.advance(self.steps_per_epoch)}

    def epochs_at_once(self, limit: int) -> int:
        """How many epochs, from 1 to `limit`, the next call of the kernel may take."""
        return max(1, min(limit, self.chunk // self.steps_per_epoch))

    def identity(self) -> dict[str, int]:
        """What makes two runs the same: samples, batch size, shuffling and seed, and no chunks."""
        record = self._record[0]
        return {
            "rows": int(record["rows"]),
            "batch_size": self.batch_size,
            "shuffled": int(self._order is not None),
            "seed": int(record["seed"]),
            "chunk_rows": 0,
        }

    def go_on(self, then: Mapping[str, int], epochs: int, path: str) -> None:
        """Continue the run `then`, of the checkpoint `path`, after so many epochs."""
        self._record[0]["seed"] = agreed_seed(self.identity(), then, self._seeded, path)
        self.step = epochs * self.steps_per_epoch

    def _rates(self, stop: int) -> Array:
        """The learning rates of the steps from here to `stop`: one for all, unless scheduled."""
        if isinstance(self.net.lr, Schedule):
            taken = int(self.net._optimizer_state().steps[0])
            return self.net.lr.rates(taken, taken + stop - self.step, self.steps_per_epoch)
        return np.array([self.net._learning_rate()])


def agreed_seed(mine: Mapping[str, int], then: Mapping[str, int], seeded: bool, path: str) -> int:
    """The seed with which a run of identity `mine` goes on where `then` was, or an error if they differ.

    A seed that the caller left to us is the one of then.
    """
    mine = {**mine, "seed": mine["seed"] if seeded else then["seed"]}
    for name, value in mine.items():
        if then.get(name, 0) != value:
            raise ValueError(
                f"{name} is {value} but was {then.get(name, 0)} in the checkpoint {path!r}; a fit goes on only with "
                "the same samples and settings. Delete the file to start anew."
            )
    return mine["seed"]
