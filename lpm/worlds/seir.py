"""Susceptible, exposed, infectious, recovered: an epidemic over one network, with a latent period.

As `lpm.worlds.sir`, but who is infected is exposed first, for a gamma-like time with the mean and deviation given, and
infectious for another (Anderson & May 1991, chapter 3; chains of phases: Lloyd 2001, Theor. Popul. Biol. 60).
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from lpm import Observable, State, building, chain, initial_state
from lpm.kernels import contagion, hazards, random, ranks
from lpm.kernels.course import Course, Stage, entered, leave_probabilities, progress
from lpm.kernels.stages import Stages, among, chosen, move, number
from lpm.settings import Calendar, Days, Fraction, Mistake, Number, Positive, Rate
from lpm.world import World
from lpm.worlds.contacts import Contacts, check_contacts, network

Deviation = Annotated[float, Number(0, None, "days")]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What can be set.

    Args:
        agents: how many.
        contacts: who meets whom.
        transmission: 1/day; over a network per contact, if well mixed per infectious agent.
        latent_days, latent_deviation: mean and standard deviation of the time from infection to infectiousness.
        infectious_days, infectious_deviation: likewise, of infectiousness.
        initial: share of the agents infectious on the first day; the number is rounded, but to at least one.
    """

    agents: Positive = 100_000
    contacts: Contacts = dataclasses.field(default_factory=Contacts)
    transmission: Rate = 0.05
    latent_days: Days = 3.0
    latent_deviation: Deviation = 2.5
    infectious_days: Days = 7.0
    infectious_deviation: Deviation = 6.5
    initial: Fraction = 0.001


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Params:
    """What can be calibrated and differentiated: all () float32."""

    transmission: jax.Array
    latent_days: jax.Array
    infectious_days: jax.Array
    initial: jax.Array


def course(settings: Settings) -> Course:
    """The stages, with as many phases as the deviations of the dwell times ask for."""
    latent = hazards.phases(settings.latent_days, settings.latent_deviation)
    infectious = hazards.phases(settings.infectious_days, settings.infectious_deviation)
    return Course(
        (
            Stage("susceptible"),
            Stage("exposed", latent, ("infectious",)),
            Stage("infectious", infectious, ("recovered",)),
            Stage("recovered"),
        )
    )


def first_cases(params: Params, state: State, key: random.Key) -> State:
    """The first infectious agents, drawn at random."""
    ids, course, stages = state.fixed["id"], state.fixed["course"], state.agents["stage"]
    number_infected = jnp.maximum(params.initial * ranks.everyone(ids.shape[0]), 1)
    infected = chosen(key, ids, number_infected, among(stages, course.first("susceptible")))
    return state.replace(stage=move(stages, infected, course.first("infectious")))


def progress_course(params: Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """The exposed become infectious, the infectious recover."""
    course = state.fixed["course"]
    leave = leave_probabilities(course, {"exposed": params.latent_days, "infectious": params.infectious_days})
    before = state.agents["stage"]
    after = progress(before, random.words(key, state.fixed["id"]), leave, None, course)
    return state.replace(stage=after), {"became_infectious": entered(before, after, course, "infectious")}


def infect(params: Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """The infectious expose their susceptible contacts."""
    course, stages = state.fixed["course"], state.agents["stage"]
    infected = contagion.infections(
        random.drawn(key, state.fixed["id"]),
        stages,
        (contagion.Layer(state.fixed["contacts"], params.transmission),),
        susceptible=course.first("susceptible"),
        infectious=(contagion.Infectious(course.kinds("infectious")),),
    )
    return state.replace(stage=move(stages, infected, course.first("exposed"))), {"infected": infected}


def in_stage(name: str) -> Observable:
    """The number of agents in a stage at the end of a step."""

    def count(state: State, info: dict[str, Any]) -> jax.Array:
        return number(among(state.agents["stage"], *state.fixed["course"].kinds(name)))

    return Observable(name, count, long_name=f"{name} agents")


OBSERVABLES = (
    Observable("incidence", lambda state, info: number(info["infected"]), long_name="new infections", over="sum"),
    *(in_stage(name) for name in ("susceptible", "exposed", "infectious", "recovered")),
)


def check(settings: Settings, calendar: Calendar) -> list[Mistake]:
    """Mistakes that no single setting shows."""
    return check_contacts(settings.contacts, settings.agents)


def build(settings: Settings, calendar: Calendar) -> World:
    """The world that the settings describe.

    >>> build(Settings(agents=1000), Calendar(100)).state.fixed["course"].kinds("infectious")
    (2,)
    """
    contacts, ids = network(settings.contacts, settings.agents)
    agents = building.added(len(ids))
    stages = course(settings)
    values = (settings.transmission, settings.latent_days, settings.infectious_days, settings.initial)
    return World(
        model=chain(first_cases, progress=progress_course, infect=infect),
        params=Params(*(jnp.float32(value) for value in values)),
        state=initial_state(
            agents={"stage": Stages(jnp.zeros(len(ids), jnp.uint8), kinds=stages.size)},
            fixed={"id": jax.device_put(ids), "course": stages, "contacts": contacts},
        ),
        observables=OBSERVABLES,
        title=f"SEIR, {agents:,} agents, {settings.contacts.file or settings.contacts.kind.replace('_', ' ')}",
    )
