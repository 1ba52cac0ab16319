"""L-BFGS on all samples at once: scipy's method, with loss and gradient from the compiled kernels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..article import ArticleNetwork
from ..checks import positive_integer, positive_number
from ..data.rows import feature_rows, sample_weights, target_rows
from ..engine.gradients import without_padding
from ..extras import needs
from ..formulas.losses import LossFunction
from ..formulas.optimizers import Number, Optimizer
from ..formulas.schedules import Schedule
from ..layers.base import BaseLayer
from ..layers.noise import Dropout, GaussianNoise
from ..layers.normalisation import BatchNorm
from .callbacks import DivergedError, StopTraining
from .history import History
from .run import Run

Array = np.ndarray[Any, np.dtype[Any]]

BLOCK = 256  # samples that go through the network at once: few enough to stay in the cache


class _GradientSum(Optimizer):
    """An optimiser that leaves the parameters alone and adds up ``lr * gradient``, penalties included."""

    state = {"total": 0.0}

    def update(self, w: Number, g: Number, lr: Number, step: Number, total: Number) -> Any:
        return w, total + lr * g


class _Shares(Schedule):
    """For `_GradientSum`: the part of all samples that each step of an epoch takes."""

    def __init__(self, rows: int, batch_size: int) -> None:
        super().__init__(1.0)
        self.steps = -(-rows // batch_size)
        self.share, self.last = batch_size / rows, (rows - (self.steps - 1) * batch_size) / rows

    def factor(self, t: Array) -> Array:
        return np.where((t + 1) % self.steps == 0, self.last, self.share)


class FullGradient:
    """The loss over all samples, penalties included, and its gradient, as a function of a flat vector.

    The vector holds, for each layer that is trainable, the weights transposed (ins, outs) and then
    the biases, or its other rows. The layers given are the workspace: they get the parameters of each call.

    Parameters
    ----------
    layers : list of BaseLayer
        They become float64.
    loss_function : LossFunction
    rows, targets, classes, weights
        As for `Run`.
    """

    def __init__(
        self,
        layers: list[BaseLayer],
        loss_function: LossFunction,
        rows: Array,
        targets: Array,
        classes: bool,
        weights: Array | None = None,
    ) -> None:
        block = min(BLOCK, rows.shape[0])
        shares = _Shares(rows.shape[0], block)
        net = ArticleNetwork(layers, loss_function, shares, _GradientSum(), dtype="float64")
        self.layers = net.layers
        self._run = Run(net, rows, targets, classes, block, False, 0, weights)
        self._state = net._optimizer_state()
        self._state.make_room(net.dtype)
        # A layer may stand in several places: it is once in the vector, and its gradients add up
        trained = {id(layer): layer for layer in layers if layer.trainable and layer.shape[0]}
        self._parameters = [without_padding(layer._memory, layer) for layer in trained.values()]
        self._totals = [
            [without_padding(n[0], layer) for n, other in zip(self._state.numbers, layers) if other is layer]
            for layer in trained.values()
        ]

    @property
    def vector(self) -> Array:
        """A copy of the parameters as they are."""
        return np.concatenate([place.ravel() for place in self._parameters])

    @vector.setter
    def vector(self, values: Array) -> None:
        first = 0
        for place in self._parameters:
            place[...] = values[first : first + place.size].reshape(place.shape)
            first += place.size

    def __call__(self, vector: Array) -> tuple[float, Array]:
        """The loss and its gradient there."""
        self.vector = vector
        for numbers in self._state.numbers:
            numbers[...] = 0.0
        loss = self._run.advance(self._run.steps_per_epoch)
        return loss, np.concatenate([sum(totals[1:], totals[0]).ravel() for totals in self._totals])


class _Search:
    """The function that scipy minimises: it remembers its best point, and is always finite."""

    def __init__(self, function: FullGradient) -> None:
        self.function = function
        self.vector, self.loss = function.vector, math.inf
        self.evaluations = 0

    def __call__(self, vector: Array) -> tuple[float, Array]:
        loss, gradient = self.function(vector)
        self.evaluations += 1
        if not (math.isfinite(loss) and np.isfinite(gradient).all()):
            if self.evaluations == 1:
                raise DivergedError(
                    f"the loss is {loss} before any step, or its gradient is not finite: the weights are too large, or "
                    "the inputs are. Make the layers anew, or scale the inputs to mean 0 and variance 1."
                )
            return self._bowl(vector)
        if loss < self.loss:
            self.loss, self.vector = loss, vector.copy()
        return loss, gradient

    def _bowl(self, vector: Array) -> tuple[float, Array]:
        """In the place of what is not finite: a bowl around the best point, which leads a line search back."""
        away = vector - self.vector
        size = max(float(away @ away), np.finfo(float).tiny)
        rise = max(1.0, abs(self.loss))
        return self.loss + rise, 2 * rise / size * away


def fit_lbfgs(
    net: ArticleNetwork,
    X: Any,
    y: Any,
    max_iter: int,
    tol: float,
    memory: int,
    sample_weight: Any,
    class_weight: Mapping[Any, float] | str | None,
    callback: Callable[[int, float], object] | None,
) -> History:
    """See `NeuralNetwork.fit_lbfgs`."""
    optimize = needs("scipy.optimize", "fit_lbfgs", "scipy")
    max_iter, memory = positive_integer(max_iter, "max_iter"), positive_integer(memory, "memory")
    tol = positive_number(tol, "tol")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback is {callback!r}; expected a function of the iteration and the loss")
    function = _full_gradient(net, X, y, sample_weight, class_weight)
    search, history = _Search(function), History()

    def after_iteration(_: Array) -> None:
        function.vector = search.vector
        for layer, best in zip(net.layers, function.layers):
            for (name, place), values in zip(layer.arrays().items(), best.arrays().values()):
                layer._assign(name, place, values)
        iteration = len(history.epoch) + 1
        history.add(iteration, {"loss": search.loss, "evaluations": search.evaluations})
        if callback is not None:
            callback(iteration, search.loss)

    options = {
        "maxiter": max_iter,
        "maxfun": 100 * max_iter,  # a line search takes 20 at most
        "maxcor": memory,
        "gtol": tol,
        "ftol": np.finfo(float).eps,
    }
    try:
        result = optimize.minimize(
            search, search.vector, jac=True, method="L-BFGS-B", callback=after_iteration, options=options
        )
        history.stopped = {0: "converged", 1: ""}.get(result.status, "no better point was found along the last line")
    except StopTraining as request:
        history.stopped = str(request)
    except KeyboardInterrupt:
        history.stopped = f"interrupted after {len(history.epoch)} iterations"
    return history


def _full_gradient(
    net: ArticleNetwork, X: Any, y: Any, sample_weight: Any, class_weight: Mapping[Any, float] | str | None
) -> FullGradient:
    """The function of a network's copy, once everything is checked."""
    for index, layer in enumerate(net.layers):
        for name, value in (("l1", layer.l1), ("max_norm", layer.max_norm)):
            if value and layer.trainable:
                raise ValueError(
                    f"layers[{index}].{name} is {value}, but L-BFGS needs a smooth loss without limits; expected "
                    f"{name} to be {'0' if name == 'l1' else 'None'}: use l2, or train with fit"
                )
        if isinstance(layer, (Dropout, GaussianNoise, BatchNorm)):
            raise ValueError(
                f"layers[{index}] is {layer!r}, with which the loss is no function of the parameters alone, as L-BFGS "
                "needs it; expected a network without: use l2 or LayerNorm, or train with fit"
            )
    if not any(layer.trainable and layer.shape[0] for layer in net.layers):
        raise ValueError("no layer is trainable; set layer.trainable = True for one at least")
    plan, dtype = net._ready(), np.dtype(np.float64)
    ins, outs = plan.layers[0].ins, plan.layers[-1].outs
    rows = feature_rows(X, "X", ins, dtype)
    targets, classes = target_rows(y, "y", rows.shape[0], outs, net.loss_function, dtype)
    indices = targets.view(np.int64) if classes else None
    weights = sample_weights(sample_weight, class_weight, indices, rows.shape[0])
    net._adapt(rows)
    return FullGradient(copy.deepcopy(net.layers), net.loss_function, rows, targets, classes, weights)
