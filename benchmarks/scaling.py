"""What many ranks gain and cost: measured on this machine, predicted for others, and what accuracy pays for it.

    python -m benchmarks.scaling                 all parts: writes docs/scaling.png, prints the tables of docs/scaling.md
    python -m benchmarks.scaling pairs           one and two ranks in turns, on 784-512-512-10
    python -m benchmarks.scaling messages        the time of an Allreduce and of a step on 1, 2 and 4 ranks
    python -m benchmarks.scaling predict         the formula for many nodes
    python -m benchmarks.scaling accuracy        local SGD of up to 256 ranks, simulated, on MNIST (some minutes)

Needs mpi4py and an MPI, and matplotlib for the picture. Ranks have one thread each.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

os.environ["FASTNN_NUM_THREADS"] = "1"

import numpy as np

from fastnn import Adam, CrossEntropyLoss, Identity, Layer, NeuralNetwork, ReLU
from fastnn.data.samples import Samples
from fastnn.layers.vector import vector_size
from fastnn.training.run import Run
from fastnn.training.settings import Settings

ROOT = pathlib.Path(__file__).parent.parent
BATCH = 256  # of the pairs, on all ranks together
SHARE = 128  # samples of each node in the prediction
NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
NETWORKS = {"1e4": [64, 96, 32, 10], "1e5": [196, 256, 160, 10], "1e6": [784, 640, 720, 10], "1e7": [1024, 2600, 2700, 10]}
LATENCY = 20e-6  # seconds of a message between two machines, of a usual Ethernet
Seen = dict[str, Any]


def network(sizes: list[int], rate: float = 1e-3, seed: int = 0) -> NeuralNetwork:
    """A classifier in float32."""
    rng = np.random.default_rng(seed)
    layers = [
        Layer(ins, outs, Identity() if outs == sizes[-1] else ReLU(), seed=rng) for ins, outs in zip(sizes, sizes[1:])
    ]
    return NeuralNetwork(layers, CrossEntropyLoss(), rate, Adam(), dtype="float32")


def rows(count: int, ins: int) -> tuple[Any, Any]:
    """Rows and classes."""
    rng = np.random.default_rng(0)
    return rng.random((count, ins), dtype=np.float32), rng.integers(0, 10, count)


# --- what runs under mpiexec ---------------------------------------------------------------------


def wait_for_all(comm: Any) -> None:
    """A barrier in which nobody uses a processor."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(0.0005)


def timed_fit(comm: Any, net: NeuralNetwork, X: Any, y: Any, batch: int) -> tuple[float, float, float, float]:
    """Seconds of a step, and in them those within Allreduce; the same of this rank's processor time."""
    from fastnn.distributed import mpi

    within = [0.0, 0.0]
    add = mpi.Team.add

    def timed(self: Any, *arguments: Any) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        add(self, *arguments)
        within[0] += time.perf_counter() - wall
        within[1] += time.process_time() - cpu

    mpi.Team.add = timed  # type: ignore[method-assign]
    try:
        marks: list[tuple[float, float]] = []

        def mark() -> None:
            marks.append((time.perf_counter(), time.process_time()))

        from fastnn import LambdaCallback

        marked = LambdaCallback(on_epoch_begin=lambda epoch: mark(), on_epoch_end=lambda epoch, logs: mark())
        mpi.fit(net, X, y, epochs=1, batch_size=batch, shuffle=False, comm=comm, verbose=0, callbacks=[marked])
    finally:
        mpi.Team.add = add  # type: ignore[method-assign]
    steps = math.ceil(len(X) * comm.size / batch)
    (wall, cpu), (wall_end, cpu_end) = marks
    return (wall_end - wall) / steps, within[0] / steps, (cpu_end - cpu) / steps, within[1] / steps


def pairs_worker(rounds: int) -> Seen:
    """An epoch of one rank and one of all, in turns."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    X, y = rows(10 * BATCH, 784)
    own, alone = slice(world.rank, None, world.size), slice(None)
    one, all_of_them = network([784, 512, 512, 10]), network([784, 512, 512, 10])
    seen: Seen = {"one": [], "all": [], "plain": []}
    for _ in range(rounds + 1):
        if world.rank == 0:
            seen["one"].append(timed_fit(MPI.COMM_SELF, one, X[alone], y[alone], BATCH))
            started = time.perf_counter()
            one.fit(X, y, batch_size=BATCH, shuffle=False, verbose=0)
            seen["plain"].append((time.perf_counter() - started) / 10)
        wait_for_all(world)
        seen["all"].append(timed_fit(world, all_of_them, X[own], y[own], BATCH))
        wait_for_all(world)
    return {name: values[1:] for name, values in seen.items()}


def messages_worker() -> Seen:
    """The time of an Allreduce by size, of one beside a product, and of steps by network."""
    from mpi4py import MPI

    world, seen = MPI.COMM_WORLD, {"allreduce": {}, "steps": {}, "beside": None}
    for numbers in (1, 1_000, 10_000, 100_000, 1_000_000, 10_000_000):
        block, times = np.ones(numbers, np.float32), []
        for _ in range(60 if numbers < 10**6 else 15):
            world.Barrier()
            started = time.perf_counter()
            world.Allreduce(MPI.IN_PLACE, block)
            times.append(time.perf_counter() - started)
            block[:] = 1.0
        seen["allreduce"][numbers] = min(times), statistics.median(times)
    for name, sizes in NETWORKS.items():
        if name == "1e7" and world.size > 2:
            continue
        steps = 20 if name in ("1e4", "1e5") else 4
        X, y = rows(SHARE * steps, sizes[0])
        net = network(sizes)
        found = [timed_fit(world, net, X, y, SHARE * world.size) for _ in range(4)][1:]
        seen["steps"][name] = min(found)
    a, block = np.ones((1400, 1400), np.float32), np.ones(10**6, np.float32)

    def took(act: Any) -> float:
        world.Barrier()
        started = time.perf_counter()
        act()
        return time.perf_counter() - started

    def beside() -> None:
        request = world.Iallreduce(MPI.IN_PLACE, block)
        a @ a
        request.Wait()

    product = min(took(lambda: a @ a) for _ in range(7))
    message = min(took(lambda: world.Allreduce(MPI.IN_PLACE, block)) for _ in range(7))
    seen["beside"] = product, message, min(took(beside) for _ in range(7))
    return seen


def under_mpiexec(ranks: int, *arguments: str) -> Seen:
    """What a worker of this module has seen on rank 0."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "seen.json")
        limits = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FASTNN_NUM_THREADS")}
        command = ["mpiexec", "-n", str(ranks), sys.executable, "-m", "benchmarks.scaling", "worker", path, *arguments]
        subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **limits}, timeout=1200)
        return json.loads(pathlib.Path(path).read_text())


def worker(path: str, name: str, *arguments: str) -> None:
    """Run one, and write what rank 0 has seen."""
    from mpi4py import MPI

    seen = pairs_worker(int(arguments[0])) if name == "pairs" else messages_worker()
    if MPI.COMM_WORLD.rank == 0:
        pathlib.Path(path).write_text(json.dumps(seen))


# --- the parts -----------------------------------------------------------------------------------


def pairs(rounds: int = 12) -> Seen:
    """One and two ranks in turns."""
    seen = under_mpiexec(2, "pairs", str(rounds))
    one, two = np.array(seen["one"]) * 1e3, np.array(seen["all"]) * 1e3
    ratios = one[:, 0] / two[:, 0]
    print(f"784-512-512-10, float32, Adam, batch {BATCH}, {rounds} pairs, ms a step")
    print("             median  least  in Allreduce  processor time: median  least  in Allreduce (least)")
    for name, times in (("one rank", one), ("two ranks", two)):
        middle, least = np.median(times, axis=0), times.min(axis=0)
        print(
            f"{name:10}{middle[0]:9.2f}{least[0]:7.2f}{middle[1]:14.2f}{middle[2]:24.2f}{least[2]:7.2f}{least[3]:14.2f}"
        )
    print(f"net.fit   {np.median(seen['plain']) * 1e3:9.2f}{min(seen['plain']) * 1e3:7.2f}")
    print(f"one / two: median {np.median(ratios):.2f}, from {ratios.min():.2f} to {ratios.max():.2f};", end=" ")
    print(f"of the least {one[:, 0].min() / two[:, 0].min():.2f};", end=" ")
    print(f"of least processor times {one[:, 2].min() / two[:, 2].min():.2f}")
    return seen


if __name__ == "__main__":
    name, *rest = sys.argv[1:] or ["all"]
    if name == "worker":
        worker(*rest)
    else:
        globals()[name](*map(int, rest))
