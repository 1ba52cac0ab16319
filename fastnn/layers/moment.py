"""One moment of many arrays, for whoever copies or pickles the objects that hold them.

A copy or a pickle asks object after object for its state, and a network in training moves on
meanwhile. So the engine copies all arrays at once, when it is asked, and the layers and the
optimiser's state, when they are asked in turn, give those copies.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable

from ..checks import Array


class _Latest(threading.local):
    moment: weakref.ref[Moment] | None = None


_latest = _Latest()


class Moment:
    """Copies of arrays as they are now.

    It is what `at_moment` gives in this thread for as long as it lives, that is until the pickle or
    the copy whose part it is has been made. The pickle itself holds nothing of it.
    """

    def __init__(self, arrays: Iterable[Array] = ()) -> None:
        self._copies = {id(array): (array, array.copy()) for array in arrays}
        if self._copies:
            _latest.moment = weakref.ref(self)

    def copy_of(self, array: Array) -> Array | None:
        """The copy of `array`, once; None if there is none."""
        _, copy = self._copies.pop(id(array), (array, None))
        return copy

    def __reduce__(self) -> tuple[type[Moment], tuple[()]]:
        return Moment, ()


def at_moment(array: Array) -> Array:
    """A copy of `array`: of the moment at which the engine that is being copied or pickled was asked, or of now."""
    moment = _latest.moment() if _latest.moment is not None else None
    copy = None if moment is None else moment.copy_of(array)
    return array.copy() if copy is None else copy
