"""The classifier."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ..checks import Array, flag, not_negative, positive_number, shown
from ..data.rows import balanced_weights, sample_weights
from ..formulas.activations import SELU, ActivationFunction
from ..formulas.losses import CrossEntropyLoss, LossFunction, softmax
from ..training.callbacks import Trainee
from ..words import listed
from .answer import Answer
from .base import BaseTabular, Rows, Targets, targets_of, weighted_mean
from .learnt import Learnt

SMOOTHING = 0.1
_LABELS = {"b": "bool", "i": "int", "u": "int", "f": "float", "U": "text", "O": "object"}  # by the kind of their dtype
MOST = 2**63 - 1  # that int64 holds
LOWEST, HIGHEST = 0.05, 20.0  # of a temperature


class TabularClassifier(ClassifierMixin, BaseTabular):
    """A classifier for tables: a data frame goes in as it is.

    What becomes of its columns says `Preprocessor`; of the networks `fastnn.tabular.recipe`.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default (256, 256, 256)
        How many units each hidden layer has.
    epochs : int, default 256
        How often to go through all rows.
    batch_size : int, default 256
        Rows to a step, about: all batches are equally long to within some rows.
    learning_rate : float, optional
        The highest rate; by default 0.04.
    validation_fraction : float, default 0.2
        The part of the rows to hold out, of each class its share: by them the best epoch is known, the last of
        several, whose weights are kept. With 0 the last epoch is.
    n_networks : int, default 1
        How many networks, which differ by their first weights and the order of their rows; probabilities are the
        means of theirs.
    calibrate : bool, default False
        Whether to divide the logits by the temperature that suits the held-out rows best. The best epoch is then that
        of the smallest log-loss at such a temperature, instead of the smallest error.
    label_smoothing : float, default 0.1
        How much of the target's probability is spread evenly over all classes.
    class_weight : dict, sequence, "balanced" or None, default None
        Weights of the classes, by which those of the samples are multiplied: by label, where classes that a dict lacks
        have weight 1, or one for each class in the order of `classes_`.
    time_limit : float, optional
        Seconds, after which training ends with the epoch under way.
    max_one_hot : int, default 100
        See `Preprocessor`.
    random_state : int, RandomState or None, default None
        Of the held-out rows, the first weights and the orders.
    n_jobs : int, optional
        How many threads; by default as many as repay it.
    verbose : {0, 1, 2}, default 0
        As for `fastnn.NeuralNetwork.fit`.
    callbacks : Callback or list of them, optional
        What runs during the training. They see the loss on the held-out rows, too.

    Attributes
    ----------
    classes_ : ndarray
    network_, networks_ : NeuralNetwork, list of them
        The networks; `network_` is the first.
    preprocessor_ : Preprocessor
    temperature_ : float
        1 without `calibrate`.
    feature_importances_ : ndarray (n_features_in_,)
        How much the outputs change with each column: mean sizes of input gradients times the inputs' standard
        deviations. Their sum is 1.
    n_features_in_, feature_names_in_
    n_iter_, best_epoch_ : int
        How many epochs the first network took, and which one's weights it has.
    history_ : History
        The course of its training; not in files.
    validation_errors_ : list of float
        After each epoch, NaN where Ctrl-C came before it was measured; not in files.
    validation_rows_ : ndarray of int
        Which rows were held out; not in files.
    interrupted_ : bool
        Whether Ctrl-C ended the training; not in files.
    target_name_ : str or None
        The name of y, if it was a series.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tabular import TabularClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = np.empty((500, 2), object)
    >>> X[:, 0], X[:, 1] = rng.normal(size=500), rng.choice(["red", "green", "blue"], 500)
    >>> y = np.where((X[:, 0] > 0) == (X[:, 1] == "red"), "yes", "no")
    >>> model = TabularClassifier(epochs=20, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    >>> model.predict(np.array([[1.5, "red"], [1.5, "blue"]], object))
    array(['yes', 'no'], dtype='<U3')
    """

    _rate = 0.04

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 256, 256),
        *,
        epochs: int = 256,
        batch_size: int = 256,
        learning_rate: float | None = None,
        validation_fraction: float = 0.2,
        n_networks: int = 1,
        calibrate: bool = False,
        label_smoothing: float = SMOOTHING,
        class_weight: Any = None,
        time_limit: float | None = None,
        max_one_hot: int = 100,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        callbacks: Any = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
            validation_fraction=validation_fraction, n_networks=n_networks, time_limit=time_limit,
            max_one_hot=max_one_hot, random_state=random_state, n_jobs=n_jobs, verbose=verbose, callbacks=callbacks,
        )  # fmt: skip
        self.calibrate = calibrate
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> TabularClassifier:
        """Train on a table.

        Parameters
        ----------
        X : data frame or array_like (n_samples, n_features)
            Numbers, bools, texts, categories, dates, with missing values: of pandas, polars, pyarrow or NumPy.
        y : array_like (n_samples,)
            The classes: numbers, bools or texts.
        sample_weight : array_like (n_samples,), optional
            Weights of the losses; rows of weight 0 are left out.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If something does not fit: columns of the same name, infinities, a missing target, one class only. The
            estimator is as it was before, then.
        """
        return self._fit(X, y, sample_weight)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        flag(self.calibrate, "calibrate")
        if self.calibrate and not self.validation_fraction:
            raise ValueError("calibrate is True but validation_fraction is 0; expected some rows to calibrate on")
        CrossEntropyLoss(self.label_smoothing)

    def _read_targets(self, y: Any, count: int) -> Targets:
        array = targets_of(y, count)
        if array.ndim == 2 and array.shape[1] == 1:
            array = column_or_1d(array, warn=True)
        if array.ndim != 1:
            raise ValueError(f"y has shape {array.shape}; expected one class for each row, shape ({count},)")
        array = labels_of(array)
        check_classification_targets(array)
        classes, codes = np.unique(array, return_inverse=True)
        if classes.size < 2:
            raise ValueError(f"y has one class only, {classes.tolist()[0]!r}; expected two classes at least")
        return Targets(np.asarray(codes).reshape(-1), classes)

    def _start(self, y: Targets, rows: Array) -> dict[str, Any]:
        classes, there = np.asarray(y.classes), np.unique(y.values[rows])
        if there.size < 2:
            raise ValueError(
                f"y has one class only, {classes.tolist()[there[0]]!r}, where sample_weight is above 0; expected two"
            )
        return {"kind": _LABELS.get(classes.dtype.kind, ""), "classes": classes.tolist(), "temperature": 1.0}

    def _weights(self, y: Targets, used: Array, sample_weight: Array | None) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            given = None if sample_weight is None else sample_weight[used]  # of weight 0 is as good as not there
            counts = np.bincount(y.values[used], given, minlength=len(np.asarray(y.classes)))
            by_class = balanced_weights(counts)
            weight = np.array([by_class.get(code, 0.0) for code in range(len(counts))])[y.values]
        else:
            weight = self._by_class(np.asarray(y.classes))[y.values]
        return np.asarray(weight if sample_weight is None else weight * sample_weight)

    def _by_class(self, classes: Array) -> Array:
        """The weight of each class, over that of the heaviest, so that no product is infinite."""
        given, labels = self.class_weight, classes.tolist()
        if isinstance(given, Mapping):
            places = {label: code for code, label in enumerate(labels)}
            if unknown := [label for label in given if label not in places]:
                raise ValueError(
                    f"class_weight has the {listed(unknown, 'key')}, which {'is' if len(unknown) == 1 else 'are'} no "
                    f"class of y; expected some of {listed(labels)}, where those that it lacks have weight 1"
                )
            given = {places[label]: not_negative(one, f"class_weight[{label!r}]") for label, one in given.items()}
        weight = np.asarray(sample_weights(None, given, np.arange(len(labels)), len(labels), class_count=len(labels)))
        return weight / max(weight.max(), np.finfo(float).tiny)

    def _network_targets(self, y: Array, more: dict[str, Any]) -> Array:
        return y

    def _loss(self) -> LossFunction:
        return CrossEntropyLoss(self.label_smoothing)

    def _activation(self) -> ActivationFunction:
        return SELU()

    def _outs(self, more: dict[str, Any]) -> int:
        return len(more["classes"])

    def _error(self, net: Trainee, held_out: Rows) -> float:
        outputs = net.engine.outputs(held_out.X, unchecked=True)
        if self.calibrate:
            return temperature(outputs.astype(np.float64), held_out.targets, held_out.weight).loss
        return weighted_mean(np.argmax(outputs, axis=1) != held_out.targets, held_out.weight)

    def _finish(self, learnt: Learnt, held_out: Rows, y: Array, count: float) -> None:
        if self.calibrate:
            logits = log_probabilities(learnt.outputs(held_out.X).astype(np.float64))
            learnt.more["temperature"] = temperature(logits, held_out.targets, held_out.weight, count).value

    def _show(self, learnt: Learnt) -> None:
        more = learnt.more
        kind, classes = more.get("kind"), more.get("classes")
        types = {"bool": bool, "int": int, "float": float, "text": str, "object": object}
        if kind not in types or not isinstance(classes, list) or len(classes) != learnt.networks[0].engine.outs:
            raise ValueError("its classes are not one label for each output")
        of = types[kind]
        if of is not object and not all(isinstance(label, of) for label in classes):
            raise ValueError(f"its classes are not all of type {kind}")
        self.classes_: Array = np.array(classes, dtype=np.uint64 if of is int and max(classes) > MOST else of)
        self.temperature_ = positive_number(more.get("temperature"), "temperature")

    # --- predictions -----------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, float64 (n_samples, n_classes), in the order of `classes_`.

        Raises
        ------
        NotFittedError
            If it has not been fitted.
        ValueError, TypeError
            As `Preprocessor.transform`.
        """
        outputs = self._outputs(X)
        if outputs.shape[:2] == (1, 1):
            return softmax_of_one(outputs[0, 0].tolist(), self.temperature_)
        return self._of_outputs(*outputs.astype(np.float64))

    def _of_outputs(self, *outputs: Array) -> Array:
        """Probabilities of the outputs (n, n_classes) of each network, in NumPy alone, which exports read."""
        logits = outputs[0] if len(outputs) == 1 else log_probabilities(outputs)
        with np.errstate(under="ignore"):
            return softmax(logits / self.temperature_)

    def _answer(self, learnt: Learnt) -> Answer:
        labels = self.classes_.tolist()
        return Answer(self._of_outputs, len(labels), len(labels), labels)

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def predict(self, X: Any) -> Array:
        """The most probable class of each row."""
        found = np.argmax(self.predict_proba(X), axis=1)
        return np.asarray(self.classes_[found])


def labels_of(y: Array) -> Array:
    """Labels (n,) as an array of bools, integers, floats or texts, or of objects that are texts; or an error."""
    if y.dtype.kind == "T":
        y = y.astype(object)
    if y.dtype.kind not in _LABELS:
        fix = {
            "S": ": np.char.decode(y)",
            "M": ": y.astype(str), or a regressor",
            "m": ": y.astype(str), or a regressor",
        }
        raise TypeError(
            f"y has dtype {y.dtype}; expected classes that are numbers, bools or texts{fix.get(y.dtype.kind, '')}"
        )
    if y.dtype.kind != "O":
        return y
    values = y.tolist()
    types = {type(value) for value in values}
    if all(issubclass(one, str) for one in types):
        return np.array([str(value) for value in values], object)
    if all(issubclass(one, (bool, np.bool_)) for one in types):
        return np.array(values, bool)
    others = sorted(
        one.__name__ for one in types if issubclass(one, bool) or not issubclass(one, (numbers.Real, Decimal))
    )
    if others and len(types) > 1:
        named = ", ".join(sorted(one.__name__ for one in types))
        raise TypeError(f"y holds labels of several types, {named}; expected all of one")
    if others:
        raise TypeError(
            f"y holds labels of type {others[0]}, such as {shown(values[0])}; expected numbers, bools or texts: "
            "[str(label) for label in y]"
        )
    if not all(issubclass(one, numbers.Integral) for one in types):
        return np.array([float(value) for value in values])
    low, high = min(values), max(values)
    if low < -MOST - 1 or high > (2 * MOST + 1 if low >= 0 else MOST):
        raise ValueError(f"y holds labels from {low} to {high}, more than 64 bits hold; expected texts: map(str, y)")
    return np.array(values, np.uint64 if high > MOST else np.int64)


def softmax_of_one(logits: list[float], temperature: float) -> Array:
    """What `softmax` makes of one row, but for rounding, in a fifth of the time."""
    top = max(logits)
    e = [math.exp((logit - top) / temperature) for logit in logits]
    whole = sum(e)
    return np.array([[part / whole for part in e]])


def log_probabilities(outputs: Sequence[Array] | Array) -> Array:
    """The logarithms of the mean probabilities of networks with these logits, each float64 (n, classes)."""
    with np.errstate(under="ignore"):
        mean: Array = sum(softmax(logits) for logits in outputs) / len(outputs)
    return np.log(np.maximum(mean, np.finfo(np.float64).tiny))


class Temperature(NamedTuple):
    """By which to divide logits, and the log-loss that they then have."""

    value: float
    loss: float


def temperature(logits: Array, classes: Array, weight: Array | None, count: float | None = None) -> Temperature:
    """By which to divide logits (n, k), so that the log-loss on these samples is smallest, and that log-loss.

    `count` says as how many samples they are, if some are copies of others.

    Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017). Much as in Platt's, a
    sample more is supposed, which has any class: few samples, all of which are right, make nothing certain. That loss
    also says which epoch tells the classes apart best, however sure of them it is: Berta, Holzmueller, Jordan and Bach,
    "Rethinking early stopping: refine, then calibrate" (2025).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tabular.classifier import temperature
    >>> logits = np.repeat([[4.0, 0.0]], 100, axis=0)  # a probability of 0.98, where 75 of 100 are right
    >>> round(temperature(logits, np.arange(100) // 75, None).value, 2)
    3.68
    """
    from scipy.optimize import minimize_scalar

    n = len(logits)
    spread = 1 / ((n if count is None else count) + 1)

    def loss(log_t: float) -> float:
        z = logits / np.exp(log_t)
        top = z.max(axis=1)
        expected = (1 - spread) * z[np.arange(n), classes] + spread * z.mean(axis=1)
        return weighted_mean(top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - expected, weight)

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    with np.errstate(all="ignore"):  # of a network that has diverged
        found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return Temperature(float(np.exp(found.x)), float(found.fun))
