"""The commands, as people and scripts call them."""

import calendar
import gzip
import importlib.util
import io
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

for package in ("typer", "rich", "polars", "narwhals", "sklearn.base"):
    pytest.importorskip(package)

import polars as pl  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import fastnn  # noqa: E402
from fastnn.cli.app import app  # noqa: E402
from fastnn.cli.models import load_model  # noqa: E402
from fastnn.cli.tables import read_table  # noqa: E402
from fastnn.tabular import TabularClassifier, TabularRegressor  # noqa: E402

QUICK = ("--hidden", "8", "--epochs", "3")


def run(*arguments, code=0, stdin=None):
    """Call a command; its exit code is the expected one, and an error is one line."""
    result = CliRunner().invoke(app, [str(one) for one in arguments], input=stdin)
    assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr, result.exception)
    if code == 1:
        lines = result.stderr.strip().splitlines()
        assert [line.startswith("fastnn: error: ") for line in lines if "warning" not in line] == [True], lines
        assert result.stdout == "" or "--json" not in arguments
    return result


def asked(*arguments, **more):
    """The JSON object that a command prints."""
    return json.loads(run(*arguments, "--json", **more).stdout)


def houses(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    area, city = rng.normal(100, 20, rows).round(2), rng.choice(["Bern", "Basel", "Chur"], rows)
    frame = pl.DataFrame({
        "city": city, "area": area, "day": pl.Series(rng.integers(0, 9999, rows)).cast(pl.Date),
        "garage": rng.random(rows) < 0.5, "price": area * 4.5 + 100 * (city == "Bern") + 0.25,
        "sold": np.where(area > 100, "yes", "no"),
    })  # fmt: skip
    gone = pl.Series(rng.random(rows) < 0.1)
    return frame.with_columns(
        pl.when(gone).then(None).otherwise(pl.col(n)).alias(n) for n in ("city", "area", "garage")
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table, a regressor of its price and a classifier of whether it was sold."""
    folder = tmp_path_factory.mktemp("cli")
    houses().write_csv(folder / "houses.csv")
    run("train", folder / "houses.csv", "--target", "price", "--out", folder / "price.safetensors", *QUICK,
        "--drop", "sold", "--history", folder / "history.csv")  # fmt: skip
    run("train", folder / "houses.csv", "--target", "sold", "--out", folder / "sold.safetensors", *QUICK,
        "--drop", "price", "--calibrate")  # fmt: skip
    return folder


def test_train_says_what_it_found_and_what_it_did(tmp_path, place):
    out = tmp_path / "model.safetensors"
    said = run("train", place / "houses.csv", "--target", "price", "--out", out, *QUICK).stdout
    assert "regression of 'price'" in said
    assert "3 categories" in said
    assert "held-out rows" in said
    assert "r2" in said
    values = asked("train", place / "houses.csv", "--target", "sold", "--out", out, *QUICK)
    assert values["task"] == "classification"
    assert {column["column"]: column["kind"] for column in values["columns"]} == {
        "city": "text", "area": "number", "day": "date", "garage": "bool", "price": "number",
    }  # fmt: skip
    assert values["columns"][0]["missing"] == houses()["city"].null_count() > 0
    assert set(values["validation"]) == {"accuracy", "balanced_accuracy", "log_loss"}
    assert TabularClassifier.load(out).classes_.tolist() == ["no", "yes"]


def test_the_model_is_that_of_the_library(tmp_path, place):
    model = TabularRegressor((8,), epochs=3, random_state=0)
    frame = houses()
    model.fit(frame.drop("price", "sold"), frame["price"])
    expected = model.predict(frame.drop("price", "sold"))
    run("predict", place / "price.safetensors", place / "houses.csv", "--out", tmp_path / "p.csv")
    assert (pl.read_csv(tmp_path / "p.csv")["prediction"].to_numpy() == expected).all()


def test_the_score_is_that_of_the_held_out_rows(tmp_path, place):
    values = asked("train", place / "houses.csv", "--target", "price", "--out", tmp_path / "m.safetensors", *QUICK)
    frame = houses()
    model = TabularRegressor((8,), epochs=3, random_state=0).fit(frame.drop("price"), frame["price"])
    rows = model.validation_rows_
    assert len(rows) == 40
    held = frame[rows.tolist()]
    assert values["validation"]["r2"] == pytest.approx(model.score(held.drop("price"), held["price"].to_numpy()))


@pytest.mark.parametrize(("values", "task"), [
    ([0, 1], "classification"), (["a", "b"], "classification"), ([True, False], "classification"),
    ([1.0, 2.0, 3.0], "classification"), ([0.5, 1.0], "regression"), (range(40), "regression"),
])  # fmt: skip
def test_the_task_is_found_from_the_target(tmp_path, values, task):
    frame = pl.DataFrame(
        {"x": np.arange(80.0), "y": list(values) * (80 // len(values)) + list(values)[: 80 % len(values)]}
    )
    frame.write_csv(tmp_path / "t.csv")
    out = tmp_path / "m.safetensors"
    assert asked("train", tmp_path / "t.csv", "--target", "y", "--out", out, *QUICK)["task"] == task
    scored = asked("evaluate", out, tmp_path / "t.csv")
    assert scored["rows"] == 80
    assert ("accuracy" in scored["scores"]) == (task == "classification")
    if task == "classification":
        assert scored["scores"]["accuracy"] > 0.2
    if task == "classification" and values != ["a", "b"]:
        told = asked("train", tmp_path / "t.csv", "--target", "y", "--out", out, *QUICK, "--task", "regression")
        assert told["task"] == "regression"


def test_every_option_reaches_the_estimator(tmp_path, place):
    out = tmp_path / "m.safetensors"
    start = ("train", place / "houses.csv", "--target", "price", "--out", out, "--hidden", "8,4", "--epochs", 2)
    run(*start, "--networks", 2, "--quantiles", "0.1,0.5,0.9", "--seed", 7, "--validation-fraction", 0.3,
        "--threads", 1, "--time-limit", 1000)  # fmt: skip
    model = TabularRegressor.load(out)
    assert [layer.outs for layer in model.network_.layers if isinstance(layer, fastnn.Layer)] == [8, 4, 3]
    assert len(model.networks_) == 2
    parameters = model.get_params()
    assert list(parameters["quantiles"]) == [0.1, 0.5, 0.9]
    assert [parameters[n] for n in ("epochs", "random_state", "validation_fraction", "n_jobs", "time_limit")] == [
        2, 7, 0.3, 1, 1000,
    ]  # fmt: skip
    run("predict", out, place / "houses.csv", "--out", tmp_path / "p.csv")
    found = pl.read_csv(tmp_path / "p.csv")
    assert found.columns[-4:] == ["quantile_0.1", "quantile_0.5", "quantile_0.9", "prediction"]
    assert (found["quantile_0.5"] == found["prediction"]).all()
    run(*start, "--distribution", "normal")
    run("predict", out, place / "houses.csv", "--out", tmp_path / "p.csv", "--interval", 0.8)
    assert pl.read_csv(tmp_path / "p.csv").columns[-4:] == ["low", "high", "standard_deviation", "prediction"]


def test_fewer_epochs_for_many_rows(tmp_path):
    out = tmp_path / "m.safetensors"
    for rows, epochs in ((60, 256), (20_000, 50)):
        pl.DataFrame({"x": np.arange(rows) + 0.5, "y": np.arange(rows) + 0.5}).write_csv(tmp_path / "t.csv")
        start = ("train", tmp_path / "t.csv", "--target", "y", "--out", out, "--hidden", "2", "--time-limit", "0.01")
        assert f"{epochs} epochs" in run(*start).stdout
        assert TabularRegressor.load(out).epochs == epochs


def test_rows_without_a_target_are_left_out(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{k},{k % 2}\n{k},NA\n" for k in range(30)))
    values = asked("train", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m.safetensors", *QUICK)
    assert values["rows_left_out"] == 30
    assert asked("evaluate", tmp_path / "m.safetensors", tmp_path / "t.csv")["rows"] == 30


# --- predict -------------------------------------------------------------------------------------


def test_columns_in_any_order_and_probabilities(tmp_path, place):
    frame = houses()
    frame.select(*reversed(frame.columns)).write_parquet(tmp_path / "turned.parquet")
    run("predict", place / "sold.safetensors", tmp_path / "turned.parquet", "--out", tmp_path / "p.parquet", "--proba")
    found = pl.read_parquet(tmp_path / "p.parquet")
    assert found.columns == [*reversed(frame.columns), "probability_no", "probability_yes", "prediction"]
    p = found.select("probability_no", "probability_yes").to_numpy()
    assert p == pytest.approx(
        TabularClassifier.load(place / "sold.safetensors").predict_proba(frame.select("city", "area", "day", "garage"))
    )
    assert (np.array(["no", "yes"])[p.argmax(axis=1)] == found["prediction"].to_numpy()).all()


def test_from_standard_input_to_standard_output(tmp_path, place):
    content = (place / "houses.csv").read_bytes()
    for given in (content, gzip.compress(content)):
        result = run("predict", place / "price.safetensors", "-", stdin=given)
        assert pl.read_csv(io.StringIO(result.stdout)).columns[-1] == "prediction"
        assert "200 predictions" in result.stderr
    out = tmp_path / "m.safetensors"
    run("train", "-", "--target", "price", "--out", out, *QUICK, "--drop", "sold", stdin=gzip.compress(content))
    assert out.read_bytes() == (place / "price.safetensors").read_bytes()


def test_new_categories_are_counted_and_named(tmp_path, place):
    frame = houses().with_columns(city=pl.Series(["Genf"] * 3 + ["Bern"] * 197))
    frame.write_csv(tmp_path / "new.csv")
    start = ("predict", place / "price.safetensors", tmp_path / "new.csv", "--out", tmp_path / "p.csv")
    assert "column 'city' has categories that training did not see, in 3 rows: 'Genf'" in run(*start).stderr
    values = asked(*start)
    assert values["new_categories"] == {"city": {"rows": 3, "labels": ["Genf"]}}
    assert len(values["warnings"]) == 1
    alone = run(*start[:3], "--json").stderr  # with data on standard output
    assert json.loads(alone)["warnings"] == values["warnings"]
    assert not run("predict", place / "price.safetensors", place / "houses.csv", "--out", tmp_path / "p.csv").stderr


def test_categories_that_look_like_numbers_are_texts_in_every_file(tmp_path):
    codes = ["1", "2", "A"] * 30
    pl.DataFrame({"code": codes, "y": np.arange(90) + 0.5}).write_csv(tmp_path / "t.csv")
    run("train", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m.safetensors", *QUICK)
    (tmp_path / "new.csv").write_text("code\n1\n2\n3\n")
    values = asked("predict", tmp_path / "m.safetensors", tmp_path / "new.csv", "--out", tmp_path / "p.csv")
    assert values["new_categories"] == {"code": {"rows": 1, "labels": ["3"]}}
    run("predict", tmp_path / "m.safetensors", tmp_path / "t.csv", "--out", tmp_path / "q.csv")
    few, all_ = (pl.read_csv(tmp_path / name)["prediction"].to_list() for name in ("p.csv", "q.csv"))
    assert few[:2] == pytest.approx(all_[:2])


def test_missing_columns_are_named(tmp_path, place):
    houses().drop("area", "day").write_csv(tmp_path / "new.csv")
    for command in ("predict", "evaluate"):
        error = run(command, place / "price.safetensors", tmp_path / "new.csv", code=1).stderr
        assert "lacks the columns 'area', 'day'" in error


def test_unused_columns_are_said(tmp_path, place):
    values = asked("predict", place / "price.safetensors", place / "houses.csv", "--out", tmp_path / "p.csv")
    assert values["unused"] == ["sold"]  # and not the target


def test_an_existing_column_of_that_name_is_not_replaced(tmp_path, place):
    houses().with_columns(prediction=1).write_csv(tmp_path / "new.csv")
    start = ("predict", place / "price.safetensors", tmp_path / "new.csv", "--out", tmp_path / "p.csv")
    assert "--column" in run(*start, code=1).stderr
    run(*start, "--column", "price_found")
    assert pl.read_csv(tmp_path / "p.csv").columns[-2:] == ["prediction", "price_found"]


@pytest.mark.parametrize(("model", "options", "taken"), [
    ("price", ("--interval", 0.9), ["low", "high"]), ("price", (), ["prediction"]), ("quantiles", (), ["quantile_0.5"]),
    ("sold", ("--proba",), ["probability_no", "prediction"]), ("normal", (), ["standard_deviation"]),
])  # fmt: skip
def test_names_that_the_table_has_are_said_and_may_have_a_prefix(tmp_path, place, model, options, taken):
    path = place / f"{model}.safetensors"
    if not path.exists():
        path = tmp_path / "m.safetensors"
        more = ("--quantiles", "0.1,0.5") if model == "quantiles" else ("--distribution", "normal")
        run("train", place / "houses.csv", "--target", "price", "--out", path, *QUICK, *more)
    houses().with_columns(**{name: pl.lit(0) for name in taken}).write_csv(tmp_path / "t.csv")
    start = ("predict", path, tmp_path / "t.csv", "--out", tmp_path / "p.csv", *options)
    said = run(*start, code=1).stderr
    assert f"{', '.join(map(repr, taken))} already" in said
    assert "--prefix" in said
    run(*start, "--prefix", "my ")
    assert pl.read_csv(tmp_path / "p.csv").columns[-1] == "my prediction"
    assert {f"my {name}" for name in taken} <= {*pl.read_csv(tmp_path / "p.csv").columns}


def test_quantiles_that_are_near_have_columns_of_their_own(tmp_path, place):
    out = tmp_path / "m.safetensors"
    run("train", place / "houses.csv", "--target", "price", "--out", out, *QUICK, "--quantiles", "0.1234567,0.1234568")
    run("predict", out, place / "houses.csv", "--out", tmp_path / "p.csv")
    assert pl.read_csv(tmp_path / "p.csv").columns[-3:-1] == ["quantile_0.1234567", "quantile_0.1234568"]


def test_a_name_is_taken_once(tmp_path, place):
    table, out = place / "houses.csv", tmp_path / "p.csv"
    for more in (("--column", "low", "--interval", 0.9), ("--column", "")):
        assert "--column" in run("predict", place / "price.safetensors", table, "--out", out, *more, code=2).stderr
    more = ("--proba", "--column", "probability_no")
    assert "'probability_yes'" in run("predict", place / "sold.safetensors", table, "--out", out, *more, code=2).stderr
    assert not out.exists()


@pytest.mark.parametrize("name", ["p.npz", "p.XLSX", "p.json", "p.parquet.gz"])
def test_no_csv_under_the_name_of_another_kind(tmp_path, place, name):
    said = run("predict", place / "price.safetensors", place / "houses.csv", "--out", tmp_path / name, code=2).stderr
    assert "expected .csv, .csv.gz, .parquet or .arrow" in " ".join(said.split())
    run("train", place / "houses.csv", "--target", "price", "--out", tmp_path / "m", *QUICK, "--history",
        tmp_path / name, code=2)  # fmt: skip
    assert list(tmp_path.iterdir()) == []


# --- evaluate ------------------------------------------------------------------------------------


def test_classes_that_training_did_not_see_count_as_wrong_and_are_said(tmp_path, place):
    frame = houses()
    model = TabularClassifier.load(place / "sold.safetensors")
    predicted = model.predict(frame.select("city", "area", "day", "garage"))
    truth = np.where(np.arange(200) < 50, "let", predicted)
    frame.with_columns(sold=pl.Series(truth)).write_csv(tmp_path / "t.csv")
    values = asked("evaluate", place / "sold.safetensors", tmp_path / "t.csv")
    assert values["scores"]["accuracy"] == 0.75
    seen = len({*truth})
    assert values["scores"]["balanced_accuracy"] == pytest.approx((seen - 1) / seen)
    assert "in 50 rows, which count as wrong: 'let'; the model knows 'no', 'yes'" in values["warnings"][0]
    frame.with_columns(sold=pl.lit(True)).write_csv(tmp_path / "t.csv")
    assert (
        "no class of the model's, but 'true'"
        in run("evaluate", place / "sold.safetensors", tmp_path / "t.csv", code=1).stderr
    )


def test_targets_that_are_endless_or_bools(tmp_path, place):
    frame = houses()
    price = np.where(np.arange(200) == 7, np.inf, 1.0)
    frame.with_columns(price=price).write_csv(tmp_path / "t.csv")
    said = run("evaluate", place / "price.safetensors", tmp_path / "t.csv", code=1).stderr
    assert "'price' is infinite in row 7 (line 9)" in said
    out = tmp_path / "m.safetensors"
    run("train", place / "houses.csv", "--target", "garage", "--task", "regression", "--out", out, *QUICK)
    assert asked("evaluate", out, place / "houses.csv")["rows"] == frame["garage"].count()


# --- the other commands --------------------------------------------------------------------------


def test_info_of_models_and_networks(tmp_path, place):
    values = asked("info", place / "sold.safetensors")
    assert values["kind"] == "TabularClassifier"
    assert values["classes"] == ["no", "yes"]
    assert values["target"] == "sold"
    assert [column["column"] for column in values["columns"]] == ["city", "area", "day", "garage"]
    assert "'area'" not in run("info", place / "price.safetensors").stdout
    fastnn.mlp([3, 4, 2], seed=0).save(tmp_path / "net.safetensors")
    values = asked("info", tmp_path / "net.safetensors")
    assert (values["inputs"], values["outputs"], values["parameters"]) == (3, 2, 3 * 4 + 4 + 4 * 2 + 2)
    for command in ("predict", "evaluate"):
        assert (
            "without a table's columns"
            in run(command, tmp_path / "net.safetensors", place / "houses.csv", code=1).stderr
        )


def test_export_to_c(tmp_path, place):
    fastnn.mlp([3, 4, 2], seed=0).save(tmp_path / "net.safetensors")
    run("export", tmp_path / "net.safetensors", "--c", tmp_path / "net.c")
    assert "model_predict" in (tmp_path / "net.c").read_text()
    assert (tmp_path / "net.h").exists()
    result = run("export", place / "price.safetensors", "--c", tmp_path / "price.c")
    assert (tmp_path / "price.c").exists()
    assert "warning" not in result.stderr
    assert "x[0] city: 0 " in (tmp_path / "price.c").read_text()
    assert "nothing to write" in run("export", place / "price.safetensors", code=2).stderr


@pytest.mark.skipif(importlib.util.find_spec("onnx") is not None, reason="for those who do not have onnx")
def test_export_says_what_to_install(tmp_path, place):
    assert "pip install" in run("export", place / "price.safetensors", "--onnx", tmp_path / "m.onnx", code=1).stderr
    assert list(tmp_path.iterdir()) == []


def test_export_to_onnx_and_torch(tmp_path):
    onnx, torch = pytest.importorskip("onnx"), pytest.importorskip("torch")
    net = fastnn.mlp([3, 4, 2], seed=0)
    net.save(tmp_path / "net.safetensors")
    run("export", tmp_path / "net.safetensors", "--onnx", tmp_path / "net.onnx", "--torch", tmp_path / "net.pt2")
    onnx.checker.check_model(str(tmp_path / "net.onnx"))
    X = np.random.default_rng(0).normal(size=(5, 3)).astype(net.dtype)
    module = torch.export.load(str(tmp_path / "net.pt2")).module()
    np.testing.assert_allclose(module(torch.from_numpy(X)).detach().numpy(), net.predict(X), atol=1e-6)


def test_export_of_a_table(tmp_path, place):
    ort = pytest.importorskip("onnxruntime")
    result = run("export", place / "price.safetensors", "--onnx", tmp_path / "price.onnx")
    assert "warning" not in result.stderr
    session = ort.InferenceSession(tmp_path / "price.onnx")
    model = TabularRegressor.load(place / "price.safetensors")
    assert [one.name for one in session.get_inputs()] == list(model.feature_names_in_)
    pytest.importorskip("torch")
    result = run("export", place / "price.safetensors", "--torch", tmp_path / "price.pt2")
    assert "without the treatment of columns" in result.stderr
    names = model.get_feature_names_out().tolist()
    assert ", ".join(map(repr, names[:8])) in result.stderr
    outputs = {}
    for name in ("price", "sold"):
        run("export", place / f"{name}.safetensors", "--torch", tmp_path / f"{name}.pt2")
        outputs[name] = inside_torch(tmp_path / f"{name}.pt2", place, name)
    model, values, about = outputs["price"]
    assert about["inputs"] == names
    predicted = values * about["target_scale"] + about["target_mean"]
    np.testing.assert_allclose(predicted[:, 0], model.predict(rows_for(model, place)), rtol=1e-4)
    model, values, about = outputs["sold"]
    found = [about["classes"][k] for k in values.argmax(axis=1)]
    assert found == model.predict(rows_for(model, place)).tolist()


def inside_torch(path, place, name):
    """A model, what its exported program makes of a table, and what the program says of itself."""
    import torch

    files, model = {"fastnn.json": ""}, load_model(str(place / f"{name}.safetensors"))
    program = torch.export.load(str(path), extra_files=files)
    rows = torch.from_numpy(model.preprocessor_.transform(rows_for(model, place)))
    return model, program.module()(rows).detach().numpy(), json.loads(files["fastnn.json"])


def rows_for(model, place):
    return read_table(place / "houses.csv").select(model.feature_names_in_.tolist())


def test_pictures(tmp_path, place):
    pytest.importorskip("matplotlib")
    for source in ("price.safetensors", "history.csv"):
        run("plot", place / source, "--out", tmp_path / "picture.png")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    run("plot", place / "price.safetensors", "--out", tmp_path / "picture.SVG")
    assert "<svg" in (tmp_path / "picture.SVG").read_text()
    assert (
        "neither a model nor a history" in run("plot", place / "houses.csv", "--out", tmp_path / "p.png", code=1).stderr
    )
    assert pl.read_csv(place / "history.csv").columns == ["epoch", "loss", "validation_error"]


def test_bench_counts():
    values = asked("bench", "--seconds", "0.01")
    assert len(values["measured"]) == 3
    assert all(row["trained_rows_per_second"] > 0 for row in values["measured"])


# --- train: what looks like numbers ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "warned"),
    [
        (" {}", True), ("{}%", True), ("+{}", True), ("{},000.5", True), ("n{}", False), ("{}-02", False),
        ("{}", False), ("{}.000,5", True), ("${}", True), ("{} €", True), ("({})", True), ("v1.2.{}", False),
    ],
)  # fmt: skip
def test_texts_that_look_like_numbers_are_said(tmp_path, form, warned):
    rows = "".join(f'"{form.format(k % 200)}",{k}.5\n' for k in range(400))
    (tmp_path / "t.csv").write_text("x,y\n" + rows)
    values = asked("train", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m.safetensors", *QUICK)
    assert sum("column 'x' of X is of texts" in text for text in values.get("warnings", [])) == warned


@pytest.mark.parametrize("form", [
    "{m}/{d}/2024", "{m:02d}/{d:02d}/24", "{y}-{m}-{d} 10:30 PM", "{d}-{M}-{y}", "{M} {d}, {y}", "{d} {M} {y}",
    "{y}-{m}",
])  # fmt: skip
def test_dates_that_are_not_read_as_such_are_said(tmp_path, form):
    days = [
        form.format(y=1990 + k % 30, m=k % 12 + 1, d=k % 28 + 1, M=calendar.month_abbr[k % 12 + 1]) for k in range(60)
    ]
    pl.DataFrame({"x": days, "z": range(60), "y": [k + 0.5 for k in range(60)]}).write_csv(tmp_path / "t.csv")
    values = asked("train", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m.safetensors", *QUICK)
    assert "column 'x' of X is of texts" in values["warnings"][0]
    assert "they look like dates" in values["warnings"][0]
    assert "pandas.to_datetime" in values["warnings"][0]


def test_few_texts_among_numbers_are_said_by_name(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{k},{k}.5\n" for k in range(400)) + "unknown,1\n")
    values = asked("train", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m.safetensors", *QUICK)
    assert "look like numbers: '0', '1', '10', beside 'unknown'" in values["warnings"][0]


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "said"), [
    ("prize", "no column 'prize'"), ("id", "different texts"), ("same", "the same value"), ("day", "of type"),
    ("none", "missing in all rows"), ("sum", "as '1,000'"),
])  # fmt: skip
def test_a_wrong_target(tmp_path, target, said):
    frame = houses().with_columns(id=pl.Series([f"n{k}" for k in range(200)]), same=1, none=pl.lit(None),
                                  sum=pl.Series([f"{k},000" for k in range(1, 201)]))  # fmt: skip
    frame.write_csv(tmp_path / "t.csv")
    out = tmp_path / "m.safetensors"
    assert said in run("train", tmp_path / "t.csv", "--target", target, "--out", out, *QUICK, code=1).stderr
    assert not out.exists()


def test_a_target_that_does_not_suit_the_task_or_is_dropped(tmp_path, place):
    start = ("train", place / "houses.csv", "--target", "price", "--out", tmp_path / "m", *QUICK)
    assert "holds fractions" in run(*start, "--task", "classification", code=1).stderr
    assert "'price' is the target" in run(*start, "--drop", "price", code=2).stderr
    assert "'id' for --drop" in run(*start, "--drop", "id", code=1).stderr
    assert "expected 'normal'" in run(*start, "--distribution", "gamma", code=2).stderr


def test_drop_may_be_given_for_each_column(tmp_path, place):
    out = tmp_path / "m.safetensors"
    start = ("train", place / "houses.csv", "--target", "price", "--out", out, *QUICK)
    for drop in (("--drop", "sold,day"), ("--drop", "sold", "--drop", "day")):
        assert [column["column"] for column in asked(*start, *drop)["columns"]] == ["city", "area", "garage"]


def test_a_target_of_more_than_64_bits(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{k},{k * 10**20}\n" for k in range(60)))
    start = ("train", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m.safetensors", *QUICK)
    assert asked(*start)["task"] == "regression"
    assert asked("evaluate", tmp_path / "m.safetensors", tmp_path / "t.csv")["scores"]["rmse"] > 1e20


def test_files_that_are_not_there_or_broken(tmp_path, place):
    (tmp_path / "empty.csv").write_bytes(b"")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((place / "price.safetensors").read_bytes()[:-7])
    out = tmp_path / "p.csv"
    price, table = place / "price.safetensors", place / "houses.csv"
    for arguments in (
        ("predict", price, tmp_path / "empty.csv"), ("predict", price, tmp_path / "nothing.csv"),
        ("predict", broken, table), ("predict", tmp_path / "nothing.safetensors", table), ("predict", table, table),
        ("predict", price, tmp_path), ("predict", price, table, "--out", tmp_path / "no" / "p.csv"),
    ):  # fmt: skip
        run(*arguments, *(() if "--out" in arguments else ("--out", out)), code=1)
        run(*arguments, *(() if "--out" in arguments else ("--out", out)), "--json", code=1)
        assert not out.exists()
    for arguments in (("info", broken), ("evaluate", broken, table), ("export", broken, "--c", tmp_path / "m.c")):
        run(*arguments, code=1)
    assert "Traceback" in CliRunner().invoke(app, ["info", str(broken), "--debug"]).stderr


def test_what_is_read_is_never_overwritten(tmp_path, place):
    table, model = tmp_path / "t.csv", tmp_path / "m.safetensors"
    table.write_bytes((place / "houses.csv").read_bytes())
    model.write_bytes((place / "price.safetensors").read_bytes())
    before = table.read_bytes(), model.read_bytes()
    os.symlink(table, tmp_path / "link.csv")
    for arguments in (
        ("train", table, "--target", "price", "--out", table), ("predict", model, table, "--out", table),
        ("predict", model, table, "--out", model), ("predict", model, tmp_path / "link.csv", "--out", table),
        ("export", model, "--c", model), ("plot", model, "--out", model),
        ("train", table, "--target", "price", "--out", tmp_path / "x", "--history", table),
    ):  # fmt: skip
        assert "the file that is read" in " ".join(run(*arguments, code=2).stderr.replace("│", " ").split())
        assert (table.read_bytes(), model.read_bytes()) == before


@pytest.mark.parametrize("arguments", [
    ("nonsense",), ("train",), ("train", "t.csv"), ("train", "TABLE", "--target", "price", "--out", "-"),
    ("train", "TABLE", "--target", "price", "--out", "OUT", "--epochs", "0"),
    ("train", "TABLE", "--target", "price", "--out", "OUT", "--hidden", "many"),
    ("train", "TABLE", "--target", "price", "--out", "OUT", "--calibrate"),
    ("train", "TABLE", "--target", "price", "--out", "OUT", "--task", "guessing"),
    ("train", "TABLE", "--target", "sold", "--out", "OUT", "--quantiles", "0.1,0.9"),
    ("train", "TABLE", "--target", "sold", "--out", "OUT", "--distribution", "normal"),
    ("train", "TABLE", "--target", "price", "--out", "OUT", "--distribution", "normal", "--quantiles", "0.1,0.9"),
    ("train", "TABLE", "--target", "sold", "--out", "OUT", "--calibrate", "--validation-fraction", "0"),
    ("train", "TABLE", "--target", "sold", "--out", "OUT", "--seed", 2**32),
    ("predict", "PRICE", "TABLE", "--proba"), ("predict", "SOLD", "TABLE", "--interval", "0.9"),
    ("train", "TABLE", "--target", "price", "--out", "OUT", "--history", "-"),
    ("train", "TABLE", "--target", "price", "--out", "OUT", "--history", "OUT"),
    ("export", "PRICE", "--onnx", "-"), ("export", "PRICE", "--onnx", "OUT", "--c", "OUT"),
    ("plot", "PRICE", "--out", "-"), ("plot", "PRICE", "--out", "OUT"),
    ("warmup", "--jobs", "0"), ("warmup", "--dtype", "float16"),
])  # fmt: skip
def test_wrong_use_has_exit_code_2(tmp_path, place, arguments):
    names = {"TABLE": place / "houses.csv", "OUT": tmp_path / "m", "PRICE": place / "price.safetensors",
             "SOLD": place / "sold.safetensors"}  # fmt: skip
    run(*(names.get(one, one) for one in arguments), code=2)
    assert list(tmp_path.iterdir()) == []


NO_NUMBERS = ("", "x", "nan", "1,5")
NO_COUNTS = (*NO_NUMBERS, "0", "-1", "1.5", "1e3", "9" * 20)
WRONG = {
    ("train", "--epochs"): NO_COUNTS, ("train", "--networks"): NO_COUNTS, ("train", "--threads"): NO_COUNTS,
    ("train", "--sample-rows"): (*NO_COUNTS, "1"), ("train", "--seed"): (*NO_NUMBERS, "-1", "1.5", 2**32),
    ("train", "--hidden"): ("x", "0", "-1", "1.5", ",", "4,,4", "4,", "9" * 20),
    ("train", "--quantiles"): ("", "x", "0", "1", "nan", "0.5,", ",", "0.9,0.1", "0.5,0.5", "0.5;0.9"),
    ("train", "--time-limit"): (*NO_NUMBERS, "0", "-1", "inf"), ("train", "--task"): ("", "Regression", "guessing"),
    ("train", "--validation-fraction"): (*NO_NUMBERS, "1", "-0.1", "inf"), ("train", "--distribution"): ("", "gamma"),
    ("train", "--drop"): ("price", "sold, price"), ("train", "--out"): ("", "-"),
    ("train", "--history"): ("", "-", "h.json", "h.xlsx"), ("predict", "--interval"): (*NO_NUMBERS, "0", "1", "inf"),
    ("predict", "--column"): ("",), ("predict", "--out"): ("", "p.json", "p.npz"),
    ("export", "--c"): ("", "-", "m.txt"), ("export", "--onnx"): ("", "-"), ("export", "--torch"): ("", "-"),
    ("plot", "--out"): ("", "-", "p.jpg"),
    ("plot", "--most"): NO_COUNTS, ("bench", "--seconds"): (*NO_NUMBERS, "0", "-1", "inf"),
    ("warmup", "--jobs"): NO_COUNTS, ("warmup", "--dtype"): ("", "float16"),
}  # fmt: skip


@pytest.mark.parametrize(("command", "option"), WRONG)
def test_values_that_cannot_be_have_exit_code_2(tmp_path, place, monkeypatch, command, option):
    monkeypatch.chdir(tmp_path)
    start = {
        "train": [place / "houses.csv", "--target", "price", "--out", "m", *QUICK],
        "export": [place / "price.safetensors"],
        "predict": [place / "price.safetensors", place / "houses.csv", "--out", "p.csv"],
        "plot": [place / "price.safetensors", "--out", "p.png"],
    }.get(command, [])  # fmt: skip
    for value in WRONG[command, option]:
        assert option in run(command, *start, option, value, code=2).stderr, value
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arguments", "said"), [
    (("train", "no.csv", "--target", "price", "--out", "m"), "there is no file 'no.csv'"),
    (("train", ".", "--target", "price", "--out", "m"), "'.' is a folder"),
    (("train", "", "--target", "price", "--out", "m"), "there is no file ''"),
    (("train", "TABLE", "--target", "price", "--out", "no/m"), "--out is 'no/m'; there is no folder"),
    (("train", "TABLE", "--target", "price", "--out", "m", "--history", "."), "--history is '.'"),
    (("info", "no"), "the model is 'no'; there is no such file"),
    (("plot", "no", "--out", "p.png"), "'no': No such file"),
    (("predict", "PRICE", "no"), "there is no file 'no'"), (("evaluate", "PRICE", "."), "'.' is a folder"),
    (("evaluate", "PRICE", "TABLE", "--target", "no"), "no column 'no'"),
    (("train", "TABLE", "--target", "no", "--out", "m"), "no column 'no'"),
    (("evaluate", "SOLD", "TABLE", "--target", "area"), "no class of the model's"),
])  # fmt: skip
def test_files_and_data_that_do_not_fit_have_exit_code_1(tmp_path, place, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    names = {"TABLE": place / "houses.csv", "PRICE": place / "price.safetensors", "SOLD": place / "sold.safetensors"}
    error = run(*(names.get(one, one) for one in arguments), code=1).stderr
    assert said in error
    assert "Errno" not in error


def test_what_is_written_beside_is_not_overwritten(tmp_path, place, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.h").write_bytes((place / "price.safetensors").read_bytes())
    assert "is read" in run("export", "m.h", "--c", "m.c", code=2).stderr
    assert "is written, too" in run("export", "m.h", "--c", "n.c", "--onnx", "n.h", code=2).stderr
    (tmp_path / "x.csv").write_text("old")
    start = ("train", place / "houses.csv", "--target", "price", "--out", "x.csv")
    assert "is written, too" in run(*start, "--history", "x.csv", code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("--quantiles", "0.9,0.1"), 2), (("--validation-fraction", "2"), 2), (("--time-limit", "-1"), 2)],
)
def test_settings_that_cannot_be(tmp_path, place, arguments, code):
    run("train", place / "houses.csv", "--target", "price", "--out", tmp_path / "m", *arguments, code=code)
    assert list(tmp_path.iterdir()) == []


def shell(line, place, **more):
    """What a shell says to a line with $FASTNN, in the folder of the models."""
    names = {"FASTNN": f"{sys.executable} -m fastnn", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run(
        ["bash", "-c", line], cwd=place, capture_output=True, check=False, env={**os.environ, **names, **more}
    )


@pytest.mark.skipif(sys.platform == "win32", reason="for systems with bash")
@pytest.mark.parametrize("command", [
    "predict price.safetensors houses.csv", "info price.safetensors", "evaluate price.safetensors houses.csv --json",
])  # fmt: skip
def test_a_reader_that_ends_early_is_no_error_with_words(place, command):
    done = shell(f"$FASTNN {command} | true; exit ${{PIPESTATUS[0]}}", place)
    assert done.returncode == 141
    assert b"rror" not in done.stderr + done.stdout


def test_one_of_a_thing_is_in_the_singular(tmp_path, place):
    rows = "".join(f"{k}.5,only,{k * 0.5}\n" for k in range(-60, 0))
    (tmp_path / "t.csv").write_text("a,b,y\n" + rows)
    out = tmp_path / "m.safetensors"
    start = ("train", tmp_path / "t.csv", "--target", "y", "--out", out, "--hidden", "4", "--epochs", 1)
    said = run(*start).stdout + run("info", out).stdout
    (tmp_path / "one.csv").write_text("a,b,y\n1,only,2\n")
    for command in ("predict", "evaluate"):
        result = run(command, out, tmp_path / "one.csv")
        said += result.stdout + result.stderr
    assert not re.findall(r"(?<![\d,.])1 [a-z-]+s\b(?! of)", said.replace("1 columns", "")), said
    assert "1 prediction:" in said
    assert "one.csv: 1 row" in said
    assert "minus -" not in said


@pytest.mark.parametrize("kind", ["arrow", "npz", "parquet", "stream"])
def test_damaged_files_are_errors_of_one_line(tmp_path, place, kind):
    content = io.BytesIO()
    if kind == "npz":
        np.savez(content, a=np.arange(50), b=np.zeros(50))
    else:
        writers = {"arrow": "write_ipc", "parquet": "write_parquet", "stream": "write_ipc_stream"}
        getattr(houses(50), writers[kind])(content)
    whole, rng = content.getvalue(), np.random.default_rng(0)
    for length in rng.integers(8, len(whole) - 1, 20):
        (tmp_path / "t").write_bytes(whole[:length])
        said = run("predict", place / "price.safetensors", tmp_path / "t", code=1).stderr
        assert f"'{tmp_path}/t'" in said
        assert "Errno" not in said


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="for systems with /dev/full")
@pytest.mark.parametrize(("redirection", "said"), [
    (">/dev/full", "No space left on device"), (">&-", "standard output is closed"),
])  # fmt: skip
def test_output_that_cannot_be_written_is_one_line(place, redirection, said):
    for command in ("predict price.safetensors houses.csv", "info price.safetensors --json"):
        done = shell(f"$FASTNN {command} {redirection}", place)
        assert done.returncode == 1
        lines = done.stderr.decode().strip().splitlines()
        assert "fastnn: error: " in lines[-1]
        assert said in lines[-1]
        assert "Errno" not in lines[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="for systems with bash")
def test_what_is_said_never_stands_among_the_data(place):
    done = shell("$FASTNN predict price.safetensors houses.csv 2>&-", place)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 201


@pytest.mark.skipif(sys.platform == "win32", reason="for systems with bash")
def test_data_are_utf8_and_words_as_the_terminal_has_them(tmp_path, place):
    (tmp_path / "t.csv").write_text("city,area,day,garage,größe\nZürich,1,2024-01-02,true,日\n", encoding="utf-8")
    done = shell(f"$FASTNN predict price.safetensors {tmp_path}/t.csv", place, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "Zürich,1,2024-01-02,true,日," in done.stdout.decode()
    assert "Z\\xfcrich" in done.stderr.decode()
    start = f"$FASTNN predict price.safetensors {tmp_path}/t.csv --out {tmp_path}/p.csv"
    done = shell(start, place, PYTHONIOENCODING="ascii")  # what it says goes to standard output
    assert done.returncode == 0
    assert b"gr\\xf6\\xdfe" in done.stdout
    assert "größe,prediction" in (tmp_path / "p.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.parquet"])
def test_an_interruption_leaves_the_old_file(tmp_path, place, monkeypatch, name):
    def interrupted(*about):
        raise KeyboardInterrupt

    (tmp_path / name).write_text("old")
    monkeypatch.setattr(TabularRegressor, "predict", interrupted)
    run("predict", place / "price.safetensors", place / "houses.csv", "--out", tmp_path / name, code=130)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "old")]


@pytest.mark.skipif(sys.platform == "win32", reason="for systems with limits of files")
def test_a_full_disk_is_said_with_the_name_of_the_file(tmp_path, place):
    rows = "".join(f"Bern,{k}.5,2024-01-02,true\n" for k in range(20_000))
    (tmp_path / "t.csv").write_text("city,area,day,garage\n" + rows)
    for out, named in (("p.csv", "p.csv"), ("p.csv.gz", "p.csv.gz"), ("p.parquet", "fastnn-")):
        line = f"ulimit -f 64; $FASTNN predict price.safetensors {tmp_path}/t.csv --out {tmp_path}/{out}"
        done = shell(line, place)
        assert done.returncode == 1
        assert f"{named}" in done.stderr.decode()
        assert "cannot be written: File too large" in done.stderr.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("command", ["train", "predict", "evaluate", "info", "export", "plot", "bench", "warmup"])
def test_help_has_an_example_that_can_be_copied(command):
    said = run(command, "--help").stdout
    assert f"    fastnn {command} " in said


# --- processes -----------------------------------------------------------------------------------


def process(*arguments, stdin=None, code=0, flags=("-m", "fastnn")):
    done = subprocess.run([sys.executable, *flags, *map(str, arguments)], capture_output=True, input=stdin, timeout=300)
    assert done.returncode == code, done.stderr.decode()
    return done


def test_a_process_predicts_from_a_pipe(place):
    done = process("predict", place / "price.safetensors", "-", stdin=(place / "houses.csv").read_bytes())
    assert pl.read_csv(done.stdout).height == 200
    done = process("predict", place / "price.safetensors", "-", stdin=b"city\nBern\n", code=1)
    assert b"lacks the columns" in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("option", "value"),
    [("--hidden", "8,0"), ("--hidden", "-3"), ("--validation-fraction", "1"), ("--validation-fraction", "nan"),
     ("--time-limit", "0"), ("--time-limit", "inf"), ("--quantiles", "0.5,1")],
)  # fmt: skip
def test_a_value_that_cannot_be_is_wrong_use_before_anything_is_read(tmp_path, option, value):
    missing = tmp_path / "missing.csv"
    done = run("train", missing, "--target", "y", "--out", tmp_path / "m", f"{option}={value}", code=2)
    assert f"Invalid value for {option}" in done.stderr
    assert value in done.stderr


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that takes no file")
def test_a_folder_that_takes_no_file_is_known_before_the_training(place):
    done = run("train", place / "houses.csv", "--target", "price", "--out", "/proc/m.safetensors", *QUICK, code=1)
    assert "'/proc' takes no new file" in done.stderr or "is not to be written to" in done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("networks", ["1", "2"])
def test_an_interrupted_training_writes_its_best_and_says_so(tmp_path, place, networks):
    history, out = tmp_path / "history.csv", tmp_path / "m.safetensors"
    arguments = ("--target", "price", "--hidden", "8", "--epochs", "100000000", "--networks", networks, "--json")
    done = process(
        "train", place / "houses.csv", *arguments, "--out", out, "--history", history,
        flags=("-c", INTERRUPTED), code=130,
    )  # fmt: skip
    assert b"holds the best epoch so far; the exit code is 130" in done.stderr
    said = json.loads(done.stdout)
    assert said["interrupted"] is True
    assert np.isfinite(TabularRegressor.load(out).predict(read_table(place / "houses.csv").drop("price"))).all()
    assert pl.read_csv(history).height == said["epochs"]


def test_an_interrupt_between_an_epoch_and_its_error_leaves_a_whole_history(tmp_path, place, monkeypatch):
    from fastnn.tabular.recipe import LastBest

    of_epoch = LastBest.on_epoch_end

    def stopping(self, epoch, logs):
        if epoch == 3:
            raise KeyboardInterrupt
        of_epoch(self, epoch, logs)

    monkeypatch.setattr(LastBest, "on_epoch_end", stopping)
    history, out = tmp_path / "history.csv", tmp_path / "m.safetensors"
    arguments = ("--target", "price", "--hidden", "8", "--epochs", "9", "--out", out, "--history", history)
    run("train", place / "houses.csv", *arguments, code=130)
    errors = pl.read_csv(history)["validation_error"].to_list()
    assert len(errors) == 3
    assert np.isfinite(errors[:2]).all()
    assert np.isnan(errors[2])
    run("plot", history, "--out", tmp_path / "h.png")


INTERRUPTED = """
import os, signal, sys, threading
from fastnn.__main__ import main
from fastnn.tabular.recipe import LastBest

of_epoch, first = LastBest.on_epoch_end, threading.Lock()
def stopping(self, epoch, logs):
    of_epoch(self, epoch, logs)
    if epoch == 3 and first.acquire(blocking=False):  # of several networks: a second Ctrl-C would end the program
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
LastBest.on_epoch_end = stopping
main(sys.argv[1:])
"""


def test_an_interrupted_start_is_no_traceback():
    text = (
        "import sys\nclass Stop:\n    def find_spec(self, name, *more):\n        if name == 'fastnn.cli.app':\n"
        "            raise KeyboardInterrupt\nsys.meta_path.insert(0, Stop())\n"
        "from fastnn.__main__ import main\nmain(['info', 'x'])"
    )
    assert process(flags=("-c", text), code=130).stderr == b""


def test_without_the_extra_there_is_warmup_and_a_hint():
    start = "import sys; sys.modules['typer'] = None; from fastnn.__main__ import main; "
    hidden = (
        "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n, *a: None if n == 'typer' else f(n, *a); "
    )
    done = process(flags=("-c", f"{hidden}{start}main(['train', 'x'])"), code=1)
    assert b'pip install "fastnn[cli]"' in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"--jobs" in process(flags=("-c", f"{hidden}{start}main(['warmup', '--help'])")).stdout


def test_the_library_imports_nothing_of_the_command_line():
    names = "('typer', 'rich', 'polars', 'sklearn', 'fastnn.cli')"
    text = f"import fastnn, sys; print([name for name in {names} if name in sys.modules])"
    assert process(flags=("-c", text)).stdout.strip() == b"[]"


def test_the_script_is_the_program():
    text = (pathlib.Path(fastnn.__file__).parent.parent / "pyproject.toml").read_text()
    assert 'fastnn = "fastnn.__main__:main"' in text
