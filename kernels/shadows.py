"""Derivatives of discrete states: what a stage would have been, carried beside what it is.

A derivative of an expectation is carried by *ghosts*: an agent that is in stage r would, had a parameter been a little
different, be in stage k with a little probability m dθ. Each agent has such a mass m for each stage, and they sum to
zero:

    mass_k = d E[1{stage = k}] / dθ,        sum_k mass_k = 0

An agent's own stage moves with the event that was drawn, its ghosts in other stages with the probability of that event.
Contagion needs a second number for each network: the mass weighted by the share of the ghost's contacts that it has not
used yet (`lpm.kernels.ghosts`). Both are zero in value and live in the tangent alone: operations on them return them
unchanged and only say how their tangents go on, so that a run that can be differentiated has the bits and nearly the
speed of one that cannot.

Two rules know no ghosts and keep something else in the place of the mass: `lpm.kernels.mean_field` the probability of
each stage, `lpm.kernels.score` the logarithm of the probability of all that was drawn.

The theory is in docs/theory/gradients.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax

from lpm.kernels import bits, mean_field, random, ranks

Rule = Literal["cavity", "smooth", "straight_through", "gumbel", "mean_field", "score"]
RULES: tuple[str, ...] = get_args(Rule)
TEMPERATURE = 0.5  # of the rule "gumbel"

# What a channel of contagion is of: ghosts that came into a layer or a group of it, those born in the group, or those
# that an agent's ghosts infected (`lpm.kernels.ghosts`).
Channel = Literal["root", "family", "children"]
NOBODY = 255  # no stage

Rows = tuple[jax.Array, ...]
SomeRows = tuple[jax.Array | None, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Typical:
    """How an agent typically passes through the stages, in plain numbers: what tells how long an infection infects.

    Args:
        enters: (kinds,) float32, how often each stage is entered by each agent that is infected.
        leaves: (kinds,) float32, the mean probability of leaving each stage in a step.
    """

    enters: jax.Array
    leaves: jax.Array

    def lasting(self, kind: int) -> jax.Array:
        """Mean steps in a stage for each infection, () float32."""
        return self.enters[kind] / jnp.maximum(self.leaves[kind], 1e-4)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Shadow:
    """The derivative that `Stages` carry.

    Args:
        mass: for each stage, (n,) float32.
        outgoing: for each channel of contagion (see `lpm.kernels.ghosts`), for each stage, (n,) float32; None for
            stages that lead to none that infects.
        course: see `Typical`.
        arrivals: for each stage of a course, the derivative of having come into it in the latest move, if that was
            `progress`.
        since: the moves of this step so far (`lpm.kernels.moves`); None for one of a course.
        channels: what each is of, see `Channel`; static.
        infecting: the stages that infect; static.
        infectable: the stages that can be infected; static.
        moves: (from, to) of every move between stages; static.
        rule: static.
    """

    mass: Rows
    outgoing: tuple[SomeRows, ...]
    course: Typical
    arrivals: Rows | None = None
    since: tuple[Any, ...] = ()
    channels: tuple[Channel, ...] = dataclasses.field(default=(), metadata={"static": True})
    infecting: frozenset[int] = dataclasses.field(default=frozenset(), metadata={"static": True})
    infectable: frozenset[int] = dataclasses.field(default=frozenset(), metadata={"static": True})
    moves: frozenset[tuple[int, int]] = dataclasses.field(default=frozenset(), metadata={"static": True})
    rule: str = dataclasses.field(default="cavity", metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Flow:
    """The derivative that an `Indicator` carries, by the stage its agents are in.

    Args:
        value: (n,) uint8, the agents' own stages when it was found.
        mass: for each of `kinds`, (n,) float32.
        outgoing: for each channel, for each of `kinds`, (n,) float32.
        used: how the contacts of ghosts were used up by the event, or None.
        spent: of an infection, for each channel and stage what was left of `outgoing` after it, (n,) float32.
        draw: of an event, what was drawn (`lpm.kernels.moves.Draw`).
        leaving: () float32, the mean chance of the event; None for an infection.
        share: () float32, of those who leave by it or by another outcome of the same draw, those by it.
        kinds: static.
        after: how many moves of the step came before it was found; static.
        event: whether it is of an event, not of being in some stages; static.
        channels, infecting, infectable, rule: see `Shadow`; static.
    """

    value: jax.Array
    mass: Rows
    outgoing: tuple[SomeRows, ...]
    used: Any
    leaving: jax.Array | None
    kinds: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    channels: tuple[Channel, ...] = dataclasses.field(metadata={"static": True})
    infecting: frozenset[int] = dataclasses.field(metadata={"static": True})
    rule: str = dataclasses.field(metadata={"static": True})
    infectable: frozenset[int] = dataclasses.field(default=frozenset(), metadata={"static": True})
    share: jax.Array | float = 1.0
    spent: tuple[SomeRows, ...] | None = None
    draw: Any = None
    after: int = dataclasses.field(default=0, metadata={"static": True})
    event: bool = dataclasses.field(default=False, metadata={"static": True})


def zeros(value: jax.Array, kinds: int, rule: str) -> Shadow:
    """The shadow of stages that no parameter has touched yet."""
    mass = tuple(jnp.zeros(value.shape, jnp.float32) for _ in range(kinds))
    if rule == "mean_field":
        mass = mean_field.certain(value, kinds)
    elif rule == "score":
        mass = (jnp.zeros((), jnp.float32),)
    return Shadow(mass, (), Typical(jnp.zeros(kinds, jnp.float32), jnp.zeros(kinds, jnp.float32)), rule=rule)


def widened(shadow: Shadow, other: Shadow | Flow) -> Shadow:
    """The shadow with further channels, still zero, until it has those of the other, and with its infecting stages."""
    rows = tuple(jnp.zeros_like(row) for row in shadow.mass)
    more = other.channels[len(shadow.channels) :]
    return dataclasses.replace(
        shadow,
        outgoing=(*shadow.outgoing, *(rows for _ in more)),
        channels=(*shadow.channels, *more),
        infecting=shadow.infecting | other.infecting,
        infectable=shadow.infectable | other.infectable,
        moves=shadow.moves | (other.moves if isinstance(other, Shadow) else frozenset()),
    )


def pruned(shadow: Shadow) -> Shadow:
    """The shadow without the outgoing shares of stages that lead to none that infects: nothing ever reads them."""
    live: set[int] = set(shadow.infecting)
    before: set[int] = set()
    while live != before:
        before = set(live)
        live |= {origin for origin, target in shadow.moves if target in live}
    kept = {channel: live - shadow.infectable if channel == "children" else live for channel in shadow.channels}
    outgoing = tuple(
        tuple(row if k in kept[channel] else None for k, row in enumerate(rows))
        for rows, channel in zip(shadow.outgoing, shadow.channels, strict=True)
    )
    return dataclasses.replace(shadow, outgoing=outgoing)


def carried(rule: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """An operation on shadows: in value the shadow it is given, in tangent what `rule` says.

    Args:
        rule: `(constants, tangent of the shadow, tangents of the inputs) -> tangent`, linear in the tangents.

    Returns:
        an operation `(shadow, inputs, constants) -> shadow`; constants may depend on parameters, but their tangents are
        not used.
    """

    @jax.custom_jvp
    def operation(shadow: Any, inputs: Any, constants: Any) -> Any:
        return shadow

    def tangent(primals: Any, tangents: Any) -> Any:
        return primals[0], rule(primals[2], tangents[0], tangents[1])

    operation.defjvp(tangent)
    return operation


def linear(
    forward: Callable[[jax.Array], jax.Array],
    transpose: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    shape: tuple[int, ...],
) -> jax.Array:
    """A linear map with a transpose of its own: a gather whose transpose is a gather, where JAX would scatter.

    It is written as the solution y of 1 y = (0, forward(x)), since `custom_linear_solve` is the one operation of JAX
    that may be told its transpose and may be batched.

    Args:
        forward: the map, from x.shape to `shape`.
        transpose: its transpose, from `shape` to x.shape.
        x: float32.
        shape: of the result.
    """

    def solve(_: Any, pair: Any) -> Any:
        return jnp.zeros(x.shape, x.dtype), forward(pair[0])

    def transpose_solve(_: Any, pair: Any) -> Any:
        return transpose(pair[1]), jnp.zeros(shape, x.dtype)

    # Zero, but a function of x, since a right side without any tangent is refused.
    none = jnp.broadcast_to(0 * x.reshape(-1)[0], shape)
    return lax.custom_linear_solve(lambda pair: pair, (x, none), solve, transpose_solve)[1]


def symmetric(forward: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """A linear map that is its own transpose."""
    return lax.custom_linear_solve(lambda y: y, x, lambda _, y: forward(y), symmetric=True)


def coupling(rule: str, happens: jax.Array, chance: jax.Array, word: jax.Array, infecting: bool = False) -> jax.Array:
    """What an agent's chance of an event weighs in the derivative, given whether the event happened.

    The expectation of a right weight is 1: it falls on those who did not have the event and would have had it, or on
    those who had it and would not have had it. The first makes a ghost that is ahead of the agent itself, the second
    one that stays behind. `cavity` takes the first, but the second for stages that infect: then the ghost is always
    the one that infects more, and infects those who were spared. One that infects less would have to spare those who
    were infected, which it cannot, and where groups are small that is not the same.

    Args:
        rule: see `RULES`.
        happens: (n,) uint8.
        chance: () or (n,) float32.
        word: (n,) uint32, the draw.
        infecting: whether the stage that the event ends infects.

    Returns:
        (n,) float32.
    """
    if rule == "cavity" and infecting:  # left coupling
        return jnp.where(happens == 1, 1 / jnp.maximum(chance, 1e-6), 0)
    if rule in ("cavity", "smooth"):  # right coupling (Arya et al. 2022, section 2.3), unless nobody is left
        rare = chance < 1 - 1e-6
        return jnp.where(rare, jnp.where(happens == 1, 0, 1 / jnp.where(rare, 1 - chance, 1)), 1)
    if rule == "gumbel":  # a logistic curve instead of a step (Jang et al. 2017; Maddison et al. 2017, equation 12)
        within = jnp.clip(chance, 1e-6, 1 - 1e-6)
        odds = jnp.log(within) - jnp.log1p(-within)
        u = jnp.clip(random.uniform(word), 1e-6, 1 - 1e-6)
        soft = jax.nn.sigmoid((odds - jnp.log(u) + jnp.log1p(-u)) / TEMPERATURE)
        return soft * (1 - soft) / (TEMPERATURE * within * (1 - within))
    return jnp.ones_like(word, jnp.float32)


def by_band(table: jax.Array, band: jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
    """Each agent's entry of a small table, with a transpose that sums band by band.

    Args:
        table: (bands,) float32, of at most some tens.
        band: (n,) integer, or None if there is one band.
        shape: (n,).
    """
    if band is None:
        return jnp.broadcast_to(table[0], shape)

    def total(values: Any) -> Any:
        return jnp.stack([jnp.where(band == b, values, 0).sum() for b in range(table.shape[0])])

    return linear(lambda t: bits.taken(t, band.astype(jnp.int32)), total, table, shape)


def of_kinds(shadow: Shadow, value: jax.Array, kinds: tuple[int, ...]) -> Flow:
    """The derivative of being in one of some stages."""
    mass = () if shadow.rule == "score" else tuple(shadow.mass[k] for k in kinds)
    outgoing = tuple(tuple(rows[k] for k in kinds) for rows in shadow.outgoing)
    about = (kinds, shadow.channels, shadow.infecting, shadow.rule)
    return Flow(value, mass, outgoing, None, jnp.float32(0), *about, after=len(shadow.since))


def beside(value: jax.Array, channels: tuple[Channel, ...]) -> list[tuple[jax.Array, bool]]:
    """For the mass and each channel: the stages of the agents whose ghosts it is of, and whether parameters make some.

    Children are ghosts of others, who have not been infected: none of their own stages counts. Who is moved by a
    parameter is a root, since it was born of no ghost.

    Args:
        value: (n,) uint8, the agents' own stages.
        channels: see `Channel`.
    """
    nobody = jnp.full_like(value, NOBODY)
    return [(value, True), *((nobody if each == "children" else value, each == "root") for each in channels)]


def mean_of(chance: jax.Array) -> jax.Array:
    """The mean over all agents, (), of a chance that is () or (n,)."""
    return ranks.sum(ranks.present(chance).sum()) / ranks.everyone(chance.shape[0]) if chance.ndim else chance


@jax.custom_jvp
def counted(count: jax.Array, rows: Rows) -> jax.Array:
    """A count as float32, with the derivative that its rows carry.

    Args:
        count: () int32.
        rows: (n,) float32 each.
    """
    return count.astype(jnp.float32)


@counted.defjvp
def _(primals: Any, tangents: Any) -> Any:
    count, _ = primals
    return count.astype(jnp.float32), ranks.sum(
        sum((ranks.present(row).sum() for row in tangents[1]), start=jnp.float32(0))
    )


@jax.custom_jvp
def amounts(value: jax.Array, rows: Rows) -> jax.Array:
    """A yes or no of each agent as float32, with the derivative that its rows carry.

    Args:
        value: (n,) uint8.
        rows: (n,) float32 each.
    """
    return value.astype(jnp.float32)


@amounts.defjvp
def _(primals: Any, tangents: Any) -> Any:
    value, _ = primals
    return value.astype(jnp.float32), sum(tangents[1], start=jnp.zeros(value.shape, jnp.float32))
