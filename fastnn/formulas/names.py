"""Names for activations, losses and optimisers: a string where a class without arguments will do.

Nothing is registered. A class goes by its own name in small letters, without "Loss", and by what it says of itself,
``called = ("leaky_relu",)``; capitals, ``_`` and ``-`` make no difference. Users' own classes have no names: one
passes an object.
"""

from __future__ import annotations

import difflib
from typing import Any

from ..checks import instance_hint, shown
from .component import Component, built_in


def names_of(base: type[Component]) -> dict[str, Any]:
    """fastnn's own classes under `base`, by each of their names; the one to show comes first for each class."""
    found = {}
    kind = base.__name__.removesuffix("Function")
    home = base.__module__.rpartition(".")[0]
    for cls in built_in(base).values():
        if cls.__module__.startswith(f"{home}."):  # those of a door, such as fastnn.sklearn, are its own affair
            own = cls.__name__.removesuffix(kind).lower()
            found.update(dict.fromkeys((*vars(cls).get("called", ()), own, cls.__name__.lower()), cls))
    return found


def named(base: type[Component], value: Any, argument: str) -> Any:
    """The `base` that `value` is, or a new one of the class that it names.

    Parameters
    ----------
    base : type
        `ActivationFunction`, `LossFunction` or `Optimizer`.
    value : object or str
    argument : str
        What the user calls it, for errors.

    Raises
    ------
    TypeError
        If `value` is neither an object of `base` nor a string.
    ValueError
        If no class of `base` has this name, or it needs arguments.

    Examples
    --------
    >>> from fastnn import ActivationFunction
    >>> from fastnn.formulas.names import named
    >>> named(ActivationFunction, "leaky_relu", "activation")
    LeakyReLU(leaky_param=0.1)
    >>> named(ActivationFunction, "rellu", "activation")
    Traceback (most recent call last):
    ...
    ValueError: activation is 'rellu' (did you mean 'relu'?); expected an ActivationFunction, or ...
    """
    if isinstance(value, base):
        return value
    expected = f"{'an' if base.__name__[0] in 'AO' else 'a'} {base.__name__}"
    names = names_of(base)
    if not isinstance(value, str):
        plain = any(value is cls and not cls.required for cls in names.values())
        hint = f" (write {value.__name__}(), not {value.__name__})" if plain else instance_hint(value)
        raise TypeError(f"{argument} is {shown(value)}; expected {expected} or the name of one{hint}")
    keys = {_key(name): name for name in reversed(names)}  # reversed, so that of two that are the same the first stays
    key = _key(value)
    if key not in keys:
        if key in base.elsewhere:
            raise ValueError(f"{argument} is {shown(value)}; {base.elsewhere[key]}")
        near = difflib.get_close_matches(key[:100], keys, 1, 0.65)
        guess = f" (did you mean {keys[near[0]]!r}?)" if near else ""
        shortlist = sorted({cls: name for name, cls in reversed(names.items())}.values())
        raise ValueError(
            f"{argument} is {shown(value)}{guess}; expected {expected}, or one of the names {', '.join(shortlist)}"
        )
    cls = names[keys[key]]
    if cls.required:
        example = ", ".join(f"{name}={setting!r}" for name, setting in cls.required.items())
        raise ValueError(
            f"{argument} is {shown(value)}, but {cls.__name__} needs arguments; write {cls.__name__}({example}) with "
            "those that you want"
        )
    return cls()


def _key(name: str) -> str:
    """What is compared of a name."""
    return name.lower().replace("_", "").replace("-", "")
