"""The recipe: RealMLP, simplified, as its authors published it.

Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular data"
(NeurIPS 2024): a trained scale for each input, layers in NTK parametrisation, Adam with beta2 = 0.95, a rate that goes
up and down four times, and the last best epoch by validation.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..checks import Array
from ..formulas.activations import ActivationFunction, Identity
from ..formulas.losses import LossFunction
from ..formulas.optimizers import Adam
from ..formulas.schedules import LogCosine
from ..layers.base import BaseLayer
from ..layers.dense import Layer
from ..layers.embedding import Embedding
from ..layers.scaling import Scale
from ..network import NeuralNetwork
from ..training.callbacks import Callback, Logs, StopTraining, Trainee
from .encoders import CLIP, VECTOR

SCALE_RATE, BIAS_RATE, BETA_2 = 6.0, 0.1, 0.95


class Shape(NamedTuple):
    """Of a network: its inputs, its hidden layers and their activation, its outputs."""

    ins: int
    many: Sequence[int]  # of the first inputs, how many categories they stand for
    hidden: Sequence[int]
    activation: ActivationFunction
    outs: int
    scales: Array  # of each input, what it is multiplied by at first


def first_scales(spans: Array, means: Array) -> Array:
    """What each input is multiplied by before training: 1, but for flags.

    The recipe's own code centres, scales and clips one-hot columns as it does all others, where `Preprocessor` leaves
    0, 1 and -1 as they are; a bias takes the centre, and this the rest. A flag that is nearly always the same has no
    interquartile range and is divided by half of its whole range: what is rare is nearly twice as large.

    Parameters
    ----------
    spans : ndarray (ins,)
        The range of each that is a flag, 1 or 2, and 0 for all others (see `Encoder.spans`).
    means : ndarray (ins,)
        Over the rows to train on.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tabular.recipe import first_scales
    >>> first_scales(np.array([0.0, 1, 1, 2]), np.array([0.3, 0.5, 0.01, -0.9])).round(2)
    array([1.  , 0.95, 1.66, 0.83])
    """
    flags = spans > 0
    apart = np.where(flags, spans, 1.0)
    middle = np.where(spans == 2, 0.0, 0.5)
    rare = np.abs(means - middle) >= apart / 4  # three quarters or more are the same
    z = np.where(rare, 2.0, 1.0)
    made: Array = np.where(flags, z / np.sqrt(1 + (z / CLIP) ** 2) / apart, 1.0)
    return made


def make_network(shape: Shape, loss: LossFunction, rate: LogCosine, seed: int) -> NeuralNetwork:
    """A new network of the recipe, float32."""
    rng = np.random.default_rng(seed)
    layers: list[BaseLayer] = [Embedding(shape.many, VECTOR, seed=seed)] if shape.many else []
    scale = Scale(lr_factor=SCALE_RATE)
    layers.append(scale)
    ins = shape.ins
    for outs in shape.hidden:
        layers.append(
            Layer(
                ins,
                outs,
                shape.activation,
                init="lecun_normal",
                bias_init="standard_normal",
                seed=rng,
                dtype="float32",
                bias_lr_factor=BIAS_RATE,
                parametrization="ntk",
            )
        )
        ins = outs
    layers.append(
        Layer(
            ins,
            shape.outs,
            Identity(),
            init="zeros",
            bias_init="zeros",
            dtype="float32",
            bias_lr_factor=BIAS_RATE,
            parametrization="ntk",
        )
    )
    net = NeuralNetwork(layers, loss, rate, Adam(beta2=BETA_2), dtype="float32")
    scale.row("scale")[:, 0] = shape.scales
    return net


def batches(count: int, batch_size: int) -> tuple[int, int]:
    """How many batches of about that size `count` samples make, all equally long to within few samples; and how long.

    Examples
    --------
    >>> from fastnn.tabular.recipe import batches
    >>> batches(1000, 256), batches(100, 256)
    ((4, 250), (1, 100))
    """
    number = max(1, round(count / batch_size))
    size = math.ceil(count / number)
    return math.ceil(count / size), size


class LastBest(Callback):
    """Keep the weights of the epoch with the smallest error, of several the last, and give them back at the end.

    Parameters
    ----------
    error : function of a network
        Its error on the validation rows.
    """

    def __init__(self, error: Callable[[Trainee], float]) -> None:
        self.error = error
        self.errors: list[float] = []
        self.best_epoch = 0

    def __deepcopy__(self, memo: object) -> LastBest:
        return LastBest(self.error)

    def on_train_begin(self) -> None:
        self._weights: list[tuple[Array, ...]] | None = None
        self._best = math.inf

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        error = self.error(self.net)
        self.errors.append(error)
        if error <= self._best:
            self._best, self.best_epoch, self._weights = error, epoch, self.net.get_weights()

    def on_train_end(self) -> None:
        if self._weights is not None:
            self.net.set_weights(self._weights)
            self._weights = None


class Deadline(Callback):
    """Stop after the first epoch that ends after a moment of ``time.monotonic()``, which several fits may share."""

    def __init__(self, moment: float, seconds: float) -> None:
        self.moment, self.seconds = moment, seconds

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if time.monotonic() > self.moment:
            raise StopTraining(f"the time limit of {self.seconds:g} s is over")
