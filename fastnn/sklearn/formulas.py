"""scikit-learn's losses and step rules, where they differ from fastnn's by more than a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..checks import Check, flag, positive_number, share
from ..formulas.losses import BCEWithLogitsLoss, ElementwiseLoss, PoissonNLLLoss
from ..formulas.optimizers import Adam, Optimizer

Array = Any
Number = Any


class OfOutputs:
    """What a loss over many outputs sums where fastnn's own take the mean: it knows how many there are.

    Parameters
    ----------
    outs : float, default 1.0
        How many outputs, or labels, there are.
    """

    checked: Mapping[str, Check] = {"outs": positive_number}

    def __init__(self, outs: float = 1.0) -> None:
        self.outs = outs


class HalfSquaredLoss(OfOutputs, ElementwiseLoss):
    """Half the squared error, its mean over the outputs, with the gradient of its sum over the outputs.

    That is what scikit-learn reports, and what it descends.

    Parameters
    ----------
    outs : float, default 1.0
        How many outputs there are.
    """

    def f(self, v: Array, t: Array) -> Array:
        return 0.5 * (v - t) ** 2

    def df(self, v: Array, t: Array) -> Array:
        return self.outs * (v - t)


class LabelsLoss(OfOutputs, BCEWithLogitsLoss):
    """Binary cross-entropy, summed over many labels where `BCEWithLogitsLoss` takes the mean.

    Parameters
    ----------
    outs : float, default 1.0
        How many labels there are.
    """

    def f(self, v: Array, t: Array) -> Array:
        return self.outs * (np.maximum(v, 0) - v * t + np.log1p(np.exp(-np.abs(v))))

    def df(self, v: Array, t: Array) -> Array:
        e = np.exp(-np.abs(v))
        return self.outs * (np.where(v >= 0, 1, e) / (1 + e) - t)

    def probabilities(self, outputs: Array) -> Array:
        """sigmoid(outputs), of each label."""
        p = BCEWithLogitsLoss.df(self, outputs, 0)
        return np.hstack([1 - p, p]) if outputs.shape[1] == 1 else p


class PoissonDevianceLoss(OfOutputs, PoissonNLLLoss):
    """Half the Poisson deviance of the counts t from exp(v), summed over the outputs.

    Parameters
    ----------
    outs : float, default 1.0
        How many outputs there are.
    """

    def f(self, v: Array, t: Array) -> Array:
        return self.outs * (t * np.log(np.where(t > 0, t, 1)) - t * v - t + np.exp(v))

    def df(self, v: Array, t: Array) -> Array:
        return self.outs * (np.exp(v) - t)


class AdamOfScikitLearn(Adam):
    """Adam with its small number added to the root before that is corrected, as scikit-learn has it."""

    def moved(self, w: Number, lr: Number, step: Number, m: Number, v: Number) -> Any:
        """w - lr sqrt(1 - beta2**step) / (1 - beta1**step) m / (sqrt(v) + eps)."""
        return w - lr * np.sqrt(1 - self.beta2**step) / (1 - self.beta1**step) * m / (np.sqrt(v) + self.eps)


class Velocity(Optimizer):
    """Descent with momentum, whose memory holds steps where `SGD` holds gradients.

    The two differ while the learning rate changes.

    Parameters
    ----------
    momentum : float, default 0.9
        How much of the last step is kept, up to 1.
    nesterov : bool, default True
        Nesterov's form.
    """

    checked = {"momentum": share, "nesterov": flag}

    def __init__(self, *, momentum: float = 0.9, nesterov: bool = True) -> None:
        self.momentum, self.nesterov = momentum, nesterov

    state = {"v": 0.0}

    def update(self, w: Number, g: Number, lr: Number, step: Number, v: Number) -> Any:
        v = self.momentum * v - lr * g
        return w + np.where(self.nesterov, self.momentum * v - lr * g, v), v
