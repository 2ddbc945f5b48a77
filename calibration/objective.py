"""How far simulated counts are from observed ones: a synthetic likelihood on the scale where counts have variance one.

Observed counts are one realization of the epidemic, seen through the observation model. With g the stabilising scale of
`lpm.calibration.likelihoods` and X_r the expected counts of realization r,

    m = g^-1(mean_r g(X_r)),    Sigma = I + (e + 1/R) C,    F(z) = |L^-1 r(y, m)|^2 / 2,    L L^T = Sigma

where r are the deviance residuals, the I in Sigma is the variance of counting, C the covariance of g(X_r), which is
the chance in the epidemic itself (e = 1, or 0 if the data are to be fitted as if they were the mean epidemic), and
C / R the error of a mean over R realizations. As C vanishes in large populations, exp(-F) becomes the Poisson or
negative binomial likelihood. Sigma is held fixed while z moves. (Wood 2010, Nature 466: synthetic likelihood.)

A realization that died out before it made a tenth of the observed counts cannot be what was observed: it is left out,
and counted.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lpm.calibration import likelihoods, priors
from lpm.calibration.observation import Stream
from lpm.calibration.parameters import Parameter
from lpm.calibration.problem import Problem, of_streams

DIED_OUT = 0.1  # share of the observed counts


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """What some realizations say together, over all n counts.

    Args:
        kept: (realizations,) bool, those that did not die out.
        mean: (n,) m above.
        slope: (kept, n) derivative of m by each kept realization's expected counts.
        samples: (kept, n) g of each kept realization less their mean: what C is estimated from.
    """

    kept: np.ndarray
    mean: np.ndarray
    slope: np.ndarray
    samples: np.ndarray

    @property
    def number(self) -> int:
        """How many realizations did not die out."""
        return int(self.kept.sum())


@dataclasses.dataclass(frozen=True, eq=False)
class Weights:
    """What is held fixed while z moves.

    Args:
        dispersions: one for each stream.
        good: (n,) bool, counts that are no gaps.
        lower: L above, for the good ones.
    """

    dispersions: tuple[float, ...]
    good: np.ndarray
    lower: np.ndarray


def moments(
    streams: Sequence[Stream], dispersions: Sequence[float], curves: np.ndarray, died_out: float = DIED_OUT
) -> Moments | None:
    """The moments of realizations, (realizations, n); None if they are not finite or nearly all died out."""
    if not np.isfinite(curves).all():
        return None
    counts = np.concatenate([each.values.ravel() for each in streams])
    good = ~np.isnan(counts)
    kept = curves[:, good].sum(1) >= died_out * counts[good].sum()
    if kept.sum() < min(2, len(curves)) or kept.mean() < 0.1:
        return None
    scaled, means, slopes = [], [], []
    for each, k, own in zip(streams, dispersions, of_streams(streams, curves[kept]), strict=True):
        flat = own.reshape(len(own), -1)
        on_scale = likelihoods.stabilised(each.likelihood, flat, k)
        mean = likelihoods.unstabilised(each.likelihood, on_scale.mean(0), k)
        inner = likelihoods.stabilised_slope(each.likelihood, flat, k)
        slopes.append(inner / likelihoods.stabilised_slope(each.likelihood, mean, k) / len(flat))
        scaled.append(on_scale)
        means.append(mean)
    samples = np.concatenate(scaled, axis=1)
    return Moments(kept, np.concatenate(means), np.concatenate(slopes, axis=1), samples - samples.mean(0))


def shrunk_covariance(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Covariance of samples, (samples, n) in groups with a mean each, its correlations drawn towards zero by as much as
    they are uncertain.

    r*_ij = (1 - a) r_ij,   a = sum Var(r_ij) / sum r_ij^2

    (Schäfer & Strimmer 2005, Stat. Appl. Genet. Mol. Biol. 4, article 32)
    """
    centred = np.concatenate(groups) if groups else np.zeros((0, 0))
    n, number = centred.shape[1], len(centred) - len(groups) + 1
    if number < 2:
        return np.zeros((n, n))
    deviation = np.sqrt((centred**2).sum(0) / (number - 1))
    unit = centred / np.maximum(deviation, 1e-12)
    correlation = unit.T @ unit / (number - 1)
    spread = number / (number - 1) ** 3 * ((unit**2).T @ unit**2 - (unit.T @ unit) ** 2 / number)
    apart = ~np.eye(n, dtype=bool)
    total = (correlation[apart] ** 2).sum()
    share = 1.0 if number < 4 else float(np.clip(spread[apart].sum() / max(total, 1e-12), 0, 1))
    return np.where(apart, (1 - share) * correlation, 1.0) * np.outer(deviation, deviation)


def weigh(problem: Problem, dispersions: Sequence[float], covariance: np.ndarray, number: float) -> Weights:
    """The weights of a covariance C and a number of realizations."""
    good = ~np.isnan(problem.counts)
    share = float(problem.epidemic_chance) + 1 / number
    sigma = np.eye(int(good.sum())) + share * covariance[np.ix_(good, good)]
    return Weights(tuple(dispersions), good, np.linalg.cholesky(sigma))


def whitened(streams: Sequence[Stream], weights: Weights, found: Moments) -> tuple[np.ndarray, np.ndarray]:
    """The whitened residuals, (good,), and the derivatives of r by m, (n,), not whitened."""
    r, slope = [], []
    for each, k, mean in zip(streams, weights.dispersions, of_streams(streams, found.mean), strict=True):
        values, slopes = likelihoods.residuals(each.likelihood, each.values, mean, k)
        r.append(values.ravel())
        slope.append(slopes.ravel())
    return np.linalg.solve(weights.lower, np.concatenate(r)[weights.good]), np.concatenate(slope)


def misfit(streams: Sequence[Stream], weights: Weights, curves: np.ndarray) -> float:
    """F; infinite where nothing finite was simulated or nearly all realizations died out."""
    found = moments(streams, weights.dispersions, curves)
    if found is None:
        return float("inf")
    residuals, _ = whitened(streams, weights, found)
    return 0.5 * float(residuals @ residuals)


def mean_jacobian(found: Moments, tangents: np.ndarray) -> np.ndarray:
    """dm / dz, (n, size), from tangents, (realizations, size, n)."""
    return np.einsum("rn,rpn->np", found.slope, tangents[found.kept])


def relative(jacobian: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """d log(m + 1) / dz, (n, size), of dm / dz: what hardly changes where counts are some times as many."""
    return jacobian / (mean + 1)[:, None]


def absolute(found: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The reverse, where m is `mean`; of several, (..., n, size)."""
    return found * (mean + 1)[:, None]


def linearised(
    streams: Sequence[Stream], weights: Weights, found: Moments, jacobian: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whitened residuals, (good,), and their Jacobian, (good, size), from dm / dz."""
    residuals, slope = whitened(streams, weights, found)
    return residuals, np.linalg.solve(weights.lower, (slope[:, None] * jacobian)[weights.good])


def cotangents(streams: Sequence[Stream], weights: Weights, found: Moments) -> np.ndarray:
    """dF / dX_r for each realization, (realizations, n): what reverse mode is started with."""
    residuals, slope = whitened(streams, weights, found)
    by_mean = np.zeros_like(slope)
    by_mean[weights.good] = np.linalg.solve(weights.lower.T, residuals)
    result = np.zeros((len(found.kept), len(slope)))
    result[found.kept] = found.slope * (by_mean * slope)
    return result


def score(streams: Sequence[Stream], weights: Weights, found: Moments) -> float:
    """Minus the log of the synthetic likelihood with its normalisation, for comparing optima: up to a constant."""
    residuals, _ = whitened(streams, weights, found)
    best = sum(
        likelihoods.log_density(each.likelihood, each.values, each.values, k).sum()
        for each, k in zip(streams, weights.dispersions, strict=True)
    )
    return float(0.5 * residuals @ residuals + np.log(np.diag(weights.lower)).sum() - best)


def dispersions(
    problem: Problem, old: Sequence[float], found: Moments, share_of_old: float, told: Sequence[np.ndarray] = ()
) -> tuple[float, ...]:
    """The dispersion of each stream where none is fixed: between the old one and what the residuals ask for.

    Samples of the epidemic's chance that are known from elsewhere may be told.
    """
    streams, size = problem.streams, problem.size
    share = float(problem.epidemic_chance) + 1 / found.number
    total = sum(int((~np.isnan(each.values)).sum()) for each in streams)
    means = of_streams(streams, found.mean)
    chance, at = share * shrunk_covariance([found.samples, *told]), 0
    result = []
    for each, k, mean in zip(streams, old, means, strict=True):
        own = slice(at, at + each.values.size)
        at = own.stop
        if each.dispersion is not None or each.likelihood == "poisson":
            result.append(k)
            continue
        number = int((~np.isnan(each.values)).sum())
        slope = likelihoods.stabilised_slope(each.likelihood, mean.ravel(), k)
        extra = chance[own, own] / np.outer(slope, slope)
        freedom = max(1.0, number * (1 - size / total))
        wanted = likelihoods.dispersion_for(each.likelihood, each.values.ravel(), mean.ravel(), extra, freedom)
        result.append(float(k**share_of_old * wanted ** (1 - share_of_old)))
    return tuple(result)


@functools.partial(jax.jit, static_argnums=0)
def _prior(free: tuple[Parameter, ...], z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    def minus(z: jax.Array) -> jax.Array:
        return -priors.log_prior(free, z)

    return minus(z), jax.grad(minus)(z), jax.hessian(minus)(z)


def prior(free: tuple[Parameter, ...], z: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Minus the log prior in z, its gradient, and its Hessian with negative curvature left out."""
    value, gradient, hessian = (np.asarray(each, np.float64) for each in _prior(free, jnp.asarray(z, jnp.float32)))
    size, direction = np.linalg.eigh(hessian)
    return float(value), gradient, (direction * np.maximum(size, 0)) @ direction.T
