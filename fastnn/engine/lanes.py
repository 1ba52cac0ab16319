"""Networks of one shape in the lanes of vectors: which go together, and the memory in which they do."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from ..checks import Array
from ..data.batches import Batches
from ..kernels.blocks import update_block
from ..kernels.cpu import lanes
from ..kernels.fields import numeric_fields, parameter_values
from ..kernels.lanes import train_side_by_side
from ..kernels.products import DEPTH
from ..kernels.records import LANES, LANES_LAYER
from ..layers.base import aligned_zeros
from ..layers.dense import Layer
from .engine import Engine
from .plan import Plan

MOST_NUMBERS = 1024  # weights and biases; larger networks fill vectors by themselves, and together no cache


def enough(members: int, dtype: np.dtype[Any]) -> bool:
    """Whether so many networks are worth it: a lane without one costs as much as one with."""
    return 4 * members >= 3 * lanes(dtype) > 3


def likeness(engine: Engine, batches: Batches) -> Hashable | None:
    """What networks that train side by side have in common, or None where that is not for this one.

    Parameters
    ----------
    engine : Engine
    batches : Batches
        Of an epoch of its fit.
    """
    layers, state, dtype = engine.layers, engine.state, engine.dtype
    sizes = (engine.ins, *(layer.outs for layer in layers))
    if sum(layer.parameter_count for layer in layers) > MOST_NUMBERS or max(sizes) > DEPTH:
        return None
    if not 2 <= batches.largest <= DEPTH or engine.clip_norm is not None:
        return None
    if len(set(map(id, layers))) < len(layers):
        return None
    activations = []
    for layer in layers:
        if not isinstance(layer, Layer) or not layer.trainable or layer.max_norm:
            return None
        activations.append(_formula(layer.act_function, dtype))
    rule = None if state.is_plain else _formula(engine.optimizer, dtype)
    return dtype, sizes, batches, tuple(activations), rule, int(state.steps[0])


def _formula(thing: Any, dtype: np.dtype[Any]) -> Hashable:
    """What a formula's results depend on, beside its arguments."""
    return type(thing), numeric_fields(thing), parameter_values(thing, dtype).tobytes()


class Lanes:
    """The memory of networks that train side by side: see ``kernels.lanes``.

    Parameters
    ----------
    engine : Engine
        Of one of them; the others have the same `likeness`.
    batch_size : int
        Samples of the largest batch.
    function : int
        The address of the steps, from ``kernels.lanes.steps_address``.
    """

    def __init__(self, engine: Engine, batch_size: int, function: int) -> None:
        self._dtype, state, width = engine.dtype, engine.state, lanes(engine.dtype)
        self._kept: list[Array] = []
        self._function = function
        numbers = 0 if state.is_plain else len(state.starts)
        self._table, self._record = np.zeros(len(engine.layers), LANES_LAYER), np.zeros(1, LANES)
        for row, layer in zip(self._table, engine.layers):
            weights = (layer.ins + 1) * layer.outs * width
            for name in ("W", "dW", "rates"):
                row[name] = self._new(weights)
            row["state"] = self._new(numbers * weights)
            for name in ("y", "x", "dx", "db"):
                row[name] = self._new(batch_size * layer.outs * width)
        record = self._record[0]
        record["layers"], record["numbers"] = self._table.ctypes.data, numbers
        record["x"] = self._new(batch_size * engine.ins * width)
        record["out"], record["dout"] = (self._new(batch_size * engine.outs) for _ in range(2))
        self._rates = np.empty(width)
        record["rates"] = self._rates.ctypes.data
        if not state.is_plain:
            record["update"] = update_block(engine.optimizer, self._dtype, many_rates=True)

    def _new(self, count: int) -> int:
        """The address of so many numbers."""
        self._kept.append(aligned_zeros(count, self._dtype))
        return int(self._kept[-1].ctypes.data)

    def train(self, plans: Sequence[Plan], runs: Sequence[int], begin: int, end: int, rates: Array) -> None:
        """Take the steps `begin` to `end` of the runs at these addresses, with the plans of their networks.

        `rates`, float64 (networks, steps) or (networks, 1), are the learning rates.
        """
        networks, addresses = (np.array(some, np.int64) for some in ([plan.address for plan in plans], runs))
        record = self._record[0]
        record["members"] = len(plans)
        record["networks"], record["runs"] = networks.ctypes.data, addresses.ctypes.data
        train_side_by_side(self._function, int(self._record.ctypes.data), begin, end, rates)
