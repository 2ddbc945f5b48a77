"""Likelihoods: densities sum to one, residuals meet them, scales have variance one, draws have the moments."""

import numpy as np
import pytest

from lpm.calibration import likelihoods
from lpm.calibration.likelihoods import Likelihood

KINDS: dict[Likelihood, float] = {"poisson": 1.0, "negative_binomial": 4.0, "gaussian": 0.7, "least_squares": 3.0}


@pytest.mark.parametrize(("kind", "dispersion"), [("poisson", 1.0), ("negative_binomial", 4.0)])
def test_probabilities_of_all_counts_sum_to_one(kind: Likelihood, dispersion: float) -> None:
    counts = np.arange(2000.0)
    p = np.exp(likelihoods.log_density(kind, counts, np.full(2000, 31.0), dispersion))
    assert p.sum() == pytest.approx(1, abs=1e-9)
    assert (p * counts).sum() == pytest.approx(31, rel=1e-9)
    spread = (p * (counts - 31) ** 2).sum()
    assert spread == pytest.approx(float(likelihoods.variance(kind, np.array(31.0), dispersion)), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_squared_residuals_meet_the_log_density(kind: Likelihood) -> None:
    """Half their sum is log p(y; y) - log p(y; m), for any y and m."""
    counts, mean = np.meshgrid([0.0, 1, 5, 40, 700], [0.2, 1, 6, 39, 900])
    r, _ = likelihoods.residuals(kind, counts, mean, KINDS[kind])
    best = likelihoods.log_density(kind, counts, counts, KINDS[kind])
    here = likelihoods.log_density(kind, counts, mean, KINDS[kind])
    floor = counts > 0  # an expected count of none is taken for a small one
    np.testing.assert_allclose((r**2 / 2)[floor], (best - here)[floor], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_slope_of_a_residual_meets_its_difference(kind: Likelihood) -> None:
    counts, mean = np.meshgrid([0.0, 1, 5, 40, 700], [0.2, 1, 5, 40, 900])
    h = 1e-5 * mean
    up, down = (likelihoods.residuals(kind, counts, mean + side * h, KINDS[kind])[0] for side in (1, -1))
    np.testing.assert_allclose(
        likelihoods.residuals(kind, counts, mean, KINDS[kind])[1], (up - down) / (2 * h), rtol=1e-3
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_gap_counts_for_nothing(kind: Likelihood) -> None:
    gap, mean = np.array([np.nan]), np.array([3.0])
    r, slope = likelihoods.residuals(kind, gap, mean, KINDS[kind])
    assert r[0] == slope[0] == likelihoods.log_density(kind, gap, mean, KINDS[kind])[0] == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mean", [8.0, 300.0])
def test_counts_have_variance_one_on_their_scale(kind: Likelihood, mean: float) -> None:
    """20,000 draws; the scales are approximate, by 15 % at worst from a mean of 8 on."""
    counts = likelihoods.draw(kind, np.random.default_rng(5), np.full(20_000, mean), KINDS[kind])
    assert likelihoods.stabilised(kind, counts, KINDS[kind]).var() == pytest.approx(1, rel=0.16)


@pytest.mark.parametrize("kind", KINDS)
def test_scales_invert_and_have_the_slope_they_say(kind: Likelihood) -> None:
    mean, k = np.array([0.5, 3.0, 80.0]), KINDS[kind]
    scaled = likelihoods.stabilised(kind, mean, k)
    np.testing.assert_allclose(likelihoods.unstabilised(kind, scaled, k), mean, rtol=1e-9)
    up, down = (likelihoods.stabilised(kind, mean * (1 + h), k) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(likelihoods.stabilised_slope(kind, mean, k), (up - down) / (2e-6 * mean), rtol=1e-6)


@pytest.mark.parametrize("kind", ["negative_binomial", "gaussian", "least_squares"])
def test_the_dispersion_is_found_again(kind: Likelihood) -> None:
    mean = np.random.default_rng(1).uniform(20, 400, 4000)
    counts = likelihoods.draw(kind, np.random.default_rng(2), mean, KINDS[kind])
    found = likelihoods.dispersion_for(kind, counts, mean, np.zeros(4000), 4000)
    assert found == pytest.approx(KINDS[kind], rel=0.08)


def test_chance_that_moves_all_counts_together_hides_no_dispersion() -> None:
    """Forty data sets; as variances alone, the same chance would explain most of what the dispersion does."""
    generator, mean, k, common = np.random.default_rng(3), np.full(60, 500.0), 25.0, 0.2
    together = common**2 * np.outer(mean, mean)
    found, alone = [], []
    for _ in range(40):
        expected = mean * (1 + common * generator.normal())
        counts = likelihoods.draw("negative_binomial", generator, np.maximum(expected, 1), k)
        found.append(likelihoods.dispersion_for("negative_binomial", counts, mean, together, 60))
        alone.append(likelihoods.dispersion_for("negative_binomial", counts, mean, np.diag(together), 60))
    assert np.median(found) == pytest.approx(k, rel=0.25)
    assert np.median(alone) > 2 * k
