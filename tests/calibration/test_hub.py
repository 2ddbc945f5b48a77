"""Forecasts in hubverse columns: a row for each quantile of each cell after the last data, and of nothing else."""

import csv
import dataclasses
import datetime
from pathlib import Path

import numpy as np

from lpm import Calendar, Observable, calibration
from lpm.calibration import hub
from tests.calibration import growth


def forecast() -> tuple[calibration.Fit, calibration.Predictive]:
    """Data of 12 days out of 20, of which one in the middle is a gap."""
    problem = growth.problem()
    values = problem.streams[0].values.copy()
    values[5] = np.nan
    values[12:] = np.nan
    stream = dataclasses.replace(problem.streams[0], values=values)
    problem = dataclasses.replace(
        problem, streams=(stream,), calendar=Calendar(growth.STEPS, datetime.date(2024, 2, 20))
    )
    fit = calibration.fit(problem, realizations=2, starts=1)
    return fit, calibration.predict(fit, 200)


def test_the_rows_are_those_after_the_data(tmp_path: Path) -> None:
    fit, predictive = forecast()
    path = hub.write(fit, predictive, tmp_path / "forecast.csv")
    assert path
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert tuple(rows[0]) == hub.COLUMNS
    assert len(rows) == 8 * len(hub.LEVELS)
    assert {row["reference_date"] for row in rows} == {"2024-03-02"}
    assert {(row["horizon"], row["target_end_date"]) for row in rows} >= {("1", "2024-03-03"), ("8", "2024-03-10")}
    assert {(row["target"], row["location"], row["output_type"]) for row in rows} == {
        ("day inc events", "all", "quantile")
    }
    first = [float(row["value"]) for row in rows if row["horizon"] == "1"]
    assert first == sorted(first)
    assert first[11] == round(float(np.median(predictive.counts[:, 12])), 3)


def test_nothing_is_written_where_nothing_is_forecast(tmp_path: Path) -> None:
    problem = dataclasses.replace(growth.problem(), calendar=Calendar(growth.STEPS, datetime.date(2024, 2, 20)))
    fit = calibration.fit(problem, realizations=2, starts=1)
    assert hub.write(fit, calibration.predict(fit, 20), tmp_path / "forecast.csv") is None
    assert not list(tmp_path.iterdir())


def test_a_label_may_hold_a_comma() -> None:
    """Cells are told apart by dim, in whichever order the data have them."""
    fit, predictive = forecast()
    stream = fit.problem.streams[0]
    by_both = Observable("events", stream.observable.function, ("age", "region"), over="sum")
    regions = ("Washington, D.C.", "Virginia")
    own = dataclasses.replace(
        stream,
        observable=by_both,
        values=np.repeat(stream.values, 2, axis=1),
        by=("region", "age"),
        regions=(0 * 2 + 1, 1 * 2 + 0),
        labels=("Washington, D.C., 65+, alone", "Virginia, 0-64"),
    )
    coords = {"region": regions, "age": ("0-64", "65+, alone")}
    world = dataclasses.replace(fit.problem.world, observables=(by_both,), coords=coords)
    fit = dataclasses.replace(fit, problem=dataclasses.replace(fit.problem, world=world, streams=(own,)))
    wide = dataclasses.replace(predictive, counts=np.repeat(predictive.counts, 2, axis=1))
    found = list(hub.rows(fit, wide))
    assert {(row[hub.COLUMNS.index("location")], row[-1]) for row in found} == {
        ("Washington, D.C.", "65+, alone"),
        ("Virginia", "0-64"),
    }
