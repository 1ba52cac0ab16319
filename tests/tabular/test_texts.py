"""Texts that look like numbers or dates: said, with a way to convert them that works."""

import numpy as np
import pytest

pytest.importorskip("sklearn.base")
pytest.importorskip("pandas")

import pandas as pd

from fastnn.tabular import Preprocessor, TabularRegressor

RANGE = range(1, 41)


def frame_of(form):
    return pd.DataFrame({"x": [form(k) for k in RANGE]})


@pytest.mark.parametrize(("form", "said"), [
    (lambda k: f"{k}.234,{k}", r"numbers: '1.234,1', .*decimal=',', thousands='.'"),
    (lambda k: f"{k},5", "decimal=','"),
    (lambda k: f"-{k},50 €", "decimal=','"), (lambda k: f"{k},234.5", "thousands=','"), (lambda k: f"{k}%", "numbers"),
    (lambda k: f"${k}.50", "numbers"), (lambda k: f"{k}'000", "numbers"), (lambda k: f"{k}.5", "pandas.to_numeric"),
    (lambda k: f"{k}.000", "to_numeric.*separates thousands"), (lambda k: f"{k},000", "whichever"),
    (lambda k: f"{k}.5" if k % 20 else "n/a", "numbers: .* beside 'n/a'"), (lambda k: f"{k}e-3", "to_numeric"),
    (lambda k: f"{k}" if k % 20 else "n/a", "numbers: .* beside 'n/a'"),
    (lambda k: f"{k % 12 + 1}/{k % 28 + 1}/2024", "dates: .*'%m/%d/%Y'$"),
    (lambda k: f"{k % 28 + 1:02}.{k % 12 + 1:02}.24", "dates: .*'%d.%m.%y'$"),
    (lambda k: f"{k % 12 + 1}/{k % 11 + 1}/2024", "'%d/%m/%Y' or '%m/%d/%Y'"),
    (lambda k: f"12/{k % 28 + 1}/2024 3:1{k % 10} PM", "'%m/%d/%Y' and the time"),
    (lambda k: f"2024-01-{k % 28 + 1:02}", r"dates: .*pandas.to_datetime\(s\)"),
    (lambda k: f"2024-01-{k % 28 + 1:02}T12:00:00Z", "dates"), (lambda k: f"{k % 28 + 1} Dec 2024", "dates"),
    (lambda k: float(k) if k % 20 else "n/a", "numbers: .* beside 'n/a'"),
])  # fmt: skip
def test_texts_that_look_like_something_else_are_said(form, said):
    with pytest.warns(UserWarning, match=rf"column 'x' of X is of texts, \d+ categories, but they look like .*{said}"):
        Preprocessor().fit(frame_of(form))
    with pytest.warns(UserWarning, match="look like"):
        TabularRegressor((4,), epochs=1, random_state=0).fit(frame_of(form), np.arange(40))


@pytest.mark.parametrize("form", [
    str, "0{}".format, "w{}".format, "1.{}.3".format, "10.0.0.{}".format, "{}-{}".format, "030 {}12345".format,
    lambda k: f"{k}x{k}", lambda k: f"12-{k + 40}-1234", lambda k: f"{k % 24}:{k}", lambda k: f"{k % 9},5",
    lambda k: f"{k}.5" if k % 3 else f"w{k}", "{}.".format, lambda k: f"{k:02}.{k % 7}",
    lambda k: f"{1000 * k:05}" if k % 20 else f"{1000 * k:05}-1234",
])  # fmt: skip
def test_codes_and_words_are_categories(form):
    Preprocessor().fit(
        frame_of(lambda k: form(k, k) if form == "{}-{}".format else form(k))
    )  # warnings are errors here


@pytest.mark.parametrize(("form", "value"), [
    (lambda k: f"{k}.234,5", 1234.5), (lambda k: f"{k},234.5", 1234.5), (lambda k: f"{k},5 €", 1.5),
    (lambda k: f"${k}.5", 1.5), (lambda k: f"{k}.25", 1.25), (lambda k: f"-{k},5e2", -150.0),
    (lambda k: f"({k},234.50)", -1234.5), (lambda k: f"({k}.234,5 €)", -1234.5), (lambda k: f" {k}", 1.0),
])  # fmt: skip
def test_the_way_to_convert_works(form, value):
    frame = frame_of(form)
    with pytest.warns(UserWarning, match="look like") as said:
        Preprocessor().fit(frame)
    how = str(said[0].message).partition("(here s): ")[2].partition(", or ")[0]
    assert eval(how, {"s": frame["x"], "pandas": pd})[0] == value
