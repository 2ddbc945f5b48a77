"""How ghosts infect: the cavity rule.

A ghost (`lpm.kernels.shadows`) is an agent that is in stage r and would be in stage k. Towards a contact it differs by the hazard
h_k - h_r for as long as both last, and so a contact that escaped infection gains, for each unit of the ghost's mass,

    Q = 1 - exp(-(h_k - h_r))

of being infected. Two things keep ghosts from multiplying where an epidemic does not:

1. *A contact is infected once.* The share of its contacts that a ghost has not infected yet falls by the factor 1 - Q in each step. That
   share times the mass is the ghost's `outgoing`, one number for each layer.
2. *A ghost does not infect whom it was infected by.* Of the s contacts who could be infected, one is where it came from if that one could be
   infected itself; a new ghost starts with the outgoing share 1 - 1/s on that layer.

On a tree both are exact but for the second, which spreads over all contacts what belongs to one. In a group everybody meets everybody: s
counts the other members who could be infected.
"""

from __future__ import annotations

import dataclasses
import jax
import jax.numpy as jnp

from lpm.kernels import bits, graph, groups, shadows, strata
from lpm.kernels.shadows import Flow, Rows, Shadow

HACK = None
Hazards = tuple[jax.Array, ...]  # of each class of infectious stages, () or (n,) float32, per contact and step


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Used:
    """How ghosts use up their contacts in a step.

    Args:
        hazards: for each layer that has contacts to use up.
        classes: the stages of each class of infectious stages, static.
    """

    hazards: tuple[Hazards, ...]
    wear: tuple[jax.Array | None, ...]
    classes: tuple[tuple[int, ...], ...] = dataclasses.field(metadata={"static": True})

    def apply(self, outgoing: tuple[Rows, ...], value: jax.Array) -> tuple[Rows, ...]:
        """What is left of outgoing shares after a step.

        Args:
            outgoing: by layer and stage.
            value: (n,) uint8, the agents' own stages in the step.
        """

        def tangent(constants, layers, _):
            hazards, wear, value = constants
            return tuple(_left(rows, value, self.classes, each, w) for rows, each, w in zip(layers, hazards, wear, strict=True))

        return shadows.carried(tangent)(outgoing, (), (self.hazards, self.wear, value))


def _own_class(value: jax.Array, classes: tuple[tuple[int, ...], ...]) -> tuple[jax.Array, ...]:
    return tuple(sum((value == k for k in kinds[1:]), start=value == kinds[0]) for kinds in classes)


def jumps(value: jax.Array, classes: tuple[tuple[int, ...], ...], hazards: Hazards, wear=None) -> tuple[jax.Array, ...]:
    """Q = 1 - exp(-(h_k - h_r)) of ghosts in each class of stages, and, last, in stages that do not infect: (n,) float32 each."""
    within = _own_class(value, classes)

    def of(own_hazard):
        return [-jnp.expm1(own_hazard - h) for h in (*hazards, jnp.float32(0))]

    if wear is None:
        found = of(jnp.float32(0))
    else:
        found = [-jnp.expm1(-wear * h) for h in (*hazards, jnp.float32(0))]
    for inside, hazard in zip(within, hazards, strict=True):
        found = [jnp.where(inside, q, other) for q, other in zip(of(hazard), found, strict=True)]
    return tuple(found)


def _left(rows: Rows, value: jax.Array, classes: tuple[tuple[int, ...], ...], hazards: Hazards, wear) -> Rows:
    *infectious, others = jumps(value, classes, hazards, wear)
    of_kind = {k: q for kinds, q in zip(classes, infectious, strict=True) for k in kinds}
    used = [row * of_kind.get(k, others) for k, row in enumerate(rows)]
    total = sum(used)
    # What ghosts lose, the agent's own stage takes back, so that the rows go on summing to zero.
    return tuple(row - lost + jnp.where(value == k, total, 0) for k, (row, lost) in enumerate(zip(rows, used, strict=True)))


def emitted(rows: Rows, value: jax.Array, classes: tuple[tuple[int, ...], ...], hazards: Hazards) -> jax.Array:
    """sum_k outgoing_k Q_k of each agent, (n,) float32, linear in the rows."""
    *infectious, others = jumps(value, classes, hazards)
    # The rows sum to zero, which spares reading those of stages that do not infect.
    parts = [sum(rows[k] for k in kinds) * (q - others) for kinds, q in zip(classes, infectious, strict=True)]
    return sum(parts[1:], start=parts[0])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Contacts:
    """What the rule needs to know of a layer in which everybody has certain contacts.

    Args:
        network: a graph, households or groups.
        hazards: see `Hazards`.
    """

    network: graph.Graph | groups.Households | groups.Groups
    hazards: Hazards
    start: jax.Array | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Crowd:
    """What the rule needs to know of a layer in which everybody may meet everybody: contacts are never used up.

    Args:
        mixing: the network.
        rate: () float32.
        weights: infectiousness of each class of infectious stages, () float32.
    """

    mixing: strata.Mixing
    rate: jax.Array
    weights: tuple[jax.Array, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Exposure:
    """What happened to the susceptible in a step.

    Args:
        happens: (n,) uint8, whether infection happens to the agent if it is susceptible.
        chance: (n,) float32, its probability.
        word: (n,) uint32, the draw.
        susceptibility: (n,) float32, or None.
        contacts, crowds: the layers.
    """

    happens: jax.Array
    chance: jax.Array
    word: jax.Array
    susceptibility: jax.Array | None
    contacts: tuple[Contacts, ...]
    crowds: tuple[Crowd, ...]


def sums(network: graph.Graph | groups.Households | groups.Groups, values: jax.Array) -> jax.Array:
    """The sum of (n,) float32 over each agent's contacts, itself left out; symmetric, and so is its derivative."""
    if isinstance(network, graph.Graph):
        return shadows.symmetric(lambda v: graph.neighbour_sums(v, network), values)
    if isinstance(network, groups.Households):
        return shadows.symmetric(lambda v: groups.housemate_sums(v, network), values)
    return shadows.symmetric(lambda v: groups.to_members(groups.group_sums(v, network), network) - v, values)


def available(network: graph.Graph | groups.Households | groups.Groups, flags: jax.Array) -> jax.Array:
    """How many of each agent's contacts are flagged, (n,) float32; at least 1 so that it can divide."""
    words = bits.pack(flags)
    if isinstance(network, graph.Graph):
        counts = graph.neighbour_counts(words, network).astype(jnp.float32)
    elif isinstance(network, groups.Households):
        counts = (groups.household_counts(words, network) - flags).astype(jnp.float32)
    else:
        counts = groups.to_members(groups.group_counts(words, network).astype(jnp.float32), network) - flags.astype(jnp.float32)
    return jnp.maximum(counts, 1)


def infected(shadow: Shadow, flow: Flow, hazard: jax.Array, exposure: Exposure, classes: tuple[tuple[int, ...], ...]) -> Flow:
    """The derivative of an infection.

    Args:
        shadow: of the stages before.
        flow: of being susceptible, one stage.
        hazard: (n,) float32 of each agent; its tangent is what parameters change with everybody's stage as it is.
        exposure: see `Exposure`.
        classes: the stages of each class of infectious stages.
    """
    (susceptible,) = flow.kinds
    rule = flow.rule
    cavity = rule == "cavity"
    nothing = tuple(jnp.zeros_like(hazard) for _ in shadow.mass)
    channels = [c for c in exposure.contacts for _ in range(1 if isinstance(c.network, graph.Graph) else 2)] if cavity else []
    outgoing = (*shadow.outgoing, *(nothing for _ in channels))[: len(channels)]
    stay = ((flow.value == susceptible) & (exposure.happens == 0)).astype(jnp.uint8)
    filled, wear = [], []
    for i, c in enumerate(exposure.contacts if cavity else ()):
        wear.append(None)
        if not isinstance(c.network, graph.Graph):
            size = groups.household_sizes(c.network).astype(jnp.int32) if isinstance(c.network, groups.Households) else jnp.pad(c.network.size,(0,1))[c.network.group]
            m = jnp.round(available(c.network, stay)).astype(jnp.int32)
            c = dataclasses.replace(c, start=HACK[i][0][size, m])
            wear.append(HACK[i][1][size, m])
        filled.append(c)
    if cavity:
        exposure = dataclasses.replace(exposure, contacts=tuple(filled))

    def tangent(constants, before, inputs):
        value, exposure = constants
        d_hazard, mass, outgoing = inputs
        own = value == susceptible
        stayed = own & (exposure.happens == 0)
        more = sum(_from_crowd(crowd, mass, classes) for crowd in exposure.crowds)
        scale = jnp.float32(1) if exposure.susceptibility is None else exposure.susceptibility
        weight = stayed.astype(jnp.float32)
        if rule not in ("cavity", "smooth"):
            weight = jnp.where(own, shadows.coupling(rule, exposure.happens, exposure.chance, exposure.word) * (1 - exposure.chance), 0)
        here, rows = [], iter(outgoing)
        for contacts in exposure.contacts:
            network = contacts.network
            if not cavity:
                more = more + sums(network, sum(h * sum(mass[k] for k in c) for h, c in zip(contacts.hazards, classes, strict=True)))
                continue
            push = emitted(next(rows), value, classes, contacts.hazards)
            if isinstance(network, graph.Graph):
                reflected = sums(network, jnp.where(stayed, push, 0)) / available(network, stayed.astype(jnp.uint8))
                here.append((sums(network, push), reflected))
            else:
                push = push + emitted(next(rows), value, classes, contacts.hazards)
                here.append((sums(network, push),))
        for each in here:
            more = more + each[0]
        born = weight * (d_hazard + scale * more)
        new = [born]
        for contacts, each in zip(exposure.contacts, here, strict=False):
            if isinstance(contacts.network, graph.Graph):
                new.append(born - weight * scale * each[1])
            else:
                own_layer = weight * scale * each[0]
                new.extend((born - own_layer, own_layer * contacts.start))
        leaves = jnp.where(own, exposure.happens.astype(jnp.float32), exposure.chance)
        return tuple((leaves * row[0] + fresh,) for row, fresh in zip(before, new, strict=True))

    before = (flow.mass, *((rows[susceptible],) for rows in outgoing))
    mass, *rest = shadows.carried(tangent)(before, (hazard, shadow.mass, outgoing), (flow.value, exposure))
    used = Used(tuple(c.hazards for c in channels), tuple(wear), classes) if cavity and exposure.contacts else None
    return dataclasses.replace(flow, mass=mass, outgoing=tuple(rest), used=used)


def _from_crowd(crowd: Crowd, mass: Rows, classes: tuple[tuple[int, ...], ...]) -> jax.Array:
    weighted = sum(weight * sum(mass[k] for k in kinds) for weight, kinds in zip(crowd.weights, classes, strict=True))
    return strata.met_by_agents(weighted, crowd.mixing) * crowd.rate
