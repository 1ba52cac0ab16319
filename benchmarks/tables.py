"""Tables from end to end: fastnn's estimators, scikit-learn's network and boosting, and RealMLP on PyTorch.

    python -m benchmarks.tables
    python -m benchmarks.tables --tables penguins concrete --splits 2

Each of the five splits holds out a fifth of the rows, classes in their shares. Every contestant gets the data frame
as it is, or the pipeline that its documentation shows, with its default settings, on the same cores. The score is R2,
or for classes the share of the errors of the most frequent class that is avoided, 1 - errors / its errors, so that 0
is what no model at all would reach and 1 is perfect. Times are of the processor, not of the clock, with one thread
for everyone: what else the machine does makes no difference, or little. Small tables come first. What is done is kept
in a file, and an interrupted run goes on.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import start_free
from benchmarks.real_tables import TABLES

SPLITS = 5


def fastnn_estimator(classes: bool, seed: int, threads: int = 1) -> Any:
    """With its defaults."""
    from fastnn.tabular import TabularClassifier, TabularRegressor

    return (TabularClassifier if classes else TabularRegressor)(random_state=seed, n_jobs=threads)


def scikit_learn_mlp(classes: bool, seed: int, threads: int = 1) -> Any:
    """In the pipeline of its documentation's examples on mixed columns; targets of a regression are standardised."""
    from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_exclude="category")),
    )
    if classes:
        return make_pipeline(columns, MLPClassifier(random_state=seed))
    net = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    return make_pipeline(columns, net)


def boosting(classes: bool, seed: int, threads: int = 1) -> Any:
    """Which takes categories by their dtype."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    return (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(
        categorical_features="from_dtype", random_state=seed
    )


def realmlp(classes: bool, seed: int, threads: int = 1) -> Any:
    """pytabkit's RealMLP_TD_S, the recipe on PyTorch; it takes no missing numbers, so they get a median and a mark."""
    from pytabkit import RealMLP_TD_S_Classifier, RealMLP_TD_S_Regressor
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    columns = make_column_transformer(
        (SimpleImputer(strategy="median", add_indicator=True), make_column_selector(dtype_exclude="category")),
        remainder="passthrough",
    ).set_output(transform="pandas")
    net = (RealMLP_TD_S_Classifier if classes else RealMLP_TD_S_Regressor)(
        random_state=seed, device="cpu", n_threads=threads
    )
    return make_pipeline(columns, net)


CONTESTANTS: dict[str, Callable[..., Any]] = {
    "fastnn": fastnn_estimator,
    "RealMLP_TD_S": realmlp,
    "boosting": boosting,
    "scikit-learn MLP": scikit_learn_mlp,
}


def parted(table: str, split: int) -> list[Any]:
    """What is trained on and what is held out: both parts of X, then of y."""
    from sklearn.model_selection import train_test_split

    X, y = TABLES[table].load()
    return train_test_split(X, y, test_size=0.2, random_state=split, stratify=y if TABLES[table].classes else None)


def scored(contestant: str, table: str, split: int) -> tuple[float, float]:
    """The score on the rows held out, and the processor's seconds of `fit` with one thread."""
    from threadpoolctl import threadpool_limits

    classes = TABLES[table].classes
    X_train, X_test, y_train, y_test = parted(table, split)
    model = CONTESTANTS[contestant](classes, split)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # as of scikit-learn, that 200 epochs did not do
        started = time.process_time()
        model.fit(X_train, y_train)
        seconds = time.process_time() - started
        found = model.predict(X_test)
    if classes:
        names, counts = np.unique(y_train, return_counts=True)
        errors, usual = np.mean(found != y_test), np.mean(y_test != names[np.argmax(counts)])
        return float(1 - errors / usual), seconds
    return float(1 - np.mean((y_test - found) ** 2) / np.var(y_test)), seconds


def race(tables: list[str], contestants: list[str], splits: int, kept: Path) -> dict[str, Any]:
    """All scores and times, ``{table: {contestant: [[score, seconds], ...]}}``, one for each split."""
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for contestant in contestants:  # compiles, and imports
        scored(contestant, "penguins", 0)
        scored(contestant, "concrete", 0)
    for table in tables:
        for split in range(splits):
            for contestant in contestants[:: 1 if split % 2 else -1]:
                found = results.setdefault(table, {}).setdefault(contestant, [])
                if len(found) == split:
                    found.append(scored(contestant, table, split))
                    kept.write_text(json.dumps(results))
                    print(
                        f"{table}, split {split}, {contestant}: {found[-1][0]:.4f} in {found[-1][1]:.2f} s", flush=True
                    )
    return results


def common(results: dict[str, Any], contestants: list[str]) -> dict[str, Any]:
    """Of the tables that all of them have done, the splits that all have done."""
    kept = {}
    for table, found in results.items():
        count = min(len(found.get(name, [])) for name in contestants)
        if count:
            kept[table] = {name: found[name][:count] for name in contestants}
    return kept


def printed(results: dict[str, Any], contestants: list[str]) -> str:
    """The table, in Markdown, with means of ranks and scores below."""
    lines = ["| table | " + " | ".join(contestants) + " |", "|---|" + "---|" * len(contestants)]
    means = {table: [np.mean([s for s, _ in found[name]]) for name in contestants] for table, found in results.items()}
    times = {
        table: [np.median([t for _, t in found[name]]) for name in contestants] for table, found in results.items()
    }
    for table, scores in means.items():
        cells = []
        for score, seconds in zip(scores, times[table]):
            bold = "**" if score == max(scores) else ""
            cells.append(f"{bold}{score:.3f}{bold} {seconds:.1f} s")
        lines.append(f"| {table} | " + " | ".join(cells) + " |")
    array = np.array(list(means.values()))
    better, same = array[:, None] > array[:, :, None], array[:, None] == array[:, :, None]
    ranks = (better.sum(axis=2) + (same.sum(axis=2) + 1) / 2).mean(axis=0)  # equal ones share their ranks
    lines.append("| mean score | " + " | ".join(f"{x:.4f}" for x in array.mean(axis=0)) + " |")
    lines.append("| mean rank | " + " | ".join(f"{x:.2f}" for x in ranks) + " |")
    ours = np.array(list(times.values()))
    ratios = np.exp(np.mean(np.log(ours / ours[:, :1]), axis=0))
    lines.append("| time of `fit`, geometric mean, fastnn 1 | " + " | ".join(f"{x:.2f}" for x in ratios) + " |")
    return "\n".join(lines)


def draw(results: dict[str, Any], contestants: list[str], path: Path) -> None:
    """A dot a contestant in each table's row: the score, and beside it the time."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 0.35 * len(results) + 1.5), sharey=True, layout="constrained"
    )
    rows = np.arange(len(results))[::-1]
    for name, marker in zip(contestants, "osD^"):
        scores = [np.mean([s for s, _ in found[name]]) for found in results.values()]
        times = [np.median([t for _, t in found[name]]) for found in results.values()]
        left.plot(scores, rows, marker, label=name, alpha=0.8)
        right.plot(times, rows, marker, alpha=0.8)
    left.set_yticks(rows, list(results))
    left.set_xlabel("score: R2, or the share of errors avoided (right is better)")
    right.set_xlabel("the processor's seconds of fit (left is better)")
    right.set_xscale("log")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(contestants))
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--kept", type=Path, default=Path("tables.json"), help="where results are kept")
    parser.add_argument("--picture", type=Path, help="where to draw them")
    arguments = parser.parse_args()
    start_free("benchmarks.tables")
    results = race(arguments.tables, arguments.contestants, arguments.splits, arguments.kept)
    chosen = common({name: results[name] for name in arguments.tables}, arguments.contestants)
    print(printed(chosen, arguments.contestants))
    if arguments.picture:
        draw(chosen, arguments.contestants, arguments.picture)


if __name__ == "__main__":
    main()
