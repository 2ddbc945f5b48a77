"""Dwell times of any shape: a stage whose numbers say for how many steps an agent has been in it.

A stage of D numbers is left from the number t with the hazard h_t, and who stays is one number on. Its time is then
distributed as the hazards say, P(T = t) = h_t prod_{s < t} (1 - h_s), and since no clock is compared with anything, all
of the hazards can be learned: of `hazards.gamma_hazards` mean and deviation, of a table each entry. A chain of phases
(`lpm.kernels.course`) takes far fewer numbers and lets the mean alone be learned.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lpm.kernels import bits, random, score, shadows
from lpm.kernels.shadows import Flow, Rows, Shadow
from lpm.kernels.stages import Indicator, Stages, check_kinds


def dwell(stages: Stages, word: jax.Array, hazards: jax.Array, first: int, target: int) -> tuple[Stages, Indicator]:
    """One step of a stage: some leave it, the others have been in it for a step longer.

    Args:
        stages: where each agent is; who enters the stage is moved to `first`.
        word: (n,) uint32, from `random.words`.
        hazards: (D,) float32, the chance of leaving in the first, second, ... step in the stage, for those still in it;
            the last goes on for as long as it takes. The stage has the numbers first .. first + D - 1.
        first: the stage's first number.
        target: where those go who leave.

    Returns:
        the stages after the step, and who has left.

    Raises:
        ValueError: if there are no such stages.

    >>> from lpm.kernels.hazards import gamma_hazards
    >>> hazards = gamma_hazards(jnp.float32(4), jnp.float32(1.5), 10)
    >>> stages, gone = Stages(jnp.full(1000, 1, jnp.uint8), 12), []
    >>> for step in range(8):
    ...     word, _ = random.words(random.at(random.key(1), step), jnp.arange(1000, dtype=jnp.uint32))
    ...     stages, left = dwell(stages, word, hazards, 1, 11)
    ...     gone.append(int(left.value.sum()))
    >>> gone
    [1, 62, 219, 274, 216, 131, 48, 32]
    """
    steps = hazards.shape[0]
    check_kinds("dwell", stages, first, first + steps - 1, target)
    limits = bits.settle(random.threshold(hazards))
    value, n = stages.value, stages.value.shape[0]

    def place_of(part: slice) -> tuple[jax.Array, jax.Array]:
        own = value[part]
        inside = (own >= first) & (own <= first + steps - 1)
        return inside, jnp.where(inside, own - jnp.uint8(first), jnp.uint8(0)).astype(jnp.int32)

    def leaves(part: slice) -> jax.Array:
        inside, place = place_of(part)
        limit = bits.taken(limits, place)
        return random.happens(word[part], limit) & inside.astype(jnp.uint8)

    left = bits.evenly(leaves, n)
    inside, place = place_of(slice(None))
    older = jnp.where(inside & (place < steps - 1), value + jnp.uint8(1), value)
    after = bits.settle(jnp.where(left == 1, jnp.uint8(target), older))
    if stages.shadow is None:
        return dataclasses.replace(stages, value=after), Indicator(left)
    drawn = _Drawn(value, inside, place, left, word)
    shadow, arrived = _passed(stages.shadow, drawn, hazards, first, target)
    flow = Flow(after, arrived, (), None, None, (target,), (), shadow.infecting, shadow.rule, event=True)
    return dataclasses.replace(stages, value=after, shadow=shadow), Indicator(left, flow)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Drawn:
    """What was drawn for each agent: its number before, whether that is of the stage, its place there, and the draw."""

    value: jax.Array
    inside: jax.Array
    place: jax.Array
    left: jax.Array
    word: jax.Array


def _passed(shadow: Shadow, drawn: _Drawn, hazards: jax.Array, first: int, target: int) -> tuple[Shadow, Rows]:
    """The shadow after the step, and the derivative of having left in it."""
    steps, rule, infecting = hazards.shape[0], shadow.rule, shadow.infecting
    last = first + steps - 1
    if rule == "score":
        chance = shadows.by_band(hazards, drawn.place, drawn.value.shape)
        more = score.of_events(drawn.inside, drawn.left, chance)
        return dataclasses.replace(shadow, mass=(shadow.mass[0] + more,), arrivals=None), ()

    def shifted(rows: Any, leaving: list[Any]) -> Any:
        """Rows after those who leave have gone to the target and the others are one number on."""
        after = list(rows)
        if rows[first] is not None:
            after[first] = jnp.zeros_like(rows[first])
        for t in range(steps):
            stays = None if rows[first + t] is None else rows[first + t] - leaving[t]
            to = min(first + t + 1, last)
            if to == first:  # a single number
                after[to] = stays
            elif rows[to] is not None:
                after[to] = stays if t < steps - 1 else after[to] + stays
        if rows[target] is not None:
            after[target] = sum((each for each in leaving if each is not None), start=after[target])
        return tuple(after)

    if rule == "mean_field":
        leaving = [hazards[t] * shadow.mass[first + t] for t in range(steps)]
        gone = sum(leaving[1:], start=leaving[0])
        return dataclasses.replace(shadow, mass=shifted(shadow.mass, leaving), arrivals=None), (gone,)

    def tangent(constants: Any, before: Any, inputs: Any) -> Any:
        drawn, hazards = constants
        own_chance = bits.taken(hazards, drawn.place)
        d_chance = shadows.by_band(inputs[0], drawn.place, drawn.value.shape)
        fresh_of = {
            infects: shadows.coupling(rule, drawn.left, own_chance, drawn.word, infects) * d_chance
            for infects in {first + t in infecting for t in range(steps)}
        }

        def leaving_of(rows: Any, stage: jax.Array, root: bool) -> list[Any]:
            found: list[Any] = []
            for t in range(steps):
                row, own = rows[first + t], stage == first + t
                if row is None:
                    found.append(None)
                    continue
                fresh = fresh_of[first + t in infecting] if root else 0
                found.append(jnp.where(own, jnp.where(drawn.left == 1, row, 0) + fresh, hazards[t] * row))
            return found

        seen = shadows.beside(drawn.value, shadow.channels)
        leaving = [leaving_of(rows, stage, root) for rows, (stage, root) in zip(before[0], seen, strict=True)]
        after = tuple(shifted(rows, each) for rows, each in zip(before[0], leaving, strict=True))
        return after, (sum(leaving[0][1:], start=leaving[0][0]),)

    nothing = (jnp.zeros_like(shadow.mass[0]),)
    (mass, *outgoing), arrived = shadows.carried(tangent)(
        ((shadow.mass, *shadow.outgoing), nothing), (hazards,), (drawn, hazards)
    )
    onward = {(k, min(k + 1, last)) for k in range(first, last + 1)} | {(k, target) for k in range(first, last + 1)}
    after = dataclasses.replace(
        shadow,
        mass=mass,
        outgoing=tuple(outgoing),
        course=_typically(shadow.course, hazards, first, target),
        arrivals=None,
        since=(*shadow.since, None),
        moves=shadow.moves | onward,
    )
    return after, arrived


def _typically(typical: shadows.Typical, hazards: jax.Array, first: int, target: int) -> shadows.Typical:
    """Each number but the last is left in a step; fewer and fewer enter the next."""
    steps = hazards.shape[0]
    last = first + steps - 1
    enters, leaves = typical.enters, typical.leaves
    for t in range(steps - 1):
        enters = enters.at[first + t + 1].set(enters[first + t] * (1 - hazards[t]))
        leaves = leaves.at[first + t].set(1.0)
    leaves = leaves.at[last].set(hazards[-1])
    return lax.stop_gradient(shadows.Typical(enters.at[target].max(enters[first]), leaves))
