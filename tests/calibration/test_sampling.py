"""NUTS meets the posterior where that is known, and keeps a density that is not normal."""

import dataclasses

import numpy as np
import pytest

from lpm import calibration
from lpm.calibration import sampling
from lpm.calibration.problem import keys
from tests.calibration import growth

NEAR = dataclasses.replace(growth.FIRST, prior=calibration.Prior("lognormal", 20, 8))


@pytest.fixture(scope="module")
def fit() -> calibration.Fit:
    return calibration.fit(growth.problem(NEAR, growth.GROWTH), realizations=2, starts=1)


def test_the_gradient_is_that_of_the_density(fit: calibration.Fit) -> None:
    density = sampling.log_density(fit, keys(0, 5, 2), np.linalg.cholesky(fit.covariance))
    here = np.array([0.3, -0.5])
    differences = [(density(here + 0.02 * step)[0] - density(here - 0.02 * step)[0]) / 0.04 for step in np.eye(2)]
    np.testing.assert_allclose(density(here)[1], differences, rtol=0.02, atol=0.02)


def test_trajectories_keep_a_density_that_is_not_normal() -> None:
    """Two correlated coordinates, one with heavy tails: quartiles of 3,000 draws within 0.1 (p = 0.001)."""

    def density(u: np.ndarray) -> tuple[float, np.ndarray]:
        apart = u[1] - 0.8 * u[0]
        value = -2.5 * np.log1p(u[0] ** 2 / 4) - 0.5 * apart**2  # Student's t with 4 degrees of freedom
        return float(value), np.array([-5 * u[0] / (4 + u[0] ** 2) + 0.8 * apart, -apart])

    generator, point = np.random.default_rng(3), sampling._point(np.zeros(2), density)
    found = []
    for _ in range(3000):
        point, _, divergent, steps = sampling._trajectory(point, 0.7, 6, density, generator)
        assert not divergent
        assert 1 <= steps <= 63
        found.append(point.u)
    drawn = np.array(found)
    np.testing.assert_allclose(np.quantile(drawn[:, 0], [0.25, 0.5, 0.75]), [-0.741, 0, 0.741], atol=0.1)
    assert (drawn[:, 1] - 0.8 * drawn[:, 0]).std() == pytest.approx(1, abs=0.06)


def test_nuts_meets_laplace_where_the_posterior_is_normal(fit: calibration.Fit) -> None:
    """Two chains of 150 draws: means within 0.3 posterior deviations (p = 0.001), deviations within 20 %."""
    found = calibration.sample(fit, draws=150, warmup=40)
    deviation = np.sqrt(np.diag(fit.covariance))
    flat = found.z.reshape(-1, 2)
    assert (np.abs(flat.mean(0) - fit.z) < 0.3 * deviation).all()
    np.testing.assert_allclose(flat.std(0), deviation, rtol=0.2)
    assert (found.r_hat < 1.05).all()
    assert not found.divergent.any()
    assert 0.6 < found.acceptance.mean() < 0.98


def test_chains_that_differ_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    alike = rng.normal(size=(4, 500, 1))
    assert sampling.r_hat(alike)[0] == pytest.approx(1, abs=0.01)
    assert sampling.r_hat(alike + np.arange(4)[:, None, None])[0] > 1.3
