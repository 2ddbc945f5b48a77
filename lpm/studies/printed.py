"""A study's answers as tables on a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from lpm.studies import economics, report
from lpm.studies.compare import summary
from lpm.studies.markup import number

if TYPE_CHECKING:
    import xarray as xr

    from lpm.studies.records import About


def answers(written: report.Written, console: Console) -> None:
    """Medians of what is averted, a line for each scenario; then costs and sensitivities, if they were asked for."""
    dataset, about = report.shown(written.dataset, written.about)
    console.print()
    for outcome in about.outcomes:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(outcome.label)
        for head in ("median", outcome.word, "90 % of them"):
            table.add_column(head, justify="right", no_wrap=True)
        for place, name in enumerate(about.names):
            whole = summary(dataset[outcome.id].values[place])
            averted = summary(dataset[outcome.difference].values[place])
            low, high = number(averted.quantiles[1]), number(averted.quantiles[5])
            table.add_row(
                name,
                number(whole.median),
                number(averted.median) if place else "",
                f"{low} to {high}" if place and averted.n > 1 else "",
            )
        console.print(table)
        console.print()
    _costs(dataset, about, console)
    _sensitivities(dataset, about, console)


def _costs(dataset: xr.Dataset, about: About, console: Console) -> None:
    """Means, as on the page, since ratios are of them."""
    found = economics.cost_effects(dataset)
    if not found or about.effect is None:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"costs, {about.currency}")
    for head in ("extra, mean", f"{about.effect.word}, mean", "extra for each"):
        table.add_column(head, justify="right")
    for each in found:
        ratio = each.verdict if math.isnan(each.ratio) else number(each.ratio)
        table.add_row(each.scenario, number(each.extra), number(each.averted), ratio)
    console.print(table)
    console.print()


def _sensitivities(dataset: xr.Dataset, about: About, console: Console) -> None:
    """By how many percent outcomes of the baseline change, a line for each setting."""
    if "elasticity_setting" not in dataset.dims:
        return
    for outcome in about.outcomes:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(f"{outcome.label}, for 1 % more of")
        for head in ("%", "95 % interval"):
            table.add_column(head, justify="right", no_wrap=True)
        found = dataset[f"elasticity_{outcome.id}"].values
        for setting, each in zip(dataset["elasticity_setting"].values, found, strict=True):
            middle, low, high = map(number, each)
            table.add_row(str(setting), middle, f"{low} to {high}")
        console.print(table)
        console.print()
