"""W10: how long a new process takes from its start to the end of a first small fit.

Each peer trains the same network, 16-64-64-26 with Adam, for 5 epochs on the same 320 samples in batches of 32,
each from weights of its own. *Cold*: fastnn's and JAX's caches of compiled code are empty. *Warm*: an earlier
process has filled them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .contestant import Unable, Unfit
from .workloads import Workload

_DATA = """
import numpy as np
rng = np.random.default_rng(0)
X, y = rng.random((320, 16), "float32"), rng.integers(0, 26, 320)
"""

_PROGRAMS = {
    "fastnn": """
from fastnn import Adam, CrossEntropyLoss, Identity, Layer, NeuralNetwork, ReLU
layers = [Layer(16, 64, ReLU()), Layer(64, 64, ReLU()), Layer(64, 26, Identity())]
net = NeuralNetwork(layers, CrossEntropyLoss(), 1e-3, Adam(), dtype="float32")
net.fit(X, y, epochs=5, batch_size=32, shuffle=False, verbose=0)
""",
    "torch": """
import torch
from torch import nn
net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 26))
optimizer, loss = torch.optim.Adam(net.parameters(), fused=True), nn.CrossEntropyLoss()
batches = list(zip(torch.from_numpy(X).split(32), torch.from_numpy(y).split(32)))
for _ in range(5):
    for x, t in batches:
        optimizer.zero_grad()
        loss(net(x), t).backward()
        optimizer.step()
""",
    "sklearn": """
import warnings
from sklearn.neural_network import MLPClassifier
warnings.simplefilter("ignore")
net = MLPClassifier((64, 64), batch_size=32, alpha=0, max_iter=5, shuffle=False)
net.fit(X, y)
""",
    "jax": """
import jax
from jax import numpy as jnp
ends = [(16, 64), (64, 64), (64, 26)]
p = [(rng.normal(0, 0.1, size).astype("float32"), np.zeros(size[1], "float32")) for size in ends]

def loss(p, x, t):
    for W, b in p[:-1]:
        x = jax.nn.relu(x @ W + b)
    W, b = p[-1]
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x @ W + b), t[:, None], 1))

def step(state, batch):
    p, m, v, k = state
    g, k = jax.grad(loss)(p, *batch), k + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
    rate, root = 1e-3 / (1 - 0.9**k), jnp.sqrt(1 - 0.999**k)
    return (jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), p, m, v), m, v, k), None

epoch = jax.jit(lambda state, X, y: jax.lax.scan(step, state, (X, y))[0], donate_argnums=0)
zeros = lambda: [(np.zeros_like(W), np.zeros_like(b)) for W, b in p]
state, X, y = (p, zeros(), zeros(), np.float32(0)), X.reshape(10, 32, 16), y.reshape(10, 32)
for _ in range(5):
    state = epoch(state, X, y)
jax.block_until_ready(state)
""",
}


class Startup:
    """Has the methods of `race.Worker`, for workloads of kind ``start``."""

    def __init__(self, peer: str, environment: dict[str, str], cores: list[int]) -> None:
        self.peer, self.environment, self.cores = peer, environment, cores
        self.cold = False
        self.cache: Any = None

    def check(self, workload: Workload) -> tuple[list[Any], float]:
        """Fill the cache, or see that the program works; returns the seconds, and nothing to compare."""
        if self.peer not in _PROGRAMS:
            raise Unfit("is not measured")
        self.cold = workload.key.endswith("cold")
        if self.cold:
            return [], float("nan")
        self.cache = tempfile.TemporaryDirectory()
        return [], self._process(self.cache.name)

    def prepare(self, workload: Workload, seconds: float) -> tuple[int, str]:
        """A turn is one process."""
        return 1, ""

    def turn(self, clock: str) -> float:
        """The seconds of one process, always by the clock on the wall."""
        if not self.cold:
            return self._process(self.cache.name)
        with tempfile.TemporaryDirectory() as cache:
            return self._process(cache)

    def drop(self) -> None:
        """Throw the cache away."""
        if self.cache is not None:
            self.cache.cleanup()
            self.cache = None

    def close(self) -> None:
        """Nothing is left running."""

    def _process(self, cache: str) -> float:
        environment = {
            **self.environment, "NUMBA_CACHE_DIR": cache, "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
        }  # fmt: skip
        bind = f"import os\nif hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, {self.cores})\n"
        command = [sys.executable, "-c", bind + _DATA + _PROGRAMS[self.peer]]
        root = Path(__file__).parents[2]
        started = time.perf_counter()
        done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1]
            raise Unable(f"not installed ({last})" if "ModuleNotFoundError" in last else f"failed: {last}")
        return seconds
