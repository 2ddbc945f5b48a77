"""The linearised problem at one point: its step, what the data and the prior say, and how much of it is chance."""

from __future__ import annotations

import dataclasses

import numpy as np

from lpm.calibration import objective
from lpm.calibration.objective import Moments, Weights
from lpm.calibration.problem import Problem

GROUPS = 8  # of realizations, for the jackknife


@dataclasses.dataclass(frozen=True, eq=False)
class System:
    """The linearised problem under some seeds.

    Args:
        value: misfit and minus the log prior.
        gradient: (size,) of that.
        information, prior_information: (size, size) its second derivatives, Gauss-Newton.
        chance: (size, size) covariance of the undamped step from the finite number of realizations.
        noise: (size, size) the same from the noise of derivatives, which the information has been rid of already.
    """

    value: float
    gradient: np.ndarray
    information: np.ndarray
    prior_information: np.ndarray
    chance: np.ndarray
    noise: np.ndarray

    @property
    def both(self) -> np.ndarray:
        """Information of data and prior, with a trace of a ridge so that it can be inverted."""
        return self.with_share(1.0)

    def with_share(self, share: float) -> np.ndarray:
        """The same with a share of the data's information."""
        total = share * self.information + self.prior_information
        return total + 1e-8 * max(float(np.trace(total)), 1e-8) * np.eye(len(total))

    @property
    def step(self) -> np.ndarray:
        """The undamped step."""
        return -np.linalg.solve(self.both, self.gradient)

    @property
    def squared_step(self) -> float:
        """Its squared length in posterior deviations."""
        return float(-self.gradient @ self.step)

    @property
    def squared_chance(self) -> float:
        """What that is expected to be from chance alone."""
        return float(np.trace(self.both @ (self.chance + self.noise)))


def system(
    problem: Problem, weights: Weights, found: Moments, curves: np.ndarray, jacobians: np.ndarray, z: np.ndarray
) -> System:
    """The system of some realizations; its chance by a jackknife over groups of them.

    `jacobians` are dm / dz, (parts, n, size), whose mean is meant, and may be those of other realizations: their own
    chance makes an estimate less precise, but pulls it nowhere.

    Cov(step) = (G - 1) / G sum_g (step_-g - mean step)^2                 (Efron 1982, The Jackknife, chapter 2)
    """
    jacobian = jacobians.mean(0)
    residuals, rows = objective.linearised(problem.streams, weights, found, jacobian)
    minus_log, slope, curvature = objective.prior(problem.parameters, z)
    whole = System(
        0.5 * float(residuals @ residuals) + minus_log,
        rows.T @ residuals + slope,
        rows.T @ rows,
        curvature,
        np.zeros((len(z), len(z))),
        np.zeros((len(z), len(z))),
    )
    if len(jacobians) > 1:
        each = np.stack(
            [objective.linearised(problem.streams, weights, found, one)[1].T @ residuals for one in jacobians]
        )
        own = np.linalg.solve(whole.both, (each - each.mean(0)).T)
        whole = dataclasses.replace(whole, noise=own @ own.T / (len(each) * (len(each) - 1)))
    kept, steps = np.flatnonzero(found.kept), []
    groups = min(GROUPS, len(kept))
    for group in range(groups):
        rest = np.delete(kept, slice(group, None, groups))
        part = objective.moments(problem.streams, weights.dispersions, curves[rest])
        if part is None:
            continue
        r, j = objective.linearised(problem.streams, weights, part, jacobian)
        steps.append(-np.linalg.solve(whole.both, j.T @ r + slope))
    if len(steps) < 2:
        return whole
    apart = np.array(steps) - np.mean(steps, axis=0)
    return dataclasses.replace(whole, chance=(len(steps) - 1) / len(steps) * apart.T @ apart)


def averaged(systems: list[System]) -> System:
    """The mean of systems at the same point under different seeds."""
    fields = {
        field.name: np.mean([getattr(each, field.name) for each in systems], axis=0)
        for field in dataclasses.fields(System)
    }
    return System(**fields | {"value": float(fields["value"]), "chance": fields["chance"] / len(systems)})
