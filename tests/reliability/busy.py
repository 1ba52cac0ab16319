"""Time of a team of threads over that of one thread, beside processes that keep the cores busy.

``python -m tests.reliability.busy 5 0 1 2 4`` prints the medians of five pairs beside so many busy processes, and how
long four processes at once take, by default as many threads each as there are cores, over what they take with one.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

import numpy as np

import fastnn
from fastnn import Adam, Identity, Layer, MSELoss, NeuralNetwork, ReLU

COUNT = 5
ROOT = Path(__file__).parents[2]
NETWORKS = {  # sizes, batch size, rows
    "26-64-32-1": ((26, 64, 32, 1), 128, 8192),
    "26-250-64-1": ((26, 250, 64, 1), 32, 4096),
    "784-128-1": ((784, 128, 1), 32, 1024),
    "26-512-512-1": ((26, 512, 512, 1), 128, 1024),
}
EPOCHS = 5
AT_ONCE = 4  # processes that train


def run(count: int, seed: int, busy: tuple[int, ...] = (0, 1, 2, 4)) -> dict[str, float]:
    """Medians of `count` pairs of every kind of work, and of `count` rounds of several processes at once."""
    ratios = {}
    for others in busy:
        with keeping_busy(others):
            for name, pair in pairs(seed).items():
                found = [pair(turn) for turn in range(count + 1)][1:]  # the first compiles
                ratios[f"{name}, {others} busy"] = median(found)
                print(f"{name}, {others} busy: {ratios[f'{name}, {others} busy']:.2f}", flush=True)
    with children() as some:
        found = [at_once(some, 2 + turn % 2) for turn in range(count)]
    ratios[f"{AT_ONCE} processes at once"] = median(found)
    print(f"{AT_ONCE} processes at once: {median(found):.2f}", flush=True)
    return ratios


def table(numbers: Mapping[str, float]) -> str:
    """The ratios, with a column for each number of busy processes."""
    columns = sorted({int(found[1]) for name in numbers if (found := re.search(r", (\d+) busy$", name))})
    lines = [["", *(f"{count} busy" for count in columns)], ["---", *["---:"] * len(columns)]]
    for work in dict.fromkeys(name.rpartition(", ")[0] for name in numbers if name.endswith("busy")):
        lines.append([work, *(f"{numbers[f'{work}, {count} busy']:.2f}" for count in columns)])
    rest = [f"{name}: {value:.2f}" for name, value in numbers.items() if not name.endswith("busy")]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n\n" + "; ".join(rest)


@contextlib.contextmanager
def keeping_busy(count: int) -> Iterator[None]:
    """So many processes that never sleep."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


class Pair:
    """One kind of work; called, it returns the time with all threads over that with one."""

    def __init__(self, work, prepare) -> None:
        self.work, self.prepare = work, prepare

    def __call__(self, turn: int) -> float:
        took = {}
        threads = (1, most_threads())
        for count in threads if turn % 2 else threads[::-1]:
            took[count] = self.seconds(count)
        return took[threads[1]] / took[1]

    def seconds(self, threads: int) -> float:
        """What the work takes with so many threads."""
        before = fastnn.get_num_threads()
        fastnn.set_num_threads(threads)
        try:
            prepared = self.prepare()
            started = time.perf_counter()
            self.work(*prepared)
            return time.perf_counter() - started
        finally:
            fastnn.set_num_threads(before)


def most_threads() -> int:
    """At least two, so that there is a team."""
    return max(2, fastnn.get_num_threads())


def pairs(seed: int) -> dict[str, Pair]:
    """Training of some networks with and without an optimiser, inference, and gradients."""
    found = {}
    for name, (sizes, batch, rows) in NETWORKS.items():
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(rows, sizes[0])), rng.normal(size=(rows, sizes[-1]))
        for optimizer in (None, Adam()):

            def prepare(sizes=sizes, optimizer=optimizer, X=X, y=y, batch=batch):
                net = network(sizes, optimizer)
                net.fit(X[:batch], y[:batch], batch_size=batch, verbose=0)
                return net, X, y, batch

            found[f"{name}, {'Adam' if optimizer else 'SGD'}"] = Pair(fit, prepare)
        found[f"{name}, predict"] = Pair(predict, prepare)
        found[f"{name}, gradients"] = Pair(gradients, prepare)
    return found


def network(sizes, optimizer=None) -> NeuralNetwork:
    layers = [Layer(a, b, ReLU(), seed=a) for a, b in zip(sizes, sizes[1:-1])]
    return NeuralNetwork([*layers, Layer(*sizes[-2:], Identity(), seed=0)], MSELoss(), 1e-4, optimizer)


def fit(net, X, y, batch) -> None:
    net.fit(X, y, epochs=EPOCHS, batch_size=batch, seed=0, verbose=0)


def predict(net, X, y, batch) -> None:
    for _ in range(4 * EPOCHS):
        net.predict(X)


def gradients(net, X, y, batch) -> None:
    for start in range(0, len(X), 1024):
        net.loss_and_gradient(X[start : start + 1024], y[start : start + 1024])


# --- several processes at once ---------------------------------------------------------------


@contextlib.contextmanager
def children() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that have compiled everything, and train when they are told how many threads to use."""
    command = [sys.executable, "-m", "tests.reliability.busy", "child"]
    pipe = subprocess.PIPE
    some = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for _ in range(AT_ONCE)]
    try:
        for child in some:
            child.stdout.readline()
        yield some
    finally:
        for child in some:
            child.kill()
            child.communicate()


def at_once(some, first: int) -> float:
    """Time until the last of them is done: with two threads each over one."""
    took = {}
    for threads in (1, 2) if first % 2 else (2, 1):
        started = time.perf_counter()
        for child in some:
            print(threads, file=child.stdin, flush=True)
        for child in some:
            child.stdout.readline()
        took[threads] = time.perf_counter() - started
    return took[2] / took[1]


def child() -> None:
    """Train as often as a line says with how many threads."""
    work = [pair for name, pair in pairs(0).items() if "SGD" in name]
    for pair in work:
        pair.seconds(1)
    print("ready", flush=True)
    for line in sys.stdin:
        for pair in work:
            pair.seconds(int(line))
        print("done", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["child"]:
        child()
    else:
        numbers = [int(number) for number in sys.argv[1:]] or [5]
        run(numbers[0], 0, tuple(numbers[1:]) or (0, 1, 2, 4))
