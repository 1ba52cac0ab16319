"""How the cost of a sample grows with the network, the batch and the data, beside NumPy and JAX.

    python -m benchmarks.growth                  # measures: docs/growth.json, and from it the page's table and picture
    python -m benchmarks.growth --quick          # the same with short turns, to see that it works
    python -m benchmarks.growth --shown          # makes table and picture again, and measures nothing

One thing grows at a time; the rest stays at 64-128-128-10, batches of 128, Adam, float32. The turns, the checks and the
processes are those of ``benchmarks.peers``, on one core and then on two.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers.__main__ import CPU_TIMES, say, versions
from benchmarks.peers.race import Group, Race, choose_cores
from benchmarks.peers.table import readable, write_markdown
from benchmarks.peers.workloads import Workload
from fastnn.room import available

DOCS = Path(__file__).resolve().parent.parent / "docs"
ROWS = 8192  # of a pass over the data, where these do not grow
LONG = 5_000_000  # rows in one pass, after which one turn says enough
COPIES = 6  # of the data: in three processes, twice while they are made and converted
PEERS = {"fastnn": "fastnn", "numpy": "NumPy", "jax": "JAX"}
COLOURS = {"fastnn": "#3f51b5", "numpy": "#8d6e63", "jax": "#e08a00"}
BASE = Workload("base", "", (64, 128, 128, 10), optimizer="adam", lr=1e-4, batch=128, steps=ROWS // 128, check_steps=2)


class Sweep(NamedTuple):
    """What grows: its name, what its axis says, and its values."""

    name: str
    axis: str
    values: tuple[int, ...]

    def workload(self, value: int) -> Workload:
        """The base with this one changed."""
        changes: dict[str, Any]
        if self.name == "batch":
            changes = {"batch": value, "steps": ROWS // value}
        elif self.name == "rows":
            changes = {"sizes": (8, 32, 32, 10), "batch": 100, "steps": value // 100, "whole": True}
        elif self.name == "depth":
            changes = {"sizes": (64, *[128] * value, 10)}
        else:
            changes = {"sizes": {"width": (64, value, value, 10), "features": (value, 128, 128, 10)}[self.name]}
        work = replace(BASE, **changes)
        return replace(work, key=f"{self.name}={value}", title=self.name, check_steps=min(2, work.steps))


SWEEPS = (
    Sweep("width", "neurons in each of two layers", (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)),
    Sweep("depth", "hidden layers of 128", (1, 2, 4, 8, 16)),
    Sweep("batch", "samples in a batch", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)),
    Sweep("features", "inputs", (2, 8, 32, 128, 512, 2048, 10_000)),
    Sweep("rows", "rows, in 8-32-32-10 and batches of 100", tuple(10**k for k in range(2, 8))),
)

SWEEP = {sweep.name: sweep for sweep in SWEEPS}


@dataclass(frozen=True)
class Point:
    """One value on so many cores: seconds of a sample by peer, operations of a sample, and the cores' peak."""

    sweep: str
    value: int
    cores: int
    seconds: dict[str, float]
    flops: float
    peak: float

    @classmethod
    def of(cls, sweep: str, value: int, group: Group) -> Point:
        """From a race; the article's loop stands for NumPy where a batch is one sample."""
        batch = group.workload.batch
        names = {**{peer: peer for peer in PEERS}, "reference": "numpy"}
        seconds = {names[peer]: result.median / batch for peer, result in group.results.items() if result.seconds}
        return cls(sweep, value, group.cores, seconds, group.workload.flops / batch, group.peak)


def fits(workload: Workload) -> bool:
    """Whether the rows find room, in all processes."""
    return COPIES * workload.steps * workload.batch * (4 * workload.sizes[0] + 8) <= available()


def measured(sweeps: tuple[Sweep, ...], rounds: int, seconds: float, clock: str = "wall") -> Iterator[Point]:
    """All points, on one core and, by the clock on the wall, on two."""
    works = {sweep.workload(value): (sweep.name, value) for sweep in sweeps for value in sweep.values}
    races: dict[tuple[tuple[str, ...], int], list[Workload]] = {}
    for work in works:
        if not fits(work):
            print(f"{work.key} is left out: there is no room for the rows")
            continue
        peers = ("fastnn", "reference", "jax") if work.batch == 1 else tuple(PEERS)
        turns = 1 if work.steps * work.batch > LONG else rounds
        races.setdefault((peers, turns), []).append(work)
    for count in (1, 2) if clock == "wall" else (1,):
        cores = choose_cores(count)
        for (peers, turns), chosen in races.items() if len(cores) == count else ():
            for group in Race(list(peers), cores, turns, seconds, clock, say).run(chosen):
                for peer, result in group.results.items():
                    if not result.seconds and not result.note.startswith("not installed"):
                        print(f"{group.workload.key}: {peer} {result.note}")
                yield Point.of(*works[group.workload], group)


def read(path: Path) -> tuple[str, list[Point]]:
    """What was measured when and with what, and the points, the small ones first."""
    head, saved = json.loads(path.read_text(encoding="utf-8"))
    return head, sorted((Point(**each) for each in saved), key=lambda point: point.value)


def table(points: list[Point]) -> str:
    """Times of a sample on one core, fastnn's share of the peak, and what two cores gain, in Markdown."""
    names = list(PEERS)
    two = {(point.sweep, point.value): point for point in points if point.cores == 2}
    lines = []
    for sweep in SWEEPS:
        lines += ["", f"| {sweep.axis} | " + " | ".join(PEERS.values()) + " | of peak | two cores |"]
        lines.append("| ---: |" + " ---: |" * (len(names) + 2))
        for point in points:
            if point.sweep == sweep.name and point.cores == 1:
                own = point.seconds["fastnn"]
                cells = [readable(point.seconds.get(name, float("nan"))) for name in names]
                other = two.get((sweep.name, point.value))
                gain = f"{own / other.seconds['fastnn']:.2f}" if other else ""
                share = f"{100 * point.flops / own / point.peak:.0f}%"
                lines.append("| " + " | ".join([f"{point.value:,}", *cells, share, gain]) + " |")
    return "\n".join(lines).strip()


def draw(points: list[Point], path: Path) -> None:
    """A PNG of a panel for each sweep, and one of what two cores gain. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator

    figure, axes = plt.subplots(2, 3, figsize=(11, 6.4), layout="constrained")
    for ax, sweep in zip(axes.flat, SWEEPS):
        for (name, label), (cores, dashes) in itertools.product(PEERS.items(), ((1, "-"), (2, ":"))):
            own = [p for p in points if p.sweep == sweep.name and p.cores == cores and name in p.seconds]
            if not own:
                continue
            ax.plot(
                [p.value for p in own], [p.seconds[name] * 1e6 for p in own], dashes, marker="o", markersize=3,
                color=COLOURS[name], label=label if cores == 1 else f"{label}, two cores",
            )  # fmt: skip
        ax.set(xscale="log", yscale="log", xlabel=sweep.axis, title=f"{sweep.name}: us a sample")
        if sweep.name != "rows":
            ticks = sweep.values[:: 1 + len(sweep.values) // 8]
            ax.set_xticks(ticks, [f"{value:,}" for value in ticks], fontsize=8)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    if any(point.cores == 2 for point in points):
        gains(points, axes.flat[-1])
    else:
        axes.flat[-1].set_axis_off()
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def gains(points: list[Point], ax: Any) -> None:
    """What two cores gain, by the multiplications of a step."""
    from fastnn.engine.threads import MIN_WORK

    one = {(p.sweep, p.value): p for p in points if p.cores == 1}
    for name in PEERS:
        pairs = [(one[p.sweep, p.value], p) for p in points if p.cores == 2 and name in p.seconds]
        pairs = [(a, b) for a, b in pairs if name in a.seconds]
        work = [products(SWEEP[a.sweep].workload(a.value)) for a, _ in pairs]
        gain = [a.seconds[name] / b.seconds[name] for a, b in pairs]
        ax.plot(work, gain, "o", markersize=4, color=COLOURS[name], alpha=0.8)
    ax.axvline(2 * MIN_WORK, color="black", linewidth=1, linestyle="--")
    ax.annotate(" fastnn: two threads", (2 * MIN_WORK, 0.98), xycoords=("data", "axes fraction"), va="top", fontsize=8)
    ax.set(xscale="log", xlabel="multiplications in a step", title="one core's time / two cores' time")
    ax.grid(alpha=0.3)


def products(workload: Workload) -> int:
    """The multiplications of a step as fastnn's engine counts them when it chooses how many threads to use."""
    return 3 * workload.batch * sum(ins * outs for ins, outs in itertools.pairwise(workload.sizes))


def main() -> None:
    """Measure, keep, show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("sweeps", nargs="*", metavar="SWEEP", help=f"which (default: all): {', '.join(SWEEP)}")
    parser.add_argument("--quick", action="store_true", help="turns of 0.02 seconds, to see that it works")
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall",
        help="cpu: the time that a process had the core, and one core alone; for a machine that others use",
    )  # fmt: skip
    parser.add_argument("--shown", action="store_true", help="show what is kept, and measure nothing")
    parser.add_argument("--folder", type=Path, default=DOCS, help="of growth.json, .md and .png (default: docs)")
    given = parser.parse_args()
    if unknown := set(given.sweeps) - set(SWEEP):
        parser.error(f"no such sweep: {', '.join(sorted(unknown))}; there are {', '.join(SWEEP)}")
    kept = given.folder / "growth.json"
    if not given.shown:
        head, points = versions() + (CPU_TIMES if given.clock == "cpu" else ""), []
        chosen = tuple(sweep for sweep in SWEEPS if sweep.name in (given.sweeps or SWEEP))
        for point in measured(chosen, *((3, 0.02) if given.quick else (3, 0.1)), given.clock):
            points.append(point)
            times = ", ".join(f"{PEERS[name]} {readable(seconds)}" for name, seconds in point.seconds.items())
            print(f"{point.sweep} {point.value:,}, cores: {point.cores}: {times}", flush=True)
            kept.write_text(json.dumps([head, [vars(point) for point in points]], indent=1), encoding="utf-8")
    head, points = read(kept)
    write_markdown(given.folder / "growth.md", f"{head}\n\n{table(points)}", "growth")
    draw(points, given.folder / "growth.png")


if __name__ == "__main__":
    main()
