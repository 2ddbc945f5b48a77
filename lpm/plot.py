"""The picture of a run: observed data against the model by region, and the course of every observable."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import xarray as xr

matplotlib.use("Agg")

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from lpm.report import Comparison, comparisons, curves, everywhere, is_flow

# Okabe & Ito's colours, told apart by colour-blind readers and in grey.
MODEL, SECOND, DATA = "#0072B2", "#56B4E9", "#D55E00"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
}
COLUMNS = 4


def overview(results: xr.Dataset, path: str | Path) -> Path:
    """Draw a run's overview: with observed data, one panel for each region; below, one for each observable.

    Bands are the middle 50 % and 90 % of the realizations, lines their median, dots what was observed.

    Args:
        results: from `lpm.open`.
        path: of the PNG to write.

    Returns:
        the path.
    """
    compared = comparisons(results)
    panels = [(comparison, region) for comparison in compared for region in range(max(1, len(comparison.regions)))]
    names = curves(results)
    columns = max(1, min(COLUMNS, max(len(names), len(panels))))
    if len(panels) == 5:
        columns = 5
    above, below = -(-len(panels) // columns), -(-len(names) // columns)
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(2.9 * columns, 2.3 * (above + below) + 0.8))
        figure.suptitle(results.attrs.get("title", ""), fontsize=12, fontweight="bold", x=0.01, ha="left")
        grid = figure.add_gridspec(above + below, columns)
        shared = None
        for number, (comparison, region) in enumerate(panels):
            axes = figure.add_subplot(grid[number // columns, number % columns], sharex=shared)
            shared = shared or axes
            _observed_panel(axes, comparison, region, legend=number == 0)
        for number, name in enumerate(names):
            _curve_panel(figure.add_subplot(grid[above + number // columns, number % columns]), results, name)
        figure.text(0.005, -0.01, _caption(results, compared), fontsize=7, color="#555555", va="top", wrap=True)
        figure.savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.15)
        plt.close(figure)
    return Path(path)


def _observed_panel(axes: Axes, comparison: Comparison, region: int, legend: bool) -> None:
    model, times = comparison.model[:, :, region], comparison.times
    _bands(axes, times, model, MODEL)
    axes.plot(times, comparison.observed[:, region], "o", color=DATA, markersize=3.5, label="observed")
    axes.set_title(comparison.regions[region] if comparison.regions else comparison.label)
    if region == 0:
        axes.set_ylabel(comparison.label)
    if legend:
        axes.legend(frameon=False, fontsize=8, loc="upper right")
    _tidy(axes, times)


def _curve_panel(axes: Axes, results: xr.Dataset, name: str) -> None:
    times = results["time"].values
    _bands(axes, times, everywhere(results[name]), MODEL)
    long_name = results[name].attrs.get("long_name", name)
    axes.set_title(f"{long_name}, a {_period(results)}" if is_flow(results[name]) else long_name)
    _tidy(axes, times)


def _bands(axes: Axes, times: np.ndarray, values: np.ndarray, colour: str) -> None:
    if len(values) > 1:
        for low, high, alpha in ((0.05, 0.95, 0.2), (0.25, 0.75, 0.35)):
            lower, upper = np.nanquantile(values, [low, high], axis=0)
            axes.fill_between(times, lower, upper, color=colour, alpha=alpha, linewidth=0)
    axes.plot(times, np.nanmedian(values, axis=0), color=colour, linewidth=1.4, label="simulated")


def _tidy(axes: Axes, times: np.ndarray) -> None:
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    if np.issubdtype(times.dtype, np.datetime64):
        locator = mdates.AutoDateLocator(minticks=3, maxticks=5)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator, show_offset=False))
    else:
        axes.set_xlabel("day")


def _short(value: float, _: object) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _period(results: xr.Dataset) -> str:
    bounds = results["time_bounds"].values[0]
    span = bounds[1] - bounds[0]
    days = int(span / np.timedelta64(1, "D")) if isinstance(span, np.timedelta64) else int(span)
    return {1: "day", 7: "week"}.get(days, f"{days} days")


def _caption(results: xr.Dataset, compared: list[Comparison]) -> str:
    runs = results.sizes["realization"]
    parts = [f"{results.attrs.get('agents', 0):,} agents, seed {results.attrs.get('seed', '')}"]
    if runs > 1:
        parts.append(f"{runs} realizations: median, 50 % and 90 % bands")
    parts += [f"Observed: {comparison.source}" for comparison in compared if comparison.source]
    return ". ".join(parts) + "."
