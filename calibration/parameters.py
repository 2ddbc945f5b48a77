"""Parameters: what is free, between which bounds, what is known of it beforehand, and where in the world it goes.

Fits work on a vector z without bounds. Each parameter is a smooth increasing function of its entries of z, chosen by
its bounds:

    low and high       theta = low + (high - low) / (1 + exp(-z))
    low alone          theta = low + exp(z)
    high alone         theta = high - exp(-z)
    neither            theta = mean + deviation z, those of the prior
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

Shape = Literal["uniform", "normal", "lognormal", "beta", "gamma"]


@dataclasses.dataclass(frozen=True)
class Prior:
    """What is known of a parameter before the data, within its bounds.

    Args:
        shape: of the density; "uniform" needs two finite bounds, "beta" lives between them.
        mean, deviation: of the parameter itself, whatever the shape; not for "uniform".
    """

    shape: Shape = "uniform"
    mean: float = math.nan
    deviation: float = math.nan


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A free parameter.

    Args:
        name: for tables.
        targets: dotted paths into the tree of parameters, such as "transmission" or "disease.mean_days.exposed"; a
            number at the end is a position on the last axis ("contacts.3"). Several targets are tied to one value.
        low, high: bounds; infinite ones are none.
        prior: see `Prior`.
        entries: how many values it has: 1, or that of the target's entries if each has its own.
        days: steps from which each value holds, ascending; the target's first axis is then time, and before the first
            day it keeps its own values. () if it does not change over time.
        walk: standard deviation of the change of z from one day's value to the next's; inf for independent values.
        relative: the parameter multiplies the target's own values instead of replacing them.
        start: where the first start of a fit begins, one value or one for each entry; () for the prior's middle.
        covariate: (step, x) of a series x > 0 over time, ascending, each of which holds until the next: the target,
            whose first axis is then time, is multiplied by x^theta. () if there is none.
    """

    name: str
    targets: tuple[str, ...]
    low: float = -math.inf
    high: float = math.inf
    prior: Prior = Prior()
    entries: int = 1
    days: tuple[int, ...] = ()
    walk: float = math.inf
    relative: bool = False
    start: tuple[float, ...] = ()
    covariate: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        problem = mistaken(self)
        if problem:
            raise ValueError(f"parameter {self.name}: {problem}")

    @property
    def size(self) -> int:
        """How many entries of z it takes."""
        return len(self.days) or self.entries


def mistaken(parameter: Parameter) -> str | None:
    """What is wrong with a parameter by itself, or None."""
    low, high, prior = parameter.low, parameter.high, parameter.prior
    if not low < high:
        return f"asked for bounds with low < high, got low {low:g} and high {high:g}; write the smaller one as `low`"
    bounded = math.isfinite(low) and math.isfinite(high)
    if len(parameter.start) not in (0, 1, parameter.size):
        return f"asked for a start of one value, or of {parameter.size}, got {len(parameter.start)}; write as many"
    if any(not low < value < high for value in parameter.start):
        return (
            f"asked for a start within the bounds {low:g} and {high:g}, got {list(parameter.start)}; write one between"
        )
    if parameter.covariate and (parameter.days or parameter.entries > 1):
        return (
            "asked for one value with a `covariate`, got one for each of several days or entries; write two parameters"
        )
    wrong = [x for _, x in parameter.covariate if not (math.isfinite(x) and x > 0)]
    if wrong:
        return f"asked for a `covariate` above 0, got {wrong[0]:g}; write it relative to a usual value of 1"
    if prior.shape in ("uniform", "beta") and not bounded:
        return (
            f"asked for two finite bounds with a {prior.shape} prior, got {low:g} and {high:g}; "
            "write `low` and `high`, or a normal, lognormal or gamma prior with its mean and deviation"
        )
    if prior.shape == "uniform":
        return None
    if not (math.isfinite(prior.mean) and prior.deviation > 0):
        return f"asked for a mean and a positive deviation of its {prior.shape} prior; write both"
    if not low < prior.mean < high:
        return f"asked for a prior mean within the bounds {low:g} and {high:g}, got {prior.mean:g}; write one between"
    if prior.shape in ("lognormal", "gamma") and low < 0:
        return f"asked for `low` of at least 0 with a {prior.shape} prior, got {low:g}; write `low: 0`"
    if prior.shape == "beta" and prior.deviation**2 >= (prior.mean - low) * (high - prior.mean):
        return f"asked for a beta prior between its bounds, got a deviation of {prior.deviation:g}; write a smaller one"
    return None


def size(parameters: Sequence[Parameter]) -> int:
    """Length of z."""
    return sum(parameter.size for parameter in parameters)


def slices(parameters: Sequence[Parameter]) -> list[slice]:
    """Where each parameter stands in z."""
    ends = np.cumsum([parameter.size for parameter in parameters])
    return [slice(int(end) - parameter.size, int(end)) for end, parameter in zip(ends, parameters, strict=True)]


def names(parameters: Sequence[Parameter]) -> tuple[str, ...]:
    """A name for each entry of z.

    >>> names([Parameter("rate", ("rate",), 0, 1), Parameter("contacts", ("contacts.3",), 0, 2, days=(0, 40))])
    ('rate', 'contacts[day 0]', 'contacts[day 40]')
    """
    found: list[str] = []
    for each in parameters:
        if each.days:
            found += [f"{each.name}[day {day}]" for day in each.days]
        else:
            found += [each.name] if each.size == 1 else [f"{each.name}[{i}]" for i in range(each.size)]
    return tuple(found)


def since(parameters: Sequence[Parameter]) -> np.ndarray:
    """The step from which each entry of z changes anything, (size,) int64.

    >>> since([Parameter("rate", ("rate",), 0, 1), Parameter("contacts", ("contacts.3",), 0, 2, days=(0, 40))])
    array([ 0,  0, 40])
    """
    found: list[int] = []
    for each in parameters:
        moved = [step for step, x in each.covariate if x != 1]
        found += each.days or [min(moved, default=0)] * each.size
    return np.array(found, np.int64)


def forward(parameter: Parameter, z: jax.Array) -> jax.Array:
    """The parameter's values for its entries of z, any shape, float32."""
    low, high = parameter.low, parameter.high
    if math.isfinite(low) and math.isfinite(high):
        return low + (high - low) * jax.nn.sigmoid(z)
    if math.isfinite(low):
        return low + jnp.exp(z)
    if math.isfinite(high):
        return high - jnp.exp(-z)
    return parameter.prior.mean + parameter.prior.deviation * z


def inverse(parameter: Parameter, values: np.ndarray | float) -> np.ndarray:
    """The z of values strictly within the bounds; the inverse of `forward`.

    >>> inverse(Parameter("share", ("share",), 0, 1), 0.5).item()
    0.0
    """
    low, high, theta = parameter.low, parameter.high, np.asarray(values, np.float64)
    if np.any((theta <= low) | (theta >= high)):
        raise ValueError(f"parameter {parameter.name}: asked for values between {low:g} and {high:g}, got {theta}")
    if math.isfinite(low) and math.isfinite(high):
        return np.log(theta - low) - np.log(high - theta)
    if math.isfinite(low):
        return np.log(theta - low)
    if math.isfinite(high):
        return -np.log(high - theta)
    return (theta - parameter.prior.mean) / parameter.prior.deviation


def values(parameters: Sequence[Parameter], z: np.ndarray) -> np.ndarray:
    """Values of all parameters for z, of the same shape (..., size): float64."""
    z = np.asarray(z, np.float64)
    parts = [
        np.asarray(forward(parameter, jnp.asarray(z[..., part], jnp.float32)), np.float64)
        for parameter, part in zip(parameters, slices(parameters), strict=True)
    ]
    return np.concatenate(parts, axis=-1)


def paths(tree: Any) -> dict[str, int]:
    """Dotted path of each leaf of a tree of parameters, and its number.

    >>> paths({"rate": 1.0, "days": {"exposed": 2.0}})
    {'days.exposed': 0, 'rate': 1}
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        ".".join(str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k)))) for k in path): i
        for i, (path, _) in enumerate(leaves)
    }


def located(target: str, tree: Any) -> tuple[int, int | None]:
    """The number of the leaf that a target names, and its position on the last axis or None.

    Raises:
        ValueError: if there is none, with the nearest that there is.
    """
    known, leaves = paths(tree), jax.tree.leaves(tree)
    if target in known:
        return known[target], None
    stem, _, last = target.rpartition(".")
    if stem in known and last.isdigit():
        shape = np.shape(leaves[known[stem]])
        if shape and int(last) < shape[-1]:
            return known[stem], int(last)
        raise ValueError(f"asked for position {last} of {stem}, which has the shape {shape}; write a smaller number")
    near = difflib.get_close_matches(target, known, 1, 0.4)
    advice = f"write `{near[0]}`" if near else "write one of them"
    raise ValueError(f"asked for a path of the world's parameters ({', '.join(known)}), got {target!r}; {advice}")


def to_params(parameters: Sequence[Parameter], z: jax.Array, params: Any) -> Any:
    """The parameters with what is free replaced; differentiable in z.

    Args:
        parameters: what is free.
        z: (size,) float32.
        params: a pytree of arrays; what no target names stays as it is.
    Returns:
        a pytree of the same structure, shapes and dtypes.
    Raises:
        ValueError: for a target that is not there, or does not have the axes asked for.

    >>> free = [Parameter("rate", ("rate",), 0, 2)]
    >>> to_params(free, jnp.zeros(1), {"rate": jnp.float32(9.0)})
    {'rate': Array(1., dtype=float32)}
    """
    leaves, tree = jax.tree.flatten(params)
    for parameter, part in zip(parameters, slices(parameters), strict=True):
        theta = forward(parameter, z[part])
        for target in parameter.targets:
            leaf, position = located(target, params)
            own = leaves[leaf] if position is None else leaves[leaf][..., position]
            new = _written(parameter, theta, own, target)
            leaves[leaf] = new if position is None else leaves[leaf].at[..., position].set(new)
    return jax.tree.unflatten(tree, leaves)


def _written(parameter: Parameter, theta: jax.Array, own: jax.Array, target: str) -> jax.Array:
    """What comes in the place of a target's own values."""
    factor = own if parameter.relative else jnp.ones_like(own)
    if parameter.covariate:
        if not own.ndim:
            raise ValueError(
                f"parameter {parameter.name}: asked for a target over time with a `covariate`, got {target}, which is "
                "one number; write a target whose first axis is time, such as `contacts`"
            )
        steps, x = (np.array(part) for part in zip(*parameter.covariate, strict=True))
        at = np.searchsorted(steps, np.arange(own.shape[0]), side="right")
        logarithm = jnp.asarray(np.log(np.concatenate([[1.0], x]))[at], jnp.float32)
        return own * jnp.exp(theta[0] * logarithm).reshape((-1,) + (1,) * (own.ndim - 1))
    if parameter.days:
        if not own.ndim or own.shape[0] <= max(parameter.days):
            raise ValueError(
                f"parameter {parameter.name}: asked for values from step {max(parameter.days)} on, got the target "
                f"{target} of shape {own.shape}, whose first axis is no such time; write one without `from`"
            )
        period = np.searchsorted(np.array(parameter.days), np.arange(own.shape[0]), side="right") - 1
        column = (-1,) + (1,) * (own.ndim - 1)
        new = theta[np.maximum(period, 0)].reshape(column) * factor
        return jnp.where(jnp.asarray(period >= 0).reshape(column), new, own)
    if parameter.entries == 1:
        return theta[0] * factor
    if own.size != parameter.entries:
        raise ValueError(
            f"parameter {parameter.name}: asked for {parameter.entries} values, got the target {target} with {own.size}"
        )
    return theta.reshape(own.shape) * factor
