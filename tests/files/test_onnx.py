"""Networks as ONNX graphs, held to onnxruntime, and graphs of PyTorch, scikit-learn and Keras as networks."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from networks import agree, bits
from strategies import networks

import fastnn
from fastnn import (
    ActivationFunction,
    BatchNorm,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    ExactGELU,
    FormulaError,
    Identity,
    Layer,
    LossFunction,
    MSELoss,
    NeuralNetwork,
    ReLU,
    Scale,
    Sigmoid,
    Standardize,
    Tanh,
)
from fastnn.layers.stage import Stage

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
helper, numpy_helper = onnx.helper, onnx.numpy_helper


def run(path, X):
    """The outputs of a file in onnxruntime, by name."""
    session = ort.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    dtype = np.float64 if given.type == "tensor(double)" else np.float32
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(None, {given.name: np.ascontiguousarray(X, dtype)})))


@settings(max_examples=25)
@given(networks())
def test_any_network_there_and_back(tmp_path_factory, problem):
    net, X = problem
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    net.to_onnx(path)
    results = run(path, X)
    tolerance = 1e-5 if net.dtype == "float32" else 1e-12
    agree(results["predictions"], net.predict(X), tolerance)
    assert results["predictions"].dtype == net.predict(X).dtype
    has_probabilities = type(net.loss_function).probabilities is not LossFunction.probabilities
    assert list(results) == ["predictions", "probabilities"][: 1 + has_probabilities]
    if has_probabilities:
        agree(results["probabilities"], net.predict_proba(X), tolerance)
    agree(run(path, X[:1])["predictions"], net.predict(X[:1]), tolerance)
    twin = fastnn.from_onnx(path)
    assert bits(twin) == bits(net)
    assert twin.dtype == net.dtype
    assert repr(twin.loss_function) == repr(net.loss_function)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))


def test_the_file_says_what_it_is(tmp_path):
    net = NeuralNetwork(
        [Layer(3, 4, ReLU(), seed=0), Layer(4, 2, Tanh(), seed=1)], CrossEntropyLoss(), 0.1, dtype="float32"
    )
    net.feature_names = ["a", "b", "c"]
    net.to_onnx(tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Relu", "Gemm", "Tanh", "Softmax"]
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 20)]
    (x,) = model.graph.input
    assert (x.name, [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim]) == ("x", ["n", 3])
    assert {one.name for one in model.graph.initializer} == {"layers.0.W", "layers.0.b", "layers.1.W", "layers.1.b"}
    twin = fastnn.from_onnx(tmp_path / "net.onnx", learning_rate=0.5, optimizer=fastnn.Adam())
    assert twin.feature_names == ("a", "b", "c")
    assert (twin.lr, type(twin.optimizer)) == (0.5, fastnn.Adam)


def test_nodes_in_front_of_a_network(tmp_path):
    from fastnn.files.onnx import Graph, output_nodes, prediction_nodes, probability_nodes
    from fastnn.files.steps import steps_of

    net = NeuralNetwork([Layer(2, 4, Tanh(), seed=0), Layer(4, 3, Identity(), seed=1)], CrossEntropyLoss(), 0.1)
    steps = steps_of(net.engine, "ONNX")
    graph = Graph(steps.dtype)
    columns = [graph.input(name, steps.dtype, 1) for name in ("a", "b")]
    halved = [graph.node("Mul", column, graph.constant(np.array([0.5]))) for column in columns]
    outputs = output_nodes(graph, steps, graph.node("Concat", *halved, axis=1))
    graph.output(probability_nodes(graph, steps, outputs), "p", 3)
    graph.output(prediction_nodes(graph, steps, outputs), "y", 3)
    (tmp_path / "net.onnx").write_bytes(graph.model({}).SerializeToString())
    session = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    X = np.random.default_rng(0).normal(size=(5, 2))
    p, y = session.run(["p", "y"], {"a": X[:, :1], "b": X[:, 1:]})
    agree(y, net.predict(X / 2), 1e-12)
    agree(p, net.predict_proba(X / 2), 1e-12)


def test_an_old_file_is_replaced_and_a_folder_refused(tmp_path):
    net = NeuralNetwork([Layer(3, 1, Identity(), seed=0)], MSELoss(), 0.1)
    (tmp_path / "net.onnx").write_bytes(b"old")
    net.to_onnx(tmp_path / "net.onnx")
    assert bits(fastnn.from_onnx(str(tmp_path / "net.onnx"))) == bits(net)
    with pytest.raises(IsADirectoryError):
        net.to_onnx(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        net.to_onnx(tmp_path / "no" / "net.onnx")
    net.layers[0].biases[0] = np.inf
    with pytest.raises(ValueError, match=r"layers\[0\] has b with numbers that are not finite"):
        net.to_onnx(tmp_path / "net.onnx")
    assert bits(fastnn.from_onnx(tmp_path / "net.onnx")) != bits(net)


# --- classes of users' own -----------------------------------------------------------------------------


class Wave(ActivationFunction):
    def __init__(self, rate):
        self.rate = rate

    def f(self, x):
        return (
            np.sin(self.rate * x)
            + np.where(x > 0, x, np.expm1(x))
            + np.log1p(np.abs(x))
            + np.sign(x) * np.hypot(x, 0.5)
        )

    def df(self, x):
        return x * 0


class Weighed(Stage):
    rows = ("weight", "bias")
    trained = 2
    start = (1.0, 0.0)
    kernels = (lambda address, W: None, lambda address, W: None)

    def __init__(self, power):
        super().__init__()
        self.power = power

    def forward(self, x, training, key):
        top = np.max(x, axis=0, keepdims=True)
        return self.row("weight") * (x - top) ** self.power + np.clip(self.row("bias"), -0.5, 0.5), None

    def backward(self, dx, kept):
        return dx, [0 * dx, 0 * dx]


class Halves(MSELoss):
    def probabilities(self, outputs):
        return np.hstack([outputs / 2, 1 - outputs])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_classes_of_your_own(tmp_path, dtype):
    rng = np.random.default_rng(0)
    weighed = Weighed(3)
    layers = [Layer(3, 5, Wave(1.3), seed=rng), weighed, Layer(5, 2, Wave(0.4), seed=rng)]
    net = NeuralNetwork(layers, Halves(), 0.1, dtype=dtype)
    for row in weighed.arrays().values():
        row[...] = rng.normal(size=row.shape)
    X = rng.normal(size=(50, 3))
    x = X.T
    for layer in net.layers:  # Weighed has no kernels
        x = layer.forward_pass(x)
    net.to_onnx(tmp_path / "net.onnx")
    results = run(tmp_path / "net.onnx", X)
    agree(results["predictions"], x.T, 1e-5 if dtype == "float32" else 1e-13)
    agree(results["probabilities"], Halves().probabilities(x.T), 1e-5 if dtype == "float32" else 1e-13)
    twin = fastnn.from_onnx(tmp_path / "net.onnx", custom=[Wave, Weighed, Halves])
    assert bits(twin) == bits(net)
    assert repr(twin) == repr(net).replace(" 0.1,", " 0.01,")
    with pytest.raises(ValueError, match=r"node 'wave\d+' is fastnn.Wave: .*custom"):
        fastnn.from_onnx(tmp_path / "net.onnx")


def test_formulas_that_cannot_be_told(tmp_path):
    class Odd(ActivationFunction):
        def f(self, x):
            return np.nextafter(x, 0 * x)

        def df(self, x):
            return x

    net = NeuralNetwork([Layer(2, 2, Odd())], MSELoss(), 0.1)
    with pytest.raises(FormulaError, match=r"no ONNX form for Odd: np\.nextafter cannot be exported"):
        net.to_onnx(tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


# --- graphs of other libraries -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["regression", "scaled", "two outputs", "binary", "classes", "labels"])
def test_skl2onnx(tmp_path, kind):
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = np.random.default_rng(0).normal(2.0, 3.0, size=(100, 4)).astype(np.float32)
    more = {"hidden_layer_sizes": (7, 5), "max_iter": 5, "random_state": 0}
    model, y = {
        "regression": (MLPRegressor(**more), X[:, 0]),
        "scaled": (make_pipeline(StandardScaler(), MLPRegressor(activation="tanh", **more)), X[:, 0]),
        "two outputs": (MLPRegressor(activation="identity", **more), X[:, :2]),
        "binary": (MLPClassifier(**more), X[:, 0] > 2),
        "classes": (MLPClassifier(activation="logistic", **more), np.array(["a", "b", "c"])[np.arange(100) % 3]),
        "labels": (MLPClassifier(**more), (X[:, :2] > 2).astype(int)),
    }[kind]
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
        (tmp_path / "net.onnx").write_bytes(skl2onnx.to_onnx(model, X[:1]).SerializeToString())
    net = fastnn.from_onnx(tmp_path / "net.onnx")
    if hasattr(model, "predict_proba"):
        agree(net.predict_proba(X), model.predict_proba(X), 1e-5)
    else:
        agree(net.predict(X).reshape(y.shape), model.predict(X), 1e-5)


def mlp(torch, end):
    nn = torch.nn
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.1), nn.Linear(6, 5, bias=False),
        nn.GELU(), nn.Linear(5, 5), nn.GELU(approximate="tanh"), nn.Linear(5, 5), nn.SiLU(), nn.Linear(5, 5),
        nn.LayerNorm(5), nn.Mish(), nn.Linear(5, 5), nn.Softplus(), nn.Linear(5, 5), nn.Hardtanh(), nn.Linear(5, 5),
        nn.ReLU6(), nn.Linear(5, 5), nn.SELU(), nn.Linear(5, 5), nn.ELU(0.7), nn.Linear(5, 5), nn.LeakyReLU(0.03),
        nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3), end,
    )  # fmt: skip
    with torch.no_grad():
        module[2].running_mean += 0.3
        module[2].running_var *= 2.0
    return module.eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exporter", ["script", "dynamo"])
@pytest.mark.parametrize("end", ["Softmax", "Sigmoid", "Identity"])
def test_pytorch(tmp_path, exporter, end):
    torch = pytest.importorskip("torch")
    if exporter == "dynamo":
        pytest.importorskip("onnxscript")
    module = mlp(torch, torch.nn.Softmax(-1) if end == "Softmax" else getattr(torch.nn, end)())
    x = torch.randn(20, 4)
    kind = {"dynamo": True} if exporter == "dynamo" else {"dynamo": False, "opset_version": 17}
    torch.onnx.export(module, (x,), tmp_path / "net.onnx", **kind)
    net = fastnn.from_onnx(tmp_path / "net.onnx")
    predicted = net.predict_proba(x.numpy()) if end == "Softmax" else net.predict(x.numpy())
    agree(predicted, module(x).detach().numpy(), 1e-6)
    assert any(type(getattr(layer, "act_function", None)) is ExactGELU for layer in net.layers)
    logits = fastnn.from_onnx(tmp_path / "net.onnx", BCEWithLogitsLoss())
    assert type(logits.layers[-1].act_function) is Identity


def saved(tmp_path, nodes, arrays, ins=3, opset=17, kind=onnx.TensorProto.FLOAT, outs=("y",)):
    """A file with these nodes, from "x" to "y", and constants."""
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    x = helper.make_tensor_value_info("x", kind, ["n", ins])
    ys = [helper.make_tensor_value_info(name, kind, None) for name in outs]
    graph = helper.make_graph(nodes, "g", [x], ys, initializer=tensors)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


W = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
V = np.random.default_rng(2).normal(size=(2, 4)).astype(np.float32)
ROW = np.array([0.5, -1.5, 2.0], np.float32)
N = helper.make_node


@pytest.mark.parametrize(
    "nodes",
    [
        [N("MatMul", ["x", "W"], ["y"])],
        [N("MatMul", ["x", "W"], ["a"]), N("Add", ["b", "a"], ["y"])],
        [N("Gemm", ["x", "W", "b"], ["y"], alpha=0.5, beta=3.0)],
        [N("Gemm", ["x", "W"], ["a"]), N("Gemm", ["a", "V", "two"], ["y"], transB=1)],
        [N("Transpose", ["V"], ["v"]), N("MatMul", ["x", "W"], ["a"]), N("MatMul", ["a", "v"], ["y"])],
        [N("Sub", ["x", "row"], ["a"]), N("Div", ["a", "row"], ["c"]), N("MatMul", ["c", "W"], ["y"])],
        [N("Mul", ["x", "row"], ["a"]), N("Add", ["a", "row"], ["c"]), N("MatMul", ["c", "W"], ["y"])],
        [N("Add", ["x", "half"], ["a"]), N("Mul", ["a", "half"], ["c"]), N("MatMul", ["c", "W"], ["y"])],
        [
            N("MatMul", ["x", "W"], ["a"]),
            N("Relu", ["a"], ["c"]),
            N("Mul", ["c", "b"], ["d"]),
            N("Add", ["d", "b"], ["y"]),
        ],
        [N("MatMul", ["x", "W"], ["a"]), N("Relu", ["a"], ["c"]), N("Sub", ["c", "b"], ["y"])],
        [N("MatMul", ["x", "W"], ["a"]), N("Relu", ["a"], ["c"]), N("Tanh", ["c"], ["y"])],
        [N("MatMul", ["x", "W"], ["a"]), N("Max", ["a", "zero"], ["c"]), N("Min", ["c", "six"], ["y"])],
        [N("MatMul", ["x", "W"], ["a"]), N("PRelu", ["a", "half"], ["y"])],
        [N("MatMul", ["x", "W"], ["a"]), N("Sigmoid", ["a"], ["s"]), N("Mul", ["s", "a"], ["y"])],
        [N("Dropout", ["x"], ["d"]), N("Reshape", ["d", "flat"], ["r"]), N("MatMul", ["r", "W"], ["y"])],
        [N("MatMul", ["x", "W"], ["a"]), N("Identity", ["a"], ["c"]), N("Cast", ["c"], ["y"], to=1)],
        [N("MatMul", ["x", "W"], ["y"]), N("MatMul", ["x", "W"], ["unused"])],
        [N("LayerNormalization", ["x", "row", "row"], ["a"], axis=-1), N("MatMul", ["a", "W"], ["y"])],
        [
            N("BatchNormalization", ["x", "row", "row", "row", "var"], ["a"], epsilon=0.25),
            N("MatMul", ["a", "W"], ["y"]),
        ],
    ],
    ids=lambda nodes: "-".join(node.op_type for node in nodes),
)
def test_graphs_of_any_hand(tmp_path, nodes):
    arrays = {
        "W": W, "V": V, "b": np.arange(4, dtype=np.float32), "row": ROW, "half": np.float32(0.5).reshape(1),
        "two": np.ones((1, 2), np.float32), "zero": np.float32(0), "six": np.float32(6), "flat": np.array([0, -1]),
        "var": np.abs(ROW),
    }  # fmt: skip
    path = saved(tmp_path, nodes, arrays)
    X = np.random.default_rng(0).normal(size=(40, 3)) * 3
    net = fastnn.from_onnx(path)
    agree(net.predict(X), run(path, X)["y"], 1e-5)
    net.to_onnx(tmp_path / "again.onnx")
    assert bits(fastnn.from_onnx(tmp_path / "again.onnx")) == bits(net)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([N("Conv", ["x", "W"], ["y"], name="c1")], "node 'c1' is Conv: fastnn has no layer for it; expected Gemm"),
        ([N("MatMul", ["W", "x"], ["y"], name="m")], "node 'm' is MatMul: samples are columns"),
        ([N("Gemm", ["x", "W"], ["y"], transA=1)], "the node that makes 'y' is Gemm: samples are columns"),
        ([N("MatMul", ["x", "x"], ["y"], name="m")], "'m' is MatMul: its input 'x' depends"),
        (
            [N("MatMul", ["x", "V"], ["y"], name="m")],
            r"'m' is MatMul: its matrix has shape \(2, 4\); expected \(outs, 3\)",
        ),
        (
            [N("MatMul", ["x", "W"], ["a"]), N("Add", ["a", "row"], ["y"], name="s")],
            r"'s' is Add: its constant has shape",
        ),
        (
            [N("MatMul", ["x", "W"], ["a"]), N("Add", ["a", "x"], ["y"], name="skip")],
            "'.*' is MatMul: .*no activation|makes 'a' is MatMul",
        ),
        (
            [N("MatMul", ["x", "W"], ["a"]), N("Softmax", ["a"], ["c"], axis=0), N("Relu", ["c"], ["y"])],
            "Softmax: its axis is 0",
        ),
        (
            [N("MatMul", ["x", "W"], ["a"]), N("Softmax", ["a"], ["c"]), N("MatMul", ["c", "S"], ["y"], name="m")],
            "'m' is MatMul: it comes after softmax",
        ),
        ([N("MatMul", ["x", "W"], ["a"]), N("Hardmax", ["a"], ["y"], name="h")], "node 'h' is Hardmax"),
        (
            [N("MatMul", ["x", "W"], ["a"]), N("ThresholdedRelu", ["a"], ["y"], name="h", alpha=2.0)],
            "node 'h' is ThresholdedRelu",
        ),
        (
            [N("MatMul", ["x", "W"], ["a"]), N("ArgMax", ["a"], ["y"], name="h")],
            "'h' is ArgMax: expected Softmax or Sigmoid",
        ),
        ([N("MatMul", ["x", "W"], ["a"]), N("Mine", ["a"], ["y"], domain="my", name="h")], "node 'h' is my.Mine"),
        (
            [N("BatchNormalization", ["x", "row", "row", "row", "row"], ["y"], name="n", training_mode=1)],
            "'n' is BatchNorm.*in training",
        ),
        ([N("LayerNormalization", ["x", "row"], ["y"], name="n", axis=0)], "its axis is 0"),
        ([N("Cast", ["x"], ["a"], to=7, name="c"), N("Cast", ["a"], ["y"], to=1)], "'c' is Cast: it casts to int64"),
        ([N("Flatten", ["x"], ["y"], axis=0, name="f")], "its axis is 0"),
        (
            [N("Reshape", ["x", "shape"], ["a"], name="r"), N("MatMul", ["a", "W"], ["y"])],
            r"'r' is Reshape: it makes shape \(3, 1, -1\)",
        ),
        ([N("Identity", ["x"], ["y"])], "layers is empty"),
        (
            [N("Nothing", ["W"], ["w"], name="k"), N("MatMul", ["x", "w"], ["y"])],
            "node 'k' is Nothing: its constant cannot be",
        ),
        ([N("MatMul", ["x", "text"], ["y"], name="m")], "holds object|holds .*; expected numbers"),
    ],
    ids=lambda value: "-".join(node.op_type for node in value) if isinstance(value, list) else "",
)  # fmt: skip
def test_graphs_that_are_no_mlp(tmp_path, nodes, message):
    arrays = {
        "W": W,
        "V": V.T,
        "row": ROW,
        "S": np.eye(4, dtype=np.float32),
        "shape": np.array([3, 1, -1]),
        "text": np.array(["a"]),
    }
    path = saved(tmp_path, nodes, arrays)
    with pytest.raises((ValueError, TypeError), match=message):
        fastnn.from_onnx(path)


def test_several_outputs_and_inputs(tmp_path):
    path = saved(
        tmp_path, [N("MatMul", ["x", "W"], ["y"]), N("Exp", ["x"], ["z"], name="e")], {"W": W}, outs=("y", "z")
    )
    with pytest.raises(ValueError, match="fastnn has no layer for it"):
        fastnn.from_onnx(path)
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("x2", 1, ["n", 3]))
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"net.onnx' cannot be read: it has 2 inputs; expected one, \(n, ins\)"):
        fastnn.from_onnx(path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08" * 100, b"\x00" * 1000])
def test_files_that_are_none(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"net.onnx' (is no ONNX file|cannot be read)"):
        fastnn.from_onnx(tmp_path / "net.onnx")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        fastnn.from_onnx(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    "about", ["[1]", "nonsense", '{"loss": 3}', '{"loss": {"class": "os", "settings": {}}}', '{"feature_names": 3}']
)
def test_what_a_stranger_writes_into_the_metadata(tmp_path, about):
    net = NeuralNetwork([Layer(3, 4, ExactGELU(), seed=0), Layer(4, 2, Tanh(), seed=1)], MSELoss(), 0.1)
    net.to_onnx(tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    helper.set_model_props(model, {"fastnn": about})
    onnx.save(model, tmp_path / "net.onnx")
    try:
        fastnn.from_onnx(tmp_path / "net.onnx")
    except (ValueError, TypeError):
        return
    assert about == "[1]"


@pytest.mark.parametrize(
    "about",
    ["[1]", "nonsense", json.dumps({"class": "Adam", "settings": {}}), json.dumps({"class": "Layer", "settings": {}})],
)
def test_what_a_stranger_writes_into_a_function(tmp_path, about):
    net = NeuralNetwork([Layer(3, 4, ExactGELU(), seed=0), Layer(4, 2, Tanh(), seed=1)], MSELoss(), 0.1)
    net.to_onnx(tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    model.functions[0].metadata_props[0].value = about
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"net.onnx' cannot be read"):
        fastnn.from_onnx(tmp_path / "net.onnx")


def test_damaged_files(tmp_path):
    rng = np.random.default_rng(0)
    layers = [Standardize(fitted=True), Layer(3, 4, ExactGELU(), seed=0), BatchNorm(), Layer(4, 2, Tanh(), seed=1)]
    NeuralNetwork(layers, CrossEntropyLoss(), 0.1).to_onnx(tmp_path / "net.onnx")
    good, refused = (tmp_path / "net.onnx").read_bytes(), 0
    for _ in range(300):
        bad = bytearray(good)
        for place in rng.integers(0, len(bad), rng.integers(1, 4)):
            bad[place] = rng.integers(0, 256)
        (tmp_path / "bad.onnx").write_bytes(bad[: len(bad) - int(rng.integers(0, 2) * rng.integers(0, 200))])
        try:
            fastnn.from_onnx(tmp_path / "bad.onnx")  # as a number may have changed
        except ValueError:  # and nothing else
            refused += 1
    assert refused > 50


def test_matrices_and_stages_keep_their_places(tmp_path):
    rng = np.random.default_rng(0)
    layers = [
        Standardize(),
        Layer(3, 3, Identity(), seed=rng),
        Scale(),
        Layer(3, 3, Sigmoid(), seed=rng),
        BatchNorm(),
        Scale(),
    ]
    net = NeuralNetwork(layers, BCEWithLogitsLoss(), 0.1)
    net.to_onnx(tmp_path / "net.onnx")
    twin = fastnn.from_onnx(tmp_path / "net.onnx")
    assert [type(layer) for layer in twin.layers] == [type(layer) for layer in net.layers]
    assert bits(twin) == bits(net)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
def test_importing_fastnn_imports_no_optional_package():
    names = [
        "onnx",
        "onnxruntime",
        "torch",
        "keras",
        "tensorflow",
        "sklearn",
        "pandas",
        "polars",
        "matplotlib",
        "tqdm",
    ]
    code = f"import sys, fastnn; print([name for name in {names} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert ran.stdout.strip() == "[]", ran.stdout + ran.stderr
