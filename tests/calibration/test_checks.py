"""Checks of a fit: right ones are believed, wrong ones are not, and the page says so and asks nothing of a network."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from lpm import calibration
from lpm.calibration import checks, page, picture, posterior
from lpm.calibration.problem import Problem, with_counts
from lpm.calibration.recovery import Recovery
from lpm.errors import RunError
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


@pytest.mark.parametrize(("inside", "level"), [(10, 0), (5, 1), (2, 2)])
def test_intervals_that_miss_are_told_by_how_unlikely_that_is(inside: int, level: int) -> None:
    ones, misses = np.ones((10, 1)), np.arange(10)[:, None] >= inside
    found = Recovery(("a",), ones, ones, ones - 1 + 2 * misses, ones + 3, 0 * ones, ones, ())
    assert [each.level for each in checks._of_recovery(found, "made")] == [level]


def test_the_page_is_one_file_that_asks_nothing_of_a_network(tmp_path: Path) -> None:
    problem = growth.problem()
    problem = dataclasses.replace(problem, world=dataclasses.replace(problem.world, title="<b>a & b</b>"))
    fit, predictive = fitted(problem)
    found = checks.check(fit, predictive, repeats=2, profiled=("growth",))
    drawn = picture.draw(fit, predictive, tmp_path / "fit.png")
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
