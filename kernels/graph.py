"""Who is infectious around me: a contact graph, as rows of neighbours.

Agents of like degree share a table of neighbours, so that nothing is padded but the few of very high degree, and
neighbours are looked up among packed flags: for a million agents these are 125 kB, which stay in cache.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lpm.kernels import bits, flagged, random, ranks, shadows


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Graph:
    """An undirected graph.

    Args:
        rows: tables of neighbours, one for each class of degrees, int32; n stands for nobody. A table is
            (degree, agents) if not `by_agent`, else (agents, degree): the second is faster where few agents are asked
            for theirs, or where there are millions.
        place: (n,) int32, where each agent's row stands when the tables are laid end to end; None if they stand in the
            agents' own order.
        by_agent: layout of the tables, static.
        most: the largest degree, static.
        halo: neighbours on other ranks, whose numbers in the tables follow those of this rank; None on one process.
    """

    rows: tuple[jax.Array, ...]
    place: jax.Array | None
    by_agent: bool = dataclasses.field(metadata={"static": True})
    most: int = dataclasses.field(metadata={"static": True})
    halo: ranks.Halo | None = None

    @property
    def count_dtype(self) -> type[jnp.uint8] | type[jnp.int32]:
        """The smallest integer type that holds the largest degree."""
        return jnp.uint8 if self.most < 256 else jnp.int32


def neighbour_counts(words: jax.Array, graph: Graph) -> jax.Array:
    """How many flagged neighbours each agent has.

    Args:
        words: packed flags of all agents.
        graph: see `Graph`.

    Returns:
        (n,) uint8, or int32 if a degree passes 255.
    """
    return counts_among(ranks.exchange_flags(words, graph.halo), graph)


def neighbour_counts_of_several(words: Sequence[jax.Array], graph: Graph) -> list[jax.Array]:
    """As `neighbour_counts`, for several sets of flags; each neighbour is looked up once for every four of them."""
    if graph.most > 255 or len(words) == 1:
        return [neighbour_counts(each, graph) for each in words]
    if len(words) > 4:
        return neighbour_counts_of_several(words[:4], graph) + neighbour_counts_of_several(words[4:], graph)
    fours = bits.interleave_four([ranks.exchange_flags(each, graph.halo) for each in words])
    axis = 1 if graph.by_agent else 0
    counts = jnp.concatenate([bits.lookup_four(fours, row).sum(axis, dtype=jnp.uint32) for row in graph.rows])
    packed = bits.settle(in_agent_order(counts, graph))
    return [bits.settle(((packed >> (8 * number)) & 255).astype(jnp.uint8)) for number in range(len(words))]


def counts_among(words: jax.Array, graph: Graph) -> jax.Array:
    """As `neighbour_counts`, from flags that hold those of other ranks already (`ranks.exchange_flags`)."""
    axis = 1 if graph.by_agent else 0
    counts = [bits.lookup(words, row).sum(axis, dtype=jnp.uint32).astype(graph.count_dtype) for row in graph.rows]
    return in_agent_order(jnp.concatenate(counts), graph)


def infected(
    draw: Callable[[slice | jax.Array], jax.Array], who: jax.Array, words: jax.Array, table: jax.Array, graph: Graph
) -> jax.Array:
    """Whose draw is below the threshold that belongs to the number of their flagged neighbours.

    Nobody is asked for their neighbours whose draw would be too high if all of them were flagged: on a sparse graph
    those are most agents, and which of the rest happen to be left out cannot be told from the result.

    Args:
        draw: see `random.drawn`.
        who: (n,) uint8, 1 for those who can be infected.
        words: packed flags of all agents, those of other ranks too.
        table: (most + 1,) uint32, from `random.threshold`, by the number of flagged neighbours.
        graph: see `Graph`; with agents in the order of the tables.

    Returns:
        (n,) uint8.
    """
    axis, n = 1 if graph.by_agent else 0, who.shape[0]
    widths = tuple(row.shape[axis] for row in graph.rows)
    bounds = tuple(int(bound) for bound in np.cumsum([0, *(row.shape[1 - axis] for row in graph.rows)]))
    around = jnp.minimum(jnp.asarray(widths, jnp.int32), bits.total(words))
    highest = bits.settle(lax.cummax(table)[around])  # of each class of degrees
    last = 32 * jnp.arange(bits.words_for(n) - 1, dtype=jnp.int32) + 31
    limits = highest[(jnp.asarray(bounds[1:-1], jnp.int32)[:, None] <= last[None, :]).sum(0)]
    found = flagged.listed(bits.pack(flagged.below(draw, limits, who)))

    def counted(row: jax.Array, begin: int) -> Callable[[jax.Array], jax.Array]:
        def of(agents: jax.Array) -> jax.Array:
            if 0 in row.shape:
                return jnp.zeros(agents.shape, jnp.uint32)
            place = jnp.clip(agents - begin, 0, row.shape[1 - axis] - 1)
            there = row.at[place] if graph.by_agent else row.at[:, place]
            met = there.get(mode="promise_in_bounds", wrap_negative_indices=False)
            return bits.lookup(words, met).sum(axis, dtype=jnp.uint32)

        return of

    ways = [counted(row, begin) for row, begin in zip(graph.rows, bounds[:-1], strict=True)]

    def decide(which: jax.Array, agents: jax.Array) -> jax.Array:
        around = bits.settle(lax.switch(which, ways, agents)).astype(jnp.int32)
        return random.happens(draw(agents), bits.settle(bits.taken(table, around)))

    return bits.unpack(flagged.decided(found, bounds, decide, flagged.chunk(n)), n)


def neighbour_sums(values: jax.Array, graph: Graph) -> jax.Array:
    """The sum of a real value over each agent's neighbours: (n,) float32 to (n,) float32; it can be differentiated."""
    axis = 1 if graph.by_agent else 0

    def forward(values: jax.Array) -> jax.Array:
        padded = ranks.exchange(values, graph.halo)
        sums = [bits.fused_sum(bits.taken(padded, row), axis) for row in graph.rows]
        return ranks.present(in_agent_order(jnp.concatenate(sums), graph))

    return shadows.symmetric(forward, values)


def neighbour_sums_of_two(first: jax.Array, second: jax.Array, graph: Graph) -> tuple[jax.Array, jax.Array]:
    """As `neighbour_sums` of both, each neighbour being looked up once: two (n,) float32 to two (n,) float32."""
    if graph.halo is not None:
        return neighbour_sums(first, graph), neighbour_sums(second, graph)

    def forward(both: jax.Array) -> jax.Array:
        padded = bits.settle(jnp.pad(both, ((0, 1), (0, 0))))
        sums = [bits.fused_sum(bits.taken(padded, row), int(graph.by_agent)) for row in graph.rows]
        return in_agent_order(jnp.concatenate(sums), graph)

    both = shadows.symmetric(forward, jnp.stack([first, second], axis=1))
    return both[:, 0], both[:, 1]


def degrees(graph: Graph) -> jax.Array:
    """Each agent's number of neighbours: (n,) int32."""
    axis = 1 if graph.by_agent else 0
    rows = sum(row.shape[1 - axis] for row in graph.rows)
    n = rows if graph.place is None else graph.place.shape[0]  # on devices there may be rows of nobody
    return in_agent_order(jnp.concatenate([(row != n).sum(axis, dtype=jnp.int32) for row in graph.rows]), graph)


def in_agent_order(values: jax.Array, graph: Graph) -> jax.Array:
    """Values in the order of the tables, put in the order of the agents."""
    return values if graph.place is None else bits.taken(bits.settle(values), graph.place)
