"""How many threads a network may use, and the threads themselves."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from ..checks import positive_integer
from ..kernels.team import ARRIVED, CLOSED, end_call, team_addresses
from .cores import default_threads
from .pace import ALONE, Pace, Turn, pace_of
from .workers import Worker

if TYPE_CHECKING:
    from .plan import Plan

Kernel = Callable[[int, int], bool]  # of the address of a network's record, and the number of a thread

MIN_WORK = 300_000  # multiplications of one thread in one step; with less, meeting costs more than it saves
WORTH_STARTING = 20_000_000  # multiplications of one call that repay the start of its threads, some 0.1 ms

_limit: int | None = None
_own = threading.local()  # its `limit` is that of one thread's calls
_crew: list[Worker] = []  # the threads that wait for calls
_calls: queue.SimpleQueue[tuple[_Call, int]] = queue.SimpleQueue()
_current: _Call | None = None  # the call that uses them


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
    own: int | None = getattr(_own, "limit", None)
    if own is not None:
        return own
    return default_threads() if _limit is None else _limit


def threads_are_set() -> bool:
    """Whether the user has said how many threads to use: by `set_num_threads` or ``FASTNN_NUM_THREADS``."""
    return bool(_limit is not None or os.environ.get("FASTNN_NUM_THREADS"))


@contextlib.contextmanager
def at_most_threads(count: int | None) -> Iterator[None]:
    """Within it, calls of this thread use at most `count` threads; None changes nothing.

    Raises
    ------
    TypeError, ValueError
        If it is no positive integer.
    """
    before = getattr(_own, "limit", None)
    _own.limit = before if count is None else positive_integer(count, "count")
    try:
        yield
    finally:
        _own.limit = before


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
    size = max(1, min(get_num_threads(), most, products // MIN_WORK))
    if size > 1:
        team_addresses()  # compiled before anybody looks at the clock, or the first team would seem slow
    return size


class _Call:
    """One call of a kernel by a team: with numbers of its own, so that whoever comes late finds it over."""

    def __init__(self, plan: Plan, size: int, kernel: Kernel, turn: Turn) -> None:
        self.kernel, self.thread = kernel, threading.get_ident()
        self._record, self._meetings = plan.muster(size, turn)
        self.address = int(self._record.ctypes.data)

    @property
    def is_over(self) -> bool:
        return bool(self._meetings[ARRIVED] >= CLOSED)

    def end(self) -> None:
        """Let nobody in any more, and wait for those that are at work. What has ended does not end again."""
        end_call(self.address)


def run_team(plan: Plan, size: int, kernel: Kernel, turn: Turn = ALONE) -> bool:
    """Run ``kernel(address, who)`` for the threads 0 to `size` - 1 of a team; this thread is number 0.

    `turn` says whether a team is wanted. Returns whether one was tried: while another call
    uses the threads, and where they do not come in time or cannot start, this one does its work alone.
    """
    global _current
    if size > 1 and turn.together and _is_free():
        call = _Call(plan, size, kernel, turn)
        try:
            _current = call
            if _gather(call, size) and kernel(call.address, 0):
                return True
        finally:
            call.end()
            _current = None
        kernel(plan.address, 0)
        return True
    kernel(plan.address, 0)
    return False


def run_call(plan: Plan, size: int, kind: str, products: int, samples: int, kernel: Kernel) -> None:
    """`run_team` for a call of a kind that is one step of so many samples: by a team where that has been quicker."""
    if size == 1:
        kernel(plan.address, 0)
    else:
        pace = pace_of(kind, plan.dtype, size, products, samples)
        run_turn(plan, size, pace, pace.turn(), samples, kernel)


def run_turn(plan: Plan, size: int, pace: Pace, turn: Turn, samples: int, kernel: Kernel) -> None:
    """`run_team` for as many samples of a `pace`, which is told what they took."""
    started = time.perf_counter()
    tried = run_team(plan, size, kernel, turn)
    pace.note(turn if tried else ALONE, samples, time.perf_counter() - started)


def _is_free() -> bool:
    """Whether no call uses the threads.

    Nothing depends on it but time, so there is no lock, which an interrupt could leave taken. Where an
    interrupt came in the way of a call's end, the next one of its thread ends it.
    """
    other = _current
    if other is None or other.is_over:
        return True
    if other.thread == threading.get_ident():
        other.end()
        return True
    return False


def _gather(call: _Call, size: int) -> bool:
    """Tell the others of a call; False if one of them could not start."""
    global _crew
    crew = [thread for thread in _crew if thread.is_alive()]
    try:
        while len(crew) < size - 1:
            crew.append(Worker(partial(_work, _calls)))
            crew[-1].start()
    except RuntimeError:  # the system has no more threads, or the interpreter is about to end
        crew.pop()
    _crew = crew
    if len(crew) < size - 1:
        return False
    for who in range(1, size):
        _calls.put((call, who))
    return True


def _work(calls: queue.SimpleQueue[tuple[_Call, int]]) -> None:
    """What a thread of the crew does for as long as the process lives."""
    while True:
        call, who = calls.get()
        with contextlib.suppress(BaseException):  # it had not begun: the call is called off, or goes on without it
            if not call.is_over:
                call.kernel(call.address, who)
        del call  # it keeps a network's memory alive


def _forget() -> None:
    """A forked process has none of its parent's threads, nor their calls."""
    global _crew, _calls, _current
    _crew, _calls, _current = [], queue.SimpleQueue(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
