"""``python -m benchmarks.peers.beside``: the processors of docs/speed.md side by side, from its own tables."""

from __future__ import annotations

import re
from pathlib import Path

from .contestant import PEERS
from .table import between, write_markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "speed.md"
SECTIONS = ("", "zen4", "avx512", "avx2")
TARGET = "side by side"
OURS = {PEERS["fastnn"].name, PEERS["fastnn-generic"].name}


def rows(text: str) -> dict[tuple[str, str], tuple[str, str]]:
    """fastnn's time and the fastest peer's ratio and name, by workload and number of cores, of a section's tables."""
    found, cores, head = {}, "", []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"(One core|\d+ cores):", line):
            cores = line[:-1]
        elif line.startswith("|  |"):
            head = cells
        elif re.match(r"\| W\d", line):
            peers = [(name, cell) for name, cell in zip(head[4:], cells[4:]) if cell and name not in OURS]
            name, ratio = min(peers, key=lambda peer: float(peer[1].replace(",", "")), default=("", ""))
            found[f"{cells[0]}: {cells[1]}", cores] = cells[3], f"{ratio} {name}".strip()
    return found


def title(text: str) -> str:
    """When and on what a section was measured: the beginning of its first line."""
    return text.strip().split("\n")[0].partition(" cores.")[0].rpartition(",")[0]


def beside(page: str, sections: tuple[str, ...] = SECTIONS) -> str:
    """The table, in Markdown, of the sections that have been measured."""
    texts = [between(page, section) for section in sections]
    columns = {title(text): rows(text) for text in texts if "|" in text}
    lines = [
        "| " + " | ".join(["", "", *(cell for name in columns for cell in (name, "fastest peer"))]) + " |",
        "| --- | --- |" + " ---: | --- |" * len(columns),
    ]
    for workload, cores in dict.fromkeys(key for column in columns.values() for key in column):
        cells = [cell for column in columns.values() for cell in column.get((workload, cores), ("", ""))]
        lines.append("| " + " | ".join([workload, cores, *cells]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    write_markdown(PAGE, beside(PAGE.read_text(encoding="utf-8")), TARGET)
