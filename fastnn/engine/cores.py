"""How many threads suit this process: its cores, its container's share of them, and what the environment says."""

from __future__ import annotations

import math
import multiprocessing
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

# Limits that whoever starts a process sets for the threads in it. Workers of joblib and loky find theirs in the first
# two (and NUMBA_NUM_THREADS is one for compiled code); the last two say how many processors to count on.
LIMITS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_THREAD_LIMIT", "LOKY_MAX_CPU_COUNT", "PYTHON_CPU_COUNT")


@lru_cache(maxsize=None)
def default_threads() -> int:
    """How many threads a call may use where nobody has called `set_num_threads`; looked up once in each process.

    What the environment variable ``FASTNN_NUM_THREADS`` says; without it the least of

    - the cores that this process may run on (`usable_cores`),
    - the processors whose time its container may use (`quota`), rounded down, but at least 1,
    - the environment variables `LIMITS`: of a list as ``4,2`` the first number; what is no positive integer says
      nothing,
    - in a worker of a ``multiprocessing.Pool``, which shares the cores with the others: 1.

    Raises
    ------
    ValueError
        If ``FASTNN_NUM_THREADS`` is no positive integer.

    Examples
    --------
    >>> default_threads() >= 1
    True
    """
    text = os.environ.get("FASTNN_NUM_THREADS", "")
    if text:
        count = _positive(text)
        if count is None:
            raise ValueError(f"the environment variable FASTNN_NUM_THREADS is {text!r}; expected a positive integer")
        return count
    if multiprocessing.current_process().daemon:
        return 1
    limits = [_positive(os.environ.get(name, "").partition(",")[0]) for name in LIMITS]
    least: float = min([usable_cores(), quota(), *(limit for limit in limits if limit is not None)])
    return max(1, int(least))


if hasattr(os, "register_at_fork"):  # the child may be a worker, or have its variables changed
    os.register_at_fork(after_in_child=default_threads.cache_clear)


def _positive(text: str) -> int | None:
    """The positive integer that `text` is, or None."""
    text = text.strip()
    return int(text) if re.fullmatch("[0-9]{1,18}", text) and int(text) > 0 else None


def usable_cores(root: Path = Path("/")) -> int:
    """The cores that this process may run on; two hardware threads of one core count once.

    `root` is where ``sys`` is found; the tests have one of their own.
    """
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1
    siblings = (_read(root / f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list") for n in allowed)
    return len({text or str(n) for n, text in zip(allowed, siblings)})


def quota(root: Path = Path("/")) -> float:
    """How many processors' time this process and those beside it in its container may use; inf without a limit.

    Every control group (cgroup, version 1 or 2) from that of this process upwards may set a limit; the least counts.
    `root` is where ``proc`` and the mounted groups are found.
    """
    return min((_group_quota(group) for group in _groups(root)), default=math.inf)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the groups that hold this process, as far up as they are mounted here."""
    paths: dict[str | None, str] = {}  # of this process, by controller; version 2 has one hierarchy, with no name
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "none", "")
        for name in controllers.split(","):
            paths[name] = path
    for line in _read(root / "proc/self/mountinfo").splitlines():
        where, _, what = line.partition(" - ")
        fields, (kind, _, options) = where.split(), (*what.split(), "", "", "")[:3]
        controller = {"cgroup2": "", "cgroup": "cpu"}.get(kind)
        if controller not in paths or len(fields) < 5 or (controller and controller not in options.split(",")):
            continue
        top, mounted = PurePosixPath(_unescaped(fields[3])), root / _unescaped(fields[4]).lstrip("/")
        own = PurePosixPath(paths[controller])
        # Outside the part that is mounted (in a container whose groups are named from without): the part's own top.
        inside = own.relative_to(top).parts if own.is_relative_to(top) and ".." not in own.parts else ()
        for depth in range(len(inside), -1, -1):
            yield mounted.joinpath(*inside[:depth])


def _group_quota(group: Path) -> float:
    """The limit that one group sets itself: time in each period, as processors."""
    both = _read(group / "cpu.max").split()  # version 2: "150000 100000", or "max 100000"
    if not both:
        both = [_read(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    numbers = [_positive(text) for text in both]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:  # "max", -1, or no such file
        return math.inf
    return numbers[0] / numbers[1]


def _unescaped(text: str) -> str:
    r"""A path of ``mountinfo``, where a space is ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _read(path: Path) -> str:
    """The text of a file of the system; nothing where it is not there, or not for us."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
