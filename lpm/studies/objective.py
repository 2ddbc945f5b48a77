"""What a policy is judged by: the risk of its burden over realizations, and what its measures cost."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal

import numpy as np


@dataclasses.dataclass(frozen=True)
class Risk:
    """How burdens of several realizations count as one number.

    Args:
        measure: `mean`; `deviation`, the mean and `weight` standard deviations; `worst`, the mean of the worst `share`
            of them (conditional value at risk, CVaR).
        weight: of the standard deviation.
        share: of the realizations that are the worst.

    >>> Risk("worst", share=0.5).of(np.array([1.0, 2.0, 3.0, 6.0]))
    4.5
    """

    measure: Literal["mean", "deviation", "worst"] = "mean"
    weight: float = 1.0
    share: float = 0.1

    def of(self, values: np.ndarray) -> float:
        """The number."""
        if self.measure == "mean":
            return float(values.mean())
        if self.measure == "deviation":
            return float(values.mean() + self.weight * values.std())
        return float(self.weights(values) @ values)

    def weights(self, values: np.ndarray) -> np.ndarray:
        """Derivatives of the number with respect to each value.

        mean: 1 / n;  deviation: 1 / n + weight (y - mean) / (n sd);  worst: 1 / (share n) for the largest share n
        values, the last of them in part (Rockafellar & Uryasev 2000, J. Risk 2, 21-41).
        """
        n = len(values)
        if self.measure == "mean":
            return np.full(n, 1 / n)
        if self.measure == "deviation":
            spread = values.std()
            away = (values - values.mean()) / spread if spread > 0 else np.zeros(n)
            return (1 + self.weight * away) / n
        taken = np.empty(n)
        taken[np.argsort(-values, kind="stable")] = np.clip(self.share * n - np.arange(n), 0, 1)
        return taken / (self.share * n)


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is minimised: risk(burdens(x)) + cost(x), for x in the unit cube with cost(x) <= budget.

    Args:
        start: (dials,), where a search begins.
        burdens: x -> (realizations,), the same draws whatever x.
        slopes: x, burdens there, width of differences -> (realizations, dials), derivatives of the burdens.
        cost: x -> of the measures; no simulation.
        risk: of the burdens.
        budget: largest cost.
        of_burdens, of_slopes: simulations that a call is counted as.
    """

    start: np.ndarray
    burdens: Callable[[np.ndarray], np.ndarray]
    slopes: Callable[[np.ndarray, np.ndarray, float], np.ndarray]
    cost: Callable[[np.ndarray], float]
    risk: Risk = Risk()
    budget: float = math.inf
    of_burdens: float = 1
    of_slopes: float = 1


@dataclasses.dataclass(frozen=True)
class Point:
    """A policy that was tried.

    Args:
        dials: (dials,) between 0 and 1.
        value: risk and cost together.
        burdens: (realizations,).
        cost: of the measures.
        simulations: spent until then.
    """

    dials: np.ndarray
    value: float
    burdens: np.ndarray
    cost: float
    simulations: float


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found.

    Args:
        best: the best point.
        path: each point that was better than all before it.
        simulations: spent in all.
        ended: why.
    """

    best: Point
    path: tuple[Point, ...]
    simulations: float
    ended: str


class Trials:
    """Points tried so far, the simulations spent on them and the best of them."""

    def __init__(self, problem: Problem, most: float, say: Callable[[str], None]):
        self.problem, self.most, self.say = problem, most, say
        self.spent = 0.0
        self.path: list[Point] = []

    def left(self, simulations: float) -> bool:
        """Whether so many more simulations are allowed."""
        return self.spent + simulations <= self.most

    def point(self, x: np.ndarray) -> Point:
        """Try a point."""
        self.spent += self.problem.of_burdens
        burdens, cost = self.problem.burdens(x), self.problem.cost(x)
        found = Point(x, self.problem.risk.of(burdens) + cost, burdens, cost, self.spent)
        if not self.path or found.value < self.path[-1].value:
            self.path.append(found)
            self.say(f"{found.value:.5g} after {self.spent:,.0f} simulations")
        return found

    def slopes(self, point: Point, width: float) -> np.ndarray:
        """Derivatives at a point."""
        self.spent += self.problem.of_slopes
        return self.problem.slopes(point.dials, point.burdens, width)

    def found(self, ended: str) -> Found:
        """How it ended."""
        return Found(self.path[-1], tuple(self.path), self.spent, ended)
