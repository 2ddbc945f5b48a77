"""The pictures of a study's page: inline SVG, told apart by colour-blind readers and in grey."""

from __future__ import annotations

import html
import io
import math
import re
import textwrap
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lpm import plot
from lpm.plot import DASHES, OF_RUNS
from lpm.studies import observed
from lpm.studies.compare import QUANTILES, summary
from lpm.studies.records import About

if TYPE_CHECKING:
    import xarray as xr

STYLE = plot.STYLE | {"text.parse_math": False}  # a dollar in a name is a dollar
FAR, NEAR = 4.0, 2.5  # times the baseline's highest point: when to enlarge, and what is seen then
MOST_ROWS = 4  # of panels in one picture, so that it fits a printed page
MOST_CURVES = 8  # as many as there are colours, and one told apart by its dashes
UNLIKE = 15.0  # ratio of effects from which on their axis is logarithmic
SIZES = ((1e9, " bn"), (1e6, "M"), (1e3, "k"))
WIDTH = 10.0  # inches
BASELINE = "#000000"
COLORS = OF_RUNS[:6]
LOW, HIGH = QUANTILES.index(0.05), QUANTILES.index(0.95)


def curves(dataset: xr.Dataset, about: About) -> str:
    """A row for each observable: medians of the scenarios, bands that hold 90 % of the realizations, what was observed.

    Where some scenario is far above the baseline, a second panel enlarges what is near it.
    """
    names = drawn(dataset)
    shown = shown_scenarios(dataset)
    tops = {name: _tops(dataset[name].values, shown) for name in names}
    parts = [names[place : place + MOST_ROWS] for place in range(0, len(names), MOST_ROWS)]
    return "".join(_courses(dataset, about, tops, part, number) for number, part in enumerate(parts))


def drawn(dataset: xr.Dataset) -> list[str]:
    """The courses of all places together, whatever their observables are called."""
    return [str(name) for name in dataset if str(name).startswith("curve_") and dataset[name].dims[-1] == "time"]


def _courses(
    dataset: xr.Dataset, about: About, tops: dict[str, tuple[float, float]], names: list[str], number: int
) -> str:
    """A picture that a printed page has room for."""
    shown = shown_scenarios(dataset)
    columns = 1 + any(_far(*tops[name]) for name in names)
    with plt.rc_context(STYLE):
        size = (WIDTH, 2.3 * len(names) + 0.5)
        figure, panels = plt.subplots(len(names), columns, figsize=size, squeeze=False, sharex=True)
        for name, row in zip(names, panels, strict=True):
            variable = name.removeprefix("curve_")
            title = about.long_name(variable) + _each(about, variable)
            for axes, top, words in zip(row, (None, NEAR * tops[name][0]), ("", ", enlarged"), strict=False):
                if words and not _far(*tops[name]):
                    axes.set_visible(False)
                    continue
                _lines(axes, dataset, dataset[name].values, shown)
                observed.dots(axes, about, dataset["time"].values, variable)
                axes.set_title(title + words)
                axes.tick_params(labelbottom=True)
                _capacity(axes, about, variable)
                axes.set_ylim(bottom=0, top=top or None)
        return finished(
            figure, "Courses of the scenarios, medians and 90 % bands" + (f", {number + 1}" if number else "")
        )


def _far(own: float, highest: float) -> bool:
    """Whether what is near the baseline is to be enlarged, from the highest point of its band and of all."""
    return 0 < FAR * own < highest


def _tops(values: np.ndarray, shown: list[int]) -> tuple[float, float]:
    """The highest point of the baseline's band, and of all bands."""
    own, highest = (float(np.nanmax([0, *np.ravel(each)])) for each in (values[0, HIGH], values[shown, HIGH]))
    return own, highest


def _capacity(axes: Axes, about: About, variable: str) -> None:
    """A line at the number of beds."""
    if about.capacity is None or about.capacity.variable != variable:
        return
    beds = about.capacity.beds
    axes.axhline(beds, color="#555555", linewidth=0.8, linestyle=(0, (1, 2)))
    place = axes.get_yaxis_transform()
    words = f"{beds:,.0f} beds"
    axes.text(1, beds, words, transform=place, fontsize=7.5, ha="right", va="bottom", clip_on=True)


def regions(dataset: xr.Dataset, about: About) -> str:
    """The course of the outcome that matters most in each region; nothing if there are no regions."""
    name = next((n for n in _by_importance(dataset, about) if f"curve_{n}_by_region" in dataset), None)
    if name is None:
        return ""
    labels, shown = about.coords["region"], shown_scenarios(dataset)
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            rows, columns, figsize=(WIDTH, 2.2 * rows + 0.5), squeeze=False, sharex=True, sharey=True
        )
        for place, (label, axes) in enumerate(zip(labels, panels.flat, strict=False)):
            _lines(axes, dataset, dataset[f"curve_{name}_by_region"].values[..., place], shown)
            observed.dots(axes, about, dataset["time"].values, name, label)
            axes.set_title(label)
            axes.tick_params(labelbottom=True)
        panels[0, 0].set_ylim(bottom=0)
        for axes in list(panels.flat)[len(labels) :]:
            axes.set_axis_off()
        figure.supylabel(about.long_name(name) + _each(about, name), fontsize=9)
        return finished(figure, f"{about.long_name(name)} by region")


def _by_importance(dataset: xr.Dataset, about: About) -> list[str]:
    """Observables, that of the effect first."""
    effect = [about.effect.variable] if about.effect else []
    return [*effect, *(outcome.variable for outcome in about.outcomes)]


def effects(dataset: xr.Dataset, about: About) -> str:
    """What each scenario averts: median, and intervals of 50, 90 and 95 %."""
    outcomes = [outcome for outcome in about.outcomes if outcome.difference in dataset]
    names = list(about.names[1:])
    columns = min(3, len(outcomes))
    rows = -(-len(outcomes) // columns)
    height = (0.28 * len(names) + 0.9) * rows + 0.2
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, sharey=True)
        for outcome, axes in zip(outcomes, panels.flat, strict=False):
            values = dataset[outcome.difference].values[1:]
            _forest(axes, values)
            axes.set_title(textwrap.fill(f"{outcome.label}: {outcome.word}", 38))
            axes.set_yticks(range(len(names)), [textwrap.shorten(name, 40) for name in names])
            axes.set_ylim(len(names) - 0.5, -0.5)
        for axes in list(panels.flat)[len(outcomes) :]:
            axes.set_axis_off()
        return _svg(figure, "What each scenario averts, with intervals")


def _forest(axes: Axes, values: np.ndarray) -> None:
    """A row for each scenario; on a scale that grows like a logarithm away from 0 where sizes differ much."""
    axes.axvline(0, color="#000000", linewidth=0.8)
    found = [summary(each) for each in values]
    for row, each in enumerate(found):
        if not each.n:
            axes.annotate("no runs", (0, row), fontsize=7, va="center")
            continue
        q = each.quantiles
        for low, high, width in ((0, 6, 0.9), (1, 5, 2.4), (2, 4, 6.0)):
            axes.plot([q[low], q[high]], [row, row], color=OF_RUNS[0], linewidth=width, solid_capstyle="butt")
        axes.plot(q[3], row, "o", color="white", markeredgecolor="black", markersize=4.5)
    sizes = [abs(each.median) for each in found if each.n and each.median]
    axes.grid(axis="y", visible=False)
    if sizes and max(sizes) > UNLIKE * min(sizes):
        axes.set_xscale("symlog", linthresh=10 ** math.floor(math.log10(min(sizes))), linscale=0.5)
        axes.set_xticks(_decades(*axes.get_xlim(), min(sizes)))
        axes.minorticks_off()
        axes.set_xlabel("logarithmic scale", fontsize=8)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(short))


def _decades(low: float, high: float, smallest: float) -> list[float]:
    """Zero, and powers of ten on both sides of it, not too many.

    >>> _decades(-3e6, 2e3, 500)
    [-1000000.0, -10000.0, -100.0, 0.0, 100.0]
    """
    first, last = (math.floor(math.log10(max(size, 1e-300))) for size in (smallest, max(-low, high)))
    powers = range(first, last + 1, 1 + (last - first > 2))
    return sorted(
        {0.0, *(sign * 10.0**power for power in powers for sign in (-1, 1) if low <= sign * 10**power <= high)}
    )


def plane(dataset: xr.Dataset, about: About) -> str:
    """Extra cost against what is averted: a dot for each realization, a ring for the mean; nothing without costs."""
    if "extra_cost" not in dataset or about.effect is None:
        return ""
    averted, extra = dataset[f"averted_{about.effect.id}"].values, dataset["extra_cost"].values
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH * 0.72, 4.2))
        axes.axhline(0, color="#000000", linewidth=0.8)
        axes.axvline(0, color="#000000", linewidth=0.8)
        for which, number in enumerate(shown_scenarios(dataset)[1:]):
            color, marker = COLORS[which % len(COLORS)], "osD^vP"[which % 6]
            good = ~(np.isnan(averted[number]) | np.isnan(extra[number]))
            if not good.any():
                continue
            x, y = averted[number][good], extra[number][good]
            axes.plot(x, y, marker, color=color, markersize=3.5, alpha=0.45, linewidth=0, markeredgewidth=0)
            label = about.names[number]
            ring = {"color": "none", "markeredgecolor": color, "markeredgewidth": 1.8, "markersize": 9}
            axes.plot(x.mean(), y.mean(), marker, linewidth=0, label=label, **ring)  # type: ignore[arg-type]
        axes.set_xlabel(f"{about.effect.label}: averted")
        axes.set_ylabel(f"extra cost, {about.currency}")
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.yaxis.set_major_formatter(FuncFormatter(short))
        return finished(figure, "Cost and effect of each scenario")


def attribution(dataset: xr.Dataset, about: About) -> str:
    """Each lever's share of what all levers avert together; nothing without levers."""
    if not about.levers:
        return ""
    outcomes = [outcome for outcome in about.outcomes if f"attribution_{outcome.id}" in dataset]
    columns = min(3, len(outcomes))
    rows = -(-len(outcomes) // columns)
    height = (0.28 * len(about.levers) + 0.9) * rows + 0.2
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, sharey=True)
        for outcome, axes in zip(outcomes, panels.flat, strict=False):
            _forest(axes, dataset[f"attribution_{outcome.id}"].values)
            axes.set_title(textwrap.fill(f"{outcome.label}: {outcome.word}", 38))
            axes.set_yticks(range(len(about.levers)), [textwrap.shorten(name, 40) for name in about.levers])
            axes.set_ylim(len(about.levers) - 0.5, -0.5)
        for axes in list(panels.flat)[len(outcomes) :]:
            axes.set_axis_off()
        return _svg(figure, "Each lever's share")


def shown_scenarios(dataset: xr.Dataset) -> list[int]:
    """The numbers of the scenarios that are drawn as lines: the first ones, as many as can be told apart."""
    return list(range(min(dataset.sizes["scenario"], MOST_CURVES)))


def _lines(axes: Axes, dataset: xr.Dataset, values: np.ndarray, shown: list[int]) -> None:
    """Medians and bands of the scenarios, (scenario, quantile, time)."""
    times = dataset["time"].values
    for which, number in enumerate(shown):
        band = values[number]
        if np.isnan(band).all():
            continue
        color = COLORS[(which - 1) % len(COLORS)] if which else BASELINE
        dashes = DASHES[which % len(DASHES)]
        axes.fill_between(times, band[LOW], band[HIGH], color=color, alpha=0.15, linewidth=0)
        name = str(dataset["scenario"].values[number])
        axes.plot(times, band[3], color=color, linestyle=dashes, linewidth=1.8 if not which else 1.3, label=name)
    axes.yaxis.set_major_formatter(FuncFormatter(short))
    if np.issubdtype(times.dtype, np.datetime64):
        locator = mdates.AutoDateLocator(minticks=3, maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator, show_offset=False))
    else:
        axes.set_xlabel("day")


def _each(about: About, variable: str) -> str:
    flow = next(over for name, *_, over in about.observables if name == variable) == "sum"
    return {1: ", a day", 7: ", a week"}.get(about.every, f", in {about.every} days") if flow else ""


def short(value: float, _: object) -> str:
    size, letter = next((each for each in SIZES if abs(value) >= each[0]), (1, ""))
    return f"{value / size:g}{letter}".replace("-", "−")


def finished(figure: Figure, label: str) -> str:
    """With one legend for all panels, above them."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(textwrap.shorten(name, 40), handle)
    if handles:
        columns = max(1, min(len(handles), 150 // (max(map(len, handles)) + 6)))
        figure.legend(
            list(handles.values()), list(handles), loc="outside upper left", ncols=columns, frameon=False, fontsize=8.5
        )
    return _svg(figure, label)


def _svg(figure: Figure, label: str) -> str:
    """The figure as an SVG element to stand in a page: no header, no links, no ids that another figure has too."""
    text = io.StringIO()
    with plt.rc_context({"svg.hashsalt": label, "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", bbox_inches="tight", pad_inches=0.05, metadata={"Date": None})
    plt.close(figure)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d)\d+", r"\1", path[0]), svg)  # a tenth of a point
    prefix = re.sub(r"\W+", "-", label.lower())
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r' id="([^"]*)"', rf' id="{prefix}-\1"', svg)
    svg = re.sub(r'xlink:href="#([^"]*)"', rf'href="#{prefix}-\1"', svg)
    svg = re.sub(r"url\(#([^)]*)\)", rf"url(#{prefix}-\1)", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)
