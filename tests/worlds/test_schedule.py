"""Contacts by date, and infections from outside by date."""

import datetime

import numpy as np
import pytest

from lpm.settings import Calendar
from lpm.worlds.city import Importation, imports
from lpm.worlds.importation import check_imports
from lpm.worlds.schedule import LAYERS, Change, check_schedule, contact_table

START = datetime.date(2020, 2, 25)
DATED = Calendar(10, START)


def day(number: int) -> datetime.date:
    return START + datetime.timedelta(number)


def expected(layer: str, values: list[float]) -> np.ndarray:
    table = np.ones((10, len(LAYERS)), np.float32)
    table[:, LAYERS.index(layer)] = values
    return table


@pytest.mark.parametrize("layer", LAYERS)
def test_a_change_holds_from_its_day_to_the_end(layer: str) -> None:
    table = contact_table((Change(layer, day(6), 0.25),), DATED)
    np.testing.assert_array_equal(table, expected(layer, [1] * 6 + [0.25] * 4))


def test_the_last_day_of_a_change_belongs_to_it() -> None:
    table = contact_table((Change("work", day(2), 0.5, day(4)),), DATED)
    np.testing.assert_array_equal(table, expected("work", [1, 1, 0.5, 0.5, 0.5, 1, 1, 1, 1, 1]))


def test_a_later_change_replaces_an_earlier_one_whatever_their_order() -> None:
    changes = (Change("work", day(1), 0.5), Change("work", day(5), 0.75), Change("work", day(8), 2.0))
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        table = contact_table(tuple(changes[i] for i in order), DATED)
        np.testing.assert_array_equal(table, expected("work", [1] + [0.5] * 4 + [0.75] * 3 + [2] * 2))


def test_dates_and_numbers_of_days_say_the_same() -> None:
    by_date = contact_table((Change("school", day(3), 0.0, day(7)),), DATED)
    np.testing.assert_array_equal(by_date, contact_table((Change("school", 3, 0.0, 7),), Calendar(10)))


def test_no_change_is_as_usual() -> None:
    np.testing.assert_array_equal(contact_table((), DATED), np.ones((10, 4), np.float32))


@pytest.mark.parametrize(
    ("changes", "where", "message"),
    [
        ((Change("work", day(10), 0.5),), (0, "from"), "asked for a day of the run (from 2020-02-25 to 2020-03-05)"),
        ((Change("work", day(-1), 0.5),), (0, "from"), "got 2020-02-24"),
        ((Change("work", 10, 0.5),), (0, "from"), "asked for a day of the run"),
        ((Change("work", day(5), 0.5, day(4)),), (0, "to"), "asked for a day not before 2020-03-01, got 2020-02-29"),
        ((Change("work", day(2), 1.0), Change("work", day(2), 0.5)), (1, "from"), "which schedule.0 sets"),
        (
            (Change("school", 1, 1.0), Change("work", 2, 1.0, 6), Change("work", 6, 0.5, 8)),
            (2, "from"),
            "asked for one value of layer work a day",
        ),
    ],
)
def test_a_mistake_in_a_schedule_is_located(changes: tuple[Change, ...], where: tuple, message: str) -> None:
    (mistake,) = check_schedule(changes, DATED, ("schedule",))
    assert mistake.path == ("schedule", *where)
    assert message in mistake.message
    assert "write" in mistake.message


@pytest.mark.parametrize(
    ("period", "key", "message"),
    [
        (Importation(1, day(10)), "from", "asked for a day of the run (from 2020-02-25 to 2020-03-05)"),
        (Importation(1, 5, 4), "to", "asked for a day not before 5, got 4"),
        (Importation(1, 0, None, "Queens"), "region", "asked for a region (Bronx), got 'Queens'"),
    ],
)
def test_a_mistake_in_an_importation_is_located(period: Importation, key: str, message: str) -> None:
    (mistake,) = check_imports((Importation(), period), DATED, ("Bronx",))
    assert mistake.path == ("importation", 1, key)
    assert message in mistake.message


def test_a_date_needs_a_run_with_one() -> None:
    (mistake,) = check_schedule((Change("work", day(2), 0.5),), Calendar(10), ("schedule",))
    assert mistake.path == ("schedule", 0, "from")
    assert "the run has no start" in mistake.message


def test_good_schedules_have_no_mistakes() -> None:
    changes = (
        Change("work", day(0), 0.5, day(3)),
        Change("work", day(4), 0.6),  # replaced from day 6 on
        Change("work", day(6), 0.7, day(9)),
        Change("school", day(0), 0.0),
    )
    assert check_schedule(changes, DATED, ("schedule",)) == []


def test_importation_adds_up_and_keeps_to_its_days() -> None:
    periods = (Importation(4.0, day(-5), day(1)), Importation(2.0, 1, 3), Importation(1.0, day(8)))
    np.testing.assert_array_equal(imports(periods, DATED), [4, 6, 2, 2, 0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(imports((), DATED), np.zeros(10))
    np.testing.assert_array_equal(imports((Importation(3.0, 20, 30), Importation(3.0, -9, -2)), DATED), np.zeros(10))
