"""Data-parallel training on Dask: the chunks of a collection stay on the workers, tasks carry weights and gradients."""

from __future__ import annotations

import secrets
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, TypeVar

import numpy as np

from ..checks import Array, positive_integer, shown
from ..data.batches import Batches
from ..data.held_out import seed_of
from ..data.rows import ClassWeight, balanced_weights
from ..data.tables import column_names
from ..engine.engine import Engine
from ..extras import needs
from ..formulas.metrics import is_mean
from ..kernels.order import shuffle as shuffled
from ..network import NeuralNetwork
from ..training.callbacks import Callback
from ..training.epochs import take_epochs, warn_of_idleness, weighed_samples
from ..training.history import History
from ..training.run import agreed_seed
from ..training.settings import Metrics, Settings
from .agreement import check_agreement
from .dealing import dealt
from .part import About, Door, Found, Part
from .replica import Replica, Share, State, added, averaged, load, saved

T = TypeVar("T")
FAN_IN = 8  # how many sums a task adds up
MOST_TASKS = 2000  # between two looks at the workers: what the scheduler knows at a time
SECONDS = 5.0  # between two looks, about: what a lost worker costs; at each the state goes to the client and back


def fit(
    net: NeuralNetwork,
    X: Any,
    y: Any = None,
    epochs: int = 1,
    batch_size: int = 32,
    *,
    every: int = 1,
    validation_data: tuple[Any, ...] | None = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    sample_weight: Any = None,
    class_weight: ClassWeight = None,
    metrics: Metrics = (),
    train_metrics: bool | None = None,
    callbacks: Iterable[Callback] | Callback | None = (),
    verbose: int = 1,
    seed: int | None = None,
    client: Any = None,
) -> History:
    """Train a network on the rows of a Dask collection, on the workers where its chunks are (needs distributed).

    Parameters
    ----------
    net : NeuralNetwork
        It has the new weights afterwards, as after ``net.fit``; callbacks see it after every epoch.
    X : dask Array, dask DataFrame, or list of Delayed or Future
        One sample a row. Of a list each item is a chunk: what may be X of ``net.fit``, or ``(X, y)`` or
        ``(X, y, sample_weight)`` where `y` is None. A chunk without rows is passed over.
    y : dask Array, Series or DataFrame, or list of Delayed or Future, optional
        The targets, in the same chunks as X; a dask Array is cut to those of X where their lengths are known.
    epochs : int, default 1
    batch_size : int, default 32
        Of all workers together, at most. The batches are as few as that allows, and their sizes differ by one at most.
    every : int, default 1
        1: the gradients of a batch are added up over the workers, and one step is taken. k: each worker takes k steps
        on its share of k batches, and then the weights, and the optimiser's numbers, are averaged by how many rows
        each had.
    validation_data : (X, y) or (X, y, sample_weight), optional
        Arrays in memory, or Dask's, which stay where they are.
    validation_split : float, default 0.0
        Refused if it is not 0: give some of the chunks as `validation_data`.
    shuffle : bool, default True
        Whether each epoch takes the rows of each chunk in a new random order.
    sample_weight : like y, optional
    class_weight, metrics, train_metrics, callbacks, verbose, seed
        As of `NeuralNetwork.fit`. Metrics on Dask's data are those that are means over rows; on the training rows
        they are of the outputs before each step, for ``every=1`` as in inference.
    client : distributed.Client, optional
        By default the current one.

    Returns
    -------
    History

    Raises
    ------
    ImportError
        If distributed is not installed, or a worker has another fastnn.
    ValueError, TypeError
        If an argument does not fit, or a chunk, which the error names; or there is no client. The network is unchanged
        then. What is raised on a worker is raised here.
    DivergedError
        As of `NeuralNetwork.fit`.
    RuntimeError
        If workers die again and again, or took chunks with them that Dask cannot make again.

    Notes
    -----
    **Batches** have rows of every chunk, in proportion to its size: they are dealt out from all chunks in turn. So they
    are the same for any number of workers, and with ``every=1`` the result is, to rounding; with ``shuffle=False`` and
    chunks of equal size it is that of ``net.fit`` on the rows in that order. Every step counts each row of the batch
    once, whatever the sizes of the chunks. With ``every=k`` the result depends on which chunks lie on one worker.

    **Layers.** `Standardize` and `StandardizeTargets` measure all chunks. `BatchNorm` normalises over the rows that a
    batch has of one chunk, of which there must be two, and its running averages are averaged; dropout and noise depend
    on seed, step and chunk. With ``every=k``, on the share of a worker.

    **Workers that die.** Dask makes their chunks again elsewhere, and takes the steps again that were under way, from
    weights that the client has: those of some seconds ago at most. Nothing else changes. Chunks that the client
    had scattered cannot be made again: there is an error, and the network has the weights of these steps.

    **Ctrl-C** ends the fit; the network has the weights that the client had last.

    Examples
    --------
    >>> import dask.array
    >>> from distributed import Client
    >>> from fastnn import Adam, CrossEntropyLoss, Identity, Layer, NeuralNetwork, ReLU
    >>> from fastnn.distributed.dask import fit
    >>> net = NeuralNetwork([Layer(2, 16, ReLU(), seed=0), Layer(16, 2, Identity(), seed=1)],
    ...                     CrossEntropyLoss(), 0.02, Adam())
    >>> with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0"):
    ...     X = dask.array.random.default_rng(0).normal(size=(600, 2), chunks=(200, 2))
    ...     y = (X[:, 0] * X[:, 1] > 0).astype(int)
    ...     history = fit(net, X, y, epochs=20, batch_size=60, metrics=["accuracy"], seed=0)
    >>> history["accuracy"][-1] > 0.9
    True
    """
    settings = Settings(
        epochs=epochs,
        batch_size=batch_size,
        validation_data=validation_data,
        validation_split=validation_split,
        shuffle=shuffle,
        sample_weight=sample_weight,
        class_weight=class_weight,
        metrics=metrics,
        train_metrics=train_metrics,
        callbacks=callbacks,
        verbose=verbose,
        seed=seed,
    )
    if not isinstance(net, NeuralNetwork):
        raise TypeError(f"net is {shown(net)}; expected a NeuralNetwork")
    if settings.validation_split:
        raise ValueError(
            f"validation_split is {validation_split!r}, but the rows are not here to be split; expected 0, and some of "
            "the chunks as validation_data: (X.blocks[-1:], y.blocks[-1:]) of arrays, X.partitions[-1:] of frames, and "
            "X.blocks[:-1], y.blocks[:-1] to train on"
        )
    every = positive_integer(every, "every")
    cluster = Cluster(client)
    warn_of_idleness(net.engine)
    run = DaskRun(net.engine, cluster, X, y, settings, every)
    held_out = None
    if settings.validation_data is not None and not run.validates:
        held_out = weighed_samples(run.form, settings.validation_data, " of validation_data")
    history = History()
    take_epochs(net, run, settings, None, held_out, history)
    return history


class Cluster:
    """A client, and how tasks of a fit are named.

    Parameters
    ----------
    client : distributed.Client, optional

    Raises
    ------
    ImportError, ValueError, TypeError
        If there is none that works.
    """

    def __init__(self, client: Any = None) -> None:
        distributed = needs("distributed", "fastnn.distributed.dask.fit", "fastnn[dask]")
        if client is None:
            try:
                client = distributed.get_client()
            except ValueError:
                raise ValueError(
                    "client is None and there is no current one; expected a distributed.Client: make one before, "
                    "client = distributed.Client() for this machine, or Client(address) for a cluster"
                ) from None
        if not isinstance(client, distributed.Client):
            raise TypeError(f"client is {shown(client)}; expected a distributed.Client")
        if client.asynchronous:
            raise ValueError("client is asynchronous, and fit waits; expected one made with asynchronous=False")
        if client.status != "running":
            raise ValueError(f"client is {client.status}; expected one that runs: make a new distributed.Client")
        self.client, self._name, self._count = client, secrets.token_hex(4), 0
        self._lost = (
            distributed.scheduler.KilledWorker, distributed.client.FutureCancelledError, distributed.TimeoutError,
        )  # fmt: skip

    def key(self, kind: str) -> str:
        """A name for a task, which the dashboard groups by its kind."""
        self._count += 1
        return f"fastnn-{kind}-{self._name}-{self._count}"

    def submit(self, kind: str, task: Callable[..., Any], *arguments: Any) -> Any:
        """The Future of ``task(*arguments)``."""
        return self.client.submit(task, *arguments, key=self.key(kind), pure=False)

    def start(self, graph: dict[str, Any], key: str) -> Any:
        """The Future of that key of a graph."""
        return self.client.get(graph, key, sync=False)

    def results(self, futures: Sequence[Any]) -> list[Any]:
        """What they are, when all are; an error on a worker is raised here."""
        try:
            return list(self.client.gather(list(futures)))
        except self._lost as error:
            raise RuntimeError(
                f"workers were lost, and with them what Dask cannot make again ({type(error).__name__}: {error}). "
                "Chunks that were scattered from the client are such, and tasks that kill each worker that takes them, "
                "as by too little memory: make chunks by tasks (dask.array, dask.dataframe, delayed), or smaller ones"
            ) from error
        finally:
            for future in futures:
                if not future.done():
                    future.cancel()

    def threads(self) -> dict[str, int]:
        """How many threads each worker has, by its address."""
        return dict(self.client.nthreads())

    def workers_of(self, futures: Sequence[Any]) -> list[str]:
        """A worker that has it, for each future; "" where none has."""
        has = self.client.who_has(futures)
        return [min(has.get(future.key) or ("",)) for future in futures]


class Table:
    """Chunks on the workers: parts that have passed the door.

    Parameters
    ----------
    cluster : Cluster
    chunks : list of tuple
        X, y and sample weights of each, as Futures or None.
    door : Door
    """

    def __init__(self, cluster: Cluster, chunks: Sequence[tuple[Any, ...]], door: Door) -> None:
        parts = [cluster.submit("part", door.part, number, *chunk) for number, chunk in enumerate(chunks)]
        abouts: list[About] = cluster.results([cluster.submit("about", _about, part) for part in parts])
        some = [number for number, about in enumerate(abouts) if about.size]
        if not some:
            raise ValueError(f"X{door.where} has no rows in any of its {len(parts)} chunks; expected some")
        self.cluster, self.parts, self.abouts = cluster, [parts[k] for k in some], [abouts[k] for k in some]
        check_agreement([about.described for about in self.abouts], "chunk", some)
        if not any(about.weight for about in self.abouts):
            raise ValueError(
                f"the weights{door.where} are 0 for all samples, so that none counts; expected some above 0"
            )
        self.sizes = np.array([about.size for about in self.abouts])
        self.numbers = some


def _about(part: Part) -> About:
    return part.about


def _given(value: T) -> T:
    return value


class DaskRun:
    """Training on the chunks of a Dask collection: what `fastnn.training.run.Run` is for samples in memory.

    Parameters
    ----------
    engine : Engine
    cluster : Cluster
    X, y
        As of `fit`.
    settings : Settings
    every : int
    """

    outputs = None

    def __init__(self, engine: Engine, cluster: Cluster, X: Any, y: Any, settings: Settings, every: int) -> None:
        self.engine, self._cluster, self._settings, self._every = engine, cluster, settings, every
        self.seed = secrets.randbits(62) if settings.seed is None else settings.seed
        self.step, self._epochs_done, self._rounds = 0, 0, 16
        data = settings.validation_data
        self.validates = data is not None and any(map(_is_on_workers, data[:2]))
        not_mean = [name for name, measure in settings.measures.items() if not is_mean(measure)]
        if not_mean and (self.validates or not settings.validates):
            raise ValueError(
                f"metrics holds {not_mean[0]!r}, which is no mean over samples and not measured on Dask's data; give "
                "validation_data that are in memory"
            )
        self._of_training = tuple(name for name in settings.of_training if name not in not_mean)
        self._of_validation = tuple(settings.measures) if self.validates else ()
        chunks = _chunks(cluster, X, y, settings.sample_weight)
        self.form = engine.form.named(column_names(getattr(X, "_meta", X)))
        door = self._door(chunks)
        self._train = Table(cluster, chunks, door)
        self._held_out: Table | None = None
        if self.validates:
            X, y, weight = (*(data or ()), None)[:3]
            parts = _chunks(cluster, X, y, weight, " of validation_data")
            self._held_out = Table(cluster, parts, Door(self.form, None, " of validation_data"))
        names = self._train.abouts[0].described["feature_names"]
        self.form = self.form.named(None if names is None else tuple(names))
        self._batches = Batches.equal(int(self._train.sizes.sum()), settings.batch_size)
        self._check_shares()

    def _door(self, chunks: Sequence[tuple[Any, ...]]) -> Door:
        """What makes parts of chunks; where something must be known of all rows before, that is measured."""
        class_weight, form = self._settings.class_weight, self.form
        balanced = isinstance(class_weight, str) and class_weight == "balanced"
        if not (form.measures or form.measures_targets or balanced):
            return Door(form, class_weight)
        cluster, door = self._cluster, Door(form)
        found: list[Found] = cluster.results(
            [cluster.submit("measure", door.found, number, *chunk) for number, chunk in enumerate(chunks)]
        )
        inputs, targets = ([one for one in some if one is not None] for some in zip(*(each[:2] for each in found)))
        if inputs:
            self.form = self.form.measured_by(reduce(lambda one, other: one.and_of(other), inputs))
        if targets:
            self.form = self.form.measured_targets_by(reduce(lambda one, other: one.and_of(other), targets))
        if balanced:
            counts = [each.classes for each in found if each.classes is not None]
            if not counts:
                raise ValueError("class_weight is given but the targets are no classes; use sample_weight")
            class_weight = balanced_weights(np.sum(counts, axis=0))
        return Door(self.form, class_weight)

    def _check_shares(self) -> None:
        """See that no batch has fewer rows of a chunk than a layer needs."""
        smallest = max((getattr(layer, "smallest_batch", 1) for layer in self.engine.layers), default=1)
        if smallest == 1:
            return
        starts = np.array([self._dealt(k) for k in range(self._batches.steps + 1)])
        shares = np.diff(starts, axis=0)
        if np.any((shares > 0) & (shares < smallest)):
            least = int(shares[shares > 0].min())
            raise ValueError(
                f"a batch of at most {self._settings.batch_size} rows has {least} of a chunk, of "
                f"{len(self._train.parts)}; expected {smallest} at least, over which a layer normalises: a larger "
                "batch_size, or fewer chunks (rechunk, repartition)"
            )

    # --- what `take_epochs` asks -----------------------------------------------------------------

    @property
    def measures(self) -> Mapping[str, object]:
        """What `epoch` gives beside the loss."""
        validation = [f"val_{name}" for name in ("loss", *self._of_validation)] if self.validates else []
        return dict.fromkeys([*self._of_training, *validation])

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return self._batches.steps

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Of the inputs, where they have some."""
        return self.form.names

    def adapt(self) -> None:
        """Fit the layers that standardise inputs and targets, if they have not been fitted."""
        self.engine.take_up(self.form)

    def identity(self) -> dict[str, int]:
        """What makes two runs the same."""
        marks = np.array([about.mark for about in self._train.abouts], np.int64)
        return {
            "rows": self._batches.rows,
            "batch_size": self._settings.batch_size,
            "equal_batches": 1,
            "shuffled": int(self._settings.shuffle),
            "validation_shuffle": 0,
            "seed": self.seed,
            "chunk_rows": 0,
            "split_seed": 0,
            "samples": zlib.crc32(marks.tobytes()),
            "every": self._every,
        }

    def agreed_seed(self, then: Mapping[str, int]) -> int:
        """The seed with which it may go on where the run of identity `then` was, or an error."""
        return agreed_seed(self.identity(), then, self._settings.seed is not None)

    def go_on(self, seed: int, losses: Sequence[float], step: int) -> None:
        """Continue under that seed after the epochs with these losses, which took so many steps in all."""
        self.seed, self._epochs_done, self.step = seed, len(losses), step

    def epoch(self) -> dict[str, float]:
        """Take the steps of the next epoch; returns the mean loss and the metrics."""
        engine, cluster, settings = self.engine, self._cluster, self._settings
        begin = self._epochs_done * self.steps_per_epoch
        end, names = begin + self.steps_per_epoch, ("loss", *self._of_training)
        payload = needs("cloudpickle", "fastnn.distributed.dask.fit", "fastnn[dask]").dumps(engine)
        replica = Replica(payload, self.seed, self._epochs_done, settings.shuffle, self._of_training)
        sums, last = np.zeros(len(names)), None
        with _large_graphs():
            model = cluster.submit("network", partial(_given, replica))
            while self.step < end:
                started = time.perf_counter()
                until = min(end, self.step + self._rounds * self._every)
                last = cluster.start(*self._graph(model, saved(engine, sums), begin, until))
                (state,) = cluster.results([last])
                engine.alone(partial(load, engine, state))
                self.step, sums = until, state.sums
                self._look_after(time.perf_counter() - started)
            self._epochs_done += 1
            engine.state.epochs += 1
            logs = dict(zip(names, (sums / self._batches.rows).tolist()))
            if self._held_out is not None:
                logs.update(self._scores(model, last, self._held_out))
        return logs

    def _look_after(self, seconds: float) -> None:
        """Have so many rounds before the next look that they take about `SECONDS`."""
        most = max(1, MOST_TASKS // (2 + len(self._cluster.threads())))
        wanted = int(self._rounds * SECONDS / max(seconds, 1e-3))
        self._rounds = min(most, 4 * self._rounds, max(1, self._rounds // 2, wanted))

    def _graph(self, model: Any, state: State, begin: int, end: int) -> tuple[dict[str, Any], str]:
        """The tasks that lead from `state` to the end of step `end` - 1, and the key of the state there."""
        key, groups, first = self._cluster.key, self._groups(), self.step
        rates = self.engine.rates(end - first, self.steps_per_epoch, first - begin)
        before = key("state")
        graph: dict[str, Any] = {before: (partial(_given, state),)}
        start = self._dealt(first - begin)
        while first < end:
            last = min(first + self._every, end)
            starts = [start, *(self._dealt(step + 1 - begin) for step in range(first, last))]
            start = starts[-1]
            rows = self._batches.start(last - begin) - self._batches.start(first - begin)
            some = rates if rates.size == 1 else rates[first - self.step : last - self.step]
            sums, weights = [], before
            if self._every == 1 and len(groups) > 1 and state.optimizer.nbytes > 2**20:
                weights = key("weights")  # so that the optimiser's numbers stay where they are
                graph[weights] = (State.without_optimizer, before)
            for group, threads in groups:
                takes = [[(int(one[k]), int(other[k])) for k in group] for one, other in zip(starts, starts[1:])]
                if any(b > a for step in takes for a, b in step):
                    share = Share(first, rows, takes, some, threads)
                    task = Replica.gradient if self._every == 1 else Replica.descended
                    sums.append(key("gradient" if self._every == 1 else "descent"))
                    parts = [self._train.parts[k] for k in group]
                    graph[sums[-1]] = (partial(task, share=share), model, weights, *parts)
            while len(sums) > FAN_IN:
                some_sums, sums = sums, []
                for k in range(0, len(some_sums), FAN_IN):
                    sums.append(key("sum"))
                    graph[sums[-1]] = (added, some_sums[k : k + FAN_IN])
            after = key("step" if self._every == 1 else "average")
            if self._every == 1:
                graph[after] = (partial(Replica.stepped, rows=rows, rate=float(some[0])), model, before, sums)
            else:
                graph[after] = (partial(averaged, steps=last - first), before, sums)
            before, first = after, last
        return graph, before

    def _dealt(self, step: int) -> Array:
        """How many rows of each part come before that step of the epoch."""
        sizes, count = self._train.sizes, self._batches.start(step)
        if not self._settings.shuffle:
            return dealt(sizes, count)
        order = np.empty(sizes.size, np.int64)
        shuffled(order.ctypes.data, order.size, seed_of(self.seed, -1), self._epochs_done)
        found = np.empty(sizes.size, np.int64)
        found[order] = dealt(sizes[order], count)
        return found

    def _groups(self) -> list[tuple[list[int], int]]:
        """The parts that lie on one worker, and how many threads it has, for each worker that has some."""
        threads, by_worker = self._cluster.threads(), dict[str, list[int]]()
        for k, worker in enumerate(self._cluster.workers_of(self._train.parts)):
            by_worker.setdefault(worker, []).append(k)
        return [(group, threads.get(worker, 1)) for worker, group in sorted(by_worker.items())]

    def _scores(self, model: Any, state: Any, table: Table) -> dict[str, float]:
        """Loss and metrics on validation data on the workers."""
        cluster, names = self._cluster, self._of_validation
        threads = cluster.threads()
        scored = [
            cluster.submit(
                "score", partial(Replica.scored, metrics=names, threads=threads.get(worker, 1)), model, state, part
            )
            for part, worker in zip(table.parts, cluster.workers_of(table.parts))
        ]
        found = cluster.results(scored)
        weight, total = sum(one[0] for one in found), np.sum([one[1] for one in found], axis=0)
        values = [total[0] / table.sizes.sum(), *(total[1:] / weight)]
        return {f"val_{name}": float(value) for name, value in zip(("loss", *names), values)}


def _large_graphs() -> Any:
    """Within it Dask does not warn of large graphs: weights are in them, and nothing of the data."""
    return needs("dask", "fastnn.distributed.dask.fit", "fastnn[dask]").config.set(
        {"distributed.admin.large-graph-warning-threshold": "1 TiB"}
    )


# --- what the user gives -------------------------------------------------------------------------


def _is_on_workers(data: Any) -> bool:
    """Whether it is a collection of Dask's, or a list of its chunks."""
    if isinstance(data, (list, tuple)):
        return len(data) > 0 and all(_is_chunk(one) for one in data)
    return hasattr(data, "to_delayed") and hasattr(data, "__dask_graph__")


def _is_chunk(one: Any) -> bool:
    """Whether it is a Delayed or a Future."""
    return hasattr(one, "key") and (hasattr(one, "__dask_graph__") or (hasattr(one, "cancel") and hasattr(one, "done")))


def _chunks(cluster: Cluster, X: Any, y: Any, weight: Any, where: str = "") -> list[tuple[Any, ...]]:
    """The chunks of X, y and weights side by side, as Futures; None where there is none."""
    named = {f"X{where}": X, f"y{where}": y, f"sample_weight{where}": weight}
    cut = {name: None if data is None else _aligned(name, data, X) for name, data in named.items()}
    if y is None and not isinstance(X, (list, tuple)):
        raise ValueError(f"y{where} is None; expected targets: only of a list X holds chunks (X, y)")
    count = len(cut[f"X{where}"] or ())
    for name, some in cut.items():
        if some is not None and len(some) != count:
            raise ValueError(
                f"{name} has {len(some)} chunks but X{where} has {count}; expected the same: rechunk arrays, or "
                "repartition frames, alike"
            )
    futures = [[None] * count if some is None else _futures(cluster, some) for some in cut.values()]
    return list(zip(*futures))


def _futures(cluster: Cluster, some: list[Any]) -> list[Any]:
    """Chunks as Futures, which are being computed."""
    delayed = [one for one in some if hasattr(one, "__dask_graph__")]
    computed = iter(cluster.client.compute(delayed))
    return [next(computed) if hasattr(one, "__dask_graph__") else one for one in some]


def _aligned(name: str, data: Any, X: Any) -> list[Any]:
    """The chunks of a collection, cut as X is where both are arrays of known lengths; whole rows in each."""
    if not _is_on_workers(data):
        hint = "net.fit takes arrays in memory"
        if isinstance(data, np.ndarray):
            hint = (
                f"dask.array.from_array({name.partition(' ')[0]}, chunks=...) makes one, or net.fit takes it as it is"
            )
        raise TypeError(
            f"{name} is {shown(data)}; expected a dask Array or DataFrame, or a list of Delayed or Future: {hint}"
        )
    if isinstance(data, (list, tuple)):
        return list(data)
    if hasattr(data, "rechunk"):
        data = data.rechunk(dict.fromkeys(range(1, data.ndim), -1)) if data.ndim > 1 else data
        if data is not X and hasattr(X, "rechunk") and not np.isnan([*data.shape[:1], *X.shape[:1]]).any():
            if data.shape[0] != X.shape[0]:
                raise ValueError(f"{name} has {data.shape[0]} rows but X has {X.shape[0]}; expected as many")
            data = data.rechunk({0: X.chunks[0]})
        return list(data.to_delayed().ravel())
    return list(data.to_delayed())
