"""What a finished run says in words: a short table, and observed data set beside the model's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import xarray as xr

INFECTIONS = ("infections", "incidence")  # names by which shipped worlds call new infections


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: what, total or peak over realizations, when the peak is, and what was observed."""

    name: str
    total: str
    peak: str
    when: str
    observed: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Observed values and the model's over the same days.

    Args:
        variable, label, source: of the observed series.
        times: (time,) datetime64 or day numbers.
        regions: () if the series has none.
        model: (realization, time, regions or 1) float64.
        observed: (time, regions or 1) float64, scaled down with the population if not everybody is simulated.
    """

    variable: str
    label: str
    source: str
    times: np.ndarray
    regions: tuple[str, ...]
    model: np.ndarray
    observed: np.ndarray


def curves(results: xr.Dataset) -> list[str]:
    """The names of the observables, flows first, in the order of the store's writing."""
    found = [name for name, variable in results.data_vars.items() if {"realization", "time"} <= set(variable.dims)]
    return sorted((str(name) for name in found), key=lambda name: (not is_flow(results[name]), _rank(name), name))


def _rank(name: str) -> int:
    order = (
        *INFECTIONS,
        "onsets",
        "admissions",
        "deaths",
        "infectious",
        "hospitalised",
        "critical",
        "susceptible",
        "exposed",
    )
    return order.index(name) if name in order else len(order)


def is_flow(variable: xr.DataArray) -> bool:
    """Whether a value counts events over a time, rather than who is there at a moment."""
    return variable.attrs.get("cell_methods") == "time: sum"


def everywhere(variable: xr.DataArray) -> np.ndarray:
    """An observable of the first scenario summed over regions, ages and the like: (realization, time) float64."""
    first = variable.isel(scenario=0).transpose("realization", "time", ...)
    return first.values.reshape(first.sizes["realization"], first.sizes["time"], -1).sum(-1, dtype=np.float64)


def summary(results: xr.Dataset) -> list[Row]:
    """A row for each observable.

    Args:
        results: from `lpm.open`.
    """
    compared = {comparison.variable: comparison for comparison in comparisons(results)}
    rows = []
    for name in curves(results):
        variable = results[name]
        values = everywhere(variable)
        if values.shape[1] == 0:
            continue
        peak_at = np.nanargmax(np.nan_to_num(np.nanmedian(values, axis=0), nan=-1))
        comparison = compared.get(name)
        rows.append(
            Row(
                name=variable.attrs.get("long_name", name),
                total=_range(np.nansum(values, axis=1)) if is_flow(variable) else "",
                peak=_range(np.nanmax(values, axis=1)),
                when=_moment(results["time"].values[peak_at]),
                observed="" if comparison is None else _observed(comparison, is_flow(variable)),
            )
        )
    return rows


def attack_rate(results: xr.Dataset) -> str:
    """The share of all agents who were infected during the run, "" if the world does not count infections."""
    for name in INFECTIONS:
        if name in results:
            return _range(np.nansum(everywhere(results[name]), axis=1) / results.attrs["agents"] * 100, digits=1) + " %"
    return ""


def comparisons(results: xr.Dataset) -> list[Comparison]:
    """Each observed series that overlaps the run, with the model's values over the same days and in the same regions."""
    found = []
    for name, observed in results.data_vars.items():
        if "of" not in observed.attrs or observed.attrs["of"] not in results or results.sizes["time"] == 0:
            continue
        found.append(_compare(results, results[observed.attrs["of"]].isel(scenario=0), observed))
    return [comparison for comparison in found if len(comparison.times)]


def _compare(results: xr.Dataset, variable: xr.DataArray, observed: xr.DataArray) -> Comparison:
    time = observed.dims[0]
    starts, bounds = results[time].values, results["time_bounds"].values
    day = np.timedelta64(1, "D") if np.issubdtype(starts.dtype, np.datetime64) else 1
    ends = starts + observed.attrs["days"] * day
    inside = (starts >= bounds[0, 0]) & (ends <= bounds[-1, 1])
    by = observed.dims[1] if observed.ndim > 1 else None
    regions = tuple(str(label) for label in results[by].values) if by else ()
    dim = str(by).removeprefix("observed_").rsplit("_", 1)[0] if by else None
    variable = variable.transpose("realization", "time", *([dim] if dim else []), ...)
    if dim:
        variable = variable.sel({dim: list(regions)})
    values = variable.values.astype(np.float64)
    values = values.reshape(*values.shape[: 3 if dim else 2], -1).sum(-1).reshape(values.shape[0], values.shape[1], -1)
    rows = []
    for start, end in zip(starts[inside], ends[inside], strict=True):
        window = (bounds[:, 0] >= start) & (bounds[:, 1] <= end)
        part = values[:, window]
        rows.append(part.sum(1) if is_flow(variable) else part[:, -1])
    model = np.stack(rows, axis=1) if rows else np.zeros((values.shape[0], 0, values.shape[2]))
    data = observed.values[inside].reshape(int(inside.sum()), -1) * results.attrs.get("scale", 1.0)
    return Comparison(
        observed.attrs["of"],
        observed.attrs["long_name"],
        observed.attrs.get("source", ""),
        starts[inside],
        regions,
        model,
        data,
    )


def _observed(comparison: Comparison, flow: bool) -> str:
    totals = comparison.observed.sum(1)
    if flow:
        return f"{totals.sum():,.0f} observed, {_range(comparison.model.sum((1, 2)))} simulated on those days"
    return f"peak {totals.max():,.0f} observed on {_moment(comparison.times[int(totals.argmax())])}"


def _range(values: np.ndarray, digits: int = 0) -> str:
    middle = f"{np.median(values):,.{digits}f}"
    if len(values) < 2:
        return middle
    low, high = np.quantile(values, [0.05, 0.95])
    return f"{middle} ({low:,.{digits}f} to {high:,.{digits}f})"


def _moment(time: Any) -> str:
    return str(time.astype("datetime64[D]")) if isinstance(time, np.datetime64) else f"day {int(time)}"
