"""Rates, probabilities and dwell times in discrete steps.

A *rate* (hazard) has the unit 1/step; a *probability* is per step. A dwell time is never compared with a clock: it is
a chain of phases, each left with a constant probability, so that the state is one small integer, nobody's past is
stored, and the mean stays a parameter that a derivative can reach.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaincc


def probability(rate: jax.Array) -> jax.Array:
    """The probability 1 - exp(-rate) that an event with a constant rate happens within one step.

    Written as rate * (1 - exp(-rate)) / rate would lose small rates to rounding; below 2^-6 a series is used instead of
    `expm1`, which costs several times more on a CPU.

    >>> round(float(probability(jnp.float32(1e-6))) * 1e6, 4)
    1.0
    """
    rate = jnp.asarray(rate)
    series = rate * (1 - rate / 2 * (1 - rate / 3 * (1 - rate / 4)))
    return jnp.where(rate < 2.0**-6, series, 1 - jnp.exp(-rate))


def competing(rates: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Competing hazards: the probability that any happens in a step, and which one it then is.

    p = 1 - exp(-sum_k r_k), share_k = r_k / sum_k r_k (Kalbfleisch & Prentice 2002, section 8.2).

    Args:
        rates: (causes, ...) float32, 1/step.

    Returns:
        (...) probability and (causes, ...) shares, which are 0 where all rates are.
    """
    total = rates.sum(0)
    return probability(total), rates / jnp.where(total > 0, total, 1)[None]


def phases(mean: float, deviation: float) -> int:
    """How many phases a dwell time takes, so that its mean is met and its variance nearly.

    A chain of k phases, each left with probability k / mean per step, lasts a negative binomial time with variance
    mean (mean - k) / k; equating it with deviation^2 gives k = mean^2 / (mean + deviation^2), here rounded. This is
    the gamma distribution's discrete counterpart (the linear chain trick; Hurtado & Kirosingh 2019, J. Math. Biol. 79).

    Args:
        mean: steps, at least 1.
        deviation: standard deviation, steps.

    >>> phases(4.5, 1.5), phases(8.0, 8.0), phases(1.0, 0.0)
    (3, 1, 1)
    """
    if not mean >= 1:
        raise ValueError(
            f"mean dwell time: asked for at least one step, got {mean}; use a shorter step or a longer mean"
        )
    if not deviation >= 0:
        raise ValueError(f"deviation of a dwell time: asked for 0 or more, got {deviation}")
    return max(1, min(int(mean), round(mean**2 / (mean + deviation**2))))


def phase_probability(mean: jax.Array, count: int) -> jax.Array:
    """The probability count / mean, at most 1, of leaving one phase in a step; differentiable in the mean."""
    return jnp.minimum(count / jnp.asarray(mean), 1.0)


def gamma_hazards(mean: jax.Array, deviation: jax.Array, steps: int) -> jax.Array:
    """The discrete hazards of a gamma dwell time: of leaving at step t, for those who have not left before.

    h_t = (F(t) - F(t - 1)) / (1 - F(t - 1)), t = 1 .. steps, F the gamma distribution with the given moments. For
    comparison with `phases`, and for models that store how long each agent has been in its stage.

    Args:
        mean, deviation: () float32, steps.
        steps: length of the table, static.

    Returns:
        (steps,) float32 in [0, 1].
    """
    shape = (mean / deviation) ** 2
    scale = deviation**2 / mean
    # The share that has not left is summed from the tail: one minus the rest would lose it to rounding.
    left = gammaincc(shape, jnp.arange(steps + 1, dtype=jnp.float32) / scale)
    some = left[:-1] > 1e-30
    return jnp.where(some, jnp.clip(1 - left[1:] / jnp.where(some, left[:-1], 1), 0, 1), 1)
