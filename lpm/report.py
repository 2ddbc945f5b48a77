"""What a finished run says in words: a short table, and observed data set beside the model's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lpm.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

INFECTIONS = ("infections", "incidence")  # names by which shipped worlds call new infections
SIZES = ((1e6, "M", 1), (1e3, "k", 0))  # so that ranges stay short


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: what, total and peak over realizations, and when the peak of their median is."""

    name: str
    total: str
    peak: str
    when: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Observed values and the model's over the same days.

    Args:
        variable, label, source: of the observed series.
        days: that one observed value covers.
        times: (time,) datetime64 or day numbers, the first of those days.
        regions: () if the series has none.
        model: (realization, time, regions or 1) float64.
        observed: (time, regions or 1) float64, scaled down with the population if not everybody is simulated.
    """

    variable: str
    label: str
    source: str
    days: int
    times: np.ndarray
    regions: tuple[str, ...]
    model: np.ndarray
    observed: np.ndarray


def curves(results: xr.Dataset) -> list[str]:
    """The names of the observables, flows first, else in the order of their declaration."""
    found = [str(name) for name, values in results.data_vars.items() if {"realization", "time"} <= set(values.dims)]
    return sorted(found, key=lambda name: not is_flow(results[name]))


def is_flow(variable: xr.DataArray) -> bool:
    """Whether a value counts events over a time, rather than who is there at a moment."""
    return variable.attrs.get("cell_methods") == "time: sum"


def everywhere(variable: xr.DataArray) -> np.ndarray:
    """An observable of the first scenario summed over regions, ages and the like: (realization, time) float64.

    Realizations that an unfinished run has not reached are left out.
    """
    first = variable.isel(scenario=0).transpose("realization", "time", ...)
    values = first.values.reshape(first.sizes["realization"], first.sizes["time"], -1).sum(-1, dtype=np.float64)
    return values[~np.isnan(values).all(axis=1)]


def summary(results: xr.Dataset) -> list[Row]:
    """A row for each observable.

    Args:
        results: from `lpm.open`.
    """
    return [_row(results, name) for name in curves(results)] if results.sizes["time"] else []


def _row(results: xr.Dataset, name: str) -> Row:
    variable = results[name]
    values = everywhere(variable)
    middle = np.nan_to_num(np.nanmedian(values, axis=0), nan=-1)
    peak_at = np.argmax(middle)
    when = _moment(results["time"].values[peak_at]) if middle[peak_at] else ""  # a median that is 0 has no peak
    return Row(
        name=variable.attrs.get("long_name", name),
        total=_range(np.nansum(values, axis=1)) if is_flow(variable) else "",
        peak=_range(np.nanmax(values, axis=1)),
        when=when if np.nan_to_num(values).any() else "never",
    )


def nothing_seen(results: xr.Dataset) -> list[str]:
    """What to say of observables that are 0 throughout, in every realization; nothing if there is none.

    Args:
        results: from `lpm.open`.
    """
    seen = {name: bool(np.nan_to_num(everywhere(results[name])).any()) for name in curves(results)}
    names = [str(results[name].attrs.get("long_name", name)) for name, any_seen in seen.items() if not any_seen]
    if not names or not results.sizes["time"]:
        return []
    lines = [f"0 throughout{', in all realizations' if results.sizes['realization'] > 1 else ''}: {', '.join(names)}"]
    flows = [name for name in seen if is_flow(results[name])]
    if flows and not any(seen[name] for name in flows):
        lines.append(
            "Nothing happened in this run. If that was not meant, look at what it begins with, at the rates in its "
            "settings, and at the number of agents: few agents, or a single seed, may miss what is rare"
        )
    return lines


def shared(runs: Mapping[str, xr.Dataset]) -> list[str]:
    """The observables that several runs have in common, in the order of the first.

    Args:
        runs: name -> results from `lpm.open`.
    Raises:
        InputError: if there is none, or if a record does not cover the same number of days in all of them.
    """
    first, *others = (curves(results) for results in runs.values())
    common = [name for name in first if all(name in other for other in others)]
    if not common:
        seen = "; ".join(f"{name} has {', '.join(curves(results)) or 'none'}" for name, results in runs.items())
        raise InputError(
            f"show: asked for runs with an observable in common, got {seen}; write the folders of runs of one model"
        )
    days = {name: days_in_record(results) for name, results in runs.items()}
    if len(set(days.values())) > 1:
        seen = ", ".join(f"{name} with {number}" for name, number in days.items())
        raise InputError(
            f"show: asked for runs whose records cover the same number of days, got {seen}; "
            "run them with the same `run.every`"
        )
    return common


def side_by_side(runs: Mapping[str, xr.Dataset]) -> list[tuple[str, str, list[str]]]:
    """Rows of a table of several runs: observable, measure, and a value for each run.

    Args:
        runs: name -> results from `lpm.open`, with at least one record.
    Raises:
        InputError: as `shared`.
    """
    lines = []
    for name in shared(runs):
        rows = [_row(results, name) for results in runs.values()]
        what = rows[0].name
        for measure in ("total", "peak", "when"):
            values = [getattr(row, measure) for row in rows]
            if any(values):
                lines.append((what, measure, values))
                what = ""
    rates = [rate for results in runs.values() if (rate := attack_rate(results))]
    if len(rates) == len(runs):
        lines.append((max((name for name, _ in rates), key=len), "", [share for _, share in rates]))
    return lines


def days_in_record(results: xr.Dataset) -> int:
    """How many days a record covers."""
    first, end = results["time_bounds"].values[0]
    return int((end - first) / np.timedelta64(1, "D")) if isinstance(first, np.datetime64) else int(end - first)


def attack_rate(results: xr.Dataset) -> tuple[str, str] | None:
    """Infections in all over the number of agents, with its name; None if the world does not count infections.

    Where an agent may be infected again it is no share of the agents, and is not called attack rate once it passes 1.
    """
    for name in INFECTIONS:
        if name in results:
            share = np.nansum(everywhere(results[name]), axis=1) / results.attrs["agents"] * 100
            return ("attack rate" if share.max() <= 100 else "infections per 100 agents", _range(share, " %"))
    return None


def observed_beside(results: xr.Dataset) -> list[str]:
    """A sentence for each observed series: what was counted, and what was simulated for the same days."""
    return [
        _sentence(each, is_flow(results[each.variable]), results.attrs.get("scale", 1.0))
        for each in comparisons(results)
    ]


def comparisons(results: xr.Dataset) -> list[Comparison]:
    """Each observed series that overlaps the run, and the model's values over the same days and in the same regions."""
    found = []
    for observed in results.data_vars.values():
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
    values = values[~np.isnan(values).all(axis=(1, 2))]
    rows = []
    for start, end in zip(starts[inside], ends[inside], strict=True):
        window = (bounds[:, 0] >= start) & (bounds[:, 1] <= end)
        part = values[:, window]
        rows.append(part.sum(1) if is_flow(variable) else part[:, -1])
    model = np.stack(rows, axis=1) if rows else np.zeros((values.shape[0], 0, values.shape[2]))
    data = observed.values.reshape(len(starts), -1)[inside] * results.attrs.get("scale", 1.0)
    return Comparison(
        observed.attrs["of"],
        observed.attrs["long_name"],
        observed.attrs.get("source", ""),
        int(observed.attrs["days"]),
        starts[inside],
        regions,
        model,
        data,
    )


def _sentence(comparison: Comparison, flow: bool, scale: float) -> str:
    totals, model, times = comparison.observed.sum(1), comparison.model.sum(2), comparison.times
    if not flow:
        observed = f"peak {totals.max():,.0f} observed on {_moment(times[int(totals.argmax())])}"
        return f"{comparison.label}: {observed}, {_range(np.nanmax(model, axis=1))} simulated"
    observed = f"{totals.sum():,.0f} observed"
    if scale != 1:
        observed += f" ({totals.sum() / scale:,.0f} times {scale:.3g})"
    last = times[-1] + (comparison.days - 1) * (np.timedelta64(1, "D") if isinstance(times[-1], np.datetime64) else 1)
    span = f"{_moment(times[0])} to {_moment(last)}"
    return f"{comparison.label}: {observed}, {_range(np.nansum(model, axis=1))} simulated, {span}"


def _range(values: np.ndarray, unit: str = "") -> str:
    """The median and, of several values, what lies between the quantiles of 5 % and 95 %.

    >>> _range(np.array([743.0])), _range(np.array([700.0, 743.0, 751.0])), _range(np.array([3e6, 3.5e6]))
    ('743', '743 (704–750)', '3,250k (3,025k–3,475k)')
    """
    digits = 1 if unit else 0
    if len(values) < 2:
        return f"{values[0]:,.{digits}f}{unit}"
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    size, letter, digits = next((each for each in SIZES if high >= 100 * each[0]), (1, "", digits))
    lower, median, upper = (f"{value / size:,.{digits}f}{letter}" for value in (low, middle, high))
    return f"{median}{unit} ({lower}–{upper})"


def _moment(time: Any) -> str:
    return str(time.astype("datetime64[D]")) if isinstance(time, np.datetime64) else f"day {int(time)}"
