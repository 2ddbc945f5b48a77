import numpy as np
import pytest
from ipfn.ipfn import ipfn
from scipy.stats import chi2

from lpm.errors import InputError
from lpm.populations.fitting import fit, largest_remainder, round_rows


def example():
    generator = np.random.default_rng(3)
    truth = generator.gamma(2.0, 10.0, (4, 3, 5))
    seed = generator.gamma(1.0, 1.0, (4, 3, 5))
    seed[2, 1, 3] = 0.0
    truth[2, 1, 3] = 0.0
    marginals = [((0, 1), truth.sum(axis=2)), ((1, 2), truth.sum(axis=0)), ((0,), truth.sum(axis=(1, 2)))]
    return seed, marginals


def test_marginals_are_met():
    seed, marginals = example()
    table = fit(seed, marginals, tolerance=1e-12)
    for axes, totals in marginals:
        others = tuple(axis for axis in range(3) if axis not in axes)
        np.testing.assert_allclose(table.sum(axis=others), totals, rtol=1e-9)


def test_result_agrees_with_an_independent_implementation():
    seed, marginals = example()
    other = ipfn(seed.copy(), [totals for _, totals in marginals], [list(axes) for axes, _ in marginals],
                 convergence_rate=1e-12, rate_tolerance=0.0, max_iteration=10_000).iteration()  # fmt: skip
    np.testing.assert_allclose(fit(seed, marginals, tolerance=1e-12), other, rtol=1e-6, atol=1e-9)


def test_odds_ratios_of_the_seed_are_kept():
    seed = np.random.default_rng(1).gamma(2.0, 1.0, (4, 6))
    table = fit(seed, [((0,), [1.0, 2, 3, 4]), ((1,), [4.0, 1, 1, 1, 2, 1])])

    def odds(values):
        return values[1:, 1:] * values[:1, :1] / (values[1:, :1] * values[:1, 1:])

    np.testing.assert_allclose(odds(table), odds(seed), rtol=1e-6)


def test_impossible_cells_stay_empty():
    seed, marginals = example()
    assert fit(seed, marginals)[2, 1, 3] == 0.0


@pytest.mark.parametrize(
    ("seed", "marginals", "message"),
    [
        (np.ones((2, 2)), [((0,), [1, 2]), ((1,), [2, 2])], "one grand total, got 3, 4"),
        (np.array([[0, 0], [1, 1]]), [((0,), [1, 2]), ((1,), [1, 2])], r"got a seed that is zero there"),
        (np.eye(2), [((0,), [1, 2]), ((1,), [2, 1])], "fewer zeros"),
        (np.ones((2, 2)), [((0,), [1, 2, 3])], r"totals of shape \(2,\), got \(3,\)"),
        (np.ones((2, 2)), [((0,), [-1, 2])], "at least 0"),
        (-np.ones((2, 2)), [((0,), [1, 2])], "fit seed"),
        (np.ones((2, 2)), [((1, 0), np.ones((2, 2)))], "increasing axes"),
        (np.ones((2, 2)), [], "asked for at least one"),
    ],
)
def test_what_cannot_be_fitted_is_refused(seed, marginals, message):
    with pytest.raises(InputError, match=message):
        fit(seed, marginals, iterations=200)


def test_largest_remainder_keeps_the_total_and_stays_near():
    values = np.random.default_rng(2).random(50)
    for total in (0, 1, 7, 1000, 123_457):
        counts = largest_remainder(values, total)
        assert counts.sum() == total
        assert np.all(np.abs(counts - values * total / values.sum()) < 1)


def test_rounding_keeps_row_totals_and_each_cell_to_its_floor_or_ceiling():
    generator = np.random.default_rng(5)
    table = generator.random((40, 30)) * (generator.random((40, 30)) < 0.7)
    table *= np.arange(40)[:, None] / table.sum(axis=1, keepdims=True)
    counts = round_rows(table, generator)
    np.testing.assert_array_equal(counts.sum(axis=1), np.arange(40))
    assert np.all((counts >= np.floor(table - 1e-9)) & (counts <= np.ceil(table + 1e-9)))


def test_rounding_has_no_bias():
    """Chi-squared of 20,000 roundings of one row against its values; fails by chance once in a thousand seeds."""
    row = np.array([0.2, 0.5, 0.05, 0.25])
    drawn = round_rows(np.tile(row, (20_000, 1)), np.random.default_rng(7)).sum(axis=0)
    statistic = np.sum((drawn - 20_000 * row) ** 2 / (20_000 * row))
    assert chi2.sf(statistic, df=3) > 1e-3
