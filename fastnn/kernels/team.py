"""Several threads in one kernel.

Each thread of a team runs the same kernel on its share of the samples, or of the rows of W, and
the threads meet where one needs what another wrote. A meeting costs a few hundred nanoseconds,
far less than to start a thread. Each sum lies within one share, so the results do not depend on
how many threads there are, and a call may go over from a team to one thread after any step.

Every call has numbers of its own, its *meetings*, and a copy of the network's record that leads to them:
a thread that comes late to a call that is over finds it closed, and touches nothing else.

Who waits looks for others for some microseconds, for as long as a share may be late on a machine with
nothing else to do, and then waits in the system, so that others can have the core.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import lru_cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .clock import now
from .compiling import compiled_address, kernel
from .cpu import CACHE_LINE
from .memory import ADDRESS, ask, call, pointer_at, pointer_plus
from .order import INT64
from .records import network_at

LOOKS = 16  # looks at the others between two at the clock
CLOSED = 2**31  # in the count of arrivals: the call is over, or called off. In its lower half, which futex compares

# The numbers of a call, int64; those that several threads write have a cache line of their own
_LINE = CACHE_LINE // 8
ARRIVED = 0  # how often a thread came to a meeting, with `CLOSED`
ASLEEP = _LINE  # how many threads wait in the system, or are about to
LEFT = 2 * _LINE  # how many threads, besides number 0, are done
TAKEN = 3 * _LINE  # rows that were given out, where threads take what comes next
STEPS = 4 * _LINE  # steps that were taken,
SAMPLES = STEPS + 1  # their samples,
STARTED = STEPS + 2  # when the first began, in ticks,
GIVEN_UP = STEPS + 3  # and whether the team ends after this one
TIMEOUT = 5 * _LINE  # seconds, nanoseconds: how long the system is to let thread 0 wait for the others' arrival
MEETINGS = 6 * _LINE  # how many numbers there are

_PATIENCE_NS = 1_000_000  # thread 0 looks at the clock this often while it waits for others to begin

_WAIT, _WAKE = 128, 129  # of the futexes of one process
_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221}  # the number of the system call, if 64-bit

_PAUSE: tuple[str, list[int]] = ("llvm.x86.sse2.pause", [])
_YIELD = ("llvm.aarch64.hint", [1])
_HINT = {"x86_64": _PAUSE, "amd64": _PAUSE, "aarch64": _YIELD, "arm64": _YIELD}.get(platform.machine().lower())


@lru_cache(maxsize=None)
def give_way_address() -> int:
    """Address of the system's function that lets another thread have this core."""
    if sys.platform == "win32":
        function: Any = ctypes.windll.kernel32.SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


@lru_cache(maxsize=None)
def futex() -> tuple[int, int]:
    """Linux: the address of ``syscall``, and the number of the call that waits on an address; elsewhere zeros."""
    known = sys.platform == "linux" and ctypes.sizeof(ctypes.c_void_p) == 8 and sys.byteorder == "little"
    number = _FUTEX.get(platform.machine().lower(), 0) if known else 0
    if number == 0:
        return 0, 0
    return int(ctypes.cast(ctypes.CDLL(None).syscall, ctypes.c_void_p).value or 0), number


def _atomic(operation: str) -> Any:
    @intrinsic
    def change(typingctx: Any, counter: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.atomic_rmw(operation, args[0], args[1], "seq_cst")

        return types.int64(counter, types.int64), codegen

    return change


_add = _atomic("add")  # add to a number that all threads see; returns what it was
_or = _atomic("or")


@intrinsic
def _look(typingctx: Any, counter: Any) -> Any:
    """The number as it is now."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(args[0], ordering="seq_cst", align=8)

    return types.int64(counter), codegen


@intrinsic
def _pause(typingctx: Any) -> Any:
    """Tell the processor that this is a loop that waits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _HINT is not None:
            name, values = _HINT
            constants = [ir.Constant(ir.IntType(32), value) for value in values]
            kind = ir.FunctionType(ir.VoidType(), [constant.type for constant in constants])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), constants)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _futex(typingctx: Any, function: Any, number: Any, word: Any, what: Any, value: Any, timeout: Any) -> Any:
    """The system call on the lower half of `word`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = ir.Constant(ADDRESS, 0)
        values = [args[1], builder.ptrtoint(args[2], ADDRESS), *args[3:], zero, zero]
        kind = ir.FunctionType(ADDRESS, [ADDRESS], var_arg=True)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    kinds = types.int64, types.int64, word, types.int64, types.int64, types.int64
    return types.void(*kinds), codegen


# --- what the kernels of a step do: one thread alone, nothing; a team by address, as many never need that ------


@kernel
def assemble(net: Any, who: int) -> bool:
    """The first meeting: False if it was called off, as when a thread could not start or took too long to."""
    return net.team == 1 or ask(net.assemble, net.itself, who) != 0


@kernel
def meet(net: Any) -> None:
    """Wait until all threads of the team are here; what each wrote before, all see after."""
    if net.team > 1:
        call(net.meet, net.itself)


@kernel
def count_step(net: Any, samples: int) -> None:
    """Thread 0, before the last meeting of a step: count it, and see whether the team is to end with it."""
    if net.team > 1:
        call(net.count_step, net.itself, samples)


@kernel
def given_up(net: Any) -> bool:
    """Whether the team ends with this step; the same for all threads, between that step's last meeting and the next."""
    return net.team > 1 and pointer_at(net.meetings, INT64)[GIVEN_UP] != 0


@kernel
def steps_taken(net: Any) -> int:
    """How many steps `count_step` has counted."""
    return pointer_at(net.meetings, INT64)[STEPS]


@kernel
def leave(net: Any, who: int) -> None:
    """The end of a thread's work: what all wrote, thread 0 sees after."""
    if net.team > 1:
        call(net.leave, net.itself, who)


@lru_cache(maxsize=None)
def team_addresses() -> dict[str, int]:
    """The functions for teams, by the names of the fields of a record that lead to them."""
    index, nothing = types.int64, types.void
    return {
        "assemble": compiled_address(_assemble, index(index, index)),
        "meet": compiled_address(_meet, nothing(index)),
        "count_step": compiled_address(_count_step, nothing(index, index)),
        "leave": compiled_address(_leave, nothing(index, index)),
    }


def _meet(address: int) -> None:
    net = network_at(address)
    counter = pointer_at(net.meetings, INT64)
    everyone = (_arrive(net, ARRIVED) // net.team + 1) * net.team
    if _look(counter) < everyone:
        _wait(net, ARRIVED, everyone)


@kernel
def _arrive(net: Any, which: int) -> int:
    """Count one more, and wake who waits for it; returns how many there were."""
    numbers = pointer_at(net.meetings, INT64)
    before = _add(pointer_plus(numbers, which), 1)
    _wake(net, which)
    return before


@kernel
def _wake(net: Any, which: int) -> None:
    numbers = pointer_at(net.meetings, INT64)
    if net.futex != 0 and _look(pointer_plus(numbers, ASLEEP)) != 0:
        _futex(net.syscall, net.futex, pointer_plus(numbers, which), _WAKE, 2**31 - 1, 0)


@kernel
def _wait(net: Any, which: int, count: int) -> None:
    """Wait until so many have been counted."""
    counter = pointer_plus(pointer_at(net.meetings, INT64), which)
    if not _spin(net, counter, count):
        while _look(counter) < count:
            _sleep(net, counter, count, 0)


@kernel
def _spin(net: Any, counter: Any, count: int) -> bool:
    """Look for so many for a while; returns whether they came."""
    end = now(net.clock) + net.spin
    while True:
        for _ in range(LOOKS):
            if _look(counter) >= count:
                return True
            _pause()
        if now(net.clock) > end:
            return False


@kernel
def _sleep(net: Any, counter: Any, count: int, timeout: int) -> None:
    """Let others have this core, until one more is counted or, where the system can do it, any sooner time."""
    if net.futex != 0:
        asleep = pointer_plus(pointer_at(net.meetings, INT64), ASLEEP)
        _add(asleep, 1)
        seen = _look(counter)
        if seen < count:  # who counts now finds that someone is asleep, or the system that `seen` is no longer so
            _futex(net.syscall, net.futex, counter, _WAIT, seen, timeout)
        _add(asleep, -1)
    else:
        call(net.give_way)


def _assemble(address: int, who: int) -> int:
    """Thread 0 comes last, so that it alone decides."""
    net = network_at(address)
    counter = pointer_at(net.meetings, INT64)
    if who > 0:
        if _arrive(net, ARRIVED) >= CLOSED:
            return 0  # nobody knows of this thread
        _wait(net, ARRIVED, net.team)
        if _look(counter) % CLOSED < net.team:
            _arrive(net, LEFT)
            return 0
        return 1
    timeout = pointer_plus(counter, TIMEOUT)
    timeout[0], timeout[1] = 0, _PATIENCE_NS
    end = now(net.clock) + net.patience
    if _look(counter) < net.team - 1 and not _spin(net, counter, net.team - 1):
        while _look(counter) < net.team - 1 and now(net.clock) < end:
            _sleep(net, counter, net.team - 1, net.meetings + 8 * TIMEOUT)
    if _look(counter) < net.team - 1 or _look(counter) >= CLOSED:
        dismiss(net)
        return 0
    pointer_plus(counter, STARTED)[0] = now(net.clock)
    _arrive(net, ARRIVED)
    return 1


@kernel
def join(net: Any, who: int) -> bool:
    """Take part without a meeting; False if the call is over already."""
    return who == 0 or _arrive(net, ARRIVED) < CLOSED


def _leave(address: int, who: int) -> None:
    net = network_at(address)
    if who > 0:
        _arrive(net, LEFT)
    else:
        dismiss(net)


@kernel
def dismiss(net: Any) -> None:
    """Close the call, unless it is, and wait for those that have begun."""
    counter = pointer_at(net.meetings, INT64)
    before = _or(counter, CLOSED)
    if before < CLOSED:
        _wake(net, ARRIVED)
        others = min(before, net.team - 1)
        if _look(pointer_plus(counter, LEFT)) < others:
            _wait(net, LEFT, others)


@kernel
def end_call(address: int) -> None:
    """`dismiss`, for Python: whatever became of the call, nobody is at work in it after this."""
    net = network_at(address)
    if net.team > 1:
        dismiss(net)


def _count_step(address: int, samples: int) -> None:
    """The team is to end where it has lost more than ``net.allowance`` against ``net.a_sample`` a sample."""
    net = network_at(address)
    numbers = pointer_at(net.meetings, INT64)
    numbers[STEPS] += 1
    numbers[SAMPLES] += samples
    lost = now(net.clock) - numbers[STARTED] - numbers[SAMPLES] * net.a_sample
    if lost > net.allowance:
        numbers[GIVEN_UP] = 1


@kernel
def next_rows(net: Any, first: int, last: int, most: int) -> tuple[int, int]:
    """The next rows of `first` to `last`, at most so many, that no thread has taken; none: ``last, last``."""
    start = min(last, first + _add(pointer_plus(pointer_at(net.meetings, INT64), TAKEN), most))
    return start, min(last, start + most)


@kernel
def share(count: int, grain: int, who: int, team: int) -> tuple[int, int]:
    """The first and the last + 1 of `count` things that thread `who` takes, in whole grains."""
    grains = (count + grain - 1) // grain
    return min(count, grains * who // team * grain), min(count, grains * (who + 1) // team * grain)
