"""The part of a study's page about the policy that was searched for: its dials, and whether fresh draws confirm it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter

from lpm.plot import OF_RUNS
from lpm.studies.figures import STYLE, WIDTH, finished, short
from lpm.studies.markup import number, table, text
from lpm.studies.objective import Risk
from lpm.studies.records import About

if TYPE_CHECKING:
    import xarray as xr

RESAMPLES, SEED = 4000, 1
RISKS = {
    "mean": "the mean over the realizations",
    "deviation": "the mean over the realizations and {weight:g} standard deviations",
    "worst": "the mean of the worst {share:.0%} of the realizations",
}


def section(dataset: xr.Dataset, about: About) -> list[str]:
    """Nothing if no policy was searched for."""
    if about.optimum is None:
        return []
    policies = about.optimum["policies"]
    values = judged(dataset)
    effect = about.effect.label if about.effect else ""
    worth = f", each of {text(effect)} at {number(about.worth)} {text(about.currency)}" if about.worth else ""
    method = about.optimum["method"]
    derivatives = "differences between runs" if method == "differences" else f"the rule {text(method)}"
    risk = RISKS[about.risk.measure].format(weight=about.risk.weight, share=about.risk.share)
    spent = "; ".join(f"{each['how']} {each['simulations']:,.0f}" for each in policies)
    return [
        "<h2>The best policy</h2>",
        f"<p>Least is wanted of all costs{worth}: {risk}. Simulations spent: {spent}, with "
        f"{about.optimum['realizations']} realizations of each point and derivatives by {derivatives}. "
        "Searches have draws of their own; the runs of this page are fresh ones.</p>",
        f"<p>{_verdict(values, about)}</p>",
        table(*_dials(policies, about)),
        table(*_judged(values, about)),
        f"<p>Differences are paired, with intervals of 95 % from {RESAMPLES:,} resamples of the realizations.</p>",
        _paths(policies, about),
    ]


def judged(dataset: xr.Dataset) -> np.ndarray:
    """What policies are judged by, (scenario, realization)."""
    return dataset["cost_and_worth" if "cost_and_worth" in dataset else "cost"].values


def _named(about: About) -> list[int]:
    """Numbers of the scenarios that no search found."""
    assert about.optimum is not None
    found = {each["name"] for each in about.optimum["policies"]}
    return [place for place, name in enumerate(about.names) if name not in found]


def gain(values: np.ndarray, one: int, other: int, risk: Risk) -> tuple[float, float, float]:
    """By how much one scenario's risk is below another's, and the interval of 95 % (percentile bootstrap over pairs).

    Args:
        values: (scenario, realization).
        one, other: scenarios.
        risk: of the realizations.

    >>> np.round(gain(np.array([[5.0, 6.0, 7.0], [1.0, 2.0, 3.0]]), 1, 0, Risk()), 6).tolist()
    [4.0, 4.0, 4.0]
    """
    pairs = values[[one, other]]
    pairs = pairs[:, ~np.isnan(pairs).any(0)]
    if not pairs.shape[1]:
        return (float("nan"),) * 3
    chosen = np.random.default_rng(SEED).integers(pairs.shape[1], size=(RESAMPLES, pairs.shape[1]))
    resampled = [risk.of(pairs[1, each]) - risk.of(pairs[0, each]) for each in chosen]
    low, high = np.quantile(resampled, (0.025, 0.975))
    return risk.of(pairs[1]) - risk.of(pairs[0]), float(low), float(high)


def _verdict(values: np.ndarray, about: About) -> str:
    """Whether fresh draws say that the policy found by derivatives beats the best of the named scenarios."""
    assert about.optimum is not None
    whole = ~np.isnan(values).any(1)
    rivals = [place for place in _named(about) if whole[place]]
    best = about.names.index(about.optimum["policies"][0]["name"])
    if not rivals or not whole[best]:
        return "Runs are missing, so nothing is said of the gain."
    rival = min(rivals, key=lambda place: about.risk.of(values[place]))
    by, low, high = gain(values, best, rival, about.risk)
    says = "confirmed" if low > 0 else "not confirmed"
    numbers = f"{number(by)} {text(about.currency)} ({number(low)} to {number(high)})"
    return (
        f"On {values.shape[1]:,} fresh draws <b>{text(about.names[best])}</b> is {numbers} below the best named "
        f"scenario, <b>{text(about.names[rival])}</b>: the gain is <b>{says}</b>."
    )


def _dials(policies: list[Mapping[str, Any]], about: About) -> tuple[list[str], list[list[str]]]:
    head = ["what is turned", "bounds", text(about.names[0]), *(text(each["name"]) for each in policies)]
    rows = []
    for place, dial in enumerate(policies[0]["dials"]):
        low, high, base = (_shown(dial, dial[key]) for key in ("low", "high", "base"))
        found = [_shown(dial, each["dials"][place]["found"]) for each in policies]
        rows.append([text(dial["dial"]), f"{low} to {high}", base, *found])
    return head, rows


def _shown(dial: Mapping[str, Any], value: float) -> str:
    if not dial["moves"]:
        return f"{value:.3g}"
    days = round(value)
    return "as it was" if not days else f"{abs(days)} day{'s' * (abs(days) != 1)} {'later' if days > 0 else 'earlier'}"


def _judged(values: np.ndarray, about: About) -> tuple[list[str], list[list[str]]]:
    assert about.optimum is not None
    best = about.names.index(about.optimum["policies"][0]["name"])
    head = ["scenario", f"costs and worth, {text(about.currency)}", f"above {text(about.names[best])}", "95 % interval"]
    rows = []
    for place in sorted(
        range(len(about.names)), key=lambda each: np.nan_to_num(about.risk.of(values[each]), nan=np.inf)
    ):
        by, low, high = gain(values, best, place, about.risk)
        own = "–" if np.isnan(values[place]).any() else number(about.risk.of(values[place]))
        difference = ["", ""] if place == best else [number(by), f"{number(low)} to {number(high)}"]
        rows.append([text(about.names[place]), own, *difference])
    return head, rows


def _paths(policies: list[Mapping[str, Any]], about: About) -> str:
    """The least value found so far against the simulations spent."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH * 0.72, 3.2))
        for each, color, marker in zip(policies, (OF_RUNS[0], OF_RUNS[1]), "os", strict=False):
            spent, value = np.array([*each["path"], [each["simulations"], each["path"][-1][1]]]).T
            axes.step(spent, value, where="post", color=color, linewidth=1.5)
            axes.plot(spent[:-1], value[:-1], marker, color=color, markersize=4, label=each["how"])
        axes.set_xscale("log")
        axes.set_xlabel("simulations")
        axes.set_ylabel(f"costs and worth, {about.currency}")
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.yaxis.set_major_formatter(FuncFormatter(short))
        return finished(figure, "Least value found against simulations spent")
