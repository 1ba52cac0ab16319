"""The fit of many networks: their runs in threads, on data that pass the door once."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..checks import seed as checked_seed
from ..data.batches import Batches
from ..data.samples import Samples
from ..engine.crew import share_out, thread_count
from ..engine.engine import Engine
from ..engine.hired import Hired, hired
from ..engine.lanes import enough, likeness
from ..engine.workers import Flag
from ..formulas.metrics import Metric
from ..kernels.cpu import lanes
from .abreast import go_abreast
from .callbacks import Callback, StopTraining, Trainee, check_callbacks
from .checkpoint import Checkpoint
from .epochs import split_seed, take_epochs, warn_of_idleness
from .guard import DivergedError
from .history import History
from .loggers import CSVLogger, TensorBoard
from .monitors import ModelCheckpoint, OptunaPruning, ReduceLROnPlateau
from .network_data import NetworkData, are_many, bootstrap_rows, data_of_each
from .progress import progress
from .run import Run
from .settings import Settings, callback_list

Several = Iterable[Callback] | Callback | None
Callbacks = Several | Callable[[int], Several]


class Outcome:
    """What a fit made of one network: its history, its last scores by name, and whether it diverged."""

    def __init__(self) -> None:
        self.history = History()
        self.scores: dict[str, float] = {}
        self.diverged = False
        self.measures: dict[str, Metric] = {}


def fit_many(
    networks: Sequence[Trainee],
    X: Any,
    y: Any,
    settings: Settings,
    *,
    callbacks: Callbacks,
    bootstrap: bool,
    seed: int | Sequence[int] | None,
    threads: int | None,
) -> list[Outcome]:
    """See `NetworkBank.fit`; each network has its own callbacks and seed in the place of those in `settings`."""
    workers, given_threads = hired(), threads is not None
    threads, count = thread_count(threads), len(networks)
    if workers is not None and workers.here:
        threads = workers.threads(threads if given_threads else None)
        workers = None
    seeds, called = seeds_of(seed, count), callbacks_of(callbacks, networks)
    own = [replace(settings, seed=seeds[k], callbacks=called[k], verbose=0) for k in range(count)]
    for net in networks:
        warn_of_idleness(net.engine)  # a rate that is none is an error before any network changes
    drawn: list[int | None] = [None] * count
    if settings.validation_split:
        if are_many(X):
            drawn = [split_seed(settings, seeds[k], called[k]) for k in range(count)]
        else:
            drawn = [split_seed(settings, seeds[0], list(itertools.chain(*called)))] * count
        own = [replace(some, split_seed=seed) for some, seed in zip(own, drawn)]
    data = data_of_each([net.engine.form for net in networks], X, y, settings, drawn)
    tasks = [Task(net, data[k], own[k], seeds[k] if bootstrap else None, bootstrap) for k, net in enumerate(networks)]
    outcomes = [Outcome() for _ in networks]
    shown = progress(settings.verbose, count, "network")
    done = iter(range(1, count + 1))

    def finished(k: int) -> None:
        if shown is not None:
            shown.on_epoch_end(next(done), outcomes[k].scores)

    try:
        if shown is not None:
            shown.on_train_begin()
        if workers is None:
            train_tasks(tasks, outcomes, threads, finished)
        else:
            _send(tasks, outcomes, workers, threads if given_threads else None)
            for k in range(count):
                finished(k)
    except KeyboardInterrupt:
        for outcome in outcomes:
            if not outcome.history.epoch and not outcome.history.stopped:
                outcome.history.stopped = "interrupted after 0 steps"
    finally:
        if shown is not None:
            shown.on_train_end()
    for outcome in outcomes:
        outcome.measures = settings.measures
    return outcomes


class Task(NamedTuple):
    """The fit of one network: what it learns from, and what it is told."""

    net: Trainee
    data: NetworkData
    settings: Settings
    seed: int | None  # of its bootstrap sample
    bootstrap: bool


def train_tasks(
    tasks: Sequence[Task], outcomes: Sequence[Outcome], threads: int, finished: Callable[[int], None] | None = None
) -> None:
    """Do them in so many threads, and note what came of each."""
    interrupt = Flag()
    chunks: dict[Hashable, int] = {}  # steps of a call at most, by the sizes of layers, and whether many go together

    def sizes_of(k: int) -> tuple[int, ...]:
        return tuple(layer.outs for layer in tasks[k].net.layers)

    def run_of(k: int) -> tuple[Run, NetworkData]:
        net, data, settings, seed, bootstrap = tasks[k]
        if bootstrap:
            data = data.drawn(bootstrap_rows(data.train.size, seed), net.engine.form, settings)
        run = Run(net.engine, data.train, settings, data.weights)
        run.interrupt = interrupt
        return run, data

    def fit(k: int, run: Run, data: NetworkData) -> None:
        (net, _, settings, _, _), outcome = tasks[k], outcomes[k]
        run.chunk = chunks.get(sizes_of(k), 1)
        try:
            take_epochs(net, run, settings, data.train.y, data.held_out, outcome.history)
        except DivergedError:
            outcome.diverged = True
            outcome.history.stopped = f"diverged in epoch {outcome.history.epoch[-1]}"
        else:
            outcome.scores = _scores(net.engine, outcome.history, data.held_out, settings)
        chunks[sizes_of(k)] = run.chunk

    groups = _groups(tasks, threads)

    def work(number: int) -> None:
        group = groups[number]
        started = [run_of(k) for k in group]
        if len(group) > 1:
            runs, histories = [run for run, _ in started], [outcomes[k].history for k in group]
            kind = "together", sizes_of(group[0])
            chunks[kind] = go_abreast(runs, histories, tasks[group[0]].settings.epochs, chunks.get(kind, 1))
        for k, (run, data) in zip(group, started):
            fit(k, run, data)

    def group_finished(number: int) -> None:
        if finished is not None:
            for k in groups[number]:
                finished(k)

    share_out(work, len(groups), threads, interrupt, group_finished)


def _groups(tasks: Sequence[Task], threads: int) -> list[list[int]]:
    """The numbers of the fits that one thread does at a time: of one, or of as many alike as a vector has lanes."""
    alike: dict[Hashable, list[int]] = {}
    for k, (net, data, settings, _, _) in enumerate(tasks):
        batches = Batches.of(data.train.size, settings.batch_size, settings.equal_batches)
        idle = not settings.callbacks and not settings.measures and data.held_out is None
        alike.setdefault(likeness(net.engine, batches) if idle else None, []).append(k)
    groups = [[k] for k in alike.pop(None, [])]
    for numbers in alike.values():
        dtype = tasks[numbers[0]].net.engine.dtype
        width = lanes(dtype)
        parts = [numbers[start : start + width] for start in range(0, len(numbers), width)]
        together = [part for part in parts if enough(len(part), dtype)]
        if len(together) < threads:  # some would have nothing to do
            together = []
        groups += [*together, *([k] for part in parts if part not in together for k in part)]
    return groups


def _send(tasks: Sequence[Task], outcomes: list[Outcome], workers: Hired, threads: int | None) -> None:
    """Have workers of joblib do the tasks, a block each, and take home what has changed: all, or of an error nothing.

    Raises
    ------
    TypeError
        If a callback cannot be sent to them.
    """
    for task in tasks:
        workers.check_travels([_without_network(callback) for callback in task.settings.callbacks], "callbacks")
    blocks = workers.blocks(len(tasks))
    sent = [([_luggage(tasks[k]) for k in block], threads) for block in blocks]
    for block, results in zip(blocks, workers.do(_train_block, sent)):
        for k, (net, outcome, callbacks) in zip(block, results):
            mine = tasks[k]
            outcomes[k] = outcome
            if net is not mine.net:
                mine.net.engine.take_after(net.engine)
            for callback, other in zip(mine.settings.callbacks, callbacks):
                if other is not callback:
                    vars(callback).update({**vars(other), "net": mine.net})


def _train_block(block: tuple[list[Task], int | None]) -> list[tuple[Trainee, Outcome, list[Callback]]]:
    """What a worker does: the networks, trained, what came of them, and their callbacks."""
    tasks, threads = block
    outcomes = [Outcome() for _ in tasks]
    train_tasks(tasks, outcomes, thread_count(threads))
    return [
        (task.net, outcome, [_without_network(callback) for callback in task.settings.callbacks])
        for task, outcome in zip(tasks, outcomes)
    ]


def _luggage(task: Task) -> Task:
    """The task without what its fit does not need."""
    callbacks = [_without_network(callback) for callback in task.settings.callbacks]
    return Task(task.net, task.data, replace(task.settings, callbacks=callbacks), task.seed, task.bootstrap)


def _without_network(callback: Callback) -> Callback:
    """A copy that does not bring the network along."""
    twin = copy.copy(callback)
    vars(twin).pop("net", None)
    return twin


def _scores(engine: Engine, history: History, held_out: Samples | None, settings: Settings) -> dict[str, float]:
    """The last numbers of the history; those of validation are measured again if callbacks may have set weights."""
    scores = {name: column[-1] for name, column in history.items()}
    if held_out is not None and settings.callbacks:
        with contextlib.suppress(StopTraining):  # a metric that stopped the fit may do so again
            again = engine.scores(held_out, settings.measures)
            scores.update({f"val_{name}": value for name, value in again.items()})
    return scores


def seeds_of(seed: int | Sequence[int] | None, count: int) -> list[int | None]:
    """The seed of each network: `seed` and the integers that follow it, or as they are given."""
    if seed is None:
        return [None] * count
    if isinstance(seed, (list, tuple, range, np.ndarray)):
        if len(seed) != count:
            raise ValueError(f"seed holds {len(seed)} seeds; expected {count}, one for each network")
        return [checked_seed(one) for one in seed]
    first = checked_seed(seed)
    return [checked_seed(first + k) for k in range(count)]


def callbacks_of(callbacks: Callbacks, networks: Sequence[Trainee]) -> list[list[Callback]]:
    """The callbacks of each network: copies of those given, or what the function given returns."""
    made: list[list[Callback]] = []
    if not callable(callbacks):
        callbacks = callback_list(callbacks)
    for k in range(len(networks)):
        some = callback_list(callbacks(k)) if callable(callbacks) else callbacks
        check_callbacks(some)
        made.append(some if callable(callbacks) else copy.deepcopy(some))
    if not callable(callbacks):
        check_places(
            callbacks, "networks", "a function of the network's number: callbacks=lambda k: [{}(f'net-{{k}}')]"
        )
    if any(isinstance(callback, ReduceLROnPlateau) for some in made for callback in some):
        owners: dict[int, int] = {}
        for k, net in enumerate(networks):
            rate = net.engine.rate
            if owners.setdefault(id(rate), k) != k:
                raise ValueError(
                    f"networks[{owners[id(rate)]}] and networks[{k}] share their {type(rate).__name__}, which "
                    "ReduceLROnPlateau changes; expected a schedule of its own for each"
                )
    return made


def check_places(callbacks: Iterable[Callback], what: str, expected: str) -> None:
    """See that copies of callbacks, one for each of several networks, would not write to one place.

    Raises
    ------
    ValueError
        If they would; the error calls the networks `what`, and says what is `expected` of a callback of that name.
    """
    for callback in callbacks:
        if isinstance(callback, (Checkpoint, CSVLogger, ModelCheckpoint, OptunaPruning, TensorBoard)):
            name = type(callback).__name__
            raise ValueError(
                f"callbacks holds {name}, and all {what} would write to the same place; expected "
                f"{expected.format(name)}"
            )
