"""The picture of a run: observed data against the model by region, and the course of every observable."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lpm.report import Comparison, comparisons, curves, days_in_record, everywhere, is_flow, shared

if TYPE_CHECKING:
    import xarray as xr

# Okabe & Ito's colours, told apart by colour-blind readers and in grey.
MODEL, DATA = "#0072B2", "#D55E00"
OF_RUNS = (MODEL, DATA, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")  # 28 lines before one looks like another
STYLE: Any = {
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
    "axes.titlepad": 8,
    "figure.constrained_layout.use": True,
}
MOST_COLUMNS = 4  # of observables; regions stand in one row up to two more
FLATTEST = 4  # times higher than the lowest panel of regions: where all still share an axis
WIDTH, HEIGHT = 12.0, 2.4  # inches: of the picture, of a row


def overview(results: xr.Dataset, path: str | Path) -> Path:
    """Draw a run's overview: observed data by region, if there is such, and below a panel for each observable.

    Bands are the middle 50 % and 90 % of the realizations, lines their median, dots what was observed.

    Args:
        results: from `lpm.open`.
        path: of the PNG to write.

    Returns:
        the path.
    """
    compared = comparisons(results)
    by_region = [(each, region) for each in compared for region in range(len(each.regions))]
    names = curves(results)
    upper, lower = _grid(len(by_region), MOST_COLUMNS + 2), _grid(len(names), MOST_COLUMNS)
    both = bool(by_region) and bool(names)
    rows = upper[0] + lower[0] if both else max(upper[0], lower[0])
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(WIDTH if max(upper[1], lower[1]) > 2 else WIDTH * 0.7, HEIGHT * rows + 0.7))
        blocks = figure.add_gridspec(1 + both, 1, height_ratios=(upper[0], lower[0]) if both else None)
        above, below = blocks[0].subgridspec(*upper), blocks[-1].subgridspec(*lower)
        first = None
        for number, (comparison, region) in enumerate(by_region):
            axes = figure.add_subplot(above[divmod(number, upper[1])], sharex=first)
            first = first or axes
            _compared_panel(axes, comparison, region, comparison.regions[region])
            top = _common_top(comparison)
            axes.set_ylim(top=top)
            if number % upper[1] == 0:
                axes.set_ylabel(comparison.label + ("" if top else "\n(each panel to its own scale)"))
        whole = {each.variable: each for each in compared if not each.regions}
        for number, name in enumerate(names):
            _curve_panel(figure.add_subplot(below[divmod(number, lower[1])]), results, name, whole.get(name))
        _words(figure, results.attrs.get("title", ""), _caption(results, compared))
        return _saved(figure, path)


def overlaid(runs: Mapping[str, xr.Dataset], path: str | Path) -> Path:
    """Draw several runs over each other, a panel for each observable that they share.

    Lines are medians over the realizations, bands the middle 90 % of them; colours and dashes differ by run. Where not
    all runs have dates, time is counted from each run's first day.

    Args:
        runs: name -> results from `lpm.open`.
        path: of the PNG to write.

    Returns:
        the path.

    Raises:
        InputError: if they share no observable, or if their records cover different numbers of days.
    """
    names, first = shared(runs), next(iter(runs.values()))
    rows, columns = _grid(len(names), MOST_COLUMNS)
    dated = all(np.issubdtype(results["time"].dtype, np.datetime64) for results in runs.values())
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(WIDTH if columns > 2 else WIDTH * 0.7, HEIGHT * rows + 0.7))
        panels = figure.add_gridspec(rows, columns)
        for number, name in enumerate(names):
            axes = figure.add_subplot(panels[divmod(number, columns)])
            for which, (run, results) in enumerate(runs.items()):
                times = results["time"].values if dated else _days_gone(results["time"].values)
                _line(axes, times, everywhere(results[name]), run, which)
            flow = f", {_each(days_in_record(first))}" if is_flow(first[name]) else ""
            axes.set_title(_wrapped(_named(first[name]) + flow))
            _tidy(axes, times)
        titles = {results.attrs.get("title", "").partition("; ")[0] for results in runs.values()}  # what was set apart
        _words(figure, titles.pop() if len(titles) == 1 else "", _caption_of_several(runs))
        return _saved(figure, path)


def _days_gone(times: np.ndarray) -> np.ndarray:
    gone = times - times[0]
    return gone // np.timedelta64(1, "D") if np.issubdtype(times.dtype, np.datetime64) else gone


def _line(axes: Axes, times: np.ndarray, values: np.ndarray, label: str, number: int) -> None:
    """One run of several."""
    color, dashes = OF_RUNS[number % len(OF_RUNS)], DASHES[number % len(DASHES)]
    if len(values) > 1:
        lower, upper = np.nanquantile(values, [0.05, 0.95], axis=0)
        axes.fill_between(times, lower, upper, color=color, alpha=0.15, linewidth=0)
        for edge in (lower, upper):  # told apart where bands lie over each other
            axes.plot(times, edge, color=color, linestyle=dashes, linewidth=0.5, alpha=0.7)
    axes.plot(times, np.nanmedian(values, axis=0), color=color, linestyle=dashes, linewidth=1.4, label=label)


def _saved(figure: Figure, path: str | Path) -> Path:
    figure.savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.15)
    plt.close(figure)
    return Path(path)


def _grid(panels: int, most: int) -> tuple[int, int]:
    """Rows and columns that hold so many panels with the least left empty.

    >>> _grid(7, 4), _grid(5, 6), _grid(0, 4)
    ((2, 4), (1, 5), (1, 1))
    """
    rows = max(1, -(-panels // most))
    return rows, max(1, -(-panels // rows))


def _common_top(comparison: Comparison) -> float | None:
    """The end of an axis for all regions alike; None where the smallest would be too flat on it to be read."""
    ends = np.nanmax([comparison.model.max(0), comparison.observed], axis=(0, 1))
    return None if ends.max() > FLATTEST * ends.min() else float(ends.max() or 1) * 1.05


def _compared_panel(axes: Axes, comparison: Comparison, region: int, title: str) -> None:
    """The model's values over the days of the observed ones."""
    _bands(axes, comparison.times, comparison.model[:, :, region])
    _dots(axes, comparison, region)
    axes.set_title(_wrapped(title))
    _tidy(axes, comparison.times)


def _curve_panel(axes: Axes, results: xr.Dataset, name: str, compared: Comparison | None) -> None:
    """An observable of all places together, and what was observed of it."""
    variable, times = results[name], results["time"].values
    title = _named(variable)
    days = days_in_record(results)
    if compared is not None and compared.days != days:
        _compared_panel(axes, compared, 0, f"{title}, {_each(compared.days)}" if is_flow(variable) else title)
        return
    _bands(axes, times, everywhere(variable))
    if compared is not None:
        _dots(axes, compared, 0)
    axes.set_title(_wrapped(f"{title}, {_each(days)}" if is_flow(variable) else title))
    _tidy(axes, times)


def _named(variable: xr.DataArray) -> str:
    long_name, units = variable.attrs.get("long_name", str(variable.name)), variable.attrs.get("units", "1")
    return long_name if units == "1" else f"{long_name}, {units}"


def _dots(axes: Axes, comparison: Comparison, region: int) -> None:
    label = f"observed: {comparison.label}"
    axes.plot(comparison.times, comparison.observed[:, region], "o", color=DATA, markersize=3.5, label=label)


def _words(figure: Figure, title: str, caption: str) -> None:
    """The title, one legend for all panels, and below them where everything is from."""
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    inch = 1 / figure.get_figheight()
    columns = max(1, int(figure.get_figwidth() * 16 / (max(map(len, handles), default=0) + 8)))
    below = -0.12 - 0.18 * -(-len(handles) // columns) if len(handles) > 1 else -0.05
    if len(handles) > 1:
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="upper left",
            bbox_to_anchor=(0.003, 0),
            borderaxespad=0.2,
            ncols=min(columns, len(handles)),
            frameon=False,
            fontsize=8,
        )
    caption = textwrap.fill(caption, int(figure.get_figwidth() * 20))
    figure.text(0.01, below * inch, caption, fontsize=7, color="#555555", va="top")


def _bands(axes: Axes, times: np.ndarray, values: np.ndarray) -> None:
    if len(values) > 1:
        for low, high, alpha in ((0.05, 0.95, 0.2), (0.25, 0.75, 0.35)):
            lower, upper = np.nanquantile(values, [low, high], axis=0)
            label = f"{high - low:.0%} of the realizations".replace("%", " %")
            axes.fill_between(times, lower, upper, color=MODEL, alpha=alpha, linewidth=0, label=label)
    label = f"simulated, median of {len(values):,}" if len(values) > 1 else "simulated"
    axes.plot(times, np.nanmedian(values, axis=0), color=MODEL, linewidth=1.4, label=label)


def _tidy(axes: Axes, times: np.ndarray) -> None:
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    if axes.dataLim.y0 == axes.dataLim.y1 == 0:  # the panel would look empty, and its scale mean nothing
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 1])
        axes.text(0.5, 0.5, "0 throughout", transform=axes.transAxes, ha="center", va="center", color="#555555")
        for line in axes.lines:
            line.set(clip_on=False, zorder=3, linewidth=2)
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


def _wrapped(title: str) -> str:
    return textwrap.fill(title, 34)


def _each(days: int) -> str:
    return {1: "a day", 7: "a week"}.get(days, f"in {days} days")


def _caption(results: xr.Dataset, compared: list[Comparison]) -> str:
    agents, runs = results.attrs.get("agents", 0), results.sizes["realization"]
    parts = [
        f"{agents:,} agents, seed {results.attrs.get('seed', '')}" + (f", {runs:,} realizations" if runs > 1 else "")
    ]
    parts += dict.fromkeys(f"Observed: {comparison.source}" for comparison in compared if comparison.source)
    if compared and results.attrs.get("scale", 1.0) != 1:
        parts.append(f"Observed data scaled to {agents:,} agents")
    return ". ".join(parts) + "."


def _caption_of_several(runs: Mapping[str, xr.Dataset]) -> str:
    about = {run: _caption(results, []) for run, results in runs.items()}
    if len(set(about.values())) == 1:
        about = {"Each run": next(iter(about.values()))}
    caption = " ".join(f"{run}: {text}" for run, text in about.items())
    if any(results.sizes["realization"] > 1 for results in runs.values()):
        caption = f"Lines are medians, bands hold 90 % of the realizations. {caption}"
    return caption
