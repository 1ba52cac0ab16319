"""fit: epochs, validation, metrics and callbacks around a run."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

from ..checks import Array
from ..data.columns import real_array
from ..data.form import Form
from ..data.rows import sample_weights
from ..data.samples import Samples
from ..data.sources import opened, rows_to_keep
from ..data.tables import column_names
from ..engine.engine import Engine
from ..formulas.metrics import scores
from .callbacks import Callback, StopTraining, Trainee, may_add_quantities
from .checkpoint import Course
from .guard import DivergedError, NaNGuard
from .history import History
from .progress import progress
from .run import Run
from .settings import Settings
from .sprint import Watch, sprint
from .stream import StreamRun


def fit(net: Trainee, X: Any, y: Any, settings: Settings) -> History:
    """See `NeuralNetwork.fit`."""
    engine = net.engine
    form = engine.form.named(column_names(X))  # before they are lost on the way
    warn_of_idleness(engine)
    sample_weight, validation_data = settings.sample_weight, settings.validation_data
    source, X, y = opened(X, y, sample_weight, settings.epochs, settings.batch_size, form)
    if validation_data is None and settings.validation_split:
        if source is None:
            X, y, sample_weight, validation_data = split(X, y, sample_weight, settings.validation_split)
        else:
            validation_data = source.hold_out(settings.validation_split)
    run: Run | StreamRun
    y_train = None
    if source is None:
        form = form.fitted_to(X)
        train = Samples.of_rows(form, X, y)
        run = Run(engine, train, settings, train.weights(sample_weight, settings.class_weight))
        y_train = train.y
    else:
        run = StreamRun(engine, source, settings)
        form = run.form
    held_out = None if validation_data is None else weighed_samples(form, validation_data, " of validation_data")
    history = History()
    take_epochs(net, run, settings, y_train, held_out, history)
    return history


def warn_of_idleness(engine: Engine) -> None:
    """Say where a fit would change nothing, or raise where the learning rate is none.

    Warns
    -----
    RuntimeWarning
        If the rate is 0, or no layer is trainable.
    """
    if engine.base_rate() == 0:
        warnings.warn("the learning rate is 0, so this fit changes no weight; set net.lr", RuntimeWarning, stacklevel=4)
    elif not any(layer.trainable and layer.parameter_count for layer in engine.layers):
        warnings.warn(
            "no layer is trainable, so this fit changes no weight; set layer.trainable = True for one at least",
            RuntimeWarning,
            stacklevel=4,
        )


def weighed_samples(form: Form, data: tuple[Any, ...], where: str = "") -> Samples:
    """The samples of ``(X, y)`` or ``(X, y, sample_weight)``, with their weights."""
    X, y, weights = (*data, None)[:3]
    samples = Samples.of_rows(form, X, y, where)
    return samples.weighed(samples.weights(weights, None, where))


def split(X: Any, y: Any, sample_weight: Any, part: float, where: str = "") -> tuple[Any, Any, Any, tuple[Any, ...]]:
    """The last `part` of the samples is for validation, as in Keras: before any shuffling."""
    X, y = real_array(X, f"X{where}"), real_array(y, f"y{where}")
    if X.ndim == 0 or y.ndim == 0 or X.shape[0] != y.shape[0]:
        raise ValueError(f"X{where} has shape {X.shape} and y{where} {y.shape}; expected as many targets as samples")
    cut = rows_to_keep(X.shape[0], part)
    weight = sample_weights(sample_weight, None, None, X.shape[0], f"sample_weight{where}")  # of all, before the cut
    if weight is None:
        return X[:cut], y[:cut], None, (X[cut:], y[cut:])
    return X[:cut], y[:cut], weight[:cut], (X[cut:], y[cut:], weight[cut:])


def take_epochs(
    net: Trainee, run: Run | StreamRun, settings: Settings, y: Array | None, held_out: Samples | None, history: History
) -> None:
    """The epochs of `run` and what happens between them, noted in `history`; `y` is for metrics of its outputs."""
    engine, measures = net.engine, settings.measures
    shown = progress(settings.verbose, settings.epochs)
    started: list[Callback] = []
    course: Course | None = None
    try:
        watches = [callback for callback in settings.callbacks if isinstance(callback, Watch)]
        idle = len(watches) == len(settings.callbacks) and shown is None and held_out is None and not measures
        if idle and isinstance(run, Run):
            run.adapt()
            for watch in watches:
                watch.net = net
                started.append(watch)
                watch.on_train_begin()
            sprint(net, run, history, settings.epochs, watches)
            return
        guard, others = NaNGuard(), [*settings.callbacks, *([] if shown is None else [shown])]
        guard.sizes = run.sizes if isinstance(run, Run) else None
        callbacks = [guard, *others]
        trained = run.measures if isinstance(run, StreamRun) else settings.of_training if y is not None else {}
        columns = ["loss", *trained]
        if held_out is not None:
            columns += ["val_loss", *(f"val_{name}" for name in measures if held_out.y is not None)]
        course = Course(run, settings.callbacks, history, columns, held_out)
        kept = course.found()
        if kept is None:
            run.adapt()
        for callback in callbacks:
            callback.net, callback.monitored = net, settings.monitor
            callback.quantities = None if any(map(may_add_quantities, callbacks)) else tuple(columns)
            callback.resumed = 0 if kept is None else kept.epoch
            callback.measures = measures
        for callback in others:
            started.append(callback)
            callback.on_train_begin()
        if kept is not None:
            course.restore(kept, others)
            del kept  # its arrays
        guard.on_train_begin()  # what it holds is what a fit that goes on falls back to
        for epoch in range(len(history.epoch) + 1, 1 + (0 if history.stopped else settings.epochs)):
            try:
                for callback in callbacks:
                    callback.on_epoch_begin(epoch)
            except StopTraining as request:
                if history.epoch:
                    course.keep(len(history.epoch), request.reason, last=True)
                raise
            logs = {}
            try:
                logs = run.epoch()
                guard.on_epoch_end(epoch, logs)  # before metrics, which make errors of weights that are not finite
                if y is not None and run.outputs is not None:
                    logs.update(scores(settings.of_training, y, run.outputs, engine.loss))
                if held_out is not None:
                    logs.update({f"val_{name}": value for name, value in engine.scores(held_out, measures).items()})
            except StopTraining:
                if not logs:  # in the middle of the epoch
                    guard.on_epoch_end(epoch, {"loss": 0.0})
                else:
                    history.add(epoch, logs)
                raise
            except DivergedError:
                history.add(epoch, logs or {"loss": float("nan")})
                raise
            history.add(epoch, logs)
            stop = None
            for callback in others:
                try:
                    callback.on_epoch_end(epoch, logs)
                except StopTraining as request:
                    stop = stop or request
            reason = "" if stop is None else stop.reason
            course.keep(epoch, reason, last=stop is not None or epoch == settings.epochs)
            if stop is not None:
                history.stopped = reason
                break
    except StopTraining as request:
        history.stopped = request.reason
    except KeyboardInterrupt:
        history.stopped = f"interrupted after {run.step} steps"
    finally:
        with contextlib.ExitStack() as endings:
            if course is not None:
                endings.callback(course.end)
            for callback in started:
                endings.callback(_end, callback, history)


def _end(callback: Callback, history: History) -> None:
    """Its last turn; to stop a fit that has ended says at most why."""
    try:
        callback.on_train_end()
    except StopTraining as request:
        history.stopped = history.stopped or request.reason
