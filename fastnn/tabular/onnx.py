"""Models of tables as ONNX graphs: an input for each column, what becomes of it, the networks, and their answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..files import Path, check_target
from ..files.onnx import FORMAT, KNOWN, TABLE, Graph, onnx, output_nodes, prediction_nodes
from ..files.steps import steps_of
from ..files.trace import lowered, traced
from ..network import NeuralNetwork
from .answer import Answer
from .encoders import Category
from .preprocessor import Preprocessor

WIDE = np.dtype(np.float64)
_INT64 = onnx.TensorProto.INT64


def to_onnx(preprocessor: Preprocessor, networks: list[NeuralNetwork], answer: Answer, path: Path) -> None:
    """Write a model; see `TabularRegressor.to_onnx`."""
    check_target(path)
    graph = Graph(WIDE)
    row = _columns(graph, preprocessor)
    outputs = {}
    for k, net in enumerate(networks):
        steps = steps_of(net.engine, FORMAT).first(answer.outs, FORMAT)
        graph.dtype = steps.dtype
        x = row if steps.dtype == WIDE or steps.offset is not None else graph.node("Cast", row, to=graph.kind)
        x = prediction_nodes(graph, steps, output_nodes(graph, steps, x))
        outputs[f"x{k}"] = graph.node("Cast", x, to=onnx.TensorProto.DOUBLE)
    graph.dtype = WIDE
    result = lowered(traced(answer.formula, answer.outs, 1, WIDE, list(outputs)), KNOWN)
    values = graph.formula(result, outputs)
    if answer.labels is not None:
        labels, kind = _labels(answer.labels)
        largest = graph.node("ArgMax", values, axis=1, keepdims=0)
        graph.output(graph.node("Gather", graph.array("labels", labels), largest), "predictions", None, kind)
        graph.output(values, "probabilities", answer.width)
    else:
        if answer.rank is not None:
            values = _ranked(graph, values, answer.rank)
        width = 1 if answer.rank is not None else answer.width
        if width == 1:
            values = graph.node("Squeeze", values, graph.array("last axis", np.array([-1], np.int64)))
        graph.output(values, "predictions", None if width == 1 else width)
    graph.write(path, {TABLE: {"columns": [name for name, _, _ in preprocessor.encoded()]}})


def _columns(graph: Graph, preprocessor: Preprocessor) -> str:
    """An input for each column, and the numbers that they become, side by side."""
    encoded = preprocessor.encoded()
    for name, encoder, _ in encoded:
        if not name:
            raise ValueError("the name of a column is ''; expected one with a letter at least: ONNX has inputs by name")
        graph.input(name, None if isinstance(encoder, Category) else WIDE, 1)
    made = {}
    for name, encoder, start in encoded:
        if not encoder.width:
            continue
        x = name
        if isinstance(encoder, Category):
            numbers = list(range(len(encoder.labels)))
            x = graph.node(
                "LabelEncoder", x, domain="ai.onnx.ml", keys_strings=encoder.labels, values_int64s=numbers,
                default_int64=-1,
            )  # fmt: skip
            x = graph.node("Cast", x, to=graph.kind)
        made[start] = graph.formula(lowered(traced(encoder.numbers, 1, 1, WIDE), KNOWN), {"x": x})
    parts = [made[start] for start in sorted(made)]
    return parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1)


def _labels(labels: list[Any]) -> tuple[Any, int]:
    """Classes as an array, and ONNX's number of its type."""
    kinds = {type(label) for label in labels}
    of: dict[Any, Any] = {str: (object, onnx.TensorProto.STRING), bool: (np.bool_, onnx.TensorProto.BOOL),
                          int: (np.int64, _INT64)}  # fmt: skip
    dtype, number = of[kinds.pop()] if len(kinds) == 1 and kinds <= set(of) else (WIDE, onnx.TensorProto.DOUBLE)
    return np.array(labels, dtype), number


def _ranked(graph: Graph, values: str, rank: int) -> str:
    """The value (n, 1) of that rank, from the smallest, 0, on."""
    count = graph.array("count", np.array([rank + 1], np.int64))
    name = graph.node("TopK", values, count, axis=1, largest=0, sorted=1)
    graph.nodes[-1].output.append(f"{name}_places")
    return graph.node("Slice", name, *(graph.array(f"rank{k}", np.array([k], np.int64)) for k in (rank, rank + 1)),
                      graph.array("axis1", np.array([1], np.int64)))  # fmt: skip
