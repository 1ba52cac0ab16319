"""The order in which an epoch takes the samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiling import inlined_kernel, kernel
from .memory import pointer_at, pointer_plus
from .random import GOLDEN, STEP, mixed
from .tile import prefetch, width_of

INT64 = np.empty(0, np.int64)  # says "int64" to pointer_at


def start_of(run: Any, k: int) -> int:
    """How many samples of an epoch come before its batch number `k`; of records, and in Python of ``Batches``."""
    return min(run.rows, k * run.batch_size + min(k, run.larger))


batch_start = kernel(start_of)


@kernel
def row_of(run: Any, i: int) -> int:
    """The row of the i-th sample of the epoch."""
    return i if run.order == 0 else pointer_at(run.order, INT64)[i]


@kernel
def gather(source: Any, run: Any, start: int, first: int, last: int, items: int, target: Any) -> None:
    """Copy samples `first` to `last`, `items` numbers each, of the batch that begins at sample `start` of the epoch."""
    ahead = max(2, min(8, 32 * width_of(source) // items))  # rows on their way: some thirty cache lines
    for i in range(first, last):
        ask_for(source, run, start + i + ahead, items)
        row = pointer_plus(source, row_of(run, start + i) * items)
        for j in range(items):
            target[i * items + j] = row[j]


@inlined_kernel
def ask_for(source: Any, run: Any, i: int, items: int) -> None:
    """Have the row of the i-th sample of the epoch on its way, if it fills a vector: nothing else expects it."""
    if items >= width_of(source) and i < run.rows:
        row = pointer_plus(source, row_of(run, i) * items)
        for j in range(0, items, width_of(source)):
            prefetch(pointer_plus(row, j))


@kernel
def shuffle(order_address: int, rows: int, seed: int, epoch: int) -> None:
    """Write the permutation of epoch number `epoch` under `seed` into `order`.

    Fisher and Yates (1938), drawing from SplitMix64 (see ``random``) at counter values that seed
    and epoch set apart: any epoch's order can be had without the ones before.
    """
    order = pointer_at(order_address, INT64)
    state = np.uint64(seed) + np.uint64(epoch) * STEP
    for i in range(rows):
        order[i] = i
    for i in range(rows - 1, 0, -1):
        j = np.int64(mixed(state + np.uint64(i) * GOLDEN) % np.uint64(i + 1))
        order[i], order[j] = order[j], order[i]
