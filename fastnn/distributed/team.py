"""The ranks of a fit over MPI: what they tell each other, and that all end when one of them fails.

Nobody may wait for a rank that has failed. So every sum of an epoch's steps carries a number that says whether
somebody is in trouble, every other collective call begins with a `meet`, and whoever fails joins the next call that
the others make, with the error instead of a result.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from ..checks import Array
from ..layers.base import aligned_zeros
from ..training.callbacks import StopTraining
from ..training.epochs import Alone
from .window import Window, has_room

T = TypeVar("T")


class Elsewhere(Exception):
    """What another rank has raised, as it was printed there: the cause of the error that this rank raises."""

    def __init__(self, rank: int, text: str) -> None:
        super().__init__(rank, text)
        self.rank, self.text = rank, text

    def __str__(self) -> str:
        return f"rank {self.rank} of this fit raised it:\n{self.text}"


class _Sent(NamedTuple):
    """What a rank tells the others at a meeting."""

    where: str
    value: Any
    error: bytes | None
    text: str


class Team(Alone):
    """The ranks of a communicator in one fit.

    Attributes
    ----------
    comm
        A duplicate: its messages are not the user's.
    rank, size : int
    settled : bool
        Whether all know that the fit has failed. Then nobody communicates any more.
    """

    def __init__(self, MPI: Any, comm: Any) -> None:
        self.comm = comm.Dup()
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()
        self.settled = False
        self.stopped = False  # whether they have agreed to stop
        self.interrupted = False  # by Ctrl-C, since the others were told last
        self._MPI = MPI
        self._window: Window | None = None

    def meet(self, where: str, value: Any = None, error: BaseException | None = None) -> list[Any]:
        """The values of all ranks, by rank; or, if one brings an error, that error on all of them.

        `where` is the place in the program: to meet at different ones is an error, too.
        """
        if error is None and self.interrupted:
            error = KeyboardInterrupt()
        text = "" if error is None else "".join(traceback.format_exception(error))
        found: list[_Sent] = self.comm.allgather(_Sent(where, None if error else value, _packed(error), text))
        if any(one.error is not None for one in found):
            self.settled = True
            raise_first(found, self.rank, error)
        if any(one.where != where for one in found):
            self.settled = True
            places = ", ".join(f"rank {rank} is at {one.where!r}" for rank, one in enumerate(found))
            raise RuntimeError(f"the ranks of this fit have parted: {places}; expected the same call of fit on all")
        return [one.value for one in found]

    def together(self, where: str, task: Callable[[], T]) -> list[T]:
        """What ``task()`` returns on each rank; what it raises on one is raised on all."""
        value, error = None, None
        try:
            value = task()
        except BaseException as raised:
            error = raised
        return self.meet(where, value, error)

    def of_first(self, task: Callable[[], T]) -> T:
        """What ``task()`` returns on rank 0."""
        found: list[T | None] = []
        self.together("rank 0", lambda: found.append(task()) if self.rank == 0 else None)
        result: T = self.comm.bcast(found[0] if found else None, root=0)
        return result

    def stop(self, request: StopTraining | None) -> StopTraining | None:
        """This rank's request to stop, or else that of the first rank that has one."""
        reasons = self.meet("stop", None if request is None else request.reason)
        reason = next((one for one in reasons if one is not None), None)
        self.stopped = self.stopped or reason is not None
        return request or (None if reason is None else StopTraining(reason))

    def room(self, numbers: int, dtype: np.dtype[Any]) -> Array:
        """The block of so many numbers, the same on all ranks, that `add` is for: theirs until `end`."""
        if self.size > 1:
            near = self.comm.Split_type(self._MPI.COMM_TYPE_SHARED)
            fits = near.Get_size() == self.size and has_room(self.size, numbers, dtype)
            near.Free()
            if all(self.meet("room", fits)):
                self._window = Window(self._MPI, self.comm, numbers, dtype)
        return aligned_zeros(numbers, dtype) if self._window is None else self._window.block

    @property
    def has_window(self) -> bool:
        """Whether all see the blocks of all."""
        return self._window is not None

    def add(
        self, block: Array, parts: Sequence[Sequence[slice]] | None = None, error: BaseException | None = None
    ) -> None:
        """Replace `block`, which `room` has made, by the sum of everybody's; its last number is for the team.

        Where there is a window, `parts`, one for each rank, say that each wants no more than its own, until `pass_on`.
        """
        trouble, window = error is not None or self.interrupted, self._window
        block[-1] = float(trouble)
        if window is None:
            self.comm.Allreduce(self._MPI.IN_PLACE, block, self._MPI.SUM)
            well = block[-1] == 0
        elif parts is None:
            well = window.add(window.parts[self.rank], trouble) and window.pass_on(window.parts)
        else:
            well = window.add(parts[self.rank], trouble)
        if not well:
            self.meet("trouble", error=error)

    def pass_on(self, parts: Sequence[Sequence[slice]], places: Sequence[Sequence[Array]]) -> None:
        """See ``engine.gradients.Exchange``; only where there is a window."""
        if self._window is not None and not self._window.pass_on(parts, places):
            self.meet("trouble")

    def take_from_first(self, arrays: Iterable[Array]) -> None:
        """Replace arrays, which are of the same shapes everywhere, by those of rank 0."""
        for array in arrays:
            self.comm.Bcast(array, root=0)

    def end(self) -> None:
        """Give back what the fit had of MPI; all ranks come here."""
        if self._window is not None:
            self._window.free()
        self.comm.Free()

    @contextlib.contextmanager
    def deferring_interrupts(self) -> Iterator[None]:
        """Within it Ctrl-C is noted for the next meeting, where all ranks stop; the second Ctrl-C acts at once."""
        if threading.current_thread() is not threading.main_thread() or self.size == 1:
            yield
            return
        before = signal.getsignal(signal.SIGINT)
        if before is None:  # it was not set from Python
            yield
            return

        def note(number: int, frame: Any) -> None:
            if self.interrupted and callable(before):
                before(number, frame)
            self.interrupted = True

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _packed(error: BaseException | None) -> bytes | None:
    """An error for another process; of one that cannot go there its type and its text."""
    if error is None:
        return None
    try:
        data = pickle.dumps(error)
        if type(pickle.loads(data)) is type(error):
            return data
    except Exception:
        pass
    return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


def raise_first(found: Sequence[_Sent], rank: int, own: BaseException | None) -> NoReturn:
    """Raise this rank's own error, or else that of the first rank that has one; Ctrl-C, if there is nothing else."""
    failed = [one for one in range(len(found)) if found[one].error is not None]
    errors = {one: _unpacked(found[one]) for one in failed}
    real = [one for one in failed if not isinstance(errors[one], KeyboardInterrupt)]
    if own is not None and (rank in real or not real):
        raise own
    first = (real or failed)[0]
    raise errors[first] from Elsewhere(first, found[first].text)


def _unpacked(sent: _Sent) -> BaseException:
    try:
        error: BaseException = pickle.loads(sent.error or b"")
    except Exception:  # a class that there is on that rank alone
        error = RuntimeError(sent.text)
    return error
