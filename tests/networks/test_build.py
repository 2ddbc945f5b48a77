"""The graph's tables against a dense reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpm.errors import InputError
from lpm.kernels import bits
from lpm.kernels.graph import degrees, neighbour_counts, neighbour_sums
from lpm.networks import (
    Edges,
    complete,
    erdos_renyi,
    given_degrees,
    graph,
    heavy_tailed_degrees,
    regular,
    small_world,
)

GRAPHS = {
    "erdos_renyi": erdos_renyi(300, 3, 1),
    "heavy tail": given_degrees(heavy_tailed_degrees(150, 4, 2.2, 40, 1), 1),
    "small_world": small_world(100, 4, 0.2, 1),
    "regular": regular(64, 5, 1),
    "complete": complete(33),
    "no edges": Edges(40, np.empty(0, int), np.empty(0, int)),
    "one agent": Edges(1, np.empty(0, int), np.empty(0, int)),
    "star of degree 300": Edges(303, np.zeros(300, int), np.arange(1, 301)),
}
each_graph = pytest.mark.parametrize("edges", GRAPHS.values(), ids=GRAPHS)
each_layout = pytest.mark.parametrize("by_agent", [False, True])


def dense(edges):
    matrix = np.zeros((edges.n_agents, edges.n_agents), np.int64)
    matrix[edges.source, edges.target] = 1
    matrix[edges.target, edges.source] = 1
    return matrix


def neighbour_lists(built):
    """Each agent's row without padding, in the order of the tables."""
    n = sum(row.shape[0 if built.by_agent else 1] for row in built.rows)
    rows = [row if built.by_agent else row.T for row in map(np.asarray, built.rows)]
    return [agent[agent < n] for row in rows for agent in row]


@jax.jit
def read(words, values, built):
    return neighbour_counts(words, built), neighbour_sums(values, built), degrees(built)


@each_graph
@each_layout
@pytest.mark.parametrize("keep_order", [False, True])
def test_tables_meet_a_dense_reference(edges, by_agent, keep_order):
    matrix = dense(edges)
    rng = np.random.default_rng(1)
    flags = rng.random(edges.n_agents) < 0.4
    values = rng.integers(0, 100, edges.n_agents)  # whole, so that sums are exact
    if keep_order:
        built, order = graph(edges, by_agent=by_agent, keep_order=True), np.arange(edges.n_agents)
    else:
        built, order = graph(edges, by_agent=by_agent)
    words = jnp.asarray(bits.pack_host(flags[order]))
    counts, sums, number = read(words, jnp.asarray(values[order], jnp.float32), built)
    np.testing.assert_array_equal(counts, (matrix @ flags)[order])
    np.testing.assert_array_equal(sums, (matrix @ values)[order])
    np.testing.assert_array_equal(number, edges.degrees()[order])


@each_graph
def test_neighbours_are_mutual(edges):
    built, _ = graph(edges)
    pairs = {(agent, int(other)) for agent, row in enumerate(neighbour_lists(built)) for other in row}
    assert len(pairs) == 2 * len(edges.source)
    assert pairs == {(other, agent) for agent, other in pairs}


@each_graph
def test_order_is_a_permutation_and_place_its_inverse(edges):
    built, order = graph(edges)
    assert built.place is None
    np.testing.assert_array_equal(np.sort(order), np.arange(edges.n_agents))
    place = graph(edges, keep_order=True).place
    np.testing.assert_array_equal(order[np.asarray(place)], np.arange(edges.n_agents))


def test_agents_of_one_table_keep_their_order():
    built, order = graph(erdos_renyi(2000, 6, 1))
    ends = np.cumsum([row.shape[1] for row in built.rows])
    assert all(np.all(np.diff(part) > 0) for part in np.split(order, ends[:-1]))


def test_the_graph_does_not_depend_on_how_edges_are_listed():
    edges = erdos_renyi(200, 5, 1)
    shuffle = np.random.default_rng(1).permutation(len(edges.source))
    turned = Edges(200, edges.target[shuffle], edges.source[shuffle])
    for one, other in zip(graph(edges)[0].rows, graph(turned)[0].rows, strict=True):
        np.testing.assert_array_equal(one, other)


def test_agents_without_neighbours_take_no_room():
    built, order = graph(Edges(5, np.array([1]), np.array([3])))
    assert [row.shape for row in built.rows] == [(0, 3), (1, 2)]
    np.testing.assert_array_equal(order, [0, 2, 4, 1, 3])


def test_padding_and_tables_stay_few():
    edges = erdos_renyi(100_000, 10, 1)
    built, _ = graph(edges)
    assert sum(row.size for row in built.rows) <= 1.01 * 2 * len(edges.source)
    assert len(built.rows) <= 20
    heavy = given_degrees(heavy_tailed_degrees(100_000, 10, 2.5, 1000, 1), 1)
    built, _ = graph(heavy)
    assert sum(row.size for row in built.rows) <= 1.15 * 2 * len(heavy.source)
    assert len(built.rows) <= 25


def test_duplicate_edges_are_refused():
    with pytest.raises(InputError, match="got 1 duplicates; use simple_edges"):
        graph(Edges(4, np.array([0, 1, 2]), np.array([1, 0, 3])))
