"""A network that maps covariates and past data of several regions to parameters of each one's simulation.

    z_vr = a + s f_w(x_v)_r,        w = argmin sum_v F_v(z_v(w)) - log p(z_v(w))

x_v are the inputs of a window v of time, f_w the network of `lpm.calibration.network` with weights w, a and s the
prior's median and deviation in z, F_v the misfit of `lpm.calibration.objective` over all regions jointly, p the prior
with its random walks. Weights are trained by Adam on the reverse-mode gradient through the simulator, a window at a
time: dF/dw = (dz/dw)^T (dX/dz)^T dF/dX.

Regions and windows share the network, so that what one teaches about covariates holds for all; each region adds an
offset of its own. In a window whose inputs end before its data do, the network learns to forecast. (The idea of a
network in front of a differentiable epidemic: Chopra et al. 2023, AAMAS, arXiv 2207.09714.)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lpm.calibration.neural_head import Head, built, point
from lpm.calibration.neural_training import trained
from lpm.calibration.parameters import Parameter
from lpm.calibration.problem import Problem, keys, of_streams, simulator
from lpm.calibration.task import Budget, Start, Task
from lpm.errors import RunError


@dataclasses.dataclass(frozen=True, eq=False)
class Neural:
    """A trained network and the parameters that it gives.

    Args:
        problems: what was fitted, one for each window.
        head, weights: the network.
        z: (windows, size) the parameters for the data that it was trained on.
        dispersions: one for each stream.
        starts: what became of each; a dropped one says why.
        simulations: realizations simulated, one with a gradient counted as four.
    """

    problems: tuple[Problem, ...]
    head: Head
    weights: Any
    z: np.ndarray
    dispersions: tuple[float, ...]
    starts: tuple[Start, ...]
    simulations: int

    @property
    def values(self) -> np.ndarray:
        """The parameters' values, (windows, size)."""
        return self.problems[0].values(self.z)

    @property
    def dropped(self) -> int:
        """How many starts were dropped."""
        return sum(each.verdict == "dropped" for each in self.starts)

    def of(self, inputs: np.ndarray) -> np.ndarray:
        """z for other inputs, (regions, times, channels), of the same regions: (size,), without training."""
        return point(self.head, self.weights, self.head.seen(inputs))


def by_region(parameters: Sequence[Parameter], labels: Sequence[str]) -> tuple[Parameter, ...]:
    """The parameters of each region in turn, as `neural` asks for them: targets' last axis is that of regions.

    >>> [each.targets for each in by_region([Parameter("rate", ("rate",), 0, 1)], ["Essex", "Norfolk"])]
    [('rate.0',), ('rate.1',)]
    """
    return tuple(
        dataclasses.replace(each, name=f"{each.name}[{label}]", targets=tuple(f"{t}.{i}" for t in each.targets))
        for i, label in enumerate(labels)
        for each in parameters
    )


def neural(
    problems: Sequence[Problem],
    inputs: np.ndarray,
    days: Sequence[int],
    *,
    shared: int = 0,
    hidden: int = 16,
    realizations: int = 4,
    starts: int = 1,
    steps: int = 200,
    rate: float = 0.02,
    passes: int = 5,
    after: Neural | None = None,
    budget: float = math.inf,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Neural:
    """Train a network that maps inputs to the parameters of several regions.

    Args:
        problems: what to fit, one for each window of time, which differ in their data alone. Their parameters are
            those of each region in turn (see `by_region`), then the shared ones.
        inputs: (windows, regions, times, channels) float, covariates and past data; NaN where not known, such as data
            after the day of a forecast. Logarithms of counts do better than counts.
        days: (times,) ascending, the step from which each time's inputs hold; a value of a time-varying parameter is
            read where the last of them is no later than its own day.
        shared: how many parameters at the end belong to no region; they are free beside the network.
        hidden: width of the network.
        realizations: in each step, of one window.
        starts: networks begun at random, of which the best is kept.
        steps: of Adam, with a cosine schedule; the weights of the last quarter are averaged.
        rate: of learning.
        passes: an epoch goes through all windows so often; its realizations, and the weights of the misfit, are fixed.
        after: an earlier fit of such problems whose network to go on from.
        budget: most simulations, all starts together.
        seed: of the realizations, the first weights and the order of windows.
        progress: told what happens.
    Returns:
        the best start's network, and what became of each start.
    Raises:
        ValueError: if the inputs do not fit the parameters, or problems are not alike.
        RunError: if every start was dropped, with the reasons.

    Of two regions some share of a hundred people falls ill each day:

    >>> import jax.numpy as jnp
    >>> import lpm
    >>> from lpm.calibration import Stream
    >>> ill = lpm.Observable("ill", lambda state, info: info["ill"], ("region",), over="sum")
    >>> model = lpm.chain(fall_ill=lambda params, state, key: (state, {"ill": 100 * params["share"]}))
    >>> first = lpm.initial_state({"ill": jnp.zeros(1)})
    >>> world = lpm.World(model, {"share": jnp.ones(2)}, first, (ill,), {"region": ("Essex", "Norfolk")})
    >>> counts = np.array([[6.0, 9.0], [7.0, 9.0], [5.0, 8.0]])
    >>> stream = Stream("ill", ill, np.arange(3), 1, counts, "region", (0, 1), ("Essex", "Norfolk"))
    >>> free = by_region([Parameter("share", ("share",), 0, 1)], stream.labels)
    >>> problem = Problem(world, lpm.Calendar(3), free, (stream,))
    >>> inputs = np.log(counts.T)[None, ..., None]  # (windows, regions, times, channels)
    >>> fit = neural([problem], inputs, [0, 1, 2], steps=4, realizations=2)
    >>> fit.values.shape, fit.dropped, bool((fit.of(inputs[0]) == fit.z[0]).all())
    ((1, 2), 0, True)
    """
    inputs = np.asarray(inputs, np.float64)
    head, first = built(problems, inputs, np.asarray(days), shared, hidden, seed, starts)
    if after is not None:
        head, first = after.head, [after.weights] * starts
    purse = Budget(budget)
    tasks = [Task(each, simulator(each), purse, realizations, seed, progress) for each in problems]
    seen = [head.seen(each) for each in inputs]
    found = [trained(tasks, head, number, w, seen, steps, rate, passes) for number, w in enumerate(first)]
    best, weights = min(found, key=lambda each: each[0].score)
    ends = tuple(each for each, _ in found)
    if not math.isfinite(best.score):
        raise RunError(f"asked for a fit, got {starts} starts that were all dropped ({best.reason})")
    return Neural(tuple(problems), head, weights, best.z, best.dispersions, ends, purse.spent)


def expected(problem: Problem, z: np.ndarray, *, realizations: int = 16, seed: int = 1) -> list[np.ndarray]:
    """Expected counts of each stream, gaps and days after the data included: (realizations, time, cells) float64 each.

    Args:
        problem: what is simulated.
        z: (size,) parameters, such as a row of `Neural.z` or those of `Neural.of`.
        realizations, seed: of the simulations.
    """
    return of_streams(problem.streams, simulator(problem).curves(z, keys(seed, 0, realizations)))
