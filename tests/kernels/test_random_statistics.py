"""Draws against the distributions they should have.

Every test has a fixed seed and fails at a p-value below P. There are some forty p-values, so a right
generator would fail any of them for 0.4 % of all seeds.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lpm.kernels import random

P = 1e-4
MANY = 1_000_003


def ids(n):
    return jnp.arange(n, dtype=jnp.uint32)


@pytest.fixture(scope="module")
def drawn():
    """Both words of many agents, as uniform numbers."""
    return [np.asarray(random.uniform(word)) for word in random.words(random.stream(random.key(1), "test"), ids(MANY))]


def same_distribution(observed, expected):
    """The p-value of Pearson's test; cells that expect fewer than five are put together."""
    observed, expected = np.asarray(observed, float), np.asarray(expected, float)
    small = expected < 5
    observed, expected = (np.append(each[~small], each[small].sum()) for each in (observed, expected))
    filled = expected > 0
    assert not observed[~filled].any()
    return scipy.stats.chisquare(observed[filled], expected[filled] * observed.sum() / expected.sum()).pvalue


def two_sided(z):
    return 2 * scipy.stats.norm.sf(abs(z))


@pytest.mark.parametrize("which", [0, 1])
def test_uniform_draws_have_the_mean_and_variance_of_a_uniform_law(drawn, which):
    u = drawn[which].astype(float)
    assert two_sided((u.mean() - 0.5) / np.sqrt(1 / 12 / MANY)) > P
    assert two_sided((((u - 0.5) ** 2).mean() - 1 / 12) / np.sqrt(1 / 180 / MANY)) > P


def test_uniform_draws_fill_the_interval_evenly(drawn):
    for u in drawn:
        assert same_distribution(np.bincount((u * 1000).astype(int), minlength=1000), np.full(1000, MANY / 1000)) > P


def test_the_two_words_and_neighbouring_agents_are_independent(drawn):
    first, second = ((u * 16).astype(int) for u in drawn)
    for one, other in ((first, second), (first[:-1], first[1:])):
        table = np.bincount(16 * one + other, minlength=256)
        assert same_distribution(table, np.full(256, len(one) / 256)) > P


@pytest.mark.parametrize("p", [1e-4, 0.01, 0.3, 0.999])
def test_bernoulli_events_happen_as_often_as_asked(p):
    happened = random.bernoulli(random.stream(random.key(2), "test"), ids(MANY), jnp.float32(p))
    assert scipy.stats.binomtest(int(happened.sum(dtype=jnp.int32)), MANY, float(np.float32(p))).pvalue > P


def test_categories_come_as_often_as_asked():
    p = np.array([0.1, 0, 0.6, 0.001, 0.299])
    word = random.words(random.stream(random.key(3), "test"), ids(MANY))[0]
    category = random.categorical(word, random.threshold(jnp.asarray(np.cumsum(p)[:-1], jnp.float32)))
    counts = np.bincount(category, minlength=5)
    assert counts[1] == 0
    assert same_distribution(np.delete(counts, 1), MANY * np.delete(p, 1)) > P


TRIALS = [(1, 0.5), (5, 0.02), (7, 0.999), (10, 0.35), (20, 0.99), (40, 0.03), (60, 0.5), (60, 0.8), (60, 0.97)]


@pytest.fixture(scope="module")
def binomials():
    """One row of counts for each of TRIALS, from the same words."""
    word = random.words(random.stream(random.key(4), "test"), ids(100_003))[0]
    draw = jax.jit(jax.vmap(lambda n, p: random.binomial(word, jnp.full(word.shape, n), p, most=60)))
    n, p = zip(*TRIALS, strict=True)
    return np.asarray(random.uniform(word)).astype(float), np.asarray(draw(jnp.array(n), jnp.array(p, jnp.float32)))


@pytest.mark.parametrize("row", range(len(TRIALS)), ids=[f"{n} trials, p = {p}" for n, p in TRIALS])
def test_binomial_counts_invert_the_distribution_function(binomials, row):
    u, counts = binomials[0], binomials[1][row]
    n, p = TRIALS[row][0], float(np.float32(TRIALS[row][1]))
    law = scipy.stats.binom(n, p)
    assert same_distribution(np.bincount(counts, minlength=n + 1), len(u) * law.pmf(np.arange(n + 1))) > P
    tolerance = 2e-5  # of the distribution function summed in float32
    assert np.all(law.cdf(counts - 1) <= u + tolerance)
    assert np.all(u - tolerance <= law.cdf(counts))


def test_binomial_counts_keep_to_their_ends():
    word = random.words(random.key(5), ids(1000))[0].at[:2].set(jnp.array([0, 2**32 - 1], jnp.uint32))
    trials = jnp.arange(1000) % 8
    draw = jax.jit(lambda p: random.binomial(word, trials, p, most=7))
    assert draw(jnp.float32(0)).dtype == jnp.int32
    assert not draw(jnp.float32(0)).any()
    np.testing.assert_array_equal(draw(jnp.float32(1)), trials)
    mixed = draw(jnp.asarray(np.random.default_rng(1).random(1000), jnp.float32))
    assert bool(((mixed >= 0) & (mixed <= trials)).all())


# Numbers of agents at which the permutation's domain is just filled, just passed, or walked for long.
@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 17, 257, 1000, 4097])
def test_exactly_as_many_are_chosen_as_asked(n):
    counts = np.unique([0, 1, n // 2, n - 1, n, n + 5])
    key = random.at(random.key(6), n)
    taken = jax.jit(jax.vmap(lambda count: random.chosen(key, ids(n), n, count)))(counts)
    assert taken.dtype == jnp.uint8
    np.testing.assert_array_equal(taken.astype(jnp.int32).sum(1), np.minimum(counts, n))
    assert bool((jnp.diff(taken.astype(jnp.int32), axis=0) >= 0).all()), "a larger sample must hold the smaller"
    if n in (5, 1000):
        some = jnp.asarray(np.random.default_rng(1).permutation(n)[: n // 3], jnp.uint32)
        alone = random.chosen(key, some, n, jnp.float32(n // 2 + 0.9))  # rounded down
        np.testing.assert_array_equal(alone, taken[list(counts).index(n // 2)][some])


def chosen_often(n, count, times, seed):
    """(times, n): the sample of each of many steps."""
    run = random.key(seed)
    draw = jax.jit(jax.vmap(lambda step: random.chosen(random.at(run, step), ids(n), n, count)))
    return np.asarray(draw(jnp.arange(times, dtype=jnp.uint32)))


@pytest.mark.parametrize(("n", "count"), [(3, 1), (257, 100)])
def test_every_agent_is_chosen_equally_often(n, count):
    times = 4000
    share = count / n
    off = chosen_often(n, count, times, seed=7).sum(0) - times * share
    # Without replacement the counts are correlated: their sum of squares is chi-square on n - 1 degrees of freedom.
    statistic = (off**2).sum() / (times * share * (1 - share)) * (n - 1) / n
    assert scipy.stats.chi2.sf(statistic, n - 1) > P


@pytest.mark.parametrize(("n", "count"), [(4, 2), (5, 2)])
def test_every_subset_is_chosen_equally_often(n, count):
    times = 10_000
    found = chosen_often(n, count, times, seed=8) @ (1 << np.arange(n))
    subsets = [sum(1 << i for i in subset) for subset in itertools.combinations(range(n), count)]
    counts = [np.count_nonzero(found == subset) for subset in subsets]
    assert sum(counts) == times
    assert same_distribution(counts, np.full(len(subsets), times / len(subsets))) > P


@pytest.mark.parametrize(("n", "count"), [(16, 8), (64, 32)])
def test_every_pair_is_chosen_together_equally_often(n, count):
    times = 20_000
    taken = chosen_often(n, count, times, seed=10).astype(float)
    off = taken.T @ taken - times * count * (count - 1) / (n * (n - 1))
    np.fill_diagonal(off, 0)
    of_agent = off.sum(0) / (n - 2)
    off -= of_agent[:, None] + of_agent  # what is left is the pairs' own, of one variance in every direction
    np.fill_diagonal(off, 0)
    together = np.cumprod((count - np.arange(4)) / (n - np.arange(4)))  # that 1, 2, 3, 4 agents are all chosen
    variance = times * (together[1] - 2 * together[2] + together[3])
    assert scipy.stats.chi2.sf((off**2).sum() / 2 / variance, n * (n - 3) / 2) > P


def test_two_keys_choose_independent_samples():
    n, count = 1000, 300
    key = random.stream(random.key(9), "test")
    sample = jax.jit(lambda key: random.chosen(key, ids(n), n, count))
    base = sample(key)
    others = [random.at(key, 1), random.stream(random.key(9), "other"), random.stream(random.key(9, 1), "test")]
    law = scipy.stats.hypergeom(n, count, count)
    for other in others:
        both = int((base & sample(other)).sum(dtype=jnp.int32))
        assert 2 * min(law.cdf(both), law.sf(both - 1)) > P
