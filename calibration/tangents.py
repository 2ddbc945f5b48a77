"""Derivatives of expected counts by z: carried through the events by a rule, or differences between simulations.

Differences are taken along many directions at once. With A a matrix of axes and s_k rows of +-1, orthogonal over k,

    D_k = (g(X(z + A s_k)) - g(X(z - A s_k))) / 2,    J A = sum_k D_k s_k^T (sum_k s_k s_k^T)^-1

with the same keys on both sides, and g the scale of `lpm.calibration.likelihoods` on which counts have variance one.
There an outbreak that chance has on one side alone is a difference of a few units; in counts, times g', which is steep
near zero, it would be one of hundreds. Two simulations for each row, and every one of them says something of every
parameter: for p parameters the variance is p times smaller than that of as many differences one parameter at a time
(Plackett & Burman 1946, Biometrika 33). With A a share of the posterior's root, all directions move the counts about
as much, and what the data hardly constrain is moved far. Terms of second order cancel.

A share reported multiplies the counts of its stream: its derivative is known from these, and no simulation is moved.

The posterior is the one that a single epidemic of the world's own size would leave: in a sample, whose chance is larger
than that of the data's own epidemic, steps are longer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lpm.calibration import likelihoods
from lpm.calibration.history import Logged
from lpm.calibration.parameters import Parameter, forward, slices
from lpm.calibration.priors import prior_deviation
from lpm.calibration.problem import Problem, Simulator, of_streams
from lpm.kernels import random

FIRST = 0.1  # prior deviations along each parameter, while nothing is known of the posterior
SHARE = 0.7  # posterior deviations along each axis: smaller ones leave more noise, and counts are nearly linear so far


def tangents(
    problem: Problem,
    machine: Simulator | Logged,
    z: np.ndarray,
    keys: random.Key,
    dispersions: Sequence[float],
    axes: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Expected counts of each realization, (realizations, n), and their derivatives by z, (realizations, size, n).

    By differences, those of each realization are the same but for noise, as `of_rows` has it; their mean is what is
    meant, weighed as `lpm.calibration.objective.mean_jacobian` does: they are those of g, over g' at its own counts.

    Args:
        problem: whose `rule` says how.
        machine: its simulator.
        z: (size,) where.
        keys: of the realizations.
        dispersions: of the streams, for g. Of no use to a rule.
        axes: (size, size) A above; a tenth of the prior's deviations if None. Of no use to a rule.
    """
    if problem.rule != "differences":
        cut = problem.world.cut(target for each in problem.parameters for target in each.targets)
        if cut:
            raise ValueError(
                f"tangents: asked for derivatives by the rule {problem.rule!r}, got {', '.join(cut)}, which no rule "
                'follows; write Problem(..., rule="differences")'
            )
        return machine.tangents(z, keys)
    axes = np.diag(FIRST * prior_deviation(problem.parameters)) if axes is None else axes
    known, number = shares(problem, z), keys.words.shape[0]
    moved = np.flatnonzero(~known.any(1))
    if not len(moved):
        here = machine.curves(z, keys)
        return here, here[:, None] * known
    # The root of the moved parameters' part of what the axes are a root of.
    axes = np.linalg.cholesky((axes @ axes.T)[np.ix_(moved, moved)])
    rows = signs(len(moved), number)
    points = np.zeros((len(rows), problem.size))
    points[:, moved] = rows @ axes.T
    place = np.repeat(np.arange(number), len(rows) // number)
    place = np.concatenate([np.arange(number), place, place])
    curves = machine.at_each(
        np.concatenate([np.broadcast_to(z, (number, problem.size)), z + points, z - points]),
        jax.tree.map(lambda leaf: leaf[place], keys),
    )
    here, plus, minus = np.split(curves, [number, number + len(rows)])
    up, down = of_each(likelihoods.stabilised, problem, dispersions, np.stack([plus, minus]))
    slope = of_each(likelihoods.stabilised_slope, problem, dispersions, here)
    found = here[:, None] * known
    found[:, moved] = (
        np.einsum("qp,rqn->rpn", np.linalg.inv(axes), of_rows(rows, (up - down) / 2, number)) / slope[:, None]
    )
    return here, found


def of_rows(rows: np.ndarray, seen: np.ndarray, realizations: int) -> np.ndarray:
    """J A transposed, by least squares, as often as there are realizations, with its noise: (realizations, size, n).

    B_r = S D + sqrt(realizations) S sum_k w_rk s_k e_k / sqrt(1 - h_k),    S = (sum_k s_k s_k^T)^-1

    with S D of all rows, e_k what is left of row k, h_k = s_k^T S s_k, and w_rk fixed signs that were drawn at random.
    The mean over r is S D, and the deviation of that is seen from how far they are apart: rows of one realization
    would not show it, where they are as good as orthogonal (Wu 1986, Ann. Statist. 14: the wild bootstrap).
    """
    inverse = np.linalg.inv(rows.T @ rows)
    share = rows @ inverse
    whole = share.T @ seen
    left = (seen - rows @ whole) / np.sqrt(1 - (share * rows).sum(1))[:, None]
    drawn = np.random.default_rng(0).choice([-1.0, 1.0], (realizations, len(rows)))
    apart = np.stack([(share * each[:, None]).T @ left for each in drawn])
    return whole + np.sqrt(realizations) * (apart - apart.mean(0))


def shares(problem: Problem, z: np.ndarray) -> np.ndarray:
    """d log X / dz, (size, n), of parameters that are nothing but a stream's share reported; 0 for all others."""
    found = np.zeros((problem.size, len(problem.counts)))
    for parameter, part, own in _reported(problem):
        slope = jax.grad(lambda value, p=parameter: jnp.log(forward(p, value)).sum())(_single(z[part]))
        found[part, own] = np.asarray(slope)[:, None]
    return found


def log_shares(problem: Problem, points: np.ndarray) -> np.ndarray:
    """The log of these shares, for each count: of (K, size) points, (K, n)."""
    found = np.zeros((len(points), len(problem.counts)))
    for parameter, part, own in _reported(problem):
        found[:, own] += np.log(np.asarray(forward(parameter, _single(points[:, part])), np.float64)).sum(1)[:, None]
    return found


def _reported(problem: Problem) -> list[tuple[Parameter, slice, slice]]:
    """Parameters that are a share reported, with their places in z and those of their stream's counts."""
    found, at = [], 0
    places = slices(problem.parameters)
    for each in problem.streams:
        own = slice(at, at := at + each.values.size)
        for parameter, part in zip(problem.parameters, places, strict=True):
            if parameter.targets == (f"observation.{each.name}.reporting",):
                found.append((parameter, part, own))
    return found


def _single(z: np.ndarray) -> jax.Array:
    return jnp.asarray(z, jnp.float32)


def of_each(
    function: Callable[[likelihoods.Likelihood, np.ndarray, float], np.ndarray],
    problem: Problem,
    dispersions: Sequence[float],
    counts: np.ndarray,
) -> np.ndarray:
    """A function of likelihoods, applied to each stream's part of counts, (..., n)."""
    parts = zip(problem.streams, of_streams(problem.streams, counts), dispersions, strict=True)
    found = [function(each.likelihood, own, k) for each, own, k in parts]
    return np.concatenate([each.reshape(*counts.shape[:-1], -1) for each in found], axis=-1)


def cost(problem: Problem, realizations: int) -> int:
    """Simulations that `tangents` takes, a direction of a derivative counted as one."""
    if problem.rule != "differences":
        return realizations * (1 + problem.size)
    moved = problem.size - int(shares(problem, np.zeros(problem.size)).any(1).sum())
    return realizations + (2 * len(signs(moved, realizations)) if moved else 0)


def signs(size: int, realizations: int) -> np.ndarray:
    """Rows of +-1, as many for each realization, of full rank and nearly or quite orthogonal: (rows, size) float64.

    Rows of Sylvester's matrix H_ij = (-1)^(number of bits that i and j share), whose first column is left out.

    >>> signs(3, 4).T @ signs(3, 4)
    array([[4., 0., 0.],
           [0., 4., 0.],
           [0., 0., 4.]])
    """
    order = 1 << size.bit_length()
    count = realizations * -(-order // realizations)
    shared = (np.arange(count) % order)[:, None] & np.arange(1, size + 1)[None]
    odd = np.zeros(shared.shape, np.int64)
    for bit in range(order.bit_length()):
        odd ^= shared >> bit & 1
    return 1.0 - 2.0 * odd
