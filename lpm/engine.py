"""The engine: repeat a model's step and record observables. Pure, jitted, the same for a run, a gradient and a fit."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lpm.kernels import collectives, random, ranks, shadows
from lpm.kernels.stages import Stages
from lpm.model import Model
from lpm.observe import Observable, checked
from lpm.state import State

KEPT = 2**28  # bytes of states that are kept for the way back; more are computed again, which takes a third longer


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
    rule: shadows.Rule | None = None,
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
        rule: how events carry derivatives, for `jax.jvp`, `jax.jacfwd`, `jax.grad` (see `lpm.kernels.shadows.RULES`);
            the usual choice is "cavity". None for a run without derivatives. Simulated states are the same bits either
            way; counts are float32 instead of int32 if there are derivatives.

    Returns:
        the state after the last step, and a dict of arrays, one for each observable, with a leading axis of steps /
        every.

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
    if rule is not None and rule not in shadows.RULES:
        raise ValueError(
            f"simulate: asked for the rule {rule!r}, there are {', '.join(shadows.RULES)}; write rule='cavity', or None"
        )
    observe = checked(observe)
    if rule == "score" and observe != (LOG_PROBABILITY,):
        raise ValueError(
            "simulate: under the rule 'score' a run knows its own probability alone, and counts carry no derivative; "
            "write lpm.gradients.jacobian(world, ..., method='score')"
        )
    if ranks.devices() is not None:
        params, key = collectives.of_no_device((params, key))
    return _simulate(model, observe, steps, every, start, rule, params, state, key)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4, 5))
def _simulate(
    model: Model,
    observe: tuple[Observable, ...],
    steps: int,
    every: int,
    start: bool,
    rule: shadows.Rule | None,
    params: Any,
    state: State,
    key: random.Key,
) -> tuple[State, dict[str, jax.Array]]:
    one = functools.partial(_simulate_here, model, observe, steps, every, start, rule)
    return on_devices(one, (params, state, key))


def _simulate_here(
    model: Model,
    observe: tuple[Observable, ...],
    steps: int,
    every: int,
    start: bool,
    rule: shadows.Rule | None,
    params: Any,
    state: State,
    key: random.Key,
) -> tuple[State, dict[str, jax.Array]]:
    fixed, params = state.fixed, ranks.replicated(params)
    if rule is not None:
        state = _with_shadows(model, rule, params, state, key)
    if start:
        state = _settled(model.init(params, state, key))

    def record(moving: State, _: None) -> tuple[State, dict[str, jax.Array]]:
        return frame(model, observe, every, params, moving, fixed, key)

    if rule is None:
        moving, seen = lax.scan(record, without_fixed(state), length=steps // every)
    else:
        moving, seen = _checkpointed_scan(record, without_fixed(state), steps // every)
    return dataclasses.replace(moving, fixed=fixed), seen


def on_devices(function: Callable[..., Any], args: tuple[Any, ...], axis: int = 0, out: int | None = None) -> Any:
    """Call a function of states and other things: as it is, or on every connected device with its part of the agents.

    Args:
        function: returns a pytree of states and other things.
        args: states, and what is the same on all devices.
        axis: of the agents in `args`; 1 after realizations.
        out: the same of what is returned; None for the same axis.
    """
    devices = ranks.devices()
    if devices is None:
        return function(*args)
    axes = tuple(_axes(each, axis=axis, places=devices.here * devices.count) for each in args)
    where = functools.partial(_axes, axis=axis if out is None else out, places=devices.here)
    return collectives.over(devices, function, args, axes, where)


def _axes(tree: Any, *, axis: int, places: int) -> Any:
    """Along which axis each array goes by agent, or by device as all that is fixed; -1 for none."""

    def one(each: Any) -> Any:
        if not isinstance(each, State):
            return jax.tree.map(lambda _: -1, each)
        agents = jax.tree.map(lambda x: axis if x.ndim > axis and x.shape[axis] == places else -1, each.agents)
        rest = jax.tree.map(lambda _: -1, dataclasses.replace(each, agents={}, fixed={}))
        fixed = jax.tree.map(lambda x: 0 if jnp.ndim(x) else -1, each.fixed)
        return dataclasses.replace(rest, agents=agents, fixed=fixed)

    return jax.tree.map(one, tree, is_leaf=lambda each: isinstance(each, State))


def _checkpointed_scan(record: Callable[..., Any], moving: State, length: int) -> tuple[State, dict[str, jax.Array]]:
    """A scan that keeps all states for the way back, or if they are many, those between segments and within one."""
    step = jax.checkpoint(record, prevent_cse=False)
    if length * _kept_bytes(moving) <= KEPT:
        return lax.scan(step, moving, length=length)
    inner = max(1, round(length**0.5))
    segment = jax.checkpoint(lambda moving, _: lax.scan(step, moving, length=inner), prevent_cse=False)
    moving, seen = lax.scan(segment, moving, length=length // inner)
    seen = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), seen)
    if length % inner:
        moving, rest = lax.scan(step, moving, length=length % inner)
        seen = jax.tree.map(lambda *parts: jnp.concatenate(parts), seen, rest)
    return moving, seen


def _kept_bytes(moving: State) -> int:
    """Of a state on the way back; the values of shadows are zero, and not kept, but under the rule "mean_field"."""

    def kept(each: Any) -> Any:
        ghosts = _is_stages(each) and each.shadow is not None and each.shadow.rule != "mean_field"
        return each.value if ghosts else each

    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(jax.tree.map(kept, moving, is_leaf=_is_stages)))


def _log_probability(state: State, info: dict[str, Any]) -> jax.Array:
    stages = [each for each in jax.tree.leaves(state.agents, is_leaf=_is_stages) if _is_stages(each)]
    return sum((each.shadow.mass[0] for each in stages), start=jnp.float32(0))


LOG_PROBABILITY = Observable("log_probability", _log_probability)  # of all draws until a step, less its value


def _is_stages(value: Any) -> bool:
    return isinstance(value, Stages)


def _with_shadows(model: Model, rule: shadows.Rule, params: Any, state: State, key: random.Key) -> State:
    """The state with a zero shadow for all stages, with the channels that the model's contagion turns out to need."""

    def attach(stages: Any) -> Any:
        if not _is_stages(stages) or stages.shadow is not None:
            return stages
        return dataclasses.replace(stages, shadow=shadows.zeros(stages.value, stages.kinds, rule))

    state = jax.tree.map(attach, state, is_leaf=_is_stages)
    while True:  # a substep may bring in a layer that an earlier one must carry
        after = jax.eval_shape(lambda s: model.step(params, model.init(params, s, key), key)[0], state)
        more = jax.tree.map(_with_layers_of, state, after, is_leaf=_is_stages)
        before, now = jax.tree.structure(state), jax.tree.structure(more)
        if now is not None and now == before:  # their text is no measure: sets have no order
            break
        state = more
    state = jax.tree.map(_pruned, state, is_leaf=_is_stages)
    # How long stages typically last is known after a step; the rest of this one is not computed.
    with ranks.silent():
        after, _ = model.step(params, model.init(params, state, key), key)
    return jax.tree.map(_with_course_of, state, after, is_leaf=_is_stages)


def _pruned(stages: Any) -> Any:
    if not _is_stages(stages) or stages.shadow is None:
        return stages
    return dataclasses.replace(stages, shadow=shadows.pruned(stages.shadow))


def _with_course_of(stages: Any, other: Any) -> Any:
    if not _is_stages(stages) or stages.shadow is None:
        return stages
    course = jax.lax.stop_gradient(other.shadow.course)
    return dataclasses.replace(stages, shadow=dataclasses.replace(stages.shadow, course=course))


def _with_layers_of(stages: Any, other: Any) -> Any:
    if not _is_stages(stages) or stages.shadow is None:
        return stages
    return dataclasses.replace(stages, shadow=shadows.widened(stages.shadow, other.shadow))


def _settled(state: State) -> State:
    """The state as it goes on to the next step: without what is known of this step alone."""

    def forget(stages: Any) -> Any:
        if not _is_stages(stages) or stages.shadow is None:
            return stages
        return dataclasses.replace(stages, shadow=dataclasses.replace(stages.shadow, arrivals=None, since=()))

    return jax.tree.map(forget, state, is_leaf=_is_stages)


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
        return without_fixed(_settled(state)), seen

    if every == 1:
        return one(moving, None)
    moving, seen = lax.scan(one, moving, length=every)
    return moving, {observable.name: _over(seen[observable.name], observable.over) for observable in observe}


def _over(values: jax.Array, how: str) -> jax.Array:
    if how == "last":
        return values[-1]
    if how == "sum":
        return values.sum(0, dtype=values.dtype)
    return values.sum(0, dtype=jnp.float32) / values.shape[0]  # whole numbers of many agents would pass 2^31
