"""The steps that many ranks take together, each with its own rows."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from ..data.batches import Batches
from ..data.held_out import seed_of
from ..data.samples import Samples
from ..engine.engine import Engine
from ..engine.gradients import BatchPart
from ..engine.plan import gradient_numbers
from ..formulas.metrics import scores
from ..kernels.order import shuffle as write_order
from ..layers.base import BaseLayer
from ..layers.stage import Stage
from ..layers.vector import trained
from ..training.guard import finite_layers
from ..training.run import Run, agreed_seed, mark_of
from ..training.settings import Settings
from .deal import Deal
from .team import Team


class Local(NamedTuple):
    """What a rank has of the data."""

    samples: Samples
    weights: Array | None
    held_out: Samples | None


class _Exchange:
    """The ranks in a step: see ``engine.gradients.Exchange``.

    Attributes
    ----------
    met : bool
        Whether they have done so in this step for the last time.
    """

    def __init__(self, team: Team) -> None:
        self._team, self.rank, self.met = team, team.rank, False

    @property
    def size(self) -> int:
        return self._team.size if self._team.has_window else 1

    def add(
        self, block: Array, parts: Sequence[Sequence[slice]] | None = None, error: BaseException | None = None
    ) -> None:
        self.met = parts is None
        self._team.add(block, parts, error)

    def pass_on(self, parts: Sequence[Sequence[slice]], places: Sequence[Sequence[Array]]) -> None:
        self.met = True
        self._team.pass_on(parts, places)


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

    Attributes
    ----------
    block : ndarray
        What the ranks add up: all gradients lie in it, or all that is averaged.
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
        self._exchange = _Exchange(team)
        self._local_run: _LocalRun | None = None
        self._rates, self._before = np.empty(0), [np.empty(0)]
        count = gradient_numbers(engine.layers, engine.dtype)
        if every > 1:
            team.together("optimiser", lambda: engine.training_arrays(1))
            count = sum(place.size for place in self._places()) + 1
        self.block = team.room(count, engine.dtype)

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
                if self.every == 1:
                    engine.share_numbers(self._exchange)
            raise
        value: Any = None
        if trouble is None:
            value = losses, [rows - old for rows, old in zip(moving, self._before)], finite_layers(engine.layers)
        found = team.meet("end of epoch", value, trouble)
        self.epochs_done += 1
        if self.every == 1:
            engine.share_numbers(self._exchange)
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
            self._exchange.met = False
            try:
                if trouble is not None:
                    self._exchange_nothing(trouble)
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
                if not self._exchange.met:
                    self._exchange_nothing(trouble)
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

    def _places(self) -> list[Array]:
        """What is averaged, as views: all that layers hold but what is measured once, and the optimiser's numbers."""
        layers, numbers = self.engine.layers, self.engine.state.numbers
        held = [_unpadded(layer) for layer in trained(layers) if layer not in self.engine.measuring]
        return held + [array[..., : layer.outs] for layer, array in zip(layers, numbers)]

    def _exchange_nothing(self, error: BaseException) -> None:
        self.block[...] = 0
        self._exchange.add(self.block, error=error)

    def _share(self, k: int) -> tuple[BatchPart, float]:
        """This rank's samples of batch number `k`, and by what its losses are multiplied."""
        first, last = (self.deal.start(self.team.rank, one) for one in (k, k + 1))
        if first == last:
            return BatchPart(None), 1.0
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
        return BatchPart(part, weights, outputs), scale

    def _averaged(self) -> tuple[float, BaseException | None]:
        """The same with `every` local steps between two averages of all that training changes."""
        team, engine, deal, trouble = self.team, self.engine, self.deal, None
        places, block = self._places(), self.block
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
            team.add(block, error=trouble)
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
