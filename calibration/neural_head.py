"""Between a network and the parameters of simulations: z_r = a + s f_w(x)_r, and the way back to the weights w.

See `lpm.calibration.neural_fit` for the symbols.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm.calibration.parameters import Parameter
from lpm.calibration.priors import draw_prior, prior_deviation
from lpm.calibration.problem import Problem


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
    from lpm.calibration import network  # flax, which other fits need not wait for

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


def built(
    problems: Sequence[Problem],
    inputs: np.ndarray,
    days: np.ndarray,
    shared: int,
    hidden: int,
    seed: int,
    starts: int,
) -> tuple[Head, list[Any]]:
    """The head, and the first weights of each start."""
    from lpm.calibration import network  # flax, which other fits need not wait for

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
