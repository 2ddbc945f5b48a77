"""Checks of a fit: right ones are believed, wrong ones are not, and the page says so and asks nothing of a network."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.stats

from lpm import calibration
from lpm.calibration import checks, page, picture, posterior, recovery
from lpm.calibration.problem import Problem, with_counts
from lpm.calibration.recovery import Recovery
from lpm.errors import RunError
from lpm.settings import Calendar
from tests.calibration import growth


def fitted(problem: Problem, **asked: object) -> tuple[calibration.Fit, calibration.Predictive]:
    fit = calibration.fit(problem, realizations=2, starts=2, averages=1)
    return fit, calibration.predict(fit, 200)


def test_a_right_model_is_believed() -> None:
    slow = calibration.Parameter("growth", ("growth",), 0, 0.2)
    fit, predictive = fitted(growth.problem(growth.FIRST, slow))
    found = checks.check(fit, predictive, repeats=2, profiled=("growth",), prior_repeats=2)
    assert found.belief == "believe it", found.findings
    assert found.recovery is not None
    assert found.recovery.truth.shape == found.calibration.truth.shape == (2, 2)  # type: ignore[union-attr]
    assert found.simulations > 2 * int(found.recovery.simulations.max())
    assert [each.name for each in found.profiles] == ["growth"]


def test_a_wrong_model_is_not_believed() -> None:
    """Counts that rise and fall, as no exponential does; five statistics of 200 draws each."""
    problem = growth.problem()
    counts = 100 * np.exp(-((np.arange(growth.STEPS) - 8.0) ** 2) / 18)
    fit, predictive = fitted(with_counts(problem, np.round(counts)))
    found = checks.check(fit, predictive, repeats=0)
    assert found.belief == "do not believe it"
    (misfit,) = [each for each in found.predicted if each.statistic == "misfit"]
    assert misfit.observed > misfit.high
    assert any(each.level == 2 and "misfit" in each.text for each in found.findings)


def test_what_is_not_identified_is_a_doubt_with_its_name() -> None:
    share = calibration.Parameter("share", ("share",), 0, prior=calibration.Prior("lognormal", 1, 1))
    found = checks.check(*fitted(growth.problem(growth.FIRST, growth.GROWTH, share)), repeats=0)
    assert found.belief == "believe it with care"
    assert any("share" in each.text and each.level == 1 for each in found.findings)


def test_a_fit_to_the_mean_of_many_epidemics_is_a_doubt() -> None:
    slow = calibration.Parameter("growth", ("growth",), 0, 0.2)
    problem = dataclasses.replace(growth.problem(growth.FIRST, slow), epidemic_chance=False)
    found = checks.check(*fitted(problem), repeats=0)
    assert any("epidemic_chance: false" in each.text and each.level == 1 for each in found.findings)


def test_predictive_p_values_are_those_of_ranks() -> None:
    values = np.arange(1.0, 100)
    assert checks._predicted("a", "b", 50.0, values).p == pytest.approx(1.0)
    assert checks._predicted("a", "b", 200.0, values).p == pytest.approx(2 / 100)


def test_bands_that_hold_too_much_are_told() -> None:
    """0.9 ** 44 is just below, 0.9 ** 43 above one in a hundred."""
    rng = np.random.default_rng(8)
    for number, level, said in ((44, 1, "wider than they need be"), (43, 0, "100 % of the 43 counts")):
        found = checks._of_bands(np.ones(number, bool), np.tile(np.arange(number) > 0, (300, 1)))
        assert (found.level, said in found.text) == (level, True), found
    assert checks._of_bands(np.arange(200) > 5, rng.random((300, 200)) < 0.9).text.startswith("194 of the 200 counts")
    assert checks._of_bands(np.arange(100) > 25, rng.random((300, 100)) < 0.9).level == 1
    # Whole courses lie within their bands or do not: then so may the data.
    courses = np.repeat(rng.random((300, 1)) < 0.8, 60, axis=1)
    found = checks._of_bands(np.ones(60, bool), courses)
    assert found.level == 0
    assert re.search(r"all of the 60 counts lie within the 90 % bands, as do (7|8)\d % of the data sets", found.text)


def test_a_fit_with_a_dispersion_that_is_far_too_large_is_told_of_its_bands() -> None:
    steps, generator = 60, np.random.default_rng(1)
    counts = generator.poisson(200 * np.exp(0.02 * np.arange(steps))).astype(np.float64)[:, None]
    for dispersion, told in ((2.0, True), (1e4, False)):
        how = {"likelihood": "negative_binomial", "dispersion": dispersion}
        stream = calibration.Stream("events", growth.EVENTS, np.arange(steps), 1, counts, **how)
        problem = Problem(growth.world(200.0), Calendar(steps), (growth.FIRST, growth.GROWTH), (stream,))
        found = checks.check(*fitted(problem), repeats=0)
        assert told == any("wider than they need be" in each.text for each in found.findings), found.findings


@pytest.mark.parametrize(("inside", "level"), [(10, 0), (5, 1), (2, 2)])
def test_intervals_that_miss_are_told_by_how_unlikely_that_is(inside: int, level: int) -> None:
    ones, misses = np.ones((10, 1)), np.arange(10)[:, None] >= inside
    found = Recovery(("a",), ones, ones, ones - 1 + 2 * misses, ones + 3, 0 * ones, ones, ())
    assert [each.level for each in checks._of_recovery(found, "made")] == [level]


def test_the_page_is_one_file_that_asks_nothing_of_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = growth.problem()
    problem = dataclasses.replace(problem, world=dataclasses.replace(problem.world, title="<b>a & b</b>"))
    fit, predictive = fitted(problem)
    found = checks.check(fit, predictive, repeats=2, profiled=("growth",))
    figures: list = []
    monkeypatch.setattr(plt, "close", figures.append)
    drawn = picture.draw(fit, predictive, tmp_path / "fit.png")
    monkeypatch.undo()
    assert not any(axes.get_legend() for axes in figures[0].axes)  # it would lie over what is drawn
    (legend,) = figures[0].legends
    assert [each.get_text() for each in legend.get_texts()][2:] == ["median", "observed", "prior", "posterior"]
    boxes = [legend.get_window_extent(), *(axes.get_tightbbox() for axes in figures[0].axes)]
    assert not any(boxes[0].overlaps(each) for each in boxes[1:])
    text = page.page(fit, found, drawn, {"Source": "https://example.org", "Config": "a: 1\n"})
    assert text.index("Verdict: believe it") < text.index("<h2>Parameters")
    assert text.count("data:image/png;base64,") == 3
    assert "&lt;b&gt;a &amp; b" in text
    assert not re.search(r"https?://|<script|<link|url\(", text)
    assert "<pre>a: 1" in text


def test_a_recovery_that_misses_by_far_is_a_doubt_with_its_name() -> None:
    ones = np.ones((10, 2))
    off = np.zeros((10, 2))
    off[3, 1] = -3.4
    found = Recovery(("a", "b"), ones, ones, 0 * ones, 2 * ones, off, np.ones(10), ())
    doubts = [each.text for each in checks._of_recovery(found, "made from the fit") if each.level]
    assert len(doubts) == 1
    assert "number 4 missed b by 3.4 posterior deviations" in doubts[0]


def test_bands_of_few_draws_hold_what_they_say() -> None:
    """Of 20,000 new counts 90 % lie in bands of 24 draws each: 2 % for interpolation and chance, not 7 %."""
    rng = np.random.default_rng(5)
    low, high = posterior.bands(rng.gamma(4.0, 10.0, (24, 20_000)), [0.05, 0.95])
    fresh = rng.gamma(4.0, 10.0, 20_000)
    assert ((fresh >= low) & (fresh <= high)).mean() == pytest.approx(0.9, abs=0.02)


def test_a_fit_whose_epidemics_all_die_out_is_told() -> None:
    """Of counts a million times what the fit gives, none is left to predict with."""
    problem = growth.problem()
    fit = calibration.fit(problem, realizations=2, starts=2, averages=1)
    far = dataclasses.replace(fit, problem=with_counts(problem, 1e6 * problem.counts))
    with pytest.raises(RunError, match="at 20 draws of the fit, got 20 simulations that all died out"):
        calibration.predict(far, 20)


@pytest.mark.parametrize(("k", "n"), [(-1, 10), (0, 3), (1350, 1500), (1300, 1500), (90_200, 100_000)])
def test_the_chance_of_so_few_of_many_is_a_number(k: int, n: int) -> None:
    """A thousand counts and more have binomial coefficients beyond a float."""
    expected = scipy.stats.binom.cdf(k, n, 0.9)
    np.testing.assert_allclose(checks._binomial_below(k, n, 0.9), expected, rtol=1e-8)


def test_bands_of_many_counts_are_looked_at() -> None:
    observed = np.arange(1500) % 10 > 0
    assert checks._of_bands(observed, np.ones((20, 1500), bool)).level == 0


@pytest.mark.parametrize("function", [calibration.fit, calibration.smooth, calibration.adam, calibration.reject])
def test_a_mistyped_setting_is_not_passed_over(function: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match="realisations"):
        function(growth.problem(), realisations=4)


def test_a_mistyped_setting_of_a_recovery_is_not_passed_over() -> None:
    fit, _ = fitted(growth.problem())
    for method in (calibration.fit, calibration.smooth):
        with pytest.raises(TypeError, match="realisations"):
            calibration.recover_fit(fit, 1, method=method, realisations=4)


def test_known_parameters_are_fitted_by_regression_with_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no number of starts."""
    fit, _ = fitted(growth.problem())
    asked: list[set[str]] = []

    def regress(problem: Problem, **settings: object) -> calibration.Fit:
        asked.append(set(settings))
        return fit

    monkeypatch.setitem(recovery.METHODS, "regression", regress)
    fit = dataclasses.replace(fit, method="regression")
    checks.recovered(fit, 1)
    calibration.recover_prior(fit, 1)
    assert asked == [{"realizations", "seed", "first"}, {"realizations", "seed"}]
