"""Keyed random numbers: a draw is a function of (seed, realization, stream, step, agent id) and of nothing else.

There is no generator state. Each draw is one block of Threefry-2x32 (Salmon et al., *Parallel random numbers: as easy
as 1, 2, 3*, SC 2011, section 3.2) whose key names the stream and whose counter is (agent id, step). The same draw
therefore comes out on any device, in any order of agents, on any number of ranks, and again after a restart. Thirteen
rounds pass TestU01's Crush along agents, along steps and across streams (benchmarks/random).

Probabilities meet draws as integers: `threshold` maps p to an integer out of 2^31, so that p = 0 never happens, p = 1
always happens, and no float comparison depends on a compiler.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lpm.kernels import bits, ranks

ROUNDS = 13  # nine fail Crush along agents, thirteen pass it in every direction; key derivation takes 20
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA
_REALIZATION = 0x7265616C  # keeps the derivation of realizations apart from that of streams


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Key:
    """What a draw is keyed by, short of the agent: two words that name seed, realization and stream, and the step.

    Args:
        words: (2,) uint32.
        step: () uint32, the step that draws.
    """

    words: jax.Array
    step: jax.Array


def threefry(
    key: tuple[jax.Array, jax.Array], counter: tuple[jax.Array, jax.Array], rounds: int = ROUNDS
) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32 with the given number of rounds; words and results are uint32 arrays that broadcast together."""
    k0, k1 = key
    schedule = (k0, k1, k0 ^ k1 ^ jnp.uint32(_PARITY))
    x0, x1 = counter[0] + k0, counter[1] + k1
    for r in range(rounds):
        rotation = _ROTATIONS[r % 8]
        x0 = x0 + x1
        x1 = ((x1 << rotation) | (x1 >> (32 - rotation))) ^ x0
        if r % 4 == 3:
            s = (r + 1) // 4
            x0 = x0 + schedule[s % 3]
            x1 = x1 + schedule[(s + 1) % 3] + jnp.uint32(s)
    return x0, x1


def _derive(words: jax.Array, a: int | jax.Array, b: int | jax.Array) -> jax.Array:
    return _mixed(words, jnp.uint32(a), jnp.uint32(b))


@functools.partial(jax.jit, inline=True)  # outside jit, a hundred operations would be dispatched one by one
def _mixed(words: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.stack(threefry((words[0], words[1]), (a, b), rounds=20))


def key(seed: int, realization: int | jax.Array = 0) -> Key:
    """The key of a run: `seed` is any integer in [0, 2^64), `realization` may be traced.

    >>> int(key(7).step), key(7).words.dtype.name
    (0, 'uint32')
    """
    return of_realization(seed_words(seed), realization)


def seed_words(seed: int) -> np.ndarray:
    """A seed as two words, (2,) uint32: what `of_realization` takes, so that it compiles once for all seeds."""
    if isinstance(seed, int | np.integer) and not 0 <= seed < 2**64:
        raise ValueError(f"seed: asked for an integer in [0, 2^64), got {seed}; write for example seed=1")
    return np.array([int(seed) & 0xFFFFFFFF, int(seed) >> 32], dtype=np.uint32)


def of_realization(words: jax.Array | np.ndarray, realization: int | jax.Array = 0) -> Key:
    """As `key`, from `seed_words`."""
    return Key(_derive(jnp.asarray(words), realization, _REALIZATION), jnp.uint32(0))


def name_hash(name: str) -> int:
    """A 32-bit number for a stream's name, the same in every process and version.

    >>> name_hash("infect")
    1069389491
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")


def stream(key: Key, name: str | int) -> Key:
    """The key of one stream of draws: streams with different names are independent, whatever other streams exist."""
    number = name_hash(name) if isinstance(name, str) else name
    return Key(_derive(key.words, number, 0), key.step)


def at(key: Key, step: jax.Array | int) -> Key:
    """The same stream at another step."""
    return Key(key.words, jnp.asarray(step).astype(jnp.uint32))


def words(key: Key, ids: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two independent 32-bit words for each agent.

    Args:
        key: stream and step.
        ids: (n,) uint32, stable agent ids.

    Returns:
        two (n,) uint32 arrays.
    """
    return threefry((key.words[0], key.words[1]), (bits.anew(ids.astype(jnp.uint32), key.step), key.step))


def drawn(key: Key, ids: jax.Array) -> Callable[[slice | jax.Array], jax.Array]:
    """The first of an agent's two words, drawn when it is asked for: a function of a slice or of agents' numbers.

    Where few agents are looked at, this saves storing a word for each.

    Args:
        key, ids: see `words`.

    >>> first = drawn(key(1), jnp.arange(4, dtype=jnp.uint32))
    >>> bool(first(jnp.array([2]))[0] == words(key(1), jnp.arange(4, dtype=jnp.uint32))[0][2])
    True
    """

    def of(agents: slice | jax.Array) -> jax.Array:
        if isinstance(agents, slice):
            return words(key, ids[agents])[0]
        # Looked up apart from the draw, whose loop would not be vectorised with lookups in it.
        return words(key, bits.settle(bits.taken(ids, agents)))[0]

    return of


def uniform(word: jax.Array) -> jax.Array:
    """A word as a float32 in [0, 1), by its upper 24 bits: every value is exact.

    >>> float(uniform(jnp.uint32(1 << 31)))
    0.5
    """
    return (word >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)


def threshold(probability: jax.Array) -> jax.Array:
    """A probability as an integer out of 2^31: `happens` compares with it.

    Args:
        probability: any shape, float32; values outside [0, 1] are clipped, a NaN counts as 0.

    Returns:
        the same shape, uint32, floor(p * 2^31).

    >>> [int(threshold(jnp.float32(p))) for p in (0, 0.5, 1)]
    [0, 1073741824, 2147483648]
    """
    return (jnp.clip(jnp.nan_to_num(probability), 0, 1) * jnp.float32(2.0**31)).astype(jnp.uint32)


def happens(word: jax.Array, limit: jax.Array) -> jax.Array:
    """Whether an event with the given threshold happens: (n,) uint8, 1 with probability limit / 2^31."""
    return ((word >> 1) < limit).astype(jnp.uint8)


def bernoulli(key: Key, ids: jax.Array, probability: jax.Array) -> jax.Array:
    """One event for each agent.

    Args:
        key: stream and step.
        ids: (n,) uint32.
        probability: () or (n,) float32.

    Returns:
        (n,) uint8.

    >>> bernoulli(key(1), jnp.arange(4, dtype=jnp.uint32), jnp.float32(1.0))
    Array([1, 1, 1, 1], dtype=uint8)
    """
    limit = jnp.broadcast_to(threshold(probability), ids.shape)
    return bits.evenly(lambda part: happens(words(key, ids[part])[0], limit[part]), ids.shape[0])


def categorical(word: jax.Array, cumulative: jax.Array) -> jax.Array:
    """A category for each agent: the number of cumulative thresholds that the word has passed.

    Args:
        word: (n,) uint32.
        cumulative: (categories - 1,) or (categories - 1, n) uint32: thresholds of the running sums of probabilities.

    Returns:
        (n,) uint8, from 0 to categories - 1.
    """
    limits = cumulative[:, None] if cumulative.ndim == 1 else cumulative
    return ((word >> 1)[None, :] >= limits).sum(0, dtype=jnp.uint8)


def binomial(word: jax.Array, trials: jax.Array, probability: jax.Array, *, most: int) -> jax.Array:
    """A small binomial count for each agent, by inversion of its distribution function.

    P(x) = C(trials, x) p^x (1 - p)^(trials - x), summed upwards until it passes the word.

    Args:
        word: (n,) uint32.
        trials: (n,) integer, 0 to `most`.
        probability: () or (n,) float32.
        most: the largest number of trials, static; the work grows with it, so keep it below about 64.

    Returns:
        (n,) int32.
    """
    u = uniform(word)
    p = jnp.clip(probability, 0, 1).astype(jnp.float32) * jnp.ones_like(u)
    n = trials.astype(jnp.int32)
    # Beyond one half the failures are counted instead: (1 - p)^n would underflow.
    swapped = p > 0.5
    p, u = jnp.where(swapped, 1 - p, p), jnp.where(swapped, 1 - 2.0**-24 - u, u)
    odds, mass = p / (1 - p), (1 - p) ** n.astype(jnp.float32)
    total, count = mass, jnp.zeros(u.shape, jnp.int32)
    for x in range(most):
        count = count + (u >= total).astype(jnp.int32)
        mass = mass * odds * jnp.maximum(n - x, 0).astype(jnp.float32) / (x + 1)
        total = total + mass
    count = jnp.minimum(count, n)
    return jnp.where(swapped, n - count, count)


def chosen(key: Key, ids: jax.Array, n: int, count: jax.Array) -> jax.Array:
    """A sample of exactly `count` agents out of the ids 0 .. n - 1, each subset equally likely.

    An agent is chosen if a keyed permutation of the ids takes it below `count`: a Feistel network, walked until it
    lands below n (Black & Rogaway 2002), of six rounds, or twelve below 64 agents, where fewer would favour some
    pairs. No agent needs to know of another, so any division of the agents among ranks chooses the same ones.

    Args:
        key: stream and step.
        ids: (m,) uint32, all or some of the agents.
        n: number of agents in all, static.
        count: () integer or float32, rounded down; may be traced.

    Returns:
        (m,) uint8.

    >>> int(chosen(key(3), jnp.arange(10, dtype=jnp.uint32), 10, 4).sum())
    4
    """
    half = max(1, (max(n - 1, 1).bit_length() + 1) // 2)
    rounds = 12 if half < 4 else 6
    mask = jnp.uint32(2**half - 1)

    def shuffle(x: jax.Array) -> jax.Array:
        left, right = x >> half, x & mask
        for r in range(rounds):
            mixed, _ = threefry((key.words[0], key.words[1]), (right, key.step ^ jnp.uint32((r + 1) << 24)), rounds=12)
            left, right = right, left ^ (mixed & mask)
        return (left << half) | right

    def outside(x: jax.Array) -> jax.Array:
        return jnp.any(ranks.present(x >= n))

    def again(place: jax.Array) -> jax.Array:
        return bits.evenly(lambda part: jnp.where(place[part] >= n, shuffle(place[part]), place[part]), len(place))

    first = bits.evenly(lambda part: shuffle(ids[part].astype(jnp.uint32)), len(ids))
    place = jax.lax.while_loop(outside, again, first)
    return (place < jnp.maximum(jnp.asarray(count), 0).astype(jnp.uint32)).astype(jnp.uint8)
