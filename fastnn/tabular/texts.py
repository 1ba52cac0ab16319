"""Columns of texts that are, it seems, meant to be numbers or dates: what they look like, and how to convert them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..words import listed

FEW, MOST = 10, 0.9  # more different texts than so many, of which so many have the form
MONTH = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
TIME = r"([T ]\s*\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s*([ap]m)?\s*(z|utc|[-+]\d{2}:?\d{2})?)?"
BY_NUMBERS = re.compile(rf"(\d{{1,2}})([./-])(\d{{1,2}})\2(\d{{4}}|\d{{2}}){TIME}", re.IGNORECASE)
OTHER_DATES = re.compile(
    rf"(\d{{4}}([-/.])\d{{1,2}}\2\d{{1,2}}|(19|20)\d\d[-/.]\d{{1,2}}|\d{{1,2}}[. -]+{MONTH}[ .,-]+\d{{2,4}}|"
    rf"{MONTH} \d{{1,2}},? \d{{4}}){TIME}",
    re.IGNORECASE,
)
NUMBER = re.compile(
    r"\(?[-+]?\s*[$€£¥]?\s*[-+]?(\d{1,3}([.,'\u2019 \u00a0\u202f]\d{3})+|\d+)?([.,]\d*)?(e[-+]?\d+)?\s*[%$€£¥]?\)?",
    re.IGNORECASE,
)
WHOLE = re.compile(r"-?\d+\.?")  # with a point behind it, it is an ordinal one
CODE = re.compile(r"[-+]?0\d")  # how no number begins
COMMA = re.compile(r"\..*,|,(?!\d{3}(?!\d))")  # the last of a number's separators is the decimal one


def meant(labels: Sequence[str], name: str, mixed: bool) -> str:
    """A sentence about categories that look like numbers or dates; empty, if they do not.

    Whole numbers without separators are fine: so are codes written, and categories that are made of numbers on
    purpose; but not if some other texts are among them, or if they are real numbers, `mixed` with texts. Where some
    begin with 0 and another digit, all are codes, as 04.21.

    Examples
    --------
    >>> from fastnn.tabular.texts import meant
    >>> meant([f"{k}.234,5" for k in range(1, 12)], "column 'a' of X", False)[:73]
    "column 'a' of X is of texts, 11 categories, but they look like numbers: '"
    >>> meant([f"{k}" for k in range(20)], "column 'a' of X", False)
    ''
    """
    if len(labels) <= FEW:
        return ""
    texts = [label.strip() for label in labels]
    dates = [text for text in texts if _is_date(text)]
    numbers = [text for text in texts if NUMBER.fullmatch(text) and any(map(str.isdigit, text))]
    if len(dates) >= MOST * len(texts):
        kind, found, fix = "dates", dates, _of_dates(dates)
    elif len(numbers) >= MOST * len(texts) and (mixed or not _are_codes(labels)):
        kind, found, fix = "numbers", numbers, _of_numbers(numbers)
    else:
        return ""
    others = sorted(set(texts) - set(found))
    besides = f", beside {listed(others[:3])}" if others else ""
    return (
        f"{name} is of texts, {len(labels):,} categories, but they look like {kind}: {listed(found[:3])}{besides}. "
        f"Each is a category of its own now; if {kind} are meant, convert the column (here s): {fix}"
    )


def _are_codes(labels: Sequence[str]) -> bool:
    return all(map(WHOLE.fullmatch, labels)) or any(map(CODE.match, labels))


def _is_date(text: str) -> bool:
    parts = BY_NUMBERS.fullmatch(text)
    if parts is None:
        return OTHER_DATES.fullmatch(text) is not None
    low, high = sorted((int(parts[1]), int(parts[3])))
    return 1 <= low <= 12 and high <= 31


def _of_dates(dates: Sequence[str]) -> str:
    parts = [match for match in map(BY_NUMBERS.fullmatch, dates) if match]
    if len(parts) < len(dates):
        return "pandas.to_datetime(s), or polars' s.str.to_datetime()"
    by, year = parts[0][2], "%Y" if len(parts[0][4]) == 4 else "%y"
    day, month = f"%d{by}%m{by}{year}", f"%m{by}%d{by}{year}"
    time = " and the time" if any(match[5] for match in parts) else ""
    if any(int(match[1]) > 12 for match in parts):
        forms = repr(day)
    elif any(int(match[3]) > 12 for match in parts):
        forms = repr(month)
    else:
        forms = f"{day!r} or {month!r}, whichever it is"
    return f"pandas.to_datetime(s, format=...), or polars' s.str.to_datetime(...), with {forms}{time}"


def _of_numbers(numbers: Sequence[str]) -> str:
    column = "s.str.replace('(', '-', regex=False).str" if any(text.startswith("(") for text in numbers) else "s.str"
    plain = all(re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", text, re.IGNORECASE) for text in numbers)
    either = all(re.fullmatch(r"[-+]?\d{1,3}[.,]\d{3}", text) for text in numbers)  # 1.234, or 1,234
    if not plain and not either and any(COMMA.search(text) for text in numbers):
        return (
            f"{column}.replace(r'[^0-9,eE+-]', '', regex=True).str.replace(',', '.').astype(float), or read the file "
            "with decimal=',', thousands='.'"
        )
    fix = (
        "pandas.to_numeric(s, errors='coerce'), or polars' s.cast(float, strict=False)"
        if plain
        else f"{column}.replace(r'[^0-9.eE+-]', '', regex=True).astype(float), or read the file with thousands=','"
    )
    if not either:
        return fix
    if plain:
        return f"{fix}; but s.str.replace('.', '').astype(float), where the point separates thousands"
    return "read the file with decimal=',' or thousands=',', whichever it is"
