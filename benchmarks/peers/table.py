"""The results as text: for the terminal, and as Markdown."""

from __future__ import annotations

import math
from pathlib import Path

from .contestant import PEERS
from .race import Group, Result


def marks(section: str = "") -> tuple[str, str]:
    """Between these lines of a page the tables of a section stand; pages may have several, as of two processors."""
    name = f"peers {section}" if section else "peers"
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


_HEAD = ["", "time", "ratio", "GFLOP/s", "of peak", "first call", "note"]


def readable(seconds: float) -> str:
    """Three digits and a unit."""
    if math.isnan(seconds):
        return ""
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def ratio(group: Group, result: Result) -> float:
    """The time of a peer in those of fastnn; of whoever came first if fastnn did not take part."""
    base = next((r.median for r in group.results.values() if r.seconds), math.nan)
    return result.median / base


def _times(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.2f}" if value < 10 else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def cells(group: Group, result: Result) -> list[str]:
    """One row of a table."""
    name = PEERS[result.peer].name
    if not result.seconds:
        return [name, "", "", "", "", "", result.note]
    flops = group.workload.flops / result.median
    rate, share = ("", "") if not flops else (f"{flops / 1e9:.3g}", f"{100 * flops / group.peak:.0f}%")
    first = readable(result.first_call)
    return [name, readable(result.median), _times(ratio(group, result)), rate, share, first, result.note]


def shown(group: Group) -> list[Result]:
    """The results that get a row: all but those of peers that have nothing to do with the workload."""
    return [result for result in group.results.values() if not result.unfit]


def absent(group: Group) -> str:
    """Who has no row, and why."""
    reasons = [f"{PEERS[r.peer].name} {r.note}" for r in group.results.values() if r.unfit]
    return f"Not here: {'; '.join(reasons)}." if reasons else ""


def heading(group: Group) -> str:
    """What a table is about."""
    cores = "one core" if group.cores == 1 else f"{group.cores} cores"
    return f"{group.workload.key}: {group.workload.title}; time per {group.workload.unit}, {cores}"


def peak_line(group: Group) -> str:
    """The peak that its rows are compared with."""
    if not group.workload.flops:
        return ""
    return f"Measured peak in {group.workload.dtype}: {group.peak / 1e9:.3g} GFLOP/s ({group.peak_note})."


def terminal(group: Group) -> str:
    """A table in plain text."""
    rows = [_HEAD, *(cells(group, result) for result in shown(group))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD) - 1)]
    lines = [heading(group)]
    for row in rows:
        numbers = "  ".join(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:]))
        lines.append(f"  {row[0]:{widths[0]}}  {numbers}  {row[-1]}".rstrip())
    return "\n".join([*lines, *([f"  {peak_line(group)}"] if peak_line(group) else [])])


def _line(row: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def summary(groups: list[Group], cores: int) -> str:
    """All workloads and peers in one Markdown table: fastnn's time and the others' ratios."""
    groups = [group for group in groups if group.cores == cores]
    if not groups:
        return ""
    peers = [peer for peer in PEERS if any(peer in group.results for group in groups)]
    lines = [_line(["", "", "per", *(PEERS[peer].name for peer in peers)])]
    lines.append(_line(["---", "---", "---", *["---:"] * len(peers)]))
    for group in groups:
        row = [group.workload.key, group.workload.title, group.workload.unit]
        for peer in peers:
            result = group.results.get(peer)
            if result is None or not result.seconds:
                row.append("")
            else:
                row.append(readable(result.median) if peer == peers[0] else _times(ratio(group, result)))
        lines.append(_line(row))
    return "\n".join(lines)


def summaries(groups: list[Group], versions: str) -> str:
    """The summary for each number of cores."""
    counts = sorted({group.cores for group in groups})
    names = ["One core" if count == 1 else f"{count} cores" for count in counts]
    return "\n\n".join([versions, *(f"{name}:\n\n{summary(groups, count)}" for name, count in zip(names, counts))])


def markdown(groups: list[Group], versions: str) -> str:
    """Everything, as Markdown."""
    parts = [versions]
    for cores in sorted({group.cores for group in groups}):
        name = "One core" if cores == 1 else f"{cores} cores"
        parts += [f"### {name}", summary(groups, cores)]
    parts.append("### Details")
    for group in groups:
        lines = [_line(_HEAD), _line(["---", *["---:"] * 5, "---"])]
        lines += [_line(cells(group, result)) for result in shown(group)]
        parts += [f"#### {heading(group)}", "\n".join(lines), peak_line(group), absent(group)]
    return "\n\n".join(part for part in parts if part)


def between(page: str, section: str = "") -> str:
    """What stands between the marks of a section.

    Raises
    ------
    ValueError
        If the page does not have them.
    """
    begin, end = marks(section)
    if begin not in page or end not in page:
        raise ValueError(f"there are no lines {begin} and {end}; they say where the tables go")
    return page.split(begin, 1)[1].split(end, 1)[0]


def write_markdown(path: Path, text: str, section: str = "") -> None:
    """Put `text` between the marks of a file, which keeps the rest; or make a new file."""
    begin, end = marks(section)
    old = path.read_text(encoding="utf-8") if path.exists() else f"{begin}\n{end}\n"
    try:
        kept = between(old, section)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    path.write_text(old.replace(f"{begin}{kept}{end}", f"{begin}\n\n{text}\n\n{end}"), encoding="utf-8")
