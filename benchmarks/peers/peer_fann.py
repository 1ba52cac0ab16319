"""FANN, for online training: Debian's ``libfann-dev``, called from C.

Best practice: ``fann_create_standard_array``, incremental training without momentum, one ``fann_train`` a sample
with arrays that lie ready, the library of the workload's type of numbers. It has neither LeakyReLU nor a
cross-entropy, so it does `linear` work: the same layers with linear neurons, which are the cheapest it has, and the
squared error; its results are compared with the article's formulas for that. It is as Debian compiled it, for any
x86-64.
"""

from __future__ import annotations

import ctypes

import numpy as np

from .compiler import HERE, compiled
from .contestant import Unable, Unfit
from .workloads import Data, Parameters, Workload


class Fann:
    """See `Contestant`."""

    note = "linear neurons, squared error"

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        if workload.kind != "train" or workload.batch > 1 or workload.optimizer != "sgd":
            raise Unfit("is measured online, by SGD, only")
        self.data = data
        kind = {"float32": "float", "float64": "double"}[workload.dtype]
        source = (HERE / "fann.c").read_text(encoding="utf-8")
        try:
            program = compiled(source, f'-DHEADER="{kind}fann.h"', libraries=[f"{kind}fann"])
        except Unable as reason:
            raise Unable("not installed (libfann-dev)") if "No such file" in str(reason) else reason from None
        sizes = np.array(workload.sizes, np.uintc)
        rate = 2 * workload.lr / workload.sizes[-1]  # its error is half the sum of squares, ours is their mean
        program.make.argtypes = [ctypes.c_uint, ctypes.c_void_p, ctypes.c_float]
        program.make.restype = program.parameters.restype = ctypes.c_void_p
        program.parameters.argtypes = [ctypes.c_void_p]
        program.train.argtypes = [*[ctypes.c_void_p] * 3, ctypes.c_long, ctypes.c_long]
        self.train, self.net = program.train, program.make(len(sizes), sizes.ctypes.data, rate)
        own = [np.hstack([W, b[:, None]]) for W, b in parameters[0]]
        count, number = sum(layer.size for layer in own), np.ctypeslib.as_ctypes_type(workload.dtype)
        memory = np.frombuffer((number * count).from_address(program.parameters(self.net)), workload.dtype)
        ends = np.cumsum([layer.size for layer in own])
        self.layers = [part.reshape(layer.shape) for part, layer in zip(np.split(memory, ends[:-1]), own)]
        for layer, start in zip(self.layers, own):
            layer[...] = start

    def run(self, passes: int) -> None:
        """See `Contestant`."""
        X, y = self.data
        self.train(self.net, X.ctypes.data, y.ctypes.data, len(X), passes)

    def result(self) -> list[np.ndarray]:
        """See `Contestant`."""
        return [array.copy() for layer in self.layers for array in (layer[:, :-1], layer[:, -1])]
