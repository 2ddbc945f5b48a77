"""Answers against plain numpy over the stored runs, and against cases worked by hand."""

import csv
import itertools

import numpy as np
import pytest
import xarray as xr

import lpm
from lpm.studies import economics, records, report
from lpm.studies.compare import rows, shapley, summary
from lpm.studies.outcomes import days_over
from lpm.studies.scenarios import latin_hypercube
from tests.studies.town import NAMES, SCALE, Files

BEDS = 800_000


@pytest.fixture(scope="module")
def answers(done: Files) -> xr.Dataset:
    """The study's answers as they were saved."""
    return xr.open_zarr(done.out / report.ANSWERS, consolidated=False).load()


@pytest.fixture(scope="module")
def people(done: Files) -> dict[str, np.ndarray]:
    """Every observable in real people: (scenario, realization, time, region, age) float64."""
    results = lpm.open(done.out).load()
    return {name: results[name].values.astype(np.float64) / SCALE for name in results.attrs["observables"].split()}


def test_totals_peaks_and_days_are_those_of_the_runs(answers: xr.Dataset, people: dict[str, np.ndarray]) -> None:
    present = people["hospitalised"].sum((3, 4))
    np.testing.assert_allclose(answers["deaths"].values, people["deaths"].sum((2, 3, 4)))
    np.testing.assert_allclose(answers["peak_of_hospitalised"].values, present.max(2))
    np.testing.assert_allclose(answers["days_of_hospitalised"].values, present.sum(2))
    np.testing.assert_array_equal(answers["days_over_capacity"].values, (present > BEDS).sum(2))
    assert 0 < answers["days_over_capacity"].values.max() < present.shape[2]


def test_what_is_averted_is_the_paired_difference(answers: xr.Dataset, people: dict[str, np.ndarray]) -> None:
    deaths = people["deaths"].sum((2, 3, 4))
    np.testing.assert_allclose(answers["averted_deaths"].values, deaths[0] - deaths)
    by_region, by_age = people["deaths"].sum((2, 4)), people["deaths"].sum((2, 3))
    np.testing.assert_allclose(answers["averted_deaths_by_region"].values, by_region[0] - by_region)
    np.testing.assert_allclose(answers["averted_deaths_by_age"].values, by_age[0] - by_age)
    peaks = people["hospitalised"].sum(4).max(2)
    np.testing.assert_allclose(answers["averted_peak_of_hospitalised_by_region"].values, peaks[0] - peaks)


def test_a_scenario_that_changes_nothing_averts_nothing(answers: xr.Dataset) -> None:
    for name in answers.data_vars:
        if str(name).startswith(("averted_", "extra_")):
            assert not answers[name].sel(scenario="the same").values.any()


def test_bands_are_quantiles_of_the_runs(answers: xr.Dataset, people: dict[str, np.ndarray]) -> None:
    course = people["hospitalised"].sum((3, 4))
    band = answers["curve_hospitalised"].transpose("quantile", "scenario", "time").values
    np.testing.assert_allclose(band, np.quantile(course, answers["quantile"].values, axis=1))
    places = answers["curve_hospitalised_by_region"].transpose("quantile", "scenario", "time", "region").values
    np.testing.assert_allclose(
        places, np.quantile(people["hospitalised"].sum(4), answers["quantile"].values, axis=1), rtol=1e-12
    )


def test_costs_are_units_times_amounts(answers: xr.Dataset, people: dict[str, np.ndarray]) -> None:
    own = np.array([0, 0, 0, -1e6])[:, None]
    cost = 12_000 * people["admissions"].sum((2, 3, 4)) + 800 * people["hospitalised"].sum((2, 3, 4)) + own
    np.testing.assert_allclose(answers["cost"].values, cost)
    np.testing.assert_allclose(answers["extra_cost"].values, cost - cost[0])
    for number, found in enumerate(economics.cost_effects(answers)):
        assert found.scenario == NAMES[number]
        extra, averted = (cost - cost[0])[number].mean(), answers["averted_deaths"].values[number].mean()
        assert (found.extra, found.averted) == pytest.approx((extra, averted))


def test_the_table_is_that_of_the_answers(done: Files, answers: xr.Dataset) -> None:
    with (done.out / report.TABLE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["scenario"], row["measure"], row["by"], row["of"]): row for row in rows}
    assert len(found) == len(rows)
    for scenario, region in itertools.product(NAMES, answers["region"].values):
        values = answers["averted_deaths_by_region"].sel(scenario=scenario, region=region).values
        row = found[scenario, "averted_deaths", "region", region]
        asked = [values.mean(), values.std(ddof=1), *np.quantile(values, [0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975])]
        names = ("mean", "standard_deviation", "q2.5", "q5", "q25", "q50", "q75", "q95", "q97.5")
        np.testing.assert_allclose([float(row[name]) for name in names], asked)
        assert row["runs"] == "3"


def test_a_number_that_is_missing_is_left_out() -> None:
    found = summary(np.array([np.nan, 4.0, 2.0, 9.0]))
    assert (found.n, found.mean, found.median) == (3, 5.0, 4.0)
    assert summary(np.array([np.nan])).n == 0


def test_days_over_capacity_are_those_above_it() -> None:
    course = np.array([[0, 10, 11, 12, 10, 11]])
    assert days_over(course, 10, 1) == 3
    assert days_over(course, 10, 7) == 21


def test_levers_shares_add_up_and_equal_levers_share_alike() -> None:
    draw = np.random.default_rng(3)
    levers = ("a", "b", "c", "d")
    sets = [frozenset(each) for size in range(5) for each in itertools.combinations(levers, size)]
    worth = {each: draw.normal(size=7) if each else np.zeros(7) for each in sets}
    np.testing.assert_allclose(sum(shapley(levers, worth).values()), worth[frozenset(levers)])
    alike = {each: np.sqrt(len(each & {"a", "b"})) + 3 * ("c" in each) for each in sets}
    shares = shapley(levers, alike)
    assert shares["a"] == pytest.approx(np.sqrt(2) / 2)
    assert shares["b"] == pytest.approx(shares["a"])
    assert (shares["c"], shares["d"]) == pytest.approx((3, 0))


def test_the_frontier_holds_what_no_mixture_beats() -> None:
    draw = latin_hypercube(30, 2, 8)
    points = {f"{number}": (float(cost), float(effect)) for number, (cost, effect) in enumerate(draw)}
    found = economics.frontier(points)
    kept = sorted((points[name] for name, (_, standing) in found.items() if standing == "frontier"), key=lambda p: p[0])
    assert len(kept) > 2
    ratios = [(b[0] - a[0]) / (b[1] - a[1]) for a, b in itertools.pairwise(kept)]
    assert ratios == sorted(ratios)
    costs, effects = zip(*kept, strict=True)
    for cost, effect in points.values():  # the best effect of a mixture at this cost, or of the dearest
        assert effect <= np.interp(cost, costs, effects) + 1e-12


@pytest.mark.parametrize(
    ("extra", "averted", "verdict", "ratio"),
    [
        (6.0, 3.0, "better, costs more", 2.0),
        (-6.0, 3.0, "better, costs less", np.nan),
        (6.0, -3.0, "worse, costs more", np.nan),
        (-6.0, -3.0, "worse, costs less", 2.0),
        (0.0, 0.0, "no better, costs as much", np.nan),
        (-6.0, 0.0, "no better, costs less", np.nan),
        (6.0, 0.0, "no better, costs more", np.nan),
        (0.0, -3.0, "worse, costs as much", np.nan),
    ],
)
def test_a_ratio_is_given_where_it_means_something(extra: float, averted: float, verdict: str, ratio: float) -> None:
    values = {"averted_deaths": [[0.0], [averted]], "extra_cost": [[0.0], [extra]]}
    variables = {name: (("scenario", "realization"), np.array(each)) for name, each in values.items()}
    dataset = xr.Dataset(variables, {"scenario": ["base", "other"]}, {"effect": "deaths"})
    found = economics.cost_effects(dataset)[1]
    assert found.verdict == verdict
    assert found.ratio == pytest.approx(ratio, nan_ok=True)


def test_capacity_and_shapes_are_kept_with_the_study(done: Files) -> None:
    about = records.read(done.out)
    assert about.capacity is not None
    assert about.capacity.beds == BEDS
    assert about.scale == pytest.approx(SCALE)
    assert about.names == NAMES


def test_an_observable_may_have_by_in_its_name() -> None:
    dims = ("scenario", "realization")
    variables = {
        "deaths_by_cause": (dims, np.ones((1, 2))),
        "deaths_by_cause_by_region": ((*dims, "region"), np.full((1, 2, 1), 3.0)),
    }
    found = list(rows(xr.Dataset(variables, {"scenario": ["base"], "region": ["north"]})))
    assert [(row["measure"], row["by"], row["of"], row["mean"]) for row in found] == [
        ("deaths_by_cause", "", "", 1.0),
        ("deaths_by_cause", "region", "north", 3.0),
    ]
