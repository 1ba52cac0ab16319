"""The decorator of every kernel; what is compiled is kept on disk (see ``cache``), and not disturbed by signals."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from numba.core import config
from numba.core.ccallback import CFunc
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock

from ..audience import Notice
from .cache import KernelCache
from .part import Kernel

F = TypeVar("F", bound=Callable[..., Any])

# No fastmath. Nothing is reordered, and a * b + c is one fused multiply-add only where the text says
# so (see ``fused``): what LLVM would find to fuse depends on the code around it, and a formula must
# give the same bits wherever it is inlined. The NumPy error model: 1 / 0 is inf, not an exception.
OPTIONS: dict[str, Any] = {"nopython": True, "nogil": True, "error_model": "numpy"}


if config.DISABLE_JIT:
    raise ImportError(
        "NUMBA_DISABLE_JIT is set, but fastnn's kernels work on addresses and run only when compiled: unset it, and "
        "set a breakpoint in a formula's own f or df, which are NumPy"
    )


def _load_numba() -> None:
    """Load the part of Numba that would import scipy, which takes 0.2 s, only to learn whether it is there.

    It is asked nothing more before code calls BLAS, as the kernels never do: a caller's own may.
    """
    with contextlib.suppress(ImportError, AttributeError):  # another Numba may do without, or do it elsewhere
        from numba.np import linalg

        import_scipy = linalg.ensure_blas
        if importlib.util.find_spec("scipy") is not None:
            linalg.ensure_blas = lambda: None
            try:
                importlib.import_module("numba.np.arraymath")
            finally:
                linalg.ensure_blas = import_scipy


_load_numba()


class _HeldBack:
    """The handler of all signals while code is compiled: it notes which came, for the handlers that were there."""

    def __init__(self) -> None:
        self.handlers: dict[int, Any] = {}
        self.came: list[int] = []
        self.waiting = True

    def __call__(self, number: int, frame: Any) -> None:
        if self.waiting:
            self.came.append(number)
        else:
            self.handlers[number](number, frame)

    def begin(self) -> None:
        """Take the place of every handler written in Python."""
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            if callable(handler):
                self.handlers[number] = handler
                signal.signal(number, self)

    def end(self) -> None:
        """Give the places back, and call the handlers of what came."""
        try:
            self.waiting = False  # from here on a handler may raise, between any two lines; those left pass it on
            for number, handler in self.handlers.items():
                if signal.getsignal(number) is self:
                    signal.signal(number, handler)
        finally:
            self._deliver()

    def _deliver(self) -> None:
        while self.came:
            number = self.came.pop(0)
            try:
                self.handlers[number](number, sys._getframe(1))
            except BaseException:
                self.came = [other for other in self.came if other != number]  # one exception of a kind is enough
                self._deliver()
                raise


def undisturbed(function: F) -> F:
    """Let signals, as Ctrl-C, wait until `function` is done, and then do what they do.

    Their handlers run between any two instructions of the main thread, and raise there. Numba, stopped half-way
    through a compilation, may never compile again in this process, or go on as if nothing had been raised. What
    runs in other threads is disturbed by no handler.
    """

    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        if _compiling or threading.get_ident() != threading.main_thread().ident:
            return function(*args, **options)
        held = _HeldBack()
        try:
            held.begin()
            _compiling.append(held)
            with NOTICE.during(), _uncollected():
                return function(*args, **options)
        finally:
            _compiling.clear()
            held.end()

    return run  # type: ignore[return-value]


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Have Python look for no cycles meanwhile: of a million objects they take a tenth of the time to compile."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _notice() -> str:
    """What is said to whoever waits."""
    if KernelCache(_notice).keeps:
        return "fastnn compiles what this network needs; that is kept for later runs, which start at once"
    return (
        "fastnn compiles what this network needs, in every process: there is no folder to keep it in; name one in the "
        "environment variable NUMBA_CACHE_DIR"
    )


NOTICE = Notice(_notice)
_compiling: list[_HeldBack] = []  # in the main thread, which is the one that has handlers


def _forget() -> None:
    """In a forked process nobody is compiling."""
    while _compiling:
        _compiling.pop().waiting = False
    global_compiler_lock.release()


if hasattr(os, "register_at_fork"):  # no thread of the child would ever give back the lock of a compiling one
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=_forget,
    )


def kernel(function: F) -> F:
    """Compile `function` with Numba on first use, and cache the machine code on disk."""
    return _cached(function, OPTIONS)


def inlined_kernel(function: F) -> F:
    """A kernel that becomes part of every kernel that calls it: on tiny networks a call costs as much as its work."""
    return _cached(function, {**OPTIONS, "forceinline": True})


def sums_kernel(function: F) -> F:
    """A kernel whose sums LLVM may take in vectors: in another order than the text, but always in that one."""
    return _cached(function, {**OPTIONS, "fastmath": {"contract", "reassoc"}})


@undisturbed
def entry_point(kernel: Any, *kinds: Any) -> Callable[..., Any]:
    """What Numba calls for arguments of these types, which it looks at in every call: here the caller has done so."""
    kernel.compile(kinds)
    return kernel.overloads[kinds].entry_point  # type: ignore[no-any-return]


def part_of_formulas(function: F) -> F:
    """A kernel that formulas, and nobody else, may call."""
    return Kernel(function, targetoptions={**OPTIONS, "forceinline": True})  # type: ignore[return-value]


def _cached(function: F, options: dict[str, Any]) -> F:
    dispatcher = Kernel(function, targetoptions=options)
    dispatcher._cache = KernelCache(function)
    if not config.DISABLE_JIT:
        dispatcher._compile_for_args = undisturbed(dispatcher._compile_for_args)
    return dispatcher  # type: ignore[return-value]


class _Distinct(Compiler):  # type: ignore[misc]
    """Numba's compiler, told that no two pointers among the arguments lead to the same memory.

    Else LLVM looks whether they do, before it takes a loop in vectors, and where there are many gives up.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.state.flags.noalias = True


@undisturbed
def compiled_address(
    function: Callable[..., Any],
    signature: Any,
    key: str | None = None,
    only_cached: bool = False,
    distinct: bool = False,
) -> int:
    """Compile `function` as a C function of `signature` and return its address.

    Code that is reached by its address is compiled once, whatever calls it, and a kernel that
    calls it need not be compiled again for another one. The call costs 3 to 7 ns. The code
    lives until the process ends. `key` is as in `KernelCache`. With `only_cached`, code that is not in
    the cache is not compiled; the answer is 0 then. `distinct` says that all its pointers lead to different memory.
    """
    types, compiler = (signature.args, signature.return_type), _Distinct if distinct else Compiler
    compiled: Any = CFunc(function, types, locals={}, options=OPTIONS, pipeline_class=compiler)
    compiled._cache = KernelCache(function, key)
    if only_cached and compiled._cache.load_overload(compiled._sig, compiled._targetdescr.target_context) is None:
        return 0
    compiled.compile()
    _ALIVE.append(compiled)
    return int(compiled.address)


_ALIVE: list[CFunc] = []
