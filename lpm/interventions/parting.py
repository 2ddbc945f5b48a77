"""From which day on two cities with other schedules, importation or measures may differ.

Studies simulate what scenarios share only once, so a day that is too late would be wrong, and one too early only slow.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from lpm.interventions.settings import Interventions
from lpm.settings import Calendar
from lpm.worlds.schedule import contact_table


def parting(one: Any, other: Any, calendar: Calendar) -> int:
    """The first step in which worlds of these settings may differ; that many steps if they never do.

    Until then all entries of their states that both have are equal, and those that only one has, or has in another
    shape, are as at the start.

    Args:
        one, other: `lpm.worlds.city.Settings`.
        calendar: of both.

    >>> from lpm.worlds.city import Change, Settings
    >>> early, late = (Settings(schedule=(Change("work", day, 0.5),)) for day in (7, 9))
    >>> parting(early, late, Calendar(20))
    7
    """
    rest = [
        dataclasses.replace(each, schedule=(), importation=(), interventions=Interventions()) for each in (one, other)
    ]
    if rest[0] != rest[1] or one.interventions.triggers != other.interventions.triggers:
        return 0  # triggers watch from the first day on
    days = list(_measures(one.interventions, other.interventions, calendar))
    days += _entries(one.importation, other.importation, calendar)
    contacts = (contact_table(one.schedule, calendar) != contact_table(other.schedule, calendar)).any(axis=1)
    days += [int(day) for day in np.flatnonzero(contacts)[:1]]
    return min(max(min(days, default=calendar.steps), 0), calendar.steps)


def _measures(one: Interventions, other: Interventions, calendar: Calendar) -> Iterator[int]:
    """Days from which measures differ."""
    for name in ("orders", "masks", "shielding", "travel"):
        yield from _entries(getattr(one, name), getattr(other, name), calendar)
    if one.vaccination != other.vaccination:
        vaccines = [each.vaccination for each in (one, other) if each.vaccination is not None]
        campaigns = [each.campaigns for each in vaccines]
        alike = len({(dataclasses.replace(each, campaigns=()), len(each.campaigns)) for each in vaccines}) == 1
        if alike and len(vaccines) == 2:
            yield from _entries(campaigns[0], campaigns[1], calendar)
        else:  # what a dose does, or how many stocks there are
            yield from (calendar.step_of(each.from_) for each in itertools.chain(*campaigns))
    tests = [(each.testing, each.quarantine, each.tracing) for each in (one, other)]
    if tests[0][1:] == tests[1][1:] and None not in (tests[0][0], tests[1][0]):
        yield from _entries(tests[0][:1], tests[1][:1], calendar)
    elif tests[0] != tests[1]:  # how long a sample is remembered depends on who is traced
        yield from (calendar.step_of(each.from_) for each in itertools.chain(*tests) if each is not None)


def _entries(one: tuple[Any, ...], other: tuple[Any, ...], calendar: Calendar) -> list[int]:
    """Days from which two lists of dated entries differ, one for each place in them."""
    found = []
    for pair in itertools.zip_longest(one, other):
        if pair[0] == pair[1]:
            continue
        there = [each for each in pair if each is not None]
        if len(there) == 2 and dataclasses.replace(there[0], to=None) == dataclasses.replace(there[1], to=None):
            lasts = [calendar.steps if each.to is None else calendar.step_of(each.to) + 1 for each in there]
            found.append(max(min(lasts), calendar.step_of(there[0].from_)))
        else:
            found.append(min(calendar.step_of(each.from_) for each in there))
    return found
