"""Ghosts in groups: those whom one ghost infects, directly or not, within its household, school or workplace.

In a group everybody meets everybody, so that all of a ghost's family there compete for the same contacts. The
derivative must stay linear in the ghosts, so the competition cannot be simulated. It enters by how fast the contacts
are used up of the ghost that came into the group, its *root* there, and of those born in it, its *family*: such that
infections among m susceptible agents are as many, and come as late in the mean, as those of a stochastic epidemic with
exponential infectious periods. Both follow from the recursion of its jump chain (Bailey 1975, The Mathematical Theory
of Infectious Diseases, section 6.3). With i infectious and s susceptible agents, a the odds of infecting a given one
before recovery, and time in infectious periods:

    E(s, i) = (a s (1 + E(s - 1, i + 1)) + E(s, i - 1)) / (1 + a s)
    W(s, i) = E(s, i) / (i (1 + a s)) + (a s W(s - 1, i + 1) + W(s, i - 1)) / (1 + a s)

E is the number of infections to come, W the sum of the times until each. The linear system has three numbers: the root
infects W1 of each contact in its life, a member of the family W2, beginning with the share v of its contacts that a
newborn finds. With R = a m, D the infections of the family for each of the root's:

    E = W1 m (1 + D),    W2 m = D / (1 + D),    W / E = W1 / a + D^2 / (v R (1 + D)),    v = 1 - 1 / (m max(1, R))

which is a quadratic for D. Where it has no solution, its vertex is taken, which keeps E.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from lpm.kernels import bits, graph, groups

LARGEST = 256  # members that could be infected; in larger groups contacts hardly compete
_SIZES = np.unique(np.concatenate([np.arange(1, 33), np.geomspace(32, LARGEST, 13).round()]).astype(int))
_LOW, _HIGH, _STEP = -6.0, 6.0, 0.125  # of log2(a m)


@functools.lru_cache
def _contacts() -> np.ndarray:
    """W1 (1 + a) / 2 a, m W2 and v, each from 0 to 1, for each m and log2(a m): (LARGEST + 1, grid) uint32.

    In 11, 11 and 10 bits of one number, since each agent looks one up in each step.
    """
    strength = 2.0 ** np.arange(_LOW, _HIGH + _STEP, _STEP)
    table = np.zeros((3, len(_SIZES), len(strength)))
    for row, m in enumerate(_SIZES):
        a = strength / m
        number, wait = np.zeros((m + 2, len(a))), np.zeros((m + 2, len(a)))  # E(s, i) and W(s, i) for i = 0, 1, ...
        for s in range(1, m + 1):
            more, later = np.zeros_like(number), np.zeros_like(wait)
            for i in range(1, m + 2 - s):
                more[i] = (a * s * (1 + number[i + 1]) + more[i - 1]) / (1 + a * s)
                later[i] = (more[i] / i + a * s * wait[i + 1] + later[i - 1]) / (1 + a * s)
            number, wait = more, later
        table[:, row] = _solved(m, strength, number[1], wait[1] / number[1])
    nearest = np.searchsorted(_SIZES, np.arange(LARGEST + 1)).clip(0, len(_SIZES) - 1)
    first, second, third = np.rint(table.clip(0, 1) * np.array([2047, 2047, 1023])[:, None, None]).astype(np.uint32)
    return (first | second << 11 | third << 22)[nearest]


def _solved(m: int, strength: np.ndarray, number: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, ...]:
    share = 1 - 1 / (m * np.maximum(1, strength))
    gain = np.maximum(share * strength, 1e-9)
    per_root = gain * (mean + np.sqrt(np.maximum(mean**2 - 4 * (number / strength - mean) / gain, 0))) / 2
    per_root = np.clip(per_root, np.maximum(number / strength - 1, 0), None)  # a root infects no more than R
    if m == 1:
        per_root = np.zeros_like(per_root)
    return number / (strength * (1 + per_root)) * (1 + strength / m) / 2, per_root / (1 + per_root), share


def _looked_up(m: jax.Array, odds: jax.Array) -> tuple[jax.Array, ...]:
    """The three numbers of `_contacts` for m contacts, float32, and odds a of infecting each, of the same shape."""
    table = jnp.asarray(_contacts())
    column = (jnp.log2(odds * jnp.maximum(m, 1)) - _LOW) * (1 / _STEP) + 0.5
    column = jnp.clip(column, 0, table.shape[1] - 1).astype(jnp.int32)
    row = jnp.clip(m, 0, LARGEST).astype(jnp.int32)
    found = table.reshape(-1).at[row * table.shape[1] + column].get(mode="promise_in_bounds")
    parts = (found & 2047, (found >> 11) & 2047, found >> 22)
    return tuple(
        part.astype(jnp.float32) * jnp.float32(1 / most) for part, most in zip(parts, (2047, 2047, 1023), strict=True)
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Family:
    """What ghosts born in a layer start with, and what they keep.

    Args:
        start: (n,) float32, the outgoing share at birth; on a graph the share that goes back to the parent.
        left: the share left after a step in groups, of a root and of its family there, (n,) float32; None on a graph.
    """

    start: jax.Array
    left: tuple[jax.Array, jax.Array] | None


def family(
    network: graph.Graph | groups.Households | groups.Groups,
    jump: jax.Array,
    stayed: jax.Array,
    lasting: jax.Array,
    chance: jax.Array,
) -> Family:
    """The numbers of a layer's ghosts in a step.

    Args:
        network: the layer.
        jump: () or (n,) float32, the chance 1 - exp(-hazard) that a contact is infected in a step.
        stayed: (n,) uint8, who could be infected and was not.
        lasting: () float32, how many steps an infection infects.
        chance: (n,) float32, the probability of a real infection, which ends a ghost.
    """
    words = bits.pack(stayed)
    if isinstance(network, graph.Graph):
        return Family(1 / jnp.maximum(graph.neighbour_counts(words, network), 1).astype(jnp.float32), None)
    if isinstance(network, groups.Households):
        counts = (groups.household_counts(words, network) - stayed).astype(jnp.float32)
    else:
        counts = groups.to_members(groups.group_counts(words, network), network).astype(jnp.float32) - stayed.astype(
            jnp.float32
        )
    return Family(*_shared(counts, jump, lasting, chance))


def _shared(
    m: jax.Array, q: jax.Array, lasting: jax.Array, chance: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    stays = (1 - 1 / jnp.maximum(lasting, 1)) * (1 - chance)
    infects = q / (1 - (1 - q) * stays)  # a given one, before it recovers
    odds = jnp.clip(infects / jnp.maximum(1 - infects, 1e-6), 1e-6, 1e6)
    by_root, by_member, share = _looked_up(m, odds)
    wanted_root, wanted = 2 * infects * by_root, by_member / jnp.maximum(m, 1)
    start = jnp.minimum(share, wanted / jnp.maximum(q, 1e-9))

    def left(first: jax.Array, total: jax.Array) -> jax.Array:  # of a geometric series with that first term and sum
        return jnp.clip((1 - first / jnp.maximum(total, 1e-9)) / jnp.maximum(stays, 1e-6), 0, 1)

    return start, (left(q, wanted_root), left(q * start, wanted))
