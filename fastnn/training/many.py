"""The fit of a bank: the runs of many networks, in threads, on data that pass the door once."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import positive_integer, seed as checked_seed
from ..engine.crew import share_out, thread_count
from ..formulas.metrics import Metric, named_metrics
from ..formulas.schedules import Schedule
from .callbacks import Callback, CSVLogger, DivergedError, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from .checkpoint import Checkpoint
from .epochs import Samples, check_callbacks, check_verbose, take_epochs
from .history import History
from .progress import progress
from .shares import shares_of

if TYPE_CHECKING:
    from ..network import NeuralNetwork

Array = np.ndarray[Any, np.dtype[Any]]
Callbacks = Sequence[Callback] | Callable[[int], Sequence[Callback]]


class Outcome:
    """What a fit made of one network: its history, its last scores by name, and whether it diverged."""

    def __init__(self) -> None:
        self.history = History()
        self.scores: dict[str, float] = {}
        self.diverged = False


def fit_bank(
    networks: Sequence[NeuralNetwork],
    X: Any,
    y: Any,
    epochs: int,
    batch_size: int,
    validation_data: tuple[Any, Any] | None,
    validation_split: float,
    shuffle: bool,
    sample_weight: Any,
    class_weight: Mapping[Any, float] | str | None,
    bootstrap: bool,
    metrics: Iterable[str | Callable[..., float]],
    callbacks: Callbacks,
    verbose: int,
    seed: int | Sequence[int] | None,
    threads: int | None,
) -> list[Outcome]:
    """See `NetworkBank.fit`."""
    epochs, batch_size = positive_integer(epochs, "epochs"), positive_integer(batch_size, "batch_size")
    threads, count = thread_count(threads), len(networks)
    check_verbose(verbose)
    seeds = seeds_of(seed, count)
    measures = named_metrics(metrics)
    called = callbacks_of(callbacks, networks)
    for net in networks:
        net._learning_rate()
    shares = shares_of(networks, X, y, sample_weight, class_weight, validation_data, validation_split)
    outcomes = [Outcome() for _ in networks]
    interrupt = threading.Event()
    chunks: dict[tuple[int, ...], int] = {}  # how many steps a call may take, by the sizes of a network's layers

    def work(k: int) -> None:
        net, outcome = networks[k], outcomes[k]
        train, sample_weight, weights, held_out = shares[k]
        if bootstrap:
            drawn = bootstrap_rows(train.rows.shape[0], seeds[k])
            train = train.take(drawn)
            weights = train.weights(None if sample_weight is None else sample_weight[drawn], class_weight)
        net._adapt(train.rows)
        run = train.run(net, batch_size, shuffle, seeds[k], weights, bool(measures), epochs)
        run.interrupt = interrupt
        sizes = tuple(layer.outs for layer in net.layers)
        run.chunk = chunks.get(sizes, 1)
        try:
            take_epochs(net, run, train.y, epochs, measures, held_out, called[k], 0, outcome.history)
        except DivergedError:
            outcome.diverged = True
            outcome.history.stopped = f"diverged in epoch {outcome.history.epoch[-1]}"
        else:
            outcome.scores = _scores(net, outcome.history, held_out, measures, bool(called[k]))
        chunks[sizes] = run.chunk

    shown = progress(verbose, count, "network")
    done = iter(range(1, count + 1))

    def finished(k: int) -> None:
        if shown is not None:
            shown.on_epoch_end(next(done), outcomes[k].scores)

    try:
        if shown is not None:
            shown.on_train_begin()
        share_out(work, count, threads, interrupt, finished)
    except KeyboardInterrupt:
        for outcome in outcomes:
            if not outcome.history.epoch and not outcome.history.stopped:
                outcome.history.stopped = "interrupted after 0 steps"
    finally:
        if shown is not None:
            shown.on_train_end()
    return outcomes


def _scores(
    net: NeuralNetwork, history: History, held_out: Samples | None, measures: Mapping[str, Metric], restored: bool
) -> dict[str, float]:
    """The last numbers of the history; those of validation are measured again if callbacks may have set weights."""
    scores = {name: column[-1] for name, column in history.items()}
    if held_out is not None and restored:
        scores.update({f"val_{name}": value for name, value in held_out.scores(net, measures).items()})
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


def callbacks_of(callbacks: Callbacks, networks: Sequence[NeuralNetwork]) -> list[list[Callback]]:
    """The callbacks of each network: copies of those given, or what the function given returns."""
    made: list[list[Callback]] = []
    for k in range(len(networks)):
        some = list(callbacks(k)) if callable(callbacks) else list(callbacks)
        check_callbacks(some)
        made.append(some if callable(callbacks) else copy.deepcopy(some))
    if not callable(callbacks):
        for callback in callbacks:
            if isinstance(callback, (Checkpoint, CSVLogger, ModelCheckpoint, TensorBoard)):
                name = type(callback).__name__
                raise ValueError(
                    f"callbacks holds {name}, and all networks would write to the same place; expected a function of "
                    f"the network's number: callbacks=lambda k: [{name}(f'net-{{k}}')]"
                )
    if any(isinstance(callback, ReduceLROnPlateau) for some in made for callback in some):
        owners: dict[int, int] = {}
        for k, net in enumerate(networks):
            if isinstance(net.lr, Schedule) and owners.setdefault(id(net.lr), k) != k:
                raise ValueError(
                    f"networks[{owners[id(net.lr)]}] and networks[{k}] share their {type(net.lr).__name__}, which "
                    "ReduceLROnPlateau changes; expected a schedule of its own for each"
                )
    return made
