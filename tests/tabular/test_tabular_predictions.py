"""What the estimators predict, and their options."""

import copy
import time

import numpy as np
import pytest

pytest.importorskip("sklearn.base")
pytest.importorskip("pandas")

import pandas as pd
from sklearn.base import clone
from sklearn.metrics import log_loss

from fastnn import Callback, StopTraining
from fastnn.tabular import TabularClassifier, TabularRegressor

QUICK = {"epochs": 40, "hidden_layer_sizes": (32, 32), "random_state": 0}


def table(n=600, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "x": rng.normal(size=n), "z": rng.normal(size=n), "noise": rng.normal(size=n),
        "kind": rng.choice(["a", "b", "c"], n), "nothing": rng.choice(["u", "v"], n),
    })  # fmt: skip
    mean = 3 * frame["x"] * (frame["kind"] == "a") + np.abs(frame["z"])
    return frame, mean.to_numpy(), rng


def test_classes_are_learnt():
    frame, mean, _ = table()
    y = np.array(["low", "middle", "high"])[np.digitize(mean, [0.5, 1.5])]
    model = TabularClassifier(**QUICK).fit(frame, y)
    new, mean, _ = table(seed=1)
    truth = np.array(["low", "middle", "high"])[np.digitize(mean, [0.5, 1.5])]
    assert model.score(new, truth) > 0.85
    proba = model.predict_proba(new)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(new))
    np.testing.assert_array_equal(np.log(proba), model.predict_log_proba(new))
    np.testing.assert_allclose(model.predict_proba(new[:1]), proba[:1], rtol=1e-14)


def test_values_are_learnt_on_their_own_scale():
    frame, mean, _ = table()
    model = TabularRegressor(**QUICK).fit(frame, 1e6 + 1e4 * mean)
    new, mean, _ = table(seed=1)
    assert model.score(new, 1e6 + 1e4 * mean) > 0.9
    both = TabularRegressor(**QUICK).fit(frame, np.stack([table()[1], -table()[1]], axis=1))
    assert both.predict(new).shape == (600, 2)
    assert both.score(new, np.stack([mean, -mean], axis=1)) > 0.9


def test_a_constant_target_and_huge_ones():
    frame, mean, _ = table(100)
    np.testing.assert_allclose(TabularRegressor(**QUICK).fit(frame, np.full(100, 7.0)).predict(frame), 7, atol=1e-6)
    assert np.isfinite(TabularRegressor(**QUICK).fit(frame, mean * 1e300).predict(frame)).all()


@pytest.mark.parametrize("options", [{"quantiles": (0.05, 0.5, 0.95)}, {"distribution": "normal"}, {}])
def test_intervals_cover_nine_of_ten(options):
    frame, mean, rng = table(1500)
    y = mean + rng.normal(size=1500) * (0.2 + (frame["nothing"] == "u"))
    model = TabularRegressor(**{**QUICK, "epochs": 20}, **options).fit(frame[:1000], y[:1000])
    low, high = model.predict_interval(frame[1000:]).T
    assert np.all(low <= high)
    assert 0.85 <= np.mean((low <= y[1000:]) & (y[1000:] <= high)) <= 0.95
    if options:  # where the spread is larger, so are the intervals
        wide = (frame["nothing"] == "u")[1000:]
        assert np.mean((high - low)[wide]) > 1.5 * np.mean((high - low)[~wide])


@pytest.mark.parametrize(("rows", "needed"), [(10, 9), (42, 9), (45, None)])
@pytest.mark.parametrize("options", [{"distribution": "normal"}, {}])
def test_intervals_of_few_held_out_rows_say_so(options, rows, needed):
    frame, mean, rng = table(rows)
    y = mean + rng.normal(size=rows)
    model = TabularRegressor(**{**QUICK, "epochs": 3}, **options).fit(frame, y)
    model.predict_interval(frame, 0.5)
    if needed is None:
        model.predict_interval(frame)
        with pytest.warns(UserWarning, match=r"less than 0.95: 9 held-out rows.* expected 19 .* as of 95 rows"):
            model.predict_interval(frame, 0.95)
    else:
        with pytest.warns(
            UserWarning, match=rf"less than 0.9: {round(rows / 5)} held-out rows .* expected 9 .* 45 rows"
        ):
            low, high = model.predict_interval(frame).T
        if not options:  # the largest residual
            there = np.abs(y - model.predict(frame))[model.validation_rows_].max()
            np.testing.assert_allclose((high - low) / 2, there)


@pytest.mark.parametrize(("levels", "rows", "needed"), [
    ((0.05, 0.5, 0.95), 92, 19), ((0.05, 0.5, 0.95), 95, None), ((0.1, 0.9), 42, 9), ((0.2, 0.99), 95, 99),
    ((0.5,), 10, None),
])  # fmt: skip
def test_quantiles_of_few_held_out_rows_say_so(levels, rows, needed):
    frame, mean, rng = table(rows)
    model = TabularRegressor(**{**QUICK, "epochs": 3}, quantiles=levels)
    if needed is None:
        model.fit(frame, mean + rng.normal(size=rows))
    else:
        with pytest.warns(UserWarning, match=rf"{round(rows / 5)} held-out rows .* expected {needed} held-out rows"):
            model.fit(frame, mean + rng.normal(size=rows))


def test_held_out_rows_count_by_their_weights():
    frame, mean, rng = table(100)
    model = TabularRegressor(**{**QUICK, "epochs": 3}, quantiles=(0.05, 0.95))
    with pytest.warns(UserWarning, match=r"[1-5] held-out rows? cannot say"):
        model.fit(frame, mean + rng.normal(size=100), np.where(np.arange(100) % 10, 0.01, 1.0))


def test_quantiles_do_not_cross_and_the_median_is_predicted():
    frame, mean, rng = table(300)
    levels = (0.1, 0.3, 0.5, 0.7, 0.9)
    model = TabularRegressor(**{**QUICK, "epochs": 3}, quantiles=levels, n_networks=2).fit(frame, rng.normal(size=300))
    found = model.predict_quantiles(frame)
    assert found.shape == (300, 5)
    assert np.all(np.diff(found, axis=1) >= 0)
    np.testing.assert_array_equal(model.predict(frame), found[:, 2])
    np.testing.assert_array_equal(model.predict_interval(frame, 0.8), found[:, [0, -1]])
    with pytest.raises(ValueError, match=r"0.8 apart"):
        model.predict_interval(frame, 0.9)
    with pytest.raises(ValueError, match="no quantiles"):
        TabularRegressor(**{**QUICK, "epochs": 1}).fit(frame, mean).predict_quantiles(frame)


def test_standard_deviations():
    frame, mean, rng = table(2000)
    spread = np.where(frame["nothing"] == "u", 2.0, 0.5)
    model = TabularRegressor(**{**QUICK, "epochs": 20}, distribution="normal", n_networks=2)
    model.fit(frame, mean + spread * rng.normal(size=2000))
    values, deviation = model.predict(frame, return_std=True)
    np.testing.assert_array_equal(values, model.predict(frame))
    assert np.median(deviation[spread == 2.0]) == pytest.approx(2.0, rel=0.25)
    assert np.median(deviation[spread == 0.5]) == pytest.approx(0.5, rel=0.35)
    with pytest.raises(ValueError, match="distribution='normal'"):
        TabularRegressor(**{**QUICK, "epochs": 1}).fit(frame, mean).predict(frame, return_std=True)
    with pytest.raises(TypeError, match="return_std is 'no'; expected True or False"):
        model.predict(frame, return_std="no")


def test_intervals_without_held_out_rows():
    frame, mean, _ = table(100)
    options = {**QUICK, "epochs": 2, "validation_fraction": 0}
    with pytest.raises(ValueError, match="no row was held out"):
        TabularRegressor(**options).fit(frame, mean).predict_interval(frame)
    model = TabularRegressor(**options, distribution="normal").fit(frame, mean)
    values, deviation = model.predict(frame, return_std=True)
    np.testing.assert_allclose(model.predict_interval(frame, 0.95)[:, 1], values + 1.959964 * deviation, rtol=1e-5)


def test_a_temperature_makes_probabilities_better():
    frame, mean, rng = table(2000)
    y = mean + rng.normal(size=2000) > 1
    plain, calibrated = (
        TabularClassifier(**QUICK, calibrate=calibrate).fit(frame[:1000], y[:1000]) for calibrate in (False, True)
    )
    assert plain.temperature_ == 1 != calibrated.temperature_
    best = int(np.argmin(calibrated.validation_errors_[::-1]))  # log-losses, of which the last smallest is taken
    assert calibrated.best_epoch_ == len(calibrated.validation_errors_) - best
    raw = copy.copy(calibrated)
    raw.temperature_ = 1
    np.testing.assert_array_equal(raw.predict(frame), calibrated.predict(frame))
    losses = [log_loss(y[1000:], model.predict_proba(frame[1000:])) for model in (plain, calibrated)]
    assert losses[1] <= losses[0] + 0.01


def test_probabilities_of_many_networks_are_their_mean():
    frame, mean, _ = table(200)
    model = TabularClassifier(**{**QUICK, "epochs": 3}, n_networks=3).fit(frame, mean > 1)
    rows = model.preprocessor_.transform(frame)
    each = [net.predict_proba(rows) for net in model.networks_]
    np.testing.assert_allclose(model.predict_proba(frame), np.mean(each, axis=0), rtol=1e-5)
    assert np.abs(each[0] - each[1]).max() > 1e-3
    assert model.network_ is model.networks_[0]


def test_class_weights_move_predictions():
    frame, mean, _ = table(400)
    y = mean > 3
    counts = [
        np.mean(TabularClassifier(**{**QUICK, "epochs": 10}, class_weight=weight).fit(frame, y).predict(frame))
        for weight in ({False: 10, True: 0.1}, None, "balanced", {False: 0.1, True: 10})
    ]
    assert counts[0] <= counts[1] < counts[3]
    assert counts[2] > counts[0]


def test_important_columns_are_found():
    frame, mean, _ = table(1000)
    for model in (TabularRegressor(**QUICK).fit(frame, mean), TabularClassifier(**QUICK).fit(frame, mean > 1)):
        found = dict(zip(frame.columns, model.feature_importances_))
        assert sum(found.values()) == pytest.approx(1)
        assert min(found["x"], found["z"], found["kind"]) > 2 * max(found["noise"], found["nothing"])


def test_a_time_limit_ends_the_fit():
    frame, mean, _ = table(600)
    started = time.monotonic()
    model = TabularRegressor(epochs=10**6, time_limit=1.0, random_state=0).fit(frame, mean)
    assert 1 <= model.n_iter_ < 10**6
    assert "time limit" in model.history_.stopped
    assert time.monotonic() - started < 120


def test_callbacks_see_the_validation_loss_and_may_stop():
    seen = []

    class Watch(Callback):
        def on_epoch_end(self, epoch, logs):
            seen.append(logs["val_loss"])
            if epoch == 3:
                raise StopTraining("enough")

    frame, mean, _ = table(100)
    model = TabularRegressor(**QUICK, callbacks=Watch()).fit(frame, mean)
    assert len(seen) == model.n_iter_ == 3
    assert model.history_.stopped == "enough"
    np.testing.assert_allclose(seen, model.validation_errors_, rtol=1e-6)


def test_the_last_best_epoch_is_kept():
    frame, mean, _ = table(300)
    model = TabularClassifier(**QUICK).fit(frame, mean > 1)
    errors = np.array(model.validation_errors_)
    assert model.best_epoch_ == len(errors) - np.argmin(errors[::-1])


def test_the_order_of_rows_makes_no_difference():
    frame, mean, rng = table(200)
    order = rng.permutation(200)
    for model, y in ((TabularRegressor(**QUICK), mean), (TabularClassifier(**QUICK), mean > 1)):
        there = clone(model).fit(frame, y).predict(frame)
        np.testing.assert_array_equal(clone(model).fit(frame.iloc[order], y[order]).predict(frame), there)


def test_rows_without_weight_are_left_out():
    frame, mean, _ = table(300)
    weight = np.where(np.arange(300) < 200, 0.5, 0.0)
    spoilt = np.where(weight > 0, mean, 1e9)
    model = TabularRegressor(**QUICK).fit(frame, spoilt, sample_weight=weight)
    assert model.score(frame[:200], mean[:200]) > 0.8


def test_seeds_repeat_and_differ():
    frame, mean, _ = table(100)
    first, again, other = (
        TabularRegressor(**{**QUICK, "epochs": 3, "random_state": seed}).fit(frame, mean).predict(frame)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_many_categories_are_learnt_and_important():
    rng = np.random.default_rng(0)
    of_each = rng.normal(size=200)
    shop = rng.integers(0, 200, 6000)
    frame = pd.DataFrame({"noise": rng.normal(size=6000), "shop": [f"shop {k}" for k in shop]})
    model = TabularRegressor(**{**QUICK, "epochs": 20}).fit(frame[:5000], of_each[shop[:5000]])
    assert model.score(frame[5000:], of_each[shop[5000:]]) > 0.9
    assert model.feature_importances_[1] > 0.9


@pytest.mark.parametrize("fitted", [{}, {"quantiles": (0.1, 0.5, 0.9)}, {"quantiles": (0.3,)},
                                    {"distribution": "normal"}])  # fmt: skip
@pytest.mark.parametrize("later", [
    {"quantiles": None, "distribution": None}, {"quantiles": (0.2, 0.4, 0.6, 0.8), "distribution": None},
    {"quantiles": None, "distribution": "normal"}, {"quantiles": "nonsense", "n_networks": 5, "validation_fraction": 0},
])  # fmt: skip
def test_what_was_fitted_predicts_whatever_is_set_later(tmp_path, fitted, later):
    frame, mean, _ = table(100)
    model = TabularRegressor(**{**QUICK, "epochs": 2}, **fitted).fit(frame, mean)

    def all_of(model):
        found = [model.predict(frame), model.quantiles_, model.distribution_]
        for method, possible in (
            (model.predict_interval, fitted != {"quantiles": (0.3,)}), (model.predict_quantiles, "quantiles" in fitted),
            (lambda X: model.predict(X, return_std=True), "distribution" in fitted),
        ):  # fmt: skip
            if possible:
                found.append(method(frame))
            else:
                with pytest.raises(ValueError, match="this regressor has"):
                    method(frame)
        return found

    before = all_of(model)
    model.set_params(**later)
    for there, found in zip(before, all_of(model)):
        np.testing.assert_array_equal(found, there)
    if later["quantiles"] != "nonsense":
        model.save(tmp_path / "a")
        for there, found in zip(before, all_of(TabularRegressor.load(tmp_path / "a"))):
            np.testing.assert_array_equal(found, there)
    else:
        with pytest.raises(TypeError, match="quantiles is 'nonsense'"):
            model.save(tmp_path / "a")


@pytest.mark.parametrize("later", [
    {"calibrate": False}, {"label_smoothing": 0.5, "class_weight": "balanced"}, {"n_networks": 7, "max_one_hot": 1},
    {"hidden_layer_sizes": (3,), "epochs": 0},
])  # fmt: skip
def test_a_fitted_classifier_predicts_as_fitted(later):
    frame, mean, _ = table(100)
    model = TabularClassifier(**{**QUICK, "epochs": 2}, calibrate=True, n_networks=2).fit(frame, mean > 1)
    there = model.predict_proba(frame)
    np.testing.assert_array_equal(model.set_params(**later).predict_proba(frame), there)
