"""fastnn, called as a user calls it.

Best practice: ``net.train`` on all columns for online training, ``net.fit`` on rows for batches, with many
epochs in a call; `fastnn.NetworkBank` for many networks; ``forward_pass`` of a column for one row,
``predict`` for many; ``loss_and_gradient``. All checks of the input are in the time. Tiny networks have a kernel of
their own online, which long training compiles by itself; here it is compiled at once (FASTNN_TINY), in the first call.
`Generic` is without.
"""

from __future__ import annotations

import numpy as np

import fastnn
from fastnn.kernels.tiny import is_tiny

from .contestant import Unfit
from .workloads import LEAK, Data, Parameters, Workload

_ACTIVATIONS = {
    "leaky_relu": lambda: fastnn.LeakyReLU(LEAK),
    "relu": fastnn.ReLU,
    "tanh": fastnn.Tanh,
    "identity": fastnn.Identity,
}


def network(workload: Workload, parameters: Parameters) -> fastnn.NeuralNetwork:
    """The workload's network with these parameters."""
    layers = []
    for (W, _), activation in zip(parameters, workload.activations):
        layer = fastnn.Layer(W.shape[1], W.shape[0], _ACTIVATIONS[activation](), init="zeros")
        layers.append(layer)
    loss = fastnn.MSELoss() if workload.loss == "mse" else fastnn.CrossEntropyLoss()
    optimizer = fastnn.Adam() if workload.optimizer == "adam" else fastnn.SGD()
    net = fastnn.NeuralNetwork(layers, loss, workload.lr, optimizer, dtype=workload.dtype)
    net.set_weights([(W, b[:, None]) for W, b in parameters])
    return net


class Fastnn:
    """See `Contestant`."""

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        self.workload, self.data, self.note = workload, data, ""
        fastnn.set_num_threads(threads)
        self.networks = [network(workload, each) for each in parameters]
        self.net = self.networks[0]
        self.bank: fastnn.NetworkBank | None = None
        if workload.networks > 1:
            self.bank = fastnn.NetworkBank(self.networks)
        if workload.kind == "row":
            self.columns = [row.reshape(-1, 1) for row in data.X]
        try:
            self.run = {"row": self._row, "rows": self._rows, "gradient": self._gradient, "train": self._train}[
                workload.kind
            ]
        except KeyError:
            raise Unfit("no such kind of work") from None

    def _train(self, passes: int) -> None:
        X, y, batch = self.data.X, self.data.y, self.workload.batch
        if batch == 1:
            self.net.train(X.T, y.T, epochs=passes)
            return
        learner = self.bank or self.net
        learner.fit(X, y, epochs=passes, batch_size=batch, shuffle=False, verbose=0)

    def _row(self, passes: int) -> None:
        forward_pass = self.net.forward_pass
        for _ in range(passes):
            for column in self.columns:
                forward_pass(column)

    def _rows(self, passes: int) -> None:
        for _ in range(passes):
            self.net.predict(self.data.X)

    def _gradient(self, passes: int) -> None:
        loss_and_gradient, X, y = self.net.loss_and_gradient, self.data.X, self.data.y
        for _ in range(passes * self.workload.steps):
            loss_and_gradient(X, y)

    def result(self) -> list[np.ndarray]:
        """See `Contestant`."""
        if self.workload.kind == "row":
            return [np.hstack([self.net.forward_pass(column) for column in self.columns]).T]
        if self.workload.kind == "rows":
            return [self.net.predict(self.data.X)]
        if self.workload.kind == "gradient":
            loss, vector = self.net.loss_and_gradient(self.data.X, self.data.y)
            parts = [np.array(loss)]
            for layer in self.net.layers:  # the rows of dW' and then db, layer by layer
                own, vector = np.split(vector, [(layer.ins + 1) * layer.outs])
                rows = own.reshape(layer.ins + 1, layer.outs)
                parts += [rows[:-1].T, rows[-1]]
            return parts
        networks = self.bank.to_networks() if self.bank else self.networks
        return [array for net in networks for layer in net.get_weights() for array in (layer[0], layer[1].ravel())]


class Generic(Fastnn):
    """With the kernel for networks of any size where `Fastnn` has a special one."""

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        special = workload.kind == "train" and workload.batch == 1 and is_tiny(workload.sizes)
        if not special:
            raise Unfit("is what fastnn does")
        super().__init__(workload, data, parameters, threads)
