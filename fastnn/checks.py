"""Checks of single settings: numbers in, the same numbers out, or an error that names the argument."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def learning_rate(value: Any) -> float:
    """A learning rate as a float, or an error."""
    number = value[()] if isinstance(value, np.ndarray) else value  # the number in an array of no dimension
    if isinstance(number, (bool, np.bool_)) or not isinstance(number, numbers.Real):
        raise TypeError(f"learning_rate is {value!r}; expected a number")
    try:
        rate = float(number)
    except OverflowError:
        rate = math.inf
    if not (math.isfinite(rate) and rate >= 0):
        raise ValueError(f"learning_rate is {rate}; expected a finite number of at least 0")
    return rate


def positive_number(value: Any, name: str) -> float:
    """A finite number above 0, or an error."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} is {value!r}; expected a number above 0")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} is {value}; expected a finite number above 0")
    return float(value)


def positive_integer(value: Any, name: str) -> int:
    """A count of at least 1, or an error."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {value!r}; expected a positive integer")
    if value < 1:
        raise ValueError(f"{name} is {value}; expected a positive integer")
    return int(value)


def seed(value: Any) -> int:
    """A seed as an int, or an error."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"seed is {value!r}; expected an integer, or None")
    if not 0 <= value < 2**63:
        raise ValueError(f"seed is {value}; expected 0 to 2**63 - 1, or None")
    return int(value)


def fraction(value: float, name: str) -> float:
    """A number from 0 up to, not including, 1."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}; expected a number from 0 up to, not including, 1")
    return float(value)


def not_negative(value: float, name: str) -> float:
    """A finite number of at least 0."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} is {value}; expected a finite number of at least 0")
    return float(value)
