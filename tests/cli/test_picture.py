"""The picture of a run: what is drawn where, and that words can be read."""

import datetime
import io
import itertools
from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from rich.console import Console

import lpm
from lpm import Calendar, Observable
from lpm.commands import print_summary
from lpm.plot import overview
from lpm.report import attack_rate, comparisons, observed_beside, summary
from lpm.series import Series
from lpm.store import create

START = datetime.date(2020, 2, 1)
STEPS, REGIONS = 28, ("Bronx", "Brooklyn", "Manhattan", "Queens", "Staten Island")
LONG = (
    Observable("admissions", lambda state, info: jnp.int32(0), ("region",), "1", "new hospital admissions", "sum"),
    Observable("cases", lambda state, info: jnp.int32(0), (), "1", "new cases with symptoms of any kind", "sum"),
    Observable("critical", lambda state, info: jnp.int32(0), (), "1", "people in intensive care"),
)
DAYS = tuple(START + datetime.timedelta(day) for day in range(STEPS))
WEEKS = DAYS[::7]
BY_REGION = Series("admissions", WEEKS, np.full((4, 5), 14.0), REGIONS, "region", 7, "admissions a week", "a register")
CASES = Series("cases", WEEKS, np.full(4, 70.0), days=7, label="cases a week")
CRITICAL = Series("critical", DAYS, np.arange(STEPS, dtype=float), label="beds taken")


def results(tmp_path: Path, observed: tuple[Series, ...], realizations: int = 1, scale: float = 1.0):
    """A store with one admission a region and day, ten cases a day, and a bed taken for each day gone."""
    shapes = {each.name: ((5,) if each.dims else (), np.dtype(np.int32)) for each in LONG}
    about = {"title": "A city", "agents": 1000, "seed": "1", "scale": scale}
    coords = {"region": REGIONS}
    store = create(
        tmp_path / "results.zarr", LONG, shapes, coords, Calendar(STEPS, START), realizations=realizations,
        observed=observed, attributes=about,
    )  # fmt: skip
    ones = np.ones((realizations, STEPS), np.int32)
    seen = {"admissions": ones[:, :, None] * np.ones(5, np.int32), "cases": 10 * ones, "critical": np.cumsum(ones, 1)}
    store.write(slice(0, realizations), 0, {name: values.astype(np.int32) for name, values in seen.items()})
    return lpm.open(tmp_path).load()


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The figure that `overview` draws."""

    def draw(found):
        figures = []
        monkeypatch.setattr(plt, "close", figures.append)
        overview(found, tmp_path / "overview.png")
        monkeypatch.undo()
        plt.close("all")
        return figures[0]

    return draw


def dots(axes) -> list[np.ndarray]:
    return [line.get_ydata() for line in axes.lines if line.get_marker() == "o"]


@pytest.mark.parametrize(
    ("observed", "realizations"), [((), 1), ((CRITICAL,), 20), ((BY_REGION,), 1), ((BY_REGION, CASES, CRITICAL), 20)]
)
def test_words_do_not_overlap(observed: tuple[Series, ...], realizations: int, tmp_path: Path, drawn) -> None:
    figure = drawn(results(tmp_path, observed, realizations, 0.5))
    words = [*figure.texts, *(axes.title for axes in figure.axes), *figure.legends]
    words += [axes._left_title for axes in figure.axes]
    boxes = [word.get_window_extent() for word in words if getattr(word, "get_text", lambda: "a legend")()]
    assert len(boxes) > len(figure.axes)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert len(figure.legends) == bool(observed or realizations > 1)


def test_data_without_regions_is_drawn_in_its_observables_panel(tmp_path: Path, drawn) -> None:
    panels = {axes.get_title(loc="left"): axes for axes in drawn(results(tmp_path, (CASES, CRITICAL))).axes}
    assert len(panels) == 3
    np.testing.assert_array_equal(dots(panels["people in intensive care"])[0], CRITICAL.values)
    weekly = next(axes for title, axes in panels.items() if title.startswith("new cases"))
    assert weekly.get_title(loc="left").endswith("a week")
    np.testing.assert_array_equal(dots(weekly)[0], CASES.values)
    curve = next(line for line in weekly.lines if line.get_marker() != "o")
    np.testing.assert_array_equal(curve.get_ydata(), CASES.values)  # ten cases a day, summed over the same days
    assert not dots(panels["new hospital admissions, a day"])


def test_data_by_region_has_a_panel_for_each(tmp_path: Path, drawn) -> None:
    figure = drawn(results(tmp_path, (BY_REGION,), scale=0.5))
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert [title for title in panels if title in REGIONS] == list(REGIONS)
    for region in REGIONS:
        np.testing.assert_array_equal(dots(panels[region])[0], np.full(4, 7.0))
    assert "Observed data scaled to 1,000 agents" in figure.texts[-1].get_text()


def test_a_comparison_is_over_the_same_days(tmp_path: Path) -> None:
    (comparison,) = comparisons(results(tmp_path, (BY_REGION,), scale=0.5))
    np.testing.assert_array_equal(comparison.model, np.full((1, 4, 5), 7.0))
    np.testing.assert_array_equal(comparison.observed, comparison.model[0])


def test_the_table_says_total_peak_and_what_was_observed(tmp_path: Path) -> None:
    found = results(tmp_path, (BY_REGION, CRITICAL))
    rows = {row.name: row for row in summary(found)}
    assert rows["new cases with symptoms of any kind"].total == "280"
    assert (rows["people in intensive care"].peak, rows["people in intensive care"].when) == ("28", "2020-02-28")
    assert rows["people in intensive care"].total == ""
    assert observed_beside(found) == [
        "admissions a week: 280 observed, 140 simulated, 2020-02-01 to 2020-02-28",
        "beds taken: peak 27 observed on 2020-02-28, 28 simulated",
    ]
    assert attack_rate(found) is None


def test_the_table_fits_80_columns_whatever_the_numbers(tmp_path: Path) -> None:
    found = results(tmp_path, (BY_REGION,), 20)
    factors = xr.DataArray(np.linspace(1, 3e4, 20), dims="realization")
    for name in ("admissions", "cases", "critical"):
        found[name] = (found[name] * factors).assign_attrs(found[name].attrs)
    said = io.StringIO()
    print_summary(found, Console(file=said, width=80))
    table = said.getvalue().strip("\n").split("\n\n")[0].splitlines()
    assert len(table) == 6  # headings, three observables (a long name takes two lines), and what the ranges are
    assert all(len(line.rstrip()) <= 80 for line in table)
    assert "4,200k (420k–7,980k)" in said.getvalue()


def test_the_attack_rate_is_the_share_of_all_agents(tmp_path: Path) -> None:
    found = results(tmp_path, ()).rename(cases="incidence")
    assert attack_rate(found) == ("attack rate", "28.0 %")
    again = found.assign(incidence=(found["incidence"] * 4).assign_attrs(found["incidence"].attrs))
    assert attack_rate(again) == ("infections per 100 agents", "112.0 %")
