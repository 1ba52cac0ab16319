"""scikit-learn's multilayer perceptron.

Best practice: data in the workload's dtype, the same batch size and solver without momentum, penalty or
shuffling, `partial_fit` for epoch after epoch. Its regressor minimises half the squared error summed over
the outputs, so the learning rate of SGD is scaled to the same steps. Its Adam adds eps before it corrects for
the start at zero, so eps is smaller by about that correction in the steps that are compared. It has no
LeakyReLU, and no way to ask for a gradient. Inference is the regressor's, which gives the last layer's outputs
as they are.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from .contestant import Unfit
from .workloads import Data, Parameters, Workload


class Sklearn:
    """See `Contestant`."""

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        if "leaky_relu" in workload.activations:
            raise Unfit("has no LeakyReLU")
        if workload.kind == "gradient":
            raise Unfit("has no call for it")
        warnings.simplefilter("ignore", ConvergenceWarning)
        self.workload, self.data = workload, data
        self.note = "one network after another" if workload.networks > 1 else ""
        self.networks = [self._network(each) for each in parameters]

    def _network(self, parameters: Parameters) -> MLPClassifier | MLPRegressor:
        workload, (X, y) = self.workload, self.data
        regression = workload.loss == "mse" or workload.kind in ("row", "rows")
        scale = 2 / workload.sizes[-1] if regression and workload.optimizer == "sgd" else 1
        net = (MLPRegressor if regression else MLPClassifier)(
            hidden_layer_sizes=workload.sizes[1:-1], activation=workload.hidden, solver=workload.optimizer,
            alpha=0, batch_size=workload.batch, learning_rate_init=workload.lr * scale, momentum=0,
            nesterovs_momentum=False, shuffle=False, epsilon=5e-10,
        )  # fmt: skip
        if regression:
            targets = np.zeros((workload.batch, workload.sizes[-1]), workload.dtype)
            net.partial_fit(X[: workload.batch], targets if targets.shape[1] > 1 else targets.ravel())
        else:
            net.partial_fit(X[: workload.batch], y[: workload.batch], classes=np.arange(workload.sizes[-1]))
        for W, b, (W_start, b_start) in zip(net.coefs_, net.intercepts_, parameters):
            W[...], b[...] = W_start.T, b_start
        del net._optimizer  # the next partial_fit makes a new one
        return net

    def run(self, passes: int) -> None:
        """See `Contestant`."""
        kind, (X, y) = self.workload.kind, self.data
        y = y.ravel() if y.shape[-1] == 1 else y
        for _ in range(passes):
            if kind == "row":
                predict = self.networks[0].predict
                for i in range(len(X)):
                    predict(X[i : i + 1])
            elif kind == "rows":
                self.networks[0].predict(X)
            else:
                for net in self.networks:
                    net.partial_fit(X, y)

    def result(self) -> list[np.ndarray]:
        """See `Contestant`."""
        if self.workload.kind in ("row", "rows"):
            return [self.networks[0].predict(self.data.X)]
        return [a for net in self.networks for W, b in zip(net.coefs_, net.intercepts_) for a in (W.T, b)]
