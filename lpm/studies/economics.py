"""Cost and effect: ratios against the baseline, the frontier of options that no other dominates, acceptability."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from lpm.studies.records import About

WORTHS = 81


@dataclasses.dataclass(frozen=True)
class CostEffect:
    """A scenario beside the baseline, or beside the next cheaper one on the frontier.

    Args:
        scenario: its name.
        extra: mean extra cost.
        averted: mean number averted.
        verdict: in words.
        ratio: extra cost of each averted, against the baseline; nan where a ratio says nothing.
        icer: against the next cheaper scenario on the frontier; nan for those not on it, and for its first.
        standing: `frontier`, `dominated` or `extendedly dominated`.
    """

    scenario: str
    extra: float
    averted: float
    verdict: str
    ratio: float
    icer: float
    standing: str


def cost_effects(dataset: xr.Dataset) -> list[CostEffect]:
    """Extra cost and effect of each scenario: means over the realizations, ratios of means.

    A scenario is dominated if another costs no more and averts no less; extendedly dominated if a mixture of two others
    does. Those left, by cost, are the frontier; the ICER of each is against the one before it:
    (C_k - C_{k-1}) / (E_k - E_{k-1}).

    Drummond et al. (2015), Methods for the Economic Evaluation of Health Care Programmes, 4th ed., ch. 4.
    """
    if "extra_cost" not in dataset or not dataset.attrs["effect"]:
        return []
    averted, extra = dataset[f"averted_{dataset.attrs['effect']}"].values, dataset["extra_cost"].values
    names = [str(name) for name in dataset["scenario"].values]
    points = {}
    for number, name in enumerate(names):
        good = ~(np.isnan(averted[number]) | np.isnan(extra[number]))
        if good.any():
            points[name] = (float(extra[number][good].mean()), float(averted[number][good].mean()))
    ratios = frontier(points)
    found = []
    for name, (cost, effect) in points.items():
        icer, standing = ratios[name]
        found.append(CostEffect(name, cost, effect, *_verdict(name == names[0], cost, effect), icer, standing))
    return found


def _verdict(baseline: bool, extra: float, averted: float) -> tuple[str, float]:
    """In words what a pair of numbers means, and their ratio where it has a meaning."""
    if baseline:
        return "the baseline", math.nan
    cost = "costs more" if extra > 0 else "costs less" if extra < 0 else "costs as much"
    effect = "better" if averted > 0 else "worse" if averted < 0 else "no better"
    return f"{effect}, {cost}", extra / averted if extra * averted > 0 else math.nan


def frontier(points: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, str]]:
    """Each option's ICER on the frontier, and its standing.

    Args:
        points: name -> (cost, effect).

    >>> found = frontier({"none": (0, 0), "a": (10, 1), "b": (12, 4), "c": (40, 5), "d": (50, 3)})
    >>> found["a"], found["b"], found["c"], found["d"]
    ((nan, 'extendedly dominated'), (3.0, 'frontier'), (28.0, 'frontier'), (nan, 'dominated'))
    """
    found = dict.fromkeys(points, (math.nan, "dominated"))
    rising: list[str] = []  # costs and effects both rise
    for name in sorted(points, key=lambda each: (points[each][0], -points[each][1])):
        if not rising or points[name][1] > points[rising[-1]][1]:
            rising.append(name)
    kept: list[str] = []
    for name in rising:
        while len(kept) > 1 and _slope(points, kept[-1], name) <= _slope(points, kept[-2], kept[-1]):
            found[kept.pop()] = (math.nan, "extendedly dominated")
        kept.append(name)
    for before, name in zip([None, *kept], kept, strict=False):
        found[name] = (math.nan if before is None else _slope(points, before, name), "frontier")
    return found


def acceptability(extra: np.ndarray, averted: np.ndarray, worths: np.ndarray) -> np.ndarray:
    """How often each scenario is the best buy: the share of realizations in which its net benefit is the largest.

    P_s(w) = mean over r of [w averted_sr - extra_sr = max over s' of the same], equal ones sharing

    Fenwick, Claxton & Sculpher (2001), Health Econ. 10, 779-787.

    Args:
        extra, averted: (scenarios, realizations); realizations with a NaN do not count.
        worths: (worths,), what a unit averted may be worth.

    Returns:
        (scenarios, worths), each column adding up to 1.

    >>> acceptability(np.array([[0.0, 0.0], [5.0, 1.0]]), np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0.0, 2.0, 9.0]))
    array([[1. , 0.5, 0. ],
           [0. , 0.5, 1. ]])
    """
    good = ~(np.isnan(extra) | np.isnan(averted)).any(0)
    if not good.any():
        return np.full((len(extra), len(worths)), np.nan)
    benefit = worths[:, None, None] * averted[:, good] - extra[:, good]
    best = benefit == benefit.max(axis=1, keepdims=True)
    return (best / best.sum(axis=1, keepdims=True)).mean(axis=2).T


def add(dataset: xr.Dataset, about: About) -> xr.Dataset:
    """Answers with `acceptability` (scenario, worth), from nothing to twice the study's worth of a unit averted.

    Points of a Sobol design are no options, and have 0.
    """
    if not about.worth or about.effect is None or "extra_cost" not in dataset:
        return dataset
    worths = np.linspace(0, 2 * about.worth, WORTHS)
    options = [place for place, each in enumerate(about.scenarios) if each.group != "sobol"]
    shares = np.zeros((len(about.scenarios), WORTHS))
    extra, averted = (dataset[name].values[options] for name in ("extra_cost", f"averted_{about.effect.id}"))
    shares[options] = acceptability(extra, averted, worths)
    dataset["acceptability"] = (("scenario", "worth"), shares)
    return dataset.assign_coords(worth=worths)


def _slope(points: Mapping[str, tuple[float, float]], one: str, other: str) -> float:
    return (points[other][0] - points[one][0]) / (points[other][1] - points[one][1])
