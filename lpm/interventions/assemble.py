"""What a world needs for its interventions, and only for those: substeps, dials, bytes for each agent, tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm.interventions import contacts, testing, vaccination
from lpm.interventions.periods import VARIABLES, days, switches, watch
from lpm.interventions.settings import PUPILS_CONTACTS, Interventions, Testing, Trigger
from lpm.kernels import strata
from lpm.kernels.stages import Indicator
from lpm.model import Substep
from lpm.observe import Observable
from lpm.settings import Calendar
from lpm.state import State
from lpm.worlds.schedule import LAYERS


@dataclasses.dataclass(frozen=True)
class Parts:
    """Parts of a world.

    Args:
        first: substeps before the course of the disease.
        then: substeps between the course and infection.
        params: dials by measure, float32.
        agents, env, fixed: entries of the state.
        observables: what the measures count.
    """

    first: dict[str, Substep] = dataclasses.field(default_factory=dict)
    then: dict[str, Substep] = dataclasses.field(default_factory=dict)
    params: dict[str, dict[str, jax.Array]] = dataclasses.field(default_factory=dict)
    agents: dict[str, jax.Array] = dataclasses.field(default_factory=dict)
    env: dict[str, jax.Array] = dataclasses.field(default_factory=dict)
    fixed: dict[str, Any] = dataclasses.field(default_factory=dict)
    observables: tuple[Observable, ...] = ()

    @property
    def unfollowed(self) -> tuple[str, ...]:
        """Paths of dials, from the measure on, whose derivative no rule follows."""
        return tuple(f"{name}.{dial}" for name in self.params for dial in UNFOLLOWED.get(name, ()))


# Dials that decide who is served, found or switched, by counts and comparisons that carry no derivative.
UNFOLLOWED = {
    "vaccination": ("doses", "uptake", "days"),
    "testing": ("symptomatic", "screening", "sensitivity", "specificity", "compliance", "capacity", "days"),
    "quarantine": ("compliance", "days"),
    "tracing": ("household", "place", "close", "compliance", "days"),
    "triggers": ("above", "below"),
}


def _by_stratum(who: Callable[[State, dict[str, Any]], jax.Array]) -> Callable[[State, dict[str, Any]], jax.Array]:
    return lambda state, info: strata.count_of(Indicator(who(state, info)), state.fixed["community"].strata)


def _observable(name: str, who: Callable[[State, dict[str, Any]], jax.Array], long_name: str, over: Any) -> Observable:
    return Observable(name, _by_stratum(who), ("region", "age"), "1", long_name, over)


# Made once, so that worlds built from other settings share a compiled step.
DOSES = _observable("doses", lambda state, info: info["dosed"].value, "vaccine doses given", "sum")
TESTS = _observable("tests", lambda state, info: info["sampled"].value, "samples taken for a test", "sum")
POSITIVES = _observable("positives", lambda state, info: info["found"].value, "positive results of tests", "sum")
ISOLATED = _observable("isolated", lambda state, info: testing.isolated(state), "people isolating", "last")
QUARANTINED = _observable(
    "quarantined", lambda state, info: testing.quarantined(state), "people in quarantine as contacts", "last"
)
TRACED = _observable("traced", lambda state, info: info["traced"].value, "contacts reached who stay at home", "sum")
USED = (DOSES, TESTS, POSITIVES, ISOLATED, QUARANTINED, TRACED)  # what measures use
COUNTED = tuple(each.name for each in USED)


def parts(
    asked: Interventions, calendar: Calendar, fixed: dict[str, Any], regions: tuple[str, ...],
    bands: tuple[str, ...], scale: float,
) -> Parts:  # fmt: skip
    """The parts that the settings ask for; empty for none.

    Args:
        asked: the settings, checked.
        calendar: of the run.
        fixed: of the world, with the id and `community`.
        regions, bands: their names.
        scale: agents for each real person.
    """
    made = Parts()
    agents = fixed["id"].shape[0]
    if asked.triggers:
        _add_triggers(made, asked.triggers, scale)
    _add_contacts(made, asked, calendar, fixed, regions, bands)
    found: tuple[Observable, ...] = ()
    if asked.vaccination is not None:
        _add_vaccination(made, asked, calendar, regions, bands, agents, scale)
        found += (DOSES,)
    if asked.testing is not None:
        _add_testing(made, asked, asked.testing, calendar, agents, scale)
        found += (TESTS, POSITIVES, ISOLATED)
        if asked.quarantine is not None or asked.tracing is not None:
            _add_quarantine(made, asked, calendar, agents)
            found += (QUARANTINED,) if asked.tracing is None else (QUARANTINED, TRACED)
    return dataclasses.replace(made, observables=found)


def _floats(measures: Any, *names: str, scale: float = 1.0) -> dict[str, jax.Array]:
    """Fields of one measure, () float32, or of several, (measures,) float32."""
    if not isinstance(measures, tuple):
        return {name: jnp.float32(getattr(measures, name) * scale) for name in names}
    return {name: jnp.array([getattr(each, name) * scale for each in measures], jnp.float32) for name in names}


def _add_triggers(made: Parts, triggers: tuple[Trigger, ...], scale: float) -> None:
    made.first["triggers"] = watch
    made.params["triggers"] = _floats(triggers, "above", "below", scale=scale)
    made.env["trigger_on"] = jnp.zeros(len(triggers), jnp.uint8)
    made.env["trigger_days"] = jnp.zeros(len(triggers), jnp.int32)
    made.fixed["triggers"] = {
        "variable": jnp.array([list(VARIABLES).index(each.variable) for each in triggers], jnp.int32),
        "days": jnp.array([each.days for each in triggers], jnp.int32),
    }


def _add_contacts(
    made: Parts,
    asked: Interventions,
    calendar: Calendar,
    fixed: dict[str, Any],
    regions: tuple[str, ...],
    bands: tuple[str, ...],
) -> None:
    tables: dict[str, tuple[Any, str, Callable[[], np.ndarray], tuple[str, ...]]] = {
        "orders": (asked.orders, "effect", lambda: contacts.order_effects(asked.orders), ("compliance",)),
        "masks": (asked.masks, "worn", lambda: contacts.worn(asked.masks), ("wearing", "efficacy")),
        "shielding": (
            asked.shielding, "who", lambda: contacts.shielded(asked.shielding, bands), ("contacts", "compliance")),
        "travel": (asked.travel, "border", lambda: contacts.borders(asked.travel, regions), ("contacts", "replaced")),
    }  # fmt: skip
    for name, (measures, key, table, dials) in tables.items():
        if measures:
            made.params[name] = _floats(measures, *dials) | {"days": days(measures, calendar)}
            place = made.params if name == "orders" else made.fixed
            made.fixed[name] = {"switches": switches(measures, asked.triggers)}
            place[name] |= {key: jnp.asarray(table())}
    if asked.orders or asked.masks:
        made.env["contacts"] = jnp.ones(len(LAYERS), jnp.float32)
    school = any(each.order in PUPILS_CONTACTS for each in asked.orders)
    if school:
        made.fixed["orders"] |= {"pupils": jnp.asarray(contacts.pupils(asked.orders, bands))}
    if asked.shielding or school:
        made.env["community_ages"] = fixed["community"].ages
    if asked.travel:
        made.env["community_regions"] = fixed["community"].regions
    if asked.orders or asked.masks or asked.shielding or asked.travel:
        made.first["contacts"] = contacts.change_contacts


def _add_vaccination(
    made: Parts,
    asked: Interventions,
    calendar: Calendar,
    regions: tuple[str, ...],
    bands: tuple[str, ...],
    agents: int,
    scale: float,
) -> None:
    vaccine = asked.vaccination
    assert vaccine is not None
    campaigns = vaccine.campaigns
    made.then["vaccination"] = vaccination.vaccinate
    made.params["vaccination"] = {
        "doses": jnp.array([each.doses_per_day * scale for each in campaigns], jnp.float32),
        **_floats(vaccine, "uptake", "against_infection", "against_disease"),
        **({} if vaccine.half_life is None else _floats(vaccine, "half_life")),
        "days": days(campaigns, calendar),
    }
    made.agents["dosed"] = jnp.zeros(agents, jnp.uint16)  # day of the dose plus one; 0 for none
    made.env["vaccine_stock"] = jnp.zeros(len(campaigns), jnp.float32)
    made.fixed["vaccination"] = {
        "switches": switches(campaigns, asked.triggers),
        "order": jnp.asarray(vaccination.priorities(campaigns, regions, bands)),
        "delay": jnp.int32(vaccine.delay),
    }


def _add_testing(
    made: Parts, asked: Interventions, tests: Testing, calendar: Calendar, agents: int, scale: float
) -> None:
    result = tests.delay + 1  # the clock on the day of the result; it is 1 on the day of the sample
    reached = result + (asked.tracing.delay if asked.tracing else 0)
    made.then["testing"] = testing.take_tests
    made.params["testing"] = _floats(
        tests, "symptomatic", "screening", "sensitivity", "specificity", "compliance", "household"
    ) | {"days": days([tests], calendar)}
    made.agents["tested"] = jnp.zeros(agents, jnp.uint8)
    made.fixed["testing"] = {
        "switches": switches([tests], asked.triggers),
        "result": jnp.uint8(result),
        "days": jnp.uint8(tests.days),
        "last_positive": jnp.uint8(max(result + tests.days - 1, reached)),
        "last_negative": jnp.uint8(max(result, tests.again)),
    }
    if tests.capacity is not None:
        made.params["testing"] |= _floats(tests, "capacity", scale=scale)
        made.env["tests_left"] = jnp.float32(0)


def _add_quarantine(made: Parts, asked: Interventions, calendar: Calendar, agents: int) -> None:
    made.agents["quarantine"] = jnp.zeros(agents, jnp.uint8)
    made.first["quarantine"] = testing.count_down
    if asked.quarantine is not None:
        made.then["household_quarantine"] = testing.quarantine_households
        made.params["quarantine"] = _floats(asked.quarantine, "compliance", "household")
        made.params["quarantine"] |= {"days": days([asked.quarantine], calendar)}
        made.fixed["quarantine"] = {
            "switches": switches([asked.quarantine], asked.triggers),
            "days": jnp.uint8(asked.quarantine.days),
        }
    if asked.tracing is not None:
        made.then["tracing"] = testing.trace
        made.params["tracing"] = _floats(asked.tracing, "household", "place", "close", "compliance")
        made.params["tracing"] |= {"days": days([asked.tracing], calendar)}
        made.fixed["tracing"] = {
            "switches": switches([asked.tracing], asked.triggers),
            "delay": jnp.uint8(asked.tracing.delay),
            "days": jnp.uint8(asked.tracing.days),
        }
