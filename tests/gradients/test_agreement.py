"""What is said of an estimate: right however noisy it is, with errors that are those of repetition."""

import numpy as np
import pytest

from lpm.agreement import DOUBTFUL, Comparison, compare

CURVE = np.sin(np.linspace(0.1, 3, 40))


def noisy(rng: np.random.Generator, factor: float, realizations: int, noise: float) -> np.ndarray:
    return factor * CURVE + noise * rng.normal(size=(realizations, len(CURVE)))


def compared(estimate: np.ndarray, reference: np.ndarray) -> Comparison:
    return compare("rate", "cases", estimate, reference)


@pytest.mark.parametrize("few", [12, 40])
def test_noise_makes_a_slope_neither_smaller_nor_a_cosine(few: int) -> None:
    """Noise twice the curve: means of 400 comparisons within 4 of their standard errors (p = 1e-4 each)."""
    rng = np.random.default_rng(11)
    found = [compared(noisy(rng, 1.3, few, 2.0), noisy(rng, 1.0, 40, 2.0)) for _ in range(400)]
    slopes, cosines = np.array([each.slope for each in found]), np.array([each.cosine for each in found])
    assert abs(slopes.mean() - 1.3) < 4 * slopes.std() / 20
    assert abs(cosines.mean() - 1) < 4 * cosines.std() / 20
    naive = noisy(rng, 1.3, few, 2.0).mean(0), noisy(rng, 1.0, 40, 2.0).mean(0)
    assert naive[0] @ naive[1] / np.sqrt((naive[0] @ naive[0]) * (naive[1] @ naive[1])) < 0.99


@pytest.mark.parametrize("few", [12, 40])
def test_errors_are_the_spread_over_repetitions(few: int) -> None:
    rng = np.random.default_rng(12)
    found = [compared(noisy(rng, 1.0, few, 1.0), noisy(rng, 1.0, 40, 1.0)) for _ in range(400)]
    spread = np.std([each.slope for each in found])
    assert 0.85 * spread < np.mean([each.error for each in found]) < 1.25 * spread


def test_noise_that_both_share_falls_out() -> None:
    rng = np.random.default_rng(13)
    both = noisy(rng, 1.0, 20, 1.0)
    found = compared(both, both)
    assert (found.slope, found.verdict) == (pytest.approx(1), "holds")
    assert found.error == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("factor", "noise", "verdict"),
    [(1.0, 0.05, "holds"), (1.04, 0.01, "holds"), (0.9, 0.05, "off"), (1.1, 0.05, "off"), (1.0, 5.0, "unsure")],
)
def test_verdicts_follow_the_slope_and_its_error(factor: float, noise: float, verdict: str) -> None:
    rng = np.random.default_rng(14)
    found = compared(noisy(rng, factor, 30, noise), noisy(rng, 1.0, 30, noise))
    assert found.verdict == verdict, found
    assert (found.error > DOUBTFUL) == (verdict == "unsure")


def test_another_shape_is_off_although_the_slope_is_right() -> None:
    shifted = np.roll(CURVE, 8)
    estimate = np.tile(shifted * (CURVE @ CURVE) / (shifted @ CURVE), (8, 1))
    found = compared(estimate, np.tile(CURVE, (8, 1)))
    assert found.slope == pytest.approx(1)
    assert found.verdict == "off"


def test_zeros_are_told_apart() -> None:
    rng = np.random.default_rng(15)
    zero, true = np.zeros((8, 40)), noisy(rng, 1.0, 8, 0.1)
    assert compared(zero, true).verdict == "cut"
    assert compared(zero, noisy(rng, 0.0, 8, 1.0)).verdict == "unsure"
    assert compared(zero, zero).verdict == "none"
    assert compared(true, zero).verdict == "unsure"
    assert compared(true * np.inf, true).verdict == "off"
