"""Mistakes in the settings of interventions that no single value shows, each at its line."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterator
from typing import Any

from lpm.interventions.settings import Interventions
from lpm.interventions.vaccination import DAYS
from lpm.settings import Calendar, Mistake

Path = tuple[str | int, ...]


def check(
    asked: Interventions, calendar: Calendar, bands: tuple[str, ...], regions: tuple[str, ...] | None
) -> list[Mistake]:
    """What is wrong: days outside the run, names of no band, region or trigger, contacts without tests.

    Args:
        asked: the settings.
        calendar: of the run.
        bands: of age.
        regions: None where they are not known yet.
    """
    mistakes = [mistake for path, each in _measures(asked) for mistake in _days(each, calendar, path)]
    names = [trigger.name for trigger in asked.triggers]
    for path, each in _measures(asked):
        if each.when is not None and each.when not in names:
            there = f"one of {', '.join(names)}" if names else "a trigger under `triggers`"
            mistakes.append(_said((*path, "when"), "the name of a trigger", each.when, there))
        for label in getattr(each, "ages", ()):
            if label not in bands:
                mistakes.append(_said((*path, "ages"), "bands of age", label, f"some of {', '.join(bands)}"))
        for label in getattr(each, "regions", ()):
            if regions is not None and label not in regions:
                mistakes.append(_said((*path, "regions"), "regions", label, f"some of {', '.join(regions)}"))
        for key in ("ages", "regions"):
            labels = getattr(each, key, ())
            twice = next((label for label in labels if labels.count(label) > 1), None)
            if twice is not None:
                mistakes.append(_said((*path, key), "each once", f"{twice} twice", "it once"))
    if asked.vaccination is not None and calendar.steps > DAYS:
        got = f"one of {calendar.steps:,} days"
        mistakes.append(
            _said(("vaccination",), "a run in which the days of doses are told apart", got, f"run.steps: {DAYS}")
        )
    return mistakes + list(_together(asked, names)) + list(_twice(asked, calendar))


def _measures(asked: Interventions) -> Iterator[tuple[Path, Any]]:
    """Everything that has days, and where it stands."""
    for name in ("orders", "masks", "shielding", "travel"):
        yield from (((name, number), each) for number, each in enumerate(getattr(asked, name)))
    if asked.vaccination is not None:
        for number, each in enumerate(asked.vaccination.campaigns):
            yield ("vaccination", "campaigns", number), each
    for name in ("testing", "quarantine", "tracing"):
        if getattr(asked, name) is not None:
            yield (name,), getattr(asked, name)


def _said(path: Path, asked: str, got: object, write: str) -> Mistake:
    return Mistake(path, f"asked for {asked}, got {got}; write {write}")


def _days(each: Any, calendar: Calendar, path: Path) -> Iterator[Mistake]:
    undated = [day for day in (each.from_, each.to) if isinstance(day, datetime.date)]
    if undated and calendar.start is None:
        yield _said((*path, "from"), "a day's number, as the run has no start", undated[0], "one, or `run.start`")
        return
    first = calendar.step_of(each.from_)
    if first < 0 or (first >= calendar.steps and not calendar.shortened):
        span = f"from {calendar.start or 0} to {calendar.end or calendar.steps - 1}"
        yield _said((*path, "from"), f"a day of the run ({span})", each.from_, "one of those")
    if each.to is not None and calendar.step_of(each.to) < first:
        yield _said((*path, "to"), f"a day not before {each.from_}", each.to, "a later one")


def _twice(asked: Interventions, calendar: Calendar) -> Iterator[Mistake]:
    """One measure for the same people on the same days in two entries: their effects would multiply."""

    def last(each: Any) -> float:
        return math.inf if each.to is None else calendar.step_of(each.to)

    for name, of in _SAME.items():
        entries = getattr(asked, name)
        for number, each in enumerate(entries):
            dates = [day for day in (each.from_, each.to) if isinstance(day, datetime.date)]
            if dates and calendar.start is None:
                return  # told already
            for before, other in enumerate(entries[:number]):
                shared = [what for what in of(each) if what in of(other)]
                begins, ends = (
                    max(calendar.step_of(one.from_) for one in (each, other)), min(last(each), last(other))
                )  # fmt: skip
                if shared and begins <= ends and each.when == other.when:
                    yield _said(
                        (name, number, "from"), f"{shared[0]} in one entry a day",
                        f"days that {name}.{before} has too, so that both would count", "days that do not overlap",
                    )  # fmt: skip


# What an entry is for; entries of other things may be in force together.
_SAME: dict[str, Callable[[Any], tuple[str, ...]]] = {
    "orders": lambda each: (each.order,),
    "masks": lambda each: tuple(
        f"masks in the layer {at}" for at in ("school", "work", "community") if getattr(each, at)
    ),
    "shielding": lambda each: tuple(f"shielding of {age}" for age in each.ages),
}


def _together(asked: Interventions, names: list[str]) -> Iterator[Mistake]:
    """What does not go with what."""
    for number, trigger in enumerate(asked.triggers):
        if trigger.below > trigger.above:
            yield _said(
                ("triggers", number, "below"), f"at most `above` ({trigger.above:g})", f"{trigger.below:g}", "less"
            )
        if names.index(trigger.name) != number:
            yield _said(("triggers", number, "name"), "different names", f"{trigger.name} twice", "another")
    for name in ("quarantine", "tracing"):
        if getattr(asked, name) is not None and asked.testing is None:
            yield _said((name,), "`testing` too, since those found by tests have contacts", "none", "`testing: {}`")
    if asked.vaccination is not None and not asked.vaccination.campaigns:
        yield _said(
            ("vaccination", "campaigns"), "a campaign or more", "none", "`- {from: 2020-04-01, doses_per_day: 50000}`"
        )
