"""The gradients of a network, and the memory in which they are computed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..changes import Watched
from ..checks import Array
from ..formulas.losses import LossFunction
from ..kernels.evaluate import gradient_rows
from ..layers.base import BaseLayer
from ..layers.vector import trained, unpacked, vector_size
from .plan import Plan


class Gradients(NamedTuple):
    """What `NeuralNetwork.gradients` returns; the lists are the article's.

    Attributes
    ----------
    dxs : list of ndarray
        ``dxs[i]``, (layers[i].ins, N): gradient with respect to the input of layer i; one more at
        the end, (outs, N), with respect to the network's output.
    dWs, dbs : list of ndarray
        ``dWs[i]`` (outs, ins) and ``dbs[i]`` (outs, 1): with respect to the weights and biases.
    loss : float
        The mean loss of the samples.
    """

    dxs: list[Array]
    dWs: list[Array]
    dbs: list[Array]
    loss: float


class GradientPlan(Plan):
    """A plan with room for every gradient of `capacity` samples. Who calls its methods holds its lock."""

    def __init__(
        self,
        layers: list[BaseLayer],
        loss: LossFunction,
        dtype: np.dtype[Any],
        capacity: int,
        owners: Sequence[Watched],
        lock: threading.Lock,
    ) -> None:
        super().__init__(layers, loss, dtype, capacity, owners, gradients=True, lock=lock)
        self._vector = np.empty(vector_size(layers), self.dtype)
        self._pieces: list[tuple[Array, Array]] = []
        self._more: list[tuple[Array, Array]] = []  # of layers that stand in several places: their gradients add up
        places = {id(layer): place for layer, place in zip(trained(layers), unpacked(self._vector, layers))}
        for layer, dW in zip(layers, self.dWs):
            again = any(place is places[id(layer)] for place, _ in self._pieces)
            (self._more if again else self._pieces).append((places[id(layer)], dW[:, : layer.outs]))
        self._count = 0  # of the samples that the article's arrays are for
        self._inputs = True  # whether the gradient of the network's input is computed

    def refresh(self, owners: Sequence[Watched]) -> None:
        """Read anew what has changed; what a layer that is frozen now had as a gradient is gone."""
        super().refresh(owners)
        for dW in self.dWs:
            dW[...] = 0.0

    def gradients(self, rows: Array, targets: Array, classes: bool, training: bool, seed: int) -> Gradients:
        """All gradients for checked samples, in arrays of their own."""
        loss = self._backward(rows, targets, classes, True, 2 if training else 0, seed)
        if rows.shape[0] != self._count:
            self._make_views(rows.shape[0])
        dxs, dWs, dbs = ([view.copy("K") for view in views] for views in self._views)
        return Gradients(dxs, dWs, dbs, loss)

    def _make_views(self, count: int) -> None:
        """The article's arrays for so many samples, as views of the plan's memory."""
        self._count = count
        sizes = [*(layer.ins for layer in self.layers), self.layers[-1].outs]
        self._views = (
            [dx[:count, :size].T for dx, size in zip(self.dxs, sizes)],
            [dW[:-1, :size].T for dW, size in zip(self.dWs, sizes[1:])],
            [dW[-1:, :size].T for dW, size in zip(self.dWs, sizes[1:])],
        )

    def vector(self, rows: Array, targets: Array, classes: bool) -> tuple[float, Array]:
        """The loss, and the gradient of what training changes in one vector, for checked samples."""
        loss = self._backward(rows, targets, classes, False, 0, 0)
        for place, part in self._pieces:
            place[...] = part
        for place, part in self._more:
            place += part
        return loss, self._vector.copy()

    def _backward(self, rows: Array, targets: Array, classes: bool, inputs: bool, training: int, seed: int) -> float:
        """Compute the gradients; `inputs` says whether that of the network's input is wanted."""
        self.expect(classes)
        if inputs is not self._inputs:
            self._table[0]["dx_in"] = self.dxs[0].ctypes.data if inputs else 0
            self._inputs = inputs
        count: int = rows.shape[0]
        return gradient_rows(self.address, rows, targets, count, training, seed) / count
