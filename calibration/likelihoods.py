"""Likelihoods of counts: density, residuals whose squares add up to it, the scale on which its variance is one, draws.

| name | mean, variance | scale g with Var g(Y) near 1 |
|---|---|---|
| poisson | m, m | 2 sqrt(y + 3/8) |
| negative_binomial | m, m + m^2 / k | 2 sqrt(k - 1/2) asinh sqrt((y + 3/8) / (k - 3/4)) |
| gaussian | sqrt(Y) normal about sqrt(m), deviation s | sqrt(y) / s |
| least_squares | m, s^2 | y / s |

k or s is the *dispersion*; Poisson has none. A gap, NaN, counts for nothing. (Anscombe 1948, Biometrika 35: the scales;
McCullagh & Nelder 1989, Generalized Linear Models, section 2.3.4: deviance.)
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

Likelihood = Literal["poisson", "negative_binomial", "gaussian", "least_squares"]
LEAST = 0.05  # expected counts below this are taken for it: a few realizations cannot tell them from none
DISPERSION = {"poisson": 1.0, "negative_binomial": 10.0, "gaussian": 0.5, "least_squares": 10.0}
TRACE = 1e-6  # keeps a root's slope finite
_SMALL_K = 1.0  # below it the negative binomial's scale is that of k = 1


def variance(kind: Likelihood, mean: np.ndarray, dispersion: float) -> np.ndarray:
    """Variance of a count of which `mean` is expected; for gaussian, of a small deviation about it."""
    mean = np.maximum(mean, LEAST)
    if kind == "poisson":
        return mean
    if kind == "negative_binomial":
        return mean + mean**2 / dispersion
    return 4 * mean * dispersion**2 if kind == "gaussian" else np.full_like(mean, dispersion**2)


def log_density(kind: Likelihood, counts: np.ndarray, mean: np.ndarray, dispersion: float) -> np.ndarray:
    """Log of the probability (for gaussian: of the density of the root) of counts, each of its own mean; 0 for a gap.

    >>> float(log_density("poisson", np.array(0.0), np.array(2.0), 1.0))
    -2.0
    """
    y, m, gap = np.nan_to_num(counts), np.maximum(mean, LEAST), np.isnan(counts)
    if kind == "poisson":
        found = y * np.log(m) - m - _log_gamma(y + 1)
    elif kind == "negative_binomial":
        k = dispersion
        found = _log_gamma(y + k) - _log_gamma(y + 1) - math.lgamma(k) + y * np.log(m / (m + k)) - k * np.log1p(m / k)
    else:
        apart = np.sqrt(y) - np.sqrt(m) if kind == "gaussian" else y - m
        found = -0.5 * (apart / dispersion) ** 2 - math.log(dispersion * math.sqrt(2 * math.pi))
    return np.where(gap, 0.0, found)


def residuals(
    kind: Likelihood, counts: np.ndarray, mean: np.ndarray, dispersion: float
) -> tuple[np.ndarray, np.ndarray]:
    """Deviance residuals and their derivatives with respect to the means; 0 for a gap.

    sum r^2 / 2 = log p(y; y) - log p(y; m),   dr / dm = -(y - m) / (V(m) r)

    Args:
        kind: of likelihood.
        counts: any shape, float64.
        mean: of the same shape, what is expected.
        dispersion: see above.
    Returns:
        r and dr / dm.

    >>> [round(float(each), 3) for each in residuals("poisson", np.array(4.0), np.array(4.0), 1.0)]
    [0.0, -0.5]
    """
    y, m, gap = np.nan_to_num(counts), np.maximum(mean, LEAST), np.isnan(counts)
    if kind == "gaussian":
        r, slope = (np.sqrt(y) - np.sqrt(m)) / dispersion, -0.5 / (np.sqrt(m) * dispersion)
    elif kind == "least_squares":
        r, slope = (y - m) / dispersion, np.full_like(m, -1 / dispersion)
    else:
        own = np.where(y > 0, y * np.log(np.maximum(y, TRACE) / m), 0.0)
        if kind == "poisson":
            half = own - (y - m)
        else:
            half = own - (y + dispersion) * np.log((y + dispersion) / (m + dispersion))
        v = variance(kind, m, dispersion)
        r = np.sign(y - m) * np.sqrt(2 * np.maximum(half, 0))
        near = np.abs(y - m) < 1e-4 * np.sqrt(v)
        slope = np.where(near, -1 / np.sqrt(v), -(y - m) / (v * np.where(near, 1.0, r)))
    return np.where(gap, 0.0, r), np.where(gap, 0.0, slope)


def stabilised(kind: Likelihood, mean: np.ndarray, dispersion: float) -> np.ndarray:
    """Expected counts on the scale g where the count's variance is about one, (...) float64."""
    m = np.maximum(mean, 0)
    if kind == "poisson":
        return 2 * np.sqrt(m + 0.375)
    if kind == "gaussian":
        return np.sqrt(m + TRACE) / dispersion
    if kind == "least_squares":
        return m / dispersion
    k = max(dispersion, _SMALL_K)
    return 2 * math.sqrt(k - 0.5) * np.arcsinh(np.sqrt((m + 0.375) / (k - 0.75)))


def stabilised_slope(kind: Likelihood, mean: np.ndarray, dispersion: float) -> np.ndarray:
    """dg / dm."""
    m = np.maximum(mean, 0)
    if kind == "poisson":
        return 1 / np.sqrt(m + 0.375)
    if kind == "gaussian":
        return 0.5 / (np.sqrt(m + TRACE) * dispersion)
    if kind == "least_squares":
        return np.full_like(m, 1 / dispersion)
    k = max(dispersion, _SMALL_K)
    return math.sqrt(k - 0.5) / np.sqrt((m + 0.375) * (m + 0.375 + k - 0.75))


def unstabilised(kind: Likelihood, scaled: np.ndarray, dispersion: float) -> np.ndarray:
    """The expected counts of values on the scale g."""
    if kind == "poisson":
        found = (scaled / 2) ** 2 - 0.375
    elif kind == "gaussian":
        found = (scaled * dispersion) ** 2 - TRACE
    elif kind == "least_squares":
        found = scaled * dispersion
    else:
        k = max(dispersion, _SMALL_K)
        found = (k - 0.75) * np.sinh(scaled / (2 * math.sqrt(k - 0.5))) ** 2 - 0.375
    return np.maximum(found, 0)


def draw(kind: Likelihood, generator: np.random.Generator, mean: np.ndarray, dispersion: float) -> np.ndarray:
    """Counts of which `mean` is expected, float64."""
    m = np.maximum(mean, 0)
    if kind == "poisson":
        return generator.poisson(m).astype(np.float64)
    if kind == "gaussian":
        return np.maximum(np.sqrt(m) + dispersion * generator.normal(size=m.shape), 0) ** 2
    if kind == "least_squares":
        return np.maximum(m + dispersion * generator.normal(size=m.shape), 0)
    return generator.poisson(m * generator.gamma(dispersion, 1 / dispersion, m.shape)).astype(np.float64)


def dispersion_for(kind: Likelihood, counts: np.ndarray, mean: np.ndarray, extra: np.ndarray, freedom: float) -> float:
    """The dispersion at which Pearson's statistic equals its degrees of freedom.

    (y - m)^T (V(m) + extra)^-1 (y - m) = freedom                      (McCullagh & Nelder 1989, section 9.2)

    Args:
        kind: of likelihood; Poisson has nothing to choose.
        counts, mean: as in `residuals`, (n,).
        extra: variance of the counts besides, such as that of the epidemic itself: (n,), or their covariance, (n, n).
            What hangs together explains less than the same variances would apart.
        freedom: number of counts less that of parameters.
    """
    if kind == "poisson":
        return 1.0
    good = ~np.isnan(counts)
    y, m = counts[good], np.maximum(mean[good], LEAST)
    besides = extra[np.ix_(good, good)] if extra.ndim == 2 else extra[good]
    apart = (np.sqrt(y) - np.sqrt(m)) * 2 * np.sqrt(m) if kind == "gaussian" else y - m
    low, high = (math.log(1e-2), math.log(1e6)) if kind == "negative_binomial" else (math.log(0.05), math.log(1e6))
    for _ in range(60):
        middle = (low + high) / 2
        own = variance(kind, m, math.exp(middle))
        whitened = np.linalg.solve(np.diag(own) + besides, apart) if extra.ndim == 2 else apart / (own + besides)
        pearson = float(apart @ whitened)
        too_small = pearson < freedom if kind == "negative_binomial" else pearson > freedom
        low, high = (middle, high) if too_small else (low, middle)
    return math.exp((low + high) / 2)


def _log_gamma(values: np.ndarray) -> np.ndarray:
    return np.vectorize(math.lgamma, otypes=[np.float64])(values)
