"""Tests within their capacity, results after their delay, and those found, their households and contacts at home."""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from lpm.interventions import Quarantine, Testing, Tracing, testing
from lpm.kernels import random
from tests.interventions.town import SHARE, STEPS, asked, baseline, built, seen
from tests.laws.worlds import CITY

FROM = 6
SOME = Testing(FROM, symptomatic=0.8, screening=0.1, sensitivity=0.7, specificity=0.99, delay=2, capacity=90 / SHARE)
PLENTY = dataclasses.replace(SOME, capacity=1e9)
EVERYBODY = Testing(
    0, symptomatic=1.0, screening=1.0, sensitivity=1.0, delay=0, capacity=1e9, compliance=1.0, days=30, household=0.0,
    again=1,
)  # fmt: skip


def total(found: dict[str, np.ndarray], name: str) -> np.ndarray:
    return found[name].sum((1, 2))


def parts(found: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Everybody's clock, whether positive and whether they will isolate, day by day."""
    byte = found["tested_of_each"]
    return byte & testing.CLOCK, (byte & testing.POSITIVE) > 0, (byte & testing.COMPLIES) > 0


def among(found: dict[str, np.ndarray], *names: str) -> np.ndarray:
    """Who was in some stages when samples were taken: after the course of the day and before its infections."""
    return np.isin(found["stages"], built(asked(testing=SOME)).state.fixed["course"].kinds(*names))


def test_tests_used_are_samples_taken_and_within_capacity() -> None:
    few, many = seen(asked(testing=SOME)), seen(asked(testing=PLENTY))
    for found in (few, many):
        np.testing.assert_array_equal(total(found, "tests"), (parts(found)[0] == 1).sum(1))
    assert total(few, "tests").cumsum()[-1] == int(np.floor(np.float32(90) * (STEPS - FROM) + 1e-3))
    assert total(many, "tests")[FROM:].min() > 90
    assert total(few, "tests")[:FROM].sum() == 0


def test_those_with_symptoms_come_first() -> None:
    """On a day on which one of them is left without a test, nobody else has one."""
    found, ids = seen(asked(testing=SOME)), built(asked(testing=SOME)).state.fixed["id"]
    decides = random.stream(random.stream(random.key(1), "testing"), "seeks")
    limit = random.threshold(jnp.float32(SOME.symptomatic))
    seeks = np.asarray(random.happens(random.words(decides, ids)[0], limit)) == 1
    clock, ill = parts(found)[0], among(found, "symptomatic")
    waits = ((clock == 0) & ill & seeks).any(1)
    others = ((clock == 1) & ~ill).sum(1)
    assert waits[FROM:].sum() > 3
    assert others[FROM:][waits[FROM:]].sum() == 0
    assert others.sum() > 100
    assert not ((clock == 1) & ill & ~seeks).any()


def test_results_arrive_after_their_delay() -> None:
    found = seen(asked(testing=SOME))
    clock, positive, _ = parts(found)
    sampled_positive = ((clock == 1) & positive).sum(1)
    np.testing.assert_array_equal(total(found, "positives")[2:], sampled_positive[:-2])
    assert total(found, "positives")[: FROM + 2].sum() == 0
    assert sampled_positive.sum() > 50


def test_results_are_as_often_right_as_the_test_is() -> None:
    """Two shares of some thousand draws within four standard errors: p < 1e-4 each."""
    found = seen(asked(testing=PLENTY))
    clock, positive, _ = parts(found)
    infectious = among(found, *testing.INFECTIOUS)
    for who, chance in ((infectious, 0.7), (~infectious, 0.01)):
        sampled = (clock == 1) & who
        n = sampled.sum()
        assert n > 500
        assert abs((sampled & positive).sum() / n - chance) < 4 * np.sqrt(chance * (1 - chance) / n)


def test_who_complies_isolates_for_the_days_asked() -> None:
    found = seen(asked(testing=SOME))
    clock, positive, complies = parts(found)
    away = among(found, *testing.NOT_AT_HOME)
    at_home = positive & complies & (clock >= 3) & (clock < 3 + 7) & ~away
    np.testing.assert_array_equal(total(found, "isolated"), at_home.sum(1))
    assert at_home.sum() > 100


def test_nobody_is_tested_again_too_early() -> None:
    found = seen(asked(testing=PLENTY))
    clock, positive, _ = parts(found)
    for person in np.flatnonzero((clock == 1).sum(0) > 1)[:200]:
        days = np.flatnonzero(clock[:, person] == 1)
        for one, other in itertools.pairwise(days):
            assert other - one >= (9 if positive[one, person] else 7)


def test_if_all_are_tested_and_isolate_nobody_is_infected_by_another() -> None:
    """Those infected are those whom the outside infects, as in a city without transmission, to the bit."""
    from lpm import Calendar
    from lpm.worlds import city
    from tests.interventions.town import simulated
    from tests.laws.test_conservation import with_rates

    found = seen(asked(testing=EVERYBODY))
    alone = simulated(with_rates(city.build(CITY, Calendar(STEPS)), 0.0, 1.0))
    np.testing.assert_array_equal(found["stages"], alone["stages"])
    assert baseline()["infections"].sum() > 2 * found["infections"].sum() > 200


@pytest.mark.parametrize("change", [{"sensitivity": 0.0}, {"compliance": 0.0}, {"symptomatic": 0.0, "screening": 0.0}])
def test_tests_that_keep_nobody_at_home_change_no_epidemic(change: dict[str, float]) -> None:
    found = seen(asked(testing=dataclasses.replace(PLENTY, **{"specificity": 1.0, **change})))
    np.testing.assert_array_equal(found["stages"], baseline()["stages"])


def households() -> np.ndarray:
    """Everybody's household, by number."""
    from lpm.worlds import city

    return np.cumsum(city.population(CITY.people).position == 0) - 1


def places() -> np.ndarray:
    from lpm.worlds import city

    return city.population(CITY.people).place


def shares_with(flags: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Who shares a group with somebody flagged other than themselves."""
    member = group >= 0
    count = np.bincount(group[member], flags[member], minlength=group.max() + 1)
    return member & (count[group] - flags > 0)


def test_all_who_live_with_somebody_found_stay_at_home() -> None:
    found = seen(asked(testing=PLENTY, quarantine=Quarantine(compliance=1.0, days=4)))
    clock, positive, _ = parts(found)
    away, home = among(found, *testing.NOT_AT_HOME), households()
    left = np.zeros(away.shape[1], int)
    for day in range(STEPS):
        left = np.maximum(left - 1, 0)
        known = (clock[day] == 3) & positive[day]
        left[shares_with(known, home) & ~away[day]] = 4
        np.testing.assert_array_equal(found["quarantine_of_each"][day], left)
        assert total(found, "quarantined")[day] == ((left > 0) & ~away[day]).sum()
    assert total(found, "quarantined").max() > 100


def test_all_contacts_found_stay_at_home_after_the_delay() -> None:
    tracing = Tracing(delay=2, household=1.0, place=1.0, close=100_000, compliance=1.0, days=5)
    found = seen(asked(testing=PLENTY, tracing=tracing))
    clock, positive, _ = parts(found)
    away, home, place = among(found, *testing.NOT_AT_HOME), households(), places()
    left = np.zeros(away.shape[1], int)
    for day in range(STEPS):
        left = np.maximum(left - 1, 0)
        known = (clock[day] == 5) & positive[day]
        reached = (shares_with(known, home) | shares_with(known, place)) & ~known
        assert total(found, "traced")[day] == reached.sum()
        left[reached & ~away[day]] = 5
        np.testing.assert_array_equal(found["quarantine_of_each"][day], left)
    assert total(found, "traced").max() > 100


def test_contacts_are_found_as_often_as_asked() -> None:
    """At places with over 10 members: 8 close contacts of n - 1, half of them found; within five standard errors."""
    tracing = Tracing(delay=0, household=0.0, place=0.5, close=8, compliance=0.8)
    found = seen(asked(testing=PLENTY, tracing=tracing))
    clock, positive, _ = parts(found)
    place = places()
    size = np.bincount(place[place >= 0])
    expected = variance = seen_number = 0.0
    new = np.diff(found["quarantine_of_each"].astype(int), axis=0, prepend=0) > 0
    for day in range(STEPS):
        known = (clock[day] == 3) & positive[day]
        count = np.where(place >= 0, np.bincount(place[place >= 0], known[place >= 0], len(size))[place], 0)
        close = np.minimum(8 / np.maximum(size[place] - 1, 1), 1)
        free = ~known & (found["quarantine_of_each"][day - 1] == 0) if day else ~known
        free &= ~among(found, *testing.NOT_AT_HOME)[day]
        chance = np.where(free, (1 - (1 - 0.5 * close) ** count) * 0.8, 0)
        expected, variance = expected + chance.sum(), variance + (chance * (1 - chance)).sum()
        seen_number += (new[day] & free).sum()
    assert expected > 200
    assert abs(seen_number - expected) < 5 * np.sqrt(variance)


def test_nobody_at_home_is_infected_by_the_outside() -> None:
    """Everybody is found by chance, isolates, and meets nobody: from then on nobody is infected at all."""
    found = seen(asked(testing=dataclasses.replace(EVERYBODY, from_=FROM, specificity=0.0)))
    assert found["infections"][:FROM].sum() > 30
    assert found["infections"][FROM:].sum() == 0
