"""``python -m tests.reliability [PART ...] [--count N] [--seed N] [--write]``: try parts, all by default."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numba

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "reliability.md"


def main() -> None:
    """Read the command line, run the parts, print their numbers, and write them into the page if that is wanted."""
    found = (importlib.import_module(f"{__package__}.{one.name}") for one in pkgutil.iter_modules([str(FOLDER)])
             if one.name != "__main__")  # fmt: skip
    parts = {part.__name__.split(".")[-1]: part for part in found if hasattr(part, "run")}
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}")
    parser.add_argument("--count", type=int, help="how often each is tried; by default the part's own COUNT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"write the numbers into docs/{PAGE.name}")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(parts):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; expected of {', '.join(parts)}")
    for name in given.parts or parts:
        part, count = parts[name], given.count or parts[name].COUNT
        numbers = part.run(count, given.seed)
        print(f"{name}: " + ", ".join(f"{key} {value:,}" for key, value in numbers.items()), flush=True)
        if given.write:
            write(part, numbers, f"python -m tests.reliability {name} --count {count} --seed {given.seed}")


def write(part: ModuleType, numbers: Mapping[str, Any], command: str) -> None:
    """Put the numbers of a part into its place in the page, or at the end."""
    name = part.__name__.split(".")[-1]
    table = part.table(numbers) if hasattr(part, "table") else row(numbers)
    about = " ".join((part.__doc__ or "").split("\n\n")[0].split())
    title = name.replace("_", " ").capitalize()
    where = f"`{command}`, on {processor()}, Python {platform.python_version()}, Numba {numba.__version__}"
    block = f"<!-- {name}: begin -->\n## {title}\n{about}\n\n{table}\n\n{where}\n<!-- {name}: end -->"
    page = PAGE.read_text(encoding="utf-8")
    place = re.compile(rf"<!-- {name}: begin -->.*<!-- {name}: end -->", re.DOTALL)
    page = place.sub(lambda _: block, page) if place.search(page) else f"{page.rstrip()}\n\n{block}\n"
    PAGE.write_text(page, encoding="utf-8")


def row(numbers: Mapping[str, Any]) -> str:
    """A table of one row."""
    names, values = list(numbers), [f"{value:,}" for value in numbers.values()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, ["---:"] * len(names), values))


def processor() -> str:
    """The name of this machine's processor."""
    about = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", about.read_text()) if about.exists() else []
    return f"{names[0] if names else platform.machine()} ({len(names) or '?'} cores)"


if __name__ == "__main__":
    main()
