"""Contagion over several networks at once.

An agent i that is susceptible is infected in a step with the probability

    p_i = 1 - exp(-s_i (h_i + sum_l lambda_{l,i})),        lambda_{l,i} = r_l sum_{j in contact with i in l} w_j

with s susceptibility, h a hazard from outside, r_l the rate of layer l and w_j the infectiousness of j. Who is
infectious is counted in integers; only the last steps are floats, agent by agent, so no order of agents can change a
bit.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from lpm.kernels import bits, ghosts, graph, groups, random, ranks, strata
from lpm.kernels.hazards import probability
from lpm.kernels.stages import Indicator, Stages, among

MANY = 200_000  # agents from whom on it is worth the compiler's time to ask few of them for their contacts
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


Classes = list[tuple[jax.Array, jax.Array | float]]  # packed flags and weight of each class of infectious agents


@dataclasses.dataclass(frozen=True)
class Infectious:
    """Stages that infect alike, and how much.

    Args:
        kinds: numbers of the stages.
        weight: () float32, relative infectiousness.
    """

    kinds: tuple[int, ...]
    weight: jax.Array | float = 1.0


def layer_hazard(classes: Classes, layer: Layer, derivative: bool = False) -> jax.Array:
    """The hazard lambda of one layer for each agent, (n,) float32, 1/step.

    Args:
        classes: (packed flags, weight) for each class of infectious agents.
        layer: see `Layer`.
        derivative: whether rates and weights have one.
    """
    return hazard_of(classes, layer, counted(classes, layer), derivative)(slice(None))


def counted(classes: Classes, layer: Layer) -> list[jax.Array]:
    """How many infectious agents of each class there are: around each agent, or in each group or stratum; integers."""
    network, words = layer.network, tuple(flags for flags, _ in classes)
    if isinstance(network, graph.Graph):
        return [graph.neighbour_counts(flags, network) for flags in words]
    if isinstance(network, groups.Households):
        if len(words) == 2:
            return list(groups.household_counts_of_two(words, network))
        return [groups.household_counts(flags, network) for flags in words]
    if isinstance(network, groups.Groups):
        if len(words) == 2:
            return list(groups.group_counts_of_two(words, network))
        return [groups.group_counts(flags, network) for flags in words]
    return [strata.count(flags, network.strata) for flags in words]


def hazard_of(
    classes: Classes, layer: Layer, counts: list[jax.Array], derivative: bool = False
) -> Callable[[slice], jax.Array]:
    """As `layer_hazard`, for a slice of the agents, from what `counted` found."""
    network, rate = layer.network, layer.rate

    def weighted(counts: list[jax.Array]) -> jax.Array:
        parts = [count.astype(jnp.float32) * weight for count, (_, weight) in zip(counts, classes, strict=True)]
        return functools.reduce(jnp.add, parts)

    if isinstance(network, graph.Graph):
        return lambda part: rate * weighted([each[part] for each in counts])
    if isinstance(network, groups.Households):
        size = groups.household_sizes(network)
        return lambda part: rate * weighted([each[part] for each in counts]) / groups.others(size[part])
    if isinstance(network, groups.Groups):
        rates = rate * weighted(counts) / groups.others(network.size)
        if derivative:
            return groups.rates_to_members(rates, network).__getitem__
        rates = bits.settle(jnp.pad(rates, (0, 1)))
        return lambda part: bits.taken(rates, network.group[part])
    rates = rate * strata.meet(weighted(counts), network)
    if derivative:
        return strata.rates_to_agents(rates, network.strata).__getitem__
    rates = bits.settle(rates.reshape(-1))
    return lambda part: bits.taken(rates, network.strata.code[part].astype(jnp.int32))


def infections(
    word: jax.Array | Callable[[slice | jax.Array], jax.Array],
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
        word: (n,) uint32, from `random.words`; or `random.drawn`, which is faster if one graph is all there is.
        stages: where each agent is.
        layers: networks and rates.
        susceptible: the stage that can be infected.
        infectious: the stages that infect.
        susceptibility: (n,) float32, 1 for a reference agent; None for 1 everywhere.
        outside: () or (n,) float32, hazard from outside the population (importation), 1/step.
    """
    classes = [(bits.pack(among(stages, *each.kinds).value), each.weight) for each in infectious]
    who, n = among(stages, susceptible), stages.value.shape[0]
    draw = word if callable(word) else functools.partial(_taken, word)

    def of_all(limit_of: Callable[[slice], jax.Array]) -> jax.Array:
        return bits.evenly(lambda part: random.happens(draw(part), limit_of(part)) & who.value[part], n)

    table = _table(classes, layers, susceptibility, outside)
    network = layers[0].network if layers else None
    if table is None or not isinstance(network, graph.Graph):
        counts = [counted(classes, layer) for layer in layers]
        limit_of = _by_hazard(_hazard_of(classes, layers, counts, susceptibility, outside))
    else:
        words = ranks.exchange_flags(classes[0][0], network.halo)

        def by_count(count: jax.Array) -> Callable[[slice], jax.Array]:
            return lambda part: bits.taken(table, count[part].astype(jnp.int32))

        def of_each() -> jax.Array:
            return of_all(by_count(graph.counts_among(words, network)))

        if stages.shadow is None and network.place is None and n >= MANY:
            # To pass over most agents is no gain but on a CPU.
            of_few = functools.partial(graph.infected, draw, who.value, words, table, network)
            return Indicator(lax.platform_dependent(cpu=of_few, default=of_each))
        counts = [[graph.counts_among(words, network)]]
        limit_of = by_count(counts[0][0])
    value = of_all(limit_of)
    if stages.shadow is None or who.shadow is None:
        return Indicator(value)
    limit, word = limit_of(slice(None)), draw(slice(None))
    hazard = _hazard_of(classes, layers, counts, susceptibility, outside, derivative=True)(slice(None))
    exposure = _exposure(word, limit, layers, infectious, susceptibility, outside)
    kinds = tuple(each.kinds for each in infectious)
    return Indicator(
        value, ghosts.infected(stages.shadow, who.shadow, hazard + jnp.zeros(value.shape, jnp.float32), exposure, kinds)
    )


def _taken(word: jax.Array, agents: slice | jax.Array) -> jax.Array:
    return word[agents] if isinstance(agents, slice) else bits.taken(word, agents)


def _table(
    classes: Classes, layers: tuple[Layer, ...], susceptibility: jax.Array | None, outside: jax.Array | None
) -> jax.Array | None:
    """If one count decides: thresholds by that count, which spare an exponential for each agent."""
    if not (len(layers) == len(classes) == 1 and isinstance(layers[0].network, graph.Graph) and susceptibility is None):
        return None
    network, rate = layers[0].network, layers[0].rate * classes[0][1]
    if network.most > 255 or not (outside is None or jnp.ndim(outside) == 0):
        return None
    hazards = rate * jnp.arange(network.most + 1, dtype=jnp.float32) + (0.0 if outside is None else outside)
    return bits.settle(random.threshold(probability(hazards)))


def _by_hazard(hazard: Callable[[slice], jax.Array]) -> Callable[[slice], jax.Array]:
    return lambda part: random.threshold(probability(hazard(part)))


def _hazard_of(
    classes: Classes,
    layers: tuple[Layer, ...],
    counts: list[list[jax.Array]],
    susceptibility: jax.Array | None,
    outside: jax.Array | None,
    derivative: bool = False,
) -> Callable[[slice], jax.Array]:
    """s_i (h_i + sum_l lambda_{l,i}) of a slice: float32, () if no layer and no susceptibility tells agents apart."""
    own = [hazard_of(classes, layer, found, derivative) for layer, found in zip(layers, counts, strict=True)]

    def hazard(part: slice) -> jax.Array:
        terms = [each(part) for each in own]
        if outside is not None:
            terms.insert(0, outside if jnp.ndim(outside) == 0 else outside[part])
        total = functools.reduce(jnp.add, terms) if terms else jnp.float32(0)
        return total if susceptibility is None else total * susceptibility[part]

    return hazard


def _exposure(
    word: jax.Array,
    limit: jax.Array,
    layers: tuple[Layer, ...],
    infectious: tuple[Infectious, ...],
    susceptibility: jax.Array | None,
    outside: jax.Array | None,
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
            rate = layer.rate / groups.others(groups.household_sizes(layer.network))
        else:
            rate = groups.rates_to_members(layer.rate / groups.others(layer.network.size), layer.network)
        contacts.append(ghosts.Contacts(layer.network, tuple(rate * weight for weight in weights)))
    # Stored, or each of the many operations on ghosts would draw anew.
    happens = bits.settle(random.happens(word, limit))
    chance = bits.settle(jnp.broadcast_to(limit.astype(jnp.float32) * jnp.float32(2.0**-31), word.shape))
    return ghosts.Exposure(happens, chance, word, susceptibility, weights, tuple(contacts), tuple(crowds), outside)
