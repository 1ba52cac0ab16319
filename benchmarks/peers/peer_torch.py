"""PyTorch, eager and compiled.

Best practice: tensors that share the data set's memory, `Sequential` of `Linear`s, the optimiser's fused
form, gradients set to None, as many threads as cores, inference in `inference_mode`. Many networks are one
bank of stacked weights with `baddbmm`, which is what `torch.func.vmap` would make of it. `TorchCompiled` puts
`torch.compile` around the forward pass with the loss, and around the optimiser's step (not fused then: the
compiler fuses it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .contestant import Unable
from .workloads import LEAK, Data, Parameters, Workload

_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "leaky_relu": lambda y: F.leaky_relu(y, LEAK),
    "relu": F.relu,
    "tanh": torch.tanh,
    "identity": lambda y: y,
}


class Network(nn.Module):
    """One network of Linear layers."""

    def __init__(self, workload: Workload, parameters: list[Parameters]) -> None:
        super().__init__()
        self.activations = [_ACTIVATIONS[name] for name in workload.activations]
        self.linears = nn.ModuleList([nn.Linear(*ends) for ends in zip(workload.sizes, workload.sizes[1:])])
        self.to(getattr(torch, workload.dtype))
        with torch.no_grad():
            for linear, (W, b) in zip(self.linears, parameters[0]):
                linear.weight.copy_(torch.from_numpy(W))
                linear.bias.copy_(torch.from_numpy(b))

    def forward(self, x: Any) -> Any:
        """Outputs for rows x."""
        for linear, activation in zip(self.linears, self.activations):
            x = activation(linear(x))
        return x

    def layers(self) -> list[list[tuple[Any, Any]]]:
        """W and b of each layer, of each network."""
        return [[(linear.weight, linear.bias) for linear in self.linears]]


class Bank(nn.Module):
    """Many networks: weights (networks, ins, outs) and biases (networks, 1, outs)."""

    def __init__(self, workload: Workload, parameters: list[Parameters]) -> None:
        super().__init__()
        self.activations = [_ACTIVATIONS[name] for name in workload.activations]
        stacked = [[np.stack(arrays) for arrays in zip(*layer)] for layer in zip(*parameters)]
        self.Ws = nn.ParameterList([torch.from_numpy(W.transpose(0, 2, 1).copy()) for W, _ in stacked])
        self.bs = nn.ParameterList([torch.from_numpy(b[:, None].copy()) for _, b in stacked])

    def forward(self, x: Any) -> Any:
        """Outputs (networks, n, outs) for rows x."""
        x = x.expand(len(self.Ws[0]), *x.shape)
        for W, b, activation in zip(self.Ws, self.bs, self.activations):
            x = activation(torch.baddbmm(b, x, W))
        return x

    def layers(self) -> list[list[tuple[Any, Any]]]:
        """W and b of each layer, of each network."""
        count = len(self.Ws[0])
        return [[(W[k].T, b[k, 0]) for W, b in zip(self.Ws, self.bs)] for k in range(count)]


class Torch:
    """See `Contestant`."""

    note = ""
    compiled = False

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        torch.set_num_threads(threads)
        self.workload = workload
        self.net = (Bank if workload.networks > 1 else Network)(workload, parameters)
        self.X, self.y = torch.from_numpy(data.X), torch.from_numpy(data.y)
        optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[workload.optimizer]
        fused = None if self.compiled else True
        self.optimizer = optimizer(self.net.parameters(), lr=workload.lr, fused=fused)
        self.loss, self.forward, self.update = self._loss, self.net, self.optimizer.step
        if self.compiled:
            torch._dynamo.reset()  # no guards of another workload
            self.loss, self.forward = torch.compile(self.loss), torch.compile(self.net)
            self.update = torch.compile(self.update)
        batch = workload.batch
        self.batches = list(zip(self.X.split(batch), self.y.split(batch))) if workload.kind == "train" else []
        self.rows = list(self.X.split(1)) if workload.kind == "row" else []

    def _loss(self, x: Any, t: Any) -> Any:
        values = self.net(x)
        if self.workload.networks > 1:  # each network has its own mean
            return F.mse_loss(values, t.expand_as(values)) * self.workload.networks
        return F.mse_loss(values, t) if self.workload.loss == "mse" else F.cross_entropy(values, t)

    def run(self, passes: int) -> None:
        """See `Contestant`."""
        kind = self.workload.kind
        for _ in range(passes):
            if kind == "train":
                for x, t in self.batches:
                    self.optimizer.zero_grad()
                    self.loss(x, t).backward()
                    self.update()
            elif kind == "gradient":
                for _ in range(self.workload.steps):
                    self.net.zero_grad()
                    self.value = self.loss(self.X, self.y)
                    self.value.backward()
            else:
                with torch.inference_mode():
                    for x in self.rows or [self.X]:
                        self.forward(x)

    def result(self) -> list[np.ndarray]:
        """See `Contestant`."""
        if self.workload.kind in ("row", "rows"):
            with torch.inference_mode():
                return [torch.cat([self.forward(x) for x in self.rows or [self.X]]).numpy()]
        if self.workload.kind == "gradient":
            pairs = [(W.grad, b.grad) for W, b in self.net.layers()[0]]
            return [self.value.detach().numpy(), *(g.numpy() for pair in pairs for g in pair)]
        return [a.detach().numpy().copy() for net in self.net.layers() for pair in net for a in pair]


class TorchCompiled(Torch):
    """The same through `torch.compile`."""

    compiled = True

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        if workload.kind == "train" and workload.batch == 1:
            raise Unable("a call a sample: see eager")
        super().__init__(workload, data, parameters, threads)
