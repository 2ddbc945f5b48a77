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

What holds from a day on changes no count before: of such a count B and Q have no entry for it, and its kernel no such
i. Where the kernels of counts differ, so do their v.

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
from collections.abc import Iterator, Sequence

import numpy as np

from lpm.calibration import likelihoods, objective
from lpm.calibration.problem import Problem, of_streams
from lpm.calibration.tangents import log_shares, of_each, shares

FLAT = 1e3  # s_0: next to nothing is known of the level


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
class Part:
    """Counts that the same parameters change.

    Args:
        counts: (n,) bool.
        acts: (size,) 1 for the parameters that do, and 0.
        inverse: (K, K) of the kernel's matrix with e's.
    """

    counts: np.ndarray
    acts: np.ndarray
    inverse: np.ndarray


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
        parts: counts with the same kernel.
        weights: (K, n) the inverse of the kernel's matrix with e's, times g(X) less its mean.
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
    parts: tuple[Part, ...]
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
        """Expected counts on the scale g, (draws, n), and v there, (draws,), the mean over what was counted.

        Args:
            z: (draws, size).
        """
        found, error, good = np.empty((len(z), len(self.level))), np.zeros(len(z)), ~np.isnan(self.problem.counts)
        for part, along, own in self._along(z):
            found[:, part.counts] = self.level[part.counts] + along @ self.weights[:, part.counts]
            number = int((part.counts & good).sum())
            if number:
                error += number * self._error(part, along, own)
        known = log_shares(self.problem, z) - log_shares(self.problem, self.z[None])
        if known.any():
            counts = of_each(likelihoods.unstabilised, self.problem, self.dispersions, found) * np.exp(known)
            found = of_each(likelihoods.stabilised, self.problem, self.dispersions, counts)
        return found, error / good.sum()

    def errors(self, z: np.ndarray) -> np.ndarray:
        """v of each count, (draws, n), at (draws, size) points."""
        found = np.empty((len(z), len(self.level)))
        for part, along, own in self._along(z):
            found[:, part.counts] = self._error(part, along, own)[:, None]
        return found

    def _along(self, z: np.ndarray) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
        """Of each part: the kernel with all simulations, (draws, K), and with itself, (draws,)."""
        u = (z - self.z) / self.deviations
        for part in self.parts:
            scaled = u * (self.amounts * part.acts)
            s, own = scaled @ self.points.T, (scaled * u).sum(1)
            yield part, FLAT + s + self.bend * s**2, FLAT + own + self.bend * own**2

    def _error(self, part: Part, along: np.ndarray, own: np.ndarray) -> np.ndarray:
        found = own - ((along @ part.inverse) * along).sum(1)
        return np.asarray(np.maximum(found, 0) / (self.shared + self.noise))

    def slope(self, z: np.ndarray) -> np.ndarray:
        """Its derivative, (n, size), at one z."""
        u, by_u = (z - self.z) / self.deviations, np.empty((len(z), len(self.level)))
        for part in self.parts:
            amounts = self.amounts * part.acts
            s = self.points @ (amounts * u)
            along = self.points * amounts * (1 + 2 * self.bend * s)[:, None]
            by_u[:, part.counts] = along.T @ self.weights[:, part.counts]
        counts = of_each(likelihoods.unstabilised, self.problem, self.dispersions, self.at(z[None])[0])[0]
        known = shares(self.problem, z).T
        own = of_each(likelihoods.stabilised_slope, self.problem, self.dispersions, counts)
        if not known.any():
            return by_u.T / self.deviations
        # From where z0 has the share, by the chain rule: g(X e^d), d the change of the share's logarithm.
        change = np.exp(log_shares(self.problem, z[None]) - log_shares(self.problem, self.z[None]))[0]
        before = of_each(likelihoods.stabilised_slope, self.problem, self.dispersions, counts / change)
        return (change * own / before)[:, None] * (by_u.T / self.deviations) + (own * counts)[:, None] * known


def lived(problem: Problem, curves: np.ndarray) -> np.ndarray:
    """Which simulations, (K, n), are finite and did not die out: (K,) bool."""
    good = ~np.isnan(problem.counts)
    enough = curves[:, good].sum(1) >= objective.DIED_OUT * problem.counts[good].sum()
    return np.asarray(np.isfinite(curves).all(1) & enough)


def residuals(problem: Problem, dispersions: Sequence[float], means: np.ndarray) -> np.ndarray:
    """Deviance residuals of the counts about (draws, n) means, alike; 0 for gaps."""
    parts = zip(problem.streams, of_streams(problem.streams, means), dispersions, strict=True)
    found = [
        likelihoods.residuals(of.likelihood, np.broadcast_to(of.values, own.shape), own, k)[0] for of, own, k in parts
    ]
    return np.concatenate([each.reshape(len(means), -1) for each in found], axis=1)
