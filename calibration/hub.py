"""Forecasts in the columns of the hubverse, whose hubs collect and score forecasts of many models.

A row for each quantile of each forecast: `reference_date` is the last day with data, `horizon` counts the days, weeks
or months after it, `target_end_date` is the last day that a value covers. Columns and output types follow version 6.0.0
of the hubverse's schemas; the names of targets and locations are this model's own, and a hub may ask for others.
"""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lpm.calibration.observation import Stream
from lpm.calibration.posterior import Predictive, bands
from lpm.calibration.problem import of_streams
from lpm.calibration.task import Fit
from lpm.world import World

COLUMNS = (
    "reference_date",
    "target",
    "horizon",
    "location",
    "target_end_date",
    "output_type",
    "output_type_id",
    "value",
)
LEVELS = (0.01, 0.025, *(round(0.05 * i, 2) for i in range(1, 20)), 0.975, 0.99)
NAMES = {1: "day", 7: "wk"}


def later(stream: Stream) -> np.ndarray:
    """(time,) bool, values after the last one of which there are data: those that are forecast."""
    gaps = np.isnan(stream.values).all(1)
    last = np.flatnonzero(~gaps)
    return np.arange(len(gaps)) > (last[-1] if len(last) else -1)


def rows(fit: Fit, predictive: Predictive) -> Iterator[tuple[object, ...]]:
    """The rows of all forecasts, with the columns `COLUMNS` and one more for each further dim of a stream's cells.

    Args:
        fit: whose run has dates.
        predictive: from `lpm.calibration.predict`.
    Raises:
        ValueError: if the run has no dates.
    """
    start = fit.problem.calendar.start
    if start is None:
        raise ValueError("asked for forecasts with dates, got a run without; write `start` under `run`")
    further = others(fit)
    for stream, counts in zip(fit.problem.streams, of_streams(fit.problem.streams, predictive.counts), strict=True):
        which = np.flatnonzero(later(stream))
        if not len(which):
            continue
        ends = stream.first + stream.lengths - 1
        reference = ends[which[0] - 1] if which[0] else stream.first[0] - 1
        period = (
            "month" if len(set(stream.lengths)) > 1 else NAMES.get(int(stream.lengths[0]), f"{stream.lengths[0]} day")
        )
        target = f"{period} {'inc ' if stream.observable.over == 'sum' else ''}{stream.name}"
        quantiles = bands(counts, LEVELS)
        for horizon, time in enumerate(which, 1):
            for cell in range(stream.values.shape[1]):
                own = labels(fit.problem.world, stream, cell)
                place = own.pop("region", "all")
                for level, value in zip(LEVELS, quantiles[:, time, cell], strict=True):
                    yield (
                        start + datetime.timedelta(days=int(reference)),
                        target,
                        horizon,
                        place,
                        start + datetime.timedelta(days=int(ends[time])),
                        "quantile",
                        level,
                        round(float(value), 3),
                        *(own.get(dim, "all") for dim in further),
                    )


def labels(world: World, stream: Stream, cell: int) -> dict[str, str]:
    """What a cell of a stream is, dim by dim; {} if it has no dims.

    A label may hold a comma, so this is not read from `Stream.labels`, where those of several dims stand together.
    """
    if not stream.dims:
        return {}
    known = [world.coords[dim] for dim in stream.dims]
    places = np.unravel_index(stream.regions[cell], [len(each) for each in known])
    return {dim: each[place] for dim, each, place in zip(stream.dims, known, places, strict=True)}


def others(fit: Fit) -> tuple[str, ...]:
    """Dims of the streams' cells besides region."""
    found = dict.fromkeys(dim for stream in fit.problem.streams for dim in stream.dims)
    return tuple(dim for dim in found if dim != "region")


def write(fit: Fit, predictive: Predictive, path: Path) -> Path | None:
    """Write all forecasts to a CSV file; None if there is nothing to forecast, or no dates."""
    if fit.problem.calendar.start is None or not any(later(each).any() for each in fit.problem.streams):
        return None
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*COLUMNS, *others(fit)))
        writer.writerows(rows(fit, predictive))
    return path
