"""Figures and tables as a page in Markdown shows them."""

from __future__ import annotations

import math
from typing import Any


def command(text: str) -> str:
    """A command, as the page shows it."""
    return f"```\n{text}\n```"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table, the first column to the left and figures to the right."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def digits(value: float, figures: int = 2) -> str:
    """A number with so many significant figures and no exponent.

    >>> digits(0.01234), digits(1234.5), digits(58.2)
    ('0.012', '1,200', '58')
    """
    if not value:
        return "0"
    places = figures - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, places):,.{max(places, 0)}f}"


def rate(value: float) -> str:
    """A large number, such as 1.6 × 10⁸."""
    power = math.floor(math.log10(value))
    return f"{value / 10**power:.1f} × 10{str(power).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def spread_ms(seconds: dict[str, Any]) -> str:
    """Median, and in brackets the smallest and the largest, in ms."""
    low, middle, high = (digits(seconds[key] * 1e3, 3) for key in ("min", "median", "max"))
    return f"{middle} ({low}–{high})"
