"""Outputs, losses and gradients without an update."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import from_dtype, types

from .compiling import entry_point, kernel
from .denormals import flush_denormals, restore_denormals
from .descent import gradients_of
from .loss import add_losses, both_passes, part_of
from .memory import call, pointer_at, pointer_plus, pointer_to
from .order import INT64
from .products import TILE_ROWS
from .records import network_at, run_at
from .recursion import FLOAT64, Part, forward_batch, forward_one, layer_of
from .team import assemble, join, leave, next_rows, share


@kernel
def forward_rows(address: int, X: Any, Y: Any, begin: int, end: int, unchecked: bool, who: int) -> bool:
    """Y[i] = the network's output for row i of X, for the rows `begin` to `end`.

    Each thread takes the next ones that are left, through some of the scratch memory: nobody waits for
    a thread that comes late. Rows that are `unchecked` are looked at here, while they are in the cache;
    ``net.not_finite`` tells of the wrong ones.
    """
    net = network_at(address)
    if net.team > 1:
        if not join(net, who):
            return False
        room = net.capacity // net.team // TILE_ROWS * TILE_ROWS
        first, last = next_rows(net, begin, end, room)
        while first < last:
            forward_some(net, X, Y, first, last, room, unchecked, who)
            first, last = next_rows(net, begin, end, room)
        leave(net, who)
    else:
        forward_some(net, X, Y, begin, end, net.capacity, unchecked, who)
    return True


@kernel
def forward_some(net: Any, X: Any, Y: Any, begin: int, end: int, room: int, unchecked: bool, who: int) -> None:
    """`forward_rows` of one thread, which has room for so many rows at a time."""
    x, y = pointer_to(X), pointer_to(Y)
    ins, final = layer_of(net, 0).ins, layer_of(net, net.depth - 1)
    for start in range(begin, end, room):
        n = min(room, end - start)
        if unchecked and not finite_numbers(pointer_plus(x, start * ins), n * ins):
            pointer_at(net.not_finite, INT64)[0] = 1
            break
        if n == 1 and net.team == 1:
            out = forward_single(net, pointer_plus(x, start * ins), X)
        else:
            # the scratch memory for this thread's samples begins at row who * room
            x_zero = pointer_plus(x, (start - who * room) * ins)
            out = forward_batch(net, x_zero, Part(who * room, who * room + n, n, 0, 0, who), X)
            out = pointer_plus(out, who * room * final.stride)
        for i in range(n):
            for j in range(final.outs):
                y[(start + i) * final.outs + j] = out[i * final.stride + j]


@kernel
def forward_sample(address: int, X: Any, Y: Any) -> bool:
    """Y = the network's output for the one sample X; False, and not done, if X is not finite."""
    if not all_finite(X):
        return False
    net, y = network_at(address), pointer_to(Y)
    out = forward_single(net, pointer_to(X), X)
    for j in range(layer_of(net, net.depth - 1).outs):
        y[j] = out[j]
    return True


@lru_cache(maxsize=None)
def forward_sample_of(dtype: np.dtype[Any]) -> Callable[[int, Any, Any], bool]:
    """`forward_sample` for contiguous arrays of `dtype`, which the caller sees to."""
    array = from_dtype(dtype)[:, ::1]
    return entry_point(forward_sample, types.int64, array, array)


@kernel
def forward_single(net: Any, x: Any, like: Any) -> Any:
    """The inference of one sample."""
    if not net.has_stages:
        return forward_one(net, x, like)
    return forward_batch(net, x, Part(0, 1, 1, 0, 0, 0), like)


@kernel
def loss_rows(address: int, V: Any, T: Any, weights: Any) -> float:
    """The sum of the losses of the outputs V, one row a sample (dx of the last layer is used).

    Each counts by its weight, float64 (n,); if there are none, as it is.
    """
    net = network_at(address)
    final = layer_of(net, net.depth - 1)
    v, t = pointer_to(V), pointer_to(T)
    loss_sum = pointer_at(net.loss_sum, FLOAT64)
    total = 0.0
    for i in range(V.shape[0]):
        loss_sum[0] = 0.0
        call(
            net.loss, pointer_at(net.loss_self, FLOAT64), pointer_plus(v, i * final.outs),
            pointer_plus(t, i * net.target_items), pointer_at(final.dx, V),
            1, final.outs, final.outs, loss_sum, 0,
        )  # fmt: skip
        total += loss_sum[0] * weights[i] if weights.size > 0 else loss_sum[0]
    return total


@kernel
def gradient_rows(
    address: int, run_address: int, X: Any, T: Any, vector: Any, training: int, key: int, who: int
) -> bool:
    """dW of every layer, for the rows of X with targets T as one batch, without an update; of a frozen layer zero.

    They are written to `vector`, too, unless it is empty (see ``layers.vector``). With training 1 and a step's key it
    does all that the step does before its update. The run says the samples' weights alone. The sum of the losses goes
    to ``net.loss_sum``. This is thread number `who` of ``net.team``. Returns False, and has done nothing, if another
    one could not start.
    """
    net, run = network_at(address), run_at(run_address)
    if not assemble(net, who):
        return False
    denormals = flush_denormals()
    x, n = pointer_to(X), X.shape[0]
    both_passes(net, run, x, pointer_to(T), 0, part_of(net, n, training, key, who), X)
    for l in range(net.depth - 1, -1, -1):
        layer = layer_of(net, l)
        first, last = share(layer.rows, TILE_ROWS, who, net.team)
        dW = pointer_plus(pointer_at(layer.dW, X), first * layer.stride)
        if not layer.frozen:
            gradients_of(net, l, x, n, first, last, dW, who, X)
        elif layer.forward != 0:  # a stage has left it
            for i in range((last - first) * layer.stride):
                dW[i] = 0
        if vector.size > 0:
            pack(layer, dW, pointer_plus(pointer_to(vector), layer.place + first * layer.outs), last - first)
    if who == 0:
        pointer_at(net.loss_sum, FLOAT64)[0] = 0.0
        add_losses(net, n)
    restore_denormals(denormals)
    leave(net, who)
    return True


@kernel
def pack(layer: Any, dW: Any, place: Any, rows: int) -> None:
    """Write rows of dW to their place in a vector, or add them to those of the same layer above."""
    outs, stride, again = layer.outs, layer.stride, layer.again
    if again:
        for i in range(rows):
            for j in range(outs):
                place[i * outs + j] += dW[i * stride + j]
    else:
        for i in range(rows):
            for j in range(outs):
                place[i * outs + j] = dW[i * stride + j]


@kernel
def all_finite(X: Any) -> bool:
    """Whether X holds neither NaN nor infinity."""
    return finite_numbers(pointer_to(X), X.size)


@kernel
def finite_numbers(x: Any, count: int) -> bool:
    """Whether none of `count` numbers is NaN or infinite (x - x is 0 for every other number)."""
    wrong = 0
    for i in range(count):
        wrong += x[i] - x[i] != 0
    return wrong == 0
