"""What chance does to a fit: how an epidemic's own hangs together, and how derivatives' is kept out of intervals.

**The covariance C** of an epidemic's chance, from fewer realizations than there are counts. Most of it is an epidemic
that is early or late, faster or slower: what a change of parameters would do. With B = dg(m)/dz and x_r the samples,

    x_r = B b_r + e_r,    C = B Cov(b) B^T + Cov(e)

b_r by least squares, weighed by the variances of counting and of e. Cov(b) has as many rows as parameters, and so few
are known from some ten realizations; of e, which hangs together little, the shrunk covariance is taken. Where C is
shrunk as a whole, B sticks out of it, in directions in which those few realizations did not differ: data seem to say
of the parameters what they do not.

**Derivatives** have noise of their own. In J^T Sigma^-1 J it does not cancel, but adds up: directions of which data say
nothing seem to be known. With N the part of noise, from the differences between parts of the realizations,

    J <- J (1 - G^-1 N),    G = J^T Sigma^-1 J

is such that what remains of the information is that of the statistic J^T Sigma^-1 r, of which G - N is the expected
derivative. N is known from a few parts, and G has chance of its own; so twice as much is taken off. (Regression
dilution: Fuller 1987, Measurement Error Models, section 1.1; the likelihood of a few statistics of the data: Alsing &
Wandelt 2018, MNRAS Letters 476.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lpm.calibration import likelihoods, objective
from lpm.calibration.objective import Moments, Weights
from lpm.calibration.problem import Problem, of_streams

SURELY = 2.0  # times the noise that is seen: information that may well be noise alone is none
PARTS = 4  # of the realizations of a Jacobian, between which its noise is seen
ROUNDS = 3  # of weighing by what is left
DEPENDENT = 1e-6  # singular values below this share of the largest are none


def on_scale(problem: Problem, dispersions: Sequence[float], mean: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    """B above, (n, size), of dm / dz."""
    parts = zip(problem.streams, of_streams(problem.streams, mean), dispersions, strict=True)
    slope = [likelihoods.stabilised_slope(each.likelihood, own, k).ravel() for each, own, k in parts]
    return np.concatenate(slope)[:, None] * jacobian


def covariance(groups: Sequence[np.ndarray], along: np.ndarray | None, good: np.ndarray) -> np.ndarray:
    """C above, (n, n), of the good counts; 0 for gaps.

    Args:
        groups: (samples, n) each, less a mean of their own.
        along: B above, (n, size); where it is None, or has too many columns to tell, C is shrunk as a whole.
        good: (n,) bool.
    """
    found = np.zeros((len(good), len(good)))
    inside = np.ix_(good, good)
    whole = [each[:, good] for each in groups]
    number = sum(map(len, whole)) - len(whole)
    usable = along is not None and number > 0 and np.isfinite(along).all() and np.any(along[good])
    if not usable or 2 * along.shape[1] > good.sum():  # type: ignore[union-attr]
        found[inside] = objective.shrunk_covariance(whole)
        return found
    assert along is not None
    samples, variance = np.concatenate(whole), np.ones(int(good.sum()))
    for _ in range(ROUNDS):
        root = np.sqrt(variance)
        basis, size, _ = np.linalg.svd(along[good] / root[:, None], full_matrices=False)
        basis = basis[:, size > DEPENDENT * size[0]]
        amounts = samples / root @ basis
        rest = (samples - amounts @ basis.T * root) * np.sqrt(len(root) / (len(root) - basis.shape[1]))
        variance = 1 + (rest**2).sum(0) / number
    cuts = np.cumsum([len(each) for each in whole])[:-1]
    # What of the rest lies along B by chance is in the second term already.
    twice = basis.T * (1 - 1 / root**2) @ basis
    value, vector = np.linalg.eigh(objective.shrunk_covariance(np.split(amounts, cuts)) - twice)
    spread = root[:, None] * basis @ (vector * np.sqrt(np.maximum(value, 0)))
    found[inside] = spread @ spread.T + objective.shrunk_covariance(np.split(rest, cuts))
    return found


def parts(found: Moments, tangents: np.ndarray, number: int = PARTS) -> np.ndarray:
    """d log(m + 1) / dz from each of so many parts of the realizations, (number, n, size), whose mean is meant."""
    kept, number = tangents[found.kept], max(1, min(number, int(found.kept.sum())))
    each = [np.einsum("rn,rpn->np", found.slope[own::number], kept[own::number]) for own in range(number)]
    share = [len(kept[own::number]) / len(kept) for own in range(number)]
    return np.stack([objective.relative(one / part, found.mean) for one, part in zip(each, share, strict=True)])


def together(iterations: Sequence[np.ndarray]) -> np.ndarray:
    """Parts of several iterations, (parts, n, size) each, as parts of their mean; places that differ are no noise."""
    middle, count = np.mean([each.mean(0) for each in iterations], axis=0), sum(map(len, iterations))
    apart = np.concatenate([each - each.mean(0) for each in iterations])
    return middle + apart * np.sqrt((count - 1) / max(count - len(iterations), 1))


def attenuated(problem: Problem, weights: Weights, found: Moments, each: np.ndarray) -> np.ndarray:
    """Jacobians of several parts (parts, n, size), without what the noise of their mean feigns to know; alike."""
    if len(each) < 2:
        return each
    rows = np.stack([objective.linearised(problem.streams, weights, found, one)[1] for one in each])
    apart, whole = rows - rows.mean(0), rows.mean(0)
    noise = np.einsum("knp,knq->pq", apart, apart) / (len(each) * (len(each) - 1))
    information = whole.T @ whole
    information = information + 1e-8 * max(float(np.trace(information)), 1e-8) * np.eye(len(information))
    lower = np.linalg.cholesky(information)
    value, vector = np.linalg.eigh(np.linalg.solve(lower, np.linalg.solve(lower, noise).T))
    left = vector * np.clip(1 - SURELY * value, 0, 1) @ vector.T
    return each @ np.linalg.solve(lower.T, left @ lower.T)
