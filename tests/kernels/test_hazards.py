"""Rates, probabilities and dwell times against float64 and simulated chains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lpm.kernels.hazards import competing, gamma_hazards, phase_probability, phases, probability

P = 1e-4  # the p-value below which one of the ten statistical tests fails


def exact(rate):
    return -np.expm1(-np.asarray(rate, float))


def test_probability_meets_float64():
    normal = np.finfo(np.float32).tiny
    small = np.geomspace(normal, 2.0**-6, 20_001, endpoint=False).astype(np.float32)
    small = small[small < 2.0**-6]
    large = np.concatenate([np.linspace(2.0**-6, 1, 20_001), np.geomspace(1, 1e30, 1001)]).astype(np.float32)
    probabilities = jax.jit(probability)
    assert probabilities(small).dtype == jnp.float32
    np.testing.assert_allclose(probabilities(small), exact(small), rtol=1.2e-7)  # one unit in the last place
    np.testing.assert_allclose(probabilities(large), exact(large), rtol=0, atol=1.2e-7)  # 2e-6 of it, near 2^-6


def test_probability_is_zero_at_zero_and_one_at_infinity():
    assert float(probability(jnp.float32(0))) == 0
    assert float(probability(jnp.float32(100))) == float(probability(jnp.float32(np.inf))) == 1


def test_probability_never_falls_as_the_rate_grows():
    around = 2.0**-6 * (1 + np.arange(-2000, 2000) * 2.0**-20)  # where the series ends
    rate = np.sort(np.concatenate([np.geomspace(1e-30, 100, 50_000), around])).astype(np.float32)
    found = np.asarray(jax.jit(probability)(rate))
    assert np.all(np.diff(found) >= 0)
    assert np.all((found >= 0) & (found <= 1))


def test_probability_has_the_derivative_of_its_formula():
    rate = np.array([0, 1e-6, 0.01, 0.02, 0.5, 5], np.float32)
    np.testing.assert_allclose(jax.vmap(jax.grad(probability))(rate), np.exp(-rate.astype(float)), rtol=4e-6)


@pytest.mark.parametrize("shape", [(1,), (3,), (3, 33), (2, 3, 4)])
def test_competing_hazards_share_the_event_in_proportion(shape):
    rates = np.random.default_rng(1).random(shape).astype(np.float32)
    if len(shape) > 1:
        rates[:, 0] = 0
    happens, share = jax.jit(competing)(rates)
    total = rates.astype(float).sum(0)
    assert happens.shape == shape[1:]
    np.testing.assert_allclose(happens, exact(total), atol=2e-7)
    np.testing.assert_allclose(share, rates / np.where(total > 0, total, 1), rtol=1e-6)
    if len(shape) > 1:
        assert not happens[0].any()
        assert not share[:, 0].any(), "no rate, no share"


def simulated_chain(count, leave, people, rng):
    """Dwell times of a chain walked step by step."""
    phase, days, time = np.zeros(people, int), np.zeros(people, int), 0
    while np.any(phase < count):
        time += 1
        phase += (phase < count) & (rng.random(people) < leave)
        days[(phase == count) & (days == 0)] = time
    return days


@pytest.mark.parametrize(("mean", "deviation"), [(4.5, 1.5), (8, 8), (1, 0), (3, 0), (7.3, 2.2), (20, 6)])
def test_a_chain_of_phases_has_the_mean_asked_for_and_a_deviation_near_it(mean, deviation):
    count, people = phases(mean, deviation), 40_000
    days = simulated_chain(count, float(phase_probability(jnp.float32(mean), count)), people, np.random.default_rng(2))
    expected_variance = mean * (mean - count) / count
    if expected_variance == 0:
        assert np.all(days == mean)
        return
    z = (days.mean() - mean) / np.sqrt(expected_variance / people)
    fourth = ((days - days.mean()) ** 4).mean()
    z_of_variance = (days.var() - expected_variance) / np.sqrt((fourth - days.var() ** 2) / people)
    assert 2 * scipy.stats.norm.sf(abs(z)) > P
    assert 2 * scipy.stats.norm.sf(abs(z_of_variance)) > P
    one_more, one_fewer = (np.sqrt(max(0, mean * (mean - k) / k)) if k else np.inf for k in (count + 1, count - 1))
    assert one_more <= deviation <= one_fewer


def test_a_chain_is_never_longer_than_its_mean_nor_empty():
    for mean in np.linspace(1, 30, 59):
        for deviation in (0, 0.1, 1, 5, 100):
            assert 1 <= phases(mean, deviation) <= mean


@pytest.mark.parametrize(("mean", "deviation"), [(0.5, 1), (float("nan"), 1), (3, -1), (3, float("nan"))])
def test_a_dwell_time_no_chain_can_have_is_refused(mean, deviation):
    with pytest.raises(ValueError, match=r"asked for .* got"):
        phases(mean, deviation)


def test_the_probability_of_leaving_a_phase_is_bounded_and_differentiable():
    means = jnp.array([0.5, 2, 3, 8], jnp.float32)
    np.testing.assert_allclose(jax.vmap(lambda m: phase_probability(m, 2))(means), [1, 1, 2 / 3, 1 / 4], rtol=1e-6)
    assert float(jax.grad(phase_probability)(jnp.float32(8), 2)) == -2 / 64


@pytest.mark.parametrize(("mean", "deviation"), [(5.0, 2.0), (10.0, 10.0), (6.0, 12.0), (3.0, 0.5)])
def test_gamma_hazards_imply_the_discretized_gamma_distribution(mean, deviation):
    steps = 60
    hazards = jax.jit(gamma_hazards, static_argnums=2)(jnp.float32(mean), jnp.float32(deviation), steps)
    assert hazards.shape == (steps,)
    assert hazards.dtype == jnp.float32
    hazards = np.asarray(hazards, float)
    assert np.all((hazards >= 0) & (hazards <= 1))
    stays = np.concatenate([[1], np.cumprod(1 - hazards)])
    leaves_at = stays[:-1] * hazards
    law = scipy.stats.gamma((mean / deviation) ** 2, scale=deviation**2 / mean)
    expected = np.diff(law.cdf(np.arange(steps + 1)))
    np.testing.assert_allclose(leaves_at, expected, rtol=0, atol=1e-5)
    times = np.arange(1, steps + 1)
    np.testing.assert_allclose(leaves_at @ times, expected @ times, rtol=2e-5)
