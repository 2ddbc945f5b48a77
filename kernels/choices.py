"""Events of several outcomes: one out of many, competing risks, and thresholds and choices with a temperature.

One draw decides for each agent which of the outcomes it has, or none. `branch` moves everybody by it; `outcome` says
who had one of them. Like `lpm.kernels.stages.event`, they draw by integers and carry a derivative where stages do.

A hard comparison (savings below a limit) or an argmax (the best of three offers) has no derivative. `passes` and
`choose` draw them instead, with chances whose steepness is a stated temperature: the model has that uncertainty, in the
forward pass too, and derivatives are those of its expectation.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lpm.kernels import bits, hazards, moves, random, score, shadows
from lpm.kernels.bits import settle
from lpm.kernels.shadows import Flow
from lpm.kernels.stages import Indicator, Stages, check_among, check_kinds, event

LEAST = 1e-30  # temperature, at which every choice is hard


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Outcomes:
    """Which of some outcomes each agent has.

    Args:
        value: (n,) uint8, the outcome's number, or `number` for none.
        number: how many outcomes there are, static.
        shadow: the derivative of each, or None.
        likelihood: () float32, log p of the draws less its value, under the rule "score" alone.
    """

    value: jax.Array
    number: int = dataclasses.field(metadata={"static": True})
    shadow: tuple[Flow, ...] | None = None
    likelihood: jax.Array | None = None


def categorical(word: jax.Array, chances: jax.Array, among: Indicator, by: Stages | None = None) -> Outcomes:
    """One of several outcomes, or none, for some agents: outcome j with the probability p_j, none with 1 - sum_j p_j.

    Outcome j is drawn if c_{j-1} <= u < c_j, u the word, c_j = p_0 + ... + p_j, as integers out of 2^31 (inversion;
    Devroye 1986, Non-Uniform Random Variate Generation, section III.2).

    Args:
        word: (n,) uint32, from `random.words`.
        chances: (outcomes,) or (outcomes, n) float32, at most 254 of them; what passes a sum of 1 is cut off.
        among: who can have one; for a derivative, an indicator made by the function `among`.
        by: the stages, if there are chances of each stage, (outcomes, kinds), instead of each agent.

    >>> from lpm.kernels.stages import among
    >>> word, _ = random.words(random.key(1), jnp.arange(1000, dtype=jnp.uint32))
    >>> everybody = among(Stages(jnp.zeros(1000, jnp.uint8), 3), 0)
    >>> drawn = categorical(word, jnp.array([0.2, 0.5], jnp.float32), everybody)
    >>> [int((drawn.value == k).sum()) for k in range(3)]
    [180, 515, 305]
    """
    return _drawn("categorical", word, chances, among, by, certain=False)


def competing_risks(word: jax.Array, rates: jax.Array, among: Indicator, by: Stages | None = None) -> Outcomes:
    """Which of several causes comes first in a step, if any does.

    p_j = (r_j / R) (1 - exp(-R)),        R = sum_j r_j        (Kalbfleisch & Prentice 2002, section 8.2)

    Args:
        word: (n,) uint32, from `random.words`.
        rates: (causes,) or (causes, n) float32, 1/step.
        among: who is at risk; for a derivative, an indicator made by the function `among`.
        by: the stages, if there are rates of each stage, (causes, kinds), instead of each agent.
    """
    happens, shares = hazards.competing(rates)
    return _drawn("competing_risks", word, happens[None] * shares, among, by, certain=False)


def choose(
    word: jax.Array,
    utilities: jax.Array,
    temperature: jax.Array | float,
    among: Indicator,
    by: Stages | None = None,
) -> Outcomes:
    """A choice by utility: an argmax that is the surer, the lower the temperature.

    p_j = exp(u_j / T) / sum_k exp(u_k / T)        (Luce 1959; McFadden 1974, equation 12)

    which is the chance that u_j + T g_j is the greatest, g_j independent Gumbel variables.

    Args:
        word: (n,) uint32, from `random.words`.
        utilities: (options,) or (options, n) float32, finite; what is not on offer has one far below the others.
        temperature: () or (n,) float32, above 0, in the unit of the utilities. In a compiled step one that is not is
            taken for the least.
        among: who chooses; for a derivative, an indicator made by the function `among`.
        by: the stages, if there are utilities of each stage, (options, kinds), instead of each agent.

    >>> from lpm.kernels.stages import among
    >>> word, _ = random.words(random.key(1), jnp.arange(1000, dtype=jnp.uint32))
    >>> everybody = among(Stages(jnp.zeros(1000, jnp.uint8), 3), 0)
    >>> offers = jnp.array([1.0, 1.5, 0.2], jnp.float32)
    >>> [int((choose(word, offers, t, everybody).value == 1).sum()) for t in (0.01, 0.5, 100.0)]
    [1000, 731, 368]
    """
    _check_temperature("choose", temperature)
    each = _at_least(temperature)
    if utilities.ndim == 1 and each.ndim == 1:
        utilities = jnp.broadcast_to(utilities[:, None], (utilities.shape[0], each.shape[0]))
    scaled = utilities / (each[None] if each.ndim else each)
    return _drawn("choose", word, jax.nn.softmax(scaled, axis=0), among, by, certain=True)


def passes(
    word: jax.Array,
    value: jax.Array,
    threshold: jax.Array | float,
    temperature: jax.Array | float,
    among: Indicator,
    by: Stages | None = None,
) -> Indicator:
    """Whether a value passes a threshold: a comparison that is the surer, the lower the temperature.

    p = 1 / (1 + exp(-(value - threshold) / T))

    which is the chance that value + T e > threshold, e a logistic variable (McFadden 1974, of two options).

    Args:
        word: (n,) uint32, from `random.words`.
        value: () or (n,) float32.
        threshold: () or (n,) float32.
        temperature: () or (n,) float32, above 0, in the unit of the value. In a compiled step one that is not is taken
            for the least.
        among: who can pass it; for a derivative, an indicator made by the function `among`.
        by: the stages, if there is a value of each stage, (kinds,), instead of each agent.
    """
    _check_temperature("passes", temperature)
    chance = jax.nn.sigmoid((value - threshold) / _at_least(temperature))
    return event(word, chance, among) if by is None else outcome(categorical(word, chance[None], among, by), 0)


def _at_least(temperature: jax.Array | float) -> jax.Array:
    """Temperatures, those that are not above 0 as the least: a compiled step can refuse none, and this one is hard."""
    each = jnp.asarray(temperature, jnp.float32)
    return jnp.where(each > LEAST, each, LEAST)


def _check_temperature(function: str, temperature: jax.Array | float) -> None:
    if not isinstance(temperature, jax.core.Tracer) and not np.all(np.asarray(temperature) > 0):
        raise ValueError(
            f"{function}: asked for a temperature above 0, got {temperature}; write a small one for a hard decision "
            "that has a derivative, or compare, which has none"
        )


def outcome(outcomes: Outcomes, which: int) -> Indicator:
    """Who had one of the outcomes.

    Raises:
        ValueError: if there is no such outcome.
    """
    if not 0 <= which < outcomes.number:
        raise ValueError(
            f"outcome: asked for number {which} of {outcomes.number} outcomes; write one of 0 to {outcomes.number - 1}"
        )
    value = (outcomes.value == which).astype(jnp.uint8)
    return Indicator(value, None if outcomes.shadow is None else outcomes.shadow[which])


def branch(stages: Stages, outcomes: Outcomes, targets: tuple[int | None, ...]) -> Stages:
    """Everybody goes where their outcome leads.

    Args:
        stages: the stages that the outcomes were drawn for.
        outcomes: from `categorical`, `competing_risks` or `choose`.
        targets: a stage for each outcome; None for one that moves nobody.

    Raises:
        ValueError: if there is no such stage, or not one target for each outcome.
    """
    if len(targets) != outcomes.number:
        raise ValueError(
            f"branch: asked for a target of each of {outcomes.number} outcomes, got {targets}; write None for an "
            "outcome that moves nobody"
        )
    check_kinds("branch", stages, *(target for target in targets if target is not None))
    value, shadow = stages.value, stages.shadow
    for number, target in enumerate(targets):
        if target is None:
            continue
        value = jnp.where(outcomes.value == number, jnp.uint8(target), value)
        if shadow is not None and outcomes.shadow is not None and outcomes.likelihood is None:
            shadow = moves.moved(shadow, outcomes.shadow[number], outcomes.value == number, target)
    if shadow is not None and outcomes.likelihood is not None:
        shadow = dataclasses.replace(shadow, mass=(shadow.mass[0] + outcomes.likelihood,), arrivals=None)
    if shadow is not None and outcomes.shadow is None:  # drawn by plain chances: all that an agent might be goes along
        for number, target in enumerate(targets):
            if target is not None:
                shadow = moves.moved(shadow, None, (outcomes.value == number).astype(jnp.uint8), target)
    return dataclasses.replace(stages, value=settle(value), shadow=shadow)


def _drawn(
    function: str, word: jax.Array, chances: jax.Array, among: Indicator, by: Stages | None, certain: bool
) -> Outcomes:
    """The draw and its derivative; `certain` if the chances are known to add up to 1, whatever their rounding."""
    check_among(function, among)
    number, n = chances.shape[0], word.shape[0]
    rows: tuple[tuple[int, ...], ...] = ((), word.shape) if by is None else ((by.kinds,),)
    said = f"(outcomes,) or (outcomes, {n})" if by is None else f"(outcomes, {by.kinds}), one for each stage of `by`"
    if not 1 <= number <= 254 or chances.shape[1:] not in rows:
        raise ValueError(
            f"{function}: asked for chances of shape {said}, 1 to 254 outcomes, got {chances.shape}; put the outcomes "
            "first" + ("" if by is not None else ", and write by=stages if the rest is stages")
        )
    limits, total = [], jnp.zeros(chances.shape[1:], jnp.float32)
    for chance in chances:  # a cumulative sum in a fixed order, whatever the number of agents
        total = total + chance
        limits.append(random.threshold(total))
    if certain:
        limits[-1] = jnp.full(limits[-1].shape, 2**31, jnp.uint32)
    settled = bits.settle(jnp.stack(limits))

    def drawn(part: slice) -> jax.Array:
        if by is not None:
            own = settled.at[:, by.value[part].astype(jnp.int32)].get(mode="promise_in_bounds")
        else:
            own = settled if settled.ndim == 1 else settled[:, part]
        return jnp.where(among.value[part] == 1, random.categorical(word[part], own), jnp.uint8(number))

    value = bits.evenly(drawn, n)
    if among.shadow is None:
        return Outcomes(value, number)
    each = tuple(chances[j] if by is None else shadows.by_band(chances[j], by.value, word.shape) for j in range(number))
    if among.shadow.rule == "score":
        own = among.value == 1
        likelihood = score.of_outcomes(own, value, each)
        marginal = tuple(score.of_events(own, (value == j).astype(jnp.uint8), p) for j, p in enumerate(each))
        flows = tuple(dataclasses.replace(among.shadow, outgoing=((log_p,),)) for log_p in marginal)
        return Outcomes(value, number, flows, likelihood)
    return Outcomes(value, number, _flows(among.shadow, word, value, each, None if by is None else chances, certain))


def _flows(
    flow: Flow,
    word: jax.Array,
    drawn: jax.Array,
    chances: tuple[jax.Array, ...],
    tables: jax.Array | None,
    certain: bool,
) -> tuple[Flow, ...]:
    """The derivative of each outcome.

    With p = sum_j p_j and q_j = p_j / p, that any outcome happens is an event of chance p, whose weight w is that of
    `shadows.coupling`; which it then is, is drawn anew: an agent that had one takes mass dq_j to outcome j, whichever
    it had, and that has the right expectation since the dq_j sum to zero. With x_j for "j was drawn" and x for "any",

        own stage: mass to j = (x mass + w dp) (x_j if x, else q_j) + x dq_j,        ghosts: p_j mass

    Args:
        flow: of the stages in which outcomes are possible.
        word, drawn: (n,) the draw and what came of it.
        chances: of each outcome, () or (n,) float32, in the agents' own stages.
        tables: (outcomes, kinds) float32, in every stage, or None if they do not depend on it.
        certain: whether the chances add up to 1.
    """
    number, kinds, rule, infecting = len(chances), flow.kinds, flow.rule, flow.infecting
    total = sum(chances[1:], start=chances[0])
    if certain:  # an outcome is sure: the rest is rounding
        total = jnp.ones_like(total)
    leaving_chance = lax.stop_gradient(shadows.mean_of(total))
    flows = tuple(
        dataclasses.replace(
            flow,
            leaving=leaving_chance,
            event=True,
            share=lax.stop_gradient(shadows.mean_of(p)) / jnp.maximum(leaving_chance, 1e-12),
        )
        for p in chances
    )
    if rule == "mean_field":

        def chance(j: int, k: int) -> jax.Array:
            return chances[j] if tables is None else tables[j, k]

        expected = [tuple(chance(j, k) * row for k, row in zip(kinds, flow.mass, strict=True)) for j in range(number)]
        return tuple(dataclasses.replace(each, mass=mass) for each, mass in zip(flows, expected, strict=True))
    before = (flow.mass, *flow.outgoing)

    def tangent(constants: Any, layers: Any, inputs: Any) -> Any:
        value, word, drawn, chances, total, tables = constants
        happens = (drawn < number).astype(jnp.uint8)
        left, some = happens == 1, jnp.maximum(total, 1e-12)
        q = [p / some for p in chances]
        d_total = jnp.zeros_like(total) if certain else sum(inputs[0][1:], start=inputs[0][0])
        d_q = _redrawn(
            rule, word, drawn, q, [(dp - share * d_total) / some for dp, share in zip(inputs[0], q, strict=True)]
        )
        weights = {
            infects: shadows.coupling(rule, happens, total, word, infects)
            for infects in {k in infecting for k in kinds}
        }

        def to_each(k: int, row: Any, stage: jax.Array, root: bool) -> list[Any]:
            if row is None:
                return [None] * number
            own = stage == k
            fresh = weights[k in infecting] * d_total if root else 0
            leaving = jnp.where(left, row, 0) + fresh
            return [
                jnp.where(
                    own,
                    leaving * jnp.where(left, (drawn == j).astype(jnp.float32), q[j])
                    + (jnp.where(left, d_q[j], 0) if root else 0),
                    (chances[j] if tables is None else tables[j, k]) * row,
                )
                for j in range(number)
            ]

        found = [
            [to_each(k, row, stage, root) for k, row in zip(kinds, rows, strict=True)]
            for rows, (stage, root) in zip(layers[0], shadows.beside(value, flow.channels), strict=True)
        ]
        return tuple(tuple(tuple(each[j] for each in rows) for rows in found) for j in range(number))

    constants = (flow.value, word, drawn, chances, total, tables)
    carried = shadows.carried(tangent)(tuple(before for _ in range(number)), (chances,), constants)
    return tuple(
        dataclasses.replace(each, mass=mass, outgoing=tuple(outgoing))
        for each, (mass, *outgoing) in zip(flows, carried, strict=True)
    )


def _redrawn(
    rule: str, word: jax.Array, drawn: jax.Array, shares: list[jax.Array], d_shares: list[jax.Array]
) -> list[jax.Array]:
    """dq_j, or under "gumbel" that of a relaxed draw y = softmax((log q + g) / T) whose argmax is the one drawn.

    The Gumbel variables g are drawn given their argmax (Maddison, Tarlow & Minka 2014, section 3).
    """
    if rule != "gumbel":
        return d_shares
    number = len(shares)
    uniform = [
        jnp.clip(
            random.uniform(random.threefry((word, word), (jnp.uint32(j), jnp.uint32(0x67756D62)))[0]), 1e-6, 1 - 1e-6
        )
        for j in range(number)
    ]
    within = [jnp.maximum(q, 1e-6) for q in shares]
    top = sum(
        (jnp.where(drawn == j, -jnp.log(u), 0) for j, u in enumerate(uniform)), start=jnp.zeros(word.shape, jnp.float32)
    )
    top = jnp.maximum(top, 1e-6)  # of those who had none, which is not used
    perturbed = [
        -jnp.log(jnp.where(drawn == j, top, top - jnp.log(u) / q))
        for j, (u, q) in enumerate(zip(uniform, within, strict=True))
    ]
    soft = jax.nn.softmax(jnp.stack(perturbed) / shadows.TEMPERATURE, axis=0)
    logs = [dq / q for dq, q in zip(d_shares, within, strict=True)]
    mean = sum((y * d for y, d in zip(soft, logs, strict=True)), start=jnp.zeros(word.shape, jnp.float32))
    return [y * (d - mean) / shadows.TEMPERATURE for y, d in zip(soft, logs, strict=True)]
