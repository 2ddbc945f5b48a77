"""Discrete states: one small integer for each agent, and the moves between them.

`Stages` holds the integers, `Indicator` a yes or no for each agent. Both have room for a derivative (`shadow`), which
is None in a plain run and then costs nothing; lpm.kernels.shadows says what it holds otherwise.
"""

from __future__ import annotations

import dataclasses
from numbers import Integral, Real

import jax
import jax.numpy as jnp

from lpm.kernels import bits, moves, random, ranks, shadows
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
    shadow: shadows.Flow | None = None


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
    shadow: shadows.Shadow | None = None


def plain(stages: Stages) -> Stages:
    """The same stages without a derivative."""
    return dataclasses.replace(stages, shadow=None)


def among(stages: Stages, *kinds: int) -> Indicator:
    """Who is in any of the given stages.

    Raises:
        ValueError: if there is no such stage.

    >>> among(Stages(jnp.array([0, 1, 2], dtype=jnp.uint8), 3), 1, 2).value
    Array([0, 1, 1], dtype=uint8)
    """
    check_kinds("among", stages, *kinds)
    value = jnp.zeros(stages.value.shape, bool)
    for low, high in _ranges(kinds):
        inside = stages.value == low if low == high else (stages.value >= low) & (stages.value <= high)
        value = value | inside
    found = value.astype(jnp.uint8)
    if stages.shadow is None:
        return Indicator(found)
    return Indicator(found, shadows.of_kinds(stages.shadow, stages.value, tuple(sorted(set(kinds)))))


def check_kinds(function: str, stages: Stages, *asked: int) -> None:
    """That the stages asked for exist: one too high would never be entered, or be entered and counted nowhere."""
    for kind in asked:
        if isinstance(kind, Integral) and not 0 <= kind < stages.kinds:
            advice = f", or Stages(..., kinds={kind + 1})" if 0 <= kind < 256 else ""
            raise ValueError(
                f"{function}: asked for stage {kind} of Stages(kinds={stages.kinds}), whose stages are 0 to "
                f"{stages.kinds - 1}; write one of these{advice}"
            )


def check_among(function: str, among: Indicator) -> None:
    """That who can have an event is told by an indicator, and if there are derivatives by stages.

    Those of an event move with it.
    """
    if not isinstance(among, Indicator):
        raise TypeError(
            f"{function}: asked for who can have it as an Indicator, got {type(among).__name__}; write "
            "among(stages, KIND), or Indicator(values) with a uint8 for each agent, 0 or 1"
        )
    if among.shadow is not None and among.shadow.event and among.shadow.rule != "score":
        raise ValueError(
            f"{function}: asked for who can have it by their stages, from `among`, got those who have another event of "
            "the step, which has no derivative; let that one lead to a stage of its own and draw among that, draw both "
            "outcomes at once with `categorical`, or take derivatives by method='differences'"
        )


def _ranges(kinds: tuple[int, ...]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers, so that a long list of stages costs one comparison."""
    runs: list[tuple[int, int]] = []
    for kind in sorted(set(kinds)):
        if runs and runs[-1][1] == kind - 1:
            runs[-1] = (runs[-1][0], kind)
        else:
            runs.append((kind, kind))
    return runs


def event(word: jax.Array, chance: jax.Array | float, among: Indicator) -> Indicator:
    """A Bernoulli event, possible only for some agents.

    Args:
        word: (n,) uint32, from `random.words`.
        chance: a number, or () or (n,) float32, its probability; or uint32 from `random.threshold`, which carries no
            derivative.
        among: who can have it; for a derivative, an indicator made by the function `among`.
    """
    check_among("event", among)
    chance = jnp.float32(chance) if isinstance(chance, Real) else jnp.asarray(chance)
    by_limit = chance.dtype == jnp.uint32
    limit = jnp.broadcast_to(chance if by_limit else random.threshold(chance), word.shape)
    value = bits.evenly(lambda part: random.happens(word[part], limit[part]) & among.value[part], word.shape[0])
    if among.shadow is None:
        return Indicator(value)
    happens = random.happens(word, limit)
    probability = chance.astype(jnp.float32) * jnp.float32(2.0**-31) if by_limit else chance
    return Indicator(value, moves.of_event(among.shadow, word, happens, probability))


def chosen(key: random.Key, ids: jax.Array, count: jax.Array, among: Indicator) -> Indicator:
    """A sample of exactly `count` agents, those of them who are among the given ones: everybody's chance is count / n.

    Args:
        key: stream and step.
        ids: (n,) uint32, all agents (of this rank).
        count: () float32, rounded to a whole number; its derivative is that of the number before.
        among: who can be chosen; for a derivative, an indicator made by the function `among`.

    >>> everybody = Indicator(jnp.ones(10, jnp.uint8))
    >>> int(chosen(random.key(3), jnp.arange(10, dtype=jnp.uint32), jnp.float32(4), everybody).value.sum())
    4
    """
    check_among("chosen", among)
    n = ranks.everyone(ids.shape[0])
    taken = random.chosen(key, ids, n, jnp.round(count))
    value = taken & among.value
    if among.shadow is None:
        return Indicator(value)
    if among.shadow.rule == "score":
        return Indicator(value, among.shadow)
    if among.shadow.rule == "mean_field":
        return Indicator(value, moves.of_event(among.shadow, jnp.zeros_like(ids), taken, count / n))
    flow = dataclasses.replace(among.shadow, rule="smooth")  # one more is one of those who were not chosen
    found = moves.of_event(flow, jnp.zeros_like(ids), taken, count / n)
    return Indicator(value, dataclasses.replace(found, rule=among.shadow.rule))


def move(stages: Stages, event: Indicator, target: int) -> Stages:
    """Those who have the event go to the target stage.

    An event without a derivative of its own (an `Indicator` made from values that no parameter moves) takes along all
    that the agent might have been.

    Raises:
        ValueError: if there is no such target.
    """
    check_kinds("move", stages, target)
    value = settle(jnp.where(event.value == 1, jnp.uint8(target), stages.value))
    if stages.shadow is None:
        return dataclasses.replace(stages, value=value)
    return dataclasses.replace(
        stages, value=value, shadow=moves.moved(stages.shadow, event.shadow, event.value, target)
    )


def number(indicator: Indicator) -> jax.Array:
    """How many agents say yes, on all ranks: () int32, exact; with a derivative, the same number as float32."""
    count = ranks.sum(bits.total(bits.pack(ranks.present(indicator.value))))
    return count if indicator.shadow is None else shadows.counted(count, indicator.shadow.mass)


def amount(indicator: Indicator) -> jax.Array:
    """The yes or no as a number for each agent: (n,) float32, 0 or 1, with the derivative of its expectation.

    For what an agent has of an event: `savings + wage * amount(among(job, EMPLOYED))`. A value that is computed from
    `indicator.value` instead has no derivative.

    >>> amount(among(Stages(jnp.array([0, 1, 2], dtype=jnp.uint8), 3), 1, 2))
    Array([0., 1., 1.], dtype=float32)
    """
    if indicator.shadow is None:
        return indicator.value.astype(jnp.float32)
    return shadows.amounts(indicator.value, indicator.shadow.mass)
