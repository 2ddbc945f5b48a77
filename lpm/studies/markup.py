"""Texts, numbers and tables as HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

import numpy as np

from lpm.studies.compare import summary


def text(value: object) -> str:
    """Escaped; and no address that a mail program would turn into a link."""
    return html.escape(str(value)).replace("://", ":&#47;&#47;")


def number(value: float) -> str:
    """A number to three digits, as one reads it, with a true minus; the CSV file has all digits.

    >>> number(-1234567.8), number(20345.2), number(0.01234), number(-0.0), number(float("nan"))
    ('−1.23 million', '20,300', '0.0123', '0', '–')
    """
    if math.isnan(value):
        return "–"
    size = float(f"{abs(value):.3g}")
    if size >= 1e6:
        scale, word = (1e9, "billion") if size >= 1e9 else (1e6, "million")
        digits = f"{size / scale:,.4g} {word}"
    else:
        digits = f"{size:,.0f}" if size >= 100 or size == round(size) else f"{size:.3g}"
    return "−" + digits if value < 0 and size else digits


def cell(values: np.ndarray) -> str:
    """Median, and below it the middle 90 %."""
    found = summary(values)
    if found.n < 2:
        return f"<b>{number(found.median)}</b>"
    return interval(number(found.median), number(found.quantiles[1]), number(found.quantiles[5]))


def interval(middle: str, low: str, high: str) -> str:
    """A number, and below it between which it lies, on two lines at most."""
    return f"<b>{middle}</b><span><i>{low} to</i> <i>{high}</i></span>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Cells are HTML; the first columns hold texts."""

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="text"' if place < texts else "" for place in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{k}>{c}</{tag}>" for c, k in zip(cells, kinds, strict=True)) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table><thead>{line(head, "th")}</thead><tbody>{body}</tbody></table></div>'
