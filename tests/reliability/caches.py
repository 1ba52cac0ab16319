"""Damaged compile caches: files cut off, emptied, filled with zeros, changed, deleted or swapped, then a small fit."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TIMEOUT = 900  # seconds for one fit, most of which is compiling, on however busy a machine

FIT = """
import hashlib
import numpy as np
from fastnn.kernels.cache import CheckedFile
saved, save = [], CheckedFile.save
CheckedFile.save = lambda self, key, data: (saved.append(1), save(self, key, data))
from fastnn import ActivationFunction, Layer, MSELoss, NeuralNetwork, Tanh

COUNT = 200

class Own(ActivationFunction):
    def f(self, x):
        return x / (1 + np.abs(x))
    def df(self, x):
        return 1 / (1 + np.abs(x)) ** 2

rng = np.random.default_rng(0)
x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
net = NeuralNetwork([Layer(3, 5, Tanh(), seed=1), Layer(5, 2, Own(), seed=2)], MSELoss(), 0.1)
net.fit(x, y, epochs=3, batch_size=16, seed=3)
print(hashlib.sha256(net.predict(x).tobytes()).hexdigest(), len(saved))
"""


def run(count: int, seed: int) -> dict[str, int]:
    """Damage a warm cache `count` times, each time in another way, and fit twice: all but `tried` should be 0.

    `different` are fits with other bits, `left` are second fits that still had to compile.
    """
    numbers = dict.fromkeys(("tried", "crashed", "hung", "failed", "different", "left"), 0)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as top:
        warm, used = Path(top) / "warm", Path(top) / "used"
        expected, _ = _fit(warm)
        for _ in range(count):
            shutil.rmtree(used, ignore_errors=True)
            shutil.copytree(warm, used)
            _damage(used, rng)
            numbers["tried"] += 1
            for repeated in (False, True):
                bits, compiled = _fit(used)
                if bits != expected:
                    numbers[bits if bits in numbers else "different"] += 1
                numbers["left"] += repeated and compiled > 0
    return numbers


def _damage(folder: Path, rng: random.Random) -> None:
    """Spoil a few files, or in one case of ten all."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = files if rng.random() < 0.1 else rng.sample(files, rng.randint(1, 6))
    for path in chosen:
        content = bytearray(path.read_bytes()) if path.exists() else bytearray()
        kind = rng.choice(["truncate", "empty", "zero", "flip", "garbage", "delete", "swap"])
        if kind == "truncate":
            path.write_bytes(content[: rng.randrange(len(content) + 1)])
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind == "zero":
            path.write_bytes(bytes(len(content)))
        elif kind == "flip" and content:
            for _ in range(rng.choice([1, 1, 20])):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(content)
        elif kind == "garbage":
            path.write_bytes(rng.randbytes(rng.choice([1, 100, len(content)])))
        elif kind == "delete":
            path.unlink(missing_ok=True)
        elif kind == "swap":
            other = rng.choice([file for file in files if file.suffix == path.suffix and file.exists()] or [path])
            if other.exists() and path.exists():
                path.write_bytes(other.read_bytes())
                other.write_bytes(content)


def _fit(cache: Path) -> tuple[str, int]:
    """The bits of a fit in a process of its own, or what became of it; and how many functions it compiled."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "FASTNN_TINY": "never"}
    try:
        out = subprocess.run(
            [sys.executable, "-c", FIT], env=environment, capture_output=True, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return "hung", 0
    if out.returncode:
        return "crashed" if out.returncode < 0 else "failed", 0
    bits, compiled = out.stdout.split()
    return bits, int(compiled)
