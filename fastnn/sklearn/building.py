"""From an estimator's parameters to a network: layers, first weights, step rule."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from ..checks import Array, one_for_each_hidden
from ..data.columns import real_array
from ..formulas.activations import ActivationFunction, Identity, Sigmoid
from ..formulas.losses import LossFunction
from ..formulas.names import named
from ..formulas.optimizers import SGD, Optimizer
from ..formulas.schedules import Schedule
from ..layers.base import BaseLayer
from ..layers.dense import Layer
from ..layers.noise import Dropout
from ..network import NeuralNetwork
from ..training.guard import finite_layers
from .formulas import AdamOfScikitLearn, Velocity


def hidden_sizes(value: Any) -> list[int]:
    """The sizes of the hidden layers: one number is one layer."""
    sizes = list(value) if hasattr(value, "__iter__") else [value]
    for size in sizes:
        if isinstance(size, (bool, np.bool_)) or not isinstance(size, Integral):
            raise TypeError(f"hidden_layer_sizes holds {size!r}; expected integers")
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return [int(size) for size in sizes]


def hidden_activations(value: Any, count: int) -> list[ActivationFunction]:
    """The activation of each hidden layer: one for all, or a list of one for each."""
    return one_for_each_hidden(
        value, "activation", count, lambda one, name: copy.deepcopy(named(ActivationFunction, one, name))
    )


def dropout_rates(value: Any, count: int) -> list[float]:
    """The rate of dropout after each hidden layer."""
    return one_for_each_hidden(value, "dropout", count, lambda rate, name: float(rate))


def make_network(
    sizes: Sequence[int],
    activations: Sequence[ActivationFunction],
    rates: Sequence[float],
    loss: LossFunction,
    dtype: np.dtype[Any],
) -> NeuralNetwork:
    """A network of layers of these sizes, the inputs first, all of whose weights are 0."""
    layers: list[BaseLayer] = []
    for index, (ins, outs) in enumerate(zip(sizes, sizes[1:])):
        last = index == len(sizes) - 2
        act = Identity() if last else activations[index]
        layers.append(Layer(ins, outs, act, init="zeros", bias_init="zeros", dtype=dtype))
        if not last and rates[index] > 0:
            layers.append(Dropout(rates[index]))
    return NeuralNetwork(layers, copy.deepcopy(loss), 0.0, dtype=dtype)  # the loss given may change, and be others' too


def dense_layers(net: NeuralNetwork) -> list[Layer]:
    """The layers that have weights."""
    return [layer for layer in net.layers if isinstance(layer, Layer)]


def draw_weights(net: NeuralNetwork, rng: np.random.RandomState) -> None:
    """scikit-learn's first weights, the same numbers from the same generator (Glorot and Bengio 2010).

    Weights and biases are uniform within sqrt(6 / (ins + outs)), of sigmoid units sqrt(2 / (ins + outs)); the
    bounds of the last layer are those of the units below it.
    """
    layers = dense_layers(net)
    for index, layer in enumerate(layers):
        units = layers[min(index, max(0, len(layers) - 2))].act_function
        bound = np.sqrt((2.0 if isinstance(units, Sigmoid) else 6.0) / (layer.ins + layer.outs))
        layer.weights = rng.uniform(-bound, bound, (layer.ins, layer.outs)).T
        layer.biases = rng.uniform(-bound, bound, layer.outs).reshape(-1, 1)


def restructured(
    net: NeuralNetwork,
    activations: Sequence[ActivationFunction],
    rates: Sequence[float],
    loss: LossFunction,
    dtype: np.dtype[Any],
) -> NeuralNetwork:
    """A copy with the same weights, and these between and behind them.

    Its optimiser remembers its steps, unless there is another dtype, or dropout in other places.
    """
    net = copy.deepcopy(net)
    dropouts = [layer for layer in net.layers if isinstance(layer, Dropout)]
    layers: list[BaseLayer] = []
    *hidden, last = dense_layers(net)
    for layer, activation, rate in zip(hidden, activations, rates):
        layer.act_function = activation
        layers.append(layer)
        if rate > 0:
            dropout = dropouts.pop(0) if dropouts else Dropout(rate)
            dropout.rate = rate
            layers.append(dropout)
    layers.append(last)
    loss = copy.deepcopy(loss)
    if [type(layer) for layer in layers] == [type(layer) for layer in net.layers] and dtype == net.dtype:
        net.engine.loss = loss
        return net
    again = NeuralNetwork(
        layers, loss, net.lr, net.optimizer, clip_norm=net.clip_norm, clip_value=net.clip_value, dtype=dtype
    )
    again.feature_names = net.feature_names
    return again


def set_weights(net: NeuralNetwork, weights: Sequence[Any], biases: Sequence[Any]) -> None:
    """Set weights (ins, outs) and biases (outs,), all or none, as `coefs_` and `intercepts_` have them.

    Raises
    ------
    ValueError, TypeError
        If they do not fit, or are not finite.
    """
    dense = dense_layers(net)
    for name, arrays in (("coefs_", weights), ("intercepts_", biases)):
        if len(arrays) != len(dense):
            raise ValueError(f"{name} holds {len(arrays)} arrays; expected {len(dense)}, one for each layer")
    for k, (layer, W, b) in enumerate(zip(dense, weights, biases)):
        for name, array, shape in (("coefs_", W, (layer.ins, layer.outs)), ("intercepts_", b, (layer.outs,))):
            real = real_array(array, f"{name}[{k}]")
            if real.shape != shape:
                raise ValueError(f"{name}[{k}] has shape {real.shape}; expected {shape}")
            with np.errstate(over="ignore"):
                check_finite(real.astype(net.dtype), f"{name}[{k}]")
    for layer, W, b in zip(dense, weights, biases):
        layer.weights, layer.biases = np.asarray(W).T, np.reshape(b, (-1, 1))


def check_weights(net: NeuralNetwork) -> None:
    """Raise ValueError if a weight is not finite: they may be written in place."""
    if not finite_layers(net.layers):
        for name, arrays in zip(("coefs_", "intercepts_"), show_weights(net)):
            for k, array in enumerate(arrays):
                check_finite(array, f"{name}[{k}]")


def check_finite(array: Array, name: str) -> None:
    """Raise ValueError unless all numbers of an array of weights are finite."""
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; expected finite weights: write others there, or fit anew")


def step_rule(estimator: Any) -> Optimizer:
    """A new optimiser of the kind that `solver` names, or a copy of the one that it is.

    scikit-learn's own names are scikit-learn's optimisers.
    """
    if isinstance(estimator.solver, Optimizer):
        return copy.deepcopy(estimator.solver)
    if estimator.solver == "adam":
        return AdamOfScikitLearn(beta1=estimator.beta_1, beta2=estimator.beta_2, eps=estimator.epsilon)
    if estimator.solver not in ("sgd", "lbfgs"):
        return named(Optimizer, estimator.solver, "solver")
    if estimator.momentum == 0:
        return SGD()
    return Velocity(momentum=estimator.momentum, nesterov=estimator.nesterovs_momentum)


def first_rate(estimator: Any) -> float | Schedule:
    """The learning rate, or a copy of the schedule in its place."""
    rate = estimator.learning_rate_init
    if not isinstance(rate, Schedule):
        return float(rate)
    if estimator.learning_rate != "constant":
        raise ValueError(
            f"learning_rate is {estimator.learning_rate!r} but learning_rate_init is {rate!r}, a schedule; expected "
            "learning_rate='constant' with it, or a number"
        )
    return copy.deepcopy(rate)


def show_weights(net: NeuralNetwork) -> tuple[list[Array], list[Array]]:
    """Views of the weights (ins, outs) and of the biases (outs,) of each layer."""
    layers = dense_layers(net)
    return [layer.weights.T for layer in layers], [layer.biases[:, 0] for layer in layers]
