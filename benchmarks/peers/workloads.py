"""What the peers do: each workload's network, samples, optimiser and unit of work. Everything is seeded.

A *unit of work* is what the tables give the time of: one step (forward, backward, update) of a mini-batch
or of one sample, one row of an inference, one call, or one process.

Every training peer takes the same steps: samples lie in memory as rows, a batch is the next `batch` rows,
nothing is shuffled. To read the batch from the data set is part of the step, for everyone. Conversion of the
whole data set to what a library wants is not.
"""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..workloads import Workload as Samples

LEAK = 0.1  # LeakyReLU's slope for negative numbers, as in the article

Parameters = list[tuple[np.ndarray, np.ndarray]]
"""For each layer its weights (outs, ins) and biases (outs,)."""


class Data(NamedTuple):
    """Rows (n, ins), and their targets: rows (n, outs) of numbers, or class indices (n,)."""

    X: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Workload:
    """One row of work.

    Attributes
    ----------
    key, title
        Its name for the command line, and for people.
    sizes, hidden, last
        The network: sizes of its layers, activation of the hidden ones and of the last.
    loss
        ``mse`` (mean over the outputs) or ``cross_entropy`` (on logits); of a batch always the mean.
    samples
        ``dense`` and ``classes``: numbers without a zero; ``strokes`` and ``scattered``: images with 80%
        zeros, in runs or one by one; ``mnist``: real ones if FASTNN_MNIST names the directory of the IDX
        files, else strokes.
    kind
        ``train``; ``row``, inference for one row a call; ``rows``, for all rows in one call; ``gradient``,
        loss and gradient without an update; ``table`` and ``search``, estimators; ``start``, a whole process.
    steps
        Units in the data set: batches of an epoch, or calls or rows of a pass.
    check_steps
        Units after which all peers must agree.
    networks
        How many networks train at once, from different weights, on the same samples.
    both_cores
        Whether it is worth measuring with two threads.
    patience
        How many times longer than others' its turns are: so that whatever a call does once, such as a copy of
        large weights, counts as little as in training that goes on for minutes.
    whole
        Whether slow peers get the whole data set, too, where else they get the start of it.
    """

    key: str
    title: str
    sizes: tuple[int, ...]
    hidden: str = "relu"
    last: str = "identity"
    loss: str = "cross_entropy"
    optimizer: str = "sgd"
    lr: float = 0.002
    batch: int = 1
    dtype: str = "float32"
    samples: str = "classes"
    kind: str = "train"
    steps: int = 100
    check_steps: int = 5
    networks: int = 1
    both_cores: bool = True
    patience: float = 1.0
    whole: bool = False

    @property
    def activations(self) -> list[str]:
        """Of each layer."""
        return [self.hidden] * (len(self.sizes) - 2) + [self.last]

    @property
    def unit(self) -> str:
        """What the time is of."""
        names = {"train": "step", "row": "row", "rows": "row", "gradient": "call", "start": "process"}
        return names.get(self.kind, "fit")

    @property
    def flops(self) -> int:
        """Multiplications and additions of a unit's matrix products, and of nothing else.

        A layer's forward pass takes 2 ins outs of them for a sample, its weight gradient as many, and the
        gradient with respect to its inputs as many again; the first layer's is not needed.
        """
        layers = [ins * outs for ins, outs in zip(self.sizes, self.sizes[1:])]
        if self.kind in ("row", "rows"):
            return 2 * sum(layers)
        if self.kind in ("start", "table", "search"):
            return 0
        return self.networks * self.batch * (6 * sum(layers) - 2 * layers[0])

    def at_most(self, steps: int) -> Workload:
        """The same with a smaller data set; of ten units and more, whole tens."""
        steps = max(1, min(steps, self.steps))
        return replace(self, steps=steps // 10 * 10 if steps > 10 else steps)

    def for_check(self) -> Workload:
        """The same with the few steps after which results are compared."""
        return self.at_most(self.check_steps)

    def data(self) -> Data:
        """The samples: as many rows as the units need. A smaller data set is the start of a larger one."""
        count = {"train": self.steps * self.batch, "row": self.steps, "rows": self.steps}.get(self.kind, self.batch)
        if self.samples == "mnist" and mnist() is not None:
            X, y = mnist()
            repeat = np.arange(count) % len(X)
            return Data((X[repeat] / 255).astype(self.dtype), y[repeat].astype(np.int64))
        kind = "strokes" if self.samples == "mnist" else self.samples
        samples = Samples(self.sizes, self.dtype, kind)
        made = 256  # in blocks, each with its own seed; after so many of them they come again
        blocks = range(min(made, -(-count // made)))
        X = np.concatenate([samples.rows(made + i)[:made] for i in blocks])
        y = np.concatenate([samples.targets(made + i)[:made] for i in blocks])
        if self.loss == "mse" and y.ndim == 1:
            y = np.eye(self.sizes[-1], dtype=self.dtype)[y]
        taken = np.arange(count) % len(X)
        return Data(X[taken], y[taken])

    def parameters(self) -> list[Parameters]:
        """Where each network starts: He's normal weights, and small biases."""
        rng = np.random.default_rng(1)

        def layer(ins: int, outs: int) -> tuple[np.ndarray, np.ndarray]:
            W = rng.normal(0, np.sqrt(2 / ins), (outs, ins)).astype(self.dtype)
            return W, rng.normal(0, 0.1, outs).astype(self.dtype)

        return [[layer(*ends) for ends in zip(self.sizes, self.sizes[1:])] for _ in range(self.networks)]


@lru_cache(maxsize=None)
def mnist() -> tuple[np.ndarray, np.ndarray] | None:
    """MNIST's training images (n, 784) and digits, of 0 to 255, if FASTNN_MNIST names their directory."""
    directory = os.environ.get("FASTNN_MNIST")
    if not directory:
        return None

    def read(pattern: str, header: int) -> np.ndarray:
        path = sorted(Path(directory).glob(pattern))[0]
        with (gzip.open if path.suffix == ".gz" else open)(path) as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)

    return read("train*images-idx3*", 16).reshape(-1, 784), read("train*labels-idx1*", 8)


def _online(key: str, title: str, sizes: tuple[int, ...], dtype: str, samples: str, steps: int) -> Workload:
    loss = "mse" if samples == "dense" else "cross_entropy"
    return Workload(
        key, title, sizes, "leaky_relu", "leaky_relu", loss, dtype=dtype, samples=samples, steps=steps,
        check_steps=20, both_cores=False,
    )  # fmt: skip


def _batches(key: str, sizes: tuple[int, ...], batch: int, optimizer: str, rows: int, samples: str) -> Workload:
    names = {"sgd": "SGD", "adam": "Adam", "mnist": ", MNIST" if mnist() else ", strokes"}
    title = f"{'-'.join(map(str, sizes))}, batches of {batch}, {names[optimizer]}{names.get(samples, '')}"
    lr = {"sgd": 0.002, "adam": 1e-4}[optimizer]
    return Workload(key, title, sizes, optimizer=optimizer, lr=lr, batch=batch, samples=samples, steps=rows // batch)


_DIGITS, _WIDE, _WIDER, _LETTERS = (784, 128, 10), (784, 512, 512, 10), (784, 2048, 2048, 10), (16, 64, 64, 26)

WORKLOADS = [
    _online("W1", "2-4-4-3 online, float64", (2, 4, 4, 3), "float64", "dense", 100_000),
    _online("W2", "2-3-2 online, float64", (2, 3, 2), "float64", "dense", 100_000),
    _online("W3-f32", "784-16-16-10 online, float32, strokes", (784, 16, 16, 10), "float32", "strokes", 8000),
    _online("W3-scattered", "784-16-16-10 online, float32, scattered", (784, 16, 16, 10), "float32", "scattered", 8000),
    _online("W3-f64", "784-16-16-10 online, float64, strokes", (784, 16, 16, 10), "float64", "strokes", 8000),
    _batches("W4-32-sgd", _DIGITS, 32, "sgd", 4096, "classes"),
    _batches("W4-32-adam", _DIGITS, 32, "adam", 4096, "classes"),
    _batches("W4-128-sgd", _DIGITS, 128, "sgd", 4096, "classes"),
    _batches("W4-128-adam", _DIGITS, 128, "adam", 4096, "classes"),
    _batches("W4-mnist-32-sgd", _DIGITS, 32, "sgd", 4096, "mnist"),
    _batches("W4-mnist-128-adam", _DIGITS, 128, "adam", 4096, "mnist"),
    _batches("W5-512", _WIDE, 128, "adam", 4096, "classes"),
    replace(_batches("W5-2048", _WIDER, 128, "adam", 512, "classes"), check_steps=2, patience=8.0),
    _batches("W6", _LETTERS, 32, "adam", 16384, "classes"),
    Workload(
        "W7", "64 networks 2-16-16-1, batches of 32, Adam", (2, 16, 16, 1), "tanh", loss="mse", optimizer="adam",
        lr=1e-3, batch=32, samples="dense", steps=64, networks=64, patience=4.0,
    ),
    Workload("W8-row", "784-128-10, one row a call", _DIGITS, kind="row", steps=1000, both_cores=False),
    Workload("W8-row-letters", "16-64-64-26, one row a call", _LETTERS, kind="row", steps=1000, both_cores=False),
    Workload(
        "W8-rows", "784-128-10, 60,000 rows in one call", _DIGITS, kind="rows", steps=60_000, check_steps=250,
        whole=True,
    ),
    Workload(
        "W9", "24-8-2, loss and gradient of 200 samples, float64", (24, 8, 2), "tanh", loss="mse", batch=200,
        dtype="float64", samples="dense", kind="gradient", steps=100, check_steps=1, both_cores=False,
    ),
    Workload(
        "W10-cold", "a process with a first small fit, no cache", (16, 64, 64, 26), kind="start", both_cores=False,
    ),
    Workload(
        "W10-warm", "the same, with what earlier ones cached", (16, 64, 64, 26), kind="start", both_cores=False,
    ),
    Workload("W11", "a data frame of 1,000 rows, 256 epochs", (1, 1), kind="table", steps=1, check_steps=1),
    Workload("W12", "12 candidates on 3 folds of digits, 10 epochs", (1, 1), kind="search", steps=1, check_steps=1),
]  # fmt: skip
"""All workloads, in the order of the tables."""


def chosen(keys: list[str]) -> list[Workload]:
    """The workloads whose keys are, or start with, one of `keys`; W4 is all of W4-..., and no key is all.

    Raises
    ------
    ValueError
        If a key fits none.
    """

    def fits(workload: Workload, key: str) -> bool:
        return workload.key == key or workload.key.startswith(f"{key}-")

    for key in keys:
        if not any(fits(workload, key) for workload in WORKLOADS):
            raise ValueError(f"{key!r} is no workload; there are {', '.join(w.key for w in WORKLOADS)}")
    return [w for w in WORKLOADS if not keys or any(fits(w, key) for key in keys)]
