"""Fits that go on (`warm_start`, `partial_fit`) after parameters have changed."""

import numpy as np
import pytest

pytest.importorskip("sklearn.base")

from sklearn import neural_network as theirs

import fastnn
from fastnn import sklearn as ours
from fastnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5))
VALUES = np.abs(X[:, 0]) + 0.1
CLASSES = (X[:, 1] > 0).astype(int)
CALLS = pytest.mark.parametrize("call", ["fit", "partial_fit"])


def begun(call, kind=MLPRegressor, y=VALUES, **more):
    settings = {"hidden_layer_sizes": (9,), "max_iter": 3, "warm_start": True, "random_state": 0, "shuffle": False}
    model = kind(**{**settings, **more})
    return model.fit(X, y) if call == "fit" else model.partial_fit(X, y, **_classes(kind, y))


def _classes(kind, y):
    return {"classes": np.unique(y)} if "Classifier" in kind.__name__ else {}


@CALLS
@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"activation": "tanh"}, "Layer(5, 9, Tanh())"),
        ({"activation": [fastnn.LeakyReLU(0.3)]}, "LeakyReLU(leaky_param=0.3)"),
        ({"dropout": 0.5}, "Dropout(rate=0.5)"),
        ({"loss": "huber"}, "HuberLoss(delta=1.0)"),
        ({"loss": "poisson"}, "PoissonDevianceLoss"),
        ({"dtype": "float32"}, "dtype='float32'"),
        ({"solver": "sgd"}, ""),
        ({"beta_1": 0.1}, ""),
        ({"learning_rate_init": 0.1}, ""),
        ({"alpha": 10.0}, ""),
    ],
)
def test_what_has_changed_holds_for_the_weights_of_before(call, change, part):
    model, same = begun(call), begun(call)
    before = model.coefs_[0].copy()
    model.set_params(**change)
    for _ in range(3):
        getattr(model, call)(X, VALUES)
        getattr(same, call)(X, VALUES)
    assert part in repr(model.network_)
    assert part == "" or part not in repr(same.network_)
    assert not np.array_equal(model.coefs_[0], same.coefs_[0])
    assert np.abs(model.coefs_[0] - before).max() < 1.1  # not new ones: those of another draw are 1.2 away
    assert model.out_activation_ == ("exp" if change.get("loss") == "poisson" else "identity")


@CALLS
@pytest.mark.parametrize(
    "changes",
    [
        [{"activation": "tanh"}, {"activation": "logistic", "alpha": 1.0}, {"batch_size": 17}],
        [{"solver": "sgd", "learning_rate_init": 0.01}, {"momentum": 0.5}, {"max_iter": 2}],
    ],
)
def test_it_goes_on_as_scikit_learns(call, changes):
    if call == "partial_fit":  # where theirs keeps the optimiser that it has
        changes = [change for change in changes if not {"solver", "momentum"} & set(change)]
    for kind, y in (("MLPRegressor", VALUES), ("MLPClassifier", CLASSES)):
        models = [begun(call, getattr(module, kind), y) for module in (theirs, ours)]
        for change in changes:
            for model in models:
                getattr(model.set_params(**change), call)(X, y)
        np.testing.assert_allclose(models[1].coefs_[0], models[0].coefs_[0], rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(models[1].loss_curve_, models[0].loss_curve_, rtol=1e-9)


@CALLS
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_layer_sizes": (7,)}, r"hidden_layer_sizes is \(7,\) but .* \(9,\); expected the same, or"),
        ({"hidden_layer_sizes": (9, 9)}, r"hidden_layer_sizes is \(9, 9\)"),
        ({"n_networks": 2}, "n_networks is 2 but there are 1"),
        ({"loss": "cross_entropy"}, "y with loss='cross_entropy' needs 2 outputs"),
    ],
)
def test_what_cannot_go_on_is_refused(call, change, message):
    model = begun(call, MLPClassifier, CLASSES)
    before = model.coefs_[0].copy()
    model.set_params(**change)
    with pytest.raises(ValueError, match=message):
        getattr(model, call)(X, CLASSES)
    assert np.array_equal(model.coefs_[0], before)
    assert model.set_params(warm_start=False).fit(X, CLASSES).score(X, CLASSES) >= 0


def test_targets_with_other_columns_are_refused():
    with pytest.raises(ValueError, match="needs 2 outputs but the network to go on with has 1"):
        begun("fit").fit(X, np.c_[VALUES, VALUES])


def test_another_loss_or_scoring_is_not_held_against_the_best_of_before():
    model = begun("fit", MLPClassifier, CLASSES, early_stopping=True, max_iter=20)
    model.set_params(scoring="neg_log_loss").fit(X, CLASSES)
    assert model.best_validation_score_ < 0
    model = begun("fit", max_iter=50).set_params(loss="mae", n_iter_no_change=5, max_iter=9)
    assert model.fit(X, 10 + VALUES).n_iter_ == 9


def test_an_object_that_was_changed_counts_as_another():
    act, solver = fastnn.LeakyReLU(0.1), fastnn.Adam(beta1=0.9)
    model = begun("partial_fit", activation=act, solver=solver)
    rule = model.network_.optimizer
    assert model.partial_fit(X, VALUES).network_.optimizer is rule
    act.leaky_param, solver.beta1 = 0.4, 0.5
    model.partial_fit(X, VALUES)
    assert model.network_.layers[0].act_function.leaky_param == 0.4
    assert model.network_.optimizer.beta1 == 0.5


def test_small_steps_set_nothing_of_the_network_anew():
    model = begun("partial_fit", alpha=0.3, shuffle=True).partial_fit(X, VALUES)
    layers = model.network_.layers
    stamps = [layer.stamp for layer in layers]
    model.partial_fit(X, VALUES)
    assert [layer.stamp for layer in layers] == stamps
    assert {layer.l2 for layer in layers} == {0.3 / 120}
