"""The process of one peer: it waits for a command on its pipe, obeys, answers, and waits again.

    python -m benchmarks.peers.worker jax 1 0

runs the peer ``jax`` with one thread on core 0. Commands and answers are pickles: ``(method, arguments)``,
and ``(True, result)`` or ``(False, the Unable)``.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

from ..environment import blas
from .contestant import PEAK, PEERS, Contestant, Unable
from .estimators import Estimator
from .workloads import Workload

Answer = tuple[bool, Any]


class Bench:
    """One peer, and what it works on now."""

    def __init__(self, peer: str, threads: int) -> None:
        self.name, self.peer = peer, {**PEERS, "peak": PEAK}[peer]
        self.threads = threads
        self.contestant: Contestant | None = None
        self.passes = 1

    def check(self, workload: Workload) -> tuple[list[Any], float]:
        """Do the first few units; returns their result, and the seconds of the first call.

        These are from the parameters to the end of the first pass: tracing, compiling and loading of
        compiled code, but neither the import of the library nor the conversion of the whole data set.
        """
        make = self._maker(workload)
        few = workload.for_check()
        data, parameters = few.data(), few.parameters()
        started = time.perf_counter()
        self.contestant = make(few, data, parameters, self.threads)
        self.contestant.run(1)
        seconds = time.perf_counter() - started
        return self.contestant.result(), seconds

    def prepare(self, workload: Workload, seconds: float) -> tuple[int, str]:
        """Get ready for turns of about so many seconds; returns the units of one turn, and the note.

        A slow peer gets fewer units of the same work.
        """
        few = workload.for_check()
        units = 0
        started = time.perf_counter()
        while units < few.steps or time.perf_counter() - started < seconds / 4:
            self.contestant.run(1)  # the one that was checked
            units += few.steps
        a_unit = (time.perf_counter() - started) / units
        most = workload if workload.whole else workload.at_most(max(few.steps, int(seconds / a_unit)))
        a_pass = a_unit * most.steps
        if most != few:
            self.contestant = None  # makes room
            self.contestant = self._maker(most)(most, most.data(), most.parameters(), self.threads)
            self.contestant.run(1)
            if a_pass < 2 * seconds:  # else a turn is one pass
                started = time.perf_counter()
                self.contestant.run(1)
                a_pass = time.perf_counter() - started
        self.passes = max(1, round(seconds / a_pass))
        self.units = self.passes * most.steps
        notes = self.contestant.note, blas() if self.peer.blas else ""
        return self.units, "; ".join(note for note in notes if note)

    def _maker(self, workload: Workload) -> Callable[..., Contestant]:
        if workload.kind in ("table", "search"):
            return partial(Estimator, self.name)
        return self.peer.load()

    def turn(self, clock: str = "wall") -> float:
        """Work; returns the seconds per unit, by the clock on the wall or (``cpu``) those that this process got."""
        now = time.process_time if clock == "cpu" else time.perf_counter
        started = now()
        self.contestant.run(self.passes)
        return (now() - started) / self.units

    def drop(self) -> None:
        """Forget the workload."""
        self.contestant = None


def serve(bench: Bench, commands: BinaryIO, answers: BinaryIO) -> None:
    """Obey until the pipe is closed."""
    while True:
        try:
            method, arguments = pickle.load(commands)
        except EOFError:
            return
        try:
            answer: Answer = True, getattr(bench, method)(*arguments)
        except Unable as reason:
            answer = False, reason
        except Exception as error:
            traceback.print_exc()
            answer = False, Unable(f"failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
        pickle.dump(answer, answers)
        answers.flush()


def main() -> None:
    """Bind the process to its cores, then serve."""
    peer, threads, *cores = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(core) for core in cores])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to the terminal, not among the answers
    serve(Bench(peer, int(threads)), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
