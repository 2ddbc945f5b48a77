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

from lpm import checkpoint, sums
from lpm.devices import Spread
from lpm.engine import frame, on_devices, without_fixed
from lpm.errors import InputError
from lpm.kernels import collectives, random, ranks
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
    """A world compiled for some realizations together; seeds, parameters and realizations compile nothing anew.

    Args:
        world: of this process.
        seed, together, every: see `lpm.job.Job`.
        spread: the world on several devices, which are connected while the engine is used; None for one.
    """

    def __init__(self, world: World, seed: int, together: int, every: int, spread: Spread | None = None):
        self.world, self.seed, self.together, self.every, self.spread = world, seed, together, every, spread
        there = world if spread is None else spread.world(world)
        self.params, self.still, self.fixed = there.params, without_fixed(there.state), there.state.fixed

    def keys(self, first: int) -> random.Key:
        """The keys of the realizations from `first` on."""
        found = _keys(random.seed_words(self.seed), np.uint32(first), self.together)
        return found if self.spread is None else collectives.everywhere(found, self.spread.devices)

    def start(self, first: int) -> State:
        """The states of the realizations from `first` on before their first step."""
        return _start(self.world.model, self.params, self.still, self.fixed, self.keys(first))

    def shape(self) -> State:
        """Shapes and dtypes of the states of a batch, of this process's agents."""
        found = self._shape()
        if self.spread is None:
            return found
        places, here = self.spread.devices.here * self.spread.devices.count, self.world.here

        def one(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            by_agent = len(leaf.shape) > 1 and leaf.shape[1] == places
            return jax.ShapeDtypeStruct((leaf.shape[0], here, *leaf.shape[2:]) if by_agent else leaf.shape, leaf.dtype)

        return dataclasses.replace(found, agents=jax.tree.map(one, found.agents))

    def _shape(self) -> State:
        """As `shape`, of all places on all devices."""
        return _start.eval_shape(self.world.model, self.params, self.still, self.fixed, self._key_shape())

    def _key_shape(self) -> Any:
        """Shapes and dtypes of `keys`, without making them."""
        return jax.eval_shape(
            jax.vmap(lambda r: random.key(self.seed, r)), jax.ShapeDtypeStruct((self.together,), jnp.int32)
        )

    def program(self) -> str:
        """The text of the program of a record: what all devices must run alike."""
        return self._traced().lower().as_text()

    def sums_of_nobody(self) -> list[str]:
        """The lines of the model that add up agents and places of nobody too."""
        if self.spread is None or min(self.spread.devices.counts) == self.spread.devices.here:
            return []
        start = _start.trace(self.world.model, self.params, self.still, self.fixed, self._key_shape())
        found = (sums.of_nobody(each.jaxpr, self.spread.devices.here) for each in (start, self._traced()))
        return [line for lines in found for line in lines]

    def _traced(self) -> Any:
        world, state = self.world, self._shape()
        args = world.model, world.observables, self.every, self.params, state, self.fixed, self._key_shape()
        return advance.trace(*args)

    @functools.cached_property
    def by_id(self) -> np.ndarray:
        """Where the agents of this process are, in the order of their ids."""
        return checkpoint.positions(np.asarray(self.world.state.fixed["id"]))

    @functools.cached_property
    def taken(self) -> np.ndarray:
        """As `by_id`, among the places of this process's devices."""
        return self.by_id if self.spread is None else self.spread.places[self.by_id]

    def shapes(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of one record of each observable; finds a model's mistakes before anything is written."""
        world = self.world
        # Asked of the compiled function itself, so that its first call finds the model traced.
        _, seen, _ = advance.eval_shape(
            world.model,
            world.observables,
            self.every,
            self.params,
            self._shape(),
            self.fixed,
            self._key_shape(),
        )
        for observable in world.observables:
            shape, dtype = seen[observable.name].shape[1:], seen[observable.name].dtype
            if not jnp.issubdtype(dtype, jnp.integer) and not jnp.issubdtype(dtype, jnp.floating):
                raise InputError(
                    f"observable {observable.name}: asked for numbers, its function returned {dtype}; write for "
                    "example `.astype(jnp.int32)`, or `.sum()` to count"
                )
            asked = tuple(len(world.coords[dim]) for dim in observable.dims)
            if shape != asked:
                raise InputError(
                    f"observable {observable.name}: its dims {observable.dims} ask for an array of shape {asked}, "
                    f"its function returned {shape}; change `dims`, or the labels in the world's `coords`"
                )
        return {name: (value.shape[1:], np.dtype(value.dtype)) for name, value in seen.items()}

    def snapshot_shapes(self, names: tuple[str, ...]) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of one snapshot of each entry."""
        return {name: (value.shape, np.dtype(value.dtype)) for name, value in _entries(self.world.state, names).items()}

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
        elif self.spread is not None:
            moving = without_fixed(self.spread.state(moving, axis=1))
        while True:
            if pauses.save(begin):
                yield Saved(begin, self.in_order(moving))
            if begin >= records or pauses.stop():
                return
            chunk, end = Chunk(begin, [], [], []), min(pauses.end(begin), records)
            for record in range(begin, end):
                moving, seen, broken = advance(
                    self.world.model, self.world.observables, self.every, self.params, moving, self.fixed, keys
                )
                chunk.seen.append(seen)
                chunk.broken.append(broken)
                step = (record + 1) * self.every
                if snapshots and step % snapshot_every == 0:
                    entries = {name: self.by_agent(value) for name, value in _entries(moving, snapshots).items()}
                    chunk.snapshots.append((step, entries))
            yield chunk
            begin = end

    def in_order(self, moving: State) -> dict[str, jax.Array]:
        """A copy of the states by name with agents in the order of their ids; the next step gives the original away."""
        devices = None if self.spread is None else self.spread.devices
        rows = self.world.here if devices is None else devices.here * devices.count
        return {
            name: self.by_agent(leaf) if checkpoint.rows(leaf, name, rows) else jnp.copy(leaf)
            for name, leaf in checkpoint.named(moving).items()
        }

    def by_agent(self, leaf: jax.Array) -> jax.Array:
        """A copy of an array (realizations, places, ...) for the agents of this process, in the order of their ids."""
        return _taken(leaf if self.spread is None else self.spread.of_process(leaf, 1), self.taken)


@functools.partial(jax.jit, static_argnums=2)
def _keys(seed: jax.Array, first: jax.Array, together: int) -> random.Key:
    return jax.vmap(lambda r: random.of_realization(seed, r))(first + jnp.arange(together, dtype=jnp.uint32))


@jax.jit
def _taken(leaf: jax.Array, places: jax.Array) -> jax.Array:
    """The agents at some places of each realization."""
    return leaf.at[:, places].get(mode="promise_in_bounds", wrap_negative_indices=False)


@functools.partial(jax.jit, static_argnums=0)
def _start(model: Model, params: Any, still: State, fixed: dict[str, Any], keys: random.Key) -> State:
    def here(params: Any, still: State, keys: random.Key) -> State:
        return jax.vmap(lambda key: without_fixed(model.init(params, still, key)))(keys)

    return on_devices(here, (params, dataclasses.replace(still, fixed=fixed), keys), axis=0, out=1)


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

    def here(params: Any, state: State, keys: random.Key) -> Any:
        fixed, moving = state.fixed, without_fixed(state)

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
                name = jax.tree_util.keystr(path[1:], simple=True, separator=".")
                bad = ~jnp.isfinite(leaf)
                by_agent = path[0].idx == 0 and bad.shape[1:2] == fixed["id"].shape
                broken[name] = ranks.anywhere(jnp.any(ranks.present(bad, 1) if by_agent else bad))
        return moving, seen, broken

    moving, seen, broken = on_devices(here, (params, dataclasses.replace(moving, fixed=fixed), keys), axis=1)
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
