"""Who is infectious around me: a contact graph, as rows of neighbours.

Agents of like degree share a table of neighbours, so that nothing is padded but the few of very high degree, and
neighbours are looked up among packed flags: for a million agents these are 125 kB, which stay in cache.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from lpm.kernels import bits, ranks, shadows


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Graph:
    """An undirected graph.

    Args:
        rows: tables of neighbours, one for each class of degrees, int32; n stands for nobody. A table is
            (degree, agents) if not `by_agent`, else (agents, degree): the first is faster up to a few million agents.
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
    axis = 1 if graph.by_agent else 0
    words = ranks.exchange_flags(words, graph.halo)
    counts = [bits.lookup(words, row).sum(axis, dtype=jnp.uint32).astype(graph.count_dtype) for row in graph.rows]
    return in_agent_order(jnp.concatenate(counts), graph)


def neighbour_sums(values: jax.Array, graph: Graph) -> jax.Array:
    """The sum of a real value over each agent's neighbours: (n,) float32 to (n,) float32; it can be differentiated."""
    axis = 1 if graph.by_agent else 0

    def forward(values: jax.Array) -> jax.Array:
        padded = ranks.exchange(values, graph.halo)
        sums = [bits.fused_sum(padded.at[row].get(mode="promise_in_bounds"), axis) for row in graph.rows]
        return ranks.present(in_agent_order(jnp.concatenate(sums), graph))

    return shadows.symmetric(forward, values)


def degrees(graph: Graph) -> jax.Array:
    """Each agent's number of neighbours: (n,) int32."""
    axis = 1 if graph.by_agent else 0
    rows = sum(row.shape[1 - axis] for row in graph.rows)
    n = rows if graph.place is None else graph.place.shape[0]  # on devices there may be rows of nobody
    return in_agent_order(jnp.concatenate([(row != n).sum(axis, dtype=jnp.int32) for row in graph.rows]), graph)


def in_agent_order(values: jax.Array, graph: Graph) -> jax.Array:
    """Values in the order of the tables, put in the order of the agents."""
    return values if graph.place is None else bits.settle(values).at[graph.place].get(mode="promise_in_bounds")
