"""Scenarios that branch off in memory: the same bits as from the first day on, and each shared day simulated once."""

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest

from lpm import Calendar, World, batch
from lpm.errors import InputError, LpmError
from lpm.interventions import (
    Campaign,
    Interventions,
    Masks,
    Order,
    Quarantine,
    Shielding,
    Testing,
    Tracing,
    Trigger,
    Vaccination,
)
from lpm.interventions.parting import parting
from lpm.studies.branches import Realization, carried
from lpm.worlds import city
from lpm.worlds.schedule import Change
from tests.interventions.town import SHARE
from tests.laws.worlds import CITY

STEPS, BEGINS = 24, 10
CALENDAR = Calendar(STEPS)
IDLE = Interventions(
    orders=(Order("stay_at_home", BEGINS, compliance=0.0),),
    masks=(Masks(0.0, BEGINS),),
    shielding=(Shielding(from_=BEGINS, compliance=0.0),),
    vaccination=Vaccination((Campaign(0.0, BEGINS),), delay=3, half_life=60.0),
    testing=Testing(BEGINS, symptomatic=0.0, capacity=300 / SHARE),
    quarantine=Quarantine(BEGINS, compliance=0.0),
    tracing=Tracing(BEGINS, compliance=0.0),
)
TESTS = Testing(BEGINS + 2, symptomatic=0.9, screening=0.1, capacity=300 / SHARE)
VACCINE = Vaccination((Campaign(300 / SHARE, BEGINS + 1),), delay=0, half_life=60.0)
MEASURES: dict[str, dict[str, Any]] = {
    "orders": {"orders": (Order("stay_at_home", BEGINS),)},
    "masks": {"masks": (Masks(1.0, BEGINS + 3, efficacy=0.9),)},
    "masks again": {"masks": (Masks(1.0, BEGINS + 3, efficacy=0.9, to=BEGINS + 5),)},
    "shielding": {"shielding": (Shielding(("20-29",), BEGINS + 1, contacts=0.0, compliance=1.0),)},
    "vaccination": {"vaccination": VACCINE},
    "testing": {"testing": TESTS},
    "quarantine": {"testing": TESTS, "quarantine": Quarantine(BEGINS, compliance=1.0)},
    "tracing": {"testing": TESTS, "tracing": Tracing(BEGINS, compliance=1.0, delay=1)},
}
EVERYTHING = dataclasses.replace(IDLE, **{key: each for some in MEASURES.values() for key, each in some.items()})


def settings(interventions: Interventions) -> city.Settings:
    return dataclasses.replace(CITY, interventions=interventions)


ALL = [settings(dataclasses.replace(IDLE, **changes)) for changes in ({}, *MEASURES.values())]
ALL.append(dataclasses.replace(ALL[0], schedule=(*CITY.schedule, Change("community", 5, 0.3, to=7))))


@functools.cache
def built(asked: city.Settings) -> World:
    return city.build(asked, CALENDAR)


def run(chosen: list[city.Settings], wanted: set[int] | None = None, broken: tuple[int, ...] = ()) -> dict[int, Any]:
    """The records of scenarios, or why there are none."""
    found: dict[int, Any] = {}
    shapes: dict[str, Any] = {}
    for each in chosen:
        shapes |= batch.Engine(built(each), 1, 1, 1).shapes()

    def world(number: int) -> World | LpmError:
        return InputError("no such world") if number in broken else built(chosen[number])

    Realization(
        2, 1, 1, STEPS, world, lambda a, b: parting(chosen[a], chosen[b], CALENDAR),
        frozenset(range(len(chosen)) if wanted is None else wanted), shapes,
        lambda number, records, seconds: found.update({number: records}), lambda: False,
    ).grow(range(len(chosen)))  # fmt: skip
    return found


def alone(asked: city.Settings) -> dict[str, np.ndarray]:
    return run([asked])[0]


@functools.cache
def branched() -> dict[int, dict[str, np.ndarray]]:
    return run(ALL)


@pytest.mark.parametrize("number", range(len(ALL)))
def test_a_branch_is_the_run_from_the_first_day(number: int) -> None:
    mine, whole = branched()[number], alone(ALL[number])
    for name, values in whole.items():
        np.testing.assert_array_equal(mine[name], values, err_msg=name)
    day = parting(ALL[0], ALL[number], CALENDAR)
    assert day == STEPS if number == 0 else 0 < day < STEPS
    assert number == 0 or any((mine[name] != branched()[0][name]).any() for name in mine)


def test_a_measure_that_only_one_has_begins_as_at_the_start() -> None:
    plain, full = settings(Interventions()), settings(EVERYTHING)
    assert parting(plain, full, CALENDAR) == BEGINS
    found, whole = run([plain, full]), alone(full)
    for name, values in whole.items():
        np.testing.assert_array_equal(found[1][name], values, err_msg=name)
    assert not found[0]["doses"].any()


def test_days_that_are_equal_are_simulated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    days, usual = [], batch.advance

    def counted(*args: Any) -> Any:
        days.append(1)
        return usual(*args)

    monkeypatch.setattr(counted, "eval_shape", usual.eval_shape, raising=False)
    monkeypatch.setattr(batch, "advance", counted)
    chosen = [ALL[0], *(dataclasses.replace(ALL[0], schedule=(Change("work", day, 0.0),)) for day in (20, 12, 20))]
    run([dataclasses.replace(each, transmission=city.Transmission(0.2)) for each in chosen])
    assert len(days) == STEPS + (STEPS - 20) + (STEPS - 12)


def test_what_is_missing_is_done_from_the_same_branch() -> None:
    found = run(ALL, {3})
    assert list(found) == [3]
    for name, values in branched()[3].items():
        np.testing.assert_array_equal(found[3][name], values, err_msg=name)


def test_a_scenario_without_a_world_takes_no_other_along() -> None:
    found = run(ALL[:4], broken={0, 2})
    assert all(isinstance(found[number], LpmError) for number in (0, 2))
    for number in (1, 3):
        for name, values in branched()[number].items():
            np.testing.assert_array_equal(found[number][name], values, err_msg=name)


ONCE = (Campaign(1.0, 6),)


@pytest.mark.parametrize(
    ("one", "other", "day"),
    [
        ({}, {"triggers": (Trigger("a", "critical", 9.0, 1.0),)}, 0),
        ({"orders": (Order("stay_at_home", 4, 9),)}, {"orders": (Order("stay_at_home", 4, 12),)}, 10),
        ({"orders": (Order("stay_at_home", 4, 9),)}, {"orders": (Order("stay_at_home", 4),)}, 10),
        ({"orders": (Order("stay_at_home", 4),)}, {"orders": (Order("stay_at_home", 4, compliance=0.5),)}, 4),
        ({"testing": Testing(4)}, {"testing": Testing(4), "tracing": Tracing(8)}, 4),
        ({"vaccination": Vaccination(ONCE, uptake=0.5)}, {"vaccination": Vaccination(ONCE)}, 6),
    ],
)  # fmt: skip
def test_scenarios_part_on_the_first_day_that_tells_them_apart(one: Any, other: Any, day: int) -> None:
    pair = [settings(Interventions(**each)) for each in (one, other)]
    assert parting(*pair, CALENDAR) == parting(*reversed(pair), CALENDAR) == day


def test_other_settings_part_from_the_first_day() -> None:
    assert parting(CITY, dataclasses.replace(CITY, own_region=0.5), CALENDAR) == 0


def test_a_carried_state_is_a_copy() -> None:
    state = built(ALL[0]).state
    taken = carried(state, state)
    assert taken.agents["stage"].value is not state.agents["stage"].value
