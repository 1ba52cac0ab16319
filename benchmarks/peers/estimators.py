"""W11 and W12: estimators from end to end, where the weights are their own and so scores stand in the place of checks.

W11: `fastnn.tabular.TabularClassifier` and pytabkit's RealMLP_TD_S, the recipe that both follow, on the same data frame
of numbers and categories with missing values, for the 256 epochs in batches of 256 that both have by default.

W12: fastnn's `BankSearchCV` and scikit-learn's `GridSearchCV`, each of its own network with the same parameters, on the
same folds of scikit-learn's digits. On two cores both have two jobs; joblib's processes stay from search to search,
which is in favour of scikit-learn.

How each is called is said once, in ``benchmarks/tables.py`` and ``benchmarks/searches.py``.
"""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any

import numpy as np

from .contestant import Unable, Unfit
from .workloads import Data, Parameters, Workload

TABLES = {"fastnn": "fastnn", "pytabkit": "RealMLP_TD_S"}
SEARCHES = {"fastnn": "bank", "sklearn": "theirs"}
GRID = {"hidden_layer_sizes": [(32,), (64,)], "alpha": [1e-4, 1e-2, 1e-1], "learning_rate_init": [1e-3, 1e-2]}


def frame(rows: int, seed: int = 0) -> tuple[Any, np.ndarray]:
    """Numbers and categories with missing values, and one of three classes by a rule with noise."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(rows, 6))
    plan, city = rng.choice(["basic", "plus", "pro"], rows), rng.integers(0, 20, rows)
    rule = numbers[:, 0] * (plan == "pro") + np.sin(city) + numbers[:, 1] ** 2 - 1 + rng.normal(0, 0.3, rows)
    numbers[rng.random(numbers.shape) < 0.05] = np.nan
    columns = {f"number {i}": column for i, column in enumerate(numbers.T)}
    categories = {"plan": pd.Categorical(plan), "city": pd.Categorical(city.astype(str))}
    return pd.DataFrame({**columns, **categories}), np.array(["low", "middle", "high"])[np.digitize(rule, [-0.5, 0.5])]


class TablesOnly:
    """pytabkit where there is no table."""

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        raise Unfit("is for tables")


class Estimator:
    """See `Contestant`; the first argument is who fits."""

    def __init__(self, peer: str, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        who = {"table": TABLES, "search": SEARCHES}[workload.kind].get(peer)
        if who is None:
            raise Unfit("is not measured")
        self.kind, self.who, self.threads = workload.kind, who, threads
        logging.disable(logging.INFO)  # of PyTorch Lightning, which sets its own level when it is imported
        warnings.simplefilter("ignore")  # that so few epochs did not do
        os.environ["PYTHONWARNINGS"] = "ignore"  # of joblib's processes
        try:
            self.data, self.held_out = self._data()
        except ImportError as error:
            raise Unable(f"not installed ({error})") from None

    def _data(self) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        if self.kind == "table":
            return frame(1000), frame(2000, seed=1)
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        return (X / 16, y), (X[:0], y[:0])

    def _made(self) -> Any:
        if self.kind == "table":
            from ..tables import CONTESTANTS

            return CONTESTANTS[self.who](True, 0, self.threads)
        from ..searches import contestants

        return contestants(10, GRID, self.threads, cv=3)[self.who]()

    def run(self, passes: int) -> None:
        """See `Contestant`."""
        for _ in range(passes):
            try:
                self.fitted = self._made().fit(*self.data)
            except ImportError as error:
                raise Unable(f"not installed ({error})") from None

    def result(self) -> list[np.ndarray]:
        """See `Contestant`; nothing is the same for all."""
        return []

    @property
    def note(self) -> str:
        """What it has learned."""
        if self.kind == "search":
            return f"best accuracy {self.fitted.best_score_:.3f}"
        return f"accuracy {self.fitted.score(*self.held_out):.3f} on 2,000 other rows"
