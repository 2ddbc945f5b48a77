"""The observation model: from what is simulated each day to what is expected to be reported.

    expected = sum over the days of a value of: weekday * reporting * (delay convolved with the daily events)

A flow (an observable that adds up) is summed over the days of each value; a stock is that of their last day. Counts are
those of the real population: what is simulated is divided by the world's scale.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm.calibration.likelihoods import DISPERSION, Likelihood
from lpm.errors import InputError
from lpm.observe import Observable
from lpm.series import Series
from lpm.settings import Calendar
from lpm.world import World

if TYPE_CHECKING:
    from lpm.calibration.tables import Counts

GRID = 2000  # points a day on which a delay's density is evaluated


class NoneLeft(ValueError):
    """No count lies between the first and the last day whose data may be used."""


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
    """Observed counts, laid out on a run's days, and how they come about.

    Args:
        name: of the stream; the observable's, with a number if there are several.
        observable: that they count.
        first: (time,) int64, step on which each value's days begin; all within the run.
        days: that each value covers; of months (time,) int64.
        values: (time, cells or 1) float64; NaN for a gap, and for the days of a forecast.
        by: dim of the observable that the second axis is, or several; other dims are summed over.
        regions: positions of the second axis on that dim, or on the product of several, the last fastest; () if there
            is none.
        labels: of the cells, such as "Bronx", or "Bronx, 65+".
        likelihood: see `lpm.calibration.likelihoods`.
        dispersion: fixed value; None to estimate it.
        delay: weights of 0, 1, ... days from event to report, summing to one.
        weekday: (steps,) weekday of each step, Monday 0.
        label, source: of the data.
    """

    name: str
    observable: Observable
    first: np.ndarray
    days: int | np.ndarray
    values: np.ndarray
    by: str | tuple[str, ...] | None = None
    regions: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    likelihood: Likelihood = "negative_binomial"
    dispersion: float | None = None
    delay: tuple[float, ...] = (1.0,)
    weekday: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    label: str = ""
    source: str = ""

    @property
    def dims(self) -> tuple[str, ...]:
        """The dims that the second axis is made of."""
        return (self.by,) if isinstance(self.by, str) else self.by or ()

    @property
    def lengths(self) -> np.ndarray:
        """Days that each value covers, (time,) int64."""
        return np.broadcast_to(np.asarray(self.days, np.int64), self.first.shape)

    @property
    def start_dispersion(self) -> float:
        """The fixed dispersion, or the one to begin with."""
        return DISPERSION[self.likelihood] if self.dispersion is None else self.dispersion


def stream(
    world: World,
    calendar: Calendar,
    series: Series,
    *,
    likelihood: Likelihood = "negative_binomial",
    dispersion: float | None = None,
    delay: tuple[float, float] | None = None,
    since: datetime.date | int | None = None,
    until: datetime.date | int | None = None,
    name: str | None = None,
) -> Stream:
    """Lay a series out on a run's days; later values, up to the run's end, are gaps that a fit will forecast.

    Args:
        world: what is simulated.
        calendar: of the run.
        series: observed counts; those outside the run are left out.
        likelihood, dispersion: see `Stream`.
        delay: mean and standard deviation of the days from event to report, or None.
        since, until: first and last day whose data may be used; others become gaps.
        name: of the stream; the observable's if None.
    Raises:
        ValueError: for an unknown observable, dim or region, or if no value falls within the run.

    >>> from lpm.worlds import sir
    >>> world = sir.build(sir.Settings(agents=100, contacts=sir.Contacts("well_mixed")), Calendar(6))
    >>> seen = Series("incidence", (1, 3), np.array([4.0, 7.0]), days=2)
    >>> stream(world, Calendar(6), seen).first, stream(world, Calendar(6), seen).values[:, 0]
    (array([1, 3]), array([4., 7.]))
    """
    observable = observable_of(world, series.variable)
    steps = series.steps(calendar)
    by = (series.by,) if series.by else ()
    regions = positions(world, observable, by, [(region,) for region in series.regions])
    values = series.values.reshape(len(steps), -1)
    first, days, values = _within(calendar, steps, np.full(len(steps), series.days), values, (since, until))
    return Stream(
        name or series.variable,
        observable,
        first,
        days,
        values,
        series.by,
        regions,
        series.regions,
        likelihood,
        dispersion,
        delay_weights(*delay) if delay else (1.0,),
        weekdays(calendar),
        series.label,
        series.source,
    )


def table_stream(
    world: World,
    calendar: Calendar,
    variable: str,
    table: Counts,
    *,
    likelihood: Likelihood = "negative_binomial",
    dispersion: float | None = None,
    delay: tuple[float, float] | None = None,
    since: datetime.date | int | None = None,
    until: datetime.date | int | None = None,
    name: str | None = None,
    label: str = "",
) -> Stream:
    """Lay counts out on a run's days, as `stream` does: those of `lpm.calibration.tables`, with gaps, by several dims.

    Args:
        world, calendar, likelihood, dispersion, delay, since, until, name: as in `stream`.
        variable: the observable that is counted.
        table: the counts.
        label: for pictures; the column's name if empty.
    Raises:
        ValueError: for an unknown observable or dim, or if no value falls within the run.
        InputError: for unknown labels, with the rows that they stand on, if they are from a file.
    """
    observable = observable_of(world, variable)
    positions(world, observable, table.by, ())
    cells, problems = list[int](), []
    for number, cell in enumerate(table.cells):
        try:
            cells += positions(world, observable, table.by, [cell])
        except ValueError as error:
            place = f"{table.path}:{table.lines[number]}:1" if table.path else f"{table.column}:"
            problems.append(f"{place} {', '.join(table.by)}: {error}")
    if problems:
        raise InputError(problems)
    steps = np.array([calendar.step_of(time) for time in table.times], np.int64)
    first, days, values = _within(calendar, steps, table.days, table.values, (since, until), table.monthly)
    return Stream(
        name or variable,
        observable,
        first,
        days,
        values,
        table.by or None,
        tuple(cells),
        tuple(", ".join(cell) for cell in table.cells) if table.by else (),
        likelihood,
        dispersion,
        delay_weights(*delay) if delay else (1.0,),
        weekdays(calendar),
        label or table.column,
        table.source,
    )


def _within(
    calendar: Calendar,
    steps: np.ndarray,
    days: np.ndarray,
    values: np.ndarray,
    used: tuple[datetime.date | int | None, datetime.date | int | None],
    monthly: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values that fall within a run, and gaps for those after them that a fit will forecast."""
    inside = (steps >= 0) & (steps + days <= calendar.steps)
    if not inside.any():
        raise ValueError(
            f"asked for data within the run's {calendar.steps} days, got {_day(calendar, steps[0])} to "
            f"{_day(calendar, steps[-1])} (days {steps[0]} to {steps[-1]}); write another `start`, `end` or `steps` "
            "under `run`"
        )
    first, days, values = steps[inside], days[inside], values[inside]
    known = f"{_day(calendar, first[0])} to {_day(calendar, first[-1] + days[-1] - 1)}"
    apart = int(np.diff(first)[-1]) if len(first) > 1 else int(days[-1])
    if monthly:
        later, lengths = _months(calendar, int(first[-1] + days[-1]))
    else:
        later = np.arange(first[-1] + apart, calendar.steps - days[-1] + 1, apart)
        lengths = np.full(len(later), days[-1])
    values = np.concatenate([values, np.full((len(later), values.shape[1]), np.nan)])
    first, days = np.concatenate([first, later]), np.concatenate([days, lengths])
    since, until = used
    if since is not None:
        values = np.where((first >= calendar.step_of(since))[:, None], values, np.nan)
    if until is not None:
        values = np.where((first + days - 1 <= calendar.step_of(until))[:, None], values, np.nan)
    if np.isnan(values).all() and used != (None, None):
        asked = " ".join(f"{word} {day}" for word, day in zip(("since", "until"), used, strict=True) if day is not None)
        raise NoneLeft(f"asked for counts {asked}, got counts of {known} alone; write other dates")
    return first, days, values


def _months(calendar: Calendar, step: int) -> tuple[np.ndarray, np.ndarray]:
    """First steps and lengths of the whole months from a step on."""
    assert calendar.start is not None
    first: list[int] = []
    days: list[int] = []
    while True:
        day = calendar.start + datetime.timedelta(days=step)
        length = month_length(day)
        if step + length > calendar.steps:
            return np.array(first, np.int64), np.array(days, np.int64)
        first.append(step)
        days.append(length)
        step += length


def month_length(day: datetime.date) -> int:
    """Days of the month that begins on a day.

    >>> month_length(datetime.date(2020, 2, 1))
    29
    """
    return int((np.datetime64(day, "M") + 1).astype("datetime64[D]").astype(int) - np.datetime64(day, "D").astype(int))


def _day(calendar: Calendar, step: int) -> str:
    return str(calendar.start + datetime.timedelta(days=int(step))) if calendar.start else f"day {step}"


def positions(
    world: World, observable: Observable, by: tuple[str, ...], cells: Sequence[tuple[str, ...]]
) -> tuple[int, ...]:
    """Where cells stand on the product of some dims of an observable, the last fastest; () for no dims.

    Raises:
        ValueError: for a dim or a label that is not there.
    """
    for dim in by:
        if dim not in observable.dims:
            dims = ", ".join(observable.dims) or "it has none"
            raise ValueError(f"asked for a dim of {observable.name} ({dims}), got {dim!r}")
    found = []
    for cell in cells if by else ():
        place = 0
        for dim, label in zip(by, cell, strict=True):
            known = world.coords[dim]
            if label not in known:
                near = difflib.get_close_matches(label, known, 1)
                advice = f"write `{near[0]}`" if near else "write one of them"
                raise ValueError(f"asked for labels of {dim} ({', '.join(known)}), got {label!r}; {advice}")
            place = place * len(known) + known.index(label)
        found.append(place)
    return tuple(found)


def weekdays(calendar: Calendar) -> np.ndarray:
    """(steps,) weekday of each step, Monday 0; that of day 0 without dates."""
    begins = calendar.start.weekday() if calendar.start else 0
    return (begins + np.arange(calendar.steps)) % 7


def observable_of(world: World, name: str) -> Observable:
    known = {observable.name: observable for observable in world.observables}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        advice = f"write `{near[0]}`" if near else "write one of them"
        raise ValueError(f"asked for an observable of the world ({', '.join(known)}), got {name!r}; {advice}")
    return known[name]


def delay_weights(mean: float, deviation: float, tail: float = 1e-4) -> tuple[float, ...]:
    """Probabilities of a delay of 0, 1, ... days: a gamma distribution, each moment shared between the days around it.

    w_j = integral of f(x) max(0, 1 - |x - j|) dx,   which keeps the mean (Cori et al. 2013, Am. J. Epidemiol. 178)

    Args:
        mean, deviation: of the delay in days, above 0.
        tail: probability that may be cut off.

    >>> weights = np.array(delay_weights(2.5, 1.5))
    >>> float(weights.sum().round(6)), float((weights * np.arange(len(weights))).sum().round(2))
    (1.0, 2.5)
    """
    if not (mean > 0 and deviation > 0):
        raise ValueError(f"delay: asked for a mean and a deviation above 0, got {mean:g} and {deviation:g}")
    shape, scale = (mean / deviation) ** 2, deviation**2 / mean
    x = (np.arange(int((mean + 15 * deviation + 1) * GRID)) + 0.5) / GRID
    log_density = (shape - 1) * np.log(x) - x / scale
    mass = np.exp(log_density - log_density.max())
    mass /= mass.sum()
    day = np.floor(x).astype(int)
    weights = np.bincount(day, mass * (1 - (x - day)), day[-1] + 2) + np.bincount(
        day + 1, mass * (x - day), day[-1] + 2
    )
    kept = weights[: int(np.searchsorted(weights.cumsum(), 1 - tail)) + 1]
    return tuple(float(weight) for weight in kept / kept.sum())


def stocks(streams: Sequence[Stream]) -> list[str]:
    """What to know where a count of several days is compared with one of them: an event may have been left a stock."""
    return [
        f"{each.name}: a count of several days is compared with the last of them, since `{each.observable.name}` is a "
        "stock; if it counts events, write over='sum' in its Observable"
        for each in streams
        if each.observable.over == "last" and np.max(each.days) > 1
    ]


def operators(stream: Stream, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The delay, (steps, steps), and what belongs to each value, (time, steps): float32, applied in this order."""
    delay = np.zeros((steps, steps), np.float32)
    for lag, weight in enumerate(stream.delay[:steps]):
        delay[np.arange(lag, steps), np.arange(steps - lag)] = weight
    gather = np.zeros((len(stream.first), steps), np.float32)
    for row, (first, days) in enumerate(zip(stream.first, stream.lengths, strict=True)):
        gather[row, first if stream.observable.over == "sum" else first + days - 1 : first + days] = 1
    return delay, gather


def first_parameters(streams: Sequence[Stream]) -> dict[str, dict[str, jax.Array]]:
    """What of the observation model can be free, at its defaults: full reporting, all weekdays alike.

    `reporting` is the share of events that is counted; `weekday`, (7,) from Monday, is relative and has a mean of one.
    """
    return {each.name: {"reporting": jnp.float32(1), "weekday": jnp.ones(7, jnp.float32)} for each in streams}


def expected(
    seen: jax.Array,
    observable: Observable,
    by: tuple[str, ...],
    regions: tuple[int, ...],
    operator: dict[str, jax.Array],
    params: dict[str, jax.Array],
    scale: float,
) -> jax.Array:
    """Expected counts of one realization, (time, cells or 1) float32.

    Args:
        seen: (steps, ...) what the observable recorded each day.
        observable, regions: as in `Stream`.
        by: its `dims`.
        operator: "delay" and "gather" of `operators`, and "weekday".
        params: "reporting" and "weekday".
        scale: agents for each real person.
    """
    axes = [1 + observable.dims.index(dim) for dim in by]
    others = [i for i in range(1, seen.ndim) if i not in axes]
    daily = seen.astype(jnp.float32).transpose(0, *axes, *others)
    daily = daily.sum(tuple(range(1 + len(axes), seen.ndim))).reshape(seen.shape[0], -1)
    daily = daily[:, np.array(regions)] if by else daily
    reported = operator["delay"] @ daily * (params["reporting"] / scale)
    relative = params["weekday"] / params["weekday"].mean()
    return operator["gather"] @ (reported * relative[operator["weekday"]][:, None])


def calendar_labels(stream: Stream, calendar: Calendar) -> list[Any]:
    """The first day of each value: dates, or day numbers if the run has no start."""
    if calendar.start is None:
        return [int(step) for step in stream.first]
    return [calendar.start + datetime.timedelta(days=int(step)) for step in stream.first]
