"""Parts of a study's page: how often each option is the best buy, and which settings an outcome follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from lpm.plot import DASHES, OF_RUNS
from lpm.studies.figures import BASELINE, COLORS, MOST_CURVES, STYLE, WIDTH, finished, short
from lpm.studies.markup import interval, number, table, text
from lpm.studies.records import About

if TYPE_CHECKING:
    import xarray as xr


def acceptable(dataset: xr.Dataset, about: About) -> list[str]:
    """Acceptability curves; nothing without the worth of a unit averted."""
    if "acceptability" not in dataset or about.effect is None:
        return []
    shares, worths = dataset["acceptability"].values, dataset["worth"].values
    order = sorted(np.flatnonzero(shares.max(1) > 0), key=lambda place: -shares[place].max())[:MOST_CURVES]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH * 0.72, 3.4))
        for place in sorted(order):  # with the colours that the scenarios have in the other pictures
            color = COLORS[(place - 1) % len(COLORS)] if place else BASELINE
            dashes = DASHES[place % len(DASHES)]
            axes.plot(worths, shares[place], color=color, linestyle=dashes, linewidth=1.5, label=about.names[place])
        axes.axvline(about.worth, color="#555555", linewidth=0.8, linestyle=(0, (1, 2)))
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(f"worth of each averted ({about.effect.label}), {about.currency}")
        axes.set_ylabel("share of realizations")
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        drawn = finished(figure, "How often each scenario is the best buy")
    return [
        "<p>The share of realizations in which each scenario has the largest net benefit, that is what it averts at "
        f"its worth less its extra cost. The dotted line is at {number(about.worth)} {text(about.currency)}.</p>",
        drawn,
    ]


def sensitivities(dataset: xr.Dataset, about: About) -> list[str]:
    """Elasticities, Sobol indices and rank correlations, as pictures and numbers; nothing that was not asked for."""
    found = _elasticities(dataset, about)
    if "sobol_setting" in dataset.dims:
        measures = [("sobol_total", "in all"), ("sobol_first", "alone")]
        found += [
            "<h2>Which settings matter</h2>",
            "<p>The share of an outcome's variance over the ranges of settings that goes with each of them: alone, and "
            "in all, which counts what it does together with others (Sobol indices, intervals of 95 %).</p>",
            _intervals(dataset, about, "sobol_setting", measures, "Sobol indices", (0.0, 1.0)),
            table(*_numbers(dataset, about, "sobol_setting", measures)),
        ]
    if "latin_hypercube_setting" in dataset.dims:
        measures = [("rank_correlation", "rank correlation")]
        found += [
            "<h2>Which settings outcomes follow</h2>",
            "<p>How closely an outcome rises (1) or falls (−1) with each setting while the others are held, over the "
            "Latin hypercube (partial rank correlation, intervals of 95 %).</p>",
            _intervals(dataset, about, "latin_hypercube_setting", measures, "Rank correlations", (-1.0, 1.0)),
            table(*_numbers(dataset, about, "latin_hypercube_setting", measures)),
        ]
    return found


def _elasticities(dataset: xr.Dataset, about: About) -> list[str]:
    if about.slopes is None:
        return []
    head = "<h2>What a small change of a setting does</h2>"
    if "elasticity_setting" not in dataset.dims:
        why = text(dataset.attrs.get("sensitivities_missing", ""))
        return [head, f'<div class="warn">Sensitivities are missing: {why}.</div>']
    how = about.slopes["method"]
    derivatives = "differences between runs with the same draws" if how == "differences" else f"the rule {text(how)}"
    size = f" of {about.slopes['agents']:,} agents" if about.slopes["agents"] else ""
    measures = [("elasticity", "")]
    return [
        head,
        f"<p>By how many percent each outcome of <b>{text(about.names[0])}</b> changes for one percent more of a "
        f"setting, or for dates a day later (derivatives by {derivatives}, {about.slopes['realizations']} realizations"
        f"{size}, intervals of 95 %). It holds for small changes.</p>",
        _intervals(dataset, about, "elasticity_setting", measures, "Sensitivities of the baseline", None),
        table(*_numbers(dataset, about, "elasticity_setting", measures)),
    ]


def _numbers(
    dataset: xr.Dataset, about: About, dim: str, measures: list[tuple[str, str]]
) -> tuple[list[str], list[list[str]]]:
    head = ["setting", *(text(f"{outcome.label}: {words}" if words else outcome.label) for outcome in about.outcomes
                         for _, words in measures)]  # fmt: skip
    rows = []
    for place, setting in enumerate(dataset[dim].values):
        cells = []
        for outcome in about.outcomes:
            for name, _ in measures:
                estimate, low, high = (_share(each) for each in dataset[f"{name}_{outcome.id}"].values[place])
                cells.append(interval(estimate, low, high))
        rows.append([text(setting), *cells])
    return head, rows


def _share(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}".replace("-", "−")


def _intervals(
    dataset: xr.Dataset,
    about: About,
    dim: str,
    measures: list[tuple[str, str]],
    label: str,
    limits: tuple[float, float] | None,
) -> str:
    """A row for each setting, a dot and an interval for each measure."""
    names, outcomes = [str(each) for each in dataset[dim].values], about.outcomes
    columns = min(3, len(outcomes))
    rows = -(-len(outcomes) // columns)
    with plt.rc_context(STYLE):
        size = (WIDTH, (0.34 * len(names) + 0.9) * rows + 0.3)
        figure, panels = plt.subplots(rows, columns, figsize=size, squeeze=False, sharey=True)
        for outcome, axes in zip(outcomes, panels.flat, strict=False):
            for which, (name, words) in enumerate(measures):
                _dots(
                    axes, dataset[f"{name}_{outcome.id}"].values, 0.18 * (2 * which - len(measures) + 1), which, words
                )
            axes.set_title(outcome.label)
            axes.axvline(0, color="#000000", linewidth=0.8)
            if limits is not None:
                axes.set_xlim(limits[0] - 0.05, limits[1] + 0.05)
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.grid(axis="y", visible=False)
        for axes in list(panels.flat)[len(outcomes) :]:
            axes.set_axis_off()
        return finished(figure, label)


def _dots(axes: Axes, values: np.ndarray, away: float, which: int, words: str) -> None:
    heights = np.arange(len(values)) + away
    axes.hlines(heights, values[:, 1], values[:, 2], color=OF_RUNS[which], linewidth=2)
    axes.plot(values[:, 0], heights, "os"[which], color=OF_RUNS[which], markersize=5, label=words or None)
