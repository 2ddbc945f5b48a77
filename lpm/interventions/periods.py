"""When measures are in force: their days, and triggers that follow what is observed."""

from __future__ import annotations

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


def days(measures: Iterable[Dated], calendar: Calendar) -> jax.Array:
    """How much of each day measures are in force: (measures, steps) float32, 1 between their first and last day.

    Between 0 and 1 a measure has as much of its effect. So its dates may be turned steadily, as searches do: a first
    day between two is the weighted mean of both.

    >>> from lpm.interventions.settings import Masks
    >>> days([Masks(0.5, from_=1, to=2)], Calendar(4))
    Array([[0., 1., 1., 0.]], dtype=float32)
    """
    rows = []
    for each in measures:
        row = np.zeros(calendar.steps, np.float32)
        last = calendar.steps if each.to is None else calendar.step_of(each.to) + 1
        row[max(calendar.step_of(each.from_), 0) : max(last, 0)] = 1
        rows.append(row)
    return jnp.asarray(np.stack(rows))


def switches(measures: Iterable[Dated], triggers: tuple[Trigger, ...]) -> jax.Array:
    """The number of each measure's trigger, (measures,) int32, -1 for none."""
    names = [trigger.name for trigger in triggers]
    return jnp.array([-1 if each.when is None else names.index(each.when) for each in measures], jnp.int32)


def in_force(dials: dict[str, jax.Array], fixed: dict[str, Any], state: State) -> jax.Array:
    """How much of today measures are in force: (measures,) float32.

    Args:
        dials: of the measures, with their `days`, whose last column holds on.
        fixed: of the measures, with their `switches`.
        state: of the world.
    """
    today = jnp.minimum(state.step, dials["days"].shape[1] - 1)
    dated = dials["days"][:, today]
    if "trigger_on" not in state.env:
        return dated
    on = (fixed["switches"] < 0) | (state.env["trigger_on"][fixed["switches"]] == 1)
    return jnp.where(on, dated, 0)


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
