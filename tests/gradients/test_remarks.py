"""What a check says of parameters that it cannot check, and of derivatives that are no numbers."""

import jax
import jax.numpy as jnp

import lpm
from lpm import Observable
from lpm.gradients import check_gradient
from lpm.world import World


def grow(params: dict[str, jax.Array], state: lpm.State, key: lpm.kernels.random.Key) -> tuple[lpm.State, dict]:
    root = jnp.sqrt(params["rate"] - params["rate"])  # 0, with a slope of infinity times 0
    return state.replace(wealth=state.agents["wealth"] + params["rate"] + params["gift"] + root), {}


def test_zeros_are_named_and_derivatives_that_are_no_numbers() -> None:
    total = Observable("total", lambda state, info: state.agents["wealth"].sum())
    first = lpm.initial_state({"wealth": jnp.ones(4, jnp.float32)})
    params = {"rate": jnp.float32(0.5), "gift": jnp.float32(0)}
    found = check_gradient(World(lpm.chain(grow=grow), params, first, (total,)), steps=4, realizations=3)
    assert [each.verdict for each in found.comparisons] == ["off"]
    assert found.warnings == (
        "d total / d rate is not a number: look on its way for a division by zero, or a logarithm or root of it",
        "not checked, being zero: gift; parameters are changed in proportion",
    )
