"""Tables as notebooks show them."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

SHOWN = 12  # rows; of more, the first and the last five


def shown_rows(count: int) -> list[int | None]:
    """The numbers of the rows that a table shows; None stands for those left out."""
    return [*range(count)] if count <= SHOWN else [*range(5), None, *range(count - 5, count)]


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> str:
    """An HTML table of texts, escaped, with a line below it.

    Examples
    --------
    >>> from fastnn.html_table import html_table
    >>> html_table(["a"], [["<1"]])
    '<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>&lt;1</td></tr></tbody></table>'
    """
    top = "".join(f"<th>{html.escape(word)}</th>" for word in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(word)}</td>" for word in row) + "</tr>" for row in rows)
    below = f"<div>{html.escape(note)}</div>" if note else ""
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{below}"
