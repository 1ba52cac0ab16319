"""Targets of any unit: standardised at the door in float64, and predictions on the scale that they had."""

import copy
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from networks import Killed, bits, killed_in
from sklearn.compose import TransformedTargetRegressor
from sklearn.metrics import mean_absolute_error, r2_score

import fastnn
from fastnn import (
    SGD,
    Adam,
    BCEWithLogitsLoss,
    Checkpoint,
    CrossEntropyLoss,
    EarlyStopping,
    ElementwiseLoss,
    GaussianNLLLoss,
    HuberLoss,
    Identity,
    LambdaCallback,
    Layer,
    LossFunction,
    MAELoss,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    PoissonNLLLoss,
    SoftCrossEntropyLoss,
    Standardize,
    StandardizeTargets,
    StopTraining,
    Tanh,
    check_gradients,
    explain,
    reference,
)
from fastnn.data.target_scale import TargetScale, measured_scale

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 3))
F = np.sin(X[:, 0]) + 0.5 * X[:, 1]
PRICES = 200_000 + 80_000 * F


def network(dtype="float64", loss=None, stage=True, outs=1, optimizer=None, lr=0.01, seed=0, front=False):
    layers = [Layer(3, 16, Tanh(), seed=seed), Layer(16, outs, Identity(), seed=seed + 1)]
    layers = [*([Standardize()] if front else []), *layers, *([StandardizeTargets()] if stage else [])]
    return NeuralNetwork(layers, loss or MSELoss(), lr, optimizer or Adam(), dtype=dtype)


def fitted(y=PRICES, epochs=20, dtype="float64", **more):
    net = network(dtype, outs=np.shape(y)[1] if np.ndim(y) == 2 else 1)
    net.fit(X, y, epochs, seed=0, verbose=0, **more)
    return net


def by_hand(y):
    """With more digits than we have."""
    y = np.asarray(y, np.longdouble)
    return ((y - y.mean(axis=0)) / y.std(axis=0)).astype(np.float64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outs", [1, 3])
@pytest.mark.parametrize("loss", [MSELoss(), MAELoss(), HuberLoss(0.5)], ids=repr)
def test_a_fit_is_the_one_on_targets_standardised_by_hand(dtype, outs, loss):
    y = np.column_stack([PRICES, X[:, 2] * 1e-3 + 5.0, F])[:, :outs]
    net, plain = network(dtype, loss, outs=outs), network(dtype, loss, stage=False, outs=outs)
    options = {"epochs": 5, "seed": 3, "verbose": 0, "batch_size": 16, "sample_weight": RNG.uniform(0.5, 2, 600)}
    history, wanted = net.fit(X, y, **options), plain.fit(X, by_hand(y), **options)
    rough = 1e-9 if dtype == "float64" else 2e-3
    np.testing.assert_allclose(history["loss"], wanted["loss"], rough)
    np.testing.assert_allclose(net.outputs(X), plain.outputs(X), rough, rough)
    np.testing.assert_allclose(net.predict(X), y.mean(0) + y.std(0) * net.outputs(X).astype(float), 1e-6, 1e-7)
    np.testing.assert_allclose(net.layers[-1].mean[:, 0], y.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(net.layers[-1].std[:, 0], y.std(axis=0), rtol=1e-13 if dtype == "float64" else 1e-7)
    assert net.predict(X).dtype == np.float64
    assert net.outputs(X).dtype == net.forward_pass(X.T).dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("far", "size"),
    [(2e5, 8e4), (1.7e9, 100.0), (-1.7e12, 1000.0), (0.0, 1e300), (1e300, 1e299), (0.0, 1e-300), (1e-200, 1e-201),
     (3e38, 1e38), (1e-45, 1e-46), (0.0, 1.0), (1e13, 1.0)],
)  # fmt: skip
def test_targets_of_any_size_are_learnt_as_well(dtype, far, size):
    plain = network(dtype, stage=False)
    plain.fit(X, by_hand(F), 20, seed=0, verbose=0)
    wanted = r2_score(F, F.mean() + F.std() * plain.predict(X)[:, 0])
    y = far + size * F
    net = fitted(y, dtype=dtype)
    found = net.predict(X)[:, 0] / size - far / size
    assert r2_score(F, found) == pytest.approx(wanted, abs=2e-3)
    assert wanted > 0.98


def test_timestamps_are_told_to_the_second_in_float32():
    seconds = 1_700_000_000 + np.round(100 * F).astype(np.int64)
    net = fitted(seconds, 200, "float32")
    assert r2_score(seconds - 1_700_000_000, net.predict(X)[:, 0] - 1_700_000_000) > 0.999
    assert np.abs(net.predict(X)[:, 0] - seconds).mean() < 3
    assert net.layers[-1].mean.item() == pytest.approx(seconds.mean(), abs=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.0, 7.0, 14.62, -1e-300, 1e300, 1e12])
def test_constant_targets_are_only_shifted(dtype, value):
    net = fitted(np.full(600, value), 3, dtype)
    assert net.evaluate(X, np.full(600, value))["loss"] < 1
    assert net.layers[-1].std.item() >= 1
    np.testing.assert_allclose(net.predict(X), value, atol=3, rtol=1e-14)
    wobbling = value * (1 + np.finfo(float).eps * RNG.integers(-1, 2, 600))
    assert fitted(wobbling, 2, dtype).fit(X, wobbling, verbose=0)["loss"][0] < 2


def test_one_sample_and_one_constant_output():
    net = network()
    net.fit(X[:1], PRICES[:1], verbose=0)
    assert (net.layers[-1].mean.item(), net.layers[-1].std.item()) == (PRICES[0], 1.0)
    both = np.column_stack([PRICES, np.full(600, 3.0)])
    np.testing.assert_allclose(fitted(both).predict(X)[:, 1], 3.0, atol=0.2)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(2, 40), st.sampled_from([0.0, 1e3, -1.7e9]),
    st.sampled_from([1e-3, 1.0, 1e5]), st.integers(1, 9), st.booleans(), st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_it_equals_the_reference_and_the_reference_by_hand(seed, outs, n, far, spread, batch_size, by_fit, dtype):
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=(3, n)), far + spread * rng.normal(size=(outs, n))
    layers = [Layer(3, 4, Tanh(), seed=0), Layer(4, outs, Identity(), seed=1), StandardizeTargets()]
    net = NeuralNetwork(layers, MSELoss(), 0.05, dtype=dtype)
    layers[-1].adapt(t.T)
    rounding = 1e-15 * abs(far) / spread  # of the mean
    close = {"rtol": 1e-6, "atol": 1e-9 + 10 * rounding} if dtype == "float64" else {"rtol": 2e-2, "atol": 5e-3}
    slow, hand = reference.copy_of(net), reference.copy_of(net)
    hand._layers.pop()
    scaled = by_hand(t.T).T
    assert slow.loss(slow.forward_pass(x), t) == pytest.approx(net.loss(net.forward_pass(x), t), rel=1e-3)
    for ours, theirs in zip(net.gradients(x, t)[1:3], hand.gradients(x, scaled)[1:3]):
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a, b, **close)
    if by_fit:
        net.fit(x.T, t.T, 2, batch_size=batch_size, shuffle=False, verbose=0)
        for part in 2 * np.array_split(np.arange(n), -(-n // batch_size)):
            slow.train(x[:, part], t[:, part], batch_size=len(part))
            hand.train(x[:, part], scaled[:, part], batch_size=len(part))
    else:
        net.train(x, t, 2, batch_size=batch_size)
        slow.train(x, t, 2, batch_size=batch_size)
        hand.train(x, scaled, 2, batch_size=batch_size)
    for twin in (slow, hand):
        np.testing.assert_allclose(net.forward_pass(x), twin.forward_pass(x), **close)


@settings(max_examples=300, deadline=None)
@given(
    st.floats(-1e300, 1e300), st.floats(1e-300, 1e300), st.floats(-50, 50), st.sampled_from(["float32", "float64"])
)  # fmt: skip
def test_a_scale_goes_there_and_back(mean, std, value, dtype):
    scale = TargetScale.of(np.array([mean]), np.array([std]), np.dtype(dtype))
    for part in scale[:3]:
        assert np.isfinite(part.astype(dtype)).all()
        assert (part == part.astype(dtype)).all()
    eps = np.finfo(float).eps
    assert scale.std[0] == pytest.approx(max(std, eps * abs(mean)), rel=1e-6)
    assert abs(scale.mean[0] - mean) <= (1e-300 * std if dtype == "float64" else 2.0**-47 * abs(mean) + 1e-37 * std)
    there = scale.standardized(scale.restorer()(np.array([[value]])))[0, 0]
    ratio = abs(scale.mean[0] / scale.std[0])
    assert abs(there - value) <= 4 * eps * (ratio + abs(value) + 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 30), min_size=1, max_size=5), st.sampled_from([0, 1e9]))
def test_parts_are_measured_as_the_whole(seed, sizes, far):
    parts = [far + np.random.default_rng(seed + size).normal(size=(size, 2)) for size in sizes]
    whole = np.concatenate(parts)
    found = measured_scale(iter(parts), 2, np.dtype(np.float64))
    np.testing.assert_allclose(found.mean, whole.mean(axis=0), rtol=1e-12, atol=1e-12)
    assert measured_scale([], 2, np.dtype(np.float64)) is None


# --- doors ---------------------------------------------------------------------------------------

DOORS = {
    "one by one": lambda net, X: np.concatenate([net.predict(X[i : i + 1]) for i in range(len(X))]),
    "views": lambda net, X: np.concatenate([net.predict(np.asfortranarray(X)[i : i + 1]) for i in range(len(X))]),
    "lists": lambda net, X: net.predict(X.tolist()),
    "sparse": lambda net, X: net.predict(pytest.importorskip("scipy.sparse").csr_matrix(X)),
    "frame": lambda net, X: net.predict(pytest.importorskip("pandas").DataFrame(X)),
    "bank": lambda net, X: NetworkBank([net, fitted(F, dtype=net.dtype)]).predict(X)[0],
    "bank's mean": lambda net, X: NetworkBank([net, copy.deepcopy(net)]).predict_mean(X),
    "outputs": lambda net, X: 200_000 + (net.predict(X) - 200_000) if net.outputs(X).std() < 3 else None,
    "evaluate": lambda net, X: net.predict(X) if net.evaluate(X, net.predict(X))["loss"] < 1e-9 else None,
    "gradients": lambda net, X: net.predict(X) if net.gradients(X.T, net.predict(X).T)[3] < 1e-9 else None,
    "vector": lambda net, X: net.predict(X) if net.loss_and_gradient(X, net.predict(X))[0] < 1e-9 else None,
    "loss": lambda net, X: net.predict(X) if net.loss(net.forward_pass(X.T), net.predict(X).T) < 1e-9 else None,
    "explain": lambda net, X: net.predict(X) if explain(net, X[:1].T, net.predict(X[:1]).T).loss < 1e-9 else None,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("door", DOORS)
def test_all_doors_agree(door, dtype):
    net = fitted(dtype=dtype)
    wanted = net.layers[-1].mean.item() + net.layers[-1].std.item() * net.forward_pass(X[:40].T).T.astype(float)
    np.testing.assert_allclose(DOORS[door](net, X[:40]), wanted, rtol=1e-5)


def test_the_gradient_is_that_of_standardised_targets():
    net, plain = fitted(), network(stage=False)
    plain.parameters = net.parameters
    y = by_hand(PRICES)
    loss, gradient = net.loss_and_gradient(X, PRICES)
    wanted = plain.loss_and_gradient(X, y)
    assert loss == pytest.approx(wanted[0])
    np.testing.assert_allclose(gradient, wanted[1], rtol=1e-9, atol=1e-12)
    ours, theirs = net.gradients(X.T, PRICES[None]), plain.gradients(X.T, y[None])
    assert len(ours.dWs) == len(theirs.dWs) + 1  # one for each layer
    np.testing.assert_allclose(ours.dWs[0], theirs.dWs[0], rtol=1e-9, atol=1e-12)
    assert check_gradients(net, X[:20], PRICES[:20]).ok
    assert check_gradients(network(), X[:20], PRICES[:20]).ok


TARGETS = {
    "list": lambda y: y.tolist(), "column": lambda y: y[:, None], "objects": lambda y: y.astype(object),
    "longdouble": lambda y: y.astype(np.longdouble), "int64": lambda y: y.astype(np.int64),
    "uint64": lambda y: y.astype(np.uint64), "int32": lambda y: y.astype(np.int32),
    "float32": lambda y: y.astype(np.float32), "series": lambda y: pytest.importorskip("pandas").Series(y),
    "bool": lambda y: y > y.mean(), "view": lambda y: np.repeat(y, 2)[::2],
}  # fmt: skip


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_targets_of_any_type_are_measured_as_given(kind, dtype):
    y = TARGETS[kind](np.round(PRICES))
    numbers = np.array(y, dtype=np.float64).ravel()
    net = fitted(y, 2, dtype)
    assert net.layers[-1].mean.item() == pytest.approx(numbers.mean(), rel=1e-12)
    assert net.layers[-1].std.item() == pytest.approx(numbers.std(), rel=1e-6)
    assert net.evaluate(X, y)["loss"] == pytest.approx(np.mean((net.outputs(X)[:, 0] - by_hand(numbers)) ** 2), 1e-4)


class Either(LossFunction):
    """It takes values or classes, whichever come."""

    def loss(self, values, expected):
        return np.sum(np.log(np.cosh(values - expected)))

    def dloss(self, values, expected):
        return np.tanh(values - expected)


def test_whole_numbers_are_values_where_the_loss_takes_either():
    net, y = network(loss=Either()), np.round(PRICES).astype(int)
    net.fit(X, y, 40, seed=0, verbose=0)
    assert r2_score(y, net.predict(X)) > 0.95
    assert net.loss(net.forward_pass(X.T), y[None]) < 0.1
    assert explain(net, X[:1].T, y[:1, None]).loss < 10


@pytest.mark.parametrize("bad", [PRICES[:5], np.where(np.arange(600) == 3, np.nan, PRICES),
                                 np.where(np.arange(600) == 3, np.inf, PRICES), np.ones((600, 2)), "y", None,
                                 np.full(600, "a"), np.ones((600, 1, 1)), []])  # fmt: skip
def test_bad_targets_leave_the_network_as_it_was(bad):
    net = network()
    before = bits(net)
    calls = (
        lambda: net.fit(X, bad, verbose=0), lambda: net.partial_fit(X, bad), lambda: net.fit_lbfgs(X, bad),
        lambda: net.train(X.T, bad if np.ndim(bad) != 1 else np.array(bad)[None]), lambda: net.find_lr(X, bad),
        lambda: net.fit(lambda: [(X, bad)], verbose=0), lambda: NetworkBank([net]).fit(X, bad, verbose=0),
        lambda: net.layers[-1].adapt(bad[:, None] if isinstance(bad, list) else bad),
    )  # fmt: skip
    for call in calls[: 7 if np.shape(bad) == (5,) else 8]:
        with pytest.raises((ValueError, TypeError)):
            call()
    assert bits(net) == before
    assert not net.layers[-1].fitted


def test_errors_of_targets_tell_what_came():
    net = network("float32")
    with pytest.raises(ValueError, match="y holds nan at row 3, column 0"):
        net.fit(X, np.where(np.arange(600) == 3, np.nan, PRICES))
    net.fit(X, PRICES * 1e-30, verbose=0)
    with pytest.raises(ValueError, match=r"y holds numbers too far, for float32, from those that StandardizeTargets"):
        net.evaluate(X, np.full(600, 1e30))
    with pytest.raises(ValueError, match=r"t has 2 rows"):
        net.train(X.T, np.ones((2, 600)))


@pytest.mark.parametrize(
    "loss", [CrossEntropyLoss(), SoftCrossEntropyLoss(), BCEWithLogitsLoss(), PoissonNLLLoss(), GaussianNLLLoss()]
)
def test_losses_without_a_scale_are_refused_at_once(loss):
    with pytest.raises(
        ValueError, match=rf"layers\[2\] is StandardizeTargets\(\), but .*{type(loss).__name__}.*MSELoss"
    ):
        network(loss=loss, outs=2)
    net = network(outs=2)
    net._loss_function = loss
    with pytest.raises(ValueError, match="StandardizeTargets"):
        net.predict(X)


class Counts(ElementwiseLoss):
    domain = PoissonNLLLoss.domain

    def f(self, v, t):
        return (v - t) ** 2

    def df(self, v, t):
        return 2 * (v - t)


class Cubes(Counts):
    """Its outputs are cube roots of the (standardised) targets."""

    domain = None

    def f(self, v, t):
        return (v**3 - t) ** 2

    def df(self, v, t):
        return 6 * v**2 * (v**3 - t)

    def predictions(self, outputs):
        return outputs**3


def test_own_losses_compose_with_it_unless_they_have_a_domain():
    with pytest.raises(ValueError, match="Counts"):
        network(loss=Counts())
    net = network(loss=Cubes())
    net.fit(X, PRICES, 3, verbose=0)
    np.testing.assert_allclose(net.predict(X), PRICES.mean() + PRICES.std() * net.outputs(X) ** 3)


@pytest.mark.parametrize("place", [0, 1])
def test_it_is_the_last_layer_or_none(place):
    layers = [Layer(3, 4, Tanh()), Layer(4, 1, Identity())]
    layers.insert(place, StandardizeTargets())
    with pytest.raises(ValueError, match=rf"layers\[{place}\] is StandardizeTargets\(.*last layer"):
        NeuralNetwork(layers, MSELoss(), 0.1)
    with pytest.raises(ValueError, match=r"layers\[2\] is StandardizeTargets"):
        NeuralNetwork([*network(stage=False).layers, StandardizeTargets(), StandardizeTargets()], MSELoss(), 0.1)
    with pytest.raises(ValueError, match="no Layer"):
        NeuralNetwork([StandardizeTargets()], MSELoss(), 0.1)


def test_a_layer_put_in_or_taken_out_later_counts_at_once():
    net = fitted()
    prices, raw = net.predict(X[:1]), net.outputs(X[:1])
    last = net.layers.pop()
    np.testing.assert_array_equal(net.predict(X[:1]), raw)
    net.layers.append(last)
    np.testing.assert_array_equal(net.predict(X[:1]), prices)


# --- training ------------------------------------------------------------------------------------


def test_a_raw_price_needs_no_rate_of_its_own():
    plain, net = network(stage=False, optimizer=SGD(), lr=0.2), network(optimizer=SGD(), lr=0.2)
    with pytest.raises(fastnn.DivergedError, match="StandardizeTargets"):
        plain.fit(X, PRICES, 20, verbose=0, seed=0)
    metrics = {"metrics": ["r2", "mae", "mse"], "train_metrics": True}
    history = net.fit(X, PRICES, 60, verbose=0, seed=0, validation_data=(X, PRICES), **metrics)
    p = net.predict(X)[:, 0]
    assert history["val_r2"][-1] == pytest.approx(r2_score(PRICES, p))
    assert history["val_mae"][-1] == pytest.approx(mean_absolute_error(PRICES, p))
    assert history["val_loss"][-1] == pytest.approx(history["val_mse"][-1] / PRICES.var())
    assert history["r2"][-1] > 0.95
    assert history["mae"][-1] == pytest.approx(history["val_mae"][-1], rel=0.5)


def trained_in_columns(net):
    net.train(X.T, PRICES[None], batch_size=32, epochs=15)


def trained_in_chunks(net):
    net.fit(lambda: ((X[i : i + 300], PRICES[i : i + 300]) for i in (0, 300)), epochs=15, shuffle=False, verbose=0)


def trained_by_partial_fit(net):
    for _ in range(15):
        net.partial_fit(X, PRICES)


WAYS = {
    "columns": trained_in_columns, "chunks": trained_in_chunks, "partial_fit": trained_by_partial_fit,
    "lbfgs": lambda net: net.fit_lbfgs(X, PRICES, 30),
    "bank": lambda net: NetworkBank([net, network(net.dtype)]).fit(X, PRICES, 15, verbose=0),
    "split": lambda net: net.fit(X, PRICES, 15, verbose=0, validation_split=0.1),
    "sparse": lambda net: net.fit(pytest.importorskip("scipy.sparse").csr_matrix(X), PRICES, 15, verbose=0),
    "weights": lambda net: net.fit(X, PRICES, 15, verbose=0, sample_weight=np.linspace(0, 2, 600)),
    "patience": lambda net: net.fit(X, PRICES, 15, verbose=0, validation_data=(X, PRICES), callbacks=EarlyStopping()),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", WAYS)
def test_all_ways_to_train_measure_what_came(way, dtype):
    net = network(dtype)
    WAYS[way](net)
    first = PRICES[:300] if way == "chunks" else PRICES
    assert net.layers[-1].fitted
    assert net.layers[-1].mean.item() == pytest.approx(first.mean(), rel=0.02 if way == "split" else 1e-7)
    assert net.layers[-1].std.item() == pytest.approx(first.std(), rel=0.05 if way == "split" else 1e-7)
    assert r2_score(PRICES, net.predict(X)) > 0.9


def test_a_stream_from_disk_is_measured_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(fastnn.data.sources, "CHUNK_BYTES", 32 * 16 * 4)
    for name, array in (("x", X), ("y", PRICES)):
        np.save(tmp_path / name, array)
    on_disk = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy"]
    net, wanted = network("float32", front=True), network("float32", front=True)
    known = wanted.fit(X, PRICES, 2, shuffle=False, verbose=0, metrics=["mae"])
    metrics = {"metrics": ["mae"], "train_metrics": True}
    history = net.fit(*on_disk, 2, shuffle=False, verbose=0, validation_data=(X, PRICES), **metrics)
    assert net.layers[-1].mean == pytest.approx(wanted.layers[-1].mean, rel=1e-12)
    np.testing.assert_allclose(history["mae"], known["mae"], rtol=1e-3)
    assert history["val_mae"][-1] == pytest.approx(np.abs(net.predict(X)[:, 0] - PRICES).mean(), rel=1e-6)
    held = network("float32")
    held.fit(*on_disk, 1, shuffle=False, verbose=0, validation_split=0.25, validation_shuffle=False)
    assert held.layers[-1].mean.item() == pytest.approx(PRICES[:450].mean(), rel=1e-9)


@pytest.mark.parametrize("data", ["generator", "function", "list"])
def test_chunks_are_all_trained_on(data):
    made = []

    def chunks():
        for i in range(0, 600, 100):
            made.append(i)
            yield X[i : i + 100], PRICES[i : i + 100]

    given = {"generator": chunks(), "function": chunks, "list": list(chunks())}[data]
    net = network()
    net.fit(given, verbose=0)
    assert int(net.engine.state.steps[0]) == 24
    assert net.layers[-1].mean.item() == pytest.approx(PRICES[:100].mean())


def test_bad_chunks_are_named():
    with pytest.raises(ValueError, match=r"y of chunk 0 has shape \(600, 2\)"):
        network().fit(lambda: [(X, np.ones((600, 2)))], verbose=0)
    with pytest.raises(TypeError, match="chunk 0 of X"):
        network().fit(lambda: [X], verbose=0)
    with pytest.raises(ValueError, match="gave no chunks"):
        network().fit(lambda: [], verbose=0)


def test_the_scale_stays_until_it_is_measured_again():
    net = fitted()
    mean, std = net.layers[-1].mean, net.layers[-1].std
    net.fit(X, 10 * PRICES, verbose=0)
    net.partial_fit(X, 10 * PRICES)
    net.train(X.T, 10 * PRICES[None], batch_size=32)
    assert (net.layers[-1].mean, net.layers[-1].std) == (mean, std)
    before = net.outputs(X)
    net.layers[-1].adapt(10 * PRICES)
    assert net.layers[-1].mean.item() == pytest.approx(10 * PRICES.mean())
    np.testing.assert_array_equal(net.outputs(X), before)
    np.testing.assert_allclose(net.predict(X), 10 * (PRICES.mean() + PRICES.std() * before))


def test_training_on_part_and_then_on_is_training_in_one(tmp_path):
    once, twice = network(optimizer=SGD()), network(optimizer=SGD())
    once.fit(X, PRICES, 6, shuffle=False, verbose=0)
    twice.fit(X, PRICES, 2, shuffle=False, verbose=0)
    twice.save(tmp_path / "net")
    again = fastnn.load(tmp_path / "net")
    for net in (twice, again):
        net.fit(X, PRICES, 4, shuffle=False, verbose=0)
        assert bits(net) == bits(once)


def test_find_lr_sees_standardised_targets_and_leaves_the_network():
    net = network()
    before = bits(net)
    curve = net.find_lr(X, PRICES, seed=0)
    assert 0.2 < curve.losses[0] < 5
    assert bits(net) == before
    assert not net.layers[-1].fitted
    plain = network(stage=False).find_lr(X, by_hand(PRICES), seed=0)
    np.testing.assert_allclose(curve.losses[:50], plain.losses[:50], rtol=1e-6)


def test_what_ends_a_fit_before_its_first_step_leaves_it_fitted_or_not_as_inputs():
    def stop(*_):
        raise StopTraining("enough")

    net = network(front=True)
    net.fit(X, PRICES, verbose=0, callbacks=LambdaCallback(on_epoch_begin=stop))
    assert net.layers[0].fitted == net.layers[-1].fitted


# --- banks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("held", ["data", "split"])
@pytest.mark.parametrize("front", [False, True])
def test_in_a_bank_each_network_is_as_if_alone(bootstrap, held, front):
    more = (
        {"validation_data": (X[:50], PRICES[:50])}
        if held == "data"
        else {"validation_split": 0.25, "validation_shuffle": False}
    )
    nets = [network(front=front), network(front=front), fitted(PRICES * 3)]
    alone = copy.deepcopy(nets)
    bank = NetworkBank(nets)
    options = {"seed": 5, "verbose": 0, "metrics": ["r2", "mae"], "shuffle": False}
    histories = bank.fit(X, PRICES, 2, bootstrap=bootstrap, **options, **more)
    for k, net in enumerate(alone):
        rows, targets, own = X, PRICES, more
        if bootstrap:
            end = 600 if held == "data" else 450
            drawn = bank.bootstrap_rows(end, 5 + k)
            rows, targets = X[:end][drawn], PRICES[:end][drawn]
            own = more if held == "data" else {"validation_data": (X[end:], PRICES[end:])}
        history = net.fit(rows, targets, 2, **{**options, "seed": 5 + k}, **own)
        assert bits(bank[k]) == bits(net)
        assert dict(histories[k]) == dict(history)
        np.testing.assert_array_equal(bank.predict(X[:40])[k], net.predict(X[:40]))
        np.testing.assert_array_equal(bank.outputs(X[:40])[k], net.outputs(X[:40]))
        assert bank.evaluate(X, PRICES)["loss"][k] == net.evaluate(X, PRICES)["loss"]


def test_banks_hold_networks_with_it_or_without():
    with pytest.raises(ValueError, match="the standardising of targets of networks\\[1\\] is False"):
        NetworkBank([network(), network(stage=False)])
    bank = NetworkBank([fitted(), fitted(seed := PRICES + 1e6)])
    assert seed.size == 600
    mean, spread = bank.predict_mean(X, return_std=True)
    assert mean.dtype == np.float64
    np.testing.assert_allclose(spread, 5e5, rtol=0.2)


# --- files, copies, checkpoints ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_scale_is_kept_wherever_a_network_is(tmp_path, dtype):
    net = fitted(np.column_stack([PRICES + 1.7e9, F * 1e200]), dtype=dtype)
    net.save(tmp_path / "net")
    twin, used = network(dtype, outs=2), network(dtype, outs=2)
    twin.set_weights(net.get_weights())
    used.predict(X)  # it has a plan already
    used.set_weights(net.get_weights())
    rounds = (fastnn.load(tmp_path / "net"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net), copy.copy(net))
    for other in (*rounds, twin, used):
        assert other.allclose(net)
        for rows in (X, X[:1]):
            np.testing.assert_array_equal(other.predict(rows), net.predict(rows))
        assert other.evaluate(X, net.predict(X))["loss"] < 1e-9
    for other in rounds:
        assert other.layers[-1].fitted
        assert repr(other.layers) == repr(net.layers)
    assert not net.allclose(fitted(np.column_stack([PRICES, F * 1e200]), dtype=dtype))


def test_an_older_fastnn_says_that_it_does_not_know_the_layer(tmp_path, monkeypatch):
    fitted().save(tmp_path / "net")
    monkeypatch.setattr(fastnn.saving, "built_in", lambda base: {
        name: cls for name, cls in fastnn.formulas.component.built_in(base).items() if cls is not StandardizeTargets
    })  # fmt: skip
    with pytest.raises(ValueError, match="uses the class StandardizeTargets"):
        fastnn.load(tmp_path / "net")


@pytest.mark.parametrize("value", [np.nan, 1e30, -1e30, 0.0])
@pytest.mark.parametrize("name", StandardizeTargets.rows)
def test_a_file_with_other_numbers_does_no_more_than_predict_nonsense(tmp_path, name, value):
    tensors = pytest.importorskip("safetensors.numpy")
    net = fitted()
    net.save(tmp_path / "net")
    arrays = tensors.load_file(tmp_path / "net")
    with pytest.importorskip("safetensors").safe_open(tmp_path / "net", "np") as file:
        metadata = file.metadata()
    assert json.loads(metadata["fastnn"])["format"] == 2
    arrays[f"layers.2.{name}"][...] = value
    tensors.save_file(arrays, tmp_path / "other", metadata)
    other = fastnn.load(tmp_path / "other")
    assert other.predict(X).shape == (600, 1)
    if np.isnan(value) or (name, value) == ("std", 0.0):
        with pytest.raises(ValueError, match="too far"):
            other.evaluate(X, PRICES)


def in_chunks():
    return ((X[i : i + 200], PRICES[i : i + 200]) for i in range(0, 600, 200))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("data", [(X, PRICES), (in_chunks,)])
def test_a_fit_goes_on_from_its_checkpoint_with_its_scale(tmp_path, data, dtype):
    def fit(*callbacks):
        net = network(dtype, front=True)
        more = {"validation_data": (X[:100], PRICES[:100]), "seed": 0, "verbose": 0, "metrics": ["mae"]}
        return net.fit(*data, epochs=4, callbacks=callbacks, **more), net

    history, whole = fit()
    with pytest.raises(Killed):
        fit(Checkpoint(tmp_path / "fit"), killed_in(3))
    again, net = fit(Checkpoint(tmp_path / "fit"), LambdaCallback())
    assert bits(net) == bits(whole)
    assert dict(again) == dict(history)
    assert net.layers[-1].fitted
    assert net.layers[0].fitted
    np.testing.assert_array_equal(net.predict(X), whole.predict(X))
    np.testing.assert_array_equal(fastnn.load(tmp_path / "fit").predict(X), whole.predict(X))


def test_another_checkpoint_is_refused_and_nothing_is_fitted(tmp_path):
    network(stage=False).fit(X, F, 2, verbose=0, callbacks=Checkpoint(tmp_path / "fit"))
    net = network()
    with pytest.raises(ValueError, match="network"):
        net.fit(X, PRICES, 4, verbose=0, callbacks=Checkpoint(tmp_path / "fit"))
    assert not net.layers[-1].fitted


# --- the layer itself ----------------------------------------------------------------------------


def test_mean_and_std_are_set_as_a_whole_and_heard_of():
    net = NeuralNetwork([*network(stage=False).layers, StandardizeTargets(fitted=True)], MSELoss(), 0.01)
    last = net.layers[-1]
    raw = net.predict(X)
    last.mean, last.std = [[5.0]], [[2.0]]
    for rows, outputs in ((X, raw), (X[:1], raw[:1])):
        np.testing.assert_allclose(net.predict(rows), 5 + 2 * outputs)
    net.fit(X, F, verbose=0)
    assert (last.mean.item(), last.std.item()) == (5.0, 2.0)
    for place in (last.mean, last.std, *(last.row(name) for name in last.rows)):
        with pytest.raises(ValueError, match="read-only"):
            place[...] = 0
    for name, wrong in (
        ("mean", [1, 2]),
        ("std", [[0.0]]),
        ("std", [[-1.0]]),
        ("std", [[np.nan]]),
        ("mean", [[np.inf]]),
    ):
        with pytest.raises(ValueError, match=name):
            setattr(last, name, wrong)
    with pytest.raises(TypeError, match=r"fitted.*expected"):
        StandardizeTargets(fitted="yes")


def test_adapt_takes_what_users_have():
    net = network("float32")
    for y in (PRICES, PRICES[:, None], PRICES.tolist(), PRICES.astype(np.int64)):
        net.layers[-1].adapt(y)
        assert net.layers[-1].mean.item() == pytest.approx(np.mean(y), rel=1e-12)
    with pytest.raises(ValueError, match="in no network yet"):
        StandardizeTargets().adapt(PRICES)
    with pytest.raises(ValueError, match=r"targets has shape \(600, 2\); expected \(n, 1\)"):
        net.layers[-1].adapt(np.ones((600, 2)))
    with pytest.raises(ValueError, match="not finite"):
        net.layers[-1].adapt([np.nan])


def test_a_network_converted_to_float32_keeps_what_it_measured():
    net = fitted(PRICES + 1.7e9)
    narrow = NeuralNetwork(copy.deepcopy(net.layers), MSELoss(), 0.1, dtype="float32")
    assert narrow.layers[-1].mean.item() == pytest.approx(net.layers[-1].mean.item(), abs=1e-4)
    np.testing.assert_allclose(narrow.predict(X), net.predict(X), atol=1)
    wide = NeuralNetwork(copy.deepcopy(narrow.layers), MSELoss(), 0.1, dtype="float64")
    np.testing.assert_allclose(wide.predict(X), narrow.predict(X), atol=1)
    huge = fitted(F * 1e300)
    narrow = NeuralNetwork(copy.deepcopy(huge.layers), MSELoss(), 0.1, dtype="float32")
    np.testing.assert_allclose(narrow.predict(X), huge.predict(X), rtol=1e-3, atol=1e297)


def test_networks_that_share_the_layer_all_hear_of_its_scale():
    last = StandardizeTargets()
    nets = [NeuralNetwork([*network(stage=False, seed=k).layers, last], MSELoss(), 0.01) for k in (0, 5)]
    nets[1].predict(X[:1])  # its plan knows of no scale
    nets[0].fit(X, PRICES, verbose=0)
    for rows in (X, X[:1]):
        np.testing.assert_allclose(nets[1].predict(rows), PRICES.mean() + PRICES.std() * nets[1].outputs(rows))


def test_explain_wants_it_fitted_and_shows_what_it_predicts():
    with pytest.raises(ValueError, match=r"layers\[2\] is StandardizeTargets\(\), not fitted"):
        explain(network(), X[:1].T, [[1.0]])
    net = fitted()
    step = explain(net, X[:1].T, PRICES[:1, None])
    assert step.t.item() == pytest.approx(by_hand(PRICES)[0])
    assert step.loss == pytest.approx((step.t.item() - net.outputs(X[:1]).item()) ** 2)
    assert f"{net.predict(X[:1]).item():.4g}" in repr(step)


def test_summary_and_repr_name_it():
    net = fitted()
    assert "StandardizeTargets" in net.summary()
    assert "StandardizeTargets(fitted=True)" in repr(net)


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_it_does_what_a_regressor_around_the_network_would():
    """The scaler of TransformedTargetRegressor is another way to the same numbers."""
    sklearn = pytest.importorskip("sklearn.preprocessing")
    from fastnn.sklearn import MLPRegressor

    plain = MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", max_iter=60, tol=1e-3, random_state=0)
    around = TransformedTargetRegressor(plain, transformer=sklearn.StandardScaler())
    around.fit(X, PRICES)
    inner = around.regressor_.network_
    net = NeuralNetwork([*copy.deepcopy(inner.layers), StandardizeTargets()], MSELoss(), 0.1)
    net.layers[-1].adapt(PRICES)
    np.testing.assert_allclose(net.predict(X)[:, 0], around.predict(X), rtol=1e-9)
