"""The weights of a first layer as images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import Array, an_object_of, optional, positive_integer, shown
from ..layers.dense import Layer
from ..network import NeuralNetwork
from .canvas import DIVERGING, axes_for, colour_bar, colour_map


def finite_weights(net: NeuralNetwork) -> list[tuple[int, Layer, Array]]:
    """The places of the dense layers, the layers, and copies of their weights (outs, ins), which are finite."""
    an_object_of(NeuralNetwork)(net, "net")
    found = [
        (k, layer, np.array(layer.weights, float)) for k, layer in enumerate(net.layers) if isinstance(layer, Layer)
    ]
    if not found:
        raise ValueError("net has no dense layer, and so no weights to draw; expected at least one Layer")
    for k, _, weights in found:
        if not np.isfinite(weights).all():
            raise ValueError(
                f"the weights of layers[{k}] are not all finite; expected finite numbers. Training diverged: "
                "take a smaller learning rate, or clip_norm"
            )
    return found


def weight_images(
    net: NeuralNetwork,
    shape: Sequence[int] | None = None,
    *,
    most: int = 64,
    columns: int | None = None,
    ax: Any = None,
) -> Any:
    """What each neuron of the first layer looks for: its weights as an image, red for and blue against.

    Parameters
    ----------
    net : NeuralNetwork
    shape : (height, width), optional
        Of an image of the inputs; by default a square, if their number is one.
    most : int, default 64
        How many neurons are shown: of more, those with the largest weights, in their order.
    columns : int, optional
        How many images stand side by side; by default about as many as one above another.
    ax : matplotlib Axes, optional
        See `fastnn.plot`. All images are tiles of one, on one scale.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the shape does not hold as many numbers as there are inputs, or a weight is not finite.
    TypeError
        If `net` is no `NeuralNetwork`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastnn import mlp, plot
    >>> ax = plot.weight_images(mlp([64, 6, 10], seed=0), ax=Figure().subplots())
    >>> ax.images[0].get_array().shape    # two rows of three images of 8 x 8, a pixel apart
    (17, 26)
    """
    weights = finite_weights(net)[0][2]
    most = positive_integer(most, "most")
    optional(positive_integer)(columns, "columns")
    height, width = _shape(shape, weights.shape[1])
    kept = np.sort(np.argsort(-np.linalg.norm(weights, axis=1), kind="stable")[:most])
    across = min(columns or math.ceil(math.sqrt(len(kept))), len(kept))
    down = math.ceil(len(kept) / across)
    gap = max(1, max(height, width) // 9)
    tiled = np.full((down * (height + gap) - gap, across * (width + gap) - gap), np.nan)
    for place, neuron in enumerate(kept):
        top, left = place // across * (height + gap), place % across * (width + gap)
        tiled[top : top + height, left : left + width] = weights[neuron].reshape(height, width)

    ax = axes_for(ax, "weight_images")
    scale = float(np.abs(weights[kept]).max()) or 1.0
    drawn = ax.imshow(tiled, cmap=colour_map(DIVERGING), vmin=-scale, vmax=scale, interpolation="nearest")
    colour_bar(ax, drawn, "weight")
    of = "" if len(kept) == len(weights) else f", the largest of {len(weights)}"
    ax.set(xticks=[], yticks=[], title=f"first layer: {len(kept)} neurons{of}")
    return ax


def _shape(shape: Sequence[int] | None, inputs: int) -> tuple[int, int]:
    """The height and the width of an image of the inputs."""
    if shape is None:
        side = math.isqrt(inputs)
        if side * side != inputs:
            raise ValueError(f"shape is None but {inputs} inputs are no square; expected shape=(height, width)")
        return side, side
    try:
        height, width = (positive_integer(one, f"shape[{k}]") for k, one in enumerate(shape))
    except ValueError as error:
        if "shape[" in str(error):
            raise
        raise ValueError(f"shape is {shown(shape)}; expected (height, width)") from None
    except TypeError as error:
        if "shape[" in str(error):
            raise
        raise TypeError(f"shape is {shown(shape)}; expected (height, width)") from None
    if height * width != inputs:
        raise ValueError(f"shape is {shown(shape)}, {height * width} numbers; expected {inputs}, one for each input")
    return height, width
