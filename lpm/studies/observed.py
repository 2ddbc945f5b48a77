"""What was observed, beside the courses of a study: the series that its base is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from lpm.observe import Observable
from lpm.series import Series
from lpm.settings import Calendar

if TYPE_CHECKING:
    from lpm.studies.records import About

MARKS: dict[str, Any] = {"color": "none", "markeredgecolor": "#222222", "markeredgewidth": 0.8, "markersize": 3.5}


def told(
    compared: Iterable[Series], observables: Iterable[Observable], calendar: Calendar, every: int
) -> tuple[dict[str, Any], ...]:
    """Observed series as `About` keeps them: numbers of real people as records have them, on the run's days.

    Args:
        compared: the base's.
        observables: of the base.
        calendar: of the runs.
        every: days in a record; events are given for so many, whatever an observed value covers.
    """
    flows = {each.name for each in observables if each.over == "sum"}
    found = []
    for series in compared:
        steps, values = series.steps(calendar), series.values.reshape(len(series.times), -1)
        inside = (steps >= 0) & (steps + series.days <= calendar.steps)
        if series.variable in flows:
            values = values * (every / series.days)
        found.append(
            {
                "variable": series.variable,
                "label": series.label or series.source or series.variable,
                "dim": series.by or "",
                "labels": list(series.regions),
                "steps": [int(step) + (series.days - 1) // 2 for step in steps[inside]],
                "values": [[None if math.isnan(v) else float(v) for v in row] for row in values[inside]],
            }
        )
    return tuple(found)


def dots(axes: Axes, about: About, times: np.ndarray, variable: str, label: str | None = None) -> None:
    """What was observed of a variable, of all places together or of one region, as rings.

    Args:
        axes: with the courses.
        about: of the study.
        times: of its records.
        variable: an observable.
        label: of a region.
    """
    for series in about.observed:
        if series["variable"] != variable or not series["steps"]:
            continue
        values = _of(series, label)
        if values is not None:
            places = np.array(series["steps"]) // about.every
            axes.plot(times[places], values, "o", label=f"observed: {series['label']}", **MARKS)


def _of(series: Mapping[str, Any], label: str | None) -> np.ndarray | None:
    values = np.array(series["values"], np.float64)
    if label is None:
        return values.sum(1)
    if series["dim"] != "region" or label not in series["labels"]:
        return None
    return values[:, series["labels"].index(label)]
