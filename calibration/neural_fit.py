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
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]

from lpm.calibration import objective
from lpm.calibration.parameters import Parameter
from lpm.calibration.priors import draw_prior, log_prior, prior_deviation
from lpm.calibration.problem import Problem, keys, of_streams, simulator
from lpm.calibration.task import Budget, Start, Task, Verdict
from lpm.errors import RunError
from lpm.kernels import random

REVERSE = 4  # simulations that a run with its gradient is counted as
TAIL = 0.25  # share of the steps whose weights are averaged at the end
LEAST = 0.05  # of the learning rate, at the end
ADAM = optax.chain(optax.clip_by_global_norm(10.0), optax.scale_by_adam())


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """How the network's inputs are read and its outputs become z; fixed by the problem and the data it is trained on.

    Args:
        structure: of the network.
        mean, deviation: (channels,) of the known inputs.
        gaps: (channels,) bool, those with gaps, which get a channel that says where.
        rows, columns: (size of a region,) the time, or -1 for the mean over all, and the output of each entry of z.
        middle, scale: (size,) a and s above.
    """

    structure: Any = dataclasses.field(metadata={"static": True})
    mean: np.ndarray
    deviation: np.ndarray
    gaps: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    middle: np.ndarray
    scale: np.ndarray

    def seen(self, values: np.ndarray) -> jax.Array:
        """Standardised inputs, 0 where unknown, with the channels that say what is known."""
        known = ~np.isnan(values)
        scaled = np.where(known, (np.nan_to_num(values) - self.mean) / self.deviation, 0)
        return jnp.asarray(np.concatenate([scaled, known[..., self.gaps]], -1), jnp.float32)


def _z(head: Head, weights: Any, seen: jax.Array) -> jax.Array:
    """(size,) float32, differentiable in the weights: those of the network, and what belongs to no region."""
    from lpm.calibration import network

    own, shared = weights
    found = network.outputs(head.structure, own, seen)
    whole = found.mean(1, keepdims=True)
    found = jnp.concatenate([found, whole], 1)[:, jnp.asarray(head.rows), jnp.asarray(head.columns)]
    raw = jnp.concatenate([found.reshape(-1), shared])
    return jnp.asarray(head.middle, jnp.float32) + jnp.asarray(head.scale, jnp.float32) * raw


@jax.jit
def _point(head: Head, weights: Any, seen: jax.Array) -> jax.Array:
    return _z(head, weights, seen)


def point(head: Head, weights: Any, seen: jax.Array) -> np.ndarray:
    """z of the weights and what is seen, (size,) float64."""
    return np.asarray(_point(head, weights, seen), np.float64)


@jax.jit
def pulled(head: Head, weights: Any, seen: jax.Array, by_z: jax.Array) -> Any:
    """(dz/dw)^T times a cotangent of z, (size,) float32: the gradient of the weights."""
    return jax.vjp(lambda w: _z(head, w, seen), weights)[1](by_z)[0]


@jax.jit
def _moved(weights: Any, memory: Any, gradient: Any, rate: jax.Array) -> tuple[Any, Any]:
    """A step of Adam."""
    with jax.numpy_dtype_promotion("standard"):  # optax mixes types, whatever the caller has forbidden
        change, memory = ADAM.update(gradient, memory)
    return jax.tree.map(lambda w, c: w - rate * c, weights, change), memory


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

    >>> from lpm.calibration import Stream
    >>> from lpm.settings import Calendar
    >>> from lpm.worlds import sir
    >>> calendar = Calendar(12)
    >>> world = sir.build(sir.Settings(agents=500, contacts=sir.Contacts("well_mixed")), calendar)
    >>> counts = np.array([[6.0], [9.0], [14.0], [18.0]])
    >>> stream = Stream("incidence", world.observables[0], np.arange(0, 12, 3), 3, counts)
    >>> free = Parameter("transmission", ("transmission",), 0.01, 1)
    >>> problem = Problem(world, calendar, (free,), (stream,))
    >>> fit = neural([problem], np.log(counts)[None, None], [0, 3, 6, 9], steps=4)
    >>> fit.values.shape, fit.dropped, bool(fit.of(np.log(counts)[None])[0] == fit.z[0, 0])
    ((1, 1), 0, True)
    """
    inputs = np.asarray(inputs, np.float64)
    head, first = _built(problems, inputs, np.asarray(days), shared, hidden, seed, starts)
    if after is not None:
        head, first = after.head, [after.weights] * starts
    purse = Budget(budget)
    tasks = [Task(each, simulator(each), purse, realizations, seed, progress) for each in problems]
    seen = [head.seen(each) for each in inputs]
    found = [_trained(tasks, head, number, w, seen, steps, rate, passes) for number, w in enumerate(first)]
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


def _built(
    problems: Sequence[Problem],
    inputs: np.ndarray,
    days: np.ndarray,
    shared: int,
    hidden: int,
    seed: int,
    starts: int,
) -> tuple[Head, list[Any]]:
    """The head, and the first weights of each start."""
    from lpm.calibration import network

    own, problem = _of_one_region(problems, inputs, days, shared), problems[0]
    rows, columns, outputs = list[int](), list[int](), 0
    for parameter in own:
        if parameter.days:
            rows += [max(0, int(row)) for row in np.searchsorted(days, parameter.days, side="right") - 1]
            columns += [outputs] * parameter.size
            outputs += 1
        else:
            rows += [-1] * parameter.size
            columns += range(outputs, outputs + parameter.size)
            outputs += parameter.size
    known = ~np.isnan(inputs)
    gaps = ~known.all((0, 1, 2))
    if not known.any((0, 1, 2)).all():
        raise ValueError(f"inputs: channel {int(np.argmin(known.any((0, 1, 2))))} is not known anywhere; leave it out")
    mean, deviation = np.nanmean(inputs, (0, 1, 2)), np.nanstd(inputs, (0, 1, 2))
    last = sum(parameter.size for parameter in problem.parameters[len(problem.parameters) - shared :])
    middle = np.median(draw_prior(problem.parameters, 4000, 0), 0)
    structure, weights = None, []
    for start in range(starts):
        structure, first = network.start(inputs.shape[1], int(len(gaps) + gaps.sum()), hidden, outputs, seed + start)
        weights.append((first, jnp.zeros(last, jnp.float32)))
    scale = prior_deviation(problem.parameters)
    places = np.array(rows, np.int64), np.array(columns, np.int64)
    return Head(structure, mean, np.where(deviation > 0, deviation, 1), gaps, *places, middle, scale), weights


def _of_one_region(
    problems: Sequence[Problem], inputs: np.ndarray, days: np.ndarray, shared: int
) -> tuple[Parameter, ...]:
    """The parameters of the first region, after a look at whether all regions and windows have the same."""
    if inputs.ndim != 4 or (len(problems), len(days)) != inputs.shape[:3:2] or not np.all(np.diff(days) > 0):
        raise ValueError(
            "inputs: asked for (windows, regions, times, channels) with a problem for each window and ascending `days` "
            f"for the times, got the shape {inputs.shape}, {len(problems)} problems and {len(days)} days"
        )
    if np.isinf(inputs).any():
        raise ValueError("inputs: asked for finite numbers, or NaN where not known, got an infinite one")
    parameters = problems[0].parameters
    if any(each.parameters != parameters or each.calendar.steps != problems[0].calendar.steps for each in problems):
        raise ValueError("problems: asked for windows that differ in their data alone, got other parameters or days")
    regions, of_regions = inputs.shape[1], parameters[: len(parameters) - shared]
    per = len(of_regions) // regions
    shapes = [(each.size, each.days, each.entries) for each in of_regions]
    if not per or shapes != shapes[:per] * regions:
        raise ValueError(
            f"parameters: asked for the same ones of each of {regions} regions in turn, and {shared} shared at the "
            f"end, got {', '.join(each.name for each in parameters)}; write them with `by_region`"
        )
    return of_regions[:per]


@dataclasses.dataclass
class Epoch:
    """What stays as it is within an epoch: the realizations, and for each window the weights of its misfit."""

    number: int
    fixed: dict[int, objective.Weights]


class NotFinite(Exception):
    """A step that cannot be made, and why."""


def slope(
    task: Task,
    z: np.ndarray,
    seeds: random.Key,
    fixed: objective.Weights | None,
    dispersions: tuple[float, ...],
    share_of_old: float = 0.9,
) -> tuple[float, np.ndarray, objective.Weights, tuple[float, ...]]:
    """Misfit and minus the log prior, the gradient of both by z, the weights of the misfit and the dispersions.

    Args:
        task: of a window.
        z: (size,) float64.
        seeds: of the realizations.
        fixed: weights to keep; None to find new ones, and new dispersions.
        dispersions: so far.
        share_of_old: how much they stay; 1 to keep them.
    """
    problem = task.problem
    curves, back = task.machine.pullback(z, seeds)
    found = objective.moments(problem.streams, dispersions, curves, died_out=0.0)  # from far below, there is a way up
    if found is None:
        raise NotFinite(f"expected counts of {', '.join(_not_finite(problem, curves))} are not finite")
    if fixed is None:
        dispersions = objective.dispersions(problem, dispersions, found, share_of_old)
        fixed = objective.weigh(problem, dispersions, objective.shrunk_covariance([found.samples]), found.number)
    minus_log, by_prior = _prior(problem.parameters, _device(z))
    residuals, _ = objective.whitened(problem.streams, fixed, found)
    gradient = np.asarray(by_prior, np.float64) + back(objective.cotangents(problem.streams, fixed, found))
    if not np.isfinite(gradient).all():
        raise NotFinite("a derivative is not finite")
    return 0.5 * float(residuals @ residuals) + float(minus_log), gradient, fixed, dispersions


@functools.partial(jax.jit, static_argnums=0)
def _prior(parameters: tuple[Parameter, ...], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Minus the log prior and its gradient; the Hessian of `objective.prior` is not for hundreds of parameters."""
    return jax.value_and_grad(lambda z: -log_prior(parameters, z))(z)


def _trained(
    tasks: Sequence[Task],
    head: Head,
    number: int,
    weights: Any,
    seen: Sequence[jax.Array],
    steps: int,
    rate: float,
    passes: int,
) -> tuple[Start, Any]:
    task, windows = tasks[0], len(tasks)
    memory, kept = ADAM.init(weights), []
    first = _points(head, weights, seen)
    order = np.random.default_rng((task.seed, number))
    dispersions = tuple(each.start_dispersion for each in task.problem.streams)
    history: list[tuple[float, float, float]] = []
    verdict: Verdict = "converged"
    for step in range(steps):
        if not task.budget.take(REVERSE * task.realizations):
            verdict = "out of budget"
            break
        if step % windows == 0:
            turn = order.permutation(windows)
        if step % (windows * passes) == 0:
            epoch = Epoch(step // (windows * passes), {})
        window = int(turn[step % windows])
        z = point(head, weights, seen[window])
        seeds = task.seeds(task.realizations * (1 + epoch.number + 1000 * number))
        try:
            # A poor fit would ask for so wide an error that nothing is learnt any more.
            stay = 1.0 if step < steps // 2 else 0.9
            value, by_z, fixed, dispersions = slope(tasks[window], z, seeds, epoch.fixed.get(window), dispersions, stay)
        except NotFinite as error:
            reason = f"{error} in window {window}" if windows > 1 else str(error)
            task.say(f"start {number}: dropped at step {step}: {reason}")
            now = _points(head, weights, seen)
            return Start(number, first, now, "dropped", reason, history=tuple(history)), weights
        epoch.fixed[window] = fixed
        history.append((value, math.nan, math.nan))
        if step % 50 == 0:
            task.say(f"start {number}, step {step}: misfit {value:.4g}, {task.budget.spent:,} simulations")
        gradient = pulled(head, weights, seen[window], _device(by_z))
        pace = rate * (LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * step / steps)))
        weights, memory = _moved(weights, memory, gradient, jnp.float32(pace))
        if step >= steps * (1 - TAIL):
            kept.append(weights)
    if kept:
        weights = jax.tree.map(lambda *leaves: sum(leaves) / jnp.float32(len(leaves)), *kept)
    ends = _points(head, weights, seen)
    total = sum(_score(each, z, dispersions) for each, z in zip(tasks, ends, strict=True))
    return Start(number, first, ends, verdict, "", total, dispersions, None, tuple(history)), weights


def _points(head: Head, weights: Any, seen: Sequence[jax.Array]) -> np.ndarray:
    return np.array([point(head, weights, each) for each in seen])


def _score(task: Task, z: np.ndarray, dispersions: tuple[float, ...]) -> float:
    """Minus the log of likelihood times prior, under seeds that all starts share; inf if it is not finite."""
    problem = task.problem
    task.budget.spent += task.realizations
    found = objective.moments(problem.streams, dispersions, task.machine.curves(z, task.seeds(0)), died_out=0.0)
    if found is None:
        return math.inf
    fixed = objective.weigh(problem, dispersions, objective.shrunk_covariance([found.samples]), found.number)
    value = objective.score(problem.streams, fixed, found) + float(_prior(problem.parameters, _device(z))[0])
    return value if math.isfinite(value) else math.inf


def _device(z: np.ndarray) -> jax.Array:
    return jnp.asarray(z, jnp.float32)


def _not_finite(problem: Problem, curves: np.ndarray) -> list[str]:
    """Names of the streams whose curves are not finite."""
    streams = zip(problem.streams, of_streams(problem.streams, curves), strict=True)
    return [each.name for each, own in streams if not np.isfinite(own).all()]
