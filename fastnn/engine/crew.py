"""Threads that share out pieces of work, and stop together."""

from __future__ import annotations

import contextlib
import contextvars
import queue
from collections.abc import Callable
from functools import partial

from ..checks import positive_integer
from .threads import get_num_threads
from .workers import Flag, Worker


def thread_count(threads: int | None) -> int:
    """`threads`, checked; None stands for `fastnn.get_num_threads`."""
    return get_num_threads() if threads is None else positive_integer(threads, "threads")


def share_out(
    work: Callable[[int], None],
    count: int,
    threads: int,
    interrupt: Flag | None = None,
    finished: Callable[[int], None] | None = None,
) -> None:
    """Do ``work(0)`` to ``work(count - 1)``, each in one of so many threads, and wait for all.

    The calling thread only waits, so that Ctrl-C never falls into a piece of work. Then, and when a
    piece raises an error, `interrupt` is set, no other piece is begun, and those under way are
    waited for; they may look at `interrupt` and end early. The error is raised here.

    Parameters
    ----------
    work : function of a number
    count, threads : int
        With no thread (0) the work is done in the calling one.
    interrupt : Flag, optional
    finished : function of a number, optional
        Called in this thread after each piece, in the order in which they end.

    Examples
    --------
    >>> from fastnn.engine.crew import share_out
    >>> squares = [0] * 5
    >>> def work(i):
    ...     squares[i] = i * i
    >>> share_out(work, count=5, threads=2)
    >>> squares
    [0, 1, 4, 9, 16]
    """
    if threads == 0:
        for number in range(count):
            work(number)
        return
    interrupt = interrupt or Flag()
    numbers = iter(range(count))
    results: queue.SimpleQueue[tuple[int, BaseException | None]] = queue.SimpleQueue()

    def take_turns() -> None:
        for number in numbers:  # the next one is handed out under the GIL
            if interrupt.is_set():
                break
            try:
                work(number)
            except BaseException as error:
                results.put((number, error))
                break
            results.put((number, None))

    crew = []
    for _ in range(min(threads, count)):
        context = contextvars.copy_context()  # with what the caller has set, such as np.errstate
        crew.append(Worker(partial(context.run, take_turns)))
    try:
        for worker in crew:
            worker.start()
        for _ in range(count):
            number, error = _next(results)
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # it knows this frame: the two would keep each other alive
            if finished is not None:
                finished(number)
    finally:
        interrupt.set()
        for worker in crew:
            worker.join()


def _next(results: queue.SimpleQueue[tuple[int, BaseException | None]]) -> tuple[int, BaseException | None]:
    while True:
        with contextlib.suppress(queue.Empty):
            return results.get(timeout=0.1)  # Windows hears no Ctrl-C in a longer wait
