"""BankSearchCV: the results of scikit-learn's searches, and what it shares and continues on the way."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("sklearn.base")

import sklearn
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.datasets import load_iris, make_regression
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_val_score,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from threadpoolctl import threadpool_limits

import fastnn
from fastnn.sklearn import BankSearchCV, MLPClassifier, MLPRegressor
from fastnn.sklearn.halving import best, budgets

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:.*test scores are non-finite", "ignore:.*'batch_size'",
    "ignore:Got `batch_size`", "ignore:The scoring .* does not support sample_weight",
)  # fmt: skip
X, y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])
A, b = make_regression(120, 5, noise=1.0, random_state=0)
b /= b.std()
MODEL = MLPClassifier((6,), max_iter=6, learning_rate_init=0.02, batch_size=32, random_state=0)
VALUES = MLPRegressor(hidden_layer_sizes=(6,), max_iter=6, learning_rate_init=0.02, batch_size=32, random_state=0)
GRID = {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(4,), (8,)]}
TIMES = {f"{what}_{of}_time" for what in ("mean", "std") for of in ("fit", "score")}


@pytest.fixture(autouse=True)
def one_thread_of_the_blas():
    with threadpool_limits(1, "blas"):
        yield


def same_results(ours, theirs):
    """That two fitted searches have the same results, but for times."""
    assert set(ours.cv_results_) == set(theirs.cv_results_)
    for key, column in theirs.cv_results_.items():
        own = ours.cv_results_[key]
        assert type(own) is type(column), key
        if key in TIMES:
            assert own.shape == column.shape
            assert np.all(own >= 0)
        elif isinstance(column, list):
            assert repr(own) == repr(column), key
        else:
            assert own.dtype == column.dtype, key
            if isinstance(column, np.ma.MaskedArray):
                assert np.array_equal(own.mask, column.mask), key
                own, column = own.filled(0), column.filled(0)
            if column.dtype == object:
                assert repr(list(own)) == repr(list(column)), key
            else:
                assert np.array_equal(own, column, equal_nan=True), key
    for name in ("best_index_", "best_params_", "best_score_", "n_splits_", "multimetric_"):
        assert hasattr(ours, name) == hasattr(theirs, name), name
        if hasattr(ours, name):
            assert repr(getattr(ours, name)) == repr(getattr(theirs, name)), name


def both(model, grid, X, y, fit=None, **settings):
    """The fitted search of ours, after it was seen that scikit-learn's has the same results."""
    ours = BankSearchCV(clone(model), grid, **settings).fit(X, y, **(fit or {}))
    theirs = GridSearchCV(clone(model), grid, **settings).fit(X, y, **(fit or {}))
    same_results(ours, theirs)
    return ours


def test_the_parameters_are_those_of_scikit_learn():
    own = set(BankSearchCV(MODEL, {}).get_params(deep=False))
    for kind in (GridSearchCV(MODEL, {}), RandomizedSearchCV(MODEL, {})):
        assert set(kind.get_params(deep=False)) <= own
        for name, value in kind.get_params(deep=False).items():
            if not name.startswith("param_") and name != "estimator":
                assert repr(getattr(BankSearchCV(MODEL, {}), name)) == repr(value)


@pytest.mark.parametrize(
    ("settings", "grid"),
    [
        ({}, GRID),
        ({}, [{"alpha": [1e-3]}, {"solver": ["sgd", "adam"], "momentum": [0.0, 0.9]}]),
        ({}, {"solver": ["lbfgs", "adam", fastnn.Lion()], "alpha": [1e-4, 1.0]}),
        ({}, {"loss": ["log_loss", fastnn.CrossEntropyLoss(label_smoothing=0.1)], "dtype": [None, "float32"]}),
        ({"early_stopping": True}, {"n_iter_no_change": [1, 5], "scoring": [None, "balanced_accuracy"]}),
        ({"n_networks": 3}, {"dropout": [0.0, 0.3]}),
        ({"class_weight": "balanced"}, {"batch_size": [16, 1000], "activation": ["tanh", fastnn.LeakyReLU(0.2)]}),
        ({"callbacks": [fastnn.TimeLimit(60)]}, {"learning_rate_init": [1e-2, fastnn.CosineDecay(0.1, 50)]}),
        ({}, {}),
    ],
)
def test_grids_of_classifiers(settings, grid):
    model = clone(MODEL).set_params(**settings)
    search = both(model, grid, X, NAMES[y], cv=3, return_train_score=True)
    assert list(search.classes_) == list(NAMES)
    assert search.n_features_in_ == 4
    assert search.refit_time_ > 0
    assert search.score(X, NAMES[y]) == accuracy_score(NAMES[y], search.predict(X))
    assert np.allclose(np.exp(search.predict_log_proba(X)), search.predict_proba(X))


@pytest.mark.parametrize(
    ("settings", "targets"),
    [({}, b), ({}, np.c_[b, -b]), ({"loss": "poisson"}, np.abs(b)), ({"n_networks": 2}, b), ({"solver": "lbfgs"}, b)],
)
def test_grids_of_regressors(settings, targets):
    both(clone(VALUES).set_params(**settings), GRID, A, targets, cv=3, return_train_score=True)


@pytest.mark.parametrize("labels", [y > 0, np.c_[y == 0, y > 1].astype(int), y.reshape(-1, 1), list(y)])
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_kinds_of_labels(labels):
    both(MODEL, GRID, X, labels, cv=KFold(3, shuffle=True, random_state=0))


def test_draws_are_those_of_the_randomised_search():
    drawn = {"alpha": stats.loguniform(1e-5, 1), "batch_size": [16, 32]}
    settings = {"n_iter": 4, "random_state": 3, "cv": 3}
    ours = BankSearchCV(clone(MODEL), param_distributions=drawn, **settings).fit(X, y)
    same_results(ours, RandomizedSearchCV(clone(MODEL), drawn, **settings).fit(X, y))


@pytest.mark.parametrize(
    "form", [sparse.csr_matrix, sparse.csc_matrix, np.float32, np.asfortranarray, np.ndarray.tolist]
)
def test_forms_of_samples(form):
    both(MODEL, {"alpha": [1e-4, 1.0], "dtype": [None, "float32"]}, form(np.where(X > 2, X, 0)), y, cv=3)


def test_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    search = both(MODEL, GRID, frame, pandas.Series(NAMES[y]), cv=3)
    assert list(search.feature_names_in_) == list("abcd")
    model = make_pipeline(StandardScaler(), clone(MODEL)).set_output(transform="pandas")
    both(model, {"mlpclassifier__alpha": [1e-4, 1.0]}, frame, y, cv=3)


def test_several_scorers():
    scoring = {"acc": "accuracy", "loss": "neg_log_loss", "own": make_scorer(accuracy_score)}
    both(MODEL, GRID, X, y, cv=3, scoring=scoring, refit="loss", return_train_score=True)
    both(MODEL, GRID, X, y, cv=3, scoring=["accuracy", "f1_macro"], refit=False)
    both(
        MODEL,
        GRID,
        X,
        y,
        cv=3,
        scoring=lambda model, X, y: {"score": model.score(X, y), "loss": model.loss_},
        refit="loss",
    )
    for search in (BankSearchCV, GridSearchCV):
        with pytest.raises(ValueError, match="refit"):
            search(MODEL, GRID, scoring=["accuracy", "f1_macro"]).fit(X, y)


@pytest.mark.parametrize("scoring", ["roc_auc_ovr", "balanced_accuracy", make_scorer(accuracy_score)])
def test_one_scorer(scoring):
    assert both(MODEL, GRID, X, y, cv=3, scoring=scoring).score(X, y) > 0.3


def test_refit():
    search = both(MODEL, GRID, X, y, cv=3, refit=False)
    assert not hasattr(search, "best_estimator_")
    assert not hasattr(search, "predict")
    search = both(MODEL, GRID, X, y, cv=3, refit=lambda results: 2)
    assert search.best_index_ == 2


def test_groups_and_weights():
    groups, weight = np.arange(150) % 7, np.random.default_rng(0).uniform(0, 2, 150)
    both(MODEL, GRID, X, y, {"groups": groups}, cv=GroupKFold(3))
    both(MODEL, GRID, X, y, {"sample_weight": weight}, cv=3)
    both(VALUES, GRID, A, b, {"sample_weight": weight[:120]}, cv=3)
    with sklearn.config_context(enable_metadata_routing=True):
        model = clone(MODEL).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        both(model, GRID, X, y, {"sample_weight": np.where(y == 0, 0.0, 1.0), "groups": groups}, cv=GroupKFold(3))


def test_folds_of_an_iterable_that_ends():
    def folds():
        return ((list(train), list(test)) for train, test in KFold(3, shuffle=True, random_state=0).split(X))

    ours = BankSearchCV(clone(MODEL), GRID, cv=folds()).fit(X, y)
    same_results(ours, GridSearchCV(clone(MODEL), GRID, cv=folds()).fit(X, y))


class Counted(StandardScaler):
    """A scaler that counts its fits, and writes into what it gets."""

    fits = 0

    def __init__(self, copy=False, with_mean=True):
        super().__init__(copy=copy, with_mean=with_mean)

    def fit(self, X, y=None):
        Counted.fits += 1
        return super().fit(X, y)


def test_pipelines_fit_their_first_steps_once_for_each_fold_and_setting():
    model = Pipeline([("scale", Counted()), ("mlp", clone(MODEL))])
    grid = {"mlp__alpha": [1e-4, 1.0], "mlp__hidden_layer_sizes": [(4,), (8,)], "scale__with_mean": [True, False]}
    before = X.copy()
    theirs = GridSearchCV(clone(model), grid, cv=3).fit(X.copy(), y)
    Counted.fits = 0
    ours = BankSearchCV(clone(model), grid, cv=3, n_jobs=2).fit(X.copy(), y)
    assert Counted.fits == 3 * 2 + 1
    same_results(ours, theirs)
    BankSearchCV(clone(model), grid, cv=3, refit=False).fit(X, y)
    assert np.array_equal(X, before)


@pytest.mark.parametrize(
    "grid",
    [
        {"scale": [StandardScaler(), MinMaxScaler(), "passthrough"], "mlp__alpha": [1e-4, 1.0]},
        {"mlp": [clone(MODEL), GaussianNB(), MLPClassifier((3,), max_iter=3, random_state=1)]},
    ],
)
@pytest.mark.parametrize("scoring", [None, "neg_log_loss"])
def test_pipelines_whose_steps_change(grid, scoring):
    model = Pipeline([("scale", StandardScaler()), ("mlp", clone(MODEL))])
    both(model, grid, X, NAMES[y], cv=3, scoring=scoring, return_train_score=True)


def test_fit_parameters_of_pipelines():
    model = Pipeline([("scale", StandardScaler()), ("mlp", clone(MODEL))])
    weight = np.random.default_rng(0).uniform(0, 2, 150)
    both(model, {"mlp__alpha": [1e-4, 1.0]}, X, y, {"mlp__sample_weight": weight}, cv=3)
    both(Pipeline([("mlp", clone(MODEL))]), {"mlp__alpha": [1e-4, 1.0]}, X, y, cv=3)


def test_other_estimators_are_searched_as_they_are():
    search = both(GaussianNB(), {"var_smoothing": [1e-9, 1.0]}, X, y, cv=3)
    assert isinstance(search.best_estimator_, GaussianNB)


@pytest.mark.parametrize("model", [MODEL, Pipeline([("scale", StandardScaler()), ("mlp", MODEL)])])
def test_what_diverges_has_no_score(model):
    name = "learning_rate_init" if model is MODEL else "mlp__learning_rate_init"
    grid, settings = (
        {name: [0.02, 1e300], name.replace("learning_rate_init", "solver"): ["sgd"]},
        {"cv": 3, "n_jobs": 1},
    )
    ours, theirs = BankSearchCV(clone(model), grid, **settings), GridSearchCV(clone(model), grid, **settings)
    with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 6"):
        ours.fit(X, y)
    with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 6"):
        theirs.fit(X, y)
    same_results(ours, theirs)
    assert np.isnan(ours.cv_results_["mean_test_score"]).tolist() == [False, True]
    with pytest.warns(FitFailedWarning):
        assert BankSearchCV(clone(model), grid, error_score=-1, cv=3).fit(X, y).cv_results_["mean_test_score"][1] == -1
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        BankSearchCV(clone(model), grid, error_score="raise", cv=3).fit(X, y)
    with pytest.raises(ValueError, match="All the 3 fits failed"):
        BankSearchCV(clone(model), {**grid, name: [1e300]}, cv=3).fit(X, y)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alpha": [1e-4, -1]}, None),
        ({"activation": ["relu", "sine"]}, None),
        ({"dropout": [0.0, [0.1, 0.2]]}, None),
        ({"beta": [1]}, "Invalid parameter 'beta'"),
        ({"alpha": 1}, "alpha"),
        ({"alpha": []}, "alpha"),
    ],
)
def test_wrong_candidates_are_treated_as_by_scikit_learn(wrong, message):
    found = []
    for search in (BankSearchCV, GridSearchCV):
        if message is None:
            with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 6"):
                found.append(search(clone(MODEL), wrong, cv=3).fit(X, y))
        else:
            with pytest.raises((ValueError, TypeError), match=message) as error:
                search(clone(MODEL), wrong, cv=3).fit(X, y)
            found.append(error.type)
    if message is None:
        same_results(*found)
    else:
        assert found[0] is found[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "param_grid and param_distributions are both None; expected one"),
        ({"param_grid": {}, "param_distributions": {}}, "are both given; expected one"),
        ({"param_grid": {"alpha": stats.uniform()}}, "param_grid has a distribution for 'alpha'; expected"),
        ({"param_grid": GRID, "factor": 1}, "'factor' parameter"),
        ({"param_grid": GRID, "halving": "yes"}, "'halving' parameter"),
        ({"param_distributions": GRID, "n_iter": 0}, "'n_iter' parameter"),
        ({"param_grid": GRID, "cv": 1}, "'cv' parameter"),
        ({"param_grid": {"max_iter": [1]}, "halving": True}, "max_iter is searched for"),
        ({"param_grid": GRID, "halving": True, "min_resources": 7}, "min_resources is 7 but max_resources 6"),
        (
            {"param_grid": GRID, "halving": True, "scoring": ["accuracy"], "refit": False},
            "expected the name of the one",
        ),
        ({"param_grid": GRID, "halving": True, "cv": KFold(3, shuffle=True)}, "cv yields other folds than before"),
        ({"param_grid": GRID, "scoring": "beauty"}, "scoring"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        BankSearchCV(clone(MODEL), **settings).fit(X, y)


def test_results_do_not_depend_on_threads():
    searches = [
        BankSearchCV(clone(MODEL), GRID, cv=3, n_jobs=n, halving=h).fit(X, y) for h in (False, True) for n in (1, 3)
    ]
    same_results(*searches[:2])
    same_results(*searches[2:])


def test_lines(capsys):
    for search in (BankSearchCV, GridSearchCV):
        search(clone(MODEL), {"alpha": [1e-4]}, cv=2, verbose=3, n_jobs=1).fit(X, y)
    ours, theirs = np.array_split(
        [line.split(" total")[0].replace(".", "") for line in capsys.readouterr().out.splitlines()], 2
    )
    assert len(ours) == 3
    assert list(ours) == list(theirs)


@pytest.mark.parametrize("copied", [clone, copy.deepcopy, lambda search: pickle.loads(pickle.dumps(search))])
def test_copies(copied):
    search = BankSearchCV(clone(MODEL), GRID, cv=3, halving=True).fit(X, y)
    twin = copied(search)
    assert repr(twin) == repr(search)
    if copied is clone:
        assert not hasattr(twin, "cv_results_")
        same_results(twin.fit(X, y), search)
    else:
        assert np.array_equal(twin.predict_proba(X), search.predict_proba(X))
    before = search.best_estimator_.coefs_[0].copy()
    twin.best_estimator_.partial_fit(X, y)
    assert np.array_equal(search.best_estimator_.coefs_[0], before)


def test_a_search_in_a_tool():
    assert cross_val_score(BankSearchCV(clone(MODEL), GRID, cv=2), X, y, cv=2).shape == (2,)


# --- halving ----------------------------------------------------------------------------------


@pytest.mark.parametrize("candidates", [1, 2, 5, 8, 60])
@pytest.mark.parametrize(
    ("factor", "least", "most"), [(2, None, 200), (3, None, 50), (3, 2, 50), (1.5, None, 7), (2, 9, 9)]
)
def test_rounds(candidates, factor, least, most):
    rounds = list(budgets(candidates, factor, least, most))
    assert rounds[0][0] == candidates
    assert all(1 <= epochs <= most for _, epochs in rounds)
    assert [n for n, _ in rounds] == sorted((n for n, _ in rounds), reverse=True)
    if least is None and factor == 2 and candidates == 60:
        assert rounds == [(60, 6), (30, 12), (15, 24), (8, 48), (4, 96), (2, 192)]


def test_the_best_go_on():
    assert best(np.array([0.1, np.nan, 0.5, 0.3]), [7, 8, 9, 11], 2) == [9, 11]
    assert best(np.array([np.nan, np.nan, 0.5]), [1, 2, 3], 2)[-1] == 3


@pytest.mark.parametrize(
    ("model", "X", "y"),
    [
        (MODEL, X, NAMES[y]),
        (VALUES, A, b),
        (clone(MODEL).set_params(learning_rate="adaptive", solver="sgd", tol=0.05, n_iter_no_change=1), X, y),
        (clone(MODEL).set_params(learning_rate="invscaling", solver="sgd"), X, y),
        (clone(MODEL).set_params(dropout=0.2, n_networks=2, class_weight="balanced"), X, y),
        (clone(MODEL).set_params(learning_rate_init=fastnn.CosineDecay(0.1, 50)), X, y),
        (clone(MODEL).set_params(tol=10.0, n_iter_no_change=3), X, y),
        (clone(MODEL).set_params(early_stopping=True), X, y),
        (clone(MODEL).set_params(solver="lbfgs"), X, y),
        (clone(MODEL).set_params(callbacks=[fastnn.TimeLimit(60)]), X, y),
        (Pipeline([("scale", StandardScaler()), ("mlp", MODEL)]), X, y),
    ],
)
def test_halving_has_the_scores_of_training_anew(model, X, y):
    prefix = "" if not isinstance(model, Pipeline) else "mlp__"
    grid = {f"{prefix}alpha": [1e-4, 1e-2, 1.0, 10.0], f"{prefix}hidden_layer_sizes": [(4,), (8,)]}
    model = clone(model).set_params(**{f"{prefix}max_iter": 24})
    ours = BankSearchCV(model, grid, cv=3, halving=True, return_train_score=True).fit(X, y)
    anew = {}
    for epochs in set(ours.n_resources_):
        search = GridSearchCV(clone(model).set_params(**{f"{prefix}max_iter": epochs}), grid, cv=3).fit(X, y)
        for params, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"]):
            anew[repr(sorted({**params, f"{prefix}max_iter": epochs}.items()))] = score
    assert ours.n_candidates_ == [8, 4, 2, 1]
    assert ours.n_resources_ == [3, 6, 12, 24]
    assert ours.cv_results_["iter"].tolist() == [0] * 8 + [1] * 4 + [2] * 2 + [3]
    assert ours.cv_results_["n_resources"].tolist() == [3] * 8 + [6] * 4 + [12] * 2 + [24]
    for params, score in zip(ours.cv_results_["params"], ours.cv_results_["mean_test_score"]):
        assert anew[repr(sorted(params.items()))] == score
    assert ours.best_params_[f"{prefix}max_iter"] == 24
    assert ours.best_score_ == ours.cv_results_["mean_test_score"][-1]
    assert ours.best_index_ == 14


def test_halving_is_scikit_learns_but_for_the_work():
    grid = {"alpha": [1e-4, 1e-2, 1.0, 10.0], "learning_rate_init": [0.001, 0.01, 0.1]}
    settings = {"cv": 3, "factor": 3, "return_train_score": True}
    theirs = HalvingGridSearchCV(clone(MODEL), grid, resource="max_iter", max_resources=18, **settings).fit(X, y)
    ours = BankSearchCV(clone(MODEL), grid, halving=True, max_resources=18, **settings).fit(X, y)
    assert ours.n_resources_ == theirs.n_resources_
    assert ours.n_candidates_ == theirs.n_candidates_
    ours.cv_results_ = {key: ours.cv_results_[key] for key in ours.cv_results_}
    for key in ("mean_test_score", "std_train_score"):
        for iteration in range(len(ours.n_resources_)):
            which = [search.cv_results_["iter"] == iteration for search in (ours, theirs)]
            assert np.allclose(np.sort(ours.cv_results_[key][which[0]]), np.sort(theirs.cv_results_[key][which[1]]))


def test_halving_trains_no_epoch_twice():
    """Of a fit that goes on, only the new epochs are taken."""
    taken = []

    class Slow(MLPClassifier):
        def score(self, X, y, sample_weight=None):
            taken.append(self.networks_[0].engine.state.epochs[0])
            return super().score(X, y, sample_weight)

    model = Slow(**clone(MODEL).set_params(max_iter=8).get_params())
    search = BankSearchCV(model, {"alpha": [1e-4, 1e-3]}, cv=2, halving=True, n_jobs=1, refit=False).fit(X, y)
    assert search.n_resources_ == [4, 8]
    assert sorted(int(epochs) for epochs in taken) == [4] * 4 + [8] * 2


def test_halving_with_candidates_that_diverge():
    grid = {"learning_rate_init": [1e300, 0.02, 0.01, 1e300], "solver": ["sgd"]}
    with pytest.warns(FitFailedWarning):
        search = BankSearchCV(clone(MODEL), grid, cv=3, halving=True).fit(X, y)
    assert search.best_params_["learning_rate_init"] in (0.02, 0.01)
    assert np.isfinite(search.best_score_)


def test_halving_by_one_of_several_scorers():
    search = BankSearchCV(
        clone(MODEL), GRID, cv=3, halving=True, scoring=["accuracy", "neg_log_loss"], refit="neg_log_loss"
    )
    search.fit(X, y)
    results, last = search.cv_results_, search.cv_results_["iter"] == 1
    first = results["mean_test_neg_log_loss"][:4]
    kept = [repr({**params, "max_iter": 0}) for params, of_last in zip(results["params"], last) if of_last]
    wanted = [repr({**results["params"][k], "max_iter": 0}) for k in sorted(np.argsort(first)[2:])]
    assert kept == wanted


# --- what is shared, and the end ----------------------------------------------------------------


def test_samples_are_looked_at_once_for_each_fold(monkeypatch):
    import fastnn.sklearn.base as base

    calls = []
    checked = base.validate_data

    def counted(estimator, **settings):
        calls.append(settings["X"].shape[0])
        return checked(estimator, **settings)

    monkeypatch.setattr(base, "validate_data", counted)
    BankSearchCV(clone(MODEL), GRID, cv=3, refit=False, n_jobs=2).fit(X, y)
    assert sorted(calls) == [50] * 3 + [100] * 3


def test_an_error_of_a_callback_is_one_of_the_fit():
    class Broken(fastnn.Callback):
        def on_epoch_end(self, epoch, logs):
            raise OSError("the disk is full")

    grid = {"callbacks": [None, Broken()]}
    with pytest.warns(FitFailedWarning, match="the disk is full"):
        search = BankSearchCV(clone(MODEL), grid, cv=3).fit(X, y)
    assert np.isnan(search.cv_results_["mean_test_score"][1])
    with pytest.raises(OSError, match="the disk is full"):
        BankSearchCV(clone(MODEL), grid, cv=3, error_score="raise", n_jobs=2).fit(X, y)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("n_networks", [1, 3])
def test_an_interrupt_ends_a_search(solver, n_networks):
    model = MLPClassifier((128, 64), solver=solver, max_iter=10**7, tol=0, n_iter_no_change=10**8, max_fun=10**8,
                          n_networks=n_networks, random_state=0)  # fmt: skip
    rows = np.random.default_rng(0).normal(size=(20_000, 30))
    labels = np.random.default_rng(1).integers(0, 10, 20_000)
    timer = threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    before = threading.active_count()
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            BankSearchCV(model, {"alpha": [0.0, 1e-8]}, cv=2, n_jobs=2).fit(rows, labels)
    finally:
        timer.cancel()
        timer.join()
    assert threading.active_count() <= before
    assert BankSearchCV(clone(MODEL), GRID, cv=3).fit(X, y).best_score_ > 0.3


def test_a_search_leaves_no_threads_and_no_folds():
    search = BankSearchCV(clone(MODEL), GRID, cv=3, n_jobs=2).fit(X, y)
    assert not [name for name in vars(search) if name.startswith("_crew")]
    code = (
        "import numpy as np; from fastnn.sklearn import BankSearchCV, MLPClassifier\n"
        "X = np.random.default_rng(0).normal(size=(60, 3)); y = X[:, 0] > 0\n"
        "BankSearchCV(MLPClassifier((3,), max_iter=2), {'alpha': [0, 1]}, cv=2, n_jobs=2).fit(X, y)"
    )
    started = time.monotonic()
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=300)
    assert time.monotonic() - started < 300


@pytest.mark.parametrize("backend", ["threading", "loky"])
@pytest.mark.parametrize("halving", [False, True])
def test_workers_of_joblib_find_the_same(backend, halving):
    joblib = pytest.importorskip("joblib")
    X, y = load_iris(return_X_y=True)
    model = MLPClassifier(max_iter=8, tol=0, random_state=0, n_networks=2)
    grid = {"alpha": [1e-4, 1e-2], "hidden_layer_sizes": [(4,), (8,)]}

    def searched():
        return BankSearchCV(model, grid, cv=3, halving=halving).fit(X, y)

    mine = searched()
    with joblib.parallel_config(backend, n_jobs=2):
        other = searched()
    for name in ("mean_test_score", "split0_test_score", "rank_test_score"):
        assert np.array_equal(mine.cv_results_[name], other.cv_results_[name])
    assert mine.best_params_ == other.best_params_
    ours, theirs = mine.best_estimator_, other.best_estimator_  # an ensemble, which the workers have fitted too
    assert np.array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    assert ours.loss_curve_ == theirs.loss_curve_
    assert ours.n_iter_ == theirs.n_iter_
