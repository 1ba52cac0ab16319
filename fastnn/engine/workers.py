"""Threads, and a flag, that Ctrl-C cannot break.

`threading.Thread`, its `Event` and its `Semaphore` are written in Python. An exception of a signal
handler that comes inside them leaves their locks taken, or given back twice, and whoever asks them
next waits for ever. What is used here the interpreter does as one instruction, between which handlers run.
"""

from __future__ import annotations

import _thread
import contextlib
import math
import queue
import time
from collections.abc import Callable


class Flag:
    """Something that one thread sets and others look at."""

    def __init__(self) -> None:
        self._value = False

    def set(self) -> None:
        """Set it."""
        self._value = True

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._value


class Worker:
    """A thread, which ends at the latest with the process.

    Parameters
    ----------
    work : function
        What it does; an error in it is printed, and ends it.

    Examples
    --------
    >>> from fastnn.engine.workers import Worker
    >>> done = []
    >>> worker = Worker(lambda: done.append(1))
    >>> worker.start()
    >>> worker.join()
    >>> done
    [1]
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = [work]
        self._end: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._begun = self._over = False

    def start(self) -> None:
        """Begin; a RuntimeError if the system has no more threads, or the interpreter is about to end."""
        self._begun = True
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError:
            self._begun = False
            raise

    def is_alive(self) -> bool:
        """Whether it has begun and is not done."""
        return self._begun and not self._over

    def join(self, seconds: float = math.inf) -> None:
        """Wait until it is done, at most so long; not at all if it has not begun."""
        end = time.monotonic() + seconds
        while self.is_alive() and (left := end - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                self._end.get(timeout=min(left, 0.1))  # Windows hears no Ctrl-C in a longer wait

    def _run(self) -> None:
        work = self._work.pop()  # the thread is its last owner
        try:
            work()
        finally:
            del work
            self._over = True
            self._end.put(None)
