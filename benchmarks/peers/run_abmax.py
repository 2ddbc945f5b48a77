"""abmax: agents with a padded row of neighbours each, stepped by its `step_agents`."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import work
from abmax.functions import step_agents
from abmax.structs import Agent, Params, Set, Signal, State

SUSCEPTIBLE, INFECTIOUS, RECOVERED = 0, 1, 2


def step_agent(agent: Agent, signal: Signal, params: Params) -> Agent:
    """One agent's day."""
    stage, around = agent.state.content["stage"], signal.content["infectious"]
    escapes = jnp.exp(params.content["log_escape"] * around)
    infected = (stage == SUSCEPTIBLE) & (signal.content["first"] >= escapes)
    recovered = (stage == INFECTIOUS) & (signal.content["second"] < params.content["per_day"])
    stage = jnp.where(infected, INFECTIOUS, jnp.where(recovered, RECOVERED, stage)).astype(stage.dtype)
    return agent.replace(state=State(content={"stage": stage}))


def day(population: Set, table: jax.Array, key: jax.Array) -> tuple[Set, jax.Array]:
    """Look at the neighbours, draw for all agents at once, and step them."""
    stage = population.agents.state.content["stage"]
    flags = jnp.append(stage == INFECTIOUS, False).astype(jnp.uint8)
    first, second = jax.random.uniform(key, (2, len(stage)))
    signal = Signal(content={"infectious": flags[table].sum(0), "first": first, "second": second})
    params = Params(content={"log_escape": math.log1p(-work.PER_CONTACT), "per_day": work.PER_DAY})
    population = step_agents(step_agent, params, signal, population)
    stage = population.agents.state.content["stage"]
    return population, jnp.stack([(stage == SUSCEPTIBLE).sum(), (stage == INFECTIOUS).sum()])


@functools.partial(jax.jit, donate_argnums=0)
def jitted_day(population: Set, table: jax.Array, key: jax.Array, number: int) -> tuple[Set, jax.Array]:
    """One day, compiled once."""
    return day(population, table, jax.random.fold_in(key, number))


def start(task: work.Task, seed: int) -> work.Advance:
    """A set of agents and the table of neighbours, (largest degree, agents)."""
    agents, source, target = task.graph()
    begins, neighbours = work.rows(agents, source, target)
    degrees = np.diff(begins)
    table = np.full((degrees.max(), agents), agents, np.int32)
    of = np.repeat(np.arange(agents), degrees)
    table[np.arange(len(of)) - begins[of], of] = neighbours
    stage = np.zeros(agents, np.int8)
    stage[work.first_cases(agents, seed)] = INFECTIOUS

    def make(number: jax.Array, stage: jax.Array) -> Agent:
        return Agent(number, True, 0.0, 0, None, State(content={"stage": stage}), None, None)

    people = jax.vmap(make)(jnp.arange(agents), jnp.asarray(stage))
    population = Set(agents, agents, people, 0, 0, None, None, None, None)
    rows, key = jnp.asarray(table), jax.random.key(seed)

    def advance(days: int) -> tuple[np.ndarray, np.ndarray]:
        nonlocal population
        counts = []
        for number in range(days):
            population, seen = jitted_day(population, rows, key, number)
            counts.append(seen)
        susceptible, infectious = np.stack(jax.device_get(counts)).T
        return susceptible, infectious

    return advance


work.measure(
    start, ("abmax", "jax"), "neighbours in padded rows outside abmax, which has no graph; draws made in bulk for speed"
)
