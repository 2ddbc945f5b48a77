"""What is exported for hubs is what the runs hold."""

import dataclasses
import datetime

import pandas as pd
import pytest

import lpm
from lpm.studies import hub, records
from tests.studies.town import NAMES, SCALE, Files


@pytest.fixture(scope="module")
def table(done: Files) -> pd.DataFrame:
    return pd.read_parquet(done.out / hub.NAME)


def test_columns_are_those_of_scenario_hubs(table: pd.DataFrame) -> None:
    assert tuple(table.columns) == hub.COLUMNS
    assert set(table["output_type"]) == {"sample"}
    assert set(table["scenario_id"]) == set(NAMES)
    assert table["output_type_id"].isna().all()


def test_weeks_run_from_sunday_to_saturday(table: pd.DataFrame) -> None:
    assert set(table["origin_date"]) == {datetime.date(2020, 2, 2)}  # a Sunday
    ends = table.groupby("horizon")["target_end_date"].unique()
    assert [each[0] for each in ends] == [datetime.date(2020, 2, 8) + datetime.timedelta(7 * n) for n in range(4)]


def test_weekly_sums_are_those_of_the_runs(table: pd.DataFrame, done: Files) -> None:
    results = lpm.open(done.out).load().sel(scenario=NAMES[2]).isel(realization=1)
    week = results.sel(time=slice("2020-02-09", "2020-02-15"))
    rows = table[(table.scenario_id == NAMES[2]) & (table.run_grouping == 2) & (table.horizon == 2)]
    here = rows[(rows.location == "Queens") & (rows.age_group == "80-130")].set_index("target")["value"]
    one = week.sel(region="Queens", age="80+")
    assert here["inc hosp"] == pytest.approx(float(one["admissions"].sum()) / SCALE)
    assert here["prev hosp"] == pytest.approx(float(one["hospitalised"].isel(time=-1)) / SCALE)
    everybody = rows[(rows.location == "all") & (rows.age_group == "0-130")].set_index("target")["value"]
    assert everybody["inc inf"] == pytest.approx(float(week["infections"].sum()) / SCALE)
    parts = rows[(rows.location != "all") & (rows.age_group != "0-130") & (rows.target == "inc inf")]
    assert parts["value"].sum() == pytest.approx(everybody["inc inf"])


def test_a_week_that_is_not_whole_is_left_out_and_runs_without_dates_are_not_exported(done: Files) -> None:
    about = records.read(done.out)
    assert [day for day, _ in hub.full_weeks(about)] == [1, 8, 15, 22]
    assert [day for day, _ in hub.full_weeks(dataclasses.replace(about, steps=28))] == [1, 8, 15]
    assert hub.full_weeks(dataclasses.replace(about, start=None)) == []
    assert hub.full_weeks(dataclasses.replace(about, every=2)) == []
