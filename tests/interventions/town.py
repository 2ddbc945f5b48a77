"""A small city with every measure, each of them idle until a test asks for it: all share one compiled step."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

import lpm
from lpm import Calendar, Observable, World
from lpm.interventions import (
    Campaign,
    Interventions,
    Masks,
    Order,
    Quarantine,
    Shielding,
    Testing,
    Tracing,
    Travel,
    Trigger,
    Vaccination,
)
from lpm.worlds import city
from tests.laws.worlds import CITY, STAGES, TALLY

STEPS, BEGINS = 30, 12
CALENDAR = Calendar(STEPS)
SHARE = 3001 / city.FULL_SIZE["new-york-city"]  # agents for each real person
NEVER = "never"  # a trigger that is never on

IDLE = Interventions(
    orders=(Order("stay_at_home", compliance=0.0),),
    masks=(Masks(0.0),),
    shielding=(Shielding(compliance=0.0),),
    travel=(Travel(1.0),),
    vaccination=Vaccination((Campaign(0.0),), delay=3, half_life=60.0),
    testing=Testing(symptomatic=0.0, capacity=100 / SHARE),
    quarantine=Quarantine(compliance=0.0),
    tracing=Tracing(compliance=0.0),
    triggers=(Trigger(NEVER, "critical", 1e9, 0.0),),
)
TESTS = Testing(BEGINS, symptomatic=0.9, screening=0.1, delay=1, capacity=100 / SHARE)

# Each measure alone, strong, from one day on.
ACTIVE: dict[str, dict[str, Any]] = {
    "orders": {"orders": (Order("close_schools", BEGINS),)},
    "masks": {"masks": (Masks(1.0, BEGINS, efficacy=0.9),)},
    "shielding": {"shielding": (Shielding(("20-29", "30-39"), BEGINS, contacts=0.0, compliance=1.0),)},
    "travel": {"travel": (Travel(0.0, BEGINS, replaced=0.0),)},
    "vaccination": {"vaccination": Vaccination((Campaign(300 / SHARE, BEGINS),), delay=0, half_life=60.0)},
    "testing": {"testing": TESTS},
    "quarantine": {"testing": TESTS, "quarantine": Quarantine(compliance=1.0)},
    "tracing": {"testing": TESTS, "tracing": Tracing(compliance=1.0, delay=1)},
    "trigger": {
        "orders": (Order("stay_at_home", when="full"),),
        "triggers": (Trigger("full", "hospitalised", 10 / SHARE, 5 / SHARE, 2),),
    },
}


def asked(**changes: Any) -> Interventions:
    return dataclasses.replace(IDLE, **changes)


@functools.cache
def built(interventions: Interventions) -> World:
    return city.build(dataclasses.replace(CITY, interventions=interventions), CALENDAR)


def entry(name: str) -> Observable:
    return Observable(name + "_of_each", lambda state, info: state.agents[name])


ENTRIES = tuple(entry(name) for name in ("dosed", "tested", "quarantine"))
CONTACTS = tuple(
    Observable(name, lambda state, info, name=name: state.env[name])
    for name in ("contacts", "community_ages", "community_regions", "trigger_on", "trigger_days")
)


def simulated(world: World, seed: int = 1) -> dict[str, np.ndarray]:
    """All observables, everybody's stage and every byte of the measures, day by day."""
    own = tuple(each for each in ENTRIES if each.name.removesuffix("_of_each") in world.state.agents)
    env = tuple(each for each in CONTACTS if each.name in world.state.env)
    observe = (*world.observables, TALLY, STAGES, *own, *env)
    _, seen = lpm.simulate(world.model, world.params, world.state, lpm.key(seed), steps=STEPS, observe=observe)
    return jax.device_get(seen)


@functools.cache
def seen(interventions: Interventions) -> dict[str, np.ndarray]:
    return simulated(built(interventions))


@functools.cache
def baseline() -> dict[str, np.ndarray]:
    """The city without any measure."""
    return simulated(city.build(CITY, CALENDAR))
