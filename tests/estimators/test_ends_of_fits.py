"""What is said where a fit ends otherwise than with a better network, and what scorers of held-out samples see."""

import warnings

import numpy as np
import pytest
import sklearn
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

pd = pytest.importorskip("pandas")

import fastnn.sklearn  # noqa: E402
from fastnn import TimeLimit  # noqa: E402
from fastnn.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::RuntimeWarning")
VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))
needs_weights = pytest.mark.skipif(VERSION < (1, 7), reason="scikit-learn's networks take weights since 1.7")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4))
CLASSES = (X[:, 0] + X[:, 1] > 0).astype(int)
VALUES = 2 * X[:, 0] + X[:, 1]


@pytest.mark.parametrize("held_out", [{}, {"validation_data": True}])
def test_a_scorer_of_held_out_samples_does_not_miss_the_names_of_a_frame(held_out):
    frame = pd.DataFrame(X, columns=list("abcd"))
    data = (frame[:50], CLASSES[:50]) if held_out else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MLPClassifier(5, max_iter=5, early_stopping=True, scoring="roc_auc", random_state=0)
        model.fit(frame, CLASSES, validation_data=data)
    assert list(model.feature_names_in_) == list("abcd")
    assert len(model.validation_scores_) == 5


def test_a_scorer_without_a_place_for_weights_gets_none():
    seen = []

    def scoring(estimator, X, y):
        seen.append(len(X))
        return estimator.score(X, y)

    def weighed(estimator, X, y, sample_weight):
        seen.append(len(sample_weight))
        return estimator.score(X, y, sample_weight)

    for scorer in (scoring, weighed):
        model = MLPClassifier(5, max_iter=2, early_stopping=True, class_weight="balanced", scoring=scorer)
        model.fit(X, CLASSES)
    assert seen == [20, 20, 20, 20]


@pytest.mark.parametrize("scale", [300, 1000, 3000])
def test_lbfgs_comes_back_from_where_nothing_is_finite(scale):
    positive = np.abs(X[:, 0]) + 0.1
    endings = set()
    for seed in range(10):
        model = MLPRegressor(loss="poisson", solver="lbfgs", random_state=seed, max_iter=50)
        try:
            model.fit(X * scale, positive)
        except ValueError as error:
            endings.add(str(error))
        else:
            assert np.isfinite(model.loss_)
    assert all("vector holds" not in ending for ending in endings)


def test_divergence_with_early_stopping_is_said():
    model = MLPRegressor(
        hidden_layer_sizes=5, solver="sgd", learning_rate_init=1.0, early_stopping=True, max_iter=20, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="did not stay finite"):
        model.fit(X * 1e3, VALUES * 1e3)
    assert all(np.isfinite(array).all() for array in model.coefs_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_scores_that_are_no_numbers_leave_the_last_weights():
    begun = MLPRegressor(hidden_layer_sizes=5, max_iter=1, random_state=0).fit(X, VALUES)
    model = MLPRegressor(hidden_layer_sizes=5, early_stopping=True, max_iter=30, random_state=0)
    with pytest.warns(UserWarning, match="no validation score was a number"):
        model.fit(X, VALUES, validation_data=(X[:1], VALUES[:1]))
    assert np.abs(model.coefs_[0] - begun.coefs_[0]).max() > 0.01
    assert model.score(X, VALUES) > begun.score(X, VALUES)


def test_ctrl_c_ends_lbfgs_as_an_interrupt(monkeypatch):
    model = MLPRegressor(hidden_layer_sizes=5, solver="lbfgs", verbose=True)

    def interrupt(line):
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, VALUES)


def test_lbfgs_has_seen_no_samples_one_by_one():
    assert MLPRegressor(hidden_layer_sizes=5, solver="lbfgs", max_iter=5).fit(X, VALUES).t_ == 0


@pytest.mark.parametrize("kind", ["MLPRegressor", "MLPClassifier"])
@pytest.mark.parametrize("limit", [{"tol": 1e9}, {"max_fun": 1}, {"max_iter": 1}, {"max_iter": 3}])
@pytest.mark.parametrize("weight", [None, pytest.param(np.arange(200.0), marks=needs_weights)])
def test_lbfgs_says_the_loss_of_its_last_point_however_it_ends(kind, limit, weight):
    y = VALUES if kind == "MLPRegressor" else CLASSES
    more = {"solver": "lbfgs", "hidden_layer_sizes": (5,), "alpha": 0.5, "random_state": 0, **limit}
    given = {} if weight is None else {"sample_weight": weight}
    a, b = (getattr(module, kind)(**more).fit(X, y, **given) for module in (neural_network, fastnn.sklearn))
    assert (b.n_iter_, b.t_) == (a.n_iter_, a.t_)
    assert b.loss_ == pytest.approx(a.loss_)
    assert hasattr(b, "loss_curve_") == hasattr(a, "loss_curve_")


def test_lbfgs_forgets_no_samples_that_were_seen_before_it():
    model = MLPRegressor(hidden_layer_sizes=5, max_iter=3, warm_start=True).fit(X, VALUES)
    assert model.set_params(solver="lbfgs").fit(X, VALUES).t_ == 600


def test_what_lbfgs_does_not_use_is_said():
    model = MLPRegressor(hidden_layer_sizes=5, solver="lbfgs", max_iter=5, callbacks=TimeLimit(100))
    with pytest.warns(UserWarning, match="callbacks and validation_data given with solver='lbfgs'"):
        model.fit(X, VALUES, validation_data=(X[:9], VALUES[:9]))


@pytest.mark.parametrize("size", [3.7, 4.0, True, np.True_, "3", None])
def test_sizes_are_integers(size):
    with pytest.raises((TypeError, ValueError)):
        MLPClassifier((size,)).fit(X, CLASSES)
    assert MLPClassifier(np.array([3, 2], np.int32), max_iter=2).fit(X, CLASSES).coefs_[0].shape == (4, 3)


def test_of_one_class_all_is_right():
    model = MLPClassifier(5, early_stopping=True, validation_fraction=0.5, max_iter=3).fit(X[:6], [0] * 6)
    assert model.validation_scores_ == [1.0] * len(model.validation_scores_)
