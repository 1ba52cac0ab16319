"""The decorator of every kernel, and the disk cache that keeps compiled code between processes."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.ccallback import CFunc

F = TypeVar("F", bound=Callable[..., Any])

# No fastmath. Nothing is reordered, and a * b + c is one fused multiply-add only where the text says
# so (see ``fused``): what LLVM would find to fuse depends on the code around it, and a formula must
# give the same bits wherever it is inlined. The NumPy error model: 1 / 0 is inf, not an exception.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


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


def _fingerprint() -> str:
    """Hash of the source of all kernels and of the versions that compile it."""
    digest = hashlib.sha256(f"{numba.__version__} {numba.__file__}".encode())
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


FINGERPRINT = _fingerprint()


class KernelCache(FunctionCache):
    """Numba's cache, stale as soon as *any* kernel changes.

    Numba looks only at the file of the function itself. A kernel has the kernels it calls
    compiled into it, so here the stamp covers the whole package. `key`, where given, replaces
    the hash of the function's own code (see ``formula``, whose functions are closures).
    """

    def __init__(self, function: Callable[..., Any], key: str | None = None) -> None:
        super().__init__(function)
        self._key = key
        self._cache_file = IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=FINGERPRINT,
        )

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        if self._key is None:
            return super()._index_key(sig, codegen)
        return sig, codegen.magic_tuple(), self._key


def kernel(function: F) -> F:
    """Compile `function` with Numba on first use, and cache the machine code on disk."""
    return _cached(function, OPTIONS)


def inlined_kernel(function: F) -> F:
    """A kernel that becomes part of every kernel that calls it: on tiny networks a call costs as much as its work."""
    return _cached(function, {**OPTIONS, "forceinline": True})


def sums_kernel(function: F) -> F:
    """A kernel whose sums LLVM may take in vectors: in another order than the text, but always in that one."""
    return _cached(function, {**OPTIONS, "fastmath": {"contract", "reassoc"}})


def _cached(function: F, options: dict[str, Any]) -> F:
    dispatcher = numba.njit(**options)(function)
    with contextlib.suppress(RuntimeError):  # no place to write: compile anew in every process
        dispatcher._cache = KernelCache(function)
    return dispatcher  # type: ignore[no-any-return]


def compiled_address(
    function: Callable[..., Any], signature: Any, key: str | None = None, only_cached: bool = False
) -> int:
    """Compile `function` as a C function of `signature` and return its address.

    Code that is reached by its address is compiled once, whatever calls it, and a kernel that
    calls it need not be compiled again for another one. The call costs 3 to 7 ns. The code
    lives until the process ends. `key` is as in `KernelCache`. With `only_cached`, code that is not in
    the cache is not compiled; the answer is 0 then.
    """
    compiled: Any = CFunc(function, (signature.args, signature.return_type), locals={}, options=OPTIONS)
    with contextlib.suppress(RuntimeError):
        compiled._cache = KernelCache(function, key)
    if only_cached and compiled._cache.load_overload(compiled._sig, compiled._targetdescr.target_context) is None:
        return 0
    compiled.compile()
    _ALIVE.append(compiled)
    return int(compiled.address)


_ALIVE: list[CFunc] = []
