"""A variational posterior: a normalizing flow fitted to the likelihood under fixed seeds, and corrected by weights.

Draws e of a standard normal are pushed through a map T, made of layers that bend each entry by itself and shift and
stretch half of the entries by what the others are:

    x_i <- sinh((asinh(x_i) + a_i) exp(b_i)),        x_B <- x_B exp(s(x_A)) + t(x_A)

with s and t small neural networks, A and B changing places from layer to layer. T is moved so that

    E[log q(T(e)) - log p(T(e))],    log q(T(e)) = log N(e; 0, 1) - log |det dT/de|

becomes small, by Adam on the gradient of log p (Rezende & Mohamed 2015, arXiv:1505.05770; Dinh et al. 2017,
arXiv:1605.08803; the bend: Jones & Pewsey 2009, Biometrika 96). T begins as the identity on the scale where the Laplace
approximation is a standard normal. Draws are then weighed by p / q and resampled: where the flow missed something but
covers it, the weights put it right, and their evenness says how far it can be believed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]

from lpm.calibration.posterior import LATER
from lpm.calibration.problem import keys
from lpm.calibration.sampling import Density, Sample, log_density, r_hat
from lpm.calibration.tangents import cost
from lpm.calibration.task import Fit

WIDTH, BATCH = 32, 16  # of the networks' one hidden layer; draws in each step of Adam
RATE = 1e-2  # of Adam at first; it falls to a hundredth
STRETCH = 2.0  # largest |s|
FAR = 100.0  # a gradient longer than this is taken for this long: far out, the likelihood is no guide
CANDIDATES = 2  # weighed for each draw that is wanted

Layers = list[dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True, eq=False)
class Flow:
    """A map T from a standard normal to the posterior, both of the same length."""

    layers: Layers
    losses: np.ndarray

    def draws(self, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """T(e) for `count` draws, (count, size), and log q there, (count,)."""
        size = self.layers[0]["skew"].shape[0]
        e = jnp.asarray(np.random.default_rng([seed, 3]).normal(size=(count, size)), jnp.float32)
        u, log_q = pushed(self.layers, e)
        return np.asarray(u, np.float64), np.asarray(log_q, np.float64)


def sample(
    fit: Fit,
    *,
    draws: int = 300,
    steps: int = 150,
    realizations: int | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Sample:
    """Draws from the posterior of a fit, by a flow that is fitted to it and weights.

    Args:
        fit: where the flow begins, and whose weights are used.
        draws: wanted.
        steps: of Adam, with sixteen Jacobians each.
        realizations: simulated at each point; as many as in the fit if None.
        seed: of everything.
        progress: called with a line now and then.
    """
    realizations = realizations or fit.realizations
    shape = np.linalg.cholesky(fit.covariance)
    calls = [0]
    density = log_density(fit, keys(seed, LATER, realizations), shape)

    def counted(u: np.ndarray) -> tuple[float, np.ndarray]:
        calls[0] += 1
        return density(u)

    flow = fitted(counted, len(fit.z), steps=steps, seed=seed, progress=progress)
    u, log_p, efficiency = resampled(flow, counted, draws, seed)
    z = (fit.z + u @ shape.T)[None]
    names, ones, none = fit.problem.names, np.ones((1, draws)), np.zeros((1, draws), bool)
    spent = calls[0] * cost(fit.problem, realizations)
    return Sample(names, z, fit.problem.values(z), log_p[None], ones, none, r_hat(z), spent, "flow", efficiency)


def fitted(
    density: Density,
    size: int,
    *,
    layers: int = 4,
    steps: int = 150,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Flow:
    """A flow fitted to a density.

    Args:
        density: log p(u) up to a constant and its gradient, for u of shape (size,); roughly round about the origin.
        size: of u.
        layers: of the map.
        steps: of Adam.
        seed: of draws and networks.
        progress: called with a line now and then.
    """
    flow, generator = first(size, layers, seed), np.random.default_rng([seed, 7])
    moves = optax.adam(optax.cosine_decay_schedule(RATE, steps, 0.01))
    memory, losses = moves.init(flow), list[float]()
    for number in range(steps):
        # Each draw with its mirror image: what is odd in e cancels in the gradient.
        half = generator.normal(size=(BATCH // 2, size))
        e = jnp.asarray(np.concatenate([half, -half]), jnp.float32)
        u, log_q = (np.asarray(each, np.float64) for each in pushed(flow, e))
        found = [density(each) for each in u]
        values = np.array([value for value, _ in found])
        # Where nothing can be simulated, back to the middle.
        slopes = np.stack(
            [
                _shortened(slope) if math.isfinite(value) else -each
                for each, (value, slope) in zip(u, found, strict=True)
            ]
        )
        alive = np.isfinite(values)
        losses.append(float(np.mean(np.asarray(log_q)[alive] - values[alive])) if alive.any() else math.inf)
        flow, memory = _moved(moves, flow, memory, e, jnp.asarray(slopes, jnp.float32))
        if (number + 1) % 25 == 0:
            progress(f"flow, step {number + 1} of {steps}: log q - log p {np.mean(losses[-25:]):.3f} in the mean")
    return Flow(flow, np.array(losses))


def resampled(flow: Flow, density: Density, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, float]:
    """Draws in proportion to p / q, (count, size), log p there, (count,), and how even these weights are.

    Returns:
        draws, their log density, and (sum w)^2 / (n sum w^2): 1 if q is p, 1 / n if one draw has all the weight.
    """
    u, log_q = flow.draws(CANDIDATES * count, seed)
    log_p = np.array([density(each)[0] for each in u])
    weight = np.exp(log_p - log_q - np.max(log_p - log_q))
    # Systematic resampling: a draw with n times the mean weight is taken n times, give or take one.
    place = (np.random.default_rng([seed, 11]).random() + np.arange(count)) / count
    chosen = np.searchsorted(np.cumsum(weight) / weight.sum(), place).clip(0, len(u) - 1)
    chosen = np.random.default_rng([seed, 13]).permutation(chosen)
    return u[chosen], log_p[chosen], float(weight.sum() ** 2 / (len(u) * (weight**2).sum()))


def first(size: int, layers: int, seed: int = 0) -> Layers:
    """The identity, as layers whose networks have random first weights."""
    generator = np.random.default_rng([seed, 2])
    inner = max(size, 1)
    return [
        {
            "skew": jnp.zeros(size),
            "tail": jnp.zeros(size),
            "in": jnp.asarray(generator.normal(size=(inner, WIDTH)) / math.sqrt(inner), jnp.float32),
            "bias": jnp.asarray(generator.normal(size=WIDTH) * 0.5, jnp.float32),
            "out": jnp.zeros((WIDTH, 2 * size)),
            "level": jnp.zeros(2 * size),
        }
        for _ in range(layers)
    ]


@jax.jit
def pushed(layers: Layers, e: jax.Array) -> tuple[jax.Array, jax.Array]:
    """T(e), (draws, size), and log q there, (draws,), of (draws, size) float32."""
    return jax.vmap(lambda one: _pushed(layers, one))(e)


def _pushed(layers: Layers, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    size = x.shape[0]
    log_q = -0.5 * jnp.sum(x**2) - 0.5 * size * math.log(2 * math.pi)
    for number, layer in enumerate(layers):
        bent = (jnp.arcsinh(x) + layer["skew"]) * jnp.exp(layer["tail"])
        # d/dx sinh((asinh x + a) e^b) = cosh(...) e^b / sqrt(1 + x^2)
        log_q -= jnp.sum(jnp.log(jnp.cosh(bent)) + layer["tail"] - 0.5 * jnp.log1p(x**2))
        x = jnp.sinh(bent)
        moved = jnp.asarray(np.arange(size) % 2 == number % 2, jnp.float32)
        hidden = jax.nn.gelu((x * (1 - moved)) @ layer["in"] + layer["bias"])
        stretch, shift = jnp.split(hidden @ layer["out"] + layer["level"], 2)
        stretch = STRETCH * jnp.tanh(stretch / STRETCH) * moved
        x = x * jnp.exp(stretch) + shift * moved
        log_q -= jnp.sum(stretch)
    return x, log_q


@functools.partial(jax.jit, static_argnums=0)
def _moved(moves: Any, layers: Layers, memory: Any, e: jax.Array, slopes: jax.Array) -> tuple[Layers, Any]:
    """One step of Adam, with the gradient of log p at each draw held fixed."""

    def loss(layers: Layers) -> jax.Array:
        u, log_q = pushed(layers, e)
        return jnp.mean(log_q - jnp.sum(slopes * u, axis=1))

    slope = jax.grad(loss)(layers)
    with jax.numpy_dtype_promotion("standard"):  # optax counts on it
        change, memory = moves.update(slope, memory)
    return optax.apply_updates(layers, change), memory


def _shortened(slope: np.ndarray) -> np.ndarray:
    return slope * min(1.0, FAR / max(float(np.linalg.norm(slope)), 1e-12))
