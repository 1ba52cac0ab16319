"""Targets and class weights in any dress: taken, or refused with a word of what to do."""

import datetime as dt
import decimal

import numpy as np
import pytest

pytest.importorskip("sklearn.base")
pytest.importorskip("pandas")
pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import pandas as pd
import polars as pl
import pyarrow as pa

from fastnn.tabular import TabularClassifier, TabularRegressor

QUICK = {"epochs": 2, "hidden_layer_sizes": (8,), "random_state": 0}
X = np.random.default_rng(0).normal(size=(60, 2))
CODES = np.arange(60) % 2
TEXTS = np.array(["a", "b"])[CODES]


@pytest.mark.parametrize(("y", "classes"), [
    ((CODES > 0).astype(object), [False, True]), (pd.Series(CODES > 0, dtype=object), [False, True]),
    (np.array([np.bool_(code) for code in CODES], object), [False, True]),
    (CODES.astype(object), [0, 1]), (CODES.astype(float).astype(object), [0.0, 1.0]),
    (np.array([1, 2.0] * 30, object), [1.0, 2.0]), (pd.Series(pd.Categorical(CODES)), [0, 1]),
    (np.array([decimal.Decimal(1), decimal.Decimal(2)] * 30, object), [1.0, 2.0]),
    (CODES.astype(np.uint64) + np.uint64(2**63), [2**63, 2**63 + 1]), ([2**63, 5] * 30, [5, 2**63]),
    (np.array([np.str_("a"), np.str_("b")] * 30, object), ["a", "b"]),
    (pl.Series(TEXTS).cast(pl.Categorical), ["a", "b"]),
    *((pa.array(values.tolist()), classes) for values, classes in
      ((CODES, [0, 1]), (TEXTS, ["a", "b"]), (CODES > 0, [False, True]), (CODES * 1.0, [0.0, 1.0]))),
    (pa.chunked_array([TEXTS[:30].tolist(), TEXTS[30:].tolist()]), ["a", "b"]),
    (pa.array(TEXTS.tolist()).dictionary_encode(), ["a", "b"]),
])  # fmt: skip
def test_classes_in_any_dress(tmp_path, y, classes):
    model = TabularClassifier(**QUICK).fit(X, y)
    assert model.classes_.tolist() == classes
    assert [type(one) for one in model.classes_.tolist()] == [type(one) for one in classes]
    assert set(model.predict(X).tolist()) <= set(classes)
    model.save(tmp_path / "m")
    twin = TabularClassifier.load(tmp_path / "m")
    assert twin.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))


@pytest.mark.parametrize(("y", "message"), [
    (np.array([b"a", b"b"] * 30), "np.char.decode"), (np.array([b"a", b"b"] * 30, object), "labels of type bytes"),
    (np.array([dt.date(2020, 1, 1), dt.date(2021, 1, 1)] * 30, object), "labels of type date, .*str"),
    (pd.Series(pd.period_range("2020", periods=60, freq="M")), "labels of type Period"),
    (pd.Series(pd.cut(CODES, 2)), "labels of type Interval"),
    (np.array([True, 2] * 30, object), "several types, bool, int"),
    (np.array([1j, 2j] * 30, object), "labels of type complex"),
    (np.array([2**63, 2**70] * 30, object), "more than 64 bits"),
    (np.array([-1, 2**63] * 30, object), "more than 64 bits"), ({1, 2}, r"60 rows and y is \{1, 2\}"),
    (pa.array([None, *CODES[1:].tolist()]), "missing value .* in row 0; .* this row out"),
    (pa.array([None, *TEXTS[1:].tolist()]), "missing value .* in row 0"),
])  # fmt: skip
def test_what_are_no_classes_is_told_what_to_become(y, message):
    with pytest.raises((TypeError, ValueError), match=message):
        TabularClassifier(**QUICK).fit(X, y)


@pytest.mark.parametrize("y", [
    pa.array(X[:, 0]), pa.chunked_array([X[:30, 0], X[30:, 0]]), pl.Series(X[:, 0]), X[:, 0].astype(object),
    pa.table({"y": X[:, 0]}), np.array([decimal.Decimal(x) for x in X[:, 0]], object),
])  # fmt: skip
def test_values_in_any_dress(y):
    there = TabularRegressor(**QUICK).fit(X, X[:, 0]).predict(X)
    np.testing.assert_array_equal(TabularRegressor(**QUICK).fit(X, y).predict(X), there)


@pytest.mark.parametrize(
    "given", [[1, 3], (1.0, 3.0), np.array([1, 3]), {"b": 3}, {"b": 3, "a": 1.0}, {"b": 3e307, "a": 1e307}]
)
@pytest.mark.parametrize("weight", [None, np.linspace(1, 2, 60)])
def test_class_weights_by_label_or_in_order(given, weight):
    there = TabularClassifier(**QUICK).fit(
        X, TEXTS, (1 + 2.0 * CODES) * (np.linspace(1, 1.001, 60) if weight is None else weight)
    )
    found = TabularClassifier(**QUICK, class_weight=given).fit(X, TEXTS, weight)
    np.testing.assert_allclose(found.predict_proba(X), there.predict_proba(X), rtol=0.01)


@pytest.mark.parametrize(("given", "message"), [
    ({"a": 1, "c": 2}, "the key 'c', which is no class of y; expected some of 'a', 'b'"), ([1, 2, 3], r"shape \(3,\)"),
    ({0: 1, 1: 2}, "the keys 0, 1, which are no class"), ({"a": -1}, r"class_weight\['a'\] is -1"), (5, "shape"),
    ({"a": None}, r"class_weight\['a'\] is None"), ({"a": float("inf")}, "is inf"), ("balance", "expected 'balanced'"),
    ([1, -1], "-1"), ([1, float("nan")], "nan"), ({"a": 0, "b": 0}, "are 0 for all rows"), (["a", "b"], "class_weight"),
])  # fmt: skip
def test_class_weights_that_are_none(given, message):
    model = TabularClassifier(**QUICK).fit(X, TEXTS)
    there = model.predict_proba(X)
    with pytest.raises((ValueError, TypeError), match=message):
        model.set_params(class_weight=given).fit(X, TEXTS)
    np.testing.assert_array_equal(model.predict_proba(X), there)
