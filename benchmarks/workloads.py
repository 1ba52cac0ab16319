"""The networks that the benchmarks train, and made-up samples for them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fastnn import CrossEntropyLoss, Layer, LeakyReLU, LossFunction, MSELoss, NeuralNetwork

LEARNING_RATE = 0.002  # small: the weights stay about what they were, so every round does the same work

PIXELS = 28  # along one side of an image


@dataclass(frozen=True)
class Workload:
    """Layers of these sizes, all with LeakyReLU as in the article, and the kind of their samples.

    The kinds are ``dense``, numbers without a zero and targets that are numbers too; and three
    with classes as targets: ``classes``, where the samples are dense, and two kinds of images with
    80% zeros. In ``strokes`` the other 20% form a ring, so they come in runs, as in MNIST's digits.
    In ``scattered`` each pixel is drawn by itself, and no processor can guess which is zero.
    """

    sizes: tuple[int, ...]
    dtype: str
    samples: Literal["dense", "classes", "strokes", "scattered"]

    def __str__(self) -> str:
        kind = " scattered" if self.samples == "scattered" else ""
        return f"{'-'.join(map(str, self.sizes))} {self.dtype}{kind}"

    @property
    def loss_function(self) -> LossFunction:
        """MSELoss for numbers, CrossEntropyLoss for classes."""
        return MSELoss() if self.samples == "dense" else CrossEntropyLoss()

    def network(self) -> NeuralNetwork:
        """The compiled network, the same one every time."""
        layers = [Layer(ins, outs, LeakyReLU(), seed=ins) for ins, outs in zip(self.sizes, self.sizes[1:])]
        return NeuralNetwork(layers, self.loss_function, LEARNING_RATE, dtype=self.dtype)

    def rows(self, count: int) -> np.ndarray:
        """`count` samples as rows, which is how data sets lie in memory; fastnn's columns are ``rows.T``."""
        rng = np.random.default_rng(count)
        ink = rng.random((count, self.sizes[0]), self.dtype)
        if self.samples == "strokes":
            ink[~_rings(count, rng)] = 0
        elif self.samples == "scattered":
            ink[rng.random(ink.shape, "float32") > 0.2] = 0
        return ink

    def targets(self, count: int) -> np.ndarray:
        """Their targets: rows of numbers, or class indices."""
        rng = np.random.default_rng(count)
        outs = self.sizes[-1]
        return rng.random((count, outs), self.dtype) if self.samples == "dense" else rng.integers(0, outs, count)


def _rings(count: int, rng: np.random.Generator) -> np.ndarray:
    """Which pixels of `count` images have ink: a ring of random centre and radius."""
    y, x = np.divmod(np.arange(PIXELS**2, dtype="float32"), PIXELS)
    centre_y, centre_x = rng.uniform(11.5, 15.5, (2, count, 1)).astype("float32")
    radius = rng.uniform(5, 9, (count, 1)).astype("float32")
    return np.abs(np.hypot(x - centre_x, y - centre_y) - radius) < 1.75
