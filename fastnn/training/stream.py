"""Training on data larger than memory: chunk after chunk, the next one read while the kernel trains."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from ..data.batches import Batches
from ..data.columns import real_array
from ..data.held_out import seed_of
from ..data.rows import balanced_weights, blocks_of, given_rows, sample_weights
from ..data.samples import Samples
from ..data.source import Chunk, Source
from ..data.tables import column_names
from ..engine.engine import Engine
from ..engine.workers import Worker
from ..formulas.metrics import is_mean, scores
from ..layers.fitting import check_batches
from .run import Run, agreed_seed
from .settings import Settings

PATIENCE = 0.8  # seconds that an interrupted fit waits for a read that is under way


class Prepared(NamedTuple):
    """A chunk that has passed the door."""

    number: int
    where: str
    samples: Samples
    weights: Array | None
    batch_size: int | None


class StreamRun:
    """Training of `net` on the chunks of `source`: what `Run` is for samples in memory.

    Parameters
    ----------
    engine : Engine
    source : Source
    settings : Settings
        As for `Run`; shuffled are the samples of a chunk, and the chunks of `Slices`. Metrics that are means
        over samples are measured; others need validation data.
    """

    outputs = None  # those of all samples may be larger than memory

    def __init__(self, engine: Engine, source: Source, settings: Settings) -> None:
        other = [name for name, measure in settings.measures.items() if not is_mean(measure)]
        if other and not settings.validates:
            raise ValueError(
                f"metrics holds {other[0]!r}, which is no mean over samples: while X is read chunk by chunk it is "
                "measured on validation data only; give validation_data"
            )
        if source.batches is not None:  # of the caller's chunks nobody knows before they have come
            check_batches(engine.layers, source.batches, settings.batch_size)
        if source.batched:
            settings = replace(settings, shuffle=False)
        self.engine, self.source, self.settings = engine, source, settings
        self.seed = secrets.randbits(62) if settings.seed is None else settings.seed
        self.step = 0
        self.epochs_done = 0
        self.measures = {name: measure for name, measure in settings.of_training.items() if is_mean(measure)}
        balanced = settings.class_weight == "balanced"
        self.form = engine.form.named(source.names)
        self._class_weight = self._balanced() if balanced else settings.class_weight
        if self.form.measures_targets:
            self.form = self.form.measured_targets(self._given_targets())
            if not source.known and not self.form.measures:
                for chunk in source.sample():  # which has not been checked with its inputs
                    self._prepare(chunk)
        if self.form.measures:  # before anything is converted, validation data too
            self.form = self.form.measured(self._given())

    def adapt(self) -> None:
        """Fit the layers that standardise inputs and targets, if there are some that have not been fitted."""
        self.engine.take_up(self.form)

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Of the inputs, as far as they are known."""
        return self.form.names

    def _given_targets(self) -> Iterator[Array]:
        """The same of the targets."""
        form = self.form.of_dtype(np.dtype(np.float64))
        for where, y in self.source.targets():
            form.row_targets(y, y.shape[0] if y.ndim else 0, f"y{where}")  # which checks them
            yield from blocks_of(y.reshape(len(y), -1), self.form.outs)

    def _given(self) -> Iterator[Array]:
        """The rows of all chunks, or of the first that an iterable gives, as they are given; checked."""
        for chunk in self.source.sample():
            self._prepare(chunk)
            yield from given_rows(chunk.X, f"X{chunk.where}", self.form.ins)

    def epoch(self) -> dict[str, float]:
        """Train once on every chunk; returns the mean loss and the metrics of the epoch."""
        sums = dict.fromkeys(["loss", *self.measures], 0.0)
        count = 0
        chunks = self.source.chunks(self.epochs_done, self.seed if self.settings.shuffle else None)
        reader = Reader(map(self._prepare, chunks))
        del chunks  # the reader's thread is to be its last owner, and thereby closes a generator
        try:
            reader.start()
            while (chunk := reader.take()) is not None:
                count += chunk.samples.size
                for name, value in self._train(chunk).items():
                    sums[name] += value
                del chunk
                reader.release()
        finally:
            reader.stop()
        if count == 0:
            name = "X()" if callable(self.source.X) else "X"
            hint = "; it must return a new iterable every time" if callable(self.source.X) else ""
            raise ValueError(f"{name} gave no chunks in epoch {self.epochs_done + 1}; expected at least one{hint}")
        self.epochs_done += 1
        self.engine.state.epochs += 1
        return {name: total / count for name, total in sums.items()}

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch; 0 where nobody knows."""
        return self.source.steps

    def identity(self) -> dict[str, int]:
        """What makes two runs the same; 0 stands for what an iterable does not tell, or what is not in memory."""
        return {
            "rows": self.source.count,
            "batch_size": self.settings.batch_size,
            "equal_batches": int(self.settings.equal_batches),
            "shuffled": int(self.settings.shuffle),
            "validation_shuffle": int(self.settings.split_seed is not None),
            "seed": self.seed,
            "chunk_rows": self.source.rows_each,
            "split_seed": self.settings.split_seed or 0,
            "samples": 0,
        }

    def agreed_seed(self, then: Mapping[str, int]) -> int:
        """As of `Run`."""
        return agreed_seed(self.identity(), then, self.settings.seed is not None)

    def go_on(self, seed: int, losses: Sequence[float], step: int) -> None:
        """As of `Run`."""
        self.seed, self.epochs_done, self.step = seed, len(losses), step
        self.form = self.engine.form  # with what was learnt from the inputs then

    def _prepare(self, chunk: Chunk) -> Prepared:
        """The chunk through the door; this is what the reading thread does."""
        where = chunk.where
        self.form = self.form.named(column_names(chunk.X), f"X{where}")
        rows = self.form.rows(chunk.X, f"X{where}")
        targets, classes = self.form.row_targets(chunk.y, rows.shape[0], f"y{where}")
        found = (None, 0) if self._class_weight is None else self.form.classes_of(targets, classes)
        weights = sample_weights(
            chunk.sample_weight, self._class_weight, found[0], rows.shape[0], f"sample_weight{where}", found[1]
        )
        y = real_array(chunk.y, f"y{where}") if self.measures else None
        if not self.source.lasting:
            rows, targets = _own(rows, chunk.X), _own(targets, chunk.y)
            y = None if y is None else _own(y, chunk.y)
        samples = Samples(rows, targets, classes, y, form=self.form)
        return Prepared(chunk.number, where, samples, weights, chunk.batch_size)

    def _train(self, chunk: Prepared) -> dict[str, float]:
        """The steps of one chunk; returns the sums of the losses and of the metrics."""
        self.engine.take_up(chunk.samples.form)  # the names of the first
        run = ChunkRun(self, chunk)
        first = run.step
        try:
            run.epoch()
        finally:
            self.step += run.step - first
        sums = {"loss": run.loss_sum}
        if chunk.samples.y is not None and run.outputs is not None:
            predictor = self.engine.form.predictor
            values = scores(self.measures, chunk.samples.y, run.outputs, self.engine.loss, None, predictor)
            for name in values:
                sums[name] = values[name] * chunk.samples.size
        return sums

    def _balanced(self) -> dict[Any, float]:
        """Weights by class for "balanced", from all targets."""
        if not self.source.known:
            raise ValueError(
                "class_weight is 'balanced', which needs all targets before the first step, but X is made of chunks; "
                "give a dict from class to weight"
            )
        found = self.source.classes(self.form)
        if found is None:
            raise ValueError("class_weight is given but the targets are no classes; use sample_weight")
        return balanced_weights(np.bincount(found))


class ChunkRun(Run):
    """The steps of `whole` on one chunk in the current epoch."""

    counts_epochs = False  # the whole does

    def __init__(self, whole: StreamRun, chunk: Prepared) -> None:
        seed, metrics = seed_of(whole.seed, chunk.number), tuple(whole.measures)
        settings = replace(whole.settings, seed=seed, metrics=metrics, train_metrics=True)
        if chunk.batch_size is not None:
            settings = replace(settings, batch_size=chunk.batch_size)
        self._where = chunk.where
        super().__init__(whole.engine, chunk.samples, settings, chunk.weights)
        self.step = whole.epochs_done * self.steps_per_epoch  # the order of the samples is that of this epoch

    def _batches_of(self, count: int, settings: Settings) -> Batches:
        batches = super()._batches_of(count, settings)
        if batches.largest == 1 < settings.batch_size:  # one sample, the last of all, is a batch, as in memory
            batches = Batches(count, 2, 0, batches.steps)
        check_batches(self.engine.layers, batches, settings.batch_size, self._where)
        return batches

    def _rates(self, steps: int) -> Array:
        if self.engine.rate.per == "step":
            return super()._rates(steps)
        return self.engine.rates(1, 1)  # one for all of the epoch


class Reader:
    """The items of an iterator, read in a thread: the caller has one while the next is made, and no third exists.

    Examples
    --------
    >>> from fastnn.training.stream import Reader
    >>> reader = Reader(iter("ab"))
    >>> reader.start()
    >>> while (item := reader.take()) is not None:
    ...     print(item)
    ...     del item
    ...     reader.release()
    a
    b
    >>> reader.stop()
    """

    def __init__(self, items: Iterator[Any]) -> None:
        self._ready: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()  # an entry for each item that there may be
        for _ in range(2):
            self._room.put(None)
        self._stopped = False
        context = contextvars.copy_context()  # with what the caller has set, such as np.errstate
        self._worker = Worker(partial(context.run, self._read, items))

    def start(self) -> None:
        """Begin to read."""
        self._worker.start()

    def take(self) -> Any:
        """The next item, or None after the last one; what the iterator raises is raised here."""
        while True:
            with contextlib.suppress(queue.Empty):
                item, error = self._ready.get(timeout=0.1)  # Windows hears no Ctrl-C in a longer wait
                break
        if error is not None:
            try:
                raise error
            finally:
                del error  # it knows this frame: the two would keep each other alive
        return item

    def release(self) -> None:
        """Say that the caller's item is gone."""
        self._room.put(None)

    def stop(self) -> None:
        """End the thread; a read under way is waited for, up to `PATIENCE` seconds, and is then the last one."""
        self._stopped = True
        self._room.put(None)
        self._worker.join(PATIENCE)

    def _read(self, items: Iterator[Any]) -> None:
        try:
            while True:
                self._room.get()
                if self._stopped:
                    return
                item = next(items, None)
                self._ready.put((item, None))
                if item is None:
                    return
                del item
        except BaseException as error:
            self._ready.put((None, error))


def _own(array: Array, given: Any) -> Array:
    """`array`, which no longer shares memory with what was given."""
    given = real_array(given, "X") if hasattr(given, "detach") else np.asarray(given)
    return array.copy() if np.may_share_memory(array, given) else array
