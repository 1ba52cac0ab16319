"""What becomes of each kind of column."""

import copy
import datetime as dt
import decimal
import json
import pickle
import types

import numpy as np
import pytest

pytest.importorskip("sklearn.base")
pytest.importorskip("pandas")
pytest.importorskip("polars")

import pandas as pd
import polars as pl

from fastnn.tabular import Preprocessor
from fastnn.tabular.preprocessor import cells_of_pandas

NAN = float("nan")


def numbers(values, later=None, **more):
    """What a column of these values becomes; `later`: other values, in predict."""
    frame = pd.DataFrame({"x": values})
    preprocessor = Preprocessor(**more).fit(frame)
    out = preprocessor.transform(frame if later is None else pd.DataFrame({"x": later}))
    assert out.dtype == np.float32
    return out


def clipped(z):
    return (z / np.sqrt(1 + (np.asarray(z) / 3) ** 2)).astype(np.float32)


def test_numbers_are_centred_scaled_and_clipped():
    x = np.array([1.0, 2.0, 3.0, 4.0, 1000.0])
    np.testing.assert_allclose(numbers(x)[:, 0], clipped((x - 3) / 2), rtol=1e-6)


def test_half_the_range_stands_in_for_a_range_of_zero():
    x = np.array([5.0] * 9 + [7.0])
    np.testing.assert_allclose(numbers(x)[:, 0], clipped((x - 5) / 1.0), rtol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 7.0, -1e300])
def test_a_constant_becomes_zero(constant):
    np.testing.assert_array_equal(numbers([constant] * 5), np.zeros((5, 1)))
    np.testing.assert_array_equal(numbers([constant] * 5, [3.0]), [[0]])


def test_numbers_of_any_size_stay_finite():
    for values in ([-1.7e308, 0.0, 1.7e308, 1.0], [5e-324, 0.0, 1e-323, 1e-300], [1e308, -1e308, 1e-308, 0.0]):
        out = numbers(values, [*values, 1.7e308, -1.7e308, 1e-320])
        assert np.isfinite(out).all()
        assert np.abs(out).max() <= 3


@pytest.mark.parametrize("values", [[1e308, -1e308] * 3, [1.7e308, -1.7e308, 1.6e308, -1.6e308, 0, 1], [1.7e308] * 3])
def test_quantiles_between_far_numbers_are_finite(values):
    assert np.isfinite(numbers(values)).all()


@pytest.mark.parametrize("values", [
    np.arange(40) + 2**60, np.arange(40, dtype=np.uint64) + np.uint64(2**63),
    pd.Series([2**70 + k for k in range(40)], dtype=object),
    pd.array([2**60, *range(2**60, 2**60 + 38), None], "Int64"),
])  # fmt: skip
def test_whole_numbers_that_float64_cannot_tell_apart_are_said(values):
    with pytest.warns(UserWarning, match=r"column 'x' of X has \d+ different whole numbers .* rounded to others"):
        Preprocessor().fit(pd.DataFrame({"x": values}))


@pytest.mark.parametrize("values", [np.arange(40) + 2**50, (np.arange(40) + 2**40) * 2**20, np.arange(40) * 1e20])
def test_large_numbers_that_float64_tells_apart_are_fine(values):
    assert len(np.unique(numbers(values))) == 40


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_dates_that_are_too_far_for_microseconds(unit):
    far = np.array(["300000-01-01", "1900-01-01", "2000-01-01"], f"M8[{unit}]")
    out = numbers(pd.Series(far))
    assert out[0] > out[2] > out[1]
    for values in (far.reshape(-1, 1), np.array([[2**40], [1]]).astype("M8[Y]")):
        with pytest.raises(ValueError, match=r"column 0 of X holds .* in row 0; expected dates .* 292,000 years"):
            Preprocessor().fit(values)


def test_missing_numbers_are_the_median_and_said():
    out = numbers([1.0, 2.0, NAN, 9.0])
    np.testing.assert_array_equal(out[2], [0, 1])
    assert out[:, 1].sum() == 1
    np.testing.assert_array_equal(numbers([1.0, 2.0, 3.0], [NAN]), [[0]])  # none was missing in fit


def test_categories():
    np.testing.assert_array_equal(
        numbers(["b", "a", "c", None], ["a", "c", "new", None]), [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    )
    np.testing.assert_array_equal(numbers(["b", "a", None], ["a", "b", "new", None]), [[1], [-1], [0], [0]])
    np.testing.assert_array_equal(numbers(["a", "a"], ["a", "new"]), [[1], [0]])


def test_many_categories_become_numbers_in_front():
    frame = pd.DataFrame({"x": [1.0, 2.0, 4.0, 8.0], "many": list("badc"), "more": list("xyzw"), "two": list("uvuv")})
    fitted = Preprocessor(max_one_hot=3).fit(frame)
    later = pd.DataFrame({"x": [3.0] * 3, "many": ["a", None, "new"], "more": ["x", "w", "w"], "two": ["u"] * 3})
    expected = np.zeros((3, 18))
    expected[:, 0], expected[:, 8], expected[:, 17] = [0, -1, -1], [1, 0, 0], 1
    np.testing.assert_array_equal(fitted.transform(later), expected)
    for row in range(3):
        np.testing.assert_array_equal(fitted.transform(later[row : row + 1]), expected[row : row + 1])
    names = fitted.get_feature_names_out().tolist()
    assert names == [*(f"many_{k}" for k in range(8)), *(f"more_{k}" for k in range(8)), "x", "two_u"]
    assert fitted.sums(np.arange(18.0)).tolist() == [16, 28, 92, 17]


def test_bools():
    np.testing.assert_array_equal(numbers([True, False, True]), [[1], [-1], [1]])
    np.testing.assert_array_equal(numbers(pd.array([True, None], "boolean"), [1, 0]), [[1], [-1]])


def test_dates_are_days_whatever_their_unit():
    days = [dt.date(2020, 1, 1), dt.date(2020, 1, 3), dt.date(2020, 1, 4), dt.date(2021, 1, 1)]
    expected = numbers([float((day - dt.date(1970, 1, 1)).days) for day in days])
    for unit in ("s", "ms", "us", "ns"):
        np.testing.assert_array_equal(numbers(pd.to_datetime(days).astype(f"M8[{unit}]")), expected)
    np.testing.assert_array_equal(numbers(days), expected)  # objects
    np.testing.assert_array_equal(Preprocessor().fit_transform(pl.DataFrame({"x": days})), expected)
    np.testing.assert_array_equal(Preprocessor().fit_transform(np.array(days, "M8[D]").reshape(-1, 1)), expected)


def test_moments_in_several_time_zones_are_the_same():
    utc = pd.to_datetime(["2020-01-01 12:00", "2020-01-02 00:00", "2020-05-01 00:00"]).tz_localize("UTC")
    fitted = Preprocessor().fit(pd.DataFrame({"x": utc}))
    there = pd.DataFrame({"x": utc.tz_convert("Asia/Tokyo")})
    np.testing.assert_array_equal(fitted.transform(there), fitted.transform(pd.DataFrame({"x": utc})))
    with pytest.raises(ValueError, match="column 'x' of X is of kind 'date', but was 'date with a time zone'"):
        fitted.transform(pd.DataFrame({"x": utc.tz_localize(None)}))


def test_durations_and_times_of_the_day():
    hours = [1.0, 2.0, 5.0]
    expected = numbers([hour / 24 for hour in hours])
    np.testing.assert_allclose(numbers(pd.to_timedelta(hours, "h")), expected, rtol=1e-6)
    np.testing.assert_allclose(numbers([dt.timedelta(hours=hour) for hour in hours]), expected, rtol=1e-6)
    np.testing.assert_allclose(numbers([dt.time(int(hour)) for hour in hours]), expected, rtol=1e-6)


def test_frames_of_all_makers_and_arrays_give_the_same():
    columns = {"a": [1.5, 2.5, None, 4.0], "b": ["x", "y", "z", None], "c": [True, False, True, None]}
    given = [
        pd.DataFrame(columns),
        pd.DataFrame({"a": pd.array(columns["a"], "Float64"), "b": pd.array(columns["b"], "string"),
                      "c": pd.array(columns["c"], "boolean")}),
        pd.DataFrame(columns).assign(b=pd.Categorical(columns["b"])),
        pl.DataFrame(columns),
        pl.DataFrame(columns).with_columns(pl.col("b").cast(pl.Categorical)),
        pl.DataFrame(columns).with_columns(pl.col("b").cast(pl.Enum(["z", "y", "x", "w"]))),
        pl.DataFrame({**columns, "a": [decimal.Decimal(str(x)) if x else None for x in columns["a"]]}),
        np.array(list(zip(*columns.values())), object),
    ]  # fmt: skip
    expected = Preprocessor().fit_transform(given[0])
    for frame in given:
        np.testing.assert_array_equal(Preprocessor().fit_transform(frame), expected)
        for row in range(4):
            one = frame[row : row + 1]
            np.testing.assert_array_equal(Preprocessor().fit(frame).transform(one), expected[row : row + 1])


def test_integers_with_missing_ones():
    for values in (pd.array([1, None, 3, 4], "Int64"), [1, None, 3, 4]):
        out = numbers(values)
        np.testing.assert_array_equal(out[1], [0, 1])


def test_columns_of_mixed_objects_are_texts():
    frame = pd.DataFrame({"x": pd.Series([1, "one", 1.0, None, dt.date(2020, 1, 1)], dtype=object)})
    assert Preprocessor().fit(frame).get_feature_names_out().tolist() == ["x_1", "x_2020-01-01", "x_one"]


@pytest.mark.parametrize("one", [1, 1.0, np.int64(1), np.float32(1), decimal.Decimal("1.0")])
def test_a_number_among_texts_has_one_text(one):
    frame = pd.DataFrame({"x": objects(one, "one", 10**400, decimal.Decimal("Infinity"), 1.5)})
    labels = [label.removeprefix("x_") for label in Preprocessor().fit(frame).get_feature_names_out()]
    assert labels == ["1", "1.5", str(10**400), "Infinity", "one"]


KINDS = {
    "int": lambda rng: int(rng.integers(4)),
    "float": lambda rng: rng.integers(4) / 2,
    "bool": lambda rng: rng.random() < 0.5,
    "numpy": lambda rng: rng.integers(3),
    "text": lambda rng: str(rng.choice(["a", "1", "01", "1.0", "True"])),
    "code": lambda rng: str(rng.integers(1, 4)),
    "none": lambda rng: [None, NAN, pd.NA][rng.integers(3)],
    "date": lambda rng: dt.date(2020, 1, rng.integers(1, 5)),
    "moment": lambda rng: pd.Timestamp(2020, 1, rng.integers(1, 5)),
    "duration": lambda rng: dt.timedelta(days=int(rng.integers(1, 5))),
    "decimal": lambda rng: decimal.Decimal(int(rng.integers(4))),
    "period": lambda rng: pd.Period(f"2020-0{rng.integers(1, 9)}", "M"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seed", range(150))
def test_what_becomes_of_a_value_does_not_depend_on_those_beside_it(seed):
    rng = np.random.default_rng(seed)
    some = [rng.choice(list(KINDS), rng.integers(1, 4), replace=False) for _ in range(2)]
    fitted_on, later = (
        pd.DataFrame({"x": objects(*(KINDS[rng.choice(kinds)](rng) for _ in range(12))), "y": np.arange(12.0)})
        for kinds in (some[0], some[rng.integers(2)])
    )
    fitted = Preprocessor().fit(fitted_on)
    try:
        whole = fitted.transform(later)
    except ValueError:
        return
    for k in range(12):
        if not isinstance(later["x"][k], (bool, np.bool_)):  # which is a number among numbers
            np.testing.assert_array_equal(fitted.transform(later[k : k + 1]), whole[k : k + 1])


def test_categories_that_are_numbers_take_numbers():
    fitted = Preprocessor().fit(pd.DataFrame({"x": pd.Categorical([1, 2, 3])}))
    np.testing.assert_array_equal(fitted.transform(pd.DataFrame({"x": [2.0, 9.0]})), [[0, 1, 0], [0, 0, 0]])


def objects(*values):
    return pd.Series(values, dtype=object)


@pytest.mark.parametrize(("values", "later", "expected"), [
    (["1", "2", "3"], [3, 2, 9], [2, 1, -1]), (["1", "2", "3"], [3.0, NAN, 1.5], [2, -1, -1]),
    (["1.0", "2.0", "3.0"], [3, 1], [2, 0]), (["01", "02", "03"], pd.Categorical([3, 1]), [2, 0]),
    (["1", "2", "3"], objects("3", 1, None), [2, 0, -1]), (["u", "v", "w"], ["w", "u"], [2, 0]),
    (pd.Categorical([1, 2, 3]), ["03", "1.0", "2"], [2, 0, 1]), (pd.Categorical([1.0, 2, 3]), [3, 1], [2, 0]),
    (pd.Categorical([1, 2, 3]), pd.Categorical([3.0, 1.0]), [2, 0]),
    (pd.Categorical([1, 2, 3]), objects(3, "1"), [2, 0]), (["1", "2", "3"], [None, None], [-1, -1]),
])  # fmt: skip
def test_categories_that_are_numbers_on_one_side_are_compared_as_numbers(values, later, expected):
    out = numbers(values, later)
    np.testing.assert_array_equal(np.where(out.any(axis=1), out.argmax(axis=1), -1), expected)


@pytest.mark.parametrize(("values", "later"), [
    (["True", "False"], [True, False]), (["true", "false"], [1.0, 0.0]), (pd.Categorical([True, False]), [1, 0]),
    (pd.Categorical([True, False]), ["True", "false"]), (["0", "1"], [True, False]), (["1", "0"], objects(True, "0")),
])  # fmt: skip
def test_categories_that_are_bools_on_one_side(values, later):
    np.testing.assert_array_equal(numbers(values, later), numbers(["1", "0"], ["1", "0"]))


@pytest.mark.parametrize(("values", "later", "kind"), [
    (["1", "01"], [1], "number"), (["1", "x"], [1], "number"), (["True", "False"], [2, 1], "number"),
    (["1", "2"], [True, False], "bool"), (["9007199254740993", "1"], [1, 2], "number"), (["1_0", "1"], [10], "number"),
    (["a", "b"], objects("a", 1), "mixed objects"), (["1", "2"], objects("1", dt.date(2020, 1, 1)), "mixed objects"),
    (["1", "x"], pd.Categorical([1, 2]), "category of numbers"), ([True, False], ["True", "False"], "text"),
    ([1, 2], ["1", "2"], "text"), ([1, 2], objects("1", 2), "mixed objects"),
])  # fmt: skip
def test_what_is_no_such_category_is_refused(values, later, kind):
    with pytest.raises(ValueError, match=f"column 'x' of X is of kind '{kind}', but was '.*' in fit"):
        numbers(values, later)


@pytest.mark.parametrize("later", [
    [1, 2], [1.0, 2.0], objects(1, 2.0), objects("1", "2"), pd.Categorical([1, 2]), objects(1, "2"),
])  # fmt: skip
def test_mixed_objects_are_texts_whatever_they_are_later(later):
    values = objects(1, "one", 2.0, dt.date(2020, 1, 1), None)  # labels 1, 2, 2020-01-01, one
    fitted = Preprocessor().fit(pd.DataFrame({"x": values}))
    frame = pd.DataFrame({"x": later})
    for twin in (fitted, Preprocessor.made(json.loads(json.dumps(fitted.described())))):
        np.testing.assert_array_equal(twin.transform(frame), np.eye(4)[:2])
        for row in range(2):
            np.testing.assert_array_equal(twin.transform(frame[row : row + 1]), np.eye(4)[row : row + 1])


@pytest.mark.parametrize(("values", "later", "words"), [
    (["1", "2", "3"], ["1.0", "2.0", "3.0"], "3 of 3 values .* such as '1.0', '2.0', '3.0'.* fit saw '1', '2', '3'"),
    (["a", "b"], ["c", "d", "a", None], "2 of 3 values"), (pd.Categorical([1, 2]), [7, 8.5], "2 of 2 .* 7.0, 8.5"),
    (list("abcd"), ["x", "y"], "2 of 2"),
])  # fmt: skip
def test_mostly_new_categories_are_said(values, later, words):
    with pytest.warns(UserWarning, match=f"column 'x' of X has {words}"):
        numbers(values, later, max_one_hot=3)


def test_periods_are_the_dates_of_their_starts():
    periods = pd.period_range("2020-01", periods=5, freq="M")
    for later in (periods, periods[:1]):
        np.testing.assert_array_equal(numbers(periods, later), numbers(periods.to_timestamp(), later.to_timestamp()))


def test_intervals_are_categories():
    values = pd.arrays.IntervalArray.from_breaks([0, 1, 2, 3])
    assert Preprocessor().fit(pd.DataFrame({"x": values})).get_feature_names_out().tolist() == [
        "x_(0, 1]", "x_(1, 2]", "x_(2, 3]",
    ]  # fmt: skip


class Nothing:
    """Without a text of its own."""


@pytest.mark.parametrize(("value", "message"), [
    (1j, "a complex number in row 1; .* real and its imaginary part"),
    (Nothing(), "object of Nothing, which has no text"),
])  # fmt: skip
def test_objects_that_are_no_values(value, message):
    with pytest.raises(TypeError, match=f"column 'x' of X holds an? .*{message[2:]}"):
        numbers(objects("a", value))
    with pytest.raises(TypeError, match="column 'x' of X"):
        numbers(np.array([1j, 2j]))
    fitted = Preprocessor().fit(pd.DataFrame({"x": ["a", "b"]}))
    with pytest.raises(TypeError, match="column 'x' of X holds"):
        fitted.transform(pd.DataFrame({"x": objects(value)}))


def test_bytes_that_are_no_text_stay_apart():
    assert len(Preprocessor().fit(pd.DataFrame({"x": objects(b"\xff", b"\xfe", b"a")})).get_feature_names_out()) == 3


def test_names():
    frame = pd.DataFrame({"a": [1.0, None], "b": ["u", "v"], "c": ["x", "y"], "d": [None, None]})
    frame.loc[2] = [3.0, "w", "x", None]
    fitted = Preprocessor().fit(frame)
    assert fitted.get_feature_names_out().tolist() == ["a", "a_missing", "b_u", "b_v", "b_w", "c_x"]
    assert fitted.transform(frame).shape == (3, 6)


@pytest.mark.parametrize(("columns", "names"), [
    ({"a": [1.0, None, 2.0], "a_missing": [1.0, 2.0, 3.0]}, ["a", "a_missing_2", "a_missing"]),
    ({"a_missing": [1.0, 2.0, 3.0], "a_missing_2": [1, 2, 3], "a": [1.0, None, 2.0]},
     ["a_missing", "a_missing_2", "a", "a_missing_3"]),
    ({"a": ["b_c", "d", "e"], "a_b": ["c", "d", "e"]}, ["a_b_c", "a_d", "a_e", "a_b_c_2", "a_b_d", "a_b_e"]),
    ({"a": ["x", "y", "z"], "a_y": [True, False, True]}, ["a_x", "a_y_2", "a_z", "a_y"]),
])  # fmt: skip
def test_no_two_names_are_the_same(columns, names):
    fitted = Preprocessor().fit(pd.DataFrame(columns))
    assert fitted.get_feature_names_out().tolist() == names
    assert fitted.set_output(transform="pandas").transform(pd.DataFrame(columns)).columns.tolist() == names


def random_frame(rng, n=40):
    moments = pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**6, n), "s")
    frame = pd.DataFrame({
        "number": rng.normal(size=n) * 10.0 ** rng.integers(-5, 6),
        "holes": np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
        "whole": rng.integers(-5, 5, n),
        "text": rng.choice(["a", "b", "c", None], n),
        "two": rng.choice(["u", "v"], n),
        "bool": rng.random(n) < 0.5,
        "moment": moments,
        "zoned": moments.tz_localize("Europe/Paris", ambiguous=True, nonexistent="shift_forward"),
        "gone": [None] * n,
        "constant": [3] * n,
        "category": pd.Categorical(rng.choice(list("pqrs"), n)),
        "code": pd.Categorical(np.where(rng.random(n) < 0.2, None, rng.integers(0, 5, n)), categories=range(5)),
        "mixed": pd.Series([[k, f"m{k}", None][k % 3] for k in range(n)], dtype=object),
    })  # fmt: skip
    return frame[rng.permutation(frame.columns)]


@pytest.mark.parametrize("seed", range(10))
def test_one_row_is_as_the_same_row_among_others(seed):
    frame = random_frame(np.random.default_rng(seed))
    fitted = Preprocessor().fit(frame)
    whole = fitted.transform(frame)
    for row in range(len(frame)):
        np.testing.assert_array_equal(fitted.transform(frame.iloc[[row]]), whole[row : row + 1])


@pytest.mark.parametrize("seed", range(5))
def test_the_description_says_all(seed):
    frame = random_frame(np.random.default_rng(seed))
    fitted = Preprocessor().fit(frame)
    for twin in (
        Preprocessor.made(json.loads(json.dumps(fitted.described()))), pickle.loads(pickle.dumps(fitted)),
        copy.deepcopy(fitted),
    ):  # fmt: skip
        np.testing.assert_array_equal(twin.transform(frame), fitted.transform(frame))
        np.testing.assert_array_equal(twin.transform(frame.iloc[[0]]), fitted.transform(frame.iloc[[0]]))
        assert twin.get_feature_names_out().tolist() == fitted.get_feature_names_out().tolist()


@pytest.mark.parametrize("about", [
    None, {}, {"max_one_hot": 5, "names": None, "columns": []},
    {"max_one_hot": 0, "names": None, "columns": [{"kind": "bool"}]},
    {"max_one_hot": 5, "names": ["a", "a"], "columns": [{"kind": "bool"}, {"kind": "bool"}]},
    {"max_one_hot": 5, "names": [1], "columns": [{"kind": "bool"}]},
    {"max_one_hot": 5, "names": None, "columns": [{"kind": "wrong"}]},
    {"max_one_hot": 5, "names": None, "columns": [{"kind": "bool", "more": 1}]},
    {"max_one_hot": 5, "names": None, "columns": [{"kind": ["bool"]}]},
    *({"max_one_hot": 5, "names": None,
       "columns": [{"kind": "text", "labels": labels, "of": "text", "embedded": False}]}
      for labels in (["a", 1], ["a", "a"], "ab", [])),
    {"max_one_hot": 5, "names": None, "columns": [{"kind": "number", "centre": NAN, "scale": 1, "indicator": True}]},
    {"max_one_hot": 5, "names": None, "columns": [{"kind": "number", "centre": 0, "scale": -1, "indicator": True}]},
    {"max_one_hot": 5, "names": None, "columns": [{"kind": "number", "centre": 0, "scale": 1e200, "indicator": True}]},
])  # fmt: skip
def test_what_describes_none_is_refused(about):
    with pytest.raises((ValueError, TypeError)):
        Preprocessor.made(about)


@pytest.mark.parametrize("blocks", [True, False])
def test_the_cells_of_a_frame_of_one_row_are_those_of_its_row(blocks):
    frame = random_frame(np.random.default_rng(0))
    for k in range(len(frame)):
        one = frame.iloc[[k]]
        given = one if blocks else types.SimpleNamespace(shape=one.shape, iloc=one.iloc)  # another pandas to come
        cells, row = ([x.item() if isinstance(x, np.generic) else x for x in some]
                      for some in (cells_of_pandas(given), one.iloc[0]))  # fmt: skip
        assert repr(cells) == repr(row)
