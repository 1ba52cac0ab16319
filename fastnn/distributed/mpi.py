"""Data-parallel training over MPI: every process has its own rows, and all take the steps of one network.

`Team` is all that there is of MPI: it says what the others have done, and ends all when one of them fails. `SharedRun`
takes the steps of an epoch together, `fit` is the door.

Nobody may wait for a rank that has failed. So every collective call of an epoch's steps carries a number that says
whether somebody is in trouble, every other one begins with a `meet`, and whoever fails joins the next call that the
others make, with the error instead of a result.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import platform
import secrets
import signal
import threading
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from ..checks import Array, positive_integer, shown
from ..data.batches import Batches
from ..data.held_out import seed_of
from ..data.moments import Moments, moments
from ..data.rows import balanced_weights, blocks_of, given_rows, sample_weights
from ..data.samples import Samples
from ..data.tables import column_names
from ..engine.engine import Engine
from ..engine.gradients import Share
from ..engine.plan import gradient_numbers
from ..engine.threads import at_most_threads, get_num_threads, threads_are_set
from ..extras import needs
from ..formulas.metrics import scores
from ..kernels.cpu import VECTOR_BYTES
from ..kernels.order import shuffle as write_order
from ..layers.base import BaseLayer
from ..layers.stage import Stage
from ..layers.vector import trained
from ..network import NeuralNetwork
from ..training.callbacks import Callback, StopTraining
from ..training.checkpoint import Checkpoint
from ..training.epochs import Alone, take_epochs, warn_of_idleness, weighed_samples
from ..training.guard import finite_layers
from ..training.history import History
from ..training.loggers import CSVLogger, TensorBoard
from ..training.monitors import ModelCheckpoint
from ..training.run import Run, agreed_seed, mark_of
from ..training.settings import Metrics, Settings
from .agreement import check_agreement, described

T = TypeVar("T")

_WRITERS = (ModelCheckpoint, CSVLogger, TensorBoard)


# --- the collective calls ------------------------------------------------------------------------


class Elsewhere(Exception):
    """What another rank has raised, as it was printed there: the cause of the error that this rank raises."""

    def __init__(self, rank: int, text: str) -> None:
        super().__init__(rank, text)
        self.rank, self.text = rank, text

    def __str__(self) -> str:
        return f"rank {self.rank} of this fit raised it:\n{self.text}"


class _Sent(NamedTuple):
    """What a rank tells the others at a meeting."""

    where: str
    value: Any
    error: bytes | None
    text: str


class Team(Alone):
    """The ranks of a communicator in one fit.

    Attributes
    ----------
    comm
        A duplicate: its messages are not the user's.
    rank, size : int
    settled : bool
        Whether all know that the fit has failed. Then nobody communicates any more.
    """

    def __init__(self, comm: Any, sum_of: Any, in_place: Any) -> None:
        self.comm = comm.Dup()
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()
        self.settled = False
        self.stopped = False  # whether they have agreed to stop
        self.interrupted = False  # by Ctrl-C, since the others were told last
        self._sum, self._in_place = sum_of, in_place

    def meet(self, where: str, value: Any = None, error: BaseException | None = None) -> list[Any]:
        """The values of all ranks, by rank; or, if one brings an error, that error on all of them.

        `where` is the place in the program: to meet at different ones is an error, too.
        """
        if error is None and self.interrupted:
            error = KeyboardInterrupt()
        text = "" if error is None else "".join(traceback.format_exception(error))
        found: list[_Sent] = self.comm.allgather(_Sent(where, None if error else value, _packed(error), text))
        if any(one.error is not None for one in found):
            self.settled = True
            raise_first(found, self.rank, error)
        if any(one.where != where for one in found):
            self.settled = True
            places = ", ".join(f"rank {rank} is at {one.where!r}" for rank, one in enumerate(found))
            raise RuntimeError(f"the ranks of this fit have parted: {places}; expected the same call of fit on all")
        return [one.value for one in found]

    def together(self, where: str, task: Callable[[], T]) -> list[T]:
        """What ``task()`` returns on each rank; what it raises on one is raised on all."""
        value, error = None, None
        try:
            value = task()
        except BaseException as raised:
            error = raised
        return self.meet(where, value, error)

    def of_first(self, task: Callable[[], T]) -> T:
        """What ``task()`` returns on rank 0."""
        found: list[T | None] = []
        self.together("rank 0", lambda: found.append(task()) if self.rank == 0 else None)
        result: T = self.comm.bcast(found[0] if found else None, root=0)
        return result

    def stop(self, request: StopTraining | None) -> StopTraining | None:
        """This rank's request to stop, or else that of the first rank that has one."""
        reasons = self.meet("stop", None if request is None else request.reason)
        reason = next((one for one in reasons if one is not None), None)
        self.stopped = self.stopped or reason is not None
        return request or (None if reason is None else StopTraining(reason))

    def add(self, block: Array, error: BaseException | None = None) -> None:
        """Replace `block` by the sum of everybody's; its last number is for the team."""
        block[-1] = 1.0 if error is not None or self.interrupted else 0.0
        self.comm.Allreduce(self._in_place, block, self._sum)
        if block[-1] != 0:
            self.meet("trouble", error=error)

    def take_from_first(self, arrays: Iterable[Array]) -> None:
        """Replace arrays, which are of the same shapes everywhere, by those of rank 0."""
        for array in arrays:
            self.comm.Bcast(array, root=0)

    @contextlib.contextmanager
    def deferring_interrupts(self) -> Iterator[None]:
        """Within it Ctrl-C is noted for the next meeting, where all ranks stop; the second Ctrl-C acts at once."""
        if threading.current_thread() is not threading.main_thread() or self.size == 1:
            yield
            return
        before = signal.getsignal(signal.SIGINT)
        if before is None:  # it was not set from Python
            yield
            return

        def note(number: int, frame: Any) -> None:
            if self.interrupted and callable(before):
                before(number, frame)
            self.interrupted = True

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _packed(error: BaseException | None) -> bytes | None:
    """An error for another process; of one that cannot go there its type and its text."""
    if error is None:
        return None
    try:
        data = pickle.dumps(error)
        if type(pickle.loads(data)) is type(error):
            return data
    except Exception:
        pass
    return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


def raise_first(found: Sequence[_Sent], rank: int, own: BaseException | None) -> NoReturn:
    """Raise this rank's own error, or else that of the first rank that has one; Ctrl-C, if there is nothing else."""
    failed = [one for one in range(len(found)) if found[one].error is not None]
    errors = {one: _unpacked(found[one]) for one in failed}
    real = [one for one in failed if not isinstance(errors[one], KeyboardInterrupt)]
    if own is not None and (rank in real or not real):
        raise own
    first = (real or failed)[0]
    raise errors[first] from Elsewhere(first, found[first].text)


def _unpacked(sent: _Sent) -> BaseException:
    try:
        error: BaseException = pickle.loads(sent.error or b"")
    except Exception:  # a class that there is on that rank alone
        error = RuntimeError(sent.text)
    return error


# --- shares --------------------------------------------------------------------------------------


class Deal(NamedTuple):
    """Which rows of each rank make up the batches of an epoch.

    Rows that were dealt out in turn make the batches of one process: of a batch of samples a to b rank r has the rows
    that are samples r, r + P, ... of them. Of other parts each rank has an equal part of its own rows in every batch.

    Attributes
    ----------
    counts : tuple of int
        Rows of each rank.
    batches : Batches
        Of all rows.
    steps : int
    dealt : bool
        Whether the counts are those of rows that were dealt out in turn.

    Examples
    --------
    >>> from fastnn.distributed.mpi import Deal
    >>> deal = Deal.of([4, 3], batch_size=3)
    >>> [[deal.start(rank, k) for k in range(deal.steps + 1)] for rank in (0, 1)]
    [[0, 2, 3, 4], [0, 1, 2, 3]]
    >>> deal = Deal.of([9, 3], batch_size=4)
    >>> [[deal.start(rank, k) for k in range(deal.steps + 1)] for rank in (0, 1)]
    [[0, 3, 6, 9], [0, 1, 2, 3]]
    """

    counts: tuple[int, ...]
    batches: Batches
    steps: int
    dealt: bool

    @classmethod
    def of(cls, counts: Iterable[int], batch_size: int, every: int = 1) -> Deal:
        """The deal of so many rows on each rank in batches of at most so many samples, or, undealt, about as many.

        Local steps, with `every` above 1, are on equal parts of the rank's own rows.
        """
        counts = tuple(counts)
        total, size = sum(counts), len(counts)
        batches = Batches.equal(total, batch_size)
        dealt = every == 1 and all(count == -((rank - total) // size) for rank, count in enumerate(counts))
        steps = batches.steps if dealt else min(batches.steps, max(counts))  # no batch is without samples
        return cls(counts, batches, steps, dealt)

    def start(self, rank: int, k: int) -> int:
        """How many rows of a rank come before batch number `k`."""
        if self.dealt:
            return max(0, -((rank - self.batches.start(k)) // len(self.counts)))
        return self.equal_parts(rank).start(k)

    def equal_parts(self, rank: int) -> Batches:
        """The rows of a rank in as many parts as there are steps."""
        count = self.counts[rank]
        return Batches(count, count // self.steps, count % self.steps, self.steps)

    def sizes(self, k: int) -> list[int]:
        """How many samples of batch number `k` each rank has."""
        return [self.start(rank, k + 1) - self.start(rank, k) for rank in range(len(self.counts))]

    def check(self, layers: Sequence[BaseLayer], batch_size: int, every: int) -> None:
        """See that no share is too small for a layer, or, in local steps, without a sample.

        Raises
        ------
        ValueError
            The same on all ranks.
        """
        most = max((layer.smallest_batch, index) for index, layer in enumerate(layers))
        least = 1 if every > 1 else 0
        for k in range(self.steps) if most[0] > 1 or least else ():
            for rank, share in enumerate(self.sizes(k)):
                if share < least:
                    raise ValueError(
                        f"batch_size is {batch_size} on {len(self.counts)} ranks with every={every}, which leaves rank "
                        f"{rank} without a sample in batch {k}; expected a batch_size that gives each rank one, or "
                        "every=1"
                    )
                if 0 < share < most[0]:
                    raise ValueError(
                        f"batch_size is {batch_size} on {len(self.counts)} ranks, which leaves rank {rank} a share of "
                        f"{share} in batch {k}, but layers[{most[1]}] is {layers[most[1]]!r}, which needs at least "
                        f"{most[0]}; take a larger batch_size, or fewer ranks"
                    )


class Local(NamedTuple):
    """What a rank has of the data."""

    samples: Samples
    weights: Array | None
    held_out: Samples | None


# --- the steps -----------------------------------------------------------------------------------


class SharedRun:
    """Training on the samples of all ranks: what `fastnn.training.run.Run` is for those of one process.

    Parameters
    ----------
    team : Team
    engine : Engine
    local : Local
        This rank's part.
    settings : Settings
        With the seed of all.
    deal : Deal
    every : int
        After how many steps the ranks meet: with 1 they add up gradients, else they average weights.
    seeded : bool
        Whether the seed is the caller's.
    """

    outputs = None  # measured in `epoch`

    def __init__(
        self, team: Team, engine: Engine, local: Local, settings: Settings, *, deal: Deal, every: int, seeded: bool
    ) -> None:
        self.team, self.engine, self.settings, self.deal, self.every = team, engine, settings, deal, every
        self.local, self._seeded = local, seeded
        self.seed = settings.seed or 0
        self.step, self.epochs_done = 0, 0
        of_epoch = [*settings.of_training]
        if settings.validates:
            of_epoch += ["val_loss", *(f"val_{name}" for name in settings.measures)]
        self.measures: Mapping[str, object] = dict.fromkeys(of_epoch)
        count, rank = local.samples.size, team.rank
        self._order = np.empty(count, np.int64) if settings.shuffle else None
        self._outputs = np.empty((count, engine.outs), engine.dtype) if settings.of_training else None
        self._largest = max(deal.start(rank, k + 1) - deal.start(rank, k) for k in range(deal.steps))
        held = [] if local.held_out is None else [local.held_out.rows, local.held_out.targets]
        marks = team.meet("samples", mark_of(local.samples.rows, local.samples.targets, local.weights, *held))
        self._mark = zlib.crc32(repr(marks).encode())
        self._met = False
        self._local_run: _LocalRun | None = None
        self._block, self._rates, self._before = np.empty(0), np.empty(0), [np.empty(0)]
        if every > 1:
            team.together("room", self._make_room)

    # --- as of `Run` -----------------------------------------------------------------------------

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.deal.steps

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Of the inputs, where they have some."""
        return None if self.local.samples.form is None else self.local.samples.form.names

    def adapt(self) -> None:
        """As of `Run`: what was measured is that of all ranks."""
        self.engine.take_up(self.local.samples.form)

    def identity(self) -> dict[str, int]:
        """As of `Run`; the same on all ranks."""
        return {
            "rows": sum(self.deal.counts),
            "batch_size": self.settings.batch_size,
            "equal_batches": 1,
            "shuffled": int(self.settings.shuffle),
            "validation_shuffle": 0,
            "seed": self.seed,
            "chunk_rows": 0,
            "split_seed": 0,
            "ranks": self.team.size,
            "every": self.every,
            "samples": self._mark,
        }

    def agreed_seed(self, then: Mapping[str, int]) -> int:
        """As of `Run`."""
        return agreed_seed(self.identity(), then, self._seeded)

    def go_on(self, seed: int, losses: Sequence[float], step: int) -> None:
        """As of `Run`."""
        self.seed, self.epochs_done, self.step = seed, len(losses), step

    # --- an epoch --------------------------------------------------------------------------------

    def epoch(self) -> dict[str, float]:
        """Take the steps of the next epoch; returns the mean loss and the metrics, the same on all ranks."""
        team, engine = self.team, self.engine
        rates = team.meet("epoch", engine.base_rate())
        if rates[0] != engine.base_rate():  # a callback of rank 0 has changed it
            engine.rate.lr = rates[0]
        if team.size > 1:
            team.take_from_first(layer.memory for layer in engine.layers)
        moving = [rows for layer in engine.layers if (rows := _moving(layer, engine)) is not None]
        team.together("beginning", lambda: self._begin_epoch(moving))
        try:
            losses, trouble = self._summed() if self.every == 1 else self._averaged()
        except KeyboardInterrupt:  # which all ranks have heard in the same place
            if team.size > 1 and team.settled:
                team.take_from_first(layer.memory for layer in engine.layers)
            raise
        value: Any = None
        if trouble is None:
            value = losses, [rows - old for rows, old in zip(moving, self._before)], finite_layers(engine.layers)
        found = team.meet("end of epoch", value, trouble)
        self.epochs_done += 1
        if self.every == 1:
            for place, old, *changes in zip(moving, self._before, *(change for _, change, _ in found)):
                place[...] = old + np.sum(changes, axis=0) / team.size
        loss = sum(one for one, _, _ in found) / sum(self.deal.counts)
        logs = {"loss": float(loss)}
        if self.measures and np.isfinite(loss) and all(finite for _, _, finite in found):
            logs.update(self._scores())
        return logs

    def _summed(self) -> tuple[float, BaseException | None]:
        """The steps of an epoch, each from the sum of the gradients; the sum of the losses, and what went wrong here.

        Who is in trouble takes part in the next sum and says so, or, if there is none, at the end of the epoch.
        """
        engine, deal, rank = self.engine, self.deal, self.team.rank
        losses, trouble = 0.0, None
        rates = self._rates
        for k in range(deal.steps):
            self._met = False
            try:
                if trouble is not None:
                    self._exchange(np.zeros(gradient_numbers(engine.layers, engine.dtype), engine.dtype), trouble)
                share, scale = self._share(k)
                rate = float(rates[k if rates.size > 1 else 0])
                loss, penalties = engine.shared_step(
                    share, self._exchange, self._largest, seed=self._own_seed, step=self.step, lr=rate
                )
                self.step += 1
                losses += loss / scale
                losses += penalties * (deal.start(rank, k + 1) - deal.start(rank, k))
                if share.outputs is not None and self._order is not None and self._outputs is not None:
                    self._outputs[self._order[deal.start(rank, k) : deal.start(rank, k + 1)]] = share.outputs
            except BaseException as error:
                if self.team.settled:
                    raise
                trouble = trouble or error
                if not self._met:
                    self._exchange(np.zeros(gradient_numbers(engine.layers, engine.dtype), engine.dtype), trouble)
        engine.state.epochs += 1
        return losses, trouble

    @property
    def _own_seed(self) -> int:
        """Of what is drawn on this rank: the order of its rows, and noise."""
        return seed_of(self.seed, self.team.rank)

    def _begin_epoch(self, moving: list[Array]) -> None:
        """All that can fail before the ranks meet in the steps: the order of the rows, and the learning rates."""
        self._before = [rows.copy() for rows in moving]
        if self.every > 1:  # its run has both
            return
        if self._order is not None:
            write_order(self._order.ctypes.data, self._order.size, self._own_seed, self.epochs_done)
        self._rates = self.engine.rates(self.deal.steps, self.deal.steps)

    def _make_room(self) -> None:
        """Room for the optimiser's numbers, and for all that is averaged."""
        self.engine.training_arrays(1)
        self._block = np.empty(sum(place.size for place in self._places()) + 1, self.engine.dtype)

    def _places(self) -> list[Array]:
        """What is averaged, as views: all that layers hold but what is measured once, and the optimiser's numbers."""
        layers, numbers = self.engine.layers, self.engine.state.numbers
        held = [_unpadded(layer) for layer in trained(layers) if layer not in self.engine.measuring]
        return held + [array[..., : layer.outs] for layer, array in zip(layers, numbers)]

    def _exchange(self, block: Array, error: BaseException | None = None) -> None:
        self._met = True
        self.team.add(block, error)

    def _share(self, k: int) -> tuple[Share, float]:
        """This rank's samples of batch number `k`, and by what its losses are multiplied."""
        first, last = (self.deal.start(self.team.rank, one) for one in (k, k + 1))
        if first == last:
            return Share(None), 1.0
        samples, weights, outputs = self.local.samples, self.local.weights, self._outputs
        rows: Any = slice(first, last)
        if self._order is not None:
            rows = self._order[first:last]
            outputs = None if outputs is None else np.empty((last - first, self.engine.outs), self.engine.dtype)
        else:
            outputs = None if outputs is None else outputs[rows]
        part = Samples(samples.rows[rows], samples.targets[rows], samples.classes)
        scale = (last - first) / sum(self.deal.sizes(k))
        if weights is not None:
            weights = weights[rows] * scale
        elif scale != 1.0:
            weights = np.full(last - first, scale)
        return Share(part, weights, outputs), scale

    def _averaged(self) -> tuple[float, BaseException | None]:
        """The same with `every` local steps between two averages of all that training changes."""
        team, engine, deal, trouble = self.team, self.engine, self.deal, None
        places, block = self._places(), self._block
        losses = 0.0
        for first in range(0, deal.steps, self.every):
            last = min(first + self.every, deal.steps)
            try:
                if trouble is None:
                    if self._local_run is None:
                        self._local_run = _LocalRun(self)
                        self._outputs = self._local_run.outputs
                    self._local_run.advance(last - first)
                    losses = self._local_run.loss_sum
            except BaseException as error:
                trouble = error
            self.step += last - first
            shares = [deal.start(rank, last) - deal.start(rank, first) for rank in range(team.size)]
            np.concatenate([place.ravel() for place in places], out=block[:-1])
            block *= engine.dtype.type(shares[team.rank] / sum(shares))
            team.add(block, trouble)
            for place, part in zip(places, np.split(block, np.cumsum([place.size for place in places]))):
                place[...] = part.reshape(place.shape)
        return losses, trouble

    # --- scores ----------------------------------------------------------------------------------

    def _scores(self) -> dict[str, float]:
        """The metrics of the epoch and those of validation, on the rows of all ranks: rank 0 computes them."""
        settings, engine, local = self.settings, self.engine, self.local
        parts: list[Any] = [(local.samples.y, self._outputs, None, 0.0) if self._outputs is not None else None]

        def measured() -> Any:
            held = local.held_out
            if held is None:
                return None
            outputs = engine.outputs(held.rows)
            loss = engine.mean_loss(outputs, held.targets, held.classes, held.weight) * held.size
            return (
                (held.y if settings.measures else None),
                outputs if settings.measures else held.size,
                held.weight,
                loss,
            )

        self.team.together("scores", lambda: parts.append(measured()))
        found = self.team.comm.gather(parts, root=0)
        return self.team.of_first(lambda: self._scores_of([one[0] for one in found], [one[1] for one in found]))

    def _scores_of(self, trained: list[Any], held: list[Any]) -> dict[str, float]:
        """The metrics of what all ranks have sent."""
        settings, logs = self.settings, {}
        if settings.of_training:
            logs.update(self._metrics(settings.of_training, trained))
        held = [one for one in held if one is not None]
        if held:
            count = sum(one[1] if isinstance(one[1], int) else len(one[1]) for one in held)
            logs["val_loss"] = float(sum(one[3] for one in held) / count)
            if settings.measures:
                values = self._metrics(settings.measures, held)
                logs.update({f"val_{name}": value for name, value in values.items()})
        return logs

    def _metrics(self, measures: Any, parts: list[Any]) -> dict[str, float]:
        weights = None
        if any(one[2] is not None for one in parts):
            weights = np.concatenate([np.ones(len(one[1])) if one[2] is None else one[2] for one in parts])
        y, outputs = (np.concatenate([one[place] for one in parts]) for place in (0, 1))
        return scores(measures, y, outputs, self.engine.loss, weights, self.engine.form.predictor)


class _LocalRun(Run):
    """The steps on this rank's share of each batch of `whole`, from where that is."""

    def __init__(self, whole: SharedRun) -> None:
        self._parts = whole.deal.equal_parts(whole.team.rank)
        settings = replace(whole.settings, seed=seed_of(whole.seed, whole.team.rank))
        super().__init__(whole.engine, whole.local.samples, settings, whole.local.weights)
        self.step = whole.epochs_done * self.steps_per_epoch

    def _batches_of(self, count: int, settings: Settings) -> Batches:
        return self._parts


def _unpadded(layer: BaseLayer) -> Array:
    """All rows of a layer, as a view."""
    return layer.memory.reshape(layer.memory_rows, layer.stride)[:, : layer.outs]


def _moving(layer: BaseLayer, engine: Engine) -> Array | None:
    """The rows of a stage that training does not descend on but may move, such as running averages, as a view."""
    if not isinstance(layer, Stage) or layer in engine.measuring or layer.memory_rows == layer.shape[0]:
        return None
    return _unpadded(layer)[layer.shape[0] :]


# --- the door ------------------------------------------------------------------------------------


class _Start(NamedTuple):
    """What each rank says first."""

    described: dict[str, Any]
    seed: int
    validates: bool
    place: tuple[str, tuple[int, ...]]  # the machine, and the processors that the rank may use


def fit(
    net: NeuralNetwork,
    X: Any,
    y: Any,
    epochs: int = 1,
    batch_size: int = 32,
    *,
    every: int = 1,
    comm: Any = None,
    validation_data: tuple[Any, ...] | None = None,
    shuffle: bool = True,
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | Sequence[float] | str | None = None,
    metrics: Metrics = (),
    train_metrics: bool | None = None,
    callbacks: Iterable[Callback] | Callback | None = (),
    verbose: int = 1,
    seed: int | None = None,
) -> History:
    """Train one network on the rows of all ranks: the same call on each, under ``mpiexec -n P python -m mpi4py ...``.

    Keywords that are not explained here are those of `NeuralNetwork.fit`.

    Parameters
    ----------
    net : NeuralNetwork
        Built by the same code on all ranks. All begin with the weights, the state of the optimiser and the learning
        rate of rank 0.
    X, y : array_like
        This rank's rows, at least one, in memory; ranks may have different numbers of them. Best they are dealt out in
        turn, ``X[rank::size]``: without shuffling P ranks then take the steps of one process, to rounding.
    epochs : int, default 1
    batch_size : int, default 32
        Samples to a step on all ranks together. Each takes its share of every batch from its own rows. Where these
        were not dealt out in turn, each parts its rows evenly among the steps, and batches are of about that size.
    every : int, default 1
        With 1 every step is one on the sum of the gradients of all. With k above 1 each rank takes k compiled steps
        on its own share, and then weights and the optimiser's numbers are averaged (local SGD).
    comm : mpi4py.MPI.Comm, optional
        By default ``MPI.COMM_WORLD``.
    validation_data : (X, y) or (X, y, sample_weight), optional
        This rank's part of them; ranks may have none, as where rank 0 has all. Metrics are of all parts together.
    shuffle : bool, default True
        Whether each rank takes its own rows in a new random order in every epoch.
    callbacks : Callbacks, one or many
        They run on all ranks that give them. Files of `Checkpoint`, `ModelCheckpoint`, `CSVLogger` and `TensorBoard`
        are written by rank 0 alone. A stop that one rank asks for is one on all; of the learning rate and the weights
        those of rank 0 count, from the next epoch on.
    verbose : {0, 1, 2}, default 1
        Rank 0 shows it.
    seed : int, optional
        The same on all ranks, or on none.

    Returns
    -------
    History
        The same on all ranks.

    Raises
    ------
    ImportError
        If mpi4py is not installed, or finds no MPI.
    ValueError
        On all ranks, if they disagree (it names who has what), or one has no rows; if a share is too small for a layer,
        such as `BatchNorm`.
    RuntimeError
        On all ranks, if they do not do the same.
    Exception
        What one rank raises, in a callback or of its data, is raised on all; there its cause names the rank.

    Notes
    -----
    The loss is the mean over the union of a batch, so weights, limits of the gradient and penalties are as in one
    process. Statistics of a batch, of `BatchNorm`, are of a rank's share; running averages are averaged over the ranks
    after each epoch. Noise and dropout differ from rank to rank. `Standardize` and `StandardizeTargets` measure the
    rows of all ranks.

    Where nothing says how many threads to use, ranks on one machine share its cores. After Ctrl-C on one rank all stop
    at the same step. A `Checkpoint` goes on with the same number of ranks.

    Examples
    --------
    A script runs without ``mpiexec``, too, as one rank::

        from mpi4py import MPI
        from fastnn.distributed import mpi

        rank, size = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size
        history = mpi.fit(net, X[rank::size], y[rank::size], epochs=10, batch_size=256, seed=0)
    """
    try:
        MPI = needs("mpi4py.MPI", "fastnn.distributed.mpi", "mpi4py mpich")
    except RuntimeError as error:
        raise ImportError(
            f"fastnn.distributed.mpi needs an MPI, and mpi4py finds none ({error}): pip install mpich, or make that of "
            "your machine known"
        ) from error
    given = MPI.COMM_WORLD if comm is None else comm
    if not isinstance(given, MPI.Intracomm):
        raise TypeError(f"comm is {shown(comm)}; expected a communicator, such as mpi4py.MPI.COMM_WORLD")
    team = Team(given, MPI.SUM, MPI.IN_PLACE)
    try:
        with team.deferring_interrupts():

            def start() -> tuple[Settings, _Start]:
                settings = Settings(
                    epochs=epochs, batch_size=batch_size, validation_data=validation_data, shuffle=shuffle,
                    sample_weight=sample_weight, class_weight=class_weight, metrics=metrics,
                    train_metrics=train_metrics, callbacks=callbacks, verbose=verbose, seed=seed,
                )  # fmt: skip
                return settings, _first_words(net, X, y, settings, every)

            return _fit(team, net, X, y, start, every)
    except BaseException as error:
        if not team.settled:
            with contextlib.suppress(BaseException):  # it is this rank's own
                team.meet("end", error=error)
        raise
    finally:
        team.comm.Free()


def _first_words(net: Any, X: Any, y: Any, settings: Settings, every: int) -> _Start:
    if not isinstance(net, NeuralNetwork):
        raise TypeError(f"net is {shown(net)}; expected a NeuralNetwork")
    about = described(
        net.engine, X, y, seed=settings.seed, epochs=settings.epochs, batch_size=settings.batch_size,
        every=positive_integer(every, "every"), shuffle=settings.shuffle, class_weight=repr(settings.class_weight),
        metrics=list(settings.measures), train_metrics=settings.train_metrics, vector_bytes=VECTOR_BYTES,
    )  # fmt: skip
    allowed = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    return _Start(about, secrets.randbits(62), settings.validates, (platform.node(), allowed))


def _fit(
    team: Team, net: NeuralNetwork, X: Any, y: Any, start: Callable[[], tuple[Settings, _Start]], every: int
) -> History:
    mine: list[Settings] = []

    def said() -> _Start:
        settings, words = start()
        mine.append(settings)
        return words

    words = team.together("start", said)
    check_agreement([one.described for one in words])
    settings, engine = mine[0], net.engine
    seeded, validates = settings.seed is not None, any(one.validates for one in words)
    settings = replace(
        settings,
        seed=settings.seed if seeded else words[0].seed,
        validation_data=settings.validation_data or (((), ()) if validates else None),
        verbose=settings.verbose if team.rank == 0 else 0,
        callbacks=settings.callbacks if team.rank == 0 else _without_files(settings.callbacks),
    )
    _begin_as_first(team, engine)
    if team.rank == 0:
        warn_of_idleness(engine)
    local = _local(team, engine, X, y, settings)
    deal = Deal.of(team.meet("counts", local.samples.size), settings.batch_size, every)
    deal.check(engine.layers, settings.batch_size, every)
    history = History()
    with at_most_threads(threads_beside([one.place for one in words], team.rank)):
        run = SharedRun(team, engine, local, settings, deal=deal, every=every, seeded=seeded)
        take_epochs(net, run, settings, None, None, history, team)
        _end(team, run, history)
    return history


def _end(team: Team, run: SharedRun, history: History) -> None:
    """See that all have come to the end, with one history and one network."""
    if team.settled:
        return
    error: BaseException | None = None
    if history.stopped and not team.stopped:  # by what the others have not heard of
        interrupted = history.stopped == f"interrupted after {run.step} steps"
        error = KeyboardInterrupt() if interrupted else StopTraining(history.stopped)
    try:
        found = team.meet("end", (history.stopped, run.engine.base_rate()), error)
        history.stopped, run.engine.rate.lr = found[0]
    except StopTraining as request:
        history.stopped = history.stopped or request.reason
    except KeyboardInterrupt:
        history.stopped = history.stopped or f"interrupted after {run.step} steps"
    else:
        team.take_from_first(layer.memory for layer in run.engine.layers)


def _without_files(callbacks: Iterable[Callback]) -> tuple[Callback, ...]:
    """The callbacks of a rank that writes nothing; what keeps a state beside a `Checkpoint` leaves its place."""
    others = (one for one in callbacks if not isinstance(one, Checkpoint))
    return tuple(Callback() if isinstance(one, _WRITERS) else one for one in others)


def _begin_as_first(team: Team, engine: Engine) -> None:
    """Take over the weights, the optimiser's state and the learning rate of rank 0."""
    if team.size == 1:
        return

    def whole() -> tuple[Any, ...]:
        state = engine.state
        numbers = [array[..., : layer.outs] for layer, array in zip(engine.layers, state.numbers)]
        fitted = [layer.fitted for layer in engine.measuring]
        return engine.weights, numbers, state.steps, state.epochs, fitted, engine.feature_names, engine.base_rate()

    weights, numbers, steps, epochs, fitted, names, rate = team.of_first(whole)
    if team.rank > 0:
        state = engine.state
        engine.weights, engine.feature_names, engine.rate.lr = weights, names, rate
        state.give_back_room()
        if numbers:
            state.make_room(engine.dtype)
            state.numbers = numbers
        state.steps, state.epochs = steps, epochs
        for layer, was in zip(engine.measuring, fitted):
            layer.fitted = was


def _local(team: Team, engine: Engine, X: Any, y: Any, settings: Settings) -> Local:
    """This rank's samples through the door, with what is measured on those of all."""
    form = engine.form
    if form.measures or form.measures_targets:

        def measured() -> tuple[Moments | None, Moments | None]:
            inputs = moments(given_rows(X, "X", form.ins), form.ins) if form.measures else None
            rows = np.asarray(y).reshape(len(y), -1)  # the door looks closer
            return inputs, moments(blocks_of(rows, form.outs), form.outs) if form.measures_targets else None

        found = team.together("measures", measured)
        form = form.measured_by(_merged([inputs for inputs, _ in found]))
        form = form.measured_targets_by(_merged([targets for _, targets in found]))
    made: list[Local] = []

    def through_the_door() -> Array | None:
        own = form.named(column_names(X))
        samples, held, given = Samples.of_rows(own, X, y), None, settings.validation_data
        if given is not None and (getattr(given[0], "shape", None) or (len(given[0]),))[0] > 0:
            held = weighed_samples(own, given, " of validation_data")
        made.append(Local(samples, None, held))
        if settings.class_weight is None:
            return None
        classes, count = own.classes_of(samples.targets, samples.classes)
        return None if classes is None else np.bincount(classes, minlength=count)

    counts = team.together("door", through_the_door)
    local = made[0]

    def weighed() -> bool:
        by_class: Any = settings.class_weight
        if by_class == "balanced" and counts[0] is not None:
            by_class = balanced_weights(np.sum([one for one in counts if one is not None], axis=0))
        form, samples = local.samples.form, local.samples
        assert form is not None
        classes, count = form.classes_of(samples.targets, samples.classes) if by_class is not None else (None, 0)
        weights = sample_weights(
            settings.sample_weight, by_class, classes, samples.size, "sample_weight", class_count=count
        )
        made.append(Local(samples, weights, local.held_out))
        return weights is None or bool(weights.any())

    if not any(team.together("weights", weighed)):
        raise ValueError(
            "sample_weight and class_weight give the samples of all ranks the weight 0, so that none counts; expected "
            "some above 0"
        )
    return made[-1]


def _merged(parts: Iterable[Moments | None]) -> Moments | None:
    """The moments of the rows of all ranks."""
    known = [part for part in parts if part is not None]
    return reduce(Moments.and_of, known) if known else None


def threads_beside(places: Sequence[tuple[str, tuple[int, ...]]], rank: int) -> int | None:
    """How many threads suit a rank among those of its machine; None leaves it to what the user has set."""
    if threads_are_set():
        return None
    beside = [allowed for host, allowed in places if host == places[rank][0]]
    if any(allowed != beside[0] for allowed in beside):  # mpiexec has bound each to processors of its own
        return None
    return max(1, get_num_threads() // len(beside))
