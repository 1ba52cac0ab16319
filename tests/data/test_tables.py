"""Frames, sparse and masked arrays, objects, labels as floats, one or many: taken, or refused by name."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from fastnn import (
    BCEWithLogitsLoss,
    Callback,
    CrossEntropyLoss,
    Identity,
    Layer,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    Tanh,
)
from fastnn.data.columns import real_array

pd = pytest.importorskip("pandas")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 3))
Y = (X[:, 0] > 0).astype(int)


def classifier(dtype="float64"):
    return NeuralNetwork(
        [Layer(3, 4, Tanh(), seed=0), Layer(4, 2, Identity(), seed=1)], CrossEntropyLoss(), 0.1, dtype=dtype
    )


def regressor():
    return NeuralNetwork([Layer(3, 4, Tanh(), seed=0), Layer(4, 1, Identity(), seed=1)], MSELoss(), 0.1)


def fitted(X=X, y=Y, make=classifier, **settings):
    net = make()
    return net.fit(X, y, 3, seed=0, verbose=0, **settings), net


def test_mixed_frames_are_their_numbers():
    mixed = pd.DataFrame({"a": X[:, 0], "b": X[:, 1] > 0, "c": pd.array(range(100), dtype="Int64")})
    nullable = mixed.astype({"a": "Float64", "b": "boolean"})
    plain = np.column_stack([X[:, 0], X[:, 1] > 0, np.arange(100)])
    for frame in (mixed, nullable, mixed.astype(object)):
        assert fitted(frame)[1].allclose(fitted(plain)[1], 0, 0)
        assert np.array_equal(classifier().predict(frame), classifier().predict(plain))
    for y in (pd.Series(Y, dtype="Int64"), pd.Series(Y == 1, dtype="boolean"), pd.DataFrame({"y": Y})):
        assert fitted(y=y)[0]["loss"] == fitted()[0]["loss"]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["x"] * 100, "'b'"),
        (pd.array([None, *range(99)], dtype="Int64"), "'b'.*missing"),
        (pd.array([None] + [0.5] * 99, dtype="Float64"), "'b'.*missing"),
        (pd.array([None] + [True] * 99, dtype="boolean"), "'b'.*missing"),
        ([np.nan] + [0.5] * 99, "nan at row 0, column 'b'"),
        (pd.Categorical(["u", "v"] * 50), "'b'"),
        ([datetime.datetime(2020, 1, 1)] * 100, "'b'"),
    ],
)
def test_a_column_that_is_no_number_is_named(column, words):
    frame = pd.DataFrame({"a": X[:, 0], "b": column, "c": X[:, 2]})
    for call in (lambda net: net.fit(frame, Y), lambda net: net.predict(frame), lambda net: net.evaluate(frame, Y)):
        with pytest.raises((ValueError, TypeError), match=words):
            call(classifier())


def test_masked_arrays():
    assert np.array_equal(classifier().predict(np.ma.array(X)), classifier().predict(X))
    for call in (
        lambda net: net.fit(np.ma.array(X, mask=X > 2), Y),
        lambda net: net.fit(X, np.ma.array(Y, mask=Y == 1)),
        lambda net: net.forward_pass(np.ma.array(X.T, mask=X.T > 2)),
    ):
        with pytest.raises(ValueError, match="masked"):
            call(classifier())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((5, 28, 28)), r"X.reshape\(len\(X\), -1\)"),
        (np.array([["a", "b", "c"]]), "X has dtype <U1.*text"),
        ([[1.0, None, 2.0]], "X has a missing value"),
        ([[1.0, "2", 3.0]], "X"),
        (np.zeros((2, 3), "M8[s]"), "X has dtype datetime64"),
        (np.zeros((2, 3), complex), "X has dtype complex128"),
        (X[0], r"X.reshape\(1, -1\)"),
        (np.zeros((0, 3)), "X has no rows"),
        ([], "X"),
    ],
)
def test_what_is_no_table_of_numbers_gets_a_hint(values, words):
    for call in (lambda net: net.fit(values, [0] * len(values)), lambda net: net.predict(values)):
        with pytest.raises((ValueError, TypeError), match=words):
            call(classifier())


@pytest.mark.parametrize(
    "make", [lambda y: y.astype(float), lambda y: y[:, None], lambda y: y == 1, lambda y: y.astype(object)]
)
def test_labels_in_any_dress_are_classes(make):
    plain = fitted(metrics="accuracy", validation_split=0.2)[0]
    other = fitted(y=make(Y), metrics="accuracy", validation_split=0.2)[0]
    assert {name: plain[name] for name in plain} == {name: other[name] for name in plain}
    with pytest.raises(TypeError, match="y has dtype float64"):
        fitted(y=Y + 0.5)


def test_objects_that_are_numbers_keep_their_kind():
    assert real_array(np.array([1, 2], object), "x").dtype == np.int64
    assert real_array(np.array([1, 2.5], object), "x").dtype == np.float64
    assert real_array(np.array([True, False], object), "x").dtype == bool


@pytest.mark.parametrize("length", [95, 150, 80, 20])
def test_weights_are_counted_before_they_are_cut(length):
    for net in (classifier(), NetworkBank([classifier()])):
        with pytest.raises(ValueError, match=rf"sample_weight.* has shape \({length},\); expected \(100,\)"):
            net.fit(X, Y, sample_weight=np.ones(length), validation_split=0.2, verbose=0)


def test_validation_scores_use_their_weights():
    w = RNG.uniform(size=100)
    w[::3] = 0
    net = regressor()
    y = X.sum(axis=1)
    history = net.fit(X, y, 2, validation_data=(X, y, w), metrics=["mse", "mae"], verbose=0)
    squares = (net.predict(X)[:, 0] - y) ** 2
    assert history["val_loss"][-1] == pytest.approx(np.mean(w * squares))
    assert history["val_mse"][-1] == pytest.approx(np.average(squares, weights=w))
    assert net.evaluate(X, y, "mse", w) == pytest.approx(
        {"loss": np.mean(w * squares), "mse": np.average(squares, weights=w)}
    )
    bank = NetworkBank([regressor()])
    assert bank.fit(X, y, 2, validation_data=(X, y, w), verbose=0)[0]["val_loss"][-1] > 0


@pytest.mark.parametrize("data", [(X,), (X, Y, Y, Y), X, "xy", {"X": X}, ()])
def test_validation_data_of_another_number_are_refused(data):
    for net in (classifier(), NetworkBank([classifier()])):
        with pytest.raises(ValueError, match="validation_data"):
            net.fit(X, Y, validation_data=data, verbose=0)


def test_class_weights_as_dict_array_or_list():
    losses = [fitted(class_weight=w)[0]["loss"] for w in ({0: 1.0, 1: 3.0}, np.array([1, 3]), [1, 3.0], {1.0: 3})]
    assert losses[0] == losses[1] == losses[2] == losses[3] != fitted()[0]["loss"]


@pytest.mark.parametrize(
    "weights", [{2: 1.0}, {-1: 1.0}, {"0": 1.0}, {0.5: 1.0}, [1.0], [1, 2, 3], "even", {0: -1}, [1, np.nan]]
)
def test_class_weights_that_are_none_are_refused(weights):
    with pytest.raises((ValueError, TypeError), match="class_weight"):
        fitted(class_weight=weights)


class Counting(Callback):
    def __init__(self):
        self.calls = 0

    def on_epoch_end(self, epoch, logs):
        self.calls += 1


def test_one_or_many_callbacks_and_metrics():
    for give in (lambda c: c, lambda c: [c], lambda c: (some for some in [c])):
        counting = Counting()
        fitted(callbacks=give(counting))
        assert counting.calls == 3
        seen = []
        noting = NetworkBank([classifier(), classifier()])
        noting.fit(X, Y, 2, verbose=0, callbacks=lambda k: seen.append(Counting()) or give(seen[-1]))  # noqa: B023
        assert [c.calls for c in seen] == [2, 2]
        assert noting.fit(X, Y, 2, verbose=0, callbacks=give(Counting()))
    assert fitted(callbacks=None, metrics=None)[0]["loss"] == fitted()[0]["loss"]
    for metrics in ("accuracy", ["accuracy"], (name for name in ["accuracy"])):
        assert "accuracy" in fitted(metrics=metrics)[0]
    assert "accuracy" in classifier().evaluate(X, Y, "accuracy")
    assert list(classifier().evaluate(X, Y, None)) == ["loss"]


@pytest.mark.parametrize("name", ["callbacks", "metrics"])
@pytest.mark.parametrize("value", [3, Counting, [3], object()])
def test_what_is_neither_is_refused(name, value):
    if name == "metrics" and value is Counting:
        value = 1.5
    with pytest.raises((TypeError, ValueError), match=name):
        fitted(**{name: value})


def test_frames_of_polars():
    pl = pytest.importorskip("polars")
    mixed = pl.DataFrame({"a": X[:, 0], "b": X[:, 1] > 0, "c": pl.Series(range(100), dtype=pl.Int16)})
    plain = np.column_stack([X[:, 0], X[:, 1] > 0, np.arange(100)])
    decimal = mixed.with_columns(pl.col("c").cast(pl.Decimal(10, 2)))
    for frame in (mixed, decimal, mixed.cast(pl.Float32), mixed.select(pl.all().cast(pl.Float64))):
        wanted = plain.astype(np.float32) if frame.dtypes[0] == pl.Float32 else plain
        assert fitted(frame)[1].allclose(fitted(wanted)[1], 0, 0)
        assert np.array_equal(classifier().predict(frame), classifier().predict(wanted))
    only_bool = mixed.select(pl.col("b"), c=~pl.col("b"), d=pl.col("b"))
    assert np.array_equal(classifier().predict(only_bool), classifier().predict(only_bool.to_numpy()))
    for y in (pl.Series(Y), pl.Series(Y == 1), pl.DataFrame({"y": Y}), pl.Series(Y, dtype=pl.UInt8)):
        assert fitted(y=y)[0]["loss"] == fitted()[0]["loss"]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["x"] * 100, "'b'"),
        ([None, *range(99)], "'b'.*missing"),
        ([None] + [0.5] * 99, "'b'.*missing"),
        ([None] + [True] * 99, "'b'.*missing"),
        ([np.nan] + [0.5] * 99, "nan at row 0, column 'b'"),
        ([datetime.datetime(2020, 1, 1)] * 100, "'b'"),
        ([[1.0]] * 100, "'b'"),
    ],
)
@pytest.mark.parametrize("beside", [0, 1.5, True])
def test_a_column_of_polars_that_is_no_number_is_named(column, words, beside):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [beside] * 100, "b": column, "c": [beside] * 100})
    for call in (lambda net: net.fit(frame, Y), lambda net: net.predict(frame), lambda net: net.evaluate(frame, Y)):
        with pytest.raises((ValueError, TypeError), match=words):
            call(classifier())


@pytest.mark.parametrize("class_weight", ["balanced", {0: 0.5, 1: 3.0}, [0.5, 3.0]])
@pytest.mark.parametrize("door", ["fit", "lbfgs", "stream", "bank"])
def test_one_logit_has_two_classes_to_weigh(class_weight, door, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3))
    y = (X[:, 0] > 0.8).astype(float)
    share = y.mean()
    by_class = [0.5 / (1 - share), 0.5 / share] if class_weight == "balanced" else [0.5, 3.0]
    weights = np.where(y == 1, by_class[1], by_class[0])

    def trained(**given):
        net = NeuralNetwork([Layer(3, 1, Identity(), seed=0)], BCEWithLogitsLoss(), 0.1)
        more = {"epochs": 3, "batch_size": 30, "shuffle": False, "verbose": 0}
        if door == "lbfgs":
            pytest.importorskip("scipy")
            net.fit_lbfgs(X, y, 5, **given)
        elif door == "bank":
            NetworkBank([net]).fit(X, y, **more, **given)
        elif door == "stream":
            rows = np.memmap(tmp_path / "X", np.float64, "w+", shape=X.shape)
            rows[...] = X
            monkeypatch.setattr("fastnn.data.sources.CHUNK_BYTES", 30 * 4 * 8)
            net.fit(rows, y, **more, **given)
        else:
            net.fit(X, y, **more, **given)
        return net

    assert trained(class_weight=class_weight).allclose(trained(sample_weight=weights), rtol=1e-9)
    assert not trained(class_weight=class_weight).allclose(trained())
    with pytest.raises(ValueError, match="no classes"):
        NeuralNetwork([Layer(3, 1, Identity(), seed=0)], BCEWithLogitsLoss(), 0.1).fit(
            X, 0.9 * y, class_weight=class_weight, verbose=0
        )
