"""fastnn's estimators and scikit-learn's, side by side: time of `fit`, overhead over `NeuralNetwork.fit`, scores.

    python -m benchmarks.estimators

Both get the same parameters, and so the same first weights. The contestants take turns; the ratios are those of the
medians. The scores are on held-out samples, each seed a split, first weights and an order of its own.
"""

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from sklearn import neural_network as theirs
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_classification,
    make_friedman1,
)
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale

import fastnn
from benchmarks.environment import start_free
from benchmarks.peers.__main__ import processor
from fastnn import sklearn as ours
from fastnn.training.epochs import fit
from fastnn.training.settings import Settings

Data = tuple[np.ndarray, np.ndarray]


def digits() -> Data:
    """1,797 x 64."""
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def made_up() -> Data:
    """20,000 x 50, of 5 classes."""
    return make_classification(20_000, 50, n_informative=20, n_classes=5, random_state=0)


def sine() -> Data:
    """sin(8x) with a little noise."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (400, 1))
    return X, np.sin(8 * X[:, 0]) + 0.05 * rng.normal(size=400)


def spirals() -> Data:
    """Two spirals of one and a half turns."""
    rng = np.random.default_rng(0)
    turn, y = 3 * np.pi * np.sqrt(rng.uniform(0.05, 1, 600)), np.arange(600) % 2
    X = np.c_[turn * np.cos(turn + np.pi * y), turn * np.sin(turn + np.pi * y)] / 10
    return X + 0.02 * rng.normal(size=X.shape), y


def scaled(data: Data, values: bool = False) -> Data:
    """Inputs, and targets that are values, of mean 0 and variance 1."""
    return scale(data[0]), scale(data[1]) if values else data[1]


def medians(contestants: dict[str, Callable[[], object]], turns: int, clock: Callable[[], float]) -> dict[str, float]:
    """The median of each contestant's seconds, who take turns, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants.items())
    for turn in range(turns + 1):
        order.append(order.pop(0))  # nobody always comes after the same one
        for name, run in order:
            time.sleep(0.3)  # OpenBLAS's threads go on waiting for work for a while, on a core each
            started = clock()
            run()
            if turn:
                seconds[name].append(clock() - started)
    return {name: statistics.median(some) for name, some in seconds.items()}


def times(turns: int, clock: Callable[[], float]) -> None:
    """The two tables of times."""
    print("| data | batch | epochs | scikit-learn, s | fastnn, s | ratio | same fit by the network, s | overhead |")
    print("|---|---|---|---|---|---|---|---|")
    for label, (X, y), epochs in (("digits, 1,797 x 64", digits(), 100), ("20,000 x 50", made_up(), 10)):
        for batch in (32, 200):
            settings = {"batch_size": batch, "max_iter": epochs, "tol": 0, "n_iter_no_change": epochs}
            network = ours.MLPClassifier(**{**settings, "max_iter": 1}).fit(X, y).network_
            alone = Settings(epochs=epochs, batch_size=batch, equal_batches=False, averaged=True, verbose=0)
            found = medians(
                {
                    "theirs": lambda: theirs.MLPClassifier(**settings).fit(X, y),  # noqa: B023
                    "ours": lambda: ours.MLPClassifier(**settings).fit(X, y),  # noqa: B023
                    "alone": lambda: fit(copy.deepcopy(network), X, y, alone),  # noqa: B023
                },
                turns,
                clock,
            )
            print(
                f"| {label} | {batch} | {epochs} | {found['theirs']:.3f} | {found['ours']:.3f} | "
                f"{found['theirs'] / found['ours']:.1f} | {found['alone']:.3f} | "
                f"{100 * (found['ours'] / found['alone'] - 1):+.1f} % |",
                flush=True,
            )


PATIENT = {"learning_rate_init": 0.01, "max_iter": 1000, "tol": 1e-5, "n_iter_no_change": 100}
TASKS: list[tuple[str, str, Data, int, dict[str, Any]]] = [
    ("digits", "MLPClassifier", digits(), 10, {"max_iter": 60}),
    ("wine", "MLPClassifier", scaled(load_wine(return_X_y=True)), 10, {}),
    ("breast cancer", "MLPClassifier", scaled(load_breast_cancer(return_X_y=True)), 10, {}),
    ("diabetes (R2)", "MLPRegressor", scaled(load_diabetes(return_X_y=True), values=True), 10, {}),
    ("Friedman 1 (R2)", "MLPRegressor", scaled(make_friedman1(500, random_state=0), values=True), 30, {}),
    ("sin(8x), tanh (R2)", "MLPRegressor", sine(), 30, {"activation": "tanh", **PATIENT}),
    ("two spirals, L-BFGS", "MLPClassifier", spirals(), 30, {"solver": "lbfgs", "hidden_layer_sizes": (30,)}),
]


def scores() -> None:
    """The table of scores."""
    print("| data | seeds | scikit-learn | fastnn | paired difference |")
    print("|---|---|---|---|---|")
    for label, kind, (X, y), seeds, settings in TASKS:
        found = []
        for seed in range(seeds):
            X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=seed)
            models = [getattr(module, kind)(random_state=seed, **settings) for module in (theirs, ours)]
            found.append([model.fit(X_train, y_train).score(X_test, y_test) for model in models])
        mean, difference = np.mean(found, axis=0), np.diff(found, axis=1)
        error = difference.std(ddof=1) / np.sqrt(seeds)
        print(
            f"| {label} | {seeds} | {mean[0]:.4f} | {mean[1]:.4f} | {difference.mean():+.4f} +- {error:.4f} |",
            flush=True,
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=7, help="how often each contestant is timed")
    parser.add_argument("--threads", type=int, default=1, help="of fastnn; scikit-learn has those of its BLAS")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: for a machine that others use")
    parser.add_argument("--no-scores", action="store_true", help="times only")
    options = parser.parse_args()
    start_free("benchmarks.estimators")
    warnings.simplefilter("ignore")
    fastnn.set_num_threads(options.threads)
    print(f"{processor()}, fastnn {fastnn.__version__}, scikit-learn {sklearn.__version__}\n")
    times(options.turns, time.process_time if options.clock == "cpu" else time.perf_counter)
    if not options.no_scores:
        print()
        scores()


if __name__ == "__main__":
    main()
