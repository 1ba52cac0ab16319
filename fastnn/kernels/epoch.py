"""Loops over samples and batches: whole epochs without Python."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import from_dtype, types

from .compiling import compiled_address, entry_point, inlined_kernel, kernel
from .denormals import flush_denormals, restore_denormals
from .descent import finish_step
from .evaluate import all_finite
from .loss import batch_losses, both_passes, keep_outputs, loss_and_gradient, part_of, share_of_one
from .memory import call, pointer_at, pointer_plus, pointer_to
from .order import INT64, ask_for, batch_start, gather, row_of, shuffle
from .random import STEP
from .records import network_at, run_at
from .recursion import FLOAT64, Part, backward_one, forward_one, layer_of
from .team import assemble, count_step, given_up, leave, meet, steps_taken


@kernel
def train_steps(address: int, run_address: int, begin: int, end: int, rates: Any, who: int) -> bool:
    """Take the steps `begin` to `end` of a training run, counted over all its epochs.

    An epoch is one pass over all rows in so many steps, each on a batch (see ``batch_start``). In
    a shuffled run the rows of epoch e come in the order of ``shuffle(order, seed, e)``. `rates`
    holds the learning rate of each step, or one for all. The sum of the losses of the current
    epoch stays in ``net.loss_sum``, and the mean of a complete one goes to ``run.losses``, as long as
    there is room. Where that sum stops being finite, ``run.diverged`` and what is beside it tell the
    step. ``run.reached`` is the step that it came to: before `end`, where the team was too slow and was given
    up. This is thread number `who` of ``net.team``. Returns False, and has done nothing, if another one
    could not start.
    """
    net, run = network_at(address), run_at(run_address)
    if not assemble(net, who):
        return False
    denormals = flush_denormals()
    loss_sum = pointer_at(net.loss_sum, FLOAT64)
    steps = run.steps  # of one epoch
    step, epoch = begin, begin // steps
    while step < end:
        before = epoch * steps
        first, last = step - before, min(steps, end - before)
        if who == 0:
            if run.order != 0 and run.ordered != epoch + 1:
                shuffle(run.order, run.rows, run.seed, epoch)
                run.ordered = epoch + 1
            if first == 0:
                loss_sum[0] = 0.0
        meet(net)
        scheduled = int(rates.size != 1)
        rate = pointer_plus(pointer_to(rates), scheduled * (step - begin))
        call(net.take_steps, address, run_address, first, last, rate, scheduled, before, who)
        step = before + last
        early = given_up(net)
        if early:
            step = begin + steps_taken(net)
        if who == 0 and step == before + steps and epoch < run.epochs:
            pointer_at(run.losses, FLOAT64)[epoch] = loss_sum[0] / run.rows
        if early:
            break
        epoch += 1
    if who == 0:
        run.reached = step
    restore_denormals(denormals)
    leave(net, who)
    return True


# --- what ``net.take_steps`` may be, with ``tiny`` as the third ------------------------------
# The steps `first` to `last` of an epoch; the k-th has the rate ``rates[(k - first) * rate_step]``.


def _make_online_steps(like: Any) -> Callable[..., None]:
    def online_steps(
        address: int, run_address: int, first: int, last: int, rates: Any, rate_step: int, before: int, who: int
    ) -> None:
        net, run = network_at(address), run_at(run_address)
        loss_sum = pointer_at(net.loss_sum, FLOAT64)
        for k in range(first, last):
            so_far = loss_sum[0]
            train_online(net, run, k, rates[(k - first) * rate_step], like)
            if not_finite(loss_sum[0]):
                note_divergence(run, before + k, so_far, k, 1)

    return online_steps


def _make_batch_steps(like: Any) -> Callable[..., None]:
    def batch_steps(
        address: int, run_address: int, first: int, last: int, rates: Any, rate_step: int, before: int, who: int
    ) -> None:
        net, run = network_at(address), run_at(run_address)
        loss_sum = pointer_at(net.loss_sum, FLOAT64)
        for k in range(first, last):
            so_far = loss_sum[0]
            start, lr = batch_start(run, k), rates[(k - first) * rate_step]
            key = step_key(run.seed, before + k)
            train_batch(address, run, start, batch_start(run, k + 1) - start, lr, key, who, like)
            if who == 0 and not_finite(loss_sum[0]):
                note_divergence(run, before + k, so_far, start, 1)
            if given_up(net):
                break

    return batch_steps


_INDEX = types.int64
STEPS = types.void(_INDEX, _INDEX, _INDEX, _INDEX, types.CPointer(types.float64), _INDEX, _INDEX, _INDEX)


@lru_cache(maxsize=None)
def steps_address(dtype: np.dtype[Any], online: bool) -> int:
    """Address of the compiled steps: the article's, sample by sample, or those of batches and optimisers."""
    make = _make_online_steps if online else _make_batch_steps
    return compiled_address(make(np.empty(0, dtype)), STEPS, f"{make.__name__} {dtype}")


@inlined_kernel
def not_finite(number: float) -> bool:
    """Whether it is NaN or infinite."""
    return number - number != 0


@kernel
def note_divergence(run: Any, step: int, loss_sum: float, count: int, window: int) -> None:
    """Keep the first step after which the sum of the losses is not finite, and the sum before, of `count` samples.

    The step is one of the `window` from this one on.
    """
    if run.diverged < 0:
        run.diverged, run.last_loss, run.last_count, run.window = step, loss_sum, count, window


@inlined_kernel
def train_online(net: Any, run: Any, i: int, lr: float, like: Any) -> None:
    """The body of the article's loop: one step on the i-th sample of the epoch."""
    row = row_of(run, i)
    x = pointer_plus(pointer_at(run.x, like), row * layer_of(net, 0).ins)
    t = pointer_plus(pointer_at(run.t, like), row * net.target_items)
    if run.order != 0:
        ask_for(pointer_at(run.x, like), run, i + 1, layer_of(net, 0).ins)
    out = forward_one(net, x, like)
    if run.weights == 0:
        loss_and_gradient(net, out, t, like)
    else:
        batch_losses(net, run, out, t, i, Part(0, 1, 1, 1, 0, 0), like)
        pointer_at(net.loss_sum, FLOAT64)[0] += pointer_at(net.losses, FLOAT64)[0]
    if run.outputs != 0:
        keep_outputs(net, run, out, i, 0, 1, like)
    backward_one(net, x, lr, like)


@inlined_kernel
def train_batch(address: int, run: Any, start: int, n: int, lr: float, key: int, who: int, like: Any) -> None:
    """One step on n samples, from the `start`-th of the epoch; `key` is that of its random numbers."""
    net = network_at(address)
    x, t = pointer_at(run.x, like), pointer_at(run.t, like)
    ins, items = layer_of(net, 0).ins, net.target_items
    part = part_of(net, n, 1, key, who)
    if run.order != 0:
        x_batch, t_batch = pointer_at(net.batch_x, like), pointer_at(net.batch_t, like)
        gather(x, run, start, part.first, part.last, ins, x_batch)
        gather(t, run, start, part.first, part.last, items, t_batch)
    else:
        x_batch, t_batch = pointer_plus(x, start * ins), pointer_plus(t, start * items)
    if who == 0:  # the others read it after they have met
        net.penalty_share = share_of_one(run, start, n) if run.averaged else 1.0
    both_passes(net, run, x_batch, t_batch, start, part, like)
    call(net.descend, address, x_batch, n, lr, who)
    if who == 0:
        count_step(net, n)
    meet(net)
    if who == 0:
        finish_step(net, n)


@kernel
def step_given(address: int, X: Any, lr: float, who: int) -> bool:
    """One step from the gradients that lie in ``layer.dW``; ``net.loss_sum`` becomes the sum of the penalties.

    X only says the dtype. This is thread number `who` of ``net.team``. Returns False, and has done
    nothing, if another one could not start.
    """
    net = network_at(address)
    if not assemble(net, who):
        return False
    denormals = flush_denormals()
    if who == 0:
        pointer_at(net.loss_sum, FLOAT64)[0] = 0.0
        net.penalty_share = 1.0
    meet(net)
    call(net.descend, address, pointer_to(X), 0, lr, who)
    leave(net, who)
    if who == 0:
        finish_step(net, 0)
    restore_denormals(denormals)
    return True


@kernel
def train_one(address: int, X: Any, T: Any, lr: float) -> tuple[bool, bool, float]:
    """One step on one sample, unless x or t is not finite: (x is, t is, loss)."""
    x_finite, t_finite = all_finite(X), all_finite(T)
    net = network_at(address)
    loss_sum = pointer_at(net.loss_sum, FLOAT64)
    loss_sum[0] = 0.0
    if x_finite and t_finite:
        denormals = flush_denormals()
        out = forward_one(net, pointer_to(X), X)
        loss_and_gradient(net, out, pointer_to(T), X)
        backward_one(net, pointer_to(X), lr, X)
        restore_denormals(denormals)
        pointer_at(net.steps, INT64)[0] += 1
        if not not_finite(loss_sum[0]):
            net.last_loss = loss_sum[0]
    return x_finite, t_finite, loss_sum[0]


@lru_cache(maxsize=None)
def train_one_of(dtype: np.dtype[Any]) -> Callable[[int, Any, Any, float], tuple[bool, bool, float]]:
    """`train_one` for contiguous arrays of `dtype`, which the caller sees to."""
    array = from_dtype(dtype)[:, ::1]
    return entry_point(train_one, types.int64, array, array, types.float64)


@kernel
def step_key(seed: int, step: int) -> int:
    """What sets the random numbers of a step apart from those of all others."""
    return np.int64(np.uint64(seed) + np.uint64(step) * STEP)  # type: ignore[return-value]
