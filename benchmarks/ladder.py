"""``python -m benchmarks.ladder``: the article's step on its way to the kernels, one change after the other.

The rungs take turns, in one process on one core; a number is the smallest of the rounds, in seconds that this
process had the core. Before a rung is timed, its weights after some steps are compared with the article's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

import fastnn
from fastnn import LeakyReLU, MSELoss, reference
from fastnn.kernels import special
from fastnn.nn import Layer, NeuralNetwork

from .peers.__main__ import processor
from .peers.table import readable

Net = NeuralNetwork | reference.NeuralNetwork
LEAK = 0.1


@numba.njit
def loops(Ws, bs, xs, ys, dxs, X, T, lr):
    """The article's step for each row of X, as one writes it in Numba: plain loops, sizes known at run time."""
    depth = len(Ws)
    for row in range(len(X)):
        xs[0][:] = X[row]
        for l in range(depth):
            W, b, x, y, out = Ws[l], bs[l], xs[l], ys[l], xs[l + 1]
            for i in range(len(b)):
                total = b[i]
                for j in range(len(x)):
                    total += W[i, j] * x[j]
                y[i] = total
                out[i] = total if total > 0 else LEAK * total
        outs = len(xs[depth])
        for i in range(outs):
            dxs[depth][i] = 2 * (xs[depth][i] - T[row, i]) / outs
        for l in range(depth - 1, -1, -1):
            W, b, x, y, dx, below = Ws[l], bs[l], xs[l], ys[l], dxs[l + 1], dxs[l]
            below[:] = 0
            for i in range(len(b)):
                db = dx[i] if y[i] > 0 else LEAK * dx[i]
                b[i] -= lr * db
                for j in range(len(x)):
                    below[j] += W[i, j] * db
                    W[i, j] -= lr * db * x[j]


def network(sizes: tuple[int, ...], dtype: str = "float64") -> NeuralNetwork:
    """The network that every rung starts from."""
    rng = np.random.default_rng(0)
    layers = [Layer(ins, outs, LeakyReLU(LEAK), init="he_normal", seed=rng) for ins, outs in zip(sizes, sizes[1:])]
    return NeuralNetwork(layers, MSELoss(), 0.001, dtype=dtype)


def article(net: NeuralNetwork, x: Any, t: Any) -> Callable[[int], Net]:
    """The article's loop, in NumPy."""
    slow = reference.copy_of(net)
    columns = [(x[:, i : i + 1], t[:, i : i + 1]) for i in range(x.shape[1])]

    def run(passes: int) -> Net:
        for column in columns * passes:
            slow.train_column(*column)
        return slow

    return run


def plain_loops(net: NeuralNetwork, x: Any, t: Any) -> Callable[[int], Net]:
    """The same in Numba, without further thought."""
    slow = reference.copy_of(net)
    sizes = [slow._layers[0].ins, *(layer.outs for layer in slow._layers)]
    Ws = numba.typed.List([layer._W for layer in slow._layers])
    bs = numba.typed.List([layer._b.reshape(-1) for layer in slow._layers])
    xs, ys, dxs = (numba.typed.List([np.zeros(size) for size in some]) for some in (sizes, sizes[1:], sizes))
    X, T = np.ascontiguousarray(x.T), np.ascontiguousarray(t.T)

    def run(passes: int) -> Net:
        for _ in range(passes):
            loops(Ws, bs, xs, ys, dxs, X, T, slow.lr)
        return slow

    return run


def calls(net: NeuralNetwork, x: Any, t: Any) -> Callable[[int], Net]:
    """The article's loop over `fastnn.nn`: a compiled step a call."""
    columns = [(x[:, i : i + 1], t[:, i : i + 1]) for i in range(x.shape[1])]

    def run(passes: int) -> Net:
        for column in columns * passes:
            net.train(*column)
        return net

    return run


def epochs(kernel: str) -> Callable[..., Callable[[int], Net]]:
    """All columns in one compiled call: `kernel` says when one is compiled for this network alone."""

    def make(net: NeuralNetwork, x: Any, t: Any) -> Callable[[int], Net]:
        def run(passes: int) -> Net:
            before, special.when = special.when, kernel
            net.train(x, t, epochs=passes)
            special.when = before
            return net

        return run

    return make


def climb(title: str, rungs: list[tuple[str, Callable[[int], Net], int]], samples: int, rounds: int) -> None:
    """Check, time and print."""
    print(f"\n{title}\n")
    first: list[Any] | None = None
    for name, run, _ in rungs:
        weights = [np.array(layer._W, "float64") for layer in run(1)._layers]  # compiles, too
        first = first or weights
        for mine, theirs in zip(weights, first):
            if "zeros" not in name and not np.allclose(mine, theirs, rtol=1e-6, atol=1e-8):
                raise SystemExit(f"{name} does not do what the article does")
    times = {name: float("inf") for name, *_ in rungs}
    for _ in range(rounds):
        for name, run, passes in rungs:
            start = time.process_time()
            run(passes)
            times[name] = min(times[name], (time.process_time() - start) / (passes * samples))
    slowest = max(times.values())
    print("| | a step | times as fast |\n| --- | ---: | ---: |")
    for name, seconds in times.items():
        print(f"| {name} | {readable(seconds)} | {slowest / seconds:,.0f} |")


def main() -> None:
    """Both networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    fastnn.set_num_threads(1)
    rng = np.random.default_rng(1)
    print(processor())

    x, t = rng.normal(size=(2, 1000)), rng.normal(size=(2, 1000))
    sizes = (2, 3, 2)
    climb(
        "2-3-2, float64",
        [
            ("the article's loop in NumPy", article(network(sizes), x, t), 1),
            ("the same loop over `fastnn.nn`, a call for each step", calls(network(sizes), x, t), 1),
            ("one call for all steps", epochs("never")(network(sizes), x, t), 200),
            ("one call, and a kernel for this network alone", epochs("always")(network(sizes), x, t), 400),
        ],
        1000,
        rounds,
    )

    x, t = rng.uniform(0.1, 1, size=(784, 1000)), rng.normal(size=(10, 1000))
    drawn = np.where(rng.random(x.shape) < 0.2, x, 0.0)  # as much ink as in a digit of MNIST
    sizes = (784, 16, 16, 10)
    climb(
        "784-16-16-10, a sample a step",
        [
            ("the article's loop in NumPy", article(network(sizes), x, t), 1),
            ("plain loops in Numba", plain_loops(network(sizes), x, t), 2),
            ("fastnn: vector instructions", epochs("never")(network(sizes), x, t), 20),
            ("the same, four of five inputs are zeros", epochs("never")(network(sizes), drawn, t), 20),
            ("the same zeros in float32", epochs("never")(network(sizes, "float32"), drawn, t), 20),
        ],
        1000,
        rounds,
    )


if __name__ == "__main__":
    main()
