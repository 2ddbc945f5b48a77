"""A calibration problem: a world, what is free in it, and what was observed; and the simulations that a fit asks for.

What is simulated comes out as the expected counts of each realization, one long vector over all streams. All statistics
of them are done in double precision on the host, by `lpm.calibration.objective`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lpm.calibration import observation, parameters
from lpm.calibration.history import Log, Logged
from lpm.calibration.observation import Stream
from lpm.calibration.parameters import Parameter
from lpm.engine import simulate
from lpm.kernels import random, shadows
from lpm.model import Model
from lpm.observe import Observable
from lpm.settings import Calendar
from lpm.world import World

AT_ONCE = 2  # realizations of a large world: one alone does not keep two cores busy throughout
LARGE = 10_000  # agents from which on each realization is a call of its own: a loop would compile for each number


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What is to be fitted to what.

    Args:
        world: what is simulated.
        calendar: how long.
        parameters: what is free.
        streams: what was observed.
        epidemic_chance: whether the data are one draw of the epidemic, whose chance is then part of their variance;
            else they are fitted as if they were its mean. Between both, the share of the variance in this world that
            the data's own epidemic has, in a larger one.
        rule: by which events carry derivatives, see `lpm.simulate`; or differences, see `lpm.calibration.tangents`.
        log: keeps simulations on disk for a fit that may be stopped.
        team: shares simulations out among ranks; see `lpm.calibration.sharing`.
    """

    world: World
    calendar: Calendar
    parameters: tuple[Parameter, ...]
    streams: tuple[Stream, ...]
    epidemic_chance: bool | float = True
    rule: shadows.Rule | Literal["differences"] = "cavity"
    log: Log | None = None
    team: Any = None

    def __post_init__(self) -> None:
        if not self.parameters or not self.streams:
            raise ValueError("a calibration problem needs at least one free parameter and one stream of data")
        names = [each.name for each in self.streams]
        if len(set(names)) < len(names):
            raise ValueError(f"streams: names must differ, got {names}; give each a `name`")
        jax.eval_shape(lambda z: parameters.to_params(self.parameters, z, self.tree), jnp.zeros(self.size))

    @property
    def size(self) -> int:
        """Length of z."""
        return parameters.size(self.parameters)

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each entry of z."""
        return parameters.names(self.parameters)

    @property
    def tree(self) -> Any:
        """All that targets may name: the world's parameters and, under `observation`, those of the streams."""
        return Tree(self.world.params, observation.first_parameters(self.streams))

    @property
    def counts(self) -> np.ndarray:
        """All observed counts, one vector over the streams, (n,) float64; NaN for gaps."""
        return np.concatenate([each.values.ravel() for each in self.streams])

    def values(self, z: np.ndarray) -> np.ndarray:
        """The parameters' values for z."""
        return parameters.values(self.parameters, z)

    def params(self, z: np.ndarray | jax.Array) -> Any:
        """The world's parameters for z."""
        tree = parameters.to_params(self.parameters, jnp.asarray(z, jnp.float32), self.tree)
        return tree.world


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True)
class Tree:
    """The world's parameters and the observation model's side by side; paths of the former have no prefix."""

    world: Any
    observation: Any

    def tree_flatten_with_keys(self) -> tuple[Any, None]:
        """Leaves with their paths."""
        leaves, shape = jax.tree_util.tree_flatten_with_path(self.world)
        # A path of several keys cannot be given for one child, so each leaf of the world is a child by its own name.
        named = [(jax.tree_util.GetAttrKey(_dotted(path)), leaf) for path, leaf in leaves]
        return [*named, (jax.tree_util.GetAttrKey("observation"), self.observation)], shape

    @classmethod
    def tree_unflatten(cls, shape: Any, children: Any) -> Tree:
        """The reverse."""
        *leaves, seen = children
        return cls(jax.tree.unflatten(shape, leaves), seen)


def _dotted(path: Any) -> str:
    return ".".join(str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k)))) for k in path)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The static part of a problem: what a compiled simulation depends on besides the shapes of its arguments."""

    model: Model
    observe: tuple[Observable, ...]
    steps: int
    rule: shadows.Rule
    parameters: tuple[Parameter, ...]
    streams: tuple[tuple[str, Observable, tuple[str, ...], tuple[int, ...]], ...]
    scale: float


@dataclasses.dataclass(frozen=True, eq=False)
class Simulator:
    """The simulations of a problem; those of problems that differ in their data alone share compiled programs."""

    plan: Plan
    arguments: tuple[Any, ...]

    def curves(self, z: np.ndarray, keys: random.Key) -> np.ndarray:
        """Expected counts of each realization, (realizations, n) float64."""
        return self.at_each(np.broadcast_to(z, (keys.words.shape[0], len(z))), keys)

    def tangents(self, z: np.ndarray, keys: random.Key) -> tuple[np.ndarray, np.ndarray]:
        """The same with their derivatives by z, (realizations, size, n) float64, in forward mode: one primal run."""
        found = _tangents(self.plan, _device(z), *self.arguments, keys)
        return np.asarray(found[0], np.float64), np.asarray(found[1], np.float64)

    def pullback(self, z: np.ndarray, keys: random.Key) -> tuple[np.ndarray, Any]:
        """The curves, and a function from their cotangents, (realizations, n), to those of z, in reverse mode."""
        found, back = _pullback(self.plan, _device(z), *self.arguments, keys)
        return np.asarray(found, np.float64), lambda c: np.asarray(_pull(back, _device(c)), np.float64)

    def at_each(self, z: np.ndarray, keys: random.Key) -> np.ndarray:
        """One realization at each of several z: (draws, size) and as many keys to (draws, n) float64."""
        if self.agents < LARGE:
            return np.asarray(_at_each(self.plan, _device(z), *self.arguments, keys), np.float64)

        def one(i: int) -> np.ndarray:
            key = jax.tree.map(lambda leaf: leaf[i], keys)
            return np.asarray(_one(self.plan, _device(z[i]), *self.arguments, key), np.float64)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return np.array(list(pool.map(one, range(len(z)))))

    @property
    def agents(self) -> int:
        """Of the world."""
        return int(self.arguments[1].fixed["id"].shape[0])


def simulator(problem: Problem) -> Simulator | Logged:
    """The simulations that a problem asks for."""
    steps, tree = problem.calendar.steps, problem.tree
    observe = tuple({each.observable.name: each.observable for each in problem.streams}.values())
    streams = tuple((each.name, each.observable, each.dims, each.regions) for each in problem.streams)
    operators = []
    for each in problem.streams:
        delay, gather = observation.operators(each, steps)
        weekday = jnp.asarray(each.weekday if len(each.weekday) else np.arange(steps) % 7)
        operators.append({"delay": jnp.asarray(delay), "gather": jnp.asarray(gather), "weekday": weekday})
    rule = "cavity" if problem.rule == "differences" else problem.rule
    plan = Plan(problem.world.model, observe, steps, rule, problem.parameters, streams, problem.world.scale)
    machine: Any = Simulator(plan, (tree, problem.world.state, operators))
    machine = machine if problem.team is None else problem.team.shared(machine)
    return machine if problem.log is None else Logged(machine, problem.log, digest(problem))


def digest(problem: Problem) -> str:
    """A short text that differs where simulations of two problems do, point and keys being the same.

    It is of the layout of the data, but not of the counts; of what parameters do, but not of what is known of them.
    That two worlds of one size are the same is not seen from it: `lpm calibrate` compares their settings by name.
    """
    free = []
    for each in problem.parameters:
        # Without bounds a parameter is measured in deviations of its prior.
        unit = (each.prior.mean, each.prior.deviation) if math.isinf(each.low) and math.isinf(each.high) else ()
        moved = (each.targets, each.low, each.high, unit, each.entries, each.days, each.relative, each.covariate)
        free.append(moved)
    seen = []
    for own in problem.streams:
        values = (own.first.tolist(), own.lengths.tolist(), own.dims, own.regions)
        seen.append((own.name, own.observable.name, own.observable.over, *values, own.delay, own.weekday.tolist()))
    world = (problem.world.agents, problem.world.scale, problem.calendar.steps)
    return hashlib.sha256(repr((world, free, seen)).encode()).hexdigest()[:16]


def keys(seed: int, first: int, count: int) -> random.Key:
    """Keys of the realizations `first`, `first` + 1, ... of a seed."""
    return jax.vmap(lambda r: random.key(seed, r))(jnp.arange(first, first + count))


def _device(z: np.ndarray) -> jax.Array:
    return jnp.asarray(z, jnp.float32)


def _expected(plan: Plan, z: jax.Array, tree: Any, state: Any, operators: Any, key: random.Key, rule: Any) -> jax.Array:
    """All expected counts of one realization, (n,) float32."""
    own = parameters.to_params(plan.parameters, z, tree)
    _, seen = simulate(plan.model, own.world, state, key, steps=plan.steps, observe=plan.observe, rule=rule)
    parts = [
        observation.expected(seen[of.name], of, by, regions, operator, own.observation[name], plan.scale).ravel()
        for (name, of, by, regions), operator in zip(plan.streams, operators, strict=True)
    ]
    return jnp.concatenate(parts)


@functools.partial(jax.jit, static_argnums=0)
def _one(plan: Plan, z: jax.Array, tree: Any, state: Any, operators: Any, key: random.Key) -> jax.Array:
    return _expected(plan, z, tree, state, operators, key, None)


@functools.partial(jax.jit, static_argnums=0)
def _at_each(plan: Plan, z: jax.Array, tree: Any, state: Any, operators: Any, keys: random.Key) -> jax.Array:
    return jax.lax.map(lambda each: _expected(plan, each[0], tree, state, operators, each[1], None), (z, keys))


@functools.partial(jax.jit, static_argnums=0)
def _tangents(plan: Plan, z: jax.Array, tree: Any, state: Any, operators: Any, keys: random.Key) -> Any:
    def one(key: random.Key) -> tuple[jax.Array, jax.Array]:
        def curve(z: jax.Array) -> jax.Array:
            return _expected(plan, z, tree, state, operators, key, plan.rule)

        directions = jnp.eye(z.shape[0], dtype=jnp.float32)
        values, found = jax.vmap(lambda d: jax.jvp(curve, (z,), (d,)))(directions)
        return values[0], found

    return jax.lax.map(one, keys)


@functools.partial(jax.jit, static_argnums=0)
def _pullback(plan: Plan, z: jax.Array, tree: Any, state: Any, operators: Any, keys: random.Key) -> Any:
    def every(z: jax.Array) -> jax.Array:
        return jax.lax.map(lambda key: _expected(plan, z, tree, state, operators, key, plan.rule), keys)

    return jax.vjp(every, z)


@jax.jit
def _pull(back: Any, cotangents: jax.Array) -> jax.Array:
    return back(cotangents)[0]


def with_counts(problem: Problem, counts: np.ndarray) -> Problem:
    """The same problem with other data: a vector as `Problem.counts`; gaps stay gaps."""
    streams, at = [], 0
    for each in problem.streams:
        own = counts[at : at + each.values.size].reshape(each.values.shape)
        at += each.values.size
        streams.append(dataclasses.replace(each, values=np.where(np.isnan(each.values), np.nan, own)))
    return dataclasses.replace(problem, streams=tuple(streams))


def of_streams(streams: Sequence[Stream], vector: np.ndarray) -> list[np.ndarray]:
    """A vector over all streams, (..., n), cut into (..., time, regions) for each."""
    found, at = [], 0
    for each in streams:
        found.append(vector[..., at : at + each.values.size].reshape(*vector.shape[:-1], *each.values.shape))
        at += each.values.size
    return found
