"""ONNX graphs of other libraries as networks.

Reading goes from cut to cut: from one value through which everything flows to the next. What lies between two is a
matrix, a normalisation, or a formula; an activation is recognised by what it makes of numbers, however it is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from ..extras import needs
from ..formulas.activations import (
    ELU,
    ActivationFunction,
    LeakyReLU,
    Sigmoid,
)
from ..formulas.component import built_in
from ..formulas.losses import LossFunction
from ..layers.base import BaseLayer
from ..layers.embedding import Embedding
from ..layers.normalisation import BatchNorm, LayerNorm
from ..layers.stage import Stage
from ..saving import own_classes, restore
from .arrays import Path, named, read_json
from .assembly import Assembly
from .onnx import DOMAIN, IR_VERSION, TABLE, helper, numpy_helper, onnx

Evaluator = needs("onnx.reference", "an ONNX file", "onnx").ReferenceEvaluator

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
