"""Files of arrays in the safetensors format, and files that are replaced as a whole.

A safetensors file is the length of its header (8 bytes), the header (JSON: for each array its dtype, its shape and
where its bytes begin and end; and ``__metadata__``, texts by name), and the bytes of the arrays, one after another.
Nothing that a header says is believed: the lengths are held against each other and against the file before anything
is allocated. Arrays are read and written in pieces, so that neither takes memory beside the arrays themselves.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from types import ModuleType, TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..checks import Array

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed anyway
    fcntl = None

Path = str | os.PathLike[str]

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in DTYPES.items()}

LONGEST_HEADER = 2**25  # bytes: as much as some hundred thousand layers take
_PIECE = 2**20  # bytes that are read or written at a time
_METADATA = "__metadata__"


class Kind(NamedTuple):
    """What an array is: its dtype, of this machine's byte order, and its shape."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


# --- JSON from a stranger --------------------------------------------------------------------


def read_json(text: str) -> Any:
    """What a JSON text says.

    Raises
    ------
    ValueError
        If it is none, lies too deep, names something twice, or holds an integer of more than 1,000 digits.
    """
    try:
        return json.loads(text, object_pairs_hook=_each_once, parse_int=_short_int)
    except RecursionError:
        raise ValueError("its JSON lies too deep") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"it names {name!r} twice")
        found[name] = value
    return found


def _short_int(text: str) -> int:
    if len(text) > 1000:
        raise ValueError(f"it holds an integer of {len(text)} digits")
    return int(text)


# --- reading ---------------------------------------------------------------------------------


class ArrayFile:
    """A safetensors file, open for reading; use it in a ``with`` statement.

    Parameters
    ----------
    path : str or path-like

    Attributes
    ----------
    metadata : dict of str to str
    kinds : dict of str to Kind
        What each array is, by name.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is no regular file, or no sound safetensors file.
    """

    def __init__(self, path: Path) -> None:
        path = named(path)
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            raise FileNotFoundError(f"path is {str(path)!r}; there is no such file") from None
        _check_regular(path, mode)
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115  (closed by __exit__)
        try:
            self._read_header(os.fstat(self._file.fileno()).st_size)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> ArrayFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def _read_header(self, size: int) -> None:
        length = int.from_bytes(self._file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"it has {size} bytes; expected a safetensors file, which begins with its header's length")
        if length > LONGEST_HEADER:
            raise ValueError(f"its header has {length:,} bytes; expected at most {LONGEST_HEADER:,}")
        header = read_json(self._file.read(length).decode("utf-8"))
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object; expected a safetensors file")
        metadata = header.pop(_METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata are no texts by name")
        self.metadata: dict[str, str] = metadata
        self.kinds: dict[str, Kind] = {}
        self._starts: dict[str, int] = {}
        places = []
        for name, about in header.items():
            self.kinds[name], begin, end = _entry(name, about)
            self._starts[name] = 8 + length + begin
            places.append((begin, end, name))
        reached = 0
        for begin, end, name in sorted(places):
            if begin != reached:
                raise ValueError(f"the bytes of {name!r} begin at {begin}; expected {reached}, where the last ended")
            reached = end
        if reached != size - 8 - length:
            raise ValueError(f"it has {size - 8 - length:,} bytes of arrays; its header speaks of {reached:,}")

    def read_into(self, name: str, place: Array) -> None:
        """Read an array into `place`, an array of its dtype and shape, which need not be contiguous."""
        if Kind(place.dtype, place.shape) != self.kinds[name]:
            raise ValueError(f"{name!r} is {_text(self.kinds[name])}; expected {_text(Kind(place.dtype, place.shape))}")
        self._file.seek(self._starts[name])
        for piece in _pieces(place):
            read = np.empty(piece.shape, place.dtype.newbyteorder("<"))
            if self._file.readinto(_bytes_of(read)) != read.nbytes:  # type: ignore[attr-defined]
                raise ValueError(f"it ends within {name!r}")
            piece[...] = read

    def read(self, name: str) -> Array:
        """An array of the file."""
        array = np.empty(self.kinds[name].shape, self.kinds[name].dtype)
        self.read_into(name, array)
        return array


def _entry(name: str, about: Any) -> tuple[Kind, int, int]:
    """What a header says of an array: its kind, and where its bytes begin and end."""
    if not isinstance(about, dict) or set(about) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"its header says of {name!r} not just dtype, shape and data_offsets")
    code, shape, offsets = about["dtype"], about["shape"], about["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise ValueError(f"{name!r} has the dtype {code!r}; expected one of {', '.join(DTYPES)}")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError(f"{name!r} has the shape {shape!r} and the place {offsets!r}; expected counts")
    if len(shape) > 8 or len(offsets) != 2:
        raise ValueError(f"{name!r} has the shape {shape!r} and the place {offsets!r}; expected 8 dimensions at most")
    dtype = np.dtype(DTYPES[code]).newbyteorder("=")
    if math.prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
        raise ValueError(f"{name!r} of shape {tuple(shape)} has {offsets[1] - offsets[0]} bytes, which do not fit")
    return Kind(dtype, tuple(shape)), offsets[0], offsets[1]


def _text(kind: Kind) -> str:
    return f"{kind.dtype.name} of shape {kind.shape}"


def _bytes_of(array: Array) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # NumPy 1 did not say so


def _pieces(array: Array) -> Iterator[Array]:
    """Views of it, one after another as its bytes lie in a file, of about a megabyte each."""
    if array.nbytes <= _PIECE:
        yield array
    elif array[0].nbytes > _PIECE:
        for part in array:
            yield from _pieces(part)
    else:
        step = _PIECE // array[0].nbytes
        for begin in range(0, array.shape[0], step):
            yield array[begin : begin + step]


# --- writing ---------------------------------------------------------------------------------


def write_arrays(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, which replaces the old one as a whole; see `replaced`.

    Raises
    ------
    ValueError
        If there is more to say of the arrays than a header may hold.
    """
    # The widest numbers first, so that all are aligned in the file
    names = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    reached = 0
    for name in names:
        array = arrays[name]
        code = _NAMES.get(array.dtype.newbyteorder("<"))
        if code is None:
            raise TypeError(f"{name} is an array of {array.dtype}; expected one of {', '.join(DTYPES)}")
        place = [reached, reached + array.nbytes]
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": place}
        reached = place[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST_HEADER:
        raise ValueError(f"the file's header would have {len(text):,} bytes; expected at most {LONGEST_HEADER:,}")
    with replaced(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            for piece in _pieces(arrays[name]):
                file.write(_bytes_of(np.ascontiguousarray(piece, piece.dtype.newbyteorder("<"))))


_TEMPORARY = re.compile(r"\.fastnn-[0-9a-f]{16}\.tmp")


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A new file to write, which takes the place of `path` at the end.

    Whenever the process dies, `path` is the old file or the new one. What is written lies beside it until then, under
    a name of its own; where a process was killed at that, the next one that writes in that folder takes it away.
    The target of a symbolic link is replaced. The mode is the old file's, or the umask's.

    Raises
    ------
    OSError, ValueError
        If `path` is no place for a file; see `check_target`.
    """
    target = check_target(path)
    _remove_orphans(target.parent)
    descriptor, temporary = _new_beside(target)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with contextlib.suppress(FileNotFoundError, PermissionError):
                _take_after(os.stat(target), file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is not None:  # under the lock, or another saver might take it for an orphan
                os.replace(temporary, target)
        if fcntl is None:
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if hasattr(os, "O_DIRECTORY"):  # the new name, too, must be on the disk
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_target(path: Path) -> pathlib.Path:
    """See that a file can be written at `path`; returns where, symbolic links followed.

    Raises
    ------
    FileNotFoundError, NotADirectoryError, PermissionError
        If its folder is not there, or not to be written to.
    IsADirectoryError, ValueError
        If it is a folder, a device, a pipe or the like, one of several names of a file, or no name at all.
    """
    given = named(path)
    target = pathlib.Path(os.path.realpath(given))
    try:
        found = os.stat(target)
    except FileNotFoundError:
        found = None
    except NotADirectoryError:
        raise NotADirectoryError(f"path is {str(given)!r}; {str(target.parent)!r} is no folder") from None
    if found is not None:
        _check_regular(given, found.st_mode)
        if found.st_nlink > 1:
            raise ValueError(
                f"path is {str(given)!r}, which is one of {found.st_nlink} names of a file (hard links): the others "
                "would keep the old content. Delete this name first, or take another path"
            )
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path is {str(given)!r}; there is no folder {str(target.parent)!r}: make it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"path is {str(given)!r}; the folder {str(target.parent)!r} is not to be written to")
    return target


def named(path: Path) -> pathlib.Path:
    """`path` as a Path, or an error where it names no file."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path is {path!r}; expected a str or path-like")
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"path is {path!r}; expected a str or path-like of str")
    if "\0" in text:
        raise ValueError(f"path is {text!r}; expected a name without the character 0")
    if text in ("", ".", "..") or text.endswith(("/", os.sep)):
        raise ValueError(f"path is {text!r}; expected the name of a file")
    return pathlib.Path(text)


def _check_regular(path: pathlib.Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"path is {str(path)!r}, which is a folder; expected a file")
    if not stat.S_ISREG(mode):
        raise ValueError(f"path is {str(path)!r}, which is a pipe, a device or the like; expected a regular file")


def _new_beside(target: pathlib.Path) -> tuple[int, str]:
    """A new file in the folder of `target`, locked for as long as it is open: its descriptor, and its name."""
    while True:
        temporary = os.path.join(target.parent, f".fastnn-{secrets.token_hex(8)}.tmp")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(temporary, flags, 0o666)  # less what the umask takes away
        if _lock(descriptor) is not False and os.path.exists(temporary):
            return descriptor, temporary
        os.close(descriptor)  # another saver took it for an orphan before it was locked


def _take_after(old: os.stat_result, descriptor: int) -> None:
    """Give a new file the owner and the mode of the old one."""
    if hasattr(os, "fchown"):
        new = os.fstat(descriptor)
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, old.st_uid, old.st_gid)
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _lock(descriptor: int) -> bool | None:
    """Lock a file, if nobody else has. None: this file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_orphans(folder: pathlib.Path) -> None:
    """Take away what killed processes left: temporary files that nobody has locked."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if _TEMPORARY.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                _remove_orphan(os.path.join(folder, name))


def _remove_orphan(path: str) -> None:
    if fcntl is None:
        os.unlink(path)
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and _lock(descriptor):
            os.unlink(path)
    finally:
        os.close(descriptor)
