"""Ghosts in groups: those whom one ghost infects, directly or not, within its household, school or workplace.

In a group everybody meets everybody, so that all of a ghost's family there compete for the same contacts. The
derivative must stay linear in the ghosts, so the competition cannot be simulated; it enters by two numbers for ghosts
born in the group, chosen such that

- a ghost born in the group starts with the share 1 - 1/m of its m contacts, its parent being one of them;
- of one ghost come, in the mean, as many infections in the group as of one real infection among m susceptible agents.

The second is the expected final size E of a stochastic epidemic with exponential infectious periods, from the recursion
of its jump chain (Bailey 1975, The Mathematical Theory of Infectious Diseases, section 6.3):

    V(s, i) = (a s (1 + V(s - 1, i + 1)) + V(s, i - 1)) / (1 + a s),        E = V(m, 1)

a = tau / (1 - tau), tau being the probability that one infects a given other one. If each family member infects R = m
tau to begin with and those born in the group f R, then E = R / (1 - f R).
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
_LOW, _HIGH, _STEP = -6.0, 6.0, 0.25  # of log2(a m)


@functools.lru_cache
def _shares() -> np.ndarray:
    """f for each of `_SIZES` and each log2(a m), (sizes, grid) float32."""
    strength = 2.0 ** np.arange(_LOW, _HIGH + _STEP, _STEP)
    table = np.zeros((len(_SIZES), len(strength)), np.float32)
    for row, m in enumerate(_SIZES):
        a = strength / m
        more = np.zeros((m + 2, len(a)))  # V(s, i) for i = 0, 1, ...
        for s in range(1, m + 1):
            new = np.zeros_like(more)
            for i in range(1, m + 2 - s):
                new[i] = (a * s * (1 + more[i + 1]) + new[i - 1]) / (1 + a * s)
            more = new
        table[row] = (1 + a) / (m * a) - 1 / more[1]
    return table


def share(m: jax.Array, tau: jax.Array) -> jax.Array:
    """The share f of the contacts of a ghost born in a group that it infects first.

    Args:
        m: float32, contacts that could be infected.
        tau: float32 of the same shape, the probability of infecting one of them.
    """
    tau = jnp.clip(tau, 1e-6, 1 - 1e-6)
    column = jnp.clip((jnp.log2(tau / (1 - tau) * jnp.maximum(m, 1)) - _LOW) / _STEP, 0, (_HIGH - _LOW) / _STEP - 1e-3)
    row = jnp.searchsorted(jnp.asarray(_SIZES, jnp.float32), m).clip(0, len(_SIZES) - 1)
    whole = column.astype(jnp.int32)
    part = column - whole.astype(jnp.float32)
    table = jnp.asarray(_shares())
    return (1 - part) * table[row, whole] + part * table[row, whole + 1]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Family:
    """What ghosts born in a layer start with, and what they keep.

    Args:
        start: (n,) float32, the outgoing share at birth; on a graph the share that goes back to the parent.
        left: (n,) float32, the share left after a step in groups; None on a graph.
    """

    start: jax.Array
    left: jax.Array | None


def family(
    network: graph.Graph | groups.Households | groups.Groups, hazard: jax.Array, stayed: jax.Array, lasting: jax.Array
) -> Family:
    """The numbers of a layer's ghosts in a step.

    Args:
        network: the layer.
        hazard: () or (n,) float32, per contact and step.
        stayed: (n,) uint8, who could be infected and was not.
        lasting: () float32, how many steps an infection infects.
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
    return Family(*_shared(counts, hazard, lasting))


def _shared(m: jax.Array, hazard: jax.Array, lasting: jax.Array) -> tuple[jax.Array, jax.Array]:
    q = -jnp.expm1(-hazard)
    stays = 1 - 1 / jnp.maximum(lasting, 1)
    tau = q / (1 - (1 - q) * stays)
    wanted = tau * share(m, tau)  # infections of each contact, over the whole infectious time
    start = 1 - 1 / jnp.maximum(m, 1)
    start = jnp.minimum(start, wanted / jnp.maximum(q, 1e-9))
    left = (1 - q * start / jnp.maximum(wanted, 1e-9)) / jnp.maximum(stays, 1e-6)
    return start, jnp.clip(left, 0, 1 - q)
