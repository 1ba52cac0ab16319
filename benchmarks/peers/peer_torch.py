"""PyTorch, eager and compiled.

Best practice, eager: tensors that share the data set's memory, as few calls as the step needs (`linear`,
activation, loss, `backward`, the optimiser's fused form), gradients set to None, as many threads as cores,
inference in `inference_mode`. Many networks are one bank of stacked weights with `baddbmm`, which is what
`torch.func.vmap` would make of it.

Compiled: `torch.compile` of the whole step as one function, gradient (`torch.func`) and update included. On
16-64-64-26 that takes 0.4 of the time of eager, where compiling loss and optimiser apart gains nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .workloads import LEAK, Data, Parameters, Workload

_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "leaky_relu": lambda y: F.leaky_relu(y, LEAK),
    "relu": F.relu,
    "tanh": torch.tanh,
    "identity": lambda y: y,
}


class Torch:
    """See `Contestant`. Parameters are a flat list: W, b of the first layer, then of the next.

    Of one network W is (outs, ins) and b (outs,); of a bank (networks, ins, outs) and (networks, 1, outs).
    """

    note = ""

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        torch.set_num_threads(threads)
        self.workload, self.bank = workload, workload.networks > 1
        self.activations = [_ACTIVATIONS[name] for name in workload.activations]
        arrays = [array.copy() for layer in parameters[0] for array in layer]
        if self.bank:
            layers = [[np.stack(arrays) for arrays in zip(*layer)] for layer in zip(*parameters)]
            arrays = [array for W, b in layers for array in (W.transpose(0, 2, 1).copy(), b[:, None])]
        self.parameters = [torch.from_numpy(array).requires_grad_() for array in arrays]
        self.X, self.y = torch.from_numpy(data.X), torch.from_numpy(data.y)
        batch = workload.batch
        self.batches = list(zip(self.X.split(batch), self.y.split(batch))) if workload.kind == "train" else []
        self.rows = list(self.X.split(1)) if workload.kind == "row" else [self.X]
        self.prepare()

    def prepare(self) -> None:
        """Choose how to step, to differentiate and to infer."""
        optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[self.workload.optimizer]
        self.optimizer = optimizer(self.parameters, lr=self.workload.lr, fused=True)
        self.infer = self.forward

    def forward(self, parameters: list[Any], x: Any) -> Any:
        """Outputs for rows x, (n, outs) or (networks, n, outs)."""
        if self.bank:
            x = x.expand(self.workload.networks, *x.shape)
        for W, b, activation in zip(parameters[::2], parameters[1::2], self.activations):
            x = activation(torch.baddbmm(b, x, W) if self.bank else F.linear(x, W, b))
        return x

    def loss(self, parameters: list[Any], x: Any, t: Any) -> Any:
        """The mean loss of a batch; of a bank the sum of the networks' losses."""
        values = self.forward(parameters, x)
        if self.bank:
            return F.mse_loss(values, t.expand_as(values)) * self.workload.networks
        return F.mse_loss(values, t) if self.workload.loss == "mse" else F.cross_entropy(values, t)

    def step(self, x: Any, t: Any) -> None:
        """One step of the optimiser."""
        self.optimizer.zero_grad()
        self.loss(self.parameters, x, t).backward()
        self.optimizer.step()

    def gradients(self) -> tuple[Any, Any]:
        """Gradients and loss for all samples."""
        loss = self.loss(self.parameters, self.X, self.y)
        return torch.autograd.grad(loss, self.parameters), loss

    def run(self, passes: int) -> None:
        """See `Contestant`."""
        kind = self.workload.kind
        for _ in range(passes):
            if kind == "train":
                for x, t in self.batches:
                    self.step(x, t)
            elif kind == "gradient":
                for _ in range(self.workload.steps):
                    self.gradients()
            else:
                with torch.inference_mode():
                    for x in self.rows:
                        self.infer(self.parameters, x)

    def result(self) -> list[np.ndarray]:
        """See `Contestant`."""
        if self.workload.kind in ("row", "rows"):
            with torch.inference_mode():
                return [torch.cat([self.infer(self.parameters, x) for x in self.rows]).numpy()]
        if self.workload.kind == "gradient":
            gradients, loss = self.gradients()
            return [loss.detach().numpy(), *(g.numpy() for g in gradients)]
        trained = [p.detach().numpy().copy() for p in self.parameters]
        if not self.bank:
            return trained
        layers = list(zip(trained[::2], trained[1::2]))
        return [a for k in range(self.workload.networks) for W, b in layers for a in (W[k].T, b[k, 0])]


class TorchCompiled(Torch):
    """The same work through `torch.compile`."""

    def prepare(self) -> None:
        """See `Torch.prepare`."""
        torch._dynamo.reset()  # nothing is kept of another workload
        for p in self.parameters:
            p.requires_grad_(False)
        self.moments = [[torch.zeros_like(p) for p in self.parameters] for _ in range(2)]
        self.steps = torch.zeros((), dtype=self.X.dtype)
        self.infer = torch.compile(self.forward)
        self.compiled_step = torch.compile(self._step)
        self.compiled_gradients = torch.compile(torch.func.grad_and_value(self.loss))

    def _step(self, parameters: list[Any], ms: list[Any], vs: list[Any], steps: Any, x: Any, t: Any) -> None:
        gradients, lr = torch.func.grad(self.loss)(parameters, x, t), self.workload.lr
        if self.workload.optimizer == "sgd":
            for p, g in zip(parameters, gradients):
                p.sub_(lr * g)
            return
        steps += 1
        size, root = lr / (1 - 0.9**steps), torch.sqrt(1 - 0.999**steps)
        for p, m, v, g in zip(parameters, ms, vs, gradients):
            m.mul_(0.9).add_(g, alpha=0.1)
            v.mul_(0.999).addcmul_(g, g, value=0.001)
            p.sub_(size * m / (torch.sqrt(v) / root + 1e-8))

    def step(self, x: Any, t: Any) -> None:
        """See `Torch.step`."""
        self.compiled_step(self.parameters, *self.moments, self.steps, x, t)

    def gradients(self) -> tuple[Any, Any]:
        """See `Torch.gradients`."""
        return self.compiled_gradients(self.parameters, self.X, self.y)
