"""How many threads a call may use: cores, the container's quota, the environment, joblib's workers."""

import math
import os
import subprocess
import sys
import textwrap

import pytest

import fastnn
from fastnn.engine import cores


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    """Start from an environment without limits, whatever this machine's is and other tests have set; look anew."""
    monkeypatch.setattr("fastnn.engine.threads._limit", None)
    for name in ("FASTNN_NUM_THREADS", *cores.LIMITS):
        monkeypatch.delenv(name, raising=False)
    cores.default_threads.cache_clear()
    yield
    cores.default_threads.cache_clear()


@pytest.fixture
def many(monkeypatch):
    """A process that may run on eight cores."""
    monkeypatch.setattr(cores, "usable_cores", lambda: 8)
    monkeypatch.setattr(cores, "quota", lambda: math.inf)


def tree(root, files):
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


V1 = "33 32 0:30 {top} /sys/fs/cgroup/cpu,cpuacct rw,nosuid master:11 - cgroup cgroup rw,cpu,cpuacct\n"
V2 = "29 23 0:26 {top} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
OTHERS = "31 23 0:28 / /sys rw - sysfs sysfs rw\n40 31 0:37 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"


def version_1(root, groups, path="/", top="/"):
    files = {"proc/self/cgroup": f"5:cpuset:/elsewhere\n4:cpu,cpuacct:{path}\n1:name=systemd:/x\n",
             "proc/self/mountinfo": OTHERS + V1.format(top=top)}  # fmt: skip
    for group, (quota, period) in groups.items():
        files[f"sys/fs/cgroup/cpu,cpuacct/{group}/cpu.cfs_quota_us"] = f"{quota}\n"
        files[f"sys/fs/cgroup/cpu,cpuacct/{group}/cpu.cfs_period_us"] = f"{period}\n"
    return tree(root, files)


def version_2(root, groups, path="/", top="/"):
    files = {"proc/self/cgroup": f"0::{path}\n", "proc/self/mountinfo": OTHERS + V2.format(top=top)}
    for group, text in groups.items():
        files[f"sys/fs/cgroup/{group}/cpu.max"] = text
    return tree(root, files)


# --- the container's quota -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("max 100000\n", math.inf), ("150000 100000\n", 1.5), ("50000 100000\n", 0.5), ("400000 200000\n", 2),
     ("", math.inf), ("nonsense\n", math.inf), ("1 2 3", math.inf), ("0 100000", math.inf), ("100000 0", math.inf),
     ("-1 100000", math.inf)],
)  # fmt: skip
def test_the_quota_of_version_2(tmp_path, text, expected):
    assert cores.quota(version_2(tmp_path, {"": text})) == expected


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [(-1, 100000, math.inf), (150000, 100000, 1.5), (25000, 50000, 0.5), (100000, 0, math.inf), ("x", "y", math.inf)],
)
def test_the_quota_of_version_1(tmp_path, quota, period, expected):
    assert cores.quota(version_1(tmp_path, {"": (quota, period)})) == expected


def test_the_groups_above_count_and_those_beside_do_not(tmp_path):
    groups = {"": "max 100000", "a": "300000 100000", "a/b": "max 100000", "a/b/c": "900000 100000", "a/d": "1 100000"}
    assert cores.quota(version_2(tmp_path, groups, "/a/b/c")) == 3
    groups = {"": (-1, 100000), "a": (200000, 100000), "a/b": (700000, 100000), "d": (1000, 100000)}
    assert cores.quota(version_1(tmp_path, groups, "/a/b")) == 2


@pytest.mark.parametrize("make", [version_1, version_2])
@pytest.mark.parametrize(
    ("path", "top"),
    [("/docker/1f", "/docker/1f"),  # the container's group is all that is mounted
     ("/docker/1f/job", "/docker/1f"),
     ("/", "/docker/1f"), ("/../2f", "/"), ("/user.slice", "/docker/1f"),  # what the path means is not mounted here
     ("/gone/away", "/")],
)  # fmt: skip
def test_a_part_of_the_groups_is_mounted(tmp_path, make, path, top):
    limit = "200000 100000" if make is version_2 else (200000, 100000)
    assert cores.quota(make(tmp_path, {"": limit}, path, top)) == 2


def test_both_versions_side_by_side_and_a_space_in_the_name(tmp_path):
    version_1(tmp_path, {"": (300000, 100000)})
    tree(tmp_path, {"proc/self/cgroup": "4:cpu,cpuacct:/\n0::/\n",
                    "proc/self/mountinfo": V1.format(top="/") + r"41 31 0:38 / /a\040place rw - cgroup2 none rw",
                    "a place/cpu.max": "200000 100000"})  # fmt: skip
    assert cores.quota(tmp_path) == 2


@pytest.mark.parametrize("name", ["proc/self/cgroup", "proc/self/mountinfo"])
@pytest.mark.parametrize(
    "text", ["", "\n\n", "::::\n", "a b c\n", "1 2 3 4 5 - cgroup2\n", "\0\udcff - - -\n", "0:x\n"]
)
def test_files_that_say_nothing_limit_nothing(tmp_path, name, text):
    version_2(tmp_path, {"": "max 100000"})
    (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    assert cores.quota(tmp_path) == math.inf


def test_without_such_files_there_is_no_limit(tmp_path):
    assert cores.quota(tmp_path) == math.inf


@pytest.mark.parametrize(("quota", "threads"), [(math.inf, 8), (1.5, 1), (0.2, 1), (1.0, 1), (3.99, 3), (64, 8)])
def test_the_quota_is_rounded_down_to_at_least_one(many, monkeypatch, quota, threads):
    monkeypatch.setattr(cores, "quota", lambda: quota)
    assert fastnn.get_num_threads() == threads


# --- cores -----------------------------------------------------------------------------------


def siblings(groups):
    return {f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": f"{text}\n"
            for text, numbers in groups.items() for n in numbers}  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
@pytest.mark.parametrize(
    ("allowed", "expected"),
    [({0, 1, 2, 3}, 2), ({0, 2}, 1), ({0, 1}, 2), ({3}, 1), ({0, 9}, 2), ({8, 9}, 2)],  # of 8 and 9 nothing is known
)
def test_two_hardware_threads_of_one_core_count_once(tmp_path, monkeypatch, allowed, expected):
    tree(tmp_path, siblings({"0,2": (0, 2), "1,3": (1, 3)}))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: allowed)
    assert cores.usable_cores(tmp_path) == expected


def test_a_system_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores.usable_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1


# --- the environment -------------------------------------------------------------------------


@pytest.mark.parametrize("name", cores.LIMITS)
@pytest.mark.parametrize(
    ("text", "threads"),
    [("1", 1), ("3", 3), (" 3 ", 3), ("4,2", 4), ("2,8,8", 2), ("64", 8), ("9" * 18, 8),
     ("", 8), ("0", 8), ("-1", 8), ("abc", 8), ("1.5", 8), ("2x", 8), (",2", 8), ("²", 8), ("9" * 5000, 8),
     ("default", 8)],
)  # fmt: skip
def test_limits_in_the_environment(many, monkeypatch, name, text, threads):
    monkeypatch.setenv(name, text)
    assert fastnn.get_num_threads() == threads


def test_the_least_limit_counts(many, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "4")
    monkeypatch.setattr(cores, "quota", lambda: 6.5)
    assert fastnn.get_num_threads() == 4


def test_fastnns_own_variable_wins_over_all_and_set_num_threads_over_that(many, monkeypatch):
    monkeypatch.setattr(cores, "quota", lambda: 1.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("FASTNN_NUM_THREADS", "16")
    assert fastnn.get_num_threads() == 16
    fastnn.set_num_threads(5)
    assert fastnn.get_num_threads() == 5


@pytest.mark.parametrize("text", ["0", "-2", "two", "1.5", "4,2"])
def test_fastnns_own_variable_must_make_sense(many, monkeypatch, text):
    monkeypatch.setenv("FASTNN_NUM_THREADS", text)
    with pytest.raises(ValueError, match=r"FASTNN_NUM_THREADS is .*; expected a positive integer"):
        fastnn.get_num_threads()


# --- workers ---------------------------------------------------------------------------------


def printed(script, **environment):
    """What a process of its own prints; it believes to have eight cores, and its forked children too."""
    start = "import joblib, os, multiprocessing as mp\nimport fastnn\nfrom fastnn.engine import cores\n"
    out = subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(script)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr
    return out.stdout.split()


LOKY = "print(*joblib.Parallel(n_jobs=2)(joblib.delayed(fastnn.get_num_threads)() for _ in range(4)))"
INNER = """
with joblib.parallel_config("loky", inner_max_num_threads={inner}):
    print(*joblib.Parallel(n_jobs=2)(joblib.delayed(os.getenv)("OMP_NUM_THREADS") for _ in range(2)))
    print(*joblib.Parallel(n_jobs=2)(joblib.delayed(fastnn.get_num_threads)() for _ in range(2)))
"""


def test_workers_of_loky_share_the_cores():
    pytest.importorskip("joblib")
    share = max(1, (os.cpu_count() or 1) // 2)
    assert all(int(count) <= share for count in printed(LOKY))
    assert set(printed(LOKY, OMP_NUM_THREADS="1")) == {"1"}
    assert set(printed(LOKY, FASTNN_NUM_THREADS="3")) == {"3"}


@pytest.mark.parametrize("inner", [1, 2])
def test_the_limit_of_inner_threads(inner):
    pytest.importorskip("joblib")
    told, told_too, *counts = printed(INNER.format(inner=inner))
    assert told == told_too == str(inner)
    assert all(int(count) <= inner for count in counts)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_workers_of_multiprocessing_take_one_thread_each_and_forked_processes_look_anew():
    pytest.importorskip("joblib")
    script = """
    cores.usable_cores = lambda: 8
    cores.quota = lambda: 64.0
    print(fastnn.get_num_threads())
    print(*joblib.Parallel(n_jobs=2, backend="multiprocessing")(joblib.delayed(fastnn.get_num_threads)() for _ in "ab"))
    with mp.get_context("fork").Pool(2) as pool:
        print(pool.apply(fastnn.get_num_threads))
    os.environ["OMP_NUM_THREADS"] = "3"  # for the children, as a launcher does
    if os.fork() == 0:
        print(fastnn.get_num_threads(), flush=True)
        os._exit(0)
    os.wait()
    print(fastnn.get_num_threads(), flush=True)
    fastnn.set_num_threads(2)
    with mp.get_context("fork").Pool(2) as pool:
        print(pool.apply(fastnn.get_num_threads))
    """
    assert printed(script) == ["8", "1", "1", "1", "3", "8", "2"]
