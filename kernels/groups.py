"""Who is infectious around me: sums within groups, exact integers whatever the order of agents.

Two kinds of groups. In *households* the members stand side by side, so that a household is a window of a few bits of
the packed flags: no lookup at all. In scattered *groups* (schools, workplaces) each group has a row of its members'
numbers; rows of similar length share a table, so that little is padded.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lpm.kernels import bits, ranks, shadows

LARGEST_HOUSEHOLD = 31  # a household is read as a window of at most 31 bits
LARGEST_PAIR = 0xFFFF  # members of a group of which two sets of flags are counted in one integer


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Households:
    """Groups whose members stand side by side; made by `households`.

    Args:
        start: (words, 32) int8, for each bit of the packed flags, the first bit of its household counted from its own
            word's.
        size: (words, 32) uint8, how many members the household has.
        agents: n, static; the bits after them are nobody's.
        most: members of the largest household, static.
    """

    start: jax.Array
    size: jax.Array
    agents: int = dataclasses.field(metadata={"static": True})
    most: int = dataclasses.field(default=LARGEST_HOUSEHOLD, metadata={"static": True})


def households(position: np.ndarray, size: np.ndarray) -> Households:
    """Households on the host.

    Args:
        position: (n,) integer, the member's place in its household, from 0.
        size: (n,) integer, how many members the household has, at most 31.

    >>> household_sizes(households(np.array([0, 0, 1]), np.array([1, 2, 2])))
    Array([1, 2, 2], dtype=uint8)
    """
    n = len(size)
    if n and size.max() > LARGEST_HOUSEHOLD:
        raise ValueError(
            f"households: asked for at most {LARGEST_HOUSEHOLD} members, got {size.max()}; use groups for larger ones"
        )
    fill = (0, -n % 32)
    place = np.pad(np.asarray(position, np.int8), fill).reshape(-1, 32)
    members = np.pad(np.asarray(size, np.uint8), fill).reshape(-1, 32)
    start, members = jax.device_put((np.arange(32, dtype=np.int8)[None, :] - place, members))
    return Households(start, members, n, int(size.max()) if n else 1)


def household_sizes(households: Households) -> jax.Array:
    """How many members each agent's household has: (n,) uint8."""
    return households.size.reshape(-1)[: households.agents]


def others(size: jax.Array) -> jax.Array:
    """Whom a member of a group of this size meets, float32; 1 where nobody else is there, as a divisor."""
    return jnp.maximum(size, 2).astype(jnp.float32) - 1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Groups:
    """Groups whose members stand anywhere; an agent belongs to at most one.

    Args:
        rows: tables of this rank's members, one for each class of sizes, (members, groups in the class) int32; n
            stands for nobody. Groups are numbered in the order of the tables.
        group: (n,) int32, the group of each agent; the number of groups stands for none.
        size: (groups,) int32, members in each, those of other ranks included.
        shared: which groups have members on other ranks; None on one process.
        most: members of the largest group, those of other ranks included, static; at least that.
    """

    rows: tuple[jax.Array, ...]
    group: jax.Array
    size: jax.Array
    shared: ranks.Shared | None = None
    most: int = dataclasses.field(default=LARGEST_PAIR, metadata={"static": True})


def household_counts(words: jax.Array, households: Households) -> jax.Array:
    """How many flagged members each agent's household has, itself included.

    Args:
        words: packed flags of all agents.
        households: see `Households`.

    Returns:
        (n,) uint8.
    """
    counts = bits.settle(_household_windows(words, households).astype(jnp.uint8))
    return counts.reshape(-1)[: households.agents]


def household_counts_of_two(words: tuple[jax.Array, jax.Array], households: Households) -> tuple[jax.Array, jax.Array]:
    """As `household_counts`, for two sets of flags in one pass."""
    one, two = (_household_windows(each, households).astype(jnp.uint16) for each in words)
    both = bits.settle(one | (two << 8)).reshape(-1)[: households.agents]
    return both & 0xFF, both >> 8


def _household_windows(words: jax.Array, households: Households) -> jax.Array:
    """Flagged members for each bit of the packed flags, (words, 32) uint32.

    To be stored in this shape, that of its loop: fused into a flat one, it would divide by 32 for each agent and not be
    vectorised.
    """
    before, here, after = (
        bits.settle(shifted)[:, None] for shifted in (jnp.pad(words[:-2], (1, 0)), words[:-1], words[1:])
    )
    start, size = (bits.anew(each, words) for each in (households.start, households.size))
    start = start.astype(jnp.int32)
    low, high = jnp.where(start < 0, before, here), jnp.where(start < 0, here, after)
    shift = (start & 31).astype(jnp.uint32)
    window = (low >> shift) | ((high << (31 - shift)) << 1)  # two shifts, since a shift by 32 is undefined
    return lax.population_count(window & ((jnp.uint32(1) << size.astype(jnp.uint32)) - 1))


def housemate_sums(values: jax.Array, households: Households) -> jax.Array:
    """The sum of a real value over the other members of each agent's household: (n,) float32 to (n,) float32."""
    n = households.agents
    # Of the household, counted from the agent.
    first = (households.start - jnp.arange(32, dtype=jnp.int8)[None, :]).reshape(-1)[:n]
    last = first + household_sizes(households).astype(jnp.int8)
    reach = households.most - 1
    padded = jnp.pad(values, (reach, reach))
    total = jnp.zeros_like(values)
    for step in (*range(-reach, 0), *range(1, reach + 1)):
        total = total + jnp.where((first <= step) & (step < last), padded[reach + step : reach + step + n], 0)
    return total


def group_sums(values: jax.Array, groups: Groups) -> jax.Array:
    """The sum of a real value over each group: (n,) float32 to (groups,) float32; it cannot be differentiated."""
    return ranks.total(_own_sums(values, groups), groups.shared)


def _own_sums(values: jax.Array, groups: Groups) -> jax.Array:
    values = bits.settle(jnp.pad(values, (0, 1)))
    return jnp.concatenate([bits.fused_sum(bits.taken(values, row), 0) for row in groups.rows])


def group_counts(words: jax.Array, groups: Groups) -> jax.Array:
    """How many flagged members each group has: (groups,) int32."""
    counts = jnp.concatenate([_count(lambda members: bits.lookup(words, members), row) for row in groups.rows])
    return ranks.total(counts.astype(jnp.int32), groups.shared)


def group_counts_of_two(words: tuple[jax.Array, jax.Array], groups: Groups) -> tuple[jax.Array, jax.Array]:
    """As `group_counts`, for two sets of flags in one pass over the members: a member is looked up in both at once."""
    if groups.most > LARGEST_PAIR:
        return group_counts(words[0], groups), group_counts(words[1], groups)
    pairs = bits.interleave(*words)
    both = jnp.concatenate([_count(lambda members: bits.lookup_pair(pairs, members), row) for row in groups.rows])
    both = ranks.total(both, groups.shared)
    return (both & 0xFFFF).astype(jnp.int32), (both >> 16).astype(jnp.int32)


def _count(look_up: Callable[[jax.Array], jax.Array], row: jax.Array) -> jax.Array:
    """Flags set in each column of a table, 32 at a time: a longer sum would store all the flags first."""
    members, width = row.shape
    whole = members // 32 * 32
    parts = []
    if whole:
        short = look_up(row[:whole].reshape(32, whole // 32 * width)).sum(0, dtype=jnp.uint32)
        parts.append(short.reshape(whole // 32, width).sum(0, dtype=jnp.uint32))
    if members > whole:
        parts.append(look_up(row[whole:]).sum(0, dtype=jnp.uint32))
    return sum(parts[1:], parts[0]) if parts else jnp.zeros(width, jnp.uint32)


def to_members(values: jax.Array, groups: Groups) -> jax.Array:
    """Each agent gets its group's value, agents without a group get 0.

    Args:
        values: (groups,), any dtype.

    Returns:
        (n,), the same dtype.
    """
    return bits.taken(bits.settle(jnp.pad(values, (0, 1))), groups.group)


def rates_to_members(rates: jax.Array, groups: Groups) -> jax.Array:
    """As `to_members`, with a derivative: (groups,) float32 to (n,) float32."""
    # Every rank that has a member has the group's rate, and its share of the derivative.
    spread, back = functools.partial(to_members, groups=groups), functools.partial(_own_sums, groups=groups)
    return shadows.linear(spread, back, rates, groups.group.shape)
