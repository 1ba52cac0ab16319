"""What the fits of a search on the same samples share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Fold:
    """The samples of one fold, and whatever is made of them: each thing once, by whichever thread needs it first.

    Parameters
    ----------
    train, test : ndarray of int
        The numbers of the samples to learn from and to score on.
    """

    def __init__(self, train: Any, test: Any) -> None:
        self.train, self.test = train, test
        self._made: dict[Hashable, tuple[tuple[Any, ...], Any]] = {}
        self._own: dict[int, Any] = {}
        self._lock = threading.RLock()  # what is made may ask for other things

    def once(self, what: Hashable, of: tuple[Any, ...], make: Callable[[], T]) -> T:
        """What ``make()`` returns, or returned when it was asked for the same thing of the same objects."""
        key = (what, *map(id, of))
        found = self._made.get(key)
        if found is None:
            with self._lock:
                if key not in self._made:
                    self._made[key] = of, make()  # with the objects, so that their ids stay theirs
                found = self._made[key]
        made: T = found[1]
        return made

    def own(self, *samples: Any) -> tuple[Any, ...]:
        """These samples, which are from now on the fold's: see `owns`."""
        self._own.update((id(some), some) for some in samples)
        return samples

    def owns(self, samples: Any) -> bool:
        """Whether other fits will see the same object."""
        return id(samples) in self._own

    def clear(self) -> None:
        """Forget what was made."""
        self._made.clear()
        self._own.clear()
