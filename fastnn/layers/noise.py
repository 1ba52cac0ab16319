"""Random numbers in training: dropout, and noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Array, fraction, not_negative
from ..kernels.random import LAYER, STEP
from ..kernels.stages import FLOAT64, pointer_at, stage_at, uniform
from .stage import Stage


def dropout_forward(address: int, W: Any) -> None:
    """x = x_in * mask / (1 - rate) in training, where the mask is 0 with probability `rate`; y is mask / (1 - rate)."""
    stage = stage_at(address)
    n, outs, in_stride, stride, key = stage.n, stage.outs, stage.in_stride, stage.stride, stage.key
    x_in, y, x = pointer_at(stage.x_in, W), pointer_at(stage.y, W), pointer_at(stage.x, W)
    rate = pointer_at(stage.settings, FLOAT64)[0] if stage.training else 0.0
    scale = 1.0 / (1.0 - rate)
    for i in range(n):
        for j in range(outs):
            keep = scale if rate == 0.0 or uniform(key, i * outs + j) >= rate else 0.0
            y[i * stride + j] = keep
            x[i * stride + j] = x_in[i * in_stride + j] * y[i * stride + j]


def dropout_backward(address: int, W: Any) -> None:
    """dx_in = dx * mask / (1 - rate)."""
    stage = stage_at(address)
    n, outs, stride = stage.n, stage.outs, stage.stride
    y, dx, dx_in = pointer_at(stage.y, W), pointer_at(stage.dx, W), pointer_at(stage.dx_in, W)
    if stage.dx_in != 0:
        for i in range(n):
            for j in range(outs):
                dx_in[i * stride + j] = dx[i * stride + j] * y[i * stride + j]


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
    checked = {"rate": fraction}
    kernels = (dropout_forward, dropout_backward)

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    @property
    def settings(self) -> tuple[float, ...]:
        return (self.rate,)

    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        mask = np.ones_like(x)
        if training and self.rate > 0:
            u = uniform(key, np.arange(x.size)).reshape(x.T.shape).T
            mask = np.where(u >= self.rate, 1 / (1 - self.rate), 0.0)
        return x * mask, mask

    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        return dx * kept, []


def noise_forward(address: int, W: Any) -> None:
    """x = x_in + std * z in training, with standard normal z (Box and Muller 1958)."""
    stage = stage_at(address)
    n, outs, in_stride, stride = stage.n, stage.outs, stage.in_stride, stage.stride
    training, key, std = stage.training, stage.key, pointer_at(stage.settings, FLOAT64)[0]
    x_in, x = pointer_at(stage.x_in, W), pointer_at(stage.x, W)
    for i in range(n):
        for j in range(outs):
            value = x_in[i * in_stride + j]
            if training:
                u, v = uniform(key, 2 * (i * outs + j)), uniform(key, 2 * (i * outs + j) + 1)
                value += std * np.sqrt(-2.0 * np.log(u)) * np.cos(2.0 * np.pi * v)
            x[i * stride + j] = value


def noise_backward(address: int, W: Any) -> None:
    """dx_in = dx."""
    stage = stage_at(address)
    n, outs, stride = stage.n, stage.outs, stage.stride
    dx, dx_in = pointer_at(stage.dx, W), pointer_at(stage.dx_in, W)
    if stage.dx_in != 0:
        for i in range(n):
            for j in range(outs):
                dx_in[i * stride + j] = dx[i * stride + j]


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
    checked = {"std": not_negative}
    kernels = (noise_forward, noise_backward)

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    @property
    def settings(self) -> tuple[float, ...]:
        return (self.std,)

    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        if not training:
            return x, None
        u, v = (uniform(key, 2 * np.arange(x.size) + k).reshape(x.T.shape).T for k in (0, 1))
        return x + self.std * np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v), None

    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        return dx, []


def noise_key(seed: int, step: int, layer: int) -> int:
    """The key of a layer's random numbers in one step; see ``noise_key`` in kernels.recursion."""
    return (seed + step * int(STEP) + layer * int(LAYER)) % 2**64
