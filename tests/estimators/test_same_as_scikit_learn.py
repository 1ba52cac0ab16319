"""From the same first weights, with the samples in one order, a fit goes as scikit-learn's goes, number by number."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn.base")

import sklearn
from sklearn import neural_network as theirs
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_multilabel_classification,
    make_regression,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from fastnn import sklearn as ours

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))
needs_weights = pytest.mark.skipif(VERSION < (1, 7), reason="scikit-learn's networks take weights since 1.7")


def digits():
    X, y = load_digits(return_X_y=True)
    return X[:805] / 16, y[:805]


def two_classes():
    X, y = load_iris(return_X_y=True)
    return X[:100], np.array(["setosa", "versicolor"])[y[:100]]


def values():
    X, y = load_diabetes(return_X_y=True)
    return 20 * X, scale(y)


def counts():
    X, _ = values()
    return X, np.random.default_rng(0).poisson(np.exp(X[:, 2]))


def labels():
    return make_multilabel_classification(random_state=0)


def many_values():
    X, y = make_regression(n_samples=333, n_targets=3, random_state=0)
    return X, y / 100


def both(kind, data, weight=None, **settings):
    """scikit-learn's estimator and ours after the same fit."""
    settings = {"shuffle": False, "random_state": 0, "max_iter": 30, **settings}
    models = [getattr(module, kind)(**settings) for module in (theirs, ours)]
    more = {} if weight is None else {"sample_weight": weight}
    return [model.fit(*data, **more) for model in models]


def assert_same_course(a, b):
    assert (a.n_iter_, a.t_, a.n_layers_, a.n_outputs_, a.out_activation_) == (
        b.n_iter_, b.t_, b.n_layers_, b.n_outputs_, b.out_activation_,
    )  # fmt: skip
    np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, rtol=1e-9)
    for name in ("loss_", "best_loss_", "best_validation_score_"):
        assert getattr(b, name) == (getattr(a, name) and pytest.approx(getattr(a, name), rel=1e-9)), name
    assert (a.validation_scores_ is None) == (b.validation_scores_ is None)
    if a.validation_scores_ is not None:
        np.testing.assert_allclose(b.validation_scores_, a.validation_scores_, rtol=1e-9)
    for one, other in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 1e-4, 1.0])
@pytest.mark.parametrize(
    "solver",
    [
        {"solver": "adam"},
        {"solver": "adam", "epsilon": 1e-2, "beta_1": 0.5},
        {"solver": "sgd", "learning_rate_init": 0.05},
        {"solver": "sgd", "learning_rate_init": 0.05, "nesterovs_momentum": False},
        {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0},
        {"solver": "sgd", "learning_rate_init": 1, "learning_rate": "invscaling"},
        {"solver": "sgd", "learning_rate_init": 0.2, "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2},
    ],
)
def test_solvers_and_penalties(solver, alpha):  # 805 samples end in a batch of 5
    assert_same_course(*both("MLPClassifier", digits(), alpha=alpha, **solver))


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(
    ("kind", "data", "settings"),
    [
        ("MLPClassifier", digits, {"activation": "logistic", "hidden_layer_sizes": (30, 20), "batch_size": 32}),
        ("MLPClassifier", two_classes, {"activation": "tanh", "batch_size": 1, "max_iter": 5}),
        ("MLPClassifier", labels, {"alpha": 0.1}),
        ("MLPRegressor", values, {"activation": "identity"}),
        ("MLPRegressor", many_values, {"solver": "sgd", "learning_rate_init": 0.01}),
        *([("MLPRegressor", counts, {"loss": "poisson"})] if VERSION >= (1, 7) else []),
    ],
)
def test_tasks_with_and_without_early_stopping(kind, data, settings, early):
    assert_same_course(*both(kind, data(), early_stopping=early, **settings))


@needs_weights
@pytest.mark.parametrize(
    ("kind", "data"), [("MLPClassifier", digits), ("MLPClassifier", two_classes), ("MLPRegressor", many_values)]
)
@pytest.mark.parametrize("early", [False, True])
def test_sample_weights(kind, data, early):
    X, y = data()
    weight = np.random.default_rng(0).uniform(0.1, 3, len(X))
    assert_same_course(*both(kind, (X, y), weight, alpha=0.5, early_stopping=early))


@pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning")  # of an old scikit-learn's, in a new SciPy
@pytest.mark.parametrize(("kind", "data"), [("MLPClassifier", two_classes), ("MLPRegressor", values)])
def test_lbfgs_comes_to_the_same_loss(kind, data):
    settings = {"solver": "lbfgs", "activation": "tanh", "alpha": 1.0, "hidden_layer_sizes": (20,), "max_iter": 2000}
    pairs = [both(kind, data(), random_state=seed, **settings) for seed in range(5)]
    a, b = (min(pair[who].loss_ for pair in pairs) for who in (0, 1))  # where one start ends, roundings may decide
    assert b == pytest.approx(a, rel=2e-3)
    a, b = (sum(pair[who].n_iter_ for pair in pairs) for who in (0, 1))
    assert b == pytest.approx(a, rel=0.3)


def test_a_fit_in_float32_stays_near():
    X, y = digits()
    a, b = both("MLPClassifier", (X.astype(np.float32), y))
    assert b.coefs_[0].dtype == b.predict_proba(X).dtype == np.float32
    np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, rtol=1e-4)


def test_fits_that_go_on_go_the_same_way():
    X, y = values()
    models = [module.MLPRegressor(warm_start=True, shuffle=False, random_state=0) for module in (theirs, ours)]
    for model in models:
        model.set_params(max_iter=7).fit(X, y).set_params(max_iter=5).fit(X, y)
        model.partial_fit(X, y).partial_fit(X[:100], y[:100])
    assert_same_course(*models)


def test_the_warning_is_theirs():
    X, y = values()
    messages = []
    for module in (theirs, ours):
        with pytest.warns(ConvergenceWarning) as caught:
            module.MLPRegressor(max_iter=3).fit(X, y)
        messages.append([str(one.message) for one in caught])
        assert __file__ in {one.filename for one in caught} or module is theirs
    assert messages[0] == messages[1]


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_diabetes])
def test_scores_are_within_noise(load):
    X, y = load(return_X_y=True)
    kind = "MLPRegressor" if load is load_diabetes else "MLPClassifier"
    scores = []
    for module in (theirs, ours):
        seeds = [getattr(module, kind)(random_state=s, learning_rate_init=0.01, max_iter=60) for s in range(3)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores.append([cross_val_score(make_pipeline(StandardScaler(), one), X, y, cv=3).mean() for one in seeds])
    assert np.mean(scores[1]) == pytest.approx(np.mean(scores[0]), abs=0.03)
