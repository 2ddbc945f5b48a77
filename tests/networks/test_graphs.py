"""Laws of the random graphs. Statistical tests have fixed seeds and refuse at p < 1e-4."""

import math

import networkx
import numpy as np
import pytest
from scipy import stats

from lpm.errors import InputError
from lpm.networks import (
    Edges,
    complete,
    erdos_renyi,
    given_degrees,
    heavy_tailed_degrees,
    regular,
    simple_edges,
    small_world,
)
from lpm.networks.graphs import pair_ends

REFUSE = 1e-4

BUILDERS = {
    "erdos_renyi": lambda seed: erdos_renyi(500, 7, seed),
    "erdos_renyi, dense": lambda seed: erdos_renyi(40, 30, seed),
    "small_world": lambda seed: small_world(500, 8, 0.3, seed),
    "small_world, dense": lambda seed: small_world(20, 10, 0.8, seed),
    "given_degrees": lambda seed: given_degrees(heavy_tailed_degrees(500, 7, 2.5, 100, seed), seed),
    "regular": lambda seed: regular(500, 9, seed),
}


def codes(edges):
    low, high = np.minimum(edges.source, edges.target), np.maximum(edges.source, edges.target)
    return low.astype(np.int64) * edges.n_agents + high


def as_networkx(edges):
    graph = networkx.empty_graph(edges.n_agents)
    graph.add_edges_from(zip(edges.source.tolist(), edges.target.tolist(), strict=True))
    return graph


def fits(observed, expected):
    """The p-value of a chi-squared test, where cells expecting fewer than 10 are pooled with their neighbours."""
    cells, seen, due = [], 0.0, 0.0
    for o, e in zip(observed, expected, strict=True):
        seen, due = seen + o, due + e
        if due >= 10:
            cells.append((seen, due))
            seen = due = 0.0
    cells[-1] = (cells[-1][0] + seen, cells[-1][1] + due)
    o, e = np.array(cells).T
    return stats.chisquare(o, e * o.sum() / e.sum()).pvalue


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_graphs_are_simple(build):
    edges = build(3)
    assert len(edges.source) > 0
    assert not np.any(edges.source == edges.target)
    assert len(np.unique(codes(edges))) == len(edges.source)
    assert min(edges.source.min(), edges.target.min()) >= 0
    assert max(edges.source.max(), edges.target.max()) < edges.n_agents


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_seed_decides_the_graph(build):
    one, same, other = build(3), build(3), build(4)
    np.testing.assert_array_equal(codes(one), codes(same))
    assert not np.array_equal(codes(one), codes(other))


def test_erdos_renyi_degrees_are_binomial():
    n, mean = 100_000, 10
    degrees = erdos_renyi(n, mean, seed=1).degrees()
    k = np.arange(40)
    # Degrees are almost independent; an edge joins two, which changes the statistic by less than its own spread.
    assert fits(np.bincount(degrees, minlength=40), n * stats.binom.pmf(k, n - 1, mean / (n - 1))) > REFUSE


def test_erdos_renyi_edges_are_binomial():
    n, mean = 200, 12
    pairs, p = n * (n - 1) // 2, mean / (n - 1)
    edges = np.array([len(erdos_renyi(n, mean, seed).source) for seed in range(400)])
    deviations = (edges - pairs * p) / math.sqrt(pairs * p * (1 - p))
    assert stats.kstest(deviations, "norm").pvalue > REFUSE


def test_erdos_renyi_pairs_are_equally_likely():
    n, runs = 9, 4000
    seen = sum(np.bincount(codes(erdos_renyi(n, 3, seed)), minlength=n * n) for seed in range(runs))
    pairs = np.array([low * n + high for low in range(n) for high in range(low + 1, n)])
    p = 3 / (n - 1)
    assert seen.sum() == seen[pairs].sum()
    statistic = np.sum((seen[pairs] - runs * p) ** 2 / (runs * p * (1 - p)))
    assert stats.chi2(len(pairs)).sf(statistic) > REFUSE


def test_erdos_renyi_meets_its_ends():
    assert len(erdos_renyi(100, 0, seed=1).source) == 0
    np.testing.assert_array_equal(np.sort(codes(erdos_renyi(30, 29, seed=1))), np.sort(codes(complete(30))))


def test_pairs_are_numbered_exactly_among_many_agents():
    # Past 2^53 neither a pair's number nor its root is exact in float64.
    upper = np.concatenate([np.arange(1, 1000), np.random.default_rng(1).integers(1, 2**31 - 2, 10_000)])
    first, last = upper * (upper - 1) // 2, upper * (upper + 1) // 2 - 1
    np.testing.assert_array_equal(pair_ends(first), (0 * upper, upper))
    np.testing.assert_array_equal(pair_ends(last), (upper - 1, upper))


def test_ring_has_the_clustering_of_its_formula():
    degree = 8
    edges = small_world(400, degree, rewire=0.0, seed=1)
    clustering = networkx.average_clustering(as_networkx(edges))
    assert clustering == pytest.approx(3 * (degree - 2) / (4 * (degree - 1)))


def test_rewired_ring_has_no_more_clustering_than_a_random_graph():
    n, degree = 4000, 10
    clustering = networkx.average_clustering(as_networkx(small_world(n, degree, rewire=1.0, seed=1)))
    assert clustering < 2 * degree / n


def test_rewiring_keeps_one_end_and_the_number_of_edges():
    n, degree = 20_000, 6
    edges = small_world(n, degree, rewire=1.0, seed=2)
    assert len(edges.source) == n * degree // 2
    degrees = edges.degrees()
    assert degrees.min() >= degree // 2
    k = np.arange(30)
    # The ends that moved fall evenly: Poisson of mean degree / 2 on top of the degree / 2 that stay.
    assert fits(np.bincount(degrees - degree // 2, minlength=30), n * stats.poisson.pmf(k, degree / 2)) > REFUSE


def test_clashing_edges_also_keep_one_end():
    # In so small a graph edges clash often; one that gave up its own end could leave an agent with fewer than two.
    assert all(small_world(12, 4, rewire=1.0, seed=seed).degrees().min() >= 2 for seed in range(500))


def test_share_of_edges_rewired_is_as_asked():
    n, degree, rewire = 20_000, 6, 0.2
    edges = small_world(n, degree, rewire, seed=2)
    gap = np.abs(edges.source - edges.target)
    moved = np.count_nonzero(np.minimum(gap, n - gap) > degree // 2)
    assert stats.binomtest(moved, len(gap), rewire * (1 - degree / n)).pvalue > REFUSE


def test_given_degrees_are_met_but_for_the_dropped():
    degrees = heavy_tailed_degrees(3000, 8, 2.2, 400, seed=5)
    edges = given_degrees(degrees, seed=5)
    missing = degrees - edges.degrees()
    assert edges.dropped > 0
    assert missing.min() >= 0
    assert missing.sum() == 2 * edges.dropped


def test_given_degrees_drop_as_many_as_theory_says():
    # Self loops and double edges are Poisson of means nu / 2 and nu^2 / 4, nu = degree - 1 (van der Hofstad 2017, 7.4).
    degree, runs = 5, 300
    dropped = sum(given_degrees(np.full(2000, degree), seed).dropped for seed in range(runs))
    expected = runs * ((degree - 1) / 2 + (degree - 1) ** 2 / 4)
    assert min(stats.poisson(expected).cdf(dropped), stats.poisson(expected).sf(dropped - 1)) > REFUSE / 2


def test_ends_are_joined_evenly():
    # Of two agents with degrees a and b, few among many, a b / (2 edges) are joined on average.
    degrees = np.array([6] * 50 + [2] * 150)
    runs = 400
    joined = 0
    for seed in range(runs):
        edges = given_degrees(degrees, seed)
        joined += np.count_nonzero((edges.source < 50) & (edges.target < 50)) + edges.dropped
    # All drops are counted as among the large ones, and none: the truth lies between.
    expected = runs * 300 * 299 / 2 / 599
    assert joined == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize(("n", "degree"), [(2000, 10), (2000, 1), (10, 6), (6, 5), (5, 0), (100, 33)])
def test_regular_graphs_are_exactly_regular(n, degree):
    np.testing.assert_array_equal(regular(n, degree, seed=1).degrees(), degree)


@pytest.mark.parametrize(("mean", "exponent", "largest"), [(10, 2.5, 1000), (2, 3.0, 50), (20, 1.5, 60)])
def test_heavy_tailed_degrees_have_the_mean_and_tail_asked_for(mean, exponent, largest):
    n = 200_000
    degrees = heavy_tailed_degrees(n, mean, exponent, largest, seed=1)
    assert degrees.sum() % 2 == 0
    assert degrees.min() >= 1
    assert degrees.max() <= largest
    assert abs(degrees.mean() - mean) < 4 * degrees.std() / math.sqrt(n)
    # (k + shift)^-exponent is a straight line in k after the power -1 / exponent; its zero is at -shift.
    counts = np.bincount(degrees, minlength=largest + 1)[1:]
    line = np.polynomial.Polynomial.fit(np.arange(1, 9), counts[:8] ** (-1 / exponent), 1).convert().coef
    shift = line[0] / line[1]
    law = (np.arange(1, largest + 1) + shift) ** -exponent
    half = largest // 2
    assert counts[half:].sum() / n == pytest.approx(law[half:].sum() / law.sum(), rel=0.35, abs=3e-5)


def test_everybody_meets_everybody_in_a_complete_graph():
    assert networkx.utils.graphs_equal(as_networkx(complete(7)), networkx.complete_graph(7))


def test_simple_edges_drops_loops_and_duplicates():
    edges = simple_edges(4, [0, 1, 1, 3, 2, 3], [1, 0, 1, 2, 3, 0])
    assert set(zip(edges.source.tolist(), edges.target.tolist(), strict=True)) == {(0, 1), (2, 3), (0, 3)}
    assert edges.dropped == 3


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: erdos_renyi(10, 12, 1), "n - 1 = 9, got 12"),
        (lambda: erdos_renyi(10, float("nan"), 1), "got nan"),
        (lambda: erdos_renyi(0, 0, 1), "got 0"),
        (lambda: erdos_renyi(10, 2, -1), "seed: .* got -1"),
        (lambda: small_world(10, 3, 0.1, 1), "got 3; write 2"),
        (lambda: small_world(10, 4, 1.5, 1), "got 1.5"),
        (lambda: small_world(101, 100, 0.5, 1), "found no free agents"),
        (lambda: given_degrees(np.array([1, 1, 1]), 1), "even sum .* got 3"),
        (lambda: given_degrees(np.array([3, 3, 0]), 1), "got 0 to 3"),
        (lambda: given_degrees(np.array([1.0, 1.0]), 1), "float64"),
        (lambda: regular(5, 3, 1), "even sum .* got 15"),
        (lambda: regular(100, 80, 1), "found no such graph"),
        (lambda: heavy_tailed_degrees(100, 30, 2.5, 40, 1), "20.5, got 30"),
        (lambda: heavy_tailed_degrees(100, 3, 2.5, 100, 1), "2 to 99, got 100"),
        (lambda: complete(5001), "got 5001"),
        (lambda: Edges(3, np.array([0]), np.array([3])), "between 0 and 2, got 3"),
        (lambda: Edges(3, np.array([-1]), np.array([1])), "got -1"),
        (lambda: Edges(3, np.array([1]), np.array([1])), "1 self loops"),
        (lambda: Edges(3, np.array([1]), np.array([0, 1])), "1 sources and 2 targets"),
        (lambda: Edges(3, np.array([0.5]), np.array([1])), "float64"),
    ],
)
def test_mistakes_are_refused_in_words(call, said):
    with pytest.raises(InputError, match=said):
        call()
