"""From a list of edges to the tables that the kernels read."""

from __future__ import annotations

from typing import Literal, overload

import jax
import numpy as np

from lpm import building
from lpm.errors import InputError
from lpm.kernels.graph import Graph
from lpm.networks import halos, tables
from lpm.networks.edges import Edges

PADDING = 0.01  # share of all entries; heavy tails pad more, about a tenth, since they need all tables
MOST_TABLES = 24  # more gained nothing, even with tails to degree 1000, and compiled longer
# Agents; from here on the rows of one agent, read together, miss the cache less often. On a CPU most of a large graph's
# agents are passed over (`lpm.kernels.graph.infected`), which tells earlier.
BY_AGENT_FROM, BY_AGENT_FROM_ON_CPU = 4_000_000, 500_000


@overload
def graph(
    edges: Edges, *, by_agent: bool | None = None, keep_order: Literal[False] = False
) -> tuple[Graph, np.ndarray]: ...
@overload
def graph(edges: Edges, *, by_agent: bool | None = None, keep_order: Literal[True]) -> Graph: ...
def graph(edges: Edges, *, by_agent: bool | None = None, keep_order: bool = False) -> Graph | tuple[Graph, np.ndarray]:
    """The tables of neighbours of a graph.

    Agents of like degree share a table. By default the agents are put in the order of the tables, which spares each
    step a lookup per agent; what is known of them must follow: `age = age[order]`.

    Args:
        edges: see `Edges`.
        by_agent: layout of the tables, see `lpm.kernels.graph.Graph`; by default true above half a million
            agents on a CPU, and 4 million elsewhere.
        keep_order: whether agents keep their numbers.

    Returns:
        The graph and `order`, (n,) int32, where order[i] is the number in `edges` of the agent who is now number i. If
        `keep_order`, the graph alone.

    Raises:
        InputError: if an edge occurs twice.

    >>> from lpm.networks import Edges
    >>> star, order = graph(Edges(4, np.array([1, 1, 1]), np.array([0, 2, 3])))
    >>> order, [row.shape for row in star.rows]
    (array([0, 1, 2, 3], dtype=int32), [(3, 4)])
    """
    n, part = edges.n_agents, building.part()
    if by_agent is None:
        by_agent = n > (BY_AGENT_FROM_ON_CPU if jax.default_backend() == "cpu" else BY_AGENT_FROM)
    if part is not None:
        return own_graph(edges, by_agent, keep_order, part)
    degrees = edges.degrees()
    layout = tables.layout(degrees, padding=PADDING, most=MOST_TABLES)
    places = layout.places()
    neighbours = neighbours_by_row(edges, places, np.arange(n, dtype=np.int32) if keep_order else places)
    filled = tables.fill(neighbours, degrees[layout.order], layout, blank=n, by_row=by_agent)
    rows = jax.device_put(tuple(filled), may_alias=False)
    place = jax.device_put(places) if keep_order else None
    built = Graph(rows, place, by_agent, int(degrees.max()))
    return built if keep_order else (built, layout.order)


def neighbours_by_row(edges: Edges, row: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The neighbours of all agents, row after row and in each row increasing: (2 * edges,) int32.

    Args:
        edges: see `Edges`.
        row: (n,) int32, the row of each agent.
        number: (n,) int32, the number under which each agent stands in others' rows.
    """
    half = len(edges.source)
    row, number = row.view(np.uint32), number.view(np.uint32)
    keys = np.empty(2 * half, np.uint64)  # row << 32 | neighbour: sorting values is far faster than an argsort
    for part, one, other in ((keys[:half], edges.source, edges.target), (keys[half:], edges.target, edges.source)):
        part[:] = row[one]
        part <<= np.uint64(32)
        part |= number[other]
    keys.sort()
    check_single(int(np.count_nonzero(keys[1:] == keys[:-1])))
    return keys.astype(np.uint32).view(np.int32)  # the lower half


def check_single(repeated: int) -> None:
    """Raise unless no entry of the rows repeats another."""
    if repeated:
        asked = "graph: asked for each edge once"
        raise InputError(f"{asked}, got {repeated // 2} duplicates; use simple_edges to drop them")


def own_graph(edges: Edges, by_agent: bool, keep_order: bool, part: building.Part) -> Graph | tuple[Graph, np.ndarray]:
    """As `graph`, of this rank's agents: their rows alone, in tables of their own."""
    if not edges.partial:
        part.divide(edges.n_agents)
        part.whole.append("edges")
    if (part.met or part.position is not None) and not (keep_order and part.position is None):
        raise building.Whole("a graph puts the agents in an order of its own, beside another network")
    sides = (edges.source, edges.target), (edges.target, edges.source)
    mine = [part.has(one) for one, _ in sides]
    degrees = edges.degrees() if edges.partial else edges.degrees()[part.first : part.end]
    layout = tables.layout(degrees, padding=PADDING, most=MOST_TABLES)
    places = layout.places()
    keys = np.empty(int(degrees.sum()), np.uint64)  # row << 32 | number of the neighbour
    half = np.count_nonzero(mine[0])
    for piece, own, (one, other) in zip((keys[:half], keys[half:]), mine, sides, strict=True):
        piece[:] = places[one[own] - part.first]
        piece <<= np.uint64(32)
        piece |= other[own].view(np.uint32)
    del mine
    keys.sort()
    repeated, most = zip(*part.ranks.all((np.count_nonzero(keys[1:] == keys[:-1]), degrees.max())), strict=True)
    check_single(int(sum(repeated)))
    part.position = None if keep_order else places
    halo, neighbours, far, lane = halos.numbered(part, keys.view("<u4")[::2])  # the lower halves
    del keys
    filled = tables.fill(neighbours, degrees[layout.order], layout, blank=part.here, by_row=by_agent)
    place = jax.device_put(places) if keep_order else None
    built = Graph(jax.device_put(tuple(filled), may_alias=False), place, by_agent, int(max(most)), halo)
    part.met.append(building.Met(built, far, lane))
    return built if keep_order else (built, layout.order + np.int32(part.first))
