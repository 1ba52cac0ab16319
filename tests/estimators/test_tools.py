"""The estimators in scikit-learn's tools."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn.base")

import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])
SMALL = {"hidden_layer_sizes": (16,), "learning_rate_init": 0.01, "random_state": 0}


def test_fastnn_does_not_import_scikit_learn():
    code = "import sys, fastnn; assert not any(name.split('.')[0] == 'sklearn' for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_searches_pipelines_and_calibration():
    model = make_pipeline(StandardScaler(), MLPClassifier(**SMALL))
    search = GridSearchCV(model, {"mlpclassifier__alpha": [1e-4, 1e-1]}, n_jobs=2, cv=3).fit(X, NAMES[y])
    assert search.best_score_ > 0.9
    assert set(search.predict(X)) == set(NAMES)
    assert cross_val_score(model, X, y, cv=3).mean() > 0.9
    calibrated = CalibratedClassifierCV(MLPClassifier(**SMALL), cv=3).fit(X, y)
    assert np.allclose(calibrated.predict_proba(X).sum(axis=1), 1)


def test_frames_and_their_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = make_pipeline(StandardScaler(), MLPClassifier(**SMALL)).set_output(transform="pandas").fit(frame, y)
    assert list(model[-1].feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        MLPClassifier(**SMALL).fit(frame, y).predict(frame[list("badc")])


def test_metadata_is_routed():
    weight = np.where(y == 0, 0.0, 1.0)  # no fold learns class 0
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier(**SMALL).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"alpha": [1e-4]}, cv=3).fit(X, y, sample_weight=weight)
    assert set(search.predict(X)) == {1, 2}


def test_clones_know_parameters_and_nothing_else():
    model = MLPRegressor(activation=[fastnn.LeakyReLU(0.2), "gelu"], hidden_layer_sizes=(4, 3), solver=fastnn.Lion())
    twin = clone(model.fit(X, y))
    assert repr(twin) == repr(model)
    assert not hasattr(twin, "coefs_")
    assert not hasattr(twin, "network_")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_predict_the_same_and_go_on_alike(copied):
    model = MLPClassifier(**SMALL).fit(X, y)
    twin = copied(model)
    assert np.array_equal(twin.predict_proba(X), model.predict_proba(X))
    model.partial_fit(X, y)
    assert not np.array_equal(twin.coefs_[0], model.coefs_[0])
    assert np.array_equal(twin.partial_fit(X, y).coefs_[0], model.coefs_[0])


def test_weights_are_views_and_may_be_set():
    model = MLPRegressor(**SMALL).fit(X, y)
    before = model.predict(X)
    assert [W.shape for W in model.coefs_] == [(4, 16), (16, 1)]
    assert [b.shape for b in model.intercepts_] == [(16,), (1,)]
    model.intercepts_[-1][...] += 1
    assert np.allclose(model.predict(X), before + 1)
    model.coefs_[-1] = np.zeros((16, 1))
    model.intercepts_[-1] = np.array([7.0])
    assert np.all(model.predict(X) == 7)
    assert np.all(pickle.loads(pickle.dumps(model)).predict(X) == 7)
    assert model.network_.predict(X).shape == (150, 1)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix])
def test_sparse_rows(form):
    dense = np.where(X > 2, X, 0)
    model, other = MLPClassifier(**SMALL).fit(form(dense), y), MLPClassifier(**SMALL).fit(dense, y)
    assert np.allclose(model.predict_proba(form(dense)), other.predict_proba(dense))


def test_partial_fit_needs_epochs_and_classes():
    assert not hasattr(MLPRegressor(solver="lbfgs"), "partial_fit")
    model = MLPClassifier(random_state=0)
    with pytest.raises(ValueError, match="classes must be passed"):
        model.partial_fit(X[:10], y[:10])
    model.partial_fit(X[:10], y[:10], classes=[0, 1, 2]).partial_fit(X, y)
    assert model.predict_proba(X).shape == (150, 3)
    assert model.t_ == 160


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0"),
        ({"activation": "sine"}, "'activation' parameter"),
        ({"activation": ["relu", "tanh"]}, "activation holds 2 values; expected 1"),
        ({"activation": ["sine"]}, r"activation\[0\] is 'sine'; expected"),
        ({"dropout": 1.0}, "'dropout' parameter"),
        ({"dropout": [0.1, 0.2]}, "dropout holds 2 values; expected 1"),
        ({"n_networks": 0}, "'n_networks' parameter"),
        ({"dtype": "int32"}, "'dtype' parameter"),
        ({"scoring": "beauty"}, "beauty"),
        ({"learning_rate_init": fastnn.CosineDecay(0.1, 10), "learning_rate": "adaptive"}, "a schedule; expected"),
    ],
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises((ValueError, TypeError), match=message):
        MLPClassifier(**{"early_stopping": True, **wrong}).fit(X[:100], y[:100])


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(
    ("name", "k", "number"), [("coefs_", 0, np.nan), ("coefs_", 1, np.inf), ("intercepts_", 0, np.nan)]
)
@pytest.mark.parametrize("in_place", [False, True])
def test_weights_that_are_not_finite_are_refused_by_the_next_call(kind, name, k, number, in_place):
    model = kind(**SMALL, warm_start=True, max_iter=3).fit(X, y)
    arrays = getattr(model, name)
    kept = arrays[k].copy()
    wrong = kept.copy()
    wrong.flat[0] = number
    if in_place:
        arrays[k][:] = wrong
    else:
        arrays[k] = wrong
    calls = [model.predict, lambda X: model.score(X, y), lambda X: model.partial_fit(X, y), lambda X: model.fit(X, y)]
    calls += [model.predict_proba] if kind is MLPClassifier else []
    for call in calls:
        with pytest.raises(ValueError, match=rf"{name}\[{k}\] holds NaN or infinity"):
            call(X)
    arrays[k] = kept
    assert np.array_equal(model.predict(X), kind(**SMALL, max_iter=3).fit(X, y).predict(X))


def test_weights_that_do_not_fit_are_refused_by_name():
    for name, change, message in (
        ("coefs_", lambda arrays: arrays.pop(), "coefs_ holds 1 arrays; expected 2"),
        ("intercepts_", lambda arrays: arrays.append(arrays[0]), "intercepts_ holds 3 arrays; expected 2"),
        ("coefs_", lambda arrays: arrays.reverse(), r"coefs_\[0\] has shape \(16, 1\); expected \(4, 16\)"),
        ("intercepts_", lambda arrays: arrays.__setitem__(1, None), r"intercepts_\[1\] is None"),
    ):
        model = MLPRegressor(**SMALL, max_iter=3).fit(X, y)
        before = [array.copy() for array in model.network_.get_weights()[0]]
        change(getattr(model, name))
        with pytest.raises((ValueError, TypeError), match=message):
            model.predict(X)
        assert all(np.array_equal(a, b) for a, b in zip(model.network_.get_weights()[0], before))
