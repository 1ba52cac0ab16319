"""A C program of the online loop, compiled on the spot for the network's sizes.

Best practice: all sizes are constants, weights are local, ``cc -O3 -march=native -ffast-math`` and what was found
to help beyond that, measured with GCC 12 on Zen 3: without ``-fno-tree-slp-vectorize`` 2-4-4-3 takes 17% longer, and
without unrolling into several sums 784-16-16-10 takes 19% (float32) or 25% (float64) longer. With weights as
[ins][outs] tiny networks take the same time and wide ones four times as long. It multiplies zeros like other
numbers, as does every peer but fastnn. The template is ``online.c``.
"""

from __future__ import annotations

import ctypes
from string import Template

import numpy as np

from .compiler import HERE, compiled
from .contestant import Unfit
from .workloads import LEAK, Data, Parameters, Workload

TINY = ("-ffast-math", "-fno-tree-slp-vectorize")
WIDE = ("-ffast-math", "-funroll-loops", "-fvariable-expansion-in-unroller")


class _AtTemplate(Template):
    pattern = r"@(?:(?P<named>[A-Z]+)@|(?P<escaped>@@)|(?P<braced>)(?P<invalid>)(?!))"


def source(workload: Workload) -> str:
    """The program for one network."""
    layers = list(enumerate(zip(workload.sizes, workload.sizes[1:])))
    declare, forward, backward, store, place = [], [], [], [], 0
    for l, (ins, outs) in layers:
        names = f"W{l}[{outs}][{ins}]", f"b{l}[{outs}]", f"y{l}[{outs}]", f"x{l + 1}[{outs}]", f"dx{l + 1}[{outs}]"
        declare.append(f"number {', '.join(names)};")
        for name, size in ((f"W{l}", ins * outs), (f"b{l}", outs)):
            declare.append(f"memcpy({name}, parameters + {place}, sizeof {name});")
            store.append(f"memcpy(parameters + {place}, {name}, sizeof {name});")
            place += size
        forward.append(f"FORWARD({ins}, {outs}, W{l}, b{l}, x{l}, y{l}, x{l + 1})")
        step = [f"DF({outs}, y{l}, dx{l + 1})"]
        if l > 0:
            step.append(f"BELOW({ins}, {outs}, W{l}, dx{l + 1}, dx{l})")
        step.append(f"UPDATE({ins}, {outs}, W{l}, b{l}, dx{l + 1}, x{l})")
        backward = step + backward
    mse, single = workload.loss == "mse", workload.dtype == "float32"
    number = "float" if single else "double"
    outs = workload.sizes[-1]
    constants = {"INS": workload.sizes[0], "OUTS": outs, "STRIDE": outs if mse else 1, "LOSS": workload.loss}
    constants["EXP"] = "expf" if single else "exp"
    head = "".join(f"#define {name} {value}\n" for name, value in constants.items())
    return head + _AtTemplate((HERE / "online.c").read_text(encoding="utf-8")).substitute(
        NUMBER=number, LEAK=LEAK, TARGET=number if mse else "long long", OUTPUT=f"x{len(layers)}",
        LAST=f"dx{len(layers)}", DECLARE="\n    ".join(declare), FORWARD="\n            ".join(forward),
        BACKWARD="\n            ".join(backward), STORE="\n    ".join(store),
    )  # fmt: skip


class CProgram:
    """See `Contestant`."""

    note = ""

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        if workload.kind != "train" or workload.batch > 1 or workload.optimizer != "sgd":
            raise Unfit("does online training by SGD only")
        self.workload, self.data = workload, data
        self.train = compiled(source(workload), *(TINY if max(workload.sizes) < 64 else WIDE)).train
        pointer, long = ctypes.c_void_p, ctypes.c_long
        self.train.argtypes, self.train.restype = [pointer, pointer, long, long, ctypes.c_double, pointer], None
        self.parameters = np.concatenate([array for W, b in parameters[0] for array in (W.ravel(), b)])

    def run(self, passes: int) -> None:
        """See `Contestant`."""
        X, y, p = self.data.X, self.data.y, self.parameters
        self.train(X.ctypes.data, y.ctypes.data, len(X), passes, self.workload.lr, p.ctypes.data)

    def result(self) -> list[np.ndarray]:
        """See `Contestant`."""
        arrays, place = [], 0
        for ins, outs in zip(self.workload.sizes, self.workload.sizes[1:]):
            W, b = np.split(self.parameters[place : place + (ins + 1) * outs], [ins * outs])
            arrays += [W.reshape(outs, ins), b]
            place += (ins + 1) * outs
        return arrays
