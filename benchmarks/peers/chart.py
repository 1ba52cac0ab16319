"""The results as a bar chart."""

from __future__ import annotations

from pathlib import Path

from .contestant import PEERS
from .race import Group
from .table import ratio


def draw(groups: list[Group], path: Path) -> None:
    """Write a PNG: how many times fastnn's time each peer takes, on a logarithmic scale, one panel for each number
    of cores. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    counts = sorted({group.cores for group in groups})
    most = max(sum(group.cores == count for group in groups) for count in counts)
    figure, axes = plt.subplots(
        1, len(counts), figsize=(7 * len(counts), 2 + 0.75 * most), squeeze=False, layout="constrained"
    )
    peers = [peer for peer in list(PEERS)[1:] if any(g.results[peer].seconds for g in groups if peer in g.results)]
    colours = {peer: plt.get_cmap("tab20")(i) for i, peer in enumerate(peers)}
    for axis, count in zip(axes[0], counts):
        shown = [group for group in groups if group.cores == count]
        height = 0.8 / max(1, len(peers))
        for row, group in enumerate(shown):
            there = [p for p in peers if p in group.results and group.results[p].seconds]
            for i, peer in enumerate(there):
                value = ratio(group, group.results[peer])
                place = row + (i - (len(there) - 1) / 2) * height
                axis.barh(place, value - 1, height, left=1, color=colours[peer])
                text, side = f"{value:.2g}" if value < 100 else f"{value:.0f}", "left" if value >= 1 else "right"
                axis.annotate(text, (value, place), fontsize=6, va="center", ha=side)
        axis.axvline(1, color="black", linewidth=1.5)
        axis.set_xscale("log")
        axis.set_yticks(range(len(shown)), [f"{g.workload.key}\n{g.workload.title}" for g in shown], fontsize=7)
        axis.set_ylim(len(shown) - 0.5, -0.5)
        axis.set_title("one core" if count == 1 else f"{count} cores")
        axis.set_xlabel("time in those of fastnn (right of the line: slower than fastnn)")
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[peer]) for peer in peers]
    figure.legend(handles, [PEERS[peer].name for peer in peers], loc="outside lower center", ncols=5)
    figure.savefig(path, dpi=120)
    plt.close(figure)
