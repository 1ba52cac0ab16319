"""A counter of changes to layers, activations and losses.

A network keeps a plan of addresses and parameters between calls (``fastnn.engine.plan``). Instead of
comparing everything on every call, it compares one number: any attribute that is set on a
watched object moves the number on.
"""

from __future__ import annotations

from itertools import count
from typing import Any

_changes = count(1)
current: int = 0


def changed() -> None:
    """Note that some layer, activation or loss is no longer what it was."""
    global current
    current = next(_changes)


class Watched:
    """An object whose changed attributes a network must hear of, but for those in `_unwatched`."""

    _unwatched: frozenset[str] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in self._unwatched:
            changed()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        changed()
