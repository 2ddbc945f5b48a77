"""Fits of worlds whose answer is known, and what becomes of starts that fail."""

import dataclasses

import numpy as np
import pytest

from lpm import calibration
from lpm.calibration import fitting, gauss_newton, objective
from lpm.calibration.problem import keys, simulator, with_counts
from lpm.errors import RunError
from lpm.settings import Calendar
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts
from tests.calibration import growth


def regression(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poisson regression of counts on time by Newton's method: log first and growth, and their covariance."""
    x = np.stack([np.ones(len(counts)), np.arange(len(counts))], axis=1)
    beta = np.array([np.log(counts.mean()), 0.0])
    for _ in range(50):
        mean = np.exp(x @ beta)
        beta = beta + np.linalg.solve(x.T * mean @ x, x.T @ (counts - mean))
    return beta, np.linalg.inv(x.T * np.exp(x @ beta) @ x)


def test_a_fit_meets_poisson_regression() -> None:
    """With priors that say next to nothing: estimates within 2 % of a deviation, deviations within 2 %."""
    wide = dataclasses.replace(growth.FIRST, prior=calibration.Prior("lognormal", 20, 2000))
    data = growth.problem(wide, growth.GROWTH)
    fit = calibration.fit(data, realizations=2, starts=2, averages=1)
    beta, covariance = regression(data.counts)
    spread = np.sqrt(np.diag(covariance))
    found = np.log(fit.values[0]), fit.values[1]
    prior_pull = 0.06  # in deviations: uniform growth and a wide lognormal are not quite nothing
    assert (np.abs(np.array(found) - beta) < prior_pull * spread).all()
    low, high = calibration.intervals(fit).T
    widths = np.array([np.log(high[0] / low[0]), high[1] - low[1]]) / (2 * 1.6449)
    np.testing.assert_allclose(widths, spread, rtol=0.02)
    assert all(start.verdict == "converged" for start in fit.starts)


def test_a_start_that_is_not_finite_is_dropped_and_named() -> None:
    data = growth.problem(growth.FIRST, growth.GROWTH, growth.FRAGILE)
    good, bad = np.array([3.0, 0.2, -0.5]), np.array([3.0, 0.2, 2.0])
    said: list[str] = []
    fit = calibration.fit(data, realizations=2, first=np.stack([bad, good]), averages=1, progress=said.append)
    assert [start.verdict for start in fit.starts] == ["dropped", "converged"]
    assert "not finite at" in fit.starts[0].reason
    assert "fragile = 3.5" in fit.starts[0].reason
    assert "1 dropped" in fit.message
    assert any("start 0: dropped" in line for line in said)


def test_a_fit_without_a_start_left_says_why() -> None:
    data = growth.problem(growth.FIRST, growth.FRAGILE)
    with pytest.raises(RunError, match="not finite at first = 20"):
        calibration.fit(data, realizations=2, first=np.array([[3.0, 2.0]]))


def test_a_fit_keeps_to_its_budget() -> None:
    fit = calibration.fit(growth.problem(), realizations=2, starts=2, budget=80)
    assert fit.simulations <= 80 + 3 * 2  # the ends of two starts, and the best one's once more
    assert any(start.verdict == "out of budget" for start in fit.starts)


def test_what_only_a_product_shows_is_named_as_a_combination() -> None:
    share = calibration.Parameter("share", ("share",), 0, prior=calibration.Prior("lognormal", 1, 1))
    data = growth.problem(growth.FIRST, growth.GROWTH, share)
    found = calibration.identified(calibration.fit(data, realizations=2, starts=1))
    assert found.weak[0]
    assert found.weak[2]
    assert not found.weak[1]
    (sentence,) = [line for line in found.directions if line.startswith("weakly")]
    assert "first" in sentence
    assert "share" in sentence
    assert "growth" not in sentence


def test_a_profile_meets_the_intervals_of_a_nearly_linear_problem() -> None:
    wide = dataclasses.replace(growth.FIRST, prior=calibration.Prior("lognormal", 20, 2000))
    fit = calibration.fit(growth.problem(wide, growth.GROWTH), realizations=2, starts=1)
    profile = calibration.profile(fit, "growth", points=13)
    low, high = calibration.intervals(fit)[1]
    np.testing.assert_allclose([profile.low, profile.high], [low, high], atol=0.05 * (high - low))
    with pytest.raises(ValueError, match="one of first, growth"):
        calibration.profile(fit, "grwth")


def test_adam_finds_what_levenberg_marquardt_finds() -> None:
    data = growth.problem()
    fit = calibration.fit(data, realizations=2, starts=1)
    other = calibration.adam(data, realizations=2, starts=1, steps=150)
    apart = (other.z - fit.z) / np.sqrt(np.diag(fit.covariance))
    assert (np.abs(apart) < 0.1).all()


def test_everybody_is_fitted_from_a_sample_without_another_jacobian() -> None:
    """A sample of all: the same fit, and of the whole only plain simulations."""
    data = growth.problem()
    direct = calibration.fit(data, realizations=2, starts=2)
    said: list[str] = []
    found = calibration.coarse_to_fine(data, data, realizations=2, coarse_realizations=2, progress=said.append)
    assert (np.abs(found.z - direct.z) < 0.1 * np.sqrt(np.diag(direct.covariance))).all()
    np.testing.assert_allclose(found.covariance, direct.covariance, rtol=0.05)
    assert found.coarse is not None
    assert found.simulations - found.coarse.simulations <= 2 * (2 + 1 + 2)  # two steps, a last look, two averages
    other = calibration.Problem(data.world, data.calendar, (growth.FIRST,), data.streams)
    with pytest.raises(ValueError, match="the same unknowns"):
        calibration.coarse_to_fine(other, data)


def test_rejection_keeps_draws_around_the_estimate() -> None:
    data = growth.problem()
    fit = calibration.fit(data, realizations=2, starts=1)
    kept = calibration.reject(data, simulations=4000, keep=40)
    assert (np.diff(kept.distance) >= 0).all()
    spread = kept.z.std(0)
    assert (np.abs(kept.z.mean(0) - fit.z) < spread).all()
    with pytest.raises(ValueError, match="at most 10"):
        calibration.reject(data, simulations=10, keep=11)


def test_intervals_cover_as_often_as_they_say() -> None:
    """20 data sets, 2 parameters: of 40 intervals of 90 %, at least 30 cover (p = 0.005 were they right)."""
    truth = fitting.fit(growth.problem(), realizations=2, starts=1).z
    found = calibration.recover(
        growth.problem(), np.repeat(truth[None], 20, 0), (1.0,), realizations=2, starts=1, averages=1
    )
    assert not found.failed
    assert (found.coverage * 20).sum() >= 30
    assert "of 20" in str(found)


CALENDAR = Calendar(25)
WORLD = sir.build(
    sir.Settings(agents=2000, contacts=Contacts("well_mixed"), transmission=0.9, infectious_days=3, initial=0.02),
    CALENDAR,
)


@pytest.fixture(scope="module")
def epidemic() -> calibration.Problem:
    """A small epidemic, counted with a share of one half."""
    free = (
        calibration.Parameter("transmission", ("transmission",), 0.1, 4),
        calibration.Parameter("infectious_days", ("infectious_days",), 1, 10),
    )
    stream = calibration.Stream(
        "incidence", WORLD.observables[0], np.arange(25), 1, np.zeros((25, 1)), likelihood="poisson"
    )
    blank = calibration.Problem(WORLD, CALENDAR, free, (stream,))
    return calibration.synthetic(blank, np.array([-1.35, -1.25]), (1.0,), seed=4)


@pytest.mark.slow
def test_reverse_mode_gives_the_gradient_of_forward_mode(epidemic: calibration.Problem) -> None:
    machine, z, seeds = simulator(epidemic), np.array([-1.0, -1.0]), keys(3, 0, 6)
    curves, tangents = machine.tangents(z, seeds)
    found = objective.moments(epidemic.streams, (1.0,), curves)
    assert found is not None
    weights = objective.weigh(epidemic, (1.0,), objective.shrunk_covariance([found.samples]), found.number)
    jacobian = objective.mean_jacobian(found, tangents)
    forward = gauss_newton.system(epidemic, weights, found, curves, jacobian[None], z).gradient
    again, back = machine.pullback(z, seeds)
    np.testing.assert_allclose(again, curves, rtol=1e-6)
    slope = objective.prior(epidemic.parameters, z)[1]
    reverse = back(objective.cotangents(epidemic.streams, weights, found)) + slope
    np.testing.assert_allclose(reverse, forward, rtol=2e-3)


def test_the_misfits_derivative_is_the_gradient(epidemic: calibration.Problem) -> None:
    """By the realizations' expected counts, at fixed weights."""
    rng = np.random.default_rng(0)
    curves = rng.gamma(20.0, 2.0, (5, 25))
    data = with_counts(epidemic, rng.poisson(40, 25).astype(np.float64))
    found = objective.moments(data.streams, (1.0,), curves)
    assert found is not None
    weights = objective.weigh(data, (1.0,), objective.shrunk_covariance([found.samples]), found.number)
    direction = rng.normal(size=curves.shape)
    up, down = (objective.misfit(data.streams, weights, curves + side * 1e-5 * direction) for side in (1, -1))
    expected = (objective.cotangents(data.streams, weights, found) * direction).sum()
    assert (up - down) / 2e-5 == pytest.approx(expected, rel=1e-5)


def test_problems_that_differ_in_their_data_alone_share_compiled_programs(epidemic: calibration.Problem) -> None:
    assert simulator(epidemic).plan == simulator(with_counts(epidemic, epidemic.counts + 1)).plan
    assert hash(simulator(epidemic).plan) == hash(simulator(with_counts(epidemic, epidemic.counts + 1)).plan)


def test_epidemics_that_died_out_are_left_out_and_counted(epidemic: calibration.Problem) -> None:
    curves = np.vstack([np.full((6, 25), 40.0), np.zeros((2, 25))])
    found = objective.moments(epidemic.streams, (1.0,), curves)
    assert found is not None
    assert found.kept.tolist() == [True] * 6 + [False] * 2
    np.testing.assert_allclose(found.mean, 40)
    assert objective.moments(epidemic.streams, (1.0,), np.zeros((8, 25))) is None
    assert objective.moments(epidemic.streams, (1.0,), np.where(curves > 0, np.nan, curves)) is None


def test_a_covariance_of_many_samples_is_theirs_and_of_few_is_shrunk() -> None:
    rng = np.random.default_rng(3)
    true = np.array([[2.0, 1.2, 0], [1.2, 1, 0], [0, 0, 1]])
    many = rng.multivariate_normal(np.zeros(3), true, 20_000)
    np.testing.assert_allclose(objective.shrunk_covariance([many - many.mean(0)]), true, atol=0.06)
    few = many[:3] - many[:3].mean(0)
    found = objective.shrunk_covariance([few])
    np.testing.assert_allclose(found, np.diag(np.diag(found)))


def test_realizations_of_large_worlds_are_simulated_one_by_one_to_the_same_bits(
    epidemic: calibration.Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether realizations are calls of their own or one compiled loop."""
    machine, z, seeds = simulator(epidemic), np.array([[-1.0, -1.0], [-1.2, -0.9], [-1.0, -1.0]]), keys(3, 0, 3)
    looped = machine.at_each(z, seeds)
    monkeypatch.setattr("lpm.calibration.problem.LARGE", 0)
    np.testing.assert_array_equal(machine.at_each(z, seeds), looped)
    np.testing.assert_array_equal(machine.curves(z[0], seeds)[[0, 2]], looped[[0, 2]])
    assert len(np.unique(looped[:, 10])) == 3


def test_everybody_goes_on_from_a_sample_s_start_or_end_whichever_is_nearer_to_the_data() -> None:
    """Of a sample stopped after an iteration, whose data are those of all or of another epidemic."""
    data = growth.problem()
    direct = calibration.fit(data, realizations=2, starts=2)
    assert direct.starts[0].z.shape == (2,)
    away, cost = fitting.nearer(data, np.stack([direct.z + 2, direct.z, direct.z - 2]), 2, seed=0)
    np.testing.assert_array_equal(away, direct.z)
    assert cost == 6
    for factor in (1, 30):
        sample = with_counts(data, factor * data.counts)
        found = calibration.coarse_to_fine(
            sample, data, coarse_iterations=1, realizations=2, coarse_realizations=2, starts=1
        )
        assert found.coarse is not None
        (start,) = found.coarse.starts
        assert start.verdict == "out of iterations"
        expected, _ = fitting.nearer(data, np.stack([start.first, found.coarse.z]), 2, seed=0)
        np.testing.assert_array_equal(found.starts[0].first, expected)
        assert (np.abs(found.z - direct.z) < 0.1 * np.sqrt(np.diag(direct.covariance))).all()
