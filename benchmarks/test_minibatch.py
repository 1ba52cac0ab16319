"""Mini-batches, against the reference and against the same step in batched NumPy."""

import numpy as np
import pytest
from contest import Contest, Run, in_turns, with_fastnn_and
from numpy_batched import BatchedNetwork
from workloads import Workload

from fastnn import reference

STEPS, NUMPY_STEPS, REFERENCE_STEPS = 50, 20, 4


@pytest.fixture(
    scope="module",
    params=[
        (Workload(sizes, dtype, samples), batch_size)
        for sizes, samples, batch_size in (
            ((784, 128, 10), "strokes", 32),
            ((784, 128, 10), "strokes", 128),
            ((16, 64, 64, 26), "classes", 32),
        )
        for dtype in ("float32", "float64")
    ],
    ids=lambda param: f"{param[0]} {param[1]}",
)
def contest(request: pytest.FixtureRequest) -> Contest:
    workload, batch_size = request.param
    rows, classes = workload.rows(STEPS * batch_size), workload.targets(STEPS * batch_size)
    some, few = (slice(steps * batch_size) for steps in (NUMPY_STEPS, REFERENCE_STEPS))
    net = workload.network()
    slow, batched = reference.copy_of(net), BatchedNetwork(net, batch_size)

    # All three take the same steps; this also compiles
    loss = slow.train(rows[few].T, classes[few], batch_size=batch_size)
    tolerance = 1e-5 if workload.dtype == "float32" else 1e-10
    np.testing.assert_allclose(net.train(rows[few].T, classes[few], batch_size=batch_size), loss, rtol=tolerance)
    np.testing.assert_allclose(batched.train(rows[few], classes[few]), loss, rtol=tolerance)

    return Contest(
        f"batches of {batch_size}, {workload}",
        "step",
        {
            "fastnn": Run(lambda: net.train(rows.T, classes, batch_size=batch_size), STEPS),
            "batched NumPy": Run(lambda: batched.train(rows[some], classes[some]), NUMPY_STEPS),
            "reference": Run(lambda: slow.train(rows[few].T, classes[few], batch_size=batch_size), REFERENCE_STEPS),
        },
    )


@with_fastnn_and("batched NumPy", "reference")
@in_turns
def test_minibatch(benchmark, contest, turn, peer, threads):
    contest.time(benchmark, peer, threads)
