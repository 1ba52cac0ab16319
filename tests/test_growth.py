"""The page of how cost grows: what is measured is kept, and table and picture can be made again from it."""

import pytest

from benchmarks.growth import DOCS, SWEEPS, Point, Sweep, draw, fits, measured, read, table
from benchmarks.peers.table import between

POINTS = [
    Point(sweep.name, value, cores, {"fastnn": 1e-6 * value / cores, "numpy": 3e-6 * value}, 1e3 * value, 4e9)
    for sweep in SWEEPS
    for value in sweep.values
    for cores in (1, 2)
]


def test_each_sweep_changes_one_thing():
    works = {sweep.name: [sweep.workload(value) for value in sweep.values] for sweep in SWEEPS}
    assert [work.sizes[1] for work in works["width"]] == list(SWEEPS[0].values)
    assert [len(work.sizes) - 2 for work in works["depth"]] == [1, 2, 4, 8, 16]
    assert [work.batch for work in works["batch"]][::12] == [1, 4096]
    assert [work.sizes[0] for work in works["features"]][::6] == [2, 10_000]
    assert [work.steps * work.batch for work in works["rows"]] == [10**k for k in range(2, 8)]
    keys = [work.key for some in works.values() for work in some]
    assert len(set(keys)) == len(keys)
    for work in works["batch"]:
        assert work.steps * work.batch == 8192


def test_what_has_no_room_is_left_out():
    assert fits(SWEEPS[-1].workload(1000))
    assert not fits(SWEEPS[-1].workload(10**12))
    assert not list(measured((Sweep("rows", "", (10**12,)),), 1, 0.001))


def test_a_batch_of_one_sample_has_numpy_too():
    points = list(measured((Sweep("batch", "", (1, 4)),), 1, 0.001))
    assert {(p.value, p.cores) for p in points} >= {(1, 1), (4, 1)}
    for point in points:
        there = {"fastnn", "numpy"} if (point.value, point.cores) != (1, 2) else {"fastnn"}
        assert there <= set(point.seconds) <= there | {"jax"}
        assert all(0 < seconds < 1 for seconds in point.seconds.values())
        assert point.flops == 2 * (3 * (64 * 128 + 128 * 128 + 128 * 10) - 64 * 128)


def test_the_time_of_the_processor_is_of_one_core():
    (point,) = measured((Sweep("depth", "", (1,)),), 1, 0.001, "cpu")
    assert point.cores == 1
    assert point.seconds["fastnn"] > 0


def test_table_and_picture(tmp_path):
    text = table(POINTS)
    assert "| 4,096 | 4.1 ms | 12.3 ms |  | 25% | 2.00 |" in text
    assert text.count("| of peak |") == len(SWEEPS)
    pytest.importorskip("matplotlib")
    draw(POINTS, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_shows_what_is_kept():
    head, points = read(DOCS / "growth.json")
    shown = between((DOCS / "growth.md").read_text(encoding="utf-8"), "growth")
    assert shown.strip() == f"{head}\n\n{table(points)}"
