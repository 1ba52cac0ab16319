"""Cross-validated scores of fastnn and of scikit-learn's networks on scikit-learn's bundled data sets.

    python -m benchmarks.tabular

Both get the same folds, architecture, optimiser (Adam), batch size, epochs and penalty (none). fastnn
runs twice: with weights drawn as by default, and, in the line "its weights", as scikit-learn
draws them. Inputs, and the targets of a regression, are standardised by
the fold's training part. The score is accuracy or R2 on the part held out. The contestants take turns
at going first.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import sklearn
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from fastnn import (
    Adam,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Identity,
    Layer,
    MSELoss,
    NeuralNetwork,
    ReLU,
    __version__,
)

HIDDEN, LEARNING_RATE, BATCH_SIZE, EPOCHS, FOLDS, SEEDS = (64, 32), 1e-3, 32, 60, 5, 10

Scored = tuple[float, float]  # score, seconds of training


@dataclass(frozen=True)
class Fold:
    """One training and one test part, standardised; `outs` is 1 for two classes and for values."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    classes: bool
    outs: int

    def scored(self, train: Callable[[], object], predict: Callable[[np.ndarray], np.ndarray]) -> Scored:
        """Train, which is timed, and score."""
        started = time.perf_counter()
        train()
        seconds = time.perf_counter() - started
        score = accuracy_score if self.classes else r2_score
        return float(score(self.y_test, predict(self.X_test))), seconds


def fastnn(fold: Fold, seed: int, epochs: int = EPOCHS, like_scikit_learn: bool = False) -> Scored:
    """The score of a `NeuralNetwork`, which starts as fastnn does by default or as scikit-learn does."""
    rng = np.random.default_rng(seed)
    sizes = (fold.X.shape[1], *HIDDEN, fold.outs)
    layers = []
    for ins, outs in zip(sizes, sizes[1:]):
        start = uniform(np.sqrt(6 / (ins + outs))) if like_scikit_learn else None
        activation = Identity() if len(layers) == len(HIDDEN) else ReLU()
        layers.append(Layer(ins, outs, activation, init=start, bias_init=start, seed=rng))
    loss = MSELoss() if not fold.classes else BCEWithLogitsLoss() if fold.outs == 1 else CrossEntropyLoss()
    net = NeuralNetwork(layers, loss, LEARNING_RATE, Adam())
    return fold.scored(
        lambda: net.fit(fold.X, fold.y, epochs, BATCH_SIZE, seed=seed),
        net.predict_classes if fold.classes else net.predict,
    )


def uniform(limit: float) -> Callable[[int, int, np.random.Generator], np.ndarray]:
    """An initialiser: uniform between -limit and limit."""
    return lambda outs, ins, rng: rng.uniform(-limit, limit, (outs, ins))


def scikit_learn(fold: Fold, seed: int, epochs: int = EPOCHS) -> Scored:
    """The score of an `MLPClassifier` or `MLPRegressor`."""
    net = (MLPClassifier if fold.classes else MLPRegressor)(
        hidden_layer_sizes=HIDDEN, learning_rate_init=LEARNING_RATE, batch_size=BATCH_SIZE, alpha=0.0,
        max_iter=epochs, n_iter_no_change=epochs + 1, random_state=seed,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it says that all epochs were used
        return fold.scored(lambda: net.fit(fold.X, fold.y), net.predict)


def folds(X: np.ndarray, y: np.ndarray, seed: int) -> list[Fold]:
    """The five folds of a data set, shuffled by the seed."""
    classes = y.dtype.kind in "iu"
    split = (StratifiedKFold if classes else KFold)(FOLDS, shuffle=True, random_state=seed)
    found = []
    for train, test in split.split(X, y):
        scaler = StandardScaler().fit(X[train])
        y_train, y_test = y[train], y[test]
        if not classes:
            y_scaler = StandardScaler().fit(y_train[:, None])
            y_train, y_test = (y_scaler.transform(part[:, None])[:, 0] for part in (y_train, y_test))
        outs = int(y.max()) + 1 if classes and y.max() > 1 else 1
        found.append(Fold(scaler.transform(X[train]), y_train, scaler.transform(X[test]), y_test, classes, outs))
    return found


CONTESTANTS: dict[str, Callable[..., Scored]] = {
    "scikit-learn": scikit_learn,
    "fastnn": fastnn,
    "  its weights": partial(fastnn, like_scikit_learn=True),
}


def compare(name: str, X: np.ndarray, y: np.ndarray, seeds: int) -> None:
    """Print one data set's lines."""
    results: dict[str, list[Scored]] = {contestant: [] for contestant in CONTESTANTS}
    for score in CONTESTANTS.values():  # compiles, and wakes the BLAS up
        score(folds(X, y, 0)[0], 0, epochs=1)
    for seed in range(seeds):
        for i, fold in enumerate(folds(X, y, seed)):
            for contestant in list(CONTESTANTS)[:: 1 if i % 2 else -1]:
                results[contestant].append(CONTESTANTS[contestant](fold, FOLDS * seed + i))
    print(f"{name}, {len(y)} samples of {X.shape[1]} inputs")
    peer_scores, peer_seconds = np.transpose(results["scikit-learn"])
    for contestant, result in results.items():
        scores, seconds = np.transpose(result)
        line = f"  {contestant:14} {scores.mean():.4f} +- {scores.std(ddof=1):.4f} {np.median(seconds):10.3f} s"
        if contestant != "scikit-learn":
            difference = scores - peer_scores
            error = difference.std(ddof=1) / np.sqrt(len(difference))
            verdict = "no worse" if difference.mean() >= -2 * error else "WORSE"
            ratio = np.median(peer_seconds / seconds)
            line += f" {ratio:6.1f}   {difference.mean():+.4f} +- {error:.4f}  {verdict}"
        print(line, flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="how many times to cross-validate (default: %(default)s)"
    )
    seeds = parser.parse_args().seeds
    print(f"fastnn {__version__}, scikit-learn {sklearn.__version__}, NumPy {np.__version__}")
    print(
        f"layers {HIDDEN}, ReLU, Adam({LEARNING_RATE:g}), batches of {BATCH_SIZE}, {EPOCHS} epochs, no penalty, "
        f"{FOLDS} folds x {seeds} seeds, float64"
    )
    print(
        "accuracy, or R2 for diabetes: mean +- standard deviation over the folds; median time of a training; how many\n"
        "times as long scikit-learn takes; paired difference to scikit-learn +- its standard error (WORSE where it is\n"
        "below 0 by more than two of these)\n"
    )
    data = {
        "breast cancer": load_breast_cancer,
        "wine": load_wine,
        "digits": load_digits,
        "diabetes": load_diabetes,
    }
    for name, load in data.items():
        compare(name, *load(return_X_y=True), seeds)


if __name__ == "__main__":
    main()
