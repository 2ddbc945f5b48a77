"""The response surface that makes simulations likeliest: see `lpm.calibration.response`.

The numbers of its kernel, the same for all counts, are found by the slope of the marginal likelihood (Rasmussen &
Williams 2006, equation 5.9).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from lpm.calibration import likelihoods
from lpm.calibration.parameters import since
from lpm.calibration.priors import prior_deviation
from lpm.calibration.problem import Problem
from lpm.calibration.response import FLAT, Part, Simulations, Surface, lived, residuals
from lpm.calibration.tangents import log_shares, of_each, shares
from lpm.errors import RunError

AMOUNTS, BENDS, CHANCE = (-12.0, 7.0), (-20.0, 3.0), (-11.5, 5.0)  # bounds of the logs of a, b, and both variances
BEGIN = (0.0, -5.0, -1.0, -1.0)  # of these logs
APART = (1.0, 1.0, 0.0)  # and of the variances of f', e' and d
TURNS = 100  # of the search for them, at most


def surface(
    problem: Problem,
    dispersions: Sequence[float],
    told: Simulations,
    z: np.ndarray,
    before: Surface | None = None,
) -> Surface:
    """The surface of simulations about z.

    Args:
        before: one of fewer simulations, where the search for its numbers begins.
    Raises:
        RunError: if too few of them are finite and did not die out.
    """
    dispersions = tuple(dispersions)
    alive = lived(problem, told.curves)
    if alive.sum() < problem.size + 2:
        raise RunError(
            f"asked for a regression, got {int(alive.sum())} simulations of {len(alive)} that did not die out, where "
            f"{problem.size + 2} are needed; write narrower priors, or more `points`"
        )
    told = told.some(alive)
    if told.whole.sum() < 2:
        raise RunError(
            f"asked for simulations of everybody to tell how much chance there is, got {int(told.whole.sum())} that "
            "did not die out; write more `points`, or look at how the sample differs"
        )
    deviations = np.where(shares(problem, z).any(1), np.inf, prior_deviation(problem.parameters))
    u = (told.points - z) / deviations
    curves = told.curves * np.exp(log_shares(problem, z[None]) - log_shares(problem, told.points))
    scaled = of_each(likelihoods.stabilised, problem, dispersions, curves)
    far = _misfit(problem, dispersions, curves)
    nearer = np.sort(far)[: 2 * (problem.size + 2)]
    wide = np.maximum(1.0, far / np.median(nearer))
    level = np.average(scaled, axis=0, weights=1 / wide)
    return _of(problem, dispersions, told, z, deviations, u, scaled, level, wide, before)


def _misfit(problem: Problem, dispersions: Sequence[float], curves: np.ndarray) -> np.ndarray:
    """Squares of deviance residuals for each count, the mean of each simulation."""
    good = ~np.isnan(problem.counts)
    return np.asarray((residuals(problem, dispersions, curves)[:, good] ** 2).mean(1))


def _of(
    problem: Problem,
    dispersions: tuple[float, ...],
    told: Simulations,
    z: np.ndarray,
    deviations: np.ndarray,
    u: np.ndarray,
    scaled: np.ndarray,
    level: np.ndarray,
    wide: np.ndarray,
    before: Surface | None,
) -> Surface:
    """The surface with the numbers that make the simulations likeliest."""
    count, size = u.shape
    apart = scaled - level
    # Only what they do to each other's likelihood counts: n columns as if they were independent, one variance for all.
    told_by = apart.std(0) > 0
    acting = _acting(problem)
    kinds = np.unique(acting, axis=0).astype(np.float64)
    columns = [(acting == kind).all(1) for kind in kinds]
    used = [(kind, apart[:, which & told_by]) for kind, which in zip(kinds, columns, strict=True)]
    used = [(kind, own) for kind, own in used if own.size]
    n, whole = int(told_by.sum()), told.whole
    own = _alike(told.draws, whole)
    # What is added to the kernel, each with a variance: f and e, and of a sample f', e' and d.
    added = [own @ own.T, np.diag(wide * whole)]
    if not whole.all():
        theirs = _alike(told.draws, ~whole)
        added += [theirs @ theirs.T, np.diag(wide * ~whole), np.outer(~whole, ~whole).astype(float)]

    def matrix_of(t: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = (u * (np.exp(t[:size]) * kind)) @ u.T
        more = sum(np.exp(log) * each for log, each in zip(t[size + 1 :], added, strict=True))
        return s, FLAT + s + np.exp(t[size]) * s**2 + more

    def minus_log(t: np.ndarray) -> tuple[float, np.ndarray]:
        parts = []
        for kind, values in used:
            s, matrix = matrix_of(t, kind)
            inverse = np.linalg.inv(matrix)
            parts.append((kind, values, s, inverse, inverse @ values, np.linalg.slogdet(matrix)[1]))
        squares = sum(float((values * found).sum()) for _, values, _, _, found, _ in parts)
        variance = max(squares / (n * count), 1e-300)
        value, slopes, others = 0.5 * n * count * np.log(variance), np.zeros(size), np.zeros(1 + len(added))
        for kind, values, s, inverse, found, log_determinant in parts:
            number = values.shape[1]
            value += 0.5 * number * log_determinant
            by = 0.5 * (number * inverse - found @ found.T / variance)
            slopes += kind * (((by * (1 + 2 * np.exp(t[size]) * s)) @ u) * u).sum(0)
            others += [(by * each).sum() for each in (s**2, *added)]
        return float(value), np.concatenate([slopes, others]) * np.exp(t)

    begin = np.concatenate([np.full(size, BEGIN[0]), BEGIN[1:], APART])
    if before is not None:
        numbers = [*before.amounts, before.bend, before.shared, before.noise, *before.apart]
        begin[: len(numbers)] = np.log(numbers)
    bounds = [AMOUNTS] * size + [BENDS] + [CHANCE] * len(added)
    begin = np.clip(begin[: len(bounds)], *np.array(bounds).T)
    best = minimize(minus_log, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": TURNS}).x
    amounts, (bend, shared, noise, *rest) = np.exp(best[:size]), map(float, np.exp(best[size:]))
    found = tuple(
        Part(which, kind, np.linalg.inv(matrix_of(best, kind)[1])) for kind, which in zip(kinds, columns, strict=True)
    )
    weights, left = np.empty_like(apart), np.empty((int(whole.sum()), len(level)))
    by_realization = np.empty((own.shape[1], len(level)))
    for part in found:
        mine = weights[:, part.counts] = part.inverse @ apart[:, part.counts]
        left[:, part.counts] = (mine * np.sqrt(noise / np.diag(part.inverse))[:, None])[whole]
        spread = np.sqrt(shared / np.diag(own.T @ part.inverse @ own))
        by_realization[:, part.counts] = own.T @ mine * spread[:, None]
    kernel = (amounts, bend, shared, noise, tuple(rest))
    return Surface(problem, dispersions, told, z, deviations, u, *kernel, found, weights, level, left, by_realization)


def _acting(problem: Problem) -> np.ndarray:
    """Which parameters can change which counts, (n, size) bool: not those that hold from a later day on."""
    last = [np.repeat(of.first + of.lengths - 1, of.values.shape[1]) for of in problem.streams]
    return np.asarray(np.concatenate(last)[:, None] >= since(problem.parameters))


def _alike(draws: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Which of the simulations, some alone, have the draws of each realization: (K, realizations) float."""
    return ((draws[:, None] == np.unique(draws[which])) & which[:, None]).astype(np.float64)
