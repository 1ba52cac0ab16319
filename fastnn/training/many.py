"""The fit of many networks: their runs in threads, on data that pass the door once."""

from __future__ import annotations

import contextlib
import copy
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array, seed as checked_seed
from ..data.batches import Batches
from ..data.columns import real_array
from ..data.form import Form
from ..data.held_out import split
from ..data.samples import Samples
from ..data.tables import SomeRows, column_names, is_sparse
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
from .epochs import split_seed, take_epochs, warn_of_idleness, weighed_samples
from .guard import DivergedError
from .history import History
from .loggers import CSVLogger, TensorBoard
from .monitors import ModelCheckpoint, OptunaPruning, ReduceLROnPlateau
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
    seeds, called = seeds_of(seed, count), callbacks_of(callbacks, networks)
    own = [replace(settings, seed=seeds[k], callbacks=called[k], verbose=0) for k in range(count)]
    for net in networks:
        warn_of_idleness(net.engine)  # a rate that is none is an error before any network changes
    drawn: list[int | None] = [None] * count
    if settings.validation_split:
        if many(X):
            drawn = [split_seed(settings, seeds[k], called[k]) for k in range(count)]
        else:
            drawn = [split_seed(settings, seeds[0], list(itertools.chain(*called)))] * count
        own = [replace(some, split_seed=seed) for some, seed in zip(own, drawn)]
    shares = shares_of([net.engine.form for net in networks], X, y, settings, drawn)
    tasks = [Task(net, shares[k], own[k], seeds[k] if bootstrap else None, bootstrap) for k, net in enumerate(networks)]
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
    share: Share
    settings: Settings
    seed: int | None  # of its bootstrap sample
    bootstrap: bool


def train_tasks(
    tasks: Sequence[Task], outcomes: Sequence[Outcome], threads: int, finished: Callable[[int], None] | None = None
) -> None:
    """Do them in so many threads, and note what came of each."""
    interrupt = Flag()
    chunks: dict[Any, int] = {}  # how many steps a call may take, by the sizes of layers, and whether many go together

    def sizes_of(k: int) -> tuple[int, ...]:
        return tuple(layer.outs for layer in tasks[k].net.layers)

    def run_of(k: int) -> tuple[Run, Share]:
        net, share, settings, seed, bootstrap = tasks[k]
        if bootstrap:
            share = share.drawn(bootstrap_rows(share.train.size, seed), net.engine.form, settings)
        run = Run(net.engine, share.train, settings, share.weights)
        run.interrupt = interrupt
        return run, share

    def fit(k: int, run: Run, share: Share) -> None:
        (net, _, settings, _, _), outcome = tasks[k], outcomes[k]
        run.chunk = chunks.get(sizes_of(k), 1)
        try:
            take_epochs(net, run, settings, share.train.y, share.held_out, outcome.history)
        except DivergedError:
            outcome.diverged = True
            outcome.history.stopped = f"diverged in epoch {outcome.history.epoch[-1]}"
        else:
            outcome.scores = _scores(net.engine, outcome.history, share.held_out, settings)
        chunks[sizes_of(k)] = run.chunk

    groups = _groups(tasks, threads)

    def work(number: int) -> None:
        group = groups[number]
        started = [run_of(k) for k in group]
        if len(group) > 1:
            runs, histories = [run for run, _ in started], [outcomes[k].history for k in group]
            kind = "together", sizes_of(group[0])
            chunks[kind] = go_abreast(runs, histories, tasks[group[0]].settings.epochs, chunks.get(kind, 1))
        for k, (run, share) in zip(group, started):
            fit(k, run, share)

    def group_finished(number: int) -> None:
        if finished is not None:
            for k in groups[number]:
                finished(k)

    share_out(work, len(groups), threads, interrupt, group_finished)


def _groups(tasks: Sequence[Task], threads: int) -> list[list[int]]:
    """The numbers of the fits that one thread does at a time: of one, or of as many alike as a vector has lanes."""
    alike: dict[Any, list[int]] = {}
    for k, (net, share, settings, _, _) in enumerate(tasks):
        batches = Batches.of(share.train.size, settings.batch_size, settings.equal_batches)
        idle = not settings.callbacks and not settings.measures and share.held_out is None
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
    sent = [([tasks[k] if workers.here else _luggage(tasks[k]) for k in block], threads) for block in blocks]
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
    return Task(task.net, task.share, replace(task.settings, callbacks=callbacks), task.seed, task.bootstrap)


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


def bootstrap_rows(count: int, seed: int | None) -> Array:
    """The numbers of `count` samples, drawn with replacement from as many."""
    return np.random.default_rng(seed).integers(count, size=count)


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


# --- what each network learns from: the same samples, or some of its own ------------------------


class Share(NamedTuple):
    """The samples of one network, which others may have too."""

    train: Samples
    given: tuple[Any, Any, Array | None]  # X, y and sample_weight
    weights: Array | None  # with those of the classes
    held_out: Samples | None
    validation: tuple[Any, ...] | None  # as given

    def with_validation(self, held_out: Samples, given: tuple[Any, ...]) -> Share:
        """The share with these samples for validation."""
        return self._replace(held_out=held_out, validation=given)

    def drawn(self, rows: Array, form: Form, settings: Settings) -> Share:
        """The share of a network of that form that learns from these rows, with the same held out."""
        X, y, weight = self.given
        weight = None if weight is None else weight[rows]
        train, held_out, own = self.train, self.held_out, self.train.form
        if own is None or (own.standard is None and not form.measures_targets):
            train = train.take(rows)
        else:  # what standardises is fitted to these rows alone, and the door goes by that
            table = X if isinstance(X, SomeRows) else X.tocsr() if is_sparse(X) else real_array(X, "X")
            targets = real_array(y, "y")[rows]
            form = form.named(own.names).fitted_to(table[rows]).fitted_to_targets(targets)
            train = Samples.of_rows(form, table[rows], targets)
            if self.validation is not None:
                held_out = weighed_samples(form, self.validation)
        weights = train.weights(weight, settings.class_weight)
        return Share(train, self.given, weights, held_out, self.validation)


def shares_of(
    forms: Sequence[Form], X: Any, y: Any, settings: Settings, split_seeds: Sequence[int | None]
) -> list[Share]:
    """The share of each network; an array is checked and converted once, however many learn from it.

    `split_seeds` are those of the draws of what is held out, one for each network.
    """
    if y is None or callable(X) or isinstance(X, Iterator):
        raise TypeError(
            f"X is a {type(X).__name__} and y {'is None' if y is None else 'a ' + type(y).__name__}; a bank learns "
            "from arrays in memory: expected rows X with targets y, or a list of one array for each network"
        )

    validation_data, validation_split = settings.validation_data, settings.validation_split

    def validation(form: Form, *data_and_where: Any) -> tuple[Samples, tuple[Any, ...]]:
        *data, where = data_and_where
        return weighed_samples(form, tuple(data), f"{where} of validation_data"), tuple(data)

    def training(form: Form, X: Any, y: Any, weight: Any, seed: int | None, where: str) -> Share:
        end, form, of_end = None, form.named(column_names(X), f"X{where}"), ""
        if validation_data is None and validation_split:
            parts = split(form, X, y, weight, validation_split, seed, where)
            X, y, weight, end, of_end, warning = parts
            if warning:
                warnings.warn(warning, UserWarning, stacklevel=6)
        form = form.fitted_to(X, f"X{where}").fitted_to_targets(y, f"y{where}")
        train = Samples.of_rows(form, X, y, where)
        weights = train.weights(weight, settings.class_weight, where)
        held_out = None if end is None else weighed_samples(form, end, of_end)
        return Share(train, (X, y, None if weight is None else np.asarray(weight)), weights, held_out, end)

    seeds = split_seeds if many(X) else split_seeds[0]
    data = (X, y, settings.sample_weight, seeds)
    shares: list[Share] = _each(training, forms, data, ("X", "y", "sample_weight", "seed"))
    if validation_data is None:
        return shares
    names = ("X of validation_data", "y of validation_data", "sample_weight of validation_data")
    fitted = [share.train.form or form for share, form in zip(shares, forms)]
    ends = _each(validation, fitted, tuple(validation_data), names)
    return [share.with_validation(*end) for share, end in zip(shares, ends)]


def _each(make: Callable[..., Any], forms: Sequence[Form], data: tuple[Any, ...], names: tuple[str, ...]) -> list[Any]:
    """What `make` makes of `data` for each form; of their k-th parts, if the first of them holds many data sets.

    Of the same objects, for forms with the same door, it is made once.
    """
    several = many(data[0])
    parts = [
        _parts(values, name, len(forms)) if several else [values] * len(forms) for values, name in zip(data, names)
    ]
    made: dict[tuple[Any, ...], Any] = {}
    results = []
    for k, (form, *own) in enumerate(zip(forms, *parts)):
        same = (form.doors, *(one if isinstance(one, int) else id(one) for one in own))
        if same not in made:
            made[same] = make(form, *own, f"[{k}]" if several else "")
        results.append(made[same])
    return results


def many(X: Any) -> bool:
    """Whether X holds many data sets: it is a list of arrays of two dimensions, or one array of three."""
    if isinstance(X, (list, tuple)):
        return len(X) > 0 and all(len(getattr(rows, "shape", ())) == 2 for rows in X)  # a frame of polars has no ndim
    return getattr(X, "ndim", 2) == 3


def _parts(values: Any, name: str, count: int) -> list[Any]:
    """One part of `values` for each network."""
    if values is None:
        return [None] * count
    if not hasattr(values, "__len__") or len(values) != count:
        have = f"holds {len(values)}" if hasattr(values, "__len__") else f"is {values!r}"
        raise ValueError(f"{name} {have}; expected a list of {count} arrays, one for each network, as X is many arrays")
    return list(values)
