"""Loss functions: one class each, with ``loss`` and its gradient ``dloss`` as NumPy formulas.

This is the whole definition of a loss, and your own subclass works in the same way: write
`loss` and `dloss` for one column, as the article does, or subclass `ElementwiseLoss` and write
`f` and `df` for one number, which compiles into faster code.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ..checks import between_one_and_two, fraction, levels, not_negative, positive_number
from ..kernels.fields import arrays_read
from ..kernels.formula import FormulaError
from .component import FAR, Component
from .domain import Domain

Array = Any


class LossFunction(Component, ABC):
    """A loss: subclass it, write `loss` and `dloss` for one sample.

    ``values`` is the network's output, a column (outs, 1). ``expected`` is the target, a column
    of the same shape or the number of a class. `dloss` returns the gradient of `loss` with
    respect to ``values``, a column; `fastnn.check_gradients` holds it against `loss`.

    Numbers of ``self`` may be used and changed at any time, and so may arrays of numbers, in place too: a list or
    tuple that a formula reads becomes an array when it is set. What is one number for each output is a column
    (outs, 1): ``self.taus.reshape(-1, 1)``. Formulas cannot write into them, and a network in which shapes or places
    do not fit is refused when it is made.

    Attributes
    ----------
    target : {"values", "class", None}
        What ``expected`` is. None, the default: whichever the call gives.
    domain : Domain, optional
        Which values a target may have. Others are refused before anything is trained or measured. None, the
        default: all that are finite.
    standardizable : bool
        Whether every prediction is on the scale of its target, so that a `StandardizeTargets` may bring it back. False
        where outputs mean other things, too, such as logarithms of variances.

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
    standardizable: bool = True
    elsewhere = {"logloss": "take 'cross_entropy' for an output for each class, 'bce' for one output"}
    of_the_class = Component.of_the_class | {"target", "domain", "standardizable"}

    @abstractmethod
    def loss(self, values: Array, expected: Array) -> Array:
        """The loss of one sample, a number."""

    @abstractmethod
    def dloss(self, values: Array, expected: Array) -> Array:
        """Its gradient with respect to `values`, (outs, 1)."""

    def predictions(self, outputs: Array) -> Array:
        """What rows of outputs (n, outs) say of the targets, on the targets' scale: (n, outs), in NumPy.

        `predict` gives it and metrics judge it. By default it is the outputs themselves. Of classes it stays so:
        `classes` and `probabilities` say the rest.
        """
        return outputs

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
                raise FormulaError(f"{given} raised {type(error).__name__}: {error}{_about_arrays(loss)}") from error
            if arrays_read(loss):
                for number in FAR:
                    try:
                        with np.errstate(all="ignore"), contextlib.suppress(ArithmeticError, ValueError):
                            getattr(loss, method)(values * number, target if class_target else target * -number)
                    except IndexError as error:
                        raise FormulaError(
                            f"{name}.{method}, given values of about {number:g}, raised IndexError: {error}"
                            f"{_about_arrays(loss)}. It may ask for places that are there alone, whatever it is given: "
                            "min(max(i, 0), self.a.size - 1)"
                        ) from error
            if result.shape != shape:
                wanted = "one number (np.sum, np.mean)" if method == "loss" else f"the gradient, shape {shape}"
                raise FormulaError(
                    f"{given} returned an array of shape {result.shape}; expected {wanted}{_about_arrays(loss)}"
                )


def _about_arrays(loss: LossFunction) -> str:
    """What an error about shapes says of the arrays that a loss reads."""
    arrays = arrays_read(loss)
    shapes = ", ".join(f"self.{name} has shape {array.shape}" for name, array in arrays.items())
    return (
        f"; {shapes}: one number for each output is a column (outs, 1), as is self.a.reshape(-1, 1)" if arrays else ""
    )


def softmax(outputs: Array) -> Array:
    """exp(outputs) of each row, divided by its sum, without overflow; what is too small for a number is 0."""
    # ``outputs.max(...)`` and ``np.errstate``, which who calls it may need, would take half the time of one row
    e: Array = np.exp(outputs - np.maximum.reduce(outputs, axis=1, keepdims=True))
    return e / np.add.reduce(e, axis=1, keepdims=True)


class ElementwiseLoss(LossFunction):
    """A loss that is the mean over the outputs of `f`, a function of one value and its target.

    Write `f` and its derivative `df` (with respect to the value) as NumPy formulas that work
    element by element; `fastnn.check_gradients` holds one against the other. They are compiled for one number, so
    of an array of ``self`` they may read single numbers, ``self.shares[0]``, or loop over all; with something of its
    own for each output it is a `LossFunction`.
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

    called = ("mse", "squared_error", "mean_squared_error")

    def f(self, v: Array, t: Array) -> Array:
        return (v - t) ** 2

    def df(self, v: Array, t: Array) -> Array:
        return 2 * (v - t)


class MAELoss(ElementwiseLoss):
    """Mean absolute error, mean(\\|v - t\\|); its derivative at 0 is 0."""

    called = ("mae", "absolute_error", "mean_absolute_error", "l1")

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

    called = ("huber", "smooth_l1")
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

    called = ("bce", "binary_cross_entropy", "bce_with_logits", "binary_cross_entropy_with_logits")
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
        p = self.df(outputs, 0)
        return np.hstack([1 - p, p]) if outputs.shape[1] == 1 else p


class LogLinkLoss(ElementwiseLoss):
    """A loss whose outputs are logarithms of means: `predict` gives the means, exp(outputs), and metrics judge them."""

    def predictions(self, outputs: Array) -> Array:
        """The means, exp(outputs)."""
        return np.exp(outputs)


class PoissonNLLLoss(LogLinkLoss):
    """Negative log-likelihood of the count t under Poisson(exp(v)), without the constant log(t!).

    The outputs are logarithms of rates; `predict` gives the rates, exp(outputs), and metrics judge them.
    """

    called = ("poisson", "poisson_nll")
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

    called = ("cross_entropy", "categorical_cross_entropy", "sparse_categorical_cross_entropy")
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
        expected = (1 - s) * values[target_class]
        if s > 0:
            expected += spread * np.sum(values)
        return top + np.log(total) - expected


class SoftCrossEntropyLoss(LossFunction):
    """Cross-entropy of softmax(values) with a column of probabilities, from a column of logits.

    loss = -sum(expected * log_softmax(values)): for soft labels, label smoothing, distillation.
    The targets of a sample add up to 1, to within a hundredth.
    """

    called = ("soft_cross_entropy",)
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


class FocalLoss(LossFunction):
    """Cross-entropy of softmax(values) in which samples that are easy count for little, from a column of logits.

    loss = -(1 - p)**gamma * log(p), where p is the probability of the target's class: for rare classes. With gamma 0
    it is `CrossEntropyLoss`.

    Parameters
    ----------
    gamma : float, default 2.0
        The larger, the less easy samples count; at least 0.

    References
    ----------
    Lin, Goyal, Girshick, He and Dollar, "Focal loss for dense object detection" (2017).
    """

    target = "class"
    checked = {"gamma": not_negative}

    def __init__(self, gamma: float = 2.0) -> None:
        self.gamma = gamma

    def loss(self, values: Array, target_class: Array) -> Array:
        e = np.exp(values - np.max(values))
        others = np.sum(e) - e[target_class, 0]
        log_p = values[target_class, 0] - np.max(values) - np.log(np.sum(e))
        return -((others / np.sum(e)) ** self.gamma) * log_p

    def dloss(self, values: Array, target_class: Array) -> Array:
        d = np.zeros(values.size)
        self.row(np.ascontiguousarray(values[:, 0]), target_class, d)
        return d.reshape(-1, 1)

    def probabilities(self, outputs: Array) -> Array:
        """Softmax of each row."""
        return softmax(outputs)

    def row(self, values: Array, target_class: Array, d: Array) -> Array:
        """`loss` and `dloss` in one pass over one-dimensional arrays, for the kernels."""
        top = np.max(values)
        others = 0.0
        for i in range(values.size):
            d[i] = np.exp(values[i] - top)
            if i != target_class:
                others += d[i]
        scale = 1 / (others + d[target_class])
        p, q = d[target_class] * scale, others * scale  # which is 1 - p without its rounding error
        log_p = values[target_class] - top + np.log(scale)
        weight = q**self.gamma
        slope = weight - self.gamma * weight * p * log_p / np.maximum(q, 1e-30)  # -d loss / d log(p)
        for i in range(values.size):
            d[i] = slope * d[i] * scale
        d[target_class] -= slope
        return -weight * log_p


class PinballLoss(LossFunction):
    """Mean over the outputs of q e or (q - 1) e, where e = t - v: an output is then the q-quantile of its target.

    The targets of quantiles of one value are that value, once for each output.

    Parameters
    ----------
    quantiles : float or array_like (k,), default 0.5
        Between 0 and 1: of the first output, of the second, and so on; behind the last they begin again. A network
        with fewer outputs than quantiles is refused.

    References
    ----------
    Koenker and Bassett, "Regression quantiles" (1978).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import PinballLoss
    >>> v, t = np.zeros((3, 1)), np.ones((3, 1))
    >>> float(PinballLoss([0.1, 0.5, 0.9]).loss(v, t))
    0.5
    """

    target = "values"
    checked = {"quantiles": levels}

    def __init__(self, quantiles: Any = 0.5) -> None:
        self.quantiles = quantiles

    def loss(self, values: Array, expected: Array) -> Array:
        if self.quantiles.size > values.size:
            raise ValueError(
                f"there are {self.quantiles.size} quantiles for {values.size} outputs; expected an output for each, "
                "and targets to go with them"
            )
        q = np.resize(self.quantiles, values.shape)
        e = expected - values
        return np.mean(np.maximum(q * e, (q - 1) * e))

    def dloss(self, values: Array, expected: Array) -> Array:
        q = np.resize(self.quantiles, values.shape)
        return np.where(values > expected, 1 - q, np.where(values < expected, -q, 0.0)) / values.size

    def row(self, values: Array, expected: Array, d: Array) -> Array:
        """`loss` and `dloss` in one pass over one-dimensional arrays, for the kernels."""
        total, share = 0.0, 1.0 / values.size
        for i in range(values.size):
            q = self.quantiles[i % self.quantiles.size]
            e = expected[i] - values[i]
            total += max(q * e, (q - 1) * e)
            d[i] = -q * share if e > 0 else (1 - q) * share if e < 0 else 0.0
        return total * share


class GaussianNLLLoss(LossFunction):
    """Negative log-likelihood under Gaussian distributions whose means and variances are outputs, without constants.

    The first half of the outputs are means m, the second the logarithms s of variances: the mean over them of
    (log(v) + (t - m)**2 / v) / 2, where v = exp(s) + eps. Targets have a place for each output; those of the second
    half play no part. Of an odd number the one in the middle is a mean with s = 0. Targets are scaled by hand: a
    `StandardizeTargets` would take the logarithms for values.

    Parameters
    ----------
    eps : float, default 1e-6
        Added to the variances, which could be so small that the loss has no bound; above 0.

    References
    ----------
    Nix and Weigend, "Estimating the mean and variance of the target probability distribution" (1994).
    """

    target = "values"
    standardizable = False
    checked = {"eps": positive_number}

    def __init__(self, eps: float = 1e-6) -> None:
        self.eps = eps

    def loss(self, values: Array, expected: Array) -> Array:
        return self.row(np.ravel(values), np.ravel(expected), np.zeros(values.size))

    def dloss(self, values: Array, expected: Array) -> Array:
        d = np.zeros(values.size)
        self.row(np.ravel(values), np.ravel(expected), d)
        return d.reshape(-1, 1)

    def row(self, values: Array, expected: Array, d: Array) -> Array:
        """`loss` and `dloss` in one pass over one-dimensional arrays, for the kernels."""
        one, two = int(1), int(2)  # noqa: UP018, RUF046  (numbers by themselves are float32 in a float32 network)
        means = (values.size + one) // two
        total, share = 0.0, 0.5 / means
        for i in range(means):
            e = values[i] - expected[i]
            exp_s = np.exp(values[means + i]) if means + i < values.size else 1.0
            v = exp_s + self.eps
            total += np.log(v) + e * e / v
            d[i] = 2 * share * e / v
            if means + i < values.size:
                d[means + i] = share * (1 - e * e / v) * exp_s / v
        return total * share


class GammaLoss(LogLinkLoss):
    """Half the deviance of the target t under a gamma distribution of mean exp(v), without what only t is in.

    f = t exp(-v) + v: for values above 0 whose errors grow with them, such as costs and durations. `predict` gives the
    means, exp(outputs).
    """

    domain = Domain(lowest=0, cure="they are above 0; for values of either sign take MSELoss")

    def f(self, v: Array, t: Array) -> Array:
        return t * np.exp(-v) + v

    def df(self, v: Array, t: Array) -> Array:
        return 1 - t * np.exp(-v)

    def predictions(self, outputs: Array) -> Array:
        """The means, exp(outputs)."""
        return np.exp(outputs)


class TweedieLoss(LogLinkLoss):
    """Half the deviance of t under a Tweedie distribution of mean exp(v), without what only t is in.

    f = exp((2 - p) v) / (2 - p) - t exp((1 - p) v) / (1 - p): for values of which many are 0 and the others above it,
    such as claims, rain and spending. `predict` gives the means, exp(outputs).

    Parameters
    ----------
    power : float, default 1.5
        p: the variance is proportional to the mean to this power; between 1 (Poisson) and 2 (gamma).

    References
    ----------
    Jorgensen, "Exponential dispersion models" (1987).
    """

    domain = Domain(lowest=0, cure="they are counts or amounts; for values of either sign take MSELoss")
    checked = {"power": between_one_and_two}

    def __init__(self, power: float = 1.5) -> None:
        self.power = power

    def f(self, v: Array, t: Array) -> Array:
        p = self.power
        return np.exp((2 - p) * v) / (2 - p) - t * np.exp((1 - p) * v) / (1 - p)

    def df(self, v: Array, t: Array) -> Array:
        p = self.power
        return np.exp((2 - p) * v) - t * np.exp((1 - p) * v)

    def predictions(self, outputs: Array) -> Array:
        """The means, exp(outputs)."""
        return np.exp(outputs)
