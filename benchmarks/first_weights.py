"""What the first biases are worth: networks whose biases start at zero, or as `Layer` draws them, and scikit-learn's.

    python -m benchmarks.first_weights

Everyone gets the same splits, layers, solver, rate, batches and number of epochs, and no penalty. `NeuralNetwork` has
the weights that `Layer` draws; the estimators of scikit-learn and of fastnn have scikit-learn's. Each seed is a split,
first weights and an order of its own; the scores, R2 or accuracy, are of the quarter of the samples held out.
"""

import argparse
import warnings
from functools import partial
from typing import Any

import numpy as np
from sklearn import neural_network as theirs
from sklearn.datasets import make_friedman1
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split

from benchmarks.estimators import Data, scaled, sine, spirals
from fastnn import (
    Adam,
    BCEWithLogitsLoss,
    Identity,
    Layer,
    MSELoss,
    NeuralNetwork,
    ReLU,
    Tanh,
    sklearn as ours,
)

ACTIVATIONS = {"relu": ReLU, "tanh": Tanh}
TASKS: list[tuple[str, Data, dict[str, Any]]] = [
    (
        "Friedman 1, 100 ReLU, Adam (R2)",
        scaled(make_friedman1(500, random_state=0), values=True),
        {"activation": "relu", "hidden_layer_sizes": (100,), "learning_rate_init": 1e-3, "max_iter": 200},
    ),
    (
        "sin(8x), 100 tanh, Adam (R2)",
        sine(),
        {"activation": "tanh", "hidden_layer_sizes": (100,), "learning_rate_init": 0.01, "max_iter": 500},
    ),
    (
        "two spirals, 30 ReLU, L-BFGS (accuracy)",
        spirals(),
        {"activation": "relu", "hidden_layer_sizes": (30,), "solver": "lbfgs", "max_iter": 200},
    ),
]


def network(X: Any, y: Any, X_test: Any, seed: int, settings: dict[str, Any], bias_init: str | None) -> Any:
    """What a `NeuralNetwork` with these settings predicts."""
    classes, rng = y.dtype.kind == "i", np.random.default_rng(seed)
    sizes = (X.shape[1], *settings["hidden_layer_sizes"], 1)
    acts = [ACTIVATIONS[settings["activation"]]() for _ in sizes[2:]] + [Identity()]
    layers = [Layer(*size, act, bias_init=bias_init, seed=rng) for *size, act in zip(sizes, sizes[1:], acts)]
    loss = BCEWithLogitsLoss() if classes else MSELoss()
    net = NeuralNetwork(layers, loss, settings.get("learning_rate_init", 0.0), Adam())
    if settings.get("solver") == "lbfgs":
        net.fit_lbfgs(X, y, settings["max_iter"], tol=1e-4)
    else:
        net.fit(X, y, settings["max_iter"], 200, verbose=0, seed=seed)
    return net.predict_classes(X_test) if classes else net.predict(X_test)


def estimator(X: Any, y: Any, X_test: Any, seed: int, settings: dict[str, Any], module: Any) -> Any:
    """What an estimator with these settings predicts."""
    cls = module.MLPClassifier if y.dtype.kind == "i" else module.MLPRegressor
    patient = {} if settings.get("solver") == "lbfgs" else {"tol": 0.0, "n_iter_no_change": settings["max_iter"]}
    return cls(random_state=seed, alpha=0.0, **settings, **patient).fit(X, y).predict(X_test)


CONTESTANTS = {
    "scikit-learn": partial(estimator, module=theirs),
    "fastnn.sklearn": partial(estimator, module=ours),
    '`Layer`, `bias_init="zeros"`': partial(network, bias_init="zeros"),
    "`Layer`": partial(network, bias_init=None),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=30)
    seeds = parser.parse_args().seeds
    warnings.simplefilter("ignore")
    print(f"| task | {' | '.join(CONTESTANTS)} | last less first |\n|{'---|' * (len(CONTESTANTS) + 2)}")
    for label, (X, y), settings in TASKS:
        score, found = accuracy_score if y.dtype.kind == "i" else r2_score, []
        for seed in range(seeds):
            X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=seed)
            predictions = [run(X_train, y_train, X_test, seed, settings) for run in CONTESTANTS.values()]
            found.append([score(y_test, some) for some in predictions])
        scores = np.array(found)
        means = [f"{mean:.4f} +- {error:.4f}" for mean, error in zip(scores.mean(axis=0), errors(scores))]
        difference = scores[:, -1:] - scores[:, :1]
        print(
            f"| {label} | {' | '.join(means)} | {difference.mean():+.4f} +- {errors(difference)[0]:.4f} |", flush=True
        )


def errors(scores: np.ndarray) -> Any:
    """The standard errors of the means."""
    return scores.std(axis=0, ddof=1) / np.sqrt(len(scores))


if __name__ == "__main__":
    main()
