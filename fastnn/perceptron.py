"""`mlp`: a network from a list of sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np

from .checks import flag, fraction, one_for_each_hidden, positive_integer, shown
from .formulas.activations import ActivationFunction, Identity
from .formulas.initializers import generator
from .formulas.losses import LossFunction
from .formulas.names import named
from .formulas.optimizers import Optimizer
from .formulas.schedules import Schedule
from .layers.base import BaseLayer, float_dtype
from .layers.dense import Layer
from .layers.noise import Dropout
from .layers.normalisation import Standardize
from .layers.targets import StandardizeTargets
from .network import NeuralNetwork
from .room import room


def mlp(
    sizes: Iterable[int],
    activation: ActivationFunction | str | Iterable[ActivationFunction | str] = "relu",
    *,
    loss: LossFunction | str = "mse",
    optimizer: Optimizer | str = "adam",
    lr: float | Schedule | None = None,
    dropout: float | Iterable[float] = 0.0,
    l2: float = 0.0,
    standardize: bool = False,
    standardize_targets: bool = False,
    dtype: np.typing.DTypeLike = "float32",
    seed: int | np.random.Generator | None = None,
) -> NeuralNetwork:
    """Make a multi-layer perceptron: a network of fully connected layers, each on top of the one before.

    For anything else build the list of layers yourself (see `NeuralNetwork`); what comes back is one.

    Parameters
    ----------
    sizes : list of int
        The numbers of inputs, of neurons in each hidden layer, and of outputs: ``[784, 128, 10]``. ``[784, 10]``
        has no hidden layer.
    activation : ActivationFunction or str, or a list of one for each hidden layer, default "relu"
        Of the hidden layers. The last layer is linear, `Identity`, as all losses expect it: its outputs are values,
        or logits, of which `NeuralNetwork.predict_proba` makes probabilities.
    loss : LossFunction or str, default "mse"
        ``"cross_entropy"`` for classes, with an output for each; ``"bce"`` for two classes with one output, or for
        an output for each label; ``"mse"``, ``"mae"`` or ``"huber"`` for values, ``"poisson"`` for counts.
    optimizer : Optimizer or str, default "adam"
        How steps are taken.
    lr : float or Schedule, optional
        The learning rate; by default what is usual for the optimiser (`Optimizer.usual_lr`): 0.001 for Adam, 0.01
        for SGD.
    dropout : float, or a list of one for each hidden layer, default 0.0
        The part of each hidden layer's outputs that training drops (see `Dropout`).
    l2 : float, default 0.0
        The penalty ``l2 / 2 * sum(W**2)`` of every layer.
    standardize : bool, default False
        Whether the network learns mean and scale of its inputs from the first samples that it is trained on (see
        `Standardize`). Say True unless the inputs are about as large as 1 already.
    standardize_targets : bool, default False
        The same for targets that are values (see `StandardizeTargets`): say True for prices and the like.
    dtype : "float32" or "float64", default "float32"
        Of weights and arithmetic. Layers that you make yourself are float64, which takes twice the time.
    seed : int, numpy.random.Generator or None
        Where the first weights come from. With an int here, and one for ``seed`` of `NeuralNetwork.fit`, which
        is that of the order of samples and of dropout, a script gives the same bits every time.

    Returns
    -------
    NeuralNetwork

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit, or a name is unknown; what is known is in the error.
    MemoryError
        If the network is larger than the memory.

    Examples
    --------
    >>> import fastnn
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> net = fastnn.mlp([2, 32, 2], "relu", loss="cross_entropy", lr=0.01, seed=0)
    >>> history = net.fit(X, y, epochs=40, seed=0)
    >>> net.evaluate(X, y, "accuracy")["accuracy"] > 0.95
    True
    >>> print(fastnn.mlp([64, 100, 50, 1], ["gelu", "tanh"], dropout=[0.2, 0], standardize=True).summary())
    layer       ins    outs  parameters     bytes  activation
    0            64      64           0         0  Standardize(fitted=False)
    1            64     100       6,500    26,000  GELU()
    2           100     100           0         0  Dropout(rate=0.2)
    3           100      50       5,050    20,200  Tanh()
    4            50       1          51       204  Identity()
    total                        11,601    46,404  float32, MSELoss()
    """
    widths = _widths(sizes)
    pairs = list(zip(widths, widths[1:]))
    hidden = len(pairs) - 1
    activations = one_for_each_hidden(
        activation, "activation", hidden, lambda value, name: named(ActivationFunction, value, name)
    )
    rates = one_for_each_hidden(dropout, "dropout", hidden, fraction)
    rule, dtype, rng = named(Optimizer, optimizer, "optimizer"), float_dtype(dtype), generator(seed)
    layers: list[BaseLayer] = [Standardize()] if flag(standardize, "standardize") else []
    nbytes = sum((ins + 1) * outs for ins, outs in pairs) * dtype.itemsize
    with room(nbytes, f"a network of sizes {shown(widths)}", "smaller sizes"):
        for (ins, outs), act, rate in zip(pairs, [*activations, Identity()], [*rates, 0.0]):
            layers.append(Layer(ins, outs, act, l2=l2, dtype=dtype, seed=rng))
            if rate > 0:
                layers.append(Dropout(rate))
    if flag(standardize_targets, "standardize_targets"):
        layers.append(StandardizeTargets())
    return NeuralNetwork(layers, named(LossFunction, loss, "loss"), rule.usual_lr if lr is None else lr, rule)


def _widths(sizes: Any) -> list[int]:
    """The sizes, checked."""
    expected = "a list of the numbers of inputs, neurons and outputs, such as [784, 128, 10]"
    try:
        if isinstance(sizes, (str, bytes, Mapping, Set)):  # they have no order, or are no numbers
            raise TypeError
        some = list(sizes)
    except TypeError:
        raise TypeError(f"sizes is {shown(sizes)}; expected {expected}") from None
    if len(some) < 2:
        raise ValueError(f"sizes is {shown(sizes)}; expected at least two: {expected}")
    return [positive_integer(size, f"sizes[{i}]") for i, size in enumerate(some)]
