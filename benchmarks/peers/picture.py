"""``python -m benchmarks.peers.picture``: one row of docs/benchmarks.md as a picture, for the README.

What it draws it reads from the tables there, so that both show the same measurement. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
MOST = 8  # times as long as fastnn: a bar beyond this would make the others hard to tell apart
_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


def times(page: Path, workload: str, cores: str = "one core") -> dict[str, float]:
    """The seconds of each peer at a workload, in the order of its table."""
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(workload)}:[^\n]*{cores}\n\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError(f"{page} has no table of {workload} on {cores}")
    rows = re.findall(r"^\| ([^|]+) \| ([\d.]+) (ns|us|ms|s) \|", found[1], re.MULTILINE)
    return {name: float(number) * _UNITS[unit] for name, number, unit in rows}


def draw(seconds: dict[str, float], title: str, path: Path) -> None:
    """Write a PNG of horizontal bars, the shortest on top."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from .table import readable

    ours = seconds["fastnn"]
    shown = dict(sorted(((n, s) for n, s in seconds.items() if s <= MOST * ours), key=lambda pair: pair[1]))
    figure, ax = plt.subplots(figsize=(6.4, 0.42 * len(shown) + 0.7), layout="constrained")
    colours = ["#3f51b5" if name == "fastnn" else "#b8bcc8" for name in shown]
    ax.barh(list(shown), list(shown.values()), 0.72, color=colours)
    for place, (name, value) in enumerate(shown.items()):
        weight = "bold" if name == "fastnn" else "normal"
        ax.annotate(f" {readable(value)}", (value, place), va="center", fontsize=11, weight=weight)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12 * max(shown.values()))
    ax.set_xticks([])
    ax.tick_params(axis="y", length=0, labelsize=11)
    ax.spines[:].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.picture", description=__doc__)
    parser.add_argument("--workload", default="W4-mnist-32-sgd", help="(default: %(default)s)")
    parser.add_argument("--title", default="Time of a step on 32 MNIST digits (784-128-10, one core)")
    parser.add_argument("--out", type=Path, default=DOCS / "speed.png", help="(default: docs/speed.png)")
    given = parser.parse_args()
    draw(times(DOCS / "benchmarks.md", given.workload), given.title, given.out)


if __name__ == "__main__":
    main()
