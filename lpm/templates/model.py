"""Rumour: a model of your own. Run it with `lpm run config.yaml`, test it with `python -m pytest`.

A rumour spreads between friends. Who hears it may believe it and tell it on; after a while they tire of it. Read on
from top to bottom: the settings, the parameters, what happens in a step, what to look at, and `build`, which puts it
together.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

import lpm
from lpm import networks
from lpm.kernels import contagion, random, ranks
from lpm.kernels.stages import Stages, among, chosen, event, move, number
from lpm.settings import Calendar, Days, Fraction, Number, Positive

# The stages of an agent are small integers.
UNAWARE, TELLING, TIRED = 0, 1, 2


# 1. Settings: what config.yaml may say. `Annotated` gives bounds and a unit, and a wrong value gets a clear message.
@dataclasses.dataclass(frozen=True)
class Settings:
    agents: Positive = 10_000
    friends: Annotated[float, Number(0, 500, "friends of each agent")] = 8.0
    convincing: Fraction = 0.05  # probability that a friend believes it, each day
    days_of_telling: Days = 5.0
    first_tellers: Fraction = 0.001


# 2. Parameters: the numbers that a calibration may change, as JAX arrays.
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Params:
    rate: jax.Array  # 1/day and friend
    days_of_telling: jax.Array
    first_tellers: jax.Array


# 3. What happens. `start` is done once; each substep takes (params, state, key) and returns the new state and its
# events.
def start(params, state, key):
    ids, stage = state.fixed["id"], state.agents["stage"]
    first = chosen(key, ids, jnp.maximum(params.first_tellers * ranks.everyone(ids.shape[0]), 1), among(stage, UNAWARE))
    return state.replace(stage=move(stage, first, TELLING))


def hear_and_tire(params, state, key):
    stage = state.agents["stage"]
    first, second = random.words(key, state.fixed["id"])  # two random numbers for each agent, the same on any machine
    heard = contagion.infections(
        first,
        stage,
        (contagion.Layer(state.fixed["friends"], params.rate),),
        susceptible=UNAWARE,
        infectious=(contagion.Infectious((TELLING,)),),
    )
    tired = event(second, 1 / params.days_of_telling, among(stage, TELLING))
    return state.replace(stage=move(move(stage, heard, TELLING), tired, TIRED)), {"heard": heard}


# 4. What to look at: (state, info) -> a number. Flows are added up over a record (`over="sum"`); stocks are taken at
# its end.
OBSERVABLES = (
    lpm.Observable(
        "newly_aware", lambda state, info: number(info["heard"]), long_name="agents who heard it", over="sum"
    ),
    lpm.Observable(
        "telling", lambda state, info: number(among(state.agents["stage"], TELLING)), long_name="agents telling it"
    ),
)


# 5. Put it together. Networks are made here, outside the compiled steps.
def build(settings: Settings, calendar: Calendar) -> lpm.World:
    friends, ids = networks.graph(networks.erdos_renyi(settings.agents, settings.friends, seed=0))
    return lpm.World(
        model=lpm.chain(start, hear_and_tire=hear_and_tire),
        params=Params(
            rate=-jnp.log1p(jnp.float32(-settings.convincing)),
            days_of_telling=jnp.float32(settings.days_of_telling),
            first_tellers=jnp.float32(settings.first_tellers),
        ),
        state=lpm.initial_state(
            agents={"stage": Stages(jnp.zeros(settings.agents, jnp.uint8), kinds=3)},
            fixed={"id": jnp.asarray(ids, jnp.uint32), "friends": friends},
        ),
        observables=OBSERVABLES,
        title=f"Rumour, {settings.agents:,} agents",
    )
