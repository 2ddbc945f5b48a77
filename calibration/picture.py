"""The picture of a fit: data with predictive bands for each stream, and each parameter's posterior beside its prior."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from lpm.calibration import hub, observation, posterior
from lpm.calibration.posterior import Predictive, bands
from lpm.calibration.priors import draw_prior
from lpm.calibration.problem import of_streams
from lpm.calibration.profiles import Profile
from lpm.calibration.recovery import Recovery
from lpm.calibration.task import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PRIOR = 50_000  # draws of it, of which a narrow posterior's panel shows few
COLUMNS, PANELS = 4, 24  # of panels in a row; panels at most
HEIGHT = 1.6449**2  # of a profile at the ends of its interval of 90 %


def draw(fit: Fit, predictive: Predictive, path: Path) -> Path:
    """Draw a fit to a PNG file.

    Bands are the middle 50 % and 90 % of what the posterior predicts, counting included; the line is their median, dots
    are the data. Below, each parameter's posterior is blue and its prior grey, each drawn to the same height.
    """
    from lpm import plot  # before pyplot: it chooses a backend that needs no screen

    import matplotlib.pyplot as plt  # isort: skip

    streams = fit.problem.streams
    panels = [(number, region) for number, each in enumerate(streams) for region in range(each.values.shape[1])]
    panels, names = panels[:PANELS], fit.problem.names[:PANELS]
    above, below = -(-len(panels) // COLUMNS), -(-len(names) // COLUMNS)
    with plt.rc_context(plot.STYLE):
        figure = plt.figure(figsize=(12, 2.9 * above + 1.9 * below + 0.6))
        blocks = figure.add_gridspec(2, 1, height_ratios=(2.9 * above, 1.9 * below))
        top = blocks[0].subgridspec(above, min(COLUMNS, len(panels)))
        bottom = blocks[1].subgridspec(below, min(COLUMNS, len(names)))
        for place, (number, region) in enumerate(panels):
            _stream(figure.add_subplot(top[divmod(place, COLUMNS)]), fit, predictive, number, region)
        prior = fit.problem.values(draw_prior(fit.problem.parameters, PRIOR, 0))
        drawn = fit.problem.values(posterior.draws(fit, 4000))
        for place, name in enumerate(names):
            _parameter(figure.add_subplot(bottom[divmod(place, COLUMNS)]), name, drawn[:, place], prior[:, place])
        title = f"{fit.problem.world.title}: fit".removeprefix(": ")
        figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
        _legend(figure)
        figure.savefig(path, dpi=130)
        plt.close(figure)
    return path


def profiles(found: Sequence[Profile], path: Path | IO[bytes]) -> None:
    """Draw twice the rise of minus the log likelihood along each parameter, and the height that ends the interval."""
    from lpm import plot

    import matplotlib.pyplot as plt  # isort: skip

    rows = -(-len(found) // COLUMNS)
    with plt.rc_context(plot.STYLE):
        figure, panels = plt.subplots(rows, min(COLUMNS, len(found)), figsize=(12, 2.4 * rows + 0.3), squeeze=False)
        for each, axes in zip(found, panels.flat, strict=False):
            good = np.isfinite(each.rise)
            axes.plot(each.values[good], each.rise[good], "o-", color=plot.MODEL, markersize=3.5)
            axes.axhline(HEIGHT, color="#555555", linewidth=0.8, linestyle=(0, (1, 2)))
            axes.set_title(each.name)
            axes.set_ylim(bottom=0, top=max(2 * HEIGHT, min(float(each.rise[good].max()), 6 * HEIGHT)) * 1.05)
        for axes in list(panels.flat)[len(found) :]:
            axes.set_axis_off()
        figure.savefig(path, dpi=110, format="png")
        plt.close(figure)


def recovered(found: Recovery, path: Path | IO[bytes]) -> None:
    """Draw each synthetic data set's intervals less the truth, in half widths of the interval."""
    from lpm import plot

    import matplotlib.pyplot as plt  # isort: skip

    rows = -(-len(found.names) // COLUMNS)
    size = (12, (0.16 * len(found.truth) + 1.1) * rows + 0.3)
    with plt.rc_context(plot.STYLE):
        figure, panels = plt.subplots(rows, min(COLUMNS, len(found.names)), figsize=size, squeeze=False)
        for place, (name, axes) in enumerate(zip(found.names, panels.flat, strict=False)):
            axes.axvline(0, color="#000000", linewidth=0.8)
            columns = (values[:, place] - found.truth[:, place] for values in (found.low, found.estimate, found.high))
            for row, (low, middle, high) in enumerate(zip(*columns, strict=True)):
                color = plot.MODEL if low <= 0 <= high else plot.DATA
                axes.plot([low, high], [row, row], color=color, linewidth=2)
                axes.plot(middle, row, "o", color="white", markeredgecolor=color, markersize=4)
            axes.set_title(f"{name} less the truth")
            axes.set_yticks([])
        for axes in list(panels.flat)[len(found.names) :]:
            axes.set_axis_off()
        figure.savefig(path, dpi=110, format="png")
        plt.close(figure)


def _legend(figure: Figure) -> None:
    """One for all panels, below them, where it hides nothing."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    look: dict[str, Any] = {"loc": "outside lower left", "ncols": len(handles), "frameon": False, "fontsize": 8}
    figure.legend(list(handles.values()), list(handles), **look)


def _stream(axes: Axes, fit: Fit, predictive: Predictive, number: int, region: int) -> None:
    from lpm import plot

    each = fit.problem.streams[number]
    times: Any = np.array(observation.calendar_labels(each, fit.problem.calendar))
    if fit.problem.calendar.start:
        times = times.astype("datetime64[D]")
    counts = of_streams(fit.problem.streams, predictive.counts)[number][..., region]
    for low, high, alpha in ((0.05, 0.95, 0.2), (0.25, 0.75, 0.35)):
        lower, upper = bands(counts, [low, high])
        label = f"{100 * (high - low):.0f} % of predictions"
        axes.fill_between(times, lower, upper, color=plot.MODEL, alpha=alpha, linewidth=0, label=label)
    axes.plot(times, np.median(counts, axis=0), color=plot.MODEL, linewidth=1.4, label="median")
    later = hub.later(each)
    if later.any():
        axes.axvspan(times[later][0], times[later][-1], color="#eeeeee", zorder=0, label="forecast")
    axes.plot(times, each.values[:, region], "o", color=plot.DATA, markersize=3.5, label="observed")
    title = each.label or each.observable.long_name or each.name
    axes.set_title(f"{title}, {each.labels[region]}" if each.labels else title)
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="x", rotation=30)


def _parameter(axes: Axes, name: str, drawn: np.ndarray, prior: np.ndarray) -> None:
    from lpm import plot

    low, high = np.quantile(drawn, [0.001, 0.999])
    margin = 0.6 * (high - low)
    both = np.concatenate([drawn, prior])  # no further than they go: a rate's axis has no negative part
    edges = np.linspace(max(low - margin, both.min()), min(high + margin, both.max()), 41)
    # Each as high as the other: beside a narrow posterior, a wide prior of the same area is a line at the bottom.
    for values, color, alpha, label in ((prior, "#bbbbbb", 1.0, "prior"), (drawn, plot.MODEL, 0.7, "posterior")):
        counts = np.histogram(values, edges)[0]
        axes.stairs(counts / max(counts.max(), 1), edges, fill=True, color=color, alpha=alpha, label=label)
    axes.set_title(name)
    axes.set_yticks([])
