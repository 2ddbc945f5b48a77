"""The least of burden and cost over the dials of a policy: by derivatives, and without them for comparison.

What a policy's measures cost is known without a simulation; its burden is not. So each step by derivatives models the
logarithm of the burden, which is nearly linear in the dials as epidemics grow by factors, adds the slope of the costs,
and goes to the least of the model within a region of trust (Conn, Gould & Toint 2000, Trust-Region Methods).
All dials are scaled to lie between 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lpm.studies.objective import Found, Point, Problem, Trials

FIRST, MOST, LEAST = 0.25, 0.5, 0.01  # radius of trust: at first, at most, and where a search ends
GAIN = 1e-4  # of the value, that a step must promise
WIDTHS = (0.1, 0.2, 0.05)  # by which dials are turned for differences, in turn
GRID = np.linspace(0.0, 1.0, 33)
SWEEPS, HALVINGS = 12, 40
FARTHEST = 5.0  # change of the logarithm that the model is believed for
FLOOR = 1e-3  # of the mean burden, below which differences of logarithms do not count
SMALL = 1e-9


def descend(problem: Problem, most: float = math.inf, say: Callable[[str], None] = lambda line: None) -> Found:
    """Search by derivatives, one region of trust after the other.

    Where they lead no further they are taken over other widths, for narrow differences are noisy and wide ones coarse.
    Around x the model is m(d) = cost'(x) d + risk exp(g d + d H d / 2), g being the derivatives of log(risk of the
    burdens) and H what their changes from step to step tell of the second ones (symmetric rank one).

    Args:
        problem: what is minimised.
        most: simulations; none is begun that would go beyond.
        say: called with a line for each improvement.
    """
    trials = Trials(problem, most, say)
    here = trials.point(affordable(problem, problem.start))
    for width in WIDTHS:
        here = _descended(problem, here, trials, width)
    enough = trials.left(problem.of_slopes + problem.of_burdens)
    return trials.found("no step is better" if enough else "out of simulations")


def _descended(problem: Problem, here: Point, trials: Trials, width: float) -> Point:
    """As far down as derivatives lead that are taken over one width."""
    radius, curvature, before = FIRST, np.zeros((len(here.dials),) * 2), None
    while trials.left(problem.of_slopes + problem.of_burdens):
        slope = _log_slope(problem, here, trials.slopes(here, width))
        if before is not None:
            curvature = _updated(curvature, here.dials - before[0], slope - before[1])
        before = (here.dials, slope)
        better = None
        while better is None and radius > LEAST and trials.left(problem.of_burdens):
            step = _step(problem, here, slope, curvature, radius)
            promised = _model(problem, here, slope, curvature, step) - here.value
            if promised > -GAIN * abs(here.value):
                return here
            there = trials.point(affordable(problem, here.dials + step))
            kept = (there.value - here.value) / promised
            radius = min(2 * radius, MOST) if kept > 0.75 else 0.4 * radius if kept < 0.25 else radius
            better = there if kept > 0 else None
        if better is None:
            return here
        here = better
    return here


def _log_slope(problem: Problem, point: Point, slopes: np.ndarray) -> np.ndarray:
    """Derivatives of the logarithm of the risk of the burdens, (dials,)."""
    value = max(problem.risk.of(point.burdens), SMALL)
    return problem.risk.weights(point.burdens) @ slopes / value


def _updated(curvature: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The second derivatives after one more step; left alone where the step says nothing of them."""
    miss = change - curvature @ step
    scale = float(miss @ step)
    if abs(scale) < 1e-6 * np.linalg.norm(miss) * np.linalg.norm(step) + SMALL:
        return curvature
    return curvature + np.outer(miss, miss) / scale


def _cost_slope(problem: Problem, x: np.ndarray) -> np.ndarray:
    """Derivatives of the cost of the measures by differences, which need no simulation."""
    here, found = problem.cost(x), []
    for place in range(len(x)):
        other, apart = beside(x, place, WIDTHS[0])
        found.append((problem.cost(other) - here) / apart)
    return np.array(found)


def beside(x: np.ndarray, place: int, width: float) -> tuple[np.ndarray, float]:
    """The point beside one in the direction of a dial, away from the nearer bound, and how far it is."""
    other = x.copy()
    other[place] += width if x[place] <= 0.5 else -width
    return other, float(other[place] - x[place])


def difference(here: np.ndarray, there: np.ndarray, apart: float) -> np.ndarray:
    """Derivatives of burdens from those some way apart: b log(b'/b) / apart, exact for exponentials.

    >>> difference(np.array([1.0]), np.exp([0.3]), 0.1).round(2)
    array([3.])
    """
    floor = FLOOR * (here.mean() + there.mean()) + SMALL
    return (here + floor) * np.log((there + floor) / (here + floor)) / apart


def _model(problem: Problem, here: Point, slope: np.ndarray, curvature: np.ndarray, step: np.ndarray) -> float:
    away = float(np.clip(slope @ step + 0.5 * step @ curvature @ step, -FARTHEST, FARTHEST))
    return problem.cost(here.dials + step) + problem.risk.of(here.burdens) * math.exp(away)


def _step(problem: Problem, here: Point, slope: np.ndarray, curvature: np.ndarray, radius: float) -> np.ndarray:
    """Where the model is least within the radius, the bounds and the budget: dial after dial, again and again."""
    low, high = np.maximum(-radius, -here.dials), np.minimum(radius, 1 - here.dials)
    prices, value = _cost_slope(problem, here.dials), problem.risk.of(here.burdens)

    def least(dearer: float) -> np.ndarray:
        step = np.zeros(len(slope))
        for _ in range(SWEEPS):
            for place in range(len(step)):
                tried = low[place] + (high[place] - low[place]) * GRID
                rest = step.copy()
                rest[place] = 0.0
                away = slope @ rest + 0.5 * rest @ curvature @ rest
                away = (
                    away + tried * (slope[place] + curvature[place] @ rest) + 0.5 * curvature[place, place] * tried**2
                )
                step[place] = tried[
                    np.argmin((1 + dearer) * prices[place] * tried + value * np.exp(np.clip(away, -FARTHEST, FARTHEST)))
                ]
        return step

    room = problem.budget - here.cost
    step = least(0.0)
    if prices @ step <= room:
        return step
    cheap, dear = 0.0, 1e6
    for _ in range(HALVINGS):
        middle = math.sqrt((cheap + 1e-3) * dear)
        cheap, dear = (cheap, middle) if prices @ least(middle) <= room else (middle, dear)
    return least(dear)


def affordable(problem: Problem, x: np.ndarray) -> np.ndarray:
    """The point within the bounds and the budget next to x, along the slope of the cost."""
    x = np.clip(x, 0, 1)
    for _ in range(50):
        over = problem.cost(x) - problem.budget
        if not over > 1e-9 * abs(problem.budget):
            return x
        slope = _cost_slope(problem, x)
        slope[((x <= 0) & (slope > 0)) | ((x >= 1) & (slope < 0))] = 0.0
        if not slope.any():
            break
        x = np.clip(x - (over + 1e-4 * abs(problem.budget)) * slope / (slope @ slope), 0, 1)
    return x


def simplex(problem: Problem, most: float, say: Callable[[str], None] = lambda line: None, seed: int = 0) -> Found:
    """Search without derivatives: the downhill simplex, begun anew where it has shrunk to a point.

    Nelder & Mead (1965), Comput. J. 7, 308-313, with the coefficients for many dials of Gao & Han (2012), Comput.
    Optim. Appl. 51, 259-277. Points beyond bounds or budget are moved back as those of `descend` are.

    Args:
        problem: what is minimised; its derivatives are not used.
        most: simulations; none is begun that would go beyond.
        say: called with a line for each improvement.
        seed: of the directions of later simplexes.
    """
    trials, size = Trials(problem, most, say), len(problem.start)
    generator = np.random.default_rng(seed)

    def tried(x: np.ndarray) -> Point:
        if not trials.left(problem.of_burdens):
            raise _OutOfSimulations
        return trials.point(affordable(problem, x))

    def around(centre: Point, away: np.ndarray) -> list[Point]:
        sides = np.where(centre.dials + away > 1, -away, away)
        return [centre, *(tried(centre.dials + step) for step in np.diag(sides))]

    try:
        corners = around(tried(problem.start), np.full(size, FIRST))
        while True:
            corners.sort(key=lambda point: point.value)
            if max(np.abs(point.dials - corners[0].dials).max() for point in corners) < LEAST:
                corners = around(corners[0], generator.uniform(0.1, 0.4, size))
            else:
                corners = _moved(corners, tried)
    except _OutOfSimulations:
        return trials.found("out of simulations")


class _OutOfSimulations(Exception):
    pass


def _moved(corners: list[Point], tried: Callable[[np.ndarray], Point]) -> list[Point]:
    """A simplex, the best corner first, with its worst corner moved; or drawn together around the best."""
    best, *others, worst = corners
    size = len(others) + 1
    middle = np.mean([point.dials for point in (best, *others)], axis=0)
    away = middle - worst.dials
    new = tried(middle + away)
    if new.value < best.value:
        further = tried(middle + (1 + 2 / size) * away)
        return [best, *others, min(new, further, key=lambda point: point.value)]
    if new.value < [best, *others][-1].value:
        return [best, *others, new]
    inside = (0.75 - 0.5 / size) * (1 if new.value < worst.value else -1)
    nearer = tried(middle + inside * away)
    if nearer.value <= min(new.value, worst.value):
        return [best, *others, nearer]
    shrunk = 1 - 1 / max(size, 2)
    return [best, *(tried(best.dials + shrunk * (point.dials - best.dials)) for point in (*others, worst))]
