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
    before = state.agents["tested"]

    def aged(part: slice) -> jax.Array:
        flags, clock = before[part] & jnp.uint8(POSITIVE | COMPLIES), before[part] & jnp.uint8(CLOCK)
        clock = jnp.where(clock > 0, clock + 1, 0)
        last = jnp.where((flags & jnp.uint8(POSITIVE)) > 0, fixed["last_positive"], fixed["last_negative"])
        return jnp.where((clock > last) | (clock == 0), 0, flags | clock).astype(jnp.uint8)

    byte = bits.evenly(aged, before.shape[0])
    left, dials = jnp.float32(0), params.interventions["testing"]
    (force,) = in_force(dials, fixed, state)
    if "capacity" in dials:
        left = state.env["tests_left"] + force * dials["capacity"]
    new = jax.lax.cond(force > 0, lambda b: _sample(params, state, key, b, jnp.floor(left), force), lambda b: b, byte)
    sampled = (byte == 0).astype(jnp.uint8) & (new > 0).astype(jnp.uint8)
    state = state.replace(tested=bits.settle(new))
    if "capacity" in dials:
        state = state.replace(tests_left=left - jnp.floor(left))
    return state, {"sampled": Indicator(bits.settle(sampled)), "found": Indicator(found_ago(state, 0))}


def _sample(
    params: Any, state: State, key: random.Key, byte: jax.Array, capacity: jax.Array, force: jax.Array
) -> jax.Array:
    """Everybody's byte after today's samples."""
    dials, ids, n = params.interventions["testing"], state.fixed["id"], byte.shape[0]
    line, stages = state.fixed["course"], plain(state.agents["stage"])
    away, ill, infectious = (
        among(stages, *line.kinds(*names)).value for names in (NOT_AT_HOME, ("symptomatic",), INFECTIOUS)
    )
    # Whether an agent with symptoms seeks a test is decided once, not day by day.
    once, drawn = random.at(random.stream(key, "seeks"), 0), random.stream(key, "result")
    seeks, screened = (random.threshold(force * dials[name]) for name in ("symptomatic", "screening"))

    def first(part: slice) -> jax.Array:
        may = (byte[part] == 0).astype(jnp.uint8) & (1 - away[part]) & ill[part]
        return may & random.happens(random.words(once, ids[part])[0], seeks)

    def second(part: slice) -> jax.Array:
        may = (byte[part] == 0).astype(jnp.uint8) & (1 - away[part]) & (1 - ill[part])
        return may & random.happens(random.words(key, ids[part])[0], screened)

    def marked(sampled: jax.Array, part: slice) -> jax.Array:
        result, complies = random.words(drawn, ids[part])
        chance = jnp.where(infectious[part] == 1, dials["sensitivity"], 1 - dials["specificity"])
        positive = random.happens(result, random.threshold(chance))
        keeps = random.happens(complies, random.threshold(dials["compliance"]))
        return jnp.where(sampled == 1, 1 | positive * jnp.uint8(POSITIVE) | keeps * jnp.uint8(COMPLIES), byte[part])

    if "capacity" not in dials:
        return bits.evenly(lambda part: marked(first(part) | second(part), part), n)
    order, count = random.words(key, ids), capacity.astype(jnp.int32)
    one = ration.served(order, bits.evenly(first, n), count)
    two = ration.served(order, bits.evenly(second, n), count - number(Indicator(one)))
    return bits.evenly(lambda part: marked((one | two)[part], part), n)


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
    flags, at_large = who.astype(jnp.uint8), _at_large(state)
    return bits.evenly(lambda part: flags[part] & at_large[part], flags.shape[0])


def quarantined(state: State) -> jax.Array:
    """Who is in quarantine today: (n,) uint8."""
    left, at_large = state.agents["quarantine"], _at_large(state)
    return bits.evenly(lambda part: (left[part] > 0).astype(jnp.uint8) & at_large[part], left.shape[0])


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
    longer = bits.evenly(
        lambda part: jnp.where(who[part] == 1, jnp.maximum(left[part], days), left[part]), left.shape[0]
    )
    return state.replace(quarantine=longer)


def quarantine_households(params: Any, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """Those who live with somebody whose positive result arrives today stay at home."""
    dials, fixed = params.interventions["quarantine"], state.fixed["quarantine"]
    known = found_ago(state, 0)
    others = groups.household_counts(bits.pack(known), state.fixed["households"]) > known
    (force,) = in_force(dials, fixed, state)
    complies = random.happens(random.words(key, state.fixed["id"])[0], random.threshold(force * dials["compliance"]))
    return stay(state, others.astype(jnp.uint8) & complies & _at_large(state), fixed["days"]), {}


def trace(params: Any, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """Contacts of those whose positive result arrived some days ago are reached, and stay at home."""
    fixed = state.fixed["tracing"]
    (force,) = in_force(params.interventions["tracing"], fixed, state)
    who = jax.lax.cond(
        force > 0, lambda s: _reached(params, s, key, force), lambda s: jnp.zeros_like(s.agents["quarantine"]), state
    )
    return stay(state, who & _at_large(state), fixed["days"]), {"traced": Indicator(bits.settle(who))}


def _reached(params: Any, state: State, key: random.Key, force: jax.Array) -> jax.Array:
    """Who is found and complies: (n,) uint8."""
    dials, fixed, places = params.interventions["tracing"], state.fixed["tracing"], state.fixed["places"]
    known = found_ago(state, fixed["delay"])
    words = bits.pack(known)
    members = groups.household_counts(words, state.fixed["households"]).astype(jnp.float32)
    there = groups.group_counts(words, places).astype(jnp.float32)
    close = jnp.minimum(dials["close"] / jnp.maximum(places.size - 1, 1).astype(jnp.float32), 1)
    missed = 1 - groups.to_members(1 - (1 - dials["place"] * close) ** there, places)
    chance = (1 - (1 - dials["household"]) ** members * missed) * (force * dials["compliance"])
    found = random.happens(random.words(key, state.fixed["id"])[0], random.threshold(chance))
    return found & (1 - known)
