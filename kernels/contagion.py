"""Contagion over several networks at once.

An agent i that is susceptible is infected in a step with the probability

    p_i = 1 - exp(-s_i (h_i + sum_l lambda_{l,i})),        lambda_{l,i} = r_l sum_{j in contact with i in l} w_j

with s susceptibility, h a hazard from outside, r_l the rate of layer l and w_j the infectiousness of j. Who is
infectious is counted in integers; only the last steps are floats, agent by agent, so no order of agents can change a
bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lpm.kernels import bits, ghosts, graph, groups, random, strata
from lpm.kernels.hazards import probability
from lpm.kernels.stages import Indicator, Stages, among

Network = graph.Graph | groups.Households | groups.Groups | strata.Mixing


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Layer:
    """A network and the rate of transmission over it.

    Args:
        network: what it means decides the unit of the rate:
            `Graph`: rate per contact, 1/step;
            `Households`, `Groups`: rate of a member that meets the others at random: r / (members - 1) for each other
            member; `Mixing`: rate of an agent that meets its strata at random.
        rate: () float32, or (groups,) float32 for `Groups`.
    """

    network: Network
    rate: jax.Array


@dataclasses.dataclass(frozen=True)
class Infectious:
    """Stages that infect alike, and how much.

    Args:
        kinds: numbers of the stages.
        weight: () float32, relative infectiousness.
    """

    kinds: tuple[int, ...]
    weight: jax.Array | float = 1.0


def layer_hazard(
    classes: list[tuple[jax.Array, jax.Array | float]], layer: Layer, derivative: bool = False
) -> jax.Array:
    """The hazard lambda of one layer for each agent, (n,) float32, 1/step.

    Args:
        classes: (packed flags, weight) for each class of infectious agents.
        layer: see `Layer`.
        derivative: whether rates and weights have one.
    """
    network, rate = layer.network, layer.rate
    to_members = groups.rates_to_members if derivative else groups.to_members
    spread = strata.rates_to_agents if derivative else strata.spread

    def weighted(counts: Callable[[jax.Array], jax.Array]) -> Any:
        total = None
        for words, weight in classes:
            term = counts(words).astype(jnp.float32) * weight
            total = term if total is None else total + term
        return total

    def of_two(counts: Callable[..., tuple[jax.Array, jax.Array]]) -> jax.Array:
        (first, weight), (second, other_weight) = classes
        one, two = counts((first, second), network)
        return one.astype(jnp.float32) * weight + two.astype(jnp.float32) * other_weight

    if isinstance(network, graph.Graph):
        return rate * weighted(lambda words: graph.neighbour_counts(words, network))
    if isinstance(network, groups.Households):
        others = jnp.maximum(groups.household_sizes(network), 2).astype(jnp.float32) - 1
        if len(classes) == 2:
            return rate * of_two(groups.household_counts_of_two) / others
        return rate * weighted(lambda words: groups.household_counts(words, network)) / others
    if isinstance(network, groups.Groups):
        others = (jnp.maximum(network.size, 2) - 1).astype(jnp.float32)
        if len(classes) == 2:
            return to_members(rate * of_two(groups.group_counts_of_two) / others, network)
        return to_members(rate * weighted(lambda words: groups.group_counts(words, network)) / others, network)
    met = strata.meet(weighted(lambda words: strata.count(words, network.strata)), network)
    return spread(rate * met, network.strata)


def infections(
    word: jax.Array,
    stages: Stages,
    layers: tuple[Layer, ...],
    *,
    susceptible: int,
    infectious: tuple[Infectious, ...],
    susceptibility: jax.Array | None = None,
    outside: jax.Array | None = None,
) -> Indicator:
    """Who is infected in this step.

    Args:
        word: (n,) uint32, from `random.words`.
        stages: where each agent is.
        layers: networks and rates.
        susceptible: the stage that can be infected.
        infectious: the stages that infect.
        susceptibility: (n,) float32, 1 for a reference agent; None for 1 everywhere.
        outside: () or (n,) float32, hazard from outside the population (importation), 1/step.
    """
    classes = [(bits.pack(among(stages, *each.kinds).value), each.weight) for each in infectious]
    limit = _limit(classes, layers, susceptibility, outside)
    who = among(stages, susceptible)
    value = bits.settle(random.happens(word, limit) & who.value)
    if stages.shadow is None or who.shadow is None:
        return Indicator(value)
    hazard = _hazard(classes, layers, susceptibility, outside, derivative=True)
    exposure = _exposure(word, limit, layers, infectious, susceptibility)
    kinds = tuple(each.kinds for each in infectious)
    return Indicator(
        value, ghosts.infected(stages.shadow, who.shadow, hazard + jnp.zeros(value.shape, jnp.float32), exposure, kinds)
    )


Classes = list[tuple[jax.Array, jax.Array | float]]  # packed flags and weight of each class of infectious agents


def _limit(
    classes: Classes, layers: tuple[Layer, ...], susceptibility: jax.Array | None, outside: jax.Array | None
) -> jax.Array:
    """The threshold of each agent's infection, (n,) uint32."""
    if len(layers) == len(classes) == 1 and isinstance(layers[0].network, graph.Graph) and susceptibility is None:
        # One count decides: a table of integer thresholds spares an exponential for each agent.
        network, rate = layers[0].network, layers[0].rate * classes[0][1]
        if network.most < 256 and (outside is None or jnp.ndim(outside) == 0):
            hazards = rate * jnp.arange(network.most + 1, dtype=jnp.float32) + (0.0 if outside is None else outside)
            table = bits.settle(random.threshold(probability(hazards)))
            counts = graph.neighbour_counts(classes[0][0], network)
            return table.at[counts.astype(jnp.int32)].get(mode="promise_in_bounds")
    hazard = _hazard(classes, layers, susceptibility, outside)
    return random.threshold(probability(hazard))


def _hazard(
    classes: Classes,
    layers: tuple[Layer, ...],
    susceptibility: jax.Array | None,
    outside: jax.Array | None,
    derivative: bool = False,
) -> jax.Array:
    """s_i (h_i + sum_l lambda_{l,i}): (n,) float32, or () if no layer and no susceptibility tells agents apart."""
    hazard = None if outside is None else jnp.asarray(outside)
    for layer in layers:
        own = layer_hazard(classes, layer, derivative)
        hazard = own if hazard is None else hazard + own
    if hazard is None:
        return jnp.float32(0)
    return hazard if susceptibility is None else hazard * susceptibility


def _exposure(
    word: jax.Array,
    limit: jax.Array,
    layers: tuple[Layer, ...],
    infectious: tuple[Infectious, ...],
    susceptibility: jax.Array | None,
) -> ghosts.Exposure:
    """What the derivative needs to know of the step."""
    contacts, crowds = [], []
    weights = tuple(jnp.asarray(each.weight, jnp.float32) for each in infectious)
    for layer in layers:
        if isinstance(layer.network, strata.Mixing):
            crowds.append(ghosts.Crowd(layer.network, layer.rate, weights))
            continue
        if isinstance(layer.network, graph.Graph):
            rate = layer.rate
        elif isinstance(layer.network, groups.Households):
            rate = layer.rate / (jnp.maximum(groups.household_sizes(layer.network), 2).astype(jnp.float32) - 1)
        else:
            rate = groups.to_members(
                layer.rate / (jnp.maximum(layer.network.size, 2) - 1).astype(jnp.float32), layer.network
            )
        contacts.append(ghosts.Contacts(layer.network, tuple(rate * weight for weight in weights)))
    chance = jnp.broadcast_to(limit.astype(jnp.float32) * jnp.float32(2.0**-31), word.shape)
    return ghosts.Exposure(
        random.happens(word, limit), chance, word, susceptibility, weights, tuple(contacts), tuple(crowds)
    )
