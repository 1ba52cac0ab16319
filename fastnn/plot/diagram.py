"""A network as a diagram: its neurons, and its weights as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import Array, positive_integer, shown
from ..extras import needs
from ..network import NeuralNetwork
from .canvas import DARK, DIVERGING, axes_for, colour_bar, colour_map
from .weights import finite_weights

THINNEST, THICKEST = 0.2, 2.8  # points


def network_diagram(
    net: NeuralNetwork,
    *,
    most: int = 16,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    ax: Any = None,
) -> Any:
    """The neurons of a network as circles, its weights as lines: red above 0, blue below, the thicker the larger.

    Parameters
    ----------
    net : NeuralNetwork
    most : int, default 16
        How many neurons of a layer are drawn. Of a larger one it is those with the largest weights, in their order,
        with their numbers; three dots stand for the others.
    input_names, output_names : list of str, optional
        One for each input or output; by default the network's `feature_names`, and numbers.
    ax : matplotlib Axes, optional
        See `fastnn.plot`. Each dense layer is one collection of lines in it.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If there is no dense layer, a weight is not finite, or there is not a name for each input or output.
    TypeError
        If `net` is no `NeuralNetwork`.

    Notes
    -----
    Colour and width are relative to the largest weight of the same layer. Other stages, such as dropout, are named
    under the neurons that they act on.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastnn import mlp, plot
    >>> ax = plot.network_diagram(mlp([784, 16, 16, 10], seed=0), ax=Figure().subplots())
    >>> [len(lines.get_segments()) for lines in ax.collections[:3]]
    [256, 256, 160]
    """
    dense = finite_weights(net)
    most = positive_integer(most, "most")
    weights = [one for _, _, one in dense]
    sizes = [weights[0].shape[1], *(one.shape[0] for one in weights)]
    first = _names(input_names if input_names is not None else net.feature_names, "input_names", sizes[0])
    last = _names(output_names, "output_names", sizes[-1])
    names = {len(weights): last or [str(k) for k in range(sizes[-1])]}
    if first is not None or sizes[0] > most:
        names[0] = first or [str(k) for k in range(sizes[0])]
    strength = [np.linalg.norm(weights[0], axis=0), *(np.linalg.norm(one, axis=1) for one in weights)]
    kept = [np.sort(np.argsort(-one, kind="stable")[:most]) for one in strength]
    tallest = max(map(len, kept))
    heights = [_heights(len(one), size > most, tallest) for one, size in zip(kept, sizes)]

    ax = axes_for(ax, "network_diagram")
    collections = needs("matplotlib.collections", "fastnn.plot.network_diagram", "matplotlib")
    for k, one in enumerate(weights):
        some = one[np.ix_(kept[k + 1], kept[k])]
        relative = (some / (np.abs(some).max() or 1.0)).ravel()
        order = np.argsort(np.abs(relative), kind="stable")  # the strongest lie on top
        ends, starts = (part.ravel() for part in np.meshgrid(heights[k + 1], heights[k], indexing="ij"))
        lines = np.stack([np.stack([np.full(some.size, float(k)), starts], -1),
                          np.stack([np.full(some.size, k + 1.0), ends], -1)], 1)  # fmt: skip
        drawn = collections.LineCollection(
            lines[order],
            array=relative[order],
            cmap=colour_map(DIVERGING),
            linewidths=THINNEST + (THICKEST - THINNEST) * np.abs(relative[order]),
            zorder=1,
        )
        drawn.set_clim(-1, 1)
        ax.add_collection(drawn)
    side = max(2.5, min(10.0, 150 / tallest))
    for k, ys in enumerate(heights):
        ax.plot(np.full(len(ys), k), ys, "o", color="white", markeredgecolor=DARK, markersize=side, zorder=2)
        if sizes[k] > most:
            ax.text(k, -tallest / 2, "\u22ee", ha="center", va="center", fontsize=13)
        for y, neuron in zip(ys, kept[k]) if k in names else ():
            offset, where = (-side / 2 - 3, "right") if k == 0 else (side / 2 + 3, "left")
            ax.annotate(
                names[k][neuron], (k, y), (offset, 0), textcoords="offset points", ha=where, va="center", fontsize=7
            )
        title = _title(net, dense, k, sizes[k], len(kept[k]))
        ax.text(k, tallest / 2 + 0.9, title, ha="center", va="bottom", fontsize=9)
    ax.set(xlim=(-0.35, len(weights) + 0.35), ylim=(-tallest / 2 - 1.0, tallest / 2 + 1.0 + 0.09 * tallest))
    ax.axis("off")
    colour_bar(ax, drawn, "weight / largest of its layer")
    return ax


def _heights(count: int, dots: bool, tallest: int) -> Array:
    """Where the neurons of a column stand, centred around 0, the first on top; dots take the place below."""
    lift = 0.5 if dots and count == tallest else 0.0
    return (count - 1) / 2 - np.arange(count) + lift


def _names(names: Sequence[str] | None, argument: str, count: int) -> list[str] | None:
    """A name for each input or output, or an error."""
    if names is None:
        return None
    if isinstance(names, str) or len(names) != count:
        raise ValueError(f"{argument} is {shown(names)}; expected a list of {count} names")
    return [str(name) for name in names]


def _title(net: NeuralNetwork, dense: list[Any], k: int, size: int, kept: int) -> str:
    """What stands above a column: the size, the activation, and the other stages before the next dense layer."""
    start = 0 if k == 0 else dense[k - 1][0] + 1
    end = dense[k][0] if k < len(dense) else len(net.layers)
    words = "inputs" if k == 0 else type(dense[k - 1][1].act_function).__name__
    others = [type(layer).__name__ for layer in net.layers[start:end]]
    return "\n".join([f"{kept} of {size}" if kept < size else str(size), words, *others])
