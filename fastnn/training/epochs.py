"""fit: epochs, validation, metrics and callbacks around a run."""

from __future__ import annotations

import contextlib
import secrets
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..checks import Array
from ..data.form import Form
from ..data.held_out import split
from ..data.samples import Samples
from ..data.sources import gathered, input_names, opened
from ..engine.engine import Engine
from ..engine.workers import Flag
from ..formulas.metrics import scores
from .callbacks import Callback, StopTraining, Trainee, may_add_quantities
from .checkpoint import Keeper, kept_split_seed
from .guard import DivergedError, NaNGuard
from .history import History
from .progress import progress
from .run import Run, Steps
from .settings import Settings
from .sprint import Watch, sprint
from .stream import StreamRun

T = TypeVar("T")


def fit(net: Trainee, X: Any, y: Any, settings: Settings) -> History:
    """See `NeuralNetwork.fit`."""
    engine = net.engine
    form = engine.form.named(input_names(X))  # before they are lost on the way
    warn_of_idleness(engine)
    sample_weight, validation_data = settings.sample_weight, settings.validation_data
    source, X, y, sample_weight = opened(
        X, y, sample_weight, settings.epochs, settings.batch_size, settings.equal_batches, form
    )
    of_validation, part = " of validation_data", settings.validation_split
    if validation_data is None and part:
        drawn = split_seed(settings, settings.seed, settings.callbacks)
        settings = replace(settings, split_seed=drawn, seed=settings.seed if drawn is None else drawn)
        if source is None:
            parts = split(form, X, y, sample_weight, part, settings.split_seed)
            X, y, sample_weight, validation_data, of_validation, warning = parts
        else:
            validation_data, warning = source.hold_out(part, settings.split_seed, form)
            of_validation = ""
        if warning:
            warnings.warn(warning, UserWarning, stacklevel=3)
    run: Run | StreamRun
    y_train = None
    if source is None:
        form = form.fitted_to(X).fitted_to_targets(y)
        train = Samples.of_rows(form, X, y)
        run = Run(engine, train, settings, train.weights(sample_weight, settings.class_weight))
        y_train = train.y
    else:
        run = StreamRun(engine, source, settings)
        form = run.form
    held_out = None if validation_data is None else weighed_samples(form, validation_data, of_validation)
    history = History()
    take_epochs(net, run, settings, y_train, held_out, history)
    return history


def fit_samples(
    net: Trainee, train: Samples, settings: Settings, history: History, interrupt: Flag, chunk: int = 1
) -> int:
    """`fit` on samples that have passed the door, in one thread; returns the next `chunk` of a fit like it.

    It goes on after the epochs that `history` has, under the same seed. `interrupt`, set by another thread, ends it as
    Ctrl-C would.
    """
    warn_of_idleness(net.engine)
    run = Run(net.engine, train, settings, train.weights(settings.sample_weight, settings.class_weight))
    run.interrupt, run.chunk = interrupt, chunk
    if history.epoch:
        run.go_on(settings.seed or 0, history["loss"], len(history.epoch) * run.steps_per_epoch)
    held_out = None
    if settings.validation_data is not None:
        held_out = weighed_samples(net.engine.form, settings.validation_data, " of validation_data")
    take_epochs(net, run, settings, train.y, held_out, history)
    return run.chunk


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
    X, y, weights = gathered(X, y, weights, form, f"X{where}")
    samples = Samples.of_rows(form, X, y, where)
    return samples.weighed(samples.weights(weights, None, where))


def split_seed(settings: Settings, seed: int | None, callbacks: Sequence[Callback]) -> int | None:
    """The seed of the draw of what `validation_split` holds out, or None for the last samples.

    It is that of the fit. Where the caller left that to us, it is the one of the checkpoint with which a fit goes on.
    """
    if not settings.validation_shuffle:
        return None
    if seed is None:
        seed = kept_split_seed(callbacks)
    return secrets.randbits(62) if seed is None else seed


class Alone:
    """What processes that train one network decide together; of one there is nothing to agree on."""

    def of_first(self, task: Callable[[], T]) -> T:
        """What ``task()`` returns in the first of them."""
        return task()

    def stop(self, request: StopTraining | None) -> StopTraining | None:
        """Whether one of them asks to stop: this one's request, or else the first."""
        return request


def take_epochs(
    net: Trainee,
    run: Steps,
    settings: Settings,
    y: Array | None,
    held_out: Samples | None,
    history: History,
    group: Alone | None = None,
) -> None:
    """The epochs of `run` and what happens between them, noted in `history`; `y` is for metrics of its outputs.

    The `group` is of those processes that do the same at the same time.
    """
    group = group or Alone()
    measures = settings.measures
    shown = progress(settings.verbose, settings.epochs)
    started: list[Callback] = []
    keeper: Keeper | None = None
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
        trained = run.measures or (settings.of_training if y is not None else {})
        columns = ["loss", *trained]
        if held_out is not None:
            columns += ["val_loss", *(f"val_{name}" for name in measures if held_out.y is not None)]
        keeper = Keeper(run, settings.callbacks, history, columns, held_out)
        kept = group.of_first(keeper.found)
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
            keeper.restore(kept, others)
            del kept  # its arrays
        guard.on_train_begin()  # what it holds is what a fit that goes on falls back to
        for epoch in range(len(history.epoch) + 1, 1 + (0 if history.stopped else settings.epochs)):
            stop: StopTraining | None = None
            try:
                for callback in callbacks:
                    callback.on_epoch_begin(epoch)
            except StopTraining as request:
                stop = request
            if (stop := group.stop(stop)) is not None:
                if history.epoch:
                    keeper.keep(len(history.epoch), stop.reason, last=True)
                raise stop
            logs = _epoch(epoch, net.engine, run, settings, y, held_out, history, guard)
            for callback in others:
                try:
                    callback.on_epoch_end(epoch, logs)
                except StopTraining as request:
                    stop = stop or request
            stop = group.stop(stop)
            reason = "" if stop is None else stop.reason
            keeper.keep(epoch, reason, last=stop is not None or epoch == settings.epochs)
            if stop is not None:
                history.stopped = reason
                break
    except StopTraining as request:
        history.stopped = request.reason
    except KeyboardInterrupt:
        history.stopped = f"interrupted after {run.step} steps"
    finally:
        with contextlib.ExitStack() as endings:
            if keeper is not None:
                endings.callback(keeper.end)
            for callback in started:
                endings.callback(_end, callback, history)


def _epoch(
    epoch: int,
    engine: Engine,
    run: Steps,
    settings: Settings,
    y: Array | None,
    held_out: Samples | None,
    history: History,
    guard: NaNGuard,
) -> dict[str, float]:
    """Train and measure; what was found is in the history, of an epoch that ends by an error, too."""
    logs: dict[str, float] = {}
    try:
        logs = run.epoch()
        guard.on_epoch_end(epoch, logs)  # before metrics, which make errors of weights that are not finite
        if y is not None and run.outputs is not None:
            logs.update(scores(settings.of_training, y, run.outputs, engine.loss, None, engine.form.predictor))
        if held_out is not None:
            found = engine.scores(held_out, settings.measures)
            logs.update({f"val_{name}": value for name, value in found.items()})
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
    return logs


def _end(callback: Callback, history: History) -> None:
    """Its last turn; to stop a fit that has ended says at most why."""
    try:
        callback.on_train_end()
    except StopTraining as request:
        history.stopped = history.stopped or request.reason
