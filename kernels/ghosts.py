"""How ghosts infect: the cavity rule.

A ghost (`lpm.kernels.shadows`) is an agent that is in stage r and would be in stage k. Towards a contact it differs by
the hazard h_k - h_r for as long as both last, so that a contact that escaped infection gains, for each unit of the
ghost's mass,

    Q = 1 - exp(-(h_k - h_r))

of being infected. Three things keep ghosts from multiplying where an epidemic does not:

1. *A contact is infected once.* The share of its contacts that a ghost has not infected yet falls by the factor 1 - Q
   in each step. That share times the mass is the ghost's `outgoing`.
2. *A ghost does not infect whom it was infected by.* On a graph, a ghost infected by one who could itself be infected
   starts with the outgoing share 1 - 1/s, s being the number of its contacts that could be infected.
3. *In a group, the infected of one ghost share their contacts.* Ghosts born within a group (`lpm.kernels.families`)
   therefore have an outgoing of their own, and all that are in a group use their contacts up as fast as a family does.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lpm.kernels import families, graph, groups, shadows, strata
from lpm.kernels.shadows import Flow, Rows, Shadow

Hazards = tuple[jax.Array, ...]  # of each class of infectious stages, () or (n,) float32, per contact and step
Classes = tuple[tuple[int, ...], ...]  # the stages of each


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Contacts:
    """A layer in which everybody has certain contacts.

    Args:
        network: a graph, households or groups.
        hazards: see `Hazards`.
    """

    network: graph.Graph | groups.Households | groups.Groups
    hazards: Hazards

    @property
    def channels(self) -> tuple[bool, ...]:
        """For each `outgoing` of the layer, whether it belongs to ghosts born in the layer's own groups."""
        return (False,) if isinstance(self.network, graph.Graph) else (False, True)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Crowd:
    """A layer in which everybody may meet everybody: contacts are never used up.

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
        weights: infectiousness of each class of infectious stages, () float32.
        contacts, crowds: the layers.
    """

    happens: jax.Array
    chance: jax.Array
    word: jax.Array
    susceptibility: jax.Array | None
    weights: tuple[jax.Array, ...]
    contacts: tuple[Contacts, ...]
    crowds: tuple[Crowd, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Used:
    """How ghosts use up their contacts in a step, for each `outgoing`.

    Args:
        hazards: see `Hazards`.
        left: the share that ghosts in groups keep, (n,) float32; None on a graph.
        classes: static.
    """

    hazards: tuple[Hazards, ...]
    left: tuple[jax.Array | None, ...]
    classes: Classes = dataclasses.field(metadata={"static": True})

    def apply(self, outgoing: tuple[Rows, ...], value: jax.Array) -> tuple[Rows, ...]:
        """What is left of outgoing shares after a step.

        Args:
            outgoing: by channel and stage.
            value: (n,) uint8, the agents' own stages in the step.
        """

        def tangent(constants: Any, channels: Any, _: Any) -> Any:
            used, value = constants
            each = zip(channels, used.hazards, used.left, strict=True)
            return tuple(_left(rows, value, used.classes, hazards, left) for rows, hazards, left in each)

        return shadows.carried(tangent)(outgoing, (), (self, value))


def jumps(value: jax.Array, classes: Classes, hazards: Hazards) -> tuple[jax.Array, ...]:
    """Q = 1 - exp(-(h_k - h_r)) of ghosts in each class of stages, and last in those that do not infect: (n,)."""

    def of(own_hazard: jax.Array) -> list[jax.Array]:
        return [-jnp.expm1(own_hazard - h) for h in (*hazards, jnp.float32(0))]

    found = of(jnp.float32(0))
    for kinds, hazard in zip(classes, hazards, strict=True):
        found = [jnp.where(_among(value, kinds), q, other) for q, other in zip(of(hazard), found, strict=True)]
    return tuple(found)


def _among(value: jax.Array, kinds: tuple[int, ...]) -> jax.Array:
    low, high = min(kinds), max(kinds)
    if tuple(sorted(kinds)) == tuple(range(low, high + 1)):
        return (value >= low) & (value <= high)
    return jnp.isin(value, jnp.array(kinds, value.dtype))


def emitted(rows: Rows, value: jax.Array, classes: Classes, hazards: Hazards) -> jax.Array:
    """sum_k outgoing_k Q_k of each agent, (n,) float32, linear in the rows."""
    *infectious, others = jumps(value, classes, hazards)
    # The rows sum to zero, which spares reading those of stages that do not infect.
    parts = [sum(rows[k] for k in kinds) * (q - others) for kinds, q in zip(classes, infectious, strict=True)]
    return sum(parts[1:], start=parts[0])


def _left(rows: Rows, value: jax.Array, classes: Classes, hazards: Hazards, left: jax.Array | None) -> Rows:
    *infectious, others = jumps(value, classes, hazards)
    if left is not None:
        infects = _among(value, tuple(k for kinds in classes for k in kinds))
        infectious = [jnp.where(infects, q, 1 - left) for q in infectious]
    of_kind = {k: q for kinds, q in zip(classes, infectious, strict=True) for k in kinds}
    used = [None if row is None else row * of_kind.get(k, others) for k, row in enumerate(rows)]
    total = sum(lost for lost in used if lost is not None)
    if any(row is None for row in rows):  # all rows sum to zero, and those left out belong to stages that do not infect
        total = total - others * sum(row for row in rows if row is not None)
    # What ghosts lose, the agent's own stage takes back, so that the rows go on summing to zero.
    return tuple(
        None if row is None else row - lost + jnp.where(value == k, total, 0)
        for k, (row, lost) in enumerate(zip(rows, used, strict=True))
    )


def sums(network: graph.Graph | groups.Households | groups.Groups, values: jax.Array) -> jax.Array:
    """The sum of (n,) float32 over each agent's contacts, itself left out; symmetric, and so is its derivative."""
    if isinstance(network, graph.Graph):
        return graph.neighbour_sums(values, network)
    if isinstance(network, groups.Households):
        return shadows.symmetric(lambda v: groups.housemate_sums(v, network), values)
    inside = network.group < network.size.shape[0]
    return shadows.symmetric(
        lambda v: jnp.where(inside, groups.to_members(groups.group_sums(v, network), network) - v, 0), values
    )


def infected(shadow: Shadow, flow: Flow, hazard: jax.Array, exposure: Exposure, classes: Classes) -> Flow:
    """The derivative of an infection.

    Those who stayed susceptible gain

        dx_i = (1 - x_i) (dh_i + s_i sum_l sum_j W_{l,j}),        W_{l,j} = sum_k outgoing_{l,k,j} Q_{l,k,j}

    with x the event, dh what parameters change of the hazard with everybody's stage as it is, s the susceptibility.
    Contacts are used up as those of an agent with s = 1.

    Args:
        shadow: of the stages before.
        flow: of being susceptible, one stage.
        hazard: (n,) float32 of each agent, with its derivative.
        exposure: see `Exposure`.
        classes: the stages of each class of infectious stages.
    """
    if flow.rule == "cavity":
        return _infected_by_jumps(shadow, flow, hazard, exposure, classes)
    return _infected_by_rates(shadow, flow, hazard, exposure, classes)


def _infected_by_jumps(shadow: Shadow, flow: Flow, hazard: jax.Array, exposure: Exposure, classes: Classes) -> Flow:
    (susceptible,) = flow.kinds
    stayed = ((flow.value == susceptible) & (exposure.happens == 0)).astype(jnp.uint8)
    lasting = jnp.float32(0)
    for weight, kinds in zip(exposure.weights, classes, strict=True):
        lasting = sum((weight * shadow.course.lasting(k) for k in kinds), start=lasting)
    nothing = tuple(jnp.zeros_like(hazard) for _ in shadow.mass)
    inside = tuple(flag for layer in exposure.contacts for flag in layer.channels)
    outgoing = (*shadow.outgoing, *(nothing for _ in inside))[: len(inside)]
    family = tuple(
        families.family(layer.network, layer.hazards[0], stayed, lasting, exposure.chance)
        for layer in exposure.contacts
    )

    def tangent(constants: Any, before: Any, inputs: Any) -> Any:
        value, exposure, stayed, family = constants
        d_hazard, mass, outgoing = inputs
        staying = stayed.astype(jnp.float32)
        scale = staying if exposure.susceptibility is None else staying * exposure.susceptibility
        rows = iter(outgoing)
        born = staying * d_hazard
        for crowd in exposure.crowds:
            born = born + scale * _from_crowd(crowd, mass, classes)
        apart: list[tuple[jax.Array, jax.Array | None]] = []  # by layer: what its ghosts lack or have elsewhere
        for layer, shared in zip(exposure.contacts, family, strict=True):
            push = emitted(next(rows), value, classes, layer.hazards)
            if isinstance(layer.network, graph.Graph):
                here = scale * sums(layer.network, push)
                from_susceptible = scale * sums(layer.network, jnp.where(stayed == 1, push, 0))
                apart.append((from_susceptible * shared.start, None))
            else:
                push = push + emitted(next(rows), value, classes, layer.hazards)
                here = scale * sums(layer.network, push)
                apart.append((here, here * shared.start))
            born = born + here
        new = [born]
        for lack, inside in apart:
            new.extend([born - lack] if inside is None else [born - lack, inside])
        leaves = jnp.where(value == susceptible, exposure.happens.astype(jnp.float32), exposure.chance)
        return tuple((leaves * row[0] + fresh,) for row, fresh in zip(before, new, strict=True))

    before = (flow.mass, *((rows[susceptible],) for rows in outgoing))
    mass, *rest = shadows.carried(tangent)(
        before, (hazard, shadow.mass, outgoing), (flow.value, exposure, stayed, family)
    )
    hazards = tuple(layer.hazards for layer in exposure.contacts for _ in layer.channels)
    left = tuple(each for shared in family for each in (shared.left or (None,)))
    used = Used(hazards, left, classes) if inside else None
    infecting = frozenset(k for kinds in classes for k in kinds)
    return dataclasses.replace(
        flow, mass=mass, outgoing=tuple(rest), inside=inside, infecting=infecting, used=used, leaving=None
    )


def _infected_by_rates(shadow: Shadow, flow: Flow, hazard: jax.Array, exposure: Exposure, classes: Classes) -> Flow:
    (susceptible,) = flow.kinds
    rule = flow.rule

    def tangent(constants: Any, before: Any, inputs: Any) -> Any:
        value, exposure = constants
        d_hazard, mass = inputs
        own = value == susceptible
        more = sum((_from_crowd(crowd, mass, classes) for crowd in exposure.crowds), start=jnp.zeros_like(d_hazard))
        for layer in exposure.contacts:
            parts = [h * sum(mass[k] for k in kinds) for h, kinds in zip(layer.hazards, classes, strict=True)]
            more = more + sums(layer.network, sum(parts[1:], start=parts[0]))
        if exposure.susceptibility is not None:
            more = more * exposure.susceptibility
        d_chance = (1 - exposure.chance) * (d_hazard + more)
        weight = shadows.coupling(rule, exposure.happens, exposure.chance, exposure.word)
        leaves = jnp.where(own, exposure.happens.astype(jnp.float32), exposure.chance)
        return ((leaves * before[0][0] + jnp.where(own, weight * d_chance, 0),),)

    (mass,) = shadows.carried(tangent)((flow.mass,), (hazard, shadow.mass), (flow.value, exposure))
    return dataclasses.replace(flow, mass=mass, outgoing=(), leaving=None)


def _from_crowd(crowd: Crowd, mass: Rows, classes: Classes) -> jax.Array:
    parts = [weight * sum(mass[k] for k in kinds) for weight, kinds in zip(crowd.weights, classes, strict=True)]
    return strata.met_by_agents(sum(parts[1:], start=parts[0]), crowd.mixing) * crowd.rate
