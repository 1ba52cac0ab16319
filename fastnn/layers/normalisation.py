"""Normalisation: of the inputs, over a batch, over each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Array, between_zero_and_one, flag, fraction
from ..data.columns import real_array
from ..data.moments import Standard, standard, standard_of
from ..data.rows import feature_rows, given_rows
from ..kernels.stages import FLOAT64, pointer_at, stage_at
from .base import assign
from .stage import Stage


def standardize_forward(address: int, W: Any) -> None:
    """x = (x_in - mean) * scale; the rows of W are mean and scale, and the offset, which the door has taken off."""
    stage = stage_at(address)
    n, outs, in_stride, stride = stage.n, stage.outs, stage.in_stride, stage.stride
    x_in, x = pointer_at(stage.x_in, W), pointer_at(stage.x, W)
    for i in range(n):
        for j in range(outs):
            x[i * stride + j] = (x_in[i * in_stride + j] - W[j]) * W[stride + j]


def standardize_backward(address: int, W: Any) -> None:
    """dx_in = dx * scale."""
    stage = stage_at(address)
    n, outs, stride = stage.n, stage.outs, stage.stride
    dx, dx_in = pointer_at(stage.dx, W), pointer_at(stage.dx_in, W)
    if stage.dx_in != 0:
        for i in range(n):
            for j in range(outs):
                dx_in[i * stride + j] = dx[i * stride + j] * W[stride + j]


class Standardize(Stage):
    """Inputs of mean 0 and variance 1: the first layer of a network, fitted on its first training.

    The first `fit` or `train` measures mean and standard deviation of every input on its samples, in float64 and
    as they are given; they are saved with the network and stay as they are. `adapt` measures them again. An input
    that never varies, or only by rounding errors of its size, is only shifted.

    The layer gives ``(x - offset - mean) * scale``. In a float32 network an input whose mean is more than 256
    standard deviations from 0, such as times in seconds since 1970, has an `offset`: it is taken off in float64, at
    the network's door, before the input is narrowed. Of all others, and in float64, it is 0.

    Parameters
    ----------
    fitted : bool, default False
        Whether mean and scale are those wanted already, as when you write them into the rows yourself: the
        first training then leaves them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import Identity, Layer, MSELoss, NeuralNetwork, Standardize
    >>> net = NeuralNetwork([Standardize(), Layer(2, 1, Identity())], MSELoss(), 0.1)
    >>> X = np.random.default_rng(0).normal(100.0, 20.0, size=(500, 2))
    >>> history = net.fit(X, X[:, 0] - X[:, 1], epochs=50, seed=0)
    >>> net.layers[0].row("mean").ravel().round(-1)
    array([100., 100.])

    The last five minutes of a year, in float32:

    >>> net = NeuralNetwork([Standardize(), Layer(1, 1, Identity())], MSELoss(), 0.1, dtype="float32")
    >>> seconds = np.arange(1_798_761_300, 1_798_761_600).reshape(-1, 1)
    >>> history = net.fit(seconds, seconds % 300 / 300, epochs=30, seed=0)
    >>> net.predict([[1_798_761_450]]).round(2).item()
    0.5
    >>> net.layers[0].means.item()
    1798761449.5
    """

    rows = ("mean", "scale", "offset", "offset_low")
    start = (0.0, 1.0, 0.0, 0.0)
    later = sealed = ("offset", "offset_low")  # assign `offset`
    stands = "first"
    kernels = (standardize_forward, standardize_backward)
    checked = {"fitted": flag}

    def __init__(self, fitted: bool = False) -> None:
        super().__init__()
        self.fitted = fitted

    @property
    def offset(self) -> Array:
        """What the network's door takes off its inputs, float64 (outs, 1): two rows together. Assign it as a whole."""
        offset = self._row("offset").astype(np.float64) + self._row("offset_low")
        offset.flags.writeable = False  # a network must hear of it, as of an attribute
        return offset

    @offset.setter
    def offset(self, values: Any) -> None:
        values = real_array(values, "offset")
        assign("offset", self._row("offset"), values)
        self._row("offset_low")[...] = values - self._row("offset").astype(np.float64)

    @property
    def means(self) -> Array:
        """The means of the inputs, float64 (outs, 1): offset and mean together."""
        return self.offset + self.row("mean")

    @property
    def shift(self) -> Array | None:
        """A copy of the offset, (outs,), or None where it is 0."""
        offset = self.offset[:, 0].copy()
        return offset if offset.any() else None

    def adapt(self, rows: Any) -> None:
        """Measure mean and standard deviation on samples (n, ins), one a row, of any real dtype.

        Raises
        ------
        ValueError, TypeError
            If the layer is in no network yet, which says how many inputs it has, or rows do not fit.
        """
        if self.ins == 0:
            raise ValueError("this Standardize() is in no network yet; expected adapt(rows) after it was put into one")
        feature_rows(rows, "rows", self.ins, self.dtype)  # which checks them
        measured = standard(given_rows(rows, "rows", self.ins), self.ins, self.dtype)
        assert measured is not None
        self.keep(measured)

    def keep(self, measured: Standard) -> None:
        """Take what was measured for this layer's dtype, and be fitted."""
        for name in ("mean", "scale"):
            self.row(name)[:, 0] = getattr(measured, name)
        self.offset = measured.offset.reshape(-1, 1)
        self.fitted = True

    def convert(self, dtype: np.dtype[Any]) -> None:
        """Change the dtype of the memory; where it narrows, the means are parted anew, else all stay as they are."""
        if dtype.itemsize >= self.dtype.itemsize or self._outs == 0:
            return super().convert(dtype)
        parted = standard_of(self.means[:, 0], self.row("scale")[:, 0].astype(np.float64), dtype)
        super().convert(dtype)
        self.row("mean")[:, 0] = parted.mean
        self.offset = parted.offset.reshape(-1, 1)
        return None

    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        return (x - self.offset - self.row("mean")) * self.row("scale"), None

    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        return dx * self.row("scale"), []


def batch_norm_forward(address: int, W: Any) -> None:
    """y = (x_in - mean) / sqrt(variance + eps), x = gamma y + beta, over each column of the batch.

    The rows of W are gamma, beta, and the running mean and variance, which inference uses.
    """
    stage = stage_at(address)
    n, outs, in_stride, stride, training = stage.n, stage.outs, stage.in_stride, stage.stride, stage.training
    x_in, y, x = pointer_at(stage.x_in, W), pointer_at(stage.y, W), pointer_at(stage.x, W)
    settings = pointer_at(stage.settings, FLOAT64)
    momentum, eps = settings[0], settings[1]
    for j in range(outs):
        mean, variance = float(W[2 * stride + j]), float(W[3 * stride + j])
        if training:
            mean, variance = 0.0, 0.0
            for i in range(n):
                mean += x_in[i * in_stride + j]
            mean /= n
            for i in range(n):
                variance += (x_in[i * in_stride + j] - mean) ** 2
            variance /= n
            if training == 1:
                unbiased = variance * n / (n - 1) if n > 1 else variance
                W[2 * stride + j] = (1.0 - momentum) * W[2 * stride + j] + momentum * mean
                W[3 * stride + j] = (1.0 - momentum) * W[3 * stride + j] + momentum * unbiased
        scale, gamma, beta = 1.0 / np.sqrt(variance + eps), W[j], W[stride + j]
        for i in range(n):
            y[i * stride + j] = (x_in[i * in_stride + j] - mean) * scale
            x[i * stride + j] = gamma * y[i * stride + j] + beta


def batch_norm_backward(address: int, W: Any) -> None:
    """dgamma = sum(dx y), dbeta = sum(dx), dx_in = gamma scale (dx - dbeta / n - y dgamma / n)."""
    stage = stage_at(address)
    n, outs, in_stride, stride, training = stage.n, stage.outs, stage.in_stride, stage.stride, stage.training
    x_in, y, dW = pointer_at(stage.x_in, W), pointer_at(stage.y, W), pointer_at(stage.dW, W)
    dx, dx_in, wants_dx_in = pointer_at(stage.dx, W), pointer_at(stage.dx_in, W), stage.dx_in != 0
    eps = pointer_at(stage.settings, FLOAT64)[1]
    for j in range(outs):
        dgamma, dbeta, mean, variance = 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            dgamma += dx[i * stride + j] * y[i * stride + j]
            dbeta += dx[i * stride + j]
            mean += x_in[i * in_stride + j]
        dW[j], dW[stride + j] = dgamma, dbeta
        if wants_dx_in:
            mean /= n
            for i in range(n):
                variance += (x_in[i * in_stride + j] - mean) ** 2
            variance /= n
            if not training:  # the running variance is a constant
                variance, dgamma, dbeta = float(W[3 * stride + j]), 0.0, 0.0
            scale = W[j] / np.sqrt(variance + eps)
            for i in range(n):
                dx_in[i * stride + j] = scale * (dx[i * stride + j] - (dbeta + y[i * stride + j] * dgamma) / n)


class BatchNorm(Stage):
    """Normalise each number over the batch, then scale and shift it by trained gamma and beta.

    Parameters
    ----------
    momentum : float, default 0.1
        Weight of a batch in the running mean and variance, which inference uses.
    eps : float, default 1e-5
        Added to the variance; between 0 and 1.

    Notes
    -----
    Conventions are PyTorch's: the running variance is the unbiased one, and training with a batch of
    one sample, the last one too, is refused: one sample has no variance.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing
    internal covariate shift" (2015).
    """

    rows = ("gamma", "beta", "running_mean", "running_var")
    trained = 2
    start = (1.0, 0.0, 0.0, 1.0)
    kernels = (batch_norm_forward, batch_norm_backward)
    smallest_batch = 2
    checked = {"momentum": fraction, "eps": between_zero_and_one}

    def __init__(self, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps

    @property
    def settings(self) -> tuple[float, ...]:
        return (self.momentum, self.eps)

    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        mean, variance = self.row("running_mean"), self.row("running_var")
        if training:
            n, m = x.shape[1], self.momentum
            mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
            self.row("running_mean")[...] = (1 - m) * self.row("running_mean") + m * mean
            self.row("running_var")[...] = (1 - m) * self.row("running_var") + m * variance * n / max(n - 1, 1)
        scale = 1 / np.sqrt(variance + self.eps)
        y = (x - mean) * scale
        return self.row("gamma") * y + self.row("beta"), (y, scale, training)

    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        y, scale, training = kept
        dgamma, dbeta = np.sum(dx * y, axis=1, keepdims=True), np.sum(dx, axis=1, keepdims=True)
        through_statistics = (dbeta + y * dgamma) / dx.shape[1] if training else 0.0
        return self.row("gamma") * scale * (dx - through_statistics), [dgamma, dbeta]


def layer_norm_forward(address: int, W: Any) -> None:
    """y = (x_in - mean) / sqrt(variance + eps), x = gamma y + beta, over each row; W: gamma, beta."""
    stage = stage_at(address)
    n, outs, in_stride, stride = stage.n, stage.outs, stage.in_stride, stage.stride
    x_in, y, x = pointer_at(stage.x_in, W), pointer_at(stage.y, W), pointer_at(stage.x, W)
    eps = pointer_at(stage.settings, FLOAT64)[0]
    for i in range(n):
        mean, variance = 0.0, 0.0
        for j in range(outs):
            mean += x_in[i * in_stride + j]
        mean /= outs
        for j in range(outs):
            variance += (x_in[i * in_stride + j] - mean) ** 2
        scale = 1.0 / np.sqrt(variance / outs + eps)
        for j in range(outs):
            y[i * stride + j] = (x_in[i * in_stride + j] - mean) * scale
            x[i * stride + j] = W[j] * y[i * stride + j] + W[stride + j]


def layer_norm_backward(address: int, W: Any) -> None:
    """dgamma = sum(dx y), dbeta = sum(dx); with g = gamma dx, dx_in = scale (g - mean(g) - y mean(g y))."""
    stage = stage_at(address)
    n, outs, in_stride, stride = stage.n, stage.outs, stage.in_stride, stage.stride
    x_in, y, dW = pointer_at(stage.x_in, W), pointer_at(stage.y, W), pointer_at(stage.dW, W)
    dx, dx_in, wants_dx_in = pointer_at(stage.dx, W), pointer_at(stage.dx_in, W), stage.dx_in != 0
    eps = pointer_at(stage.settings, FLOAT64)[0]
    for j in range(2 * stride):
        dW[j] = 0
    for i in range(n):
        mean, variance, g_mean, gy_mean = 0.0, 0.0, 0.0, 0.0
        for j in range(outs):
            dW[j] += dx[i * stride + j] * y[i * stride + j]
            dW[stride + j] += dx[i * stride + j]
            mean += x_in[i * in_stride + j]
            g_mean += W[j] * dx[i * stride + j]
            gy_mean += W[j] * dx[i * stride + j] * y[i * stride + j]
        if wants_dx_in:
            mean, g_mean, gy_mean = mean / outs, g_mean / outs, gy_mean / outs
            for j in range(outs):
                variance += (x_in[i * in_stride + j] - mean) ** 2
            scale = 1.0 / np.sqrt(variance / outs + eps)
            for j in range(outs):
                dx_in[i * stride + j] = scale * (W[j] * dx[i * stride + j] - g_mean - y[i * stride + j] * gy_mean)


class LayerNorm(Stage):
    """Normalise the numbers of each sample, then scale and shift them by trained gamma and beta.

    Parameters
    ----------
    eps : float, default 1e-5
        Added to the variance; between 0 and 1.

    References
    ----------
    Ba, Kiros and Hinton, "Layer normalization" (2016).
    """

    rows = ("gamma", "beta")
    trained = 2
    start = (1.0, 0.0)
    kernels = (layer_norm_forward, layer_norm_backward)
    checked = {"eps": between_zero_and_one}

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    @property
    def settings(self) -> tuple[float, ...]:
        return (self.eps,)

    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        scale = 1 / np.sqrt(x.var(axis=0, keepdims=True) + self.eps)
        y = (x - x.mean(axis=0, keepdims=True)) * scale
        return self.row("gamma") * y + self.row("beta"), (y, scale)

    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        y, scale = kept
        g = self.row("gamma") * dx
        dx_in = scale * (g - g.mean(axis=0, keepdims=True) - y * (g * y).mean(axis=0, keepdims=True))
        return dx_in, [np.sum(dx * y, axis=1, keepdims=True), np.sum(dx, axis=1, keepdims=True)]
