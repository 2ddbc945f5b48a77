"""How ghosts infect: the cavity rule.

A ghost (`lpm.kernels.shadows`) is an agent that is in stage r and would be in stage k. Towards a contact it differs by
the hazard h_k - h_r for as long as both last, so that a contact that escaped infection gains, for each unit of the
ghost's mass,

    Q = 1 - exp(-(h_k - h_r))

of being infected. Three things keep ghosts from multiplying where an epidemic does not:

1. *A contact is infected once.* The share of its contacts that a ghost has not infected yet falls by the factor 1 - Q
   in each step. That share times the mass is the ghost's `outgoing`.
2. *A ghost does not infect whom it was infected by, nor whom its kin has.* On a graph, an agent that could be infected
   takes from what it meets what comes back from those whom its own ghosts infected, its *children*. They are alike at
   each of its contacts, so that one number for all of them is carried beside the agent. Ghosts lose as many contacts to
   their kin as those who are really infected do (`lpm.kernels.kin`).
3. *In a group, the infected of one ghost share their contacts.* Ghosts born within a group (`lpm.kernels.families`)
   therefore have an outgoing of their own, and all that are in a group use their contacts up as fast as a family does.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lpm.kernels import bits, families, graph, groups, kin, moves, shadows, strata
from lpm.kernels.hazards import probability
from lpm.kernels.shadows import Flow, Rows, Shadow, SomeRows

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
    def channels(self) -> tuple[shadows.Channel, ...]:
        """What each `outgoing` of the layer is of; on a graph the second family is for whom ghosts came from."""
        on_graph: tuple[shadows.Channel, ...] = ("root", "family", "family", "children")
        return on_graph if isinstance(self.network, graph.Graph) else on_graph[:2]


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
        outside: () or (n,) float32, the hazard from outside the population, or None.
    """

    happens: jax.Array
    chance: jax.Array
    word: jax.Array
    susceptibility: jax.Array | None
    weights: tuple[jax.Array, ...]
    contacts: tuple[Contacts, ...]
    crowds: tuple[Crowd, ...]
    outside: jax.Array | None = None


Jumps = tuple[jax.Array, ...]  # 1 - exp(-h) of each class of infectious stages, () or (n,) float32


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Used:
    """How ghosts use up their contacts in a step, for each `outgoing`.

    Args:
        jumps: see `Jumps`.
        left: what ghosts keep: in groups the share, (n,) float32; on a graph see `kin.Kin`, (classes + 1,) float32.
        channels, classes: static.
        latent: the stages of those infected that do not infect yet, static.
    """

    jumps: tuple[Jumps, ...]
    left: tuple[jax.Array, ...]
    channels: tuple[shadows.Channel, ...] = dataclasses.field(metadata={"static": True})
    classes: Classes = dataclasses.field(metadata={"static": True})
    latent: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def apply(self, outgoing: tuple[SomeRows, ...], value: jax.Array) -> tuple[SomeRows, ...]:
        """What is left of outgoing shares after a step.

        Args:
            outgoing: by channel and stage.
            value: (n,) uint8, the agents' own stages in the step.
        """

        def tangent(constants: Any, channels: Any, _: Any) -> Any:
            used, value = constants
            stages = [stage for stage, _ in shadows.beside(value, used.channels)[1:]]
            each = zip(channels, stages, used.jumps, used.left, strict=True)
            return tuple(_left(rows, stage, used, jumps, left) for rows, stage, jumps, left in each)

        return shadows.carried(tangent)(outgoing, (), (self, value))


def _jumps(layer: Contacts, turn: jax.Array) -> Jumps:
    """1 - exp(-h), stored: ghosts are many, and exponentials dear. What follows from it is computed in each turn."""
    found = (probability(lax.stop_gradient(hazard)) for hazard in layer.hazards)
    return tuple(bits.anew(bits.settle(q), turn) if q.ndim else q for q in found)


def _spared(value: jax.Array, classes: Classes, jumps: Jumps) -> jax.Array:
    """exp(h_r), (n,): with h_r the hazard that an agent itself is to its contacts, 1 / (1 - Q_r)."""
    found = jnp.ones(value.shape, jnp.float32)
    for kinds, q in zip(classes, jumps, strict=True):
        found = jnp.where(_among(value, kinds), 1 / (1 - q), found)
    return found


def _among(value: jax.Array, kinds: tuple[int, ...]) -> jax.Array:
    low, high = min(kinds), max(kinds)
    if tuple(sorted(kinds)) == tuple(range(low, high + 1)):
        return (value >= low) & (value <= high)
    return jnp.isin(value, jnp.array(kinds, value.dtype))


def emitted(rows: Rows, value: jax.Array, classes: Classes, jumps: Jumps) -> jax.Array:
    """sum_k outgoing_k (1 - exp(h_r - h_k)) of each agent, (n,) float32, linear in the rows.

    Since the rows sum to zero, it is exp(h_r) sum_k outgoing_k (1 - exp(-h_k)), and those of stages that do not infect
    are not read.
    """
    parts = [sum(rows[k] for k in kinds) * q for kinds, q in zip(classes, jumps, strict=True)]
    return sum(parts[1:], start=parts[0]) * _spared(value, classes, jumps)


def given_back(children: Rows, classes: Classes, jumps: Jumps) -> jax.Array:
    """What each child of an agent's ghosts infects the agent with, (n,) float32; it has not been infected itself."""
    parts = [sum(children[k] for k in kinds) * q for kinds, q in zip(classes, jumps, strict=True)]
    return sum(parts[1:], start=parts[0])


def _left(rows: Rows, value: jax.Array, used: Used, jumps: Jumps, left: jax.Array) -> Rows:
    """outgoing_k exp(h_r - h_k) and less what kin takes; what is lost, the agent's own stage takes back."""
    spared = _spared(value, used.classes, jumps)
    keep = {k: (1 - q) * spared for kinds, q in zip(used.classes, jumps, strict=True) for k in kinds}
    infects = _among(value, tuple(keep))
    if left.shape == value.shape:
        keep = {k: jnp.where(infects, share, left) for k, share in keep.items()}
    else:
        place = {k: c for c, kinds in enumerate((*used.classes, used.latent)) for k in kinds}
        keep = {k: keep.get(k, spared) * jnp.where(infects, 1, left[c]) for k, c in place.items()}
    # As the rows sum to zero before and after, those of stages that do not infect need not be read.
    total = sum(rows[k] * (spared - share) for k, share in keep.items())  # of children nobody takes it back
    return tuple(
        None if row is None else row * keep.get(k, spared) + jnp.where(value == k, total, 0)
        for k, row in enumerate(rows)
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
    if flow.rule == "mean_field":
        return _infected_in_expectation(shadow, flow, exposure, classes)
    if flow.rule == "score":
        chance = probability(hazard)
        return moves.of_event(flow, exposure.word, exposure.happens, chance)
    return _infected_by_rates(shadow, flow, hazard, exposure, classes)


def _latent(shadow: Shadow, susceptible: int, classes: Classes) -> tuple[int, ...]:
    """The stages that lead to others which infect, and do not themselves."""
    infecting = {k for kinds in classes for k in kinds}
    latent: set[int] = set()
    while True:
        to = {origin for origin, target in shadow.moves if target in infecting | latent} - infecting - {susceptible}
        if to <= latent:
            return tuple(sorted(latent))
        latent |= to


def _latent_steps(shadow: Shadow, latent: tuple[int, ...]) -> jax.Array:
    """Mean steps from an infection until it infects, () float32."""
    course = shadow.course
    # Stages that nobody leaves by himself (the recovered, who are vaccinated, say) lead nowhere.
    each = (jnp.where(course.leaves[k] > 0, course.lasting(k), 0) for k in latent)
    return sum(each, start=jnp.float32(0))


def _infectious_steps(shadow: Shadow, weights: tuple[jax.Array, ...], classes: Classes) -> tuple[jax.Array, jax.Array]:
    """Mean steps in which an infection infects, weighted, and how many alike phases have the same variance.

    Of a stage that is entered with the probability e and lasts d in the mean, exponentially, the variance is
    e (2 - e) d^2; that stages exclude each other, or come together, is left out.
    """
    total, variance = jnp.float32(0), jnp.float32(0)
    for weight, kinds in zip(weights, classes, strict=True):
        for k in kinds:
            enters, lasting = jnp.clip(shadow.course.enters[k], 1e-3, 1), weight * shadow.course.lasting(k)
            total, variance = total + lasting, variance + (2 - enters) / enters * lasting**2
    return total, total**2 / jnp.maximum(variance, 1e-6)


def _infected_by_jumps(shadow: Shadow, flow: Flow, hazard: jax.Array, exposure: Exposure, classes: Classes) -> Flow:
    (susceptible,) = flow.kinds
    stayed = ((flow.value == susceptible) & (exposure.happens == 0)).astype(jnp.uint8)
    lasting, phases = _infectious_steps(shadow, exposure.weights, classes)
    latent = _latent(shadow, susceptible, classes)
    steps = _latent_steps(shadow, latent)
    nothing = tuple(jnp.zeros_like(hazard) for _ in shadow.mass)
    channels = tuple(channel for layer in exposure.contacts for channel in layer.channels)
    outgoing = (*shadow.outgoing, *(nothing for _ in channels))[: len(channels)]
    jumps = tuple(_jumps(layer, exposure.word) for layer in exposure.contacts)
    who = tuple(_among(flow.value, kinds) for kinds in classes)
    could, waiting = flow.value == susceptible, jnp.isin(flow.value, jnp.array(latent, flow.value.dtype))
    family = tuple(
        kin.kin(layer.network, could, stayed, who, waiting, layer.hazards, own)
        if isinstance(layer.network, graph.Graph)
        else families.family(layer.network, own[0], stayed, lasting, steps, phases, exposure.chance)
        for layer, own in zip(exposure.contacts, jumps, strict=True)
    )

    def tangent(constants: Any, before: Any, inputs: Any) -> Any:
        value, exposure, stayed, jumps, family = constants
        d_hazard, mass, outgoing = inputs
        staying = stayed.astype(jnp.float32)
        scale = staying if exposure.susceptibility is None else staying * exposure.susceptibility
        rows = iter(outgoing)
        born = staying * d_hazard
        for crowd in exposure.crowds:
            born = born + scale * _from_crowd(crowd, mass, classes)
        apart: list[tuple[jax.Array, ...]] = []  # by layer: whom its ghosts infected here, and what channels have of it
        for layer, own, shared in zip(exposure.contacts, jumps, family, strict=True):
            by_root, by_family = (emitted(next(rows), value, classes, own) for _ in range(2))
            push = by_root + by_family
            if isinstance(layer.network, graph.Graph):
                # What is for whom ghosts came from, one of those who could be infected at their birth. It comes back,
                # or if the agent was infected itself it is left out here.
                to_parents = emitted(next(rows), value, classes, own)
                push = push - jnp.where(value == susceptible, 0, to_parents)
                back = shared.could * given_back(next(rows), classes, own)
                met, met_by = graph.neighbour_sums_of_two(push, jnp.where(stayed == 1, push, 0), layer.network)
                within = scale * (met_by - back)
                fresh = within * shared.start
                passed_on = (by_root + by_family - to_parents) * shared.start
                apart.append((within, fresh, fresh / jnp.maximum(shared.could, 1), passed_on))
                born = born + scale * (met - back)
            else:
                within = scale * sums(layer.network, push)
                apart.append((within, within * shared.start))
                born = born + within
        new = [born]
        for within, *parts in apart:
            new.extend([born - within, *parts])
        leaves = jnp.where(value == susceptible, exposure.happens.astype(jnp.float32), exposure.chance)
        found = (
            fresh if channel == "children" else leaves * row[0] + fresh
            for row, fresh, channel in zip(before, new, ("root", *channels), strict=True)
        )
        return tuple((bits.settle_tangent(each, value),) for each in found)  # two rows read each

    each_jumps = tuple(own for layer, own in zip(exposure.contacts, jumps, strict=True) for _ in layer.channels)
    left = tuple(each for shared in family for each in shared.left)
    used = Used(each_jumps, left, channels, classes, latent)
    spent = used.apply(outgoing, flow.value)
    # Who is infected takes along what is left of the outgoing: today's contacts have been met.
    before = (
        flow.mass,
        *(
            (jnp.zeros_like(hazard) if channel == "children" else rows[susceptible],)
            for rows, channel in zip(spent, channels, strict=True)
        ),
    )
    mass, *rest = shadows.carried(tangent)(
        before, (hazard, shadow.mass, outgoing), (flow.value, exposure, stayed, jumps, family)
    )
    infecting = frozenset(k for kinds in classes for k in kinds)
    return dataclasses.replace(
        flow,
        mass=mass,
        outgoing=tuple(rest),
        channels=channels,
        infecting=infecting,
        infectable=frozenset(flow.kinds),
        used=used if channels else None,
        spent=spent if channels else None,
        leaving=None,
        event=True,
    )


def _infected_by_rates(shadow: Shadow, flow: Flow, hazard: jax.Array, exposure: Exposure, classes: Classes) -> Flow:
    (susceptible,) = flow.kinds
    rule = flow.rule

    def tangent(constants: Any, before: Any, inputs: Any) -> Any:
        value, exposure = constants
        d_hazard, mass = inputs
        own = value == susceptible
        d_chance = (1 - exposure.chance) * (d_hazard + _hazard_from(mass, exposure, classes))
        weight = shadows.coupling(rule, exposure.happens, exposure.chance, exposure.word)
        leaves = jnp.where(own, exposure.happens.astype(jnp.float32), exposure.chance)
        return ((leaves * before[0][0] + jnp.where(own, weight * d_chance, 0),),)

    (mass,) = shadows.carried(tangent)((flow.mass,), (hazard, shadow.mass), (flow.value, exposure))
    return dataclasses.replace(flow, mass=mass, outgoing=(), leaving=None, event=True)


def _infected_in_expectation(shadow: Shadow, flow: Flow, exposure: Exposure, classes: Classes) -> Flow:
    """p_i = 1 - exp(-s_i (h_i + sum_l sum_j h_{l,j} P_j)), P_j the probability that j infects, contacts independent."""
    hazard = _hazard_from(shadow.mass, exposure, classes)
    if exposure.outside is not None:
        every = jnp.float32(1) if exposure.susceptibility is None else exposure.susceptibility
        hazard = hazard + exposure.outside * every
    return dataclasses.replace(flow, mass=(flow.mass[0] * probability(hazard),), leaving=None, event=True)


def _hazard_from(mass: Rows, exposure: Exposure, classes: Classes) -> jax.Array:
    """What each agent meets of agents that infect in the proportion of their mass, (n,) float32, linear in the mass."""
    met = sum((_from_crowd(crowd, mass, classes) for crowd in exposure.crowds), start=jnp.zeros_like(mass[0]))
    for layer in exposure.contacts:
        parts = [h * sum(mass[k] for k in kinds) for h, kinds in zip(layer.hazards, classes, strict=True)]
        met = met + sums(layer.network, sum(parts[1:], start=parts[0]))
    return met if exposure.susceptibility is None else met * exposure.susceptibility


def _from_crowd(crowd: Crowd, mass: Rows, classes: Classes) -> jax.Array:
    parts = [weight * sum(mass[k] for k in kinds) for weight, kinds in zip(crowd.weights, classes, strict=True)]
    return strata.met_by_agents(sum(parts[1:], start=parts[0]), crowd.mixing) * crowd.rate
