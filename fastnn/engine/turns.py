"""Turns: the calls of an engine come one after another, whoever makes them.

More than a lock is needed, for three reasons. A signal handler or a finaliser may call a network in
the middle of another call of the same thread, which a lock would make wait for itself: it gets the
lock, finds the engine `busy`, and works with memory of its own. A process may be forked while
another thread has the turn: the fork waits until no engine is in the middle of a step. And Ctrl-C
may come between any two instructions: the lock is only ever taken by ``with turns.lock``, which
Python enters and leaves as one instruction.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref

FORK_SECONDS = 5.0  # how long a fork waits for the calls of other threads; a kernel comes back every 0.1 s

# All that there are, by a number. No WeakSet: it runs Python where an engine dies, and Ctrl-C that comes there is lost
_everyone: dict[int, weakref.ref[Turns]] = {}
_numbers = itertools.count()
_room = 64  # when there are as many, those that are dead are removed
_held: list[Turns] = []  # while a fork is under way


class Turns:
    """See the module.

    Attributes
    ----------
    lock : RLock
        Held by the thread whose turn it is.
    busy : bool
        Whether a call is at work. Only the thread that has the lock may look at it or set it, and finds
        it True where it has interrupted itself.
    number : int
        Later ones have higher numbers. Who takes several turns at once takes them in this order, as a fork does: two
        that wait for each other would wait for ever.
    """

    __slots__ = ("__weakref__", "busy", "lock", "number")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.busy = False
        self.number = next(_numbers)
        _remember(self)


def _remember(turns: Turns) -> None:
    global _room
    _everyone[turns.number] = weakref.ref(turns)
    if len(_everyone) > _room:
        for number, one in tuple(_everyone.items()):
            if one() is None:
                _everyone.pop(number, None)
        _room = 2 * len(_everyone) + 64


def _living() -> list[Turns]:
    return [turns for one in tuple(_everyone.values()) if (turns := one()) is not None]


def interrupts_itself() -> RuntimeError:
    """The error of a call that would train a network in the middle of another call of its thread."""
    return RuntimeError(
        "a signal handler or a finaliser would train this network in the middle of another call of its own thread; "
        "expected predictions, gradients or save there: set a flag, and train when that call is over"
    )


def _before_fork() -> None:
    """Wait until no other thread is in the middle of a step: the child is to have whole networks."""
    deadline = time.monotonic() + FORK_SECONDS
    for turns in _living():
        if turns.lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            _held.append(turns)


def _after_fork() -> None:
    while _held:
        _held.pop().lock.release()


def _in_child() -> None:
    """The child has none of the other threads: what they still hold, nobody will ever give back."""
    held = set(_held)
    _after_fork()
    for turns in _living():
        if turns not in held:
            turns.lock, turns.busy = threading.RLock(), False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
