"""Infections from outside: entries of a config, made into one number for each day."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np

from lpm.settings import Calendar, Number
from lpm.worlds.schedule import Day


@dataclasses.dataclass(frozen=True)
class Importation:
    """Infections from outside.

    Args:
        per_day: infections a day in the whole city at its full size; a smaller one gets its share.
        from_: first day, a date or the number of a step.
        to: last day; None for the last of the run.
    """

    per_day: Annotated[float, Number(0, None, "infections a day")] = 10.0
    from_: Day = 0
    to: Day | None = None


def imports(periods: tuple[Importation, ...], calendar: Calendar) -> np.ndarray:
    """Infections from outside on each day, (days,) float32."""
    table = np.zeros(calendar.steps, np.float32)
    for period in periods:
        last = calendar.steps if period.to is None else calendar.step_of(period.to) + 1
        table[max(calendar.step_of(period.from_), 0) : max(last, 0)] += period.per_day
    return table


def few_imports(expected: float) -> tuple[str, ...]:
    """A caution if so few infections come from outside that an epidemic may not begin at all."""
    if not 0 < expected < 20:
        return ()
    return (
        f"only {expected:.2g} infections are expected to come from outside, in proportion to the people simulated: "
        "whether and when an epidemic begins is left to chance. Simulate more people (--agents); raising "
        "settings.importation.0.per_day starts it earlier than in the whole city, so that it no longer meets the data",
    )
