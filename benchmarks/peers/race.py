"""The race: all peers at one workload after another, in turns, each in a process of its own.

All processes are bound to the same cores and only one works at a time: the others wait for a command on their
pipe. A round gives each peer one turn, and the next round starts with the next peer; so whatever else the
machine does meets all of them. What counts is the median over the rounds.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ..environment import freed
from .contestant import PEAK, PEERS, Unable, Unfit
from .peer_numpy import Article
from .startup import Startup
from .workloads import Data, Workload

_ROOT = Path(__file__).parents[2]
_PAUSE = 0.05  # seconds between turns with several threads: those of the last peer spin for a while, then sleep
_COLD_ROUNDS = 2
_PEAK_WORKLOAD = Workload("peak", "multiply-adds", (1, 1), kind="peak", steps=1000, check_steps=1)
_TOLERANCE = {"float32": 2e-2, "float64": 1e-5}  # room for where Adam adds its eps


@dataclass
class Result:
    """One peer at one workload: a row of a table."""

    workload: str
    cores: int
    peer: str
    seconds: list[float] = field(default_factory=list)
    """Per unit, of each round; empty if it did not take part."""
    first_call: float = float("nan")
    note: str = ""
    unfit: bool = False
    """Whether the workload is none of its business."""

    @property
    def median(self) -> float:
        """Seconds per unit."""
        return median(self.seconds) if self.seconds else float("nan")


@dataclass
class Group:
    """One workload on so many cores: a table."""

    workload: Workload
    cores: int
    results: dict[str, Result]
    peak: float = float("nan")
    """Operations per second."""
    peak_note: str = ""


class Worker:
    """The process of one peer, seen from outside; its methods are those of `worker.Bench`."""

    def __init__(self, peer: str, environment: dict[str, str], cores: list[int]) -> None:
        command = [sys.executable, "-m", "benchmarks.peers.worker", peer, str(len(cores)), *map(str, cores)]
        pipe = subprocess.PIPE
        environment = {**environment, **{**PEERS, "peak": PEAK}[peer].environment}
        self.peer = peer
        self.process = subprocess.Popen(command, env=environment, cwd=_ROOT, stdin=pipe, stdout=pipe)

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            pickle.dump((method, arguments), self.process.stdin)
            self.process.stdin.flush()
            good, answer = pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError):
            raise Unable(f"failed: its process ended with code {self.process.wait()}") from None
        if not good:
            raise answer
        return answer

    def check(self, workload: Workload) -> tuple[list[Any], float]:
        """See `worker.Bench.check`."""
        return self._ask("check", workload)

    def prepare(self, workload: Workload, seconds: float) -> tuple[int, str]:
        """See `worker.Bench.prepare`."""
        return self._ask("prepare", workload, seconds)

    def turn(self, clock: str) -> float:
        """See `worker.Bench.turn`."""
        return self._ask("turn", clock)

    def drop(self) -> None:
        """See `worker.Bench.drop`."""
        self._ask("drop")

    def close(self) -> None:
        """End the process."""
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.process.wait()


class Race:
    """The processes of some peers on some cores.

    Parameters
    ----------
    peers
        Their names in `contestant.PEERS`.
    cores
        Numbers of the cores; every peer has as many threads.
    rounds
        How many turns each gets.
    seconds
        How long a turn takes, about; a slow peer does at least the units of the check.
    clock
        ``wall``, or ``cpu``: the time that the process had a core, which other processes' work disturbs less. With
        several threads it is the sum over them, so it is for one core.
    say
        Is told what happens.
    instructions
        What all are held to, of `environment.HELD`; by default nothing.
    """

    def __init__(
        self,
        peers: list[str],
        cores: list[int],
        rounds: int,
        seconds: float,
        clock: str = "wall",
        say: Callable[[str], None] = lambda what: None,
        instructions: str = "",
    ) -> None:
        self.peers, self.cores, self.rounds, self.seconds = peers, cores, rounds, seconds
        self.clock, self.say, self.instructions = clock, say, instructions
        self.environment = environment(len(cores), instructions)
        self.workers: dict[str, Worker] = {}

    def run(self, workloads: list[Workload]) -> Iterator[Group]:
        """One group after another."""
        try:
            for workload in workloads:
                if len(self.cores) == 1 or workload.both_cores:
                    yield self._group(workload)
        finally:
            for worker in self.workers.values():
                worker.close()
            self.workers = {}

    def _group(self, workload: Workload) -> Group:
        peers = [peer for peer in self.peers if len(self.cores) == 1 or PEERS[peer].threaded]
        results = {peer: Result(workload.key, len(self.cores), peer) for peer in peers}
        group = Group(workload, len(self.cores), results)
        ready: dict[str, Worker | Startup] = {}
        for peer, result in results.items():
            self.say(f"{workload.key}, {_cores(len(self.cores))}: preparing {peer}")
            worker, task = self._worker(peer, workload), PEERS[peer].task(workload)
            try:
                if self.instructions and not PEERS[peer].holds:
                    raise Unfit(f"cannot be held to {self.instructions}")
                got, result.first_call = worker.check(task)
                difference(task, got, oracle(task.for_check()))
                _, result.note = worker.prepare(task, self.seconds * workload.patience)
                ready[peer] = worker
            except Unable as reason:
                result.note, result.unfit = str(reason), isinstance(reason, Unfit)
        timed: dict[str, list[float]] = {peer: results[peer].seconds for peer in ready}
        per_unit = 0.0
        if workload.flops:
            peak = self._worker("peak", workload)
            task = replace(_PEAK_WORKLOAD, dtype=workload.dtype)
            (count,), _ = peak.check(task)
            _, group.peak_note = peak.prepare(task, self.seconds)
            per_unit, ready["peak"], timed["peak"] = float(count), peak, []
        rounds = min(self.rounds, _COLD_ROUNDS) if workload.key.endswith("cold") else self.rounds
        for i in range(rounds):
            self.say(f"{workload.key}, {_cores(len(self.cores))}: round {i + 1} of {rounds}")
            turns = list(ready.items())
            for peer, worker in turns[i % len(turns) :] + turns[: i % len(turns)] if turns else []:
                if len(self.cores) > 1:
                    time.sleep(_PAUSE)
                try:
                    timed[peer].append(worker.turn(self.clock))
                except Unable as reason:
                    results[peer].note = str(reason)
                    timed[peer].clear()
                    del ready[peer]
        for worker in ready.values():
            worker.drop()
        if per_unit:
            group.peak = per_unit / median(timed["peak"])
        return group

    def _worker(self, peer: str, workload: Workload) -> Worker | Startup:
        if workload.kind == "start":
            return Startup(peer, self.environment, self.cores)
        if peer not in self.workers or self.workers[peer].process.poll() is not None:
            self.workers[peer] = Worker(peer, self.environment, self.cores)
        return self.workers[peer]


@lru_cache(maxsize=2)
def oracle(workload: Workload) -> list[np.ndarray]:
    """What all peers must get: the article's formulas in NumPy, in float64.

    Of training, by how much each array changes; of processes and estimators nothing.
    """
    if workload.kind in ("start", "table", "search"):
        return []
    data, starts = workload.data(), workload.parameters()
    wide = replace(workload, dtype="float64")
    y = data.y.astype("float64") if data.y.ndim == 2 else data.y
    parameters = [[(W.astype("float64"), b.astype("float64")) for W, b in start] for start in starts]
    article = Article(wide, Data(data.X.astype("float64"), y), parameters, 1)
    article.run(1)
    return changes(workload, article.result())


def changes(workload: Workload, result: list[Any]) -> list[np.ndarray]:
    """What of a result is compared: of training, how far the parameters have moved."""
    if workload.kind != "train":
        return [np.asarray(array, "float64") for array in result]
    starts = [array for network in workload.parameters() for layer in network for array in layer]
    return [np.asarray(end, "float64") - start.astype("float64") for start, end in zip(starts, result)]


def difference(workload: Workload, result: list[Any], expected: list[np.ndarray]) -> float:
    """The largest relative difference from the oracle, by the norm of each array.

    Raises
    ------
    Unable
        If it is more than rounding: this peer does other work.
    """
    found = changes(workload, result)
    if [a.shape for a in found] != [a.shape for a in expected]:
        raise Unable(f"does other work: shapes {[a.shape for a in found]}")
    norm = np.linalg.norm
    worst = max((float(norm(a - b) / max(norm(b), 1e-30)) for a, b in zip(found, expected)), default=0.0)
    if not worst <= _TOLERANCE[workload.dtype]:
        raise Unable(f"does other work: differs by {worst:.1e} after {workload.check_steps} units")
    return worst


def choose_cores(count: int) -> list[int]:
    """The last `count` cores that this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(count))
    return sorted(os.sched_getaffinity(0))[-count:]


def environment(threads: int, instructions: str = "") -> dict[str, str]:
    """For every peer: so many threads, on whatever they stand, and nothing that slows one but `instructions`."""
    settings = freed(instructions)
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM", "NUMEXPR")
    settings.update({f"{name}_NUM_THREADS": str(threads) for name in names})
    settings["KMP_BLOCKTIME"] = "1"  # milliseconds
    eigen = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    settings["XLA_FLAGS"] = f"{eigen} {settings.get('XLA_FLAGS', '')}".strip()
    settings["JAX_PLATFORMS"] = "cpu"
    return settings


def _cores(count: int) -> str:
    return "one core" if count == 1 else f"{count} cores"
