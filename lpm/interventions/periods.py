"""When measures are in force: their days, and triggers that follow what is observed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lpm.interventions.settings import Trigger
from lpm.kernels import random
from lpm.kernels.stages import Stages, among, number, plain
from lpm.settings import Calendar
from lpm.state import State
from lpm.worlds.schedule import Day

VARIABLES = {"hospitalised": ("hospitalised", "critical"), "critical": ("critical",), "symptomatic": ("symptomatic",)}


class Dated(Protocol):
    """A measure with days and perhaps a trigger."""

    @property
    def from_(self) -> Day: ...
    @property
    def to(self) -> Day | None: ...
    @property
    def when(self) -> str | None: ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Periods:
    """The days of some measures.

    Args:
        days: (measures, steps) uint8, 1 on days between the first and the last; the last column holds on.
        trigger: (measures,) int32, number of the trigger, -1 for none.
    """

    days: jax.Array
    trigger: jax.Array


def periods(measures: Iterable[Dated], calendar: Calendar, triggers: tuple[Trigger, ...]) -> Periods:
    """The days of measures as their settings say.

    >>> from lpm.interventions.settings import Masks
    >>> periods([Masks(0.5, from_=1, to=2)], Calendar(4), ()).days
    Array([[0, 1, 1, 0]], dtype=uint8)
    """
    names = [trigger.name for trigger in triggers]
    rows, numbers = [], []
    for each in measures:
        row = np.zeros(calendar.steps, np.uint8)
        last = calendar.steps if each.to is None else calendar.step_of(each.to) + 1
        row[max(calendar.step_of(each.from_), 0) : max(last, 0)] = 1
        rows.append(row)
        numbers.append(-1 if each.when is None else names.index(each.when))
    return Periods(jnp.asarray(np.stack(rows)), jnp.asarray(np.array(numbers, np.int32)))


def in_force(measures: Periods, state: State) -> jax.Array:
    """Which measures are in force today: (measures,) bool."""
    today = jnp.minimum(state.step, measures.days.shape[1] - 1)
    dated = measures.days[:, today] == 1
    if "trigger_on" not in state.env:
        return dated
    return dated & ((measures.trigger < 0) | (state.env["trigger_on"][measures.trigger] == 1))


def watch(params: Any, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """Triggers look at the evening before and switch on or off.

    A trigger that is off counts the days in a row with more than `above` people, one that is on those with fewer than
    `below`; when it has counted `days` of them, it switches.
    """
    stages: Stages = plain(state.agents["stage"])
    course, fixed, dials = state.fixed["course"], state.fixed["triggers"], params.interventions["triggers"]
    seen = [number(among(stages, *course.kinds(*names))) for names in VARIABLES.values()]
    value = jnp.stack(seen)[fixed["variable"]].astype(jnp.float32)
    on = state.env["trigger_on"]
    counts = jnp.where(on == 1, value < dials["below"], value > dials["above"])
    days = jnp.where(counts, state.env["trigger_days"] + 1, 0)
    switches = days >= fixed["days"]
    return state.replace(trigger_on=jnp.where(switches, 1 - on, on), trigger_days=jnp.where(switches, 0, days)), {
        "trigger_on": on
    }
