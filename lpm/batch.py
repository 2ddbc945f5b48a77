"""A batch: realizations of one world that are compiled and simulated together, a chunk of records at a time.

Nothing here touches a file: `lpm.runner` decides when to save and stores what is yielded.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lpm import checkpoint
from lpm.engine import frame, without_fixed
from lpm.errors import InputError
from lpm.kernels import random
from lpm.kernels.stages import Stages
from lpm.model import Model
from lpm.observe import Observable
from lpm.state import State
from lpm.world import World

CHUNK = 8  # records between two writes: an error loses no more than one chunk


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some records of some realizations, still on the device.

    Args:
        first: number of the first record.
        seen: for each record, each observable (realizations, ...).
        broken: for each record, which floats are not finite, by name.
        snapshots: (step, entry -> (realizations, agents, ...)) for each snapshot due.
    """

    first: int
    seen: list[dict[str, jax.Array]]
    broken: list[dict[str, jax.Array]]
    snapshots: list[tuple[int, dict[str, jax.Array]]]


@dataclasses.dataclass(frozen=True)
class Saved:
    """The moving state between two records, copied, still on the device.

    Args:
        record: how many records are done.
        state: leaves by name, those of agents in the order of their ids.
    """

    record: int
    state: dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Pauses:
    """Where chunks end, and what is done between them; asked when a chunk is about to be dispatched.

    Args:
        end: record at which a chunk begins -> record at which it ends at the latest.
        save: records done -> whether the state is wanted.
        stop: whether to end here.
    """

    end: Callable[[int], int] = lambda begin: begin + CHUNK
    save: Callable[[int], bool] = lambda record: False
    stop: Callable[[], bool] = lambda: False


class Engine:
    """A world compiled for some realizations together; seeds, parameters and realizations compile nothing anew."""

    def __init__(self, world: World, seed: int, together: int, every: int):
        self.world, self.seed, self.together, self.every = world, seed, together, every
        self.still = without_fixed(world.state)
        self.fixed = world.state.fixed

    def keys(self, first: int) -> random.Key:
        """The keys of the realizations from `first` on."""
        return _keys(random.seed_words(self.seed), np.uint32(first), self.together)

    def start(self, first: int) -> State:
        """The states of the realizations from `first` on before their first step."""
        return _start(self.world.model, self.world.params, self.still, self.fixed, self.keys(first))

    def shape(self) -> State:
        """Shapes and dtypes of the states of a batch."""
        keys = jax.eval_shape(lambda: self.keys(0))
        return _start.eval_shape(self.world.model, self.world.params, self.still, self.fixed, keys)

    @functools.cached_property
    def by_id(self) -> np.ndarray:
        """Where the agents are, in the order of their ids."""
        return checkpoint.positions(np.asarray(self.fixed["id"]))

    def shapes(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of one record of each observable; finds a model's mistakes before anything is written."""
        world = self.world
        # Asked of the compiled function itself, so that its first call finds the model traced.
        _, seen, _ = advance.eval_shape(
            world.model,
            world.observables,
            self.every,
            world.params,
            self.shape(),
            self.fixed,
            jax.eval_shape(lambda: self.keys(0)),
        )
        for observable in world.observables:
            shape = seen[observable.name].shape[1:]
            asked = tuple(len(world.coords[dim]) for dim in observable.dims)
            if shape != asked:
                raise InputError(
                    f"observable {observable.name}: its dims {observable.dims} ask for an array of shape {asked}, "
                    f"its function returned {shape}; change `dims`, or the labels in the world's `coords`"
                )
        return {name: (value.shape[1:], np.dtype(value.dtype)) for name, value in seen.items()}

    def snapshot_shapes(self, names: tuple[str, ...]) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of one snapshot of each entry."""
        return {name: (value.shape, np.dtype(value.dtype)) for name, value in _entries(self.still, names).items()}

    def chunks(
        self,
        first: int,
        records: int,
        snapshots: tuple[str, ...],
        snapshot_every: int,
        *,
        begin: int = 0,
        moving: State | None = None,
        pauses: Pauses = Pauses(),
    ) -> Iterator[Chunk | Saved]:
        """Simulate the realizations from `first` on, a chunk at a time.

        Args:
            first: number of the first realization.
            records: at which to end.
            snapshots, snapshot_every: see `lpm.run`.
            begin: records that were done before.
            moving: the states after those; None for the model's start.
            pauses: where chunks end and what is done between them.
        """
        keys = self.keys(first)
        if moving is None:
            moving = self.start(first)
        while True:
            if pauses.save(begin):
                yield Saved(begin, self.in_order(moving))
            if begin >= records or pauses.stop():
                return
            chunk, end = Chunk(begin, [], [], []), min(pauses.end(begin), records)
            for record in range(begin, end):
                moving, seen, broken = advance(
                    self.world.model, self.world.observables, self.every, self.world.params, moving, self.fixed, keys
                )
                chunk.seen.append(seen)
                chunk.broken.append(broken)
                step = (record + 1) * self.every
                if snapshots and step % snapshot_every == 0:
                    entries = {name: _taken(value, self.by_id) for name, value in _entries(moving, snapshots).items()}
                    chunk.snapshots.append((step, entries))
            yield chunk
            begin = end

    def in_order(self, moving: State) -> dict[str, jax.Array]:
        """A copy of the states by name with agents in the order of their ids; the next step gives the original away."""
        agents = self.world.here
        return {
            name: _taken(leaf, self.by_id) if checkpoint.rows(leaf, name, agents) else jnp.copy(leaf)
            for name, leaf in checkpoint.named(moving).items()
        }


@functools.partial(jax.jit, static_argnums=2)
def _keys(seed: jax.Array, first: jax.Array, together: int) -> random.Key:
    return jax.vmap(lambda r: random.of_realization(seed, r))(first + jnp.arange(together, dtype=jnp.uint32))


@jax.jit
def _taken(leaf: jax.Array, places: jax.Array) -> jax.Array:
    """The agents at some places of each realization."""
    return leaf.at[:, places].get(mode="promise_in_bounds", wrap_negative_indices=False)


@functools.partial(jax.jit, static_argnums=0)
def _start(model: Model, params: Any, still: State, fixed: dict[str, Any], keys: random.Key) -> State:
    def one(key: random.Key) -> State:
        return without_fixed(model.init(params, dataclasses.replace(still, fixed=fixed), key))

    return jax.vmap(one)(keys)


def _advance_batch(
    model: Model,
    observe: tuple[Observable, ...],
    every: int,
    params: Any,
    moving: State,
    fixed: dict[str, Any],
    keys: random.Key,
) -> tuple[State, dict[str, jax.Array], dict[str, jax.Array]]:
    """One record of every realization, and which floats are not finite."""

    def one(moving: State, key: random.Key) -> tuple[State, dict[str, jax.Array]]:
        return frame(model, observe, every, params, moving, fixed, key)

    if keys.words.shape[0] == 1:  # a batch of one compiles to the plain step, which is what is tuned
        moving, seen = one(jax.tree.map(lambda x: x[0], moving), jax.tree.map(lambda x: x[0], keys))
        moving, seen = jax.tree.map(lambda x: x[None], (moving, seen))
    elif jax.default_backend() == "cpu":  # where batched lookups are several times as slow as single ones
        moving, seen = lax.map(lambda each: one(*each), (moving, keys))
    else:
        moving, seen = jax.vmap(one)(moving, keys)
    broken = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path((moving.agents | moving.env, seen)):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            broken[jax.tree_util.keystr(path[1:], simple=True, separator=".")] = ~jnp.all(jnp.isfinite(leaf))
    return moving, seen, broken


advance = jax.jit(_advance_batch, static_argnums=(0, 1, 2), donate_argnums=4)


def _entries(moving: State, names: tuple[str, ...]) -> dict[str, jax.Array]:
    found = {name: moving.agents[name] for name in names}
    return {name: value.value if isinstance(value, Stages) else value for name, value in found.items()}


def ahead(chunks: Iterator[Chunk | Saved]) -> Iterator[Chunk | Saved]:
    """One behind what has been dispatched, so that the device computes while the host writes."""
    waiting = None
    for chunk in chunks:
        if waiting is not None:
            yield waiting
        waiting = chunk
    if waiting is not None:
        yield waiting
