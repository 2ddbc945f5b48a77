"""Profile likelihoods: one parameter is held at a value, the others are fitted again, for a row of values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from lpm.calibration import objective
from lpm.calibration.marquardt import LONGEST
from lpm.calibration.posterior import LATER
from lpm.calibration.priors import prior_deviation
from lpm.calibration.problem import keys, simulator
from lpm.calibration.tangents import SHARE, cost, tangents
from lpm.calibration.task import Fit

TRACE = 1e-3  # of the prior, so that what the data do not say does not run away


@dataclasses.dataclass(frozen=True, eq=False)
class Profile:
    """The likelihood along one parameter; the prior has no part in it.

    Args:
        name: of the parameter.
        values: (points,) at which it was held, ascending.
        rise: (points,) twice the misfit above the smallest.
        others: (points, size) all parameters' values.
        low, high: interval at the level asked for, by interpolation; infinite where the rise stays below its threshold.
        simulations: spent.
    """

    name: str
    values: np.ndarray
    rise: np.ndarray
    others: np.ndarray
    low: float
    high: float
    simulations: int


def profile(
    fit: Fit,
    name: str,
    *,
    points: int = 9,
    width: float = 3.0,
    iterations: int = 4,
    level: float = 0.9,
    seed: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> Profile:
    """The profile likelihood of one parameter, under the same seeds throughout.

    The interval holds the values with 2 (F - min F) below the quantile of chi squared with one degree of freedom.

    Args:
        fit: whose estimate is in the middle.
        name: of an entry of z; see `Problem.names`.
        points: an odd number of values.
        width: posterior deviations, in z, to either side.
        iterations: of Gauss-Newton at each point.
        level: of the interval.
        seed: of the simulations.
        progress: called with a line for each point.
    Raises:
        ValueError: for a name that is not there.
    """
    problem, machine = fit.problem, simulator(fit.problem)
    if name not in problem.names:
        raise ValueError(f"profile: asked for one of {', '.join(problem.names)}, got {name!r}")
    held = problem.names.index(name)
    free = np.delete(np.arange(problem.size), held)
    seeds, spent = keys(seed, LATER, fit.realizations), 0
    offsets = np.linspace(-width, width, points | 1) * float(np.sqrt(fit.covariance[held, held]))
    longest = LONGEST * prior_deviation(problem.parameters)[free]
    axes = SHARE * np.linalg.cholesky(fit.covariance)
    along = fit.covariance[:, held] / fit.covariance[held, held]

    def fitted(z: np.ndarray) -> tuple[np.ndarray, float]:
        """The best found with the one parameter held, and its misfit."""
        nonlocal spent
        best, least, damping = z, np.inf, 1e-2
        for _ in range(iterations + 1):
            curves, slopes = tangents(problem, machine, z, seeds, fit.weights.dispersions, axes)
            spent += cost(problem, fit.realizations)
            found = objective.moments(problem.streams, fit.weights.dispersions, curves)
            if found is None or not np.isfinite(slopes).all():
                break
            residuals, jacobian = objective.linearised(
                problem.streams, fit.weights, found, objective.mean_jacobian(found, slopes)
            )
            value = 0.5 * float(residuals @ residuals)
            if value < least:
                settled, best, least, damping = least - value < 0.01, z, value, damping / 5
                if settled:
                    break
                a, gradient = jacobian[:, free], jacobian[:, free].T @ residuals
                curvature = a.T @ a + TRACE * fit.prior_information[np.ix_(free, free)]
            else:
                damping = max(damping, 1e-2) * 10
            if not len(free):
                break
            step = -np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
            z = best.copy()
            z[free] += step / max(1.0, float(np.max(np.abs(step) / longest)))
        return best, least

    middle = len(offsets) // 2
    ends: dict[int, tuple[np.ndarray, float]] = {}
    for side in (range(middle, len(offsets)), range(middle - 1, -1, -1)):
        last = ends[middle][0] if ends else fit.z
        for point in side:
            target = fit.z[held] + offsets[point]
            ends[point] = fitted(last + along * (target - last[held]))
            last = ends[point][0]
            progress(f"profile of {name}: {len(ends)} of {len(offsets)} points")
    others = problem.values(np.array([ends[i][0] for i in range(len(offsets))]))
    misfits = np.array([ends[i][1] for i in range(len(offsets))])
    rise = 2 * (misfits - misfits.min())
    low, high = _crossings(others[:, held], rise, NormalDist().inv_cdf(0.5 + level / 2) ** 2)
    return Profile(name, others[:, held], rise, others, low, high, spent)


def _crossings(values: np.ndarray, rise: np.ndarray, threshold: float) -> tuple[float, float]:
    """Where a curve passes a threshold to the left and right of its smallest value."""
    least, ends = int(np.argmin(rise)), []
    for side in (range(least, 0, -1), range(least, len(values) - 1)):
        step, found = (-1, -np.inf) if side.step == -1 else (1, np.inf)
        for i in side:
            if rise[i + step] >= threshold:
                if not np.isfinite(rise[i + step]):
                    found = values[i]
                else:
                    share = (threshold - rise[i]) / (rise[i + step] - rise[i])
                    found = values[i] + share * (values[i + step] - values[i])
                break
        ends.append(float(found))
    return ends[0], ends[1]
