"""fit_lbfgs: its gradient against finite differences, its solutions against closed forms and scikit-learn."""

import copy
import pickle
import sys
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor

from fastnn import (
    Adam,
    BatchNorm,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    DivergedError,
    Dropout,
    GaussianNoise,
    Identity,
    Layer,
    LayerNorm,
    MSELoss,
    NeuralNetwork,
    PoissonNLLLoss,
    Standardize,
    StopTraining,
    Tanh,
)
from fastnn.training import lbfgs
from fastnn.training.settings import Settings

pytest.importorskip("scipy")


def scaled(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)


def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return scaled(X), scaled(y)


def network(sizes, loss=None, optimizer=None, dtype="float64", l2=0.0, seed=0):
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes, sizes[1:]))
    acts = [Tanh() for _ in shapes[1:]] + [Identity()]
    layers = [Layer(ins, outs, act, seed=rng, l2=l2) for (ins, outs), act in zip(shapes, acts)]
    return NeuralNetwork(layers, loss or MSELoss(), 0.01, optimizer, dtype=dtype)


def problem(kind):
    """A network, rows, targets and sample weights: one for each thing the gradient must get right."""
    rng = np.random.default_rng(1)
    X, weights = rng.normal(size=(21, 3)), None
    net, y = network((3, 4, 2)), rng.normal(size=(21, 2))
    if kind == "penalties":
        net.layers[0].l2, net.layers[1].l2 = 0.3, 0.1
    elif kind == "sample weights":
        weights = rng.uniform(0, 3, 21)
    elif kind == "frozen":
        net.layers[0].trainable = False
    elif kind == "classes":
        net, y = network((3, 4, 3), CrossEntropyLoss()), rng.integers(0, 3, 21)
    elif kind == "a layer twice":
        shared = Layer(3, 3, Tanh(), seed=0, l2=0.2)
        net = NeuralNetwork([shared, shared, Layer(3, 2, Identity(), seed=1)], MSELoss(), 0.1)
    elif kind == "normalisation":
        inner = [Layer(3, 4, Tanh(), seed=0), LayerNorm(), Layer(4, 2, Identity(), seed=1)]
        net = NeuralNetwork([Standardize(), *inner], MSELoss(), 0.1)
    return net, X, y, weights


KINDS = ["plain", "penalties", "sample weights", "frozen", "classes", "a layer twice", "normalisation"]


def state_of(net):
    return pickle.dumps((net.lr, net.optimizer, net.engine.state.steps, net.engine.state.numbers))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", [4, 21, 256])
def test_the_gradient_against_finite_differences(kind, block, monkeypatch):
    monkeypatch.setattr(lbfgs, "BLOCK", block)
    net, X, y, weights = problem(kind)
    function = lbfgs._full_gradient(net.engine, X, y, Settings(sample_weight=weights))
    start, outputs = function.vector, net.predict(X)
    loss, gradient = function(start)
    losses = [net.evaluate(X[i : i + 1], y[i : i + 1])["loss"] for i in range(21)]
    penalty = sum(layer.l2 / 2 * np.sum(layer.weights**2) for layer in net.layers if layer.l2)
    assert loss == pytest.approx(np.mean((1 if weights is None else weights) * np.array(losses)) + penalty, rel=1e-12)
    frozen = net.layers[0].parameter_count if kind == "frozen" else 0  # the vector begins with what does not move
    assert not gradient[:frozen].any()
    for i in range(frozen, start.size):
        step = np.zeros_like(start)
        step[i] = 1e-6
        slope = (function(start + step)[0] - function(start - step)[0]) / 2e-6
        assert gradient[i] == pytest.approx(slope, rel=1e-6, abs=1e-8)
    np.testing.assert_array_equal(net.predict(X), outputs)  # the network itself is no workspace
    assert function(start)[0] == loss


def test_a_linear_network_finds_the_least_squares():
    X, y = diabetes()
    net = network((10, 1))
    history = net.fit_lbfgs(X, y)
    solution, *_ = np.linalg.lstsq(np.column_stack([X, np.ones(len(y))]), y, rcond=None)
    np.testing.assert_allclose(net.layers[0].weights[0], solution[:-1], atol=1e-6)
    np.testing.assert_allclose(net.layers[0].biases[0], solution[-1], atol=1e-6)
    assert history.stopped == "converged"
    assert history["loss"][-1] == pytest.approx(net.evaluate(X, y)["loss"], rel=1e-12)


def test_logistic_regression_is_scikit_learns():
    X, y = load_wine(return_X_y=True)
    X = scaled(X)
    net = network((13, 3), CrossEntropyLoss(), l2=1 / len(y))
    net.fit_lbfgs(X, y, max_iter=1000, class_weight="balanced")
    peer = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-8, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(net.predict_proba(X), peer.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(net.layers[0].weights, peer.coef_, atol=1e-5)


def test_better_than_adam_with_as_many_evaluations():
    X, y = diabetes()
    for seed in range(3):
        net = network((10, 32, 1), optimizer=Adam(), seed=seed)
        twin = copy.deepcopy(net)
        history = net.fit_lbfgs(X, y, max_iter=100)
        twin.fit(X, y, epochs=int(history["evaluations"][-1]), batch_size=len(y))
        assert net.evaluate(X, y)["loss"] < 0.9 * twin.evaluate(X, y)["loss"]


@pytest.mark.parametrize("data", [load_breast_cancer, load_wine, load_diabetes])
def test_as_good_as_scikit_learns_networks(data):
    X, y = data(return_X_y=True)
    X = scaled(X)
    if data is load_diabetes:
        y, outs, loss, peer = scaled(y), 1, MSELoss, MLPRegressor
    else:
        outs, loss = (1, BCEWithLogitsLoss) if y.max() == 1 else (3, CrossEntropyLoss)
        peer = MLPClassifier
    alpha, ours, theirs = 1.0, [], []
    for seed in range(5):
        # scikit-learn's squared loss is half of ours, so its penalty counts twice as much
        net = network((X.shape[1], 16, outs), loss(), l2=alpha / len(y) * (2 if loss is MSELoss else 1), seed=seed)
        ours.append(net.fit_lbfgs(X, y, max_iter=200, tol=1e-4)["loss"][-1])
        settings = {"activation": "tanh", "solver": "lbfgs", "alpha": alpha, "max_iter": 200, "tol": 1e-4}
        other = peer(hidden_layer_sizes=(16,), random_state=seed, **settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            other.fit(X, y)
        theirs.append(other.loss_ * (2 if loss is MSELoss else 1))
    assert np.median(ours) < 1.1 * np.median(theirs)


def test_what_it_leaves_alone():
    X, y = diabetes()
    net = network((10, 8, 1), optimizer=Adam())
    net.fit(X, y, epochs=2, seed=0)
    net.layers[0].trainable = False
    before, state = net.get_weights(), state_of(net)
    net.fit_lbfgs(X, y, max_iter=10)
    after = net.get_weights()
    assert state_of(net) == state
    for i in range(2):
        np.testing.assert_array_equal(before[0][i], after[0][i])
        assert np.all(before[1][i] != after[1][i])
    net.layers[0].trainable = True
    assert net.fit(X, y, seed=1)["loss"][0] > 0


def test_float32_networks_get_a_float64_search():
    X, y = diabetes()
    net, twin = network((10, 8, 1), dtype="float32"), network((10, 8, 1))
    twin.set_weights(net.get_weights())
    mine, other = net.fit_lbfgs(X, y, max_iter=50), twin.fit_lbfgs(X, y, max_iter=50)
    assert mine["loss"] == other["loss"]
    assert net.layers[0].dtype == np.float32
    np.testing.assert_array_equal(net.layers[0].weights, twin.layers[0].weights.astype("float32"))


def test_history_and_callback():
    X, y = diabetes()
    net, seen = network((10, 8, 1)), []
    history = net.fit_lbfgs(X, y, 12, callback=lambda i, loss: seen.append((i, loss, net.evaluate(X, y)["loss"])))
    assert [i for i, _, _ in seen] == history.epoch == list(range(1, 13))
    assert [loss for _, loss, _ in seen] == history["loss"] == sorted(history["loss"], reverse=True)
    np.testing.assert_allclose([loss for _, _, loss in seen], history["loss"], rtol=1e-12)
    assert np.all(np.diff(history["evaluations"]) >= 1)
    assert history.stopped == ""


@pytest.mark.parametrize(
    ("error", "message"), [(StopTraining("enough"), "enough"), (KeyboardInterrupt(), "interrupted after 3 iterations")]
)
def test_stopping_keeps_the_best_so_far(error, message):
    X, y = diabetes()
    net = network((10, 8, 1))

    def callback(iteration, loss):
        if iteration == 3:
            raise error

    history = net.fit_lbfgs(X, y, callback=callback)
    assert (history.stopped, len(history.epoch)) == (message, 3)
    assert net.evaluate(X, y)["loss"] == pytest.approx(history["loss"][-1])


def test_an_interrupt_during_an_evaluation_keeps_the_best_so_far(monkeypatch):
    X, y = diabetes()
    net, calls, evaluate = network((10, 8, 1)), [], lbfgs.FullGradient.__call__

    def interrupted(self, vector):
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return evaluate(self, vector)

    monkeypatch.setattr(lbfgs.FullGradient, "__call__", interrupted)
    history = net.fit_lbfgs(X, y)
    assert history.stopped.startswith("interrupted")
    assert net.evaluate(X, y)["loss"] == pytest.approx(history["loss"][-1])


class Cliff:
    """x - log(x), which is NaN from 0 on down, so steep beside it that a search steps over the edge."""

    def __init__(self, start):
        self.vector = np.array([start])
        self.beyond = 0

    def __call__(self, vector):
        self.beyond += bool(vector[0] <= 0)
        with np.errstate(all="ignore"):
            return float(vector[0] - np.log(vector[0])), 1 - 1 / vector


@pytest.mark.parametrize("start", [3.0, 0.9, 1e-3])
def test_a_line_search_comes_back_from_what_is_not_finite(start):
    from scipy.optimize import minimize

    function = Cliff(start)
    search = lbfgs._Search(function)
    minimize(search, search.vector, jac=True, method="L-BFGS-B")
    assert search.vector[0] == pytest.approx(1.0, abs=1e-4)
    assert search.loss == pytest.approx(1.0)


def test_losses_that_overflow_on_the_way():
    X, y = diabetes()
    X, y = 1000 * X, np.round(np.exp(y))
    net = network((10, 1), PoissonNLLLoss())
    net.layers[0].weights[...] *= 1e-3
    history = net.fit_lbfgs(X, y, max_iter=500)
    assert np.all(np.isfinite(history["loss"]))
    twin = network((10, 1), PoissonNLLLoss())
    expected = twin.fit_lbfgs(X / 1000, y, max_iter=500)
    assert history["loss"][-1] == pytest.approx(expected["loss"][-1], rel=1e-3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"X": np.ones((442, 9))}, "X has 9 columns"),
        ({"y": np.ones(3)}, "y has 3 rows"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"tol": 0}, "tol is 0"),
        ({"memory": 1.5}, "memory is 1.5"),
        ({"sample_weight": [1.0]}, "sample_weight has shape"),
        ({"class_weight": "balanced"}, "class_weight is given"),
        ({"callback": 3}, "callback is 3"),
    ],
)
def test_bad_input_leaves_the_network_as_it_was(wrong, message):
    X, y = diabetes()
    net = network((10, 8, 1))
    before = pickle.dumps(net.get_weights())
    with pytest.raises((ValueError, TypeError), match=message):
        net.fit_lbfgs(**{"X": X, "y": y, **wrong})
    assert pickle.dumps(net.get_weights()) == before


def test_networks_it_cannot_train():
    X, y = diabetes()
    net = network((10, 8, 1))
    net.layers[1].l1 = 0.1
    with pytest.raises(ValueError, match=r"layers\[1\].l1 is 0.1.*use l2"):
        net.fit_lbfgs(X, y)
    net.layers[1].trainable = False  # its penalty plays no part
    net.fit_lbfgs(X, y, max_iter=2)
    net.layers[0].max_norm = 2.0
    with pytest.raises(ValueError, match=r"layers\[0\].max_norm is 2.0"):
        net.fit_lbfgs(X, y)
    net.layers[0].trainable = False
    with pytest.raises(ValueError, match="no layer is trainable"):
        net.fit_lbfgs(X, y)


@pytest.mark.parametrize(
    "stage", [Dropout(0.1), GaussianNoise(0.1), BatchNorm()], ids=lambda stage: type(stage).__name__
)
def test_losses_that_are_no_function(stage):
    X, y = diabetes()
    net = NeuralNetwork([Layer(10, 8, Tanh()), stage, Layer(8, 1, Identity())], MSELoss(), 0.1)
    with pytest.raises(ValueError, match=rf"layers\[1\] is {type(stage).__name__}"):
        net.fit_lbfgs(X, y)


def test_inputs_are_standardised_on_the_first_training():
    X, y = load_diabetes(return_X_y=True)
    net = NeuralNetwork([Standardize(), Layer(10, 1, Identity(), seed=0)], MSELoss(), 0.1, dtype="float32")
    net.fit_lbfgs(1000 * X + 7, scaled(y))
    twin = network((10, 1))
    twin.fit_lbfgs(scaled(X), scaled(y))
    np.testing.assert_allclose(net.layers[1].weights, twin.layers[0].weights, atol=1e-4)
    np.testing.assert_allclose(net.layers[0].row("mean"), 7, atol=1e-4)


def test_a_start_that_is_not_finite():
    X, y = diabetes()
    net = network((10, 1), PoissonNLLLoss())
    net.layers[0].biases[...] = 1e6
    before = pickle.dumps(net.get_weights())
    with pytest.raises(DivergedError, match="before any step"):
        net.fit_lbfgs(X, np.exp(y))
    assert pickle.dumps(net.get_weights()) == before


def test_a_start_that_is_the_end():
    net = network((10, 1))
    X, _ = diabetes()
    history = net.fit_lbfgs(X, net.predict(X))
    assert (history.stopped, history.epoch) == ("converged", [])


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match="fit_lbfgs needs scipy: pip install scipy"):
        network((10, 1)).fit_lbfgs(*diabetes())
