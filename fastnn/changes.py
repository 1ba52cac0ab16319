"""Who has changed: a counter for all, and a stamp for each.

An engine keeps a plan of addresses and parameters between calls (``fastnn.engine.plan``). Instead of
comparing everything on every call, it compares one number, `current`, which moves on whenever an
attribute of any watched object is set. Where it has moved, the stamps of the plan's own objects say
which of them it was, if any: nothing is read anew because somebody else's layer changed.
"""

from __future__ import annotations

from itertools import count
from typing import Any

_changes = count(1)
current: int = 0


def changed(thing: Watched) -> None:
    """Note that `thing` is no longer what it was."""
    global current
    current = now = next(_changes)
    object.__setattr__(thing, "stamp", now)


class Watched:
    """An object whose changed attributes an engine must hear of, but for those in `_unwatched`.

    Attributes
    ----------
    stamp : int
        No two objects have the same, nor one object before and after a change.
    """

    __slots__ = ("stamp",)  # beside the attributes, not among them: vars(self) holds settings alone

    _unwatched: frozenset[str] = frozenset()
    stamp: int

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError(f"{cls.__name__}() takes no arguments")  # Python says so only of classes without __new__
        self = super().__new__(cls)
        object.__setattr__(self, "stamp", next(_changes))
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in self._unwatched:
            changed(self)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        changed(self)

    def __getstate__(self) -> dict[str, Any]:
        """The attributes: a copy has a stamp of its own."""
        return self.__dict__.copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return super().__reduce_ex__(max(protocol, 2))  # the oldest forms know nothing of slots
