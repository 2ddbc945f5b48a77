"""A response surface: expected counts as a quadratic function of z, from simulations each at a point of its own.

On the scale g of `lpm.calibration.likelihoods`, where a count's variance is one, with u = (z - z0) / prior deviation,

    g(X_k) = a + B u_k + u_k' Q u_k + f_r(k) + e_k,    f_r ~ N(0, C_f),    e_k ~ N(0, w_k C_e)

where r(k) is the number of the realization whose draws simulation k has. With the same draws nearby points have nearly
the same chance, f_r: slopes are told by simulations of one realization, and the mean by all. Before any simulation a, B
and Q of each count are normal with mean 0, so that g is a Gaussian process with the kernel

    c(u, v) = s_0 + s + b s^2 + f [same realization],    s = sum_i a_i u_i v_i

Far fewer simulations than the (size + 1) (size + 2) / 2 numbers of a quadratic tell it: what they do not tell stays
near 0. The a_i, b, f and the variance of e are those of the largest marginal likelihood, shared by all counts. What is
left of each simulation, predicted from all others, tells C_e; the f_r tell C_f. Together they are C, the chance of one
epidemic and what is not quadratic. The surface has the error v(u) C. (Rasmussen & Williams 2006, Gaussian Processes for
Machine Learning, sections 2.7 and 5.4.2; Sacks et al. 1989, Statist. Sci. 4: computer experiments; the same draws:
Chen, Ankenman & Nelson 2012, ACM Trans. Model. Comput. Simul. 22.)

A simulation far from the data says less of where they are: w_k is its misfit over that of the nearer ones. What a share
reported does is known, and taken out before.

Simulations of a sample of the people are many for the cost of one of everybody. They tell the slopes and bends of the
same surface, off by a constant for each count, with a chance of their own that is larger:

    g(X_k) = a + d + B u_k + u_k' Q u_k + f'_r(k) + e'_k

for simulation k of the sample; the variances of d, f' and e' are found with the others, and the chance of one epidemic
is told by those of everybody alone. (Two levels of one code: Kennedy & O'Hagan 2000, Biometrika 87.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from lpm.calibration import likelihoods, objective
from lpm.calibration.priors import prior_deviation
from lpm.calibration.problem import Problem, of_streams
from lpm.calibration.tangents import log_shares, of_each, shares
from lpm.errors import RunError

FLAT = 1e3  # s_0: next to nothing is known of the level
AMOUNTS, BENDS, CHANCE = (-12.0, 7.0), (-20.0, 3.0), (-11.5, 5.0)  # bounds of the logs of a, b, and both variances
BEGIN = (0.0, -5.0, -1.0, -1.0)  # of these logs
APART = (1.0, 1.0, 0.0)  # and of the variances of f', e' and d
TURNS = 100  # of the search for them, at most


@dataclasses.dataclass(frozen=True, eq=False)
class Simulations:
    """Simulations, each at a point of its own.

    Args:
        points: (K, size) z.
        curves: (K, n) expected counts.
        draws: (K,) integers, the number of the realization whose draws each has.
        whole: (K,) bool, whether of everybody, not of a sample.
    """

    points: np.ndarray
    curves: np.ndarray
    draws: np.ndarray
    whole: np.ndarray

    def __len__(self) -> int:
        return len(self.points)

    def some(self, which: np.ndarray | slice) -> Simulations:
        """Some of them."""
        return Simulations(*(each[which] for each in vars(self).values()))

    def with_more(self, more: Simulations) -> Simulations:
        """These and then others."""
        return Simulations(*map(np.concatenate, zip(vars(self).values(), vars(more).values(), strict=True)))


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
    """Expected counts as a function of z.

    Args:
        problem: whose counts.
        dispersions: of g.
        told: the simulations, those that did not die out.
        z: (size,) the point z0.
        deviations: (size,) of the prior; inf for a share reported, whose effect is known.
        points: (K, size) u_k.
        amounts, bend: a and b.
        shared, noise: f, and the variance of e.
        apart: of a sample: the variances of f', e' and d.
        inverse: (K, K) of the kernel's matrix with e's.
        weights: (K, n) that times g(X) less its mean.
        level: (n,) mean of g(X).
        left: (K, n) what is left of each simulation of everybody predicted from all others, with the variance of e.
        realizations: (realizations, n) f_r, with its variance.
    """

    problem: Problem
    dispersions: tuple[float, ...]
    told: Simulations
    z: np.ndarray
    deviations: np.ndarray
    points: np.ndarray
    amounts: np.ndarray
    bend: float
    shared: float
    noise: float
    apart: tuple[float, ...]
    inverse: np.ndarray
    weights: np.ndarray
    level: np.ndarray
    left: np.ndarray
    realizations: np.ndarray

    @property
    def chance(self) -> np.ndarray:
        """C above, (n, n), correlations drawn towards zero as far as they are uncertain: by it counts are weighed."""
        return sum(map(objective.shrunk_covariance, ([each] for each in self._parts)), np.zeros((len(self.level),) * 2))

    @property
    def sampled_chance(self) -> np.ndarray:
        """C above as it is: where correlations are drawn towards zero, no count would foretell another."""
        return sum((each.T @ each / max(len(each) - 1, 1) for each in self._parts), np.zeros((len(self.level),) * 2))

    @property
    def _parts(self) -> list[np.ndarray]:
        # That their mean is told by themselves is in their variances already.
        return [each * np.sqrt(1 - 1 / len(each)) for each in (self.realizations, self.left)]

    @property
    def simulated(self) -> np.ndarray:
        """The z of the simulations, (K, size)."""
        return self.z + self.points * np.where(np.isinf(self.deviations), 0, self.deviations)

    def at(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected counts on the scale g, (draws, n), and v there, (draws,), of (draws, size) points."""
        u = (z - self.z) / self.deviations
        s = (u * self.amounts) @ self.points.T
        along, own = FLAT + s + self.bend * s**2, (u**2) @ self.amounts
        error = FLAT + own + self.bend * own**2 - np.einsum("wk,wk->w", along @ self.inverse, along)
        found = self.level + along @ self.weights
        known = log_shares(self.problem, z) - log_shares(self.problem, self.z[None])
        if known.any():
            counts = of_each(likelihoods.unstabilised, self.problem, self.dispersions, found) * np.exp(known)
            found = of_each(likelihoods.stabilised, self.problem, self.dispersions, counts)
        return found, np.maximum(error, 0) / (self.shared + self.noise)

    def slope(self, z: np.ndarray) -> np.ndarray:
        """Its derivative, (n, size), at one z."""
        u = (z - self.z) / self.deviations
        s = self.points @ (self.amounts * u)
        by_u = (self.points * self.amounts * (1 + 2 * self.bend * s)[:, None]).T @ self.weights
        counts = of_each(likelihoods.unstabilised, self.problem, self.dispersions, self.at(z[None])[0])[0]
        known = shares(self.problem, z).T
        own = of_each(likelihoods.stabilised_slope, self.problem, self.dispersions, counts)
        if not known.any():
            return by_u.T / self.deviations
        # From where z0 has the share, by the chain rule: g(X e^d), d the change of the share's logarithm.
        change = np.exp(log_shares(self.problem, z[None]) - log_shares(self.problem, self.z[None]))[0]
        before = of_each(likelihoods.stabilised_slope, self.problem, self.dispersions, counts / change)
        return (change * own / before)[:, None] * (by_u.T / self.deviations) + (own * counts)[:, None] * known


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
    deviations = np.where(shares(problem, z).any(1), np.inf, prior_deviation(problem.parameters))
    u = (told.points - z) / deviations
    curves = told.curves * np.exp(log_shares(problem, z[None]) - log_shares(problem, told.points))
    scaled = of_each(likelihoods.stabilised, problem, dispersions, curves)
    far = _misfit(problem, dispersions, curves)
    nearer = np.sort(far)[: 2 * (problem.size + 2)]
    wide = np.maximum(1.0, far / np.median(nearer))
    level = np.average(scaled, axis=0, weights=1 / wide)
    return _of(problem, dispersions, told, z, deviations, u, scaled, level, wide, before)


def lived(problem: Problem, curves: np.ndarray) -> np.ndarray:
    """Which simulations, (K, n), are finite and did not die out: (K,) bool."""
    good = ~np.isnan(problem.counts)
    enough = curves[:, good].sum(1) >= objective.DIED_OUT * problem.counts[good].sum()
    return np.asarray(np.isfinite(curves).all(1) & enough)


def _misfit(problem: Problem, dispersions: Sequence[float], curves: np.ndarray) -> np.ndarray:
    """Squares of deviance residuals for each count, the mean of each simulation."""
    good = ~np.isnan(problem.counts)
    return np.asarray((residuals(problem, dispersions, curves)[:, good] ** 2).mean(1))


def residuals(problem: Problem, dispersions: Sequence[float], means: np.ndarray) -> np.ndarray:
    """Deviance residuals of the counts about (draws, n) means, alike; 0 for gaps."""
    parts = zip(problem.streams, of_streams(problem.streams, means), dispersions, strict=True)
    found = [
        likelihoods.residuals(of.likelihood, np.broadcast_to(of.values, own.shape), own, k)[0] for of, own, k in parts
    ]
    return np.concatenate([each.reshape(len(means), -1) for each in found], axis=1)


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
    apart = apart[:, apart.std(0) > 0]
    n, whole = apart.shape[1], told.whole
    own = _alike(told.draws, whole)
    # What is added to the kernel, each with a variance: f and e, and of a sample f', e' and d.
    added = [own @ own.T, np.diag(wide * whole)]
    if not whole.all():
        theirs = _alike(told.draws, ~whole)
        added += [theirs @ theirs.T, np.diag(wide * ~whole), np.outer(~whole, ~whole).astype(float)]

    def matrix_of(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = (u * np.exp(t[:size])) @ u.T
        parts = sum(np.exp(log) * each for log, each in zip(t[size + 1 :], added, strict=True))
        return s, FLAT + s + np.exp(t[size]) * s**2 + parts

    def minus_log(t: np.ndarray) -> tuple[float, np.ndarray]:
        s, matrix = matrix_of(t)
        inverse = np.linalg.inv(matrix)
        found = inverse @ apart
        variance = max(float((apart * found).sum()) / (n * count), 1e-300)
        value = 0.5 * n * (count * np.log(variance) + np.linalg.slogdet(matrix)[1])
        by = 0.5 * (n * inverse - found @ found.T / variance)
        slopes = np.einsum("kp,kp->p", (by * (1 + 2 * np.exp(t[size]) * s)) @ u, u)
        others = [(by * each).sum() for each in (s**2, *added)]
        return float(value), np.concatenate([slopes, others]) * np.exp(t)

    begin = np.concatenate([np.full(size, BEGIN[0]), BEGIN[1:], APART])
    if before is not None:
        numbers = [*before.amounts, before.bend, before.shared, before.noise, *before.apart]
        begin[: len(numbers)] = np.log(numbers)
    bounds = [AMOUNTS] * size + [BENDS] + [CHANCE] * len(added)
    begin = np.clip(begin[: len(bounds)], *np.array(bounds).T)
    best = minimize(minus_log, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": TURNS}).x
    amounts, (bend, shared, noise, *rest) = np.exp(best[:size]), map(float, np.exp(best[size:]))
    inverse = np.linalg.inv(matrix_of(best)[1])
    weights = inverse @ (scaled - level)
    left = (weights * np.sqrt(noise / np.diag(inverse))[:, None])[whole]
    by_realization = own.T @ weights * np.sqrt(shared / np.diag(own.T @ inverse @ own))[:, None]
    found = (amounts, bend, shared, noise, tuple(rest), inverse, weights, level, left, by_realization)
    return Surface(problem, dispersions, told, z, deviations, u, *found)


def _alike(draws: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Which of the simulations, some alone, have the draws of each realization: (K, realizations) float."""
    return ((draws[:, None] == np.unique(draws[which])) & which[:, None]).astype(np.float64)
