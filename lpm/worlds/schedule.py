"""Contacts that change by date: entries of a config, made into one number for each layer and day."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Annotated, Literal

import numpy as np

from lpm.settings import Calendar, Mistake, Number

LAYERS = ("household", "school", "work", "community")
Day = datetime.date | int


@dataclasses.dataclass(frozen=True)
class Change:
    """Contacts of a layer from one day on.

    Args:
        layer: which one.
        from_: first day, a date or the number of a step.
        contacts: relative to before the epidemic: 1 as usual, 0 none.
        to: last day; None for until the next change of this layer that has none either, or the end. A change with a
            last day stands for its days alone.
        why: for people, such as the order that was given.
    """

    layer: Literal["household", "school", "work", "community"]
    from_: Day
    contacts: Annotated[float, Number(0, 10, "relative to usual")]
    to: Day | None = None
    why: str = ""


def contact_table(changes: tuple[Change, ...], calendar: Calendar) -> np.ndarray:
    """Relative contacts of each layer on each day: (days, layers) float32.

    >>> contact_table((Change("school", 2, 0.0),), Calendar(4))[:, 1]
    array([1., 1., 0., 0.], dtype=float32)
    """
    table = np.ones((calendar.steps, len(LAYERS)), np.float32)
    for change in sorted(changes, key=lambda change: calendar.step_of(change.from_)):
        first = max(calendar.step_of(change.from_), 0)
        last = calendar.steps if change.to is None else calendar.step_of(change.to) + 1
        table[first:last, LAYERS.index(change.layer)] = change.contacts
    return table


def check_schedule(changes: tuple[Change, ...], calendar: Calendar, path: tuple[str | int, ...]) -> list[Mistake]:
    """What is wrong with a schedule: days outside the run, ends before beginnings, two values for one day."""
    mistakes: list[Mistake] = []
    spans: list[tuple[int, int, int | None]] = []
    for number, change in enumerate(changes):
        here = (*path, number)
        mistakes += check_days(change.from_, change.to, calendar, here)
        if _undated((change.from_, change.to), calendar):
            continue
        first = calendar.step_of(change.from_)
        last = None if change.to is None else calendar.step_of(change.to)
        for other, other_first, other_last in spans:
            same = changes[other].layer == change.layer
            closed = last is not None and other_last is not None and first <= other_last and other_first <= last
            if same and (first == other_first or closed):
                mistakes.append(
                    Mistake(
                        (*here, "from"),
                        f"asked for one value of layer {change.layer} a day, got {change.from_}, which "
                        f"schedule.{other} sets too; write days that do not overlap",
                    )
                )
        spans.append((number, first, last))
    return mistakes


def check_days(from_: Day, to: Day | None, calendar: Calendar, path: tuple[str | int, ...]) -> list[Mistake]:
    """What is wrong with a span of days: dates where the run has none, days outside it, an end before the beginning.

    Args:
        from_, to: first and last day; None for no last one.
        calendar: of the run.
        path: of the entry that has the keys `from` and `to`.
    """
    undated = _undated((from_, to), calendar)
    if undated:
        asked = f"asked for a day's number, as the run has no start, got {undated[0]}; write one, or `run.start`"
        return [Mistake((*path, "from"), asked)]
    mistakes = []
    first = calendar.step_of(from_)
    span = f"from {calendar.start or 0} to {calendar.end or calendar.steps - 1}"
    if first < 0 or (first >= calendar.steps and not calendar.shortened):
        asked = f"asked for a day of the run ({span}), got {from_}; write one of those"
        mistakes.append(Mistake((*path, "from"), asked))
    if to is not None and calendar.step_of(to) < first:
        asked = f"asked for a day not before {from_}, got {to}; write a later one"
        mistakes.append(Mistake((*path, "to"), asked))
    return mistakes


def _undated(days: tuple[Day | None, ...], calendar: Calendar) -> list[Day]:
    """Dates, if the run has none."""
    return [day for day in days if isinstance(day, datetime.date)] if calendar.start is None else []
