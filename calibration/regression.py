"""Fits by regression: every simulation is at a point of its own, and all together tell a surface.

Rounds of K simulations. The first lies about where the fit begins; each later one at draws from the posterior that the
surface of all simulations so far leaves (`lpm.calibration.response`, `lpm.calibration.emulated`), whose own error is
in it: where little is known, points go far apart, and where much, near the data. A round's mode is the next estimate.

Simulations take the draws of a few realizations in turn. Of the same draws, nearby points have nearly the same
epidemic, so that slopes are told well; and the mean over realizations is what is fitted. Where epidemics begin with few
cases their chance is most of the error. (Response surfaces: Box & Wilson 1951, J. R. Stat. Soc. B 13. Points where the
posterior is, of an emulator in its place: Järvenpää et al. 2019, Ann. Appl. Stat. 13.)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lpm.calibration import emulated, likelihoods, objective, response
from lpm.calibration.emulated import Posterior
from lpm.calibration.fitting import ending, largest_chance, nearer, screened
from lpm.calibration.marquardt import CHANCE, SETTLED
from lpm.calibration.priors import prior_deviation, starting_points
from lpm.calibration.problem import Problem, keys, simulator
from lpm.calibration.response import Surface, surface
from lpm.calibration.tangents import of_each, shares
from lpm.calibration.task import Budget, Fit, Row, Start, Task, Verdict

BEGIN = 0.25  # prior deviations, of the first round's points
SURPRISE = 2.0  # mean square of a round's errors, over what was expected, from which on a surface is no end
SPREAD = 0.5  # of the first round's points along each axis, in posterior deviations of a sample
LEAST = 64  # simulations of a round where nothing is said
TURNS = 3  # of dispersions and mode, after each round
LOUD = 0.5  # error of the surface, in posterior deviations, below which a fit may end

Simulations = tuple[np.ndarray, np.ndarray, np.ndarray]  # (K, size) points, (K, n) curves, (K,) their realizations


def regress(
    problem: Problem,
    *,
    points: int | None = None,
    iterations: int = 8,
    realizations: int = 32,
    budget: float = math.inf,
    seed: int = 0,
    first: np.ndarray | None = None,
    axes: np.ndarray | None = None,
    progress: Callable[[str], None] = lambda _: None,
    record: Callable[[Row], None] = lambda _: None,
) -> Fit:
    """Fit by regression over all simulations.

    Args:
        problem: what to fit; its `rule` is of no use here.
        points: simulations of a round; see `round_of`, if None.
        iterations: rounds, at most.
        realizations: whose draws simulations take in turn.
        budget: most simulations.
        seed: of starts and simulations.
        first: (size,), or (1, size), where to begin; if None, where parameters say, or the best of a few draws from the
            prior.
        axes: (size, size) root of the first round's spread; a quarter of the prior's deviations if None.
        progress: called with a line for each round.
        record: called with the numbers of each round.
    Raises:
        ValueError: for fewer points than there are numbers to tell.
        RunError: if too many simulations die out or are not finite to tell.
    """
    number = round_of(problem) if points is None else points
    if number < problem.size + 2:
        least = f"{problem.size + 2} points a round or more for {problem.size} unknowns"
        raise ValueError(f"regress: asked for {least}, got {number}; write more `points`")
    task = Task(problem, simulator(problem), Budget(budget), realizations, seed, progress, record)
    if first is None:
        given = any(each.start for each in problem.parameters)
        first = starting_points(problem.parameters, 1, seed) if given else screened(task, 1)
    z = begun = np.asarray(first, np.float64).reshape(problem.size)
    axes = np.diag(BEGIN * prior_deviation(problem.parameters)) if axes is None else axes
    dispersions = tuple(each.start_dispersion for each in problem.streams)
    generator = np.random.default_rng(seed)
    asked = z + turned(number, problem.size, generator) @ axes.T
    told: Simulations = np.empty((0, problem.size)), np.empty((0, len(problem.counts))), np.empty(0, int)
    history = list[tuple[float, float, float]]()
    found: Surface | None = None
    verdict: Verdict = "out of iterations"
    error = 0.0
    for iteration in range(iterations):
        if not task.budget.take(number) and found is not None:
            verdict = "out of budget"
            break
        told = _with_round(task, told, asked, begun)
        surprise = 0.0 if found is None else _surprise(emulated.posterior_on(found), told, number)
        last = z
        for turn in range(TURNS):
            found = surface(problem, dispersions, *told, begun, found)
            posterior = emulated.posterior_on(found)
            z = emulated.mode(posterior, _best(posterior, z))
            dispersions = emulated.dispersions(posterior, z, 0.0 if iteration or turn else 0.5)
        own = posterior.system(z)
        before, error = error, own.squared_chance
        moved = float((z - last) @ own.both @ (z - last))
        history.append((own.value, moved, error + before))
        progress(_line(iteration, *history[-1], surprise, task.budget.spent))
        record(Row(0, iteration, z, *history[-1], task.budget.spent))
        settled = moved <= max(SETTLED, CHANCE * history[-1][2]) and largest_chance(own) < LOUD
        if iteration and settled and surprise < SURPRISE:
            verdict = "converged" if moved <= SETTLED else "noise floor"
            break
        if iteration + 1 < iterations:
            places = emulated.draw(posterior, z, seed + iteration, kept=-(-number // emulated.WALKERS))[0]
            asked = _some(places, number, generator)
    assert found is not None
    found_moments = posterior.moments(z)
    jacobian = objective.relative(posterior.jacobian(z, found_moments.mean), found_moments.mean)
    score = -float(posterior.log_density(z[None])[0])
    end = Start(0, begun, z, verdict, "", score, found.dispersions, jacobian[None], tuple(history))
    text = ending(end, (end,), own).replace("`realizations`", "`points`")
    progress(text)
    return Fit(
        problem,
        z,
        own.information,
        own.both - own.information,
        np.zeros_like(own.both),  # the surface's error is in the information
        posterior.weights(z),
        _realizations(posterior, z),
        1 - float(response.lived(problem, told[1]).mean()),
        (end,),
        task.budget.spent,
        realizations,
        seed,
        text,
        method="regression",
        surface=found,
    )


def round_of(problem: Problem) -> int:
    """Simulations of a round where nothing is said: half as many again as there are numbers to tell, or more."""
    return max(LEAST, 3 * (problem.size + 2) // 2)


def _with_round(task: Task, told: Simulations, asked: np.ndarray, begun: np.ndarray) -> Simulations:
    """All simulations so far, (K, size) points, (K, n) curves and (K,) numbers of their realizations, and a new round.

    Parameters that are a share reported stay, for what they do is known.
    """
    known = shares(task.problem, begun).any(1)
    asked = np.where(known, begun, asked)
    draws = np.arange(len(told[0]), len(told[0]) + len(asked)) % task.realizations
    all_keys = keys(task.seed, 0, task.realizations)
    seeds = jax.tree.map(lambda leaf: leaf[draws], all_keys)
    new = asked, task.machine.at_each(asked, seeds), draws
    points, curves, numbers = (np.concatenate(each) for each in zip(told, new, strict=True))
    return points, curves, numbers


def _surprise(posterior: Posterior, told: Simulations, number: int) -> float:
    """Squared error of the last so many simulations, predicted from those before, over what was expected."""
    points, curves, _ = (each[-number:] for each in told)
    problem, good = posterior.surface.problem, ~np.isnan(posterior.surface.problem.counts)
    alive = response.lived(problem, curves)
    predicted, error = posterior.surface.at(points[alive])
    scaled = of_each(likelihoods.stabilised, problem, posterior.surface.dispersions, curves[alive])
    squares = ((scaled - predicted)[:, good] ** 2).mean(1)
    return float(np.median(squares / (1 + (1 + error) * posterior.variances.mean())))


def _best(posterior: Posterior, z: np.ndarray) -> np.ndarray:
    """The likeliest of the points simulated and z."""
    points = np.concatenate([z[None], posterior.surface.simulated])
    return points[int(np.argmax(posterior.log_density(points)))]


def _some(places: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """So many places of walkers, different ones, (number, size)."""
    flat = places.reshape(-1, places.shape[-1])
    return flat[generator.choice(len(flat), number, replace=number > len(flat))]


def _realizations(posterior: Posterior, z: np.ndarray) -> np.ndarray:
    """Expected counts of each realization at z, (realizations, n)."""
    scaled = posterior.surface.at(z[None])[0] + posterior.surface.realizations
    return of_each(likelihoods.unstabilised, posterior.surface.problem, posterior.surface.dispersions, scaled)


def _line(iteration: int, misfit: float, moved: float, error: float, surprise: float, spent: int) -> str:
    """What a round says of itself."""
    how = f"moved {moved**0.5:.2g} posterior deviations (errors of the surface alone: {error**0.5:.2g})"
    told = f", its simulations off by {surprise**0.5:.2g} times what was expected" if iteration else ""
    return f"round {iteration}: misfit {misfit:.4g}, {how}{told}, {spent:,} simulations so far"


def coarse_to_fine(
    coarse: Problem,
    problem: Problem,
    *,
    coarse_points: int | None = None,
    coarse_iterations: int | None = None,
    iterations: int = 8,
    realizations: int = 4,
    budget: float = math.inf,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> Fit:
    """Fit a sample of the population, then everybody, from where the sample's fit began or ended.

    The sample's epidemics, being fewer people's, have more chance than everybody's, and their mean may be another. What
    goes on is the posterior's shape, along which the first round's points are laid, and where it is nearer to the data
    the estimate.

    Args:
        coarse: the same problem in a smaller world, whose `scale` is smaller alike.
        problem: what to fit.
        coarse_points, coarse_iterations: simulations of a round and rounds of the sample; if None, eight times as many
            as of everybody, and as many.
        iterations, realizations, seed, progress, settings: as in `regress`.
        budget: as in `regress`, in simulations of the whole.
    """
    share = coarse.world.agents / problem.world.agents
    progress(f"a sample of {coarse.world.agents:,} agents, {100 * share:.2g} % of them, first")
    settings |= {"realizations": realizations, "seed": seed, "progress": progress}
    own: dict[str, Any] = {"points": coarse_points or 8 * (settings.get("points") or round_of(problem))}
    own |= {"iterations": coarse_iterations or iterations, "budget": budget / share}
    found = regress(coarse, **settings | own)
    spent = math.ceil(found.simulations * share)
    progress(f"then everybody; the sample took as much as {spent:,} simulations of them")
    first, looked = nearer(problem, np.stack([found.starts[0].first, found.z]), realizations, seed)
    spent += looked
    axes = SPREAD * np.linalg.cholesky(found.covariance)
    fine = regress(problem, first=first, axes=axes, iterations=iterations, budget=budget - spent, **settings)
    return dataclasses.replace(fine, simulations=fine.simulations + spent, coarse=found)


def turned(count: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """Offsets, (count, size), orthogonal to each other and to a constant, of mean square one, otherwise at random.

    >>> found = turned(5, 2, np.random.default_rng(0))
    >>> np.round(np.abs(found.T @ np.column_stack([found, np.ones(5)])), 9)
    array([[5., 0., 0.],
           [0., 5., 0.]])
    """
    drawn = generator.normal(size=(count, size))
    return math.sqrt(count) * np.linalg.qr(np.column_stack([np.ones(count), drawn]))[0][:, 1:]
