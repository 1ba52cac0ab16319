"""What formulas see of an object: its numbers, and the arrays of numbers that they read.

Kernels get them in one array of float64, made anew whenever one of them has changed, so no number is compiled in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .refusal import FormulaError, attributes_read

Fields = tuple[tuple[str, str], ...]


def numeric_fields(instance: object) -> Fields:
    """The attributes of `instance` that a formula can use, by name and kind: its numbers, and the arrays it reads.

    The kind of an array is that of its numbers and how many dimensions it has, as in ``"float 2"``.

    Raises
    ------
    FormulaError
        If formulas read an array that is none of numbers, or has NaN in it, or none or too many of them.
    """
    fields, read = [], None
    for name, value in sorted(vars(instance).items()):
        if isinstance(value, (bool, np.bool_)):
            fields.append((name, "bool"))
        elif isinstance(value, (int, np.integer)):
            fields.append((name, "int"))
        elif isinstance(value, (float, np.floating)):
            fields.append((name, "float"))
        elif isinstance(value, (np.ndarray, list, tuple)):
            read = attributes_read(type(instance), FORMULAS) if read is None else read
            if name in read:
                fields.append((name, _kind_of_array(f"{type(instance).__name__}.{name}", value)))
    return tuple(fields)


FORMULAS = ("f", "df", "df_of_f", "loss", "dloss", "row", "update")
"""The methods that are compiled; others are when one of these calls them."""

MOST_NUMBERS = 2**20
"""Of an array of a formula. In every call all are looked at, whether one has changed."""

_KINDS = {"b": "bool", "i": "int", "f": "float"}  # by that of NumPy's dtype


def _kind_of_array(name: str, array: Any) -> str:
    """What `numeric_fields` says of an array, or an error."""
    wanted = "expected a NumPy array of numbers, or a list or tuple of them, whose rows are equally long"
    if type(array) not in (np.ndarray, np.memmap):
        shown = f"{' '.join(repr(array).split()):.60}"
        raise FormulaError(f"{name}, which a formula reads, is a {type(array).__name__}, {shown}; {wanted}")
    kind = _KINDS.get(array.dtype.kind)
    about = f"{name}, which a formula reads, is an array of dtype {array.dtype} and shape {array.shape}"
    if array.dtype.kind in "iu" and array.dtype.name not in ("int64", "int32"):
        raise FormulaError(
            f"{about}; expected int64, as array.astype(int) is: such small integers, or those without a "
            "sign, wrap around in NumPy, where 0 - 1 is 255, and not in compiled code"
        )
    if kind is None:
        raise FormulaError(f"{about}; {wanted}")
    if not 1 <= array.size <= MOST_NUMBERS:
        raise FormulaError(f"{about}; expected at least 1 and at most {MOST_NUMBERS:,} numbers")
    if kind == "float" and np.isnan(array).any():
        place = np.argwhere(np.isnan(array))[0].tolist()
        raise FormulaError(f"{about}, and has NaN at {place}; expected numbers")
    return f"{kind} {array.ndim}"


def reads(cls: type, name: str) -> bool:
    """Whether a formula of `cls`, or what it calls, reads the attribute `name` of self."""
    return name in attributes_read(cls, FORMULAS)


def as_array(value: Any) -> Any:
    """The array of numbers that a list or tuple is, or the number in an array of no dimensions; else the value."""
    if isinstance(value, np.ndarray):
        return value if value.ndim else value[()]
    try:
        array = np.array(value)
    except ValueError:  # rows of several lengths
        return value
    return array if array.dtype.kind in _KINDS and array.size else value


def arrays_read(instance: object) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of `instance` that its formulas read, by name; see `numeric_fields`."""
    return {name: getattr(instance, name) for name, kind in numeric_fields(instance) if " " in kind}


def place_of(fields: Fields, index: int) -> int:
    """Where field number `index` stands among the parameters.

    A number is one of them. Of an array there are the byte at which its numbers begin, behind all fields, and its
    shape, as int64.
    """
    return sum(1 if " " not in kind else 1 + int(kind.split()[1]) for _, kind in fields[:index])


def parameter_values(instance: object, dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The parameters of `instance` in the order of `numeric_fields` (never of length 0), for a network of `dtype`."""
    fields = numeric_fields(instance)
    parts = [np.zeros(max(1, place_of(fields, len(fields))))]
    for index, (name, kind) in enumerate(fields):
        place, value = place_of(fields, index), getattr(instance, name)
        if " " not in kind:
            try:
                parts[0][place] = float(value)
            except OverflowError:
                raise FormulaError(f"{instance!r} has a number that is too large for a float") from None
            continue
        header = np.array([8 * sum(map(len, parts)), *value.shape])
        parts[0].view(np.int64)[place : place + header.size] = header
        with np.errstate(over="ignore", under="ignore"):  # as numbers by themselves are narrowed
            numbers = value.astype({"float": dtype, "int": np.int64, "bool": np.bool_}[kind.split()[0]])
        parts.append(np.zeros(-(-numbers.nbytes // 8)))
        parts[-1].view(np.uint8)[: numbers.nbytes] = np.frombuffer(numbers.tobytes(), np.uint8)
    return np.concatenate(parts)
