"""What mkdocs does to a page besides: the front page is README.md, links into the sources, formulas as MathML."""

from __future__ import annotations

import os
import re
from html import unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
LINK = re.compile(r'\[([^\]]+)\]\((?![a-z]+:|#)([^)#]+)(#[^)]+)?\)|(?<=src=")(?![a-z]+:)([^"]+)')
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """The front page is the README; what links to files outside `docs` links to the repository, if it is known."""
    folder = (DOCS / page.file.src_uri).parent
    if page.file.src_uri != "index.md":
        return LINK.sub(lambda found: _link(found, folder, folder, config.repo_url), markdown)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return LINK.sub(lambda found: _link(found, ROOT, DOCS, config.repo_url), readme)


def _link(found: re.Match[str], written_in: Path, shown_in: Path, repository: str) -> str:
    text, path, anchor, picture = found.groups()
    target = (written_in / (path or picture)).resolve()
    if not target.exists():
        raise FileNotFoundError(f"{found[0]} leads nowhere: there is no {target}")
    place = Path(os.path.relpath(target, shown_in)).as_posix()
    if picture:
        return place
    if target.is_relative_to(DOCS):
        return f"[{text}]({place}{anchor or ''})"
    return f"[{text}]({repository}/blob/main/{target.relative_to(ROOT).as_posix()})" if repository else text


def on_page_content(html: str, **_: Any) -> str:
    """TeX, as pymdownx.arithmatex leaves it, becomes MathML, which browsers show by themselves."""
    return FORMULA.sub(
        lambda found: convert(unescape(found[2]), display="block" if found[1] == "div" else "inline"), html
    )
