"""What stays in memory after many fits, and after millions of steps."""

from __future__ import annotations

import gc
import resource
from pathlib import Path

import numpy as np

from fastnn import Adam, Identity, Layer, MSELoss, NeuralNetwork, Tanh

COUNT = 1_000
STEPS = 10_000  # of one column each, for each fit


def run(count: int, seed: int) -> dict[str, int]:
    """How many fits and steps there were, and by how many kB the process grew from the first tenth on."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(300, 12)), rng.normal(size=(300, 2))
    kept = NeuralNetwork([Layer(12, 8, Tanh(), seed=0), Layer(8, 2, Identity(), seed=1)], MSELoss(), 0.001)
    columns = [(row.reshape(12, 1).copy(), t.reshape(2, 1).copy()) for row, t in zip(X, y)]
    before = 0
    for fit in range(count):
        if fit == max(1, count // 10):
            before = resident()
        layers = [Layer(12, 16 + fit % 7, Tanh(), seed=fit), Layer(16 + fit % 7, 2, Identity(), seed=fit)]
        NeuralNetwork(layers, MSELoss(), 0.001, Adam()).fit(X, y, epochs=2, seed=fit, verbose=0)
        kept.fit(X, y, verbose=0)
        for i in range(STEPS):
            kept.train(*columns[i % 300])
    return {"fits": 2 * count, "steps": STEPS * count, "kB more": max(0, resident() - before)}


def resident() -> int:
    """kB of memory that this process has; where the system does not say, the most that it had."""
    gc.collect()
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
