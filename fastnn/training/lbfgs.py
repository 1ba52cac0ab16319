"""L-BFGS on all samples at once: scipy's method, with loss and gradient from the compiled kernels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import Array, positive_integer, positive_number
from ..data.samples import Samples
from ..engine.engine import Engine
from ..extras import needs
from ..formulas.optimizers import SGD
from ..formulas.schedules import Constant
from ..layers.dense import Layer
from ..layers.noise import Dropout, GaussianNoise
from ..layers.normalisation import BatchNorm
from ..layers.vector import packed, trained, unpack, unpacked
from ..room import room
from .callbacks import StopTraining
from .guard import DivergedError
from .history import History
from .settings import Settings

BLOCK = 256  # samples that go through the network at once: few enough to stay in the cache


class FullGradient:
    """The loss over all samples, penalties included, and its gradient, as a function of a flat vector.

    The vector is that of ``layers.vector``; layers that are not trainable have gradient 0 in it. The engine
    is the workspace: its layers get the parameters of each call.

    Parameters
    ----------
    engine : Engine
        In float64.
    samples : Samples
    weights : ndarray (n,), optional
        Weights of the samples' losses.
    """

    def __init__(self, engine: Engine, samples: Samples, weights: Array | None = None) -> None:
        self.engine, self._count = engine, samples.size
        parts = [slice(first, min(first + BLOCK, samples.size)) for first in range(0, samples.size, BLOCK)]
        self._blocks = [(samples.take(part), None if weights is None else weights[part]) for part in parts]

    @property
    def vector(self) -> Array:
        """A copy of the parameters as they are."""
        return packed(self.engine.layers)

    @vector.setter
    def vector(self, values: Array) -> None:
        unpack(values, self.engine.layers, "vector")

    def __call__(self, vector: Array) -> tuple[float, Array]:
        """The loss and its gradient there; NaN at a point that is none, such as a line search may come to."""
        if not np.isfinite(vector).all():
            return math.nan, np.full(vector.size, math.nan)
        self.vector = vector
        loss, gradient = 0.0, np.zeros(vector.size)
        for samples, weights in self._blocks:
            part_loss, part_gradient = self.engine.gradient(samples, weights)
            share = samples.size / self._count
            loss += share * part_loss
            gradient += share * part_gradient
        layers = self.engine.layers
        places = dict(zip(map(id, trained(layers)), unpacked(gradient, layers)))
        for layer in layers:  # the penalties, as in training: of a layer that stands in two places, twice
            if isinstance(layer, Layer) and layer.l2 and layer.trainable:
                W = layer.trained_numbers()[: layer.ins]
                loss += layer.l2 / 2 * float(np.sum(W * W))
                places[id(layer)][: layer.ins] += layer.l2 * W
        return loss, gradient


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
                    f"the loss is {loss} before any step, or its gradient is not finite: the weights are too large, "
                    "or the inputs or targets are. Make the layers anew, or scale inputs and targets to mean 0 and "
                    "variance 1."
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
    engine: Engine,
    X: Any,
    y: Any,
    settings: Settings,
    *,
    tol: float,
    memory: int,
    callback: Callable[[int, float], object] | None,
    flat: float = float(np.finfo(float).eps),
    max_evaluations: int | None = None,
) -> History:
    """See `NeuralNetwork.fit_lbfgs`; its `max_iter` are the epochs of `settings`.

    It also ends where an iteration makes the loss less by no more than its `flat`-th part, or after
    `max_evaluations`, by default 100 for each iteration: a line search takes 20 at most.
    """
    optimize = needs("scipy.optimize", "fit_lbfgs", "scipy")
    max_iter, memory, tol = settings.epochs, positive_integer(memory, "memory"), positive_number(tol, "tol")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback is {callback!r}; expected a function of the iteration and the loss")
    function = _full_gradient(engine, X, y, settings)
    search, history = _Search(function), History()

    def after_iteration(_: Array) -> None:
        function.vector = search.vector
        engine.weights = function.engine.weights
        iteration = len(history.epoch) + 1
        history.add(iteration, {"loss": search.loss, "evaluations": search.evaluations})
        if callback is not None:
            callback(iteration, search.loss)

    options = {
        "maxiter": max_iter,
        "maxfun": max_evaluations or 100 * max_iter,
        "maxcor": memory,
        "gtol": tol,
        "ftol": flat,
    }
    size = search.vector.size
    # SciPy's workspace: two vectors for each past step, and matrices of past steps
    nbytes = 8 * (2 * memory * size + 5 * size + 11 * memory**2 + 8 * memory)
    try:
        with room(nbytes, f"fit_lbfgs with memory {memory} and {size} parameters", "a smaller memory"):
            result = optimize.minimize(
                search, search.vector, jac=True, method="L-BFGS-B", callback=after_iteration, options=options
            )
        history.stopped = {0: "converged", 1: ""}.get(result.status, "no better point was found along the last line")
    except StopTraining as request:
        history.stopped = request.reason
    except KeyboardInterrupt:
        history.stopped = f"interrupted after {len(history.epoch)} iterations"
    return history


def _full_gradient(engine: Engine, X: Any, y: Any, settings: Settings) -> FullGradient:
    """The function of a network's copy, once everything is checked."""
    for index, layer in enumerate(engine.layers):
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
    if not any(layer.trainable and layer.shape[0] for layer in engine.layers):
        raise ValueError("no layer is trainable; set layer.trainable = True for one at least")
    form = engine.form.fitted_to(X).fitted_to_targets(y)
    form = form.of_dtype(np.dtype(np.float64))  # what is fitted is so to the network's own
    samples = Samples.of_rows(form, X, y)
    weights = samples.weights(settings.sample_weight, settings.class_weight)
    engine.take_up(form)
    layers = engine.alone(lambda: copy.deepcopy(engine.layers))
    return FullGradient(Engine(layers, engine.loss, Constant(0.0), SGD(), dtype="float64"), samples, weights)
