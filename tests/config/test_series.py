"""Data read from a table is the table, in order of time, whatever the order of its rows."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from lpm.errors import InputError
from lpm.series import Series, read_series
from lpm.settings import Calendar

HERE = Path(__file__).parent
BEDS = (HERE / "beds.csv").read_text(encoding="utf-8").splitlines()


def read(tmp_path: Path, *lines: str, by: str | None = "region") -> Series:
    file = tmp_path / "beds.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    return read_series(file, variable="admissions", time="week", column="beds", by=by, days=7)


def test_values_stand_under_their_region_and_time(tmp_path: Path) -> None:
    series = read(tmp_path, *BEDS)
    assert series.regions == ("North", "South")
    assert series.times == tuple(datetime.date(2020, 2, day) for day in (1, 8, 15))
    np.testing.assert_array_equal(series.values, [[3, 0], [8, 1], [26, 2.5]])
    assert (series.source, series.label, series.by, series.values.dtype) == ("Town clerk", "beds", "region", np.float64)


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    turned, straight = read(tmp_path, BEDS[0], *BEDS[:0:-1]), read(tmp_path, *BEDS)
    assert turned.times == straight.times
    order = [turned.regions.index(region) for region in straight.regions]
    np.testing.assert_array_equal(turned.values[:, order], straight.values)


def test_every_row_is_read_once(tmp_path: Path) -> None:
    assert read(tmp_path, *BEDS).values.sum() == sum(float(line.split(",")[2]) for line in BEDS[1:])


def test_steps_count_from_the_runs_first_day(tmp_path: Path) -> None:
    series = read(tmp_path, *BEDS)
    np.testing.assert_array_equal(series.steps(Calendar(30, datetime.date(2020, 2, 3))), [-2, 5, 12])


def test_day_numbers_are_steps(tmp_path: Path) -> None:
    series = read(tmp_path, "week,beds", "0,1", "7,2", "", "14,4", by=None)
    assert (series.times, series.values.tolist(), series.regions) == ((0, 7, 14), [1.0, 2.0, 4.0], ())
    assert series.steps(Calendar(20)).tolist() == [0, 7, 14]


def test_values_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        read(tmp_path, *BEDS).values[0] = 1


def test_a_mistake_is_found_at_its_row_and_column(tmp_path: Path) -> None:
    lines = [*BEDS[:3], BEDS[3].replace(",8,", ",-8,"), *BEDS[4:6], BEDS[6].replace("2020-02-15", "15 Feb")]
    with pytest.raises(InputError) as raised:
        read(tmp_path, *lines)
    first, second = raised.value.problems
    assert f"{tmp_path}/beds.csv:4:3 beds: asked for a count of at least 0, got '-8'" in first
    assert f"{tmp_path}/beds.csv:7:1 week: asked for a date or a day number, got '15 Feb'" in second


def test_a_gap_is_found_where_it_ends(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"beds.csv:6:1 week: asked for a row every 7 days, got none for the 14 days before 2020-03-07"
    ):
        read(
            tmp_path,
            "week,beds",
            *(f"{day},1" for day in ("2020-02-01", "2020-02-08", "2020-02-15", "2020-02-22", "2020-03-07")),
            by=None,
        )


def test_many_mistakes_are_cut_short(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        read(tmp_path, "week,beds", *(f"{day},-1" for day in range(50)), by=None)
    assert len(raised.value.problems) == 11
    assert "got 40 more mistakes" in raised.value.problems[-1]
