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
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm.calibration.likelihoods import DISPERSION, Likelihood
from lpm.observe import Observable
from lpm.series import Series
from lpm.settings import Calendar
from lpm.world import World

GRID = 2000  # points a day on which a delay's density is evaluated


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
    """Observed counts, laid out on a run's days, and how they come about.

    Args:
        name: of the stream; the observable's, with a number if there are several.
        observable: that they count.
        first: (time,) int64, step on which each value's days begin; all within the run.
        days: that each value covers.
        values: (time, regions or 1) float64; NaN for a gap, and for the days of a forecast.
        by: dim of the observable that the second axis is; other dims are summed over.
        regions: positions of the second axis on that dim; () if there is none.
        labels: of the regions.
        likelihood: see `lpm.calibration.likelihoods`.
        dispersion: fixed value; None to estimate it.
        delay: weights of 0, 1, ... days from event to report, summing to one.
        weekday: (steps,) weekday of each step, Monday 0.
        label, source: of the data.
    """

    name: str
    observable: Observable
    first: np.ndarray
    days: int
    values: np.ndarray
    by: str | None = None
    regions: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    likelihood: Likelihood = "negative_binomial"
    dispersion: float | None = None
    delay: tuple[float, ...] = (1.0,)
    weekday: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    label: str = ""
    source: str = ""

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
        until: last day whose data may be used; later ones become gaps.
        name: of the stream; the observable's if None.
    Raises:
        ValueError: for an unknown observable, dim or region, or if no value falls within the run.

    >>> from lpm.worlds import sir
    >>> world = sir.build(sir.Settings(agents=100, contacts=sir.Contacts("well_mixed")), Calendar(6))
    >>> seen = Series("incidence", (1, 3), np.array([4.0, 7.0]), days=2)
    >>> stream(world, Calendar(6), seen).first, stream(world, Calendar(6), seen).values[:, 0]
    (array([1, 3]), array([4., 7.]))
    """
    observable = _observable(world, series.variable)
    steps = series.steps(calendar)
    inside = (steps >= 0) & (steps + series.days <= calendar.steps)
    if not inside.any():
        raise ValueError(
            f"asked for data within the run's {calendar.steps} days, got {series.times[0]} to {series.times[-1]} "
            f"(days {steps[0]} to {steps[-1]}); write another `start`, `end` or `steps` under `run`"
        )
    values = series.values.reshape(len(steps), -1)[inside]
    regions: tuple[int, ...] = ()
    if series.by is not None:
        if series.by not in observable.dims:
            raise ValueError(f"asked for a dim of {series.variable} ({', '.join(observable.dims)}), got {series.by!r}")
        known = world.coords[series.by]
        missing = [region for region in series.regions if region not in known]
        if missing:
            raise ValueError(f"asked for labels of {series.by} ({', '.join(known)}), got {missing[0]!r}; write one")
        regions = tuple(known.index(region) for region in series.regions)
    first = steps[inside]
    apart = int(np.diff(first)[0]) if len(first) > 1 else series.days
    later = np.arange(first[-1] + apart, calendar.steps - series.days + 1, apart)
    values = np.concatenate([values, np.full((len(later), values.shape[1]), np.nan)])
    first = np.concatenate([first, later])
    if until is not None:
        values = np.where((first + series.days - 1 <= calendar.step_of(until))[:, None], values, np.nan)
    begins = calendar.start.weekday() if calendar.start else 0
    return Stream(
        name or series.variable,
        observable,
        first,
        series.days,
        values,
        series.by,
        regions,
        series.regions,
        likelihood,
        dispersion,
        delay_weights(*delay) if delay else (1.0,),
        (begins + np.arange(calendar.steps)) % 7,
        series.label,
        series.source,
    )


def _observable(world: World, name: str) -> Observable:
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


def operators(stream: Stream, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The delay, (steps, steps), and what belongs to each value, (time, steps): float32, applied in this order."""
    delay = np.zeros((steps, steps), np.float32)
    for lag, weight in enumerate(stream.delay[:steps]):
        delay[np.arange(lag, steps), np.arange(steps - lag)] = weight
    gather = np.zeros((len(stream.first), steps), np.float32)
    for row, first in enumerate(stream.first):
        gather[row, first if stream.observable.over == "sum" else first + stream.days - 1 : first + stream.days] = 1
    return delay, gather


def first_parameters(streams: Sequence[Stream]) -> dict[str, dict[str, jax.Array]]:
    """What of the observation model can be free, at its defaults: full reporting, all weekdays alike.

    `reporting` is the share of events that is counted; `weekday`, (7,) from Monday, is relative and has a mean of one.
    """
    return {each.name: {"reporting": jnp.float32(1), "weekday": jnp.ones(7, jnp.float32)} for each in streams}


def expected(
    seen: jax.Array,
    observable: Observable,
    by: str | None,
    regions: tuple[int, ...],
    operator: dict[str, jax.Array],
    params: dict[str, jax.Array],
    scale: float,
) -> jax.Array:
    """Expected counts of one realization, (time, regions or 1) float32.

    Args:
        seen: (steps, ...) what the observable recorded each day.
        observable, by, regions: as in `Stream`.
        operator: "delay" and "gather" of `operators`, and "weekday".
        params: "reporting" and "weekday".
        scale: agents for each real person.
    """
    axis = 1 + observable.dims.index(by) if by else None
    others = tuple(i for i in range(1, seen.ndim) if i != axis)
    daily = seen.astype(jnp.float32).sum(others)
    daily = daily[:, np.array(regions)] if by else daily[:, None]
    reported = operator["delay"] @ daily * (params["reporting"] / scale)
    relative = params["weekday"] / params["weekday"].mean()
    return operator["gather"] @ (reported * relative[operator["weekday"]][:, None])


def calendar_labels(stream: Stream, calendar: Calendar) -> list[Any]:
    """The first day of each value: dates, or day numbers if the run has no start."""
    if calendar.start is None:
        return [int(step) for step in stream.first]
    return [calendar.start + datetime.timedelta(days=int(step)) for step in stream.first]
