"""Each layer's hazard, and who is infected, against dense float64 matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpm.kernels import bits, graph, groups, random, strata
from lpm.kernels.contagion import Infectious, Layer, infections, layer_hazard
from lpm.kernels.stages import Stages, among

N = 100
KINDS = 5  # 0 is susceptible, 1 and 2 infect alike, 3 infects less, 4 not at all
INFECTIOUS = (Infectious((1, 2), 1.0), Infectious((3,), 0.25))
NETWORKS = ["graph", "households", "groups", "mixing"]


def some_stages(seed=1):
    return np.random.default_rng(seed).choice(KINDS, N, p=[0.5, 0.1, 0.1, 0.1, 0.2]).astype(np.uint8)


def random_graph():
    """The graph as one padded table, and its adjacency matrix; some agents have no neighbour."""
    upper = np.triu(np.random.default_rng(2).random((N, N)) < 3 / N, 1)
    matrix = upper | upper.T
    most = int(matrix.sum(1).max())
    table = np.full((N, most), N)
    for agent, row in enumerate(matrix):
        table[agent, : row.sum()] = np.flatnonzero(row)
    return graph.Graph((jnp.asarray(table, jnp.int32),), None, True, most), matrix.astype(float)


def same(label):
    """Who else has one's label; negative labels stand for none."""
    return ((label[:, None] == label) & (label[:, None] >= 0) & ~np.eye(N, dtype=bool)).astype(float)


def layer_and_matrix(name):
    """A layer, and the matrix of rates from which each agent's hazard is a sum over the weights of all others."""
    rng = np.random.default_rng(3)
    if name == "graph":
        network, matrix = random_graph()
        return Layer(network, jnp.float32(0.3)), 0.3 * matrix
    if name == "households":
        home = np.repeat(np.arange(N), rng.integers(1, 7, N))[:N]
        size = np.bincount(home)[home]
        place = np.arange(N) - np.searchsorted(home, home)
        matrix = 0.7 * same(home) / np.maximum(size - 1, 1)[:, None]
        return Layer(groups.households(place, size), jnp.float32(0.7)), matrix
    if name == "groups":
        label = rng.integers(-1, 8, N)
        label[label == 3] = 5  # group 3 is empty
        label[np.flatnonzero(label == 6)[1:]] = -1  # group 6 is a single agent's
        size = np.array([np.count_nonzero(label == g) for g in range(8)])
        table = np.full((size.max(), 8), N)
        for g in range(8):
            table[: size[g], g] = np.flatnonzero(label == g)
        rate = np.linspace(0.1, 0.8, 8).astype(np.float32)
        group = jnp.asarray(np.where(label < 0, 8, label), jnp.int32)
        network = groups.Groups((jnp.asarray(table, jnp.int32),), group, jnp.asarray(size, jnp.int32))
        return Layer(network, jnp.asarray(rate)), (rate / np.maximum(size - 1, 1))[label][:, None] * same(label)
    region, band = np.repeat([0, 1], [37, 63]), rng.integers(0, 3, N)
    ages, regions = rng.random((3, 3)).astype(np.float32), np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    population = np.bincount(3 * region + band, minlength=6).reshape(2, 3).astype(np.float32)
    mixing = strata.Mixing(strata.strata(region, band, 2, 3), *map(jnp.asarray, (ages, regions, population)))
    matrix = regions[region[:, None], region] * ages[band[:, None], band] / population[region, band]
    return Layer(mixing, jnp.float32(0.5)), 0.5 * matrix


def weight_of(value):
    return np.array([0, 1, 1, 0.25, 0])[value]


def packed_classes(value):
    stages = Stages(jnp.asarray(value), KINDS)
    return [(bits.pack(among(stages, *each.kinds).value), each.weight) for each in INFECTIOUS]


def infected(word, value, layers, infectious=INFECTIOUS, **more):
    """`infections` under jit, (n,) uint8."""

    def run(word, value, layers, more):
        return infections(word, Stages(value, KINDS), layers, susceptible=0, infectious=infectious, **more).value

    return np.asarray(jax.jit(run)(word, value, layers, more))


def check_infected(found, word, value, hazard):
    """Equal to the formula in float64, but where a word stands so near its threshold that float32 may turn it.

    A word does so with a probability of at most 3e-6, the error allowed for p: 3e-4 for all the agents of one test.
    """
    p = -np.expm1(-hazard)
    drawn = (word >> 1) / 2.0**31
    near = abs(drawn - p) < 3e-6
    expected = (drawn < p) & (value == 0)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[~near], expected[~near])
    assert near.sum() <= 1
    assert 0 < expected.sum() < np.count_nonzero(value == 0), "the example must infect some and spare some"


@pytest.mark.parametrize("name", NETWORKS)
def test_each_layers_hazard_meets_a_dense_matrix(name):
    layer, matrix = layer_and_matrix(name)
    value = some_stages()
    hazard = jax.jit(lambda value, layer: layer_hazard(packed_classes(value), layer))(value, layer)
    assert hazard.dtype == jnp.float32
    expected = matrix @ weight_of(value)
    here = value == 0  # a household or group also counts the agent itself, who is infectious only if not susceptible
    assert expected[here].max() > 0
    np.testing.assert_allclose(hazard[here], expected[here], rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_nobody_infectious_means_no_hazard(name):
    layer, _ = layer_and_matrix(name)
    value = np.where(np.arange(N) % 2, 0, 4).astype(np.uint8)
    hazard = jax.jit(lambda value, layer: layer_hazard(packed_classes(value), layer))(value, layer)
    assert not hazard.any()


@pytest.fixture(scope="module")
def word():
    return np.random.default_rng(4).integers(0, 2**32, N, dtype=np.uint32)


@pytest.mark.parametrize(("outside", "susceptible"), [(None, None), (0.2, "own"), ("own", None), ("own", "own")])
def test_infections_over_all_layers_meet_the_formula(word, outside, susceptible):
    layers, matrices = zip(*map(layer_and_matrix, NETWORKS), strict=True)
    value, rng, more = some_stages(), np.random.default_rng(5), {}
    hazard = sum(matrix @ weight_of(value) for matrix in matrices)
    if outside is not None:
        given = rng.random(N).astype(np.float32) if outside == "own" else np.float32(outside)
        more["outside"], hazard = jnp.asarray(given), hazard + given
    if susceptible:
        more["susceptibility"] = rng.random(N).astype(np.float32)
        hazard = hazard * more["susceptibility"]
    check_infected(infected(word, value, layers, **more), word, value, hazard)


@pytest.mark.parametrize("outside", [None, 0.1])
def test_one_graph_infects_the_same_by_table_and_by_formula(word, outside):
    layer, matrix = layer_and_matrix("graph")
    value = some_stages()
    more = {"outside": None if outside is None else jnp.float32(outside), "infectious": (Infectious((1, 2), 0.8),)}
    by_table = infected(word, value, (layer,), **more)
    by_formula = infected(word, value, (layer,), susceptibility=np.ones(N, np.float32), **more)
    hazard = matrix @ (0.8 * np.isin(value, (1, 2))) + (outside or 0)
    check_infected(by_table, word, value, hazard)
    check_infected(by_formula, word, value, hazard)


def test_only_the_susceptible_are_infected_and_all_of_them_at_a_huge_rate():
    layer, matrix = layer_and_matrix("graph")
    value, lowest, highest = some_stages(), np.zeros(N, np.uint32), np.full(N, 2**32 - 1, np.uint32)
    layer = Layer(layer.network, jnp.float32(1e30))
    exposed = matrix @ weight_of(value) > 0
    for infectious in ((Infectious((1, 2, 3)),), INFECTIOUS):  # by the table, by the formula
        for word in (lowest, highest):
            found = infected(word, value, (layer,), infectious=infectious)
            np.testing.assert_array_equal(found, (value == 0) & exposed)


def test_zero_susceptibility_or_a_zero_rate_infects_nobody():
    lowest = np.zeros(N, np.uint32)  # any probability above 0 infects
    layers, _ = zip(*map(layer_and_matrix, NETWORKS), strict=True)
    value, nobody = some_stages(), np.zeros(N, np.float32)
    assert not infected(lowest, value, layers, susceptibility=nobody, outside=jnp.float32(1)).any()
    still = tuple(Layer(layer.network, jnp.zeros_like(layer.rate)) for layer in layers)
    assert not infected(lowest, value, still).any()
    assert not infected(lowest, value, still[:1]).any()
    assert not infected(lowest, value, ()).any()


def test_without_layers_the_outside_alone_infects(word):
    value, outside = some_stages(), np.linspace(0, 2, N).astype(np.float32)
    check_infected(infected(word, value, (), outside=outside), word, value, outside.astype(float))


def test_a_layer_of_rate_zero_is_a_layer_absent(word):
    layers, _ = zip(*map(layer_and_matrix, NETWORKS), strict=True)
    value = some_stages()
    silent = Layer(layers[2].network, jnp.zeros_like(layers[2].rate))
    with_it, without = infected(word, value, (*layers[:2], silent)), infected(word, value, layers[:2])
    np.testing.assert_array_equal(with_it, without)


def test_infections_are_the_same_alone_and_in_a_batch():
    layers, _ = zip(*map(layer_and_matrix, NETWORKS), strict=True)
    values = np.stack([some_stages(seed) for seed in range(3)])
    rates = np.array([0.5, 1, 2], np.float32)
    words = jnp.stack([random.words(random.key(1, r), jnp.arange(N, dtype=jnp.uint32))[0] for r in range(3)])

    def one(word, value, factor):
        scaled = tuple(Layer(layer.network, layer.rate * factor) for layer in layers)
        return infections(word, Stages(value, KINDS), scaled, susceptible=0, infectious=INFECTIOUS).value

    together = jax.jit(jax.vmap(one))(words, values, rates)
    np.testing.assert_array_equal(together, [jax.jit(one)(words[k], values[k], rates[k]) for k in range(3)])
    assert len(np.unique(together, axis=0)) == 3
