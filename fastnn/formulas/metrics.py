"""Metrics: how good predictions are, by name or as a function of your own.

A metric of your own is a function ``(y, predictions)`` that returns a number: the targets as given, and what `predict`
gives, (n, outs), on the targets' scale. Under a loss of classes these are the network's outputs as they are, no classes
and no probabilities: a function that requires a third argument gets the loss, which knows how outputs become them.
scikit-learn's functions are called with two arguments, so those of classes want a function around them::

    def balanced(y, outputs, loss):
        return sklearn.metrics.balanced_accuracy_score(y, loss.classes(outputs))

    balanced.greater_is_better = True

Its ``__name__`` is the name of its column in the history. ``greater_is_better``, True or False, says which way is good
to those who look for the best; of scikit-learn's own ``..._score``, ``..._error`` and ``..._loss`` it is known. One
that has a parameter ``sample_weight`` gets the weights of the samples where there are some.

Where the loss is one of many labels (`BCEWithLogitsLoss` with several outputs), ``accuracy``, ``f1``, ``log_loss`` and
``auc`` are those of each label, averaged over the labels (scikit-learn's "macro"). Soft targets of such a loss count
as labels from above 0.5.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..checks import Array
from .losses import LossFunction

Predictor = Callable[[Array], Array]
Metric = Callable[[Array, Array, LossFunction, "Array | None"], float]


def labels(y: Array, outputs: Array, loss: LossFunction) -> Array:
    """What `loss.classes` is to be: class indices, of class indices or one-hot rows, or 0 or 1 for each label."""
    if loss.domain is not None and loss.domain.of_labels:
        found = (y.reshape(outputs.shape) > 0.5).astype(int)
        return found if outputs.shape[1] > 1 else found[:, 0]
    if loss.classes(outputs[:1]).ndim == 2:
        return y.reshape(outputs.shape)
    if y.ndim == 2 and y.shape[1] > 1:
        return np.asarray(np.argmax(y, axis=1))
    y, classes = y.reshape(-1), max(2, outputs.shape[1])
    wrong = (y < 0) | (y >= classes) | (y != np.floor(y))
    if wrong.any():
        raise ValueError(
            f"the metric is one of classes, but y holds {y[wrong][0]}, which is no class (0 to {classes - 1}); "
            "for values take r2, mse or mae"
        )
    return y


def _values(y: Array, outputs: Array, name: str) -> Array:
    """The targets of a metric of values, in the shape of the outputs."""
    if y.size != outputs.size:
        raise ValueError(
            f"y has shape {y.shape} and the outputs {outputs.shape}, and {name} is of a value for each output; of "
            "classes take accuracy, f1, log_loss, auc or top_<k>"
        )
    return np.asarray(y.reshape(outputs.shape))


def _by_label(metric: Metric, y: Array, outputs: Array, loss: LossFunction, weights: Array | None) -> float | None:
    """The mean of a metric over many labels; None where there is one class a sample."""
    if outputs.shape[1] == 1 or loss.classes(outputs[:1]).ndim == 1:
        return None
    y = labels(y, outputs, loss)
    return float(np.mean([metric(y[:, j], outputs[:, j : j + 1], loss, weights) for j in range(y.shape[1])]))


def accuracy(y: Array, outputs: Array, loss: LossFunction, weights: Array | None = None) -> float:
    """The part of the samples whose predicted class is the right one; of many labels the mean over them."""
    right = loss.classes(outputs) == labels(y, outputs, loss)
    return float(np.average(right if right.ndim == 1 else right.mean(axis=1), weights=weights))


def top_k(y: Array, outputs: Array, loss: LossFunction, weights: Array | None = None, k: int = 5) -> float:
    """The part of the samples whose class is among the k largest outputs."""
    if loss.classes(outputs[:1]).ndim == 2:
        raise ValueError(f"top_{k} is of one class a sample, but {type(loss).__name__} has many labels; take accuracy")
    k = min(k, outputs.shape[1])
    largest = np.argpartition(outputs, -k, axis=1)[:, -k:]
    return float(np.average(np.any(largest == labels(y, outputs, loss)[:, None], axis=1), weights=weights))


def mse(y: Array, outputs: Array, loss: LossFunction, weights: Array | None = None) -> float:
    """Mean squared error."""
    return float(np.average(np.mean((outputs - _values(y, outputs, "mse")) ** 2, axis=1), weights=weights))


def mae(y: Array, outputs: Array, loss: LossFunction, weights: Array | None = None) -> float:
    """Mean absolute error."""
    return float(np.average(np.mean(np.abs(outputs - _values(y, outputs, "mae")), axis=1), weights=weights))


def r2(y: Array, outputs: Array, loss: LossFunction, weights: Array | None = None) -> float:
    """Coefficient of determination, the mean over the outputs; of a constant target 1 where it is met, else 0."""
    y = _values(y, outputs, "r2").astype(np.float64)
    left = np.average((y - outputs) ** 2, axis=0, weights=weights)
    whole = np.average((y - np.average(y, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
    found = np.where(left == 0, 1.0, 1 - left / np.where(whole == 0, 1, whole))
    return float(np.mean(np.where((whole == 0) & (left > 0), 0.0, found)))


def f1(y: Array, outputs: Array, loss: LossFunction, weights: Array | None = None) -> float:
    """F1 score: of class 1 where there are two classes, else the mean over the classes that occur, or over labels."""
    if (mean := _by_label(f1, y, outputs, loss, weights)) is not None:
        return mean
    known, found = labels(y, outputs, loss).astype(np.int64), loss.classes(outputs)
    classes = max(2, outputs.shape[1])
    right, there, told = (
        np.bincount(which[some], None if weights is None else weights[some], classes)
        for which, some in ((known, known == found), (known, slice(None)), (found, slice(None)))
    )
    total = there + told
    scores_of = 2 * right / np.where(total == 0, 1, total)
    return float(scores_of[1] if classes == 2 else np.mean(scores_of[total > 0]))


def log_loss(y: Array, outputs: Array, loss: LossFunction, weights: Array | None = None) -> float:
    """Log-loss of the predicted probabilities; of many labels the mean over them."""
    if (mean := _by_label(log_loss, y, outputs, loss, weights)) is not None:
        return mean
    p, known = loss.probabilities(outputs), labels(y, outputs, loss).astype(np.int64)
    p_known = np.maximum(p[np.arange(known.size), known], np.finfo(p.dtype).eps)
    return float(np.average(-np.log(p_known), weights=weights))


def auc(y: Array, outputs: Array, loss: LossFunction, weights: Array | None = None) -> float:
    """Area under the ROC curve; one class against the rest where there are many, or by label.

    It is NaN where a class does not occur, or no other one does.
    """
    if (mean := _by_label(auc, y, outputs, loss, weights)) is not None:
        return mean
    p, known = loss.probabilities(outputs), labels(y, outputs, loss)
    classes = (1,) if p.shape[1] == 2 else range(p.shape[1])
    return float(np.mean([_area(known == one, p[:, one], weights) for one in classes]))


def _area(there: Array, p: Array, weights: Array | None) -> float:
    """The part of all pairs of one that is there and one that is not in which it has the larger p; equal ones half."""
    order = np.argsort(p)
    there, p = there[order], p[order]
    weights = np.ones(p.size) if weights is None else weights[order]
    last = np.append(p[1:] != p[:-1], True)  # of those with the same p
    others = np.cumsum(np.where(there, 0.0, weights))[last]  # up to that p
    below = np.append(0.0, others[:-1])
    mine = np.diff(np.cumsum(np.where(there, weights, 0.0))[last], prepend=0.0)
    pairs = mine.sum() * others[-1]
    return float(np.sum(mine * (below + others) / 2) / pairs) if pairs > 0 else float("nan")


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "top_k": top_k,
    "f1": f1,
    "log_loss": log_loss,
    "auc": auc,
    "mse": mse,
    "mae": mae,
    "r2": r2,
}
"""Metrics by name; ``"top_3"`` is `top_k` with k = 3."""


_MEANS = (accuracy, top_k, mse, mae, log_loss)
_OF_CLASSES = (accuracy, top_k, f1, log_loss, auc)  # these ask the loss what outputs stand for


def is_mean(metric: Metric) -> bool:
    """Whether a metric of many samples is the mean of those of its parts: those of fastnn are known to be or not."""
    return getattr(metric, "func", metric) in _MEANS


GREATER = ("accuracy", "f1", "auc", "r2")
SMALLER = ("loss", "log_loss", "mse", "mae")
RESERVED = ("loss", "epoch", "lr")


def greater_is_better(name: str, measures: Mapping[str, Metric] | None = None) -> bool | None:
    """Whether a quantity is the better the larger it is; None where nobody knows."""
    name = name.removeprefix("val_")
    if (known := getattr((measures or {}).get(name), "greater_is_better", None)) is not None:
        return bool(known)
    if name in GREATER or (name.startswith("top_") and name[4:].isdecimal()) or name == "top_k":
        return True
    return False if name in SMALLER else None


def scores(
    measures: Mapping[str, Metric],
    y: Array,
    outputs: Array,
    loss: LossFunction,
    weights: Array | None = None,
    predictor: Predictor | None = None,
) -> dict[str, float]:
    """The metrics by name, of the predictions that `predictor` makes of outputs, if they are not the outputs.

    All are NaN where these are not all finite, of which others would make errors.
    """
    if not measures:
        return {}
    y, outputs, weights = _to_read(y), _to_read(outputs), None if weights is None else _to_read(weights)
    predictions = outputs if predictor is None else _to_read(predictor(outputs))
    if not np.isfinite(predictions).all():
        return dict.fromkeys(measures, float("nan"))
    with np.errstate(under="ignore"):
        return {
            name: measure(y, outputs if _is_of_classes(measure) else predictions, loss, weights)
            for name, measure in measures.items()
        }


def _is_of_classes(metric: Metric) -> bool:
    return getattr(metric, "func", metric) in _OF_CLASSES


def _to_read(array: Array) -> Array:
    """The same numbers, read-only: they are those of the user and of the fit, which a metric must not change."""
    view = array.view()
    view.flags.writeable = False
    return view


def named_metrics(metrics: Iterable[str | Callable[..., float]] | None) -> dict[str, Metric]:
    """The metrics that names and functions stand for, by name.

    Raises
    ------
    ValueError, TypeError
        If one is neither, two have one name, or a name is one that the history has for something else.
    """
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    found: dict[str, Metric] = {}
    given: dict[str, Any] = {}
    for metric in metrics or ():
        if callable(metric):
            name, measure = _name_of(metric), _as_metric(metric)
            if name in RESERVED or name.startswith("val_"):
                raise ValueError(
                    f"metrics holds {metric!r} of the name {name!r}, which is the name of something else in a history; "
                    "expected another: set its __name__"
                )
        elif not isinstance(metric, str):
            raise TypeError(f"metrics holds {metric!r}; expected names and functions")
        elif metric in METRICS:
            name, measure = metric, METRICS[metric]
        elif metric.startswith("top_") and metric[4:].isdecimal() and int(metric[4:]) > 0:
            name, measure = metric, partial(top_k, k=int(metric[4:]))
        else:
            raise ValueError(f"metrics holds {metric!r}; expected one of {', '.join(METRICS)}, top_<k>, or a function")
        if name in found:
            raise ValueError(
                f"metrics holds two of the name {name!r}: {given[name]!r} and {metric!r}; expected one name for each: "
                "leave one out, or set the __name__ of a function"
            )
        found[name], given[name] = measure, metric
    return found


def _name_of(metric: Callable[..., Any]) -> str:
    inner = metric.func if isinstance(metric, partial) else metric
    return str(getattr(metric, "__name__", getattr(inner, "__name__", type(inner).__name__)))


def _as_metric(metric: Callable[..., Any]) -> Metric:
    """A function as a `Metric`: it gets the loss where it requires a third argument, and weights where it has a place.

    Raises
    ------
    TypeError
        If it cannot be called with two arguments or three.
    """
    inner = metric.func if isinstance(metric, partial) else metric
    if inner in METRICS.values():
        return metric
    places: float = math.inf
    try:
        parameters = list(inspect.signature(metric).parameters.values())
        if not any(one.kind is one.VAR_POSITIONAL for one in parameters):
            places = sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters)
    except (ValueError, TypeError):  # some compiled functions tell none
        parameters = []
    required = [
        one for one in parameters if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if isinstance(metric, type) or places < 2 or len(required) > 3 or any(o.kind is o.KEYWORD_ONLY for o in required):
        names = ", ".join(one.name for one in (parameters if places < 2 else required))
        takes = "is a class" if isinstance(metric, type) else f"{'takes' if places < 2 else 'requires'} ({names})"
        raise TypeError(
            f"metrics holds {metric!r}, which {takes}; expected a function of (y, outputs) or (y, outputs, loss)"
        )
    takes_loss = len(required) == 3
    takes_weights = any(one.name == "sample_weight" and one not in required for one in parameters)

    @functools.wraps(inner, assigned=("__doc__",), updated=())
    def measure(y: Array, outputs: Array, loss: LossFunction, weights: Array | None = None) -> float:
        more = {"sample_weight": weights} if takes_weights and weights is not None else {}
        value = metric(y, outputs, loss, **more) if takes_loss else metric(y, outputs, **more)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise TypeError(f"the metric {_name_of(metric)!r} returned {value!r:.80}; expected a number") from None

    known = getattr(metric, "greater_is_better", getattr(inner, "greater_is_better", None))
    if known is None and str(getattr(inner, "__module__", "")).startswith("sklearn."):
        ending = _name_of(inner).rpartition("_")[2]
        known = {"score": True, "error": False, "loss": False}.get(ending)
    measure.greater_is_better = known  # type: ignore[attr-defined]
    return measure
