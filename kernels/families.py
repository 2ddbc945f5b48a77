"""Ghosts in groups: those whom one ghost infects, directly or not, within its household, school or workplace.

In a group everybody meets everybody, so that all of a ghost's family there compete for the same contacts. The
derivative must stay linear in the ghosts, so the competition cannot be simulated. It enters by how fast the contacts
are used up of the ghost that came into the group, its *root* there, and of those born in it, its *family*, and by the
share v of its contacts that a newborn begins with: such that infections among m susceptible agents are as many, and
come as early, as those of a stochastic epidemic with an exponential latent period and an infectious one of several
phases (`lpm.kernels.chains`).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from lpm.kernels import bits, chains, groups

SHARPEST = 0.1  # least variance of an infectious period, in squares of its mean, that the table is asked for


def _looked_up(m: jax.Array, hazard: jax.Array, latent: jax.Array, spread: jax.Array) -> tuple[jax.Array, ...]:
    """W1 / 2 P, m W2 and v for m contacts, float32, and the hazard of each in an infectious period, of the same shape.

    Latent is () float32, the mean latent period in infectious periods, of which the nearest in the table counts.
    Spread is () float32, the variance of an infectious period in squares of its mean, 1 / k: between the table's.
    """
    nearest = jnp.abs(jnp.asarray(chains.LATENT, jnp.float32) - latent).argmin()
    of_phases = chains.unpacked(jnp.asarray(chains.table())[:, nearest].reshape(len(chains.PHASES), -1))
    table = bits.settle(chains.packed(*(_between(each, spread) for each in of_phases)))
    columns = len(chains.STRENGTH)
    column = (jnp.log2(hazard * jnp.maximum(m, 1)) - chains.LOW) * chains.PER_DOUBLING + 0.5
    column = jnp.clip(column, 0, columns - 1).astype(jnp.int32)
    row = jnp.clip(m, 0, chains.LARGEST).astype(jnp.int32)
    place = bits.settle(row * columns + column)  # with a lookup in it, the loop over logarithms would not be vectorised
    return chains.unpacked(bits.settle(bits.taken(table, place)))


def _between(of_phases: jax.Array, spread: jax.Array) -> jax.Array:
    """What lies at 1 / k between the phases of a table, (phases, ...) to (...), or goes on in a line beyond."""
    inverse = [1 / k for k in chains.PHASES]
    found = of_phases[0]
    for k in range(1, len(inverse)):
        share = (inverse[k - 1] - spread) / (inverse[k - 1] - inverse[k])
        line = of_phases[k - 1] + share * (of_phases[k] - of_phases[k - 1])
        found = jnp.where(spread < inverse[k - 1], line, found)
    return found


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
    phases: jax.Array,
    chance: jax.Array,
) -> Family:
    """The numbers of a layer's ghosts in a step.

    Args:
        network: the layer.
        jump: () or (n,) float32, the chance 1 - exp(-hazard) that a contact is infected in a step.
        stayed: (n,) uint8, who could be infected and was not.
        lasting: () float32, how many steps an infection infects.
        latent: () float32, how many steps it takes until it does.
        phases: () float32, how many alike phases the time in which it infects has.
        chance: (n,) float32, the probability of a real infection, which ends a ghost.
    """
    words = bits.pack(stayed)
    if isinstance(network, groups.Households):
        counts = (groups.household_counts(words, network) - stayed).astype(jnp.float32)
    else:
        counts = groups.to_members(groups.group_counts(words, network), network).astype(jnp.float32) - stayed.astype(
            jnp.float32
        )
    return Family(*_shared(counts, jump, lasting, latent, phases, chance))


def _shared(
    m: jax.Array, q: jax.Array, lasting: jax.Array, latent: jax.Array, phases: jax.Array, chance: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    lasting, phases = jnp.maximum(lasting, 1), jnp.maximum(phases, 1)
    ends = jnp.minimum(phases / lasting, 1)  # of a phase in a step
    spread = jnp.clip((1 - ends) / phases, SHARPEST, 1)  # steps are whole: less than in continuous time
    infects = jnp.clip(q * _steps(1 - (1 - q) * (1 - chance), lasting, phases), 0, 1 - 1e-6)  # a given one, at all
    hazard = jnp.expm1(-jnp.log1p(-infects) * spread) / spread  # in an infectious period
    by_root, by_member, share = _looked_up(m, jnp.clip(hazard, 1e-6, 1e6), latent / lasting, spread)
    wanted_root, wanted = 2 * infects * by_root, by_member / jnp.maximum(m, 1)
    start = jnp.minimum(share, wanted / jnp.maximum(q, 1e-9))

    def left(first: jax.Array, total: jax.Array) -> jax.Array:  # in each step, of a series with that first term and sum
        lost = _lost(total / jnp.maximum(first, 1e-9), lasting, phases)
        return jnp.clip((1 - lost) / jnp.maximum(1 - chance, 1e-6), 0, 1)

    return start, (left(q, wanted_root), left(q * start, wanted))


def _by_phases(one: jax.Array, two: jax.Array, phases: jax.Array) -> jax.Array:
    """What k phases make, from what one and two do: in a line by 1 / k, without powers for each agent."""
    return one + (two - one) * 2 * (1 - 1 / phases)


def _steps(lost: jax.Array, lasting: jax.Array, phases: jax.Array) -> jax.Array:
    """sum_t (1 - y)^t S_t, with S_t the probability that an infection infects after t steps, y what is lost in each.

    Of k phases of which each ends with the probability p in a step it is (1 - (1 - d)^k) / y, d = y / (p + y (1 - p)).
    """
    p, half = 1 / lasting, jnp.minimum(2 / lasting, 1)
    width = half + lost * (1 - half)
    return _by_phases(1 / (p + lost * (1 - p)), (2 - lost / width) / width, phases)


def _lost(steps: jax.Array, lasting: jax.Array, phases: jax.Array) -> jax.Array:
    """The y of which `_steps` is what is given.

    Of two phases, u = p + y (1 - p) solves T u^2 = u (1 - 2 p) / (1 - p) + p / (1 - p).
    """
    steps, p, half = jnp.maximum(steps, 1), 1 / lasting, jnp.minimum(2 / lasting, 0.99)
    one = (1 / steps - p) / jnp.maximum(1 - p, 1e-6)
    slope = (1 - 2 * half) / (1 - half)
    width = (slope + jnp.sqrt(slope**2 + 4 * steps * half / (1 - half))) / (2 * steps)
    return jnp.clip(_by_phases(one, (width - half) / (1 - half), phases), 0, 1)
