"""Everything that training changes, in one vector.

Layer by layer it holds the rows of the transposed weights, (ins, outs), and then the biases; of a
normalising layer gamma and beta. A layer that stands in several places is in it once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..checks import Array
from .base import BaseLayer, fitting


def trained(layers: Sequence[BaseLayer]) -> list[BaseLayer]:
    """The layers, each once."""
    return list({id(layer): layer for layer in layers}.values())


def vector_size(layers: Sequence[BaseLayer]) -> int:
    """How many numbers training changes."""
    return sum(layer.parameter_count for layer in trained(layers))


def unpacked(vector: Array, layers: Sequence[BaseLayer]) -> list[Array]:
    """Views of the parts of `vector`, one for each layer: its rows (n, outs), of a `Layer` W' and then b."""
    parts, first = [], 0
    for layer in trained(layers):
        parts.append(vector[first : first + layer.parameter_count].reshape(layer.shape[0], layer.outs))
        first += layer.parameter_count
    return parts


def packed(layers: Sequence[BaseLayer]) -> Array:
    """A copy of all that training changes, (vector_size,)."""
    return np.concatenate([layer.trained_numbers().ravel() for layer in trained(layers)])


def unpack(vector: Array, layers: Sequence[BaseLayer], name: str) -> None:
    """Write `vector`, which errors call `name`, into the layers."""
    if vector.shape != (vector_size(layers),):
        raise ValueError(f"{name} has shape {vector.shape}; expected ({vector_size(layers)},)")
    places = [layer.trained_numbers() for layer in trained(layers)]
    parts = [fitting(name, place, part) for place, part in zip(places, unpacked(vector, layers))]  # all, or none
    for place, part in zip(places, parts):
        place[...] = part
