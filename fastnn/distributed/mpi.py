"""Data-parallel training over MPI: every process has its own rows, and all take the steps of one network.

`fit` is the door. ``shared_run`` takes the steps of an epoch together, ``team`` is all that there is of MPI.
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array, positive_integer, shown
from ..data.held_out import Parts, seed_of, split
from ..data.moments import Moments, moments
from ..data.rows import balanced_weights, blocks_of, given_rows, sample_weights
from ..data.samples import Samples
from ..data.sources import brings_targets, check_in_memory
from ..data.tables import Names, column_names
from ..engine.engine import Engine
from ..engine.threads import at_most_threads, get_num_threads, threads_are_set
from ..extras import needs
from ..kernels.cpu import VECTOR_BYTES
from ..network import NeuralNetwork
from ..training.callbacks import Callback, StopTraining
from ..training.checkpoint import Checkpoint
from ..training.epochs import take_epochs, warn_of_idleness, weighed_samples
from ..training.history import History
from ..training.loggers import CSVLogger, TensorBoard
from ..training.monitors import ModelCheckpoint
from ..training.settings import Metrics, Settings
from .agreement import check_agreement, described
from .deal import Deal
from .shared_run import Local, SharedRun
from .team import Team

_WRITERS = (ModelCheckpoint, CSVLogger, TensorBoard)


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
    validation_split: float = 0.0,
    validation_shuffle: bool = True,
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
    validation_split, validation_shuffle
        Each rank holds out that part of its own rows, drawn by the `seed` (rank 0 as one process would of these rows),
        or the last of them; loss and metrics are of all these together. The same on all ranks.
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

    Warns
    -----
    UserWarning
        On rank 0, if `validation_split` leaves every rank without a sample of a class for training or validation.

    Notes
    -----
    The loss is the mean over the union of a batch, so weights, limits of the gradient and penalties are as in one
    process. Statistics of a batch, of `BatchNorm`, are of a rank's share; running averages are averaged over the ranks
    after each epoch. Noise and dropout differ from rank to rank. `Standardize` and `StandardizeTargets` measure the
    rows of all ranks.

    Ranks on one machine add up their gradients in memory that all of them see, if there is room for it (``df
    /dev/shm``), and otherwise by messages, with an Allreduce.

    Where nothing says how many threads to use, ranks on one machine share its cores. After Ctrl-C on one rank all stop
    at the same step. A `Checkpoint` goes on with the same number of ranks, and, after a
    draw of what is held out, with the same `seed`.

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
    team = Team(MPI, given)
    try:
        with team.deferring_interrupts():

            def start() -> tuple[Settings, _Start]:
                settings = Settings(
                    epochs=epochs, batch_size=batch_size, validation_data=validation_data,
                    validation_split=validation_split, validation_shuffle=validation_shuffle, shuffle=shuffle,
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
        team.end()


def _first_words(net: Any, X: Any, y: Any, settings: Settings, every: int) -> _Start:
    if not isinstance(net, NeuralNetwork):
        raise TypeError(f"net is {shown(net)}; expected a NeuralNetwork")
    check_in_memory(X, "fastnn.distributed.mpi.fit")
    weights: Any = settings.class_weight
    if isinstance(weights, Mapping):  # whose order says nothing
        weights = sorted(weights.items(), key=repr)
    about = described(
        net.engine, X, y, seed=settings.seed, epochs=settings.epochs, batch_size=settings.batch_size,
        every=positive_integer(every, "every"), shuffle=settings.shuffle, validation_split=settings.validation_split,
        validation_shuffle=settings.validation_shuffle, class_weight=repr(weights),
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
    settings = replace(settings, seed=settings.seed if seeded else words[0].seed)
    names = column_names(X)  # before they are lost on the way
    if settings.validation_split:
        X, y, settings = _held_out(team, engine, X, y, settings)
    settings = replace(
        settings,
        validation_data=settings.validation_data or (((), ()) if validates else None),
        verbose=settings.verbose if team.rank == 0 else 0,
        callbacks=settings.callbacks if team.rank == 0 else _without_files(settings.callbacks),
    )
    _begin_as_first(team, engine)
    if team.rank == 0:
        warn_of_idleness(engine)
    local = _local(team, engine, names, X, y, settings)
    deal = Deal.of(team.meet("counts", local.samples.size), settings.batch_size, every)
    deal.check(engine.layers, settings.batch_size, every)
    history = History()
    with at_most_threads(threads_beside([one.place for one in words], team.rank)):
        run = SharedRun(team, engine, local, settings, deal=deal, every=every, seeded=seeded)
        with engine.gradients_in(run.block if every == 1 else None):
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


def _held_out(team: Team, engine: Engine, X: Any, y: Any, settings: Settings) -> tuple[Any, Any, Settings]:
    """This rank's rows without those that it holds out, and the settings with these."""
    made: list[Parts] = []

    def parted() -> str:
        form, seed = engine.form.named(column_names(X)), None
        if settings.validation_shuffle:
            seed = seed_of(settings.seed or 0, team.rank)
        made.append(split(form, X, y, settings.sample_weight, settings.validation_split, seed))
        return made[0].warning

    lacking = team.together("split", parted)
    if team.rank == 0 and all(lacking):  # what one rank lacks another may have
        warnings.warn(lacking[0], UserWarning, stacklevel=4)
    parts = made[0]
    held = replace(settings, validation_split=0.0, validation_data=parts.held_out, sample_weight=parts.sample_weight)
    return parts.X, parts.y, held


def _local(team: Team, engine: Engine, names: Names, X: Any, y: Any, settings: Settings) -> Local:
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

    def through_the_door() -> tuple[bool, Array | None]:
        own = form.named(names)
        samples, held, given = Samples.of_rows(own, X, y), None, settings.validation_data
        if given is not None and any(map(_has_rows, given[:2])):
            held = weighed_samples(own, given, " of validation_data")
        made.append(Local(samples, None, held))
        if settings.class_weight is None:
            return held is not None, None
        classes, count = own.classes_of(samples.targets, samples.classes)
        return held is not None, None if classes is None else np.bincount(classes, minlength=count)

    found_held, counts = zip(*team.together("door", through_the_door))
    local = made[0]
    if settings.validation_data is not None and not any(found_held):
        raise ValueError("validation_data has no rows on any rank; expected some on one of them at least")

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


def _has_rows(data: Any) -> bool:
    """Whether X or y of validation data has some; y may be None, where X brings it along."""
    if data is None or brings_targets(data):
        return data is not None
    return bool((getattr(data, "shape", None) or (len(data),))[0])


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
