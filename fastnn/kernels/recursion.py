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
What a batch does to the weights is in ``descent``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import random
from .compiling import inlined_kernel, kernel
from .cpu import lanes, whole_vectors
from .memory import address_of, ask, call, pointer_at, pointer_plus
from .order import INT64
from .records import LAYER, STAGE, layer_at, stage_at
from .single import affine, descend, find_nonzero, propagate
from .team import meet, share
from .tile import transpose_square, width_of
from .zeros import worth_listing

LAYER_BYTES, STAGE_BYTES = LAYER.itemsize, STAGE.itemsize
FLOAT64 = np.empty(0)  # says "float64" to pointer_at


WIDE_LAYER = 4  # times as many inputs and outputs as a batch has samples


def flipped_numbers(ins: int, outs: int, capacity: int, team: int, dtype: np.dtype[Any]) -> int:
    """How many numbers `multiply_flipped` needs for a layer and a team of threads; 0 where it is not to be used.

    It pays where W has many more numbers than what goes in and out, if the batch fills the vectors of a tile.
    """
    if not 8 * lanes(dtype) <= capacity <= min(ins, outs) // WIDE_LAYER:
        return 0
    return (capacity + 2 * lanes(dtype) * team) * (whole_vectors(outs, dtype) + ins)


@kernel
def layer_of(net: Any, l: int) -> Any:
    """The record of layer number `l`."""
    return layer_at(net.layers + l * LAYER_BYTES)


# --- one sample ------------------------------------------------------------------------------


@kernel
def forward_one(net: Any, x: Any, like: Any) -> Any:
    """Run the sample at `x` through all layers; returns the pointer to the network's output."""
    for l in range(net.depth):
        layer = layer_of(net, l)
        W, b = pointer_at(layer.W, like), pointer_at(layer.b, like)
        y, out = pointer_at(layer.y, like), pointer_at(layer.x, like)
        if l == 0 and net.counts != 0:
            places, counts = places_of(net, 0), pointer_at(net.counts, INT64)
            find_nonzero(x, layer.ins, places, counts)
            affine(x, W, b, y, layer.ins, layer.columns, layer.stride, places, counts)
        else:
            affine(x, W, b, y, layer.ins, layer.columns, layer.stride, None, None)
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
            affine(x_in, W, b, y, layer.ins, layer.columns, layer.stride, None, None)
            call(layer.f, pointer_at(layer.act, FLOAT64), y, pointer_at(layer.x, like), layer.stride)
        derivative(layer, 0, 1, like)
        if l > 0:
            below = layer_of(net, l - 1)
            propagate(W, db, pointer_at(below.dx, like), layer.ins, layer.outs, layer.columns, layer.stride)
        if not layer.frozen:
            b = pointer_at(layer.b, like)
            if l == 0 and net.counts != 0:
                places, counts = places_of(net, 0), pointer_at(net.counts, INT64)
                descend(x_in, db, W, b, layer.ins, layer.columns, layer.stride, lr, places, counts)
            else:
                descend(x_in, db, W, b, layer.ins, layer.columns, layer.stride, lr, None, None)


@inlined_kernel
def derivative(layer: Any, first: int, last: int, like: Any) -> None:
    """db = df(y) * dx for the samples `first` to `last`.

    In the padding dx is zero, and so is db unless df(0) is not finite: then it is set to zero.
    """
    start, count = first * layer.stride, (last - first) * layer.stride
    db = pointer_at(layer.db, like)
    call(
        layer.df, pointer_at(layer.act, FLOAT64), pointer_plus(pointer_at(layer.y, like), start),
        pointer_plus(pointer_at(layer.x, like), start), pointer_plus(pointer_at(layer.dx, like), start),
        pointer_plus(db, start), count,
    )  # fmt: skip
    if layer.wipe_padding:
        for i in range(first, last):
            for j in range(layer.outs, layer.stride):
                db[i * layer.stride + j] = 0


# --- a batch ---------------------------------------------------------------------------------
# Every thread takes its part of the samples through all layers and back.


class Part(NamedTuple):
    """The samples `first` to `last` of a batch of n, which thread `who` takes.

    `training` and `key` are for the stages (see ``records.STAGE``): 0 means inference.
    """

    first: int
    last: int
    n: int
    training: int
    key: int
    who: int


@kernel
def forward_batch(net: Any, x: Any, part: Part, like: Any) -> Any:
    """Run a part of the samples at `x` through all layers; returns the pointer to the outputs of all."""
    for l in range(net.depth):
        layer = layer_of(net, l)
        if layer.forward != 0:
            stage_forward(net, l, x, part, like)
        else:
            start, count = part.first * layer.stride, (part.last - part.first) * layer.stride
            affine_batch(net, l, x, part, like)
            y, out = pointer_at(layer.y, like), pointer_at(layer.x, like)
            call(layer.f, pointer_at(layer.act, FLOAT64), pointer_plus(y, start), pointer_plus(out, start), count)
    return pointer_at(layer_of(net, net.depth - 1).x, like)


@kernel
def affine_batch(net: Any, l: int, x: Any, part: Part, like: Any) -> None:
    """Y = X W + b for a part of the samples: the bias is one row for all of them."""
    layer, first, last, who = layer_of(net, l), part.first, part.last, part.who
    x_in, x_stride = input_of(net, l, x, like)
    W, b, y = pointer_at(layer.W, like), pointer_at(layer.b, like), pointer_at(layer.y, like)
    depth = layer.ins
    if l == 0 and net.nonzero_columns != 0:
        places = places_of(net, who)
        depth = ask(net.nonzero_columns, x_in, x_stride, first, last, 0, layer.ins, places, band_of(net, who, like))
    if worth_listing(depth, layer.ins):
        places, numbers = places_of(net, who), pointer_at(net.numbers, INT64)
        call(
            net.multiply_listed, x_in, x_stride, 1, W, layer.stride, y, layer.stride, b, 0,
            pointer_plus(numbers, first), last - first, layer.columns, places, depth, 1.0, 1.0,
        )  # fmt: skip
    else:
        multiply(
            net, pointer_plus(x_in, first * x_stride), x_stride, 1, W, layer.stride,
            pointer_plus(y, first * layer.stride), layer.stride, b, 0, last - first, layer.columns, layer.ins, 1.0, 1.0,
        )  # fmt: skip


@kernel
def multiply(
    net: Any, a: Any, a_row: int, a_k: int, b: Any, b_k: int, c: Any, c_row: int, d: Any, d_row: int,
    rows: int, columns: int, depth: int, alpha: float, beta: float,
) -> None:  # fmt: skip
    """C = alpha A B + beta D (see ``products``)."""
    unused = pointer_at(net.numbers, INT64)
    call(
        net.multiply, a, a_row, a_k, b, b_k, c, c_row, d, d_row, unused, rows, columns, unused, depth, alpha, beta
    )  # fmt: skip


@kernel
def places_of(net: Any, who: int) -> Any:
    """This thread's room for the numbers of columns."""
    return pointer_plus(pointer_at(net.places, INT64), who * layer_of(net, 0).ins)


@kernel
def band_of(net: Any, who: int, like: Any) -> Any:
    """This thread's room for the gradients of some rows (see ``descent``)."""
    return pointer_at(net.bands + who * net.band_bytes, like)


@kernel
def backward_batch(net: Any, x: Any, part: Part, like: Any) -> None:
    """The backward recursion for a part of the samples, after `forward_batch` and the loss.

    It leaves db of every layer, from which ``descent`` makes dW = X' dB. W has not changed yet.
    """
    first, last = part.first, part.last
    for l in range(net.depth - 1, -1, -1):
        layer = layer_of(net, l)
        if layer.backward != 0:
            stage_backward(net, l, x, part, like)
            continue
        derivative(layer, first, last, like)
        if layer.dx_in != 0 and layer.flipped != 0:
            multiply_flipped(net, layer, part, like)
        elif layer.dx_in != 0:
            # dX = dB W', with W' written out by `transpose`: its rows are whole vectors
            start = first * layer.stride_in
            dx = pointer_plus(pointer_at(layer.dx_in, like), start)
            multiply(
                net, pointer_plus(pointer_at(layer.db, like), first * layer.stride), layer.stride, 1,
                pointer_at(layer.Wt, like), layer.stride_in, dx, layer.stride_in, dx, 0,
                last - first, layer.columns_in, layer.outs, 1.0, 0.0,
            )  # fmt: skip


@kernel
def multiply_flipped(net: Any, layer: Any, part: Part, like: Any) -> None:
    """dX' = W dB', for a part of the samples of a layer so wide that W is not to be written out once more.

    The batch is transposed in its place, there and back. The sums are those of dX = dB W', in the same order.
    """
    W, n, stride_in = pointer_at(layer.W, like), part.last - part.first, layer.stride_in
    width = width_of(W)
    columns = (n + width - 1) // width * width
    row = columns + width  # a row of 512 bytes would compete with the next ones for the same places in a cache
    dBt = pointer_plus(
        pointer_at(layer.flipped, like), (part.first + 2 * width * part.who) * (layer.columns + layer.ins)
    )
    dXt = pointer_plus(dBt, layer.columns * row)
    dB = pointer_plus(pointer_at(layer.db, like), part.first * layer.stride)
    flip(dB, layer.stride, dBt, row, n, layer.columns)
    multiply(net, W, layer.stride, 1, dBt, row, dXt, row, dXt, 0, layer.ins, columns, layer.outs, 1.0, 0.0)
    flip(dXt, row, pointer_plus(pointer_at(layer.dx_in, like), part.first * stride_in), stride_in, layer.ins, n)


@kernel
def flip(source: Any, row: int, target: Any, target_row: int, rows: int, columns: int) -> None:
    """Write the transpose of a matrix: in squares of whole vectors, and what is left number by number."""
    width = width_of(source)
    high, wide = rows // width * width, columns // width * width
    for i in range(0, high, width):
        for j in range(0, wide, width):
            transpose_square(
                pointer_plus(source, i * row + j), row, pointer_plus(target, j * target_row + i), target_row
            )
    for i in range(rows):
        for j in range(wide if i < high else 0, columns):
            target[j * target_row + i] = source[i * row + j]


@kernel
def input_of(net: Any, l: int, x: Any, like: Any) -> tuple[Any, int]:
    """The input of layer number `l`, and the length of its rows, where `x` is that of the network."""
    if l == 0:
        return x, layer_of(net, 0).ins
    below = layer_of(net, l - 1)
    return pointer_at(below.x, like), below.stride


@kernel
def stage_forward(net: Any, l: int, x: Any, part: Part, like: Any) -> None:
    """A layer without a matrix. In training one thread runs it on the whole batch, which it may have to see."""
    layer, first, last = layer_of(net, l), part.first, part.last
    if part.training:
        meet(net)
        first, last = 0, part.n
    if part.who == 0 or not part.training:
        call(layer.forward, describe_stage(net, l, x, first, last, part, like), pointer_at(layer.W, like))
    if part.training:
        meet(net)


@kernel
def stage_backward(net: Any, l: int, x: Any, part: Part, like: Any) -> None:
    """The same on the way back; it also leaves dW."""
    layer = layer_of(net, l)
    meet(net)
    if part.who == 0:
        call(layer.backward, describe_stage(net, l, x, 0, part.n, part, like), pointer_at(layer.W, like))
    meet(net)


@kernel
def describe_stage(net: Any, l: int, x: Any, first: int, last: int, part: Part, like: Any) -> int:
    """Write this thread's record of layer `l`, a stage, for samples `first` to `last`; returns its address."""
    layer, address = layer_of(net, l), net.stages + part.who * STAGE_BYTES
    x_in, in_stride = input_of(net, l, x, like)
    stage, start = stage_at(address), first * layer.stride
    stage.settings, stage.W, stage.dW = layer.act, layer.W, layer.dW
    stage.x_in, stage.in_stride = address_of(pointer_plus(x_in, first * in_stride)), in_stride
    stage.y = address_of(pointer_plus(pointer_at(layer.y, like), start))
    stage.x = address_of(pointer_plus(pointer_at(layer.x, like), start))
    stage.dx = address_of(pointer_plus(pointer_at(layer.dx, like), start))
    stage.dx_in = layer.dx_in  # `first` is 0 on the way back
    stage.n, stage.outs, stage.stride = last - first, layer.outs, layer.stride
    stage.training, stage.key = part.training, noise_key(part.key, l)
    return address


@kernel
def transpose(net: Any, who: int, like: Any) -> None:
    """Wt = W' for every layer that hands a gradient down and is not too wide; its padding is zero from the start."""
    for l in range(net.depth):
        layer = layer_of(net, l)
        if layer.dx_in != 0 and layer.forward == 0 and layer.flipped == 0:
            W, Wt = pointer_at(layer.W, like), pointer_at(layer.Wt, like)
            first, last = share(layer.ins, width_of(W), who, net.team)
            flip(
                pointer_plus(W, first * layer.stride), layer.stride, pointer_plus(Wt, first), layer.stride_in,
                last - first, layer.columns,
            )  # fmt: skip


@kernel
def noise_key(key: int, l: int) -> int:
    """The key of the random numbers of layer `l`, from that of the step."""
    return np.int64(np.uint64(key) + np.uint64(l) * random.LAYER)  # type: ignore[return-value]
