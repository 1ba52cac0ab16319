"""What a checkpoint holds of a fit: put together with a sum of it all, and read back checked against itself."""

from __future__ import annotations

import json
import os
import reprlib
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import saving
from ..checks import Array

_LARGEST = 2**62  # steps beyond it would leave the integers of the kernels
_NUMBERS = (
    "epoch", "step", "rows", "batch_size", "equal_batches", "shuffled", "seed", "chunk_rows",
    "validation_shuffle", "split_seed", "samples", "held_out", "checksum",
)  # fmt: skip
_OF_MANY = ("ranks", "every")  # of a fit of many processes; 1 in others


class Kept(NamedTuple):
    """A fit as it was after an epoch.

    Attributes
    ----------
    path : str
        The file.
    description, tensors : dict
        As from `fastnn.saving.read`.
    run : dict
        Whole numbers: ``epoch``, how many are complete; ``step``, how many the fit took; what makes it the
        same fit (see `Run.identity`); and the ``checksum`` of all.
    begun_with : float or dict
        The learning rate before the first epoch, as in a description.
    columns : dict
        The history: for each quantity one number an epoch.
    stopped : str
        Why it is finished though epochs were left; empty if it is not.
    callbacks : list of (str, dict)
        For each callback the name of its class, and its state.
    """

    path: str
    description: dict[str, Any]
    tensors: dict[str, Array]
    run: dict[str, int]
    begun_with: Any
    columns: dict[str, list[float]]
    stopped: str
    callbacks: list[tuple[str, dict[str, Any]]]

    @property
    def epoch(self) -> int:
        """How many epochs are complete."""
        return self.run["epoch"]

    def damaged(self, what: str) -> ValueError:
        """The error that says so."""
        return _damaged(self.path, what)

    def other(self, kind: str, what: str) -> ValueError:
        """The error that the file is of another network or fit."""
        return ValueError(
            f"{self.path!r} holds another {kind}: {what}. A fit goes on only with the same network, samples, callbacks "
            "and settings; delete the file to start anew, or take another path"
        )


def _damaged(path: str, what: str) -> ValueError:
    return ValueError(f"{path!r} is damaged: {what}. Delete it to start anew, or take another path")


def read_kept(path: str | os.PathLike[str]) -> Kept:
    """Read a checkpoint.

    Raises
    ------
    ValueError
        If the file is no checkpoint, or does not agree with itself. Arrays and the learning rate, which only
        a network can judge, are left to the caller, and so is the sum (see `checksum`).
    OSError
        If it cannot be read.
    """
    path = os.fspath(path)
    description, tensors = saving.read(path)
    if "run" not in description:
        raise ValueError(f"{path!r} holds a network but no fit to go on with; take another path, or delete it")
    try:
        return _taken_apart(path, description, tensors)
    except _Wrong as wrong:
        raise _damaged(path, str(wrong)) from None


class _Wrong(Exception):
    """An entry is not what it must be."""


def _taken_apart(path: str, description: dict[str, Any], tensors: dict[str, Array]) -> Kept:
    run = _entry(description, "run", dict)
    numbers = {name: _whole(run, name) for name in (*_NUMBERS, *(name for name in _OF_MANY if name in run))}
    for name in ("steps", "epochs"):
        _whole(description, name)
    if "rate" not in run:
        raise _Wrong("its run lacks the rate")
    history = _entry(description, "history", dict)
    epochs, columns = _entry(history, "epoch", list), _entry(history, "columns", dict)
    count = numbers["epoch"]
    if count < 1 or len(epochs) != count or any(type(n) is not int or n != i for i, n in enumerate(epochs, 1)):
        raise _Wrong(f"it has {count} epochs, but its history is of {reprlib.repr(epochs)}")
    for name, column in columns.items():
        if type(column) is not list or len(column) != count or any(type(value) is not float for value in column):
            raise _Wrong(f"the {name!r} of {count} epochs is {reprlib.repr(column)}; expected as many numbers")
    if not np.isfinite(columns.get("loss", np.nan)).all():
        raise _Wrong("its history has no finite loss for each epoch")
    callbacks = []
    for i, one in enumerate(_entry(description, "callbacks", list)):
        prefix = f"callback.{i}."
        arrays = {name.removeprefix(prefix): tensors[name] for name in tensors if name.startswith(prefix)}
        if sorted(arrays) != _entry(one, "arrays", list):
            raise _Wrong(f"the arrays of callback {i} are {sorted(arrays)}; expected {reprlib.repr(one['arrays'])}")
        callbacks.append((_entry(one, "class", str), {**_entry(one, "state", dict), **arrays}))
    known = {f"callback.{i}.{name}" for i, (_, state) in enumerate(callbacks) for name in state}
    if strangers := sorted(name for name in tensors if name.startswith("callback.") and name not in known):
        raise _Wrong(f"it has arrays of no callback: {reprlib.repr(strangers)}")
    stopped = _entry(history, "stopped", str)
    return Kept(path, description, tensors, numbers, run["rate"], columns, stopped, callbacks)


def _entry(thing: Any, name: str, kind: type) -> Any:
    value = thing.get(name) if isinstance(thing, dict) else None
    if type(value) is not kind:
        raise _Wrong(f"its {name!r} is {reprlib.repr(value)}; expected a JSON {kind.__name__}")
    return value


def _whole(thing: Any, name: str) -> int:
    value: int = _entry(thing, name, int)
    if not 0 <= value < (2**63 if name in ("seed", "split_seed") else _LARGEST):
        raise _Wrong(f"its {name!r} is {reprlib.repr(value)}, which is out of range")
    return value


def in_json(value: Any) -> Any:
    """What will be read of a value that is written as JSON, or a TypeError or ValueError."""
    return json.loads(json.dumps(value, default=_number))


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{reprlib.repr(value)} is neither a number, a string, None, a list, a dict nor an array")


def checksum(described: Mapping[str, Any], arrays: Iterable[Array]) -> int:
    """The sum over what a checkpoint says beside what it says of the network, and over arrays, in their order."""
    run = {name: value for name, value in described["run"].items() if name != "checksum"}
    parts = [run, *(described[name] for name in ("history", "callbacks", "steps", "epochs", "lr"))]
    parts += [described["feature_names"]] if described.get("feature_names") else []
    total = zlib.crc32(json.dumps(parts, sort_keys=True).encode())
    for array in arrays:
        total = zlib.crc32(f"{array.dtype.str} {array.shape}".encode(), total)
        total = zlib.crc32(np.ascontiguousarray(array).data, total)
    return total


def difference(mine: Any, then: Any, name: str = "") -> str:
    """In what two JSON values differ first, such as ``"layers[1].outs is 4 but was 3"``; empty if in nothing."""
    if isinstance(mine, dict) and isinstance(then, dict):
        pairs: Iterable[tuple[str, Any, Any]] = (
            (f"{name}.{key}".lstrip("."), mine.get(key), then.get(key)) for key in {**mine, **then}
        )
    elif isinstance(mine, list) and isinstance(then, list) and len(mine) == len(then):
        pairs = ((f"{name}[{i}]", a, b) for i, (a, b) in enumerate(zip(mine, then)))
    else:
        same = type(mine) is type(then) and (mine == then or json.dumps(mine) == json.dumps(then))
        return "" if same else f"{name} is {_short(mine)} but was {_short(then)}"
    return next((found for key, a, b in pairs if (found := difference(a, b, key))), "")


def _short(value: Any) -> str:
    if isinstance(value, dict) and "class" in value:
        return reprlib.repr(value["class"]).strip("'")
    if isinstance(value, list):
        return f"[{len(value)} of them]"
    return reprlib.repr(value)
