"""Predictions for sparse rows, of whose zeros no products are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse

from ..bank import NetworkBank
from ..checks import Array
from ..data.rows import blocks_of
from ..layers.dense import Layer
from ..layers.noise import Dropout
from ..network import NeuralNetwork
from .building import dense_layers

FEW = 0.05  # the part of the numbers that are there up to which SciPy's product is the faster one


def answering(networks: Sequence[NeuralNetwork], X: Any) -> NeuralNetwork | NetworkBank:
    """What answers for all networks where checked rows are asked about."""
    if issparse(X) and X.nnz <= FEW * X.shape[0] * X.shape[1] and all(map(_is_plain, networks)):
        return SparseBank(networks)
    return networks[0] if len(networks) == 1 else NetworkBank(networks)


class SparseBank(NetworkBank):
    """A bank, also of one, that takes rows in CSR form, few of whose numbers are there."""

    def outputs(self, X: Any, *, threads: int | None = None) -> Array:
        """The outputs of every network (K, n_samples, n_outputs) for checked rows X."""
        rows = X.astype(self[0].dtype, copy=False)
        if not np.isfinite(rows.data).all():  # too large for float32: it is said there
            return super().outputs(X, threads=threads)
        with np.errstate(over="ignore", under="ignore"):
            return np.stack([_outputs(net, rows) for net in self])


def _outputs(net: NeuralNetwork, X: Any) -> Array:
    first, *others = dense_layers(net)
    weights, biases = first.weights.T.copy(), first.biases.T
    found = []
    for some in blocks_of(X, max(layer.outs for layer in (first, *others))):
        values = first.act_function.f(some @ weights + biases)
        for layer in others:
            values = layer.forward_pass(values.T).T
        found.append(values)
    return np.concatenate(found)


def _is_plain(net: NeuralNetwork) -> bool:
    """Whether nothing but layers and dropout, which predictions pass over, is between its inputs and its outputs."""
    return all(
        type(layer) is Dropout or (type(layer) is Layer and layer.parametrization == "standard") for layer in net.layers
    )
