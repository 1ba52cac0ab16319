"""Ctrl-C, and alarms that raise, at random moments while kernels are compiled: each is heard, and a fit works after it.

Run as a program this is the process that is interrupted: ``python interrupted_compiles.py COUNT SEED KINDS``.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import (
    ActivationFunction,
    Adam,
    CrossEntropyLoss,
    Identity,
    Layer,
    LayerNorm,
    MSELoss,
    NeuralNetwork,
    ReLU,
    Sigmoid,
    Tanh,
)

COUNT = 200
TIMEOUT = 1800  # seconds for one process, which compiles nearly everything once, on however busy a machine
X = np.random.default_rng(0).normal(size=(40, 3))
SUM = X.sum(1, keepdims=True)


def run(count: int, seed: int) -> dict[str, int]:
    """Interrupt compilations `count` times, in processes that begin without a cache; all but `tried` should be 0.

    `swallowed` are signals that raised nothing, `failed` fits after one that did not work, and `different` those
    with other bits than undisturbed ones have, here or in a later process that takes them from the same cache.
    """
    numbers = dict.fromkeys(("tried", "swallowed", "crashed", "hung", "failed", "different"), 0)
    while numbers["tried"] < count:
        before = numbers["tried"]
        with tempfile.TemporaryDirectory() as cache:
            kinds = len(KINDS)
            for limit in (count - before, 0):
                found, bits = _child(limit, seed + before, kinds, cache)
                for name, number in found.items():
                    numbers[name] += number
                kinds = len(bits)
                numbers["different"] += bits != [_bits(*kind) for kind in KINDS[:kinds]]
        if numbers["tried"] == before:  # it did not get as far as the first
            break
    return numbers


def _child(count: int, seed: int, kinds: int, cache: str) -> tuple[dict[str, int], list[str]]:
    """What became of one process: numbers, and the bits of its fits."""
    try:
        out = subprocess.run(
            [sys.executable, __file__, str(count), str(seed), str(kinds)],
            env={**os.environ, "NUMBA_CACHE_DIR": cache, "FASTNN_TINY": "never"},
            capture_output=True, text=True, timeout=TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"hung": 1}, []
    if out.returncode:
        sys.stderr.write(out.stderr[-2000:])
        return {"crashed" if out.returncode < 0 else "failed": 1}, []
    numbers, bits = json.loads(out.stdout)
    return numbers, bits


KINDS: list[tuple[str, Any, Any, Any]] = [
    ("float32", MSELoss, None, Tanh),
    ("float32", CrossEntropyLoss, Adam, ReLU),
    ("float64", CrossEntropyLoss, Adam, Sigmoid),
]


def _bits(dtype: str, loss: Any, optimizer: Any, activation: Any) -> str:
    """The result of a fit, with a stage and two forms of steps."""
    layers = [Layer(3, 5, activation(), seed=1), LayerNorm(), Layer(5, 2, Identity(), seed=2)]
    net = NeuralNetwork(layers, loss(), 0.1, optimizer and optimizer(), dtype=dtype)
    y = (X[:, 0] > 0).astype(int) if loss is CrossEntropyLoss else np.hstack([SUM, -SUM])
    for batch_size in (16, 1):
        if net.fit(X, y, epochs=2, batch_size=batch_size, seed=3).stopped:  # the way in which `fit` hears Ctrl-C
            raise KeyboardInterrupt
    return hashlib.sha256(net.predict(X).tobytes()).hexdigest()


def _works(number: float) -> bool:
    """Whether a formula that was never compiled compiles now, and trains."""

    class Own(ActivationFunction):
        def f(self, x: Any) -> Any:
            return x * number

        def df(self, x: Any) -> Any:
            return x * 0 + number

    net = NeuralNetwork([Layer(3, 1, Own(), init="zeros")], MSELoss(), 0.1)
    net.fit(X, SUM, epochs=1, batch_size=len(X))
    step = 0.2 * number * (X * SUM).mean(0)
    return bool(np.allclose(net._layers[0]._W[0], step, rtol=1e-9))


def _alarm(number: int, frame: Any) -> None:
    raise TimeoutError("too long")


def _interrupted(task: Callable[[], Any], number: int, delay: float) -> tuple[Any, bool, bool]:
    """The result of `task`, if it came that far; whether the signal was sent, and whether it raised."""
    sent: list[int] = []

    def send() -> None:
        sent.append(number)
        os.kill(os.getpid(), number)

    timer, result = threading.Timer(delay, send), None
    try:
        timer.start()
        result = task()
        timer.cancel()
        timer.join()
    except (KeyboardInterrupt, TimeoutError) as error:
        timer.join()
        wanted = KeyboardInterrupt if number == signal.SIGINT else TimeoutError
        return result, True, isinstance(error, wanted)
    return result, bool(sent), False


def main(count: int, seed: int, kinds: int) -> None:
    """Fit networks of so many kinds, with up to `count` interrupts on the way; prints numbers and bits.

    After the last interrupt it ends with the fit that it came in; without any, it fits all.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, _alarm)
    rng, bits = random.Random(seed), []
    numbers = dict.fromkeys(("tried", "swallowed", "failed"), 0)
    for kind in KINDS[:kinds]:
        found = None
        while found is None:
            if numbers["tried"] >= count:
                found = _bits(*kind)
                continue
            number = signal.SIGINT if rng.random() < 0.7 else signal.SIGALRM
            found, sent, heard = _interrupted(lambda kind=kind: _bits(*kind), number, rng.random() * 0.7)  # type: ignore[misc]
            numbers["tried"] += sent
            numbers["swallowed"] += sent and not heard
            numbers["failed"] += sent and not _works(rng.uniform(1, 2))
        bits.append(found)
        if numbers["tried"] >= count > 0:
            break
    print(json.dumps([numbers, bits]))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
