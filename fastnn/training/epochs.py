"""fit: epochs, validation, metrics and callbacks around a `Run`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import positive_integer, seed as checked_seed
from ..data.columns import real_array
from ..data.rows import feature_rows, sample_weights, target_rows
from ..data.sources import opened, rows_to_keep
from ..formulas.metrics import Metric, named_metrics
from .callbacks import Callback, NaNGuard, StopTraining
from .checkpoint import Checkpoint
from .history import History
from .progress import progress
from .run import Run
from .sprint import sprint
from .stream import StreamRun

if TYPE_CHECKING:
    from ..network import NeuralNetwork

Array = np.ndarray[Any, np.dtype[Any]]


def fit(
    net: NeuralNetwork,
    X: Any,
    y: Any,
    epochs: int,
    batch_size: int,
    validation_data: tuple[Any, Any] | None,
    validation_split: float,
    shuffle: bool,
    sample_weight: Any,
    class_weight: Mapping[Any, float] | str | None,
    metrics: Iterable[str | Callable[..., float]],
    callbacks: Sequence[Callback],
    verbose: int,
    seed: int | None,
) -> History:
    """See `NeuralNetwork.fit`."""
    epochs, batch_size = positive_integer(epochs, "epochs"), positive_integer(batch_size, "batch_size")
    seed = None if seed is None else checked_seed(seed)
    check_callbacks(callbacks)
    check_verbose(verbose)
    measures = named_metrics(metrics)
    net._learning_rate()
    source, X, y = opened(X, y, sample_weight, epochs, batch_size, net._ready())
    if validation_data is None and validation_split:
        if source is None:
            X, y, sample_weight, validation_data = split(X, y, sample_weight, validation_split)
        else:
            validation_data = source.hold_out(validation_split)
    run: Run | StreamRun
    y_train = None
    if source is None:
        train = Samples.of(net, X, y)
        weights = train.weights(sample_weight, class_weight)
        run = train.run(net, batch_size, shuffle, seed, weights, bool(measures), epochs)
        y_train = train.y
    else:
        validated = validation_data is not None
        run = StreamRun(net, source, batch_size, shuffle, seed, class_weight, measures, validated)
    held_out = None if validation_data is None else Samples.of(net, *validation_data, " of validation_data")
    if isinstance(run, StreamRun):
        run.adapt()
    else:
        net._adapt(run.rows)
    history = History()
    take_epochs(net, run, y_train, epochs, measures, held_out, callbacks, verbose, history)
    return history


class Samples(NamedTuple):
    """Samples in memory that have passed the door, ready for kernels."""

    rows: Array
    targets: Array
    classes: bool
    y: Array  # the targets as given, for metrics

    @classmethod
    def of(cls, net: NeuralNetwork, X: Any, y: Any, where: str = "") -> Samples:
        """Check X and y and convert them for `net`; `where` completes their names in errors."""
        plan = net._current_plan()
        rows = feature_rows(X, f"X{where}", plan.layers[0].ins, plan.dtype)
        outs = plan.layers[-1].outs
        targets, classes = target_rows(y, f"y{where}", rows.shape[0], outs, net.loss_function, plan.dtype)
        return cls(rows, targets, classes, np.asarray(y))

    def weights(
        self, sample_weight: Any, class_weight: Mapping[Any, float] | str | None, where: str = ""
    ) -> Array | None:
        """The weight of each sample's loss, or None where all are 1."""
        indices = self.targets.view(np.int64) if self.classes else None
        return sample_weights(sample_weight, class_weight, indices, self.rows.shape[0], f"sample_weight{where}")

    def take(self, which: Array) -> Samples:
        """Copies of the samples of these numbers."""
        return Samples(self.rows[which], self.targets[which], self.classes, self.y[which])

    def run(
        self,
        net: NeuralNetwork,
        batch_size: int,
        shuffle: bool,
        seed: int | None,
        weights: Array | None,
        keep_outputs: bool,
        epochs: int,
    ) -> Run:
        """Training of `net` on them."""
        return Run(
            net, self.rows, self.targets, self.classes, batch_size, shuffle, seed, weights, keep_outputs, epochs
        )  # fmt: skip

    def scores(self, net: NeuralNetwork, measures: Mapping[str, Metric]) -> dict[str, float]:
        """The loss and the metrics of `net` on them."""
        outputs = net._outputs(self.rows)
        scores = {"loss": net._mean_loss(outputs, self.targets, self.classes)}
        scores.update({name: measure(self.y, outputs, net.loss_function) for name, measure in measures.items()})
        return scores


def check_callbacks(callbacks: Iterable[Callback]) -> None:
    """Raise an error unless all are callbacks."""
    for callback in callbacks:
        if not isinstance(callback, Callback):
            hint = " (write EarlyStopping(), not EarlyStopping)" if isinstance(callback, type) else ""
            raise TypeError(f"callbacks holds {callback!r}; expected Callback objects{hint}")


def check_verbose(verbose: int) -> None:
    """Raise an error unless it is 0, 1 or 2."""
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose is {verbose!r}; expected 0, 1 or 2")


def split(X: Any, y: Any, sample_weight: Any, part: float, where: str = "") -> tuple[Any, Any, Any, tuple[Any, Any]]:
    """The last `part` of the samples is for validation, as in Keras: before any shuffling."""
    X, y = real_array(X, f"X{where}"), real_array(y, f"y{where}")
    if X.ndim == 0 or y.ndim == 0 or X.shape[0] != y.shape[0]:
        raise ValueError(f"X{where} has shape {X.shape} and y{where} {y.shape}; expected as many targets as samples")
    cut = rows_to_keep(X.shape[0], part)
    weight = None if sample_weight is None else np.asarray(sample_weight)[:cut]
    return X[:cut], y[:cut], weight, (X[cut:], y[cut:])


def take_epochs(
    net: NeuralNetwork,
    run: Run | StreamRun,
    y: Array | None,
    epochs: int,
    measures: dict[str, Metric],
    held_out: Samples | None,
    callbacks: Sequence[Callback],
    verbose: int,
    history: History,
) -> None:
    """The epochs of `run` and what happens between them, noted in `history`; `y` is for metrics of its outputs."""
    shown = progress(verbose, epochs)
    started: list[Callback] = []
    try:
        if not callbacks and shown is None and held_out is None and not measures and isinstance(run, Run):
            sprint(net, run, history, epochs)
            return
        callbacks = [NaNGuard(), *callbacks, *([] if shown is None else [shown])]
        for callback in callbacks:
            callback.net = net
        for callback in callbacks:
            started.append(callback)
            callback.on_train_begin()
        for callback in callbacks:
            if isinstance(callback, Checkpoint):
                callback.attach(run, history, callbacks)
        for epoch in range(len(history.epoch) + 1, epochs + 1):
            for callback in callbacks:
                callback.on_epoch_begin(epoch)
            logs = run.epoch()
            if y is not None and run.outputs is not None:
                logs.update({name: metric(y, run.outputs, net.loss_function) for name, metric in measures.items()})
            if held_out is not None:
                logs.update({f"val_{name}": value for name, value in held_out.scores(net, measures).items()})
            history.add(epoch, logs)
            stop = None
            for callback in callbacks:
                try:
                    callback.on_epoch_end(epoch, logs)
                except StopTraining as request:
                    stop = stop or request
            if stop is not None:
                history.stopped = str(stop)
                break
    except KeyboardInterrupt:
        history.stopped = f"interrupted after {run.step} steps"
    finally:
        with contextlib.ExitStack() as endings:
            for callback in started:
                endings.callback(callback.on_train_end)
