"""Outcomes and unit costs: read from a study's file, and computed from curves."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable
from typing import Literal

import numpy as np

from lpm.interventions import COUNTED
from lpm.observe import Observable

Kind = Literal["total", "peak", "days"]
WORDS = {"peak of ": "peak", "days of ": "days"}
OVER = "days_over_capacity"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A number that is made of an observable's course.

    Args:
        kind: total (the sum of events), peak (the largest record), days (spent by all people together).
        variable: the observable.
        label: for people.
    """

    kind: Kind
    variable: str
    label: str

    @property
    def id(self) -> str:
        """A name for variables and columns: deaths, peak_of_hospitalised."""
        return self.variable if self.kind == "total" else f"{self.kind}_of_{self.variable}"

    @property
    def used(self) -> bool:
        """Whether it is what measures use, such as doses, and no burden."""
        return self.variable in COUNTED

    @property
    def word(self) -> str:
        """What its difference from the baseline is called."""
        return "more" if self.used else "averted"

    @property
    def difference(self) -> str:
        """The name of its difference from the baseline: averted_deaths, more_tests."""
        return f"{self.word}_{self.id}"

    def of(self, curve: np.ndarray, every: int) -> np.ndarray:
        """The outcome of each course.

        Args:
            curve: (realizations, records, ...), people.
            every: days in a record.
        Returns:
            (realizations, ...) float64.

        >>> Outcome("peak", "ill", "").of(np.array([[1.0, 4.0, 2.0]]), 1), Outcome("days", "ill", "").of(
        ...     np.array([[1.0, 4.0, 2.0]]), 7
        ... )
        (array([4.]), array([49.]))
        """
        if self.kind == "peak":
            return curve.max(axis=1)
        return curve.sum(axis=1) * (every if self.kind == "days" else 1)


@dataclasses.dataclass(frozen=True)
class UnitCost:
    """What one unit of an outcome costs, in the study's currency."""

    outcome: Outcome
    amount: float
    label: str


def days_over(curve: np.ndarray, beds: float, every: int) -> np.ndarray:
    """Days on which a course, (realizations, records), is above the number of beds.

    >>> days_over(np.array([[1, 5, 6, 2]]), 4, 1)
    array([2])
    """
    return (curve > beds).sum(axis=1) * every


def outcome(text: str, observables: Iterable[Observable]) -> Outcome:
    """The outcome that a text names.

    Raises:
        ValueError: what was asked, got, and what to write.

    >>> flow = Observable("deaths", lambda state, info: 0, over="sum")
    >>> outcome("peak of deaths", [flow]).id
    'peak_of_deaths'
    """
    known = {observable.name: observable for observable in observables}
    prefix = next((words for words in WORDS if text.startswith(words)), "")
    name = text.removeprefix(prefix).strip()
    if name not in known:
        raise ValueError(f"asked for an observable of the base, got {name!r}; {_advice(name, known)}")
    observable = known[name]
    flow = observable.over == "sum"
    words = observable.long_name or name.replace("_", " ")
    if not prefix and not flow:
        raise ValueError(
            f"asked for events that can be added up, got {name}, which counts who is present; "
            f"write `peak of {name}` or `days of {name}`"
        )
    if prefix == "days of " and flow:
        raise ValueError(f"asked for who is present, got {name}, which are events; write `{name}`")
    if not prefix:
        return Outcome("total", name, words)
    if prefix == "peak of ":
        return Outcome("peak", name, f"peak of {words}")
    return Outcome("days", name, f"person-days, {words}")


def _advice(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"write {f'`{near[0]}`' if near else 'a known one'} (known: {', '.join(known)})"


def usual(observables: Iterable[Observable]) -> tuple[Outcome, ...]:
    """All totals and all peaks of a world."""
    observables = tuple(observables)
    totals = [outcome(each.name, observables) for each in observables if each.over == "sum"]
    return (*totals, *(outcome(f"peak of {each.name}", observables) for each in observables if each.over != "sum"))


def costed(text: str, observables: Iterable[Observable]) -> Outcome:
    """The outcome that `per admission` or `per day of hospitalised` speaks of.

    Raises:
        ValueError: what was asked, got, and what to write.

    >>> flow = Observable("admissions", lambda state, info: 0, over="sum")
    >>> costed("per admission", [flow]).id
    'admissions'
    """
    observables = tuple(observables)
    words = text.removeprefix("per ").strip()
    if words == text or not words:
        raise ValueError(f"asked for what the cost is of, got {text!r}; write for example `per admission: 12000 USD`")
    if words.startswith("day of "):
        return outcome(f"days of {words.removeprefix('day of ')}", observables)
    names = [each.name for each in observables]
    return outcome(next((name for name in (words, f"{words}s") if name in names), words), observables)


def money(value: object) -> tuple[float, str]:
    """An amount and its currency.

    Raises:
        ValueError: what was asked, got, and what to write.

    >>> money("12_000 USD"), money("-1.5e9 EUR")
    ((12000.0, 'USD'), (-1500000000.0, 'EUR'))
    """
    text = str(value).strip()
    match = re.fullmatch(r"([-+]?[\d_]+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*([^\W\d_]{1,12}|[€$£¥])", text)
    try:
        amount = float(match[1]) if match else math.nan
    except ValueError:
        amount = math.nan
    if match is None or not math.isfinite(amount):
        plain = re.fullmatch(r"[-+]?[\d_.eE+-]+", text)
        example = f"{text} USD" if plain else "12000 USD"
        raise ValueError(
            f"asked for an amount with its currency, got {text!r}; write for example `{example}`, digits without commas"
        )
    return amount, match[2]
