"""Discrete states: one small integer for each agent, and the moves between them.

`Stages` holds the integers, `Indicator` a yes or no for each agent. Both have room for a derivative (`shadow`), which is None in a plain
run and then costs nothing; lpm.kernels.shadows says what it holds otherwise.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lpm.kernels import bits, random
from lpm.kernels.bits import settle


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Indicator:
    """A yes or no for each agent.

    Args:
        value: (n,) uint8, 0 or 1.
        shadow: the derivative of its expectation, or None.
    """

    value: jax.Array
    shadow: Any = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Stages:
    """One of a few stages for each agent.

    Args:
        value: (n,) uint8, below `kinds`.
        kinds: how many stages there are, static.
        shadow: the derivative of the expectation of being in each stage, or None.
    """

    value: jax.Array
    kinds: int = dataclasses.field(metadata={"static": True})
    shadow: Any = None


def among(stages: Stages, *kinds: int) -> Indicator:
    """Who is in any of the given stages.

    >>> among(Stages(jnp.array([0, 1, 2], dtype=jnp.uint8), 3), 1, 2).value
    Array([0, 1, 1], dtype=uint8)
    """
    value = jnp.zeros(stages.value.shape, bool)
    for low, high in _ranges(kinds):
        inside = stages.value == low if low == high else (stages.value >= low) & (stages.value <= high)
        value = value | inside
    return Indicator(value.astype(jnp.uint8))


def _ranges(kinds: tuple[int, ...]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers, so that a long list of stages costs one comparison."""
    runs: list[tuple[int, int]] = []
    for kind in sorted(set(kinds)):
        if runs and runs[-1][1] == kind - 1:
            runs[-1] = (runs[-1][0], kind)
        else:
            runs.append((kind, kind))
    return runs


def event(word: jax.Array, limit: jax.Array, among: Indicator) -> Indicator:
    """A Bernoulli event, possible only for some agents.

    Args:
        word: (n,) uint32, from `random.words`.
        limit: () or (n,) uint32, from `random.threshold`.
        among: who can have it.
    """
    return Indicator(settle(random.happens(word, limit) & among.value))


def move(stages: Stages, event: Indicator, target: int) -> Stages:
    """Those who have the event go to the target stage."""
    return dataclasses.replace(stages, value=settle(jnp.where(event.value == 1, jnp.uint8(target), stages.value)))


def number(indicator: Indicator) -> jax.Array:
    """How many agents say yes: () int32, exact."""
    return bits.total(bits.pack(indicator.value))
