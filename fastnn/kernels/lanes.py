"""Networks of one shape side by side: number l of every vector belongs to network number l.

A tiny network fills no vectors: of three outputs most lanes of a register stay empty, and a step is more calls than
arithmetic. As many such networks as a vector has numbers take their steps together here. All arrays have one more,
last dimension, the networks', and every line of the recursion is one of whole vectors::

    y  = x W + b
    db = df(y) * dx
    dx = db W'                # with W as it was before the update
    dW = x' db
    W -= lr dW;  b -= lr db

Each network has samples, an order, a loss, rates and penalties of its own; activations and the optimiser's rule are
common. It ends with the bits that it would have alone: the sums run in the same order (see ``products``), and the
loss, penalties and the count of steps are its own kernels'. Between calls its weights lie where they always do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from .compiling import compiled_address, kernel
from .cpu import VECTOR_REGISTERS
from .denormals import flush_denormals, restore_denormals
from .descent import adjust, finish_step
from .epoch import not_finite, note_divergence
from .loss import divide, share_of_one, weigh
from .memory import call, number, pointer_at, pointer_plus, pointer_to
from .order import INT64, batch_start, gather, row_of, shuffle
from .records import LANES_LAYER, lanes_at, lanes_layer_at, network_at, run_at
from .recursion import FLOAT64, Part, band_of, layer_of
from .special import SpecialKernels
from .tile import load, make_lanes_tile, multiply_add, store, width_of

_LAYER_BYTES = LANES_LAYER.itemsize
SAMPLES = 16  # of a batch at a time
_HIGH = 4 if VECTOR_REGISTERS == 32 else 2  # rows of a tile: 4 x 4 sums and what they are made of take 24 registers
_high, _pair, _single, _one = (make_lanes_tile(*size) for size in ((_HIGH, 4), (2, 4), (1, 4), (1, 1)))


@kernel
def train_side_by_side(function: int, address: int, begin: int, end: int, rates: Any) -> None:
    """Take the steps `begin` to `end` of the training runs of some networks: see ``epoch.train_steps``.

    ``rates`` (members, steps) holds the learning rates of each, or one for all its steps, and `function` is the address
    of the steps. All runs have as many samples, in batches of the same sizes.
    """
    call(function, address, begin, end, pointer_to(rates), rates.shape[1])


def _make_steps(like: Any) -> Callable[..., None]:
    def steps_side_by_side(address: int, begin: int, end: int, rates: Any, rate_count: int) -> None:
        lanes = lanes_at(address)
        denormals = flush_denormals()
        copy_weights(lanes, 1, like)
        first_run = run_of(lanes, 0)
        steps = first_run.steps
        for step in range(begin, end):
            epoch = step // steps
            k = step - epoch * steps
            if k == 0 or step == begin:
                begin_epoch(lanes, epoch, k)
            start = batch_start(first_run, k)
            n = batch_start(first_run, k + 1) - start
            for first in range(0, n, SAMPLES):
                part = Part(first, min(n, first + SAMPLES), n, 1, 0, 0)
                forward(lanes, start, part, like)
                losses(lanes, start, part, like)
                backward(lanes, part, like)
            place = step - begin if rate_count > 1 else 0
            if place > 0 or step == begin:
                set_rates(lanes, pointer_plus(rates, place), rate_count, like)
            if lanes.update == 0:
                descend_plainly(lanes, like)
            else:
                descend(lanes, start, n, like)
            finish(lanes, step, start, n)
            if k == steps - 1:
                end_epoch(lanes, epoch)
        copy_weights(lanes, 0, like)
        for m in range(lanes.members):
            run_of(lanes, m).reached = end
        restore_denormals(denormals)

    return steps_side_by_side


KERNELS = SpecialKernels(compiling=2.5, saving=1e-6)


def steps_address(dtype: np.dtype[Any], steps: int, ahead: int) -> int:
    """Address of the steps, or 0: see `SpecialKernels.address`; one of each network counts as one."""

    def compiled(only_cached: bool) -> int:
        signature = types.void(*(types.int64,) * 3, types.CPointer(types.float64), types.int64)
        return compiled_address(_make_steps(np.empty(0, dtype)), signature, f"side by side {dtype}", only_cached)

    return KERNELS.address(dtype, compiled, steps, ahead)


@kernel
def network_of(lanes: Any, m: int) -> Any:
    """The record of network number `m`."""
    return network_at(pointer_at(lanes.networks, INT64)[m])


@kernel
def run_of(lanes: Any, m: int) -> Any:
    """The record of its run."""
    return run_at(pointer_at(lanes.runs, INT64)[m])


@kernel
def arrays_of(lanes: Any, l: int) -> Any:
    """The record of layer number `l` of all of them."""
    return lanes_layer_at(lanes.layers + l * _LAYER_BYTES)


# --- in and out ------------------------------------------------------------------------------


@kernel
def copy_weights(lanes: Any, enter: int, like: Any) -> None:
    """Copy all weights, and the optimiser's numbers, from the networks or back. A lane too many is as the first."""
    common, width = network_of(lanes, 0), width_of(pointer_at(lanes.x, like))
    for l in range(common.depth):
        all_W, all_state = pointer_at(arrays_of(lanes, l).W, like), pointer_at(arrays_of(lanes, l).state, like)
        for m in range(width if enter else lanes.members):
            layer = layer_of(network_of(lanes, m if m < lanes.members else 0), l)
            rows, outs, stride = layer.ins + 1, layer.outs, layer.stride
            copy_lane(pointer_plus(all_W, m), pointer_at(layer.W, like), rows, outs, stride, width, enter)
            for i in range(lanes.numbers):
                all_numbers = pointer_plus(all_state, i * rows * outs * width + m)
                numbers = pointer_plus(pointer_at(layer.state, like), i * rows * stride)
                copy_lane(all_numbers, numbers, rows, outs, stride, width, enter)


@kernel
def copy_lane(all_of: Any, one: Any, rows: int, outs: int, stride: int, width: int, enter: int) -> None:
    """Copy a matrix of one network, whose rows lie `stride` apart, to its lane or back."""
    for k in range(rows):
        for j in range(outs):
            if enter:
                all_of[(k * outs + j) * width] = one[k * stride + j]
            else:
                one[k * stride + j] = all_of[(k * outs + j) * width]


@kernel
def begin_epoch(lanes: Any, epoch: int, k: int) -> None:
    """What each network does before step `k` of an epoch, the first of it in this call."""
    for m in range(lanes.members):
        run = run_of(lanes, m)
        if run.order != 0 and run.ordered != epoch + 1:
            shuffle(run.order, run.rows, run.seed, epoch)
            run.ordered = epoch + 1
        if k == 0:
            pointer_at(network_of(lanes, m).loss_sum, FLOAT64)[0] = 0.0


@kernel
def end_epoch(lanes: Any, epoch: int) -> None:
    """Keep the mean loss of an epoch."""
    for m in range(lanes.members):
        run = run_of(lanes, m)
        if epoch < run.epochs:
            loss_sum = pointer_at(network_of(lanes, m).loss_sum, FLOAT64)
            pointer_at(run.losses, FLOAT64)[epoch] = loss_sum[0] / run.rows


@kernel
def finish(lanes: Any, step: int, start: int, n: int) -> None:
    """What each network does after a step."""
    for m in range(lanes.members):
        net, run = network_of(lanes, m), run_of(lanes, m)
        loss_sum = pointer_at(net.loss_sum, FLOAT64)
        so_far = loss_sum[0]
        finish_step(net, n)
        if not_finite(loss_sum[0]):
            note_divergence(run, step, so_far, start, 1)


# --- the recursion, for some samples of a batch at a time, so that what they leave stays near ----


@kernel
def forward(lanes: Any, start: int, part: Part, like: Any) -> None:
    """y = x W + b and x = f(y), layer by layer; the batch begins at the `start`-th sample of the epoch."""
    common, x = network_of(lanes, 0), pointer_at(lanes.x, like)
    width, ins, n = width_of(x), layer_of(common, 0).ins, part.last - part.first
    for m in range(width):
        run = run_of(lanes, m if m < lanes.members else 0)
        rows = pointer_at(run.x, like)
        for i in range(n):
            row = row_of(run, start + part.first + i) * ins
            for j in range(ins):
                x[(i * ins + j) * width + m] = rows[row + j]
    for l in range(common.depth):
        layer, arrays = layer_of(common, l), arrays_of(lanes, l)
        ins, row = layer.ins, layer.outs * width
        W, y, out = pointer_at(arrays.W, like), pointer_at(arrays.y, like), pointer_at(arrays.x, like)
        b = pointer_plus(W, ins * row)
        multiply(x, ins * width, width, W, row, width, y, row, width, n, layer.outs, ins, 1, b, 0, width)
        call(layer.f, pointer_at(layer.act, FLOAT64), y, out, n * row)
        x = out


@kernel
def losses(lanes: Any, start: int, part: Part, like: Any) -> None:
    """The losses of each network by its own kernel, and dx of the last layer (see ``loss.batch_losses``)."""
    l = network_of(lanes, 0).depth - 1
    all_x, all_dx = pointer_at(arrays_of(lanes, l).x, like), pointer_at(arrays_of(lanes, l).dx, like)
    x, dx = pointer_at(lanes.out, like), pointer_at(lanes.dout, like)  # a network's own have padding, to be left alone
    outs = layer_of(network_of(lanes, 0), l).outs
    width, first, n = width_of(all_x), part.first, part.last - part.first
    for m in range(lanes.members):
        net, run = network_of(lanes, m), run_of(lanes, m)
        items, t = net.target_items, pointer_at(run.t, like)
        copy_lane(pointer_plus(all_x, m), x, n, outs, outs, width, 0)  # without padding
        if run.order != 0:
            batch_t = pointer_at(net.batch_t, like)
            gather(t, run, start + first, 0, n, items, batch_t)
            t = batch_t
        else:
            t = pointer_plus(t, (start + first) * items)
        its_losses = pointer_plus(pointer_at(net.losses, FLOAT64), first)
        for i in range(n):
            its_losses[i] = 0.0
        call(net.loss, pointer_at(net.loss_self, FLOAT64), x, t, dx, n, outs, outs, its_losses, 1)
        copy_lane(pointer_plus(all_dx, m), dx, n, outs, outs, width, 1)
    divide(all_dx, n * outs * width, part.n)
    for m in range(lanes.members):
        net, run = network_of(lanes, m), run_of(lanes, m)
        if run.weights != 0:
            weigh(net, run, pointer_plus(all_dx, m), start, part, outs * width, width)


@kernel
def backward(lanes: Any, part: Part, like: Any) -> None:
    """db = df(y) * dx, dx = db W' and dW = x' db, from the last layer to the first; dW adds up over the batch."""
    common, width = network_of(lanes, 0), width_of(pointer_at(lanes.x, like))
    n, adds = part.last - part.first, part.first
    for l in range(common.depth - 1, -1, -1):
        layer, arrays = layer_of(common, l), arrays_of(lanes, l)
        ins, outs, row = layer.ins, layer.outs, layer.outs * width
        x, db, dW = pointer_at(lanes.x, like), pointer_at(arrays.db, like), pointer_at(arrays.dW, like)
        call(
            layer.df, pointer_at(layer.act, FLOAT64), pointer_at(arrays.y, like), pointer_at(arrays.x, like),
            pointer_at(arrays.dx, like), db, n * row,
        )  # fmt: skip
        if l > 0:
            W, dx = pointer_at(arrays.W, like), pointer_at(arrays_of(lanes, l - 1).dx, like)
            x = pointer_at(arrays_of(lanes, l - 1).x, like)
            multiply(db, row, width, W, width, row, dx, ins * width, width, n, ins, outs, 0, dx, 0, 0)
        multiply(x, width, ins * width, db, row, width, dW, row, width, ins, outs, n, adds, dW, row, width)
        add_rows(db, pointer_plus(dW, ins * row), n, row, adds)


@kernel
def add_rows(db: Any, total: Any, n: int, row: int, adds: int) -> None:
    """Add the n rows of db up, from `total` on or anew."""
    for j in range(0, row, width_of(db)):
        some = load(total, j) + load(db, j) if adds else load(db, j)
        for i in range(1, n):
            some = some + load(db, i * row + j)
        store(some, total, j)


@kernel
def descend_plainly(lanes: Any, like: Any) -> None:
    """W -= lr dW and b -= lr db, rounded as the network alone does it."""
    common, lr = network_of(lanes, 0), pointer_at(lanes.rates, FLOAT64)
    width = width_of(pointer_at(lanes.x, like))
    for l in range(common.depth):
        arrays, row = arrays_of(lanes, l), layer_of(common, l).outs * width
        W, dW, minus_lr = pointer_at(arrays.W, like), pointer_at(arrays.dW, like), pointer_at(arrays.rates, like)
        begin = layer_of(common, l).ins * row
        for i in range(0, begin, width):
            store(multiply_add(load(minus_lr, i), load(dW, i), load(W, i)), W, i)
        for m in range(lanes.members):
            for j in range(begin + m, begin + row, width):
                W[j] -= lr[m] * dW[j]


@kernel
def descend(lanes: Any, start: int, n: int, like: Any) -> None:
    """The step that an optimiser makes of dW, with penalties and limits."""
    common, width = network_of(lanes, 0), width_of(pointer_at(lanes.x, like))
    for m in range(lanes.members):
        run = run_of(lanes, m)
        network_of(lanes, m).penalty_share = share_of_one(run, start, n) if run.averaged else 1.0
    for l in range(common.depth - 1, -1, -1):
        layer, arrays = layer_of(common, l), arrays_of(lanes, l)
        W, dW, count = pointer_at(arrays.W, like), pointer_at(arrays.dW, like), layer.rows * layer.outs * width
        for m in range(lanes.members):
            penalise(network_of(lanes, m), l, pointer_plus(W, m), pointer_plus(dW, m), width, like)
        call(
            lanes.update, pointer_at(common.update_self, FLOAT64), W, dW, pointer_at(arrays.state, like), count, count,
            pointer_at(arrays.rates, like), pointer_at(common.steps, INT64)[0] + 1.0,
        )  # fmt: skip


@kernel
def penalise(net: Any, l: int, all_W: Any, all_dW: Any, width: int, like: Any) -> None:
    """What penalties and limits make of the gradients of one network: its own affair, in its own memory."""
    layer = layer_of(net, l)
    if layer.l1 != 0 or layer.l2 != 0 or net.clip_value != 0:
        W, dW, outs, stride = pointer_at(layer.W, like), band_of(net, 0, like), layer.outs, layer.stride
        for j in range(outs, stride):
            dW[j] = 0
        for k in range(layer.rows):
            here = k * outs * width
            copy_lane(pointer_plus(all_W, here), pointer_plus(W, k * stride), 1, outs, stride, width, 0)
            copy_lane(pointer_plus(all_dW, here), dW, 1, outs, stride, width, 0)
            adjust(net, layer, k, k + 1, dW, like)
            copy_lane(pointer_plus(all_dW, here), dW, 1, outs, stride, width, 1)


@kernel
def set_rates(lanes: Any, rates: Any, apart: int, like: Any) -> None:
    """Write out the rates of a step for every number of W and b: for plain descent what dW is multiplied by.

    ``rates[m * apart]`` is that of network number m.
    """
    common, lr = network_of(lanes, 0), pointer_at(lanes.rates, FLOAT64)
    width = width_of(pointer_at(lanes.x, like))
    for m in range(width):
        member = m if m < lanes.members else 0
        lr[m] = rates[member * apart]
        for l in range(common.depth):
            layer, every = layer_of(network_of(lanes, member), l), pointer_at(arrays_of(lanes, l).rates, like)
            begin, end = layer.ins * layer.outs * width, layer.rows * layer.outs * width
            plain = lanes.update == 0
            for j in range(m, end, width):
                factor = -1.0 if plain else layer.lr_factor if j < begin else layer.bias_lr_factor
                every[j] = number(every, lr[m] * factor)


@kernel
def multiply(
    a: Any, a_row: int, a_k: int, b: Any, b_k: int, b_column: int, c: Any, c_row: int, c_column: int,
    rows: int, columns: int, depth: int, begins: int, d: Any, d_row: int, d_column: int,
) -> None:  # fmt: skip
    """C = D + A B, or C = A B where nothing `begins`, on tiles (see ``tile.make_lanes_tile``).

    The columns that four do not divide are taken as rows of the transpose, C' = B' A', which has the same sums.
    """
    wide = columns // 4 * 4
    strip(a, a_row, a_k, b, b_k, b_column, c, c_row, c_column, rows, wide, depth, begins, d, d_row, d_column)
    if wide < columns:
        strip(
            pointer_plus(b, wide * b_column), b_column, b_k, a, a_k, a_row, pointer_plus(c, wide * c_column), c_column,
            c_row, columns - wide, rows, depth, begins, pointer_plus(d, wide * d_column), d_column, d_row,
        )  # fmt: skip


@kernel
def strip(
    a: Any, a_row: int, a_k: int, b: Any, b_k: int, b_column: int, c: Any, c_row: int, c_column: int,
    rows: int, columns: int, depth: int, begins: int, d: Any, d_row: int, d_column: int,
) -> None:  # fmt: skip
    """The same for any columns; those that four do not divide take a tile for each number."""
    wide = columns // 4 * 4
    for i in range(0, rows, _HIGH):
        for j in range(0, wide, 4):
            with_b = pointer_plus(b, j * b_column), b_k, b_column
            row = i
            while row < min(rows, i + _HIGH):
                left = min(rows, i + _HIGH) - row
                what = pointer_plus(a, row * a_row), a_row, a_k
                into = pointer_plus(c, row * c_row + j * c_column), c_row, c_column, depth, begins
                added = pointer_plus(d, row * d_row + j * d_column), d_row, d_column
                if left == 4 and _HIGH == 4:
                    _high(*what, *with_b, *into, *added)
                    row += 4
                elif left >= 2:
                    _pair(*what, *with_b, *into, *added)
                    row += 2
                else:
                    _single(*what, *with_b, *into, *added)
                    row += 1
        for row in range(i, min(rows, i + _HIGH)):
            for j in range(wide, columns):
                into = pointer_plus(c, row * c_row + j * c_column), c_row, c_column, depth, begins
                added = pointer_plus(d, row * d_row + j * d_column), d_row, d_column
                with_b = pointer_plus(b, j * b_column), b_k, b_column
                _one(pointer_plus(a, row * a_row), a_row, a_k, *with_b, *into, *added)
