"""How sure is it? Calibrated probabilities and intervals of 90 % on real tables, against scikit-learn's.

    python -m benchmarks.uncertainty
    python -m benchmarks.uncertainty --tables penguins concrete --splits 5

Of classes the log-loss and the Brier score of ``TabularClassifier(calibrate=True)``, and of scikit-learn's network in
its pipeline under ``CalibratedClassifierCV``. Of values the part of the rows held out that lies in the interval, and
the mean pinball loss of the quantiles 0.05, 0.5 and 0.95 over the targets' standard deviation, of
``TabularRegressor(quantiles=...)`` and of three ``HistGradientBoostingRegressor(loss="quantile")``. Splits are those
of ``benchmarks.tables``. What is done is kept in a file, and an interrupted run goes on.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real_tables import TABLES
from benchmarks.tables import parted, scikit_learn_mlp

QUANTILES = (0.05, 0.5, 0.95)
SETS = (
    "penguins", "orange juice", "attrition", "cells", "mortgages", "credit", "phone churn", "service churn",
    "car prices", "concrete", "Saratoga houses", "wages", "Ames houses", "salaries", "deliveries",
)  # fmt: skip
SPLITS = 3
HEADS = {
    True: ("log-loss, fastnn", "scikit-learn", "Brier score, fastnn", "scikit-learn"),
    False: ("coverage, fastnn", "boosting", "pinball loss, fastnn", "boosting"),
}


def of_probabilities(found: Any, classes: Any, y: Any) -> tuple[float, float]:
    """Log-loss and Brier score (the sum over the classes)."""
    places = np.searchsorted(classes, y)
    right = np.maximum(found[np.arange(len(y)), places], 1e-15)
    return float(-np.log(right).mean()), float(((found - np.eye(len(classes))[places]) ** 2).sum(axis=1).mean())


def of_quantiles(found: Any, y: Any) -> tuple[float, float]:
    """Coverage, and the mean pinball loss of the quantiles over the targets' standard deviation."""
    residuals = y[:, None] - found
    levels = np.array(QUANTILES)
    losses = np.maximum(levels * residuals, (levels - 1) * residuals)
    covered = (found[:, 0] <= y) & (y <= found[:, -1])
    return float(covered.mean()), float(losses.mean() / y.std())


def measured(table: str, split: int) -> list[float]:
    """The four numbers of a table, in the order of `HEADS`."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingRegressor

    from fastnn.tabular import TabularClassifier, TabularRegressor

    X, X_test, y, y_test = parted(table, split)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if TABLES[table].classes:
            ours = TabularClassifier(calibrate=True, random_state=split).fit(X, y)
            theirs = CalibratedClassifierCV(scikit_learn_mlp(True, split)).fit(X, y)
            both = [of_probabilities(model.predict_proba(X_test), model.classes_, y_test) for model in (ours, theirs)]
        else:
            net = TabularRegressor(quantiles=QUANTILES, random_state=split).fit(X, y)
            trees = [
                HistGradientBoostingRegressor(
                    loss="quantile", quantile=level, categorical_features="from_dtype", random_state=split
                ).fit(X, y)
                for level in QUANTILES
            ]
            of_trees = np.stack([model.predict(X_test) for model in trees], axis=1)
            both = [of_quantiles(found, y_test) for found in (net.predict_quantiles(X_test), of_trees)]
    (first, second), (other, last) = both
    return [first, other, second, last]


def printed(results: dict[str, list[list[float]]]) -> str:
    """The two tables, in Markdown: means over the splits."""
    blocks = []
    for classes, heads in HEADS.items():
        rows = {table: np.mean(found, axis=0) for table, found in results.items() if TABLES[table].classes is classes}
        if not rows:
            continue
        lines = ["| table | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
        rows["mean"] = np.mean(list(rows.values()), axis=0)
        lines += [f"| {table} | " + " | ".join(f"{x:.3f}" for x in found) + " |" for table, found in rows.items()]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(SETS))
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--kept", type=Path, default=Path("uncertainty.json"), help="where results are kept")
    arguments = parser.parse_args()
    results: dict[str, list[list[float]]] = {}
    if arguments.kept.exists():
        results = json.loads(arguments.kept.read_text())
    for split in range(arguments.splits):
        for table in arguments.tables:
            found = results.setdefault(table, [])
            if len(found) == split:
                found.append(measured(table, split))
                arguments.kept.write_text(json.dumps(results))
                print(table, split, *(f"{x:.3f}" for x in found[-1]), flush=True)
    print(printed({table: results[table] for table in arguments.tables}))


if __name__ == "__main__":
    main()
