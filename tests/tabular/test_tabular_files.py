"""A model in one file: the same bits in another process, and nothing believed of a stranger's."""

import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn.base")
pytest.importorskip("pandas")

import pandas as pd

import fastnn
from fastnn.tabular import TabularClassifier, TabularRegressor
from tests.reliability.files import split, wrapped

QUICK = {"epochs": 3, "hidden_layer_sizes": (8, 4), "random_state": 0}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "age": np.where(rng.random(80) < 0.2, np.nan, rng.normal(size=80)), "city": rng.choice(["ä", "b", "c"], 80),
        "since": pd.date_range("2020", periods=80), "member": rng.random(80) < 0.5,
    })  # fmt: skip


@pytest.mark.parametrize("labels", [
    ["no", "yes"], [0, 1], [-3, 7], [False, True], [1.0, 2.0], np.array(["no", "yes"], object),
])  # fmt: skip
@pytest.mark.parametrize(
    "parameters", [{}, {"n_networks": 3, "calibrate": True, "class_weight": "balanced"}, {"max_one_hot": 2}]
)
def test_a_classifier_comes_back(tmp_path, frame, labels, parameters):
    y = np.asarray(labels)[(frame["age"] > 0).astype(int)]
    model = TabularClassifier(**QUICK, **parameters).fit(frame, y)
    model.save(tmp_path / "a.safetensors")
    twin = TabularClassifier.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(twin.predict_proba(frame), model.predict_proba(frame))
    np.testing.assert_array_equal(twin.predict(frame), model.predict(frame))
    assert twin.classes_.dtype == model.classes_.dtype
    assert repr(twin) == repr(model)
    np.testing.assert_array_equal(twin.feature_importances_, model.feature_importances_)
    assert twin.get_feature_names_out().tolist() == model.get_feature_names_out().tolist()
    assert len(twin.networks_) == model.n_networks
    twin.fit(frame, y)
    np.testing.assert_array_equal(twin.predict_proba(frame), model.predict_proba(frame))


@pytest.mark.parametrize("parameters", [
    {}, {"n_networks": 2}, {"quantiles": (0.1, 0.5, 0.9)}, {"distribution": "normal"}, {"validation_fraction": 0},
])  # fmt: skip
def test_a_regressor_comes_back(tmp_path, frame, parameters):
    model = TabularRegressor(**QUICK, **parameters).fit(frame, np.arange(80.0))
    model.save(tmp_path / "a")
    twin = TabularRegressor.load(tmp_path / "a")
    np.testing.assert_array_equal(twin.predict(frame), model.predict(frame))
    if parameters != {"validation_fraction": 0}:
        np.testing.assert_array_equal(twin.predict_interval(frame), model.predict_interval(frame))
    assert repr(twin) == repr(model)


def test_another_process_gives_the_same_bits(tmp_path, frame):
    model = TabularClassifier(**QUICK).fit(frame, frame["member"])
    model.save(tmp_path / "a.safetensors")
    frame.to_pickle(tmp_path / "frame")
    code = (
        "import sys, pandas; from fastnn.tabular import TabularClassifier\n"
        "model = TabularClassifier.load(sys.argv[1])\n"
        "print(model.predict_proba(pandas.read_pickle(sys.argv[2])).tobytes().hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.safetensors", tmp_path / "frame"], capture_output=True, text=True,
        check=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.strip() == model.predict_proba(frame).tobytes().hex()


def test_the_network_alone_is_in_the_file(tmp_path, frame):
    model = TabularClassifier(**QUICK).fit(frame, frame["member"])
    model.save(tmp_path / "a")
    net, rows = fastnn.load(tmp_path / "a"), model.preprocessor_.transform(frame)
    np.testing.assert_array_equal(net.predict(rows), model.network_.predict(rows))


def test_other_files(tmp_path, frame):
    model = TabularClassifier(**QUICK).fit(frame, frame["member"])
    model.network_.save(tmp_path / "net")
    with pytest.raises(ValueError, match=r"'.*net' cannot be loaded: it is a network without a table's"):
        TabularClassifier.load(tmp_path / "net")
    model.save(tmp_path / "a")
    with pytest.raises(ValueError, match=r"it is of a 'TabularClassifier'.*TabularRegressor"):
        TabularRegressor.load(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        TabularClassifier.load(tmp_path / "none")


@pytest.mark.parametrize("shares", [None, "x", 1.5, [], [1.0], ["x", None, {}]])
def test_importances_are_one_number_for_each_column(tmp_path, frame, shares):
    model = TabularRegressor((4,), epochs=1, random_state=0).fit(frame, np.arange(len(frame)))
    model._learnt.more["importances"] = shares
    model.save(tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="importances"):
        TabularRegressor.load(tmp_path / "m.safetensors")


def changed(value, rng):
    """Something else in the place of a JSON value."""
    others = [None, True, -1, 10**30, 1.5, float("nan"), "x", [], {}, [[]], {"kind": "bool"}, "é" * 3]
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = str(rng.choice(sorted(value)))
        if rng.random() < 0.2:
            return {name: x for name, x in value.items() if name != key}
        return {**value, key: changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        k = int(rng.integers(len(value)))
        return [*value[:k], changed(value[k], rng), *value[k + 1 :]]
    return others[rng.integers(len(others))]


@pytest.mark.parametrize("seed", range(3))
def test_a_strangers_file_can_only_fail_to_load(tmp_path, frame, seed):
    rng = np.random.default_rng(seed)
    models = [
        TabularClassifier(**QUICK, n_networks=2).fit(frame, frame["city"]),
        TabularRegressor(**QUICK, quantiles=(0.1, 0.9)).fit(frame, np.arange(80)),
        TabularRegressor(**QUICK, distribution="normal").fit(frame, np.arange(80)),
    ]
    for model in models:
        model.save(tmp_path / "a")
        header, data = split((tmp_path / "a").read_bytes())
        for _ in range(80):
            about = json.loads(header["__metadata__"]["fastnn"])
            about["tabular"] = changed(about["tabular"], rng)
            twin = {**header, "__metadata__": {"fastnn": json.dumps(about)}}
            (tmp_path / "b").write_bytes(wrapped(twin, data))
            try:
                loaded = type(model).load(tmp_path / "b")
            except ValueError:
                continue
            try:  # what loads, predicts, or says that the columns are others
                loaded.predict(frame)
            except ValueError as error:
                assert "column" in str(error)  # noqa: PT017
