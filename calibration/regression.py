"""Fits by regression: every simulation is at a point of its own, and all together tell a surface.

Rounds of K simulations. The first lies about where the fit begins; each later one at draws from the posterior that the
surface of all simulations so far leaves (`lpm.calibration.response`, `lpm.calibration.emulated`), whose own error is
in it: where little is known, points go far apart, and where much, near the data. The mean of these draws is the next
estimate. (Along a ridge, which few simulations leave, the mode goes from end to end, and the mean does not.)

Simulations take the draws of a few realizations in turn. Of the same draws, nearby points have nearly the same
epidemic, so that slopes are told well; and the mean over realizations is what is fitted. Where epidemics begin with few
cases their chance is most of the error. (Response surfaces: Box & Wilson 1951, J. R. Stat. Soc. B 13. Points where the
posterior is, of an emulator in its place: Järvenpää et al. 2019, Ann. Appl. Stat. 13.)
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lpm.calibration import emulated, likelihoods, objective, response
from lpm.calibration.emulated import Posterior
from lpm.calibration.fitting import ending, largest_chance, screened
from lpm.calibration.likeliest import surface
from lpm.calibration.priors import prior_deviation, starting_points
from lpm.calibration.problem import LARGE, Problem, keys, simulator
from lpm.calibration.response import Simulations, Surface
from lpm.calibration.tangents import of_each, shares
from lpm.calibration.task import Budget, Fit, Row, Start, Task, Verdict

BEGIN = 0.25  # prior deviations, of the first round's points
SURPRISE = 2.0  # mean square of a round's errors, over what was expected, from which on a surface is no end
LEAST = 64  # simulations of a round where nothing is said
TURNS = 3  # of dispersions and mode, after each round
LOUD = 0.5  # error of the surface, in posterior deviations, below which a fit may end
MOVED = 0.5  # root mean square over the parameters of how far the posterior's means went, in deviations, likewise
SOME, QUIET = 8, 30  # simulations of many agents between two looks at the clock, and seconds without a word
PLACES = 20  # of each walker, whose mean is the estimate


def regress(
    problem: Problem,
    *,
    points: int | None = None,
    iterations: int = 8,
    realizations: int = 32,
    budget: float = math.inf,
    seed: int = 0,
    first: np.ndarray | None = None,
    sample: Fit | None = None,
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
        first: (size,), where to begin; if None, where parameters say, or the best of a few draws from the prior.
        sample: a fit of the same problem to fewer people, at whose posterior the first round lies; its simulations
            tell the surface too.
        progress: called with a line for each round.
        record: called with the numbers of each round.
    Raises:
        ValueError: for fewer points than there are numbers to tell.
        RunError: if too many simulations die out or are not finite to tell.
    """
    number = round_of(problem) if points is None else points
    if sample is None and number < problem.size + 2:
        least = f"{problem.size + 2} points a round or more for {problem.size} unknowns"
        raise ValueError(f"regress: asked for {least}, got {number}; write more `points`")
    task = Task(problem, simulator(problem), Budget(budget), realizations, seed, progress, record)
    generator = np.random.default_rng(seed)
    told, found, places, chance = _from_sample(problem, sample, seed)
    if sample is not None:
        z, asked = sample.z, _some(places, number, generator)
    else:
        z = _begin(task, first)
        asked = z + turned(number, problem.size, generator) * BEGIN * prior_deviation(problem.parameters)
    begun, dispersions = z, found.dispersions if found else tuple(each.start_dispersion for each in problem.streams)
    history = list[tuple[float, float, float]]()
    verdict: Verdict = "out of iterations"
    for iteration in range(iterations):
        if not task.budget.take(number) and iteration:
            verdict = "out of budget"
            break
        told = _with_round(task, told, asked, begun)
        surprise = _surprise(emulated.posterior_on(found), told, number) if found and iteration else 0.0
        for turn in range(TURNS):
            found = surface(problem, dispersions, told, begun, found)
            posterior = emulated.posterior_on(found)
            z = emulated.mode(posterior, _best(posterior, z))
            dispersions = emulated.dispersions(posterior, z, 0.0 if iteration or turn or sample else 0.5)
        before, (z, places) = places, _places(posterior, z, seed + iteration)
        own, variance = posterior.system(z), places.var(0)
        apart = places.mean(0) - before.mean(0) if len(before) else np.inf
        last, chance = chance, np.diag(own.chance)
        moved, error = (float(np.mean(square / variance)) for square in (apart**2, last + chance))
        history.append((own.value, moved, error))
        progress(_line(iteration, *history[-1], surprise, task.budget.spent))
        record(Row(0, iteration, z, *history[-1], task.budget.spent))
        settled = moved < MOVED**2 and largest_chance(own) < LOUD
        if iteration and settled and surprise < SURPRISE:
            verdict = "converged"
            break
        asked = _some(places, number, generator)
    assert found is not None
    found_moments = posterior.moments(z)
    jacobian = objective.relative(posterior.jacobian(z, found_moments.mean), found_moments.mean)
    score = -float(posterior.log_density(z[None])[0])
    end = Start(0, begun, z, verdict, "", score, found.dispersions, jacobian[None], tuple(history))
    text = ending(end, (end,), own).replace("`realizations`", "`points`")
    return Fit(
        problem,
        z,
        own.information,
        own.both - own.information,
        np.zeros_like(own.both),  # the surface's error is in the information
        posterior.weights(z),
        _realizations(posterior, z),
        1 - float(response.lived(problem, told.curves[told.whole]).mean()),
        (end,),
        task.budget.spent,
        realizations,
        seed,
        text,
        method="regression",
        surface=found,
        coarse=sample,
    )


def round_of(problem: Problem) -> int:
    """Simulations of a round where nothing is said: half as many again as there are numbers to tell, or more."""
    return max(LEAST, 3 * (problem.size + 2) // 2)


def _begin(task: Task, first: np.ndarray | None) -> np.ndarray:
    """Where the first round lies, (size,)."""
    if first is None:
        given = any(each.start for each in task.problem.parameters)
        first = starting_points(task.problem.parameters, 1, task.seed) if given else screened(task, 1)
    return np.asarray(first, np.float64).reshape(task.problem.size)


def _from_sample(
    problem: Problem, sample: Fit | None, seed: int
) -> tuple[Simulations, Surface | None, np.ndarray, np.ndarray]:
    """What the fit of a sample tells: its simulations, surface, (places, size) draws, and their mean's variance."""
    if sample is None:
        curves, none = np.empty((0, len(problem.counts))), np.empty(0, int)
        told = Simulations(np.empty((0, problem.size)), curves, none, none.astype(bool))
        return told, None, np.empty((0, problem.size)), np.zeros(problem.size)
    surface: Surface = sample.surface
    posterior = emulated.posterior_on(surface)
    told = dataclasses.replace(surface.told, whole=np.zeros(len(surface.told), bool))
    return told, surface, _places(posterior, sample.z, seed)[1], np.diag(posterior.system(sample.z).chance)


def _with_round(task: Task, told: Simulations, asked: np.ndarray, begun: np.ndarray) -> Simulations:
    """All simulations so far and a new round; parameters that are a share reported stay, for what they do is known."""
    known = shares(task.problem, begun).any(1)
    asked = np.where(known, begun, asked)
    draws = np.arange(told.whole.sum(), told.whole.sum() + len(asked)) % task.realizations
    all_keys = keys(task.seed, 0, task.realizations)
    together = SOME if task.problem.world.agents >= LARGE else len(asked)
    curves, said = list[np.ndarray](), time.monotonic()
    for begin in range(0, len(asked), together):
        part = slice(begin, begin + together)
        seeds = jax.tree.map(lambda leaf, part=part: leaf[draws[part]], all_keys)
        curves.append(task.machine.at_each(asked[part], seeds))
        if part.stop < len(asked) and time.monotonic() - said > QUIET:
            task.say(f"  {part.stop} of {len(asked)} simulations of this round")
            said = time.monotonic()
    return told.with_more(Simulations(asked, np.concatenate(curves), draws, np.ones(len(asked), bool)))


def _surprise(posterior: Posterior, told: Simulations, number: int) -> float:
    """Squared error of the last so many simulations, predicted from those before, over what was expected."""
    problem, good = posterior.surface.problem, ~np.isnan(posterior.surface.problem.counts)
    new = told.some(slice(-number, None))
    new = new.some(response.lived(problem, new.curves))
    predicted, error = posterior.surface.at(new.points)
    scaled = of_each(likelihoods.stabilised, problem, posterior.surface.dispersions, new.curves)
    squares = ((scaled - predicted)[:, good] ** 2).mean(1)
    return float(np.median(squares / (1 + (1 + error) * posterior.variances.mean())))


def _places(posterior: Posterior, mode: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The posterior's mean, or its mode where the surface is not to be trusted at the mean; (places, size) draws."""
    places = emulated.draw(posterior, mode, seed, PLACES)[0].reshape(-1, len(mode))
    mean = places.mean(0)
    return (mean if np.isfinite(posterior.log_density(mean[None])[0]) else mode), places


def _best(posterior: Posterior, z: np.ndarray) -> np.ndarray:
    """The likeliest of the points simulated and z."""
    points = np.concatenate([z[None], posterior.surface.simulated])
    return points[int(np.argmax(posterior.log_density(points)))]


def _some(places: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """So many of (places, size) places, different ones, (number, size)."""
    return places[generator.choice(len(places), number, replace=number > len(places))]


def _realizations(posterior: Posterior, z: np.ndarray) -> np.ndarray:
    """Expected counts of each realization at z, (realizations, n)."""
    scaled = posterior.surface.at(z[None])[0] + posterior.surface.realizations
    return of_each(likelihoods.unstabilised, posterior.surface.problem, posterior.surface.dispersions, scaled)


def _line(iteration: int, misfit: float, moved: float, error: float, surprise: float, spent: int) -> str:
    """What a round says of itself."""
    said = f"round {iteration}: misfit {misfit:.4g}"
    if math.isfinite(moved):
        said += f", means moved by {moved**0.5:.2g} posterior deviations (errors of the surface: {error**0.5:.2g})"
    said += f", its simulations off by {surprise**0.5:.2g} times what was expected" if iteration else ""
    return f"{said}, {spent:,} simulations so far"


def coarse_to_fine(
    coarse: Problem,
    problem: Problem,
    *,
    coarse_points: int | None = None,
    coarse_iterations: int | None = None,
    iterations: int = 8,
    budget: float = math.inf,
    progress: Callable[[str], None] = lambda _: None,
    record: Callable[[Row], None] = lambda _: None,
    **settings: Any,
) -> Fit:
    """Fit a sample of the population, then everybody: the sample's simulations, which are cheap, tell the surface too.

    The sample's epidemics, being fewer people's, have more chance than everybody's, and their mean may be another;
    `lpm.calibration.response` allows for both. The first round of everybody lies at the sample's posterior.

    Args:
        coarse: the same problem in a smaller world, whose `scale` is smaller alike.
        problem: what to fit.
        coarse_points, coarse_iterations: simulations of a round and rounds of the sample; if None, twice as many as of
            everybody, and as many.
        iterations, progress, record, settings: as in `regress`.
        budget: as in `regress`, in simulations of the whole.
    """
    share = coarse.world.agents / problem.world.agents
    progress(f"a sample of {coarse.world.agents:,} agents, {100 * share:.2g} % of them, first")
    settings["progress"] = progress
    own: dict[str, Any] = {"points": coarse_points or 2 * (settings.get("points") or round_of(problem))}
    own |= {"iterations": coarse_iterations or iterations, "budget": budget / share}
    found = regress(coarse, **settings | own)
    spent = math.ceil(found.simulations * share)
    progress(f"then everybody; the sample's simulations, which tell the surface too, took as much as {spent:,} of them")
    settings |= {"iterations": iterations, "budget": budget - spent, "record": record}
    fine = regress(problem, sample=found, **settings)
    return dataclasses.replace(fine, simulations=fine.simulations + spent)


def turned(count: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """Offsets, (count, size), orthogonal to each other and to a constant, of mean square one, otherwise at random.

    >>> found = turned(5, 2, np.random.default_rng(0))
    >>> np.round(np.abs(found.T @ np.column_stack([found, np.ones(5)])), 9)
    array([[5., 0., 0.],
           [0., 5., 0.]])
    """
    drawn = generator.normal(size=(count, size))
    return math.sqrt(count) * np.linalg.qr(np.column_stack([np.ones(count), drawn]))[0][:, 1:]
