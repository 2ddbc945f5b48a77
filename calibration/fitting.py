"""Fits: Levenberg-Marquardt on the forward-mode Jacobian, from several starts, down to the noise of simulation.

Each outer iteration draws fresh seeds, takes one Jacobian and tries steps under those same seeds. A fit is at the
*noise floor* when its next step is no longer than chance in the simulations would make it; from there on, the steps of
a few further iterations are averaged, and what is left of their chance enters the posterior's covariance.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from lpm.calibration import objective
from lpm.calibration.gauss_newton import System, averaged, system
from lpm.calibration.objective import Moments, Weights
from lpm.calibration.priors import prior_deviation, starting_points
from lpm.calibration.problem import Problem, keys, simulator
from lpm.calibration.tangents import SHARE
from lpm.calibration.task import Budget, Fit, Row, Start, Task, Verdict
from lpm.errors import RunError
from lpm.kernels import random

SETTLED = 0.01  # squared length of a step, in posterior deviations, that is called converged
CHANCE = 2.5  # steps up to so many times their expected squared length from chance alone are noise
LOUD = 0.25  # squared chance above this, in posterior deviations, is no floor to stop at at once
LONGEST = 1.5  # step, in prior deviations
SCREENED, FEW = 6, 4  # points tried for each start, with so many realizations each
TRIES, FIRST_DAMPING = 6, 1e-2  # step lengths tried under the same seeds, and the damping of the first
NEAR = 9.0  # squared step below which iterations pool what they see of the epidemic's chance
FAR = 100.0  # the same where derivatives are differences, whose noise makes steps long
QUIET = 4  # iterations whose steps were chance after which a start ends, however loud the chance
JACOBIANS = 4  # near the end, so many are averaged; after that, iterations take plain simulations alone
FAILURES = 3  # iterations in turn without a step that lowers the misfit
LEAST_AVERAGES, ENOUGH = 2, 0.3  # and the chance, in posterior deviations, below which no more is averaged
LAST = 2**30  # number of the first realization that no start has used


def fit(
    problem: Problem,
    *,
    realizations: int = 32,
    starts: int = 4,
    iterations: int = 25,
    averages: int = 6,
    budget: float = math.inf,
    seed: int = 0,
    first: np.ndarray | None = None,
    jacobian: np.ndarray | None = None,
    progress: Callable[[str], None] = lambda _: None,
    record: Callable[[Row], None] = lambda _: None,
) -> Fit:
    """Fit by Levenberg-Marquardt from several starts.

    (J^T Sigma^-1 J + P + lambda D) step = -(J^T Sigma^-1 r + p)

    with p and P the gradient and Hessian of minus the log prior, and D the diagonal of the matrix before it.

    Args:
        problem: what to fit.
        realizations: simulated at each point; at least 2, and 30 or more where chance in the epidemic matters.
        starts: from draws of the prior, the best of six times as many.
        iterations: at most, of each start.
        averages: further iterations at the noise floor, at most.
        budget: most simulations, each direction of a Jacobian counted as one more; a last look at each end is on top.
        seed: of starts and simulations.
        first: (starts, size) points of z to start from instead.
        jacobian: (n, size) of the expected counts by z, known from elsewhere; where it fails, own ones are taken, or
            with differences it is mended by the steps tried.
        progress: called with a line for each iteration.
        record: called with the numbers of each iteration.
    Returns:
        the best start's fit.
    Raises:
        ValueError: for fewer than 2 realizations or no start.
        RunError: if every start was dropped, with the reasons.
    """
    if realizations < 2 or starts < 1:
        raise ValueError(f"fit: asked for at least 2 realizations and 1 start, got {realizations} and {starts}")
    task = Task(problem, simulator(problem), Budget(budget), realizations, seed, progress, record)
    points = screened(task, starts) if first is None else np.atleast_2d(first)
    ends = tuple(descend(task, number, z, iterations, jacobian) for number, z in enumerate(points))
    best = min(ends, key=lambda end: end.score)
    if not math.isfinite(best.score):
        raise RunError(
            f"asked for a fit, got {len(ends)} starts that came to nothing ({'; '.join({e.reason for e in ends})}); "
            "write narrower bounds or priors, or a larger budget"
        )
    return polished(task, best, ends, averages)


def coarse_to_fine(
    coarse: Problem,
    problem: Problem,
    *,
    realizations: int = 4,
    coarse_realizations: int = 32,
    starts: int = 2,
    iterations: int = 25,
    averages: int = 6,
    budget: float = math.inf,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
    record: Callable[[Row], None] = lambda _: None,
) -> Fit:
    """Fit a sample of the population from several starts, then go on from the best with everybody.

    Expected counts of a sample, scaled up, are nearly those of the whole. So is their Jacobian, which therefore need
    not be computed again: with everybody, plain simulations are enough.

    Args:
        coarse: the same problem in a smaller world, whose `scale` is smaller alike.
        problem: what to fit.
        realizations, coarse_realizations: at each point, of the whole and of the sample.
        starts, iterations, averages, seed, progress, record: as in `fit`.
        budget: as in `fit`, in simulations of the whole.
    Returns:
        the fit of the whole. A simulation of the sample counts by its share of the agents; the sample's fit is kept in
        `coarse`.
    Raises:
        ValueError: if the two problems do not have the same unknowns and counts.
        RunError: as `fit`.
    """
    if coarse.names != problem.names or coarse.counts.shape != problem.counts.shape:
        raise ValueError(
            "coarse_to_fine: asked for two problems with the same unknowns and counts; write one in two sizes"
        )
    share = coarse.world.agents / problem.world.agents
    progress(f"a sample of {coarse.world.agents:,} agents, {100 * share:.2g} % of them, first")
    found = fit(
        coarse,
        realizations=coarse_realizations,
        starts=starts,
        iterations=iterations,
        averages=averages,
        budget=budget / share,
        seed=seed,
        progress=progress,
        record=record,
    )
    spent = math.ceil(found.simulations * share)
    progress(f"then everybody; the sample took as much as {spent:,} simulations of them")
    best = min(found.starts, key=lambda end: end.score)
    fine = fit(
        problem,
        realizations=realizations,
        starts=1,
        iterations=iterations,
        averages=averages,
        budget=budget - spent,
        seed=seed,
        first=found.z[None],
        jacobian=best.jacobian,
        progress=progress,
        record=record,
    )
    return dataclasses.replace(fine, simulations=fine.simulations + spent, coarse=found)


def screened(task: Task, starts: int) -> np.ndarray:
    """Points to start from: the best of several times as many draws from the prior, (starts, size)."""
    streams, free = task.problem.streams, task.problem.parameters
    points = starting_points(free, SCREENED * starts, task.seed)
    dispersions = tuple(each.start_dispersion for each in streams)
    good = ~np.isnan(task.problem.counts)
    plain, found = Weights(dispersions, good, np.eye(int(good.sum()))), []
    for z in points:
        if not task.budget.take(FEW):
            break
        curves = task.machine.curves(z, keys(task.seed, 0, FEW))
        found.append(objective.misfit(streams, plain, curves) + objective.prior(free, z)[0])
    order = np.argsort(np.nan_to_num(found, nan=np.inf), kind="stable")
    return points[order[:starts]] if found else points[:starts]


def descend(task: Task, number: int, z: np.ndarray, iterations: int, known: np.ndarray | None = None) -> Start:
    """One start, until its steps are chance; a Jacobian that is known is used as long as its steps lead down."""
    problem, begun, damping = task.problem, z, FIRST_DAMPING
    dispersions = tuple(each.start_dispersion for each in problem.streams)
    history: list[tuple[float, float, float]] = []
    samples: list[np.ndarray] = []
    jacobians: list[np.ndarray] = []
    axes: np.ndarray | None = None
    verdict: Verdict = "out of iterations"
    quiet = failures = 0
    differences = problem.rule == "differences"
    nearly = FAR if differences else NEAR
    for iteration in range(iterations):
        near = bool(history) and history[-1][1] < nearly
        samples, jacobians = (samples, jacobians) if near else ([], [])
        first = task.realizations * (1 + iteration + 1000 * number)
        simulated = task.simulated(z, first, known is None and len(jacobians) < JACOBIANS, axes=axes)
        if simulated is None:
            verdict = "out of budget"
            break
        curves, tangents = simulated
        found = objective.moments(problem.streams, dispersions, curves)
        if found is None or not np.isfinite(tangents).all():
            reason = _why(problem, z, curves, tangents)
            task.say(f"start {number}: dropped: {reason}")
            return Start(number, begun, z, "dropped", reason, history=tuple(history))
        dispersions = objective.dispersions(problem, dispersions, found, 0.0 if near else 0.5)
        samples = [*samples, found.samples]
        if len(tangents):
            jacobians = [*jacobians, objective.mean_jacobian(found, tangents)]
        weights = objective.weigh(problem, dispersions, objective.shrunk_covariance(samples), found.number)
        mean = np.mean(jacobians, axis=0) if known is None else known
        here = system(problem, weights, found, curves, mean, z)
        axes = SHARE * np.linalg.cholesky(np.linalg.inv(here.both))
        history.append((here.value, here.squared_step, here.squared_chance))
        task.say(_line(number, iteration, here, task.budget.spent))
        task.record(Row(number, iteration, z, here.value, here.squared_step, here.squared_chance, task.budget.spent))
        quiet += here.squared_step <= CHANCE * here.squared_chance
        if here.squared_step <= max(SETTLED, CHANCE * min(here.squared_chance, LOUD)) or quiet == QUIET:
            verdict = "converged" if here.squared_step <= SETTLED else "noise floor"
            break
        before = damping
        moved, damping, tried = _moved(task, weights, here, z, task.seeds(first), damping)
        if known is not None and differences and tried is not None:
            # One of its own would cost dozens of simulations, the steps tried have been simulated already.
            told = objective.moments(problem.streams, dispersions, curves)
            known = known if told is None else secant(known, here.both, tried[0], tried[1] - told.mean)
        failures = failures + 1 if moved is None else 0
        if failures == FAILURES:
            verdict = "stuck"
            break
        z = z if moved is None else moved
        if moved is None or damping > before:  # the averaged Jacobian has seen places too far away
            jacobians, known = (jacobians[1:], known) if differences else ([], None)
    if not samples:
        return Start(number, begun, z, verdict, "the budget was spent before it began")
    jacobian = np.mean(jacobians, axis=0) if jacobians else known
    value = score(task, z, dispersions, samples)
    return Start(number, begun, z, verdict, "", value, dispersions, jacobian, tuple(history))


def _moved(
    task: Task, weights: Weights, here: System, z: np.ndarray, seeds: random.Key, damping: float
) -> tuple[np.ndarray | None, float, tuple[np.ndarray, np.ndarray] | None]:
    """The first step that lowers the misfit under the same seeds, the damping to go on with, and the last step tried
    with the mean counts that it led to."""
    problem, both = task.problem, here.both
    longest = LONGEST * prior_deviation(problem.parameters)
    tried = None
    for _ in range(TRIES):
        step = -np.linalg.solve(both + damping * np.diag(np.diag(both)), here.gradient)
        step = step / max(1.0, float(np.max(np.abs(step) / longest)))
        if not task.budget.take(task.realizations):
            break
        curves = task.machine.curves(z + step, seeds)
        there = objective.moments(problem.streams, weights.dispersions, curves)
        tried = tried if there is None else (step, there.mean)
        value = objective.misfit(problem.streams, weights, curves) + objective.prior(problem.parameters, z + step)[0]
        expected = -float(here.gradient @ step + 0.5 * step @ both @ step)
        if value < here.value:
            return z + step, damping / (5 if here.value - value > 0.5 * expected else 2), tried
        damping = max(damping, FIRST_DAMPING / 10) * 6
    return None, FIRST_DAMPING, tried  # other seeds may allow what these did not


def secant(jacobian: np.ndarray, both: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The Jacobian that tells the change of a step rightly, and differs least from the one that there was.

    J + (change - J step) step^T M / (step^T M step),    M the posterior's information

    (Broyden 1965, Math. Comput. 19, equation 4.5, in the posterior's metric)

    >>> secant(np.zeros((1, 2)), np.eye(2), np.array([2.0, 0.0]), np.array([6.0]))
    array([[3., 0.]])
    """
    along = both @ step
    return jacobian + np.outer(change - jacobian @ step, along / (step @ along))


def score(task: Task, z: np.ndarray, dispersions: tuple[float, ...], pool: list[np.ndarray]) -> float:
    """Minus the log of likelihood times prior, under seeds that all starts share."""
    problem = task.problem
    task.budget.spent += task.realizations
    found = objective.moments(problem.streams, dispersions, task.machine.curves(z, task.seeds(LAST)))
    if found is None:
        return math.inf
    covariance = objective.shrunk_covariance([*pool, found.samples])
    weights = objective.weigh(problem, dispersions, covariance, found.number)
    return objective.score(problem.streams, weights, found) + objective.prior(problem.parameters, z)[0]


def polished(task: Task, best: Start, ends: tuple[Start, ...], averages: int) -> Fit:
    """Average the steps of a few further iterations at the end of the best start."""
    problem, z, dispersions = task.problem, best.z, best.dispersions
    seen: list[tuple[Moments, np.ndarray, np.ndarray]] = []
    mean: System | None = None
    for repeat in range(max(averages, 1)):
        first = LAST + task.realizations * (1 + repeat)
        simulated = task.simulated(z, first, best.jacobian is None, whatever_is_left=not seen)
        if simulated is None:
            break
        curves, tangents = simulated
        found = objective.moments(problem.streams, dispersions, curves)
        if found is None or not np.isfinite(tangents).all():
            continue
        if not seen:
            dispersions = objective.dispersions(problem, dispersions, found, 0.0)
        jacobian = objective.mean_jacobian(found, tangents) if best.jacobian is None else best.jacobian
        seen.append((found, curves, jacobian))
        covariance = objective.shrunk_covariance([each.samples for each, _, _ in seen])
        weights = objective.weigh(problem, dispersions, covariance, task.realizations)
        mean = averaged([system(problem, weights, *each, z) for each in seen])
        task.say(f"averaging, {len(seen)}: {_chance(mean)}")
        if len(seen) >= LEAST_AVERAGES and largest_chance(mean) < ENOUGH:
            break
    if mean is None:
        raise RunError("the best start died out under other seeds; write more `realizations`, or narrower bounds")
    step = mean.step if mean.squared_step < NEAR else np.zeros_like(z)  # a long one is not to be trusted untried
    message = _message(best, ends, mean)
    task.say(message)
    return Fit(
        problem,
        z + step,
        mean.information,
        mean.both - mean.information,
        mean.chance,
        weights,
        np.concatenate([curves[found.kept] for found, curves, _ in seen]),
        1 - float(np.mean([found.kept.mean() for found, _, _ in seen])),
        ends,
        task.budget.spent,
        task.realizations,
        task.seed,
        message,
    )


def _line(number: int, iteration: int, here: System, spent: int) -> str:
    step, chance = here.squared_step**0.5, here.squared_chance**0.5
    lengths = f"step {step:.2g} posterior deviations ({chance:.2g} from chance)"
    return f"start {number}, iteration {iteration}: misfit {here.value:.4g}, {lengths}, {spent:,} simulations"


def _why(problem: Problem, z: np.ndarray, curves: np.ndarray, tangents: np.ndarray) -> str:
    """Why a point cannot be gone on from."""
    where = ", ".join(f"{name} = {value:.4g}" for name, value in zip(problem.names, problem.values(z), strict=True))
    if not np.isfinite(curves).all():
        return f"a simulated count is not finite at {where}"
    if not np.isfinite(tangents).all():
        return f"a derivative is not finite at {where}"
    return f"nearly all realizations died out at {where}"


def _message(best: Start, ends: tuple[Start, ...], mean: System) -> str:
    """How the fit ended."""
    text = {
        "noise floor": "at the noise floor: further steps would follow chance in the simulations alone",
        "converged": "converged",
        "out of iterations": "out of iterations before it converged: raise `iterations`, or `realizations`",
        "out of budget": "out of budget before it converged: raise `budget`",
        "stuck": "stuck: no step lowers the misfit, though derivatives say so; look at `lpm.gradients.check_gradient`",
    }[best.verdict]
    agree = sum(each.score < best.score + 3 for each in ends)
    dropped = sum(each.verdict == "dropped" for each in ends)
    others = f"{agree} of {len(ends)} starts end alike" + (f", {dropped} dropped" if dropped else "")
    return f"{text}; {others}; {_chance(mean)}"


def largest_chance(mean: System) -> float:
    """The largest deviation from chance in the simulations, over posterior deviation, of any parameter."""
    return float(np.sqrt(np.max(np.diag(mean.chance) / np.diag(np.linalg.inv(mean.both)))))


def _chance(mean: System) -> str:
    return f"chance in the simulations is {100 * largest_chance(mean):.0f} % of a posterior deviation at most"
