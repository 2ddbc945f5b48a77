"""Regions side by side: in each, everybody meets everybody of it, at a rate that changes from day to day.

Susceptible, exposed, infectious, recovered, as in `lpm.worlds.seir`, and susceptible again. Each region has as many
agents for a resident as the others. What is reported of it (deaths, or visits for influenza-like illness) is a share of
its infections, and a background that does not come from them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm import Observable, State, chain, initial_state
from lpm.kernels import contagion, random, strata
from lpm.kernels.course import Course, Stage, leave_probabilities, progress
from lpm.kernels.stages import Stages, among, event, move
from lpm.settings import Calendar
from lpm.world import World


@dataclasses.dataclass(frozen=True)
class Settings:
    """What can be set.

    Args:
        residents: of each region.
        labels: of the regions.
        agents: in all; each region has its share, but at least `fewest`.
        latent_days, infectious_days, immune_days: mean dwell times; who was immune can be infected again.
        reports: names of what is reported.
    """

    residents: tuple[float, ...]
    labels: tuple[str, ...]
    agents: int = 100_000
    latent_days: float = 3.0
    infectious_days: float = 5.0
    immune_days: float = 7.0
    reports: tuple[str, ...] = ("deaths",)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Params:
    """What can be calibrated and differentiated, float32.

    Args:
        reproduction: (days, regions) infections that one infectious agent would cause among the susceptible.
        infected: (regions,) share of the agents exposed or infectious at the start.
        immune: (regions,) share of the others recovered at the start.
        share: for each report (days, regions), of those infected that day, how many will be reported.
        background: for each report (regions,), reported each day for each resident, whatever is simulated.
        imported: () infections from outside, 1/day for each susceptible agent.
    """

    reproduction: jax.Array
    infected: jax.Array
    immune: jax.Array
    share: dict[str, jax.Array]
    background: dict[str, jax.Array]
    imported: jax.Array


COURSE = Course(
    (
        Stage("susceptible"),
        Stage("exposed", 1, ("infectious",)),
        Stage("infectious", 1, ("recovered",)),
        Stage("recovered", 1, ("susceptible",)),
    )
)
DWELL = {"exposed": "latent", "infectious": "infectious", "recovered": "immune"}


def first_cases(params: Params, state: State, key: random.Key) -> State:
    """Each agent is exposed, infectious or recovered with the chances of its region."""
    ids, divided, stages = state.fixed["id"], state.fixed["regions"], state.agents["stage"]
    for stage, share in (("recovered", params.immune), ("exposed", params.infected), ("infectious", params.infected)):
        half = share if stage == "recovered" else share / 2
        chance = strata.rates_to_agents(half[:, None], divided)
        word = random.words(random.stream(key, stage), ids)[0]
        stages = move(stages, event(word, chance, among(stages, 0)), COURSE.first(stage))
    return state.replace(stage=stages)


def step(params: Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """One day: agents go on from stage to stage, and the susceptible are infected in their region."""
    fixed, day = state.fixed, state.step
    words = random.words(key, fixed["id"])
    days = {name: fixed[f"{word}_days"] for name, word in DWELL.items()}
    leave = leave_probabilities(COURSE, days)
    after = progress(state.agents["stage"], words, leave, None, COURSE)
    rate = params.reproduction[day] / fixed["infectious_days"]
    infected = contagion.infections(
        random.words(random.stream(key, "infections"), fixed["id"])[0],
        after,
        (contagion.Layer(fixed["mixing"], jnp.float32(1)),),
        susceptible=0,
        infectious=(contagion.Infectious(COURSE.kinds("infectious")),),
        susceptibility=strata.rates_to_agents(rate[:, None], fixed["regions"]),
        outside=params.imported,
    )
    numbers = strata.count_of(infected, fixed["regions"])[:, 0]
    of_residents = fixed["mixing"].population[:, 0]
    info: dict[str, Any] = {"infections": numbers}
    for name, share in params.share.items():
        info[name] = numbers.astype(jnp.float32) * share[day] + params.background[name] * of_residents
    return state.replace(stage=move(after, infected, COURSE.first("exposed"))), info


def reported(name: str) -> Observable:
    """Events of a day by region."""
    return Observable(name, lambda state, info: info[name], ("region",), over="sum")


def build(settings: Settings, calendar: Calendar) -> World:
    """The regions; agents stand sorted by region.

    >>> world = build(Settings((8e5, 2e5), ("A", "B"), 1000), Calendar(10))
    >>> world.agents, world.scale, [each.name for each in world.observables]
    (1000, 0.001, ['infections', 'deaths'])
    """
    residents = np.array(settings.residents)
    scale = settings.agents / residents.sum()
    region = np.repeat(np.arange(len(residents)), np.round(residents * scale).astype(int))
    divided = strata.strata(region, np.zeros(len(region), np.int64), len(residents), 1)
    population = np.bincount(region, minlength=len(residents))[:, None]
    one = jnp.ones((1, 1), jnp.float32)
    fixed = {
        "id": jnp.arange(len(region), dtype=jnp.uint32),
        "regions": divided,
        "mixing": strata.Mixing(
            divided, one, jnp.eye(len(residents), dtype=jnp.float32), jnp.asarray(population, jnp.float32)
        ),
        "latent_days": jnp.float32(settings.latent_days),
        "infectious_days": jnp.float32(settings.infectious_days),
        "immune_days": jnp.float32(settings.immune_days),
    }
    table, row = jnp.ones((calendar.steps, len(residents))), jnp.full(len(residents), 0.001)
    return World(
        model=chain(first_cases, step=step),
        params=Params(
            table,
            row,
            jnp.zeros_like(row),
            {name: table * 0.01 for name in settings.reports},
            {name: jnp.zeros_like(row) for name in settings.reports},
            jnp.float32(0),
        ),
        state=initial_state({"stage": Stages(jnp.zeros(len(region), jnp.uint8), kinds=COURSE.size)}, fixed=fixed),
        observables=(reported("infections"), *(reported(name) for name in settings.reports)),
        coords={"region": settings.labels},
        scale=scale,
        title=f"{len(residents)} regions, {len(region):,} agents",
        notes=("Regions do not infect each other; nobody of a region meets some more than others.",),
    )
