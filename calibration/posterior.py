"""What a fit leaves open: intervals, draws, predictive bands, and combinations of which the data say little.

The posterior of z is taken as normal about the estimate (Laplace), with the inverse of J^T Sigma^-1 J + P as its
covariance and the estimate's own chance added; intervals of the parameters are those of z, transformed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from lpm.calibration import likelihoods
from lpm.calibration.objective import DIED_OUT
from lpm.calibration.priors import prior_deviation
from lpm.calibration.problem import Problem, keys, of_streams, simulator
from lpm.calibration.task import Fit
from lpm.errors import RunError

LITTLE = 0.5  # posterior over prior deviation from which on something is called weakly identified
NAMED = 0.3  # entries of a direction that are named
ALIKE = 0.95  # correlation from which on two parameters are called hard to tell apart
MANY = 1_000_000  # agents of a large world
TOGETHER = 16  # realizations in the mean of one draw, where the data are taken for a mean epidemic
LATER = 2**31  # numbers of realizations that no fit uses


def intervals(fit: Fit, level: float = 0.9) -> np.ndarray:
    """Interval of each parameter that holds it with the probability `level`: (size, 2) float64."""
    quantile = NormalDist().inv_cdf(0.5 + level / 2)
    deviation = np.sqrt(np.diag(fit.covariance))
    return np.stack([fit.problem.values(fit.z + side * quantile * deviation) for side in (-1, 1)], axis=1)


def draws(fit: Fit, count: int, seed: int = 0) -> np.ndarray:
    """Draws of z from the posterior, (count, size) float64."""
    size, direction = np.linalg.eigh(fit.covariance)
    normal = np.random.default_rng(seed).normal(size=(count, len(fit.z)))
    return fit.z + normal * np.sqrt(np.maximum(size, 0)) @ direction.T


@dataclasses.dataclass(frozen=True, eq=False)
class Predictive:
    """What the posterior predicts for each observed count, gaps and days after the data included.

    Args:
        z: (draws, size), those whose epidemic did not die out.
        expected: (draws, n) expected counts.
        counts: (draws, n) with the chance of counting: what data might look like.
        died_out: share of draws left out, whose epidemic died out.
    """

    z: np.ndarray
    expected: np.ndarray
    counts: np.ndarray
    died_out: float


def predict(fit: Fit, count: int = 300, seed: int = 0, drawn: np.ndarray | None = None) -> Predictive:
    """Draw parameters, simulate each once (or the mean of several, if the data were taken for a mean), and count.

    Of a large world each draw is one simulation all the same: its chance is small, and widens the bands a little.

    Args:
        fit: of the parameters.
        count: draws; as many simulations, or sixteen times as many without epidemic chance in a small world.
        seed: of everything.
        drawn: (draws, size) z from elsewhere, such as a sampler, of which `count` are taken; those of Laplace if None.

    Raises:
        RunError: if all epidemics died out.
    """
    if drawn is None:
        drawn = draws(fit, count, seed)
    elif len(drawn) > count:
        drawn = drawn[np.linspace(0, len(drawn), count, endpoint=False).astype(int)]
    count = len(drawn)
    each = 1 if fit.problem.epidemic_chance or fit.problem.world.agents >= MANY else TOGETHER
    seeds = keys(seed, LATER, count * each)
    simulated = simulator(fit.problem).at_each(np.repeat(drawn, each, axis=0), seeds)
    good = ~np.isnan(fit.problem.counts)
    alive = simulated[:, good].sum(1) >= DIED_OUT * fit.problem.counts[good].sum()
    weight = alive.reshape(count, each).astype(np.float64)
    kept = weight.sum(1) > 0
    if not kept.any():
        raise RunError(
            f"posterior predictive: asked for epidemics at {count} draws of the fit, got {count * each} simulations "
            "that all died out; the fit is far from the data, or there are so few agents that chance decides: take "
            "more iterations, a nearer start or more agents"
        )
    total = (simulated * alive[:, None]).reshape(count, each, -1).sum(1)[kept]
    expected = total / weight.sum(1)[kept, None]
    counted = observed(fit.problem, fit.weights.dispersions, expected, np.random.default_rng(seed + 1))
    return Predictive(drawn[kept], expected, counted, 1 - float(alive.mean()))


def observed(
    problem: Problem, dispersions: tuple[float, ...], expected: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Counts with the chance of counting: (..., n) of (..., n) expected ones."""
    parts = [
        likelihoods.draw(each.likelihood, generator, own, k).reshape(*expected.shape[:-1], -1)
        for each, k, own in zip(problem.streams, dispersions, of_streams(problem.streams, expected), strict=True)
    ]
    return np.concatenate(parts, axis=-1)


def bands(counts: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles of predicted counts, (draws, ...) to (levels, ...), of which so many future counts lie below.

    Of n draws the i-th smallest has, in the mean, the share i / (n + 1) of what is yet to come below it (Weibull 1939).
    Other rules make bands of few draws too narrow: NumPy's own, with 24 of them, holds 83 % between 5 % and 95 %.

    >>> bands(np.arange(1.0, 20.0), [0.05, 0.95])
    array([ 1., 19.])
    """
    return np.asarray(np.quantile(counts, levels, axis=0, method="weibull"))


def coverage(fit: Fit, predictive: Predictive, level: float = 0.9) -> float:
    """Share of the observed counts within the predictive band of that level."""
    return float(within(fit, predictive, level).mean())


def within(fit: Fit, predictive: Predictive, level: float = 0.9, of: np.ndarray | None = None) -> np.ndarray:
    """Which counts lie within the predictive band of that level: (n,) bool, of those that were observed.

    Args:
        fit, predictive: of the parameters, and what they predict.
        level: of the bands.
        of: (..., all counts), others than those observed.
    """
    low, high = bands(predictive.counts, [0.5 - level / 2, 0.5 + level / 2])
    good = ~np.isnan(fit.problem.counts)
    counts = fit.problem.counts if of is None else of
    return np.asarray((counts >= low) & (counts <= high))[..., good]


@dataclasses.dataclass(frozen=True)
class Identified:
    """What the data say of the parameters.

    Args:
        share: of each parameter, the posterior's deviation in z over the prior's.
        weak: of each parameter, whether that is above one half.
        directions: sentences on combinations of which the data say little, and on pairs that are hard to tell apart.
    """

    share: tuple[float, ...]
    weak: tuple[bool, ...]
    directions: tuple[str, ...]


def identified(fit: Fit) -> Identified:
    """Eigenvectors of the information in units of the prior's deviations S: S F S v = lambda v.

    Along v the posterior's deviation is 1 / sqrt(1 + lambda) of the prior's (Cui et al. 2014, Inverse Problems 30).
    """
    scale = prior_deviation(fit.problem.parameters)
    size, direction = np.linalg.eigh(scale[:, None] * fit.information * scale)
    deviation = np.sqrt(np.diag(fit.covariance))
    share = np.minimum(deviation / scale, 1)
    names, found = fit.problem.names, []
    for value, vector in zip(size, direction.T, strict=True):
        left = 1 / np.sqrt(1 + max(value, 0))
        if left > LITTLE:
            vector = vector * np.sign(vector[np.argmax(np.abs(vector))])
            largest = [i for i in np.argsort(-np.abs(vector)) if abs(vector[i]) >= NAMED]
            combination = " ".join(f"{vector[i]:+.1f} {names[i]}" for i in largest)
            found.append(f"weakly identified: {combination} (deviation {100 * left:.0f} % of the prior's)")
    correlation = fit.covariance / np.outer(deviation, deviation)
    for i, j in zip(*np.triu_indices(len(names), 1), strict=True):
        if abs(correlation[i, j]) > ALIKE:
            found.append(f"hard to tell apart: {names[i]} and {names[j]} (correlation {correlation[i, j]:+.2f})")
    return Identified(tuple(map(float, share)), tuple(bool(each > LITTLE) for each in share), tuple(found))
