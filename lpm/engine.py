"""The engine: repeat a model's step and record observables. Pure, jitted, the same for a run, a gradient and a fit."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lpm.kernels import random
from lpm.model import Model
from lpm.observe import Observable, checked
from lpm.state import State


def simulate(
    model: Model,
    params: Any,
    state: State,
    key: random.Key,
    *,
    steps: int,
    observe: Iterable[Observable] = (),
    every: int = 1,
    start: bool = True,
) -> tuple[State, dict[str, jax.Array]]:
    """Simulate a number of steps.

    state_{t+1}, info_t = model.step(params, state_t, key)

    Args:
        model: see `chain`.
        params: a pytree that the model's author defines; arrays in it may change without a new compilation.
        state: the state to start from.
        key: from `lpm.key(seed)`. Draws depend on (seed, realization, stream, step, agent id) only.
        steps: how many steps, at least 1.
        observe: what to record.
        every: record once in so many steps; divides `steps`.
        start: do the model's start first; False to go on from a state that was simulated before.

    Returns:
        the state after the last step, and a dict of arrays, one for each observable, with a leading axis of steps / every.

    Raises:
        ValueError: if `every` does not divide `steps`.

    >>> import lpm
    >>> def grow(params, state, key):
    ...     return state.replace(wealth=state.agents["wealth"] * params), {}
    >>> total = Observable("total", lambda state, info: state.agents["wealth"].sum())
    >>> first = lpm.initial_state({"wealth": jnp.ones(3)})
    >>> _, seen = simulate(lpm.chain(grow=grow), jnp.float32(2), first, lpm.key(1), steps=3, observe=[total])
    >>> seen["total"]
    Array([ 6., 12., 24.], dtype=float32)
    """
    if steps < 1 or every < 1 or steps % every:
        near = max(every, steps - steps % every) if every >= 1 else 1
        raise ValueError(
            f"simulate: `every={every}` does not divide `steps={steps}`; use `steps={near}` or a divisor of {steps}"
        )
    return _simulate(model, checked(observe), steps, every, start, params, state, key)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _simulate(model, observe, steps, every, start, params, state, key):
    fixed = state.fixed
    if start:
        state = model.init(params, state, key)

    def record(moving, _):
        return frame(model, observe, every, params, moving, fixed, key)

    moving, seen = lax.scan(record, without_fixed(state), length=steps // every)
    return dataclasses.replace(moving, fixed=fixed), seen


def without_fixed(state: State) -> State:
    """What moves: scans carry it, realizations have one each."""
    return dataclasses.replace(state, fixed={})


def frame(
    model: Model,
    observe: tuple[Observable, ...],
    every: int,
    params: Any,
    moving: State,
    fixed: dict[str, Any],
    key: random.Key,
) -> tuple[State, dict[str, jax.Array]]:
    """`every` steps, and one record of each observable: the unit that `simulate` scans and `lpm.run` repeats."""

    def one(moving: State, _: None) -> tuple[State, dict[str, jax.Array]]:
        state, info = model.step(params, dataclasses.replace(moving, fixed=fixed), key)
        seen = {observable.name: observable.function(state, info) for observable in observe}
        return without_fixed(state), seen

    if every == 1:
        return one(moving, None)
    moving, seen = lax.scan(one, moving, length=every)
    return moving, {observable.name: _over(seen[observable.name], observable.over) for observable in observe}


def _over(values: jax.Array, how: str) -> jax.Array:
    if how == "last":
        return values[-1]
    total = values.sum(0, dtype=values.dtype)
    return total if how == "sum" else total.astype(jnp.float32) / values.shape[0]
