"""The three products of a layer for one sample: what `products` does for a batch, without its tiles.

Of a wide input (`WIDE`) only the numbers that are not zero are used: in an image most are zero, and
0 * W adds nothing. `find_nonzero` lists their places, without a branch that the processor could guess
wrong; the products run over the list. In a narrow input, and between layers, where half the
numbers at most are zero, `places` is None, and all are used.
"""

from __future__ import annotations

from typing import Any

from .compiling import inlined_kernel, kernel
from .memory import pointer_plus
from .products import DEPTH
from .tile import first_of, load, multiply_add, splat, store, total, width_of

WIDE = 64  # from so many inputs of the network on, zeros are left out


@kernel
def find_nonzero(x: Any, ins: int, places: Any, counts: Any) -> None:
    """List the places of the numbers of x that are not zero, for each piece of DEPTH inputs by itself.

    The list of the piece that begins at `first` is ``places[first:first + counts[first / DEPTH]]``.
    """
    for first in range(0, ins, DEPTH):
        end = first
        for k in range(first, min(ins, first + DEPTH)):
            places[end] = k
            end += int(x[k] != 0)
        counts[first // DEPTH] = end - first


@inlined_kernel
def affine(x: Any, W: Any, b: Any, y: Any, ins: int, columns: int, stride: int, places: Any, counts: Any) -> None:
    """y = b + x W.

    The sum comes in pieces, whose part of W stays near: the first begins with b, and each of the others is added to
    what is there. It runs over k in the same order as in `products`, so a sample gives the same bits alone and in a
    batch.
    """
    width = width_of(W)
    for first in range(0, ins, DEPTH):
        last = min(ins, first + DEPTH) if places is None else first + counts[first // DEPTH]
        j = 0
        while j + 4 * width <= columns:  # four sums in flight hide the latency of one
            y0, y1 = start(b, j, first), start(b, j + width, first)
            y2, y3 = start(b, j + 2 * width, first), start(b, j + 3 * width, first)
            for i in range(first, last):
                k = i if places is None else places[i]
                x_k = splat(W, x[k])
                W_k = pointer_plus(W, k * stride + j)
                y0 = multiply_add(x_k, load(W_k, 0), y0)
                y1 = multiply_add(x_k, load(W_k, width), y1)
                y2 = multiply_add(x_k, load(W_k, 2 * width), y2)
                y3 = multiply_add(x_k, load(W_k, 3 * width), y3)
            end(y0, y, j, first)
            end(y1, y, j + width, first)
            end(y2, y, j + 2 * width, first)
            end(y3, y, j + 3 * width, first)
            j += 4 * width
        while j + 2 * width <= columns:
            y0, y1 = start(b, j, first), start(b, j + width, first)
            for i in range(first, last):
                k = i if places is None else places[i]
                x_k = splat(W, x[k])
                W_k = pointer_plus(W, k * stride + j)
                y0 = multiply_add(x_k, load(W_k, 0), y0)
                y1 = multiply_add(x_k, load(W_k, width), y1)
            end(y0, y, j, first)
            end(y1, y, j + width, first)
            j += 2 * width
        if j < columns:
            y0 = start(b, j, first)
            for i in range(first, last):
                k = i if places is None else places[i]
                y0 = multiply_add(splat(W, x[k]), load(W, k * stride + j), y0)
            end(y0, y, j, first)


@inlined_kernel
def start(b: Any, j: int, first: int) -> Any:
    """With what the sums of a piece begin: 0, or in the first b, of which -0 counts as 0 as it does beside 0 * W."""
    zero = splat(b, 0.0)
    return load(b, j) + zero if first == 0 else zero


@inlined_kernel
def end(sums: Any, y: Any, j: int, first: int) -> None:
    """Write the sums of a piece, with those of the pieces before it."""
    store(sums if first == 0 else sums + load(y, j), y, j)


@inlined_kernel
def propagate(W: Any, db: Any, dx: Any, ins: int, outs: int, columns: int, stride: int) -> None:
    """dx = db W', with the sums along the rows of W.

    The padding is left out: it is not zero for ever, since after an overflow inf * 0 is NaN. Each
    sum starts from -0.0, and so does what stands for the padding: to add -0.0 changes no number.
    """
    last = columns - width_of(W)
    db_last = first_of(load(db, last), outs - last, -0.0)
    for k in range(ins):
        dot = splat(W, -0.0)
        for j in range(0, last, width_of(W)):
            dot = multiply_add(load(W, k * stride + j), load(db, j), dot)
        dx[k] = total(multiply_add(first_of(load(W, k * stride + last), outs - last, 0.0), db_last, dot))


@inlined_kernel
def descend(
    x: Any, db: Any, W: Any, b: Any, ins: int, columns: int, stride: int, lr: Any, places: Any, counts: Any
) -> None:
    """W -= lr x' db;  b -= lr db."""
    width = width_of(W)
    for first in range(0, ins, DEPTH):
        last = min(ins, first + DEPTH) if places is None else first + counts[first // DEPTH]
        j = 0
        while j + 2 * width <= columns:
            db0, db1 = load(db, j), load(db, j + width)
            for i in range(first, last):
                k = i if places is None else places[i]
                step = splat(W, -lr * x[k])
                W_k = pointer_plus(W, k * stride + j)
                store(multiply_add(step, db0, load(W_k, 0)), W_k, 0)
                store(multiply_add(step, db1, load(W_k, width)), W_k, width)
            j += 2 * width
        if j < columns:
            db0 = load(db, j)
            for i in range(first, last):
                k = i if places is None else places[i]
                W_k = pointer_plus(W, k * stride + j)
                store(multiply_add(splat(W, -lr * x[k]), db0, load(W_k, 0)), W_k, 0)
    step = splat(b, -lr)
    for j in range(0, columns, width):
        store(multiply_add(step, load(db, j), load(b, j)), b, j)
