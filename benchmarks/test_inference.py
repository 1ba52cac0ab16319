"""Inference, against the reference, which runs all rows through whole-matrix NumPy."""

import numpy as np
import pytest
from contest import Contest, Run, in_turns, with_fastnn_and
from workloads import Workload

from fastnn import reference

ALL_ROWS, CALLS = 60_000, 1_000


@pytest.fixture(scope="module", params=["float32", "float64"])
def contests(request: pytest.FixtureRequest) -> dict[str, Contest]:
    workload = Workload((784, 128, 10), request.param, "strokes")
    rows = workload.rows(ALL_ROWS)
    net = workload.network()
    nets = {"fastnn": net, "reference": reference.copy_of(net)}
    columns = [row.reshape(-1, 1) for row in rows[:CALLS]]

    def one_by_one(forward_pass) -> None:
        for column in columns:
            forward_pass(column)

    # The same outputs; this also compiles
    tolerance = 1e-4 if request.param == "float32" else 1e-10
    for x in (columns[0], rows[:100].T):
        outputs, expected = (net.forward_pass(x) for net in nets.values())
        np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)

    return {
        "one row": Contest(
            f"inference, one row, {workload}",
            "row",
            {name: Run(lambda net=net: one_by_one(net.forward_pass), CALLS) for name, net in nets.items()},
        ),
        "all rows": Contest(
            f"inference, {ALL_ROWS:,} rows, {workload}",
            "row",
            {name: Run(lambda net=net: net.forward_pass(rows.T), ALL_ROWS) for name, net in nets.items()},
        ),
    }


@with_fastnn_and("reference")
@in_turns
@pytest.mark.parametrize("count", ["one row", "all rows"])
def test_inference(benchmark, contests, count, turn, peer, threads):
    contests[count].time(benchmark, peer, threads)
