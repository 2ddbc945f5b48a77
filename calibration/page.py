"""One page on a fit to send on: whether to believe it first, then what it says, and what that rests on.

Everything is inline; the page asks nothing of any network.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lpm.calibration import observation, picture, results
from lpm.calibration.checks import UNLIKELY, Checks
from lpm.calibration.priors import draw_prior
from lpm.calibration.recovery import Recovery
from lpm.calibration.sampling import Sample
from lpm.calibration.task import Fit

STYLE = """
.verdict { border-left: 6px solid #009E73; padding: .4rem .9rem; margin: 1rem 0; background: #f0f8f5; }
.verdict.care { border-color: #E69F00; background: #fdf8ec; }
.verdict.not { border-color: #D55E00; background: #fdf4ee; }
.verdict b { font-size: 1.15rem; } img { max-width: 100%; height: auto; }
"""
KINDS = {"believe it": "", "believe it with care": "care", "do not believe it": "not"}
SIGNS = ("+", "?", "−")


def page(fit: Fit, checks: Checks, drawn: Path, about: dict[str, str], sample: Sample | None = None) -> str:
    """The page as HTML.

    Args:
        fit, checks: what is told.
        drawn: the picture that `picture.draw` made of the fit.
        about: heading -> text, of where this comes from.
        sample: from the posterior, if there is one.
    """
    from lpm.studies.page import CSS

    problem = fit.problem
    title = f"{problem.world.title or 'A fit'}: fit"
    parts = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="small">{_text(_size(fit))}</p>',
        _verdict(checks),
        "<h2>Parameters</h2>",
        "<p>Intervals hold the parameter with a probability of 90 %, if the model is right. Profile: the values that "
        "the likelihood alone allows, others being fitted anew. Prior: its middle 90 %. Left of the prior: the "
        "posterior's deviation over the prior's; near 100 % the data said nothing.</p>",
        _parameters(fit, checks, sample),
        "<h2>Data and fit</h2>",
        "<p>Dots are data, bands what the fit predicts, with the chance of the epidemic and of counting; grey is a "
        "forecast. Below, each posterior beside its prior.</p>",
        _image(drawn.read_bytes(), "Data, predictions and posteriors"),
        "<h2>Could the data have come from this model?</h2>",
        "<p>Numbers of the data beside the same of data that the fit predicts. p: how often predictions are as far "
        "out; below 0.01 the model misses something.</p>",
        _predicted(checks),
        *_identified(checks),
        *_profiles(checks),
        *_recovery(checks.recovery, "Does the same fit find what is known?", "the fit's own estimate"),
        *_recovery(checks.calibration, "And wherever the prior may lie?", "parameters drawn from the prior"),
        "<h2>How it was fitted</h2>",
        _starts(fit, checks),
        "<h2>What is assumed</h2>",
        _assumed(fit, sample),
        "<h2>Where this comes from</h2>",
        _about(about),
    ]
    body = "\n".join(part for part in parts if part)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{CSS}{STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{head}<title>{_text(title)}</title></head>\n<body>\n{body}\n'
        "</body>\n</html>\n"
    )


def _text(value: object) -> str:
    """Escaped; and no address that a mail program would turn into a link."""
    return html.escape(str(value)).replace("://", ":&#47;&#47;")


def _number(value: float) -> str:
    return "–" if not np.isfinite(value) else f"{value:,.4g}".replace("-", "−")


def _range(low: float, high: float) -> str:
    return f"<i>{_number(low)}</i> to <i>{_number(high)}</i>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Cells are HTML; the first columns hold texts."""

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="text"' if place < texts else "" for place in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{k}>{c}</{tag}>" for c, k in zip(cells, kinds, strict=True)) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table><thead>{line(head, "th")}</thead><tbody>{body}</tbody></table></div>'


def _image(png: bytes, words: str) -> str:
    return f'<img alt="{_text(words)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _figure(draw: Callable[[Any], None], words: str) -> str:
    file = io.BytesIO()
    draw(file)
    return _image(file.getvalue(), words)


def _size(fit: Fit) -> str:
    problem = fit.problem
    days = f"{problem.calendar.steps:,} days" + (f" from {problem.calendar.start}" if problem.calendar.start else "")
    number = int((~np.isnan(problem.counts)).sum())
    return f"{problem.world.agents:,} agents, {days}; {problem.size} unknowns, {number:,} counts"


def _verdict(checks: Checks) -> str:
    items = "".join(f"<li>{SIGNS[each.level]} {_text(each.text)}</li>" for each in checks.findings)
    kind = KINDS[checks.belief]
    return f'<div class="verdict {kind}"><b>Verdict: {_text(checks.belief)}.</b><ul>{items}</ul></div>'


def _parameters(fit: Fit, checks: Checks, sample: Sample | None) -> str:
    prior = np.quantile(fit.problem.values(draw_prior(fit.problem.parameters, 4000, 0)), [0.05, 0.95], axis=0).T
    profiled = {each.name: each for each in checks.profiles}
    rows = []
    for row, share, limits in zip(
        results.table(fit, checks.identified, sample), checks.identified.share, prior, strict=True
    ):
        curve = profiled.get(row.name)
        rows.append(
            [
                _text(row.name),
                f"<b>{_number(row.estimate)}</b>",
                _range(row.low, row.high),
                _range(curve.low, curve.high) if curve else "",
                _range(*limits),
                f"{100 * share:.0f} %",
                "weakly identified" if row.weak else "",
            ]
        )
    for row in results.derived(fit, sample):
        why = f"{row.name} = transmission × infectious_days"
        rows.append([why, f"<b>{_number(row.estimate)}</b>", _range(row.low, row.high), "", "", "", ""])
    return _table(["parameter", "estimate", "90 % interval", "profile", "prior", "left of the prior", ""], rows)


def _predicted(checks: Checks) -> str:
    rows = [
        [
            _text(each.stream),
            _text(each.statistic),
            _number(each.observed),
            f"{_number(each.median)}<span>{_range(each.low, each.high)}</span>",
            _number(each.p) if each.p >= UNLIKELY else f"<b>{_number(each.p)}</b>",
        ]
        for each in checks.predicted
    ]
    return _table(["data", "number", "observed", "predicted (90 %)", "p"], rows, 2)


def _identified(checks: Checks) -> list[str]:
    lines = checks.identified.directions or ("Every parameter, and every combination of them, is constrained.",)
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return ["<h2>What the data do not say</h2>", f"<ul>{items}</ul>"]


def _profiles(checks: Checks) -> list[str]:
    if not checks.profiles:
        return []
    said = "Twice the fall of the log likelihood along each parameter; the interval of 90 % lies below the dotted line."
    drawn = _figure(lambda file: picture.profiles(checks.profiles, file), "Profile likelihoods")
    return ["<h2>Profiles</h2>", f"<p>{said}</p>", drawn]


def _recovery(found: Recovery | None, title: str, truth: str) -> list[str]:
    if found is None:
        return []
    failed = "".join(f"<p>Failed: {_text(each)}</p>" for each in found.failed)
    if not len(found.truth):
        return [f"<h2>{title}</h2>", failed]
    rows = [
        [_text(name), f"{100 * error:.1f} %", f"{round(share * len(found.truth))} of {len(found.truth)}"]
        for name, error, share in zip(found.names, found.relative_error, found.coverage, strict=True)
    ]
    drawn = _figure(lambda file: picture.recovered(found, file), "Intervals less the truth")
    said = f"Epidemics simulated with {truth}, counted like the data, and fitted in the same way."
    table = _table(["parameter", "median error", "90 % interval holds it"], rows)
    return [f"<h2>{title}</h2>", f"<p>{said}</p>", table, drawn, failed]


def _starts(fit: Fit, checks: Checks) -> str:
    names = [_text(name) for name in fit.problem.names]
    rows = [
        [
            str(end.number),
            _text(end.verdict),
            *map(_number, fit.problem.values(end.z)),
            _number(end.score),
            _text(end.reason),
        ]
        for end in fit.starts
    ]
    spent = f"{fit.simulations:,} simulations for the fit, {checks.simulations:,} for its checks"
    said = f"<p>{_text(spent)}; {fit.realizations:,} realizations at each point. {_text(fit.message.capitalize())}.</p>"
    return said + _table(["start", "ended", *names, "−log posterior", ""], rows, 2)


def _assumed(fit: Fit, sample: Sample | None) -> str:
    problem, lines = fit.problem, []
    for each, k in zip(problem.streams, fit.weights.dispersions, strict=True):
        words = f"{each.label or each.name}: {each.likelihood.replace('_', ' ')}"
        words += (
            ""
            if each.likelihood == "poisson"
            else f", dispersion {k:.3g}" + ("" if each.dispersion else " (estimated)")
        )
        words += (
            f", reported after {np.arange(len(each.delay)) @ np.array(each.delay):.1f} days"
            if len(each.delay) > 1
            else ""
        )
        lines.append(words + (f"; source: {each.source}" if each.source else ""))
    lines.append(
        "The data are one epidemic: its chance is part of their variance."
        if problem.epidemic_chance
        else "The data were fitted as if they were the mean of many epidemics: intervals are those of the mean."
    )
    lines.append(
        "The posterior is taken as normal about the estimate, on a scale without bounds (Laplace)."
        if sample is None
        else "The posterior was sampled by NUTS, under the same seeds and weights throughout."
        if sample.method == "nuts"
        else (
            "The posterior was sampled on the response surface of all simulations, whose error is in it; predictions "
            "are of the data's own epidemic, whose chance up to the last day seen is known from them."
        )
        if sample.method == "surface"
        else "The posterior is that of a normalizing flow, weighed by the likelihood under the same seeds throughout."
    )
    lines += [*observation.stocks(problem.streams), *problem.world.notes, *problem.world.cautions]
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>"


def _about(about: dict[str, str]) -> str:
    listed = "".join(
        f"<dt>{_text(name)}</dt><dd>{_text(each)}</dd>" for name, each in about.items() if "\n" not in each
    )
    texts = "".join(
        f"<details><summary>{_text(name)}</summary><pre>{_text(each)}</pre></details>"
        for name, each in about.items()
        if "\n" in each
    )
    return f"<dl>{listed}</dl>{texts}"
