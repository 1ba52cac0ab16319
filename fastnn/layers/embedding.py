"""Categories by their numbers: what a layer on one-hot columns computes, without the columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Array, count, positive_integer, shown
from ..kernels.stages import FLOAT64, pointer_at, stage_at
from .stage import Stage

MOST = 2**24  # categories of a column, up to which float32 counts them


def embedding_forward(address: int, W: Any) -> None:
    """x = the vector of each category in its places, zeros for none, and the other inputs as they are.

    The settings: how long vectors are, how many categories have some, how many rows W has; and for each its first
    vector and how many there are. Vector by vector, W is filled row by row; its padding stays free.
    """
    stage = stage_at(address)
    n, outs, in_stride, stride = stage.n, stage.outs, stage.in_stride, stage.stride
    x_in, x = pointer_at(stage.x_in, W), pointer_at(stage.x, W)
    settings = pointer_at(stage.settings, FLOAT64)
    size, columns = int(settings[0]), int(settings[1])
    for i in range(n):
        for j in range(columns * size, outs):
            x[i * stride + j] = x_in[i * in_stride + j]
        for c in range(columns):
            first, number = int(settings[3 + 2 * c]), float(x_in[i * in_stride + c * size])
            known = number > -0.5 and number < settings[4 + 2 * c] - 0.5
            for k in range(size):
                x[i * stride + c * size + k] = 0
            if known:
                at = (first + int(np.rint(number))) * size
                for k in range(size):
                    x[i * stride + c * size + k] = W[(at + k) // outs * stride + (at + k) % outs]


def embedding_backward(address: int, W: Any) -> None:
    """d of a vector = the sum of dx over the samples of its category; dx_in = dx, and 0 in the places of vectors."""
    stage = stage_at(address)
    n, outs, in_stride, stride = stage.n, stage.outs, stage.in_stride, stage.stride
    x_in, dx, dx_in = pointer_at(stage.x_in, W), pointer_at(stage.dx, W), pointer_at(stage.dx_in, W)
    dW, settings = pointer_at(stage.dW, W), pointer_at(stage.settings, FLOAT64)
    size, columns = int(settings[0]), int(settings[1])
    for k in range(int(settings[2]) * stride):
        dW[k] = 0
    for i in range(n):
        for c in range(columns):
            first, number = int(settings[3 + 2 * c]), float(x_in[i * in_stride + c * size])
            if number > -0.5 and number < settings[4 + 2 * c] - 0.5:
                at = (first + int(np.rint(number))) * size
                for k in range(size):
                    dW[(at + k) // outs * stride + (at + k) % outs] += dx[i * stride + c * size + k]
        if stage.dx_in != 0:
            for j in range(outs):
                dx_in[i * stride + j] = dx[i * stride + j] if j >= columns * size else 0


def counts_of_categories(value: Any, name: str) -> Array:
    """How many categories there are in each column, as an array (columns,) that nobody writes into, or an error."""
    try:
        counts = np.array(value).reshape(-1)
        usual = counts.dtype.kind in "iu" and counts.size > 0 and counts.min() >= 1 and counts.max() <= MOST
    except Exception:  # NumPy asks what it is given for numbers, and that may raise anything
        usual = False
    if not usual or np.ndim(value) > 1:
        raise ValueError(f"{name} is {shown(value)}; expected how many there are in each column, from 1 to {MOST:,}")
    counts = counts.astype(np.int64)
    counts.flags.writeable = False
    return counts


class Embedding(Stage):
    """A trained vector for each category, in the place of the category's number: the first stage of a network.

    The first `size` inputs belong to the first categorical column, the next to the second, and so on: the first of
    them is the number of its category, from 0 on, and what the others are plays no part. They become the category's
    vector, or zeros where the number is that of none, such as -1. All other inputs stay as they are.

    Parameters
    ----------
    categories : int or array_like of int
        How many categories there are, in each such column.
    size : int, default 8
        How many numbers a vector has.
    lr_factor : float, default 1.0
        By which the learning rate is multiplied for the vectors, above 0.
    seed : int, default 0
        Of their first values, which are drawn from N(0, 1).

    Examples
    --------
    Ten thousand shops, and a price beside them:

    >>> import numpy as np
    >>> from fastnn import Embedding, Identity, Layer, MSELoss, NeuralNetwork
    >>> net = NeuralNetwork([Embedding(10_000, size=2), Layer(3, 1, Identity(), seed=0)], MSELoss(), 0.1)
    >>> net.layers[0].table.shape
    (10000, 2)
    >>> net.layers[0].forward_pass(np.array([[9_999, -1], [0, 0], [2.5, 3.5]])).round(2)[:, 1]
    array([0. , 0. , 3.5])
    """

    required = {"categories": 3, "size": 1}
    stands = "first"
    kernels = (embedding_forward, embedding_backward)
    checked = {"categories": counts_of_categories, "size": positive_integer, "seed": count}

    def __init__(self, categories: Any, size: int = 8, lr_factor: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.categories = categories
        self.size, self.lr_factor, self.seed = size, lr_factor, seed

    @property
    def vectors(self) -> int:
        """How many there are, of all columns."""
        return int(self.categories.sum())

    def trained_rows(self, width: int) -> int:
        """As many as the vectors fill."""
        return -(-self.vectors * self.size // width)

    def array_shapes(self, width: int) -> dict[str, tuple[int, int]]:
        """One array for all vectors, padded to whole rows."""
        return {"vectors": (self.trained_rows(width), width)}

    def arrays(self) -> dict[str, Array]:
        return {"vectors": self.trained_numbers()}

    def build(self, width: int, dtype: np.dtype[Any]) -> None:
        """Take so many inputs, and draw the vectors."""
        if self._outs == 0:
            if width < self.categories.size * self.size:
                raise ValueError(
                    f"{self!r} has {width} inputs; expected {self.size} for each of {self.categories.size} columns"
                )
            self._ins = self._outs = width
            rows = self.trained_rows(width)
            numbers = np.zeros(rows * width)
            drawn = self.vectors * self.size
            numbers[:drawn] = np.random.default_rng(self.seed).standard_normal(drawn)
            self._memory = self._laid_out(numbers.reshape(rows, width), dtype)
        self.convert(dtype)

    @property
    def table(self) -> Array:
        """A copy of all vectors, (vectors, size): those of the first column, then those of the second, and so on."""
        return self.trained_numbers().ravel()[: self.vectors * self.size].reshape(self.vectors, self.size)

    @property
    def settings(self) -> tuple[float, ...]:
        counts = self.categories.tolist()
        firsts = np.cumsum([0, *counts]).tolist()
        pairs = [float(number) for pair in zip(firsts, counts) for number in pair]
        return (float(self.size), float(len(counts)), float(self.memory_rows), *pairs)

    def _numbers(self, x: Array) -> Array:
        """The numbers of the vectors in the table, (columns, n); -1 for none."""
        numbers = np.asarray(x, np.float64)[: self.categories.size * self.size : self.size]
        counts = self.categories.reshape(-1, 1)
        known = (numbers > -0.5) & (numbers < counts - 0.5)
        first = np.cumsum([0, *self.categories[:-1]]).reshape(-1, 1)
        return np.where(known, first + np.rint(np.where(known, numbers, 0)), -1).astype(np.int64)

    def forward(self, x: Array, training: bool, key: int) -> tuple[Array, Any]:
        numbers = self._numbers(x)
        out = np.array(x, dtype=np.result_type(x, self._memory))
        found = np.where(numbers[..., None] >= 0, self.table[numbers], 0)  # (columns, n, size)
        out[: numbers.shape[0] * self.size] = found.transpose(0, 2, 1).reshape(-1, x.shape[1])
        return out, numbers

    def backward(self, dx: Array, kept: Any) -> tuple[Array, list[Array]]:
        rows, width = self.shape[0], self.outs
        places = kept.shape[0] * self.size
        d = np.zeros((rows * width,), np.float64)
        table = d[: self.vectors * self.size].reshape(self.vectors, self.size)
        for column, numbers in enumerate(kept):
            of = numbers >= 0
            np.add.at(table, numbers[of], dx[column * self.size : (column + 1) * self.size, of].T)
        dx_in = np.array(dx)
        dx_in[:places] = 0
        return dx_in, [row.reshape(-1, 1) for row in d.reshape(rows, width)]
