"""Networks as C: compiled as strictly as can be, run under sanitizers, and held to `predict`."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from networks import agree
from strategies import ACTIVATIONS, STAGES, as_if_trained, networks, rows_mean

from fastnn import (
    ActivationFunction,
    Adam,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Dropout,
    FormulaError,
    Identity,
    Layer,
    LossFunction,
    MSELoss,
    NeuralNetwork,
    ReLU,
    Standardize,
    Tanh,
)
from fastnn.formulas.losses import softmax
from fastnn.layers.stage import Stage

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
SANITIZED = ["-g", "-O1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]

MAIN = """
#include <stdio.h>
#include "model.h"
int main(void)
{
    GIVEN x[NAME_INS];
    MADE y[NAME_OUTS];
    while (fread(x, sizeof x, 1, stdin) == 1) {
        name_predict(x, y);
        for (int j = 0; j < NAME_OUTS; j++) { double d = y[j]; fwrite(&d, sizeof d, 1, stdout); }
#ifdef NAME_CLASSES
        REAL p[NAME_CLASSES];
        name_predict_proba(x, p);
        for (int j = 0; j < NAME_CLASSES; j++) { double d = p[j]; fwrite(&d, sizeof d, 1, stdout); }
#endif
    }
    return 0;
}
"""


def run_c(folder, X, name="model", flags=("-O2",)):
    """Predictions and probabilities of rows X by the C file in `folder`, as double."""
    declared = (folder / "model.h").read_text()
    given, made = re.search(r"_predict\(const (\w+) x\[\d+\], (\w+) y", declared).groups()
    real = re.search(r"_predict_proba\(.*, (\w+) p", declared)
    macros = [f"-DGIVEN={given}", f"-DMADE={made}", f"-DREAL={real[1] if real else made}",
              f"-Dname_predict={name}_predict", f"-Dname_predict_proba={name}_predict_proba",
              f"-DNAME_INS={name.upper()}_INS", f"-DNAME_OUTS={name.upper()}_OUTS"]  # fmt: skip
    classes = re.search(r"_CLASSES (\d+)", declared)
    macros += [f"-DNAME_CLASSES={name.upper()}_CLASSES"] if classes else []
    (folder / "main.c").write_text(MAIN)
    command = ["cc", *STRICT, *flags, *macros, "main.c", "model.c", "-o", "run", "-lm"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    rows = np.ascontiguousarray(X, {"float": np.float32, "double": np.float64}[given])
    ran = subprocess.run([folder / "run"], input=rows.tobytes(), capture_output=True, timeout=120)
    assert ran.returncode == 0, ran.stderr.decode()
    outs = int(re.search(r"_OUTS (\d+)", declared)[1])
    numbers = np.frombuffer(ran.stdout).reshape(len(X), -1)
    return numbers[:, :outs], numbers[:, outs:]


@needs_cc
@settings(max_examples=12)
@given(networks(), st.sampled_from(["float32", "float64"]))
def test_any_network(tmp_path_factory, problem, dtype):
    net, X = problem
    folder = tmp_path_factory.mktemp("c")
    net.to_c(folder / "model.c", dtype=dtype)
    outputs, probabilities = run_c(folder, X, flags=SANITIZED)
    tolerance = 1e-11 if dtype == net.dtype == "float64" else 1e-5
    agree(outputs, net.predict(X), tolerance)
    if type(net.loss_function).probabilities is not LossFunction.probabilities:
        agree(probabilities, net.predict_proba(X), tolerance)
    else:
        assert probabilities.size == 0


def everything(loss, outs, dtype="float64"):
    """A network with all activations and stages, and rows for it."""
    rng = np.random.default_rng(0)
    stages = [stage for stage in STAGES if stage.stands == "anywhere"]
    layers, width = [Standardize(fitted=True)], 5
    for i, act in enumerate(ACTIVATIONS):
        layers += [
            Layer(width, 7 + i, act.example(), seed=rng, bias_init="he_normal"),
            stages[i % len(stages)].example(),
        ]
        width = 7 + i
    net = NeuralNetwork([*layers, Layer(width, outs, Identity(), seed=rng)], loss, 0.01, dtype=dtype)
    as_if_trained(net, rng, far=True)
    return net, rng.normal(size=(300, 5)) + rows_mean(net)


@needs_cc
@pytest.mark.parametrize(
    ("loss", "outs"), [(CrossEntropyLoss(), 3), (BCEWithLogitsLoss(), 1), (BCEWithLogitsLoss(), 4)]
)
def test_all_activations_and_stages(tmp_path, loss, outs):
    net, X = everything(loss, outs)
    net.to_c(tmp_path / "model.c", dtype="float64")
    outputs, probabilities = run_c(tmp_path, X, flags=SANITIZED)
    agree(outputs, net.predict(X), 1e-12)
    agree(probabilities, net.predict_proba(X), 1e-12)


@needs_cc
@pytest.mark.parametrize("stage", STAGES)
def test_stages_of_one_number(tmp_path, stage):
    rng = np.random.default_rng(0)
    before, layer = [Layer(3, 1, Tanh(), seed=1)], Layer(1, 1, Tanh(), seed=0)
    layers = {"first": [stage.example(), layer], "last": [layer, stage.example()]}.get(
        stage.stands, [*before, stage.example(), layer]
    )
    net = NeuralNetwork(layers, MSELoss(), 0.1)
    as_if_trained(net, rng)
    X = rng.normal(size=(20, net.layers[0].ins))
    net.to_c(tmp_path / "model.c", dtype="float64")
    agree(run_c(tmp_path, X, flags=SANITIZED)[0], net.predict(X), 1e-13)


def letters(dtype="float32"):
    rng = np.random.default_rng(3)
    sizes = [16, 64, 64, 26]
    layers = [Layer(a, b, ReLU() if b != 26 else Identity(), seed=rng) for a, b in zip(sizes, sizes[1:])]
    net = NeuralNetwork([Standardize(), *layers], CrossEntropyLoss(), 0.003, Adam(), dtype=dtype)
    X = rng.normal(size=(10_000, 16)) * np.arange(1, 17) ** 2
    net.fit(X, np.argmax(X @ rng.normal(size=(16, 26)), axis=1), epochs=2, batch_size=128, seed=0, verbose=0)
    return net, X


@needs_cc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ten_thousand_rows(tmp_path, dtype):
    net, X = letters(dtype)
    net.to_c(tmp_path / "model.c")
    outputs, probabilities = run_c(tmp_path, X)
    agree(outputs, net.predict(X), 1e-5)
    agree(probabilities, net.predict_proba(X), 1e-5)


def stated_error(text):
    return float(re.search(r"differ from the network's by at most ([\d.e+-]+)", text)[1])


@needs_cc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_int8_is_as_near_as_its_file_says(tmp_path, dtype):
    net, X = letters(dtype)
    net.to_c(tmp_path / "model.c", dtype="int8", calibration=X)
    outputs, _ = run_c(tmp_path, X)
    stated, error = stated_error((tmp_path / "model.c").read_text()), np.abs(outputs - net.predict(X)).max()
    assert error <= stated <= 1.2 * error
    assert stated < 0.05 * np.abs(net.predict(X)).max()
    assert np.mean(np.argmax(outputs, axis=1) == net.predict_classes(X)) > 0.97
    beyond, _ = run_c(tmp_path, X * 1e30, flags=SANITIZED)  # nothing but saturation
    assert np.all(np.isfinite(beyond))


@needs_cc
@settings(max_examples=6)
@given(networks())
def test_any_network_in_int8(tmp_path_factory, problem):
    net, X = problem
    folder = tmp_path_factory.mktemp("c")
    net.to_c(folder / "model.c", dtype="int8", calibration=X)
    outputs, _ = run_c(folder, X, flags=SANITIZED)
    error = np.abs(outputs - net.predict(X)).max()
    assert error <= 1.01 * stated_error((folder / "model.c").read_text()) + 1e-6


@needs_cc
def test_int8_of_inputs_and_units_that_never_vary(tmp_path):
    net = NeuralNetwork([Layer(3, 4, ReLU(), seed=0), Layer(4, 2, Identity(), seed=1)], MSELoss(), 0.1)
    net.layers[0].biases[:] = -1e3  # no unit is ever above 0
    X = np.full((10, 3), 5.0)
    net.to_c(tmp_path / "model.c", dtype="int8", calibration=X)
    outputs, _ = run_c(tmp_path, X, flags=SANITIZED)
    agree(outputs, net.predict(X), 1e-6)


@needs_cc
def test_int8_with_a_rare_input_of_a_large_weight(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 8)).astype(np.float32)
    X[:, 3] = rng.random(1000) < 0.003  # which Standardize makes large, and the weight behind it
    net = NeuralNetwork(
        [Standardize(), Layer(8, 16, Tanh(), seed=1), Layer(16, 2, Identity(), seed=2)], MSELoss(), 0.01
    )
    net.fit(X, X[:, :2] * 3, epochs=20, seed=0)
    net.layers[1].weights[:, 3] *= 10
    net.to_c(tmp_path / "model.c", dtype="int8", calibration=X)
    outputs, _ = run_c(tmp_path, X)
    difference = outputs - net.predict(X)
    assert np.sqrt(np.mean(difference**2)) < 0.08  # 0.14 where every step is that of the range
    assert np.abs(difference.mean()) < 0.01  # 0.09 without what the biases take back


def test_inputs_far_from_zero(tmp_path):
    seconds = np.arange(1_798_761_300, 1_798_761_600.0).reshape(-1, 1)
    for dtype in ("float32", "float64"):
        net = NeuralNetwork([Standardize(), Layer(1, 8, Tanh(), seed=0), Layer(8, 1, Tanh(), seed=1)], MSELoss(), 0.1,
                            dtype=dtype)  # fmt: skip
        net.fit(seconds, seconds % 300 / 300, epochs=5, seed=0, verbose=0)
        for kind in ("float32", "float64", "int8"):
            net.to_c(tmp_path / "model.c", dtype=kind, calibration=seconds if kind == "int8" else None)
            outputs, _ = run_c(tmp_path, seconds)
            agree(outputs, net.predict(seconds), 0.02 if kind == "int8" else 1e-5)


# --- classes of users' own -------------------------------------------------------------------------


def halved(x):
    return x / 2


class Wave(ActivationFunction):
    def __init__(self, rate, terms=3):
        self.rate, self.terms = rate, terms

    def part(self, x, k):
        return np.sin(k * self.rate * x) / k

    def f(self, x):
        total = halved(x)
        for k in range(1, 4):
            total = total + self.part(x, k)
        return np.where((x > -2) & ~(x > 2), total, np.clip(total, -1.5, 1.5)) + np.hypot(x, 1) ** -2

    def df(self, x):
        return 0 * x


class Centred(Stage):
    rows = ("weight",)
    trained = 1
    start = (1.0,)
    kernels = (lambda address, W: None, lambda address, W: None)

    def forward(self, x, training, key):
        centred = x - np.mean(x, axis=0, keepdims=True)
        return self.row("weight") * centred / (1 + np.max(np.abs(centred), axis=0, keepdims=True)), None

    def backward(self, dx, kept):
        return dx, [0 * dx]


class Shares(MSELoss):
    def probabilities(self, outputs):
        return np.hstack([softmax(outputs), 1 / (1 + outputs.sum(axis=1, keepdims=True) ** 2)])


@needs_cc
def test_classes_of_your_own(tmp_path):
    centred = Centred()
    net = NeuralNetwork([Layer(3, 5, Wave(1.3), seed=0), centred, Layer(5, 2, Wave(0.4), seed=1)], Shares(), 0.1)
    centred.row("weight")[:, 0] = np.arange(5) - 1.5
    X = np.random.default_rng(0).normal(size=(100, 3))
    x = net.layers[2].forward_pass(centred.forward_pass(net.layers[0].forward_pass(X.T))).T  # it has no kernels
    net.to_c(tmp_path / "model.c", dtype="float64")
    outputs, probabilities = run_c(tmp_path, X, flags=SANITIZED)
    agree(outputs, x, 1e-13)
    agree(probabilities, net.loss_function.probabilities(x), 1e-13)


def _own(f):
    return type("Mine", (ActivationFunction,), {"f": f, "df": lambda self, x: x})()


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        (lambda self, x: x if x > 0 else 0 * x, "by if, and, or, not; write np.where"),
        (lambda self, x: np.sinc(x), "np.* cannot be exported|fails on"),
        (lambda self, x: np.asarray(x) * 2, "an array of its own"),
        (lambda self, x: x.real, ".real of an array"),
        (lambda self, x: np.nextafter(x, 1), "np.nextafter cannot"),
        (lambda self, x: x * float(x), "math.exp, float"),
    ],
)
def test_formulas_that_cannot_be_told(tmp_path, monkeypatch, formula, reason):
    net = NeuralNetwork([Layer(2, 2, Identity())], MSELoss(), 0.1)
    monkeypatch.setitem(vars(net.layers[0]), "act_function", _own(formula))
    with pytest.raises(FormulaError, match=rf"no C form for Mine(\.f)?: .*({reason})"):
        net.to_c(tmp_path / "model.c")
    assert not list(tmp_path.iterdir())


class First(MSELoss):
    def __init__(self, by_index):
        self.by_index = by_index

    def probabilities(self, outputs):
        return outputs[:, :1] if self.by_index else outputs / outputs.shape[0]


@pytest.mark.parametrize(("by_index", "reason"), [(True, "by an index"), (False, "the number of samples")])
def test_probabilities_that_cannot_be_told(tmp_path, by_index, reason):
    net = NeuralNetwork([Layer(2, 2, Identity())], First(by_index), 0.1)
    with pytest.raises(FormulaError, match=rf"no C form for First\.probabilities: .*{reason}"):
        net.to_c(tmp_path / "model.c")


# --- arguments ---------------------------------------------------------------------------------------


def small(**more):
    return NeuralNetwork(
        [Layer(2, 3, Tanh(), seed=0), Dropout(0.5), Layer(3, 1, Identity(), seed=1)], MSELoss(), 0.1, **more
    )


@pytest.mark.parametrize(
    "name", ["int", "while", "main", "class", "2nd", "a-b", "", "a b", "é", "_Bool", "__x", "a__b", "x\n"]
)
def test_names_that_c_does_not_take(tmp_path, name):
    with pytest.raises(ValueError, match="expected letters, digits and single underscores"):
        small().to_c(tmp_path / "model.c", name=name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": 3}, TypeError, "name is 3; expected a string"),
        ({"dtype": "float16"}, ValueError, "dtype is 'float16'; expected 'float32', 'float64' or 'int8'"),
        ({"dtype": np.float32}, ValueError, "dtype is .*; expected 'float32'"),
        ({"dtype": "int8"}, ValueError, "calibration is missing; expected rows"),
        ({"calibration": [[1.0, 2.0]]}, ValueError, "calibration is given, but dtype is 'float32'"),
        ({"dtype": "int8", "calibration": [[1.0]]}, ValueError, "calibration has 1 columns"),
        ({"dtype": "int8", "calibration": np.zeros((0, 2))}, ValueError, "calibration has no rows"),
        ({"dtype": "int8", "calibration": [[np.nan, 0]]}, ValueError, "calibration holds nan"),
        ({"path": "model.cpp"}, ValueError, r"model.cpp'; expected the name of a C file, such as 'model.c'"),
        ({"path": "model"}, ValueError, "expected the name of a C file"),
        ({"path": 'a".c'}, ValueError, "expected the name of a C file"),
        ({"path": "no/model.c"}, FileNotFoundError, "there is no folder"),
        ({"path": ""}, (ValueError, IsADirectoryError), "path is"),
        ({"path": 3}, TypeError, "path is 3"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, monkeypatch, change, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        small().to_c(**{"path": "model.c", **change})
    assert not list(tmp_path.iterdir())


def test_numbers_that_do_not_fit(tmp_path):
    net = small()
    net.layers[2].weights[0, 1] = np.nan
    with pytest.raises(ValueError, match=r"layers\[2\] has W with numbers that are not finite"):
        net.to_c(tmp_path / "model.c")
    net.layers[2].weights[0, 1] = 1e200
    with pytest.raises(ValueError, match="too large for float32"):
        net.to_c(tmp_path / "model.c")
    net.to_c(tmp_path / "model.c", dtype="float64")


@needs_cc
def test_any_name_of_a_feature_and_of_a_function(tmp_path):
    net = small()
    net.feature_names = ["a */ int x; /* ??/", "größe \\ // \n"]
    net.to_c(tmp_path / "model.c", name="Net_2")
    X = np.random.default_rng(0).normal(size=(5, 2))
    outputs, _ = run_c(tmp_path, X, "Net_2")
    agree(outputs, net.predict(X), 1e-6)


@needs_cc
@pytest.mark.parametrize("level", ["-Os", "-O2"])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_stack_is_no_larger_than_the_file_says(tmp_path, level, dtype):
    net, X = everything(CrossEntropyLoss(), 3)
    net.to_c(tmp_path / "model.c", dtype=dtype, calibration=X if dtype == "int8" else None)
    built = subprocess.run(
        ["cc", "-std=c99", level, "-fstack-usage", "-c", "model.c"], cwd=tmp_path, capture_output=True
    )
    if built.returncode or not (tmp_path / "model.su").exists():
        pytest.skip("this compiler tells no stack usage")
    used = {
        line.split(":")[-1].split()[0]: int(line.split()[1])
        for line in (tmp_path / "model.su").read_text().splitlines()
    }
    inner = max((n for name, n in used.items() if not name.startswith("model_predict")), default=0)
    text = (tmp_path / "model.c").read_text()
    arrays, beside = map(int, re.search(r"Stack: (\d+) bytes of arrays, and at most (\d+) beside", text).groups())
    assert arrays < used.get("model_predict", 0) + used.get("model_predict_proba", 0) + inner + 64
    assert used.get("model_predict", 0) + used.get("model_predict_proba", 0) + inner <= arrays + beside


@needs_cc
def test_the_constants_take_what_the_file_says(tmp_path):
    net = small(dtype="float32")
    net.to_c(tmp_path / "model.c")
    text = (tmp_path / "model.c").read_text()
    assert int(re.search(r"Constants: (\d+) bytes", text)[1]) == 4 * (9 + 4)
    assert "alloc" not in text.replace("Nothing is allocated", "")
    assert re.findall(r"#include (\S+)", text) == ['"model.h"', "<math.h>"]


@needs_cc
def test_a_layer_in_several_places(tmp_path):
    layer = Layer(4, 4, Tanh(), seed=0)
    net = NeuralNetwork(
        [
            layer,
            layer,
            Layer(4, 1, Identity(), seed=1),
        ],
        MSELoss(),
        0.1,
    )
    net.to_c(tmp_path / "model.c")
    X = np.random.default_rng(0).normal(size=(20, 4))
    agree(run_c(tmp_path, X)[0], net.predict(X), 1e-6)
