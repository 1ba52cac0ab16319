"""From gradients to parameters: penalties, clipping, and the optimiser's rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiling import kernel
from .memory import call, pointer_at
from .order import INT64
from .recursion import FLOAT64, layer_of


@kernel
def update(net: Any, n: int, lr: float, like: Any) -> None:
    """One step of the optimiser, from the gradients that `backward_batch` stored."""
    for l in range(net.depth):
        layer = layer_of(net, l)
        if not layer.frozen:
            if layer.l1 != 0 or layer.l2 != 0:
                penalise(net, layer, n, like)
            if net.clip_value != 0:
                clip_values(layer, net.clip_value, like)
    if net.clip_norm != 0:
        clip_norm(net, like)
    steps = pointer_at(net.steps, INT64)
    steps[0] += 1
    for l in range(net.depth):
        layer = layer_of(net, l)
        if not layer.frozen:
            # W and b lie behind each other, as do their gradients
            W, dW, state = pointer_at(layer.W, like), pointer_at(layer.dW, like), pointer_at(layer.state, like)
            call(net.update, pointer_at(net.update_self, FLOAT64), W, dW, state, layer.count, lr, float(steps[0]))
            if layer.max_norm != 0:
                limit_norms(layer, like)


@kernel
def penalise(net: Any, layer: Any, n: int, like: Any) -> None:
    """Add l1 * sum |W| + l2 / 2 * sum W**2 to the loss of each of n samples, and its gradient to dW."""
    W, dW, loss_sum = pointer_at(layer.W, like), pointer_at(layer.dW, like), pointer_at(net.loss_sum, FLOAT64)
    absolute, square = 0.0, 0.0
    for i in range(layer.ins * layer.stride):
        absolute += abs(W[i])
        square += W[i] * W[i]
        dW[i] += layer.l1 * np.sign(W[i]) + layer.l2 * W[i]
    loss_sum[0] += n * (layer.l1 * absolute + 0.5 * layer.l2 * square)


@kernel
def clip_values(layer: Any, limit: float, like: Any) -> None:
    """Cut every gradient to [-limit, limit]."""
    dW = pointer_at(layer.dW, like)
    for i in range(layer.count):
        dW[i] = min(max(dW[i], -limit), limit)


@kernel
def clip_norm(net: Any, like: Any) -> None:
    """Scale all gradients together so that their norm is at most ``net.clip_norm``."""
    square = 0.0
    for l in range(net.depth):
        layer = layer_of(net, l)
        if not layer.frozen:
            dW = pointer_at(layer.dW, like)
            for i in range(layer.count):
                square += float(dW[i]) * float(dW[i])
    norm = np.sqrt(square)
    if norm > net.clip_norm:
        scale = net.clip_norm / norm
        for l in range(net.depth):
            layer = layer_of(net, l)
            if not layer.frozen:
                dW = pointer_at(layer.dW, like)
                for i in range(layer.count):
                    dW[i] *= scale


@kernel
def limit_norms(layer: Any, like: Any) -> None:
    """Scale the weights of every unit whose norm is above ``layer.max_norm`` down to it."""
    W = pointer_at(layer.W, like)
    for j in range(layer.outs):
        square = 0.0
        for k in range(layer.ins):
            square += W[k * layer.stride + j] * W[k * layer.stride + j]
        if square > layer.max_norm * layer.max_norm:
            scale = layer.max_norm / np.sqrt(square)
            for k in range(layer.ins):
                W[k * layer.stride + j] *= scale
