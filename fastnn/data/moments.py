"""Mean and spread of the inputs, measured on what the user gave, before anything is narrowed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array

FAR = 256.0  # standard deviations from 0 beyond which float32 has less than 16 bits for the differences of an input


class Standard(NamedTuple):
    """What makes inputs of mean 0 and variance 1: ``(x - offset - mean) * scale``, each float64 (ins,).

    The door takes `offset` off in float64, a kernel `mean` in the network's dtype. Two numbers of that hold an offset.
    """

    offset: Array
    mean: Array
    scale: Array


def standard_of(centre: Array, scale: Array, dtype: np.dtype[Any]) -> Standard:
    """The means `centre` in two parts, such that `dtype` holds what is left: a float64 network has no offset."""
    offset = np.zeros_like(centre)
    if dtype == np.float32:
        with np.errstate(all="ignore"):
            far = np.abs(centre) * scale > FAR
            high = centre[far].astype(dtype)
            offset[far] = high.astype(np.float64) + (centre[far] - high).astype(dtype)  # which two such numbers hold
            return Standard(offset, centre - offset, scale)
    return Standard(offset, centre, scale)


class Moments(NamedTuple):
    """Mean and variance of rows (n, width) as they come in, in units of each input's size; see `moments`.

    Attributes
    ----------
    size : int
        How many rows.
    noise : float
        Of their dtype: by how much of its size a number may be off.
    first : ndarray (width,)
        The first row. All others are taken relative to it, so that a constant varies by 0.
    unit : ndarray (width,)
        Powers of two in which mean and variance are, so that no square overflows.
    mean, variance : ndarray (width,)
    largest : ndarray (width,)
        The largest sizes.
    """

    size: int
    noise: float
    first: Array
    unit: Array
    mean: Array
    variance: Array
    largest: Array

    def and_of(self, other: Moments) -> Moments:
        """The moments of these rows and of others, as in Chan, Golub and LeVeque (1979)."""
        with np.errstate(all="ignore"):
            size = self.size + other.size
            new, units = other.size / size, other.unit / self.unit
            shift = (other.first - self.first) / self.unit + other.mean * units - self.mean
            variance = (1 - new) * self.variance + new * other.variance * units**2 + new * (1 - new) * shift**2
            return self._replace(
                size=size,
                noise=max(self.noise, other.noise),
                mean=self.mean + new * shift,
                variance=variance,
                largest=np.maximum(self.largest, other.largest),
            )

    def standard(self, dtype: np.dtype[Any]) -> Standard:
        """What makes them of mean 0 and variance 1 in a network of that dtype.

        What varies only by rounding errors of its size, or by less than `dtype` holds, is not stretched: its scale is
        1, or less where those errors are larger.
        """
        with np.errstate(all="ignore"):
            std, rounding = np.sqrt(self.variance) * self.unit, self.noise * self.largest
            varies = (std > rounding) & (std > np.finfo(dtype).tiny)
            size = np.where(varies, std, np.where(std > 0, np.maximum(rounding, 1.0), 1.0))
            return standard_of(self.first + self.mean * self.unit, 1 / size, dtype)


def moments(parts: Iterable[Array], width: int) -> Moments | None:
    """Measure rows (n, width) that come in parts, of any real dtype; None if there are none.

    The variances add up as in Chan, Golub and LeVeque (1979), in units of each input's size, so that no square
    overflows. Numbers that are not finite are for the door to find.
    """
    count, noise = 0, 0.0
    first, mean, variance, largest, unit = (np.zeros(width) for _ in range(5))
    with np.errstate(all="ignore"):
        for rows in parts:
            if count == 0:
                first = rows[0].astype(np.float64)  # all are taken relative to it, so that a constant varies by 0
                unit = _power_of_two(np.abs(rows - first).max(axis=0))
            eps = np.finfo(rows.dtype).eps if rows.dtype.kind == "f" else 0.0
            noise = max(noise, 8 * float(eps), 8 * float(np.finfo(np.float64).eps))
            count += rows.shape[0]
            new = rows.shape[0] / count
            relative = (rows - first) / unit
            shift = relative.mean(axis=0) - mean
            mean += new * shift
            variance = (1 - new) * variance + new * relative.var(axis=0) + new * (1 - new) * shift**2
            for extreme in (rows.max(axis=0), rows.min(axis=0)):
                largest = np.maximum(largest, np.abs(extreme.astype(np.float64)))
    return Moments(count, noise, first, unit, mean, variance, largest) if count else None


def standard(parts: Iterable[Array], width: int, dtype: np.dtype[Any]) -> Standard | None:
    """What makes rows (n, width), which come in parts, of mean 0 and variance 1; None if there are none."""
    found = moments(parts, width)
    return None if found is None else found.standard(dtype)


def _power_of_two(sizes: Array) -> Array:
    """The largest power of two up to each size, by which a division is exact; 1 where the size is 0."""
    with np.errstate(all="ignore"):
        unit = np.exp2(np.floor(np.log2(sizes)))
    return np.where((sizes > 0) & np.isfinite(sizes) & (unit > 0), unit, 1.0)
