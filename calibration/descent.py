"""Adam on the reverse-mode gradient, from several starts: the alternative for hundreds of parameters.

The same misfit as in `lpm.calibration.fitting`; seeds and weights are refreshed every few steps. Its cost does not grow
with the number of parameters, but it takes many more steps (Kingma & Ba 2015, Adam).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import numpy as np
import optax  # type: ignore[import-untyped]

from lpm.calibration import objective
from lpm.calibration.fitting import polished, screened
from lpm.calibration.marquardt import score
from lpm.calibration.priors import prior_deviation
from lpm.calibration.problem import Problem, simulator
from lpm.calibration.task import Budget, Fit, Start, Task
from lpm.errors import RunError

REVERSE = 4  # simulations that a run with its gradient is counted as
TAIL = 0.25  # share of the steps whose points are averaged at the end


def adam(
    problem: Problem,
    *,
    realizations: int = 16,
    starts: int = 2,
    steps: int = 150,
    rate: float = 0.1,
    refresh: int = 5,
    averages: int = 6,
    budget: float = math.inf,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Fit:
    """Fit by Adam with a cosine schedule; the last points of each start are averaged.

    Args:
        problem: what to fit.
        realizations: in each step.
        starts, averages, budget, seed, progress: as in `lpm.calibration.fit`; a gradient counts as four simulations.
        steps: of each start.
        rate: of learning, in prior deviations.
        refresh: steps between fresh seeds.
    Returns:
        the best start's fit, with its posterior from forward-mode Jacobians there.
    Raises:
        RunError: if every start was dropped, with the reasons.
    """
    task = Task(problem, simulator(problem), Budget(budget), realizations, seed, progress)
    ends = tuple(_descend(task, number, z, steps, rate, refresh) for number, z in enumerate(screened(task, starts)))
    best = min(ends, key=lambda end: end.score)
    if not math.isfinite(best.score):
        raise RunError(f"asked for a fit, got {len(ends)} starts that were all dropped ({ends[0].reason})")
    return polished(task, best, ends, averages)


def _descend(task: Task, number: int, first: np.ndarray, steps: int, rate: float, refresh: int) -> Start:
    problem, scale = task.problem, prior_deviation(task.problem.parameters)
    optimiser = optax.adam(optax.cosine_decay_schedule(rate, steps))
    z, points = first, []
    history: list[tuple[float, float, float]] = []
    memory = optimiser.init(np.zeros(len(z), np.float32))
    dispersions = tuple(each.start_dispersion for each in problem.streams)
    for step in range(steps):
        if not task.budget.take(REVERSE * task.realizations):
            break
        if step % refresh == 0:
            seeds = task.seeds(task.realizations * (1 + step // refresh + 1000 * number))
        curves, back = task.machine.pullback(z, seeds)
        found = objective.moments(problem.streams, dispersions, curves)
        if found is None:
            reason = "nearly all realizations died out, or a count is not finite"
            task.say(f"start {number}: dropped at step {step}: {reason}")
            return Start(number, first, z, "dropped", reason, history=tuple(history))
        if step % refresh == 0:
            dispersions = objective.dispersions(problem, dispersions, found, 0.5)
            weights = objective.weigh(problem, dispersions, objective.shrunk_covariance([found.samples]), found.number)
        minus_log, slope, _ = objective.prior(problem.parameters, z)
        residuals, _ = objective.whitened(problem.streams, weights, found)
        gradient = back(objective.cotangents(problem.streams, weights, found)) + slope
        if not np.isfinite(gradient).all():
            return Start(number, first, z, "dropped", "a derivative is not finite", history=tuple(history))
        history.append((0.5 * float(residuals @ residuals) + minus_log, math.nan, math.nan))
        if step % (10 * refresh) == 0:
            task.say(f"start {number}, step {step}: misfit {history[-1][0]:.4g}, {task.budget.spent:,} simulations")
        with jax.numpy_dtype_promotion("standard"):  # optax mixes types, whatever the caller has forbidden
            change, memory = optimiser.update(np.asarray(gradient * scale, np.float32), memory)
        z = z + np.asarray(change, np.float64) * scale
        if step >= steps * (1 - TAIL):
            points.append(z)
    end = np.mean(points, axis=0) if points else z
    verdict = "converged" if len(points) >= int(steps * TAIL) else "out of budget"
    return Start(number, first, end, verdict, "", score(task, end, dispersions, []), dispersions, None, tuple(history))  # type: ignore[arg-type]
