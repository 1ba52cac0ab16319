"""fit: epochs, validation, metrics and callbacks around a `Run`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import positive_integer, seed as checked_seed
from ..columns import real_array
from ..metrics import Metric, named_metrics
from ..rows import feature_rows, sample_weights, target_rows
from .callbacks import Callback, NaNGuard, StopTraining
from .checkpoint import Checkpoint
from .history import History
from .progress import progress
from .run import Run
from .sources import opened, rows_to_keep
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
    for callback in callbacks:
        if not isinstance(callback, Callback):
            hint = " (write EarlyStopping(), not EarlyStopping)" if isinstance(callback, type) else ""
            raise TypeError(f"callbacks holds {callback!r}; expected Callback objects{hint}")
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose is {verbose!r}; expected 0, 1 or 2")
    measures = named_metrics(metrics)
    net._learning_rate()
    plan = net._ready()
    ins, outs, dtype = plan.layers[0].ins, plan.layers[-1].outs, plan.dtype
    source, X, y = opened(X, y, sample_weight, epochs, batch_size, plan)
    if validation_data is None and validation_split:
        if source is None:
            X, y, sample_weight, validation_data = _split(X, y, sample_weight, validation_split)
        else:
            validation_data = source.hold_out(validation_split)
    run: Run | StreamRun
    if source is None:
        rows = feature_rows(X, "X", ins, dtype)
        targets, classes = target_rows(y, "y", rows.shape[0], outs, net.loss_function, dtype)
        indices = targets.view(np.int64) if classes else None
        weights = sample_weights(sample_weight, class_weight, indices, rows.shape[0])
        run = Run(net, rows, targets, classes, batch_size, shuffle, seed, weights, keep_outputs=bool(measures))
    else:
        validated = validation_data is not None
        run = StreamRun(net, source, batch_size, shuffle, seed, class_weight, measures, validated)
    held_out = None
    if validation_data is not None:
        X_val, y_val = validation_data
        held_out = (feature_rows(X_val, "X of validation_data", ins, dtype), y_val)
        target_rows(y_val, "y of validation_data", held_out[0].shape[0], outs, net.loss_function, dtype)
    if isinstance(run, StreamRun):
        run.adapt()
    else:
        net._adapt(run.rows)
    return _epochs(net, run, y, epochs, measures, held_out, [NaNGuard(), *callbacks], verbose)


def _split(X: Any, y: Any, sample_weight: Any, part: float) -> tuple[Any, Any, Any, tuple[Any, Any]]:
    """The last `part` of the samples is for validation, as in Keras: before any shuffling."""
    X, y = real_array(X, "X"), real_array(y, "y")
    if X.ndim == 0 or y.ndim == 0 or X.shape[0] != y.shape[0]:
        raise ValueError(f"X has shape {X.shape} and y {y.shape}; expected as many targets as samples")
    cut = rows_to_keep(X.shape[0], part)
    weight = None if sample_weight is None else np.asarray(sample_weight)[:cut]
    return X[:cut], y[:cut], weight, (X[cut:], y[cut:])


def _epochs(
    net: NeuralNetwork,
    run: Run | StreamRun,
    y: Any,
    epochs: int,
    measures: dict[str, Metric],
    held_out: tuple[Array, Any] | None,
    callbacks: list[Callback],
    verbose: int,
) -> History:
    history = History()
    shown = progress(verbose, epochs)
    callbacks = callbacks if shown is None else [*callbacks, shown]
    for callback in callbacks:
        callback.net = net
    started: list[Callback] = []
    try:
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
            if run.outputs is not None:
                given = np.asarray(y)
                logs.update({name: metric(given, run.outputs, net.loss_function) for name, metric in measures.items()})
            if held_out is not None:
                validation = evaluate(net, *held_out, measures)
                logs.update({f"val_{name}": value for name, value in validation.items()})
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
    return history


def evaluate(net: NeuralNetwork, X: Any, y: Any, measures: dict[str, Metric]) -> dict[str, float]:
    """The loss and the metrics of the network on rows X."""
    outputs = net.predict(X)
    targets, classes = target_rows(y, "y", outputs.shape[0], outputs.shape[1], net.loss_function, net.dtype)
    scores = {"loss": net._mean_loss(outputs, targets, classes)}
    scores.update({name: measure(np.asarray(y), outputs, net.loss_function) for name, measure in measures.items()})
    return scores
