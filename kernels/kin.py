"""Ghosts on a graph: how many contacts they have left, measured on those who are really infected.

Whom a ghost was infected by is left out exactly (`lpm.kernels.ghosts`). Where contacts are clustered, the infected of
one ghost, its *kin*, also take contacts from each other. Ghosts are linear and cannot see each other. But to the world
in which it happens, a ghost and its kin are what those really infected are to this one, and these can be counted. With
s_i the contacts of agent i that could be infected and escaped, and k_i all its contacts:

- *Birth.* Those who might have been infected over the graph, and have an infector among their contacts, have the share
  phi of their other contacts left; those whom a ghost would infect have the share psi,

      phi = sum_i w_i s_i / sum_i w_i (k_i - 1),        psi = sum_i s_i (s_i - 1) / sum_i s_i (k_i - 1)

  w_i being the hazard that i met there and escaped. The rest, 1 - phi / psi, was taken by the kin of the infector, and
  a ghost born of a ghost starts with the share phi / psi of its contacts. Without clustering it is 1 in the mean.
- *Use.* A class of infectious agents loses contacts to itself, to its kin and to others. Others take as many from those
  who are susceptible; what is left,

      kept = (sum s' / sum (1 - Q) s over the infectious) / (sum s' / sum s over the susceptible)

  with s' after the step and s before it, is lost to the kin, and the outgoing share of a ghost born of a ghost falls by
  that factor as well. The latent lose contacts to their kin alike. Without clustering the factor is 1 in the mean. A
  ghost that was born of none has no kin yet and keeps its contacts.

All are numbers of the run itself, so the derivative stays linear in the ghosts. They are those of kin as old as the
epidemic's; the kin of a young ghost is smaller (docs/theory/gradients.md has what that does).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from lpm.kernels import bits, graph, ranks, shadows


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Kin:
    """What ghosts on a graph start with, and what their kin leaves them.

    Args:
        could: (n,) float32, how many contacts of each agent could be infected.
        start: () float32, the share of its contacts other than its infector that a ghost born of a ghost begins with.
        kept: (classes + 1,) float32, the factor of each class of infectious stages and, last, of the latent ones.
    """

    could: jax.Array
    start: jax.Array
    kept: jax.Array

    @property
    def left(self) -> tuple[jax.Array, ...]:
        """What ghosts born of none, those born of ghosts (and their share for parents), and children keep."""
        return jnp.ones_like(self.kept), self.kept, self.kept, self.kept


def kin(
    network: graph.Graph,
    susceptible: jax.Array,
    stayed: jax.Array,
    classes: tuple[jax.Array, ...],
    latent: jax.Array,
    hazards: tuple[jax.Array, ...],
    jumps: tuple[jax.Array, ...],
) -> Kin:
    """The numbers of a graph's ghosts in a step.

    Args:
        network: the graph.
        susceptible: (n,) bool, who could be infected.
        stayed: (n,) uint8, who of them was not.
        classes: for each class of infectious stages, (n,) bool, who is in it.
        latent: (n,) bool, who is infected and does not infect yet.
        hazards, jumps: of each class, () or (n,) float32: the hazard for a contact, and 1 - exp(-hazard).
    """

    flags = [bits.pack(each.astype(jnp.uint8)) for each in (susceptible, stayed, jnp.ones_like(stayed), *classes)]
    before, after, every, *of_classes = (
        ranks.present(counts).astype(jnp.float32) for counts in graph.neighbour_counts_of_several(flags, network)
    )
    escaped, waiting, *infect = (flags.astype(jnp.float32) for flags in (stayed, latent, *classes))
    met = (count * shadows.mean_of(hazard) for count, hazard in zip(of_classes, hazards, strict=True))
    weight = sum(met, start=jnp.zeros_like(before)) * escaped
    others = jnp.maximum(every - 1, 0)
    chosen = escaped * after
    pairs = [(weight * after, weight * others), (chosen * (after - 1), chosen * others)]
    pairs += [(who * after, who * before) for who in (escaped, waiting)]
    pairs += [(who * after, who * before * (1 - q)) for who, q in zip(infect, jumps, strict=True)]
    above, below = ranks.sum(jnp.stack([jnp.stack([one.sum(), other.sum()]) for one, other in pairs])).T
    share, usual, susceptible_keep, latent_keep, *infectious_keep = jnp.where(
        below > 0, above / jnp.maximum(below, 1e-9), 1
    )
    kept = jnp.stack([*infectious_keep, latent_keep]) / jnp.maximum(susceptible_keep, 1e-3)
    nobody = jnp.array([*below[4:], below[3]]) == 0
    return Kin(before, jnp.minimum(share / jnp.maximum(usual, 1e-3), 1), jnp.where(nobody, 1, kept))
