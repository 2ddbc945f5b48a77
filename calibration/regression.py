"""Fits by regression: every simulation is at a point of its own, and all together tell the mean and its slope.

In rounds of K simulations about a point z, at z_k = z + A u_k, each with draws of its own, counts are taken to be
linear on the scale g of `lpm.calibration.likelihoods`, where their variance is one:

    g(X_k) = a + B (z_k - z) + e_k

by least squares over the rounds near z, where e_k is what chance does in one epidemic. a + e_k are so many realizations
at z, from which misfit, weights and the step of Gauss and Newton come as in `lpm.calibration.gauss_newton`. Elsewhere a
few realizations at each point tell its mean, and differences its slope; where epidemics begin with few cases their
chance is most of the error, and here every simulation takes from it.

The u_k are orthogonal to each other and to a constant, of mean square one, and turned at random in each round. A is the
root of the posterior found so far, so that all directions move counts about as much as their error; but no more than
twice as large as in the round before, for where slopes were lost in noise nothing says how far counts are linear.
(Response surfaces: Box & Wilson 1951, J. R. Stat. Soc. B 13. Regression instead of derivatives in iterative smoothers:
Evensen 2018, Computational Geosciences 22.)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lpm.calibration import chance, likelihoods, objective
from lpm.calibration.fitting import ENOUGH, ending, largest_chance, nearer, screened
from lpm.calibration.gauss_newton import System, system
from lpm.calibration.marquardt import CHANCE, LONGEST, SETTLED, line
from lpm.calibration.objective import DIED_OUT, Moments, Weights
from lpm.calibration.priors import prior_deviation, starting_points
from lpm.calibration.problem import Problem, keys, simulator
from lpm.calibration.tangents import log_shares, of_each, shares
from lpm.calibration.task import Budget, Fit, Row, Sample, Start, Task, Verdict
from lpm.errors import RunError
from lpm.kernels import random

BEGIN = 0.25  # prior deviations, of the first round's points
SPREAD = 0.5  # of a round's points along each axis, in posterior deviations
REACH = 2.0  # how far a round tells of, and how far a first step goes, in offsets of its own points
LEAST = 64  # simulations of the last rounds that are used however far apart: with fewer, slopes drown in noise
TURNS = 6  # of Gauss and Newton at the end, without further simulations
WORSE = 0.5  # rise of the misfit that is one
GROWTH = 2.0  # of the axes from a round to the next, at most


@dataclasses.dataclass(frozen=True, eq=False)
class Round:
    """Simulations about a point: (size,) z, (size, size) A, (K, size) points, (K, n) expected counts."""

    z: np.ndarray
    axes: np.ndarray
    points: np.ndarray
    curves: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """What is known at a point.

    Args:
        z: (size,) the point.
        curves: (K, n) realizations there.
        weights: of them.
        jacobians: (parts, n, size) d log(m + 1) / dz.
        system: of Gauss and Newton.
        score: minus the log of likelihood times prior.
        died_out: share of the simulations that did.
    """

    z: np.ndarray
    curves: np.ndarray
    weights: Weights
    jacobians: np.ndarray
    system: System
    score: float
    died_out: float


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
    sample: Sample | None = None,
    progress: Callable[[str], None] = lambda _: None,
    record: Callable[[Row], None] = lambda _: None,
    **_: object,
) -> Fit:
    """Fit by regression over all simulations near the estimate.

    Args:
        problem: what to fit; its `rule` is of no use here.
        points: simulations of a round; see `round_of`, if None.
        iterations: rounds, at most.
        realizations: at a point, for what is simulated of the fit later on.
        budget: most simulations.
        seed: of starts and simulations.
        first: (size,), or (1, size), where to begin; if None, where parameters say, or the best of a few draws from the
            prior.
        axes: (size, size) A of the first round; a quarter of the prior's deviations if None.
        sample: what a fit of a sample has told of the epidemic's chance.
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
    task = Task(problem, simulator(problem), Budget(budget), realizations, seed, progress, record, sample)
    if first is None:
        given = any(each.start for each in problem.parameters)
        first = starting_points(problem.parameters, 1, seed) if given else screened(task, 1)
    z = np.asarray(first, np.float64).reshape(problem.size)
    axes = np.diag(BEGIN * prior_deviation(problem.parameters)) if axes is None else axes
    dispersions = tuple(each.start_dispersion for each in problem.streams)
    generator, rounds, history = np.random.default_rng(seed), list[Round](), list[tuple[float, float, float]]()
    verdict: Verdict = "out of iterations"
    reach, longest = REACH * math.sqrt(problem.size), LONGEST * prior_deviation(problem.parameters)
    here: Place | None = None
    best: Place | None = None
    stretch = 1.0
    for iteration in range(iterations):
        if not task.budget.take(number) and here is not None:
            verdict = "out of budget"
            break
        rounds.append(_round(task, z, axes, number, keys(seed, number * iteration, number), generator))
        last = -(-LEAST // number)
        near = [each for each in rounds[:-last] if _near(each, z, axes)] + rounds[-last:]
        try:
            here = at(task, near, z, dispersions, begun=here is not None)
        except RunError:
            if here is None:
                raise
            z, stretch = (z + here.z) / 2, max(stretch / 4, 1.0)
            continue
        own, dispersions = here.system, here.weights.dispersions
        history.append((own.value, own.squared_step, own.squared_chance))
        progress(line(0, iteration, own, task.budget.spent))
        record(Row(0, iteration, z, *history[-1], task.budget.spent))
        wanted = own.with_share(float(problem.epidemic_chance) or 1.0)
        narrow, wide, told = _seen_along(axes, wanted)
        before = np.linalg.inv(axes @ axes.T)
        axes = np.linalg.cholesky(np.linalg.inv(wanted / SPREAD**2 + before / GROWTH**2))
        short = own.squared_step <= max(SETTLED, CHANCE * own.squared_chance) and largest_chance(own) < ENOUGH
        if short and narrow >= 1 / GROWTH and wide < GROWTH:  # in a wider round bends are taken for chance
            verdict = "converged" if own.squared_step <= SETTLED else "noise floor"
            break
        if best is not None and own.value > _value(problem, best, here.weights) + max(own.squared_chance, WORSE):
            # Once only: what a wider round said of that place may itself be wrong.
            z, stretch, best = (z + best.z) / 2, max(stretch / 4, 1.0), None
            continue
        best, stretch = here, 2 * stretch
        step = told @ own.step
        step = step / max(1.0, float(np.linalg.norm(np.linalg.solve(axes, step))) / (reach * stretch / 2))
        z = z + step / max(1.0, float(np.max(np.abs(step) / longest)))
    here = here if verdict in ("noise floor", "converged") else best or here
    assert here is not None
    here = _pointed_to(task, near, here, axes, reach)
    end = Start(0, rounds[0].z, here.z, verdict, "", here.score, dispersions, here.jacobians, tuple(history))
    text = ending(end, (end,), here.system).replace("`realizations`", "`points`")
    progress(text)
    own = here.system
    return Fit(
        problem,
        here.z,
        own.information,
        own.both - own.information,
        own.chance + own.noise,
        here.weights,
        here.curves,
        here.died_out,
        (end,),
        task.budget.spent,
        realizations,
        seed,
        text,
        method="regression",
    )


def round_of(problem: Problem) -> int:
    """Simulations of a round where nothing is said: half as many again as there are numbers to tell, or more."""
    return max(LEAST, 3 * (problem.size + 2) // 2)


def _seen_along(axes: np.ndarray, information: np.ndarray) -> tuple[float, float, np.ndarray]:
    """How wide a round was beside the posterior, along its narrowest and widest axis, and a projection, (size, size).

    Along axes that are much narrower than the posterior slopes may be lost in noise. The projection leaves these out of
    a step; the next round will be wider.
    """
    squares, along = np.linalg.eigh(axes.T @ information @ axes)
    wide = np.sqrt(squares) / SPREAD
    told = axes @ along @ np.diag(wide >= 1 / GROWTH) @ along.T @ np.linalg.inv(axes)
    return float(wide[0]), float(wide[-1]), told


def _pointed_to(task: Task, rounds: Sequence[Round], here: Place, axes: np.ndarray, reach: float) -> Place:
    """What the same rounds tell of the place that they point to, if it is not too far to be trusted untried."""
    centre = here.z
    for _ in range(TURNS):
        there = here.z + here.system.step
        if here.system.squared_step < SETTLED or np.linalg.norm(np.linalg.solve(axes, there - centre)) > reach:
            break
        here = at(task, rounds, there, here.weights.dispersions, begun=True)
    return here


def _near(each: Round, z: np.ndarray, axes: np.ndarray) -> bool:
    """Whether a round was about a point nearby, and not much wider than A."""
    far = np.linalg.norm(np.linalg.solve(axes, each.z - z)) / math.sqrt(len(z))
    return max(float(far), float(np.linalg.norm(np.linalg.solve(axes, each.axes), 2))) <= REACH


def _value(problem: Problem, place: Place, weights: Weights) -> float:
    """The misfit of a place, and minus the log prior there, by another one's weights."""
    return objective.misfit(problem.streams, weights, place.curves) + objective.prior(problem.parameters, place.z)[0]


def _round(
    task: Task, z: np.ndarray, axes: np.ndarray, number: int, seeds: random.Key, generator: np.random.Generator
) -> Round:
    """A round about a point; parameters that are a share reported stay, for what they do is known."""
    points = z + turned(number, len(z), generator) @ axes.T
    known = shares(task.problem, z).any(1)
    points[:, known] = z[known]
    return Round(z, axes, points, task.machine.at_each(points, seeds))


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
    told = Sample(None, found.curves, share)
    fine = regress(
        problem, first=first, axes=axes, sample=told, iterations=iterations, budget=budget - spent, **settings
    )
    return dataclasses.replace(fine, simulations=fine.simulations + spent, coarse=found)


def at(task: Task, rounds: Sequence[Round], z: np.ndarray, dispersions: tuple[float, ...], begun: bool) -> Place:
    """What the simulations of some rounds tell of a point.

    Args:
        begun: whether dispersions are those of a place nearby rather than first ones.
    Raises:
        RunError: if too few of them are finite and did not die out.
    """
    problem = task.problem
    points, curves = (np.concatenate([getattr(each, name) for each in rounds]) for name in ("points", "curves"))
    good = ~np.isnan(problem.counts)
    alive = np.isfinite(curves).all(1) & (curves[:, good].sum(1) >= DIED_OUT * problem.counts[good].sum())
    if alive.sum() < problem.size + 2:
        got = f"{int(alive.sum())} simulations of {len(alive)} that did not die out"
        raise RunError(
            f"asked for a regression, got {got}, where {problem.size + 2} are needed; write narrower priors, or more "
            "`points`"
        )
    known = shares(problem, z)
    offsets = points[alive] - z
    offsets[:, known.any(1)] = 0  # what they do is taken out
    curves = curves[alive] * np.exp(log_shares(problem, z[None]) - log_shares(problem, points[alive]))
    there, _, found = _moments(problem, offsets, curves, dispersions, known)
    told = task.chance(dispersions, [])
    dispersions = objective.dispersions(problem, dispersions, found, 0.0 if begun else 0.5, told)
    there, tangents, found = _moments(problem, offsets, curves, dispersions, known)  # the scale goes with them
    jacobians = chance.parts(found, tangents)
    weights, each = task.weighed(dispersions, [there], found, jacobians)
    score = objective.score(problem.streams, weights, found) + objective.prior(problem.parameters, z)[0]
    own = system(problem, weights, found, there, each, z)
    return Place(z, there, weights, jacobians, own, score, 1 - float(alive.mean()))


def _moments(
    problem: Problem, offsets: np.ndarray, curves: np.ndarray, dispersions: tuple[float, ...], known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Moments]:
    """As `moved`, and the moments of these realizations."""
    there, tangents = moved(problem, offsets, curves, dispersions, known)
    found = objective.moments(problem.streams, dispersions, there, died_out=0.0)
    assert found is not None  # as many as were alive
    return there, tangents, found


def moved(
    problem: Problem, offsets: np.ndarray, curves: np.ndarray, dispersions: Sequence[float], known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Realizations as they would be at z itself, (K, n), and derivatives there by z for each, (K, size, n).

    Residuals are divided by sqrt(1 - h_k), h_k the leverage, to have the variance of e_k, and multiplied by
    sqrt(1 - 1 / K), so that their sum of squares over K - 1 is that variance. Derivatives of the realizations differ
    by no more than the noise of B, drawn by fixed signs s (Wu 1986, Ann. Statist. 14: the wild bootstrap):

        B_r = B + sqrt(K) sum_k s_rk P_k e_k / sqrt(1 - h_k)

    with P the pseudo-inverse of the offsets.
    """
    scaled = of_each(likelihoods.stabilised, problem, dispersions, curves)
    free = np.ptp(offsets, axis=0) > 0
    design = np.column_stack([np.ones(len(offsets)), offsets[:, free]])
    inverse = np.linalg.pinv(design)
    found = inverse @ scaled
    left = (scaled - design @ found) / np.sqrt(1 - np.einsum("kp,pk->k", design, inverse))[:, None]
    around = math.sqrt(1 - 1 / len(left)) * (left - left.mean(0))
    there = of_each(likelihoods.unstabilised, problem, dispersions, found[0] + around)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (len(left), len(left)))
    apart = np.einsum("pk,rk,kn->rpn", inverse[1:], signs, left, optimize=True)
    slope = of_each(likelihoods.stabilised_slope, problem, dispersions, there)
    tangents = there[:, None] * known
    tangents[:, free] += (found[1:] + math.sqrt(len(left)) * (apart - apart.mean(0))) / slope[:, None]
    return there, tangents


def turned(count: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """Offsets, (count, size), orthogonal to each other and to a constant, of mean square one, otherwise at random.

    >>> found = turned(5, 2, np.random.default_rng(0))
    >>> np.round(np.abs(found.T @ np.column_stack([found, np.ones(5)])), 9)
    array([[5., 0., 0.],
           [0., 5., 0.]])
    """
    drawn = generator.normal(size=(count, size))
    return math.sqrt(count) * np.linalg.qr(np.column_stack([np.ones(count), drawn]))[0][:, 1:]
