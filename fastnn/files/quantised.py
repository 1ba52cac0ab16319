"""Matrices in int8, for the C text of a network.

The inputs of each matrix are whole numbers q from -128 to 127 that stand for ``middle + step * q``, with middle and
step from the calibration rows: of each input of the network its own, further on one for all. The weights are whole
numbers from -127 to 127, with a scale for each row. So a row's sum is ``scale * sum(w q) + bias``, where the bias has
the part of the middles, and what rounding adds on the average.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..checks import Array
from .steps import Matrix

WIDEST = 2**31 // (128 * 128)  # inputs whose products add up to no more than 32 bits hold


class Quantised(NamedTuple):
    """A matrix in int8: sums are ``scale * (W q) + bias``, with ``q = round((x - middle) * per_step)``.

    Attributes
    ----------
    W : ndarray (outs, ins) of int8
    scale, bias : ndarray (outs,) of float32
    middle, per_step : ndarray (ins,) or (1,) of float32
    """

    W: Array
    scale: Array
    bias: Array
    middle: Array
    per_step: Array

    def inputs(self, x: Array) -> Array:
        """q of rows x (n, ins) of float32, as the C code computes it."""
        return np.clip(np.floor((x - self.middle) * self.per_step + np.float32(0.5)), -128, 127)

    def outputs(self, x: Array) -> Array:
        """W x + b of rows x, as the C code computes it."""
        sums = self.inputs(x).astype(np.float64) @ self.W.T.astype(np.float64)  # whole numbers: exact
        return sums.astype(np.float32) * self.scale + self.bias


def quantised(matrix: Matrix, x: Array, each: bool) -> Quantised:
    """A matrix for inputs such as the rows x; `each` of them has a step of its own, or all have one."""
    low, high = (x.min(axis=0), x.max(axis=0)) if each else (x.min().reshape(1), x.max().reshape(1))
    middle = ((low.astype(np.float64) + high) / 2).astype(np.float32)
    step = (high.astype(np.float64) - low) / 255
    step = np.where(step > 0, step, 1.0)
    W = matrix.W.astype(np.float64)
    if each:
        step = balanced(W, step, x.std(axis=0, dtype=np.float64))
    per_step = (1 / step).astype(np.float32)
    weights = W * (1 / per_step.astype(np.float64))
    scale = np.abs(weights).max(axis=1) / 127
    scale = np.where(scale > 0, scale, 1.0)
    whole = np.round(weights / scale[:, None]).astype(np.int8)
    made = Quantised(whole, scale.astype(np.float32), np.array(matrix.b, np.float32), middle, per_step)
    # What rounding adds to a sum on the average is known, and goes into the bias
    exact = x.mean(axis=0, dtype=np.float64) @ W.T + matrix.b
    made.bias[:] += exact - made.outputs(x).mean(axis=0, dtype=np.float64)
    return made


def balanced(W: Array, step: Array, spread: Array) -> Array:
    """Steps of inputs with that standard deviation, at least `step`, with which W loses less by rounding.

    In a row whose largest ``w step`` is M, weights are rounded to M / 127: a rare input with a large weight leaves few
    levels to all others. Their inputs need fewer, so that a step of theirs may be larger, and with it ``w step``. The
    errors of an input, ``w step`` of its own and ``M / 127 spread / step`` of its weight's, are least where they are
    equal. No step is so large that M grows. (The weights' part is taken off the inputs', as in Xiao and others,
    "SmoothQuant", 2023.)
    """
    size = np.abs(W)
    largest = (size * step).max(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        best = np.sqrt(np.mean(largest) / 127 * spread / np.sqrt(np.mean(W**2, axis=0)))
        most = np.where(size > 0, largest / size, np.inf).min(axis=0)
    best = np.minimum(best, most)
    return np.where(np.isfinite(best), np.maximum(step, best), step)
