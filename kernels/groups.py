"""Who is infectious around me: sums within groups, exact integers whatever the order of agents.

Two kinds of groups. In *households* the members stand side by side, so that a household is a window of a few bits of the packed
flags: no lookup at all. In scattered *groups* (schools, workplaces) each group has a row of its members' numbers; rows of
similar length share a table, so that little is padded.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from lpm.kernels import bits

LARGEST_HOUSEHOLD = 31  # a household is read as a window of at most 31 bits


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Households:
    """Groups whose members stand side by side.

    Args:
        position: (n,) uint8, the member's place in its household, from 0.
        size: (n,) uint8, how many members the household has, at most 31.
    """

    position: jax.Array
    size: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Groups:
    """Groups whose members stand anywhere; an agent belongs to at most one.

    Args:
        rows: tables of members, one for each class of sizes, (members, groups in the class) int32; n stands for nobody.
            Groups are numbered in the order of the tables.
        group: (n,) int32, the group of each agent; the number of groups stands for none.
        size: (groups,) int32, members in each.
    """

    rows: tuple[jax.Array, ...]
    group: jax.Array
    size: jax.Array


def household_counts(words: jax.Array, households: Households) -> jax.Array:
    """How many flagged members each agent's household has, itself included.

    Args:
        words: packed flags of all agents.
        households: see `Households`.

    Returns:
        (n,) uint8.
    """
    n = households.size.shape[0]
    lines = words.shape[0] - 1
    fill = (0, 32 * lines - n)
    position = jnp.pad(households.position, fill).reshape(lines, 32).astype(jnp.int32)
    size = jnp.pad(households.size, fill).reshape(lines, 32).astype(jnp.uint32)
    here, after = words[:-1, None], words[1:, None]
    before = jnp.pad(words[:-2], (1, 0))[:, None]
    start = jnp.arange(32, dtype=jnp.int32)[None, :] - position  # the household's first bit, from this word's; may be < 0
    low, high = jnp.where(start < 0, before, here), jnp.where(start < 0, here, after)
    shift = (start & 31).astype(jnp.uint32)
    window = (low >> shift) | ((high << (31 - shift)) << 1)  # two shifts, since a shift by 32 is undefined
    members = window & ((jnp.uint32(1) << size) - 1)
    return lax.population_count(members).astype(jnp.uint8).reshape(-1)[:n]


def group_counts(words: jax.Array, groups: Groups) -> jax.Array:
    """How many flagged members each group has: (groups,) int32."""
    return jnp.concatenate([bits.lookup(words, row).sum(0, dtype=jnp.int32) for row in groups.rows])


def to_members(values: jax.Array, groups: Groups) -> jax.Array:
    """Each agent gets its group's value, agents without a group get 0.

    Args:
        values: (groups,), any dtype.

    Returns:
        (n,), the same dtype.
    """
    return jnp.pad(values, (0, 1)).at[groups.group].get(mode="promise_in_bounds")
