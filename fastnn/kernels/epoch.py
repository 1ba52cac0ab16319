"""Loops over samples and batches: whole epochs without Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiling import kernel
from .memory import call, pointer_at, pointer_plus, pointer_to
from .records import network_at
from .recursion import FLOAT64, backward_batch, backward_one, forward_batch, forward_one, layer_of


@kernel
def train_steps(
    address: int, X: Any, T: Any, order: Any, seed: int, begin: int, end: int, batch_size: int, lr: float
) -> None:
    """Take the steps `begin` to `end` of a training run, counted over all its epochs.

    X holds the samples as rows and T their targets, in the network's dtype (a class index is an
    int64 in it). An epoch is one pass over all rows in steps of `batch_size`; the last step may
    be shorter. Where `order` is not empty, the rows of epoch e come in the order of
    ``shuffle(order, seed, e)``. The sum of the losses of the current epoch stays in
    ``net.loss_sum``.
    """
    net = network_at(address)
    x, t, loss_sum = pointer_to(X), pointer_to(T), pointer_at(net.loss_sum, FLOAT64)
    ins, items, n = layer_of(net, 0).ins, net.target_items, X.shape[0]
    steps = (n + batch_size - 1) // batch_size  # of one epoch
    epoch = begin // steps
    while begin < end:
        if order.size > 0:
            shuffle(order, seed, epoch)
        first, last = begin - epoch * steps, min(steps, end - epoch * steps)
        if first == 0:
            loss_sum[0] = 0.0
        if batch_size == 1:
            train_online(net, x, t, order, first, last, ins, items, lr, X)
        else:
            for step in range(first, last):
                start = step * batch_size
                train_batch(net, x, t, order, start, min(batch_size, n - start), ins, items, lr, X)
        begin += last - first
        epoch += 1


@kernel
def train_online(
    net: Any, x: Any, t: Any, order: Any, first: int, last: int, ins: int, items: int, lr: float, like: Any
) -> None:
    """The article's loop: one step for each of the samples `first` to `last`."""
    for i in range(first, last):
        row = order[i] if order.size > 0 else i
        x_i, t_i = pointer_plus(x, row * ins), pointer_plus(t, row * items)
        out = forward_one(net, x_i, like)
        loss_and_gradient(net, out, t_i, 1, like)
        backward_one(net, x_i, lr, like)


@kernel
def train_batch(
    net: Any, x: Any, t: Any, order: Any, start: int, n: int, ins: int, items: int, lr: float, like: Any
) -> None:
    """One step on n samples, from the `start`-th of the epoch."""
    if order.size > 0:
        x_batch, t_batch = pointer_at(net.batch_x, like), pointer_at(net.batch_t, like)
        gather(x, order, start, n, ins, x_batch)
        gather(t, order, start, n, items, t_batch)
    else:
        x_batch, t_batch = pointer_plus(x, start * ins), pointer_plus(t, start * items)
    out = forward_batch(net, x_batch, n, like)
    loss_and_gradient(net, out, t_batch, n, like)
    backward_batch(net, x_batch, n, lr, like)


@kernel
def train_one(address: int, X: Any, T: Any, lr: float) -> tuple[bool, bool, float]:
    """One step on one sample, unless x or t is not finite: (x is, t is, loss)."""
    x_finite, t_finite = all_finite(X), all_finite(T)
    net = network_at(address)
    loss_sum = pointer_at(net.loss_sum, FLOAT64)
    loss_sum[0] = 0.0
    if x_finite and t_finite:
        out = forward_one(net, pointer_to(X), X)
        loss_and_gradient(net, out, pointer_to(T), 1, X)
        backward_one(net, pointer_to(X), lr, X)
    return x_finite, t_finite, loss_sum[0]


@kernel
def gradient_rows(address: int, X: Any, T: Any, n: int) -> float:
    """Forward and backward for n samples without an update; returns the sum of their losses."""
    net = network_at(address)
    x, loss_sum = pointer_to(X), pointer_at(net.loss_sum, FLOAT64)
    loss_sum[0] = 0.0
    out = forward_batch(net, x, n, X)
    loss_and_gradient(net, out, pointer_to(T), n, X)
    backward_batch(net, x, n, 0.0, X)
    return loss_sum[0]


@kernel
def forward_rows(address: int, X: Any, Y: Any, first: int, last: int) -> None:
    """Y[i] = the network's output for row i of X, for the rows `first` to `last`."""
    net = network_at(address)
    x, y = pointer_to(X), pointer_to(Y)
    ins, final = layer_of(net, 0).ins, layer_of(net, net.depth - 1)
    for start in range(first, last, net.capacity):
        n = min(net.capacity, last - start)
        x_start = pointer_plus(x, start * ins)
        out = forward_one(net, x_start, X) if n == 1 else forward_batch(net, x_start, n, X)
        for i in range(n):
            for j in range(final.outs):
                y[(start + i) * final.outs + j] = out[i * final.stride + j]


@kernel
def forward_column(address: int, X: Any, Y: Any) -> bool:
    """Y = the network's output for the one sample X; False, and nothing done, if X is not finite."""
    if not all_finite(X):
        return False
    net = network_at(address)
    y, out = pointer_to(Y), forward_one(net, pointer_to(X), X)
    for j in range(Y.size):
        y[j] = out[j]
    return True


@kernel
def loss_rows(address: int, V: Any, T: Any) -> float:
    """The sum of the losses of the outputs V, one row a sample (dx of the last layer is used)."""
    net = network_at(address)
    final = layer_of(net, net.depth - 1)
    v, t = pointer_to(V), pointer_to(T)
    loss_sum = pointer_at(net.loss_sum, FLOAT64)
    loss_sum[0] = 0.0
    for i in range(V.shape[0]):
        call(
            net.loss, pointer_at(net.loss_self, FLOAT64), pointer_plus(v, i * final.outs),
            pointer_plus(t, i * net.target_items), pointer_at(final.dx, V),
            1, final.outs, final.outs, loss_sum,
        )  # fmt: skip
    return loss_sum[0]


@kernel
def loss_and_gradient(net: Any, out: Any, t: Any, n: int, like: Any) -> None:
    """Add the losses of n samples to the sum; dx of the last layer is the gradient of their mean."""
    final = layer_of(net, net.depth - 1)
    call(
        net.loss, pointer_at(net.loss_self, FLOAT64), out, t, pointer_at(final.dx, like),
        n, final.outs, final.stride, pointer_at(net.loss_sum, FLOAT64),
    )  # fmt: skip


@kernel
def gather(source: Any, order: Any, start: int, n: int, items: int, target: Any) -> None:
    """Copy the rows order[start : start + n] of `source`, `items` numbers each, under each other."""
    for i in range(n):
        row = pointer_plus(source, order[start + i] * items)
        for j in range(items):
            target[i * items + j] = row[j]


@kernel
def all_finite(X: Any) -> bool:
    """Whether X holds neither NaN nor infinity (x - x is 0 for every other number)."""
    x = pointer_to(X)
    wrong = 0
    for i in range(X.size):
        wrong += x[i] - x[i] != 0
    return wrong == 0


@kernel
def shuffle(order: Any, seed: int, epoch: int) -> None:
    """Fill `order` with the permutation of epoch number `epoch` under `seed`.

    Fisher and Yates (1938), drawing from SplitMix64 (Steele, Lea and Flood 2014) at counter
    values that seed and epoch set apart: any epoch's order can be had without the ones before.
    """
    state = np.uint64(seed) + np.uint64(epoch) * np.uint64(0xD1342543DE82EF95)
    for i in range(order.size):
        order[i] = i
    for i in range(order.size - 1, 0, -1):
        z = state + np.uint64(i) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        j = np.int64(z % np.uint64(i + 1))
        order[i], order[j] = order[j], order[i]
