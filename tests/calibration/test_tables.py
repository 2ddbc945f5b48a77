"""One's own tables: gaps stay gaps, months have their lengths, cells go where labels say; mistakes have places."""

import datetime
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from lpm import Calendar, InputError
from lpm.calibration import observation, tables
from lpm.observe import Observable
from lpm.world import World
from tests.calibration import growth
from tests.calibration.test_command import SCHOOL
from tests.calibration.test_command import run as command

CALENDAR = Calendar(60, datetime.date(2024, 1, 1))
FLOW = Observable("events", lambda state, info: info["events"], ("age", "region"), over="sum")
PLAIN = growth.world()
WORLD = World(PLAIN.model, PLAIN.params, PLAIN.state, (FLOW,), {"region": ("a", "b", "c"), "age": ("old", "young")})
LONG = "date,region,age,n,sex\n2024-01-01,b,old,3,all\n2024-01-01,a,young,,all\n2024-01-03,b,old,5,all\n"


def written(folder: Path, text: str, name: str = "own.csv") -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


def read(path: Path, **asked: object) -> tables.Counts:
    return tables.read_counts(path, **({"time": "date", "column": "n", "by": ["region", "age"]} | asked))  # type: ignore[arg-type]


def test_empty_cells_and_missing_rows_are_gaps(tmp_path: Path) -> None:
    found = read(written(tmp_path, LONG))
    assert found.cells == (("b", "old"), ("a", "young"))
    np.testing.assert_array_equal(found.values, [[3, np.nan], [5, np.nan]])
    assert found.times == (datetime.date(2024, 1, 1), datetime.date(2024, 1, 3))


def test_rows_are_chosen_by_where(tmp_path: Path) -> None:
    path = written(tmp_path, LONG + "2024-01-01,b,old,2,f\n")
    np.testing.assert_array_equal(read(path, where={"sex": "f"}).values, [[2]])
    with pytest.raises(InputError, match="a second row for 2024-01-01, b, old"):
        read(path)
    with pytest.raises(InputError, match="rows with sex 'm', got none"):
        read(path, where={"sex": "m"})


def test_parquet_gives_the_same_as_csv(tmp_path: Path) -> None:
    import pandas as pd

    path = written(tmp_path, LONG)
    frame = pd.read_csv(path, parse_dates=["date"])
    frame.to_parquet(tmp_path / "own.parquet")
    csv, parquet = read(path), read(tmp_path / "own.parquet")
    np.testing.assert_array_equal(csv.values, parquet.values)
    assert (csv.times, csv.cells) == (parquet.times, parquet.cells)


def test_an_array_of_xarray_gives_the_same_as_a_table(tmp_path: Path) -> None:
    times = np.array(["2024-01-01", "2024-01-03"], "datetime64[ns]")
    values = np.array([[[3.0, np.nan]], [[5.0, 1.0]]])
    array = xr.DataArray(values, {"time": times, "region": ["b"], "age": ["old", "young"]}, ("time", "region", "age"))
    found = tables.of_array(array)
    assert found.cells == (("b", "old"), ("b", "young"))
    np.testing.assert_array_equal(found.values, [[3, np.nan], [5, 1]])
    with pytest.raises(ValueError, match="at least 0"):
        tables.of_array(-array)


def test_an_array_is_put_in_the_order_of_its_times() -> None:
    times = np.array(["2024-01-09", "2024-01-01", "2024-01-03"], "datetime64[ns]")
    array = xr.DataArray([[9.0], [1.0], [3.0]], {"time": times, "region": ["b"]}, ("time", "region"), name="n")
    found = tables.of_array(array)
    assert found.times == tuple(datetime.date(2024, 1, day) for day in (1, 3, 9))
    np.testing.assert_array_equal(found.values, [[1], [3], [9]])
    stream = observation.table_stream(WORLD, CALENDAR, "events", found)
    np.testing.assert_array_equal(stream.first[:3], [0, 2, 8])
    np.testing.assert_array_equal(stream.values[:3, 0], [1, 3, 9])
    with pytest.raises(ValueError, match="got 2024-01-03 only 2 days after 2024-01-01; write another `every`"):
        tables.of_array(array, every=3)
    with pytest.raises(ValueError, match="only 0 days after"):
        tables.of_array(xr.concat([array, array], "time"))


def test_months_of_an_array_begin_on_their_first_days() -> None:
    times = np.array(["2024-02-29", "2024-01-31"], "datetime64[ns]")
    found = tables.of_array(xr.DataArray([2.0, 1.0], {"time": times}, ("time",)), every="month")
    assert found.times == (datetime.date(2024, 1, 1), datetime.date(2024, 2, 1))
    np.testing.assert_array_equal(found.days, [31, 29])
    with pytest.raises(ValueError, match="asked for dates of months, got day numbers"):
        tables.of_array(xr.DataArray([2.0], {"time": [3]}, ("time",)), every="month")
    with pytest.raises(ValueError, match="got a time that is missing"):
        tables.of_array(xr.DataArray([2.0], {"time": np.array(["NaT"], "datetime64[ns]")}, ("time",)))


def test_mistaken_labels_of_an_array_name_no_file() -> None:
    found = tables.of_array(xr.DataArray([[1.0]], {"time": [0], "region": ["aa"]}, ("time", "region"), name="n"))
    assert (found.path, found.lines) == ("", ())
    with pytest.raises(InputError, match=r"^n: region: asked for labels of region .*got 'aa'; write `a`"):
        observation.table_stream(WORLD, CALENDAR, "events", found)


@pytest.mark.parametrize(
    ("text", "every", "said"),
    [
        (
            "ill,region\n,a\nNA,b\n",
            1,
            "own.csv:1:1 ill: asked for a row with a date or a day number, got gaps alone in 2 rows; write one",
        ),
        ("ill,region\n2024-01-02,a\n7,a\n", 1, "own.csv:3:1 ill: got 7 after 2024-01-02; write all as dates, or"),
        ("ill,region\n7,a\n", "month", "own.csv:2:1 ill: asked for a date, got '7'; write for example 2020-02-01"),
    ],
)
def test_a_mistaken_line_list_is_told(text: str, every: tables.Every, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        tables.read_counts(written(tmp_path, text), time="ill", column=None, by=["region"], every=every)


def test_months_are_summed_over_their_own_days(tmp_path: Path) -> None:
    """January and February 2024 have 31 and 29 days."""
    path = written(tmp_path, "date,n\n2024-01,3\n")
    stream = observation.table_stream(WORLD, CALENDAR, "events", read(path, by=(), every="month"))
    np.testing.assert_array_equal(stream.first, [0, 31])
    longer = Calendar(91, CALENDAR.start)
    stream = observation.table_stream(WORLD, longer, "events", read(path, by=(), every="month"))
    np.testing.assert_array_equal(stream.first, [0, 31, 60])
    np.testing.assert_array_equal(stream.lengths, [31, 29, 31])
    _, gather = observation.operators(stream, 91)
    np.testing.assert_array_equal(gather.sum(1), [31, 29, 31])


def test_a_line_list_is_counted_from_its_first_event_on(tmp_path: Path) -> None:
    """Days without an event are 0, not gaps; rows without a day are no events."""
    path = written(tmp_path, "ill,region\n2024-01-02,a\n2024-01-03,a\n,a\n2024-01-09,b\n2024-01-02,a\n")
    found = tables.read_counts(path, time="ill", column=None, by=["region"], every=3)
    assert found.times == tuple(datetime.date(2024, 1, day) for day in (2, 5, 8))
    np.testing.assert_array_equal(found.values, [[3, 0], [0, 0], [0, 1]])
    monthly = tables.read_counts(path, time="ill", column=None, every="month")
    assert (monthly.times, monthly.values.item()) == ((datetime.date(2024, 1, 1),), 4)


def test_data_before_a_day_may_be_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "date,n\n2024-01-01,3\n2024-01-02,4\n2024-01-03,5\n")
    first, last = datetime.date(2024, 1, 2), datetime.date(2024, 1, 2)
    stream = observation.table_stream(WORLD, CALENDAR, "events", read(path, by=()), since=first, until=last)
    np.testing.assert_array_equal(stream.values[:3, 0], [np.nan, 4, np.nan])


def test_weeks_may_be_named_by_their_last_day(tmp_path: Path) -> None:
    path = written(tmp_path, "date,n\n2024-01-07,3\n2024-01-14,4\n")
    found = read(path, by=(), every=7, labelled="last")
    assert found.times == (datetime.date(2024, 1, 1), datetime.date(2024, 1, 8))
    with pytest.raises(InputError, match=r"own.csv:3:1 date: asked for counts of 14 days each"):
        read(path, by=(), every=14)


def test_cells_of_two_dims_go_where_their_labels_say(tmp_path: Path) -> None:
    stream = observation.table_stream(WORLD, CALENDAR, "events", read(written(tmp_path, LONG)))
    seen = np.zeros((60, 2, 3))  # age, region
    seen[:, 0, 1], seen[:, 1, 0] = 7, 9
    delay, gather = observation.operators(stream, 60)
    operator = {"delay": jnp.asarray(delay), "gather": jnp.asarray(gather), "weekday": jnp.asarray(stream.weekday)}
    params = observation.first_parameters([stream])[stream.name]
    found = observation.expected(jnp.asarray(seen, jnp.float32), FLOW, stream.dims, stream.regions, operator, params, 1)
    np.testing.assert_allclose(np.asarray(found)[:2], [[7, 9], [7, 9]])
    assert stream.labels == ("b, old", "a, young")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("date,region,age,n\n2024-01-01,b,old,-3\n", r"own.csv:2:4 n: asked for a count of at least 0, .* got '-3'"),
        ("date,region,age,n\n2024-13-01,b,old,3\n", r"own.csv:2:1 date: asked for a date or a day number"),
        ("date,region,age,n\n2024-01-01,b,,3\n", r"own.csv:2:3 age: asked for a label, got an empty cell"),
        ("date,region,age,n\n2024-01-01,b,old,3\n7,b,old,3\n", r"own.csv:3:1 date: got 7 after 2024-01-01"),
        ("date,regin,age,n\n2024-01-01,b,old,3\n", "asked for a column 'region', got .*; write `regin`"),
        ("date,region,age,n\n2024-01-01,b,old\n", "own.csv:2:1 date: asked for 4 cells as in the header, got 3"),
        ("date,region,age,n\n", "asked for a header and rows"),
    ],
)
def test_a_mistake_is_told_with_its_row(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read(written(tmp_path, text))


def test_unknown_labels_are_told_with_their_rows(tmp_path: Path) -> None:
    found = read(written(tmp_path, LONG.replace("a,young", "aa,young")))
    with pytest.raises(InputError, match=r"own.csv:3:1 region, age: .*got 'aa'; write `a`"):
        observation.table_stream(WORLD, CALENDAR, "events", found)


def test_a_config_names_its_own_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, "day,n\n1978-01-22,3\n1978-01-23,8\n1978-01-24,\n1978-01-25,76\n1978-01-28,280\n", "beds.csv")
    fit = """
calibrate:
  parameters: [{name: transmission, low: 0.2, high: 10}]
  data: [{variable: infectious, file: beds.csv, time: day, column: n, likelihood: gaussian}]
  derivatives: differences
  realizations: 10
  starts: 1
  iterations: 3
  draws: 10
  checks: {recovery: 0, profiles: none}
"""
    config = tmp_path / "own.yaml"
    config.write_text(SCHOOL.split("compare:")[0] + fit, "utf-8")
    status, said, errors = command(monkeypatch, capsys, str(config), "--out", str(tmp_path / "fit"))
    assert status == 0, errors
    assert "of the 4 counts" in said
    config.write_text(config.read_text("utf-8").replace("time: day, ", "").replace("beds.csv", "bed.csv"), "utf-8")
    status, _, errors = command(monkeypatch, capsys, str(config), "--out", str(tmp_path / "other"))
    assert status == 2
    assert re.search(r"own.yaml:\d+:\d+ calibrate.data.0: asked for `time` with a `file`", errors)
