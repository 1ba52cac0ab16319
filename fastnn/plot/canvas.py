"""What all pictures share: axes, colours, and checks of the arrays that are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Array, shown
from ..extras import needs

CLASSES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#4D4D4D", "#D55E00", "#56B4E9", "#F0E442")  # Okabe and Ito's
DIVERGING = "RdBu_r"
SEQUENTIAL = "viridis"
BLUE, ORANGE, DARK = CLASSES[0], CLASSES[5], "#333333"


def axes_for(ax: Any, name: str) -> Any:
    """The axes to draw into; called when all arguments are checked, so that an error leaves no figure."""
    axes = needs("matplotlib.axes", f"fastnn.plot.{name}", "matplotlib")
    if ax is not None:
        if not isinstance(ax, axes.Axes):
            raise TypeError(f"ax is {shown(ax)}; expected the Axes of matplotlib, one of those plt.subplots() returns")
        return ax
    pyplot = needs("matplotlib.pyplot", f"fastnn.plot.{name}", "matplotlib")
    current = pyplot.gca()
    return pyplot.figure().add_subplot() if current.has_data() else current


def colour_map(name: str) -> Any:
    """A colour map, grey where there is no number."""
    return needs("matplotlib", "fastnn.plot", "matplotlib").colormaps[name].with_extremes(bad="#dddddd")


def class_colours(count: int) -> Array:
    """A colour for each of so many classes: (count, 3), from 0 to 1."""
    colors = needs("matplotlib.colors", "fastnn.plot", "matplotlib")
    if count <= len(CLASSES):
        return np.array([colors.to_rgb(one) for one in CLASSES[:count]])
    return np.asarray(colour_map(SEQUENTIAL)(np.linspace(0, 1, count))[:, :3])


def colour_bar(ax: Any, drawn: Any, label: str) -> None:
    """A scale beside the axes."""
    ax.figure.colorbar(drawn, ax=ax, label=label, fraction=0.046, pad=0.04)


def on_cell(share: float) -> str:
    """The colour of a text on a cell of the sequential map whose number is this part of the largest."""
    return "black" if share > 0.6 else "white"


def numbers(value: Any, name: str, *shape: int | None) -> Array:
    """Finite real numbers in float64, of this shape; None stands for any length, but not for none."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "bifuO":
            raise TypeError
        array = array.astype(np.float64)
        if isinstance(value, np.ma.MaskedArray):
            array[np.ma.getmaskarray(value)] = np.nan
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {shown(value)}; expected numbers") from None
    if array.ndim == 2 and array.shape[1] == 1 and len(shape) == 1:
        array = array[:, 0]  # a column of targets
    right = array.ndim == len(shape) and all(want in (None, have) for have, want in zip(array.shape, shape))
    if not right or not array.size:
        want = ", ".join("n" if one is None else str(one) for one in shape)
        raise ValueError(
            f"{name} is an array of shape {array.shape}; expected ({want}{',' if len(shape) == 1 else ''})"
            f"{' with at least one row' if right else ''}"
        )
    if not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"{name}[{', '.join(map(str, place))}] is {array[place]}; expected finite numbers"
            f"{': leave such rows out' if shape[0] is None else ''}"
        )
    return array


def _is_missing(label: Any) -> bool:
    """Whether it is None, NaN, NaT or pandas' NA, which is neither equal to itself nor not."""
    try:
        return label is None or bool(label != label)
    except TypeError:
        return True


def labels(value: Any, name: str) -> Array:
    """Class labels, one a row: numbers or words, none of them NaN or None."""
    array = np.asarray(value)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or not array.size:
        hint = f"; of one column a class, np.argmax({name}, axis=1) makes them" if array.ndim == 2 else ""
        raise ValueError(f"{name} is an array of shape {array.shape}; expected (n,), a class label a row{hint}")
    missing = [_is_missing(one) for one in array.tolist()]
    if any(missing):
        at = missing.index(True)
        raise ValueError(f"{name}[{at}] is {array[at]}; expected a class label: leave such rows out")
    return array


def indices(value: Array, classes: Array, name: str, whose: str) -> Array:
    """The place of each label in `classes`, or an error that names one that is not there."""
    places = {one: k for k, one in enumerate(classes.tolist())}
    found = [places.get(one, -1) for one in value.tolist()]
    if -1 in found:
        at = found.index(-1)
        raise ValueError(f"{name}[{at}] is {shown(value.tolist()[at])}; expected one of {whose}, {shown(list(places))}")
    return np.array(found, int)
