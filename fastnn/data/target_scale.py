"""The scale of targets: mean and standard deviation of each output, as a layer of the network's dtype can hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from .moments import Moments, moments

_EPS = float(np.finfo(np.float64).eps)


class TargetScale(NamedTuple):
    """Mean and standard deviation of each output, in units that are powers of two: each float64 (outs,).

    The mean is ``(high + low) * 2**exponent`` and the standard deviation ``size * 2**exponent``, with numbers high,
    low and size that float32 holds, too: so a float32 network has targets of any size, and all of a float64's digits
    but the last four of means such as seconds since 1970.
    """

    high: Array
    low: Array
    size: Array
    exponent: Array

    @classmethod
    def of(cls, mean: Array, std: Array, dtype: np.dtype[Any]) -> TargetScale:
        """The scale of these float64 numbers (outs,) that `dtype` can hold.

        No deviation is smaller than the rounding errors of its mean.
        """
        with np.errstate(all="ignore"):
            std = np.maximum(std, _EPS * np.abs(mean))
            exponent = np.frexp(std)[1] - 1.0
            mean, size = mean / np.exp2(exponent), std / np.exp2(exponent)  # exact: powers of two
            high = mean.astype(dtype).astype(np.float64)
            low, size = (numbers.astype(dtype).astype(np.float64) for numbers in (mean - high, size))
        return cls(high, low, size, exponent)

    @property
    def mean(self) -> Array:
        """The means, (outs,)."""
        return np.asarray((self.high + self.low) * np.exp2(self.exponent))

    @property
    def std(self) -> Array:
        """The standard deviations, (outs,)."""
        return np.asarray(self.size * np.exp2(self.exponent))

    def standardized(self, targets: Array) -> Array:
        """Targets (n, outs) of mean 0 and variance 1, float64."""
        with np.errstate(all="ignore"):
            unit = np.exp2(self.exponent)
            return np.asarray((np.asarray(targets, np.float64) / unit - (self.high + self.low)) / self.size)

    def restorer(self) -> Callable[[Array], Array]:
        """What makes of such values (n, outs) float64 ones on the scale of the targets."""
        with np.errstate(all="ignore"):
            mean, std = self.mean, self.std

        def restored(values: Array) -> Array:
            with np.errstate(all="ignore"):
                return np.asarray(values * std + mean)

        return restored


def measured_scale(parts: Iterable[Array], outs: int, dtype: np.dtype[Any]) -> TargetScale | None:
    """The `scale_of` targets (n, outs) that come in parts, of any real dtype."""
    return scale_of(moments(parts, outs), dtype)


def scale_of(found: Moments | None, dtype: np.dtype[Any]) -> TargetScale | None:
    """The scale of targets of these moments; None if there are none, or not all finite.

    What varies only by rounding errors of its size has the deviation 1, or that of those errors where it is larger.
    """
    if found is None:
        return None
    made = found.standard(np.dtype(np.float64))
    if not (np.isfinite(made.mean).all() and np.isfinite(made.scale).all()):
        return None  # the door says what is wrong
    return TargetScale.of(made.mean, 1 / made.scale, dtype)
