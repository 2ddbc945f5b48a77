"""Priors on the scale without bounds: their density, draws from them, and where fits start."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lpm.calibration.parameters import Parameter, Prior, forward, inverse, slices

CONFINED = (0.05, 0.95)  # quantiles of the prior between which starts are drawn


def log_prior(parameters: Sequence[Parameter], z: jax.Array) -> jax.Array:
    """Log of the prior's density in z, up to a constant: () float32.

    log p(z) = log p(theta(z)) + log |d theta / d z|; after the first value of a random walk, that of its change.
    """
    total = jnp.float32(0)
    for parameter, part in zip(parameters, slices(parameters), strict=True):
        own = z[part]
        if parameter.days and math.isfinite(parameter.walk):
            changes = (own[1:] - own[:-1]) / parameter.walk
            total = total - 0.5 * jnp.sum(changes**2)
            own = own[:1]
        total = total + jnp.sum(_log_density(parameter, own) + _log_slope(parameter, own))
    return total


def _log_slope(parameter: Parameter, z: jax.Array) -> jax.Array:
    low, high = math.isfinite(parameter.low), math.isfinite(parameter.high)
    if low and high:
        return -jax.nn.softplus(z) - jax.nn.softplus(-z)
    return (z if low else -z) if low or high else jnp.zeros_like(z)


def _log_density(parameter: Parameter, z: jax.Array) -> jax.Array:
    prior, theta = parameter.prior, forward(parameter, z)
    if prior.shape == "uniform":
        return jnp.zeros_like(z)
    if prior.shape == "normal":
        return -0.5 * ((theta - prior.mean) / prior.deviation) ** 2
    if prior.shape == "lognormal":
        middle, spread = _lognormal(prior)
        return -jnp.log(theta) - 0.5 * ((jnp.log(theta) - middle) / spread) ** 2
    if prior.shape == "gamma":
        rate = prior.mean / prior.deviation**2
        return (prior.mean * rate - 1) * jnp.log(theta) - rate * theta
    a, b = _beta(parameter)
    share = (theta - parameter.low) / (parameter.high - parameter.low)
    return (a - 1) * jnp.log(share) + (b - 1) * jnp.log1p(-share)


def _lognormal(prior: Prior) -> tuple[float, float]:
    """Mean and deviation of the logarithm."""
    variance = math.log1p((prior.deviation / prior.mean) ** 2)
    return math.log(prior.mean) - variance / 2, math.sqrt(variance)


def _beta(parameter: Parameter) -> tuple[float, float]:
    width = parameter.high - parameter.low
    mean, deviation = (parameter.prior.mean - parameter.low) / width, parameter.prior.deviation / width
    total = mean * (1 - mean) / deviation**2 - 1
    return mean * total, (1 - mean) * total


def draw_prior(parameters: Sequence[Parameter], count: int, seed: int) -> np.ndarray:
    """Draws from the prior, (count, size) float64, in z."""
    generator = np.random.default_rng(seed)
    parts = []
    for parameter in parameters:
        walks = bool(parameter.days) and math.isfinite(parameter.walk)
        drawn = _drawn(parameter, generator, count * (1 if walks else parameter.size))
        if walks:
            steps = generator.normal(0, parameter.walk, (count, parameter.size - 1))
            parts.append(drawn[:, None] + np.concatenate([np.zeros((count, 1)), steps.cumsum(1)], axis=1))
        else:
            parts.append(drawn.reshape(count, parameter.size))
    return np.concatenate(parts, axis=1)


def _drawn(parameter: Parameter, generator: np.random.Generator, count: int) -> np.ndarray:
    prior, low, high = parameter.prior, parameter.low, parameter.high
    found: np.ndarray = np.empty(0)
    for _ in range(1000):
        if prior.shape == "uniform":
            theta = generator.uniform(low, high, count)
        elif prior.shape == "normal":
            theta = generator.normal(prior.mean, prior.deviation, count)
        elif prior.shape == "lognormal":
            theta = generator.lognormal(*_lognormal(prior), count)
        elif prior.shape == "gamma":
            theta = generator.gamma((prior.mean / prior.deviation) ** 2, prior.deviation**2 / prior.mean, count)
        else:
            theta = low + (high - low) * generator.beta(*_beta(parameter), count)
        found = np.concatenate([found, theta[(theta > low) & (theta < high)]])
        if len(found) >= count:
            return inverse(parameter, found[:count])
    raise ValueError(f"parameter {parameter.name}: its prior has next to nothing between its bounds; widen one of them")


def prior_deviation(parameters: Sequence[Parameter]) -> np.ndarray:
    """Standard deviation of each entry of z under the prior, (size,) float64; from its quartiles."""
    drawn = draw_prior(parameters, 4000, 0)
    upper, lower = np.quantile(drawn, [0.75, 0.25], axis=0)
    return (upper - lower) / 1.349


def starting_points(parameters: Sequence[Parameter], count: int, seed: int) -> np.ndarray:
    """Draws from the prior without its tails, the first where parameters say, or in its middle: (count, size), in z."""
    low, middle, high = np.quantile(draw_prior(parameters, 4000, 0), [CONFINED[0], 0.5, CONFINED[1]], axis=0)
    drawn = np.clip(draw_prior(parameters, count, seed), low, high)
    drawn[0] = middle
    for parameter, part in zip(parameters, slices(parameters), strict=True):
        if parameter.start:
            drawn[0, part] = inverse(parameter, np.array(parameter.start))
    return drawn
