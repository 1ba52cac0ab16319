"""The peer benchmark: peers do the same work, other work is found out, and the program runs."""

import importlib.util
import json
import logging
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.environment import HELD, SLOWING, freed
from benchmarks.peers import estimators, picture, table
from benchmarks.peers.beside import beside
from benchmarks.peers.contestant import PEERS, Peer, Unable, Unfit, linear
from benchmarks.peers.race import Group, Race, Result, Worker, choose_cores, difference, environment, oracle
from benchmarks.peers.worker import Bench
from benchmarks.peers.workloads import WORKLOADS, Workload, chosen

ROOT = Path(__file__).resolve().parent.parent

ONLINE = replace(WORKLOADS[0], steps=20)
ONLINE_ADAM = replace(ONLINE, key="online Adam", optimizer="adam")
CLASSES = Workload("classes", "", (5, 6, 4), batch=8, optimizer="adam", lr=1e-3, dtype="float64", steps=6)
BANK = Workload(
    "bank", "", (2, 3, 1), "tanh", loss="mse", batch=4, dtype="float64", samples="dense", steps=6, networks=3
)
ROW = Workload("row", "", (5, 6, 4), dtype="float64", kind="row", steps=10)
ROWS = Workload("rows", "", (5, 6, 4), dtype="float64", kind="rows", steps=20)
GRADIENT = Workload(
    "gradient", "", (4, 3, 2), "tanh", loss="mse", batch=10, dtype="float64", samples="dense", kind="gradient"
)
CPU = Path("/proc/cpuinfo").read_text(encoding="utf-8").split() if Path("/proc/cpuinfo").exists() else []
SMALL = [ONLINE, ONLINE_ADAM, CLASSES, BANK, ROW, ROWS, GRADIENT]


@pytest.fixture(scope="module", params=list(PEERS))
def worker(request):
    """The process of one peer."""
    worker = Worker(request.param, dict(os.environ), choose_cores(1))
    yield worker
    worker.close()


@pytest.mark.parametrize("workload", SMALL, ids=lambda workload: workload.key)
def test_peers_do_the_same_work(worker, workload):
    workload = PEERS[worker.peer].task(workload)
    try:
        result, seconds = worker.check(workload)
    except Unable as reason:
        if worker.peer in ("fastnn", "reference") or str(reason).startswith("failed"):
            raise
        pytest.skip(str(reason))
    assert seconds > 0
    difference(workload, result, oracle(workload.for_check()))  # raises if it is too large
    units, _ = worker.prepare(workload, 0.001)
    assert units >= workload.check_steps
    assert 0 < worker.turn("wall") < math.inf


def test_linear_work_on_classes_has_targets_that_are_numbers():
    digits = replace(ONLINE, sizes=(5, 4, 3), samples="classes", loss="cross_entropy")
    before, data = digits.data(), linear(digits).data()
    np.testing.assert_array_equal(data.X, before.X)
    np.testing.assert_array_equal(data.y, np.eye(3)[before.y])
    assert not np.array_equal(oracle(linear(ONLINE))[0], oracle(ONLINE)[0])


@pytest.mark.parametrize("workload", SMALL, ids=lambda workload: workload.key)
@pytest.mark.parametrize("change", ["lr", "hidden", "batch"])
def test_other_work_is_found(workload, change):
    if (change == "lr" and workload.kind != "train") or (change == "batch" and workload.batch == 1):
        pytest.skip("makes no difference to this one")
    value = {"lr": 1.001 * workload.lr, "batch": workload.batch - 1, "hidden": "identity"}[change]
    expected = oracle(workload.for_check())
    result, _ = Bench("reference", 1).check(replace(workload, **{change: value}))
    with pytest.raises(Unable, match="does other work"):
        difference(workload, result, expected)


def test_a_library_that_is_missing():
    with pytest.raises(Unable, match="not installed"):
        Peer("", "no_such_file", "Nobody").load()


def test_a_worker_that_dies():
    worker = Worker("reference", dict(os.environ), choose_cores(1))
    worker.process.kill()
    with pytest.raises(Unable, match="its process ended"):
        worker.check(ONLINE)
    worker.close()


def test_workloads_are_chosen_by_key_or_beginning():
    assert [w.key for w in chosen(["W1", "W8-row"])] == ["W1", "W8-row", "W8-row-letters"]
    assert chosen([]) == WORKLOADS
    with pytest.raises(ValueError, match="W13"):
        chosen(["W13"])


def test_samples_are_the_same_however_many():
    for workload in WORKLOADS:
        few, more = workload.at_most(3).data(), workload.at_most(50).data()
        for a, b in zip(few, more):
            np.testing.assert_array_equal(a, b[: len(a)])


def test_operations_of_a_step():
    # 2-3-2: forward 12 products, weight gradients 12, input gradient of the second layer 6
    assert Workload("", "", (2, 3, 2)).flops == 2 * (12 + 12 + 6)
    assert Workload("", "", (2, 3, 2), batch=8, networks=5).flops == 40 * 2 * (12 + 12 + 6)
    assert Workload("", "", (2, 3, 2), kind="rows").flops == 2 * 12


def test_tables_go_between_the_marks(tmp_path):
    results = {name: Result("W2", 1, name, [2e-6, 1e-6, 4e-6]) for name in ("fastnn", "numpy")}
    results["numpy"].seconds = [5e-6]
    results["jax"] = Result("W2", 1, "jax", note="not installed")
    group = Group(WORKLOADS[1], 1, results, peak=1e9)
    begin, end = table.marks()
    text = table.markdown([group], "versions")
    assert "| fastnn | 2 us | 1.00 |" in text
    assert "| NumPy, whole batches | 5 us | 2.50 |" in text
    assert "not installed" in text
    path = tmp_path / "benchmarks.md"
    path.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    table.write_markdown(path, text)
    table.write_markdown(path, text)
    kept = path.read_text()
    assert kept.startswith("before\n")
    assert kept.endswith("\nafter\n")
    assert "old" not in kept
    assert kept.count("versions") == 1
    other = "\n".join(table.marks("other"))
    path.write_text(f"{kept}{other}\n")
    table.write_markdown(path, "new", "other")
    assert path.read_text().startswith(kept)
    assert table.between(path.read_text(), "other").strip() == "new"
    path.write_text("no marks")
    with pytest.raises(ValueError, match="where the tables go"):
        table.write_markdown(path, text)


def test_the_program(tmp_path):
    files = [f"--{kind}={tmp_path / kind}" for kind in ("json", "markdown")]
    command = [sys.executable, "-m", "benchmarks.peers", "W2", "--peers", "fastnn", "reference", "onnx", *files]
    settings = ["--rounds", "2", "--seconds", "0.01"]
    done = subprocess.run([*command, *settings], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "W2: 2-3-2 online, float64; time per step, one core" in done.stdout
    head, (group,) = json.loads((tmp_path / "json").read_text())
    assert head == done.stdout.splitlines()[0]
    assert {name: len(result["seconds"]) for name, result in group["results"].items()} == {
        "fastnn": 2, "reference": 2, "onnx": 0,
    }  # fmt: skip
    assert group["peak"] > 0
    written = (tmp_path / "markdown").read_text()
    assert written.startswith(table.marks()[0])
    again = [f"--shown={tmp_path / 'json'}", f"--markdown={tmp_path / 'again'}", f"--summary={tmp_path / 'short'}"]
    subprocess.run([sys.executable, "-m", "benchmarks.peers", *again], cwd=ROOT, check=True)
    assert (tmp_path / "again").read_text() == written
    assert f"{head}\n\nOne core:\n\n" in (tmp_path / "short").read_text()
    assert "| W2 | 2-3-2 online, float64 | step |" in (tmp_path / "short").read_text()


def test_nobody_is_slowed_by_a_variable(monkeypatch):
    for name in SLOWING:
        monkeypatch.setenv(name, "Prescott")
    assert not [name for name, value in environment(1).items() if "Prescott" in value]
    assert environment(2)["OPENBLAS_NUM_THREADS"] == "2"


def test_all_are_held_to_the_same_instructions():
    held = environment(1, "AVX2")
    for name, value in HELD["AVX2"].items():
        assert value in held[name], name
    assert "--xla_cpu_multi_thread_eigen=false" in held["XLA_FLAGS"]
    assert set(HELD["AVX2"]) - {"BENCHMARKS_MARCH"} <= set(SLOWING)  # else they would stay in an unheld run
    (group,) = Race(["onnx"], choose_cores(1), 1, 0.001, instructions="AVX2").run([ROW])
    assert group.results["onnx"].unfit
    assert "AVX2" in group.results["onnx"].note


@pytest.mark.skipif("avx2" not in CPU, reason="needs AVX2")
@pytest.mark.parametrize("instructions", ["", "AVX2"])
def test_the_rows_of_numpy_say_whose_kernels_ran(instructions):
    info = pytest.importorskip("threadpoolctl").threadpool_info()
    if not any(library["internal_api"] == "openblas" for library in info):
        pytest.skip("NumPy stands on another BLAS")
    worker = Worker("numpy", environment(1, instructions), choose_cores(1))
    try:
        worker.check(CLASSES)
        _, note = worker.prepare(CLASSES, 0.001)
    finally:
        worker.close()
    assert re.search(r"openblas [\d.]+ for \w+", note)
    assert ("Haswell" in note) == (instructions == "AVX2" or "avx512f" not in CPU)


@pytest.mark.skipif("avx2" not in CPU, reason="needs AVX2")
def test_fastnn_is_held_to_shorter_vectors():
    asked = "from fastnn.kernels.cpu import FUSED, VECTOR_BYTES; print(FUSED, VECTOR_BYTES)"
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, env=freed("AVX2"), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "32"]


(TABLE,), (SEARCH,) = chosen(["W11"]), chosen(["W12"])


@pytest.mark.parametrize(("workload", "peers"), [(TABLE, ("fastnn", "pytabkit")), (SEARCH, ("fastnn", "sklearn"))])
def test_estimators_fit_and_say_what_they_learned(workload, peers, monkeypatch):
    pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    whole = estimators.frame
    monkeypatch.setattr(estimators, "frame", lambda rows, seed=0: whole(rows // 5, seed))
    monkeypatch.setenv("PYTHONWARNINGS", "")  # which it sets for joblib's processes
    monkeypatch.setattr(logging.root.manager, "disable", 0)  # which it raises, for this process
    monkeypatch.setattr(estimators, "GRID", {"alpha": [1e-4, 1e-1]})
    for peer in PEERS:
        bench = Bench(peer, 1)
        if peer not in peers:
            with pytest.raises(Unfit):
                bench.check(workload)
            continue
        if peer == "pytabkit" and importlib.util.find_spec(peer) is None:
            with pytest.raises(Unable, match="not installed"):
                bench.check(workload)
            continue
        assert bench.check(workload)[0] == [] == oracle(workload)
        units, note = bench.prepare(workload, 0.001)
        assert units == 1
        assert float(re.search(r"accuracy ([\d.]+)", note)[1]) > 0.5


def test_the_frame_is_of_numbers_and_categories_with_gaps():
    pytest.importorskip("pandas")
    (X, y), (again, _), (other, _) = estimators.frame(300), estimators.frame(300), estimators.frame(300, seed=1)
    assert X.equals(again)
    assert not X.equals(other)
    assert X.isna().to_numpy().any()
    assert set(map(str, X.dtypes)) == {"float64", "category"}
    assert set(y) == {"low", "middle", "high"}


def test_processors_stand_side_by_side():
    head = "|  |  | per | fastnn | fastnn, generic kernel | C, fixed sizes | FANN, linear neurons |"
    row = "| W1 | a title | step | 5 ns | 0.10 | 1.50 | 1,200 |"
    one = f"1 May 2026: A, 2 cores. Versions.\n\nOne core:\n\n{head}\n{row}\n"
    two = one.replace(": A,", ": B,").replace("5 ns", "7 ns").replace("1.50", "").replace("One core", "2 cores")
    marks = [table.marks(name) for name in ("a", "b", "c")]
    page = "".join(f"{begin}\n{text}\n{end}\n" for (begin, end), text in zip(marks, (one, two, "not measured yet")))
    assert beside(page, ("a", "b", "c")).splitlines() == [
        "|  |  | 1 May 2026: A | fastest peer | 1 May 2026: B | fastest peer |",
        "| --- | --- | ---: | --- | ---: | --- |",
        "| W1: a title | One core | 5 ns | 1.50 C, fixed sizes |  |  |",
        "| W1: a title | 2 cores |  |  | 7 ns | 1,200 FANN, linear neurons |",
    ]


def test_the_readme_shows_what_was_measured():
    readme, speed = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/speed.md"))
    rows = re.findall(r"^\| ([^|]+?, .*?) \| (.*) \|$", readme, re.MULTILINE)
    assert len(rows) == 6
    one_core = speed[speed.index("One core:") : speed.index("2 cores:")]
    measured = [set(re.split(r" *\| *", line)) for line in one_core.splitlines()]
    for name, cells in rows:
        shown = set(re.split(r"[ *]*\|[ *]*", cells)) - {""}
        assert any(shown <= row for row in measured), f"{name}: {shown}"


def test_the_picture_shows_what_was_measured(tmp_path):
    pytest.importorskip("matplotlib")
    seconds = picture.times(picture.DOCS / "benchmarks.md", "W4-mnist-32-sgd")
    alt = re.search(r'speed.png".*?alt="(.*?)"', (ROOT / "README.md").read_text(encoding="utf-8"))[1]
    shown = [int(number) for number in re.findall(r"\d+", alt.partition(":")[2])]
    assert shown == sorted(round(1e6 * s) for s in seconds.values() if s <= picture.MOST * seconds["fastnn"])
    picture.draw(seconds, "a title", tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no table of W99"):
        picture.times(picture.DOCS / "benchmarks.md", "W99")
