"""Networks from other libraries: what a graph or a module of theirs says, as a `NeuralNetwork`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from .formulas.losses import LossFunction
from .formulas.optimizers import Optimizer
from .formulas.schedules import Schedule
from .network import NeuralNetwork


def from_onnx(
    path: str | os.PathLike[str],
    loss: LossFunction | None = None,
    learning_rate: float | Schedule = 0.01,
    optimizer: Optimizer | None = None,
    custom: Iterable[type] = (),
) -> NeuralNetwork:
    """A network from an ONNX file: fastnn's own, or of an MLP as PyTorch, skl2onnx and Keras export it (needs onnx).

    Of a network that `NeuralNetwork.to_onnx` wrote the weights are the same bits. An activation is recognised by what
    it computes, however it is written.

    Parameters
    ----------
    path : str or path-like
    loss : LossFunction, optional
        For more training. By default that of the file, if fastnn wrote it; `CrossEntropyLoss` if the graph ends with
        softmax, which is not among the layers then but in ``predict_proba``; `BCEWithLogitsLoss` if it makes labels of
        a sigmoid; else `MSELoss`. Under `BCEWithLogitsLoss` a sigmoid at the end is left to the loss.
    learning_rate, optimizer
        As of `NeuralNetwork`.
    custom : classes, optional
        Your own activations, stages and losses that the file names.

    Returns
    -------
    NeuralNetwork
        An activation that follows no matrix, as behind a normalisation, comes as a `Layer` of the unit matrix that is
        not trained.

    Raises
    ------
    ImportError
        If onnx is not installed.
    FileNotFoundError, OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is no ONNX file, or holds something for which fastnn has no layer: the error names the node.

    Examples
    --------
    >>> import os, tempfile
    >>> import fastnn
    >>> from fastnn import Identity, Layer, MSELoss, NeuralNetwork, ReLU
    >>> net = NeuralNetwork([Layer(4, 8, ReLU()), Layer(8, 1, Identity())], MSELoss(), 0.01)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.to_onnx(os.path.join(folder, "net.onnx"))
    ...     twin = fastnn.from_onnx(os.path.join(folder, "net.onnx"))
    >>> bool((twin.parameters == net.parameters).all())
    True
    """
    from .files import onnx_reading

    layers, loss, names = onnx_reading.from_onnx(path, loss, custom)
    net = NeuralNetwork(layers, loss, learning_rate, optimizer)
    net.feature_names = names
    return net


def from_torch(
    module: Any,
    loss: LossFunction | None = None,
    learning_rate: float | Schedule = 0.01,
    optimizer: Optimizer | None = None,
) -> NeuralNetwork:
    """A network from a module of PyTorch, with copies of its weights (needs torch).

    Parameters
    ----------
    module : torch.nn.Module
        An ``nn.Sequential``, perhaps of others: Linear, Dropout, BatchNorm1d, LayerNorm, Flatten, Identity, the
        activations that fastnn has; Softmax or LogSoftmax at the end; or what `NeuralNetwork.to_torch` returned.
    loss : LossFunction, optional
        For more training; by default `CrossEntropyLoss` if the module ends with softmax, which is in ``predict_proba``
        then, else `MSELoss`. Under `BCEWithLogitsLoss` a sigmoid at the end is left to the loss.
    learning_rate, optimizer
        As of `NeuralNetwork`.

    Returns
    -------
    NeuralNetwork
        Of the module's dtype. Modules whose parameters want no gradient become layers that are not `trainable`. An
        activation that follows no Linear comes as a `Layer` of the unit matrix that is not trained.

    Raises
    ------
    ImportError
        If torch is not installed.
    TypeError, ValueError
        If `module` is none, or holds something for which fastnn has no layer: the error names it.

    Examples
    --------
    >>> import torch, fastnn
    >>> module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> net = fastnn.from_torch(module, fastnn.CrossEntropyLoss(), 0.001, fastnn.Adam())
    >>> net.predict([[0.5, 0.0, -1.0, 2.0]]).shape
    (1, 2)
    """
    from .files import torch

    layers, loss = torch.from_torch(module, loss)
    return NeuralNetwork(layers, loss, learning_rate, optimizer)


def from_keras(
    model: Any,
    loss: LossFunction | None = None,
    learning_rate: float | Schedule = 0.01,
    optimizer: Optimizer | None = None,
) -> NeuralNetwork:
    """A network from a ``Sequential`` of Keras, with copies of its weights (needs keras).

    Parameters
    ----------
    model : keras.Sequential
        Of Dense, Activation, ReLU, LeakyReLU, ELU, Softmax, Dropout, GaussianNoise, BatchNormalization,
        LayerNormalization, Normalization, Rescaling and Flatten; perhaps with others within.
    loss, learning_rate, optimizer
        As of `from_torch`.

    Returns
    -------
    NeuralNetwork
        With layers that are `trainable` as those of Keras are.

    Raises
    ------
    ImportError
        If keras is not installed.
    TypeError, ValueError
        If `model` is none, is not built, or holds something for which fastnn has no layer: the error names it.

    Examples
    --------
    >>> import keras, fastnn
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
    >>> fastnn.from_keras(model).predict([[0.5, 0.0, -1.0, 2.0]]).shape
    (1, 1)
    """
    from .files import keras

    layers, loss = keras.from_keras(model, loss)
    return NeuralNetwork(layers, loss, learning_rate, optimizer)
