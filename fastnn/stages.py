"""Layers without a matrix: dropout, noise and normalisation.

Each is one class with its NumPy form, `forward` and `backward`, on columns like the article's; the
reference runs that, and tests hold the kernels (``kernels.stages``) to it. A stage takes its
width from the network it is put into.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np

from .checks import fraction, not_negative, positive_number
from .kernels import stages as kernels
from .kernels.cpu import padded
from .layers import BaseLayer, aligned_zeros

Array = np.ndarray[Any, np.dtype[Any]]


class Stage(BaseLayer, ABC):
    """A layer that has as many outputs as inputs, and no matrix."""

    rows: tuple[str, ...] = ()  # names of the rows of its memory: the trained ones, then the others
    trained: int = 0  # how many of them training changes
    start: tuple[float, ...] = ()  # their values at first
    kernels: tuple[Any, Any]  # its two functions in kernels.stages

    def __init__(self) -> None:
        self.trainable = True
        self._ins = self._outs = self._stride = 0
        self._memory = aligned_zeros(0, np.dtype(np.float64))

    def build(self, width: int, dtype: np.dtype[Any]) -> None:
        """Take so many inputs, which the network says; nothing happens where it is so already."""
        if self._outs == 0:
            self._ins = self._outs = width
            self._allocate(dtype)
            for name, value in zip(self.rows, self.start):
                self.row(name)[...] = value
        self._convert(dtype)

    def _allocate(self, dtype: np.dtype[Any]) -> None:
        self._stride = padded(self._outs, dtype)
        self._memory = aligned_zeros(len(self.rows) * self._stride, dtype)

    def _convert(self, dtype: np.dtype[Any]) -> None:
        if dtype != self.dtype:
            before = [array.copy() for array in self.arrays().values()]
            self._allocate(dtype)
            for name, values in zip(self.rows, before):
                self._assign(name, self.row(name), values)

    @property
    def memory_rows(self) -> int:
        return len(self.rows)

    def row(self, name: str) -> Array:
        """A view of the row of that name, as a column (outs, 1)."""
        first = self.rows.index(name) * self._stride
        return self._memory[first : first + self._outs].reshape(self._outs, 1)

    def arrays(self) -> dict[str, Array]:
        return {name: self.row(name) for name in self.rows}

    @property
    def settings(self) -> tuple[float, ...]:
        """What the kernels need to know besides, in their order."""
        return (0.0,)

    @property
    def is_plain(self) -> bool:
        return self.trained == 0

    @property
    def shape(self) -> tuple[int, int]:
        return self.trained, self._stride

    @abstractmethod
    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        """The outputs for columns x, and what `backward` needs."""

    @abstractmethod
    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        """The gradients with respect to the inputs and to the trained rows, as columns."""

    def forward_pass(self, x: Any) -> Array:
        """The outputs for columns x (ins, N) in inference, in NumPy."""
        return self.forward(np.asarray(x), False, 0)[0]

    def __repr__(self) -> str:
        public = {name: value for name, value in vars(self).items() if not name.startswith("_") and name != "trainable"}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in public.items())})"


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


class Standardize(Stage):
    """Inputs of mean 0 and variance 1: the first layer of a network, fitted on its first training.

    The first `fit` or `train` measures mean and standard deviation of every input on its samples;
    they are saved with the network and stay as they are. `adapt` measures them again. An input
    that never varies is only shifted.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import Identity, Layer, MSELoss, NeuralNetwork, Standardize
    >>> net = NeuralNetwork([Standardize(), Layer(2, 1, Identity())], MSELoss(), 0.1)
    >>> X = np.random.default_rng(0).normal(100.0, 20.0, size=(500, 2))
    >>> history = net.fit(X, X[:, 0] - X[:, 1], epochs=50, seed=0)
    >>> net.layers[0].row("mean").ravel().round(-1)
    array([100., 100.])
    """

    rows = ("mean", "scale")
    start = (0.0, 1.0)
    kernels = (kernels.standardize_forward, kernels.standardize_backward)

    def __init__(self) -> None:
        super().__init__()
        self.fitted = False

    def adapt(self, rows: Array) -> None:
        """Measure mean and standard deviation on samples, one a row."""
        self.adapt_to([rows])

    def adapt_to(self, parts: Iterable[Array]) -> None:
        """The same on samples that come in parts (the variances add up as in Chan, Golub and LeVeque 1979)."""
        count, mean, variance = 0, np.zeros(self.ins), np.zeros(self.ins)
        for rows in parts:
            count += rows.shape[0]
            new = rows.shape[0] / count
            shift = rows.mean(axis=0, dtype=np.float64) - mean
            mean += new * shift
            variance = (1 - new) * variance + new * rows.var(axis=0, dtype=np.float64) + new * (1 - new) * shift**2
        if count == 0:
            return
        std = np.sqrt(variance)
        self.row("mean")[:, 0] = mean
        self.row("scale")[:, 0] = 1 / np.where(std > 0, std, 1.0)
        self.fitted = True

    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        return (x - self.row("mean")) * self.row("scale"), None

    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        return dx * self.row("scale"), []


class BatchNorm(Stage):
    """Normalise each number over the batch, then scale and shift it by trained gamma and beta.

    Parameters
    ----------
    momentum : float, default 0.1
        Weight of a batch in the running mean and variance, which inference uses.
    eps : float, default 1e-5
        Added to the variance.

    Notes
    -----
    Conventions are PyTorch's: the running variance is the unbiased one. In batches of one sample
    everything is normalised to zero; take at least two.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing
    internal covariate shift" (2015).
    """

    rows = ("gamma", "beta", "running_mean", "running_var")
    trained = 2
    start = (1.0, 0.0, 0.0, 1.0)
    kernels = (kernels.batch_norm_forward, kernels.batch_norm_backward)

    def __init__(self, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = fraction(momentum, "momentum"), positive_number(eps, "eps")

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


class LayerNorm(Stage):
    """Normalise the numbers of each sample, then scale and shift them by trained gamma and beta.

    Parameters
    ----------
    eps : float, default 1e-5
        Added to the variance.

    References
    ----------
    Ba, Kiros and Hinton, "Layer normalization" (2016).
    """

    rows = ("gamma", "beta")
    trained = 2
    start = (1.0, 0.0)
    kernels = (kernels.layer_norm_forward, kernels.layer_norm_backward)

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = positive_number(eps, "eps")

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
