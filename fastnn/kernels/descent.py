"""From db to new weights, for a batch: dW = X' dB, and the step that it makes.

::

    dW = X' dB;  W -= lr dW;  b -= lr (the sum of dB's rows)

or, with an optimiser, penalties or limits, whatever these make of dW. Each thread takes some rows
of every layer's W, of those that are its process's (see `rows_of_part`); b is one row more, behind
the last. Plain descent is one pass of the product. An optimiser gets the gradients band by band, a
few rows that are still in the cache, unless something has to be known of all gradients first (their
norm).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import from_dtype, types

from .compiling import compiled_address, kernel, sums_kernel
from .loss import add_losses
from .memory import ask, call, number, pointer_at, pointer_plus
from .order import INT64
from .products import TILE_ROWS
from .records import network_at
from .recursion import FLOAT64, band_of, input_of, layer_of, multiply, places_of
from .team import meet, share
from .tile import load, multiply_add, splat, store, width_of
from .zeros import worth_listing

BAND_NUMBERS = 8192  # of a band of gradients, which is to stay in the cache with what else belongs to its rows
BAND_TILES = 4  # but a band is no narrower than so many tiles


def band_rows(rows: int, stride: int) -> int:
    """How many of the rows of a layer's gradient are one band."""
    return min(rows, max(BAND_TILES, BAND_NUMBERS // (TILE_ROWS * stride)) * TILE_ROWS)


def _make_descend(adjusts: bool) -> Callable[..., None]:
    """The step of a batch; one that never `adjusts` has no code for penalties and limits."""

    def descend_batch(address: int, x: Any, n: int, lr: float, who: int) -> None:
        """The step of all layers, from the n samples at `x`, after `backward_batch` of all of them.

        Where n is 0 the gradients lie in ``layer.dW`` already: they come from elsewhere.
        """
        net, like = network_at(address), x
        for l in range(net.depth - 1, -1, -1):
            layer = layer_of(net, l)
            first, last = share(layer.rows, TILE_ROWS, net.part * net.team + who, net.parts * net.team)
            if layer.frozen or first == last:
                pass
            elif net.update == 0:
                descend_plainly(net, l, x, n, first, last, lr, who, like)
            elif net.whole:
                if adjusts:
                    dW = pointer_plus(pointer_at(layer.dW, like), first * layer.stride)
                    gradients_of(net, l, x, n, first, last, dW, who, like)
                    adjust(net, layer, first, last, dW, like)
            else:
                for row in range(first, last, layer.band):
                    end = min(last, row + layer.band)
                    dW = band_of(net, who, like)
                    if layer.forward != 0 or n == 0:  # it is there: a stage has left it, or the caller
                        dW = pointer_plus(pointer_at(layer.dW, like), row * layer.stride)
                    gradients_of(net, l, x, n, row, end, dW, who, like)
                    if adjusts:
                        adjust(net, layer, row, end, dW, like)
                    update(net, layer, row, end, dW, lr, like)
        if adjusts:
            if net.whole:
                update_together(net, lr, who, like)
            if net.limits:
                meet(net)
                if who == 0:
                    limit_norms(net, like)

    return descend_batch


@lru_cache(maxsize=None)
def descend_address(dtype: np.dtype[Any], adjusts: bool) -> int:
    """Address of the compiled step: compiled by itself, as it is the larger half of what training needs.

    It `adjusts` where there are penalties or limits, or where updates wait for all gradients: code for that takes a
    tenth of the time that a first fit compiles.
    """
    index = types.int64
    signature = types.void(index, types.CPointer(from_dtype(dtype)), index, types.float64, index)
    return compiled_address(_make_descend(adjusts), signature, f"descend {dtype} {adjusts}")


def rows_of_part(rows: int, part: int, parts: int) -> tuple[int, int]:
    """The first and the last + 1 of a layer's rows that one of so many processes updates, with all its threads."""
    return share(rows, TILE_ROWS, part, parts)


@kernel
def finish_step(net: Any, n: int) -> None:
    """What one thread does after the step: add up the loss, with the penalties for each of n samples, and count.

    A step without samples, from given gradients, has the penalties once.
    """
    add_losses(net, n)
    if net.update != 0:
        for l in range(net.depth):
            layer = layer_of(net, l)
            if not layer.frozen and (layer.l1 != 0 or layer.l2 != 0):
                penalties, total = pointer_at(layer.penalties, FLOAT64), 0.0
                for k in range(layer.ins):
                    total += penalties[k]
                pointer_at(net.loss_sum, FLOAT64)[0] += max(n, 1) * total
        steps = pointer_at(net.steps, INT64)
        steps[0] += 1


@kernel
def descend_plainly(net: Any, l: int, x: Any, n: int, first: int, last: int, lr: float, who: int, like: Any) -> None:
    """W -= lr X' dB for rows `first` to `last`, product and update in one pass, and b -= lr db.

    Given gradients are taken off as the product does it: with one rounding.
    """
    layer, dW = layer_of(net, l), pointer_at(layer_of(net, l).dW, like)
    W, rows = pointer_plus(pointer_at(layer.W, like), first * layer.stride), min(last, layer.ins) - first
    if n > 0:
        product_of_rows(net, l, x, n, first, first + rows, W, -lr, 1.0, who, like)
    else:
        subtract(W, pointer_plus(dW, first * layer.stride), rows * layer.stride, lr)
    if last > layer.ins:
        b, db_sum = pointer_at(layer.b, like), pointer_plus(dW, layer.ins * layer.stride)
        if n > 0:
            db_sum = band_of(net, who, like)
            sum_rows(pointer_at(layer.db, like), db_sum, n, layer.stride)
        for j in range(layer.stride):
            b[j] -= lr * db_sum[j]


@kernel
def product_of_rows(
    net: Any, l: int, x: Any, n: int, first: int, last: int, C: Any, alpha: float, beta: float, who: int, like: Any
) -> None:
    """C = alpha X' dB + beta C, for rows `first` to `last` of X' dB; beta is 0 or 1.

    A row is all zero where the input is zero in the whole batch.
    """
    layer = layer_of(net, l)
    x_in, x_stride = input_of(net, l, x, like)
    db, stride = pointer_at(layer.db, like), layer.stride
    rows = last - first
    if l == 0 and net.nonzero_columns != 0:
        places = places_of(net, who)
        rows = ask(net.nonzero_columns, x_in, x_stride, 0, n, first, last, places, band_of(net, who, like))
    if worth_listing(rows, last - first):
        places, numbers = places_of(net, who), pointer_at(net.numbers, INT64)
        if beta == 0:
            for i in range((last - first) * stride):
                C[i] = 0
        C_zero = pointer_plus(C, -first * stride)  # where row 0 would be
        call(
            net.multiply_listed, x_in, 1, x_stride, db, stride, C_zero, stride, C_zero, stride,
            places, rows, layer.columns, numbers, n, alpha, beta,
        )  # fmt: skip
    else:
        multiply(
            net, pointer_plus(x_in, first), 1, x_stride, db, stride, C, stride, C, stride,
            last - first, layer.columns, n, alpha, beta,
        )  # fmt: skip


@kernel
def gradients_of(net: Any, l: int, x: Any, n: int, first: int, last: int, dW: Any, who: int, like: Any) -> None:
    """Rows `first` to `last` of dW = X' dB, and of b's gradient behind them, unless they are there (see above)."""
    layer = layer_of(net, l)
    if layer.forward == 0 and n > 0:
        stride = layer.stride
        rows = min(last, layer.ins) - first
        product_of_rows(net, l, x, n, first, first + rows, dW, 1.0, 0.0, who, like)
        for k in range(rows):
            for j in range(layer.columns, stride):
                dW[k * stride + j] = 0
        if last > layer.ins:
            sum_rows(pointer_at(layer.db, like), pointer_plus(dW, rows * stride), n, stride)


@kernel
def adjust(net: Any, layer: Any, first: int, last: int, dW: Any, like: Any) -> None:
    """What penalties and limits make of the gradients of rows `first` to `last`."""
    stride = layer.stride
    if layer.l1 != 0 or layer.l2 != 0:
        penalties, W = pointer_at(layer.penalties, FLOAT64), pointer_at(layer.W, like)
        l1, l2 = net.penalty_share * layer.l1, net.penalty_share * layer.l2
        for k in range(first, min(last, layer.ins)):
            row, dW_row = pointer_plus(W, k * stride), pointer_plus(dW, (k - first) * stride)
            penalties[k] = penalise_squares(row, dW_row, stride, l2)
            if l1 != 0:
                penalties[k] += penalise_sizes(row, dW_row, stride, l1)
    if net.clip_value != 0:
        for i in range((last - first) * stride):
            dW[i] = min(max(dW[i], -net.clip_value), net.clip_value)
    if net.clip_norm != 0:
        squares = pointer_at(layer.squares, FLOAT64)
        for k in range(last - first):
            squares[first + k] = square_of(pointer_plus(dW, k * stride), stride)


@kernel
def update(net: Any, layer: Any, first: int, last: int, dW: Any, lr: float, like: Any) -> None:
    """The optimiser's rule for rows `first` to `last`, whose gradients are at dW: b may have a rate of its own."""
    end = min(last, layer.ins) if layer.bias_lr_factor != layer.lr_factor else last
    update_rows(net, layer, first, end, dW, lr * layer.lr_factor, like)
    if end < last:
        db = pointer_plus(dW, (end - first) * layer.stride)
        update_rows(net, layer, end, last, db, lr * layer.bias_lr_factor, like)


@kernel
def update_rows(net: Any, layer: Any, first: int, last: int, dW: Any, lr: float, like: Any) -> None:
    """The same at one rate."""
    start, count = first * layer.stride, (last - first) * layer.stride
    W, state = pointer_plus(pointer_at(layer.W, like), start), pointer_plus(pointer_at(layer.state, like), start)
    time = float(pointer_at(net.steps, INT64)[0] + 1)
    call(
        net.update, pointer_at(net.update_self, FLOAT64), W, dW, state, count, layer.rows * layer.stride, lr, time
    )  # fmt: skip
    if net.wipe_padding:
        for i in range(last - first):
            for j in range(layer.outs, layer.stride):
                W[i * layer.stride + j] = 0


@kernel
def update_together(net: Any, lr: float, who: int, like: Any) -> None:
    """The updates of all layers once all gradients are there, scaled so that their norm is at most `clip_norm`."""
    meet(net)
    scale = 1.0
    if net.clip_norm != 0:
        norm = np.sqrt(norm_squared(net))
        if norm > net.clip_norm:
            scale = net.clip_norm / norm
    for l in range(net.depth):
        layer = layer_of(net, l)
        first, last = share(layer.rows, TILE_ROWS, who, net.team)
        if not layer.frozen and first < last:
            dW = pointer_plus(pointer_at(layer.dW, like), first * layer.stride)
            if scale != 1:
                for i in range((last - first) * layer.stride):
                    dW[i] *= scale
            update(net, layer, first, last, dW, lr, like)


@kernel
def norm_squared(net: Any) -> float:
    """The square of the norm of all gradients together."""
    total = 0.0
    for l in range(net.depth):
        layer = layer_of(net, l)
        if not layer.frozen:
            squares = pointer_at(layer.squares, FLOAT64)
            for k in range(layer.rows):
                total += squares[k]
    return total


@sums_kernel
def penalise_squares(W: Any, dW: Any, count: int, l2: float) -> float:
    """Add the gradient of l2 / 2 * sum W**2 to dW, for one row; returns that penalty."""
    square, factor = 0.0, number(W, l2)
    for j in range(count):
        square += W[j] * W[j]
        dW[j] += factor * W[j]
    return 0.5 * l2 * square


@sums_kernel
def penalise_sizes(W: Any, dW: Any, count: int, l1: float) -> float:
    """The same of l1 * sum |W|."""
    absolute, factor = 0.0, number(W, l1)
    for j in range(count):
        absolute += abs(W[j])
        dW[j] += factor * np.sign(W[j])
    return l1 * absolute


@sums_kernel
def square_of(dW: Any, count: int) -> float:
    """The sum of the squares of a row."""
    square = 0.0
    for j in range(count):
        square += float(dW[j]) * float(dW[j])
    return square


@kernel
def limit_norms(net: Any, like: Any) -> None:
    """Scale the weights of every unit whose norm is above its layer's ``max_norm`` down to it."""
    for l in range(net.depth):
        layer = layer_of(net, l)
        if layer.max_norm != 0 and not layer.frozen:
            W = pointer_at(layer.W, like)
            for j in range(layer.outs):
                square = 0.0
                for k in range(layer.ins):
                    square += W[k * layer.stride + j] * W[k * layer.stride + j]
                if square > layer.max_norm * layer.max_norm:
                    scale = layer.max_norm / np.sqrt(square)
                    for k in range(layer.ins):
                        W[k * layer.stride + j] *= scale


@kernel
def subtract(W: Any, dW: Any, count: int, lr: float) -> None:
    """W -= lr dW for whole vectors."""
    step = splat(W, -lr)
    for i in range(0, count, width_of(W)):
        store(multiply_add(step, load(dW, i), load(W, i)), W, i)


@kernel
def sum_rows(db: Any, total: Any, n: int, stride: int) -> None:
    """The sum of the n rows of db, four vectors of columns at a time: one sum alone waits for each addition."""
    width = width_of(db)
    j = 0
    while j + 4 * width <= stride:
        a, b, c, d = load(db, j), load(db, j + width), load(db, j + 2 * width), load(db, j + 3 * width)
        for i in range(1, n):
            row = pointer_plus(db, i * stride + j)
            a, b = a + load(row, 0), b + load(row, width)
            c, d = c + load(row, 2 * width), d + load(row, 3 * width)
        store(a, total, j)
        store(b, total, j + width)
        store(c, total, j + 2 * width)
        store(d, total, j + 3 * width)
        j += 4 * width
    while j < stride:
        a = load(db, j)
        for i in range(1, n):
            a = a + load(db, i * stride + j)
        store(a, total, j)
        j += width
