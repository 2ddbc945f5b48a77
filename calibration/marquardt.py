"""One start of a fit: Levenberg-Marquardt until the steps are chance.

Each iteration draws fresh seeds, takes one Jacobian and tries steps under those same seeds. What a sample's fit has
told beforehand, its Jacobian and the chance of its epidemics, need not be simulated again.
"""

from __future__ import annotations

import math

import numpy as np

from lpm.calibration import chance, objective
from lpm.calibration.gauss_newton import System, system
from lpm.calibration.objective import Weights
from lpm.calibration.priors import prior_deviation
from lpm.calibration.problem import Problem
from lpm.calibration.tangents import SHARE
from lpm.calibration.task import Row, Start, Task, Verdict
from lpm.kernels import random

SETTLED = 0.01  # squared length of a step, in posterior deviations, that is called converged
CHANCE = 2.5  # steps up to so many times their expected squared length from chance alone are noise
LOUD = 0.25  # squared chance above this, in posterior deviations, is no floor to stop at at once
LONGEST = 1.5  # step, in prior deviations
TRIES, FIRST_DAMPING = 6, 1e-2  # step lengths tried under the same seeds, and the damping of the first
NEAR = 9.0  # squared step below which iterations pool what they see of the epidemic's chance
FAR = 100.0  # the same where derivatives are differences, whose noise makes steps long
QUIET = 4  # iterations near the end whose steps were chance, after which a start ends however loud the chance
JACOBIANS = 4  # near the end, so many are averaged; after that, iterations take plain simulations alone
FAILURES = 3  # iterations in turn without a step that lowers the misfit
LAST = 2**30  # number of the first realization that no start has used


def descend(task: Task, number: int, z: np.ndarray, iterations: int) -> Start:
    """One start, until its steps are chance; a Jacobian told by a sample is used as long as its steps lead down."""
    problem, begun, damping = task.problem, z, FIRST_DAMPING
    dispersions = tuple(each.start_dispersion for each in problem.streams)
    history: list[tuple[float, float, float]] = []
    pool: list[np.ndarray] = []
    jacobians: list[np.ndarray] = []  # of each iteration, those of parts of its realizations
    axes: np.ndarray | None = None
    verdict: Verdict = "out of iterations"
    quiet = failures = 0
    known = None if task.sample is None else task.sample.jacobians
    differences = problem.rule == "differences"
    nearly = FAR if differences else NEAR
    for iteration in range(iterations):
        near = bool(history) and history[-1][1] < nearly
        pool, jacobians = (pool, jacobians) if near else ([], [])
        first = task.realizations * (1 + iteration + 1000 * number)
        simulated = task.simulated(z, first, known is None and len(jacobians) < JACOBIANS, dispersions, axes=axes)
        if simulated is None:
            verdict = "out of budget"
            break
        curves, tangents = simulated
        found = objective.moments(problem.streams, dispersions, curves)
        if found is None or not np.isfinite(tangents).all():
            reason = _why(problem, z, curves, tangents)
            task.say(f"start {number}: dropped: {reason}")
            return Start(number, begun, z, "dropped", reason, history=tuple(history))
        told = task.chance(dispersions, [])
        dispersions = objective.dispersions(problem, dispersions, found, 0.0 if near else 0.5, told)
        found = objective.moments(problem.streams, dispersions, curves) or found  # on the new dispersions' scale
        pool = [*pool, curves]
        if len(tangents):
            jacobians = [*jacobians, chance.parts(found, tangents)]
        each = chance.together(jacobians) if known is None else known
        weights, each = task.weighed(dispersions, pool, found, each, surely=near)
        here = system(problem, weights, found, curves, each, z)
        axes = SHARE * np.linalg.cholesky(np.linalg.inv(here.with_share(float(problem.epidemic_chance) or 1.0)))
        history.append((here.value, here.squared_step, here.squared_chance))
        task.say(line(number, iteration, here, task.budget.spent))
        task.record(Row(number, iteration, z, here.value, here.squared_step, here.squared_chance, task.budget.spent))
        # Far from the data chance is loud as well, and says nothing of where the fit is.
        quiet += here.squared_step <= min(CHANCE * here.squared_chance, nearly)
        if here.squared_step <= max(SETTLED, CHANCE * min(here.squared_chance, LOUD)) or quiet == QUIET:
            verdict = "converged" if here.squared_step <= SETTLED else "noise floor"
            break
        before = damping
        # The same seeds make other epidemics elsewhere: near the end, misfits differ by chance as much as by steps.
        noise = 0.5 * here.squared_chance if here.squared_step < nearly else 0.0
        moved, damping = _moved(task, weights, here, z, task.seeds(first), damping, noise)
        failures = failures + 1 if moved is None else 0
        if failures == FAILURES:
            verdict = "stuck"
            break
        z = z if moved is None else moved
        if moved is None or (damping > before and known is None):  # the averaged Jacobian has seen places too far away
            # With differences one of its own would cost dozens of simulations, and be no better than the sample's.
            jacobians, known = (jacobians[1:], known) if differences else ([], None)
    if not pool:
        return Start(number, begun, z, verdict, "the budget was spent before it began")
    told_or_own = chance.together(jacobians) if jacobians else known
    value = score(task, z, dispersions, pool, told_or_own)
    return Start(number, begun, z, verdict, "", value, dispersions, told_or_own, tuple(history))


def _moved(
    task: Task, weights: Weights, here: System, z: np.ndarray, seeds: random.Key, damping: float, noise: float
) -> tuple[np.ndarray | None, float]:
    """The first step that lowers the misfit under the same seeds, but for noise, and the damping to go on with."""
    problem, both = task.problem, here.both
    longest = LONGEST * prior_deviation(problem.parameters)
    for _ in range(TRIES):
        step = -np.linalg.solve(both + damping * np.diag(np.diag(both)), here.gradient)
        step = step / max(1.0, float(np.max(np.abs(step) / longest)))
        if not task.budget.take(task.realizations):
            break
        curves = task.machine.curves(z + step, seeds)
        value = objective.misfit(problem.streams, weights, curves) + objective.prior(problem.parameters, z + step)[0]
        expected = -float(here.gradient @ step + 0.5 * step @ both @ step)
        if value < here.value + noise:
            return z + step, damping / (5 if here.value + noise - value > 0.5 * expected else 2)
        damping = max(damping, FIRST_DAMPING / 10) * 6
    return None, FIRST_DAMPING  # other seeds may allow what these did not


def score(
    task: Task,
    z: np.ndarray,
    dispersions: tuple[float, ...],
    pool: list[np.ndarray],
    jacobians: np.ndarray | None = None,
) -> float:
    """Minus the log of likelihood times prior, under seeds that all starts share."""
    problem = task.problem
    task.budget.spent += task.realizations
    curves = task.machine.curves(z, task.seeds(LAST))
    found = objective.moments(problem.streams, dispersions, curves)
    if found is None:
        return math.inf
    weights, _ = task.weighed(dispersions, [*pool, curves], found, jacobians)
    return objective.score(problem.streams, weights, found) + objective.prior(problem.parameters, z)[0]


def line(number: int, iteration: int, here: System, spent: int) -> str:
    """What an iteration says of itself."""
    step, chance = here.squared_step**0.5, here.squared_chance**0.5
    told = f"next step {step:.2g} posterior deviations long (chance alone would make it {chance:.2g})"
    return f"start {number}, iteration {iteration}: misfit {here.value:.4g}, {told}, {spent:,} simulations so far"


def _why(problem: Problem, z: np.ndarray, curves: np.ndarray, tangents: np.ndarray) -> str:
    """Why a point cannot be gone on from."""
    where = ", ".join(f"{name} = {value:.4g}" for name, value in zip(problem.names, problem.values(z), strict=True))
    if not np.isfinite(curves).all():
        return f"a simulated count is not finite at {where}"
    if not np.isfinite(tangents).all():
        return f"a derivative is not finite at {where}"
    return f"nearly all realizations died out at {where}"
