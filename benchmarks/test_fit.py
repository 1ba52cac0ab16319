"""What fit adds to the kernel: checks of the input, the guard against divergence, history, callbacks."""

import numpy as np
import pytest
from contest import Contest, Run
from workloads import Workload

from fastnn.data.rows import feature_rows, target_rows
from fastnn.training.run import Run as TrainingRun

SAMPLES, BATCH_SIZE, EPOCHS, SEED = 10_000, 32, 5, 0
TURNS = 15  # more than elsewhere: the difference is a few percent


@pytest.fixture(scope="module", params=[1, EPOCHS], ids=["1 epoch", f"{EPOCHS} epochs"])
def contest(request: pytest.FixtureRequest) -> Contest:
    epochs = request.param
    workload = Workload((784, 128, 10), "float32", "strokes")
    X, y = workload.rows(SAMPLES), workload.targets(SAMPLES)
    net = workload.network()
    rows = feature_rows(X, "X", 784, net.dtype)
    targets, classes = target_rows(y, "y", SAMPLES, 10, net.loss_function, net.dtype)

    def fit() -> None:
        net.fit(X, y, epochs, BATCH_SIZE, seed=SEED)

    def kernel() -> None:
        run = TrainingRun(net, rows, targets, classes, BATCH_SIZE, True, SEED)
        run.advance(epochs * run.steps_per_epoch)

    # Both take the same steps, on the same memory: where an array lies can cost more than fit does. This also compiles
    start = net.get_weights()
    fit()
    fitted = net.get_weights()
    net.set_weights(start)
    kernel()
    np.testing.assert_array_equal(net.layers[0].weights, fitted[0][0])

    steps = epochs * -(-SAMPLES // BATCH_SIZE)
    return Contest(
        f"fit, {epochs} epoch{'s' * (epochs > 1)} of {SAMPLES:,} samples in batches of {BATCH_SIZE}, {workload}",
        "step",
        {"the epoch kernel": Run(kernel, steps), "net.fit": Run(fit, steps)},
    )


@pytest.mark.parametrize("peer", ["the epoch kernel", "net.fit"])
@pytest.mark.parametrize("turn", range(TURNS))
def test_fit(benchmark, contest, turn, peer):
    contest.time(benchmark, peer)
