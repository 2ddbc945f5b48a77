"""Susceptible, infectious, recovered in every kind of network, and little else to compile."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from lpm import Observable, State, World, chain, initial_state, networks, populations
from lpm.kernels import contagion, random, strata
from lpm.kernels.stages import Stages, among, event, move
from lpm.worlds import city, sir
from lpm.worlds.disease import BANDS
from lpm.worlds.sir import INFECTIOUS, RECOVERED, SUSCEPTIBLE


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Params:
    """Rates of transmission and of recovery, and the share infectious at first: all () float32."""

    friend: jax.Array
    household: jax.Array
    school: jax.Array
    work: jax.Array
    community: jax.Array
    recovery: jax.Array
    initial: jax.Array


def live(params: Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """The infectious meet the susceptible in all networks, and recover."""
    today, fixed = state.agents["stage"], state.fixed
    daytime = jnp.where(fixed["place_kind"] == 0, params.school, params.work)
    layers = (
        contagion.Layer(fixed["friends"], params.friend),
        contagion.Layer(fixed["households"], params.household),
        contagion.Layer(fixed["places"], daytime),
        contagion.Layer(fixed["community"], params.community),
    )
    words, ill = random.words(key, fixed["id"]), (contagion.Infectious((INFECTIOUS,)),)
    infected = contagion.infections(words[0], today, layers, susceptible=SUSCEPTIBLE, infectious=ill)
    recovered = event(words[1], params.recovery, among(today, INFECTIOUS))
    tomorrow = move(move(today, recovered, RECOVERED), infected, INFECTIOUS)
    return state.replace(stage=tomorrow), {"infected": infected}


def by_region_and_age(state: State, info: dict[str, Any]) -> jax.Array:
    """New infections."""
    return strata.count_of(info["infected"], state.fixed["community"].strata)


@functools.cache
def town() -> World:
    """A small city whose people have friends too."""
    people = populations.new_york_city(1500)
    friends = networks.graph(networks.small_world(len(people), 4, 0.2, seed=3), keep_order=True)
    fixed = {"id": jnp.asarray(people.ids), "friends": friends, **city.networks(people, own_region=0.8)}
    return World(
        model=chain(sir.first_cases, live=live),
        params=Params(*(jnp.float32(x) for x in (0.05, 0.3, 0.2, 0.2, 0.2, 0.2, 0.02))),
        state=initial_state({"stage": Stages(jnp.zeros(len(people), jnp.uint8), kinds=3)}, fixed=fixed),
        observables=(*sir.OBSERVABLES, Observable("infections", by_region_and_age, ("region", "age"), "1", over="sum")),
        coords={"region": tuple(people.regions), "age": BANDS},
    )
