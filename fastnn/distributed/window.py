"""Sums of the arrays of ranks that share a machine, in memory that all of them see."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..checks import Array

PAGE = 4096
LINE = 64  # bytes: parts of a sum begin at whole cache lines
SHM = "/dev/shm"  # where an MPI may keep such memory; to write to more of it than there is kills a process


class Window:
    """A block for each rank, which all see: what stands in them is added up where it lies.

    Allreduce copies every block into memory that two ranks share, piece by piece, and out of it again. Here rank r
    adds up the r-th part of all blocks, and takes the other parts from those who have added them up.

    Parameters
    ----------
    MPI : module
    comm
        Of ranks on one machine.
    numbers : int
        Of a block.
    dtype : dtype

    Attributes
    ----------
    block : ndarray (numbers,)
        This rank's.
    """

    def __init__(self, MPI: Any, comm: Any, numbers: int, dtype: np.dtype[Any]) -> None:
        self._comm, rank, size = comm, comm.Get_rank(), comm.Get_size()
        self._window = MPI.Win.Allocate_shared(_nbytes(numbers, dtype), 1, comm=comm)
        self._window.Lock_all(MPI.MODE_NOCHECK)
        self._blocks = [self._block_of(one, numbers, dtype) for one in range(size)]
        self.block = self._blocks[rank]
        self.block[...] = 0
        step = LINE // dtype.itemsize
        cuts = [numbers * one // size // step * step for one in range(size)] + [numbers]
        parts = [slice(*ends) for ends in zip(cuts, cuts[1:])]
        self._mine = parts[rank]
        self._others = [(part, block) for one, (part, block) in enumerate(zip(parts, self._blocks)) if one != rank]
        self._so_far = np.empty(cuts[rank + 1] - cuts[rank], dtype)

    def _block_of(self, rank: int, numbers: int, dtype: np.dtype[Any]) -> Array:
        memory, _ = self._window.Shared_query(rank)
        every = np.frombuffer(memory, np.uint8)
        first = -every.ctypes.data % LINE
        block: Array = every[first : first + numbers * dtype.itemsize].view(dtype)
        return block

    def add(self) -> None:
        """Replace every rank's block by the sum of all, in the order of the ranks: the same bits for all of them."""
        self._meet()  # all blocks are written
        first, *rest = (block[self._mine] for block in self._blocks)
        for block in rest[:-1]:
            first = np.add(first, block, out=self._so_far)
        np.add(first, rest[-1], out=self.block[self._mine])
        self._meet()  # all parts are added up
        for part, block in self._others:
            self.block[part] = block[part]
        self._meet()  # all are read: the next sum may be written

    def _meet(self) -> None:
        """What each has written before it, all see after it."""
        self._window.Sync()
        self._comm.Barrier()
        self._window.Sync()

    def free(self) -> None:
        """Give the memory back, on all ranks at once; nobody may touch a block after it."""
        self.block, self._blocks, self._others = np.empty(0), [], []
        self._window.Unlock_all()
        self._window.Free()


def _nbytes(numbers: int, dtype: np.dtype[Any]) -> int:
    """Bytes of a block, in whole pages, wherever in a cache line it begins."""
    return -(-(numbers * dtype.itemsize + LINE) // PAGE) * PAGE


def has_room(ranks: int, numbers: int, dtype: np.dtype[Any]) -> bool:
    """Whether this machine has memory for the blocks of so many ranks, and half as much again."""
    if not os.path.isdir(SHM):
        return True
    state = os.statvfs(SHM)
    return 1.5 * ranks * _nbytes(numbers, dtype) <= state.f_bavail * state.f_frsize
