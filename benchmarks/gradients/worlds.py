"""The worlds that derivatives are measured in: SIR and SEIR over any networks together, and the city."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm import Observable, State, chain, initial_state, networks
from lpm.kernels import contagion, groups, random, strata
from lpm.kernels.course import Course, Stage, leave_probabilities, progress
from lpm.kernels.stages import Stages, among, chosen, event, move, number
from lpm.settings import Calendar
from lpm.world import World
from lpm.worlds import city
from lpm.worlds.disease import Disease

SIZES = (0.28, 0.34, 0.15, 0.14, 0.06, 0.03)  # share of households with 1, 2, ... members
STAY_AT_HOME = 0.4  # share of the agents without a workplace


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Params:
    """Rates by layer, 1/day; mean days latent and infectious; share of the agents infectious at first."""

    transmission: dict[str, jax.Array]
    latent_days: jax.Array
    infectious_days: jax.Array
    initial: jax.Array


def first_cases(params: Params, state: State, key: random.Key) -> State:
    """The first infectious agents, drawn at random."""
    ids, stages = state.fixed["id"], state.agents["stage"]
    infected = chosen(key, ids, params.initial * ids.shape[0], among(stages, 0))
    return state.replace(stage=move(stages, infected, state.fixed["course"].first("infectious")))


def _infected(params: Params, state: State, word: jax.Array) -> Any:
    layers = tuple(contagion.Layer(state.fixed[name], rate) for name, rate in params.transmission.items())
    infectious = contagion.Infectious(state.fixed["course"].kinds("infectious"))
    return contagion.infections(word, state.agents["stage"], layers, susceptible=0, infectious=(infectious,))


def infect_and_recover(params: Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """A day of SIR."""
    today, words = state.agents["stage"], random.words(key, state.fixed["id"])
    infected = _infected(params, state, words[0])
    recovered = event(words[1], 1 / params.infectious_days, among(today, 1))
    return state.replace(stage=move(move(today, recovered, 2), infected, 1)), {"infected": infected}


def take_course(params: Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """A day of the course of SEIR."""
    course = state.fixed["course"]
    leave = leave_probabilities(course, {"exposed": params.latent_days, "infectious": params.infectious_days})
    after = progress(state.agents["stage"], random.words(key, state.fixed["id"]), leave, None, course)
    return state.replace(stage=after), {}


def infect(params: Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """A day of infections of SEIR."""
    infected = _infected(params, state, random.words(key, state.fixed["id"])[0])
    return state.replace(stage=move(state.agents["stage"], infected, 1)), {"infected": infected}


SIR = Course((Stage("susceptible"), Stage("infectious", 1, ("recovered",)), Stage("recovered")))
SEIR = Course(
    (
        Stage("susceptible"),
        Stage("exposed", 2, ("infectious",)),
        Stage("infectious", 2, ("recovered",)),
        Stage("recovered"),
    )
)


def layered(
    layers: dict[str, Any],
    transmission: dict[str, float],
    *,
    agents: int,
    initial: float,
    latent_days: float = 0.0,
    infectious_days: float = 10.0,
) -> World:
    """SIR, or SEIR if there is a latent time, over the networks given by name."""
    course = SEIR if latent_days else SIR
    model = (
        chain(first_cases, course=take_course, infect=infect)
        if latent_days
        else chain(first_cases, infect_and_recover=infect_and_recover)
    )

    def infectious(state: State, info: dict[str, Any]) -> jax.Array:
        return number(among(state.agents["stage"], *course.kinds("infectious")))

    rates = {name: jnp.float32(rate) for name, rate in transmission.items()}
    return World(
        model=model,
        params=Params(rates, jnp.float32(latent_days), jnp.float32(infectious_days), jnp.float32(initial)),
        state=initial_state(
            agents={"stage": Stages(jnp.zeros(agents, jnp.uint8), kinds=course.size)},
            fixed={"id": jnp.arange(agents, dtype=jnp.uint32), "course": course, **layers},
        ),
        observables=(
            Observable("incidence", lambda state, info: number(info["infected"]), over="sum"),
            Observable("infectious", infectious),
            Observable("susceptible", lambda state, info: number(among(state.agents["stage"], 0))),
        ),
    )


def random_graph(agents: int, degree: float, seed: int) -> Any:
    """Every pair alike."""
    return networks.graph(networks.erdos_renyi(agents, degree, seed=seed), keep_order=True)


def small_world(agents: int, degree: int, seed: int) -> Any:
    """A ring of which a tenth is rewired."""
    return networks.graph(networks.small_world(agents, degree, 0.1, seed=seed), keep_order=True)


def heavy_tailed(agents: int, degree: float, seed: int) -> Any:
    """Degrees of a power law with exponent 3, at most 200."""
    degrees = networks.heavy_tailed_degrees(agents, degree, 3.0, 200, seed=seed)
    return networks.graph(networks.given_degrees(degrees, seed=seed), keep_order=True)


def households(agents: int, seed: int, size: int | None = None) -> groups.Households:
    """Households of the size given, or of one to six members."""
    rng = np.random.default_rng(seed)
    sizes = np.full(agents, size) if size else rng.choice(np.arange(1, len(SIZES) + 1), agents, p=SIZES)
    return networks.households(np.repeat(np.arange(agents), sizes)[:agents])


def workplaces(agents: int, mean: float, seed: int) -> groups.Groups:
    """Workplaces of that mean size, Poisson, for those who do not stay at home."""
    rng = np.random.default_rng(seed)
    count = round(agents * (1 - STAY_AT_HOME) / mean)
    place = np.where(rng.random(agents) < STAY_AT_HOME, -1, rng.integers(0, count, agents))
    return networks.groups(place, count)[0]


def well_mixed(agents: int) -> strata.Mixing:
    """Everybody meets everybody."""
    zeros, one = np.zeros(agents, np.int64), jnp.ones((1, 1), jnp.float32)
    return strata.Mixing(strata.strata(zeros, zeros, 1, 1), one, one, one * agents)


def whole_city(agents: int, seed: int, days: int) -> World:
    """The shipped city with many imported cases, observed as totals over regions and ages.

    Admissions are three times as frequent, so that deaths are enough to count.
    """
    settings = city.Settings(
        people=city.People(agents=agents, seed=seed),
        disease=dataclasses.replace(Disease(), admission=tuple(min(1.0, 3 * x) for x in Disease().admission)),
        importation=(city.Importation(per_day=20.0 * city.FULL_SIZE["new-york-city"] / agents, to=13),),
    )
    world = city.build(settings, Calendar(days))

    def total(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        return lambda state, info: function(state, info).sum()

    wanted = ("infections", "infectious", "admissions", "deaths")
    observables = tuple(
        dataclasses.replace(each, function=total(each.function), dims=())
        for each in world.observables
        if each.name in wanted
    )
    return dataclasses.replace(world, observables=observables)
