"""What `fit`, `partial_fit` and `score` refuse, by name, and before anything is trained or noted."""

import numpy as np
import pytest

pytest.importorskip("sklearn.base")

from fastnn import CosineDecay, LambdaCallback
from fastnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::RuntimeWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
VALUES = X[:, 0]
CLASSES = np.where(VALUES > 0, "b", "a")
ONES = np.ones(60)
KINDS = pytest.mark.parametrize(("kind", "y"), [(MLPRegressor, VALUES), (MLPClassifier, CLASSES)])

WEIGHTS = {
    "negative": np.r_[-1.0, ONES[1:]],
    "negative sum": -ONES,
    "nan": np.r_[np.nan, ONES[1:]],
    "infinite": np.r_[np.inf, ONES[1:]],
    "zeros": 0 * ONES,
    "infinite sum": 1e308 * ONES,
    "short": ONES[:9],
    "wide": np.ones((60, 2)),
    "texts": ["a"] * 60,
    "a number that is none": np.nan,
    "a number below 0": -1.0,
}


@KINDS
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("weight", WEIGHTS)
def test_weights_that_are_none(kind, y, solver, weight):
    model = kind(max_iter=2, solver=solver)
    calls = [model.fit, kind(max_iter=2).fit(X, y).score]
    if solver != "lbfgs":
        calls.append(kind(solver=solver, **{"early_stopping": True}).fit)
        more = {"classes": ["a", "b"]} if kind is MLPClassifier else {}
        calls.append(lambda *data, sample_weight: model.partial_fit(*data, sample_weight=sample_weight, **more))
    for call in calls:
        with pytest.raises((ValueError, TypeError), match="sample_weight"):
            call(X, y, sample_weight=WEIGHTS[weight])
    assert vars(model) == vars(kind(max_iter=2, solver=solver))


@KINDS
def test_weights_that_say_the_same(kind, y):
    scores = []
    for weight in (2 * ONES, 2.0, [2] * 60, np.full((60, 1), 2, np.int8), np.full(60, 2, object)):
        model = kind(max_iter=3, random_state=0).fit(X, y, sample_weight=weight)
        scores.append((model.loss_, model.score(X, y, sample_weight=weight), model.score(X, y)))
    assert all(score == pytest.approx(scores[0]) for score in scores)
    assert scores[0][1] == pytest.approx(scores[0][2])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("weight", [{"a": -1}, {"a": np.nan}, {"a": 0, "b": 0}])
def test_weights_of_classes_that_are_none(solver, weight):
    with pytest.raises(ValueError, match="class_weight"):
        MLPClassifier(solver=solver, class_weight=weight).fit(X, CLASSES)


def test_weights_of_which_none_counts_where_samples_are_held_out():
    weight = 0 * ONES
    weight[3] = 1
    with pytest.raises(ValueError, match=r"sample_weight .* that are held out"):
        MLPRegressor(early_stopping=True, random_state=0).fit(X, VALUES, sample_weight=weight)


VALIDATION = {
    "one part": (X,),
    "four parts": (X, "y", ONES, ONES),
    "a dict": {"X": X, "y": VALUES},
    "an array": X,
    "another length": (X[:9], "y"),
    "no y": (X, None),
    "other columns": (X[:, :2], "y"),
    "a hole in X": (np.c_[X[:, :3], X[:, 0] * np.nan], "y"),
    "negative weights": (X, "y", -ONES),
    "weights that are no numbers": (X, "y", ONES * np.nan),
    "weights of another length": (X, "y", ONES[:9]),
    "zeros as weights": (X, "y", 0 * ONES),
    "two columns of y": (X, np.c_[VALUES, VALUES]),
    "nothing": (X[:0], VALUES[:0]),
}


@KINDS
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("data", VALIDATION)
def test_validation_data_that_is_none(kind, y, early, data):
    data = VALIDATION[data]
    if isinstance(data, tuple):
        data = tuple(y if isinstance(part, str) else part for part in data)
    started = []
    watch = LambdaCallback(on_epoch_begin=lambda *_: started.append(1))
    model = kind(early_stopping=early, callbacks=watch)
    with pytest.raises((ValueError, TypeError), match="validation_data"):
        model.fit(X, y, validation_data=data)
    assert not started
    assert not hasattr(model, "n_features_in_")


def test_validation_data_of_other_classes_or_labels():
    with pytest.raises(ValueError, match=r"validation_data: .* classes not in"):
        MLPClassifier().fit(X, CLASSES, validation_data=(X, ["c"] * 60))
    labels = (X > 0).astype(int)
    with pytest.raises(ValueError, match="validation_data"):
        MLPClassifier().fit(X, labels, validation_data=(X, labels[:, :2]))


@pytest.mark.parametrize("groups", [np.arange(9), np.zeros(60), np.zeros((60, 2))])
def test_groups_that_are_none(groups):
    with pytest.raises(ValueError, match="validation_groups"):
        MLPRegressor(early_stopping=True).fit(X, VALUES, validation_groups=groups)


def test_groups_beside_validation_data():
    with pytest.raises(ValueError, match="validation_groups is given with validation_data"):
        MLPRegressor(early_stopping=True).fit(X, VALUES, None, (X, VALUES), np.arange(60))


def fails(epoch, logs):
    raise RuntimeError("in the middle")


FAILURES = {
    "rows": ({}, {"X": X[:, :2] * np.nan}),
    "targets": ({}, {"y": CLASSES[:9]}),
    "weights": ({}, {"sample_weight": -ONES}),
    "activation": ({"activation": "none"}, {}),
    "dropout": ({"activation": "tanh", "dropout": [0.1, 0.2]}, {}),
    "loss": ({"loss": "mse", "activation": "tanh"}, {"y": (X > 0).astype(int)}),
    "rate": ({"learning_rate": "adaptive", "learning_rate_init": CosineDecay(0.1, steps=9)}, {}),
    "callback": ({"callbacks": LambdaCallback(on_epoch_end=fails), "activation": "tanh"}, {}),
    "divergence": ({"learning_rate_init": 1e300, "solver": "sgd", "batch_size": 10}, {}),
}


@pytest.mark.parametrize("call", ["fit", "warm", "partial_fit"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_call_that_fails_leaves_everything_as_it_was(call, failure):
    model = MLPClassifier(5, warm_start=call == "warm", max_iter=3, random_state=0).fit(X, CLASSES)
    model.partial_fit(X, CLASSES)
    settings, given = FAILURES[failure]
    plain = model.get_params()
    model.set_params(**settings)
    before, arrays = vars(model).copy(), [array.copy() for array in (*model.coefs_, *model.intercepts_)]
    curve, p, acts = list(model.loss_curve_), model.predict_proba(X), repr(model.network_)
    with pytest.raises(Exception):  # noqa: B017, PT011
        getattr(model, "partial_fit" if call == "partial_fit" else "fit")(**{"X": X, "y": CLASSES, **given})
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())
    assert all(np.array_equal(a, b) for a, b in zip((*model.coefs_, *model.intercepts_), arrays))
    assert (model.loss_curve_, repr(model.network_)) == (curve, acts)
    assert np.array_equal(model.predict_proba(X), p)
    same = MLPClassifier(5, max_iter=3, random_state=0).fit(X, CLASSES).partial_fit(X, CLASSES)
    for one in (model.set_params(**plain), same):
        one.partial_fit(X, CLASSES)
    assert np.array_equal(model.coefs_[0], same.coefs_[0])
    assert model.loss_curve_ == same.loss_curve_


@KINDS
def test_a_first_call_that_fails_leaves_nothing(kind, y):
    model = kind(learning_rate_init=1e300, solver="sgd")
    with pytest.raises(ValueError, match="non-finite"):
        model.fit(X, y)
    more = {"classes": ["a", "b"]} if kind is MLPClassifier else {}
    with pytest.raises(ValueError, match="inconsistent"):
        model.partial_fit(X, y[:9], **more)
    assert vars(model).keys() == vars(kind()).keys()


@KINDS
def test_what_is_masked_is_not_brought_to_light(kind, y):
    masked, model = np.ma.masked_greater(X, 1), kind(max_iter=2).fit(np.ma.array(X), np.ma.array(y))
    for call in (model.fit, model.partial_fit, lambda X, y: model.predict(X), model.score):
        with pytest.raises(ValueError, match="X has masked numbers"):
            call(masked, y)
    with pytest.raises(ValueError, match="y has masked numbers"):
        model.fit(X, np.ma.array(y, mask=X[:, 0] > 1))
    with pytest.raises(ValueError, match="validation_data: X has masked numbers"):
        model.fit(X, y, validation_data=(masked, y))


@KINDS
def test_a_first_fit_that_a_callback_ends_keeps_what_was_learnt(kind, y):
    model = kind(callbacks=LambdaCallback(on_epoch_end=fails), random_state=0)
    with pytest.raises(RuntimeError, match="in the middle"):
        model.fit(X, y)
    same = kind(max_iter=1, random_state=0).fit(X, y)
    assert np.array_equal(model.predict(X), same.predict(X))
    assert (model.n_iter_, model.loss_curve_) == (1, same.loss_curve_)
