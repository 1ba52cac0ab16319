"""Parameters as scikit-learn's tools handle them: shown, set, copied, checked."""

import numpy as np
import pytest

pytest.importorskip("sklearn.base")

from sklearn.base import clone

import fastnn
from fastnn.sklearn import BankSearchCV, MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
CLASSES = (X[:, 0] > 0).astype(int)


def nothing(epoch, logs):
    pass


OBJECTS = {
    "activation": [fastnn.LeakyReLU(0.2)],
    "solver": fastnn.AdamW(weight_decay=0.1),
    "learning_rate_init": fastnn.CosineDecay(0.03, steps=200),
    "loss": fastnn.FocalLoss(3.0),
    "callbacks": [fastnn.TimeLimit(100), fastnn.EarlyStopping(patience=3), fastnn.LambdaCallback(on_epoch_end=nothing)],
}


def test_objects_are_shown_with_their_settings():
    text = " ".join(repr(MLPClassifier(**OBJECTS)).split())
    assert " at 0x" not in text.replace(repr(nothing), "")
    for part in ("TimeLimit(seconds=100.0)", "EarlyStopping(patience=3", "CosineDecay(lr=0.03", "FocalLoss(gamma=3.0)"):
        assert part in text


def test_callbacks_of_ones_own_are_shown_too():
    class Own(fastnn.Callback):
        def __init__(self, a, b=2, *, c="x"):
            self.a, self.b, self._c = a, b, c

    assert repr(Own([1])) == "Own(a=[1])"
    assert repr(Own(1, b=3)) == "Own(a=1, b=3)"


@pytest.mark.parametrize("fitted", [False, True])
def test_copies_have_objects_of_their_own(fitted):
    model = MLPClassifier((5,), max_iter=2, **OBJECTS)
    other = clone(model.fit(X, CLASSES) if fitted else model)
    assert repr(other) == repr(model)
    assert not any(other.get_params()[name] is value for name, value in OBJECTS.items())
    other.fit(X, CLASSES).partial_fit(X, CLASSES)


@pytest.mark.parametrize(
    "name", ["solver__weight_decay", "loss__gamma", "callbacks__0", "hidden_layer_sizes__0", "alpha__x"]
)
def test_objects_have_no_parameters_of_their_own(name):
    model = MLPClassifier(**OBJECTS)
    whole = name.partition("__")[0]
    message = (
        f"Invalid parameter '{name}' for estimator MLPClassifier: {whole} is .* expected a value for {whole} itself"
    )
    with pytest.raises(ValueError, match=message):
        model.set_params(max_iter=3, **{name: 1})
    assert model.max_iter == 200
    with pytest.raises(ValueError, match="Invalid parameter"):
        BankSearchCV(model, {name: [1, 2]}, cv=2).fit(X, CLASSES)


def test_names_that_are_not_there_change_nothing():
    model = MLPClassifier()
    with pytest.raises(ValueError, match=r"Invalid parameter 'optimizer' .* Valid parameters are: \['activation'"):
        model.set_params(max_iter=3, optimizer__lr=0.1)
    assert model.max_iter == 200
    assert model.set_params() is model


WRONG = {
    "activation": fastnn.LeakyReLU, "solver": fastnn.Adam, "loss": 3, "learning_rate_init": fastnn.CosineDecay,
    "alpha": -1, "tol": np.nan, "batch_size": 0, "momentum": 2, "shuffle": 1, "epsilon": 0, "learning_rate": "x",
    "dropout": -1, "n_networks": 0, "hidden_layer_sizes": "abc", "random_state": -1, "scoring": "nonsense",
    "max_iter": 0, "callbacks": 3, "dtype": "half",
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_parameters_are_checked_in_every_call(name, kind):
    for call in ("fit", "partial_fit"):
        model = kind(hidden_layer_sizes=(5,), max_iter=2)
        if call == "partial_fit":
            model.partial_fit(X, CLASSES, **({"classes": [0, 1]} if kind is MLPClassifier else {}))
        model.set_params(**{name: WRONG[name]})
        with pytest.raises((ValueError, TypeError), match=name):
            getattr(model, call)(X, CLASSES)


@pytest.mark.parametrize("dropout", [0.1, [0.1]])
def test_dropout_is_not_for_lbfgs(dropout):
    with pytest.raises(ValueError, match=r"dropout is .* with solver='lbfgs'"):
        MLPRegressor(hidden_layer_sizes=(5,), dropout=dropout, solver="lbfgs").fit(X, CLASSES)
    MLPRegressor(hidden_layer_sizes=(5,), dropout=[0.0], solver="lbfgs", max_iter=3).fit(X, CLASSES)
