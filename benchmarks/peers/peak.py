"""The processor's own peak: multiply-adds on registers, by as many threads as the peers have.

It is measured in the same turns as the peers, since it changes with the clock and with other work on the
machine. Where there is a C compiler it is ``peak.c``; else one of fastnn's register tiles whose operands stay in
the L1 cache.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .compiler import HERE, compiled
from .contestant import Unable
from .workloads import Data, Parameters, Workload

ROUNDS = 20_000


class Peak:
    """See `Contestant`; a unit is `ROUNDS` rounds on every thread, and `result` the operations of one unit."""

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        self.units, self.threads = workload.steps, threads
        try:
            self.work, self.note = _in_c(workload.dtype), "C, registers only"
        except Unable:
            self.work, self.note = _in_numba(workload.dtype), "fastnn's tile"
        self.pool = ThreadPoolExecutor(threads)

    def run(self, passes: int) -> None:
        """See `Contestant`."""
        list(self.pool.map(self.work, [passes * self.units * ROUNDS] * self.threads))

    def result(self) -> list[np.ndarray]:
        """See `Contestant`."""
        return [np.array(self.work(ROUNDS) * self.threads)]


def _in_c(dtype: str) -> Callable[[int], float]:
    import ctypes

    work = getattr(compiled((HERE / "peak.c").read_text(encoding="utf-8"), "-ffp-contract=fast"), f"peak_{dtype}")
    work.argtypes, work.restype = [ctypes.c_long], ctypes.c_double
    return work


def _in_numba(dtype: str) -> Callable[[int], float]:
    import numba

    from fastnn.kernels.cpu import lanes
    from fastnn.kernels.memory import pointer_to
    from fastnn.kernels.tile import make_tile

    rows, vectors, depth = 6, 2, 10_000
    tile = make_tile(rows, vectors)
    width = vectors * lanes(dtype)
    one, zero = np.ones(1, dtype)[0], np.zeros(1, dtype)[0]

    @numba.njit(nogil=True)
    def work(rounds, a, b, c):
        pa, pb, pc = pointer_to(a), pointer_to(b), pointer_to(c)
        for _ in range(rounds // depth):
            tile(pa, 1, 0, pb, 0, pc, width, pc, width, depth, one, zero)
        return 2.0 * rows * width * rounds

    def on_own_memory(rounds: int) -> float:
        return work(rounds, *(np.zeros(rows * width, dtype) for _ in range(3)))

    on_own_memory(depth)
    return on_own_memory
