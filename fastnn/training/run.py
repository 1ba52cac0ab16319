"""A training run: the steps of many epochs, taken by the kernel in chunks."""

from __future__ import annotations

import contextlib
import secrets
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ..checks import Array
from ..data.batches import Batches
from ..data.rows import many_zeros
from ..data.samples import Samples
from ..engine.engine import Engine
from ..engine.pace import ALONE, pace_of
from ..engine.plan import Plan
from ..engine.threads import run_team, team_size
from ..engine.workers import Flag
from ..kernels.epoch import train_steps
from ..kernels.records import RUN
from ..layers.fitting import check_batches
from .settings import Settings

CHUNK_SECONDS = 0.1  # the kernel comes back this often: for Ctrl-C, and for other threads
ROOM = 64  # epochs whose losses have a place from the start
MARKED_BYTES = 2**25  # how much of an array `mark_of` looks at: some hundredths of a second


def next_chunk(chunk: int, most: int, taken: int, seconds: float) -> int:
    """How many steps the next call of a kernel may take, after one that took these of at most `most` in these seconds.

    `chunk` is how many it might have taken.
    """
    a_step = max(seconds, 1e-6) / max(1, taken)
    return max(1, min(8 * chunk if taken == most else chunk, int(CHUNK_SECONDS / a_step)))


class Divergence(NamedTuple):
    """Where a run left the finite numbers.

    Attributes
    ----------
    step : int
        The step, counted from 0, whose loss was not finite, or the first of the few among which it is.
    window : int
        How many these are.
    last_loss : float or None
        The mean loss of the samples before it in its epoch, or of the epoch before; None at the very beginning.
    """

    step: int
    window: int
    last_loss: float | None


class Steps(Protocol):
    """The steps of a fit, epoch after epoch: `Run` takes them on samples in memory, `StreamRun` chunk by chunk."""

    engine: Engine
    step: int

    @property
    def measures(self) -> Mapping[str, object]:
        """What `epoch` gives beside the loss, by name."""

    @property
    def outputs(self) -> Array | None:
        """Those of the current epoch, where metrics are measured on them."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch; 0 where nobody knows."""

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Of the inputs, where they have some."""

    def adapt(self) -> None:
        """Fit the layers that standardise inputs and targets, if they have not been fitted."""

    def epoch(self) -> dict[str, float]:
        """Take the steps of the next epoch; returns its mean loss, and what else it measures."""

    def identity(self) -> dict[str, int]:
        """What makes two runs the same."""

    def agreed_seed(self, then: Mapping[str, int]) -> int:
        """The seed with which it may go on where the run of identity `then` was, or an error."""

    def go_on(self, seed: int, losses: Sequence[float], step: int) -> None:
        """Continue under that seed after the epochs with these losses, which took so many steps in all."""


class Run:
    """Training of a network on samples in memory.

    Parameters
    ----------
    engine : Engine
    samples : Samples
    settings : Settings
        Of them counts how many epochs, the batches, the order and its seed (None draws one), and
        whether metrics are measured on the samples: then each one's output of the current epoch is kept in ``outputs``.
    weights : ndarray (n,) of float64, optional
        Weights of the samples' losses.

    Attributes
    ----------
    batches : Batches
        Of an epoch.
    batch_size : int
        Samples of the largest.
    losses : ndarray
        The mean loss of each epoch that is complete; there is room for more, but not for all that may come.
    outputs : ndarray (n, outs) or None
    step : int
        How many steps were taken.
    address : int
        Of the record by which kernels know it.
    """

    measures: Mapping[str, object] = {}  # the metrics are measured on `outputs`, by others
    interrupt: Flag | None = None  # set by another thread, it does what Ctrl-C does in the main one
    counts_epochs = True  # whether its epochs are those of the network; of a part of an epoch they are not

    def __init__(self, engine: Engine, samples: Samples, settings: Settings, weights: Array | None = None) -> None:
        count = samples.size
        self.engine, self.samples = engine, samples
        self.batches = self._batches_of(count, settings)
        self.batch_size = self.batches.largest
        self.steps_per_epoch = self.batches.steps
        self._told = {"batch_size": min(settings.batch_size, count), "equal_batches": int(settings.equal_batches)}
        self._split_seed = settings.split_seed
        check_batches(engine.layers, self.batches, settings.batch_size)
        self.step = 0
        self.chunk = 1  # how many steps the next call of the kernel may take
        self.loss_sum = 0.0  # of the current epoch
        self.outputs = np.empty((count, engine.outs), engine.dtype) if settings.of_training else None
        self._epochs = settings.epochs
        self.losses = np.empty(min(settings.epochs, ROOM))
        self._order = np.empty(count, np.int64) if settings.shuffle else None
        self._weights = weights
        self._bare = weights is None and self.outputs is None
        self._sparse = many_zeros(samples.rows)
        self._seeded = settings.seed is not None
        self._record = np.zeros(1, RUN)
        record = self._record[0]
        record["epochs"] = self.losses.size
        record["rows"], record["batch_size"], record["larger"], record["steps"] = self.batches
        record["seed"] = secrets.randbits(62) if settings.seed is None else settings.seed
        record["diverged"], record["averaged"] = -1, settings.averaged
        places = {
            "x": samples.rows, "t": samples.targets, "order": self._order, "weights": weights,
            "outputs": self.outputs, "losses": self.losses,
        }  # fmt: skip
        for name, array in places.items():
            record[name] = 0 if array is None else array.ctypes.data
        self.address = int(self._record.ctypes.data)

    def _batches_of(self, count: int, settings: Settings) -> Batches:
        """The batches of an epoch of so many samples."""
        return Batches.of(count, settings.batch_size, settings.equal_batches)

    def advance(self, steps: int) -> float:
        """Take so many steps; returns the mean loss of the current epoch so far.

        Each loss is taken before its step.
        """
        end = self.step + steps
        while self.step < end:
            if self.interrupt is not None and self.interrupt.is_set():
                raise KeyboardInterrupt
            most = min(self.chunk, end - self.step)
            rates = self.rates_ahead(most)
            begin, started = self.step, time.perf_counter()
            ahead = end - begin if self._bare else 0

            def take(plan: Plan, most: int = most, ahead: int = ahead, rates: Array = rates) -> None:
                plan.choose_steps(self.batch_size, most, ahead)
                with self.counted(plan):
                    self._take(plan, most, rates)

            self.engine.train_with(take, self.batch_size, self.samples.classes, self._sparse)
            self.chunk = next_chunk(self.chunk, most, self.step - begin, time.perf_counter() - started)
        within = (self.step - 1) % self.steps_per_epoch + 1
        return self.loss_sum / self.batches.start(within)

    def rates_ahead(self, steps: int) -> Array:
        """The learning rates of the next so many steps, for which room is made: one for all, unless scheduled."""
        self._make_room((self.step + steps) // self.steps_per_epoch)
        return self._rates(steps)

    @contextlib.contextmanager
    def counted(self, plan: Plan) -> Iterator[None]:
        """Within it a kernel takes steps of this run with its network's plan: they count, however it ends."""
        plan.loss_sum[0] = self.loss_sum  # another call may have used it meanwhile
        self._record[0]["reached"] = self.step
        try:
            yield
        finally:  # Ctrl-C is heard when the kernel returns: its steps count
            reached = int(self._record[0]["reached"])
            plan.count_steps(reached - self.step)
            if self.counts_epochs:
                epochs = reached // self.steps_per_epoch - self.step // self.steps_per_epoch
                self.engine.state.epochs += epochs
            self.step = reached
            self.loss_sum = float(plan.loss_sum[0])

    def _make_room(self, epochs: int) -> None:
        """Have places for the losses of the first so many epochs, up to those of the settings."""
        if self.losses.size < min(epochs, self._epochs):
            losses = np.empty(min(max(epochs, 2 * self.losses.size), self._epochs))
            losses[: self.losses.size] = self.losses
            self.losses = losses
            self._record[0]["losses"], self._record[0]["epochs"] = losses.ctypes.data, losses.size

    def _take(self, plan: Plan, most: int, rates: Array) -> None:
        """Take at most so many steps: as many as one team, or one thread, should (see ``engine.pace``)."""
        begin, run, record = self.step, self.address, self._record[0]
        size, turn, pace = self._team(plan, most), ALONE, None
        if size > 1:
            pace = pace_of("training", plan.dtype, size, 3 * plan.products, self.batch_size)
            turn = pace.turn()
        end = begin + int(min(most, max(1.0, turn.samples / self.batch_size)))

        def kernel(address: int, who: int) -> bool:
            return train_steps(address, run, begin, end, rates, who)

        started = time.perf_counter()
        tried = run_team(plan, size, kernel, turn)
        if pace is not None:
            samples = self._samples(int(record["reached"])) - self._samples(begin)
            pace.note(turn if tried else ALONE, samples, time.perf_counter() - started)

    def _samples(self, step: int) -> int:
        """How many samples the steps before this one have."""
        epochs, steps = divmod(step, self.steps_per_epoch)
        return epochs * self.samples.size + self.batches.start(steps)

    def _team(self, plan: Plan, count: int) -> int:
        """How many threads suit the next `count` steps."""
        if self.interrupt is not None:  # then each thread trains a network of its own
            return 1
        return team_size(3 * self.batch_size * plan.products, count, self.batch_size // 4)

    def _rates(self, steps: int) -> Array:
        """The learning rates of the next so many steps: one for all, unless scheduled."""
        return self.engine.rates(steps, self.steps_per_epoch, self.step % self.steps_per_epoch)

    def divergence(self) -> Divergence | None:
        """Where the loss stopped being finite, if it did."""
        record = self._record[0]
        step, count = int(record["diverged"]), int(record["last_count"])
        if step < 0:
            return None
        epoch = step // self.steps_per_epoch
        before = float(self.losses[epoch - 1]) if epoch > 0 else None
        return Divergence(step, int(record["window"]), float(record["last_loss"]) / count if count else before)

    def sizes(self) -> str:
        """A sentence about the sizes of inputs and targets, for whoever looks for the reason of a divergence."""
        largest = {"input": self.samples.rows}
        if not self.samples.classes:
            largest["target"] = self.samples.targets
        if self._weights is not None:
            largest["weight"] = self._weights
        first, *others = (f"{name} {float(np.abs(array).max()):.3g}" for name, array in largest.items())
        return f" The largest {first.replace(' ', ' is ', 1)}" + "".join(f", the largest {one}" for one in others) + "."

    def adapt(self) -> None:
        """Fit the layers that standardise inputs and targets, if they have not been fitted; keep the names."""
        self.engine.take_up(self.samples.form)

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Of the inputs, where they have some."""
        return None if self.samples.form is None else self.samples.form.names

    def epoch(self) -> dict[str, float]:
        """Take the steps of the next epoch; returns its mean loss."""
        return {"loss": self.advance(self.steps_per_epoch)}

    def epochs_at_once(self, limit: int) -> int:
        """How many epochs, from 1 to `limit`, the next call of the kernel may take."""
        return max(1, min(limit, self.chunk // self.steps_per_epoch))

    def identity(self) -> dict[str, int]:
        """What makes two runs the same: samples, batches, shuffling and seed, and no chunks."""
        record = self._record[0]
        return {
            "rows": self.samples.size,
            **self._told,
            "shuffled": int(self._order is not None),
            "validation_shuffle": int(self._split_seed is not None),
            "seed": int(record["seed"]),
            "chunk_rows": 0,
            "split_seed": self._split_seed or 0,
            "samples": mark_of(self.samples.rows, self.samples.targets, self._weights),
        }

    def agreed_seed(self, then: Mapping[str, int]) -> int:
        """The seed with which it may go on where the run of identity `then` was, or an error."""
        return agreed_seed(self.identity(), then, self._seeded)

    def go_on(self, seed: int, losses: Sequence[float], step: int) -> None:
        """Continue under that seed after the epochs with these losses, which took so many steps in all."""
        self._record[0]["seed"] = seed
        self.step = step
        self._make_room(len(losses))
        known = min(len(losses), self.losses.size)
        self.losses[:known] = losses[:known]


def agreed_seed(mine: Mapping[str, int], then: Mapping[str, int], seeded: bool) -> int:
    """The seed with which a run of identity `mine` goes on where `then` was.

    A seed that the caller left to us is the one of then.

    Raises
    ------
    ValueError
        If the two differ; it says in what.
    """
    mine = {**mine, "seed": mine["seed"] if seeded else then["seed"]}
    for name, value in mine.items():
        if then.get(name, 1) != value:
            if name == "samples":
                raise ValueError("the samples, their targets or their weights are not what they were")
            raise ValueError(f"{name} is {value} but was {then[name]}")
    return mine["seed"]


def mark_of(*arrays: Array | None) -> int:
    """A number that tells arrays of the same shapes apart; of large ones it looks at some rows only."""
    mark = 0
    for array in arrays:
        if array is not None:
            some = array[:: -(-array.nbytes // MARKED_BYTES) or 1]
            mark = zlib.crc32(np.ascontiguousarray(some).data, mark)
    return mark
