"""The weights of a network, found by Adam on the reverse-mode gradient through the simulator, a window at a time.

See `lpm.calibration.neural_fit` for the symbols.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]

from lpm.calibration import objective
from lpm.calibration.descent import REVERSE
from lpm.calibration.neural_head import Head, point, pulled
from lpm.calibration.parameters import Parameter
from lpm.calibration.priors import log_prior
from lpm.calibration.problem import Problem, of_streams
from lpm.calibration.task import Start, Task, Verdict
from lpm.kernels import random

TAIL = 0.25  # share of the steps whose weights are averaged at the end
LEAST = 0.05  # of the learning rate, at the end
ADAM = optax.chain(optax.clip_by_global_norm(10.0), optax.scale_by_adam())


@jax.jit
def _moved(weights: Any, memory: Any, gradient: Any, rate: jax.Array) -> tuple[Any, Any]:
    """A step of Adam."""
    with jax.numpy_dtype_promotion("standard"):  # optax mixes types, whatever the caller has forbidden
        change, memory = ADAM.update(gradient, memory)
    return jax.tree.map(lambda w, c: w - rate * c, weights, change), memory


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


def trained(
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
