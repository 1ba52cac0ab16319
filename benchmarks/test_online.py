"""Online training, one step for each column, against the article's loop."""

import numpy as np
import pytest
from contest import Contest, Run, in_turns
from workloads import Workload

from fastnn import reference

CALL_STEPS, COLUMN_STEPS, ARTICLE_STEPS = 20_000, 5_000, 500

with_each_peer = pytest.mark.parametrize("peer", ["fastnn", "the article's loop"])


class Online:
    """One workload for fastnn and for the article, sample by sample and all at once."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.net = workload.network()
        self.article = reference.copy_of(self.net)
        rows, targets = workload.rows(CALL_STEPS), workload.targets(CALL_STEPS)
        self.x, self.t = rows.T, targets.T
        self.columns = [row.reshape(-1, 1) for row in rows[:COLUMN_STEPS]]
        self.column_targets = [t.reshape(-1, 1) for t in targets] if targets.ndim == 2 else targets.tolist()
        self.check()

    def check(self) -> None:
        """Both take the same steps; this also compiles."""
        self.net.train(self.x[:, :20], self.t[..., :20])
        self.loop(self.net.train, 20)
        self.loop(self.article.train_column, 20)
        self.loop(self.article.train_column, 20)
        tolerance = 1e-4 if self.workload.dtype == "float32" else 1e-10
        outputs, expected = (net.forward_pass(self.x[:, :20]) for net in (self.net, self.article))
        np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)

    def loop(self, train, steps: int) -> None:
        """The article's loop over columns."""
        for x, t in zip(self.columns[:steps], self.column_targets):
            train(x, t)

    def contest(self, group: str, fastnn: Run) -> Contest:
        """`fastnn` against the article's loop."""
        article = Run(lambda: self.loop(self.article.train_column, ARTICLE_STEPS), ARTICLE_STEPS)
        return Contest(f"{group}, {self.workload}", "step", {"fastnn": fastnn, "the article's loop": article})


@pytest.fixture(
    scope="module",
    params=[
        Workload((2, 3, 2), "float64", "dense"),
        Workload((2, 4, 4, 3), "float64", "dense"),
        Workload((784, 16, 16, 10), "float32", "strokes"),
        Workload((784, 16, 16, 10), "float64", "strokes"),
        Workload((784, 16, 16, 10), "float32", "scattered"),
    ],
    ids=str,
)
def online(request: pytest.FixtureRequest) -> Online:
    return Online(request.param)


@with_each_peer
@in_turns
def test_one_call_for_all_columns(benchmark, online, turn, peer):
    fastnn = Run(lambda: online.net.train(online.x, online.t), CALL_STEPS)
    online.contest("online, one call for all columns", fastnn).time(benchmark, peer)


@with_each_peer
@in_turns
def test_one_call_for_each_column(benchmark, online, turn, peer):
    fastnn = Run(lambda: online.loop(online.net.train, COLUMN_STEPS), COLUMN_STEPS)
    online.contest("online, one call for each column", fastnn).time(benchmark, peer)
