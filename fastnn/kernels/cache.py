"""The disk cache of compiled code, which no damaged file, full disk or folder without write permission can stop.

An entry says of which sources and of which signature it is, under a checksum; anything else in its place is a miss.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import pathlib
import pickle
import pkgutil
import tempfile
import time
import types
import uuid
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite
import numba
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.serialize import dumps

MAGIC = b"fastnn\n1"
ABANDONED = 3600.0  # seconds after which a file that is still being written is one of a killed process


def _fingerprint() -> str:
    """Hash of the source of all kernels and of the versions that compile it."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {numba.__file__}".encode())
    sources = [path.read_bytes() for path in sorted(pathlib.Path(__file__).parent.glob("*.py"))]
    for text in sources or _modules(__name__.rpartition(".")[0]):
        digest.update(text)
    return digest.hexdigest()


def _modules(package: str) -> Iterator[bytes]:
    """What stands for the sources of a package in an archive, or compiled alone: the code of its modules."""
    for module in sorted(
        pkgutil.iter_modules(importlib.import_module(package).__path__), key=lambda module: module.name
    ):
        loader: Any = importlib.util.find_spec(f"{package}.{module.name}").loader  # type: ignore[union-attr]
        yield repr(_in_words(loader.get_code(f"{package}.{module.name}"))).encode()


def _in_words(constant: Any) -> Any:
    """A constant, or code with all that stands in it, in the same words in every process."""
    if isinstance(constant, types.CodeType):
        within = [_in_words(one) for one in constant.co_consts]
        return constant.co_name, constant.co_code, constant.co_names, constant.co_varnames, within
    return sorted(map(repr, constant)) if isinstance(constant, frozenset) else repr(constant)


FINGERPRINT = _fingerprint()

# What else changes the code that Numba makes of one text; the processor is part of Numba's own key.
SWITCHES = tuple(
    getattr(config, name, None)
    for name in ("BOUNDSCHECK", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT", "USING_SVML")
)


class CheckedFile:
    """The entries of one function in one folder: a ``.nbc`` for each key, and a ``.nbi`` that says of which sources.

    The name of an entry follows from its key, so processes that fill a folder at once do not take each other's
    place; each is written to a file of its own and then renamed. Entries of other sources are removed when the
    first one of these is saved.
    """

    def __init__(self, folder: str, base: str, stamp: str) -> None:
        self._folder, self._base = folder, base
        self._tag = hashlib.sha256(stamp.encode()).hexdigest()[:12]

    def load(self, key: Any) -> Any:
        """What was saved under `key`; None if there is nothing, or nothing sound."""
        try:
            found, data = pickle.loads(self._read(self._entry(key)))
            return data if found == key else None
        except Exception:  # whatever a strange or damaged file may lead to
            return None

    def save(self, key: Any, data: Any) -> None:
        """Keep `data` under `key`; OSError where the disk does not take it."""
        os.makedirs(self._folder, exist_ok=True)
        index = f"{self._base}.nbi"
        try:
            known = self._read(index) == self._tag.encode()
        except (OSError, ValueError):
            known = False
        self._write(self._entry(key), dumps((key, data)))
        if not known:
            self._sweep(f"{self._tag}-")
            self._write(index, self._tag.encode())

    def flush(self) -> None:
        """Remove all entries."""
        with contextlib.suppress(OSError):
            self._sweep("none")

    def _entry(self, key: Any) -> str:
        return f"{self._base}.{self._tag}-{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"

    def _read(self, name: str) -> bytes:
        with open(os.path.join(self._folder, name), "rb") as file:
            content = file.read()
        start = len(MAGIC) + hashlib.sha256().digest_size
        if content[:start] != self._head(name, content[start:]):
            raise ValueError(f"{name} is damaged")
        return content[start:]

    def _write(self, name: str, content: bytes) -> None:
        path = os.path.join(self._folder, name)
        unfinished = f"{path}.{uuid.uuid4().hex[:12]}.tmp"
        try:
            with open(unfinished, "wb") as file:
                file.write(self._head(name, content) + content)
            os.replace(unfinished, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)
            raise

    def _head(self, name: str, content: bytes) -> bytes:
        """What stands before `content` in the file called `name`, and in no other."""
        return MAGIC + hashlib.sha256(name.encode() + b"\0" + content).digest()

    def _sweep(self, keep: str) -> None:
        """Remove the entries whose tag is not `keep`, and what killed processes left."""
        with os.scandir(self._folder) as files:
            for file in files:
                base, _, rest = file.name.partition(f"{self._base}.")
                if base or not rest:
                    continue
                with contextlib.suppress(OSError):  # another process was faster
                    if (rest.endswith(".nbc") and not rest.startswith(keep)) or (
                        rest.endswith(".tmp") and time.time() - file.stat().st_mtime > ABANDONED
                    ):
                        os.unlink(file.path)


@functools.lru_cache(maxsize=None)
def _can_write(folder: str) -> bool:
    """Whether this process may write to `folder`, which is made if need be."""
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


@functools.lru_cache(maxsize=None)
def _implementation(locator: Any) -> Any:
    """Numba's cache in the folders of one of its locators, which does not ask whether it may write there."""
    reader = type(locator.__name__, (locator,), {"ensure_cache_path": lambda self: None})
    return type("Implementation", (CompileResultCacheImpl,), {"_locator_classes": [reader]})


class KernelCache(FunctionCache):
    """Numba's cache, stale as soon as *any* kernel changes.

    Numba looks only at the file of the function itself. A kernel has the kernels it calls
    compiled into it, so here the stamp covers the whole package. `key`, where given, replaces
    the hash of the function's own code (see ``formula``, whose functions are closures).

    Numba's own choice of a folder is the first it may write to: ``NUMBA_CACHE_DIR``, ``__pycache__`` beside the
    source, the user's cache. Those before it are read, too: they may have been filled by another user. Where there
    is none to write to, or no room, the code is kept in memory.

    Attributes
    ----------
    lost : str
        Of the class: why code that this process compiled is not on disk, in words; "" where all of it is.
    """

    lost: str = ""
    _warned = False

    def __init__(self, function: Callable[..., Any], key: str | None = None) -> None:
        # Not Numba's own __init__, which looks for a folder: every import would, for every kernel.
        self._name, self._py_func, self._key = repr(function), function, key
        self.enable()

    @functools.cached_property
    def _places(self) -> list[tuple[Any, CheckedFile]]:
        """What reads and writes, in the order in which they are asked; the last is the one that is written to."""
        places = []
        for locator in CompileResultCacheImpl._locator_classes:
            try:
                implementation = _implementation(locator)(self._py_func)
            except Exception:  # not one for this function: it has no file, or there is no such folder
                continue
            folder = implementation.locator.get_cache_path()
            places.append((implementation, CheckedFile(folder, implementation.filename_base, FINGERPRINT)))
            if _can_write(folder):
                break
        return places

    @property
    def cache_path(self) -> str | None:
        """The folder that is written to; None without any."""
        return self._places[-1][0].locator.get_cache_path() if self._places else None

    @property
    def keeps(self) -> bool:
        """Whether there is a folder to write to."""
        return self.cache_path is not None and _can_write(self.cache_path)

    def flush(self) -> None:
        """Remove what is kept of this function."""
        for _, file in self._places:
            file.flush()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function of a signature; None if there is none that is sound."""
        with contextlib.suppress(Exception):  # a miss, whatever is wrong: it is compiled anew and replaced
            return super().load_overload(sig, target_context)
        return None

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        key = self._index_key(sig, target_context.codegen())
        for implementation, file in self._places:
            data = file.load(key)
            if data is not None:
                return implementation.rebuild(target_context, data)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function; where that fails, a warning says it once in each process."""
        try:
            super().save_overload(sig, data)
        except OSError as error:  # the code is ready, so go on
            KernelCache.lost = (
                f"compiled code cannot be kept in {self.cache_path}: {error}. Make room there, or name another folder "
                "in the environment variable NUMBA_CACHE_DIR"
            )
            if not KernelCache._warned:
                KernelCache._warned = True
                warnings.warn(
                    f"{KernelCache.lost}. This process goes on without; later ones compile again",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def _save_overload(self, sig: Any, data: Any) -> None:
        if not self.keeps:
            tried = ", ".join(implementation.locator.get_cache_path() for implementation, _ in self._places)
            KernelCache.lost = (
                f"compiled code cannot be kept: {tried or 'no folder'} cannot be written to. Name a folder that can be "
                "in the environment variable NUMBA_CACHE_DIR"
            )
        else:
            implementation, file = self._places[-1]
            if implementation.check_cachable(data):
                file.save(self._index_key(sig, data.codegen), implementation.reduce(data))

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        if self._key is None:
            return (*super()._index_key(sig, codegen), SWITCHES)
        return sig, codegen.magic_tuple(), self._key, SWITCHES
