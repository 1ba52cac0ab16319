"""fastnn's own metrics against scikit-learn's."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fastnn import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Identity,
    Layer,
    MSELoss,
    NeuralNetwork,
    SoftCrossEntropyLoss,
)
from fastnn.formulas.metrics import METRICS

peers = pytest.importorskip("sklearn.metrics")


@given(st.integers(2, 60), st.integers(1, 5), st.booleans(), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_classes(n, outs, weighted, tied, seed):
    rng = np.random.default_rng(seed)
    loss = CrossEntropyLoss() if outs > 1 else BCEWithLogitsLoss()
    classes = max(outs, 2)
    y, outputs = rng.integers(0, classes, n), rng.normal(size=(n, outs))
    if tied:
        outputs = np.round(outputs)
    w = rng.uniform(size=n) if weighted else None
    found, p = loss.classes(outputs), loss.probabilities(outputs)
    ours = {name: METRICS[name](y, outputs, loss, w) for name in ("accuracy", "f1", "log_loss", "auc")}
    average = "binary" if classes == 2 else "macro"
    assert ours["accuracy"] == pytest.approx(peers.accuracy_score(y, found, sample_weight=w))
    assert ours["f1"] == pytest.approx(peers.f1_score(y, found, average=average, sample_weight=w, zero_division=0.0))
    assert ours["log_loss"] == pytest.approx(peers.log_loss(y, p, labels=range(classes), sample_weight=w))
    if np.unique(y).size < classes:
        assert np.isnan(ours["auc"])
    else:
        scores, more = (p[:, 1], {}) if classes == 2 else (p, {"multi_class": "ovr"})
        if weighted and classes > 2:
            each = [peers.roc_auc_score(y == k, p[:, k], sample_weight=w) for k in range(classes)]
            assert ours["auc"] == pytest.approx(np.mean(each))
        else:
            assert ours["auc"] == pytest.approx(peers.roc_auc_score(y, scores, sample_weight=w, **more))


@given(
    st.integers(2, 60), st.integers(1, 4), st.booleans(), st.sampled_from(["", "constant", "met"]), st.integers(0, 99)
)
@settings(max_examples=200, deadline=None)
def test_values(n, outs, weighted, kind, seed):
    rng = np.random.default_rng(seed)
    y, outputs = rng.normal(size=(n, outs)), rng.normal(size=(n, outs))
    w = rng.uniform(size=n) if weighted else None
    if kind:
        y[:, 0] = 0.5
    if kind == "met":
        outputs[:, 0] = 0.5
    given_y = y[:, 0] if outs == 1 else y
    for name, peer in (("r2", "r2_score"), ("mse", "mean_squared_error"), ("mae", "mean_absolute_error")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = getattr(peers, peer)(y, outputs, sample_weight=w)
        assert METRICS[name](given_y, outputs, MSELoss(), w) == pytest.approx(theirs), name


@pytest.mark.parametrize("loss", [CrossEntropyLoss(), SoftCrossEntropyLoss(), BCEWithLogitsLoss()])
def test_probabilities_and_metrics_that_are_too_small_for_a_number_raise_nothing(loss):
    net = NeuralNetwork([Layer(1, 2, Identity(), init="zeros")], loss, 0.1)
    net.layers[0].biases[...] = [[0.0], [-740.0]]  # whose exp is a denormal
    with np.errstate(all="raise"):
        assert net.predict_proba([[0.0]])[0, 1] < 1e-300
        small = NeuralNetwork([Layer(1, 1, Identity(), init="zeros")], MSELoss(), 0.1)
        assert small.evaluate(np.ones((3, 1)), np.full(3, 1e-170), ["mse", "r2"])["mse"] < 1e-300


@pytest.mark.parametrize("which", ["y", "outputs", "weights"])
def test_a_metric_cannot_change_the_numbers_of_the_fit(which):
    def spoils(y, outputs, sample_weight=None):
        array = {"y": y, "outputs": outputs, "weights": sample_weight}[which]
        if array is not None:  # training metrics have no weights
            array.fill(0)
        return 1.0

    X, y, weights = np.ones((8, 1)), np.arange(8.0).reshape(8, 1), np.ones(8)
    net = NeuralNetwork([Layer(1, 1, Identity(), seed=0)], MSELoss(), 0.1)
    with pytest.raises(ValueError, match="read-only"):
        net.fit(X, y, validation_data=(X, y, weights), metrics=spoils, verbose=0)
    assert y.sum() == 28
    assert weights.sum() == 8


@pytest.mark.parametrize("name", ["mse", "mae", "r2"])
def test_a_metric_of_values_says_that_targets_are_classes(name):
    net = NeuralNetwork([Layer(1, 3, Identity(), seed=0)], CrossEntropyLoss(), 0.1)
    with pytest.raises(ValueError, match=rf"y has shape \(6,\) and the outputs \(6, 3\), and {name} is of a value"):
        net.evaluate(np.ones((6, 1)), np.arange(6) % 3, name)


@pytest.mark.parametrize("name", ["accuracy", "f1"])
@pytest.mark.parametrize("wrong", [0.25, -1.0, 2.0])
def test_a_metric_of_classes_says_that_targets_are_values(name, wrong):
    net = NeuralNetwork([Layer(1, 1, Identity(), seed=0)], MSELoss(), 0.1)
    with pytest.raises(ValueError, match=rf"but y holds {wrong}, which is no class \(0 to 1\)"):
        net.evaluate(np.ones((3, 1)), np.array([0.0, wrong, 1.0]), name)
    assert np.isfinite(net.evaluate(np.ones((3, 1)), np.array([0.0, 1.0, 1.0]), name)[name])


@pytest.mark.parametrize("metric", [lambda y: 1.0, lambda: 1.0, MSELoss, "top_³"])
def test_metrics_that_cannot_be_called_are_refused_before_the_first_step(metric):
    net = NeuralNetwork([Layer(1, 1, Identity(), seed=0)], MSELoss(), 0.1)
    before = net.parameters
    with pytest.raises((TypeError, ValueError), match=r"^metrics holds .*; expected "):
        net.fit(np.ones((3, 1)), np.ones(3), metrics=[metric], verbose=0)
    assert np.array_equal(net.parameters, before)
