"""Fits with checkpoints, of many kinds, that can be started again and again and always mean the same."""

import functools
import pathlib
import tempfile

import numpy as np

from fastnn import (
    SGD,
    Adam,
    BatchNorm,
    Callback,
    Checkpoint,
    CosineDecay,
    CrossEntropyLoss,
    CSVLogger,
    Dropout,
    EarlyStopping,
    Identity,
    LambdaCallback,
    Layer,
    ModelCheckpoint,
    NeuralNetwork,
    ReduceLROnPlateau,
    ReLU,
    Standardize,
)

EPOCHS = 12
KINDS = ("plain", "adam", "stages", "stream")
WATCHERS = ("stopper", "reducer", "logger", "saver", "own", "nothing")


class Own(Callback):
    """A callback of one's own, whose state matters: it moves the weights by random numbers."""

    def on_train_begin(self):
        self._random, self._seen = np.random.default_rng(5), np.zeros(3)

    def on_epoch_end(self, epoch, logs):
        self._seen += self._random.normal(size=3)
        layer = self.net.layers[-1]
        layer.biases[...] += 1e-3 * self._seen[0]

    def get_state(self):
        return {"seen": self._seen, "random": self._random.bit_generator.state}

    def set_state(self, state):
        seen, random = np.array(state["seen"], float), np.random.default_rng()
        random.bit_generator.state = state["random"]
        if seen.shape != (3,):
            raise ValueError("seen")
        self._seen, self._random = seen, random


def watcher(name, folder):
    """One of `WATCHERS`."""
    return {
        "stopper": lambda: EarlyStopping(patience=50),
        "reducer": lambda: ReduceLROnPlateau("loss", 0.7, patience=1, min_delta=0.02),
        "logger": lambda: CSVLogger(folder / "log.csv"),
        "saver": lambda: ModelCheckpoint(folder / "best.safetensors", "loss"),
        "own": Own,
        "nothing": LambdaCallback,
    }[name]()


def network(kind):
    rng = np.random.default_rng(1)
    first = {
        "plain": [Layer(6, 8, ReLU(), seed=rng)],
        "adam": [Layer(6, 8, ReLU(), seed=rng), Dropout(0.2)],
        "stages": [Standardize(), Layer(6, 8, ReLU(), seed=rng), BatchNorm()],
        "stream": [Layer(6, 8, ReLU(), seed=rng)],
    }[kind]
    rate = CosineDecay(0.05, 60) if kind in ("adam", "stream") else 0.05
    optimizer = {"plain": SGD(momentum=0.9), "adam": Adam(), "stages": None, "stream": Adam()}[kind]
    layers = [*first, Layer(8, 3, Identity(), seed=rng)]
    dtype = "float32" if kind == "stages" else "float64"
    return NeuralNetwork(layers, CrossEntropyLoss(), rate, optimizer, dtype=dtype)


@functools.lru_cache(maxsize=None)
def samples():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(90, 6))
    return X, np.argmax(X[:, :3] + rng.normal(size=(90, 3)), axis=1)


def chunks():
    X, y = samples()
    for start in range(0, 90, 40):
        yield X[start : start + 40], y[start : start + 40]


def fit(kind, folder, watchers, at, every=1, epochs=EPOCHS, more=(), net=None):
    """Begin the fit, or go on with it: its checkpoint is the callback number `at`. The network, and its history."""
    X, y = samples()
    callbacks = [watcher(name, folder) for name in watchers]
    callbacks.insert(at, Checkpoint(folder / "run", every))
    net = network(kind) if net is None else net
    if kind == "stream":
        source, settings = (chunks, None), {"validation_data": (X[:20], y[:20])}
    else:
        weights = np.linspace(0.5, 1.5, 90) if kind == "adam" else None
        source, settings = (X, y), {"validation_split": 0.2, "sample_weight": weights, "metrics": ["accuracy"]}
    history = net.fit(
        *source, epochs=epochs, batch_size=16, callbacks=[*callbacks, *more], seed=3, verbose=0, **settings
    )
    return net, history


@functools.lru_cache(maxsize=None)
def warm():
    """Compile all that the fits need, in the process whose children are to begin at once."""
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            fit(kind, pathlib.Path(folder), WATCHERS, 0, epochs=2)


def result(net, history, folder):
    """All that must be the same, as text."""
    weights = b"".join(array.tobytes() for arrays in net.get_weights() for array in arrays)
    numbers = b"".join(array.tobytes() for array in net.engine.training_arrays(16))
    log = (folder / "log.csv").read_text() if (folder / "log.csv").exists() else ""
    return repr((weights, numbers, net.lr, history.epoch, dict(history), history.stopped, log))
