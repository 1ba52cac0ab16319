"""Models of tables in ONNX and in C, held to `predict` on rows with missing values and new categories."""

import os
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import fastnn
from fastnn.tabular import TabularClassifier, TabularRegressor
from fastnn.tabular.encoders import Category, Empty, Encoder, Flag, Number
from fastnn.tabular.table import Column

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-g", "-O1",
          "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]  # fmt: skip


def table(n, seed, new=False):
    """A table of all kinds of columns, and what depends on it; `new`: with categories that nobody knows."""
    rng = np.random.default_rng(seed)

    def some(values, missing):
        return pd.Series(np.where(rng.random(n) < 0.1, missing, values), dtype=object)

    colours = ["red", "green", "blue", '*/ \\ "?', *(["pink", ""] if new else [])]
    shops = [f"shop {k}" for k in range(140 if new else 120)]
    area = rng.normal(100, 30, n)
    colour, shop = rng.choice(colours, n), rng.choice(shops, n)
    day = rng.integers(0, 1000, n)
    frame = pd.DataFrame({
        "area": np.where(rng.random(n) < 0.1, np.nan, area),
        "colour": some(colour, None),
        "größe": rng.choice(["S", "XL"], n),
        "sold": pd.to_datetime("2020-01-01") + pd.to_timedelta(day, "D"),
        "garden": rng.random(n) < 0.5,
        "shop": shop,
        "rooms": rng.integers(1, 9, n),
        "empty": np.full(n, np.nan),
        "constant0": rng.normal(size=n) * 1e-9 + 5,
        "predictions": rng.standard_cauchy(n) * 1e6,
    })  # fmt: skip
    y = area / 30 + 3 * (colour == "red") + day / 500 + frame["garden"]
    return frame, y.to_numpy()


def wide(n, seed, new=False):
    """As many numbers as lie in a table of numbers alone."""
    X = np.random.default_rng(seed).normal(size=(n, 3))
    X[::7, 1] = np.nan
    return X, np.nan_to_num(X[:, 0] + X[:, 1])


FEW = {"epochs": 6, "hidden_layer_sizes": (16, 8), "random_state": 0}
TEXTS, NUMBERS = np.array(["no", "maybe", "größer ?"]), np.array([3, 7, -1])
MODELS = {
    "regressor": lambda y: (TabularRegressor(**FEW), y * 1000 + 5e6),
    "two targets": lambda y: (TabularRegressor(**FEW), np.stack([y, -1e-3 * y], axis=1)),
    "quantiles": lambda y: (TabularRegressor(quantiles=(0.05, 0.4, 0.9), **FEW), y),
    "one quantile": lambda y: (TabularRegressor(quantiles=(0.7,), **FEW), y),
    "distribution": lambda y: (TabularRegressor(distribution="normal", n_networks=2, **FEW), y),
    "networks": lambda y: (TabularRegressor(n_networks=3, **FEW), y),
    "no hidden layer": lambda y: (TabularRegressor(**{**FEW, "hidden_layer_sizes": ()}), y),
    "texts": lambda y: (TabularClassifier(**FEW), TEXTS[np.digitize(y, np.quantile(y, [0.3, 0.6]))]),
    "calibrated": lambda y: (
        TabularClassifier(n_networks=2, calibrate=True, **FEW), NUMBERS[np.digitize(y, np.quantile(y, [0.3, 0.6]))],
    ),
    "bools": lambda y: (TabularClassifier(**FEW), y > np.median(y)),
    "floats": lambda y: (TabularClassifier(**FEW), np.where(y > np.median(y), 1.0, 2.0)),
}  # fmt: skip


@pytest.fixture(scope="module", params=[(name, made) for name in MODELS for made in (table, wide)],
                ids=lambda param: f"{param[0]}-{param[1].__name__}")  # fmt: skip
def fitted(request):
    """A model, and new rows for it."""
    name, made = request.param
    X, y = made(400, 0)
    model, y = MODELS[name](y)
    return model.fit(X, y), made(300, 1, new=True)[0]


def given(model, X):
    """What the graph takes for a table."""
    if not isinstance(X, pd.DataFrame):
        return {f"x{k}": X[:, k : k + 1] for k in range(X.shape[1])}
    inputs = {}
    for name, encoder in zip(X.columns, model.preprocessor_.encoders_):
        values = X[name]
        if isinstance(encoder, Category):
            inputs[name] = np.array([["" if v is None else v] for v in values], object)
        elif name == "sold":
            inputs[name] = ((values - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)).to_numpy()[:, None]
        else:
            inputs[name] = values.to_numpy(np.float64)[:, None]
    return inputs


def run_onnx(path, inputs):
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    assert {one.name for one in session.get_inputs()} == set(inputs)
    return session.run(None, inputs), [one.name for one in session.get_outputs()]


def test_onnx(fitted, tmp_path):
    onnx = pytest.importorskip("onnx")
    model, X = fitted
    model.to_onnx(tmp_path / "model.onnx")
    results, names = run_onnx(tmp_path / "model.onnx", given(model, X))
    expected = model.predict(X)
    assert names[0].rstrip("_") == "predictions"
    assert results[0].shape == expected.shape
    if isinstance(model, TabularClassifier):
        assert names[1:] == ["probabilities"]
        p = model.predict_proba(X)
        np.testing.assert_allclose(results[1], p, atol=1e-5)
        assert np.asarray(results[0]).dtype.kind.replace("O", "U") == expected.dtype.kind
        top = np.sort(p, axis=1)
        sure = top[:, -1] - top[:, -2] > 1e-5
        assert sure.mean() > 0.9
        assert np.array_equal(results[0][sure], expected[sure])
    else:
        assert len(results) == 1
        scale = np.ptp(expected, axis=0)
        assert np.all(scale > 0)
        np.testing.assert_allclose(results[0] / scale, expected / scale, rtol=1e-5, atol=1e-5)
    saved = onnx.load(tmp_path / "model.onnx")
    assert {one.domain: one.version for one in saved.opset_import}[""] == 20
    with pytest.raises(ValueError, match="the treatment of a table's columns; expected a network alone"):
        fastnn.from_onnx(tmp_path / "model.onnx")
    one, _ = run_onnx(tmp_path / "model.onnx", {name: values[:1] for name, values in given(model, X).items()})
    np.testing.assert_array_equal(one[0], results[0][:1])


MAIN = """
#include <stdio.h>
#include "model.h"
int main(void)
{
    double x[MODEL_INS];
    while (fread(x, sizeof x, 1, stdin) == 1) {
#ifdef MODEL_CLASSES
        double p[MODEL_CLASSES], best = model_predict(x);
        fwrite(&best, sizeof best, 1, stdout);
        model_predict_proba(x, p);
        fwrite(p, sizeof p, 1, stdout);
#else
        double y[MODEL_OUTS];
        model_predict(x, y);
        fwrite(y, sizeof y, 1, stdout);
#endif
    }
#ifdef MODEL_CLASSES
    for (int k = 0; k < MODEL_CLASSES; k++) fprintf(stderr, "%s\\n", model_classes[k]);
#endif
    return 0;
}
"""


def run_c(folder, rows):
    (folder / "main.c").write_text(MAIN)
    command = ["cc", *STRICT, "main.c", "model.c", "-o", "run", "-lm"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([folder / "run"], input=rows.tobytes(), capture_output=True, timeout=120)
    assert ran.returncode == 0, ran.stderr.decode()
    return np.frombuffer(ran.stdout).reshape(len(rows), -1), ran.stderr.decode().splitlines()


def rows_for_c(model, X):
    """A number for each column, as the comment of the file says."""
    columns = []
    for values, (_, encoder, _) in zip(given(model, X).values(), model.preprocessor_.encoded()):
        if isinstance(encoder, Category):
            columns.append([encoder.places.get(value, -1) for value in values[:, 0]])
        else:
            columns.append(values[:, 0])
    return np.ascontiguousarray(np.array(columns, np.float64).T)


@needs_cc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_c(fitted, tmp_path, dtype):
    model, X = fitted
    model.to_c(tmp_path / "model.c", dtype=dtype)
    results, said = run_c(tmp_path, rows_for_c(model, X))
    if isinstance(model, TabularClassifier):
        p = model.predict_proba(X)
        np.testing.assert_allclose(results[:, 1:], p, rtol=0, atol=1e-5)
        assert np.array_equal(results[:, 0], np.argmax(results[:, 1:], axis=1))
        assert said == [str(label) for label in model.classes_.tolist()]
    else:
        expected = model.predict(X).reshape(len(X), -1)
        scale = np.ptp(expected, axis=0)
        np.testing.assert_allclose(results / scale, expected / scale, rtol=0, atol=1e-5)
    text = (tmp_path / "model.c").read_text()
    assert "alloc" not in text.replace("Nothing is allocated", "")
    if isinstance(X, pd.DataFrame):
        assert re.search(r"x\[2\] gr__e: 0 S, 1 XL; -1 for all others|x\[2\] gr_+e: 0 S, 1 XL; -1 for all others", text)
        assert "x[3] sold: days since 1970-01-01\n" in text


@needs_cc
def test_int8_is_as_near_as_its_file_says(fitted, tmp_path):
    model, X = fitted
    model.to_c(tmp_path / "model.c", dtype="int8", calibration=X)
    results, _ = run_c(tmp_path, rows_for_c(model, X))
    is_classifier = isinstance(model, TabularClassifier)
    found, wanted = (results[:, 1:], model.predict_proba(X)) if is_classifier else (results, model.predict(X))
    error = np.abs(found - wanted.reshape(len(X), -1)).max()
    said = re.search(r"(\w+) differ from the network's by at most ([\d.e+-]+)", (tmp_path / "model.c").read_text())
    assert said[1] == ("probabilities" if is_classifier else "predictions")
    assert 0 < error <= float(said[2]) * 1.001 + 1e-6
    assert float(said[2]) <= 1.2 * error + 1e-6
    assert error < 0.2 * np.ptp(wanted)


def test_every_encoder_says_what_it_writes():
    """`numbers`, which exports compute, is what `write` writes."""
    values = np.array([-3.0, 0.0, 1.0, 2.0, np.nan, 1e300, 7.5])
    texts = ["a", None, "b", "c", "new", "", "a"]
    encoders = [
        Number("number", 2.0, 0.7, True), Number("date", 2.0, 0.0, False), Flag(), Empty(), Category(["a"]),
        Category(["a", "b"]), Category(["a", "b", "c"]), Category(["a", "b", "c"], embedded=True),
    ]  # fmt: skip
    assert {type(encoder) for encoder in encoders} == set(Encoder.__subclasses__())
    for encoder in encoders:
        n = 7
        out = np.zeros((n, encoder.width))
        if isinstance(encoder, Category):
            column = Column("text", texts)
            numbers = encoder.codes(column, None).astype(float)
        else:
            column, numbers = Column(encoder.kind, values), values
        encoder.write(column, None, out, "x")
        np.testing.assert_array_equal(encoder.numbers(numbers[:, None]), out)


def test_what_cannot_be_exported(tmp_path):
    X, y = wide(60, 0)
    with pytest.raises(Exception, match="not fitted"):
        TabularRegressor().to_c(tmp_path / "model.c")
    model = TabularRegressor(**{**FEW, "epochs": 1}).fit(pd.DataFrame(X, columns=["", "b", "c"]), y)
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="the name of a column is ''"):
        model.to_onnx(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="calibration is missing; expected rows"):
        model.to_c(tmp_path / "model.c", dtype="int8")
    with pytest.raises(ValueError, match="X has 2 features"):
        model.to_c(tmp_path / "model.c", dtype="int8", calibration=X[:, :2])
    with pytest.raises(ValueError, match="expected the name of a C file"):
        model.to_c(tmp_path / "model.cpp")
    with pytest.raises(ValueError, match="no name in C"):
        model.to_c(tmp_path / "model.c", name="a-b")
    assert not list(tmp_path.iterdir())
