"""Pages of the documentation as programs: their code blocks, and what running them prints."""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib.util
import io
import linecache
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^( *)```(\S*).*?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SEPARATE = {
    "dask",
    "dask_ml",
    "distributed",
    "h5py",
    "jax",
    "keras",
    "mpi4py",
    "optuna",
    "pyarrow",
    "ray",
    "torch",
    "zarr",
}  # blocks that import one run where it is installed; others do without
NUMBER = re.compile(r"(?<![\w.])(-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page where it starts."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = [(f[2], textwrap.dedent(f[3]), text.count("\n", 0, f.start(3))) for f in FENCE.finditer(text)]
    return [Block("pycon" if code.startswith(">>> ") else language, code, line) for language, code, line in found]


def imported(block: Block) -> set[str]:
    """The modules that a block imports."""
    code, found = block.text, set()
    if block.language == "pycon":
        code = "".join(example.source for example in doctest.DocTestParser().get_examples(code))
    for node in ast.walk(ast.parse(code if block.language in ("python", "pycon") else "")):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def needed(page: Path) -> set[str]:
    """The modules without which a page does not run."""
    return {name for block in blocks(page) for name in imported(block) if name.split(".")[0] not in SEPARATE}


def _is_missing(block: Block) -> bool:
    roots = {name.split(".")[0] for name in imported(block)} & SEPARATE
    return any(importlib.util.find_spec(name) is None for name in roots)


def run(page: Path) -> list[str]:
    """Run the blocks of a page in order, in one namespace; return what went wrong.

    ``pycon``, and whatever starts with a prompt, is a session, checked by doctest. ``python`` is run, and where
    ``text`` comes next, what was printed must be that.
    """
    globs: dict[str, Any] = {"__name__": "page"}
    wrong: list[str] = []
    every = blocks(page)
    for place, block in enumerate(every):
        if _is_missing(block):
            continue
        if block.language == "pycon":
            session = doctest.DocTestParser().get_doctest(block.text, globs, page.name, str(page), block.line)
            report = io.StringIO()
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            runner.run(session, out=report.write, clear_globs=False)
            globs = session.globs
            wrong += [report.getvalue()] if report.getvalue() else []
        elif block.language == "python":
            following = every[place + 1] if place + 1 < len(every) else None
            printed = _execute(f"<{page.name}[{place}]>", block.text, globs)
            if following and following.language == "text" and not same(printed, following.text):
                wrong.append(f"{page.name}, line {following.line}: shows\n{following.text}but prints\n{printed}")
    return wrong


def _execute(name: str, code: str, globs: dict[str, Any]) -> str:
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)  # formulas read their own text
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, name, "exec"), globs)
    return out.getvalue()


def same(printed: str, shown: str) -> bool:
    """Whether the words and the whole numbers are the same, and other numbers to a tenth, or to 2 of their last digit.

    Networks are trained to other last digits by other processors.
    """
    got, wanted = NUMBER.split(" ".join(printed.split())), NUMBER.split(" ".join(shown.split()))
    return len(got) == len(wanted) and all(
        (g == w if place % 2 == 0 or "." not in w else _near(g, w)) for place, (g, w) in enumerate(zip(got, wanted))
    )


def _near(printed: str, shown: str) -> bool:
    number = float(shown.replace(",", ""))
    digits = len(shown.split("e")[0].split(".")[1])
    return abs(float(printed.replace(",", "")) - number) <= max(0.1 * abs(number), 2.0 * 10.0**-digits)
