"""How many threads a network may use, and the threads themselves."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from ..checks import positive_integer
from .cores import default_threads

if TYPE_CHECKING:
    from .plan import Plan

MIN_WORK = 200_000  # multiplications of one thread in one step; with less, meeting costs more than it saves
WORTH_STARTING = 20_000_000  # multiplications of one call that repay the start of its threads, some 0.1 ms

_limit: int | None = None
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_pool_free = threading.Lock()


def get_num_threads() -> int:
    """How many threads one call may use.

    What `set_num_threads` was given, else what the environment variable ``FASTNN_NUM_THREADS`` says. By default the
    least of: the cores that this process may run on, the container's share of processor time, and what
    ``OMP_NUM_THREADS``, ``NUMBA_NUM_THREADS``, ``OMP_THREAD_LIMIT``, ``LOKY_MAX_CPU_COUNT`` and ``PYTHON_CPU_COUNT``
    say (joblib's process workers have their limit there); in a worker of a ``multiprocessing.Pool`` 1.

    Raises
    ------
    ValueError
        If ``FASTNN_NUM_THREADS`` is no positive integer.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.get_num_threads() >= 1
    True
    """
    return default_threads() if _limit is None else _limit


def set_num_threads(count: int) -> None:
    """Set how many threads one call may use; small work uses fewer. Results do not depend on it, bit for bit.

    It counts more than all that `get_num_threads` would otherwise look at, and processes forked later keep it.

    Parameters
    ----------
    count : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If it is no positive integer.

    Examples
    --------
    >>> import fastnn
    >>> before = fastnn.get_num_threads()
    >>> fastnn.set_num_threads(1)
    >>> fastnn.set_num_threads(before)
    """
    global _limit
    _limit = positive_integer(count, "count")


def team_size(products: int, steps: int, most: int) -> int:
    """How many threads suit a call of so many steps with so many multiplications each, which `most` could share."""
    if products * steps < WORTH_STARTING:
        return 1
    return max(1, min(get_num_threads(), most, products // MIN_WORK))


def run_team(plan: Plan, size: int, kernel: Callable[[int], bool]) -> None:
    """Run ``kernel(who)`` for the threads 0 to `size` - 1 of a team; this thread is number 0.

    While another network uses the threads, this one does its work alone.
    """
    if size > 1 and _pool_free.acquire(blocking=False):
        try:
            if _run_together(plan, size, kernel):
                return
        finally:
            _pool_free.release()
    plan.muster(1)
    kernel(0)


def _run_together(plan: Plan, size: int, kernel: Callable[[int], bool]) -> bool:
    """`run_team` with the threads of the pool; False, and nothing is done, if one could not start."""
    plan.muster(size)
    others: list[Future[bool]] = []
    try:
        try:
            for who in range(1, size):
                others.append(_workers(size - 1).submit(_member, plan, kernel, who))
        except RuntimeError:  # the system has no more threads, or the interpreter is about to end
            return False
        return kernel(0)
    finally:
        # Those that wait for others may go: an error, or Ctrl-C, came before all had begun. After the
        # first meeting this changes nothing.
        plan.call_off()
        wait(others)


def _member(plan: Plan, kernel: Callable[[int], bool], who: int) -> bool:
    try:
        return kernel(who)
    except BaseException:
        plan.call_off()
        raise


def _workers(count: int) -> ThreadPoolExecutor:
    """A pool of at least so many threads."""
    global _pool, _pool_size
    if _pool is None or _pool_size < count:
        if _pool is not None:
            _pool.shutdown(wait=False)
        _pool, _pool_size = ThreadPoolExecutor(count, "fastnn"), count
    return _pool


def _forget() -> None:
    """A forked process has none of its parent's threads."""
    global _pool, _pool_free
    _pool, _pool_free = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
