"""The article in plain NumPy: no Numba, no cleverness. The oracle of every test.

It has the article's API, with the same additions as the compiled `fastnn.NeuralNetwork`: many
columns at once, batches, epochs, shuffling. Activations, losses and initialisers are fastnn's
own: their formulas are NumPy. Use it to read what the kernels compute, or to check them::

    from fastnn import reference
    slow = reference.copy_of(net)
    slow.train(x, t)
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from .checks import Array
from .formulas.activations import ActivationFunction
from .formulas.initializers import Initializer, generator, initializer, initializer_of_biases
from .formulas.losses import LossFunction
from .formulas.names import named
from .formulas.optimizers import SGD, Optimizer
from .kernels.random import GOLDEN, STEP, mixed
from .layers.noise import noise_key
from .layers.stage import Stage
from .layers.targets import StandardizeTargets


class Layer:
    """``x = f(W x + b)``, with W (outs, ins) and b (outs, 1)."""

    def __init__(
        self,
        ins: int,
        outs: int,
        act_function: ActivationFunction | str,
        *,
        init: str | Initializer | None = None,
        bias_init: str | Initializer | None = None,
        seed: int | np.random.Generator | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        max_norm: float | None = None,
        trainable: bool = True,
        lr_factor: float = 1.0,
        bias_lr_factor: float = 1.0,
    ) -> None:
        self.ins = ins
        self.outs = outs
        self.act_function = named(ActivationFunction, act_function, "act_function")
        self.l1, self.l2, self.max_norm, self.trainable = l1, l2, max_norm, trainable
        self.lr_factor, self.bias_lr_factor = lr_factor, bias_lr_factor
        draw = initializer(self.act_function.init if init is None else init)
        rng = generator(seed)
        self._W = draw(outs, ins, rng)
        self._b = initializer_of_biases(bias_init, draw, ins)(outs, 1, rng)

    def forward_pass(self, x: Array) -> Array:
        """The layer's outputs for columns x."""
        return np.asarray(self.act_function.f(np.dot(self._W, x) + self._b))


class NeuralNetwork:
    """The article's network; see `fastnn.NeuralNetwork` for the parameters."""

    def __init__(
        self,
        layers: list[Layer | Stage],
        loss_function: LossFunction | str,
        learning_rate: float,
        optimizer: Optimizer | str | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        self._layers: list[Any] = layers
        self._loss_function = named(LossFunction, loss_function, "loss_function")
        self.lr = learning_rate
        self.optimizer = SGD() if optimizer is None else named(Optimizer, optimizer, "optimizer")
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self._steps = 0
        self._state: list[list[Array]] | None = None
        for below, above in zip(layers[:-1], layers[1:]):
            if below.outs != above.ins:
                raise ValueError("Layers should have compatible shapes.")

    def forward_pass(self, x: Array) -> Array:
        """The network's outputs for columns x."""
        for layer in self._layers:
            x = layer.forward_pass(x)
        return x

    def loss(self, values: Array, expected: Any) -> float:
        """The mean loss over the columns."""
        targets = self._targets(expected, values.shape[1])
        losses = [self._loss_function.loss(v, t) for v, t in zip(columns_of(values, values.shape[1]), targets)]
        return float(np.mean(losses))

    def _targets(self, expected: Any, n: int) -> list[Any]:
        """The targets of n columns, one by one, as the loss takes them."""
        last = self._layers[-1]
        if isinstance(last, StandardizeTargets):
            expected = (expected - last.mean) / last.std
        return columns_of(expected, n)

    def train_column(self, x: Array, t: Any) -> None:
        """One step on one column, as the article writes it: what the benchmarks compare with."""
        xs = [x]
        for layer in self._layers:
            xs.append(layer.forward_pass(xs[-1]))
        dx = self._loss_function.dloss(xs.pop(), t)
        for layer, x in zip(self._layers[::-1], xs[::-1]):
            y = np.dot(layer._W, x) + layer._b
            db = layer.act_function.df(y) * dx
            dx = np.dot(layer._W.T, db)
            dW = np.dot(db, x.T)
            layer._W -= self.lr * dW
            layer._b -= self.lr * db

    def gradients(
        self, x: Array, t: Any, training: bool = False, seed: int = 0, step: int = 0
    ) -> tuple[list[Array], list[Array], list[Array], float]:
        """The article's recursion; the lists dxs, dWs, dbs are in the order of the layers."""
        n = x.shape[1]
        xs, kept = [x], []
        for index, layer in enumerate(self._layers):
            if isinstance(layer, Stage):
                out, keep = layer.forward(xs[-1], training, noise_key(seed, step, index))
            else:
                out, keep = layer.forward_pass(xs[-1]), None
            xs.append(out)
            kept.append(keep)
        values = xs.pop()
        targets = self._targets(t, n)
        dloss = [self._loss_function.dloss(v, t_i) for v, t_i in zip(columns_of(values, n), targets)]
        dx = np.concatenate(dloss, axis=1) / n
        dxs: list[Array] = [dx]
        dWs: list[Array] = []
        dbs: list[Array] = []
        for layer, x, keep in zip(self._layers[::-1], xs[::-1], kept[::-1]):
            if isinstance(layer, Stage):
                dx, rows = layer.backward(dx, keep)
                dW, db = in_two(np.concatenate([np.zeros((layer.outs, 0)), *rows], axis=1))
            else:
                y = np.dot(layer._W, x) + layer._b
                db = layer.act_function.df(y) * dx
                dx = np.dot(layer._W.T, db)
                dW, db = np.dot(db, x.T), np.sum(db, axis=1, keepdims=True)
            dxs.insert(0, dx)
            dWs.insert(0, dW)
            dbs.insert(0, db)
        return dxs, dWs, dbs, self.loss(values, t)

    def train(
        self,
        x: Array,
        t: Any,
        epochs: int = 1,
        batch_size: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        equal_batches: bool = False,
    ) -> float:
        """Gradient descent; returns the mean loss over the columns during the last epoch.

        Batches are those of `fastnn.NeuralNetwork.train`, or `equal_batches`, those of `fastnn.NeuralNetwork.fit`.
        """
        n = x.shape[1]
        steps = -(-n // batch_size)
        for epoch in range(epochs):
            order = shuffled(n, seed, epoch) if shuffle else np.arange(n)
            total = 0.0
            parted = np.array_split(order, steps if equal_batches else range(batch_size, n, batch_size))
            for k, columns in enumerate(parted):
                targets = t if np.ndim(t) == 0 else np.asarray(t)[..., columns]
                _, dWs, dbs, loss = self.gradients(x[:, columns], targets, True, seed, epoch * steps + k)
                loss += self._step(dWs, dbs)
                total += loss * len(columns)
        return float(total / n)

    def _step(self, dWs: list[Array], dbs: list[Array]) -> float:
        """One step of the optimiser; returns the penalties, which are a part of the loss."""
        layers = [(i, layer) for i, layer in enumerate(self._layers) if layer.trainable]
        penalty = 0.0
        for i, layer in layers:
            if isinstance(layer, Stage):
                continue
            W = layer._W
            penalty += layer.l1 * np.sum(np.abs(W)) + layer.l2 / 2 * np.sum(W**2)
            dWs[i] = dWs[i] + layer.l1 * np.sign(W) + layer.l2 * W
        gradients = [(dWs[i], dbs[i]) for i, _ in layers]
        if self.clip_value is not None:
            limit = self.clip_value
            gradients = [(np.clip(dW, -limit, limit), np.clip(db, -limit, limit)) for dW, db in gradients]
        if self.clip_norm is not None:
            norm = np.sqrt(sum(np.sum(dW**2) + np.sum(db**2) for dW, db in gradients))
            scale = min(1.0, self.clip_norm / max(norm, 1e-300))
            gradients = [(dW * scale, db * scale) for dW, db in gradients]
        if self._state is None:
            start = self.optimizer.state.values()
            both = [p for layer in self._layers for p in parameters_of(layer)]
            self._state = [[np.full_like(p, value) for value in start] for p in both]
        self._steps += 1
        for (i, layer), (dW, db) in zip(layers, gradients):
            factors = (layer.lr_factor, getattr(layer, "bias_lr_factor", layer.lr_factor))
            parts = zip(parameters_of(layer), (dW, db), factors)
            W, b = (self._updated(2 * i + k, p, g, self.lr * factor) for k, (p, g, factor) in enumerate(parts))
            if isinstance(layer, Stage):
                for place, value in zip(parameters_of(layer), (W, b)):
                    place[...] = value
                continue
            layer._W, layer._b = W, b
            if layer.max_norm is not None:
                norms = np.linalg.norm(layer._W, axis=1, keepdims=True)
                layer._W = layer._W * np.minimum(1.0, layer.max_norm / np.maximum(norms, 1e-300))
        return float(penalty)

    def _updated(self, place: int, w: Array, g: Array, lr: float) -> Array:
        assert self._state is not None
        result = self.optimizer.update(w, g, lr, float(self._steps), *self._state[place])
        if not self.optimizer.state:
            return np.asarray(result)
        w, *self._state[place] = result
        return w


def parameters_of(layer: Layer | Stage) -> tuple[Array, Array]:
    """What training changes: views of W and b, or of the trained rows of a stage, however many it has."""
    if not isinstance(layer, Stage):
        return layer._W, layer._b
    return in_two(layer.trained_numbers().T)


def in_two(columns: Array) -> tuple[Array, Array]:
    """The trained rows of a stage, as columns (outs, rows), in the places of W and b: the last one stands for b."""
    return columns[:, :-1], columns[:, -1:]


def columns_of(values: Any, n: int) -> list[Any]:
    """n columns or class indices, one by one."""
    values = np.asarray(values)
    if values.ndim == 2:
        return [values[:, i : i + 1] for i in range(n)]
    return [int(index) for index in values.reshape(n)]


def shuffled(n: int, seed: int, epoch: int) -> Array:
    """The order of the samples in one epoch: Fisher and Yates, with SplitMix64 as the source."""
    numbers = mixed(np.uint64((seed + epoch * int(STEP)) % 2**64) + np.arange(n, dtype=np.uint64) * GOLDEN).tolist()
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        j = numbers[i] % (i + 1)
        order[i], order[j] = order[j], order[i]
    return np.array(order)


def copy_of(net: Any) -> NeuralNetwork:
    """A reference network with the parameters of a compiled one."""
    layers: list[Layer | Stage] = []
    for layer in net.layers:
        if isinstance(layer, Stage):
            layers.append(deepcopy(layer))
            continue
        copy = Layer(layer.ins, layer.outs, layer.act_function)
        copy.l1, copy.l2, copy.max_norm, copy.trainable = layer.l1, layer.l2, layer.max_norm, layer.trainable
        copy.lr_factor, copy.bias_lr_factor = layer.lr_factors(net.optimizer)
        copy._W, copy._b = np.array(layer.weights), np.array(layer.biases)
        layers.append(copy)
    return NeuralNetwork(layers, net.loss_function, net.lr, net.optimizer, net.clip_norm, net.clip_value)
