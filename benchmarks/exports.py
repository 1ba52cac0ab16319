"""The time of one row of a 16-64-64-26 network: exported to C, emlearn's C, onnxruntime, and fastnn itself.

    pip install emlearn onnxruntime onnx scikit-learn
    python -m benchmarks.exports

All have the same weights, those of scikit-learn's `MLPClassifier`, and must give the same probabilities before they are
timed. The C programs are compiled with the same flags and call the function for the probabilities on rows of an array,
one after another; onnxruntime and fastnn are called from Python, with one row at a time. Each has its turns, one after
another with the others'; the table has the median of the turns.
"""

from __future__ import annotations

import os
import pathlib
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import emlearn
import numpy as np
import onnxruntime
from sklearn.neural_network import MLPClassifier

from fastnn import CrossEntropyLoss, Identity, Layer, NeuralNetwork, ReLU

INS, HIDDEN, OUTS, ROWS, TURNS = 16, 64, 26, 2000, 7
FLAGS = [["-Os"], ["-O2"], ["-O3", "-march=native"]]

DRIVER = """
#include <stdio.h>
#include <time.h>
#include "HEADER"
static float x[ROWS][INS], p[OUTS];
int main(void)
{
    if (fread(x, sizeof x, 1, stdin) != 1) return 1;
    for (int i = 0; i < ROWS; i++) { CALL; fwrite(p, sizeof p, 1, stdout); }
    struct timespec a, b;
    float sum = 0;
    timespec_get(&a, TIME_UTC);
    for (int i = 0; i < ROWS; i++) { CALL; sum += p[0]; }
    timespec_get(&b, TIME_UTC);
    fprintf(stderr, "%f %f", ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / ROWS, (double)sum);
    return 0;
}
"""


def trained() -> tuple[MLPClassifier, NeuralNetwork, np.ndarray]:
    """The network, as scikit-learn's and as fastnn's, and rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, INS)).astype(np.float32)
    y = np.argmax(X @ rng.normal(size=(INS, OUTS)), axis=1)
    model = MLPClassifier(hidden_layer_sizes=(HIDDEN, HIDDEN), max_iter=20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    sizes = [INS, HIDDEN, HIDDEN, len(model.classes_)]
    acts = [ReLU(), ReLU(), Identity()]
    layers = [Layer(a, b, act) for a, b, act in zip(sizes, sizes[1:], acts)]
    net = NeuralNetwork(layers, CrossEntropyLoss(), 0.1, dtype="float32")
    net.set_weights([(W.T, b.reshape(-1, 1)) for W, b in zip(model.coefs_, model.intercepts_)])
    return model, net, X


def program(folder: pathlib.Path, name: str, call: str, sources: list[str], flags: list[str]) -> pathlib.Path:
    """A compiled program that writes the probabilities of the rows it reads, and the time of a row in nanoseconds."""
    main, built = folder / f"{name}_main.c", folder / f"{name}{''.join(flags)}"
    main.write_text(DRIVER.replace("HEADER", f"{name}.h").replace("CALL", call))
    macros = [f"-DROWS={ROWS}", f"-DINS={INS}", f"-DOUTS={OUTS}"]
    include = ["-I", str(pathlib.Path(emlearn.__file__).parent), "-I", str(folder)]
    command = ["cc", "-std=gnu11", *flags, *macros, *include, str(main), *sources, "-o", str(built), "-lm"]
    subprocess.run(command, check=True, capture_output=True)
    return built


def in_c(path: pathlib.Path, X: np.ndarray) -> tuple[float, np.ndarray]:
    """The nanoseconds of a row, and the probabilities."""
    ran = subprocess.run([path], input=X.tobytes(), capture_output=True, check=True)
    return float(ran.stderr.split()[0]), np.frombuffer(ran.stdout, np.float32).reshape(ROWS, OUTS)


def in_python(predict: Callable[[Any], Any], X: np.ndarray) -> tuple[float, np.ndarray]:
    """The same of a function of one row (1, ins)."""
    rows = [X[i : i + 1] for i in range(ROWS)]
    results = np.concatenate([predict(row) for row in rows])
    start = time.perf_counter_ns()
    for row in rows:
        predict(row)
    return (time.perf_counter_ns() - start) / ROWS, results


def contestants(
    folder: pathlib.Path, model: MLPClassifier, net: NeuralNetwork, X: np.ndarray
) -> dict[str, Callable[[Any], Any]]:
    """What is timed, by name: functions of the rows."""
    found: dict[str, Callable[[Any], Any]] = {}
    here = os.getcwd()
    try:
        os.chdir(folder)  # where emlearn leaves a folder of its own
        emlearn.convert(model, method="loadable").save(name="eml", file="eml.h")
    finally:
        os.chdir(here)
    for dtype in ("float32", "int8"):
        net.to_c(folder / f"fast_{dtype}.c", f"fast_{dtype}", dtype, X if dtype == "int8" else None)
    for flags in FLAGS:
        label = " ".join(flags)
        for dtype in ("float32", "int8"):
            name = f"fast_{dtype}"
            path = program(folder, name, f"{name}_predict_proba(x[i], p)", [str(folder / f"{name}.c")], flags)
            found[f"fastnn to_c {dtype}, {label}"] = lambda X, path=path: in_c(path, X)
        call = f"eml_net_predict_proba(&eml, x[i], {INS}, p, {OUTS})"
        path = program(folder, "eml", call, [], flags)
        found[f"emlearn C, {label}"] = lambda X, path=path: in_c(path, X)
    net.to_onnx(folder / "net.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "net.onnx"), options, providers=["CPUExecutionProvider"])
    found["onnxruntime, from Python"] = lambda X: in_python(
        lambda row: session.run(["probabilities"], {"x": row})[0], X
    )
    found["fastnn predict_proba, from Python"] = lambda X: in_python(net.predict_proba, X)
    found["fastnn predict, from Python"] = lambda X: in_python(net.predict, X)
    return found


def main() -> None:
    """Print the table."""
    model, net, X = trained()
    expected = net.predict_proba(X)
    with tempfile.TemporaryDirectory() as folder:
        found = contestants(pathlib.Path(folder), model, net, X)
        times: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(TURNS):
            for name, run in found.items():
                nanoseconds, results = run(X)
                if name.endswith("predict, from Python"):
                    results = expected
                tolerance = 0.1 if "int8" in name else 1e-3  # emlearn writes six digits
                assert np.abs(results - expected).max() < tolerance, name
                times[name].append(nanoseconds)
    for name, some in times.items():
        print(f"{name:45} {statistics.median(some) / 1000:8.2f} us a row")


if __name__ == "__main__":
    main()
