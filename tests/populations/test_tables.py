import csv
import shutil
from datetime import date, timedelta
from importlib import resources

import numpy as np
import pytest

from lpm.errors import InputError
from lpm.populations import read_tables
from lpm.populations.city import NEW_YORK_CITY
from lpm.populations.tables import FILES


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        shutil.copy(NEW_YORK_CITY / name, tmp_path / name)
    return tmp_path


def problems(folder):
    with pytest.raises(InputError) as caught:
        read_tables(folder)
    return caught.value.problems


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_shares_sum_to_one():
    tables = read_tables(NEW_YORK_CITY)
    for table in (tables.ages, tables.sizes, tables.commuting):
        np.testing.assert_allclose(table.sum(axis=1), 1.0)


def test_bands_keep_their_totals():
    tables = read_tables(NEW_YORK_CITY)
    rows = [row for row in read(NEW_YORK_CITY / "household_heads.csv") if row["size"] == "4"]
    for row in rows:
        band = slice(int(row["age_from"]), int(row["age_to"]) + 1)
        assert tables.heads[4, band].sum() == pytest.approx(float(row["thousand_households"]))
    assert tables.ages[0, 84:].sum() == pytest.approx(502_745 / 19_571_216)
    np.testing.assert_array_equal(tables.heads[9], tables.heads[7])


def test_every_figure_names_its_source():
    series = ("nyc_admissions_weekly.csv", "nyc_mobility_weekly.csv")
    files = [*NEW_YORK_CITY.glob("*.csv"), *(resources.files("lpm") / "data" / name for name in series)]
    assert len(files) == len(FILES) + 3
    for path in files:
        assert all(row["source"].strip() for row in read(path)), path


def test_a_region_may_have_rows_of_its_own(folder):
    with (folder / "household_sizes.csv").open("a", encoding="utf-8") as file:
        file.write("Manhattan,1,0.5,assumption: half live alone\nManhattan,2,0.5,assumption: half live alone\n")
    tables = read_tables(folder)
    np.testing.assert_array_equal(tables.sizes[2, :4], [0, 0.5, 0.5, 0])
    assert tables.sizes[1, 1] == pytest.approx(0.280234)
    assert "household_sizes.csv: half live alone" in tables.notes


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("regions.csv", "region,population,source\nBronx,-5,x\n", "regions.csv:2 population: asked for a number"),
        ("ages.csv", "region,age_from,age_to,population,source\n*,5,1,1,x\n", "ages.csv:2 age_to: asked for at least"),
        ("ages.csv", "region,age_from,age_to,population,source\n*,0,120,1,x\n", "whole number from 0 to 99, got '120'"),
        (
            "ages.csv",
            "region,age_from,age_to,population,source\nHarlem,0,9,1,x\n",
            "ages.csv:2 region: asked for one of",
        ),
        ("ages.csv", "region,age_from,age_to,population,source\n*,0,9,1,x\n", "asked for adults in Bronx"),
        ("ages.csv", "region,age_from,age_to,population,source\n*,0,9,1,\n", "ages.csv:2 source"),
        ("ages.csv", "region,age_from,population,source\n*,0,1,x\n", "ages.csv:1 age_to: asked for columns"),
        ("ages.csv", "region,age_from,age_to,population,source\n", "asked for at least one row"),
        ("employment.csv", "age_from,age_to,rate,source\n18,64,60,x\n", "a fraction from 0 to 1, got '60'"),
        ("household_sizes.csv", "region,size,share,source\n*,32,1,x\n", "whole number from 1 to 31, got '32'"),
        ("commuting.csv", "region_home,region_work,share,source\nBronx,Bronx,1,x\n", "rows for Brooklyn, got none"),
    ],
)
def test_a_wrong_table_is_refused_where_it_is_wrong(folder, name, text, message):
    (folder / name).write_text(text, encoding="utf-8")
    assert any(message in problem for problem in problems(folder)), problems(folder)


def test_a_missing_table_is_refused(folder):
    (folder / "ages.csv").unlink()
    assert any("ages.csv: asked for a CSV table" in problem for problem in problems(folder))


def test_problems_of_several_tables_are_found_at_once(folder):
    (folder / "ages.csv").unlink()
    (folder / "employment.csv").write_text("age_from,age_to,rate,source\n18,64,2,x\n", encoding="utf-8")
    assert len(problems(folder)) == 2


def test_admissions_are_complete_weeks_for_every_borough():
    rows = read(resources.files("lpm") / "data" / "nyc_admissions_weekly.csv")
    weeks = sorted({row["week_start"] for row in rows})
    assert weeks == [str(date(2020, 2, 29) + timedelta(days=7 * week)) for week in range(18)]
    names = read_tables(NEW_YORK_CITY).regions
    assert sorted((row["week_start"], row["region"]) for row in rows) == [(w, r) for w in weeks for r in names]
    assert sum(int(row["admissions"]) for row in rows) == 51_998
    assert sum(int(row["deaths"]) for row in rows) == 23_383


def test_community_contacts_are_symmetric_with_mean_one():
    rows = read(NEW_YORK_CITY / "community_contacts.csv")
    rate = np.array([float(row["rate"]) for row in rows]).reshape(9, 9)
    ages = read_tables(NEW_YORK_CITY).ages[0]
    share = np.bincount(np.minimum(np.arange(100) // 10, 8), ages)
    np.testing.assert_array_equal(rate, rate.T)
    assert share @ rate @ share == pytest.approx(1.0, abs=1e-4)
