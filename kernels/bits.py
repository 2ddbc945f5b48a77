"""Flags packed 32 to a word: what makes random lookups cheap, since 8.8 million agents then fit a processor's cache.

Agent i is bit i % 32 of word i // 32; bits past the last agent are 0.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def words_for(n: int) -> int:
    """How many words n flags take: n / 32 rounded up, and one more, so that agent number n reads as 0 ("nobody").

    >>> words_for(32), words_for(33)
    (2, 3)
    """
    return -(-n // 32) + 1


def settle(value: jax.Array) -> jax.Array:
    """The same array, computed once and stored.

    A compiler that fuses cheap operations into their users would draw the random numbers of an event anew for every
    observable that counts it, and sum up a workplace anew for every member that reads the sum. XLA's compiler for CPUs
    drops optimization barriers before it fuses, but it fuses nothing across a loop, and it cannot know that this one
    never turns.
    """
    return lax.platform_dependent(value, cpu=_stored, default=lax.optimization_barrier)


def _stored(value: jax.Array) -> jax.Array:
    never = _never(value)
    if jnp.issubdtype(value.dtype, jnp.floating):  # a conditional costs a copy, but has a derivative in reverse
        return lax.cond(never, jnp.zeros_like, lambda x: x, value)
    return lax.while_loop(lambda carry: carry[0], lambda carry: (carry[0], jnp.zeros_like(carry[1])), (never, value))[1]


def settle_tangent(value: jax.Array, turn: jax.Array) -> jax.Array:
    """As `settle`, for floats in a function that must stay linear in them: the condition never met is one of `turn`.

    Args:
        value: (n,) float32.
        turn: integers that do not depend on it.
    """

    def stored() -> jax.Array:
        return lax.cond(_never(turn), jnp.zeros_like, lambda x: x, value)

    return lax.platform_dependent(cpu=stored, default=lambda: lax.optimization_barrier(value))


def _never(turn: jax.Array) -> jax.Array:
    """False, which XLA does not know: () bool."""
    first = lax.slice(turn, (0,) * turn.ndim, (1,) * turn.ndim).reshape(())
    return (lax.convert_element_type(first, jnp.int32) & 1) > 1


def evenly(function: Callable[[slice], jax.Array], n: int) -> jax.Array:
    """What a function says of each of n agents, settled; as fast for any n as for a round one.

    XLA's compiler for CPUs gives each core an equal part of a loop. If the cores do not divide the agents, each turn of
    the loop asks first whether its agent exists; all that follows, loads of numbers that agents share and lookups too,
    depends on the answer, so that the loop is not vectorised and takes five times as long or more. Here the agents that
    the cores do divide are computed apart from the few that are left.

    Args:
        function: a slice of the agents to an array of as many rows, each of which depends on its own agent alone.
        n: how many agents there are.

    >>> stage = jnp.arange(3)
    >>> evenly(lambda part: stage[part] + 1, 3)
    Array([1, 2, 3], dtype=int32)
    """

    cores = _cores()

    def in_parts() -> jax.Array:
        whole = n - n % (256 * cores)
        if whole in (0, n) or n % cores == 0:
            return _stored(function(slice(n)))
        return _stored(jnp.concatenate([_stored(function(part)) for part in (slice(whole), slice(whole, n))]))

    return lax.platform_dependent(cpu=in_parts, default=lambda: settle(function(slice(n))))


def _cores() -> int:
    """How many parts XLA's compiler for CPUs makes of a loop."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fused_sum(values: jax.Array, axis: int) -> jax.Array:
    """The sum of floats along an axis, in one loop with what computes them; it cannot be differentiated.

    XLA's compiler for CPUs hands plain sums of floats to a library, and all that is summed, random lookups too, is
    stored for it first. It knows a sum by its combiner, which is disguised here.
    """

    def add(one: jax.Array, other: jax.Array) -> jax.Array:
        return lax.select(other == other, one + other, other)  # `where` is a call, and XLA fails where a sum is unused

    return lax.reduce(values, np.zeros((), values.dtype), add, (axis,))


def pack(flags: jax.Array) -> jax.Array:
    """Pack 0/1 flags.

    Args:
        flags: (n,) uint8, each 0 or 1.

    Returns:
        (words_for(n),) uint32.

    >>> pack(jnp.array([1, 0, 1], dtype=jnp.uint8))
    Array([5, 0], dtype=uint32)
    """
    n = flags.shape[0]
    whole = n // 32 * 32
    parts = [pack_whole(flags[:whole])] if whole else []
    if n > whole:  # apart from the rest, since padding the flags would put a branch into the loop over them
        parts.append(pack_whole(jnp.pad(flags[whole:], (0, whole + 32 - n))))
    return settle(jnp.concatenate([*parts, jnp.zeros(1, jnp.uint32)]))


def pack_whole(flags: jax.Array) -> jax.Array:
    # Four flags are four bytes of one 32-bit number; a multiplication gathers their lowest bits in the highest nibble.
    quads = lax.bitcast_convert_type(flags.reshape(-1, 8, 4), jnp.uint32)
    nibbles = (quads * jnp.uint32(0x10204080)) >> 28
    return (nibbles << (4 * jnp.arange(8, dtype=jnp.uint32))[None, :]).sum(1, dtype=jnp.uint32)


def unpack(words: jax.Array, n: int) -> jax.Array:
    """The flags of n agents from packed ones: (n,) uint8, 0 or 1.

    >>> unpack(jnp.array([5, 0], dtype=jnp.uint32), 3)
    Array([1, 0, 1], dtype=uint8)
    """
    # Stored in this shape, that of its loop: in a flat one, each agent would take a division.
    flags = settle(((words[:-1, None] >> jnp.arange(32, dtype=jnp.uint32)[None, :]) & 1).astype(jnp.uint8))
    return flags.reshape(-1)[:n]


def taken(values: jax.Array, places: jax.Array) -> jax.Array:
    """The entries at some places along the first axis: integers of any shape, all of them from 0 to the last."""
    return values.at[places].get(mode="promise_in_bounds", wrap_negative_indices=False)


def anew(value: jax.Array, turn: jax.Array) -> jax.Array:
    """The same array, as something that may be different in each turn of a loop over steps.

    What XLA knows to be the same in each step it computes before the loop and stores, be it as little as a shift: for
    places among packed flags, several times the memory of the graph, to be read in each step. It does not see that what
    is added here is nothing; the compiler of the machine's code does, so that this costs nothing.

    Args:
        value: what is computed with.
        turn: integers of any shape that XLA knows to change from step to step.
    """
    nothing = _never(turn).astype(value.dtype)
    return value * (1 - nothing) if jnp.issubdtype(value.dtype, jnp.floating) else value + nothing


def lookup(words: jax.Array, agents: jax.Array) -> jax.Array:
    """The flags of the given agents: any shape of int32 in [0, n], where n itself reads as 0; returns uint32, 0 or 1.

    All in 32 bits, so that nothing is converted where it is looked up.
    """
    place = anew(agents, words).astype(jnp.uint32)
    return (taken(words, place >> 5) >> (place & 31)) & 1


def interleave(first: jax.Array, second: jax.Array) -> jax.Array:
    """Two sets of packed flags, side by side: agent i has bits 2 (i % 16) and 2 (i % 16) + 1 of word i // 16.

    >>> interleave(pack(jnp.array([1, 0], dtype=jnp.uint8)), pack(jnp.array([0, 1], dtype=jnp.uint8)))[0]
    Array(9, dtype=uint32)
    """

    def apart(half: jax.Array) -> jax.Array:  # 16 bits, a zero between any two
        for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
            half = (half | (half << shift)) & jnp.uint32(mask)
        return half

    low, high = (apart(first & 0xFFFF) | (apart(second & 0xFFFF) << 1), apart(first >> 16) | (apart(second >> 16) << 1))
    return settle(jnp.stack([low, high], axis=1).reshape(-1))


def lookup_pair(pairs: jax.Array, agents: jax.Array) -> jax.Array:
    """As `lookup`, from interleaved flags: uint32 with the first flag in bit 0 and the second in bit 16."""
    place = anew(agents, pairs).astype(jnp.uint32)
    both = (taken(pairs, place >> 4) >> ((place & 15) << 1)) & 3
    return (both | (both << 15)) & 0x00010001


def interleave_four(words: Sequence[jax.Array]) -> jax.Array:
    """Up to four sets of packed flags, side by side: agent i has bits 4 (i % 8), ... of word i // 8.

    >>> interleave_four([pack(jnp.array([1, 0], dtype=jnp.uint8)), pack(jnp.array([1, 1], dtype=jnp.uint8))])[0]
    Array(35, dtype=uint32)
    """
    place = 8 * jnp.arange(4, dtype=jnp.uint32)[None, :]
    total = jnp.zeros((words[0].shape[0], 4), jnp.uint32)
    for number, each in enumerate(words):
        apart = (each[:, None] >> place) & 0xFF  # eight bits, three zeros between any two
        for shift, mask in ((12, 0x000F000F), (6, 0x03030303), (3, 0x11111111)):
            apart = (apart | (apart << shift)) & jnp.uint32(mask)
        total = total | (apart << number)
    return settle(total).reshape(-1)


def lookup_four(fours: jax.Array, agents: jax.Array) -> jax.Array:
    """As `lookup`, from `interleave_four`: uint32 with the flags in bits 0, 8, 16 and 24."""
    place = anew(agents, fours).astype(jnp.uint32)
    found = (taken(fours, place >> 3) >> ((place & 7) << 2)) & 15
    return (found * jnp.uint32(0x00204081)) & jnp.uint32(0x01010101)


def pack_host(flags: np.ndarray) -> np.ndarray:
    """`pack` in numpy, along the last axis, for what is built outside jit."""
    n = flags.shape[-1]
    width = [(0, 0)] * (flags.ndim - 1) + [(0, 32 * words_for(n) - n)]
    return np.packbits(np.pad(flags.astype(bool), width), axis=-1, bitorder="little").view("<u4").astype(np.uint32)


def total(words: jax.Array) -> jax.Array:
    """How many flags are set: () int32."""
    return lax.population_count(words).astype(jnp.int32).sum()
