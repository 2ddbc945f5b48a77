"""Tests, isolation of those found, quarantine of their households and tracing of their contacts.

Each agent has one byte for its test: days since the sample (six bits), whether it is positive, and whether the agent
will isolate; and one byte for the days of quarantine that are left. A sample is positive with the sensitivity if its
agent is infectious, else with 1 - specificity. A contact of an infectious agent is found with the probability

    P = 1 - (1 - p_household)^(found in the household) (1 - p_place min(1, close / (members - 1)))^(found at the place)
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lpm.interventions.periods import in_force
from lpm.kernels import bits, groups, random, ration
from lpm.kernels.confinement import Confined
from lpm.kernels.stages import Indicator, Stages, among, number, plain
from lpm.state import State

CLOCK, POSITIVE, COMPLIES = 63, 64, 128  # parts of the byte `tested`
INFECTIOUS = ("presymptomatic", "asymptomatic", "symptomatic")
NOT_AT_HOME = ("hospitalised", "critical", "dead")


def take_tests(params: Any, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """Samples are taken; results of earlier ones arrive."""
    fixed = state.fixed["testing"]
    clock, positive = _clock(state), _has(state, POSITIVE)
    clock = jnp.where(clock > 0, clock + 1, 0)
    over = clock > jnp.where(positive, fixed["last_positive"], fixed["last_negative"])
    byte = jnp.where(over | (clock == 0), 0, (state.agents["tested"] & (POSITIVE | COMPLIES)) | clock).astype(jnp.uint8)
    (force,) = in_force(fixed["periods"], state)
    left, dials = jnp.float32(0), params.interventions["testing"]
    if "capacity" in dials:
        left = state.env["tests_left"] + jnp.where(force, dials["capacity"], 0)
    sampled, new = jax.lax.cond(
        force, lambda b: _sample(params, state, key, b, jnp.floor(left)), lambda b: (jnp.zeros_like(b), b), byte
    )
    state = state.replace(tested=bits.settle(new))
    if "capacity" in dials:
        state = state.replace(tests_left=left - jnp.floor(left))
    return state, {"sampled": Indicator(bits.settle(sampled)), "found": Indicator(found_ago(state, 0))}


def _sample(
    params: Any, state: State, key: random.Key, byte: jax.Array, capacity: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Who is tested today, and everybody's byte."""
    dials, ids = params.interventions["testing"], state.fixed["id"]
    line, stages = state.fixed["course"], plain(state.agents["stage"])
    may = (byte == 0).astype(jnp.uint8) & (1 - among(stages, *line.kinds(*NOT_AT_HOME)).value)
    ill = among(stages, *line.kinds("symptomatic")).value
    infectious = among(stages, *line.kinds(*INFECTIOUS)).value
    # Whether an agent with symptoms seeks a test is decided once, not day by day.
    seeks = random.words(random.at(random.stream(key, "seeks"), 0), ids)[0]
    order = random.words(key, ids)
    result, complies = random.words(random.stream(key, "result"), ids)
    first = may & ill & random.happens(seeks, random.threshold(dials["symptomatic"]))
    second = may & (1 - ill) & random.happens(order[0], random.threshold(dials["screening"]))
    if "capacity" in dials:
        count = capacity.astype(jnp.int32)
        first = ration.served(order, bits.settle(first), count)
        second = ration.served(order, bits.settle(second), count - number(Indicator(first)))
    sampled = first | second
    chance = jnp.where(infectious == 1, dials["sensitivity"], 1 - dials["specificity"])
    positive = random.happens(result, random.threshold(chance))
    keeps = random.happens(complies, random.threshold(dials["compliance"]))
    return sampled, jnp.where(sampled == 1, 1 | positive * jnp.uint8(POSITIVE) | keeps * jnp.uint8(COMPLIES), byte)


def _clock(state: State) -> jax.Array:
    return state.agents["tested"] & jnp.uint8(CLOCK)


def _has(state: State, flag: int) -> jax.Array:
    return (state.agents["tested"] & jnp.uint8(flag)) > 0


def found_ago(state: State, days: int | jax.Array) -> jax.Array:
    """Whose positive result arrived so many days ago: (n,) uint8."""
    age = state.fixed["testing"]["result"] + jnp.asarray(days, jnp.uint8)
    return ((_clock(state) == age) & _has(state, POSITIVE)).astype(jnp.uint8)


def isolated(state: State) -> jax.Array:
    """Who isolates at home today, after a positive result: (n,) uint8."""
    fixed, clock = state.fixed["testing"], _clock(state)
    within = (clock >= fixed["result"]) & (clock < fixed["result"] + fixed["days"])
    who = within & _has(state, POSITIVE) & _has(state, COMPLIES)
    return bits.settle(who.astype(jnp.uint8) & _at_large(state))


def quarantined(state: State) -> jax.Array:
    """Who is in quarantine today: (n,) uint8."""
    return bits.settle((state.agents["quarantine"] > 0).astype(jnp.uint8) & _at_large(state))


def _at_large(state: State) -> jax.Array:
    stages: Stages = plain(state.agents["stage"])
    return 1 - among(stages, *state.fixed["course"].kinds(*NOT_AT_HOME)).value


def confined(params: Any, state: State) -> Confined | None:
    """Who stays at home today, for `lpm.kernels.confinement`; None if no measure of the world keeps anybody there."""
    tested, sent = "tested" in state.agents, "quarantine" in state.agents
    if not tested and not sent:
        return None
    dials, usual = params.interventions, jnp.float32(1)
    nobody = jnp.zeros_like(state.agents["stage"].value)
    return Confined(
        isolated(state) if tested else nobody,
        quarantined(state) if sent else nobody,
        dials["testing"]["household"] if tested else usual,
        dials["quarantine"]["household"] if "quarantine" in dials else usual,
    )


def count_down(params: Any, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """A day of everybody's quarantine is over."""
    left = state.agents["quarantine"]
    return state.replace(quarantine=jnp.where(left > 0, left - 1, left)), {}


def stay(state: State, who: jax.Array, days: jax.Array) -> State:
    """Those who stay at home for so many days, today included, if they do not for longer already.

    Args:
        who: (n,) uint8.
        days: () uint8.
    """
    left = state.agents["quarantine"]
    return state.replace(quarantine=bits.settle(jnp.where(who == 1, jnp.maximum(left, days), left)))


def quarantine_households(params: Any, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """Those who live with somebody whose positive result arrives today stay at home."""
    dials, fixed = params.interventions["quarantine"], state.fixed["quarantine"]
    known = found_ago(state, 0)
    others = groups.household_counts(bits.pack(known), state.fixed["households"]) > known
    complies = random.happens(random.words(key, state.fixed["id"])[0], random.threshold(dials["compliance"]))
    (force,) = in_force(fixed["periods"], state)
    return stay(state, (others & force).astype(jnp.uint8) & complies & _at_large(state), fixed["days"]), {}


def trace(params: Any, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """Contacts of those whose positive result arrived some days ago are reached, and stay at home."""
    fixed = state.fixed["tracing"]
    (force,) = in_force(fixed["periods"], state)
    who = jax.lax.cond(
        force, lambda s: _reached(params, s, key), lambda s: jnp.zeros_like(s.agents["quarantine"]), state
    )
    return stay(state, who & _at_large(state), fixed["days"]), {"traced": Indicator(bits.settle(who))}


def _reached(params: Any, state: State, key: random.Key) -> jax.Array:
    """Who is found and complies: (n,) uint8."""
    dials, fixed, places = params.interventions["tracing"], state.fixed["tracing"], state.fixed["places"]
    known = found_ago(state, fixed["delay"])
    words = bits.pack(known)
    members = groups.household_counts(words, state.fixed["households"]).astype(jnp.float32)
    there = groups.group_counts(words, places).astype(jnp.float32)
    close = jnp.minimum(dials["close"] / jnp.maximum(places.size - 1, 1).astype(jnp.float32), 1)
    missed = 1 - groups.to_members(1 - (1 - dials["place"] * close) ** there, places)
    chance = (1 - (1 - dials["household"]) ** members * missed) * dials["compliance"]
    found = random.happens(random.words(key, state.fixed["id"])[0], random.threshold(chance))
    return found & (1 - known)
