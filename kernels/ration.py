"""An exact number of agents out of those who ask: doses, tests, beds.

Each agent has a word, a draw of its own; those with the smallest words are served. The k-th smallest word of all ranks
together is found by counting how many lie below a guess, which moves as on a line: words are uniform, so that a guess
that misses by m agents is followed by one that misses by about the root of m.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from lpm.kernels import bits, ranks

_STRAIGHT = 12  # guesses on a line; a bracket that is still open then is halved until it closes


def served(words: tuple[jax.Array, jax.Array], asking: jax.Array, count: jax.Array) -> jax.Array:
    """The `count` agents with the smallest words of those who ask, or all of them if they are fewer.

    Args:
        words: two (n,) uint32, from `random.words`: the second decides where first words are equal. With the same
            words, a larger count serves the same agents and further ones.
        asking: (n,) uint8, 0 or 1.
        count: () int32, of all ranks together.

    Returns:
        (n,) uint8.

    >>> from lpm.kernels import random
    >>> words = random.words(random.key(1), jnp.arange(50, dtype=jnp.uint32))
    >>> int(served(words, jnp.ones(50, jnp.uint8), jnp.int32(7)).sum())
    7
    """
    first, second = words
    line, below = _line(first, asking, count)
    # Words lie below the line, on it or above; where the word on it has several agents, second words decide.
    tied = bits.settle((asking == 1) & (first == line)).astype(jnp.uint8)
    rest, equal = count - below, _count(tied)
    other_line, _ = lax.cond(
        (rest > 0) & (rest < equal), lambda: _line(second, tied, rest), lambda: (jnp.uint32(0), jnp.int32(0))
    )
    takes_tied = jnp.where(rest >= equal, tied, tied & (second < other_line).astype(jnp.uint8))
    return bits.settle((asking & (first < line).astype(jnp.uint8)) | takes_tied)


def _count(flags: jax.Array) -> jax.Array:
    return ranks.sum(bits.total(bits.pack(ranks.present(flags))))


def _line(word: jax.Array, asking: jax.Array, count: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A line with at most `count` askers below it, and so many that one agent's word more would be too many.

    Returns:
        the line, () uint32, and how many are below it, () int32. Askers whose word is the line itself may be served
        too, if all askers are, or if the count is not met.
    """
    # The largest word stands for those who do not ask: an asker who has it too is tied with the line there.
    most = jnp.uint32(0xFFFFFFFF)
    asked = bits.settle(jnp.where(asking == 1, word, most))

    def below(line: jax.Array) -> jax.Array:
        return _count((asked < line).astype(jnp.uint8))

    def open_bracket(state: tuple[jax.Array, ...]) -> jax.Array:
        low, high, under, _, _ = state
        return (under < count) & (high - low > 1)

    def narrower(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        low, high, under, over, turn = state
        width = high - low
        share = (count - under).astype(jnp.float32) + 0.5
        share = share / ((over - under).astype(jnp.float32) + 1)
        step = jnp.where(
            turn < _STRAIGHT, (jnp.clip(share, 0, 0.99) * width.astype(jnp.float32)).astype(jnp.uint32), width >> 1
        )
        guess = low + jnp.clip(step, 1, width - 1)
        found = below(guess)
        enough = found > count
        return (
            jnp.where(enough, low, guess),
            jnp.where(enough, guess, high),
            jnp.where(enough, under, found),
            jnp.where(enough, found, over),
            turn + 1,
        )

    total = below(most)
    first: tuple[jax.Array, ...] = (jnp.uint32(0), most, jnp.int32(0), total, jnp.int32(0))
    low, _, under, _, _ = lax.while_loop(open_bracket, narrower, first)
    all_of_them = total <= count
    return jnp.where(all_of_them, most, low), jnp.where(all_of_them, total, under)
