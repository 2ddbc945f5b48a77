"""Fits by regression over simulations that are each at a point of their own, against what is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm import calibration
from lpm.calibration import emulated, fitting, likeliest, likelihoods, regression, response
from lpm.calibration.posterior import bands as posterior_bands
from lpm.calibration.priors import prior_deviation
from lpm.calibration.problem import keys, simulator, with_counts
from lpm.calibration.walkers import walk
from lpm.errors import RunError
from lpm.kernels import random
from lpm.settings import Calendar
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts
from tests.calibration import growth
from tests.calibration.test_fit import regression as poisson_regression

WIDE = dataclasses.replace(growth.FIRST, prior=calibration.Prior("lognormal", 20, 2000))


def test_a_fit_meets_poisson_regression_where_there_is_no_chance() -> None:
    data = growth.problem(WIDE, growth.GROWTH)
    fit = regression.regress(data, iterations=20)
    beta, covariance = poisson_regression(data.counts)
    found = np.array([np.log(fit.values[0]), fit.values[1]])
    assert (np.abs(found - beta) < 0.15 * np.sqrt(np.diag(covariance))).all()
    assert fit.starts[0].verdict == "converged"
    deviations = np.sqrt(np.diag(fit.covariance)) / np.sqrt(np.diag(covariance)) / [1, slope(fit)]
    np.testing.assert_allclose(deviations, 1, rtol=0.1)


def slope(fit: calibration.Fit) -> float:
    """d z / d growth at the estimate: the covariance is in z."""
    value = fit.values[1]
    return float(1 / (1 - value) + 1 / (1 + value))


@dataclasses.dataclass(frozen=True)
class Chancy:
    """Counts of growth, each realization of which is early or late by a tenth, faster or slower by a fiftieth a day."""

    problem: calibration.Problem

    def at_each(self, z: np.ndarray, seeds: random.Key) -> np.ndarray:
        """As `lpm.calibration.problem.Simulator.at_each`."""
        values = self.problem.values(z)
        drawn = [np.random.default_rng([int(word) for word in words]).normal(size=2) for words in seeds.words]
        early, faster = 0.1 * np.array(drawn)[:, :1], 0.02 * np.array(drawn)[:, 1:]
        return values[:, :1] * np.exp(early + (values[:, 1:] + faster) * np.arange(growth.STEPS))

    def curves(self, z: np.ndarray, seeds: random.Key) -> np.ndarray:
        """As there."""
        return self.at_each(np.broadcast_to(z, (len(seeds.words), len(z))), seeds)


def observed(number: int) -> calibration.Problem:
    """One realization of growth from 20 by a tenth a day, counted."""
    problem = growth.problem(growth.FIRST, growth.GROWTH)
    z = np.array([np.log(20.0), np.log(1.1 / 0.9)])
    curve = Chancy(problem).curves(z, keys(10_000 + number, 0, 1))[0]
    return with_counts(problem, np.random.default_rng(number).poisson(curve).astype(float))


@pytest.mark.slow
def test_intervals_hold_what_is_true_where_chance_is_most_of_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 30 data sets and two parameters, as often as they say: fewer than 47 of 60, or all, have a chance of 0.2 %.

    Estimates are off by what chance makes of one epidemic, and counting of its counts.
    """
    monkeypatch.setattr(regression, "simulator", Chancy)
    held, apart, ends = [], [], []
    for number in range(30):
        fit = regression.regress(observed(number), iterations=20, seed=number)
        low, high = calibration.intervals(fit).T
        held.append((low <= [20, 0.1]) & (high >= [20, 0.1]))
        apart.append([np.log(fit.values[0] / 20), fit.values[1] - 0.1])
        ends.append(fit.starts[0].verdict)
    assert 47 <= np.sum(held) < 60
    assert ends.count("out of iterations") <= 1
    early, faster = np.std(apart, axis=0)
    assert early == pytest.approx(np.hypot(0.1, 0.075), rel=0.3)  # chance, and what counting alone leaves open
    assert faster == pytest.approx(np.hypot(0.02, 0.0055), rel=0.3)


@pytest.mark.slow
def test_a_sample_of_the_agents_may_be_fitted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole is gone on with from where it ended, and all simulations tell the surface."""
    monkeypatch.setattr(regression, "simulator", Chancy)
    monkeypatch.setattr(fitting, "simulator", Chancy)
    lines, whole = list[str](), observed(0)
    small = dataclasses.replace(whole, world=growth.world())
    whole = dataclasses.replace(whole, world=dataclasses.replace(growth.world(), state=repeated(whole.world.state, 4)))
    fit = regression.coarse_to_fine(small, whole, realizations=4, iterations=20, progress=lines.append)
    assert fit.coarse is not None
    assert fit.coarse.problem is small
    assert fit.method == "regression"
    assert lines[0] == "a sample of 1 agents, 25 % of them, first"
    assert fit.starts[0].verdict == "converged"
    assert fit.surface.told.whole.sum() == fit.simulations - np.ceil(fit.coarse.simulations / 4)
    assert len(fit.surface.told) == fit.surface.told.whole.sum() + len(fit.coarse.surface.told)
    straight = regression.regress(whole, iterations=20)
    assert (np.abs(fit.z - straight.z) < np.sqrt(np.diag(straight.covariance))).all()


def repeated(state: lpm.State, agents: int) -> lpm.State:
    """The same with so many agents."""
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, agents, 0) if leaf.ndim else leaf, state)


def small_epidemic(rate: float = 0.9, agents: int = 2000) -> calibration.Problem:
    """Of everybody with everybody, seen in full: two unknowns, one of them the share reported."""
    world = sir.build(
        sir.Settings(agents=agents, contacts=Contacts("well_mixed"), transmission=rate, initial=0.02), Calendar(20)
    )
    free = (
        calibration.Parameter("transmission", ("transmission",), 0.1, 4),
        calibration.Parameter("reported", ("observation.incidence.reporting",), 0, 1),
    )
    stream = calibration.Stream(
        "incidence", world.observables[0], np.arange(20), 1, np.ones((20, 1)), likelihood="poisson"
    )
    problem = calibration.Problem(world, Calendar(20), free, (stream,))
    z = np.array([np.log((rate - 0.1) / (4 - rate)), 0.0])
    curve = simulator(problem).curves(z, keys(11, 5, 1))[0]
    return with_counts(problem, np.random.default_rng(3).poisson(curve).astype(float))


@pytest.mark.slow
def test_a_fit_of_a_small_epidemic_meets_that_by_derivatives() -> None:
    problem = small_epidemic()
    fit = regression.regress(problem, iterations=10, realizations=8)
    low, high = calibration.intervals(fit, 0.99).T
    assert ((low < [0.9, 0.5]) & (high > [0.9, 0.5])).all()
    by_rule = calibration.fit(problem, realizations=32, starts=1)
    apart = (fit.z - by_rule.z) / np.sqrt(np.diag(by_rule.covariance))
    assert (np.abs(apart) < 1).all()
    ratio = np.sqrt(np.diag(fit.covariance) / np.diag(by_rule.covariance))
    assert ((ratio > 0.6) & (ratio < 1.7)).all()
    assert fit.simulations < by_rule.simulations


def plain() -> calibration.Problem:
    """Counts on whose scale the surfaces below are drawn."""
    data = growth.problem(growth.FIRST, growth.GROWTH)
    return dataclasses.replace(
        data, streams=(dataclasses.replace(data.streams[0], likelihood="least_squares", dispersion=1.0),)
    )


def drawn_surface(problem: calibration.Problem, realizations: int, noise: float, shared: float, seed: int):
    """A surface of 40 simulations of a quadratic, with its value, its slope and the chance that was in it."""
    generator = np.random.default_rng(seed)
    slopes, bends = 5 * generator.normal(size=(2, 20)), 3 * generator.normal(size=(2, 2, 20))
    points, draws = generator.normal(size=(40, 2)), np.arange(40) % realizations
    deviations = prior_deviation(problem.parameters)
    curves = 50 + points @ slopes + np.einsum("kp,kq,pqn->kn", points, points, bends)
    curves = (
        curves + shared * generator.normal(size=(realizations, 20))[draws] + noise * generator.normal(size=(40, 20))
    )
    told = response.Simulations(points * deviations, curves, draws, np.ones(40, bool))
    found = likeliest.surface(problem, (1.0,), told, np.zeros(2))
    return found, slopes.T / deviations


def test_a_surface_tells_a_quadratic_and_how_far_it_is_off() -> None:
    """Over 40 surfaces: of the same draws slopes are told better, and errors are as large as the surface says."""
    problem, squares, slopes = with_counts(plain(), np.full(20, 50.0)), {}, {}
    for realizations in (4, 40):
        off, told, tilted, chance = [], [], [], []
        for seed in range(40):
            found, slope = drawn_surface(problem, realizations, 0.5, 2.0, seed)
            value, error = found.at(np.zeros((1, 2)))
            off.append(((value[0] - 50) ** 2).mean())
            told.append(error[0] * np.diag(found.chance).mean())
            tilted.append((((found.slope(np.zeros(2)) - slope) * prior_deviation(problem.parameters)) ** 2).mean())
            chance.append(np.diag(found.chance).mean())
        squares[realizations], slopes[realizations] = np.mean(off) / np.mean(told), np.mean(tilted)
        # Of so few realizations their variance is known within a quarter or so.
        assert np.mean(chance) == pytest.approx(0.5**2 + 2.0**2, rel=0.25)
    assert squares[4] == pytest.approx(1, abs=0.35)
    assert squares[40] == pytest.approx(1, abs=0.35)
    assert slopes[4] < slopes[40] / 5


def test_simulations_of_a_sample_tell_slopes_and_no_level() -> None:
    """Ten simulations of everybody, and 40 of a sample that are 3 too high, with three times the chance; 40 surfaces.

    Errors are as large as the surface says, and those of the slope far smaller than without the sample.
    """
    problem = with_counts(plain(), np.full(20, 50.0))
    deviations = prior_deviation(problem.parameters)
    off, told, tilted, alone = [], [], [], []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        slopes = 5 * generator.normal(size=(2, 20))
        points, whole, draws = generator.normal(size=(50, 2)), np.arange(50) < 10, np.arange(50) % 5
        chance = np.where(whole, 1, 3)[:, None]
        curves = 50 + points @ slopes + np.where(whole, 0, 3)[:, None] + chance * 0.5 * generator.normal(size=(50, 20))
        curves += chance * generator.normal(size=(2, 5, 20))[whole.astype(int), draws]
        both = response.Simulations(points * deviations, curves, draws, whole)
        found = likeliest.surface(problem, (1.0,), both, np.zeros(2))
        value, error = found.at(np.zeros((1, 2)))
        off.append(((value[0] - 50) ** 2).mean())
        told.append(error[0] * np.diag(found.chance).mean())
        without = likeliest.surface(problem, (1.0,), both.some(whole), np.zeros(2))
        for these, errors in ((found, tilted), (without, alone)):
            errors.append((((these.slope(np.zeros(2)) * deviations).T - slopes) ** 2).mean())
    assert np.mean(off) / np.mean(told) == pytest.approx(1, abs=0.5)
    assert np.mean(tilted) < 0.5 * np.mean(alone)


def test_what_holds_from_a_day_on_changes_no_count_before() -> None:
    """Neither its slope nor the surface's error there, though chance goes along with it among so few simulations."""
    late = calibration.Parameter("late", ("growth",), -1, 1, days=(12,))
    problem = with_counts(plain(), np.full(20, 50.0))
    world = dataclasses.replace(growth.world(), params=growth.world().params | {"growth": jnp.full(20, 0.1)})
    problem = dataclasses.replace(problem, world=world, parameters=(growth.FIRST, late))
    generator, deviations = np.random.default_rng(0), prior_deviation(problem.parameters)
    points, acts = generator.normal(size=(12, 2)), np.arange(20) >= 12
    curves = 50 + points[:, :1] + 5 * points[:, 1:] * acts + generator.normal(size=(12, 20))
    told = response.Simulations(points * deviations, curves, np.arange(12) % 4, np.ones(12, bool))
    found = likeliest.surface(problem, (1.0,), told, np.zeros(2))
    slope = found.slope(np.zeros(2)) * deviations
    assert (slope[~acts, 1] == 0).all()
    np.testing.assert_allclose(slope[acts, 1], 5, atol=2)
    far = np.array([[0.0, 3.0]]) * deviations
    np.testing.assert_array_equal(found.at(far)[0][0, ~acts], found.at(far * 0)[0][0, ~acts])
    errors = found.errors(far)[0]
    assert errors[acts].min() > 1.5 * errors[~acts].max()
    assert found.at(far)[1][0] == pytest.approx(errors.mean())


def test_a_slope_is_the_derivative_of_the_surface() -> None:
    """A share reported among what is free: its effect is known, and no simulation is moved along it."""
    problem = small_epidemic(agents=200)
    generator, begun = np.random.default_rng(0), np.array([-1.0, 0.3])
    points = begun + np.column_stack([0.5 * generator.normal(size=30), np.zeros(30)])
    curves = 20 * np.exp(0.5 * (points[:, :1] + 1) * np.linspace(-1, 1, 20)) * generator.uniform(0.9, 1.1, (30, 1))
    problem = with_counts(problem, np.full(20, 20.0))
    told = response.Simulations(points, curves, np.arange(30) % 5, np.ones(30, bool))
    found = likeliest.surface(problem, (1.0,), told, begun)
    z, step = np.array([-0.8, 0.9]), 1e-3
    sides = [found.at((z + side)[None])[0][0] for e in np.eye(2) * step for side in (e, -e)]
    differences = np.stack([(sides[0] - sides[1]) / (2 * step), (sides[2] - sides[3]) / (2 * step)], axis=1)
    np.testing.assert_allclose(found.slope(z), differences, rtol=0.01, atol=0.01)
    # Seen from where twice as much is reported, counts are twice as many.
    here, double = (
        likelihoods.unstabilised("poisson", found.at(np.array([[-1.0, x]]))[0], 1) for x in (0.0, np.log(9))
    )
    np.testing.assert_allclose(double, 1.8 * here, rtol=1e-4)


def test_walkers_draw_from_a_bent_density() -> None:
    """z_0 normal, z_1 normal about z_0^2: means and deviations as they are known, within four errors of 500 draws."""

    def density(z: np.ndarray) -> np.ndarray:
        return -0.5 * z[:, 0] ** 2 - 0.5 * ((z[:, 1] - z[:, 0] ** 2) / 0.5) ** 2

    first = np.random.default_rng(1).normal(size=(64, 2))
    places, logs, taken = walk(density, first, 2000, 3, 10)
    z = places[50:].reshape(-1, 2)
    np.testing.assert_array_equal(logs[-1], density(places[-1]))
    assert 0.1 < taken < 0.9
    np.testing.assert_allclose(z.mean(0), [0, 1], atol=4 * 1.5 / np.sqrt(500))
    np.testing.assert_allclose(z.std(0), [1, np.sqrt(2 + 0.25)], rtol=0.15)


@pytest.mark.slow
def test_predictions_are_of_the_epidemic_that_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance is most of the error: what the data's own epidemic did is predicted far better than what another would.

    And of 40 data sets the last five counts, which the fit has not seen, lie within bands of 80 % as often as they say.
    """
    monkeypatch.setattr(regression, "simulator", Chancy)
    held, narrower = [], []
    for number in range(40):
        whole = observed(number)
        counts = whole.counts.copy()
        counts[-5:] = np.nan
        fit = regression.regress(with_counts(whole, counts), iterations=3, seed=number)
        found = emulated.predict(fit, emulated.sample(fit, 400).z[0])
        low, high = posterior_bands(found.counts, [0.1, 0.9])
        held.append(((whole.counts >= low) & (whole.counts <= high))[-5:].mean())
        narrower.append(np.log(found.expected[:, 0]).std() / 0.1)
    assert 0.7 < np.mean(held) < 0.92
    assert np.mean(narrower) < 1.2


def test_too_few_points_are_refused_and_too_many_deaths_named() -> None:
    with pytest.raises(ValueError, match="asked for 4 points a round or more for 2 unknowns, got 3"):
        regression.regress(growth.problem(), points=3)
    broken = growth.problem(growth.FIRST, growth.GROWTH, growth.FRAGILE)
    nowhere = np.array([3.0, 0.1, 3.0])
    with pytest.raises(RunError, match="got 0 simulations of 64 that did not die out, where 5 are needed"):
        regression.regress(broken, first=nowhere)
    problem = with_counts(plain(), np.full(20, 50.0))
    of_sample = response.Simulations(np.ones((9, 2)), np.full((9, 20), 50.0), np.arange(9), np.arange(9) < 1)
    with pytest.raises(RunError, match=r"simulations of everybody .* got 1 that did not die out"):
        likeliest.surface(problem, (1.0,), of_sample, np.zeros(2))
