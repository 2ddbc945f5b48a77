"""A world without chance, whose fits are known: counts a exp(b t), not finite where `fragile` passes 2."""

from typing import Any

import jax.numpy as jnp
import numpy as np

import lpm
from lpm.calibration import Parameter, Prior, Problem, Stream
from lpm.kernels import random
from lpm.settings import Calendar
from lpm.world import World

STEPS = 20


def grow(params: Any, state: lpm.State, key: lpm.Key) -> tuple[lpm.State, dict[str, Any]]:
    """One step."""
    level = state.env["level"]
    events = params["first"] * params["share"] * level * jnp.where(params["fragile"] > 2, jnp.nan, 1.0)
    return state.replace(level=level * jnp.exp(params["growth"])), {"events": events}


def shake(params: Any, state: lpm.State, key: lpm.Key) -> tuple[lpm.State, dict[str, Any]]:
    """Chance: the level goes up or down by 5 % at most."""
    (drawn,) = random.uniform(random.words(key, state.fixed["id"])[0])
    return state.replace(level=state.env["level"] * (0.95 + 0.1 * drawn)), {}


EVENTS = lpm.Observable("events", lambda state, info: info["events"], over="sum")
MODEL = lpm.chain(grow=grow)
CHANCY = lpm.chain(grow=grow, shake=shake)
FIRST = Parameter("first", ("first",), 0, prior=Prior("lognormal", 20, 20))
GROWTH = Parameter("growth", ("growth",), -1, 1)
FRAGILE = Parameter("fragile", ("fragile",), 0, 4)


def world(first: float = 20.0) -> World:
    """With one agent, who does nothing."""
    params = {"first": first, "growth": 0.1, "share": 1.0, "fragile": 1.0}
    state = lpm.initial_state(
        {"nothing": jnp.zeros(1)}, env={"level": jnp.float32(1)}, fixed={"id": jnp.zeros(1, jnp.uint32)}
    )
    return World(MODEL, {name: jnp.float32(value) for name, value in params.items()}, state, (EVENTS,))


def problem(*free: Parameter, seed: int = 1, truth: tuple[float, float] = (20.0, 0.1)) -> Problem:
    """Poisson counts of the truth."""
    mean = truth[0] * np.exp(truth[1] * np.arange(STEPS))
    counts = np.random.default_rng(seed).poisson(mean).astype(np.float64)[:, None]
    stream = Stream("events", EVENTS, np.arange(STEPS), 1, counts, likelihood="poisson")
    return Problem(world(), Calendar(STEPS), free or (FIRST, GROWTH), (stream,))
