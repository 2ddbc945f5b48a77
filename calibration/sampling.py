"""NUTS on the likelihood under fixed seeds: draws from a posterior that need not be normal.

The density is exp(-F(z)) p(z), with F, its weights and its dispersions as at the end of a fit (`objective`), and the
same realizations at every z. Its gradient is that of the forward-mode Jacobian. Where the simulated counts change by
jumps, the gradient is that of a smoothed F; the draws are still of the density itself, for a proposal moved by any
field is accepted by the density's own ratio. (Hoffman & Gelman 2014, J. Mach. Learn. Res. 15: NUTS and the choice of
its step length; Betancourt 2017, arXiv:1701.02434, appendix A: points chosen in proportion to their density.)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from lpm.calibration import objective
from lpm.calibration.posterior import LATER
from lpm.calibration.problem import keys, simulator
from lpm.calibration.tangents import SHARE, cost, tangents
from lpm.calibration.task import Fit
from lpm.kernels import random

ACCEPTANCE = 0.8  # wanted, on the average
LOST = 1000.0  # of the log density along a trajectory: it has left the posterior


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Draws from the posterior.

    Args:
        names: of the parameters.
        z, values: (chains, draws, size).
        log_density: (chains, draws), up to a constant.
        acceptance: (chains, draws) mean probability of acceptance along each trajectory.
        divergent: (chains, draws) whether a trajectory left the posterior.
        r_hat: (size,) near 1 if the chains agree.
        simulations: spent, each direction of a Jacobian counted as one more.
        method: how they were drawn: "nuts", or "flow".
        efficiency: of a flow: how even its weights are, 1 at best.
    """

    names: tuple[str, ...]
    z: np.ndarray
    values: np.ndarray
    log_density: np.ndarray
    acceptance: np.ndarray
    divergent: np.ndarray
    r_hat: np.ndarray
    simulations: int
    method: str = "nuts"
    efficiency: float = 1.0

    def intervals(self, level: float = 0.9) -> np.ndarray:
        """Interval of each parameter that holds that share of the draws: (size, 2)."""
        flat = self.values.reshape(-1, len(self.names))
        return np.quantile(flat, [0.5 - level / 2, 0.5 + level / 2], axis=0).T


def sample(
    fit: Fit,
    *,
    draws: int = 250,
    warmup: int = 50,
    chains: int = 2,
    realizations: int | None = None,
    depth: int = 6,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Sample:
    """Sample the posterior of a fit, whose own covariance sets the metric, from points drawn with it.

    Args:
        fit: where to begin, and whose weights are used.
        draws: of each chain, after the warm-up.
        warmup: draws in which the step length is chosen, and which are dropped.
        chains: how many.
        realizations: simulated at each point; as many as in the fit if None.
        depth: a trajectory takes at most 2^depth - 1 steps, each with a Jacobian.
        seed: of everything.
        progress: called with a line now and then.
    """
    realizations = realizations or fit.realizations
    # What is sampled is u, with z = estimate + S u and S S^T the posterior's covariance: nearly round.
    shape = np.linalg.cholesky(fit.covariance)
    density = log_density(fit, keys(seed, LATER, realizations), shape)
    generator, steps = np.random.default_rng([seed, 5]), 0
    found: list[list[tuple[np.ndarray, float, float, bool]]] = []
    for chain in range(chains):
        here, length = _point(generator.normal(size=len(fit.z)), density), _Length(0.5)
        found.append([])
        for number in range(warmup + draws):
            here, acceptance, divergent, taken = _trajectory(here, length.now, depth, density, generator)
            steps += taken
            if number < warmup:
                length.learn(acceptance, last=number == warmup - 1)
            else:
                found[-1].append((fit.z + shape @ here.u, here.log_density, acceptance, divergent))
            if (number + 1) % 25 == 0:
                progress(
                    f"chain {chain}, draw {number + 1} of {warmup + draws}: {steps:,} steps of length {length.now:.2g}"
                )
    columns = [np.array([[each[i] for each in one] for one in found]) for i in range(4)]
    z, spent = columns[0], (steps + chains) * cost(fit.problem, realizations)
    names = fit.problem.names
    return Sample(names, z, fit.problem.values(z), columns[1], columns[2], columns[3], r_hat(z), spent)


Density = Callable[[np.ndarray], tuple[float, np.ndarray]]


def log_density(fit: Fit, seeds: random.Key, shape: np.ndarray) -> Density:
    """The log of the posterior's density at u and its gradient, for z = estimate + shape u, under the same seeds.

    Minus infinity where nothing finite was simulated, or nearly all realizations died out.
    """
    problem, weights, machine = fit.problem, fit.weights, simulator(fit.problem)

    def density(u: np.ndarray) -> tuple[float, np.ndarray]:
        z = fit.z + shape @ u
        curves, slopes = tangents(problem, machine, z, seeds, weights.dispersions, SHARE * shape)
        found = objective.moments(problem.streams, weights.dispersions, curves)
        if found is None or not np.isfinite(slopes).all():
            return -math.inf, np.zeros_like(u)
        jacobian = objective.mean_jacobian(found, slopes)
        residuals, rows = objective.linearised(problem.streams, weights, found, jacobian)
        minus, slope, _ = objective.prior(problem.parameters, z)
        return -0.5 * float(residuals @ residuals) - minus, -shape.T @ (rows.T @ residuals + slope)

    return density


@dataclasses.dataclass(frozen=True, eq=False)
class _Point:
    """A place with its density and gradient, and the momentum there."""

    u: np.ndarray
    log_density: float
    gradient: np.ndarray
    momentum: np.ndarray

    @property
    def log_joint(self) -> float:
        return self.log_density - 0.5 * float(self.momentum @ self.momentum)


def _point(u: np.ndarray, density: Density, momentum: np.ndarray | None = None) -> _Point:
    value, gradient = density(u)
    return _Point(u, value, gradient, np.zeros_like(u) if momentum is None else momentum)


def _leap(point: _Point, length: float, density: Density) -> _Point:
    """One leapfrog step; a negative length goes back."""
    half = point.momentum + 0.5 * length * point.gradient
    after = _point(point.u + length * half, density)
    return dataclasses.replace(after, momentum=half + 0.5 * length * after.gradient)


@dataclasses.dataclass(frozen=True, eq=False)
class _Tree:
    """A stretch of a trajectory.

    Args:
        first, last: its ends, in time.
        chosen: one of its points, with a probability in proportion to the joint density.
        log_weight: log of the sum of those densities.
        going: whether it neither turned nor diverged.
        divergent: whether it left the posterior.
        acceptance, steps: sum of the probabilities of acceptance of its points, and their number.
    """

    first: _Point
    last: _Point
    chosen: _Point
    log_weight: float
    going: bool
    divergent: bool
    acceptance: float
    steps: int


def _trajectory(
    here: _Point, length: float, depth: int, density: Density, generator: np.random.Generator
) -> tuple[_Point, float, bool, int]:
    """The next draw, the mean acceptance, whether it diverged, and the steps taken."""
    here = dataclasses.replace(here, momentum=generator.normal(size=len(here.u)))
    start = here.log_joint
    whole = _Tree(here, here, here, start, True, False, 0.0, 0)
    for level in range(depth):
        sign = 1 if generator.random() < 0.5 else -1
        end = whole.last if sign == 1 else whole.first
        more = _grown(end, sign * length, level, start, density, generator)
        joined = _joined(whole, more, sign, generator, biased=True)
        whole = joined if more.going else dataclasses.replace(joined, chosen=whole.chosen)
        if not whole.going:
            break
    return whole.chosen, whole.acceptance / whole.steps, whole.divergent, whole.steps


def _grown(
    end: _Point, length: float, level: int, start: float, density: Density, generator: np.random.Generator
) -> _Tree:
    """A tree of 2^level points from an end on."""
    if not level:
        point = _leap(end, length, density)
        lost = point.log_joint - start
        divergent = not lost > -LOST  # also where it is not a number
        acceptance = 0.0 if divergent else min(1.0, math.exp(min(0.0, lost)))
        return _Tree(
            point, point, point, -math.inf if divergent else point.log_joint, not divergent, divergent, acceptance, 1
        )
    near = _grown(end, length, level - 1, start, density, generator)
    if not near.going:
        return near
    far = _grown(near.last if length > 0 else near.first, length, level - 1, start, density, generator)
    return _joined(near, far, 1 if length > 0 else -1, generator, biased=False)


def _joined(near: _Tree, far: _Tree, sign: int, generator: np.random.Generator, biased: bool) -> _Tree:
    """Two stretches as one; the point of the farther is chosen by its share, or rather than the nearer's if biased."""
    total = float(np.logaddexp(near.log_weight, far.log_weight))
    share = far.log_weight - (near.log_weight if biased else total)
    chosen = far.chosen if math.log(1 - generator.random()) < share else near.chosen
    first, last = (near.first, far.last) if sign == 1 else (far.first, near.last)
    along = last.u - first.u
    turned = along @ first.momentum < 0 or along @ last.momentum < 0
    going, divergent = near.going and far.going and not turned, near.divergent or far.divergent
    return _Tree(first, last, chosen, total, going, divergent, near.acceptance + far.acceptance, near.steps + far.steps)


class _Length:
    """A trajectory's step length, learnt by dual averaging (Hoffman & Gelman 2014, section 3.2)."""

    def __init__(self, first: float):
        self.now, self.toward, self.sum, self.mean, self.number = first, math.log(10 * first), 0.0, math.log(first), 0

    def learn(self, acceptance: float, last: bool) -> None:
        """Take up one more trajectory; after the last, keep the average."""
        self.number += 1
        t = self.number
        wrong = ACCEPTANCE - (acceptance if math.isfinite(acceptance) else 0.0)
        self.sum += (wrong - self.sum) / (t + 10)
        log = self.toward - t**0.5 / 0.05 * self.sum
        self.mean += t**-0.75 * (log - self.mean)
        self.now = math.exp(self.mean if last else log)


def r_hat(z: np.ndarray) -> np.ndarray:
    """Potential scale reduction of chains cut in half, (size,), of (chains, draws, size).

    sqrt(((n - 1) / n W + B / n) / W)                                 (Gelman et al., Bayesian Data Analysis, 11.4)
    """
    half = z.shape[1] // 2
    parts = np.concatenate([z[:, :half], z[:, half : 2 * half]])
    within = parts.var(1, ddof=1).mean(0)
    between = half * parts.mean(1).var(0, ddof=1)
    return np.sqrt(((half - 1) / half * within + between / half) / np.maximum(within, 1e-300))
