"""``python -m benchmarks.peers``: fastnn and its peers at the workloads W1 to W12."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..environment import HELD
from . import table
from .contestant import PEERS
from .race import Group, Race, Result, choose_cores
from .workloads import WORKLOADS, Workload, chosen

_PACKAGES = ("numpy", "numba", "scikit-learn", "torch", "jax", "onnxruntime", "pytabkit")

CPU_TIMES = " Times are of the CPU, not of the clock on the wall."


def arguments() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description="fastnn against its peers, in turns on the same cores."
    )
    keys = ", ".join(workload.key for workload in WORKLOADS)
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"which (default: all); W4 is all of W4-...: {keys}"
    )
    parser.add_argument(
        "--peers", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="PEER",
        help=f"which (default: all): {', '.join(PEERS)}",
    )  # fmt: skip
    parser.add_argument("--cores", choices=["1", "2", "both"], default="1", help="default: 1")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each peer (default: 5)")
    parser.add_argument("--seconds", type=float, default=0.2, help="of a turn, about (default: 0.2)")
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall",
        help="cpu: the time that a process had the core; for one core of a machine that others use (default: wall)",
    )  # fmt: skip
    parser.add_argument(
        "--held",
        choices=list(HELD),
        default="",
        help="hold everyone to these instructions, where the processor has more",
    )
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.05 seconds: to see that it works")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the tables between the marks of this file")
    parser.add_argument("--section", default="", help="the name in these marks, for pages with several machines")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="the same for the first table alone")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw a bar chart as PNG")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements")
    parser.add_argument("--shown", type=Path, metavar="FILE", help="show what --json wrote, and measure nothing")
    given = parser.parse_args()
    try:
        given.workloads = chosen(given.workloads)
    except ValueError as error:
        parser.error(str(error))
    if given.quick:
        given.rounds, given.seconds = 3, 0.05
    if given.clock == "cpu" and given.cores != "1":
        parser.error("--clock cpu goes with --cores 1: it adds up what several cores do")
    if given.rounds < 1 or not given.seconds > 0:
        parser.error("--rounds and --seconds must be positive")
    return given


def main() -> None:
    """Run the race, and show it."""
    given = arguments()
    groups: list[Group] = []
    if given.shown:
        head, saved = json.loads(given.shown.read_text(encoding="utf-8"))
        write(given, [group_of(each) for each in saved], head)
        return
    head = versions(given.held) + (CPU_TIMES if given.clock == "cpu" else "")
    print(head)
    for count in {"1": (1,), "2": (2,), "both": (1, 2)}[given.cores]:
        cores = choose_cores(count)
        if len(cores) < count:
            print(f"there are not {count} cores", file=sys.stderr)
            continue
        race = Race(given.peers, cores, given.rounds, given.seconds, given.clock, say, given.held)
        for group in race.run(given.workloads):
            say("")
            print(f"\n{table.terminal(group)}", flush=True)
            groups.append(group)
    if given.json:
        saved = [asdict(group) for group in groups]
        given.json.write_text(json.dumps([head, saved], indent=1), encoding="utf-8")
    write(given, groups, head)


def group_of(saved: dict[str, Any]) -> Group:
    """What ``asdict`` made of a group."""
    workload = Workload(**{**saved["workload"], "sizes": tuple(saved["workload"]["sizes"])})
    results = {peer: Result(**result) for peer, result in saved["results"].items()}
    return Group(**{**saved, "workload": workload, "results": results})


def write(given: argparse.Namespace, groups: list[Group], head: str) -> None:
    """The files that were asked for."""
    if given.markdown:
        table.write_markdown(given.markdown, table.markdown(groups, head), given.section)
    if given.summary:
        table.write_markdown(given.summary, table.summaries(groups, head), given.section)
    if given.chart:
        from .chart import draw

        draw(groups, given.chart)


def say(what: str) -> None:
    """Show what is going on, on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def versions(held: str = "") -> str:
    """What was measured when and with what."""
    from fastnn import __version__

    today, where = date.today(), processor() + (f" held to {held}" if held else "")

    found = [f"fastnn {__version__}", f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    return f"{today.day} {today:%B %Y}: {where}, {os.cpu_count()} cores. {', '.join(found)}."


def processor() -> str:
    """Its name, where the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
