"""Outputs, losses and gradients without an update."""

from __future__ import annotations

from typing import Any

from .compiling import kernel
from .loss import loss_and_gradient
from .memory import call, pointer_at, pointer_plus, pointer_to
from .records import network_at
from .recursion import FLOAT64, backward_batch, forward_batch, forward_one, layer_of


@kernel
def forward_rows(address: int, X: Any, Y: Any, first: int, last: int) -> None:
    """Y[i] = the network's output for row i of X, for the rows `first` to `last`."""
    net = network_at(address)
    x, y = pointer_to(X), pointer_to(Y)
    ins, final = layer_of(net, 0).ins, layer_of(net, net.depth - 1)
    for start in range(first, last, net.capacity):
        n = min(net.capacity, last - start)
        x_start = pointer_plus(x, start * ins)
        out = forward_some(net, x_start, n, X)
        for i in range(n):
            for j in range(final.outs):
                y[(start + i) * final.outs + j] = out[i * final.stride + j]


@kernel
def forward_sample(address: int, X: Any) -> bool:
    """Run the one sample X through the network, to the x of its last layer; False, and not done, if X is not finite."""
    if not all_finite(X):
        return False
    forward_some(network_at(address), pointer_to(X), 1, X)
    return True


@kernel
def forward_some(net: Any, x: Any, n: int, like: Any) -> Any:
    """The inference of n samples, in the form that suits their number."""
    if n == 1 and not net.has_stages:
        return forward_one(net, x, like)
    return forward_batch(net, x, n, 0, 0, like)


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
def gradient_rows(address: int, X: Any, T: Any, n: int, training: int, key: int) -> float:
    """Forward and backward for n samples without an update; returns the sum of their losses."""
    net = network_at(address)
    x, loss_sum = pointer_to(X), pointer_at(net.loss_sum, FLOAT64)
    loss_sum[0] = 0.0
    out = forward_batch(net, x, n, training, key, X)
    loss_and_gradient(net, out, pointer_to(T), n, X)
    backward_batch(net, x, n, 0.0, training, key, X)
    return loss_sum[0]


@kernel
def all_finite(X: Any) -> bool:
    """Whether X holds neither NaN nor infinity (x - x is 0 for every other number)."""
    x = pointer_to(X)
    wrong = 0
    for i in range(X.size):
        wrong += x[i] - x[i] != 0
    return wrong == 0
