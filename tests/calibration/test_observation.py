"""The observation model: counts are conserved, weeks are sums of days, shares and weekdays act as they say."""

import datetime

import jax.numpy as jnp
import numpy as np
import pytest

from lpm.calibration import observation
from lpm.observe import Observable
from lpm.series import Series
from lpm.settings import Calendar
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts

CALENDAR = Calendar(28, datetime.date(2024, 1, 1))  # a Monday
WORLD = sir.build(sir.Settings(agents=100, contacts=Contacts("well_mixed")), CALENDAR)
FLOW = Observable("events", lambda state, info: info["x"], ("region", "age"), over="sum")


def expected(stream: observation.Stream, seen: np.ndarray, scale: float = 1.0, **params: object) -> np.ndarray:
    delay, gather = observation.operators(stream, len(seen))
    weekday = jnp.asarray(stream.weekday if len(stream.weekday) else np.arange(len(seen)) % 7)
    operator = {"delay": jnp.asarray(delay), "gather": jnp.asarray(gather), "weekday": weekday}
    chosen = observation.first_parameters([stream])[stream.name] | params  # type: ignore[operator]
    found = observation.expected(
        jnp.asarray(seen, jnp.float32), stream.observable, stream.dims, stream.regions, operator, chosen, scale
    )
    return np.asarray(found)


def daily(days: int = 1, delay: tuple[float, float] | None = None, variable: str = "incidence") -> observation.Stream:
    times = tuple(CALENDAR.start + datetime.timedelta(days=day) for day in range(0, 28, days))  # type: ignore[operator]
    return observation.stream(WORLD, CALENDAR, Series(variable, times, np.ones(len(times)), days=days), delay=delay)


@pytest.mark.parametrize(("mean", "deviation"), [(0.7, 1.0), (3.0, 2.0), (9.0, 3.0)])
def test_a_delay_conserves_counts_and_has_its_mean(mean: float, deviation: float) -> None:
    weights = np.array(observation.delay_weights(mean, deviation))
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert (weights * np.arange(len(weights))).sum() == pytest.approx(mean, rel=0.01)
    seen = np.zeros((28, 1, 1))
    seen[2] = 50
    stream = daily(delay=(mean, deviation))
    if len(weights) < 25:
        assert expected(stream, seen[:, 0, 0]).sum() == pytest.approx(50, rel=1e-5)


def test_what_is_delayed_past_the_end_is_not_counted() -> None:
    seen = np.zeros(28)
    seen[26] = 50
    assert 0 < expected(daily(delay=(3, 2)), seen).sum() < 40


def test_a_week_is_the_sum_of_its_days_and_a_stock_its_last_day() -> None:
    seen = np.arange(28.0)
    np.testing.assert_allclose(expected(daily(7), seen)[:, 0], seen.reshape(4, 7).sum(1))
    np.testing.assert_allclose(expected(daily(7, variable="infectious"), seen)[:, 0], seen[6::7])


def test_reporting_and_scale_multiply() -> None:
    found = expected(daily(), np.full(28, 30.0), scale=0.5, reporting=jnp.float32(0.25))
    np.testing.assert_allclose(found, 15)


def test_weekdays_move_counts_within_a_week_and_lose_none() -> None:
    weekend = jnp.array([1, 1, 1, 1, 1, 0.5, 0.5], jnp.float32)
    found = expected(daily(), np.full(28, 60.0), weekday=weekend)[:, 0]
    np.testing.assert_allclose(found[:7], [70, 70, 70, 70, 70, 35, 35], rtol=1e-5)
    assert found.sum() == pytest.approx(28 * 60, rel=1e-5)


def test_regions_are_taken_in_the_order_of_the_data_and_ages_are_added_up() -> None:
    stream = observation.Stream("events", FLOW, np.arange(3), 1, np.zeros((3, 2)), "region", (2, 0), ("c", "a"))
    seen = np.arange(24.0).reshape(3, 4, 2)
    np.testing.assert_allclose(expected(stream, seen), seen.sum(2)[:, [2, 0]])


def test_days_after_the_data_are_gaps_to_be_forecast() -> None:
    times = tuple(datetime.date(2024, 1, 1) + datetime.timedelta(days=7 * week) for week in range(2))
    series = Series("incidence", times, np.array([3.0, 4.0]), days=7)
    stream = observation.stream(WORLD, CALENDAR, series)
    np.testing.assert_array_equal(stream.first, [0, 7, 14, 21])
    np.testing.assert_array_equal(stream.values[:, 0], [3, 4, np.nan, np.nan])
    early = observation.stream(WORLD, CALENDAR, series, until=datetime.date(2024, 1, 8))
    np.testing.assert_array_equal(early.values[:, 0], [3, np.nan, np.nan, np.nan])


def test_data_outside_the_run_and_unknown_names_are_told() -> None:
    series = Series("incidence", (datetime.date(2025, 1, 1),), np.array([3.0]))
    with pytest.raises(ValueError, match="data within the run's 28 days, got 2025-01-01"):
        observation.stream(WORLD, CALENDAR, series)
    with pytest.raises(ValueError, match="write `incidence`"):
        observation.stream(WORLD, CALENDAR, Series("incidenc", (3,), np.array([3.0])))
    with pytest.raises(ValueError, match="a dim of incidence"):
        observation.stream(WORLD, CALENDAR, Series("incidence", (3,), np.array([[3.0]]), ("a",), "region"))
