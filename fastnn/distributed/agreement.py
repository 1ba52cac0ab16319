"""What all that train one network together must agree on, seen before the first step.

Each of them describes its network and its rows by `described`; whoever has all the descriptions gives them to
`check_agreement`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import saving
from ..checks import shown
from ..data.tables import column_names
from ..engine.engine import Engine

Described = dict[str, Any]

ROWS = "rows of X"  # the one entry that may differ, and must be above 0
_CURES = {
    "layers": "build the network by the same code everywhere",
    "dtype": "give every network the same dtype",
    "seed": "give all the same seed, or none",
    "columns of X": "cut the rows of one table into parts, not its columns",
    "columns of y": "cut the rows of one table into parts, not its columns",
    "kind of y": "convert all targets before they are cut into parts",
    "dtype of X": "convert all parts alike, as by astype",
    "dtype of y": "convert all parts alike, as by astype",
    "feature_names": "give all parts the same columns in the same order",
}
_MOST_NAMED = 8


def described(engine: Engine | None, X: Any, y: Any, **settings: Any) -> Described:
    """A network, rows for it and settings as a small value, to be compared with those of others.

    Parameters
    ----------
    engine : Engine, optional
        None where only rows are described, as of a part of a table for a network that there is once.
    X, y
        The rows, as the user gave them; what they hold is not looked at.
    **settings
        Numbers, strings, booleans or None, that must be the same everywhere: ``seed=0``, ``batch_size=32``.

    Returns
    -------
    dict
        It can be pickled, and compares by ``==``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import Layer, MSELoss, NeuralNetwork, Tanh
    >>> from fastnn.distributed.agreement import described
    >>> net = NeuralNetwork([Layer(2, 1, Tanh())], MSELoss(), 0.1)
    >>> one = described(net.engine, np.ones((5, 2)), np.ones(5), seed=0)
    >>> one["layers[0].ins"], one["rows of X"], one["columns of X"], one["kind of y"]
    (2, 5, 2, 'values')
    """
    found = {} if engine is None else _of_network(engine)
    rows, columns = _shape(X)
    names = column_names(X)
    return {
        **found,
        ROWS: rows,
        "columns of X": columns,
        "columns of y": _shape(y)[1],
        "kind of y": _kind(y),
        "feature_names": None if names is None else list(names),
        **settings,
    }


def check_agreement(parts: Sequence[Described], who: str = "rank", names: Sequence[Any] | None = None) -> None:
    """See that all descriptions are alike, and that nobody is without rows.

    Parameters
    ----------
    parts : sequence of dict
        From `described`, one for each who trains.
    who : str, default "rank"
        What one of them is called: ``"rank"``, ``"partition"``.
    names : sequence, optional
        Their numbers or names; by default they are counted from 0.

    Raises
    ------
    ValueError
        If they differ, or one has no rows: it says in what, who has which, and how to mend it.

    Examples
    --------
    >>> from fastnn.distributed.agreement import check_agreement
    >>> check_agreement([{"rows of X": 3, "seed": 0}, {"rows of X": 2, "seed": 0}])
    >>> check_agreement([{"rows of X": 3, "seed": 0}, {"rows of X": 2, "seed": 1}])
    Traceback (most recent call last):
    ValueError: the ranks disagree: seed is 0 on rank 0 but 1 on rank 1; expected the same on all: give all the \
same seed, or none
    """
    names = range(len(parts)) if names is None else names
    for key in _keys(parts):
        if key == ROWS:
            continue
        have: list[tuple[Any, list[Any]]] = []  # each value, and who has it
        for name, part in zip(names, parts):
            value = part.get(key)
            group = next((some for known, some in have if type(known) is type(value) and known == value), None)
            if group is None:
                have.append((value, [name]))
            else:
                group.append(name)
        if len(have) > 1:
            (first, some), *others = have
            text = f"{key} is {shown(first)} on {_listed(who, some)}"
            text += "".join(f" but {shown(value)} on {_listed(who, some)}" for value, some in others[:2])
            cure = _CURES.get(key.partition("[")[0], f"give all the same {key.partition('.')[0]}")
            raise ValueError(f"the {who}s disagree: {text}; expected the same on all: {cure}")
    empty = [name for name, part in zip(names, parts) if part.get(ROWS) == 0]
    if empty:
        raise ValueError(
            f"X has no rows on {_listed(who, empty)}; expected at least one on each: deal the rows out anew, as by "
            f"X[rank::size], or take fewer {who}s"
        )


def _keys(parts: Iterable[Described]) -> list[str]:
    return list(dict.fromkeys(key for part in parts for key in part))


def _of_network(engine: Engine) -> Described:
    """Architecture, settings of layers, loss, optimiser, rate and dtype, flat by name: arrays are not in it."""
    try:
        whole = saving.description(engine)
    except TypeError:  # a formula of the user's own that no file could keep
        whole = {
            "dtype": engine.dtype.name,
            "layers": [
                {"is": repr(layer), "ins": layer.ins, "outs": layer.outs, "trainable": layer.trainable}
                for layer in engine.layers
            ],
            "loss": repr(engine.loss), "optimizer": repr(engine.optimizer), "lr": repr(engine.rate),
            "clip_norm": engine.clip_norm, "clip_value": engine.clip_value,
        }  # fmt: skip
    state = {"format", "steps", "epochs", "feature_names"}  # what the first of them gives to all
    return _flat({"layers": len(whole["layers"])} | {k: v for k, v in whole.items() if k not in state | {"layers"}}) | (
        _flat({f"layers[{i}]": layer for i, layer in enumerate(whole["layers"])})
    )


def _flat(tree: Mapping[str, Any], before: str = "") -> Described:
    """The leaves of a description, by path; "settings" and "class" are left out of paths."""
    found: Described = {}
    for key, value in tree.items():
        name = before if before and key == "class" else before if key == "settings" else f"{before}.{key}".lstrip(".")
        if isinstance(value, Mapping):
            found.update(_flat(value, name))
        elif not (key == "fitted" and before):
            found[name] = value
    return found


def _shape(values: Any) -> tuple[int, int]:
    """Rows and columns of what may become an array; of one dimension 1 column."""
    shape = tuple(getattr(values, "shape", ())) or np.shape(values)
    return (int(shape[0]) if shape else 0), (int(np.prod(shape[1:])) if len(shape) > 1 else 1)


def _kind(y: Any) -> str:
    """Whether targets can be class indices, going by their dtype."""
    dtype = getattr(y, "dtype", None)
    kind = np.asarray(y).dtype.kind if dtype is None or not hasattr(dtype, "kind") else dtype.kind
    return "integers" if kind in "iub" else "values"


def _listed(who: str, some: Sequence[Any]) -> str:
    if len(some) == 1:
        return f"{who} {some[0]}"
    more = f" and {len(some) - _MOST_NAMED} more" if len(some) > _MOST_NAMED else ""
    return f"{who}s {', '.join(map(str, some[:_MOST_NAMED]))}{more}"
