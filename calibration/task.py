"""What fits share: their starts, their budget of simulations, and what they return."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from lpm.calibration import chance, objective
from lpm.calibration.history import Logged
from lpm.calibration.objective import Moments, Weights, moments
from lpm.calibration.problem import Problem, Simulator, keys
from lpm.calibration.tangents import cost, tangents
from lpm.kernels import random

Verdict = Literal["noise floor", "converged", "out of iterations", "out of budget", "stuck", "dropped", "assimilated"]


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """What became of one start.

    Args:
        number: from 0.
        first, z: where it began and ended.
        verdict: why it ended.
        reason: of a dropped start.
        score: minus the log of likelihood times prior at the end, under seeds that all starts share; inf if dropped.
        dispersions: at the end, one for each stream.
        jacobians: (parts, n, size) d log(m + 1) / dz near the end, from parts of the realizations, whose mean is meant;
            None if there are none.
        history: of each iteration (misfit, squared step, squared step from chance).
    """

    number: int
    first: np.ndarray
    z: np.ndarray
    verdict: Verdict
    reason: str = ""
    score: float = math.inf
    dispersions: tuple[float, ...] = ()
    jacobians: np.ndarray | None = None
    history: tuple[tuple[float, float, float], ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """A fitted problem.

    Args:
        problem: what was fitted.
        z: (size,) the estimate: the mode of the posterior, averaged over seeds.
        information: (size, size) J^T Sigma^-1 J, what the data say.
        prior_information: (size, size) what the prior says.
        chance: (size, size) covariance of z from the finite number of realizations.
        weights: dispersions and covariance of the counts at the estimate.
        curves: (realizations, n) expected counts at the last point simulated, those that died out left out.
        died_out: share of realizations there that died out.
        starts: what became of each.
        simulations: realizations simulated, each direction of a Jacobian counted as one more.
        realizations, seed: of the fit.
        message: how it ended, in a sentence.
        coarse: the fit of a sample that this one went on from; None if there was none.
        method: as in a config's `calibrate`.
        surface: of a regression, the `lpm.calibration.response.Surface` of all its simulations.
    """

    problem: Problem
    z: np.ndarray
    information: np.ndarray
    prior_information: np.ndarray
    chance: np.ndarray
    weights: Weights
    curves: np.ndarray
    died_out: float
    starts: tuple[Start, ...]
    simulations: int
    realizations: int
    seed: int
    message: str
    coarse: Fit | None = None
    method: Literal["levenberg_marquardt", "regression", "ensemble"] = "levenberg_marquardt"
    surface: Any = None

    @property
    def values(self) -> np.ndarray:
        """The parameters' values."""
        return self.problem.values(self.z)

    @property
    def covariance(self) -> np.ndarray:
        """The posterior's covariance in z: that of the Laplace approximation, and of the estimate's own chance."""
        return np.linalg.inv(self.information + self.prior_information) + self.chance


class Budget:
    """Counts simulations; one tally for all starts of a fit."""

    def __init__(self, most: float = math.inf):
        self.most, self.spent = most, 0

    def take(self, simulations: int) -> bool:
        """Whether there were so many left; they are spent then."""
        if self.spent + simulations > self.most:
            return False
        self.spent += simulations
        return True


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """A line of a fit's history.

    Args:
        start, iteration: which.
        z: (size,) the point.
        misfit: and minus the log prior there.
        step, chance: squared length of the next step in posterior deviations, and what chance alone makes of it; of a
            regression the mean square, over the parameters, of how far the posterior's means moved.
        simulations: spent so far, by all starts.
    """

    start: int
    iteration: int
    z: np.ndarray
    misfit: float
    step: float
    chance: float
    simulations: int


@dataclasses.dataclass(frozen=True, eq=False)
class FromSample:
    """What the fit of a sample of the population tells that of everybody.

    Args:
        jacobians: (parts, n, size) d log(m + 1) / dz at its end; None if it had none.
        curves: (realizations, n) expected counts there, scaled up.
        share: of everybody's agents.
    """

    jacobians: np.ndarray | None
    curves: np.ndarray
    share: float


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """What all starts of a fit share."""

    problem: Problem
    machine: Simulator | Logged
    budget: Budget
    realizations: int
    seed: int
    say: Callable[[str], None]
    record: Callable[[Row], None] = lambda _: None
    sample: FromSample | None = None

    def chance(self, dispersions: Sequence[float], pool: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What realizations say of the epidemic's chance, as `Moments.samples`, those of the sample included.

        Curves are kept rather than samples: these are on a scale that goes with the dispersions. Variances of counts
        relative to their squares go with one over the number of agents.
        """
        found = [moments(self.problem.streams, dispersions, curves) for curves in pool]
        result = [each.samples for each in found if each is not None]
        if self.sample is not None:
            of_sample = moments(self.problem.streams, dispersions, self.sample.curves)
            if of_sample is not None:
                result.append(math.sqrt(self.sample.share) * of_sample.samples)
        return result

    def weighed(
        self,
        dispersions: tuple[float, ...],
        pool: Sequence[np.ndarray],
        found: Moments,
        jacobians: np.ndarray | None,
        number: int = 0,
        surely: bool = True,
    ) -> tuple[Weights, np.ndarray]:
        """The weights that several iterations' curves make, and dm / dz, (parts, n, size), to go with them.

        If not `surely`, with what may be noise of derivatives: far from the data it leads towards them all the same.
        """
        problem, good = self.problem, ~np.isnan(self.problem.counts)
        each = None if jacobians is None else objective.absolute(jacobians, found.mean)
        along = None if each is None else chance.on_scale(problem, dispersions, found.mean, each.mean(0))
        covariance = chance.covariance(self.chance(dispersions, pool), along, good)
        weights = objective.weigh(problem, dispersions, covariance, number or found.number)
        empty = np.zeros((1, len(good), problem.size))
        each = empty if each is None else each
        return weights, chance.attenuated(problem, weights, found, each) if surely else each

    def seeds(self, first: int) -> random.Key:
        """Keys of fresh realizations."""
        return keys(self.seed, first, self.realizations)

    def simulated(
        self,
        z: np.ndarray,
        first: int,
        derivatives: bool,
        dispersions: tuple[float, ...],
        whatever_is_left: bool = False,
        axes: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Curves of fresh realizations and their tangents, empty if not asked for; None if the budget is spent."""
        spent = cost(self.problem, self.realizations) if derivatives else self.realizations
        if whatever_is_left:
            self.budget.spent += spent
        elif not self.budget.take(spent):
            return None
        if derivatives:
            return tangents(self.problem, self.machine, z, self.seeds(first), dispersions, axes)
        return self.machine.curves(z, self.seeds(first)), np.empty((0, 0, 0))
