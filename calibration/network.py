"""The network of the neural calibrator: what is seen of several regions over time becomes parameters of each.

Convolutions over time, the same for all regions, look at some weeks on either side of each; a linear layer makes
outputs of what they found then and on the whole, and each region adds an offset of its own. The linear layer and the
offsets begin at zero, so that the first outputs are zero whatever is seen.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

WIDTH = 5  # times that a convolution looks at


class Network(nnx.Module):
    """(regions, times, channels) float32 to (regions, times, outputs) float32."""

    def __init__(self, regions: int, channels: int, hidden: int, outputs: int, rngs: nnx.Rngs):
        self.first = nnx.Conv(channels, hidden, (WIDTH,), rngs=rngs)
        self.second = nnx.Conv(hidden, hidden, (WIDTH,), rngs=rngs)
        self.last = nnx.Linear(2 * hidden, outputs, use_bias=False, kernel_init=nnx.initializers.zeros, rngs=rngs)
        self.own = nnx.Param(jnp.zeros((regions, 1, outputs)))

    def __call__(self, seen: jax.Array) -> jax.Array:
        near = jax.nn.gelu(self.first(seen))
        near = near + jax.nn.gelu(self.second(near))
        whole = jnp.broadcast_to(near.mean(1, keepdims=True), near.shape)
        # All weights of the last layer move alike at first: undivided, a step of Adam would move outputs by their sum.
        return self.last(jnp.concatenate([near, whole], -1)) / near.shape[-1] + self.own[...]


def start(regions: int, channels: int, hidden: int, outputs: int, seed: int) -> tuple[Any, Any]:
    """A network's structure, hashable, and its first weights, a pytree."""
    with jax.numpy_dtype_promotion("standard"):
        return nnx.split(Network(regions, channels, hidden, outputs, nnx.Rngs(seed)))


@functools.partial(jax.jit, static_argnums=0)
def outputs(structure: Any, weights: Any, seen: jax.Array) -> jax.Array:
    """What the network of these weights makes of what is seen."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return nnx.merge(structure, weights)(seen)
