"""Layers without a matrix: what they do to a batch in the forward pass, and back.

A stage is a pair of functions with one signature, which the recursion calls by address::

    forward(settings, W, x_in, in_stride, y, x, n, outs, stride, training, key)
    backward(settings, W, x_in, in_stride, y, dx, dx_in, wants_dx_in, dW, n, outs, stride, training, key)

``W`` holds the stage's parameters row by row, ``dW`` takes their gradients. ``y`` is scratch memory
that the forward pass fills and the backward pass reads. `training` is 0 in inference, 1 in training,
and 2 for a gradient in training that leaves no trace (running averages stay). `key` sets the random
numbers of a step apart from those of all others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import from_dtype, types

from .compiling import compiled_address, kernel


@lru_cache(maxsize=None)
def stage_addresses(
    forward: Callable[..., None], backward: Callable[..., None], dtype: np.dtype[Any]
) -> tuple[int, int]:
    """Addresses of the two compiled functions of a stage."""
    settings, data, index = types.CPointer(types.float64), types.CPointer(from_dtype(dtype)), types.int64
    there = types.void(settings, data, data, index, data, data, index, index, index, index, index)
    back = types.void(
        settings, data, data, index, data, data, data, index, data, index, index, index, index, index
    )  # fmt: skip
    return compiled_address(forward, there), compiled_address(backward, back)


# --- random numbers --------------------------------------------------------------------------


@kernel
def uniform(key: int, position: int) -> float:
    """A number in (0, 1) that depends on `key` and `position` alone: SplitMix64 as a hash."""
    z = np.uint64(key) + np.uint64(position + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (float(z >> np.uint64(11)) + 0.5) * 2.0**-53


def dropout_forward(
    settings: Any, W: Any, x_in: Any, in_stride: int, y: Any, x: Any, n: int, outs: int, stride: int,
    training: int, key: int,
) -> None:  # fmt: skip
    """x = x_in * mask / (1 - rate) in training, where the mask is 0 with probability `rate`."""
    rate = settings[0] if training else 0.0
    scale = 1.0 / (1.0 - rate)
    for i in range(n):
        for j in range(outs):
            keep = scale if rate == 0.0 or uniform(key, i * outs + j) >= rate else 0.0
            y[i * stride + j] = keep
            x[i * stride + j] = x_in[i * in_stride + j] * y[i * stride + j]


def dropout_backward(
    settings: Any, W: Any, x_in: Any, in_stride: int, y: Any, dx: Any, dx_in: Any, wants_dx_in: int, dW: Any,
    n: int, outs: int, stride: int, training: int, key: int,
) -> None:  # fmt: skip
    """dx_in = dx * mask / (1 - rate)."""
    if wants_dx_in:
        for i in range(n):
            for j in range(outs):
                dx_in[i * stride + j] = dx[i * stride + j] * y[i * stride + j]


def noise_forward(
    settings: Any, W: Any, x_in: Any, in_stride: int, y: Any, x: Any, n: int, outs: int, stride: int,
    training: int, key: int,
) -> None:  # fmt: skip
    """x = x_in + std * z in training, with standard normal z (Box and Muller 1958)."""
    for i in range(n):
        for j in range(outs):
            value = x_in[i * in_stride + j]
            if training:
                u, v = uniform(key, 2 * (i * outs + j)), uniform(key, 2 * (i * outs + j) + 1)
                value += settings[0] * np.sqrt(-2.0 * np.log(u)) * np.cos(2.0 * np.pi * v)
            x[i * stride + j] = value


def copy_backward(
    settings: Any, W: Any, x_in: Any, in_stride: int, y: Any, dx: Any, dx_in: Any, wants_dx_in: int, dW: Any,
    n: int, outs: int, stride: int, training: int, key: int,
) -> None:  # fmt: skip
    """dx_in = dx."""
    if wants_dx_in:
        for i in range(n):
            for j in range(outs):
                dx_in[i * stride + j] = dx[i * stride + j]


# --- normalisation ---------------------------------------------------------------------------


def standardize_forward(
    settings: Any, W: Any, x_in: Any, in_stride: int, y: Any, x: Any, n: int, outs: int, stride: int,
    training: int, key: int,
) -> None:  # fmt: skip
    """x = (x_in - mean) * scale; the rows of W are mean and scale."""
    for i in range(n):
        for j in range(outs):
            x[i * stride + j] = (x_in[i * in_stride + j] - W[j]) * W[stride + j]


def standardize_backward(
    settings: Any, W: Any, x_in: Any, in_stride: int, y: Any, dx: Any, dx_in: Any, wants_dx_in: int, dW: Any,
    n: int, outs: int, stride: int, training: int, key: int,
) -> None:  # fmt: skip
    """dx_in = dx * scale."""
    if wants_dx_in:
        for i in range(n):
            for j in range(outs):
                dx_in[i * stride + j] = dx[i * stride + j] * W[stride + j]


def batch_norm_forward(
    settings: Any, W: Any, x_in: Any, in_stride: int, y: Any, x: Any, n: int, outs: int, stride: int,
    training: int, key: int,
) -> None:  # fmt: skip
    """y = (x_in - mean) / sqrt(variance + eps), x = gamma y + beta, over each column of the batch.

    The rows of W are gamma, beta, and the running mean and variance, which inference uses.
    """
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
        scale = 1.0 / np.sqrt(variance + eps)
        for i in range(n):
            y[i * stride + j] = (x_in[i * in_stride + j] - mean) * scale
            x[i * stride + j] = W[j] * y[i * stride + j] + W[stride + j]


def batch_norm_backward(
    settings: Any, W: Any, x_in: Any, in_stride: int, y: Any, dx: Any, dx_in: Any, wants_dx_in: int, dW: Any,
    n: int, outs: int, stride: int, training: int, key: int,
) -> None:  # fmt: skip
    """dgamma = sum(dx y), dbeta = sum(dx), dx_in = gamma scale (dx - dbeta / n - y dgamma / n)."""
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
            scale = W[j] / np.sqrt(variance + settings[1])
            for i in range(n):
                dx_in[i * stride + j] = scale * (dx[i * stride + j] - (dbeta + y[i * stride + j] * dgamma) / n)


def layer_norm_forward(
    settings: Any, W: Any, x_in: Any, in_stride: int, y: Any, x: Any, n: int, outs: int, stride: int,
    training: int, key: int,
) -> None:  # fmt: skip
    """y = (x_in - mean) / sqrt(variance + eps), x = gamma y + beta, over each row; W: gamma, beta."""
    for i in range(n):
        mean, variance = 0.0, 0.0
        for j in range(outs):
            mean += x_in[i * in_stride + j]
        mean /= outs
        for j in range(outs):
            variance += (x_in[i * in_stride + j] - mean) ** 2
        scale = 1.0 / np.sqrt(variance / outs + settings[0])
        for j in range(outs):
            y[i * stride + j] = (x_in[i * in_stride + j] - mean) * scale
            x[i * stride + j] = W[j] * y[i * stride + j] + W[stride + j]


def layer_norm_backward(
    settings: Any, W: Any, x_in: Any, in_stride: int, y: Any, dx: Any, dx_in: Any, wants_dx_in: int, dW: Any,
    n: int, outs: int, stride: int, training: int, key: int,
) -> None:  # fmt: skip
    """dgamma = sum(dx y), dbeta = sum(dx); with g = gamma dx, dx_in = scale (g - mean(g) - y mean(g y))."""
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
            scale = 1.0 / np.sqrt(variance / outs + settings[0])
            for j in range(outs):
                dx_in[i * stride + j] = scale * (W[j] * dx[i * stride + j] - g_mean - y[i * stride + j] * gy_mean)
