"""Between the two passes: the loss of the outputs, and its gradient, where the backward pass starts."""

from __future__ import annotations

from typing import Any

from .compiling import kernel
from .memory import call, pointer_at, pointer_plus
from .order import row_of
from .recursion import FLOAT64, layer_of


@kernel
def loss_and_gradient(net: Any, out: Any, t: Any, n: int, like: Any) -> None:
    """Add the losses of n samples to the sum; dx of the last layer is the gradient of their mean."""
    final = layer_of(net, net.depth - 1)
    call(
        net.loss, pointer_at(net.loss_self, FLOAT64), out, t, pointer_at(final.dx, like),
        n, final.outs, final.stride, pointer_at(net.loss_sum, FLOAT64),
    )  # fmt: skip


@kernel
def weighted_loss(net: Any, run: Any, out: Any, t: Any, start: int, n: int, like: Any) -> None:
    """The same with the run's weights: (1 / n) * sum of w_i * loss_i, and its gradient."""
    final = layer_of(net, net.depth - 1)
    weights, loss_sum = pointer_at(run.weights, FLOAT64), pointer_at(net.loss_sum, FLOAT64)
    dx = pointer_at(final.dx, like)
    so_far = loss_sum[0]
    for i in range(n):
        w = weights[row_of(run, start + i)]
        loss_sum[0] = 0.0
        call(
            net.loss, pointer_at(net.loss_self, FLOAT64), pointer_plus(out, i * final.stride),
            pointer_plus(t, i * net.target_items), pointer_plus(dx, i * final.stride),
            1, final.outs, final.stride, loss_sum,
        )  # fmt: skip
        so_far += w * loss_sum[0]
        for j in range(i * final.stride, i * final.stride + final.outs):
            dx[j] = dx[j] * w / n
    loss_sum[0] = so_far


@kernel
def keep_outputs(net: Any, run: Any, out: Any, start: int, n: int, like: Any) -> None:
    """Keep the outputs of the batch, each in the row of its sample."""
    final, outputs = layer_of(net, net.depth - 1), pointer_at(run.outputs, like)
    for i in range(n):
        row = row_of(run, start + i)
        for j in range(final.outs):
            outputs[row * final.outs + j] = out[i * final.stride + j]
