"""Sums over neighbours against a dense adjacency matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpm.kernels.bits import pack, pack_host
from lpm.kernels.graph import (
    Graph,
    degrees,
    in_agent_order,
    neighbour_counts,
    neighbour_counts_of_several,
    neighbour_sums,
    neighbour_sums_of_two,
)

each_layout = pytest.mark.parametrize("by_agent", [False, True], ids=["by_neighbour", "by_agent"])


def adjacency(n, mean_degree):
    """A random symmetric 0/1 matrix with an empty diagonal."""
    upper = np.triu(np.random.default_rng(n).random((n, n)) < mean_degree / n, 1)
    return (upper | upper.T).astype(np.int64)


def tables_of(matrix, by_agent):
    """A graph with one table for agents of degree up to 2 and one for all others, both padded with n."""
    n = len(matrix)
    degree = matrix.sum(1)
    order = np.argsort(degree > 2, kind="stable")
    rows = []
    for agents in np.split(order, [np.count_nonzero(degree <= 2)]):
        table = np.full((len(agents), degree[agents].max(initial=0)), n)
        for row, agent in enumerate(agents):
            table[row, : degree[agent]] = np.flatnonzero(matrix[agent])
        rows.append(jnp.asarray(table if by_agent else table.T, jnp.int32))
    place = np.argsort(order)
    return Graph(tuple(rows), jnp.asarray(place, jnp.int32), by_agent, int(degree.max(initial=0)))


@jax.jit
def read(flags, values, built):
    return neighbour_counts(pack(flags), built), neighbour_sums(values, built), degrees(built)


@each_layout
@pytest.mark.parametrize("n", [1, 31, 32, 33, 1000])
def test_neighbour_sums_meet_a_matrix_product(n, by_agent):
    matrix = adjacency(n, 4)
    built = tables_of(matrix, by_agent)
    values = np.random.default_rng(1).integers(-50, 50, n).astype(np.float32)  # whole: no sum is rounded
    for flags in (np.random.default_rng(2).integers(0, 2, n), np.ones(n, int), np.zeros(n, int)):
        counts, sums, degree = read(flags.astype(np.uint8), values, built)
        np.testing.assert_array_equal(counts, matrix @ flags)
        np.testing.assert_array_equal(sums, matrix @ values)
        np.testing.assert_array_equal(degree, matrix.sum(1))
        assert (counts.dtype, sums.dtype, degree.dtype) == (jnp.uint8, jnp.float32, jnp.int32)


@each_layout
@pytest.mark.parametrize("n", [1, 33, 1000])
def test_sums_of_two_are_those_of_each_and_so_are_their_derivatives(n, by_agent):
    built = tables_of(adjacency(n, 4), by_agent)
    first, second, d_first, d_second = jnp.asarray(np.random.default_rng(1).normal(size=(4, n)), jnp.float32)

    def together(one, other):
        return neighbour_sums_of_two(one, other, built)

    def apart(one, other):
        return neighbour_sums(one, built), neighbour_sums(other, built)

    np.testing.assert_array_equal(jax.jit(together)(first, second), jax.jit(apart)(first, second))
    for f in (together, apart):
        np.testing.assert_array_equal(jax.jvp(f, (first, second), (d_first, d_second))[1], apart(d_first, d_second))
        np.testing.assert_array_equal(jax.vjp(f, first, second)[1]((d_first, d_second)), apart(d_first, d_second))


@each_layout
def test_who_has_no_neighbours_counts_none(by_agent):
    built = tables_of(np.zeros((33, 33), np.int64), by_agent)
    counts, sums, degree = read(np.ones(33, np.uint8), np.ones(33, np.float32), built)
    assert not counts.any()
    assert not sums.any()
    assert not degree.any()


@pytest.mark.parametrize(("leaves", "dtype"), [(255, jnp.uint8), (256, jnp.int32)])
def test_counts_take_the_smallest_type_that_holds_the_largest_degree(leaves, dtype):
    matrix = np.zeros((leaves + 1, leaves + 1), np.int64)
    matrix[0, 1:] = matrix[1:, 0] = 1
    built = tables_of(matrix, by_agent=True)
    counts = jax.jit(neighbour_counts)(pack_host(np.ones(leaves + 1)), built)
    assert counts.dtype == built.count_dtype == dtype
    assert int(counts[0]) == leaves


@each_layout
def test_neighbour_sums_are_the_same_for_a_batch(by_agent):
    matrix = adjacency(33, 4)
    flags = np.random.default_rng(3).integers(0, 2, (3, 33)).astype(np.uint8)
    values = np.random.default_rng(4).integers(-50, 50, (3, 33)).astype(np.float32)
    counts, sums, _ = jax.vmap(read, in_axes=(0, 0, None))(flags, values, tables_of(matrix, by_agent))
    np.testing.assert_array_equal(counts, flags @ matrix)
    np.testing.assert_array_equal(sums, values @ matrix)


def test_tables_in_the_agents_own_order_need_no_place():
    ring = np.stack([(np.arange(33) - 1) % 33, (np.arange(33) + 1) % 33])
    flags = np.random.default_rng(5).integers(0, 2, 33)
    built = Graph((jnp.asarray(ring, jnp.int32),), None, False, 2)
    counts = jax.jit(neighbour_counts)(pack_host(flags), built)
    np.testing.assert_array_equal(counts, flags[ring].sum(0))


def test_values_return_from_the_tables_order_to_the_agents():
    built = tables_of(adjacency(33, 4), by_agent=True)
    owner = np.argsort(built.place)
    np.testing.assert_array_equal(in_agent_order(jnp.asarray(owner), built), np.arange(33))


def test_a_self_adjoint_sum_has_a_symmetric_derivative():
    matrix = adjacency(31, 4)
    built = tables_of(matrix, by_agent=False)
    values = jnp.zeros(31, jnp.float32)
    for derivative in (jax.jacfwd, jax.jacrev):
        np.testing.assert_array_equal(jax.jit(derivative(neighbour_sums))(values, built), matrix)


@each_layout
@pytest.mark.parametrize("number", [1, 3, 4, 6])
def test_several_sets_of_flags_counted_together_are_those_counted_apart(by_agent, number):
    n = 301
    built, rng = tables_of(adjacency(n, 4.0), by_agent), np.random.default_rng(number)
    flags = [pack(jnp.asarray(rng.random(n) < share, jnp.uint8)) for share in (0.1, 1.0, 0.5, 0.0, 0.9, 0.3)[:number]]
    together = jax.jit(neighbour_counts_of_several)(flags, built)
    assert len(together) == number
    for found, words in zip(together, flags, strict=True):
        np.testing.assert_array_equal(found, neighbour_counts(words, built))


def test_agents_of_more_neighbours_than_a_byte_counts():
    matrix = np.ones((300, 300), np.int64) - np.eye(300, dtype=np.int64)
    flags = [pack(jnp.ones(300, jnp.uint8)), pack(jnp.asarray(np.arange(300) < 280, jnp.uint8))]
    all_of_them, some = neighbour_counts_of_several(flags, tables_of(matrix, True))
    np.testing.assert_array_equal(all_of_them, np.full(300, 299))
    np.testing.assert_array_equal(some, 280 - (np.arange(300) < 280))
