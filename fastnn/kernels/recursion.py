"""The forward pass and the backward recursion, for one sample and for a batch.

The article, for a column x::

    y  = W x + b
    db = df(y) * dx      # dx: gradient of the loss w.r.t. the layer's output
    dx = W' db           # with W as it was before the update
    dW = db x'
    W -= lr dW;  b -= lr db

Here a sample is a row and W is stored transposed, (ins, stride), so that the same lines read
``y = x W + b`` and ``dW = x' db``. A batch is n rows under each other; its loss is the mean over
the samples, so dx comes from the loss already divided by n and the sums below need no factor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiling import kernel
from .memory import call, pointer_at, pointer_plus
from .products import DEPTH
from .records import LAYER, layer_at
from .tile import first_of, load, multiply_add, splat, store, total, width_of

LAYER_BYTES = LAYER.itemsize
FLOAT64 = np.empty(0)  # says "float64" to pointer_at


@kernel
def layer_of(net: Any, l: int) -> Any:
    """The record of layer number `l`."""
    return layer_at(net.layers + l * LAYER_BYTES)


# --- one sample ------------------------------------------------------------------------------
# Zeros of the network's input are skipped: in an image most numbers are, and 0 * W adds nothing.
# Between layers a zero is a coin toss (ReLU) that the processor would guess wrong half the time.


@kernel
def affine(x: Any, W: Any, b: Any, y: Any, ins: int, columns: int, stride: int, skip_zeros: bool) -> None:
    """y = x W + b.

    The sum over k runs in the same order and in the same pieces as in `products`, so a sample
    gives the same bits alone and in a batch.
    """
    width = width_of(W)
    zero = splat(W, 0.0)
    for j in range(0, columns, width):
        store(load(b, j), y, j)
    for first in range(0, ins, DEPTH):
        last = min(ins, first + DEPTH)
        j = 0
        while j + 4 * width <= columns:  # four sums in flight hide the latency of one
            y0, y1, y2, y3 = zero, zero, zero, zero
            for k in range(first, last):
                if x[k] != 0 or not skip_zeros:
                    x_k = splat(W, x[k])
                    W_k = pointer_plus(W, k * stride + j)
                    y0 = multiply_add(x_k, load(W_k, 0), y0)
                    y1 = multiply_add(x_k, load(W_k, width), y1)
                    y2 = multiply_add(x_k, load(W_k, 2 * width), y2)
                    y3 = multiply_add(x_k, load(W_k, 3 * width), y3)
            y_j = pointer_plus(y, j)
            store(y0 + load(y_j, 0), y_j, 0)
            store(y1 + load(y_j, width), y_j, width)
            store(y2 + load(y_j, 2 * width), y_j, 2 * width)
            store(y3 + load(y_j, 3 * width), y_j, 3 * width)
            j += 4 * width
        while j + 2 * width <= columns:
            y0, y1 = zero, zero
            for k in range(first, last):
                if x[k] != 0 or not skip_zeros:
                    x_k = splat(W, x[k])
                    W_k = pointer_plus(W, k * stride + j)
                    y0 = multiply_add(x_k, load(W_k, 0), y0)
                    y1 = multiply_add(x_k, load(W_k, width), y1)
            y_j = pointer_plus(y, j)
            store(y0 + load(y_j, 0), y_j, 0)
            store(y1 + load(y_j, width), y_j, width)
            j += 2 * width
        if j < columns:
            y0 = zero
            for k in range(first, last):
                if x[k] != 0 or not skip_zeros:
                    y0 = multiply_add(splat(W, x[k]), load(W, k * stride + j), y0)
            store(y0 + load(y, j), y, j)


@kernel
def propagate(W: Any, db: Any, dx: Any, ins: int, outs: int, columns: int, stride: int) -> None:
    """dx = db W', with the sums along the rows of W.

    The padding is left out: it is not zero for ever, since after an overflow inf * 0 is NaN.
    """
    last = columns - width_of(W)
    db_last = first_of(load(db, last), outs - last)
    for k in range(ins):
        dot = splat(W, 0.0)
        for j in range(0, last, width_of(W)):
            dot = multiply_add(load(W, k * stride + j), load(db, j), dot)
        dx[k] = total(multiply_add(first_of(load(W, k * stride + last), outs - last), db_last, dot))


@kernel
def descend(x: Any, db: Any, W: Any, b: Any, ins: int, columns: int, stride: int, lr: Any, skip_zeros: bool) -> None:
    """W -= lr x' db;  b -= lr db."""
    width = width_of(W)
    for k in range(ins):
        if x[k] != 0 or not skip_zeros:
            step = splat(W, -lr * x[k])
            for j in range(0, columns, width):
                store(multiply_add(step, load(db, j), load(W, k * stride + j)), W, k * stride + j)
    step = splat(b, -lr)
    for j in range(0, columns, width):
        store(multiply_add(step, load(db, j), load(b, j)), b, j)


@kernel
def forward_one(net: Any, x: Any, like: Any) -> Any:
    """Run the sample at `x` through all layers; returns the pointer to the network's output."""
    for l in range(net.depth):
        layer = layer_of(net, l)
        y, out = pointer_at(layer.y, like), pointer_at(layer.x, like)
        affine(
            x, pointer_at(layer.W, like), pointer_at(layer.b, like), y, layer.ins, layer.columns, layer.stride, l == 0
        )
        call(layer.f, pointer_at(layer.act, FLOAT64), y, out, layer.stride)
        x = out
    return x


@kernel
def backward_one(net: Any, x: Any, lr: Any, like: Any) -> None:
    """The article's backward loop for the sample at `x`, after `forward_one` and the loss."""
    for l in range(net.depth - 1, -1, -1):
        layer = layer_of(net, l)
        W, db = pointer_at(layer.W, like), pointer_at(layer.db, like)
        x_in = x
        if l > 0:
            x_in = pointer_at(layer_of(net, l - 1).x, like)
        if layer.again:  # the article computes y here, with the weights as they are by now
            b, y = pointer_at(layer.b, like), pointer_at(layer.y, like)
            affine(x_in, W, b, y, layer.ins, layer.columns, layer.stride, l == 0)
        derivative(layer, 1, like)
        if l > 0:
            below = layer_of(net, l - 1)
            propagate(W, db, pointer_at(below.dx, like), layer.ins, layer.outs, layer.columns, layer.stride)
        if not layer.frozen:
            descend(x_in, db, W, pointer_at(layer.b, like), layer.ins, layer.columns, layer.stride, lr, l == 0)


@kernel
def derivative(layer: Any, n: int, like: Any) -> None:
    """db = df(y) * dx for n samples.

    In the padding dx is zero, and so is db unless df(0) is not finite: then it is set to zero.
    """
    db = pointer_at(layer.db, like)
    call(
        layer.df,
        pointer_at(layer.act, FLOAT64),
        pointer_at(layer.y, like),
        pointer_at(layer.dx, like),
        db,
        n * layer.stride,
    )
    if layer.wipe_padding:
        for i in range(n):
            for j in range(layer.outs, layer.stride):
                db[i * layer.stride + j] = 0


# --- a batch ---------------------------------------------------------------------------------


@kernel
def forward_batch(net: Any, x: Any, n: int, training: int, key: int, like: Any) -> Any:
    """Run the n samples at `x` through all layers; returns the pointer to their outputs.

    `training` and `key` are for the stages (see ``stages``): 0 means inference.
    """
    x_stride = layer_of(net, 0).ins
    for l in range(net.depth):
        layer = layer_of(net, l)
        W, b = pointer_at(layer.W, like), pointer_at(layer.b, like)
        y, out = pointer_at(layer.y, like), pointer_at(layer.x, like)
        if layer.forward != 0:
            call(
                layer.forward, pointer_at(layer.act, FLOAT64), W, x, x_stride, y, out,
                n, layer.outs, layer.stride, training, noise_key(key, l),
            )  # fmt: skip
            x, x_stride = out, layer.stride
            continue
        # Y = X W + b: the bias is one row for all samples
        call(
            net.multiply, x, x_stride, 1, W, layer.stride, y, layer.stride, b, 0,
            n, layer.columns, layer.ins, 1.0, 1.0,
        )  # fmt: skip
        call(layer.f, pointer_at(layer.act, FLOAT64), y, out, n * layer.stride)
        x, x_stride = out, layer.stride
    return x


@kernel
def backward_batch(net: Any, x: Any, n: int, lr: Any, training: int, key: int, like: Any) -> None:
    """The backward recursion for the n samples at `x`, after `forward_batch` and the loss.

    A layer with a place for its gradients (dW) stores them there; any other descends at once.
    """
    for l in range(net.depth - 1, -1, -1):
        layer = layer_of(net, l)
        W, db = pointer_at(layer.W, like), pointer_at(layer.db, like)
        x_in, x_stride = x, layer.ins
        if l > 0:
            below = layer_of(net, l - 1)
            x_in, x_stride = pointer_at(below.x, like), below.stride
        if layer.backward != 0:
            call(
                layer.backward, pointer_at(layer.act, FLOAT64), W, x_in, x_stride, pointer_at(layer.y, like),
                pointer_at(layer.dx, like), pointer_at(layer.dx_in, like), int(layer.dx_in != 0),
                pointer_at(layer.dW, like), n, layer.outs, layer.stride, training, noise_key(key, l),
            )  # fmt: skip
            continue
        derivative(layer, n, like)
        if layer.dx_in != 0:
            # dX = dB W', with W' written out once: its rows are then whole vectors
            Wt, dx = pointer_at(net.Wt, like), pointer_at(layer.dx_in, like)
            transpose(W, Wt, layer.ins, layer.outs, layer.stride, layer.stride_in)
            call(
                net.multiply, db, layer.stride, 1, Wt, layer.stride_in, dx, layer.stride_in, dx, 0,
                n, layer.columns_in, layer.outs, 1.0, 0.0,
            )  # fmt: skip
        b = pointer_at(layer.b, like)
        if layer.frozen:
            pass
        elif layer.dW != 0:
            dW = pointer_at(layer.dW, like)
            call(
                net.multiply, x_in, 1, x_stride, db, layer.stride, dW, layer.stride, dW, 0,
                layer.ins, layer.columns, n, 1.0, 0.0,
            )  # fmt: skip
            sum_rows(db, pointer_plus(dW, layer.ins * layer.stride), n, layer.stride)
        else:
            # W -= lr X' dB, product and update in one pass
            call(
                net.multiply, x_in, 1, x_stride, db, layer.stride, W, layer.stride, W, layer.stride,
                layer.ins, layer.columns, n, -lr, 1.0,
            )  # fmt: skip
            sum_rows(db, db, n, layer.stride)
            for j in range(layer.stride):
                b[j] -= lr * db[j]


@kernel
def sum_rows(db: Any, total: Any, n: int, stride: int) -> None:
    """The sum of the n rows of db, which may replace its first row."""
    for j in range(0, stride, width_of(db)):
        column = load(db, j)
        for i in range(1, n):
            column = column + load(db, i * stride + j)
        store(column, total, j)


@kernel
def transpose(W: Any, Wt: Any, ins: int, outs: int, stride: int, stride_in: int) -> None:
    """Wt = W', (outs, stride_in), with zeros in the padding."""
    for first in range(0, outs, 8):  # eight columns at a time: both sides stay in the cache
        for k in range(ins):
            for j in range(first, min(outs, first + 8)):
                Wt[j * stride_in + k] = W[k * stride + j]
    for j in range(outs):
        for k in range(ins, stride_in):
            Wt[j * stride_in + k] = 0


@kernel
def noise_key(key: int, l: int) -> int:
    """The key of the random numbers of layer `l`, from that of the step."""
    return np.int64(np.uint64(key) + np.uint64(l) * np.uint64(0xA0761D6478BD642F))  # type: ignore[return-value]
