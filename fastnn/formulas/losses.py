"""Loss functions: one class each, with ``loss`` and its gradient ``dloss`` as NumPy formulas.

This is the whole definition of a loss, and your own subclass works in the same way: write
`loss` and `dloss` for one column, as the article does, or subclass `ElementwiseLoss` and write
`f` and `df` for one number, which compiles into faster code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ..checks import fraction, positive_number
from ..kernels.formula import FormulaError
from .component import Component
from .domain import Domain

Array = Any


class LossFunction(Component, ABC):
    """A loss: subclass it, write `loss` and `dloss` for one sample.

    ``values`` is the network's output, a column (outs, 1). ``expected`` is the target, a column
    of the same shape or the number of a class. `dloss` returns the gradient of `loss` with
    respect to ``values``, a column; `fastnn.check_gradients` holds it against `loss`.

    Attributes
    ----------
    target : {"values", "class", None}
        What ``expected`` is. None, the default: whichever the call gives.
    domain : Domain, optional
        Which values a target may have. Others are refused before anything is trained or measured. None, the
        default: all that are finite.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import LossFunction, Layer, Identity, NeuralNetwork
    >>> class LogCosh(LossFunction):
    ...     def loss(self, values, expected):
    ...         return np.sum(np.log(np.cosh(values - expected)))
    ...     def dloss(self, values, expected):
    ...         return np.tanh(values - expected)
    >>> net = NeuralNetwork([Layer(2, 1, Identity())], LogCosh(), 0.1)
    >>> loss = net.train(np.ones((2, 5)), np.zeros((1, 5)))
    """

    target: str | None = None
    domain: Domain | None = None
    of_the_class = Component.of_the_class | {"target", "domain"}

    @abstractmethod
    def loss(self, values: Array, expected: Array) -> Array:
        """The loss of one sample, a number."""

    @abstractmethod
    def dloss(self, values: Array, expected: Array) -> Array:
        """Its gradient with respect to `values`, (outs, 1)."""

    def classes(self, outputs: Array) -> Array:
        """The class that each row of outputs (n, outs) stands for; one output says class 0 or 1.

        A loss of many labels, each of them there or not, returns 0 or 1 for each: ints (n, outs). Metrics and
        `predict_classes` go by the shape.
        """
        return np.argmax(outputs, axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0.5).astype(int)

    def probabilities(self, outputs: Array) -> Array:
        """The probability of each class for each row of outputs, where this loss implies one."""
        raise TypeError(f"{type(self).__name__} gives no probabilities; CrossEntropyLoss and BCEWithLogitsLoss do")


def check_loss(loss: LossFunction, outs: int, class_target: bool) -> None:
    """See that ``loss`` and ``dloss`` make of a column (outs, 1) and its target a number and a column (outs, 1).

    The kernels compile them without looking at shapes or indices.

    Raises
    ------
    FormulaError
        If one raises an error on a usual column, or returns another shape.
    """
    name, values = type(loss).__name__, np.linspace(0.1, 0.9, outs).reshape(outs, 1)
    targets = sorted({0, outs - 1}) if class_target else [np.linspace(0.8, 0.2, outs).reshape(outs, 1)]
    for target in targets:
        kind = f"class {target}" if class_target else f"a target of shape ({outs}, 1)"
        for method, shape in (("loss", ()), ("dloss", (outs, 1))):
            given = f"{name}.{method}, given values of shape ({outs}, 1) and {kind},"
            try:
                with np.errstate(all="ignore"):
                    result = np.asarray(getattr(loss, method)(values.copy(), target))
            except Exception as error:
                raise FormulaError(f"{given} raised {type(error).__name__}: {error}") from error
            if result.shape != shape:
                wanted = "one number (np.sum, np.mean)" if method == "loss" else f"the gradient, shape {shape}"
                raise FormulaError(f"{given} returned an array of shape {result.shape}; expected {wanted}")


def softmax(outputs: Array) -> Array:
    """exp(outputs) of each row, divided by its sum, without overflow; what is too small for a number is 0."""
    with np.errstate(under="ignore"):
        e: Array = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)


class ElementwiseLoss(LossFunction):
    """A loss that is the mean over the outputs of `f`, a function of one value and its target.

    Write `f` and its derivative `df` (with respect to the value) as NumPy formulas that work
    element by element; `fastnn.check_gradients` holds one against the other.
    """

    target = "values"
    of_numbers = ("f", "df")

    @abstractmethod
    def f(self, v: Array, t: Array) -> Array:
        """The loss of the value v with target t."""

    @abstractmethod
    def df(self, v: Array, t: Array) -> Array:
        """Its derivative with respect to v."""

    def loss(self, values: Array, expected: Array) -> Array:
        return np.mean(self.f(values, expected))

    def dloss(self, values: Array, expected: Array) -> Array:
        return self.df(values, expected) / values.size


class MSELoss(ElementwiseLoss):
    """Mean squared error, mean((v - t)**2); the article's loss."""

    def f(self, v: Array, t: Array) -> Array:
        return (v - t) ** 2

    def df(self, v: Array, t: Array) -> Array:
        return 2 * (v - t)


class MAELoss(ElementwiseLoss):
    """Mean absolute error, mean(\\|v - t\\|); its derivative at 0 is 0."""

    def f(self, v: Array, t: Array) -> Array:
        return np.abs(v - t)

    def df(self, v: Array, t: Array) -> Array:
        return np.where(v > t, 1, np.where(v < t, -1, 0))


class HuberLoss(ElementwiseLoss):
    """Squared error for small differences, absolute for large ones.

    Parameters
    ----------
    delta : float, default 1.0
        Where one becomes the other: e**2 / 2 up to \\|e\\| = delta, then delta (\\|e\\| - delta / 2).

    References
    ----------
    Huber, "Robust estimation of a location parameter" (1964).
    """

    checked = {"delta": positive_number}

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = delta

    def f(self, v: Array, t: Array) -> Array:
        e = np.abs(v - t)
        return np.where(e <= self.delta, 0.5 * e**2, self.delta * (e - 0.5 * self.delta))

    def df(self, v: Array, t: Array) -> Array:
        return np.minimum(np.maximum(v - t, -self.delta), self.delta)


class BCEWithLogitsLoss(ElementwiseLoss):
    """Binary cross-entropy of sigmoid(v) with a target t in [0, 1], from the logit v.

    f = max(v, 0) - v t + log(1 + exp(-\\|v\\|)), which overflows nowhere. Of many outputs each is a label of
    its own, which is there or not.
    """

    domain = Domain(
        0, 1,
        cure="labels -1 and 1 are (y + 1) / 2; numbers of classes want CrossEntropyLoss, other values MSELoss",
    )  # fmt: skip

    def f(self, v: Array, t: Array) -> Array:
        return np.maximum(v, 0) - v * t + np.log1p(np.exp(-np.abs(v)))

    def df(self, v: Array, t: Array) -> Array:
        e = np.exp(-np.abs(v))
        return np.where(v >= 0, 1, e) / (1 + e) - t

    def classes(self, outputs: Array) -> Array:
        """1 where the logit is above 0: ints (n,) for one output, (n, outs) for many labels."""
        found = (outputs > 0).astype(int)
        return found if outputs.shape[1] > 1 else found[:, 0]

    def probabilities(self, outputs: Array) -> Array:
        """sigmoid(outputs), of each label; for one output both columns, of class 0 and class 1."""
        with np.errstate(under="ignore"):
            p = self.df(outputs, 0)
        return np.hstack([1 - p, p]) if outputs.shape[1] == 1 else p


class PoissonNLLLoss(ElementwiseLoss):
    """Negative log-likelihood of the count t under Poisson(exp(v)), without the constant log(t!)."""

    domain = Domain(lowest=0, cure="they are counts; for values of either sign take MSELoss")

    def f(self, v: Array, t: Array) -> Array:
        return np.exp(v) - t * v

    def df(self, v: Array, t: Array) -> Array:
        return np.exp(v) - t


class CrossEntropyLoss(LossFunction):
    """Cross-entropy of softmax(values) with a class index, from a column of logits.

    loss = log(sum(exp(values))) - values[class], with the largest value taken out of the
    exponentials, so that no logit is too large. For targets that are probabilities, see
    `SoftCrossEntropyLoss`.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        How much of the target's probability is spread evenly over all classes: the target is
        1 - s + s / n for the class and s / n for the others.

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception architecture for computer
    vision" (2016), for label smoothing.
    """

    target = "class"
    checked = {"label_smoothing": fraction}

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def loss(self, values: Array, target_class: Array) -> Array:
        top, s = np.max(values), self.label_smoothing
        expected = (1 - s) * values[target_class, 0] + s * np.mean(values)
        return top + np.log(np.sum(np.exp(values - top))) - expected

    def dloss(self, values: Array, target_class: Array) -> Array:
        d = np.exp(values - np.max(values))
        d = d / np.sum(d) - self.label_smoothing / values.size
        d[target_class, 0] -= 1 - self.label_smoothing
        return d

    def probabilities(self, outputs: Array) -> Array:
        """Softmax of each row."""
        return softmax(outputs)

    def row(self, values: Array, target_class: Array, d: Array) -> Array:
        """`loss` and `dloss` in one pass over one-dimensional arrays, for the kernels."""
        top = np.max(values)
        for i in range(values.size):
            d[i] = np.exp(values[i] - top)
        total = np.sum(d)
        s = self.label_smoothing
        scale, spread = 1 / total, s / values.size
        for i in range(values.size):
            d[i] = d[i] * scale - spread
        d[target_class] -= 1 - s
        expected = (1 - s) * values[target_class] + spread * np.sum(values)
        return top + np.log(total) - expected


class SoftCrossEntropyLoss(LossFunction):
    """Cross-entropy of softmax(values) with a column of probabilities, from a column of logits.

    loss = -sum(expected * log_softmax(values)): for soft labels, label smoothing, distillation.
    The targets of a sample add up to 1, to within a hundredth.
    """

    target = "values"
    domain = Domain(
        0, 1, True, "y / y.sum(axis=1, keepdims=True) makes shares of counts, and labels apart want BCEWithLogitsLoss"
    )

    def loss(self, values: Array, expected: Array) -> Array:
        top = np.max(values)
        return np.sum(expected) * (top + np.log(np.sum(np.exp(values - top)))) - np.sum(expected * values)

    def dloss(self, values: Array, expected: Array) -> Array:
        d = np.exp(values - np.max(values))
        return np.sum(expected) * d / np.sum(d) - expected

    def probabilities(self, outputs: Array) -> Array:
        """Softmax of each row."""
        return softmax(outputs)

    def row(self, values: Array, expected: Array, d: Array) -> Array:
        """`loss` and `dloss` in one pass over one-dimensional arrays, for the kernels."""
        top = np.max(values)
        for i in range(values.size):
            d[i] = expected[i] * values[i]
        product = np.sum(d)
        for i in range(values.size):
            d[i] = np.exp(values[i] - top)
        total, weight = np.sum(d), np.sum(expected)
        scale = weight / total
        for i in range(values.size):
            d[i] = d[i] * scale - expected[i]
        return weight * (top + np.log(total)) - product
