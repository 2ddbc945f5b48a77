"""Ghosts in groups: those whom one ghost infects, directly or not, within its household, school or workplace.

In a group everybody meets everybody, so that all of a ghost's family there compete for the same contacts. The
derivative must stay linear in the ghosts, so the competition cannot be simulated. It enters by how fast the contacts
are used up of the ghost that came into the group, its *root* there, and of those born in it, its *family*, and by the
share v of its contacts that a newborn begins with: such that infections among m susceptible agents are as many, and
come as early, as those of a stochastic epidemic with exponential latent and infectious periods (`lpm.kernels.chains`).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from lpm.kernels import bits, chains, groups


def _looked_up(m: jax.Array, odds: jax.Array, latent: jax.Array) -> tuple[jax.Array, ...]:
    """W1 (1 + a) / 2 a, m W2 and v for m contacts, float32, and odds a of infecting each, of the same shape.

    Latent is () float32, the mean latent period in infectious periods; the nearest in the table counts.
    """
    nearest = jnp.abs(jnp.asarray(chains.LATENT, jnp.float32) - latent).argmin()
    table = bits.settle(jnp.asarray(chains.table())[nearest].reshape(-1))
    columns = len(chains.STRENGTH)
    column = (jnp.log2(odds * jnp.maximum(m, 1)) - chains.LOW) * chains.PER_DOUBLING + 0.5
    column = jnp.clip(column, 0, columns - 1).astype(jnp.int32)
    row = jnp.clip(m, 0, chains.LARGEST).astype(jnp.int32)
    place = bits.settle(row * columns + column)  # with a lookup in it, the loop over logarithms would not be vectorised
    return chains.unpacked(bits.settle(bits.taken(table, place)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Family:
    """What ghosts born in a group start with, and what they keep.

    Args:
        start: (n,) float32, the outgoing share at birth.
        left: the share left after a step, of a root and of its family there, (n,) float32.
    """

    start: jax.Array
    left: tuple[jax.Array, jax.Array]


def family(
    network: groups.Households | groups.Groups,
    jump: jax.Array,
    stayed: jax.Array,
    lasting: jax.Array,
    latent: jax.Array,
    chance: jax.Array,
) -> Family:
    """The numbers of a layer's ghosts in a step.

    Args:
        network: the layer.
        jump: () or (n,) float32, the chance 1 - exp(-hazard) that a contact is infected in a step.
        stayed: (n,) uint8, who could be infected and was not.
        lasting: () float32, how many steps an infection infects.
        latent: () float32, how many steps it takes until it does.
        chance: (n,) float32, the probability of a real infection, which ends a ghost.
    """
    words = bits.pack(stayed)
    if isinstance(network, groups.Households):
        counts = (groups.household_counts(words, network) - stayed).astype(jnp.float32)
    else:
        counts = groups.to_members(groups.group_counts(words, network), network).astype(jnp.float32) - stayed.astype(
            jnp.float32
        )
    return Family(*_shared(counts, jump, lasting, latent, chance))


def _shared(
    m: jax.Array, q: jax.Array, lasting: jax.Array, latent: jax.Array, chance: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    stays = (1 - 1 / jnp.maximum(lasting, 1)) * (1 - chance)
    infects = q / (1 - (1 - q) * stays)  # a given one, before it recovers
    odds = jnp.clip(infects / jnp.maximum(1 - infects, 1e-6), 1e-6, 1e6)
    by_root, by_member, share = _looked_up(m, odds, latent / jnp.maximum(lasting, 1))
    wanted_root, wanted = 2 * infects * by_root, by_member / jnp.maximum(m, 1)
    start = jnp.minimum(share, wanted / jnp.maximum(q, 1e-9))

    def left(first: jax.Array, total: jax.Array) -> jax.Array:  # of a geometric series with that first term and sum
        return jnp.clip((1 - first / jnp.maximum(total, 1e-9)) / jnp.maximum(stays, 1e-6), 0, 1)

    return start, (left(q, wanted_root), left(q * start, wanted))
