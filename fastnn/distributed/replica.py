"""What a worker does in a fit on many: gradients, steps and scores as pure functions of weights, parts and numbers."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..checks import Array
from ..data.batches import Batches
from ..data.held_out import seed_of
from ..data.samples import Samples
from ..engine.engine import Engine
from ..engine.threads import at_most_threads
from ..formulas.metrics import scores
from ..kernels.order import shuffle
from ..layers.dense import Layer
from ..layers.normalisation import LayerNorm, Standardize
from ..layers.targets import StandardizeTargets
from ..layers.vector import trained, vector_size
from ..training.run import Run
from ..training.settings import Settings, measures_of
from ..version import __version__
from .part import Part, check_version

T = TypeVar("T")
_BY_ROW = (Layer, Standardize, StandardizeTargets, LayerNorm)  # treat each row alike, whatever is beside it


class State(NamedTuple):
    """Everything that steps change.

    Attributes
    ----------
    weights : ndarray
        Of all layers, running averages too.
    optimizer : ndarray
        The optimiser's numbers; none where only gradients are wanted.
    steps : int
        How many it has taken.
    sums : ndarray of float64
        Of the epoch so far: of the losses of all rows, and of each metric.
    """

    weights: Array
    optimizer: Array
    steps: int
    sums: Array

    def without_optimizer(self) -> State:
        """What gradients need."""
        return self._replace(optimizer=self.optimizer[:0])

    def diverged(self) -> State:
        """The same with a loss that says so: the guard of the fit then gives back the weights before the epoch."""
        return self._replace(sums=np.full_like(self.sums, np.nan))


class Sum(NamedTuple):
    """What is added up over workers: a gradient, or weights with the optimiser's numbers; each has its share already.

    Behind a gradient lie the running averages.
    """

    vector: Array
    optimizer: Array
    sums: Array


class Share(NamedTuple):
    """What of the next batches one worker is to take.

    Attributes
    ----------
    step : int
        The number of the first step, from 0 at the beginning of the fit.
    rows : int
        Of all workers' shares.
    takes : list of list of (first, last)
        For each step, which rows of the epoch's order to take of each part.
    rates : ndarray
        Of the steps, or one for all.
    threads : int
        How many may be used.
    """

    step: int
    rows: int
    takes: list[list[tuple[int, int]]]
    rates: Array
    threads: int


def added(some: Sequence[Sum]) -> Sum:
    """Their sum."""
    first, *others = some
    total = Sum(*(array.copy() for array in first))
    for other in others:
        for place, array in zip(total, other):
            place += array
    return total


def places(engine: Engine) -> tuple[list[Array], list[Array]]:
    """Views of the rows of all layers that steps change, and of the optimiser's numbers; without padding."""
    engine.training_arrays(2)  # which makes room for the optimiser's numbers
    layers = [_rows(layer) for layer in trained(engine.layers) if layer not in engine.measuring and layer.memory_rows]
    state = engine.state
    return layers, [numbers[:, :, : layer.outs] for layer, numbers in zip(state.layers, state.numbers)]


def statistics(engine: Engine) -> list[Array]:
    """Views of what gradients move: running averages."""
    layers = [layer for layer in trained(engine.layers) if layer not in engine.measuring]
    return [_rows(layer)[layer.shape[0] :] for layer in layers if layer.memory_rows > layer.shape[0]]


def _rows(layer: Any) -> Array:
    return np.asarray(layer.memory.reshape(layer.memory_rows, layer.stride)[:, : layer.outs])


def _flat(arrays: Sequence[Array], dtype: np.dtype[Any]) -> Array:
    return np.concatenate([array.ravel() for array in arrays]) if arrays else np.empty(0, dtype)


def _write(vector: Array, arrays: Sequence[Array]) -> None:
    first = 0
    for array in arrays:
        array[...] = vector[first : first + array.size].reshape(array.shape)
        first += array.size


def load(engine: Engine, state: State) -> None:
    """Put an engine into that state."""
    layers, numbers = places(engine)
    _write(state.weights, layers)
    if state.optimizer.size:
        _write(state.optimizer, numbers)
    engine.state.steps[0] = state.steps


def saved(engine: Engine, sums: Array) -> State:
    """The state in which an engine is."""
    layers, numbers = places(engine)
    return State(_flat(layers, engine.dtype), _flat(numbers, engine.dtype), int(engine.state.steps[0]), sums)


class Replica:
    """A network in an epoch, on its way to the workers; each of them makes an engine of it once.

    Parameters
    ----------
    payload : bytes
        The engine, pickled.
    seed, epoch : int
        Of the order of the rows, and of random numbers.
    shuffled : bool
        Whether rows are in random order.
    metrics : tuple of str
        What is measured on the rows that are trained on.
    """

    def __init__(self, payload: bytes, seed: int, epoch: int, shuffled: bool, metrics: tuple[str, ...]) -> None:
        self.payload, self.version = payload, __version__
        self.seed, self.epoch, self.shuffled, self.metrics = seed, epoch, shuffled, metrics
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._orders: dict[int, Array] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    @property
    def engine(self) -> Engine:
        """Its engine in this process."""
        with self._lock:
            if self._engine is None:
                check_version(self.version)
                self._engine = pickle.loads(self.payload)
            return self._engine

    # What stands behind the star is said by keyword: Dask looks for keys of its own in what is not

    def gradient(self, state: State, *parts: Part, share: Share) -> Sum:
        """This worker's part of the gradient of a batch of many, and of the sums."""
        return self._alone(share.threads, lambda: self._gradient(share, state, parts))

    def _gradient(self, share: Share, state: State, parts: Sequence[Part]) -> Sum:
        engine = self.engine
        moving, total = statistics(engine), None
        some = [self._taken(part, *take) for part, take in zip(parts, share.takes[0]) if take[1] > take[0]]
        if all(isinstance(layer, _BY_ROW) for layer in engine.layers):
            some = [_joined(some)]
        for number, samples in some:
            load(engine, state)
            sums = self._measured(samples, engine.outputs(samples.rows)) if self.metrics else []
            loss, vector = engine.gradient(samples, samples.weight, seed=seed_of(self.seed, number), step=share.step)
            scale = samples.size / share.rows
            own = Sum(
                np.concatenate([vector, _flat(moving, engine.dtype)]) * engine.dtype.type(scale),
                np.empty(0, engine.dtype),
                np.array([loss * samples.size, *sums]),
            )
            total = own if total is None else added([total, own])
        assert total is not None
        return total

    def stepped(self, state: State, sums: Sequence[Sum], *, rows: int, rate: float) -> State:
        """The state after one step with the sum of these gradients; where that is not finite, as it was."""
        total, engine = added(sums), self.engine

        def step() -> State:
            load(engine, state)
            _write(total.vector[vector_size(engine.layers) :], statistics(engine))
            penalties = engine.step(total.vector[: vector_size(engine.layers)], rate)
            total.sums[0] += penalties * rows
            return saved(engine, state.sums + total.sums)

        if not np.isfinite(total.vector).all():
            return state.diverged()
        return self._alone(None, step)

    def descended(self, state: State, *parts: Part, share: Share) -> Sum:
        """This worker's part of the state after some steps of its own from `state`."""
        return self._alone(share.threads, lambda: self._descended(share, state, parts))

    def _descended(self, share: Share, state: State, parts: Sequence[Part]) -> Sum:
        engine = self.engine
        load(engine, state)
        number, samples = _joined(
            [self._taken(part, *take) for takes in share.takes for part, take in zip(parts, takes) if take[1] > take[0]]
        )
        seed = seed_of(self.seed, number)
        settings = Settings(seed=seed, shuffle=False, metrics=self.metrics, train_metrics=True)
        run = ShareRun(engine, samples, share, settings)
        run.epoch()
        sums = self._measured(samples, run.outputs) if run.outputs is not None and self.metrics else []
        after, scale = saved(engine, np.array([run.loss_sum, *sums])), engine.dtype.type(samples.size / share.rows)
        return Sum(after.weights * scale, after.optimizer * scale, after.sums)

    def scored(self, state: State, part: Part, *, metrics: tuple[str, ...], threads: int) -> tuple[float, Array]:
        """The total weight of a part, and the sum of the losses of its rows and that of each metric by weight."""
        engine = self.engine

        def score() -> tuple[float, Array]:
            load(engine, state)
            assert part.samples is not None
            found = engine.scores(part.samples, measures_of(metrics))
            weight = part.about.weight
            return weight, np.array([found["loss"] * part.about.size, *(found[name] * weight for name in metrics)])

        return self._alone(threads, score)

    def _alone(self, threads: int | None, task: Callable[[], T]) -> T:
        with at_most_threads(threads):
            return self.engine.alone(task)

    def _taken(self, part: Part, first: int, last: int) -> tuple[int, Samples]:
        """Some rows of a part, in the order of this epoch."""
        assert part.samples is not None
        if not self.shuffled:
            which: Array | slice = slice(first, last)
        else:
            order = self._orders.get(part.number)
            if order is None:
                order = np.empty(part.samples.size, np.int64)
                shuffle(order.ctypes.data, order.size, seed_of(self.seed, part.number), self.epoch)
                self._orders[part.number] = order
            which = order[first:last]
        weights = None if part.weights is None else part.weights[which]
        return part.number, part.samples.take(which).weighed(weights)

    def _measured(self, samples: Samples, outputs: Array) -> list[float]:
        engine, y = self.engine, samples.y
        assert y is not None
        found = scores(measures_of(self.metrics), y, outputs, engine.loss, None, engine.form.predictor)
        return [found[name] * samples.size for name in self.metrics]


def averaged(state: State, sums: Sequence[Sum], *, steps: int) -> State:
    """The state that lies between those which workers have reached after so many steps."""
    total = added(sums)
    return State(total.vector, total.optimizer, state.steps + steps, state.sums + total.sums)


def _joined(some: Sequence[tuple[int, Samples]]) -> tuple[int, Samples]:
    """Samples of several parts as those of one, with the number of the first."""
    number, first = some[0]
    if len(some) == 1:
        return some[0]
    all_samples = [samples for _, samples in some]
    weights = None
    if any(samples.weight is not None for samples in all_samples):
        weights = np.concatenate([np.ones(s.size) if s.weight is None else s.weight for s in all_samples])
    rows, targets, y = (np.concatenate([getattr(s, name) for s in all_samples]) for name in ("rows", "targets", "y"))
    return number, Samples(rows, targets, first.classes, y, weights)


class ShareRun(Run):
    """The steps of a worker's share."""

    counts_epochs = False

    def __init__(self, engine: Engine, samples: Samples, share: Share, settings: Settings) -> None:
        self._share = share
        super().__init__(engine, samples, settings, samples.weight)
        self._first = self.step = share.step // len(share.takes) * self.steps_per_epoch

    def _batches_of(self, count: int, settings: Settings) -> Batches:
        steps = min(len(self._share.takes), count)
        return Batches(count, count // steps, count % steps, steps)

    def _rates(self, steps: int) -> Array:
        rates, done = self._share.rates, self.step - self._first
        return rates if rates.size == 1 else rates[done : done + steps]
