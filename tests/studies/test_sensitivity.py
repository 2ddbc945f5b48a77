"""Sensitivities against functions whose indices are known, and in a study of a small city."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from lpm.errors import InputError
from lpm.studies import plan, records, report, runs
from lpm.studies.economics import acceptability
from lpm.studies.scenarios import latin_hypercube
from lpm.studies.sensitivity import indices, rank_correlations, resampled, settings_of
from tests.studies.town import CONFIG, Files, write

STUDY = """
study:
  base: town.yaml
  realizations: 1
  outcomes: [infections, deaths]
  worth: 1e5 USD
  costs: {per admission: 1000 USD}
  scenarios: {open schools: {set: {settings.schedule.0.contacts: 1}}}
  sobol: {draws: 4, over: {settings.transmission.work: [0.0, 0.8], settings.disease.intensive_care.8: [0.3, 0.7]}}
  latin_hypercube: {draws: 8, over: {settings.transmission.community: [0.1, 0.9], settings.own_region: [0.5, 0.9]}}
"""


def ishigami(x: np.ndarray) -> np.ndarray:
    """sin x1 + 7 sin^2 x2 + 0.1 x3^4 sin x1 over [-pi, pi]^3 (Ishigami & Homma 1990)."""
    x = (2 * x - 1) * math.pi
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def test_indices_of_a_known_function() -> None:
    rows, settings = 8192, 3
    unit = latin_hypercube(rows, 2 * settings, seed=3)
    a, b = unit[:, :settings], unit[:, settings:]
    mixed = np.stack([ishigami(np.where(np.arange(settings) == place, b, a)) for place in range(settings)])
    # V = 7^2/8 + 0.1 pi^4/5 + 0.01 pi^8/18 + 1/2; V1 = (1 + 0.1 pi^4/5)^2/2; V2 = 7^2/8; V13 = 8 0.01 pi^8/225
    v = 49 / 8 + 0.1 * math.pi**4 / 5 + 0.01 * math.pi**8 / 18 + 0.5
    v1, v2, v13 = (1 + 0.1 * math.pi**4 / 5) ** 2 / 2, 49 / 8, 8 * 0.01 * math.pi**8 / 225
    exact = np.array([[v1, v2, 0.0], [v1 + v13, v2, v13]]) / v
    np.testing.assert_allclose(indices(ishigami(a), ishigami(b), mixed), exact, atol=0.03)


def test_a_setting_without_effect_has_no_index() -> None:
    a, b = np.random.default_rng(1).random((2, 50, 2))
    first, second = a[:, 0], b[:, 0]
    found = indices(first, second, np.stack([second, first]))
    assert found[1, 1] == 0.0
    assert found[0, 1] == 0.0
    assert np.isnan(indices(np.ones(5), np.ones(5), np.ones((2, 5)))).all()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 60 intervals of 95 % for the mean of 60 draws, at least 51 hold it (p of fewer: 0.002)."""
    held = 0
    for seed in range(60):
        values = np.random.default_rng(seed).normal(size=60)
        _, low, high = resampled(lambda rows, values=values: values[rows].mean(), 60)
        held += low <= 0 <= high
    assert held >= 51


def test_rank_correlations_see_order_alone_and_hold_the_others() -> None:
    x = np.random.default_rng(2).random((300, 3))
    y = np.exp(4 * x[:, 0]) - 30 * x[:, 1]
    found = rank_correlations(x, y)
    assert found[0] > 0.8
    assert found[1] < -0.8
    assert abs(found[2]) < 0.2
    np.testing.assert_allclose(rank_correlations(np.exp(x), y), found, atol=1e-12)
    hidden = np.column_stack([x[:, 0], x[:, 0] + 0.1 * x[:, 1]])  # the second follows the first, and does nothing
    assert abs(rank_correlations(hidden, 5 * x[:, 0])[1]) < 0.2


def test_equal_values_share_their_rank() -> None:
    tied = rank_correlations(np.array([[1.0], [1.0], [2.0], [3.0]]), np.array([1.0, 1.0, 2.0, 3.0]))
    assert tied[0] == pytest.approx(1.0)


def test_the_best_buy_changes_with_the_worth() -> None:
    extra, averted = np.array([[0.0, 0, 0], [3, 3, 3], [9, 9, 9]]), np.array([[0.0, 0, 0], [1, 2, 1], [2, 3, 2]])
    found = acceptability(extra, averted, np.array([0.0, 2.0, 100.0]))
    np.testing.assert_allclose(found[:, 0], [1, 0, 0])
    np.testing.assert_allclose(found[:, 1], [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(found[:, 2], [0, 0, 1])
    averted[1, 0] = np.nan
    np.testing.assert_allclose(acceptability(extra, averted, np.array([2.0]))[:, 0], [0.5, 0.5, 0])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A study with designs, run."""
    folder = tmp_path_factory.mktemp("designs")
    file = write(folder, STUDY, CONFIG)
    runs.run(plan.load(file), folder / "out")
    report.collect(folder / "out")
    return Files(file, folder / "out")


def test_the_design_is_run_row_by_row(done: Files) -> None:
    about = records.read(done.out)
    names, places, values = settings_of(about, "sobol")
    assert names == ["work", "intensive_care.8"]
    assert len(places) == 4 * 4
    a, b, mixed = values[0], values[1], values[2:4]
    np.testing.assert_array_equal(mixed, [[b[0], a[1]], [a[0], b[1]]])
    assert values[:, 0].min() >= 0
    assert values[:, 0].max() <= 0.8


def test_sensitivities_are_in_answers_table_and_page(done: Files) -> None:
    answers = xr.open_zarr(done.out / report.ANSWERS, consolidated=False).load()
    total = answers["sobol_total_infections"].sel(of_estimate="estimate")
    places = settings_of(records.read(done.out), "sobol")[1]
    a, b, turned, _ = answers["infections"].values[places].mean(1).reshape(4, 4).T
    np.testing.assert_array_equal(turned, b)  # intensive care changes no infection, so work alone makes A to B
    own = ((a - b) ** 2).mean() / (2 * np.concatenate([a, b]).var())
    assert float(total.sel(sobol_setting="work")) == pytest.approx(own)
    assert float(total.sel(sobol_setting="intensive_care.8")) == 0.0
    assert float(answers["rank_correlation_infections"].sel(of_estimate="estimate")[0]) > 0.8
    assert answers["acceptability"].sum("scenario").values == pytest.approx(1)
    np.testing.assert_allclose(
        answers["net_benefit"], 1e5 * answers["averted_deaths"] - answers["extra_cost"], rtol=1e-9, atol=1e-3
    )
    with (done.out / report.SENSITIVITY).open(newline="") as handle:
        lines = list(csv.DictReader(handle))
    assert {line["measure"] for line in lines} == {"sobol_first", "sobol_total", "rank_correlation"}
    page = (done.out / report.PAGE).read_text("utf-8")
    for label in ("Sobol indices", "Rank correlations", "How often each scenario is the best buy"):
        assert f'aria-label="{label}"' in page
    assert "sobol 1" not in page
    assert "draw 1" in page


def test_empty_ranges_are_refused(tmp_path: Path) -> None:
    section = "sobol: {draws: 4, over: {settings.transmission.work: [0.8, 0.8]}}"
    file = write(tmp_path, f"study: {{base: town.yaml, {section}}}\n", CONFIG)
    with pytest.raises(InputError, match=r"sobol\.over.*: asked for a lowest and a higher value"):
        plan.load(file)
