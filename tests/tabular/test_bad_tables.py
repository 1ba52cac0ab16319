"""Tables and targets that do not fit: an error that says so, and the estimator as it was."""

import copy

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

QUICK = {"epochs": 3, "hidden_layer_sizes": (8,), "random_state": 0}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"age": rng.normal(size=60), "city": rng.choice(list("abc"), 60), "since": pd.date_range("2020", periods=60)}
    )


@pytest.fixture(scope="module")
def labels(frame):
    return np.where(frame["age"] > 0, "yes", "no")


@pytest.fixture(scope="module")
def model(frame, labels):
    return TabularClassifier(**QUICK).fit(frame, labels)


@pytest.mark.parametrize("rows", [1, 5])
def test_a_column_missing_at_predict_is_named(model, frame, rows):
    with pytest.raises(ValueError, match=r"lacks the column 'city'.*'age', 'city', 'since'"):
        model.predict(frame[:rows].drop(columns="city"))


@pytest.mark.parametrize("rows", [1, 5])
def test_columns_are_taken_by_name(model, frame, rows):
    there = model.predict_proba(frame[:rows])
    np.testing.assert_array_equal(model.predict_proba(frame[:rows][["since", "age", "city"]]), there)
    np.testing.assert_array_equal(model.predict_proba(pl.DataFrame(frame[:rows].to_dict("list"))), there)


@pytest.mark.parametrize("rows", [1, 5])
def test_columns_that_are_taken_by_place_are_said(rows):
    X = np.random.default_rng(0).normal(size=(60, 2))
    frame = pd.DataFrame(X, columns=["a", "b"])
    by_name, by_place = (TabularRegressor(**QUICK).fit(table, X[:, 0]) for table in (frame, X))
    there = by_name.predict(frame[:rows])
    with pytest.warns(
        UserWarning, match="X does not have valid feature names, but Preprocessor was fitted with feature names"
    ):
        np.testing.assert_array_equal(by_name.predict(X[:rows]), there)
    with pytest.warns(UserWarning, match="X has feature names, but Preprocessor was fitted without"):
        np.testing.assert_array_equal(by_place.predict(frame[:rows]), there)


def test_a_new_column_is_ignored_and_said_once(frame, labels):
    model = TabularClassifier(**QUICK).fit(frame, labels)
    there = model.predict_proba(frame)
    with pytest.warns(UserWarning, match=r"new column 'more'.*ignored"):
        np.testing.assert_array_equal(model.predict_proba(frame.assign(more=1)), there)
    np.testing.assert_array_equal(model.predict_proba(frame.assign(more=1)), there)  # warnings are errors here


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize(("name", "values", "kinds"), [
    ("age", "old", "'text', but was 'number'"), ("age", pd.Timestamp("2020"), "'date', but was 'number'"),
    ("city", 3.5, "'number', but was 'text'"), ("since", 7, "'number', but was 'date'"),
    ("since", pd.Timestamp("2020", tz="UTC"), "'date with a time zone', but was 'date'"),
])  # fmt: skip
def test_a_column_of_another_kind(model, frame, name, values, kinds, rows):
    with pytest.raises(ValueError, match=f"column '{name}' of X is of kind {kinds}"):
        model.predict(frame[:rows].assign(**{name: values}))


@pytest.mark.parametrize("rows", [1, 5])
def test_columns_without_values_at_predict(model, frame, rows):
    assert np.isfinite(model.predict_proba(frame[:rows].assign(age=None, city=None, since=pd.NaT))).all()


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinities(model, frame, value, rows, labels):
    bad = frame.assign(age=np.where(frame["age"] > 5, 0, value))
    with pytest.raises(ValueError, match="column 'age' of X holds infinity in row 0"):
        model.predict(bad[:rows])
    with pytest.raises(ValueError, match="column 'age' of X holds infinity"):
        TabularClassifier(**QUICK).fit(bad, labels)


def test_two_columns_of_one_name(frame, labels):
    twice = pd.concat([frame, frame[["age"]]], axis=1)
    with pytest.raises(ValueError, match="two columns named 'age'"):
        TabularClassifier(**QUICK).fit(twice, labels)


def test_all_columns_empty(labels):
    with pytest.raises(ValueError, match="no value in any column"):
        TabularClassifier(**QUICK).fit(pd.DataFrame({"a": [None] * 60}), labels)


def test_one_class_only(frame):
    with pytest.raises(ValueError, match="one class only, 'a'"):
        TabularClassifier(**QUICK).fit(frame, np.array(["a"] * 60))


@pytest.mark.parametrize("cls", [TabularClassifier, TabularRegressor])
@pytest.mark.parametrize("missing", [None, float("nan")])
def test_missing_targets_are_named_by_their_rows(frame, cls, missing):
    y = pd.Series(np.arange(60) % 2, dtype=object)
    y[[3, 17]] = missing
    with pytest.raises(ValueError, match=r"missing value.*rows 3, 17;"):
        cls(**QUICK).fit(frame, y)
    if cls is TabularRegressor:
        with pytest.raises(ValueError, match="rows 3, 17;"):
            cls(**QUICK).fit(frame, y.astype(float))


@pytest.mark.parametrize(("y", "message"), [
    (np.zeros((60, 2)), "shape"), (np.arange(60).astype("M8[D]"), "dtype datetime64"),
    (np.array([1, "a"] * 30, object), "several types, int, str"), (np.linspace(0, 1, 60), "continuous"),
])  # fmt: skip
def test_what_are_no_classes(frame, y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        TabularClassifier(**QUICK).fit(frame, y)


def test_infinite_targets(frame):
    with pytest.raises(ValueError, match="y contains infinity in row 59"):
        TabularRegressor(**QUICK).fit(frame, np.append(np.zeros(59), np.inf))


def test_rows_are_called_by_number_and_by_label(frame, labels):
    some = frame.set_axis([f"r{k}" for k in range(60)])
    left = frame.drop(index=range(10))
    for X, said in ((some, r"row 12 \(index 'r12'\);"), (left, r"row 12 \(index 22\);"), (frame, "row 12;")):
        y, place = np.arange(len(X)) % 2, X.columns.get_loc("city")
        bad = X.copy()
        bad["city"] = bad["city"].astype(object)
        bad.iat[12, place] = {1}
        with pytest.raises(TypeError, match=f"holds <class 'set'> in {said}"):
            TabularClassifier(**QUICK).fit(bad, y)
        with pytest.raises(ValueError, match=f"holds infinity in {said[:-1]}, or"):
            TabularClassifier(**QUICK).fit(X.assign(age=np.where(np.arange(len(X)) == 12, np.inf, 1.0)), y)
        target = pd.Series(np.where(np.arange(len(X)) == 12, np.nan, y), index=X.index)
        with pytest.raises(ValueError, match=f"missing value .* in {said}"):
            TabularClassifier(**QUICK).fit(X, target)
        with pytest.raises(ValueError, match=f"infinity in {said}"):
            TabularRegressor(**QUICK).fit(X, target.fillna(np.inf))
    with pytest.raises(ValueError, match=r"in rows 3, 17 \(index 13, 27\); .* these rows"):
        TabularRegressor(**QUICK).fit(left, pd.Series(np.where(np.isin(left.index, [13, 27]), np.nan, 1), left.index))


def test_labels_in_another_order_are_said(frame, labels):
    y, weight = pd.Series(labels), pd.Series(np.linspace(1, 2, 60))
    order = np.random.default_rng(0).permutation(60)
    with pytest.warns(UserWarning, match=r"y has the labels of X's rows in another order; .* y.loc\[X.index\]"):
        TabularClassifier(**QUICK).fit(frame, y.iloc[order])
    with pytest.warns(UserWarning, match="sample_weight has the labels"):
        TabularClassifier(**QUICK).fit(frame, y, weight.iloc[order])
    TabularClassifier(**QUICK).fit(frame.iloc[order], y.iloc[order], weight.iloc[order])
    TabularClassifier(**QUICK).fit(frame, y.set_axis(range(100, 160)))


def test_another_number_of_targets(frame):
    with pytest.raises(ValueError, match="X has 60 rows and y 59"):
        TabularRegressor(**QUICK).fit(frame, np.zeros(59))


def test_lists_in_cells(labels):
    with pytest.raises(TypeError, match="column 'a' of X has dtype List"):
        TabularClassifier(**QUICK).fit(pl.DataFrame({"a": [[1.0]] * 60}), labels)


@pytest.mark.parametrize("rows", [1, 60])
@pytest.mark.parametrize("value", [[1.0], (1, "a"), {"b": 1}, {1}, frozenset("a"), np.zeros(2)])
def test_containers_in_cells_of_objects(model, frame, value, rows, labels):
    cells = pd.Series([value if k == 0 else None for k in range(60)], dtype=object)
    with pytest.raises(TypeError, match=r"column 'city' of X holds .* in row 0; expected .*make columns of its parts"):
        TabularClassifier(**QUICK).fit(frame.assign(city=cells), labels)
    with pytest.raises(TypeError, match=r"column 'city' of X holds .* in row 0"):
        model.predict(frame.assign(city=cells)[:rows])


@pytest.mark.parametrize("make", [
    lambda frame: frame.to_dict("records"), lambda frame: frame.to_dict("list"),
    lambda frame: frame[["age"]].to_records(index=False),
])  # fmt: skip
def test_records_are_told_how_to_become_a_frame(frame, make, labels):
    with pytest.raises(TypeError, match=r"X is .* of columns or records; .*pandas.DataFrame\(X\)"):
        TabularClassifier(**QUICK).fit(make(frame), labels)


@pytest.mark.parametrize(("X", "message"), [
    (None, "X is None; expected a data frame"),
    (pd.Series([1.0, 2.0]), r"X.to_frame\(\) makes one column of it, X.to_frame\(\).T one row"),
    (pa.record_batch({"a": [1.0, 2.0]}), r"pyarrow.Table.from_batches\(\[X\]\)"), (3.0, "0D array"),
])  # fmt: skip
def test_what_is_nearly_a_table_is_told_how_to_become_one(X, message):
    with pytest.raises((TypeError, ValueError), match=message):
        TabularRegressor(**QUICK).fit(X, [1.0, 2.0])


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_a_matrix_is_an_array():
    X = np.random.default_rng(0).normal(size=(60, 2))
    there = TabularRegressor(**QUICK).fit(X, X[:, 0]).predict(X)
    np.testing.assert_array_equal(TabularRegressor(**QUICK).fit(np.asmatrix(X), X[:, 0]).predict(np.asmatrix(X)), there)


def test_masked_values_are_missing(labels):
    rng = np.random.default_rng(0)
    X = np.empty((60, 2), object)
    X[:, 0], X[:, 1] = rng.normal(size=60), rng.choice(list("abc"), 60)
    gone = rng.random((60, 2)) < 0.3
    plain = X.copy()
    plain[gone] = None
    masked = np.ma.array(X, mask=gone)
    found = TabularClassifier(**QUICK).fit(masked, labels).predict_proba(masked)
    np.testing.assert_array_equal(found, TabularClassifier(**QUICK).fit(plain, labels).predict_proba(plain))


def test_numbers_beside_texts_in_a_list_are_no_texts(frame):
    with pytest.raises(TypeError, match="y holds labels of several types, int, str"):
        TabularClassifier(**QUICK).fit(frame, ["yes", 1] * 30)


def test_lazy_frames(labels):
    with pytest.raises(TypeError, match="collect"):
        TabularClassifier(**QUICK).fit(pl.DataFrame({"a": [1.0] * 60}).lazy(), labels)


@pytest.mark.parametrize(("parameters", "message"), [
    ({"epochs": 0}, "epochs is 0"), ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes is 0"),
    ({"hidden_layer_sizes": 2.5}, "hidden_layer_sizes is 2.5"), ({"validation_fraction": 1.0}, "validation_fraction"),
    ({"n_networks": 0}, "n_networks"), ({"time_limit": -1}, "time_limit"), ({"learning_rate": 0}, "learning_rate"),
    ({"label_smoothing": 2}, "label_smoothing"), ({"calibrate": 1}, "calibrate is 1"),
    ({"calibrate": True, "validation_fraction": 0.0}, "some rows to calibrate on"), ({"max_one_hot": 0}, "max_one_hot"),
    ({"verbose": "loud"}, "verbose is 'loud'"),
])  # fmt: skip
def test_parameters(frame, labels, parameters, message):
    with pytest.raises((ValueError, TypeError), match=message):
        TabularClassifier(**{**QUICK, **parameters}).fit(frame, labels)


@pytest.mark.parametrize(("parameters", "message"), [
    ({"quantiles": (0.5, 0.1)}, "ascending"),
    ({"quantiles": (0.0, 0.5)}, "between 0 and 1"), ({"quantiles": ()}, "quantiles"),
    ({"distribution": "cauchy"}, "distribution is 'cauchy'"),
    ({"distribution": "normal", "quantiles": (0.5,)}, "one of the two"),
])  # fmt: skip
def test_parameters_of_the_regressor(frame, parameters, message):
    with pytest.raises((ValueError, TypeError), match=message):
        TabularRegressor(**{**QUICK, **parameters}).fit(frame, frame["age"])


def test_a_failed_fit_leaves_the_estimator_as_it_was(frame, labels):
    model = TabularClassifier(**QUICK).fit(frame, labels)
    before, there = copy.copy(vars(model)), model.predict_proba(frame)
    for X, y in (
        (frame.assign(age=np.inf), labels), (frame, [None] * 60), (frame, ["a"] * 60), (frame[:3], labels),
        (pd.concat([frame, frame], axis=1), labels),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"."):
            model.fit(X, y)
        assert vars(model) == before
    np.testing.assert_array_equal(model.predict_proba(frame), there)


def test_many_categories_take_little_memory():
    n = 20_000
    frame = pd.DataFrame({"id": [f"c{k}" for k in range(n)], "x": np.linspace(-1, 1, n)})
    model = TabularRegressor(epochs=1, hidden_layer_sizes=(8,), random_state=0).fit(frame, frame["x"])
    assert model.preprocessor_.width == 9
    assert np.isfinite(model.predict(frame[:100])).all()


@pytest.mark.parametrize("weight", [1, 2, 5, 7.0])
def test_all_rows_some_times_are_no_more_than_all_rows(weight):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))
    y = X[:, 0] + rng.normal(size=100)
    settings = {"epochs": 3, "hidden_layer_sizes": (8,), "random_state": 0}
    plain = TabularRegressor(**settings).fit(X, y)
    weighed = TabularRegressor(**settings).fit(X, y, np.full(100, weight))
    np.testing.assert_array_equal(plain.predict(X), weighed.predict(X))
    assert len(weighed.validation_rows_) == 20


def test_what_is_masked_is_missing():
    X, y = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50.0)
    few = np.arange(50) < 2
    for target in (np.ma.masked_array(y, few), np.ma.masked_array(np.arange(50), few)):
        with pytest.raises(ValueError, match=r"y has a missing value .* in rows 0, 1"):
            TabularRegressor(epochs=1).fit(X, target)
    labels = np.ma.masked_array(np.array(["a", "b"] * 25), few)
    with pytest.raises(ValueError, match="missing value"):
        TabularClassifier(epochs=1).fit(X, labels)
    with pytest.raises(ValueError, match="sample_weight holds"):
        TabularRegressor(epochs=1).fit(X, y, np.ma.masked_array(np.ones(50), few))


@pytest.mark.parametrize("factor", [1, 0.5])
def test_balanced_classes_are_balanced_by_weight(factor):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    y = (X[:, 0] + rng.normal(size=120) > 0.5).astype(int)
    weight = rng.integers(0, 3, 120)
    settings = {"epochs": 3, "hidden_layer_sizes": (8,), "random_state": 0, "class_weight": "balanced"}
    weighed = TabularClassifier(**settings).fit(X, y, weight * factor)
    if factor == 1:
        again = np.repeat(np.arange(120), weight)
        other = TabularClassifier(**settings).fit(X[again], y[again])
    else:
        some = weight > 0
        other = TabularClassifier(**settings).fit(X[some], y[some], weight[some] * factor)
    np.testing.assert_allclose(weighed.predict_proba(X), other.predict_proba(X), rtol=1e-4)


@pytest.mark.parametrize("weight", [1, 0.5])
def test_a_class_without_weight_has_no_part_in_the_balance(weight):
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 3
    model = TabularClassifier(epochs=1, hidden_layer_sizes=(4,), class_weight="balanced", random_state=0)
    model.fit(X, y, np.where(y == 2, 0, weight))
    assert model.predict_proba(X).shape == (60, 3)
