"""What a new process waits for: a process that imports fastnn, trains a little and ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from contest import label

import fastnn

GROUP, UNIT = "first call in a new process", "process"

FIRST_TRAIN = """
import numpy as np
from fastnn import Layer, LeakyReLU, MSELoss, NeuralNetwork
net = NeuralNetwork([Layer(2, 3, LeakyReLU()), Layer(3, 2, LeakyReLU())], MSELoss(), 0.01)
net.train(np.ones((2, 8)), np.zeros((2, 8)))
"""


def run(program: str, cache: Path) -> None:
    """Run `program` in a new process that keeps its compiled code in `cache`."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    home = Path(fastnn.__file__).parents[1]  # the new process imports the same fastnn
    subprocess.run([sys.executable, "-c", program], env=environment, cwd=home, check=True)


def compiled_files(cache: Path) -> dict[Path, int]:
    """The files of compiled code in `cache`, with the time of their last change."""
    return {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb[ci]")}


def test_warm_cache(benchmark, tmp_path):
    label(benchmark, GROUP, "fastnn, warm cache", UNIT)
    run(FIRST_TRAIN, tmp_path)
    files = compiled_files(tmp_path)
    benchmark.pedantic(run, (FIRST_TRAIN, tmp_path), rounds=3)
    assert compiled_files(tmp_path) == files  # everything came from the cache


def test_cold_cache(benchmark, tmp_path):
    label(benchmark, GROUP, "fastnn, cold cache", UNIT)
    assert not compiled_files(tmp_path)
    benchmark.pedantic(run, (FIRST_TRAIN, tmp_path), rounds=1)
    assert compiled_files(tmp_path)  # NUMBA_CACHE_DIR is where the cache is


@pytest.mark.parametrize("program", ["import numba", "import fastnn", "from fastnn import *"])
def test_import_alone(benchmark, tmp_path, program):
    label(benchmark, GROUP, f"{program} alone", UNIT)
    benchmark.pedantic(run, (program, tmp_path), rounds=15, warmup_rounds=1)
