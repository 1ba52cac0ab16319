"""Losses and solvers of fastnn in the estimators: by name or as objects, for the kinds of y that they are for."""

import copy

import numpy as np
import pytest
from networks import Pinball
from sklearn.model_selection import GridSearchCV

from fastnn import (
    AdamW,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    FocalLoss,
    GammaLoss,
    HuberLoss,
    MSELoss,
    PoissonNLLLoss,
    SoftCrossEntropyLoss,
    TweedieLoss,
)
from fastnn.sklearn import BankSearchCV, MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
TWO = np.where(X[:, 0] > 0, "yes", "no")
THREE = np.array(["a", "b", "c"])[np.digitize(X[:, 0], [-0.5, 0.5])]
LABELS = (X > 0).astype(int)


def classifier(**more):
    return MLPClassifier((8,), max_iter=40, learning_rate_init=0.02, random_state=0, **more)


def regressor(**more):
    return MLPRegressor(hidden_layer_sizes=(8,), max_iter=40, learning_rate_init=0.02, random_state=0, **more)


def test_solvers_have_names():
    model = classifier(solver="adamw").fit(X, TWO)
    np.testing.assert_array_equal(model.predict_proba(X), classifier(solver=AdamW()).fit(X, TWO).predict_proba(X))
    assert isinstance(model.network_.optimizer, AdamW)


@pytest.mark.parametrize(("name", "same"), [("huber", HuberLoss()), ("mae", "l1"), ("tweedie", TweedieLoss())])
def test_losses_of_values_have_names(name, same):
    y = np.exp(X[:, 0])
    np.testing.assert_array_equal(regressor(loss=name).fit(X, y).predict(X), regressor(loss=same).fit(X, y).predict(X))


@pytest.mark.parametrize(
    ("name", "same"), [("cross_entropy", CrossEntropyLoss()), ("bce", "log_loss"), ("focal", FocalLoss())]
)
def test_losses_of_classes_have_names(name, same):
    np.testing.assert_array_equal(
        classifier(loss=name).fit(X, TWO).predict_proba(X), classifier(loss=same).fit(X, TWO).predict_proba(X)
    )


def test_names_of_nothing_are_refused():
    for model in (classifier(loss="cross"), classifier(solver="adamv"), regressor(loss="log_loss")):
        with pytest.raises(ValueError, match=r"The '(loss|solver)' parameter"):
            model.fit(X, TWO)


@pytest.mark.parametrize("loss", ["cross_entropy", "soft_cross_entropy", SoftCrossEntropyLoss(), FocalLoss()])
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("early", [False, True])
def test_losses_of_all_classes_take_two_and_three(loss, y, early):
    model = classifier(loss=loss, early_stopping=early, class_weight="balanced").fit(X, y)
    assert model.score(X, y) > 0.5
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    assert model.predict_proba(X).shape == (200, len(model.classes_))


def test_a_loss_of_probabilities_takes_a_single_class():
    assert classifier(loss=SoftCrossEntropyLoss()).fit(X, ["a"] * 200).predict(X[:2]).tolist() == ["a", "a"]


@pytest.mark.parametrize("early", [False, True])
def test_losses_that_do_not_fit_the_kind_of_y_are_refused(early):
    with pytest.raises(ValueError, match="label apart, but y has 3 classes"):
        classifier(loss=BCEWithLogitsLoss(), early_stopping=early).fit(X, THREE)
    for loss in ("cross_entropy", FocalLoss(), MSELoss()):
        with pytest.raises(ValueError, match="one class of a sample, but y has 3 labels"):
            classifier(loss=loss, early_stopping=early).fit(X, LABELS)
    with pytest.raises(ValueError, match="y has 3 classes"):
        classifier(loss="bce").partial_fit(X, TWO, classes=["no", "perhaps", "yes"])
    assert classifier(loss="bce").fit(X, LABELS).predict(X).shape == (200, 3)


@pytest.mark.parametrize("loss", [PoissonNLLLoss(), GammaLoss(), TweedieLoss(), "gamma", "poisson"], ids=repr)
def test_losses_of_logarithms_predict_means(loss):
    y = np.exp(1 + X[:, 0])
    model = regressor(loss=loss).fit(X, y)
    assert model.out_activation_ == "exp"
    assert (model.predict(X) > 0).all()
    assert model.score(X, y) > 0.5
    assert model.network_.evaluate(X, y, "r2")["r2"] == pytest.approx(model.score(X, y))


def test_a_fitted_network_does_not_follow_the_loss_of_its_parameters():
    loss, y = Pinball([0.1, 0.9]), np.repeat(X[:, :1], 2, axis=1)
    model = regressor(loss=loss, n_networks=2).fit(X, y)
    loss.taus[0] = 0.4
    for net in model.networks_:
        assert net.loss_function.taus.tolist() == [0.1, 0.9]
    again = regressor(loss=loss).fit(X, y)
    assert again.network_.loss_function.taus.tolist() == [0.4, 0.9]
    assert copy.deepcopy(model).network_.loss_function.taus.tolist() == [0.1, 0.9]


def test_a_search_over_losses_and_names_is_scikit_learns():
    y = np.repeat(np.exp(X[:, :1]), 2, axis=1)
    grid = {
        "loss": [Pinball([0.1, 0.9]), Pinball([0.2, 0.8]), "huber", "gamma"], "solver": ["adamw", "adam"],
        "n_networks": [1, 2],
    }  # fmt: skip
    searches = [kind(regressor(), grid, cv=2).fit(X, y) for kind in (GridSearchCV, BankSearchCV)]
    theirs, ours = (search.cv_results_["split1_test_score"] for search in searches)
    np.testing.assert_array_equal(ours, theirs)
    assert len(set(ours[:8])) > 4


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "pinball", "Mean-Squared-Error"])
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
def test_without_probabilities_there_is_no_method_for_them(name, y):
    model = classifier(loss=name)
    for fitted in (model, model.fit(X, y)):
        assert not hasattr(fitted, "predict_proba")
        assert not hasattr(fitted, "predict_log_proba")
    assert model.out_activation_ == "identity"
    assert model.score(X, y) > 0.5
    with pytest.raises(AttributeError) as caught:
        model.predict_proba(X)
    assert "gives no probabilities" in str(caught.value.__cause__)
    with pytest.raises(AttributeError, match="predict_proba"):
        classifier(loss=name, early_stopping=True, scoring="neg_log_loss").fit(X, y)


@pytest.mark.parametrize(
    ("name", "out"), [("log_loss", "logistic"), ("bce", "logistic"), ("focal", "softmax"), ("cross_entropy", "softmax")]
)
def test_with_probabilities_the_last_activation_is_theirs(name, out):
    model = classifier(loss=name).fit(X, TWO)
    assert model.out_activation_ == out
    assert hasattr(model, "predict_proba")
    assert hasattr(model.set_params(loss="mse"), "predict_proba")  # the network is as it was


@pytest.mark.parametrize("name", ["poisson", "gamma", "tweedie", "gaussian_nll", GammaLoss()])
def test_losses_of_logarithms_are_none_of_classes(name):
    with pytest.raises(ValueError, match="on no scale of classes"):
        classifier(loss=name).fit(X, TWO)


@pytest.mark.parametrize("name", ["bce", "cross_entropy", "soft_cross_entropy", "focal", CrossEntropyLoss()])
def test_losses_of_classes_are_none_of_values(name):
    with pytest.raises(ValueError, match="is one of classes; expected one of values"):
        regressor(loss=name).fit(X, (X[:, 0] > 0).astype(int))


def test_losses_with_outputs_that_predict_nothing_are_refused():
    with pytest.raises(ValueError, match="outputs that are no predictions"):
        regressor(loss="gaussian_nll").fit(X, X[:, 0])


def test_names_are_written_in_any_way_but_those_of_scikit_learn():
    y = np.exp(X[:, 0])
    for one, other in (
        ({"loss": "Huber-Loss"}, {"loss": "huber"}),
        ({"activation": "Leaky-ReLU"}, {"activation": "leaky_relu"}),
    ):
        np.testing.assert_array_equal(regressor(**one).fit(X, y).predict(X), regressor(**other).fit(X, y).predict(X))
    for wrong in ({"loss": "Squared_Error"}, {"loss": "Poisson"}, {"solver": "Adam"}, {"solver": "SGD"}):
        with pytest.raises(ValueError, match="parameter of MLPRegressor must be"):
            regressor(**wrong).fit(X, y)
