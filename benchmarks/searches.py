"""BankSearchCV beside scikit-learn's GridSearchCV of both libraries' networks: times, and the best scores.

    python -m benchmarks.searches

60 candidates on 5 folds, all on the same two cores, in turns. The processes of joblib, in which GridSearchCV trains,
are ended before each of its turns, as they are not there when a script begins; with --warm they stay. With --clock cpu
the seconds are those of all processes together, divided by two: for a machine that others use.
"""

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import sklearn
from joblib.externals.loky import get_reusable_executor
from sklearn import neural_network as theirs
from sklearn.datasets import load_digits, make_classification
from sklearn.model_selection import GridSearchCV

import fastnn
from benchmarks.environment import start_free
from benchmarks.peers.__main__ import processor
from fastnn import sklearn as ours

GRID: dict[str, list[Any]] = {
    "hidden_layer_sizes": [(32,), (64,), (100,)],
    "alpha": [1e-5, 1e-4, 1e-3, 1e-2, 1e-1],
    "learning_rate_init": [1e-3, 1e-2],
    "batch_size": [32, 200],
}


def cpu_seconds() -> float:
    """What this process and those that it started, and that have ended, have used, for each of two cores."""
    return sum(os.times()[:4]) / 2


def end_processes() -> None:
    """End those of joblib."""
    get_reusable_executor().shutdown(wait=True)


def contestants(
    epochs: int, grid: dict[str, list[Any]] = GRID, jobs: int = 2, cv: int = 5
) -> dict[str, Callable[[], Any]]:
    """The searches, not yet fitted."""
    settings = {"max_iter": epochs, "random_state": 0}
    net, other = ours.MLPClassifier(**settings), theirs.MLPClassifier(**settings)
    how: dict[str, Any] = {"n_jobs": jobs, "refit": False, "cv": cv}
    return {
        "bank": lambda: ours.BankSearchCV(net, grid, **how),
        "halving": lambda: ours.BankSearchCV(net, grid, **how, halving=True),
        "grid": lambda: GridSearchCV(net, grid, **how),
        "theirs": lambda: GridSearchCV(other, grid, **how),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3, help="how often each of fastnn's is timed")
    parser.add_argument("--their-turns", type=int, default=1, help="and scikit-learn's, which take minutes")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--data", choices=["digits", "made up", "both"], default="both")
    parser.add_argument("--warm", action="store_true", help="leave joblib's processes as they are")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    start_free("benchmarks.searches")
    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"  # of the processes
    warm = options.warm and options.clock == "wall"  # the system knows the seconds of processes that have ended
    clock = time.perf_counter if options.clock == "wall" else cpu_seconds
    print(f"{processor()}, fastnn {fastnn.__version__}, scikit-learn {sklearn.__version__}, {options.epochs} epochs\n")
    print("| data | search | s | times that of BankSearchCV | best score |")
    print("|---|---|---|---|---|")
    X, y = load_digits(return_X_y=True)
    made = make_classification(5000, 20, n_informative=10, random_state=0)
    for name, label, data in (("digits", "digits, 1,797 x 64", (X / 16, y)), ("made up", "5,000 x 20", made)):
        if options.data not in (name, "both"):
            continue
        searches = contestants(options.epochs)
        ours.BankSearchCV(ours.MLPClassifier(max_iter=1), GRID, n_jobs=2, cv=2, refit=False).fit(*data)  # compiles
        seconds: dict[str, list[float]] = {name: [] for name in searches}
        scores = {}
        for turn in range(max(options.turns, options.their_turns)):
            for name, make in searches.items():
                if turn >= (options.their_turns if name == "theirs" else options.turns):
                    continue
                if not warm:
                    end_processes()
                time.sleep(0.3)
                started = clock()
                search = make().fit(*data)
                if options.clock == "cpu":
                    end_processes()
                seconds[name].append(clock() - started)
                scores[name] = search.best_score_
        found = {name: statistics.median(some) for name, some in seconds.items() if some}
        for name, of in {
            "bank": "BankSearchCV of fastnn's", "halving": "the same, halving=True",
            "grid": "GridSearchCV(n_jobs=2) of fastnn's", "theirs": "GridSearchCV(n_jobs=2) of scikit-learn's",
        }.items():  # fmt: skip
            if name in found:
                ratio = f"{found[name] / found['bank']:.2f}"
                print(f"| {label} | {of} | {found[name]:.2f} | {ratio} | {scores[name]:.4f} |", flush=True)


if __name__ == "__main__":
    main()
