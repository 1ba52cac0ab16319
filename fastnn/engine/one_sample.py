"""One sample, with as little Python as can be: its output, and the article's step on it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..checks import Array
from ..data.columns import COPY, READY, not_finite, sample_kind, write_sample
from .engine import Engine
from .plan import Plan
from .turns import interrupts_itself


def output_of_one(
    engine: Engine, x: Any, name: str, plan: Plan, shape: tuple[int, int], out_shape: tuple[int, int]
) -> Array | None:
    """The output, of `out_shape`, for x; None if x is no sample of `shape`."""
    if type(x) is np.ndarray and x.dtype is plan.dtype and x.shape == shape and x.flags.carray:
        kind = READY  # as `sample_kind` would say
    elif not (kind := sample_kind(x, shape, plan.dtype)):
        return None
    out: Array = np.empty(out_shape, plan.dtype)
    turns = plan.turns
    with turns.lock:
        if turns.busy:
            return engine.outputs(plan.form.rows(x.reshape(1, -1), name)).reshape(out_shape)
        try:
            turns.busy = True
            finite = plan.forward_sample(plan.address, x if kind == READY else write_sample(x, plan.sample), out)
        finally:
            turns.busy = False
    if not finite:
        raise not_finite(name, x, plan.dtype)
    return out


def train_column(engine: Engine, x: Array, t: Any, plan: Plan) -> float:
    """Take a step on one column; returns the loss before it."""
    lr = engine.rate.lr
    if type(lr) is not float or not 0.0 <= lr < math.inf:
        lr = engine.base_rate()
    kind = sample_kind(x, plan.column, plan.dtype)
    column = x if kind else plan.form.columns(x)
    target_of = engine.loss.target
    turns = plan.turns
    with turns.lock:
        if turns.busy:
            raise interrupts_itself()
        try:
            turns.busy = True
            if kind == COPY:
                column = write_sample(x, plan.sample)
            target, classes = t, False
            if target_of != "values" and isinstance(t, (int, np.integer)) and 0 <= t < plan.target.size:
                plan.class_index[0, 0] = t
                target, classes = plan.class_index_row, True
            else:
                kind = sample_kind(t, plan.output_column, plan.dtype) if target_of != "class" else 0
                if kind == COPY:
                    target = write_sample(t, plan.target)
                elif kind != READY:  # the kernel checks that the others are finite
                    target, classes = plan.form.column_targets(t, 1)
            domain = engine.loss.domain
            if domain is not None and not classes and not domain.holds(target):
                plan.form.in_domain(target.reshape(1, -1), "t")
            plan.expect(classes)
            x_finite, t_finite, loss = plan.train_one(plan.address, column, target, lr)
        finally:
            turns.busy = False
    if not (x_finite and t_finite):
        raise not_finite("t", t, plan.dtype) if x_finite else not_finite("x", x, plan.dtype)
    return loss
