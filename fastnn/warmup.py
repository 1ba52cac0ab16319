"""Fill the disk cache: compile everything that comes with fastnn, once for all later processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .formulas.activations import ActivationFunction, Identity
from .formulas.component import built_in
from .formulas.losses import LossFunction, MSELoss
from .formulas.optimizers import Optimizer
from .kernels.order import shuffle
from .kernels.products import multiply_address
from .kernels.team import end_call
from .layers.base import BaseLayer
from .layers.dense import Layer
from .layers.stage import Stage
from .network import NeuralNetwork


def warmup(dtype: np.typing.DTypeLike = "float64") -> Iterator[str]:
    """Compile all kernels and formulas for `dtype`; yields the names of the classes as they are ready.

    A kernel is compiled once for every size and depth of network, so tiny networks do.

    Examples
    --------
    >>> from fastnn.warmup import warmup
    >>> {"MSELoss", "Tanh", "Adam", "Dropout"} <= set(warmup("float64"))
    True
    """
    dense, mse = Layer(1, 1, Identity()), MSELoss()

    def network(layers: list[BaseLayer], loss: LossFunction = mse, optimizer: Any = None) -> NeuralNetwork:
        return NeuralNetwork(layers, loss, 0.1, optimizer, dtype=dtype)

    for name, activation in built_in(ActivationFunction).items():
        _exercise(network([Layer(1, 1, activation.example())]), np.zeros((1, 2)))
        yield name
    for name, kind in built_in(LossFunction).items():
        loss = kind.example()
        values = np.full((1, 2), 0.0 if loss.domain is None else loss.domain.example)
        _exercise(network([dense], loss), np.zeros(2, int) if loss.target == "class" else values)
        yield name
    for name, optimizer in built_in(Optimizer).items():
        network([dense], optimizer=optimizer.example()).train(np.zeros((1, 2)), np.zeros((1, 2)), batch_size=2)
        yield name
    for name, stage in built_in(Stage).items():
        layers = [dense, stage.example()] if stage.stands == "last" else [stage.example(), dense]
        network(layers).train(np.zeros((1, 2)), np.zeros((1, 2)), batch_size=2)
        yield name


def _exercise(net: NeuralNetwork, targets: Any) -> None:
    """Call every kernel there is."""
    x = np.zeros((1, 2))
    net.train(x, targets)
    net.train(x, targets, batch_size=2)
    multiply_address(net.dtype, listed=True)  # of batches with many zeros
    net.train(x[:, :1], targets[..., :1])
    net.loss(net.forward_pass(x), targets)
    net.forward_pass(np.zeros((1, 1), net.dtype))
    net.gradients(x, targets)
    end_call(net.engine.plan().address)  # of teams, which nothing as small as this gets
    order = np.zeros(2, np.int64)
    shuffle(order.ctypes.data, order.size, 0, 0)  # of the chunks of data larger than memory
