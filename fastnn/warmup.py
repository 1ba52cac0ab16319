"""Fill the disk cache: compile everything that comes with fastnn, once for all later processes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np

from .formulas import activations, losses, optimizers
from .formulas.activations import ActivationFunction
from .formulas.losses import LossFunction
from .formulas.optimizers import Optimizer
from .kernels.order import shuffle
from .kernels.products import multiply_address
from .layers import noise, normalisation
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
    dense, mse = Layer(1, 1, activations.Identity()), losses.MSELoss()

    def network(layers: list[BaseLayer], loss: LossFunction = mse, optimizer: Any = None) -> NeuralNetwork:
        return NeuralNetwork(layers, loss, 0.1, optimizer, dtype=dtype)

    for activation in _built_in(activations, ActivationFunction):
        _exercise(network([Layer(1, 1, activation())]), np.zeros((1, 2)))
        yield activation.__name__
    for loss in _built_in(losses, LossFunction):
        _exercise(network([dense], loss()), np.zeros(2, int) if loss.target == "class" else np.zeros((1, 2)))
        yield loss.__name__
    for optimizer in _built_in(optimizers, Optimizer):
        network([dense], optimizer=optimizer()).train(np.zeros((1, 2)), np.zeros((1, 2)), batch_size=2)
        yield optimizer.__name__
    for stage in [*_built_in(noise, Stage), *_built_in(normalisation, Stage)]:
        layer = stage(0.1) if stage in (noise.Dropout, noise.GaussianNoise) else stage()
        network([layer, dense]).train(np.zeros((1, 2)), np.zeros((1, 2)), batch_size=2)
        yield stage.__name__


def _built_in(module: object, base: type) -> list[Any]:
    classes = dict(inspect.getmembers(module, inspect.isclass)).values()
    return sorted(
        {cls for cls in classes if issubclass(cls, base) and not inspect.isabstract(cls)}, key=lambda cls: cls.__name__
    )


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
    order = np.zeros(2, np.int64)
    shuffle(order.ctypes.data, order.size, 0, 0)  # of the chunks of data larger than memory
