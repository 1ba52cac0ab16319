"""What errors and warnings list and count, in the singular or the plural."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

NAMED = 8  # at most


def listed(values: Iterable[Any], noun: str = "", plural: str = "") -> str:
    """Some values, quoted, after their noun.

    Examples
    --------
    >>> from fastnn.words import listed
    >>> listed(["a"], "column"), listed("ab", "column"), listed(range(9))
    ("column 'a'", "columns 'a', 'b'", '0, 1, 2, 3, 4, 5, 6, 7 and 1 more')
    """
    values = list(values)
    word = (noun if len(values) == 1 else plural or f"{noun}s") + " " if noun else ""
    more = f" and {len(values) - NAMED} more" if len(values) > NAMED else ""
    return word + ", ".join(map(repr, values[:NAMED])) + more


def many(count: int, noun: str, plural: str = "") -> str:
    """A number of things.

    Examples
    --------
    >>> from fastnn.words import many
    >>> many(1, "category"), many(2000, "category", "categories"), many(0, "row")
    ('1 category', '2,000 categories', '0 rows')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
