"""Cases in child processes, where a crash or a hang is a number in a table and not the end of it."""

from __future__ import annotations

import importlib
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]


def count_in_children(module: str, count: int, seed: int, seconds: float = 60.0) -> dict[str, int]:
    """How the cases 0 to `count` - 1 of a module end, in child processes that take one after the other.

    Parameters
    ----------
    module : str
        Name of a module with a function ``case(number, seed) -> str``, whose result is counted; the number
        of one that raises counts as ``"error"``.
    count, seed : int
    seconds : float
        How long one case may take. One that takes longer counts as ``"hung"``, one whose process dies as
        ``"crashed"``; the next one has a new process.
    """
    ends: Counter[str] = Counter(tried=count, crashed=0, hung=0, error=0)
    first = 0
    while first < count:
        command = [sys.executable, "-m", "tests.reliability.children", module, str(first), str(count), str(seed)]
        child = subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True)
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(child, lines))
        reader.start()
        wait = seconds + 120.0  # the first case waits for imports and compiles
        try:
            while first < count:
                line = lines.get(timeout=wait)
                if not line:
                    ends["crashed"] += 1
                    print(f"{module}: case {first} of seed {seed} ended its process", file=sys.stderr)
                    first += 1
                    break
                ends[line.strip()] += 1
                first, wait = first + 1, seconds
        except queue.Empty:
            ends["hung"] += 1
            print(f"{module}: case {first} of seed {seed} hangs", file=sys.stderr)
            first += 1
        finally:
            child.kill()
            child.wait()
            reader.join()
    return dict(ends)


def _read(child: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            lines.put(line)
    lines.put("")


def main(module: str, first: int, count: int, seed: int) -> None:
    """Print how each case ends."""
    case = importlib.import_module(module).case
    for number in range(first, count):
        try:
            end = case(number, seed)
        except BaseException as error:
            print(f"{module}: case {number} of seed {seed}: {error!r}", file=sys.stderr)
            end = "error"
        print(end, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
