"""Fits by regression over simulations that are each at a point of their own, against what is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm import calibration
from lpm.calibration import fitting, regression
from lpm.calibration.objective import moments
from lpm.calibration.problem import keys, simulator, with_counts
from lpm.calibration.task import Budget, Task
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


def test_a_sample_of_the_agents_may_be_fitted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its epidemics are further apart, and the whole is gone on with from where it ended."""
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
    assert fit.starts[0].verdict in ("noise floor", "converged")
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


def test_what_chance_does_and_slopes_are_told_apart() -> None:
    """On a scale that is linear: realizations at the point have the mean and the spread that were drawn.

    Over 300 repeats. The noise of the slope, seen from how far derivatives of parts are apart, is that over repeats.
    """
    data = growth.problem(growth.FIRST, growth.GROWTH)
    linear = dataclasses.replace(data.streams[0], likelihood="least_squares", dispersion=1.0)
    problem = dataclasses.replace(data, streams=(linear,))
    generator, known = np.random.default_rng(5), np.zeros((2, 20))
    slopes = generator.normal(size=(2, 20))
    means, spreads, found, told = [], [], [], []
    for _ in range(300):
        offsets = 0.3 * regression.turned(12, 2, generator)
        curves = 50 + offsets @ slopes + 2 * generator.normal(size=(12, 20))
        there, tangents = regression.moved(problem, offsets, curves, (1.0,), known)
        means.append(there.mean(0))
        spreads.append(there.var(0, ddof=1))
        found.append(tangents.mean(0))
        told.append(tangents.var(0, ddof=1) / 12)
    assert abs(np.mean(means) - 50) < 4 * 2 / np.sqrt(12 * 300 * 20)
    assert np.mean(spreads) == pytest.approx(4, rel=0.05)
    np.testing.assert_allclose(np.mean(found, axis=0), slopes, atol=5 * 2 / 0.3 / np.sqrt(12 * 300))
    assert np.mean(told) == pytest.approx(np.var(found, axis=0, ddof=1).mean(), rel=0.1)
    assert np.var(found, axis=0, ddof=1).mean() == pytest.approx(4 / 12 / 0.3**2, rel=0.1)


def test_a_share_reported_is_not_moved_and_what_it_does_is_known() -> None:
    problem = small_epidemic()
    task = Task(problem, simulator(problem), Budget(), 4, 0, lambda _: None)
    z = np.array([-1.0, 0.3])
    drawn = regression._round(task, z, np.eye(2), 8, keys(0, 0, 8), np.random.default_rng(0))
    assert (drawn.points[:, 1] == 0.3).all()
    assert len(set(drawn.points[:, 0])) == 8
    place = regression.at(task, [drawn], z, (1.0,), begun=False)
    mean = moments(problem.streams, (1.0,), place.curves, 0.0).mean
    exact = (1 - 1 / (1 + np.exp(-0.3))) * mean / (mean + 1)
    many = mean > 10  # of fewer, the scale of counts bends within the chance of the epidemic
    assert many.sum() > 8
    np.testing.assert_allclose(place.jacobians.mean(0)[many, 1], exact[many], rtol=0.05)
    # Seen from where twice as much is reported, realizations are twice as many.
    double = np.array([-1.0, np.log(0.9 / 0.1)])
    drawn = dataclasses.replace(drawn, points=np.column_stack([drawn.points[:, 0], np.full(8, 0.0)]))
    there, here = (regression.at(task, [drawn], each, (1.0,), begun=False) for each in (double, double * [1, 0]))
    few = there.curves.mean(0) < 30  # likewise
    np.testing.assert_allclose(there.curves.mean(0)[~few], 1.8 * here.curves.mean(0)[~few], rtol=0.02)


def test_too_few_points_are_refused_and_too_many_deaths_named() -> None:
    with pytest.raises(ValueError, match="asked for 4 points a round or more for 2 unknowns, got 3"):
        regression.regress(growth.problem(), points=3)
    broken = growth.problem(growth.FIRST, growth.GROWTH, growth.FRAGILE)
    nowhere = np.array([3.0, 0.1, 3.0])
    with pytest.raises(RunError, match="got 0 simulations of 64 that did not die out, where 5 are needed"):
        regression.regress(broken, first=nowhere)
