"""Metrics: how good outputs are, by name or as a function of your own.

A metric is a function ``(y, outputs, loss)`` that returns a float: the targets as given, the
network's outputs (n, outs), and the network's loss, which knows how outputs become classes and
probabilities. A function that takes two arguments is called with the first two.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from ..checks import Array
from ..extras import needs
from .losses import LossFunction

Metric = Callable[[Array, Array, LossFunction], float]


def labels(y: Array) -> Array:
    """Class indices from class indices or one-hot rows."""
    return np.argmax(y, axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)


def accuracy(y: Array, outputs: Array, loss: LossFunction) -> float:
    """The part of the samples whose predicted class is the right one."""
    return float(np.mean(loss.classes(outputs) == labels(y)))


def top_k(y: Array, outputs: Array, loss: LossFunction, k: int = 5) -> float:
    """The part of the samples whose class is among the k largest outputs."""
    k = min(k, outputs.shape[1])
    largest = np.argpartition(outputs, -k, axis=1)[:, -k:]
    return float(np.mean(np.any(largest == labels(y)[:, None], axis=1)))


def mse(y: Array, outputs: Array, loss: LossFunction) -> float:
    """Mean squared error."""
    return float(np.mean((outputs - y.reshape(outputs.shape)) ** 2))


def mae(y: Array, outputs: Array, loss: LossFunction) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(outputs - y.reshape(outputs.shape))))


def r2(y: Array, outputs: Array, loss: LossFunction) -> float:
    """Coefficient of determination, from scikit-learn."""
    return float(_sklearn("r2").r2_score(y.reshape(outputs.shape), outputs))


def f1(y: Array, outputs: Array, loss: LossFunction) -> float:
    """F1 score, from scikit-learn: of class 1 where there are two classes, else the mean over classes."""
    average = "binary" if outputs.shape[1] <= 2 else "macro"
    return float(_sklearn("f1").f1_score(labels(y), loss.classes(outputs), average=average, zero_division=0.0))


def log_loss(y: Array, outputs: Array, loss: LossFunction) -> float:
    """Log-loss of the predicted probabilities, from scikit-learn."""
    p = loss.probabilities(outputs)
    return float(_sklearn("log_loss").log_loss(labels(y), p, labels=np.arange(p.shape[1])))


def auc(y: Array, outputs: Array, loss: LossFunction) -> float:
    """Area under the ROC curve, from scikit-learn; one class against the rest where there are many."""
    p, metrics = loss.probabilities(outputs), _sklearn("auc")
    if p.shape[1] == 2:
        return float(metrics.roc_auc_score(labels(y), p[:, 1]))
    return float(metrics.roc_auc_score(labels(y), p, multi_class="ovr", labels=np.arange(p.shape[1])))


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


def is_mean(metric: Metric) -> bool:
    """Whether a metric of many samples is the mean of those of its parts: those of fastnn are known to be or not."""
    return getattr(metric, "func", metric) in _MEANS


def named_metrics(metrics: Iterable[str | Callable[..., float]]) -> dict[str, Metric]:
    """The metrics that names and functions stand for, by name."""
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    found: dict[str, Metric] = {}
    for metric in metrics:
        if callable(metric):
            name = getattr(metric, "__name__", type(metric).__name__)
            takes_loss = len(inspect.signature(metric).parameters) > 2
            found[name] = metric if takes_loss else partial(_without_loss, metric)
        elif metric in METRICS:
            found[metric] = METRICS[metric]
        elif metric.startswith("top_") and metric[4:].isdigit() and int(metric[4:]) > 0:
            found[metric] = partial(top_k, k=int(metric[4:]))
        else:
            raise ValueError(f"metrics holds {metric!r}; expected one of {', '.join(METRICS)}, top_<k>, or a function")
    return found


def _without_loss(metric: Callable[..., float], y: Array, outputs: Array, loss: LossFunction) -> float:
    return float(metric(y, outputs))


def _sklearn(metric: str) -> Any:
    return needs("sklearn.metrics", f"the metric {metric!r}", "scikit-learn")
