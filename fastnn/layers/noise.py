"""Random numbers in training: dropout, and noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Array, fraction, not_negative
from ..kernels import stages as kernels
from .stage import Stage


class Dropout(Stage):
    """In training, set each number to zero with probability `rate` and scale the others up.

    Parameters
    ----------
    rate : float
        From 0 up to, not including, 1.

    Notes
    -----
    The random numbers depend on the seed of the fit, the step and the place alone, so a seed gives
    the same bits again. In inference nothing happens.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout: a simple way to prevent
    neural networks from overfitting" (2014).

    Examples
    --------
    >>> from fastnn import Dropout, Identity, Layer, MSELoss, NeuralNetwork, ReLU
    >>> net = NeuralNetwork([Layer(8, 32, ReLU()), Dropout(0.2), Layer(32, 1, Identity())], MSELoss(), 0.01)
    """

    required = {"rate": 0.1}
    kernels = (kernels.dropout_forward, kernels.dropout_backward)

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = fraction(rate, "rate")

    @property
    def settings(self) -> tuple[float, ...]:
        return (self.rate,)

    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        mask = np.ones_like(x)
        if training and self.rate > 0:
            u = uniforms(key, np.arange(x.size)).reshape(x.T.shape).T
            mask = np.where(u >= self.rate, 1 / (1 - self.rate), 0.0)
        return x * mask, mask

    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        return dx * kept, []


class GaussianNoise(Stage):
    """In training, add normally distributed noise; as the first layer, noise on the inputs.

    Parameters
    ----------
    std : float
        Standard deviation of the noise.

    References
    ----------
    Bishop, "Training with noise is equivalent to Tikhonov regularization" (1995).
    """

    required = {"std": 0.1}
    kernels = (kernels.noise_forward, kernels.copy_backward)

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = not_negative(std, "std")

    @property
    def settings(self) -> tuple[float, ...]:
        return (self.std,)

    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        if not training:
            return x, None
        u, v = (uniforms(key, 2 * np.arange(x.size) + k).reshape(x.T.shape).T for k in (0, 1))
        return x + self.std * np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v), None

    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        return dx, []


def uniforms(key: int, positions: Array) -> Array:
    """Numbers in (0, 1) that depend on key and position alone; see ``kernels.stages.uniform``."""
    with np.errstate(over="ignore"):
        z = np.uint64(key) + (positions.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def noise_key(seed: int, step: int, layer: int) -> int:
    """The key of a layer's random numbers in one step; see ``kernels.recursion.noise_key``."""
    return (seed + step * 0xD1342543DE82EF95 + layer * 0xA0761D6478BD642F) % 2**64
