"""The steps of an epoch on Dask: the graph of tasks that leads from one state of the network to a later one."""

from __future__ import annotations

import secrets
import time
import warnings
import zlib
from collections.abc import Mapping, Sequence
from functools import partial, reduce
from typing import Any, TypeVar

import numpy as np

from ..checks import Array
from ..data.batches import Batches
from ..data.held_out import missing, rows_to_keep, seed_of
from ..data.rows import balanced_weights
from ..data.tables import column_names
from ..engine.engine import Engine
from ..extras import needs
from ..formulas.metrics import is_mean
from ..kernels.order import shuffle as shuffled
from ..training.run import agreed_seed
from ..training.settings import Settings
from .agreement import check_agreement
from .cluster import Cluster, chunks_of, is_on_workers, large_graphs
from .part import About, Door, Found, HeldOut, Part
from .proportion import dealt
from .replica import Replica, Share, State, added, averaged, load, saved

T = TypeVar("T")
FAN_IN = 8  # how many sums a task adds up
MOST_TASKS = 2000  # between two looks at the workers: what the scheduler knows at a time
SECONDS = 5.0  # between two looks, about: what a lost worker costs; at each the state goes to the client and back


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


def _count_rows(X: Any, y: Any, *weight: Any) -> int:
    """How many rows a chunk has; where it is no chunk, the door says so."""
    rows = X[0] if y is None and isinstance(X, (tuple, list)) and X else X
    return int((getattr(rows, "shape", None) or (len(rows),))[0])


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
        self.validates = bool(settings.validation_split) or (data is not None and any(map(is_on_workers, data[:2])))
        not_mean = [name for name, measure in settings.measures.items() if not is_mean(measure)]
        if not_mean and (self.validates or not settings.validates):
            raise ValueError(
                f"metrics holds {not_mean[0]!r}, which is no mean over samples and not measured on Dask's data; give "
                "validation_data that are in memory"
            )
        self._of_training = tuple(name for name in settings.of_training if name not in not_mean)
        self._of_validation = tuple(settings.measures) if self.validates else ()
        chunks = chunks_of(cluster, X, y, settings.sample_weight)
        self.form = engine.form.named(column_names(getattr(X, "_meta", X)))
        door = self._door(chunks)
        self._train = Table(cluster, chunks, door)
        self._held_out: Table | None = None
        if door.held_out is not None:
            self._held_out = Table(cluster, chunks, door.of_validation(self.form))
            self._warn_of_missing(self._held_out)
        elif self.validates:
            X, y, weight = (*(data or ()), None)[:3]
            parts = chunks_of(cluster, X, y, weight, " of validation_data")
            self._held_out = Table(cluster, parts, Door(self.form, None, " of validation_data"))
        names = self._train.abouts[0].described["feature_names"]
        self.form = self.form.named(None if names is None else tuple(names))
        self._batches = Batches.equal(int(self._train.sizes.sum()), settings.batch_size)
        self._check_shares()

    def _door(self, chunks: Sequence[tuple[Any, ...]]) -> Door:
        """What makes parts of chunks; where something must be known of all rows before, that is measured."""
        class_weight, form, held_out = self._settings.class_weight, self.form, self._held_out_of(chunks)
        balanced = isinstance(class_weight, str) and class_weight == "balanced"
        if not (form.measures or form.measures_targets or balanced):
            return Door(form, class_weight, held_out=held_out)
        cluster, door = self._cluster, Door(form, held_out=held_out)
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
        return Door(self.form, class_weight, held_out=held_out)

    def _warn_of_missing(self, held_out: Table) -> None:
        """Say which classes are not among the rows that stay, or not among those held out."""
        found = [[about.classes for about in table.abouts] for table in (self._train, held_out)]
        kept, held = (np.unique(np.concatenate([[], *(one for one in some if one is not None)])) for some in found)
        classes = np.concatenate([kept, held]).astype(np.int64)
        sides = np.split(np.arange(classes.size), [kept.size])
        if warning := missing(classes, (sides[0], sides[1]), self._settings.split_seed):
            warnings.warn(warning, UserWarning, stacklevel=4)

    def _held_out_of(self, chunks: Sequence[tuple[Any, ...]]) -> HeldOut | None:
        """What `validation_split` holds out: of each chunk its share, or the last rows of all."""
        part, seed, cluster = self._settings.validation_split, self._settings.split_seed, self._cluster
        if not part:
            return None
        sizes = np.array(cluster.results([cluster.submit("rows", _count_rows, *chunk) for chunk in chunks]))
        total = int(sizes.sum())
        kept = rows_to_keep(total, part)
        if seed is None:
            counts = np.clip(np.cumsum(sizes) - kept, 0, sizes)
        else:
            counts = dealt(sizes, total - kept)
        return HeldOut(counts.tolist(), seed)

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
            "validation_shuffle": int(self._settings.split_seed is not None),
            "seed": self.seed,
            "chunk_rows": 0,
            "split_seed": self._settings.split_seed or 0,
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
        with large_graphs():
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
