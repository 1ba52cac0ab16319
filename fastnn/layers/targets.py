"""Targets of mean 0 and variance 1, and predictions on the scale that they had."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..changes import changed
from ..checks import Array, flag
from ..data.columns import real_array
from ..data.target_scale import TargetScale, measured_scale
from ..kernels.stages import pointer_at, stage_at
from .base import assign
from .stage import Stage


def pass_forward(address: int, W: Any) -> None:
    """x = x_in."""
    stage = stage_at(address)
    n, outs, in_stride, stride = stage.n, stage.outs, stage.in_stride, stage.stride
    x_in, x = pointer_at(stage.x_in, W), pointer_at(stage.x, W)
    for i in range(n):
        for j in range(outs):
            x[i * stride + j] = x_in[i * in_stride + j]


def pass_backward(address: int, W: Any) -> None:
    """dx_in = dx."""
    stage = stage_at(address)
    n, outs, stride = stage.n, stage.outs, stage.stride
    dx, dx_in = pointer_at(stage.dx, W), pointer_at(stage.dx_in, W)
    if stage.dx_in != 0:
        for i in range(n):
            for j in range(outs):
                dx_in[i * stride + j] = dx[i * stride + j]


class StandardizeTargets(Stage):
    """Targets of mean 0 and variance 1: the last layer of a network for values, fitted on its first training.

    The first `fit` or `train` measures mean and standard deviation of every output on its targets, in float64 and as
    they are given, without weights; they are saved with the network and stay as they are. `adapt` measures them
    again. From then on the network's door makes ``(y - mean) / std`` of all targets, in float64 before they are
    narrowed, and `predict` gives ``mean + std * outputs``, in float64. So the learning rate need not know the unit.

    Losses, those in a history too, and gradients are of standardised targets; `outputs` and `forward_pass` give the
    standardised values as they are. Predictions and metrics (``r2``, ``mae``) are on the scale of the targets. An
    output whose targets never vary, or only by rounding errors of their size, is only shifted. Chunks of an iterable
    are measured as in `Standardize`, by the first.

    It is for losses of values: `MSELoss`, `MAELoss`, `HuberLoss`, or one of your own without a `domain`.

    Parameters
    ----------
    fitted : bool, default False
        Whether mean and std are those wanted already, as when you assign them yourself: the first training then
        leaves them.

    Raises
    ------
    ValueError
        By the network that it is put into: if it is not the last layer, or the loss is one of classes, labels or
        counts, which have no scale.

    Examples
    --------
    Prices, with a rate that suits targets of any size:

    >>> import numpy as np
    >>> from fastnn import Adam, Identity, Layer, MSELoss, NeuralNetwork, Standardize, StandardizeTargets, Tanh
    >>> layers = [Standardize(), Layer(1, 16, Tanh(), seed=0), Layer(16, 1, Identity(), seed=1), StandardizeTargets()]
    >>> net = NeuralNetwork(layers, MSELoss(), 0.01, Adam())
    >>> area = np.random.default_rng(0).uniform(20, 200, size=(500, 1))
    >>> price = 50_000 + 3_000 * area[:, 0]
    >>> history = net.fit(area, price, epochs=50, metrics=["r2"], seed=0)
    >>> history["r2"][-1] > 0.99
    True
    >>> abs(net.predict([[100.0]]).item() - 350_000) < 10_000, abs(net.outputs([[100.0]]).item()) < 1
    (True, True)
    >>> bool(np.isclose(net.layers[-1].mean.item(), price.mean()))
    True
    """

    rows = sealed = ("mean", "mean_low", "std", "exponent")  # see `TargetScale`; assign `mean` and `std`
    start = (0.0, 0.0, 1.0, 0.0)
    stands = "last"
    kernels = (pass_forward, pass_backward)
    checked = {"fitted": flag}

    def __init__(self, fitted: bool = False) -> None:
        super().__init__()
        self.fitted = fitted

    @property
    def scale(self) -> TargetScale:
        """What the network's door makes standardised targets with."""
        return TargetScale(*(self._row(name)[:, 0].astype(np.float64) for name in type(self).rows))

    @property
    def mean(self) -> Array:
        """The means of the targets, float64 (outs, 1). Assign them as a whole."""
        return _column(self.scale.mean)

    @mean.setter
    def mean(self, values: Any) -> None:
        self.keep(TargetScale.of(self._given("mean", values), self.scale.std, self.dtype))

    @property
    def std(self) -> Array:
        """Their standard deviations, float64 (outs, 1), above 0. Assign them as a whole."""
        return _column(self.scale.std)

    @std.setter
    def std(self, values: Any) -> None:
        std = self._given("std", values)
        if not np.all(std > 0):
            raise ValueError(f"std holds {std[~(std > 0)][0]}; expected numbers above 0")
        self.keep(TargetScale.of(self.scale.mean, std, self.dtype))

    def _given(self, name: str, values: Any) -> Array:
        place = np.empty((self._outs, 1))
        assign(name, place, values)
        if not np.isfinite(place).all():
            raise ValueError(f"{name} holds {place[~np.isfinite(place)][0]}; expected finite numbers")
        return place[:, 0]

    def adapt(self, targets: Any) -> None:
        """Measure mean and standard deviation on targets (n, outs), or (n,) of one output, of any real dtype.

        Raises
        ------
        ValueError, TypeError
            If the layer is in no network yet, which says how many outputs it has, or the targets do not fit or are
            not finite.
        """
        if self.outs == 0:
            raise ValueError(
                "this StandardizeTargets() is in no network yet; expected adapt(targets) after it was put into one"
            )
        array = real_array(targets, "targets")
        rows = array.reshape(-1, 1) if array.ndim == 1 and self.outs == 1 else array
        if rows.ndim != 2 or rows.shape[1] != self.outs or len(rows) == 0:
            raise ValueError(f"targets has shape {array.shape}; expected (n, {self.outs}), with n of at least 1")
        if not np.isfinite(rows.astype(np.float64)).all():
            raise ValueError("targets holds numbers that are not finite; expected finite numbers")
        measured = measured_scale([rows], self.outs, self.dtype)
        assert measured is not None
        self.keep(measured)
        self.fitted = True

    def keep(self, scale: TargetScale) -> None:
        """Take a scale that was made for this layer's dtype."""
        for name, numbers in zip(type(self).rows, scale):
            self._row(name)[:, 0] = numbers
        changed(self)

    def convert(self, dtype: np.dtype[Any]) -> None:
        """Change the dtype of the memory; where it narrows, the means are parted anew."""
        if dtype.itemsize >= self.dtype.itemsize or self._outs == 0:
            return super().convert(dtype)
        parted = TargetScale.of(self.scale.mean, self.scale.std, dtype)
        super().convert(dtype)
        return self.keep(parted)

    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        return x, None

    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        return dx, []


def _column(numbers: Array) -> Array:
    column = numbers.reshape(-1, 1)
    column.flags.writeable = False  # a network must hear of it, as of an attribute
    return column
