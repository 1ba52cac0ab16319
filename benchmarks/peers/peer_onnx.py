"""onnxruntime, for inference.

Best practice: one session of `Gemm` nodes, all graph optimisations, as many threads as cores, one `run` a
call with an array in the model's dtype. Its threads stop spinning when a run ends.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .contestant import Unfit
from .workloads import Data, Parameters, Workload

_OPERATORS = {"relu": "Relu", "tanh": "Tanh"}


def model(workload: Workload, parameters: Parameters) -> bytes:
    """The network as an ONNX model: x (n, ins) to y (n, outs)."""
    nodes, weights, here = [], [], "x"
    for l, ((W, b), activation) in enumerate(zip(parameters, workload.activations)):
        weights += [numpy_helper.from_array(W, f"W{l}"), numpy_helper.from_array(b, f"b{l}")]
        nodes.append(helper.make_node("Gemm", [here, f"W{l}", f"b{l}"], [f"y{l}"], transB=1))
        here = f"y{l}"
        if activation != "identity":
            nodes.append(helper.make_node(_OPERATORS[activation], [here], [f"x{l}"]))
            here = f"x{l}"
    number = helper.np_dtype_to_tensor_dtype(np.dtype(workload.dtype)) or TensorProto.FLOAT
    ends = [
        helper.make_tensor_value_info(name, number, ["n", size])
        for name, size in (("x", workload.sizes[0]), (here, workload.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()


class Onnx:
    """See `Contestant`."""

    note = ""

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        if workload.kind not in ("row", "rows"):
            raise Unfit("does inference only")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.session = onnxruntime.InferenceSession(
            model(workload, parameters[0]), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = [data.X[i : i + 1] for i in range(len(data.X))] if workload.kind == "row" else [data.X]

    def run(self, passes: int) -> None:
        """See `Contestant`."""
        run = self.session.run
        for _ in range(passes):
            for x in self.inputs:
                run(None, {"x": x})

    def result(self) -> list[np.ndarray]:
        """See `Contestant`."""
        return [np.concatenate([self.session.run(None, {"x": x})[0] for x in self.inputs])]
