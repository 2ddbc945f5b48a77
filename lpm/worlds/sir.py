"""Susceptible, infectious, recovered: an epidemic over one network.

Each day every infectious agent passes the infection to each susceptible contact with probability
1 - exp(-transmission), and recovers with probability 1 / infectious_days (Kermack & McKendrick 1927; on networks:
Newman 2002, Phys. Rev. E 66, 016128).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lpm import Observable, State, building, chain, initial_state
from lpm.kernels import contagion, random, ranks
from lpm.kernels.stages import Stages, among, chosen, event, move, number
from lpm.settings import Calendar, Days, Fraction, Mistake, Positive, Rate
from lpm.world import World
from lpm.worlds.contacts import Contacts, check_contacts, network

SUSCEPTIBLE, INFECTIOUS, RECOVERED = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class Settings:
    """What can be set.

    Args:
        agents: how many.
        contacts: who meets whom.
        transmission: 1/day; over a network per contact, if well mixed per infectious agent.
        infectious_days: mean days of infectiousness.
        initial: share of the agents infectious on the first day; the number is rounded, but to at least one.
    """

    agents: Positive = 100_000
    contacts: Contacts = dataclasses.field(default_factory=Contacts)
    transmission: Rate = 0.03
    infectious_days: Days = 10.0
    initial: Fraction = 0.01


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Params:
    """What can be calibrated and differentiated: all () float32."""

    transmission: jax.Array
    infectious_days: jax.Array
    initial: jax.Array


def first_cases(params: Params, state: State, key: random.Key) -> State:
    """The first infectious agents, drawn at random."""
    ids, stages = state.fixed["id"], state.agents["stage"]
    number_infected = jnp.maximum(params.initial * ranks.everyone(ids.shape[0]), 1)
    infected = chosen(key, ids, number_infected, among(stages, SUSCEPTIBLE))
    return state.replace(stage=move(stages, infected, INFECTIOUS))


def infect_and_recover(params: Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """One day. Both events look at the same morning, so who is infected today infects from tomorrow on."""
    today: Stages = state.agents["stage"]
    ids = state.fixed["id"]
    infected = contagion.infections(
        random.drawn(key, ids),
        today,
        (contagion.Layer(state.fixed["contacts"], params.transmission),),
        susceptible=SUSCEPTIBLE,
        infectious=(contagion.Infectious((INFECTIOUS,)),),
    )
    recovered = event(random.words(key, ids)[1], 1 / params.infectious_days, among(today, INFECTIOUS))
    tomorrow = move(move(today, recovered, RECOVERED), infected, INFECTIOUS)
    return state.replace(stage=tomorrow), {"infected": infected}


OBSERVABLES = (
    Observable("incidence", lambda state, info: number(info["infected"]), long_name="new infections", over="sum"),
    Observable(
        "susceptible",
        lambda state, info: number(among(state.agents["stage"], SUSCEPTIBLE)),
        long_name="susceptible agents",
    ),
    Observable(
        "infectious",
        lambda state, info: number(among(state.agents["stage"], INFECTIOUS)),
        long_name="infectious agents",
    ),
    Observable(
        "recovered", lambda state, info: number(among(state.agents["stage"], RECOVERED)), long_name="recovered agents"
    ),
)


def check(settings: Settings, calendar: Calendar) -> list[Mistake]:
    """Mistakes that no single setting shows."""
    return check_contacts(settings.contacts, settings.agents)


def build(settings: Settings, calendar: Calendar) -> World:
    """The world that the settings describe.

    >>> world = build(Settings(agents=1000), Calendar(100))
    >>> world.agents, [observable.name for observable in world.observables]
    (1000, ['incidence', 'susceptible', 'infectious', 'recovered'])
    """
    contacts, ids = network(settings.contacts, settings.agents)
    agents = building.added(len(ids))
    return World(
        model=chain(first_cases, infect_and_recover=infect_and_recover),
        params=Params(*(jnp.float32(x) for x in (settings.transmission, settings.infectious_days, settings.initial))),
        state=initial_state(
            agents={"stage": Stages(jnp.zeros(len(ids), jnp.uint8), kinds=3)},
            fixed={"id": jax.device_put(ids), "contacts": contacts},
        ),
        observables=OBSERVABLES,
        title=f"SIR, {agents:,} agents, {settings.contacts.file or settings.contacts.kind.replace('_', ' ')}",
    )
