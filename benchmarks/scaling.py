"""What many ranks gain and cost: measured on this machine, predicted for others, and what accuracy pays for it.

    python -m benchmarks.scaling                 all parts: writes docs/scaling.png, prints the tables of the page
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

import numpy as np

from fastnn import Adam, CrossEntropyLoss, Identity, LambdaCallback, Layer, NeuralNetwork, ReLU, set_num_threads
from fastnn.data.batches import Batches
from fastnn.data.held_out import seed_of
from fastnn.data.samples import Samples
from fastnn.layers.vector import vector_size
from fastnn.training.run import Run
from fastnn.training.settings import Settings

ROOT = pathlib.Path(__file__).parent.parent
BATCH = 256  # of the pairs, on all ranks together
STEPS = 40  # of an epoch
SHARE = 128  # samples of each node in the prediction
NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
NETWORKS = {
    "1e4": [64, 96, 32, 10],
    "1e5": [196, 256, 160, 10],
    "1e6": [784, 640, 720, 10],
    "1e7": [1024, 2600, 2700, 10],
}
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
    from fastnn.distributed import mpi, team

    within = [0.0, 0.0]
    add = team.Team.add

    def timed(self: Any, *arguments: Any) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        add(self, *arguments)
        within[0] += time.perf_counter() - wall
        within[1] += time.process_time() - cpu

    team.Team.add = timed  # type: ignore[method-assign]
    try:
        marks: list[tuple[float, float]] = []

        def mark() -> None:
            marks.append((time.perf_counter(), time.process_time()))

        marked = LambdaCallback(on_epoch_begin=lambda epoch: mark(), on_epoch_end=lambda epoch, logs: mark())
        mpi.fit(net, X, y, epochs=1, batch_size=batch, shuffle=False, comm=comm, verbose=0, callbacks=[marked])
    finally:
        team.Team.add = add  # type: ignore[method-assign]
    steps = math.ceil(len(X) * comm.size / batch)
    (wall, cpu), (wall_end, cpu_end) = marks
    return (wall_end - wall) / steps, within[0] / steps, (cpu_end - cpu) / steps, within[1] / steps


def pairs_worker(rounds: int) -> Seen:
    """An epoch of one rank and one of all, in turns."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    X, y = rows(STEPS * BATCH, 784)
    own, alone = slice(world.rank, None, world.size), slice(None)
    one, all_of_them = network([784, 512, 512, 10]), network([784, 512, 512, 10])
    seen: Seen = {"one": [], "all": [], "plain": []}
    for _ in range(rounds + 1):
        if world.rank == 0:
            seen["one"].append(timed_fit(MPI.COMM_SELF, one, X[alone], y[alone], BATCH))
            started = time.perf_counter()
            one.fit(X, y, batch_size=BATCH, shuffle=False, verbose=0)
            seen["plain"].append((time.perf_counter() - started) / STEPS)
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
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FASTNN_NUM_THREADS"), "1")
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


def messages() -> Seen:
    """Allreduce and steps on 1, 2 and 4 ranks of this machine."""
    found = {ranks: under_mpiexec(ranks, "messages") for ranks in (1, 2, 4)}
    print("\nAllreduce of float32 on this machine, least (median) us")
    print(f"{'numbers':>12}" + "".join(f"{f'{ranks} ranks':>20}" for ranks in (2, 4)))
    for numbers in found[2]["allreduce"]:
        times = [found[ranks]["allreduce"][numbers] for ranks in (2, 4)]
        print(
            f"{int(numbers):12,}" + "".join(f"{f'{least * 1e6:,.0f} ({mid * 1e6:,.0f})':>20}" for least, mid in times)
        )
    print(f"\nleast ms of a step of {SHARE} samples on each rank (in Allreduce; processor time of rank 0)")
    print(f"{'parameters':>12}{'bytes a step':>14}" + "".join(f"{f'{ranks} ranks':>26}" for ranks in found))
    for name, sizes in NETWORKS.items():
        line = f"{vector_size(network(sizes).layers):12,}{4 * vector_size(network(sizes).layers):14,}"
        for seen in found.values():
            times = seen["steps"].get(name)
            text = "" if times is None else f"{times[0] * 1e3:.2f} ({times[1] * 1e3:.2f}; {times[2] * 1e3:.2f})"
            line += f"{text:>26}"
        print(line)
    product, message, both = (1e3 * time for time in found[2]["beside"])
    print(f"\na product {product:.1f} ms, an Allreduce of 10^6 numbers {message:.1f} ms, both at once {both:.1f} ms")
    return {"steps": {name: found[1]["steps"][name][2] for name in NETWORKS}}


# --- the formula ---------------------------------------------------------------------------------


def step_seconds(
    compute: float, numbers: int, nodes: int, gigabits: float, every: int = 1, overlap: bool = False
) -> float:
    """What a step takes on so many nodes, each with the same number of samples; see docs/scaling.md."""
    if nodes == 1:
        return compute
    sent = numbers * 4 * (1 if every == 1 else 3)  # an average is of the weights and of Adam's two numbers for each
    message = LATENCY * math.log2(nodes) + 2 * (nodes - 1) / nodes * sent / (gigabits * 1e9 / 8)
    if overlap and every == 1:  # behind the backward pass, two thirds of the work
        return compute / 3 + max(2 * compute / 3, message)
    return compute + message / every


def least_every(compute: float, numbers: int, gigabits: float, nodes: int = 1000) -> int:
    """The least k, a power of two, with which so many nodes are 90 % efficient."""
    every = 1
    while compute / step_seconds(compute, numbers, nodes, gigabits, every) < 0.9:
        every *= 2
    return every


def predict(steps: Seen | None = None) -> Seen:
    """The efficiency of many nodes, from processor times of steps, by network."""
    steps = steps or {name: 1e-3 * flops for name, flops in measured_alone().items()}
    print(
        f"\nefficiency with {SHARE} samples a node and step (with perfect overlap), and the least k for 90 % on 1,000"
    )
    print(f"{'parameters':>12}{'ms':>8}{'Gbit/s':>8}" + "".join(f"{p:>15,}" for p in (8, 64, 1000)) + f"{'k':>7}")
    for name, sizes in NETWORKS.items():
        numbers, compute = vector_size(network(sizes).layers), steps[name]
        for gigabits in (10, 25, 100):
            line = f"{numbers:12,}{compute * 1e3:8.2f}{gigabits:8}"
            for nodes in (8, 64, 1000):
                plain, hidden = (
                    compute / step_seconds(compute, numbers, nodes, gigabits, overlap=overlap)
                    for overlap in (False, True)
                )
                line += f"{f'{plain:.0%} ({hidden:.0%})':>15}"
            print(line + f"{least_every(compute, numbers, gigabits):>7}")
    return steps


def measured_alone() -> dict[str, float]:
    """Processor milliseconds of a step of each network, without MPI."""
    found = {}
    for name, sizes in NETWORKS.items():
        X, y = rows(SHARE * 4, sizes[0])
        net, times = network(sizes), []
        for _ in range(5):
            started = time.process_time()
            net.fit(X, y, batch_size=SHARE, verbose=0)
            times.append((time.process_time() - started) / 4)
        found[name] = 1e3 * min(times[1:])
    return found


# --- what accuracy pays --------------------------------------------------------------------------


class Part(Run):
    """One rank's steps on its rows, so many in an epoch."""

    def __init__(self, net: NeuralNetwork, samples: Samples, settings: Settings, steps: int) -> None:
        self._parts = steps
        super().__init__(net.engine, samples, settings)

    def _batches_of(self, count: int, settings: Settings) -> Batches:
        return Batches(count, count // self._parts, count % self._parts, self._parts)


def averaged_fit(
    net: NeuralNetwork, X: Any, y: Any, ranks: int, every: int, epochs: int, share: int, **given: Any
) -> None:
    """What `fastnn.distributed.mpi.fit` does on so many ranks with ``every`` above 1: one rank after another."""
    form = net.engine.form
    parts = [Samples.of_rows(form, X[rank::ranks], y[rank::ranks]) for rank in range(ranks)]
    steps = -(-len(X) // (share * ranks))
    runs = [
        Part(net, part, Settings(epochs=epochs, batch_size=share, verbose=0, **{**given, **seeded(given, rank)}), steps)
        for rank, part in enumerate(parts)
    ]
    arrays = net.engine.training_arrays(share)
    numbers = [array for array in arrays if array.dtype.kind == "f"]
    for _ in range(epochs):
        for first in range(0, steps, every):
            taken = [run.batches.start(min(first + every, steps)) - run.batches.start(first) for run in runs]
            begun, sums = [array.copy() for array in arrays], [np.zeros_like(array) for array in numbers]
            for run, count in zip(runs, taken):
                for array, before in zip(arrays, begun):
                    array[...] = before
                run.advance(min(every, steps - first))
                for total, array in zip(sums, numbers):
                    total += array.dtype.type(count / sum(taken)) * array
            for array, total in zip(numbers, sums):
                array[...] = total


def seeded(given: Seen, rank: int) -> Seen:
    """The seed of a rank."""
    return {} if given.get("seed") is None else {"seed": seed_of(given["seed"], rank)}


def accuracy(epochs: int = 20, seeds: int = 3) -> Seen:
    """The test accuracy on MNIST by ranks and k: the mean over seeds, at the best of three rates."""
    sys.path.insert(0, str(ROOT / "examples"))
    from digit_data import mnist

    folder = os.environ.get("FASTNN_MNIST") or str(ROOT.parent / "shared" / "data" / "mnist")
    columns, y, test_columns, y_test = mnist(folder)
    X, X_test = (np.ascontiguousarray(images.T) for images in (columns, test_columns))
    found: Seen = {}
    print(f"\nMNIST, {len(X):,} images, 784-64-10, Adam, 8 images a rank and step, {epochs} epochs: test accuracy in %")
    print(f"{'ranks':>6}{'batch':>8}{'steps':>7}" + "".join(f"{f'k = {k}':>9}" for k in EVERY) + "   rates")
    for ranks in RANKS:
        steps, line, rates = -(-len(X) // (8 * ranks)), "", []
        for every in EVERY:
            if every > 1 and (ranks == 1 or EVERY[EVERY.index(every) - 1] >= steps):
                line += f"{'':>9}"  # with one rank there is nothing to average, and an epoch ends with an average
                continue
            best = (0.0, 0.0)
            for rate in (1e-3, 3e-3, 1e-2):
                scores = []
                for seed in range(seeds):
                    net = network([784, 64, 10], rate, seed)
                    if every == 1:
                        net.fit(X, y, epochs, 8 * ranks, seed=seed, verbose=0)
                    else:
                        averaged_fit(net, X, y, ranks, every, epochs, 8, seed=seed)
                    scores.append(float((net.predict_classes(X_test) == y_test).mean()))
                best = max(best, (float(np.mean(scores)), rate))
            found[f"{ranks} {every}"] = best[0]
            rates.append(f"{best[1]:g}")
            line += f"{100 * best[0]:9.2f}"
        print(f"{ranks:6}{8 * ranks:8,}{steps:7,}{line}   {', '.join(rates)}", flush=True)
    return found


RANKS, EVERY = (1, 4, 16, 64, 256), (1, 4, 16, 64)


def picture(steps: Seen, accuracies: Seen, path: pathlib.Path) -> None:
    """Efficiency over nodes, the k that it needs, and accuracy over k."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for name, sizes in NETWORKS.items():
        numbers = vector_size(network(sizes).layers)
        label = f"10^{name[-1]} parameters"
        values = [steps[name] / step_seconds(steps[name], numbers, nodes, 25) for nodes in NODES]
        (line,) = left.plot(NODES, values, marker=".", label=label)
        ks = (1, 2, 4, 8, 16, 32, 64, 128, 256)
        values = [steps[name] / step_seconds(steps[name], numbers, 1000, 25, k) for k in ks]
        middle.plot(ks, values, marker=".", color=line.get_color(), label=label)
    left.set(xscale="log", ylim=(0, 1.02), xlabel="nodes", ylabel="efficiency", title="25 Gbit/s, k = 1")
    middle.axhline(0.9, color="grey", linewidth=0.8)
    middle.set(xscale="log", ylim=(0, 1.02), xlabel="k", title="25 Gbit/s, 1,000 nodes")
    left.legend(fontsize=8)
    for ranks in RANKS:
        pairs = [(k, 100 * accuracies[f"{ranks} {k}"]) for k in EVERY if f"{ranks} {k}" in accuracies]
        right.plot(*zip(*pairs), marker="o", label=f"{ranks} rank{'s' * (ranks > 1)}")
    right.set(xscale="log", xlabel="k", ylabel="test accuracy, %", title="MNIST, simulated")
    right.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def everything() -> None:
    """All parts, and the picture."""
    pairs()
    steps = predict(messages()["steps"])
    picture(steps, accuracy(), ROOT / "docs" / "scaling.png")


PARTS = {"all": everything, "pairs": pairs, "messages": messages, "predict": predict, "accuracy": accuracy}

if __name__ == "__main__":
    name, *rest = sys.argv[1:] or ["all"]
    if name == "worker":
        worker(*rest)
    elif name in PARTS:
        set_num_threads(1)
        PARTS[name]()
    else:
        sys.exit(f"there is no part {name!r}; expected one of {', '.join(PARTS)}")
