"""One page to send on: the table first, then pictures, costs, assumptions and where the numbers come from.

Everything is inline; the page asks nothing of any network.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lpm.studies import economics, figures, option_page, policy_page
from lpm.studies.draws import share
from lpm.studies.markup import cell, number, table, text
from lpm.studies.outcomes import OVER
from lpm.studies.records import About

if TYPE_CHECKING:
    import xarray as xr

CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", "Liberation Sans", Arial, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 64rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p { max-width: 46rem; margin: .4rem 0; } .small { color: #444; font-size: .87rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { padding: .28rem .7rem .28rem 0; text-align: right; vertical-align: top; border-bottom: 1px solid #d5d5d5; }
th { font-weight: 600; border-bottom: 1.5px solid #1a1a1a; vertical-align: bottom; }
td:first-child { min-width: 8.5em; }
th { min-width: 4.2em; } th:first-child, td:first-child, td.text, th.text { text-align: left; }
td b { font-weight: 400; white-space: nowrap; }
td span { display: block; color: #444; font-size: .8rem; }
td i { font-style: normal; white-space: nowrap; }
.warn { border-left: 4px solid #D55E00; padding: .2rem .8rem; margin: .8rem 0; background: #fdf4ee; }
svg { max-width: 100%; height: auto; }
pre { font-size: .78rem; background: #f5f5f5; padding: .7rem; white-space: pre-wrap; overflow-wrap: anywhere; }
dt { font-weight: 600; } dd { margin: 0 0 .35rem; overflow-wrap: anywhere; }
@media print { body { margin: 0; max-width: none; font-size: 10.5pt; } table { font-size: 8.5pt; }
  td span { font-size: 7.5pt; } th, td { padding-right: .45rem; } h2, h2 + p { break-after: avoid; }
  svg, tr { break-inside: avoid; } .wide { overflow: visible; } details > * { display: block; } }
"""
BANDS = "Below each median is what holds 90 % of the realizations."


def page(dataset: xr.Dataset, about: About) -> str:
    """The page as HTML.

    Args:
        dataset: from `compare.answers`.
        about: from `records.read`.
    """
    effect = about.effect
    parts = [
        f"<h1>{text(about.title)}</h1>",
        f'<p class="small">{text(_size(about))}</p>',
        _missing(dataset, about),
        "<h2>What each scenario averts</h2>",
        f"<p>The baseline, <b>{text(about.names[0])}</b>, minus each scenario, realization by realization with the "
        f"same draws. Negative numbers: more than in the baseline. {BANDS}</p>",
        table(*_averted(dataset, about)),
        "<h2>Outcomes</h2>",
        f"<p>{BANDS}</p>",
        table(*_outcomes(dataset, about)),
        *policy_page.section(dataset, about),
        *_costs(dataset, about),
        "<h2>Effects and their intervals</h2>",
        "<p>Dot: median. Thick, middle and thin line: 50, 90 and 95 % of the realizations. "
        f"{text(_meaning(about))}</p>",
        *_spread(dataset, about),
        figures.effects(dataset, about),
        *_levers(dataset, about),
        *option_page.sensitivities(dataset, about),
        "<h2>Courses</h2>",
        f"<p>Lines are medians, bands hold 90 % of the realizations.{_left_out(dataset)}{_rings(dataset, about)}</p>",
        figures.curves(dataset, about),
        *_regions(dataset, about),
        *(_by(dataset, about, dim) for dim in (about.dims(effect.variable) if effect else ())),
        "<h2>Scenarios</h2>",
        table(*_scenarios(dataset, about), texts=4),
        "<h2>Assumptions and limits</h2>",
        _assumptions(about),
        "<h2>Where this comes from</h2>",
        _provenance(about),
    ]
    body = "\n".join(part for part in parts if part)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{CSS}</style>'
    title = f"<title>{text(about.title)}</title>"
    return f'<!doctype html>\n<html lang="en">\n<head>{head}{title}</head>\n<body>\n{body}\n</body>\n</html>\n'


def _size(about: About) -> str:
    agents = int(about.attributes.get("agents", 0))
    parts = [f"{agents:,} agents", f"{about.steps:,} days" + (f" from {about.start}" if about.start else "")]
    if not math.isclose(about.scale, 1):
        parts.append(f"each agent stands for {1 / about.scale:,.4g} people, and all numbers are of people")
    each = f"{about.realizations:,} realizations"
    if about.draws > 1:
        each = f"{about.realizations // about.draws:,} realizations with each of {about.draws:,} draws from a fit"
    parts += [f"{each} of each of {len(about.names):,} scenarios"]
    return ", ".join(parts) + f", seed {about.attributes.get('seed', '')}"


def _missing(dataset: xr.Dataset, about: About) -> str:
    lines = dataset.attrs["missing"].splitlines()
    if not lines:
        return ""
    total = len(about.names) * about.realizations
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    return (
        f'<div class="warn"><b>{len(lines):,} of {total:,} runs are missing.</b> Differences are over the pairs that '
        f"are there.<details open><summary>Which, and why</summary><ul>{items}</ul></details></div>"
    )


def _columns(dataset: xr.Dataset, about: About) -> list[tuple[str, str, str]]:
    """Variables, their differences from the baseline, and headings."""
    found = [(outcome.id, outcome.difference, outcome.label) for outcome in about.outcomes]
    if about.capacity is not None:
        label = about.long_name(about.capacity.variable)
        found.append((OVER, f"averted_{OVER}", f"days with more than {about.capacity.beds:,.0f} {label}"))
    return [each for each in found if each[0] in dataset]


def _averted(dataset: xr.Dataset, about: About) -> tuple[list[str], list[list[str]]]:
    columns = _columns(dataset, about)
    used = [label + ": used more" if key.startswith("more_") else label for _, key, label in columns]
    head = ["scenario", *(text(label) for label in used)]
    rows = [
        [text(name), *(cell(dataset[key].values[place]) for _, key, _ in columns)]
        for place, name in enumerate(about.names)
        if place
    ]
    return head, rows


def _outcomes(dataset: xr.Dataset, about: About) -> tuple[list[str], list[list[str]]]:
    columns = _columns(dataset, about)
    head = ["scenario", *(text(label) for *_, label in columns)]
    rows = [
        [text(name), *(cell(dataset[key].values[place]) for key, *_ in columns)]
        for place, name in enumerate(about.names)
    ]
    return head, rows


def _costs(dataset: xr.Dataset, about: About) -> list[str]:
    found = economics.cost_effects(dataset)
    if not found or about.effect is None:
        return []
    head = [
        "scenario", "", f"cost, {text(about.currency)}", "extra cost", f"{text(about.effect.label)}: averted, mean",
        "extra cost of each averted", "ICER on the frontier",
        *([f"net benefit, each averted at {number(about.worth)}"] if about.worth else []),
    ]  # fmt: skip
    rows = []
    for each in found:
        place = about.names.index(each.scenario)
        standing = "" if each.standing == "frontier" else f"; {each.standing}"
        cost, extra = (cell(dataset[name].values[place]) for name in ("cost", "extra_cost"))
        ratios = number(each.averted), number(each.ratio), number(each.icer)
        benefit = [cell(dataset["net_benefit"].values[place])] if about.worth else []
        rows.append([text(each.scenario), text(each.verdict + standing), cost, extra, *ratios, *benefit])
    units = [f"{cost.label}: {cost.amount:,.10g} {about.currency}" for cost in about.costs]
    units += [f"per day without {layer}: {price:,.10g} {about.currency}" for layer, price in about.prices]
    usual = about.scenarios[0].cost
    own = [each for each in about.scenarios[1:] if each.cost != usual]
    units += [f"measures of {about.names[0]}: {number(usual)} {about.currency}"] if usual else []
    units += [f"of {each.name}: {number(each.cost)} {about.currency}" for each in own]
    uncosted = "" if any(each.cost for each in about.scenarios) else " The measures themselves are not costed."
    return [
        "<h2>Costs</h2>",
        f"<p>{text('; '.join(units))}.{uncosted} Ratios are of means over the realizations; a ratio is left out where "
        "more is averted at less cost, or less at more. The ICER is against the next cheaper scenario of those that no "
        "other, and no mixture of two others, dominates. Nothing is discounted.</p>",
        table(head, rows, 2),
        figures.plane(dataset, about),
        *option_page.acceptable(dataset, about),
    ]


def _levers(dataset: xr.Dataset, about: About) -> list[str]:
    drawn = figures.attribution(dataset, about)
    if not drawn:
        return []
    return [
        "<h2>Which lever did how much</h2>",
        "<p>The mean contribution of each lever over all orders in which they may be added (its Shapley value). The "
        "shares of a realization add up to what all levers avert together.</p>",
        drawn,
    ]


def _left_out(dataset: xr.Dataset) -> str:
    left = dataset.sizes["scenario"] - len(figures.shown_scenarios(dataset))
    return f" Of {dataset.sizes['scenario']} scenarios the first {figures.MOST_CURVES} are drawn." if left else ""


def _rings(dataset: xr.Dataset, about: About) -> str:
    drawn = [each for each in about.observed if each["steps"] and f"curve_{each['variable']}" in dataset]
    return (
        " Rings are what was observed, in the middle of the days that it was counted over, and as much for each record."
        if drawn
        else ""
    )


def _regions(dataset: xr.Dataset, about: About) -> list[str]:
    drawn = figures.regions(dataset, about)
    return ["<h2>By region</h2>", drawn] if drawn else []


def _by(dataset: xr.Dataset, about: About, dim: str) -> str:
    """What is averted of the effect's outcome, by a dim's labels."""
    assert about.effect is not None
    values = dataset[f"averted_{about.effect.id}_by_{dim}"].values
    head = [f"averted by {text(dim)}", *(text(label).replace("-", "&#8209;") for label in about.coords[dim])]
    rows = [
        [text(name), *(cell(values[place, :, label]) for label in range(values.shape[2]))]
        for place, name in enumerate(about.names)
        if place
    ]
    return f"<h2>{text(about.effect.label.capitalize())} averted, by {text(dim)}</h2>" + table(head, rows)


def _scenarios(dataset: xr.Dataset, about: About) -> tuple[list[str], list[list[str]]]:
    head = ["scenario", "what it means", "what it changes", "first day that differs"]
    rows = []
    for place, each in enumerate(about.scenarios):
        record = int(dataset["parts_at"].values[place])
        times = dataset["time"].values if "time" in dataset.coords else np.arange(0)
        moment = "–" if record < 0 else str(times[record])[:10] if about.start else f"day {record * about.every}"
        changes = "<br>".join(text(change) for change in each.changes)
        rows.append([text(each.name), text(each.why), changes, f"<i>{moment}</i>"])
    return head, rows


def _assumptions(about: About) -> str:
    lines = [
        *str(about.attributes.get("cautions", "")).splitlines(),
        *str(about.attributes.get("notes", "")).splitlines(),
        *about.fit,
        _meaning(about),
    ]
    return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines if line)}</ul>"


def _meaning(about: About) -> str:
    """What intervals are of."""
    if about.draws < 2:
        return "Intervals are of chance alone, at fixed settings: they do not say how uncertain the settings are."
    return (
        f"Intervals are of chance and of {about.draws:,} draws from the posterior of a fit, the same for all "
        "scenarios; of what the fit did not free, and of what the model leaves out, they say nothing."
    )


def _spread(dataset: xr.Dataset, about: About) -> list[str]:
    """How much of the spread goes with the draws from a fit."""
    if about.draws < 2 or about.realizations < 2 * about.draws:
        return []
    head = ["share of the variance that goes with the fit's draws", *(text(each.label) for each in about.outcomes)]
    rows = [
        [text(name), *(f"{100 * share(dataset[each.difference].values[place], about.draws):.0f} %".replace("nan %", "–")
                       for each in about.outcomes)]
        for place, name in enumerate(about.names) if place
    ]  # fmt: skip
    return ["<p>The rest of the variance of what is averted is chance.</p>", table(head, rows)]


def _provenance(about: About) -> str:
    names = ("source", "git_commit", "versions", "command", "created", "config_path", "config_overrides", "study_path",
             "from_fit", "from_fit_draws", "from_fit_checksum")  # fmt: skip
    facts = [(name, str(about.attributes.get(name, ""))) for name in names]
    listed = "".join(f"<dt>{text(name.replace('_', ' '))}</dt><dd>{text(each)}</dd>" for name, each in facts if each)
    files = [("The study", "study"), ("Its base", "config")]
    texts = "".join(
        f"<details><summary>{title}</summary><pre>{text(about.attributes.get(key, ''))}</pre></details>"
        for title, key in files
    )
    return f"<dl>{listed}</dl>{texts}"
