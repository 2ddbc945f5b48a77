"""Small worlds to check the laws on: people pass through every stage within `STEPS` days, on few shapes to compile."""

import contextlib
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

import lpm
from lpm import Calendar, Observable, State, World
from lpm.networks import tables
from lpm.worlds import city, seir, sir
from lpm.worlds.contacts import Contacts
from lpm.worlds.disease import Disease

STEPS = 40
CALENDAR = Calendar(STEPS)
FIRST_CASES = 14  # 2 % of the 700 agents of the worlds with one network


@contextlib.contextmanager
def several_tables(free: int = 600) -> Iterator[None]:
    """Networks have several tables, as those of large worlds do; otherwise small worlds would try one alone."""
    before, tables.FREE = tables.FREE, free
    try:
        yield
    finally:
        tables.FREE = before


@functools.cache
@several_tables()
def sir_on_a_graph() -> World:
    contacts = Contacts("erdos_renyi", mean_degree=6, seed=3)
    return sir.build(sir.Settings(700, contacts, transmission=0.1, infectious_days=5, initial=0.02), CALENDAR)


@functools.cache
def sir_well_mixed() -> World:
    return sir.build(
        sir.Settings(701, Contacts("well_mixed"), transmission=0.5, infectious_days=5, initial=0.02), CALENDAR
    )


@functools.cache
@several_tables()
def seir_small_world() -> World:
    contacts = Contacts("small_world", mean_degree=8, rewired=0.2, seed=3)
    settings = seir.Settings(703, contacts, 0.2, 2.5, 1.2, infectious_days=4, infectious_deviation=2, initial=0.02)
    return seir.build(settings, CALENDAR)


IMPORTED = 60_000  # infections a day in the whole city, of which this part of it gets 20
CITY = city.Settings(
    people=city.People(agents=3001),
    transmission=city.Transmission(household=0.6, school=0.4, work=0.4, community=0.4),
    importation=(city.Importation(per_day=IMPORTED),),
    disease=Disease(admission=(0.4,) * 9, intensive_care=(0.5,) * 9),
)


@functools.cache
@several_tables()
def small_city() -> World:
    return city.build(CITY, CALENDAR)


WORLDS = {
    "sir_on_a_graph": sir_on_a_graph,
    "sir_well_mixed": sir_well_mixed,
    "seir_small_world": seir_small_world,
    "city": small_city,
}


def _stages(state: State, info: dict) -> jax.Array:
    return state.agents["stage"].value


def _tally(state: State, info: dict) -> jax.Array:
    stage = state.agents["stage"]
    kinds = jnp.arange(stage.kinds, dtype=jnp.uint8)
    return (stage.value[None, :] == kinds[:, None]).sum(1, dtype=jnp.int32)


STAGES = Observable("stages", _stages)  # (agents,) uint8: everybody's stage
TALLY = Observable("tally", _tally)  # (kinds,) int32: how many are in each


def simulated(
    world: World, *, seed: int = 1, realization: int = 0, steps: int = STEPS, every: int = 1
) -> dict[str, np.ndarray]:
    """All observables of a world, the tally of its stages and everybody's stage at each record."""
    key = lpm.kernels.random.key(seed, realization)
    observe = (*world.observables, TALLY, STAGES)
    _, seen = lpm.simulate(world.model, world.params, world.state, key, steps=steps, observe=observe, every=every)
    return jax.device_get(seen)


def infections(world: World, seen: dict[str, np.ndarray]) -> np.ndarray:
    """New infections by record."""
    return seen["infections"].sum((1, 2)) if "infections" in seen else seen["incidence"]


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether two results have the same names and the same bits."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
