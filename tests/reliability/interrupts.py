"""Ctrl-C at random moments of every kind of call, each followed by a fit that must give the bits it always gives."""

from __future__ import annotations

import contextlib
import copy
import random
import signal
import time
from functools import lru_cache

import numpy as np

from fastnn import Adam, CrossEntropyLoss, Identity, Layer, MSELoss, NetworkBank, NeuralNetwork, Tanh
from fastnn.engine import threads

from .children import count_in_children

COUNT = 1_000


def run(count: int, seed: int) -> dict[str, int]:
    """How many interrupts were tried, and after how many the next fits were whole."""
    return count_in_children(__name__, count, seed)


def network(seed: int, classes: bool) -> NeuralNetwork:
    layers = [Layer(20, 64, Tanh(), seed=seed), Layer(64, 32, Tanh(), seed=seed), Layer(32, 4, Identity(), seed=seed)]
    return NeuralNetwork(layers, CrossEntropyLoss() if classes else MSELoss(), 0.01, Adam() if seed % 2 else None)


@lru_cache
def data() -> tuple[np.ndarray, np.ndarray]:
    """Rows and class indices."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(4000, 20)), rng.integers(0, 4, 4000)


def call(net: NeuralNetwork, kind: int) -> None:
    """One of the calls that somebody may interrupt."""
    X, y = data()
    if kind == 0:
        net.fit(X, y, epochs=3, batch_size=128, seed=0, verbose=0)
    elif kind == 1:
        for _ in range(20):
            net.predict(X)
    elif kind == 2:
        for i in range(400):
            net.train(X[i : i + 1].T.copy(), y[i : i + 1])
    elif kind == 3:
        NetworkBank([copy.deepcopy(net) for _ in range(3)]).fit(X, y, epochs=1, batch_size=128, seed=0, verbose=0)
    elif kind == 4:
        for _ in range(10):
            net.gradients(X.T, y)
    elif kind == 5:
        net.fit(lambda: ((X[i : i + 500], y[i : i + 500]) for i in range(0, 4000, 500)), epochs=2, verbose=0)
    elif kind == 6:
        for _ in range(10):
            copy.deepcopy(net)
            net.get_weights()
    else:
        for _ in range(30):
            net.fit(X[:512], y[:512], batch_size=128, seed=0, verbose=0)


def bits(net: NeuralNetwork) -> bytes:
    return b"".join(array.tobytes() for arrays in net.get_weights() for array in arrays)


@lru_cache
def expected(seed: int) -> bytes:
    """What a fit gives that nobody interrupts."""
    net = network(seed, True)
    net.fit(*data(), epochs=1, batch_size=128, seed=0, verbose=0)
    return bits(net)


@lru_cache
def duration(kind: int) -> float:
    """About how long a call of this kind takes, so that an interrupt may come at any time of it."""
    net = network(0, True)
    call(net, kind)
    started = time.perf_counter()
    call(net, kind)
    return time.perf_counter() - started


def case(number: int, seed: int) -> str:
    """One interrupt."""
    threads.MIN_WORK = threads.WORTH_STARTING = 1  # every call has a team
    rng = random.Random(number * 1_000_003 + seed)
    kind, which = number % 8, rng.randrange(4)
    expected(which), duration(kind)
    net = network(which, True)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        # What Python does on Ctrl-C, by a timer of this process alone
        signal.setitimer(signal.ITIMER_REAL, max(1e-6, rng.uniform(0, 1.1 * duration(kind))))
        with contextlib.suppress(KeyboardInterrupt):
            call(net, kind)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    except KeyboardInterrupt:  # the call was over
        pass
    finally:
        signal.signal(signal.SIGALRM, before)
    if not all(np.isfinite(array).all() for arrays in net.get_weights() for array in arrays):
        return "not finite"
    net.fit(*data(), epochs=1, batch_size=128, seed=0, verbose=0)
    again = network(which, True)
    again.fit(*data(), epochs=1, batch_size=128, seed=0, verbose=0)
    return "whole" if bits(again) == expected(which) else "different"
