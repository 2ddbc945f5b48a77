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

from lpm.calibration import chance, objective
from lpm.calibration.gauss_newton import System, averaged, system
from lpm.calibration.marquardt import LAST, NEAR, descend
from lpm.calibration.objective import Moments, Weights
from lpm.calibration.priors import starting_points
from lpm.calibration.problem import Problem, keys, simulator
from lpm.calibration.task import Budget, Fit, FromSample, Row, Start, Task
from lpm.errors import RunError

SCREENED, FEW = 6, 4  # points tried for each start, with so many realizations each
LEAST_AVERAGES, ENOUGH = 2, 0.3  # and the chance, in posterior deviations, below which no more is averaged


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
    sample: FromSample | None = None,
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
        sample: what a fit of a sample has told. Where its Jacobian's steps do not lead down, own ones are taken, but
            for differences.
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
    task = Task(problem, simulator(problem), Budget(budget), realizations, seed, progress, record, sample)
    points = screened(task, starts) if first is None else np.atleast_2d(first)
    ends = tuple(descend(task, number, z, iterations) for number, z in enumerate(points))
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
    coarse_iterations: int | None = None,
    averages: int = 6,
    budget: float = math.inf,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
    record: Callable[[Row], None] = lambda _: None,
) -> Fit:
    """Fit a sample of the population from several starts, then go on from the best with everybody.

    Expected counts of a sample, scaled up, are nearly those of the whole. So are their Jacobian and, by the sample's
    share, the covariance of their chance, which therefore need not be computed again: with everybody, a few plain
    simulations are enough. A sample that did not come to an end, its chance being large or its iterations few,
    is still good for these; everybody then goes on from where it began, if that is nearer to the data.

    Args:
        coarse: the same problem in a smaller world, whose `scale` is smaller alike.
        problem: what to fit.
        realizations, coarse_realizations: at each point, of the whole and of the sample.
        coarse_iterations: at most, of the sample; `iterations` if None.
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
        iterations=iterations if coarse_iterations is None else coarse_iterations,
        averages=min(averages, LEAST_AVERAGES),
        budget=budget / share,
        seed=seed,
        progress=progress,
        record=record,
    )
    spent = math.ceil(found.simulations * share)
    progress(f"then everybody; the sample took as much as {spent:,} simulations of them")
    best = min(found.starts, key=lambda end: end.score)
    first = found.z
    if best.verdict not in ("noise floor", "converged"):
        first, looked = nearer(problem, np.stack([best.first, found.z]), realizations, seed)
        spent += looked
    fine = fit(
        problem,
        realizations=realizations,
        starts=1,
        iterations=iterations,
        averages=averages,
        budget=budget - spent,
        seed=seed,
        first=first[None],
        sample=FromSample(best.jacobians, found.curves, share),
        progress=progress,
        record=record,
    )
    return dataclasses.replace(fine, simulations=fine.simulations + spent, coarse=found)


def nearer(problem: Problem, points: np.ndarray, realizations: int, seed: int) -> tuple[np.ndarray, int]:
    """The one of some points, (points, size), that is nearest to the data, and how many simulations it took to see."""
    machine = simulator(problem)
    found = [plain_misfit(problem, z, machine.curves(z, keys(seed, 0, realizations))) for z in points]
    return points[int(np.argmin(np.nan_to_num(found, nan=np.inf)))], realizations * len(points)


def plain_misfit(problem: Problem, z: np.ndarray, curves: np.ndarray) -> float:
    """With first dispersions and without the epidemic's chance, and minus the log prior."""
    good = ~np.isnan(problem.counts)
    plain = Weights(tuple(each.start_dispersion for each in problem.streams), good, np.eye(int(good.sum())))
    return objective.misfit(problem.streams, plain, curves) + objective.prior(problem.parameters, z)[0]


def screened(task: Task, starts: int) -> np.ndarray:
    """Points to start from: the best of several times as many draws from the prior, (starts, size)."""
    points, found = starting_points(task.problem.parameters, SCREENED * starts, task.seed), list[float]()
    for z in points:
        if not task.budget.take(FEW):
            break
        found.append(plain_misfit(task.problem, z, task.machine.curves(z, keys(task.seed, 0, FEW))))
    order = np.argsort(np.nan_to_num(found, nan=np.inf), kind="stable")
    return points[order[:starts]] if found else points[:starts]


def polished(task: Task, best: Start, ends: tuple[Start, ...], averages: int) -> Fit:
    """Average the steps of a few further iterations at the end of the best start."""
    problem, z, dispersions = task.problem, best.z, best.dispersions
    seen: list[tuple[Moments, np.ndarray]] = []
    jacobians = [] if best.jacobians is None else [best.jacobians]
    mean: System | None = None
    for repeat in range(max(averages, 1)):
        first = LAST + task.realizations * (1 + repeat)
        simulated = task.simulated(z, first, best.jacobians is None, dispersions, whatever_is_left=not seen)
        if simulated is None:
            break
        curves, tangents = simulated
        found = objective.moments(problem.streams, dispersions, curves)
        if found is None or not np.isfinite(tangents).all():
            continue
        if not seen:
            dispersions = objective.dispersions(problem, dispersions, found, 0.0, task.chance(dispersions, []))
            found = objective.moments(problem.streams, dispersions, curves) or found
        if best.jacobians is None:
            jacobians.append(chance.parts(found, tangents))
        seen.append((found, curves))
        known = chance.together(jacobians)
        weights, _ = task.weighed(dispersions, [each for _, each in seen], found, known, task.realizations)
        systems = []
        for own, each in seen:
            told = chance.attenuated(problem, weights, own, objective.absolute(known, own.mean))
            systems.append(system(problem, weights, own, each, told, z))
        mean = averaged(systems)
        task.say(f"averaging, {len(seen)}: {chance_left(mean)}")
        if len(seen) >= LEAST_AVERAGES and largest_chance(mean) < ENOUGH:
            break
    if mean is None:
        raise RunError("the best start died out under other seeds; write more `realizations`, or narrower bounds")
    step = mean.step if mean.squared_step < NEAR else np.zeros_like(z)  # a long one is not to be trusted untried
    message = ending(best, ends, mean)
    task.say(message)
    return Fit(
        problem,
        z + step,
        mean.information,
        mean.both - mean.information,
        mean.chance,
        weights,
        np.concatenate([curves[found.kept] for found, curves in seen]),
        1 - float(np.mean([found.kept.mean() for found, _ in seen])),
        ends,
        task.budget.spent,
        task.realizations,
        task.seed,
        message,
    )


def ending(best: Start, ends: tuple[Start, ...], mean: System) -> str:
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
    return f"{text}; {others}; {chance_left(mean)}"


def largest_chance(mean: System) -> float:
    """The largest deviation from chance in the simulations, over posterior deviation, of any parameter."""
    return float(np.sqrt(np.max(np.diag(mean.chance) / np.diag(np.linalg.inv(mean.both)))))


def chance_left(mean: System) -> str:
    """The same in words."""
    return f"chance in the simulations is {100 * largest_chance(mean):.0f} % of a posterior deviation at most"
