"""The forecasts of Massachusetts' counties: their windows know nothing of the future, and a cheap one is made."""

import importlib
from pathlib import Path
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm.calibration.forecasts import last_season, last_value, mean_value, scores
from lpm.settings import Calendar

FOLDER = Path(__file__).parents[2] / "benchmarks" / "massachusetts"


@pytest.fixture(scope="module")
def scripts() -> dict[str, ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        patch.syspath_prepend(str(FOLDER.parent))
        return {name: importlib.import_module(name) for name in ("county_world", "county_cases", "forecast_counties")}


def test_scores_leave_gaps_out() -> None:
    forecast, observed = np.array([[1.0, 5.0], [2.0, 9.0]]), np.array([[2.0, np.nan], [4.0, 9.0]])
    assert scores(forecast, observed) == {"ND": 3 / 15, "RMSE": pytest.approx((5 / 3) ** 0.5), "MAE": 1.0}
    with pytest.raises(ValueError, match="not finite"):
        scores(np.full((2, 2), np.nan), observed)
    with pytest.raises(ValueError, match="one shape"):
        scores(forecast[0], observed)
    with pytest.raises(ValueError, match="nothing was observed"):
        scores(forecast, forecast * np.nan)


def test_plain_forecasts_use_what_was_known() -> None:
    """Whatever comes after `now`, they stay as they are."""
    series = np.arange(60.0).reshape(30, 2)
    changed = np.where(np.arange(30)[:, None] > 19, np.nan, series)
    for plain in (last_value, mean_value, lambda s, now, ahead: last_season(s, now, ahead, season=10)):
        assert np.array_equal(plain(series, 19, 4), plain(changed, 19, 4))
        assert plain(series, 19, 4).shape == (4, 2)
    with pytest.raises(ValueError, match="season"):
        last_season(series, 19, 4)


def test_people_are_conserved_and_regions_keep_apart(scripts: dict[str, ModuleType]) -> None:
    """Without infectious agents of its own, and no importation, nobody of a region is infected."""
    world = scripts["county_world"].build(scripts["county_world"].Settings((6e5, 4e5), ("A", "B"), 5000), Calendar(40))
    params = world.params
    params = type(params)(
        params.reproduction * 3, jnp.array([0.02, 0.0]), params.immune + jnp.float32(0.1), params.share,
        {"deaths": jnp.array([0.0, 2e-3])}, params.imported,
    )  # fmt: skip
    end, seen = lpm.simulate(world.model, params, world.state, lpm.key(1), steps=40, observe=world.observables)
    infections, deaths = (np.asarray(seen[name]) for name in ("infections", "deaths"))
    assert np.asarray(end.agents["stage"].value).max() <= 3
    assert infections[:, 0].sum() > 500
    assert infections[:, 1].sum() == 0
    assert deaths[:, 0] == pytest.approx(infections[:, 0] * 0.01, rel=1e-5)
    assert deaths[:, 1] == pytest.approx(np.full(40, 4.0))


@pytest.mark.parametrize("name", ["deaths", "illness"])
@pytest.mark.usefixtures("data_dir")
def test_a_window_knows_nothing_of_what_comes_after(scripts: dict[str, ModuleType], name: str) -> None:
    """Inputs, guesses and data stay the same, bit for bit, when the weeks after the forecast are changed."""
    import dataclasses

    cases = scripts["county_cases"]
    case = getattr(cases, name)()
    now = case.at(202040 if name == "deaths" else 201850)
    later = np.arange(len(case.weeks)) > now
    changed = dataclasses.replace(
        case,
        target=np.where(later[:, None], 7.0, case.target),
        seen=np.where(later[:, None, None], 1.0, case.seen),
    )
    world = cases.world_of(case, 4000)
    (one, inputs), (two, others) = (cases.window(each, world, now, now) for each in (case, changed))
    assert np.array_equal(inputs, others, equal_nan=True)
    assert np.array_equal(one.streams[0].values, two.streams[0].values, equal_nan=True)
    assert np.isnan(one.streams[0].values[-cases.AHEAD :]).all()
    assert not np.isnan(one.streams[0].values[cases.UNUSED : -cases.AHEAD]).any()
    for mine, theirs in zip(*(map(np.asarray, _leaves(each.world.params)) for each in (one, two)), strict=True):
        assert np.array_equal(mine, theirs)


def growing(scripts: dict[str, ModuleType], weekly: np.ndarray, **settings: object) -> object:
    """A case of one region whose reports grow by exp(weekly) from week to week, too few to use up the susceptible."""
    counts = 1e4 * np.exp(np.concatenate([[0], weekly.cumsum()]))[:, None]
    years, week = np.divmod(np.arange(len(counts)), 52)
    nothing = np.zeros((len(counts), 1, 0))
    return scripts["county_cases"].Case(
        "ili", ("A",), (1e12,), 100 * (2000 + years) + week + 1, counts, nothing, nothing, "gaussian", (1.0,),
        latent_days=2.0, infectious_days=3.0, dispersion=1.0, share=1.0, **settings,
    )  # fmt: skip


@pytest.mark.parametrize("weekly", [0.3, -0.2])
def test_a_first_guess_grows_as_the_reports_do(scripts: dict[str, ModuleType], weekly: float) -> None:
    """Expected numbers of the model, day by day, with the guessed reproduction number; within 0.1 % a week."""
    cases = scripts["county_cases"]
    case = growing(scripts, np.full(30, weekly))
    number = float(cases.guessed(case, cases.world_of(case, 1000), 25).params.reproduction[40, 0])
    exposed, infectious, infections = 1.0, 1.0, []
    for _ in range(300):
        infectious, exposed = infectious * (1 - 1 / 3) + exposed / 2, exposed / 2
        infections.append(number / 3 * infectious)
        exposed += infections[-1]
    assert np.log(infections[-1] / infections[-8]) == pytest.approx(weekly, abs=1e-3)


def test_usual_growth_is_that_of_earlier_years(scripts: dict[str, ModuleType]) -> None:
    """Two years alike, so that two thirds of their growth are taken; the third, under way, does not count."""
    year = 0.1 * np.sin(2 * np.pi * np.arange(52) / 52)
    weekly = np.concatenate([year, year, np.full(20, 0.5)])
    now, ahead = 104 + 10, 104 + 10 + 1 + np.arange(4)
    found = scripts["county_cases"].usual_growth(growing(scripts, weekly, seasonal=True), now, ahead)
    mean = np.array([year[(w - 1) % 52 - 1 : (w - 1) % 52 + 2].mean() for w in ahead])
    np.testing.assert_allclose(found, 2 / 3 * mean, rtol=1e-3)
    assert not scripts["county_cases"].usual_growth(growing(scripts, weekly), now, ahead).any()


def _leaves(params: object) -> list:
    import jax

    return jax.tree.leaves(params)


@pytest.mark.usefixtures("data_dir")
def test_counties_have_the_deaths_that_were_reported(scripts: dict[str, ModuleType]) -> None:
    """Sums of the daily table from 2 February to 26 December 2020, gaps taken for none."""
    cases = scripts["county_cases"]
    case = cases.deaths()
    rows = [row for row in cases.rows("county_data.csv") if row["geo_value"] == "25017"]
    total = sum(float(row["deaths"] or 0) for row in rows if "2020-02-02" <= row["time_value"] <= "2020-12-26")
    assert case.target[: case.at(202053), case.labels.index("Middlesex")].sum() == total > 1000


@pytest.mark.slow
@pytest.mark.usefixtures("data_dir")
def test_a_cheap_forecast_is_of_the_right_size(scripts: dict[str, ModuleType]) -> None:
    """Few agents and hardly any training: four finite weeks of each county, off by less than their own size."""
    script = scripts["forecast_counties"]
    case = scripts["county_cases"].deaths()
    run = script.forecast(case, 20_000, 0, (202040,), effort=0.1)
    found = np.array(run["corrected"]["202040"])
    assert found.shape == (4, 10)
    assert scores(found[None], script.observed(case, (202040,)))["ND"] < 0.92
