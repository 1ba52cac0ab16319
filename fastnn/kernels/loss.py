"""The loss of the outputs, and its gradient, where the backward pass starts; both passes over a batch."""

from __future__ import annotations

from typing import Any

from .compiling import inlined_kernel, kernel
from .memory import call, number, pointer_at, pointer_plus
from .order import row_of
from .recursion import FLOAT64, Part, backward_batch, forward_batch, layer_of, transpose
from .team import meet, share


@inlined_kernel
def loss_and_gradient(net: Any, out: Any, t: Any, like: Any) -> None:
    """Add the loss of one sample to the sum; dx of the last layer is its gradient."""
    final = layer_of(net, net.depth - 1)
    call(
        net.loss, pointer_at(net.loss_self, FLOAT64), out, t, pointer_at(final.dx, like),
        1, final.outs, final.stride, pointer_at(net.loss_sum, FLOAT64), 0,
    )  # fmt: skip


@kernel
def batch_losses(net: Any, run: Any, out: Any, t: Any, start: int, part: Part, like: Any) -> None:
    """The losses of a part of the n samples, and dx of the last layer: the gradient of the mean of all n.

    With the run's weights, that mean is (1 / n) * sum of w_i * loss_i; in a run that is `averaged` it is
    the sum of w_i * loss_i divided by that of w_i. The batch begins at the `start`-th sample of the epoch.
    """
    final, first, last = layer_of(net, net.depth - 1), part.first, part.last
    dx, losses = pointer_at(final.dx, like), pointer_at(net.losses, FLOAT64)
    for i in range(first, last):
        losses[i] = 0.0
    call(
        net.loss, pointer_at(net.loss_self, FLOAT64), pointer_plus(out, first * final.stride),
        pointer_plus(t, first * net.target_items), pointer_plus(dx, first * final.stride),
        last - first, final.outs, final.stride, pointer_plus(losses, first), 1,
    )  # fmt: skip
    divide(pointer_plus(dx, first * final.stride), (last - first) * final.stride, part.n)
    if run.weights != 0:
        weigh(net, run, pointer_plus(dx, first * final.stride), start, part, final.stride, 1)


@kernel
def weigh(net: Any, run: Any, dx: Any, start: int, part: Part, row: int, column: int) -> None:
    """Multiply the losses of a part of the samples, and their dx, by the weights; rows and columns of dx lie so apart.

    The first row is that of the part's first sample.
    """
    outs, losses = layer_of(net, net.depth - 1).outs, pointer_at(net.losses, FLOAT64)
    scale = part.n * share_of_one(run, start, part.n) if run.averaged else 1.0
    for i in range(part.first, part.last):
        w = scale * pointer_at(run.weights, FLOAT64)[row_of(run, start + i)]
        losses[i] *= w
        for j in range(outs):
            place = (i - part.first) * row + j * column
            dx[place] = dx[place] * w


@kernel
def divide(dx: Any, count: int, n: int) -> None:
    """Divide so many gradients by the n samples of a batch."""
    if n & (n - 1) == 0:  # a power of two: the product with its inverse is the same, and quicker
        inverse = number(dx, 1.0 / n)
        for j in range(count if n > 1 else 0):
            dx[j] *= inverse
    else:
        divisor = number(dx, n)  # in float32, too, the quotient is the same as if float64 were rounded
        for j in range(count):
            dx[j] /= divisor


@kernel
def share_of_one(run: Any, start: int, n: int) -> float:
    """What 1 is of the total weight of the n samples from the `start`-th of the epoch; 0 if they weigh nothing."""
    if run.weights == 0:
        return 1.0 / n
    total = 0.0
    for i in range(start, start + n):
        total += pointer_at(run.weights, FLOAT64)[row_of(run, i)]
    return 1.0 / total if total > 0 else 0.0


@kernel
def part_of(net: Any, n: int, training: int, key: int, who: int) -> Part:
    """What thread `who` of the team takes of n samples."""
    first, last = share(n, 2, who, net.team)
    return Part(first, last, n, training, key, who)


@inlined_kernel
def both_passes(net: Any, run: Any, x: Any, t: Any, start: int, part: Part, like: Any) -> None:
    """Forward, loss and backward for the samples at x, from the `start`-th of the epoch; W has not changed yet."""
    transpose(net, part.who, like)
    meet(net)
    out = forward_batch(net, x, part, like)
    batch_losses(net, run, out, t, start, part, like)
    if run.outputs != 0:
        keep_outputs(net, run, out, start, part.first, part.last, like)
    backward_batch(net, x, part, like)
    meet(net)


@kernel
def add_losses(net: Any, n: int) -> None:
    """Add the losses of the n samples of a batch to the sum, one after another."""
    losses, loss_sum = pointer_at(net.losses, FLOAT64), pointer_at(net.loss_sum, FLOAT64)
    total = loss_sum[0]  # not added to in its place: each addition would wait until the one before is in memory
    for i in range(n):
        total += losses[i]
    loss_sum[0] = total


@kernel
def keep_outputs(net: Any, run: Any, out: Any, start: int, first: int, last: int, like: Any) -> None:
    """Keep the outputs of samples `first` to `last` of the batch, each in the row of its sample."""
    final, outputs = layer_of(net, net.depth - 1), pointer_at(run.outputs, like)
    for i in range(first, last):
        row = row_of(run, start + i)
        for j in range(final.outs):
            outputs[row * final.outs + j] = out[i * final.stride + j]
