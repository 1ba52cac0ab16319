"""Sums of the arrays of ranks that share a machine, in memory that all of them see."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..checks import Array

PAGE = 4096
LINE = 64  # bytes: parts of a sum begin at whole cache lines
SHM = "/dev/shm"  # where an MPI may keep such memory; to write to more of it than there is kills a process


class Window:
    """A block for each rank, which all see: what stands in them is added up where it lies.

    Allreduce copies every block into memory that two ranks share, piece by piece, and out of it again. Here rank r
    adds up the r-th part of all blocks, and takes the other parts from those who have added them up, or takes what
    they have made of them.

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
    parts : list of list of slice
        Of a block, for each rank about as much.
    """

    def __init__(self, MPI: Any, comm: Any, numbers: int, dtype: np.dtype[Any]) -> None:
        self._MPI, self._comm, size = MPI, comm, comm.Get_size()
        self._rank, self._trouble = comm.Get_rank(), np.zeros(1, np.int32)
        self._window = MPI.Win.Allocate_shared(_nbytes(numbers, dtype), 1, comm=comm)
        self._window.Lock_all(MPI.MODE_NOCHECK)
        self._blocks = [self._block_of(one, numbers, dtype) for one in range(size)]
        self.block = self._blocks[self._rank]
        self.block[...] = 0
        step = LINE // dtype.itemsize
        cuts = [numbers * one // size // step * step for one in range(size)] + [numbers]
        self.parts = [[slice(*ends)] for ends in zip(cuts, cuts[1:])]
        self._so_far = np.empty(0, dtype)  # where more than two are added up

    def _block_of(self, rank: int, numbers: int, dtype: np.dtype[Any]) -> Array:
        memory, _ = self._window.Shared_query(rank)
        every = np.frombuffer(memory, np.uint8)
        first = -every.ctypes.data % LINE
        block: Array = every[first : first + numbers * dtype.itemsize].view(dtype)
        return block

    def add(self, mine: Iterable[slice], trouble: bool = False) -> bool:
        """Replace these parts of this rank's block by the sums of everybody's, in the order of the ranks.

        Returns False, and has added nothing, if one of them has said that it is in trouble.
        """
        if not self._meet(trouble):  # all blocks are written
            return False
        for part in mine:
            first, *others, last = (block[part] for block in self._blocks)
            if others and self._so_far.size < first.size:
                self._so_far = np.empty_like(first)
            for block in others:
                first = np.add(first, block, out=self._so_far[: block.size])
            np.add(first, last, out=self.block[part])
        return True

    def pass_on(self, parts: Sequence[Iterable[slice]], places: Sequence[Iterable[Array]] | None = None) -> bool:
        """Copy the parts of all ranks, each from the block of its rank; returns False if one has been in trouble.

        With places, one for each part, this rank first writes its own into its block, and takes the others there.
        """
        for part, place in zip(parts[self._rank], places[self._rank]) if places else ():
            self.block[part] = place
        if not self._meet():  # all parts are written
            return False
        for rank, block in enumerate(self._blocks):
            if rank != self._rank:
                into = places[rank] if places else (self.block[part] for part in parts[rank])
                for part, place in zip(parts[rank], into):
                    place[...] = block[part]
        return self._meet()  # all are read: the blocks may be written

    def _meet(self, trouble: bool = False) -> bool:
        """What each has written before it, all see after it; returns whether none of them is in trouble."""
        self._trouble[0] = trouble
        self._window.Sync()
        self._comm.Allreduce(self._MPI.IN_PLACE, self._trouble, self._MPI.MAX)
        self._window.Sync()
        return not self._trouble[0]

    def free(self) -> None:
        """Give the memory back, on all ranks at once; nobody may touch a block after it."""
        self.block, self._blocks = np.empty(0), []
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
