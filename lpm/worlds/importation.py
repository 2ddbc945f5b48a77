"""Infections from outside: entries of a config, made into one number for each day."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np

from lpm.settings import Calendar, Mistake, Number
from lpm.worlds.schedule import Day, check_days


@dataclasses.dataclass(frozen=True)
class Importation:
    """Infections from outside.

    Args:
        per_day: infections a day in the whole city at its full size; a smaller one gets its share.
        from_: first day, a date or the number of a step.
        to: last day; None for the last of the run.
        region: where they live; None for all alike.
    """

    per_day: Annotated[float, Number(0, None, "infections a day")] = 10.0
    from_: Day = 0
    to: Day | None = None
    region: str | None = None


def imports(periods: tuple[Importation, ...], calendar: Calendar) -> np.ndarray:
    """Infections from outside on each day, (days,) float32."""
    table = np.zeros(calendar.steps, np.float32)
    for period in periods:
        last = calendar.steps if period.to is None else calendar.step_of(period.to) + 1
        table[max(calendar.step_of(period.from_), 0) : max(last, 0)] += period.per_day
    return table


def import_rates(
    periods: tuple[Importation, ...], calendar: Calendar, regions: tuple[str, ...], population: np.ndarray
) -> np.ndarray:
    """Infections from outside a day and person: (days,) float32, or (days, regions) if any of them has a region.

    >>> some = (Importation(2.0, 0, 0), Importation(3.0, 1, 1, "b"))
    >>> import_rates(some, Calendar(2), ("a", "b"), np.array([10, 30])).round(3)
    array([[0.05, 0.05],
           [0.  , 0.1 ]], dtype=float32)

    Args:
        periods: what the settings say.
        calendar: of the run.
        regions: their names.
        population: (regions,) people at full size.
    """
    alike = imports(tuple(each for each in periods if each.region is None), calendar) / round(population.sum())
    if all(each.region is None for each in periods):
        return alike
    own = [imports(tuple(each for each in periods if each.region == name), calendar) for name in regions]
    return (alike[:, None] + np.stack(own, axis=1) / population).astype(np.float32)


def check_imports(
    periods: tuple[Importation, ...], calendar: Calendar, regions: tuple[str, ...] | None
) -> list[Mistake]:
    """Days that make no span of the run, and unknown regions; none is known yet if `regions` is None."""
    mistakes: list[Mistake] = []
    for number, each in enumerate(periods):
        mistakes += check_days(each.from_, each.to, calendar, ("importation", number))
    return mistakes + [
        Mistake(
            ("importation", number, "region"),
            f"asked for a region ({', '.join(regions or ())}), got {each.region!r}; write one of them",
        )
        for number, each in enumerate(periods)
        if regions is not None and each.region is not None and each.region not in regions
    ]


def few_imports(expected: float) -> tuple[str, ...]:
    """A caution if so few infections come from outside that an epidemic may not begin at all."""
    if not 0 < expected < 20:
        return ()
    told = "1 infection is" if round(expected, 1) == 1 else f"{expected:.2g} infections are"
    return (
        f"only {told} expected to come from outside, in proportion to the people simulated: "
        "whether and when an epidemic begins is left to chance. Simulate more people (--agents); raising "
        "settings.importation.0.per_day starts it earlier than in the whole city, so that it no longer meets the data",
    )
