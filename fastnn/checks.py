"""Checks of single settings: values in, the same values out, or an error that names the argument.

A class says beside its parameters what each of them may be, and is `Checked`: whoever sets one, the constructor, a
user later, or a file by way of the constructor, passes the same check::

    class HuberLoss(ElementwiseLoss):
        checked = {"delta": positive_number}

        def __init__(self, delta: float = 1.0) -> None:
            self.delta = delta
"""

from __future__ import annotations

import inspect
import math
import numbers
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Check = Callable[[Any, str], Any]  # the value and its name in; the value as it is kept out


class Checked:
    """An object whose settings are checked whenever they are set.

    Attributes
    ----------
    checked : mapping of str to function
        For each setting the check that it must pass, ``check(value, name)``, which returns the value or raises
        TypeError or ValueError. A class adds its own to those of its bases.

    Examples
    --------
    >>> from fastnn import ActivationFunction
    >>> from fastnn.checks import positive_number
    >>> class Scaled(ActivationFunction):
    ...     checked = {"scale": positive_number}
    ...     def __init__(self, scale=1.0):
    ...         self.scale = scale
    ...     def f(self, x):
    ...         return self.scale * x
    ...     def df(self, x):
    ...         return self.scale + 0 * x
    >>> Scaled(-1)
    Traceback (most recent call last):
    ...
    ValueError: Scaled.scale is -1; expected a finite number above 0
    """

    __slots__ = ()

    checked: Mapping[str, Check] = {}

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        together: dict[str, Check] = {}
        for base in reversed(cls.__mro__):
            together.update(vars(base).get("checked", {}))
        cls.checked = together

    def __setattr__(self, name: str, value: Any) -> None:
        check = type(self).checked.get(name)
        super().__setattr__(name, value if check is None else check(value, f"{type(self).__name__}.{name}"))


def shown(value: Any) -> str:
    """What came, for an error: short, and in one line, whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a number of more digits than Python writes out; an object whose __repr__ fails
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."


def _number(value: Any, name: str, expected: str) -> float:
    """A real number as a float; what is too large is infinite."""
    number = value[()] if isinstance(value, np.ndarray) else value  # the number in an array of no dimension
    if isinstance(number, (bool, np.bool_)) or not isinstance(number, numbers.Real):
        raise TypeError(f"{name} is {shown(value)}; expected {expected}")
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _integer(value: Any, name: str, expected: str) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {shown(value)}; expected {expected}")
    return int(value)


def instance_hint(value: Any) -> str:
    """What to write where a class came and an object of it was expected."""
    return f" (write {value.__name__}(...), not {value.__name__})" if isinstance(value, type) else ""


def learning_rate(value: Any) -> float:
    """A learning rate as a float, or an error."""
    rate = _number(value, "learning_rate", f"a number or a schedule{instance_hint(value)}")
    if not (math.isfinite(rate) and rate >= 0):
        raise ValueError(f"learning_rate is {rate}; expected a finite number of at least 0")
    return rate


def finite_number(value: Any, name: str) -> float:
    """A finite number, or an error."""
    number = _number(value, name, "a finite number")
    if not math.isfinite(number):
        raise ValueError(f"{name} is {shown(value)}; expected a finite number")
    return number


def positive_number(value: Any, name: str) -> float:
    """A finite number above 0, or an error."""
    number = _number(value, name, "a number above 0")
    if not 0 < number < math.inf:
        raise ValueError(f"{name} is {shown(value)}; expected a finite number above 0")
    return number


def not_negative(value: Any, name: str) -> float:
    """A finite number of at least 0, or an error."""
    number = _number(value, name, "a number of at least 0")
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} is {shown(value)}; expected a finite number of at least 0")
    return number


def at_least_one(value: Any, name: str) -> float:
    """A finite number of at least 1, or an error."""
    number = _number(value, name, "a number of at least 1")
    if not 1 <= number < math.inf:
        raise ValueError(f"{name} is {shown(value)}; expected a finite number, at least 1")
    return number


def fraction(value: Any, name: str) -> float:
    """A number from 0 up to, not including, 1, or an error."""
    number = _number(value, name, "a number from 0 up to, not including, 1")
    if not 0 <= number < 1:
        raise ValueError(f"{name} is {shown(value)}; expected a number from 0 up to, not including, 1")
    return number


def share(value: Any, name: str) -> float:
    """A number from 0 to 1, both included, or an error."""
    number = _number(value, name, "a number from 0 to 1")
    if not 0 <= number <= 1:
        raise ValueError(f"{name} is {shown(value)}; expected a number from 0 to 1")
    return number


def between_zero_and_one(value: Any, name: str) -> float:
    """A number between 0 and 1, neither included, or an error."""
    number = _number(value, name, "a number between 0 and 1")
    if not 0 < number < 1:
        raise ValueError(f"{name} is {shown(value)}; expected a number between 0 and 1")
    return number


def between_one_and_two(value: Any, name: str) -> float:
    """A number between 1 and 2, neither included, or an error."""
    number = _number(value, name, "a number between 1 and 2")
    if not 1 < number < 2:
        raise ValueError(f"{name} is {shown(value)}; expected a number between 1 and 2")
    return number


def levels(value: Any, name: str) -> Array:
    """Numbers between 0 and 1, one or many, as an array (k,) that nobody writes into, or an error."""
    try:
        if np.asarray(value).dtype.kind not in "fiu":
            raise TypeError
        array = np.array(value, np.float64).reshape(-1)
    except Exception:  # NumPy asks what it is given for numbers, and that may raise anything
        raise TypeError(f"{name} is {shown(value)}; expected numbers between 0 and 1") from None
    if array.size == 0 or np.ndim(value) > 1 or not np.all((array > 0) & (array < 1)):
        raise ValueError(f"{name} is {shown(value)}; expected numbers between 0 and 1")
    array.flags.writeable = False
    return array


def positive_integer(value: Any, name: str) -> int:
    """A count of at least 1 that 64 bits hold, or an error."""
    number = _integer(value, name, "a positive integer")
    if number < 1:
        raise ValueError(f"{name} is {shown(value)}; expected a positive integer")
    if number >= 2**63:
        raise ValueError(f"{name} is too large; expected a positive integer below 2**63")
    return number


def count(value: Any, name: str) -> int:
    """A count of at least 0 that 64 bits hold, or an error."""
    number = _integer(value, name, "an integer of at least 0")
    if not 0 <= number < 2**63:
        raise ValueError(f"{name} is {shown(value)}; expected an integer of at least 0, below 2**63")
    return number


def seed(value: Any) -> int:
    """A seed as an int, or an error."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"seed is {shown(value)}; expected an integer, or None")
    if not 0 <= value < 2**63:
        raise ValueError(f"seed is {shown(value)}; expected 0 to 2**63 - 1, or None")
    return int(value)


def flag(value: Any, name: str) -> bool:
    """True or False, or an error."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {shown(value)}; expected True or False")
    return bool(value)


def one_of(*words: str) -> Check:
    """The check that a value is one of these words."""
    expected = " or ".join(filter(None, [", ".join(map(repr, words[:-1])), repr(words[-1])]))

    def check(value: Any, name: str) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"{name} is {shown(value)}; expected {expected}")
        return str(value)

    return check


def one_or_many(value: Any, name: str, one: Callable[[Any], bool], expected: str) -> list[Any]:
    """A list of what is given as one, as many in anything that can be gone through once, or as None for none."""
    if value is None:
        return []
    if one(value):
        return [value]
    try:
        return list(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; expected {expected}") from None


def one_for_each_hidden(value: Any, name: str, count: int, check: Check) -> list[Any]:
    """What `check` makes of one value for all `count` hidden layers, or of many, one for each."""
    try:
        values = None if isinstance(value, (str, bytes)) else list(value)
    except TypeError:
        values = None
    if values is None:
        return [check(value, name) for _ in range(max(count, 1))][:count]
    if len(values) != count:
        raise ValueError(
            f"{name} holds {len(values)} values; expected {count}, one for each hidden layer, or a single one"
        )
    return [check(one, f"{name}[{i}]") for i, one in enumerate(values)]


def optional(check: Check) -> Check:
    """The check that a value is None or passes `check`."""
    return lambda value, name: None if value is None else check(value, name)


def text(value: Any, name: str) -> str:
    """A word or more, or an error."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)}; expected a string")
    if not value:
        raise ValueError(f"{name} is {value!r}; expected a string that is not empty")
    return str(value)


def path(value: Any, name: str) -> pathlib.Path:
    """A path, or an error unless it is one."""
    place = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(place, str):
        raise TypeError(f"{name} is {shown(value)}; expected a string or a path")
    if not place or "\0" in place:
        raise ValueError(f"{name} is {shown(value)}; expected the name of a file or a folder")
    return pathlib.Path(place)


def path_text(value: Any, name: str) -> str:
    """A path as a string, or an error unless it is one."""
    path(value, name)
    return os.fspath(value)  # type: ignore[no-any-return]


def function_of(*arguments: str) -> Check:
    """The check that a value is a function of these arguments."""

    def check(value: Any, name: str) -> Any:
        if not callable(value):
            raise TypeError(f"{name} is {shown(value)}; expected a function ({', '.join(arguments)})")
        try:
            signature = inspect.signature(value)
        except (TypeError, ValueError):  # some of those written in C do not say
            return value
        try:
            signature.bind(*arguments)
        except TypeError:
            raise TypeError(f"{name} is a function {signature}; expected one of ({', '.join(arguments)})") from None
        return value

    return check


def an_object_of(cls: type, example: str = "") -> Check:
    """The check that a value is an object of a class; `example` says how to make one of another value."""

    def check(value: Any, name: str) -> Any:
        if not isinstance(value, cls):
            hint = instance_hint(value) or (f" (such as {example})" if example else "")
            raise TypeError(f"{name} is {shown(value)}; expected an object of {cls.__name__}{hint}")
        return value

    return check
