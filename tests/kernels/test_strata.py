"""Counts by region and age, and mixing, against loops and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpm.kernels.bits import pack, pack_host
from lpm.kernels.strata import Mixing, count, meet, mix, pressure, spread, strata

# Sizes of the regions: inside one word, on its bounds, across several, and empty ones at every place a word can be cut.
DIVISIONS = {
    "one agent": [1],
    "inside a word": [5, 9, 3],
    "on the bounds of words": [32, 64, 32],
    "around the bounds of words": [31, 1, 1, 31, 33],
    "empty in a word": [40, 0, 40],
    "empty between words": [32, 0, 32],
    "empty first and last": [0, 33, 0],
    "all empty but one": [0, 0, 7, 0],
    "large": [1000, 1, 0, 3095, 1],
}
each_division = pytest.mark.parametrize("sizes", DIVISIONS.values(), ids=DIVISIONS)


def some_agents(sizes, bands):
    region = np.repeat(np.arange(len(sizes)), sizes)
    return region, np.random.default_rng(len(region)).integers(0, bands, len(region))


def counted_one_by_one(flags, region, band, regions, bands):
    counts = np.zeros((regions, bands), int)
    for agent, flag in enumerate(flags):
        counts[region[agent], band[agent]] += flag
    return counts


@jax.jit
def count_packed(flags, division):
    return count(pack(flags), division)


@each_division
@pytest.mark.parametrize("bands", [1, 4])
def test_counts_meet_a_loop_over_agents(sizes, bands):
    region, band = some_agents(sizes, bands)
    division = strata(region, band, len(sizes), bands)
    assert division.shape == (len(sizes), bands)
    n = len(region)
    for flags in (np.ones(n), np.zeros(n), np.random.default_rng(1).integers(0, 2, n)):
        flags = flags.astype(np.uint8)
        counts = count_packed(flags, division)
        assert counts.dtype == jnp.int32
        np.testing.assert_array_equal(counts, counted_one_by_one(flags, region, band, len(sizes), bands))


def test_counts_are_the_same_for_a_batch():
    region, band = some_agents([40, 1, 59], 3)
    flags = np.random.default_rng(2).integers(0, 2, (3, 100)).astype(np.uint8)
    counts = jax.vmap(count_packed, in_axes=(0, None))(flags, strata(region, band, 3, 3))
    np.testing.assert_array_equal(counts, [counted_one_by_one(row, region, band, 3, 3) for row in flags])


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint32])
def test_each_agent_gets_its_own_stratums_value(dtype):
    region, band = some_agents([40, 0, 60], 4)
    values = np.arange(100, 112).reshape(3, 4).astype(dtype)
    given = jax.jit(spread)(values, strata(region, band, 3, 4))
    assert given.dtype == dtype
    np.testing.assert_array_equal(given, values[region, band])


def test_as_many_strata_as_fit_in_a_byte_are_told_apart():
    region, band = np.repeat(np.arange(16), 16), np.tile(np.arange(16), 16)
    given = spread(jnp.arange(256, dtype=jnp.int32).reshape(16, 16), strata(region, band, 16, 16))
    np.testing.assert_array_equal(given, np.arange(256))


def test_unsorted_regions_and_too_many_strata_are_refused():
    with pytest.raises(ValueError, match="sorted by region"):
        strata(np.array([1, 0], np.uint8), np.zeros(2, int), 2, 1)
    with pytest.raises(ValueError, match="at most 256, got 257 regions x 1 bands"):
        strata(np.arange(257), np.zeros(257, int), 257, 1)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 33), (5, 2, 3)])
def test_mixing_meets_a_matrix_product(shape):
    rng = np.random.default_rng(3)
    matrix, values = rng.random((4, 5)).astype(np.float32), rng.random(shape).astype(np.float32)
    mixed = jax.jit(mix)(matrix, values)
    assert mixed.dtype == jnp.float32
    expected = np.tensordot(matrix.astype(float), values.astype(float), axes=1)
    np.testing.assert_allclose(mixed, expected, rtol=5 * 2.0**-24)  # one rounding a term and one a sum, all of one sign


def test_mixing_gives_the_same_bits_alone_and_in_a_batch():
    rng = np.random.default_rng(4)
    matrix, values = rng.random((17, 17)).astype(np.float32), rng.random((6, 17, 9)).astype(np.float32)
    together = np.asarray(jax.jit(jax.vmap(mix, in_axes=(None, 0)))(matrix, values))
    for row, alone in zip(together, values, strict=True):
        assert row.tobytes() == np.asarray(jax.jit(mix)(matrix, alone)).tobytes()


def some_mixing(sizes, bands):
    region, band = some_agents(sizes, bands)
    rng = np.random.default_rng(5)
    ages = rng.random((bands, bands)).astype(np.float32)
    regions = rng.random((len(sizes), len(sizes))).astype(np.float32)
    regions /= regions.sum(1, keepdims=True)
    living = counted_one_by_one(np.ones(len(region), int), region, band, len(sizes), bands)
    population = np.maximum(living, 1).astype(np.float32)
    division = strata(region, band, len(sizes), bands)
    return Mixing(division, jnp.asarray(ages), jnp.asarray(regions), jnp.asarray(population)), region, band


def pressure_one_by_one(infectious, mixing):
    ages, regions, population = (np.asarray(a, float) for a in (mixing.ages, mixing.regions, mixing.population))
    met = np.zeros(population.shape)
    for (r, a), _ in np.ndenumerate(met):
        for (other, b), there in np.ndenumerate(infectious):
            met[r, a] += regions[r, other] * ages[a, b] * there / population[other, b]
    return met


def test_pressure_meets_its_formula():
    mixing, region, band = some_mixing([40, 1, 59], 4)
    flags = np.random.default_rng(6).integers(0, 2, 100).astype(np.uint8)
    infectious = counted_one_by_one(flags, region, band, 3, 4)
    expected = pressure_one_by_one(infectious, mixing)
    met = jax.jit(pressure)(pack_host(flags), mixing)
    assert met.dtype == jnp.float32
    np.testing.assert_allclose(met, expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(meet)(jnp.asarray(infectious, jnp.float32), mixing), expected, rtol=1e-6)


def test_nobody_infectious_presses_on_nobody():
    mixing, _, _ = some_mixing([33, 7], 2)
    assert not jax.jit(pressure)(pack_host(np.zeros(40)), mixing).any()


def test_an_even_prevalence_is_met_as_it_is_when_all_mix_alike():
    mixing, _, _ = some_mixing([40, 60], 4)
    mixing = Mixing(mixing.strata, jnp.full((4, 4), 0.25, jnp.float32), mixing.regions, mixing.population)
    np.testing.assert_allclose(meet(mixing.population * jnp.float32(0.3), mixing), 0.3, rtol=1e-6)
