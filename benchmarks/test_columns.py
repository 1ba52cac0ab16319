"""What a column costs that is a view, or of integers, against a contiguous one; and what the changes of others cost."""

import numpy as np
import pytest
from contest import Contest, Run, in_turns

from fastnn import Adam, Layer, LeakyReLU, MSELoss, NeuralNetwork

CALLS = 2_000
SIZES = [(2, 3, 2), (784, 16, 16, 10)]
KINDS = ["contiguous", "slice", "column of a row", "integers", "contiguous, beside changes"]


def columns(kind, size):
    """One column of many samples, made as scripts make them."""
    many = np.random.default_rng(0).integers(-3, 4, (size, 100)).astype(int if kind == "integers" else float)
    if kind.startswith("contiguous"):
        return np.ascontiguousarray(many[:, 5:6])
    return np.atleast_2d(many[:, 5]).T if kind == "column of a row" else many[:, 5:6]


@in_turns
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["train", "forward_pass"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_single_columns(benchmark, sizes, method, kind, turn):
    layers = [Layer(a, b, LeakyReLU(), seed=a) for a, b in zip(sizes, sizes[1:])]
    net = NeuralNetwork(layers, MSELoss(), 1e-6)
    x, t = columns(kind, sizes[0]), columns(kind, sizes[-1])
    call = net.forward_pass if method == "forward_pass" else lambda x: net.train(x, t)
    stranger = Adam()

    def calls():
        for _ in range(CALLS):
            call(x)

    def calls_and_changes():
        for _ in range(CALLS):
            call(x)
            stranger.beta1 = 0.9  # the optimiser of no network

    run = Run(calls_and_changes if kind.endswith("changes") else calls, CALLS)
    Contest(f"{method} of one column, {'-'.join(map(str, sizes))}", "call", {kind: run}).time(benchmark, kind)
