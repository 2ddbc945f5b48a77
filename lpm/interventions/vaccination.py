"""Vaccination: doses given in an order of priority, and what they protect from.

A dose lowers susceptibility and the probability of symptoms, after a delay, by what is left of its protection:

    s_i = s (1 - e_infection w_i),   P(symptoms) = p (1 - e_disease w_i),   w_i = 2^(-(days since it works) / half-life)

Each agent has two bytes, the day of its dose. Within a class of priority everybody has a place in a queue that depends
on nothing but the seed, so that more doses reach the same people earlier and others besides.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm.interventions.periods import in_force
from lpm.interventions.settings import Campaign
from lpm.kernels import bits, random, ration, strata
from lpm.kernels.stages import Indicator, among, number, plain
from lpm.state import State

NOT_SERVED = 255
DAYS = 65_535  # that two bytes tell apart, beside no dose
WANING_STEPS, WANING_DAYS = 16, 14  # protection against disease is looked up for periods of two weeks


def vaccinate(params: Any, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """Today's doses, campaign by campaign.

    Eligible are those who accept a dose, had none, and are neither dead nor in hospital. Of the class served last, so
    many get a dose that exactly as many are given as there are, or all who are eligible.
    """
    dials, fixed = params.interventions["vaccination"], state.fixed["vaccination"]
    words = random.words(random.at(key, 0), state.fixed["id"])
    line, stages = state.fixed["course"], plain(state.agents["stage"])
    away = among(stages, *line.kinds("hospitalised", "critical", "dead")).value
    willing = random.happens(words[1], random.threshold(dials["uptake"])) & (1 - away)
    force = in_force(dials, fixed, state)
    dosed, stock = state.agents["dosed"], state.env["vaccine_stock"]
    today = (1 + state.step).astype(jnp.uint16)
    everybody = jnp.zeros(dosed.shape, jnp.uint8)
    for campaign in range(force.shape[0]):
        there = stock[campaign] + force[campaign] * dials["doses"][campaign]
        count = jnp.floor(there).astype(jnp.int32)
        eligible = willing & (dosed == 0).astype(jnp.uint8)
        order = fixed["order"][campaign]
        given = jax.lax.cond(
            (force[campaign] > 0) & (count > 0), lambda e, o, c: given_out(words, e, o, c, state), _nobody,
            eligible, order, count,
        )  # fmt: skip
        used = number(Indicator(given))
        stock = stock.at[campaign].set(there - used.astype(jnp.float32))
        dosed = bits.settle(jnp.where(given == 1, today, dosed))
        everybody = everybody | given
    return state.replace(dosed=dosed, vaccine_stock=stock), {"dosed": Indicator(everybody)}


def _nobody(eligible: jax.Array, order: jax.Array, count: jax.Array) -> jax.Array:
    return jnp.zeros_like(eligible)


def given_out(
    words: tuple[jax.Array, jax.Array], eligible: jax.Array, order: jax.Array, count: jax.Array, state: State
) -> jax.Array:
    """Who gets one of `count` doses: class by class, and by the queue within the class where they run out.

    Args:
        words: each agent's place in the queue.
        eligible: (n,) uint8.
        order: (regions, bands) uint8, class of each stratum, 0 served first; `NOT_SERVED`.
        count: () int32.
        state: for the strata.
    """
    divided = state.fixed["community"].strata
    numbers = strata.count(bits.pack(eligible), divided)
    classes = jnp.zeros(NOT_SERVED + 1, jnp.int32).at[order.astype(jnp.int32).reshape(-1)].add(numbers.reshape(-1))
    through = jnp.cumsum(classes[:NOT_SERVED])
    last = (through <= count).sum().astype(jnp.int32)
    before = jnp.where(last > 0, through[jnp.maximum(last - 1, 0)], 0)
    level = strata.spread(order, divided).astype(jnp.int32)
    served = eligible & ((level < last) & (level < NOT_SERVED)).astype(jnp.uint8)
    queue = eligible & ((level == last) & (level < NOT_SERVED)).astype(jnp.uint8)
    return bits.settle(served | ration.served(words, queue, count - before))


def days_protected(state: State) -> jax.Array:
    """Days since each agent's dose began to work, (n,) int32; negative if it does not."""
    fixed, dosed = state.fixed["vaccination"], state.agents["dosed"]
    day = dosed.astype(jnp.int32) - 1
    return jnp.where(dosed == 0, -1, state.step - day - fixed["delay"])


def relative_susceptibility(params: Any, state: State) -> jax.Array:
    """1 - e_infection w for each agent, (n,) float32; 1 for those unprotected."""
    dials, days = params.interventions["vaccination"], days_protected(state)
    left = jnp.exp2(-days.astype(jnp.float32) / dials["half_life"]) if "half_life" in dials else jnp.float32(1)
    return jnp.where(days >= 0, 1 - dials["against_infection"] * left, 1)


def forks(params: Any, state: State, fork: jax.Array, band: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Fork probabilities of the unprotected and of the protected, and the column of each agent, for `course.progress`.

    Args:
        fork: (forks, bands) float32; the first is that of symptoms.
        band: (n,) uint8.
    """
    dials, days, bands = params.interventions["vaccination"], days_protected(state), fork.shape[1]
    if "half_life" in dials:
        middle = (jnp.arange(WANING_STEPS, dtype=jnp.float32) + 0.5) * WANING_DAYS
        left = jnp.exp2(-middle / dials["half_life"])
        step = jnp.minimum(days // WANING_DAYS, WANING_STEPS - 1)
    else:
        left, step = jnp.ones(1, jnp.float32), jnp.zeros_like(days)
    tables = [fork] + [fork.at[0].multiply(1 - dials["against_disease"] * left[i]) for i in range(left.shape[0])]
    column = jnp.where(days >= 0, 1 + step, 0).astype(jnp.uint8)
    return jnp.concatenate(tables, axis=1), bits.settle(column * jnp.uint8(bands) + band)


def priorities(campaigns: tuple[Campaign, ...], regions: tuple[str, ...], bands: tuple[str, ...]) -> np.ndarray:
    """The class of each stratum in each campaign: (campaigns, regions, bands) uint8.

    >>> priorities((Campaign(1, ages=("80+", "70-79")),), ("A", "B"), ("60-69", "70-79", "80+"))[0].tolist()
    [[255, 1, 0], [255, 1, 0]]
    """
    order = np.full((len(campaigns), len(regions), len(bands)), NOT_SERVED, np.uint8)
    for row, campaign in zip(order, campaigns, strict=True):
        places = [[r] for r in campaign.regions] or [list(regions)]
        ages = [[a] for a in campaign.ages] or [list(bands)]
        for rank, (some, where) in enumerate((some, where) for some in ages for where in places):
            for region in where:
                for band in some:
                    row[regions.index(region), bands.index(band)] = rank
    return order
