"""Two ways to do it in NumPy alone.

`Article` is fastnn's reference: the article's recursion, column by column for online training, and for
batches the article's formulas on many columns. `Batched` is the best practice: every product one BLAS call
on the whole batch, into memory allocated once, everything in place and in the network's dtype
(``benchmarks/numpy_batched.py``); it has no networks side by side, so a bank is one after another.
"""

from __future__ import annotations

import numpy as np

from fastnn import reference

from ..numpy_batched import BatchedNetwork
from .contestant import Unfit
from .peer_fastnn import network
from .workloads import Data, Parameters, Workload


class Article:
    """See `Contestant`."""

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        self.workload, self.data, self.note = workload, data, ""
        self.networks = [reference.copy_of(network(workload, each)) for each in parameters]
        columns = [row.reshape(-1, 1) for row in data.X] if workload.batch == 1 else []
        targets = data.y.tolist() if data.y.ndim == 1 else [row.reshape(-1, 1) for row in data.y]
        self.columns, self.targets = columns, targets

    def run(self, passes: int) -> None:
        """See `Contestant`."""
        for _ in range(passes):
            for net in self.networks:
                self._pass(net)

    def _pass(self, net: reference.NeuralNetwork) -> None:
        kind, (X, y), batch = self.workload.kind, self.data, self.workload.batch
        if kind == "row":
            for x in self.columns:
                net.forward_pass(x)
        elif kind == "rows":
            net.forward_pass(X.T)
        elif kind == "gradient":
            for _ in range(self.workload.steps):
                net.gradients(X.T, y.T)
        elif batch == 1 and self.workload.optimizer == "sgd":  # the article knows no other
            for x, t in zip(self.columns, self.targets):
                net.train_column(x, t)
        else:
            net.train(X.T, y.T, batch_size=batch)

    def result(self) -> list[np.ndarray]:
        """See `Contestant`."""
        if self.workload.kind in ("row", "rows"):
            return [self.networks[0].forward_pass(self.data.X.T).T]
        if self.workload.kind == "gradient":
            _, dWs, dbs, loss = self.networks[0].gradients(self.data.X.T, self.data.y.T)
            return [np.array(loss), *(g for dW, db in zip(dWs, dbs) for g in (dW, db.ravel()))]
        return [array for net in self.networks for layer in net._layers for array in (layer._W, layer._b.ravel())]


class Batched:
    """See `Contestant`."""

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        self.workload, self.data = workload, data
        if workload.kind == "train" and workload.batch == 1:
            raise Unfit("has batches only")
        batch = {"row": 1, "rows": min(1000, workload.steps)}.get(workload.kind, workload.batch)
        self.networks = [BatchedNetwork(network(workload, each), batch) for each in parameters]
        self.note = "one network after another" if workload.networks > 1 else ""
        self.outputs = np.empty((len(data.X), workload.sizes[-1]), workload.dtype)

    def run(self, passes: int) -> None:
        """See `Contestant`."""
        first = self.networks[0]
        for _ in range(passes):
            if self.workload.kind == "train":
                for net in self.networks:
                    net.train(*self.data)
            elif self.workload.kind == "gradient":
                for _ in range(self.workload.steps):
                    self.loss = first.gradients(*self.data)
            else:
                for start in range(0, len(self.data.X), first.batch_size):
                    batch = slice(start, start + first.batch_size)
                    self.outputs[batch] = first.forward(self.data.X[batch])

    def result(self) -> list[np.ndarray]:
        """See `Contestant`."""
        if self.workload.kind in ("row", "rows"):
            return [self.outputs]
        if self.workload.kind == "gradient":
            net = self.networks[0]
            return [np.array(self.loss), *(g for dW, db in zip(net.dWs, net.dbs) for g in (dW.T, db))]
        return [array for net in self.networks for W, b in zip(net.Ws, net.bs) for array in (W.T, b)]
