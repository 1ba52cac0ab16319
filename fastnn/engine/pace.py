"""Whether the next stretch of a call is for a team of threads or for one: by the clock, in the calls themselves.

Two threads on two free cores take half the time of one, and a hundred times as long where one of them
waits for a core that another process has. Only the clock tells, and it may change at any moment. So both are
measured. A team that has lost more time against one thread than it had gained lately is given up, within a step,
and is tried again after a time that is long against what it lost, and that grows from one failure to the next. A team
that gains is kept, however slow a single step may be; now and then, and more and more rarely, one
thread shows what it takes now.

The bits do not depend on all this.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

FIRST = 0.03  # seconds of work by one thread, before a team is tried: where it has to wait, that takes nearly as long
FIRST_PRODUCTS = 2e7  # multiplications that take less than about this
SLACK = 1e-3  # seconds that a team may lose: to wake, and to find what it needs in no cache, takes up to half of it
CREDIT = 1e-2  # seconds of what it has gained that a team may lose besides: time slices of others have 3 to 4 ms
FACTOR = 8  # the next try of a team comes after so many times what the last one lost
CHECK = 5e-4  # seconds in which one thread shows what it takes while a team is at work
GAP = 64  # and that comes after so many times as long
LONGEST = 4.0  # seconds between two tries, or checks, at most, unless a single step takes so long
PATIENCE = 1e-3  # seconds for which a team's first thread waits for the others, at least


class Turn(NamedTuple):
    """What the next stretch is.

    Attributes
    ----------
    together : bool
        Whether it is for a team.
    samples : float, default inf
        How many samples it may have, in whole steps.
    a_sample : float
        Seconds that one thread takes for one.
    allowance : float
        Seconds that the team may take longer than one thread, in all, before it is given up.
    patience : float
        Seconds for which its first thread waits for the others to begin.
    """

    together: bool
    samples: float = math.inf
    a_sample: float = 0.0
    allowance: float = math.inf
    patience: float = PATIENCE


ALONE = Turn(False)


class Pace:
    """What is known of one kind of work.

    Parameters
    ----------
    products : int
        Multiplications of a sample.
    step : int, default 1
        Samples of a step: within one, nothing can change.
    clock : function, optional
        The time in seconds; all else that happens here is told by `note`.

    Examples
    --------
    >>> from fastnn.engine.pace import Pace
    >>> pace = Pace(products=1000)
    >>> while not (turn := pace.turn()).together:
    ...     pace.note(turn, samples=1000, seconds=1e-3)  # one thread: a microsecond for each sample
    >>> pace.note(turn, samples=1000, seconds=5e-3)  # the team takes five
    >>> pace.turn().together
    False
    """

    trouble: ClassVar[float] = -math.inf  # until when no kind of work tries its first team: one has just failed

    def __init__(self, products: int, step: int = 1, clock: Callable[[], float] = time.perf_counter) -> None:
        self._step, self._clock = step, clock
        self._first = max(1.0, FIRST_PRODUCTS / products)
        self._alone: deque[float] = deque(maxlen=3)  # seconds a sample of the last stretches of one thread
        self._together = False
        self._tried = False
        self._spent = 0.0  # seconds of all stretches
        self._change = FIRST  # of these: when to try a team, or to see what one thread takes
        self._wait = FIRST  # between two tries
        self._gap = 0.0  # between two checks
        self._credit = 0.0  # seconds that the team has gained lately
        self._gained = 0.0  # and in all, since it was tried

    @property
    def a_sample(self) -> float:
        """Seconds that one thread takes for a sample, where nothing disturbs it."""
        return min(self._alone)

    def turn(self) -> Turn:
        """What the next stretch is to be."""
        if len(self._alone) < 2:  # the first finds nothing in the cache
            return Turn(False, self._first)
        due = self._spent >= self._change
        if due and not self._together and (self._tried or self._clock() >= Pace.trouble):
            self._together = self._tried = True
            self._credit, self._gained, self._gap = 0.0, 0.0, GAP * max(CHECK, self._slack())
            self._change, due = self._spent + self._gap, False
        if self._together and not due:
            allowance = max(0.0, self._credit) + self._slack()
            return Turn(True, math.inf, self.a_sample, allowance, max(PATIENCE, allowance))
        left = CHECK if due else max(CHECK, self._change - self._spent)
        return Turn(False, left / self.a_sample)

    def note(self, turn: Turn, samples: int, seconds: float) -> None:
        """Say what a stretch, as `turn` said, took."""
        self._spent += seconds
        if not turn.together:
            self._alone.append(seconds / samples)
            if self._together:
                self._gap = min(2 * self._gap, LONGEST)
                self._change = self._spent + max(self._gap, GAP * seconds)
            return
        gain = samples * self.a_sample - seconds
        self._gained += gain
        self._credit = min(self._credit + gain, max(CREDIT, 2 * self._slack()))
        if self._credit < -self._slack():
            self._give_up(-self._credit)

    def _slack(self) -> float:
        return max(SLACK, self._step * self.a_sample)

    def _give_up(self, lost: float) -> None:
        self._together = False
        if self._gained > 0:  # it was worth it: this may have been one of the rare long waits of a quiet machine
            self._wait = lost
        else:
            self._wait = max(min(2 * self._wait, max(LONGEST, 4 * FACTOR * lost)), FACTOR * lost)
            Pace.trouble = self._clock() + min(self._wait, 1.0)
        self._change = self._spent + self._wait


@lru_cache(maxsize=256)
def pace_of(kind: str, dtype: np.dtype[Any], team: int, products: int, step: int, calls: int = 0) -> Pace:
    """The one `Pace` of all work of a kind (such as "training") and a size, in whatever network.

    `calls` sets apart what has the same steps, but in calls of other lengths.
    """
    return Pace(products, step)
