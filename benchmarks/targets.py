"""What the scale of the targets costs, and what it brings: counts, prices, times.

    python -m benchmarks.targets

prints the R2 on 1,000 test samples of 5-32-1 networks (tanh, 40 epochs of 2,000 samples, batches of 32), mean and
standard deviation over 10 seeds: of counts, from log rates as they are and from rates; and of prices and times, from
a network on raw targets, one with `StandardizeTargets`, and one inside scikit-learn's `TransformedTargetRegressor`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from fastnn import (
    SGD,
    Adam,
    DivergedError,
    Identity,
    Layer,
    LossFunction,
    MSELoss,
    NeuralNetwork,
    PoissonNLLLoss,
    StandardizeTargets,
    Tanh,
)

SEEDS = range(10)
TRAIN, TEST = slice(0, 2000), slice(2000, None)
UNITS = {"prices": (200_000.0, 80_000.0), "times": (1.7e9, 100.0)}
RULES: dict[str, tuple[Callable[[], Any], float]] = {"SGD, 0.05": (SGD, 0.05), "SGD, 0.2": (SGD, 0.2),
                                                     "Adam, 0.01": (Adam, 0.01)}  # fmt: skip


def network(seed: int, loss: LossFunction, rule: str, dtype: str, *end: StandardizeTargets) -> NeuralNetwork:
    layers = [Layer(5, 32, Tanh(), seed=seed), Layer(32, 1, Identity(), seed=100 + seed), *end]
    optimizer, lr = RULES[rule]
    return NeuralNetwork(layers, loss, lr, optimizer(), dtype=dtype)


class Regressor(RegressorMixin, BaseEstimator):
    """The network on whatever targets it gets, as scikit-learn wants it."""

    def __init__(self, seed: int, rule: str, dtype: str) -> None:
        self.seed, self.rule, self.dtype = seed, rule, dtype

    def fit(self, X: Any, y: Any) -> Regressor:
        self.network_ = network(self.seed, MSELoss(), self.rule, self.dtype)
        self.network_.fit(X, y, 40, verbose=0, seed=self.seed)
        return self

    def predict(self, X: Any) -> Any:
        return self.network_.predict(X)[:, 0]


def counts() -> None:
    found = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(3000, 5))
        rates = np.exp(0.7 + 0.6 * X[:, 0] - 0.4 * X[:, 1] + 0.3 * np.sin(2 * X[:, 2]))
        y = rng.poisson(rates)
        net = network(seed, PoissonNLLLoss(), "Adam, 0.01", "float64")
        net.lr = 0.003
        net.fit(X[TRAIN], y[TRAIN], 40, verbose=0, seed=seed)
        found.append([r2_score(y[TEST], some) for some in (net.outputs(X[TEST]), net.predict(X[TEST]), rates[TEST])])
    print("counts: from log rates as they are, from rates, from the true rates")
    print("   ", told(*np.transpose(found)))


def told(*columns: Any) -> str:
    """Mean and standard deviation of each, over the seeds that did not diverge."""
    words = []
    for column in columns:
        finite = np.asarray(column)[np.isfinite(column)]
        lost = len(column) - len(finite)
        words.append(f"{finite.mean():.4g} +- {finite.std():.2g}" if len(finite) else "")
        words[-1] += f" ({lost} of {len(column)} diverged)" * (lost > 0)
    return " | ".join(words)


def scales(kind: str, rule: str, dtype: str) -> None:
    far, size = UNITS[kind]
    found: list[list[float]] = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(3000, 5))
        f = np.sin(2 * X[:, 0]) + 0.5 * X[:, 1] * X[:, 2] + 0.3 * X[:, 3] + 0.06 * rng.normal(size=3000)
        y = far + size * f
        plain = Regressor(seed, rule, dtype)
        inside = network(seed, MSELoss(), rule, dtype, StandardizeTargets())
        inside.fit(X[TRAIN], y[TRAIN], 40, verbose=0, seed=seed)
        around = TransformedTargetRegressor(plain, transformer=StandardScaler()).fit(X[TRAIN], y[TRAIN])
        try:
            raw = plain.fit(X[TRAIN], y[TRAIN]).predict(X[TEST])
        except DivergedError:
            raw = np.full(1000, np.nan)
        guesses = (raw, inside.predict(X[TEST])[:, 0], around.predict(X[TEST]))
        found.append([r2_score(f[TEST], (p - far) / size) if np.isfinite(p).all() else np.nan for p in guesses])
    print(f"    {kind}, {rule}, {dtype}: {told(*np.transpose(found))}")


if __name__ == "__main__":
    counts()
    print("raw targets, StandardizeTargets, TransformedTargetRegressor")
    for kind in UNITS:
        for rule in RULES:
            for dtype in ("float64", "float32"):
                scales(kind, rule, dtype)
