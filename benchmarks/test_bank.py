"""A bank of networks: in one thread, in one for each core, and as fits one after another."""

import copy

import numpy as np
import pytest
from contest import Contest, Run, in_turns

from fastnn import Adam, Identity, Layer, MSELoss, NetworkBank, NeuralNetwork, Tanh
from fastnn.engine.crew import thread_count

NETWORKS, SAMPLES, BATCH_SIZE, EPOCHS = 64, 1_000, 32, 10


def network(seed: int) -> NeuralNetwork:
    rng = np.random.default_rng(seed)
    layers = [Layer(2, 16, Tanh(), seed=rng), Layer(16, 16, Tanh(), seed=rng), Layer(16, 1, Identity(), seed=rng)]
    return NeuralNetwork(layers, MSELoss(), 0.001, Adam(), dtype="float32")


@pytest.fixture(scope="module")
def contest() -> Contest:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(SAMPLES, 2)).astype("float32")
    y = np.sin(X[:, :1] * X[:, 1:])
    bank = NetworkBank([network(seed) for seed in range(NETWORKS)])
    twins = copy.deepcopy(bank.to_networks())

    def fit(threads: int) -> None:
        bank.fit(X, y, EPOCHS, BATCH_SIZE, seed=0, threads=threads)

    def one_by_one() -> None:
        for k, net in enumerate(twins):
            net.fit(X, y, EPOCHS, BATCH_SIZE, seed=k)

    fit(thread_count(None))  # this also compiles
    one_by_one()
    for net, twin in zip(bank, twins):
        for arrays, others in zip(net.get_weights(), twin.get_weights()):
            for array, other in zip(arrays, others):
                np.testing.assert_array_equal(array, other)

    steps = NETWORKS * EPOCHS * -(-SAMPLES // BATCH_SIZE)
    return Contest(
        f"a bank of {NETWORKS} networks 2-16-16-1 float32 (tanh, Adam), {EPOCHS} epochs of {SAMPLES:,} samples in "
        f"batches of {BATCH_SIZE}",
        "step",
        {
            "one thread": Run(lambda: fit(1), steps),
            "a thread for each core": Run(lambda: fit(thread_count(None)), steps),
            "fits one by one": Run(one_by_one, steps),
        },
    )


@pytest.mark.parametrize("peer", ["one thread", "a thread for each core", "fits one by one"])
@in_turns
def test_bank(benchmark, contest, turn, peer):
    contest.time(benchmark, peer)
