"""Memory that is asked for by name: who asks for more than there is hears for what, and how to ask for less."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

CONTAINER = "/sys/fs/cgroup/memory"


@contextmanager
def room(nbytes: int, what: str, cure: str) -> Iterator[None]:
    """Allocate within this block, which needs so many bytes in all.

    Systems promise more memory than they have, and end the process that believes them. So nothing is allocated
    where `nbytes` is more than the machine has.

    Parameters
    ----------
    nbytes : int
    what : str
        Completes "... takes 8,000 bytes".
    cure : str
        Completes "expected ...".

    Raises
    ------
    MemoryError
        With `what`, the bytes, and `cure`.
    """
    if nbytes > _all_there_is():
        raise no_room(nbytes, what, cure)
    try:
        yield
    except MemoryError:
        raise no_room(nbytes, what, cure) from None


def no_room(nbytes: int, what: str, cure: str) -> MemoryError:
    """The error for `what`, which takes so many bytes, with its `cure`."""
    return MemoryError(f"{what} takes {nbytes:,} bytes, more than there are; expected {cure}")


def available() -> float:
    """Bytes that this process can still take without others being in want; infinity where the system does not say."""
    try:
        with open("/proc/meminfo") as file:
            found = 1024.0 * int(next(line for line in file if line.startswith("MemAvailable:")).split()[1])
    except (OSError, ValueError, StopIteration):
        return float("inf")
    try:  # the limit of a container; what is kept of files can be given back
        with open(f"{CONTAINER}.max") as most, open(f"{CONTAINER}.current") as now, open(f"{CONTAINER}.stat") as file:
            kept = int(next(line for line in file if line.startswith("inactive_file ")).split()[1])
            return min(found, float(int(most.read()) - int(now.read()) + kept))
    except (OSError, ValueError, StopIteration):  # there is none
        return found


def _all_there_is() -> float:
    """Bytes of this machine's memory, in use or not; infinity where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return float("inf")
