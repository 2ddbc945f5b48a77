"""Contagion while some stay at home: they meet nobody but their household.

As `lpm.kernels.contagion`, with the networks divided in two. Over those outside, who is at home neither infects nor is
infected; within the household, the isolated give a part of what they would, and the quarantined get a multiple:

    lambda_i = q_i r sum_{j in household} u_j w_j + (1 - a_i) (h_i + sum_l r_l sum_{j in contact in l} (1 - a_j) w_j)

with a_i = 1 for those at home, u_j and q_i relative contacts within the household, w_j infectiousness.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp

from lpm.kernels import bits, ghosts, groups, random, strata
from lpm.kernels.contagion import Classes, Infectious, Layer, counted, hazard_of
from lpm.kernels.hazards import probability
from lpm.kernels.stages import Indicator, Stages, among


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Confined:
    """Who stays at home today.

    Args:
        isolated: (n,) uint8, who gives less within the household.
        quarantined: (n,) uint8, who gets more within the household.
        isolated_contacts: u, () float32, relative to usual.
        quarantined_contacts: q, () float32, relative to usual.
    """

    isolated: jax.Array
    quarantined: jax.Array
    isolated_contacts: jax.Array
    quarantined_contacts: jax.Array

    @property
    def at_home(self) -> jax.Array:
        """(n,) uint8."""
        return self.isolated | self.quarantined


def infections(
    word: jax.Array,
    stages: Stages,
    household: Layer,
    others: tuple[Layer, ...],
    confined: Confined,
    *,
    susceptible: int,
    infectious: tuple[Infectious, ...],
    susceptibility: jax.Array,
    outside: jax.Array,
) -> Indicator:
    """Who is infected in this step.

    With nobody confined these are the infections of `contagion.infections` over (household, *others), bit for bit. The
    derivative follows who is confined as drawn: that an agent infected earlier would have been confined earlier is
    not in it, nor that those at home cannot be infected by ghosts at their place.

    Args:
        word: (n,) uint32, from `random.words`.
        stages: where each agent is.
        household: the layer that goes on.
        others: the layers outside.
        confined: who is at home.
        susceptible, infectious, susceptibility, outside: as of `contagion.infections`.
    """
    flags = [(among(stages, *each.kinds).value, jnp.asarray(each.weight, jnp.float32)) for each in infectious]
    free = bits.settle(1 - confined.at_home)
    abroad = _packed((flag & free, weight) for flag, weight in flags)
    apart = _packed((flag & confined.isolated, weight * confined.isolated_contacts) for flag, weight in flags)
    together = _packed((flag & (1 - confined.isolated), weight) for flag, weight in flags)

    met_at_home = [(classes, household, counted(classes, household)) for classes in (together, apart)]
    met_elsewhere = [(abroad, layer, counted(abroad, layer)) for layer in others]

    def hazard(derivative: bool = False) -> Callable[[slice], jax.Array]:
        kept, given = (hazard_of(*found, derivative) for found in met_at_home)
        met = [hazard_of(*found, derivative) for found in met_elsewhere]
        away, multiple = confined.quarantined, confined.quarantined_contacts

        def of(part: slice) -> jax.Array:
            # In the order of `contagion.infections`, so that nobody confined means the same bits.
            at_large = free[part] == 1
            total = jnp.where(at_large, outside if jnp.ndim(outside) == 0 else outside[part], 0)
            total = total + (kept(part) + given(part)) * jnp.where(away[part] == 1, multiple, 1)
            for each in met:
                total = total + jnp.where(at_large, each(part), 0)
            return total * susceptibility[part]

        return of

    drawn_from = hazard()

    def limit_of(part: slice) -> jax.Array:
        return random.threshold(probability(drawn_from(part)))

    who = among(stages, susceptible)
    value = bits.evenly(lambda part: random.happens(word[part], limit_of(part)) & who.value[part], word.shape[0])
    if stages.shadow is None or who.shadow is None:
        return Indicator(value)
    weights, everybody = tuple(weight for _, weight in flags), slice(None)
    abroad_only = jnp.where(free == 1, outside, 0)
    exposure = _exposure(word, limit_of(everybody), household, others, confined, weights, susceptibility, abroad_only)
    kinds, own = tuple(each.kinds for each in infectious), hazard(derivative=True)(everybody)
    return Indicator(value, ghosts.infected(stages.shadow, who.shadow, own, exposure, kinds))


def _packed(classes: Iterable[tuple[jax.Array, jax.Array]]) -> Classes:
    return [(bits.pack(flags), weight) for flags, weight in classes]


def _exposure(
    word: jax.Array,
    limit: jax.Array,
    household: Layer,
    others: tuple[Layer, ...],
    confined: Confined,
    weights: tuple[jax.Array, ...],
    susceptibility: jax.Array,
    outside: jax.Array,
) -> ghosts.Exposure:
    """What the derivative needs to know of the step: hazards by who infects."""
    free = (1 - confined.at_home).astype(jnp.float32)
    gives = jnp.where(confined.isolated == 1, confined.isolated_contacts, 1)
    contacts, crowds = [], []
    for layer in (household, *others):
        network = layer.network
        if isinstance(network, strata.Mixing):
            crowds.append(ghosts.Crowd(network, layer.rate * free, tuple(weight * free for weight in weights)))
            continue
        if isinstance(network, groups.Households):
            rate = gives * layer.rate / groups.others(groups.household_sizes(network))
        else:
            assert isinstance(network, groups.Groups)
            rate = free * groups.to_members(layer.rate / groups.others(network.size), network)
        contacts.append(ghosts.Contacts(network, tuple(rate * weight for weight in weights)))
    chance = limit.astype(jnp.float32) * jnp.float32(2.0**-31)
    return ghosts.Exposure(
        random.happens(word, limit), chance, word, susceptibility, weights, tuple(contacts), tuple(crowds), outside
    )
