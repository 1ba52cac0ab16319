"""Networks as ONNX graphs, and graphs of other libraries as networks.

Where ONNX has an operator for what a class computes, a node is that operator. What it has not is a function of the
model, by the name of the class, whose body comes from the NumPy formula (see ``trace``) and whose metadata say how the
class is made anew. Whoever wants another operator adds a line to `_NATIVE`.

Reading goes from cut to cut: from one value through which everything flows to the next. What lies between two is a
matrix, a normalisation, or a formula; an activation is recognised by what it makes of numbers, however it is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

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
from ..formulas.component import Component, built_in
from ..formulas.losses import CrossEntropyLoss, LossFunction, SoftCrossEntropyLoss
from ..layers.base import BaseLayer
from ..layers.embedding import Embedding
from ..layers.normalisation import BatchNorm, LayerNorm, Standardize
from ..layers.scaling import Scale
from ..layers.stage import Stage
from ..saving import describe, own_classes, restore
from ..version import __version__
from .arrays import Path, check_target, named, read_json, replaced
from .assembly import Assembly
from .steps import Formula, Lookup, Matrix, Steps, in_terms_of, steps_of
from .trace import CONCAT, Value, evaluate

onnx = needs("onnx", "an ONNX file", "onnx")
Evaluator = needs("onnx.reference", "an ONNX file", "onnx").ReferenceEvaluator
numpy_helper, helper = onnx.numpy_helper, onnx.helper

FORMAT = "ONNX"
OPSET = 20
IR_VERSION = 10
TABLE = "fastnn_table"  # the entry of the metadata that says that a model is of a table
DOMAIN = "fastnn"  # of functions that are classes of fastnn's, or of its users
LARGEST = 2**31 - 2**20  # bytes of an ONNX file, less room for the nodes

# --- writing -------------------------------------------------------------------------------------

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


# --- reading --------------------------------------------------------------------------------------

EXPECTED = (
    "Gemm, or MatMul and Add; an activation that fastnn has; BatchNormalization, LayerNormalization; a scaling of the "
    "inputs; Flatten, Identity, Dropout, Cast; Softmax at the end"
)
_TAIL_WORDS = (
    "ArgMax ArrayFeatureExtractor Binarizer Cast Concat Greater GreaterOrEqual Identity LabelEncoder Reshape "
    "Squeeze Sub TopK ZipMap Flatten Where Normalizer"
)
_TAIL = frozenset(_TAIL_WORDS.split())
_TAIL_MARKS = frozenset(["ArgMax", "ArrayFeatureExtractor", "Binarizer", "Concat", "TopK", "ZipMap", "LabelEncoder"])
_PROBE = np.array([-50.0, -6.5, -4.0, -2.5, -1.7, -1.0, -0.6, -0.25, 0.0, 0.3, 0.8, 1.0, 1.6, 2.4, 4.2, 5.5, 7.5, 25.0])
_SCALER = {"offset": 0.0, "scale": 1.0}  # what its attributes are by default
_LONGEST = 8  # cuts that one activation may go through


def from_onnx(path: Path, loss: LossFunction | None, custom: Iterable[type]) -> Read:
    """The layers and the loss of a file, and the names of its inputs; see `fastnn.from_onnx`."""
    found = own_classes(custom)
    path = named(path)
    if not path.exists():
        raise FileNotFoundError(f"path is {str(path)!r}; there is no such file")
    try:
        model = onnx.load(os.fspath(path))
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{str(path)!r} is no ONNX file: {error}") from error
    try:
        return Reading(model, found).finished(loss)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a graph from a stranger may be wrong in any way
        reason = error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{str(path)!r} cannot be read: {reason}") from error


Read = tuple[list[BaseLayer], LossFunction, Any]


class NodeError(ValueError):
    """What is wrong with a graph, in words that name the node."""


def _fault(node: Any, reason: object) -> NodeError:
    label = f"node {node.name!r}" if node.name else f"the node that makes {node.output[0]!r}"
    return NodeError(f"{label} is {node.domain + '.' if node.domain else ''}{node.op_type}: {reason}")


class Segment(NamedTuple):
    """What lies between a value through which everything flows, `start`, and the next such, `end`."""

    start: str
    end: str
    nodes: list[Any]


class Reading:
    """The network of a model.

    Parameters
    ----------
    model : onnx.ModelProto
    custom : dict of str to type
        Classes of the user's own, by name.
    """

    def __init__(self, model: Any, custom: dict[str, type]) -> None:
        self.model, self.custom, graph = model, custom, model.graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.functions = {(one.domain, one.name): one for one in model.functions}
        self.about: dict[str, Any] = {}
        for entry in model.metadata_props:
            if entry.key == TABLE:
                raise NodeError("it holds the treatment of a table's columns; expected a network alone: load the model")
            if entry.key == "fastnn":
                found = read_json(entry.value)
                self.about = found if isinstance(found, dict) else {}
        inputs = [one for one in graph.input if one.name not in self.constants]
        if len(inputs) != 1:
            raise NodeError(f"it has {len(inputs)} inputs; expected one, (n, ins)")
        if not graph.output:
            raise NodeError("it has no output")
        self.start = inputs[0].name
        nodes = self._without_constants(graph.node)
        self.segments, self.tail = self._cut(nodes)
        self.assembly = Assembly(self._dtype(nodes), _width(inputs[0]))
        self._assemble()

    def finished(self, loss: LossFunction | None) -> Read:
        """Layers, loss and names."""
        about, names = self.about.get("loss"), self.about.get("feature_names")
        if loss is None and about:
            try:
                loss = restore(about, self.custom, LossFunction)
            except ValueError as error:
                raise NodeError(f"its loss {error}; give the loss, or its class among custom") from error
        return *self.assembly.finished(loss), names

    # --- the graph --------------------------------------------------------------------------------

    def _without_constants(self, nodes: Iterable[Any]) -> list[Any]:
        """The nodes that depend on the input; the others are computed here."""
        depends, kept = {self.start}, []
        for node in nodes:
            if any(name in depends for name in node.input):
                depends.update(node.output)
                kept.append(node)
            else:
                try:
                    evaluator = Evaluator(node)
                    values = evaluator.run(None, {name: self.constants[name] for name in node.input if name})
                except Exception as error:
                    raise _fault(node, f"its constant cannot be computed: {error}") from error
                self.constants.update(zip(node.output, (np.asarray(value) for value in values)))
        return kept

    def _cut(self, nodes: list[Any]) -> tuple[list[Segment], list[Any]]:
        """The segments from cut to cut, and the nodes behind the last one."""
        outputs = {one.name for one in self.model.graph.output[: 1 if self.about else None]}  # others: the loss has it
        useful: list[Any] = []
        wanted = set(outputs)
        for node in reversed(nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                useful.insert(0, node)
        uses: dict[str, int] = {}
        for node in useful:
            for name in node.input:
                uses[name] = uses.get(name, 0) + 1
        segments, live, since, start = [], {self.start}, [], self.start
        for node in useful:
            since.append(node)
            for name in node.input:
                uses[name] -= 1
                if uses[name] == 0 and name not in outputs:
                    live.discard(name)
            live.update(name for name in node.output if uses.get(name) or name in outputs)
            if len(live) == 1:
                (end,) = live
                segments.append(Segment(start, end, since))
                start, since = end, []
        return segments, since

    def _dtype(self, nodes: list[Any]) -> np.dtype[Any]:
        for node in nodes:
            if node.op_type in ("Gemm", "MatMul"):
                for name in node.input:
                    if name in self.constants:
                        return np.dtype(np.float64 if self.constants[name].dtype == np.float64 else np.float32)
        return np.dtype(np.float32)

    def _number(self, node: Any, place: int) -> Array:
        """A constant input of a node."""
        name = node.input[place]
        if name not in self.constants:
            raise _fault(node, f"its input {name!r} depends on the network's; expected a constant")
        array: Array = self.constants[name]
        if array.dtype.kind not in "fiub" and array.dtype.name not in ("float16", "bfloat16"):
            raise _fault(node, f"its input {name!r} holds {array.dtype}; expected numbers")
        return array if array.dtype == np.float64 else array.astype(np.float32)

    # --- the layers -------------------------------------------------------------------------------

    def _assemble(self) -> None:
        at = 0
        while at < len(self.segments):
            segment = self.segments[at]
            rest = [node for one in self.segments[at:] for node in one.nodes] + self.tail
            if self._is_tail(rest):
                self.tail = rest
                break
            node = segment.nodes[0]
            try:
                at += self._activation(at) or self._single(segment)
            except (NodeError, MemoryError):
                raise
            except Exception as error:
                reason = error if isinstance(error, (ValueError, TypeError)) else f"{type(error).__name__}: {error}"
                raise _fault(node, reason) from error
        if self.tail:
            self._end()

    def _is_tail(self, nodes: list[Any]) -> bool:
        """Whether these nodes make labels and tables of probabilities, as skl2onnx does."""
        ops = {node.op_type for node in nodes}
        return bool(ops & _TAIL_MARKS) and ops <= _TAIL

    def _end(self) -> None:
        """What stands behind the last cut: how probabilities become an answer."""
        layers, tail = self.assembly.layers, self.tail
        act = getattr(layers[-1], "act_function", None) if layers else None
        if self.assembly.ends or not self._is_tail(tail):
            if not self.assembly.ends:
                raise _fault(tail[0], f"fastnn has no layer for it; expected {EXPECTED}")
            if not {node.op_type for node in tail} <= _TAIL:
                raise _fault(tail[0], "expected nothing but labels behind the probabilities")
        elif type(act) is Sigmoid:
            self.assembly.end("sigmoid")
        else:
            raise _fault(tail[0], "expected Softmax or Sigmoid before labels are made")

    def _single(self, segment: Segment) -> int:
        """Take a segment of one node, or raise an error."""
        node = segment.nodes[0]
        if len(segment.nodes) > 1:
            ops = ", ".join(one.op_type for one in segment.nodes)
            raise _fault(node, f"with what follows ({ops}) it is no activation that fastnn has; expected {EXPECTED}")
        handler = getattr(self, f"_read_{node.op_type}", None) if node.domain in ("", "ai.onnx.ml", DOMAIN) else None
        if node.domain == DOMAIN or (node.domain, node.op_type) in self.functions:
            self._read_function(node)
        elif handler is None:
            raise _fault(node, f"fastnn has no layer for it; expected {EXPECTED}")
        else:
            handler(node, {one.name: helper.get_attribute_value(one) for one in node.attribute})
        return 1

    def _read_Gemm(self, node: Any, given: dict[str, Any]) -> None:
        if given.get("transA", 0) or node.input[0] in self.constants:
            raise _fault(node, "samples are columns; expected rows, transA=0")
        W = self._number(node, 1) * np.float32(given.get("alpha", 1.0))
        b = None
        if len(node.input) > 2 and node.input[2]:
            b = self._number(node, 2) * np.float32(given.get("beta", 1.0))
        self.assembly.matrix(W if given.get("transB", 0) else W.T, b)

    def _read_MatMul(self, node: Any, given: dict[str, Any]) -> None:
        if node.input[0] in self.constants:
            raise _fault(node, "samples are columns; expected rows, x W")
        self.assembly.matrix(self._number(node, 1).T)

    def _read_Add(self, node: Any, given: dict[str, Any]) -> None:
        self.assembly.shift(self._number(node, 1 if node.input[1] in self.constants else 0))

    def _read_Sub(self, node: Any, given: dict[str, Any]) -> None:
        self.assembly.shift(-self._number(node, 1))

    def _read_Mul(self, node: Any, given: dict[str, Any]) -> None:
        self.assembly.scale(self._number(node, 1 if node.input[1] in self.constants else 0))

    def _read_Div(self, node: Any, given: dict[str, Any]) -> None:
        self.assembly.scale(1 / self._number(node, 1))

    def _read_Scaler(self, node: Any, given: dict[str, Any]) -> None:
        offset, scale = (np.array(given.get(name, [usual]), np.float32) for name, usual in _SCALER.items())
        self.assembly.normalise(offset, scale)

    def _read_BatchNormalization(self, node: Any, given: dict[str, Any]) -> None:
        if given.get("training_mode", 0):
            raise _fault(node, "it is in training; expected a model exported for inference")
        rows = {name: self._number(node, i) for i, name in enumerate(BatchNorm.rows, 1)}
        self.assembly.stage(BatchNorm(eps=_short(given.get("epsilon", 1e-5))), rows)

    def _read_LayerNormalization(self, node: Any, given: dict[str, Any]) -> None:
        if given.get("axis", -1) not in (-1, 1):
            raise _fault(node, f"its axis is {given['axis']}; expected -1")
        rows = {name: self._number(node, i) for i, name in enumerate(LayerNorm.rows, 1) if i < len(node.input)}
        self.assembly.stage(LayerNorm(eps=_short(given.get("epsilon", 1e-5))), rows)

    def _read_Softmax(self, node: Any, given: dict[str, Any]) -> None:
        if given.get("axis", -1) not in (-1, 1):
            raise _fault(node, f"its axis is {given['axis']}; expected -1")
        self.assembly.end("softmax")

    _read_LogSoftmax = _read_Softmax

    def _read_Flatten(self, node: Any, given: dict[str, Any]) -> None:
        if given.get("axis", 1) != 1:
            raise _fault(node, f"its axis is {given['axis']}; expected 1")

    def _read_Reshape(self, node: Any, given: dict[str, Any]) -> None:
        shape = [int(size) for size in self._number(node, 1)]
        if node is self.segments[-1].nodes[-1] and shape == [-1, 1]:
            return  # as skl2onnx ends regressors, of many outputs too
        if len(shape) != 2 or (shape[1] != -1 and self.assembly.width and shape[1] != self.assembly.width):
            raise _fault(node, f"it makes shape {tuple(shape)}; expected rows, (n, {self.assembly.width or 'ins'})")

    def _read_Identity(self, node: Any, given: dict[str, Any]) -> None:
        pass

    _read_Dropout = _read_Identity

    def _read_Cast(self, node: Any, given: dict[str, Any]) -> None:
        kind = helper.tensor_dtype_to_np_dtype(given["to"])
        if kind.kind != "f" and kind.name not in ("bfloat16",):
            raise _fault(node, f"it casts to {kind.name}; expected float")

    def _read_function(self, node: Any) -> None:
        """A class by the function that it became."""
        function = self.functions.get((node.domain, node.op_type))
        about = next((one.value for one in getattr(function, "metadata_props", []) if one.key == "fastnn"), None)
        described = None if about is None else read_json(about)
        if function is None or not described:
            raise _fault(node, f"it is a function of the model's own; expected {EXPECTED}")
        try:
            part = restore(described, self.custom)
        except ValueError as error:
            raise _fault(node, error) from error
        if isinstance(part, ActivationFunction):
            self.assembly.activation(part)
        elif isinstance(part, LossFunction):
            self.assembly.predicts(part)
        elif isinstance(part, Embedding):
            self.assembly.lookup(part, self._number(node, 1))
        elif isinstance(part, Stage):
            self.assembly.stage(part, {name: self._number(node, i) for i, name in enumerate(function.input) if i})
        else:
            raise _fault(node, "it is no activation, stage or loss")

    # --- activations ------------------------------------------------------------------------------

    def _activation(self, at: int) -> int:
        """How many segments from number `at` on are one activation, which is taken; 0 if none is.

        As many as can be: min(max(x, 0), 6) begins with ReLU. But shifts and scales at the end as few as can be, and
        none at the beginning: they may be a bias, or a layer.
        """
        counts = []
        for count, segment in enumerate(self.segments[at : at + _LONGEST], 1):
            if not all(self._of_numbers(node) for node in segment.nodes) or (count == 1 and _is_plain(segment)):
                break
            counts.append(count)
        plain = [count for count in counts if _is_plain(self.segments[at + count - 1])]
        for count in [*(count for count in counts[::-1] if count not in plain), *plain]:
            segments = self.segments[at : at + count]
            nodes = [node for one in segments for node in one.nodes]
            act = self._recognised(nodes, segments[0].start, segments[-1].end)
            if act is not None:
                self.assembly.activation(act)
                return count
        return 0

    def _of_numbers(self, node: Any) -> bool:
        """Whether it may be a part of a function of one number: all its constants are single ones."""
        structural = ("Gemm", "MatMul", "Softmax", "LogSoftmax", "BatchNormalization", "LayerNormalization", "Reshape")
        constants = [self.constants[name] for name in node.input if name in self.constants]
        return (
            node.op_type not in structural
            and not node.domain
            and not any(one.type in (5, 10) for one in node.attribute)  # a graph within
            and all(one.size == 1 for one in constants)
        )

    def _recognised(self, nodes: list[Any], start: str, end: str) -> ActivationFunction | None:
        """The activation that computes the same as these nodes."""
        dtype = self.assembly.dtype
        x = _PROBE.astype(dtype)[:, None]
        kind = helper.np_dtype_to_tensor_dtype(dtype)
        infos = [helper.make_tensor_value_info(name, kind, ["n", 1]) for name in (start, end)]
        wanted = {name for node in nodes for name in node.input if name in self.constants}
        tensors = [numpy_helper.from_array(self.constants[name], name) for name in sorted(wanted)]
        graph = helper.make_graph(nodes, "formula", infos[:1], infos[1:], initializer=tensors)
        model = helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=IR_VERSION)
        try:
            with np.errstate(all="ignore"):
                (y,) = Evaluator(model).run(None, {start: x})
        except Exception:  # an operator that it does not know: nor do we
            return None
        if np.shape(y) != x.shape:
            return None
        return recognised(np.asarray(y, np.float64)[:, 0], dtype)


def _is_plain(segment: Segment) -> bool:
    """Whether it is a shift, a scale, or nothing."""
    plain = ("Add", "Sub", "Mul", "Div", "Identity", "Cast", "Dropout", "Flatten")
    return (
        len(segment.nodes) == 1
        and segment.nodes[0].op_type in plain
        and len(set(segment.nodes[0].input)) == len(segment.nodes[0].input)
    )


def recognised(y: Array, dtype: np.dtype[Any]) -> ActivationFunction | None:
    """The activation of fastnn's own that makes `y` of `_PROBE`."""
    slope, floor = _short(-y[_PROBE == -1.0][0], dtype), _short(-y[0], dtype)
    candidates: list[ActivationFunction] = [
        cls.example() for cls in built_in(ActivationFunction).values() if cls not in (LeakyReLU, ELU)
    ]
    candidates += [LeakyReLU(slope)] if 0 <= slope <= 1 else []
    candidates += [ELU(floor)] if np.isfinite(floor) else []
    for act in candidates:
        with np.errstate(all="ignore"):
            if np.allclose(act.f(_PROBE), y, rtol=2e-6, atol=2e-6):
                return act
    return None


def _short(number: float, dtype: Any = np.float32) -> float:
    """The shortest number that is the same in `dtype`: 0.1 for 0.10000000149."""
    return float(str(np.dtype(dtype).type(number)))


def _width(info: Any) -> int:
    """How many inputs a graph takes, or 0 if it does not say."""
    sizes = [one.dim_value for one in info.type.tensor_type.shape.dim][1:]
    return int(np.prod(sizes)) if sizes and all(sizes) else 0
