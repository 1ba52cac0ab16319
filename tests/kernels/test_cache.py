"""The disk cache: damaged and foreign entries, folders nobody may write to, full disks, many processes at once."""

import compileall
import ctypes
import errno
import os
import pickle
import re
import resource
import shutil
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import types
from numba.core import config

import fastnn
from fastnn.kernels import cache
from fastnn.kernels.compiling import compiled_address
from tests.reliability import caches

SIGNATURE = types.float64(types.float64)
CALL = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)


def add(constant):
    def function(x):
        return x + constant

    return function


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache, and no warning given yet."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache.KernelCache, "_warned", False)
    return tmp_path / "cache"


def result(constant, signature=SIGNATURE):
    """What the compiled function makes of 1."""
    return CALL(compiled_address(add(constant), signature, f"add {constant}"))(1.0)


def kept(constant):
    """Whether the function is in the cache, sound."""
    return compiled_address(add(constant), SIGNATURE, f"add {constant}", only_cached=True) != 0


def files(folder, suffix):
    return sorted(folder.rglob(f"*{suffix}"))


def test_what_was_compiled_is_kept(folder):
    assert not kept(1.5)
    assert result(1.5) == 2.5
    assert kept(1.5)
    assert not kept(2.5)
    assert [len(files(folder, suffix)) for suffix in (".nbc", ".nbi", "")] == [1, 1, 3]  # and their folder


# --- damaged entries -------------------------------------------------------------------------

DAMAGES = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "the last byte is missing": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "one bit": lambda content: content[:-20] + bytes([content[-20] ^ 1]) + content[-19:],
    "one bit of the checksum": lambda content: content[:12] + bytes([content[12] ^ 1]) + content[13:],
    "zeros": lambda content: bytes(len(content)),
    "garbage": lambda content: bytes(range(256)) * 20,
    "text": lambda content: b"<html>404 not found</html>",
    "another pickle": lambda content: pickle.dumps({"a": 1}),
    "Numba's own": lambda content: pickle.dumps(numba.__version__) + pickle.dumps(("stamp", {})),
}


@pytest.mark.parametrize("suffix", [".nbc", ".nbi"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_a_miss_and_is_replaced(folder, suffix, damage):
    assert result(1.5) == 2.5
    (file,) = files(folder, suffix)
    sound = file.read_bytes()
    file.write_bytes(DAMAGES[damage](sound))
    if suffix == ".nbc":
        assert not kept(1.5)
    assert result(1.5) == 2.5
    assert kept(1.5)
    assert result(2.5) == 3.5  # and so is the index by the next entry
    assert kept(1.5)
    assert kept(2.5)
    if suffix == ".nbi":
        assert file.read_bytes() == sound


@pytest.mark.parametrize("suffix", [".nbc", ".nbi"])
def test_a_folder_in_the_place_of_an_entry(folder, suffix):
    assert result(1.5) == 2.5
    (file,) = files(folder, suffix)
    file.unlink()
    file.mkdir()
    with pytest.warns(RuntimeWarning, match="compiled code cannot be kept in"):
        assert result(1.5 if suffix == ".nbc" else 2.5) == (2.5 if suffix == ".nbc" else 3.5)


def test_entries_in_each_others_place(folder):
    assert [result(1.5), result(2.5)] == [2.5, 3.5]
    first, second = files(folder, ".nbc")
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    assert not kept(1.5)
    assert not kept(2.5)
    assert [result(1.5), result(2.5)] == [2.5, 3.5]
    assert kept(1.5)
    assert kept(2.5)


def test_a_checksum_does_not_make_an_entry_sound(folder):
    """Another key under the same name, or what raises when it is read: as after a change of Numba's own format."""
    assert result(1.5) == 2.5
    (file,) = files(folder, ".nbc")
    base = file.name.split(".py3")[0] + f".py{sys.version_info[0]}{sys.version_info[1]}"
    entries = cache.CheckedFile(str(file.parent), base, cache.FINGERPRINT)
    for content in (pickle.dumps(("another key", 1)), pickle.dumps(7), b"", pickle.dumps(Raises()), b"cno\nwhere\n."):
        entries._write(file.name, content)
        assert not kept(1.5)
        assert result(1.5) == 2.5
        assert kept(1.5)


class Raises:
    def __reduce__(self):
        return int, ("no number",)


def test_code_that_numba_cannot_load_is_a_miss(folder, monkeypatch):
    assert result(1.5) == 2.5
    monkeypatch.setattr(
        "numba.core.caching.CompileResultCacheImpl.rebuild", lambda *args: exec("raise RuntimeError('LLVM says no')")
    )
    assert not kept(1.5)
    assert result(1.5) == 2.5


def test_other_sources_switches_and_processors_are_others(folder, monkeypatch):
    assert result(1.5) == 2.5
    with monkeypatch.context() as context:
        context.setattr(cache, "SWITCHES", (*cache.SWITCHES, "another"))
        assert not kept(1.5)
    assert kept(1.5)
    with monkeypatch.context() as context:
        context.setattr("numba.core.codegen.JITCPUCodegen.magic_tuple", lambda self: ("x86", "another", "+avx"))
        assert not kept(1.5)
    assert kept(1.5)
    monkeypatch.setattr(cache, "FINGERPRINT", "other sources, or another Numba")
    assert not kept(1.5)
    assert len(files(folder, ".nbc")) == 1
    assert result(1.5) == 2.5
    assert len(files(folder, ".nbc")) == 1  # the stale one is gone


def test_what_killed_processes_left_is_removed(folder):
    assert result(1.5) == 2.5
    (entry,), (index,) = files(folder, ".nbc"), files(folder, ".nbi")
    old, new, foreign = (entry.parent / name for name in (f"{entry.name}.1.tmp", f"{entry.name}.2.tmp", "other.3.tmp"))
    for file in (old, new, foreign):
        file.write_bytes(b"half an ent")
        os.utime(file, (time.time() - 5000,) * 2)
    os.utime(new)  # a process may be writing it
    index.unlink()
    assert result(2.5) == 3.5
    assert [file.exists() for file in (old, new, foreign, entry)] == [False, True, True, True]


def test_flush(folder):
    assert result(1.5) == 2.5
    cache.KernelCache(add(1.5), "any").flush()
    assert not kept(1.5)
    assert files(folder, ".nbc") == []


# --- no room, no permission ------------------------------------------------------------------


@pytest.mark.parametrize("place", ["os.replace", "os.makedirs", "builtins.open"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_disk_that_takes_nothing_is_told_once(folder, monkeypatch, place, number):
    assert result(0.5) == 1.5  # the folder is there, and can be written to
    kind, real = place.rpartition("."), eval(place, {"os": os, "builtins": __import__("builtins")})

    def refuse(*arguments, **options):
        if kind[2] != "open" or (len(arguments) > 1 and "w" in arguments[1] and str(folder) in str(arguments[0])):
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    with monkeypatch.context() as context:
        context.setattr(place, refuse)
        with pytest.warns(RuntimeWarning, match=r"compiled code cannot be kept in .*NUMBA_CACHE_DIR") as warned:
            assert result(1.5) == 2.5
        assert len(warned) == 1
        assert result(2.5) == 3.5  # a second warning would be an error
    assert files(folder, ".tmp") == []
    assert not kept(1.5)
    assert result(1.5) == 2.5  # there is room again
    assert kept(1.5)


class Half(fastnn.ActivationFunction):
    def f(self, x):
        return x * 0.5

    def df(self, x):
        return x * 0 + 0.5


def test_a_formula_compiles_on_a_full_disk(folder, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *places: os.stat(folder / "no room"))
    net = fastnn.NeuralNetwork([fastnn.Layer(2, 1, Half(), init="zeros")], fastnn.MSELoss(), 0.1)
    with pytest.warns(RuntimeWarning, match="compiled code cannot be kept in") as warned:
        net.train(np.ones((2, 1)), np.full((1, 1), 4.0))
    assert len(warned) == 1
    assert net.forward_pass(np.ones((2, 1))).item() == 0.5 * 3 * 0.1 * 2 * 4 * 0.5


TOOLS = """
import ctypes
from fastnn.kernels.order import shuffle
from fastnn.kernels.compiling import compiled_address
from numba import types

def add(constant):
    def function(x):
        return x + constant
    return function

def result(constant, only_cached=False):
    address = compiled_address(add(constant), types.float64(types.float64), f"add {constant}", only_cached)
    return address and ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(address)(1.0)

def hits():
    import numpy as np
    order = np.arange(9)
    shuffle(order.ctypes.data, order.size, 0, 0)
    assert sorted(order) == list(range(9))
    return sum(shuffle.stats.cache_hits.values())
"""
# As if it stood in a file of fastnn: a function without a file has no cache.
START = f"import fastnn.kernels.order as place\nexec(compile({TOOLS!r}, place.__file__, 'exec'))\n"
ROOT = Path(fastnn.__file__).parent.parent


def as_others(limit=None):
    """What a child does first: root is to be a user like others, who may not write everywhere."""
    libc = ctypes.CDLL(None)

    def begin():
        libc.prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE: gone after exec
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return begin


def start(script, root=ROOT, limit=None, **environment):
    kept_environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA", "XDG"))}
    return subprocess.Popen(
        [sys.executable, "-B", "-c", START + textwrap.dedent(script)], preexec_fn=as_others(limit), text=True,
        env={**kept_environment, "PYTHONPATH": str(root), **environment}, cwd=root,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def printed(script, **options):
    child = start(script, **options)
    out, errors = child.communicate(timeout=300)
    assert child.returncode == 0, errors
    return out.split(), errors


linux = pytest.mark.skipif(sys.platform != "linux", reason="permissions as on Linux")


@pytest.fixture
def locked():
    """Takes away the permission to write to a folder and all in it, until the test is over."""
    taken = []

    def lock(top):
        for path in [top, *top.rglob("*")]:
            taken.append((path, path.stat().st_mode))
            path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))

    yield lock
    for path, mode in taken:
        path.chmod(mode)


@linux
def test_a_warm_cache_without_permission_to_write_is_read(tmp_path, locked):
    warm, home = tmp_path / "warm", tmp_path / "home"
    home.mkdir()
    tree = tmp_path / "tree"  # so that there is no other folder to write to than those of the test
    shutil.copytree(ROOT / "fastnn", tree / "fastnn", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"root": tree, "NUMBA_CACHE_DIR": str(warm), "HOME": str(home)}
    script = "print(hits(), result(1.5, True), result(1.5), result(2.5, True), result(2.5))"
    assert printed("print(hits(), result(1.5))", **environment)[0] == ["0", "2.5"]
    before = sorted(path.name for path in warm.rglob("*"))
    locked(tmp_path)
    for _ in range(2):  # what is missing stays in memory: there is nowhere to write to
        assert printed(script, **environment) == (["1", "2.5", "2.5", "0", "3.5"], "")
    home.chmod(0o755)  # now the user has a cache of his own
    assert printed(script, **environment) == (["1", "2.5", "2.5", "0", "3.5"], "")
    assert printed(script, **environment) == (["1", "2.5", "2.5", "3.5", "3.5"], "")
    assert sorted(path.name for path in warm.rglob("*")) == before
    assert not files(tree, ".nbc")


@linux
def test_the_cache_beside_the_sources_is_read_as_well(tmp_path, locked):
    """An image in which root has run `python -m fastnn warmup`, used by another."""
    tree, home = tmp_path / "tree", tmp_path / "home"
    home.mkdir()
    shutil.copytree(ROOT / "fastnn", tree / "fastnn", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"root": tree, "HOME": str(home)}
    assert printed("print(hits(), result(1.5))", **environment)[0] == ["0", "2.5"]
    assert list(tree.rglob("__pycache__/*.nbc"))
    locked(tree)
    assert printed("print(hits(), result(1.5))", **environment) == (["1", "2.5"], "")
    assert not list(home.rglob("*.nb?"))


@linux
def test_warming_up_fails_where_nothing_can_be_kept(tmp_path, locked):
    home, tree = tmp_path / "home", tmp_path / "tree"
    home.mkdir()
    shutil.copytree(ROOT / "fastnn", tree / "fastnn", ignore=shutil.ignore_patterns("__pycache__"))
    locked(tmp_path)
    script = """
        from fastnn import warmup
        from fastnn.kernels import compiling
        warmup.warmup = lambda dtype, part: [result(1.5) and "one", result(2.5) and "two"]
        print(compiling.NOTICE.text())
        try:
            print(list(warmup.compile_all(["float64"])))
        except OSError as error:
            print(error)
    """
    out = " ".join(printed(script, root=tree, HOME=str(home))[0])
    assert "compiles what this network needs, in every process" in out
    assert re.search(r"cannot be kept: \S+/__pycache__, \S+ cannot be written to. Name .*NUMBA_CACHE_DIR$", out)
    home.chmod(0o755)
    out = " ".join(printed(script, root=tree, HOME=str(home))[0])
    assert "that is kept for later runs" in out
    assert "('float64', 2, " in out


@pytest.mark.parametrize("kind", ["archive", "without sources"])
def test_other_sources_are_others_where_there_are_no_files_of_them(tmp_path, kind):
    """As in a program that was frozen: its next version may find the cache of this one."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "fastnn", tree / "fastnn", ignore=shutil.ignore_patterns("__pycache__"))

    def fingerprint(seed):
        place = tmp_path / f"place-{len(list(tmp_path.iterdir()))}"
        if kind == "archive":
            shutil.make_archive(str(place), "zip", tree)
            place = place.with_suffix(".zip")
        else:
            shutil.copytree(tree, place)
            compileall.compile_dir(place, quiet=1, legacy=True)
            for path in place.rglob("*.py"):
                path.unlink()
        script = "import fastnn.kernels.cache as cache; print(cache.FINGERPRINT, cache.__file__)"
        environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONHASHSEED": str(seed)}
        out = subprocess.check_output([sys.executable, "-c", script], text=True, env=environment, cwd=tmp_path)
        print_of, file = out.split()
        assert file.startswith(str(place))
        return print_of

    before = fingerprint(1)
    assert fingerprint(2) == before
    module = tree / "fastnn/kernels/zeros.py"
    module.write_text(module.read_text() + "\nANOTHER = 3\n")
    assert fingerprint(1) != before


@linux
def test_a_folder_that_cannot_even_be_read(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "file").write_text("no folder")
    for name in ("closed", "file", "closed/below", "file/below"):
        environment = {"NUMBA_CACHE_DIR": str(tmp_path / name), "HOME": str(tmp_path)}
        assert printed("print(result(1.5))", **environment) == (["2.5"], "")


@linux
def test_a_limit_of_file_sizes(tmp_path):
    """Entries are cut off while they are written, as on a full disk."""
    script = "print(hits(), result(1.5), result(2.5))"
    out, errors = printed(script, limit=2000, NUMBA_CACHE_DIR=str(tmp_path))
    assert out == ["0", "2.5", "3.5"]
    assert errors.count("RuntimeWarning") == 1
    assert f"compiled code cannot be kept in {tmp_path}" in errors
    assert not [file for suffix in (".tmp", ".nbc", ".nbi") for file in files(tmp_path, suffix)]
    assert printed(script, NUMBA_CACHE_DIR=str(tmp_path)) == (["0", "2.5", "3.5"], "")
    assert printed(script, NUMBA_CACHE_DIR=str(tmp_path)) == (["1", "2.5", "3.5"], "")


@linux
def test_a_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", disk], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        out, errors = printed("print(hits(), result(1.5), result(2.5))", NUMBA_CACHE_DIR=str(disk))
        assert out == ["0", "2.5", "3.5"]
        assert errors.count("No space left on device") == 1
        assert not files(disk, ".tmp")
    finally:
        subprocess.run(["umount", disk], check=True)


# --- many processes --------------------------------------------------------------------------


def test_processes_that_fill_a_cache_at_once(tmp_path):
    script = "print(*(result(float(i)) for i in range(8)))"
    expected = [str(i + 1.0) for i in range(8)]
    children = [start(script, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(4)]
    assert [child.communicate(timeout=300)[0].split() for child in children] == [expected] * 4
    assert printed("print(*(result(float(i), True) for i in range(8)))", NUMBA_CACHE_DIR=str(tmp_path))[0] == expected
    assert len(files(tmp_path, ".nbc")) == 8
    assert not files(tmp_path, ".tmp")


def test_damaged_caches():
    found = caches.run(2, seed=0)
    assert found.pop("tried") == 2
    assert not any(found.values()), found
