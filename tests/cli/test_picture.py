"""The picture of a run: what is drawn where, and that words can be read."""

import dataclasses
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
from lpm.errors import InputError
from lpm.plot import overlaid, overview
from lpm.report import attack_rate, comparisons, nothing_seen, observed_beside, shared, side_by_side, summary
from lpm.series import Series
from lpm.show import print_summary
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


@pytest.mark.parametrize(("factor", "alike"), [(1, True), (4, True), (5, False)])
def test_regions_share_a_scale_or_it_is_said(factor: int, alike: bool, tmp_path: Path, drawn) -> None:
    counts = np.full((4, 5), 14.0)
    counts[:, 2] *= factor
    by_region = dataclasses.replace(BY_REGION, values=counts)
    panels = {axes.get_title(loc="left"): axes for axes in drawn(results(tmp_path, (by_region,))).axes}
    tops = [panels[region].get_ylim()[1] for region in REGIONS]
    assert (len({round(top, 6) for top in tops}) == 1) == alike
    assert min(tops) > 14
    assert max(tops) > 14 * factor
    assert ("each panel to its own scale" in panels["Bronx"].get_ylabel()) != alike


def faster(found: xr.Dataset) -> xr.Dataset:
    """The same run with three times the cases, and without admissions."""
    return found.assign(cases=(found["cases"] * 3).assign_attrs(found["cases"].attrs)).drop_vars("admissions")


@pytest.fixture
def laid_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The figure that `overlaid` draws."""

    def draw(runs):
        figures = []
        monkeypatch.setattr(plt, "close", figures.append)
        overlaid(runs, tmp_path / "comparison.png")
        monkeypatch.undo()
        plt.close("all")
        return figures[0]

    return draw


def test_runs_lie_over_each_other(tmp_path: Path, laid_over) -> None:
    found = results(tmp_path, ())
    figure = laid_over({"slow": found, "fast": faster(found)})
    panels = {axes.get_title(loc="left").replace("\n", " "): axes for axes in figure.axes}
    assert list(panels) == ["new cases with symptoms of any kind, a day", "people in intensive care"]
    slow, fast = panels["new cases with symptoms of any kind, a day"].lines
    np.testing.assert_array_equal(slow.get_ydata(), np.full(STEPS, 10))
    np.testing.assert_array_equal(fast.get_ydata(), np.full(STEPS, 30))
    assert slow.get_color() != fast.get_color()
    assert slow.get_linestyle() != fast.get_linestyle()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["slow", "fast"]


def test_runs_with_realizations_have_bands(tmp_path: Path, laid_over) -> None:
    found = results(tmp_path, (), 20)
    figure = laid_over({"many": found, "one": faster(found).isel(realization=[0])})
    assert all(len(axes.collections) == 1 for axes in figure.axes)
    assert "bands hold 90 %" in figure.texts[-1].get_text()


def test_twenty_eight_runs_look_different_and_their_names_do_not_overlap(tmp_path: Path, laid_over) -> None:
    found = results(tmp_path, ())
    figure = laid_over({f"a run with a name of some length, {number}": found for number in range(28)})
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 28
    figure.draw_without_rendering()  # the picture was made with more dots to the inch
    boxes = [text.get_window_extent() for text in (*figure.legends[0].get_texts(), *figure.texts)]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    width = figure.get_window_extent().width
    assert max(box.x1 for box in boxes) <= width


def test_a_run_without_dates_is_laid_over_one_with_from_its_first_day(tmp_path: Path, laid_over) -> None:
    found = results(tmp_path, ())
    days = found.assign_coords(time=np.arange(STEPS))
    days["time_bounds"] = (("time", "bound"), np.arange(STEPS)[:, None] + np.arange(2))
    lines = laid_over({"dates": found, "days": days}).axes[0].lines
    for line in lines:
        np.testing.assert_array_equal(line.get_xdata(), np.arange(STEPS))


def test_a_table_of_several_runs_is_that_of_each(tmp_path: Path) -> None:
    found = results(tmp_path, ())
    rows = side_by_side({"slow": found, "fast": faster(found)})
    assert rows == [
        ("new cases with symptoms of any kind", "total", ["280", "840"]),
        ("", "peak", ["10", "30"]),
        ("", "when", ["2020-02-01", "2020-02-01"]),
        ("people in intensive care", "peak", ["28", "28"]),
        ("", "when", ["2020-02-28", "2020-02-28"]),
    ]


def test_records_of_different_lengths_are_not_compared(tmp_path: Path) -> None:
    found = results(tmp_path, ())
    weekly = found.isel(time=slice(0, None, 7))
    weekly["time_bounds"] = weekly["time_bounds"] + xr.DataArray([0, 6], dims="bound") * np.timedelta64(1, "D")
    with pytest.raises(InputError, match=r"same number of days, got daily with 1, weekly with 7; run them with the"):
        shared({"daily": found, "weekly": weekly})


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


def test_what_never_happened_is_told_and_drawn_as_a_flat_line(tmp_path: Path, drawn) -> None:
    found = results(tmp_path, (), 20)
    for name in ("admissions", "critical"):
        found[name] = (found[name] * 0).assign_attrs(found[name].attrs)
    some = xr.DataArray(np.arange(20) == 3, dims="realization")
    found["critical"] = (found["cases"] * some).assign_attrs(found["critical"].attrs)  # in one realization of twenty
    whens = {row.name: row.when for row in summary(found)}
    assert list(whens.values()) == ["never", "2020-02-01", ""]
    assert nothing_seen(found) == ["0 throughout, in all realizations: new hospital admissions"]
    panels = {axes.get_title(loc="left"): axes for axes in drawn(found).axes}
    empty = panels.pop("new hospital admissions, a day")
    (line,) = empty.lines
    assert not line.get_ydata().any()
    assert (empty.get_ylim(), list(empty.get_yticks()), line.get_clip_on()) == ((0, 1), [0, 1], False)
    assert [text.get_text() for text in empty.texts] == ["0 throughout"]
    assert not any(axes.texts for axes in panels.values())
    found["cases"] = (found["cases"] * 0).assign_attrs(found["cases"].attrs)
    said = io.StringIO()
    print_summary(found, Console(file=said, width=80))
    assert "Nothing happened in this run. If that was not meant, look at what it begins with" in said.getvalue()
    assert nothing_seen(results(tmp_path / "again", ())) == []


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
