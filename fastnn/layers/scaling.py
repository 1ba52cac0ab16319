"""Each number by itself: a trained scale, and a bound that outliers run up against softly."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Array, positive_number
from ..kernels.stages import FLOAT64, pointer_at, stage_at
from .stage import Stage


def scale_forward(address: int, W: Any) -> None:
    """x = scale * x_in; y is x_in."""
    stage = stage_at(address)
    n, outs, in_stride, stride = stage.n, stage.outs, stage.in_stride, stage.stride
    x_in, y, x = pointer_at(stage.x_in, W), pointer_at(stage.y, W), pointer_at(stage.x, W)
    for i in range(n):
        for j in range(outs):
            y[i * stride + j] = x_in[i * in_stride + j]
            x[i * stride + j] = W[j] * y[i * stride + j]


def scale_backward(address: int, W: Any) -> None:
    """dscale = the sum of dx x_in over the samples; dx_in = scale * dx."""
    stage = stage_at(address)
    n, outs, stride = stage.n, stage.outs, stage.stride
    y, dx, dx_in = pointer_at(stage.y, W), pointer_at(stage.dx, W), pointer_at(stage.dx_in, W)
    dW = pointer_at(stage.dW, W)
    for j in range(outs):
        dW[j] = 0
    for i in range(n):
        for j in range(outs):
            dW[j] += dx[i * stride + j] * y[i * stride + j]
    if stage.dx_in != 0:
        for i in range(n):
            for j in range(outs):
                dx_in[i * stride + j] = W[j] * dx[i * stride + j]


class Scale(Stage):
    """Multiply each number by a trained one, which is 1 at first.

    In front of a network it learns how much each input matters.

    Parameters
    ----------
    lr_factor : float, default 1.0
        By which the learning rate is multiplied for it, above 0.

    References
    ----------
    Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular
    data" (2024), with `lr_factor` 6.

    Examples
    --------
    >>> from fastnn import Identity, Layer, Mish, MSELoss, NeuralNetwork, Scale
    >>> net = NeuralNetwork([Scale(lr_factor=6.0), Layer(8, 32, Mish()), Layer(32, 1, Identity())], MSELoss(), 0.01)
    """

    rows = ("scale",)
    trained = 1
    start = (1.0,)
    kernels = (scale_forward, scale_backward)

    def __init__(self, lr_factor: float = 1.0) -> None:
        super().__init__()
        self.lr_factor = lr_factor

    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        return self.row("scale") * x, x

    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        return self.row("scale") * dx, [np.sum(dx * kept, axis=1, keepdims=True)]


def smooth_clip_forward(address: int, W: Any) -> None:
    """x = x_in / sqrt(1 + (x_in / limit)**2); y is its derivative, (x / x_in)**3."""
    stage = stage_at(address)
    n, outs, in_stride, stride = stage.n, stage.outs, stage.in_stride, stage.stride
    x_in, y, x = pointer_at(stage.x_in, W), pointer_at(stage.y, W), pointer_at(stage.x, W)
    limit = pointer_at(stage.settings, FLOAT64)[0]
    for i in range(n):
        for j in range(outs):
            value = x_in[i * in_stride + j]
            shrunk = 1.0 / np.hypot(1.0, value / limit)  # which overflows nowhere
            x[i * stride + j] = value * shrunk
            y[i * stride + j] = shrunk * shrunk * shrunk


def smooth_clip_backward(address: int, W: Any) -> None:
    """dx_in = dx * y."""
    stage = stage_at(address)
    n, outs, stride = stage.n, stage.outs, stage.stride
    y, dx, dx_in = pointer_at(stage.y, W), pointer_at(stage.dx, W), pointer_at(stage.dx_in, W)
    if stage.dx_in != 0:
        for i in range(n):
            for j in range(outs):
                dx_in[i * stride + j] = dx[i * stride + j] * y[i * stride + j]


class SmoothClip(Stage):
    """x / sqrt(1 + (x / limit)**2): the same near 0, and never beyond `limit`, however far out a number lies.

    Parameters
    ----------
    limit : float, default 3.0
        What outputs stay below in size.

    References
    ----------
    Holzmueller, Grinsztajn and Steinwart (2024), as for `Scale`: behind a scaling of the inputs, such as `Standardize`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import Identity, Layer, MSELoss, NeuralNetwork, SmoothClip
    >>> net = NeuralNetwork([SmoothClip(), Layer(1, 1, Identity())], MSELoss(), 0.01)
    >>> net.layers[0].forward_pass(np.array([[0.1, 1.0, 1e6]])).round(3)
    array([[0.1  , 0.949, 3.   ]])
    """

    checked = {"limit": positive_number}
    kernels = (smooth_clip_forward, smooth_clip_backward)

    def __init__(self, limit: float = 3.0) -> None:
        super().__init__()
        self.limit = limit

    @property
    def settings(self) -> tuple[float, ...]:
        return (self.limit,)

    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        shrunk = 1 / np.hypot(1.0, x / self.limit)
        return x * shrunk, shrunk**3

    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        return dx * kept, []
