"""The ensemble smoother meets the posterior where that is known, and covers what is true."""

import dataclasses

import numpy as np
import pytest

from lpm import calibration
from lpm.calibration import ensemble
from tests.calibration import growth

NEAR = dataclasses.replace(growth.FIRST, prior=calibration.Prior("lognormal", 20, 8))
SLOW = calibration.Parameter("growth", ("growth",), 0, 0.2)


def test_one_assimilation_of_a_linear_model_is_bayes_rule() -> None:
    """z ~ N(0, I) in two dimensions, seen through a matrix with noise of deviation one; 40,000 members."""
    rng = np.random.default_rng(1)
    matrix, data = np.array([[1.0, 0.5], [0.3, -2.0], [1.0, 1.0]]), np.array([1.0, -0.5, 2.0])
    z = rng.normal(size=(40_000, 2))
    for _ in range(3):
        z = ensemble._moved(z, z @ matrix.T, data, np.zeros((3, 3)), 3.0, True, rng)
    precision = np.eye(2) + matrix.T @ matrix
    np.testing.assert_allclose(z.mean(0), np.linalg.solve(precision, matrix.T @ data), atol=0.02)
    np.testing.assert_allclose(np.cov(z.T), np.linalg.inv(precision), atol=0.02)


def test_chance_in_the_model_is_taken_up_once_however_often_the_data_are() -> None:
    """The same with chance of covariance C in every simulation: the posterior's precision is 1 + H^T (I + C)^-1 H."""
    rng = np.random.default_rng(2)
    matrix, data = np.array([[1.0], [2.0]]), np.array([1.0, 1.0])
    chance = np.array([[2.0, 0.5], [0.5, 1.0]])
    z = rng.normal(size=(40_000, 1))
    for _ in range(4):
        seen = z @ matrix.T + rng.multivariate_normal(np.zeros(2), chance, len(z))
        z = ensemble._moved(z, seen, data, chance, 4.0, True, rng)
    weight = np.linalg.inv(np.eye(2) + chance)
    precision = 1 + (matrix.T @ weight @ matrix).item()
    assert z.var() == pytest.approx(1 / precision, rel=0.03)
    assert z.mean() == pytest.approx((matrix.T @ weight @ data).item() / precision, abs=0.02)


def test_the_smoother_meets_laplace() -> None:
    """Means within half a posterior deviation, deviations within a third."""
    problem = growth.problem(NEAR, SLOW)
    fit = calibration.fit(problem, realizations=2, starts=1)
    found = calibration.assimilate(problem, members=400, chance=4)
    deviation = np.sqrt(np.diag(fit.covariance))
    assert (np.abs(found.z.mean(0) - fit.z) < 0.5 * deviation).all()
    np.testing.assert_allclose(found.z.std(0), deviation, rtol=0.33)
    assert found.misfit[-1] < 2.5 < found.misfit[0]
    assert found.lost == 0
    assert found.intervals().shape == (2, 2)


def test_a_smoothed_fit_has_its_members_mean_and_covariance() -> None:
    problem = growth.problem(NEAR, SLOW)
    found = calibration.assimilate(problem, members=100, chance=4)
    fit = calibration.smooth(problem, members=100, realizations=4)
    np.testing.assert_allclose(fit.z, found.z.mean(0))
    np.testing.assert_allclose(fit.covariance, np.cov(found.z.T), rtol=1e-6)
    checked = calibration.check(fit, calibration.predict(fit, 100), repeats=2, prior_repeats=1)
    assert checked.recovery is not None
    assert checked.calibration is not None
    assert (len(checked.recovery.truth), len(checked.calibration.truth)) == (2, 1)
    assert not any("single start" in each.text for each in checked.findings)


def test_later_data_are_taken_up_after_earlier_ones() -> None:
    problem = growth.problem(NEAR, SLOW)
    halves = []
    for hidden in (slice(10, None), slice(None, 10)):
        values = problem.streams[0].values.copy()
        values[hidden] = np.nan
        halves.append(dataclasses.replace(problem, streams=(dataclasses.replace(problem.streams[0], values=values),)))
    early = calibration.assimilate(halves[0], members=400, chance=4)
    both = calibration.assimilate(halves[1], members=400, chance=4, first=early.z)
    once = calibration.assimilate(problem, members=400, chance=4)
    assert (np.abs(both.z.mean(0) - once.z.mean(0)) < 0.5 * once.z.std(0)).all()
    assert (both.z.std(0) < early.z.std(0)).all()


def test_members_that_are_not_finite_are_replaced_and_counted() -> None:
    found = calibration.assimilate(growth.problem(NEAR, SLOW, growth.FRAGILE), members=60, chance=4, assimilations=2)
    assert found.lost > 15  # half the prior of `fragile` gives nothing finite
    assert np.isfinite(found.z).all()
    with pytest.raises(ValueError, match="10 members"):
        calibration.assimilate(growth.problem(), members=3)
