"""What a peer is: a class that does one workload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Protocol

from .workloads import Data, Parameters, Workload


class Unable(Exception):
    """A peer gets no time: it is not installed, or failed; the message says why."""


class Unfit(Unable):
    """A peer gets no time, since the workload is none of its business."""


class Contestant(Protocol):
    """One peer at one workload.

    Parameters
    ----------
    workload
        What to do.
    data
        Its samples.
    parameters
        Of each network, where it starts.
    threads
        How many threads the peer may use; the process is bound to as many cores.
    """

    note: str
    """What a reader should know about this run; goes into the last column."""

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None: ...

    def run(self, passes: int) -> None:
        """Do all units of the data set so many times, and come back when all is done."""

    def result(self) -> list[Any]:
        """What must be the same for all peers, as arrays in a fixed order.

        Of training, every network's W and b, layer by layer; of inference the outputs as rows; of a
        gradient the loss, then dW and db layer by layer.
        """


@dataclass(frozen=True)
class Peer:
    """Where a contestant is, and what the tables call it."""

    name: str
    module: str
    cls: str
    threaded: bool = True
    """Whether two cores can make it faster."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that its process needs."""
    blas: bool = False
    """Whether its products are of NumPy's BLAS, whose name goes into its note."""
    holds: bool = True
    """Whether `environment.HELD` reaches it."""
    task: Callable[[Workload], Workload] = lambda workload: workload
    """What it does in the place of a workload, where it cannot do just that."""

    def load(self) -> type[Contestant]:
        """Import the class; the worker does this, so only it needs the library.

        Raises
        ------
        Unable
            If the library is not installed.
        """
        try:
            return getattr(import_module(f".{self.module}", __package__), self.cls)
        except ImportError as error:
            raise Unable(f"not installed ({error})") from None


def linear(workload: Workload) -> Workload:
    """The same network of linear neurons, with the squared error."""
    return replace(workload, hidden="identity", last="identity", loss="mse")


PEERS = {
    "fastnn": Peer("fastnn", "peer_fastnn", "Fastnn", environment={"FASTNN_TINY": "always"}),
    "fastnn-generic": Peer(
        "fastnn, generic kernel", "peer_fastnn", "Generic", threaded=False, environment={"FASTNN_TINY": "never"}
    ),
    "c": Peer("C, fixed sizes", "peer_c", "CProgram", threaded=False),
    "fann": Peer("FANN, linear neurons", "peer_fann", "Fann", threaded=False, task=linear),
    "jax": Peer("JAX jit + scan", "peer_jax", "Jax"),
    "torch": Peer("PyTorch eager", "peer_torch", "Torch"),
    "torch-compile": Peer("PyTorch compiled", "peer_torch", "TorchCompiled"),
    "sklearn": Peer("scikit-learn", "peer_sklearn", "Sklearn", blas=True),
    "onnx": Peer("onnxruntime", "peer_onnx", "Onnx", holds=False),
    "numpy": Peer("NumPy, whole batches", "peer_numpy", "Batched", blas=True),
    "pytabkit": Peer("pytabkit, RealMLP", "estimators", "TablesOnly"),
    "reference": Peer("NumPy, the article", "peer_numpy", "Article", threaded=False, blas=True),
}
"""All peers by the name they have on the command line; the first is who the others are compared with."""

PEAK = Peer("peak", "peak", "Peak")
"""The processor itself: it does as many multiply-adds as it can, in the same turns as the peers."""
