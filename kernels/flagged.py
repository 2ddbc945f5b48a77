"""Work for the flagged agents alone, one chunk of them after another.

Where few agents can be concerned by what is costly to find out, they are listed and the rest are passed over. A list of
unknown length is nothing that a compiled program can hold; but the k-th flagged agent can be found from packed flags by
counting (*rank* and *select*; Jacobson 1989, Space-efficient static trees and graphs, FOCS 30), so that the agents
number k, k + 1, ... are found, asked and answered in a loop that turns as often as there are chunks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lpm.kernels import bits, random

BLOCK = 64  # words that are summed up together


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Listed:
    """Flagged agents, ready to be found by their number among the flagged; made by `listed`.

    Args:
        words: (words,) uint32, packed flags of all agents.
        begin: (words,) uint32, flagged agents in all words before.
        marks: (words,) uint32, packed: whether a word's first flagged agent has this number among the flagged.
        marked: (words,) uint32, marks in all words before.
        holder: (words,) int32, the words that have flagged agents, one after another.
        number: () int32, flagged agents.
    """

    words: jax.Array
    begin: jax.Array
    marks: jax.Array
    marked: jax.Array
    holder: jax.Array
    number: jax.Array


def listed(words: jax.Array) -> Listed:
    """The agents flagged in packed flags, ready to be found.

    >>> int(listed(bits.pack(jnp.array([1, 0, 1], dtype=jnp.uint8))).number)
    2
    """
    each = lax.population_count(words)
    some = each > 0
    begin, holding = _sums_before(each, some.astype(jnp.uint32))
    ordered: Any = {"mode": "promise_in_bounds", "indices_are_sorted": True}
    first = jnp.where(some, jnp.uint32(1) << (begin & 31), 0)
    marks = bits.settle(jnp.zeros_like(words).at[(begin >> 5).astype(jnp.int32)].add(first, **ordered))
    # Of all words before which as many others are held, the last one holds somebody: the others are empty.
    numbers = jnp.arange(words.shape[0], dtype=jnp.int32)
    holder = jnp.zeros(words.shape[0], jnp.int32).at[holding.astype(jnp.int32)].max(numbers, **ordered)
    marked, _ = _sums_before(lax.population_count(marks), jnp.zeros_like(marks))
    return Listed(words, begin, marks, marked, bits.settle(holder), (begin[-1] + each[-1]).astype(jnp.int32))


def _sums_before(numbers: jax.Array, ones: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sum of all entries before each, for entries up to 32 and for entries up to 1: (words,) uint32 both."""
    n = numbers.shape[0]
    rows = -(-n // BLOCK)
    both = bits.settle(jnp.pad(numbers + (ones << 12), (0, rows * BLOCK - n)).reshape(rows, BLOCK))
    # A product of floats, for which processors are made; exact, since all sums are whole and below 2^24.
    before = np.triu(np.ones((BLOCK, BLOCK), np.float32), 1)
    inside = jnp.dot(both.astype(jnp.float32), before, precision=lax.Precision.HIGHEST)
    inside = bits.settle(inside.astype(jnp.uint32))
    total = inside[:, -1] + both[:, -1]

    def of(inside: jax.Array, total: jax.Array) -> jax.Array:
        before = bits.settle(jnp.cumsum(total) - total)
        return bits.settle(inside + before[:, None]).reshape(-1)[:n]

    return of(inside & 0xFFF, total & 0xFFF), of(inside >> 12, total >> 12)


def below(draw: Callable[[slice], jax.Array], limits: jax.Array, who: jax.Array) -> jax.Array:
    """Whose draw is below the limit of their word of packed flags.

    Args:
        draw: see `random.drawn`.
        limits: (n / 32 rounded up,) uint32, from `random.threshold`: one for each 32 agents.
        who: (n,) uint8, 0 for those who are left out.

    Returns:
        (n,) uint8.
    """

    def of(part: slice) -> jax.Array:
        draws, asked = draw(part), who[part]
        count = draws.shape[0]
        fill = (0, -count % 32)
        if fill[1]:
            draws, asked = jnp.pad(draws, fill), jnp.pad(asked, fill)
        first = (part.start or 0) // 32
        limit = limits[first : first + draws.shape[0] // 32, None]
        found = random.happens(draws.reshape(-1, 32), limit) & asked.reshape(-1, 32)
        return found.reshape(-1)[:count]

    return bits.evenly(of, who.shape[0])


def chunk(n: int) -> int:
    """A length of chunks that keeps the cores busy and what is known of a chunk in cache."""
    return int(np.clip(2 ** (n.bit_length() - 8), 256, 16_384))


def number_before(found: Listed, bounds: Sequence[int]) -> jax.Array:
    """How many flagged agents come before each of some agents: (bounds,) int32."""
    place = np.asarray(bounds)
    word = found.words[place // 32] & np.asarray((1 << place % 32) - 1, np.uint32)
    return (found.begin[place // 32] + lax.population_count(word)).astype(jnp.int32)


def decided(
    found: Listed, bounds: Sequence[int], decide: Callable[[jax.Array, jax.Array], jax.Array], chunk: int
) -> jax.Array:
    """Packed flags of those listed agents of whom `decide` says yes.

    Args:
        found: see `listed`.
        bounds: where each class of agents begins, and the end of the last; static.
        decide: a function of (class () int32, agents (chunk,) int32), all of that class, to (chunk,) uint8, 0 or 1.
        chunk: agents in a chunk, a multiple of 32, static.
    """
    ends = bits.settle(number_before(found, bounds[1:]))
    spare = (0, chunk // 32)
    marks, marked = (bits.settle(jnp.pad(each, spare)) for each in (found.marks, found.marked))

    def turn(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        begin, answers = carry
        which = (ends <= begin).sum(dtype=jnp.int32)
        end = ends[which]
        first = begin // 32
        number = first * 32 + jnp.arange(chunk, dtype=jnp.int32)
        within = (begin <= number) & (number < end)
        who = bits.settle(jnp.where(within, _agents(found, marks, marked, first, chunk // 32), 0))
        yes = bits.settle(decide(which, who) & within.astype(jnp.uint8))
        before = lax.dynamic_slice(answers, (first,), (chunk // 32,))
        answers = lax.dynamic_update_slice(answers, before | bits.pack_whole(yes), (first,))
        return jnp.minimum(first * 32 + chunk, end), answers

    answers = jnp.zeros(found.words.shape[0] + chunk // 32, jnp.uint32)
    _, answers = lax.while_loop(lambda carry: carry[0] < found.number, turn, (jnp.int32(0), answers))
    place, shift = (found.begin >> 5).astype(jnp.int32), found.begin & 31
    low = bits.taken(answers, place) >> shift
    high = (bits.taken(answers, place + 1) << (31 - shift)) << 1
    return bits.settle(_deposit(bits.settle(low | high), found.words))


def _agents(found: Listed, marks: jax.Array, marked: jax.Array, first: jax.Array, rows: int) -> jax.Array:
    """The flagged agents number 32 first, 32 first + 1, ...: (32 rows,) int32."""
    mark, before = (lax.dynamic_slice(each, (first,), (rows,))[:, None] for each in (marks, marked))
    lane = jnp.arange(32, dtype=jnp.uint32)[None, :]
    rank = bits.settle(before + lax.population_count(mark & ((jnp.uint32(2) << lane) - 1)) - 1)
    at: Any = {"mode": "promise_in_bounds"}
    holder = bits.settle(found.holder.at[rank.astype(jnp.int32)].get(**at))
    word, begin = found.words.at[holder].get(**at), found.begin.at[holder].get(**at)
    number = ((first + jnp.arange(rows, dtype=jnp.int32)) * 32).astype(jnp.uint32)[:, None] + lane
    word, begin = bits.settle(word), bits.settle(begin)
    return (holder * 32 + _select(word, number - begin).astype(jnp.int32)).reshape(-1)


def _select(word: jax.Array, number: jax.Array) -> jax.Array:
    """The place of a word's set bit of that number, from 0."""
    place = jnp.zeros_like(word)
    for width in (16, 8, 4, 2, 1):
        here = lax.population_count(word & jnp.uint32((1 << width) - 1))
        beyond = number >= here
        number = jnp.where(beyond, number - here, number)
        word = jnp.where(beyond, word >> width, word)
        place = jnp.where(beyond, place + width, place)
    return place


def _deposit(source: jax.Array, mask: jax.Array) -> jax.Array:
    """A word's lowest bits, one after another, laid where the mask has ones.

    Warren, Hacker's Delight (2nd edition 2012), section 7-5, "expand".
    """
    rest, zeros, moves = mask, ~mask << 1, []
    for step in range(5):
        parity = zeros
        for shift in (1, 2, 4, 8, 16):
            parity = parity ^ (parity << shift)
        moves.append(parity & rest)
        rest = (rest ^ moves[-1]) | (moves[-1] >> (1 << step))
        zeros = zeros & ~parity
    for step in reversed(range(5)):
        source = (source & ~moves[step]) | ((source << (1 << step)) & moves[step])
    return source & mask
