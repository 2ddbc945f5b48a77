"""Does an estimate of an expected curve agree with a reference, both being means over the same realizations?"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal, get_args

import numpy as np

Verdict = Literal["holds", "off", "cut", "unsure", "none"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
SLOPE, COSINE = 0.05, 0.99  # a derivative holds if its slope is as near to 1, and its cosine above
DOUBTFUL = 0.05  # standard errors above this decide nothing
FEWEST = 3  # realizations that a standard error can be had from


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One observable's derivative with respect to one parameter, over the whole recorded curve.

    Args:
        parameter: path of the entry in the parameters.
        observable: name.
        slope: of the estimate regressed on the reference; 1 if right.
        error: standard error of the slope over realizations, from both.
        cosine: between the two expected curves; 1 if right. Noise is taken out of it, so it may pass 1 a little.
        cosine_error: its standard error.
        verdict: "holds", "off", "cut" (the estimate is zero and the reference is not), "unsure" (the errors are too
            large to tell), "none" (both are zero).
        missing: why numbers are nan; empty if none is.
    """

    parameter: str
    observable: str
    slope: float
    error: float
    cosine: float
    cosine_error: float
    verdict: Verdict
    missing: str = ""


def compare(parameter: str, observable: str, estimate: np.ndarray, reference: np.ndarray) -> Comparison:
    """An estimate of a derivative against a reference, over a whole curve.

    slope = <e, r> / <r, r>,        cosine = <e, r> / sqrt(<e, e> <r, r>)

    with <e, r> the product of two different realizations' curves in the mean over all pairs, which unlike the product
    of the mean curves has no part that comes of noise. Errors are the jackknife's (Efron & Stein 1981).

    Args:
        parameter, observable: names.
        estimate: (m, ...), of the first m realizations.
        reference: (n, ...), n >= m >= 3.

    Returns:
        a verdict: "holds" if the slope is within 0.05 of 1 and the cosine at least 0.99; "off" if one of them is
        further away by two standard errors, or some more if m is small; "unsure" between, or if the error of the slope
        exceeds 0.05.

    >>> curve = np.outer(np.ones(8), np.sin(np.arange(9.0)))
    >>> compare("rate", "cases", 1.2 * curve, curve).verdict
    'off'
    """
    n, m = len(reference), len(estimate)
    right = np.asarray(reference, np.float64).reshape(n, -1)
    left = np.zeros_like(right)
    left[:m] = np.asarray(estimate, np.float64).reshape(m, -1)
    nothing = functools.partial(Comparison, parameter, observable, np.nan, np.nan, np.nan, np.nan)
    if not right.any():
        if left.any():
            return nothing("unsure", "no difference between the runs")
        return nothing("none", "no effect")
    if not np.isfinite(left).all():
        return nothing("off", "the derivative is not a number")
    has = np.arange(n) < m
    # In the last row nothing is left out, in each other one a realization.
    out = np.vstack([np.eye(n), np.zeros(n)])
    lefts, rights = left.sum(0) - out @ left, right.sum(0) - out @ right
    few, many = m - out @ has, n - out.sum(1)

    def product(one: np.ndarray, other: np.ndarray, sums: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        own = (one * other).sum(1)
        return (sums - (own.sum() - out @ own)) / pairs

    cross = product(left, right, (lefts * rights).sum(1), few * (many - 1))
    size = product(right, right, (rights**2).sum(1), many * (many - 1))
    own = product(left, left, (lefts**2).sum(1), few * (few - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        slope, error = _jackknife(np.where(size > 0, cross / size, np.nan))
        cosine, cosine_error = _jackknife(np.where((size > 0) & (own > 0), cross / np.sqrt(size * own), np.nan))
    verdict: Verdict
    if not left.any():
        _, doubt = _jackknife(size)
        slope, cosine, cosine_error, verdict = 0.0, 0.0, 0.0, "cut" if size[-1] > 2 * doubt else "unsure"
    else:
        verdict = _verdict(slope, error, cosine, cosine_error, m)
    missing = "" if np.isfinite([slope, error, cosine]).all() else "lost in the noise"
    return Comparison(parameter, observable, slope, error, cosine, cosine_error, verdict, missing)


def _jackknife(found: np.ndarray) -> tuple[float, float]:
    """A number from all realizations (the last), and its standard error from those with one left out."""
    *without, whole = found
    n = len(without)
    return float(whole), float(np.sqrt((n - 1) / n * ((np.array(without) - whole) ** 2).sum()))


def _verdict(slope: float, error: float, cosine: float, cosine_error: float, realizations: int) -> Verdict:
    sure = 2 + 4 / (realizations - 1)  # near Student's 97.5 % quantile: errors from few realizations are rough
    if abs(slope - 1) > SLOPE + sure * error or cosine < COSINE - sure * cosine_error:
        return "off"
    holds = abs(slope - 1) <= SLOPE and cosine >= COSINE and error <= DOUBTFUL
    return "holds" if holds else "unsure"
