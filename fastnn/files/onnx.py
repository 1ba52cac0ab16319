"""Networks as ONNX graphs; ``onnx_reading`` is the way back.

Where ONNX has an operator for what a class computes, a node is that operator. What it has not is a function of the
model, by the name of the class, whose body comes from the NumPy formula (see ``trace``) and whose metadata say how the
class is made anew. Whoever wants another operator adds a line to `_NATIVE`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import Array
from ..engine.engine import Engine
from ..extras import needs
from ..formulas.activations import (
    ELU,
    GELU,
    SELU,
    ActivationFunction,
    ExactGELU,
    LeakyReLU,
    Mish,
    ReLU,
    Sigmoid,
    Softplus,
    Tanh,
)
from ..formulas.component import Component
from ..formulas.losses import CrossEntropyLoss, LossFunction, SoftCrossEntropyLoss
from ..layers.normalisation import BatchNorm, LayerNorm, Standardize
from ..layers.scaling import Scale
from ..saving import describe
from ..version import __version__
from .arrays import Path, check_target, replaced
from .steps import Formula, Lookup, Matrix, Steps, in_terms_of, steps_of
from .trace import CONCAT, Value, evaluate

onnx = needs("onnx", "an ONNX file", "onnx")
numpy_helper, helper = onnx.numpy_helper, onnx.helper

FORMAT = "ONNX"
OPSET = 20
IR_VERSION = 10
TABLE = "fastnn_table"  # the entry of the metadata that says that a model is of a table
DOMAIN = "fastnn"  # of functions that are classes of fastnn's, or of its users
LARGEST = 2**31 - 2**20  # bytes of an ONNX file, less room for the nodes

_OPERATORS = {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "negative": "Neg", "absolute": "Abs",
    "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "tanh": "Tanh", "sin": "Sin", "cos": "Cos", "floor": "Floor",
    "ceil": "Ceil", "rint": "Round", "power": "Pow", "maximum": "Max", "minimum": "Min", "greater": "Greater",
    "greater_equal": "GreaterOrEqual", "less": "Less", "less_equal": "LessOrEqual", "equal": "Equal",
    "logical_and": "And", "logical_or": "Or", "logical_not": "Not", "where": "Where", "arcsin": "Asin",
    "arccos": "Acos", "arctan": "Atan",
}  # fmt: skip
_OF_ROWS = {"sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin"}
KNOWN = {*_OPERATORS, *_OF_ROWS, CONCAT}

_NATIVE: dict[type, Callable[[Any], tuple[str, dict[str, Any]]]] = {
    ReLU: lambda act: ("Relu", {}),
    LeakyReLU: lambda act: ("LeakyRelu", {"alpha": act.leaky_param}),
    Sigmoid: lambda act: ("Sigmoid", {}),
    Tanh: lambda act: ("Tanh", {}),
    ELU: lambda act: ("Elu", {"alpha": act.alpha}),
    SELU: lambda act: ("Selu", {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}),
    GELU: lambda act: ("Gelu", {"approximate": "tanh"}),
    ExactGELU: lambda act: ("Gelu", {"approximate": "none"}),
    Softplus: lambda act: ("Softplus", {}),
    Mish: lambda act: ("Mish", {}),
    CrossEntropyLoss: lambda loss: ("Softmax", {"axis": -1}),
    SoftCrossEntropyLoss: lambda loss: ("Softmax", {"axis": -1}),
    BatchNorm: lambda stage: ("BatchNormalization", {"epsilon": stage.eps}),
    LayerNorm: lambda stage: ("LayerNormalization", {"axis": -1, "epsilon": stage.eps}),
}
"""Classes that are one operator: its name, and its attributes; a stage's rows are its inputs."""

_IN_FLOAT64 = {ReLU, Sigmoid, Tanh, CrossEntropyLoss, SoftCrossEntropyLoss}  # attributes are float32, and few kernels


def to_onnx(engine: Engine, path: Path) -> None:
    """Write the network of `engine`; see `NeuralNetwork.to_onnx`."""
    check_target(path)
    steps = steps_of(engine, FORMAT)
    graph = Graph(steps.dtype)
    given = graph.input("x", np.dtype(np.float64) if steps.offset is not None else steps.dtype, steps.ins)
    outputs = output_nodes(graph, steps, given)
    probabilities = probability_nodes(graph, steps, outputs)
    graph.output(prediction_nodes(graph, steps, outputs), "predictions", steps.outs,
                 helper.np_dtype_to_tensor_dtype(steps.result_dtype))  # fmt: skip
    if probabilities:
        graph.output(probabilities, "probabilities", sum(part.width for part in steps.parts))
    graph.write(path, {"fastnn": {"loss": _described(steps.loss), "feature_names": steps.names}})


class Graph:
    """An ONNX graph as it grows; whoever puts something in front of a network adds nodes of its own.

    All inputs come first: nothing else takes their names.

    Parameters
    ----------
    dtype : dtype
        Of its numbers. It may be changed: what is added from then on is of the other.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.functions: dict[tuple[str, str], Any] = {}  # by class and settings, or by name and body
        self._given: set[str] = set()  # names of inputs
        self._constants: dict[tuple[str, bytes], str] = {}  # their names, by dtype and numbers
        self._names = 0

    @property
    def kind(self) -> int:
        """ONNX's number of its dtype."""
        return int(helper.np_dtype_to_tensor_dtype(self.dtype))

    def input(self, name: str, dtype: np.dtype[Any] | None, width: int) -> str:
        """An input (n, width), of texts if its dtype is None."""
        kind = onnx.TensorProto.STRING if dtype is None else helper.np_dtype_to_tensor_dtype(dtype)
        self.inputs.append(helper.make_tensor_value_info(name, kind, ["n", width]))
        self._given.add(name)
        return name

    def output(self, value: str, name: str, width: int | None, kind: int | None = None) -> None:
        """Make `value`, (n, width), or (n,) for None, an output of that name, unless an input has it: then ``name_``.

        Its dtype is the graph's, unless `kind` is ONNX's number of another.
        """
        name = self._free(name)
        if any(value == one.name for one in (*self.inputs, *self.outputs)):  # of a network that does nothing
            self.nodes.append(helper.make_node("Identity", [value], [name], name=name))
        else:
            for node in self.nodes:
                for names in (node.input, node.output):
                    names[:] = [name if one == value else one for one in names]
        shape = ["n"] if width is None else ["n", width]
        self.outputs.append(helper.make_tensor_value_info(name, self.kind if kind is None else kind, shape))

    def _free(self, name: str) -> str:
        """A name that no input has."""
        while name in self._given:
            name += "_"
        return name

    def array(self, name: str, array: Array) -> str:
        """A constant array of that name."""
        name = self._free(name)
        if name in self.initializers:  # a layer that stands in several places
            name, self._names = f"{name}.{self._names}", self._names + 1
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def constant(self, number: Array) -> str:
        """Some numbers of the graph's dtype, or truths."""
        array = number if number.dtype == np.bool_ else number.astype(self.dtype)
        key = array.dtype.name, array.tobytes()
        if key not in self._constants:
            self._constants[key] = self.array(f"constant{len(self.initializers)}", array)
        return self._constants[key]

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """What an operator makes of `inputs`."""
        name, self._names = self._free(f"{op.lower()}{self._names}"), self._names + 1
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def formula(self, result: Value, given: dict[str, str]) -> str:
        """The nodes of a formula in terms of `KNOWN`, of the inputs `given` by name."""
        last = np.array([-1], np.int64)

        def rows(op: str) -> Callable[[str], str]:
            return lambda x: self.node(op, x, self.array("last axis", last), keepdims=1)

        operators: dict[str, Callable[..., str]] = {name: self._operator(op) for name, op in _OPERATORS.items()}
        operators.update({name: rows(op) for name, op in _OF_ROWS.items()})
        operators[CONCAT] = lambda *parts: self.node("Concat", *parts, axis=-1)
        return str(evaluate(result, operators, given, self.constant))

    def _operator(self, op: str) -> Callable[..., str]:
        return lambda *inputs: self.node(op, *inputs)

    def write(self, path: Path, about: dict[str, Any]) -> None:
        """Check the finished model and write it; `about` is kept in its metadata."""
        size = sum(len(tensor.raw_data) for tensor in self.initializers.values())
        if size > LARGEST:
            raise ValueError(
                f"the model takes {size:,} bytes; expected less than 2 GB, the most that an ONNX file holds"
            )
        model = self.model(about)
        onnx.checker.check_model(model, full_check=True)
        with replaced(path) as file:
            file.write(model.SerializeToString())

    def model(self, about: dict[str, Any]) -> Any:
        """The finished model."""
        graph = helper.make_graph(
            self.nodes, "network", self.inputs, self.outputs, initializer=list(self.initializers.values())
        )
        opsets = [helper.make_opsetid("", OPSET)] + ([helper.make_opsetid(DOMAIN, 1)] if self.functions else [])
        if any(node.domain == "ai.onnx.ml" for node in self.nodes):
            opsets.append(helper.make_opsetid("ai.onnx.ml", 3))
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            functions=list(self.functions.values()),
            ir_version=IR_VERSION,
            producer_name="fastnn",
            producer_version=__version__,
        )
        helper.set_model_props(model, {name: json.dumps(value) for name, value in about.items()})
        return model


def output_nodes(graph: Graph, steps: Steps, x: str) -> str:
    """Add a network's nodes to `graph`, up to its outputs as the loss takes them.

    Parameters
    ----------
    graph : Graph
    steps : Steps
    x : str
        Its inputs, (n, ins): of the network's dtype, or float64 if `steps` has an offset.

    Returns
    -------
    str
        The outputs, (n, outs).
    """
    if steps.offset is not None:
        x = graph.node("Sub", x, graph.array("layers.0.offset", steps.offset))
        x = graph.node("Cast", x, to=graph.kind)
    for step in steps.steps:
        if isinstance(step, Matrix):
            arrays = (graph.array(f"layers.{step.place}.{name}", getattr(step, name)) for name in ("W", "b"))
            x = graph.node("Gemm", x, *arrays, transB=1)
        elif isinstance(step, Lookup):
            table = graph.array(f"layers.{step.place}.table", step.table)
            x = graph.node(_function(graph, step), x, table, domain=DOMAIN)
        else:
            x = _formula_node(graph, step, x)
    return x


def prediction_nodes(graph: Graph, steps: Steps, outputs: str) -> str:
    """Add what makes predictions, (n, outs) of `steps.result_dtype`, of the outputs."""
    for step in steps.predictions:
        outputs = _formula_node(graph, step, outputs)
    return outputs


def probability_nodes(graph: Graph, steps: Steps, outputs: str) -> str:
    """Add what makes probabilities, (n, classes), of the outputs; "" if the loss gives none."""
    if steps.probabilities is None:
        return ""
    native = _native(steps.loss, graph.dtype)
    if native is not None:
        return graph.node(native[0], outputs, **native[1])
    return graph.formula(in_terms_of(KNOWN, steps.probabilities, steps.loss, FORMAT), {"x": outputs})


def _native(part: Component, dtype: np.dtype[Any]) -> tuple[str, dict[str, Any]] | None:
    made = _NATIVE.get(type(part))
    return None if made is None or (dtype != np.float32 and type(part) not in _IN_FLOAT64) else made(part)


def _formula_node(graph: Graph, step: Formula, x: str) -> str:
    """The node, or nodes, of an activation, a stage, or what a loss makes of outputs."""
    part, prefix = step.part, f"layers.{step.place}."
    if type(part) is Standardize:
        x = graph.node("Sub", x, graph.array(f"{prefix}mean", step.arrays["mean"]))
        return graph.node("Mul", x, graph.array(f"{prefix}scale", step.arrays["scale"]))
    arrays = {name: graph.array(prefix + name, array) for name, array in step.arrays.items()}
    if type(part) is Scale:
        return graph.node("Mul", x, arrays["scale"])
    native = None if isinstance(part, LossFunction) else _native(part, graph.dtype)
    if native is not None:
        return graph.node(native[0], x, *arrays.values(), **native[1])
    return graph.node(_function(graph, step), x, *arrays.values(), domain=DOMAIN)


def _function(graph: Graph, step: Formula | Lookup) -> str:
    """The name of the function that computes a step, of x and the step's arrays; it is added if it is new."""
    part = step.part
    about = json.dumps(_described(part))
    width = "" if isinstance(part, ActivationFunction) else str(step.width)  # a stage's formula may depend on it
    key = (f"{type(part).__module__}.{type(part).__qualname__}{width}", about if about != "null" else repr(id(part)))
    if key not in graph.functions:
        taken = {function.name for function in graph.functions.values()}
        name, number = type(part).__name__, 2
        while name in taken:
            name, number = f"{type(part).__name__}{number}", number + 1
        if isinstance(step, Lookup):
            body, given = _Body(graph.dtype), ["x", "table"]
            result = _lookup_nodes(body, step)
        else:
            body, given = _Body(step.result.dtype), ["x", *step.arrays]
            same = body.dtype == graph.dtype
            cast = {name: name if same else body.node("Cast", name, to=body.kind) for name in given}
            result = body.formula(in_terms_of(KNOWN, step.open_result, part, FORMAT), cast)
        body.nodes.append(helper.make_node("Identity", [result], ["y"]))
        function = helper.make_function(DOMAIN, name, given, ["y"], body.nodes, [helper.make_opsetid("", OPSET)])
        function.metadata_props.add(key="fastnn", value=about)
        graph.functions[key] = function
    return str(graph.functions[key].name)


def _lookup_nodes(body: Graph, step: Lookup) -> str:
    """The vectors of the table in the places of the categories' numbers, and the rest of x as it is."""

    def whole(*numbers: int) -> str:
        return body.array("", np.array(numbers, np.int64))

    def real(numbers: Any) -> str:
        return body.array("", np.asarray(numbers, np.float64))

    places = step.columns * step.size
    numbers = body.node("Slice", "x", whole(0), whole(places), whole(1), whole(step.size))
    numbers = body.node("Cast", numbers, to=onnx.TensorProto.DOUBLE)
    above, below = body.node("Greater", numbers, real([-0.5])), body.node("Less", numbers, real(step.counts - 0.5))
    known = body.node("And", above, below)
    rounded = body.node("Round", body.node("Where", known, numbers, real([0.0])))
    rows = body.node("Add", body.node("Cast", rounded, to=onnx.TensorProto.INT64), whole(*step.firsts))
    known = body.node("Unsqueeze", known, whole(2))
    vectors = body.node("Where", known, body.node("Gather", "table", rows), body.constant(np.zeros(1)))
    vectors = body.node("Reshape", vectors, whole(-1, places))
    if step.width == places:
        return vectors
    return body.node("Concat", vectors, body.node("Slice", "x", whole(places), whole(step.width), whole(1)), axis=1)


class _Body(Graph):
    """The body of a function, in which constants are nodes."""

    def array(self, name: str, array: Array) -> str:
        key = f"{name.split('constant')[0]}{array.dtype}{array.tolist()}"
        if key not in self.initializers:
            value, self._names = f"constant{self._names}", self._names + 1
            tensor = numpy_helper.from_array(np.ascontiguousarray(array), value)
            self.nodes.append(helper.make_node("Constant", [], [value], value=tensor))
            self.initializers[key] = value
        return str(self.initializers[key])

    def constant(self, number: Array) -> str:
        return self.array("", number if number.dtype == np.bool_ else number.astype(self.dtype))


def _described(part: Component) -> dict[str, Any] | None:
    """How a file says what is made anew, or None where it cannot."""
    try:
        return describe(part)
    except (TypeError, ValueError):
        return None
