"""The article's module by its names and with its defaults, on the compiled kernels.

A script that was written for the article's ``nn.py`` runs unchanged once ``from nn import ...`` is
``from fastnn.nn import ...``. The classes are fastnn's own, or subclasses of them, so that `Layer` here
also is a `fastnn.Layer` and takes all of its options. Two things are the article's:

- `Layer` draws its first weights as the article does, ``init="article"``: normal with standard deviation
  1 / (outs * ins), biases with 1 / outs.
- `NeuralNetwork.loss` is the loss's formula for whatever NumPy can broadcast.

Notes
-----
These refuse with an error, where the article's classes go on:

- ``nan`` or infinity in x or t, a learning rate below 0, a list of no layers;
- x or t that is no column, as of shape (3,), which NumPy would spread out into a matrix; also a single
  number as the t of many outputs;
- an activation or a loss that does not inherit `ActivationFunction` or `LossFunction`, lacks one of its two
  methods, or is written with what cannot be compiled (`fastnn.FormulaError` names the line);
- another value for ``layer.ins`` or ``layer.outs``, and an array of another shape for ``layer._W``;
- a negative class as a target, which NumPy counts from the end;
- a subclass of `Layer` with a ``forward_pass`` of its own, and a function that is set as ``f`` or ``df`` of one
  object: `train` runs the formulas of the class of a layer's activation, compiled.

``layer._W`` and ``layer._b`` are views of the layer's memory. Written into (``layer._W -= lr * dW``,
``layer._W[0] = 1``), they do what the article's do. An array that is assigned, ``layer._W = W``, is
copied: later changes of W do not reach the layer, and earlier views of ``layer._W`` show the new values.

`predict` and `evaluate` do not call ``forward_pass`` of a subclass of `NeuralNetwork`.

A network that was saved comes back as a `fastnn.NeuralNetwork`, which is the same but for `loss`.

The article is R. G. Serrao, "Neural networks fundamentals with Python" (mathspp.com).

Examples
--------
The article's first demo, a network that learns to return zeros (the seed makes it the same each time):

>>> import numpy as np
>>> from fastnn.nn import NeuralNetwork, Layer, LeakyReLU, MSELoss
>>> rng = np.random.default_rng(0)
>>> net = NeuralNetwork([
...     Layer(2, 4, LeakyReLU(), seed=rng),
...     Layer(4, 4, LeakyReLU(), seed=rng),
...     Layer(4, 3, LeakyReLU(), seed=rng),
... ], MSELoss(), 0.001)
>>> t = np.zeros(shape=(3, 1))
>>> before = net.loss(net.forward_pass(np.ones((2, 1)))[-1], t)
>>> for _ in range(10000):
...     loss = net.train(rng.normal(size=(2, 1)), t)
>>> bool(net.loss(net.forward_pass(np.ones((2, 1)))[-1], t) < before / 100)
True
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import network
from .checks import Array
from .formulas.activations import ActivationFunction, LeakyReLU, Sigmoid
from .formulas.initializers import Initializer, create_bias_vector, create_weight_matrix
from .formulas.losses import CrossEntropyLoss, LossFunction, MSELoss
from .layers import dense

__all__ = [
    "ActivationFunction",
    "CrossEntropyLoss",
    "Layer",
    "LeakyReLU",
    "LossFunction",
    "MSELoss",
    "NeuralNetwork",
    "Sigmoid",
    "create_bias_vector",
    "create_weight_matrix",
    "np",  # which `from nn import *` brings along
]


class Layer(dense.Layer):
    """A `fastnn.Layer` whose first weights and biases are drawn as the article does.

    Parameters
    ----------
    ins, outs, act_function
        As of `fastnn.Layer`.
    init : str or callable, optional, default "article"
        Initialiser of W. With another one than ``"article"``, biases start as those of `fastnn.Layer` do;
        None leaves the choice of W to the activation, as there.
    bias_init, seed, dtype, l1, l2, max_norm, trainable
        As of `fastnn.Layer`.

    Raises
    ------
    TypeError, ValueError
        As `fastnn.Layer` does.

    Examples
    --------
    >>> from fastnn.nn import Layer, LeakyReLU
    >>> layer = Layer(50, 20, LeakyReLU(), seed=0)
    >>> bool(abs(layer._W.std() * 50 * 20 - 1) < 0.1)
    True
    """

    def __init__(
        self,
        ins: int,
        outs: int,
        act_function: ActivationFunction | str,
        *,
        init: str | Initializer | None = "article",
        bias_init: str | Initializer | None = None,
        seed: int | np.random.Generator | None = None,
        dtype: np.typing.DTypeLike = "float64",
        l1: float = 0.0,
        l2: float = 0.0,
        max_norm: float | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(
            ins, outs, act_function, init=init, bias_init=bias_init, seed=seed, dtype=dtype,
            l1=l1, l2=l2, max_norm=max_norm, trainable=trainable,
        )  # fmt: skip


class NeuralNetwork(network.NeuralNetwork):
    """A `fastnn.NeuralNetwork` whose `loss` takes what the article's takes.

    Parameters and everything else are those of `fastnn.NeuralNetwork`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.nn import Layer, LeakyReLU, MSELoss, NeuralNetwork
    >>> net = NeuralNetwork([Layer(2, 3, LeakyReLU())], MSELoss(), 0.1)
    >>> net.loss(np.ones((3, 1)), np.zeros((3, 1)))
    1.0
    >>> float(net.loss(np.ones(1), np.zeros((3, 1))))      # one number against three
    1.0
    """

    def loss(self, values: Any, expected: Any) -> Any:
        """The loss of `values` with targets `expected`: the formula of the loss function.

        Parameters
        ----------
        values : array_like
            Columns (outs, N), as `forward_pass` returns them, or any other shape.
        expected : array_like
            The targets: of the same shape; class indices for a loss of classes; or whatever NumPy can
            broadcast against `values` in the loss's formula.

        Returns
        -------
        float
            For finite columns (outs, N) with their targets, the mean over the columns, as
            `fastnn.NeuralNetwork.loss` computes it. For anything else what the loss function's own
            ``loss(values, expected)`` returns, in NumPy and unchecked, as in the article.

        Raises
        ------
        ValueError, TypeError
            If the formula cannot be computed.
        """
        if self._are_columns(np.asarray(values), np.asarray(expected)):
            return super().loss(values, expected)
        return self.loss_function.loss(values, expected)

    def _are_columns(self, values: Array, expected: Array) -> bool:
        """Whether these are outputs and targets of this network in the form that `train` takes."""
        if values.ndim != 2 or values.shape[0] != self.layers[-1].outs or values.shape[1] == 0:
            return False
        if any(array.dtype.kind not in "fiub" or not np.all(np.isfinite(array)) for array in (values, expected)):
            return False
        target = self.loss_function.target
        if target != "class" and expected.shape == values.shape:
            return True
        count = values.shape[1]
        classes = expected.shape == (count,) or (count == 1 and expected.ndim == 0)
        return target != "values" and classes and expected.dtype.kind in "iub"
