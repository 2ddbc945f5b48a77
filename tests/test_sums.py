"""Sums that would count places of nobody are found in a program, others are not."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lpm import sums
from lpm.kernels import bits, collectives

PLACES = 70
DEVICES = collectives.Devices(jax.sharding.Mesh(np.array(jax.devices()[:1]), (collectives.AXIS,)), (PLACES, 60))


def masked(x: jax.Array) -> jax.Array:
    return collectives.present(x, DEVICES)


def found(function: Callable[[jax.Array], object]) -> list[str]:
    """What is found of a function of an array of agents, as a device runs it."""
    per_device = jax.vmap(function, axis_name=collectives.AXIS)
    traced = jax.make_jaxpr(per_device)(jnp.ones((2, PLACES)))
    return sums.of_nobody(traced, PLACES)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sum(),
        lambda x: jnp.mean(x * 2),
        lambda x: (x > 0).sum(dtype=jnp.int32),
        lambda x: jnp.any(x > 0),
        lambda x: x.max(),
        lambda x: jnp.argmax(x),
        lambda x: jnp.cumsum(x)[-1],
        lambda x: jnp.sort(x)[0],
        lambda x: jnp.dot(x, x),
        lambda x: jax.ops.segment_sum(x, (x > 0).astype(jnp.int32), 2),
        lambda x: lax.cond(x[0] > 0, lambda: x.sum(), lambda: 0.0),
        lambda x: lax.fori_loop(0, 3, lambda _, total: total + x.sum(), 0.0),
        lambda x: jax.jit(lambda y: y.sum())(x),
        lambda x: (masked(x) + 1).sum(),
        lambda x: (1 - masked(x)).sum(),
    ],
)
def test_a_sum_over_all_places_is_found_where_the_model_says_it(function: Callable[[jax.Array], object]) -> None:
    lines = found(function)
    assert lines
    assert any("test_sums.py" in line for line in lines), lines


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + 1,
        lambda x: masked(x).sum(),
        lambda x: masked((x > 0).astype(jnp.int32)).sum(),
        lambda x: masked(x > 0).sum(dtype=jnp.int32),
        lambda x: jnp.any(masked(x > 0)),
        lambda x: (x * masked(x)).sum(),
        lambda x: jax.jit(lambda y: y.sum())(masked(x)),
        lambda x: bits.total(bits.pack(masked((x > 0).astype(jnp.uint8)))),
        lambda x: x[:10].sum(),
        lambda x: x.at[3].set(0),
    ],
)
def test_no_other_is(function: Callable[[jax.Array], object]) -> None:
    assert found(function) == []
