"""JAX.

Best practice: one `jit` for the whole epoch, a `lax.scan` over its batches (or samples), data on the device
beforehand, parameters and Adam's moments donated, so that they are updated in place. Many networks are a
`vmap` inside the scan. Inference and gradient are one jitted call each.

What was measured to be best: weights (outs, ins), which are 8% faster than (ins, outs) for batches and 2.7
times as fast online on 784 inputs; the scan not unrolled. For tiny networks online, sums of products in the
place of ``@`` (15%), and a scan of ten steps within the scan, which XLA (of JAX 0.10) compiles into one kernel,
2.4 times as fast. For inference, weights that are constants of the compiled function, and no asynchronous
dispatch (one row: 12 us in the place of 39).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .workloads import LEAK, Data, Parameters, Workload

_ACTIVATIONS = {
    "leaky_relu": lambda y: jnp.maximum(y, LEAK * y),
    "relu": lambda y: jnp.maximum(y, 0),
    "tanh": jnp.tanh,
    "identity": lambda y: y,
}


jax.config.update("jax_cpu_enable_async_dispatch", False)


class Jax:
    """See `Contestant`."""

    note = ""

    def __init__(self, workload: Workload, data: Data, parameters: list[Parameters], threads: int) -> None:
        jax.config.update("jax_enable_x64", workload.dtype == "float64")
        self.workload, self.tiny, self.nested = workload, False, False
        nets = [[(jnp.asarray(W), jnp.asarray(b)) for W, b in each] for each in parameters]
        self.parameters = nets[0]
        if workload.networks > 1:
            self.parameters = jax.tree.map(lambda *arrays: jnp.stack(arrays), *nets)
        kind = workload.kind
        if kind == "train":
            zeros = partial(jax.tree.map, jnp.zeros_like)
            moments = (zeros(self.parameters), zeros(self.parameters)) if workload.optimizer == "adam" else ()
            self.state = self.parameters, moments, jnp.zeros((), workload.dtype)
            shape = (workload.steps,) if workload.batch == 1 else (workload.steps, workload.batch)
            self.tiny = workload.batch == 1 and max(workload.sizes) < 16
            if self.tiny and workload.steps % 10 == 0:
                shape = workload.steps // 10, 10
            self.nested = len(shape) > 1 and workload.batch == 1
            self.X, self.y = (jnp.asarray(a.reshape(*shape, *a.shape[1:])) for a in data)
            self.epoch = jax.jit(self._epoch, donate_argnums=0)
        else:
            self.forward = jax.jit(partial(self._forward, self.parameters))
            self.gradients = jax.jit(jax.value_and_grad(self._loss))
            self.X, self.y = jnp.asarray(data.X), jnp.asarray(data.y)
            self.rows = [self.X[i : i + 1] for i in range(workload.steps)] if kind == "row" else []
        jax.block_until_ready((self.X, self.y, self.parameters))

    # --- the work ----------------------------------------------------------------------------

    def _forward(self, parameters: Any, x: Any) -> Any:
        for (W, b), activation in zip(parameters, self.workload.activations):
            y = jnp.sum(W * x, axis=1) if self.tiny else W @ x if x.ndim == 1 else x @ W.T
            x = _ACTIVATIONS[activation](y + b)
        return x

    def _loss(self, parameters: Any, x: Any, t: Any) -> Any:
        values = self._forward(parameters, x)
        if self.workload.loss == "mse":
            return jnp.mean((values - t) ** 2)
        own = jnp.where(t[..., None] == jnp.arange(values.shape[-1]), values, 0)
        return jnp.mean(jax.nn.logsumexp(values, axis=-1) - jnp.sum(own, axis=-1))

    def _step(self, state: Any, batch: Any) -> tuple[Any, None]:
        parameters, moments, steps = state
        gradient = jax.grad(self._loss)
        if self.workload.networks > 1:
            gradient = jax.vmap(gradient, in_axes=(0, None, None))
        g, lr = gradient(parameters, *batch), self.workload.lr
        if self.workload.optimizer == "sgd":
            return (jax.tree.map(lambda p, g: p - lr * g, parameters, g), moments, steps), None
        steps = steps + 1
        m, v = moments
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        size, root = lr / (1 - 0.9**steps), jnp.sqrt(1 - 0.999**steps)
        parameters = jax.tree.map(lambda p, m, v: p - size * m / (jnp.sqrt(v) / root + 1e-8), parameters, m, v)
        return (parameters, (m, v), steps), None

    def _epoch(self, state: Any, X: Any, y: Any) -> Any:
        step = self._step
        if self.nested:
            step = partial(jax.lax.scan, self._step)
        return jax.lax.scan(step, state, (X, y))[0]

    def run(self, passes: int) -> None:
        """See `Contestant`."""
        kind = self.workload.kind
        for _ in range(passes):
            if kind == "train":
                self.state = self.epoch(self.state, self.X, self.y)
            elif kind == "gradient":
                for _ in range(self.workload.steps):
                    jax.block_until_ready(self.gradients(self.parameters, self.X, self.y))
            elif kind == "row":
                for row in self.rows:
                    self.forward(row).block_until_ready()
            else:
                self.forward(self.X).block_until_ready()
        if kind == "train":
            jax.block_until_ready(self.state)

    def result(self) -> list[np.ndarray]:
        """See `Contestant`."""
        if self.workload.kind in ("row", "rows"):
            return [np.asarray(self.forward(self.X))]
        if self.workload.kind == "gradient":
            loss, gradients = self.gradients(self.parameters, self.X, self.y)
            return [np.asarray(loss), *(np.asarray(g) for pair in gradients for g in pair)]
        trained = jax.device_get(self.state[0])
        count = self.workload.networks
        nets = [[(W[k], b[k]) for W, b in trained] for k in range(count)] if count > 1 else [trained]
        return [a for net in nets for pair in net for a in pair]
