"""Derivatives by differences along many directions at once, against what is known."""

import dataclasses

import numpy as np
import pytest

from lpm import calibration
from lpm.calibration import setup, tangents
from lpm.calibration.objective import mean_jacobian, moments
from lpm.calibration.problem import keys, simulator
from lpm.config import build_world, load
from lpm.errors import InputError
from lpm.settings import Calendar
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts
from tests.calibration import growth
from tests.calibration.test_fit import regression


@pytest.mark.parametrize(("size", "realizations"), [(1, 2), (3, 4), (7, 8), (8, 16), (22, 16), (5, 24)])
def test_rows_of_signs_tell_all_directions_apart(size: int, realizations: int) -> None:
    rows = tangents.signs(size, realizations)
    assert len(rows) % realizations == 0
    assert set(np.unique(rows)) <= {-1.0, 1.0}
    condition = np.linalg.cond(rows)
    assert condition < 2
    if realizations in (4, 8, 16) and size < realizations:
        assert condition == pytest.approx(1)


def test_differences_meet_the_rules_derivative_where_there_is_no_chance() -> None:
    plain = growth.problem(growth.FIRST, growth.GROWTH)
    by_differences = dataclasses.replace(plain, rule="differences")
    z, seeds, machine = np.array([3.0, 0.1]), keys(0, 0, 4), simulator(plain)
    curves, exact = tangents.tangents(plain, machine, z, seeds, (1.0,))
    again, found = tangents.tangents(by_differences, machine, z, seeds, (1.0,), np.array([[0.01, 0.0], [0.002, 0.002]]))
    np.testing.assert_allclose(again, curves, rtol=1e-6)
    seen = moments(plain.streams, (1.0,), curves)
    assert seen is not None
    np.testing.assert_allclose(mean_jacobian(seen, found), mean_jacobian(seen, exact), rtol=2e-3, atol=2e-2)


def test_a_fit_by_differences_meets_poisson_regression() -> None:
    wide = dataclasses.replace(growth.FIRST, prior=calibration.Prior("lognormal", 20, 2000))
    data = dataclasses.replace(growth.problem(wide, growth.GROWTH), rule="differences")
    fit = calibration.fit(data, realizations=4, starts=2, averages=1)
    beta, covariance = regression(data.counts)
    found = np.array([np.log(fit.values[0]), fit.values[1]])
    assert (np.abs(found - beta) < 0.15 * np.sqrt(np.diag(covariance))).all()
    assert all(start.verdict == "converged" for start in fit.starts)
    assert fit.simulations < 400


def test_the_cost_of_differences_hardly_grows_with_the_parameters() -> None:
    problem = growth.problem(growth.FIRST, growth.GROWTH)
    assert tangents.cost(problem, 8) == 8 * 3
    by_differences = dataclasses.replace(problem, rule="differences")
    assert tangents.cost(by_differences, 8) == 8 * 3
    assert len(tangents.signs(22, 16)) == 32


def test_a_rule_is_refused_for_parameters_that_it_does_not_follow() -> None:
    plain = growth.problem(growth.FIRST, growth.GROWTH)
    target = growth.GROWTH.targets[0]
    cut = dataclasses.replace(plain, world=dataclasses.replace(plain.world, unfollowed=(target,)))
    z, seeds, machine = np.array([3.0, 0.1]), keys(0, 0, 2), simulator(cut)
    with pytest.raises(ValueError, match=f"rule 'cavity', got {target}, which no rule follows"):
        tangents.tangents(cut, machine, z, seeds, (1.0,))
    assert tangents.tangents(dataclasses.replace(cut, rule="differences"), machine, z, seeds, (1.0,))[1].any()


def test_a_config_that_frees_what_no_rule_follows_is_told_to_take_differences() -> None:
    free = "[{name: found, target: interventions.testing.sensitivity, low: 0, high: 1}]"
    words = ["settings.people.agents=1000", "settings.interventions={testing: {}}", f"calibrate.parameters={free}"]
    base = load("nyc-2020-fit", words)
    world = build_world(base)
    with pytest.raises(InputError, match="asked for derivatives by the rule cavity, got"):
        setup.problem_of(load("nyc-2020-fit", [*words, "calibrate.method=levenberg_marquardt"]), world)
    for other in ("calibrate.derivatives=differences", "calibrate.method=ensemble", "calibrate.method=regression"):
        setup.problem_of(load("nyc-2020-fit", [*words, other]), world)


def test_the_derivative_by_a_share_reported_is_exact() -> None:
    """Where simulations that are moved differ by chance, that of what is reported has none, and costs none."""
    share = calibration.Parameter("reported", ("observation.incidence.reporting",), 0, 1)
    world = sir.build(
        sir.Settings(agents=500, contacts=Contacts("well_mixed"), transmission=0.9, initial=0.02), Calendar(12)
    )
    rate = calibration.Parameter("transmission", ("transmission",), 0.1, 4)
    stream = calibration.Stream(
        "incidence", world.observables[0], np.arange(12), 1, np.ones((12, 1)), likelihood="poisson"
    )
    problem = calibration.Problem(world, Calendar(12), (rate, share), (stream,), rule="differences")
    z, seeds = np.array([-1.0, 0.3]), keys(2, 0, 4)
    curves, found = tangents.tangents(problem, simulator(problem), z, seeds, (1.0,))
    reported = 1 / (1 + np.exp(-z[1]))
    np.testing.assert_allclose(found[:, 1], (1 - reported) * curves, rtol=1e-5)
    assert tangents.cost(problem, 4) == 4 + 2 * 4
    alone = calibration.Problem(world, Calendar(12), (share,), (stream,), rule="differences")
    assert tangents.cost(alone, 4) == 4
    again = tangents.tangents(alone, simulator(alone), z[1:], seeds, (1.0,))[1]
    assert again.shape == (4, 1, 12)


def test_how_far_derivatives_of_rows_are_apart_is_the_noise_of_their_mean() -> None:
    """Of 16 or 20 derivatives of two counts from 32 rows, in 200 repeats, by 16 realizations or 4 parts of these.

    6,400 squares: their mean is known to 1.8 %, for squares of normal deviations. Signs are fixed, and of few.
    """
    for size in (16, 20):
        rows, true = tangents.signs(size, 16), np.arange(2.0 * size).reshape(size, 2)
        rng, squares, told = np.random.default_rng(5), [], []
        for _ in range(200):
            found = tangents.of_rows(rows, rows @ true + rng.normal(size=(len(rows), 2)), 16)
            parts = np.stack([found[own::4].mean(0) for own in range(4)])
            squares.append((found.mean(0) - true) ** 2)
            told.append(
                [((each - each.mean(0)) ** 2).sum(0) / (len(each) * (len(each) - 1)) for each in (found, parts)]
            )
        assert np.mean(squares) == pytest.approx(1 / 32, rel=0.06)
        np.testing.assert_allclose(np.mean(told, axis=(0, 2, 3)), 1 / 32, rtol=0.25)
    exact = tangents.of_rows(rows, rows @ true, 16)
    np.testing.assert_allclose(exact, np.broadcast_to(true, exact.shape), atol=1e-12)
