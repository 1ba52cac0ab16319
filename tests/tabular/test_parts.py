"""Which rows are trained on and which held out: weights, copies, and parts that are empty."""

import numpy as np
import pytest

pytest.importorskip("sklearn.base")
pytest.importorskip("pandas")

import pandas as pd

from fastnn.tabular import TabularClassifier, TabularRegressor
from fastnn.tabular.parts import counted, parted
from fastnn.tabular.table import Table

QUICK = {"epochs": 40, "hidden_layer_sizes": (32, 32), "random_state": 0}


def noise(n=200, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 8)), rng.normal(size=n), rng.integers(1, 6, n)


@pytest.mark.parametrize("twice", ["weighted", "given"])
@pytest.mark.parametrize("of_classes", [True, False])
def test_copies_of_a_row_stay_on_one_side(twice, of_classes):
    X, y, weight = noise()
    y = y > 0 if of_classes else y
    classes = y.astype(int) if of_classes else None
    if twice == "given":
        X, y, weight = X.repeat(weight, axis=0), y.repeat(weight), None
        classes = y.astype(int) if of_classes else None
    parts = parted(counted(Table(X), y, weight), 0.2, 0, classes)
    sides = [{tuple(X[row]) for row in side} for side in (parts.train, parts.held)]
    assert not sides[0] & sides[1]
    assert [len(side) for side in sides] == [160, 40]


def test_copies_in_a_large_table_stay_on_one_side():
    X, y, _ = noise(6000)
    order = np.random.default_rng(1).permutation(18_000) % 6000
    frame = pd.DataFrame(X, columns=list("abcdefgh")).assign(
        a=np.where(X[:, 0] > 1, np.nan, X[:, 0]), t=list("xyz") * 2000
    )
    parts = parted(counted(Table(frame.iloc[order]), y[order], None), 0.2, 0, None)
    assert not set(order[parts.train]) & set(order[parts.held])
    assert len(parts.held) == 3 * 1200


def test_rows_that_differ_are_no_copies():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.permutation(50_000) / 2, rng.integers(0, 5, size=(50_000, 3))])
    assert np.unique(counted(Table(X), X[:, 1], None).originals).size == 50_000


def test_like_rows_of_few_categories_are_rows_of_their_own():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"sex": rng.choice(["f", "m"], 1000), "class": rng.integers(1, 4, 1000)})
    y = rng.integers(0, 2, 1000)
    parts = parted(counted(Table(X), y, None), 0.2, 0, y)
    assert len(parts.held) == len(set(parts.held)) == 200
    assert len(X.iloc[parts.held].drop_duplicates()) == 6 == len(X.iloc[parts.train].drop_duplicates())
    levels = np.array([0.5, 1.5, 2.5])[rng.integers(0, 3, 60)].reshape(-1, 1)
    assert len(set(parted(counted(Table(levels), levels, None), 0.2, 0, None).held)) == 12


@pytest.mark.parametrize("options", [{}, {"quantiles": (0.05, 0.95)}, {"distribution": "normal"}])
@pytest.mark.parametrize("factor", [1, 0.5, None])
def test_weights_make_intervals_no_narrower(options, factor):
    X, y, weight = noise()
    if factor is None:
        X, y, weight = X.repeat(3, axis=0), y.repeat(3), None
    model = TabularRegressor(**QUICK, **options).fit(X, y, None if weight is None else weight * factor)
    new, truth, _ = noise(2000, seed=1)
    low, high = model.predict_interval(new).T
    assert np.mean((low <= truth) & (truth <= high)) > 0.85


def test_copies_make_no_temperature_surer():
    X, y, _ = noise()
    rng = np.random.default_rng(2)
    y = rng.random(200) < 0.5
    once, often = (
        TabularClassifier(**QUICK, calibrate=True).fit(X.repeat(k, axis=0), y.repeat(k)).predict_proba(noise(seed=1)[0])
        for k in (1, 4)
    )
    assert often.max(axis=1).mean() < once.max(axis=1).mean() + 0.1


def test_a_weight_of_two_is_the_row_twice():
    X, y, weight = noise(80)
    for model, target in ((TabularRegressor(**QUICK), y), (TabularClassifier(**QUICK, calibrate=True), y > 0)):
        there = model.fit(X, target, weight).predict(X)
        np.testing.assert_array_equal(model.fit(X.repeat(weight, axis=0), target.repeat(weight)).predict(X), there)


@pytest.mark.parametrize("size", [5e-324, 1e-300, 1e-9, 1e39, 3e307])
def test_the_size_of_weights_makes_no_difference(size):
    X, y, weight = noise(100)
    y = X[:, 0] + 0.1 * y
    with np.errstate(under="ignore"):
        weights = [weight + 0.5, (weight + 0.5) * size if size > 1e-320 else (weight > 2) * size]
    scores = [TabularRegressor(**QUICK).fit(X, y, one).score(X, y) for one in weights]
    assert scores[1] == pytest.approx(scores[0], abs=0.2)
    by_class = {False: size, True: size}
    plain = TabularClassifier(**QUICK).fit(X, y > 0)
    weighed = TabularClassifier(**QUICK, class_weight=by_class).fit(X, y > 0)
    np.testing.assert_array_equal(weighed.predict(X), plain.predict(X))


@pytest.mark.parametrize(("part", "rows", "said"), [
    (0.001, 200, "of 200 rows .* holds out none; expected more than 0.0025 and less than 0.9975, or 0"),
    (0.999, 200, "of 200 rows .* holds out all"), (0.2, 2, "of 2 rows .* none"), (0.2, 1, r"of 1 row .* none"),
])  # fmt: skip
def test_a_part_that_leaves_one_side_empty_is_refused(part, rows, said):
    X, y, _ = noise()
    for model in (TabularRegressor(**QUICK), TabularClassifier(**QUICK)):
        target = y if isinstance(model, TabularRegressor) else np.arange(200) % 2
        if len(set(target[:rows])) > 1 or isinstance(model, TabularRegressor):
            with pytest.raises(ValueError, match=f"validation_fraction is {part:g}, which {said}"):
                model.set_params(validation_fraction=part).fit(X[:rows], target[:rows])


def test_copies_are_no_rows_to_hold_out():
    X, y, _ = noise(2)
    with pytest.raises(ValueError, match=r"of 2 rows .* without copies holds out none"):
        TabularRegressor(**QUICK).fit(X, y, [30, 29])


def test_held_out_rows_of_no_weight_are_refused():
    X, y, _ = noise(60)
    weight = np.where(np.arange(60) == 5, 1e300, 1e-300)
    with pytest.raises(ValueError, match=r"are 0 for all of the 12 rows that validation_fraction=0.2 holds out"):
        TabularRegressor(**QUICK).fit(X, y, weight)


def test_a_class_that_is_held_out_alone_is_named():
    X, _, _ = noise(3)
    with pytest.warns(UserWarning, match="y has class '[abc]' in held-out rows alone"):
        TabularClassifier(**QUICK, validation_fraction=0.4).fit(X, ["a", "b", "c"])
