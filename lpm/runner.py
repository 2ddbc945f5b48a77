"""A run: realizations simulated chunk by chunk, results streamed to a store; every side effect is here."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lpm import store
from lpm.engine import frame, without_fixed
from lpm.errors import InputError, RunError
from lpm.kernels import random
from lpm.kernels.stages import Stages
from lpm.model import Model
from lpm.observe import Observable
from lpm.provenance import provenance
from lpm.series import Series
from lpm.settings import Calendar
from lpm.state import State
from lpm.world import World

CHUNK = 8  # records between two writes: an error or a Ctrl-C loses no more than one chunk
TOGETHER = 2_000_000  # agents of all realizations that are simulated side by side


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run has come, for a bar or a log.

    Args:
        done, total: steps, of all realizations together.
        agents: of one realization.
        timed: how many of the steps done came after the first chunk, which waits for the compiler.
        seconds: that those took.
    """

    done: int
    total: int
    agents: int
    timed: int
    seconds: float

    @property
    def rate(self) -> float:
        """Agent-steps a second; nan before anything was timed."""
        return self.timed * self.agents / self.seconds if self.timed else float("nan")

    @property
    def left(self) -> float:
        """Seconds left at the rate so far; nan before anything was timed."""
        if self.done == self.total:
            return 0.0
        return self.seconds / self.timed * (self.total - self.done) if self.timed else float("nan")


class Interrupted(RunError):
    """A run was stopped by its user; what it had committed is in the store."""


def run(
    world: World,
    calendar: Calendar,
    out: str | Path,
    *,
    seed: int = 0,
    realizations: int = 1,
    every: int = 1,
    snapshots: tuple[str, ...] = (),
    snapshot_every: int = 0,
    observed: tuple[Series, ...] = (),
    attributes: Mapping[str, Any] | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Path:
    """Simulate a world and stream its observables to `out`/results.zarr.

    Realizations of small worlds advance together, those of large ones in turn; the numbers are the same.

    Args:
        world: what to simulate.
        calendar: how long, and from which day.
        out: a directory that is made, or empty.
        seed: of all draws; realization r of a seed is the same whatever the number of realizations.
        realizations: how many.
        every: steps in a record; divides the calendar's steps.
        snapshots: names of agents' entries to store in full.
        snapshot_every: steps between snapshots; a multiple of `every`.
        observed: data to keep beside the results, for tables and pictures.
        attributes: added to the store's provenance, such as the config's text.
        progress: called after each chunk.

    Returns:
        the zarr group's path, for `lpm.open`.

    Raises:
        InputError: before anything is written.
        RunError: if a state or a result stops being finite; the store keeps what was committed before.
        Interrupted: on Ctrl-C; the store keeps what was committed before.

    >>> import tempfile
    >>> from lpm.worlds import sir
    >>> world = sir.build(sir.Settings(agents=500, contacts=sir.Contacts("well_mixed")), Calendar(20))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     results = store.open(run(world, Calendar(20), folder, realizations=2)).load()
    >>> dict(results["incidence"].sizes)
    {'scenario': 1, 'realization': 2, 'time': 20}
    """
    _check(world, calendar, realizations, every, snapshots, snapshot_every)
    batches = -(-realizations // max(1, min(realizations, TOGETHER // world.agents)))
    together = -(-realizations // batches)
    path = _new_directory(out)
    engine = Engine(world, seed, together, every)
    try:
        target = store.create(
            path / store.NAME,
            world.observables,
            engine.shapes(),
            world.coords,
            calendar,
            every=every,
            realizations=realizations,
            together=together,
            snapshots=engine.snapshot_shapes(snapshots),
            snapshot_every=snapshot_every,
            observed=observed,
            attributes=provenance(world, seed) | dict(attributes or {}),
        )
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    total, done, first_done, begun = calendar.steps * realizations, 0, 0, 0.0
    try:
        for first in range(0, realizations, together):
            which = slice(first, min(first + together, realizations))
            for chunk in _ahead(engine.chunks(first, target.records, snapshots, snapshot_every)):
                _store_chunk(target, which, chunk, snapshot_every)
                done += len(chunk.seen) * every * (which.stop - which.start)
                now = time.perf_counter()
                if not first_done:
                    first_done, begun = done, now
                progress(Progress(done, total, world.agents, done - first_done, now - begun))
    except KeyboardInterrupt:
        if not done:
            shutil.rmtree(path, ignore_errors=True)
            raise Interrupted("stopped before the first steps were done; nothing was kept") from None
        raise Interrupted(
            f"stopped after {done:,} of {total:,} steps; what was done is kept: `lpm show {out}`. "
            "The same command with the same seed gives the same numbers again, from the start"
        ) from None
    return target.path


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


class Engine:
    """A world compiled for some realizations together; seeds, parameters and realizations compile nothing anew."""

    def __init__(self, world: World, seed: int, together: int, every: int):
        self.world, self.seed, self.together, self.every = world, seed, together, every
        self.still = without_fixed(world.state)
        self.fixed = world.state.fixed

    def start(self, first: int) -> tuple[State, random.Key]:
        """The states and keys of the realizations from `first` on."""
        keys = jax.vmap(lambda r: random.key(self.seed, r))(jnp.arange(first, first + self.together))
        return _start(self.world.model, self.world.params, self.still, self.fixed, keys), keys

    def shapes(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of one record of each observable; finds a model's mistakes before anything is written."""
        moving, keys = jax.eval_shape(lambda: self.start(0))
        world = self.world
        _, seen, _ = jax.eval_shape(
            functools.partial(_advance_batch, world.model, world.observables, self.every),
            world.params,
            moving,
            self.fixed,
            keys,
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

    def chunks(self, first: int, records: int, snapshots: tuple[str, ...], snapshot_every: int) -> Iterator[Chunk]:
        """Simulate the realizations from `first` on, a chunk at a time."""
        moving, keys = self.start(first)
        by_id = np.argsort(np.asarray(self.fixed["id"]), kind="stable") if snapshots else None
        for begin in range(0, records, CHUNK):
            chunk = Chunk(begin, [], [], [])
            for record in range(begin, min(begin + CHUNK, records)):
                moving, seen, broken = _advance(
                    self.world.model, self.world.observables, self.every, self.world.params, moving, self.fixed, keys
                )
                chunk.seen.append(seen)
                chunk.broken.append(broken)
                step = (record + 1) * self.every
                if snapshots and step % snapshot_every == 0:
                    entries = {name: value[:, by_id] for name, value in _entries(moving, snapshots).items()}
                    chunk.snapshots.append((step, entries))
            yield chunk


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


_advance = jax.jit(_advance_batch, static_argnums=(0, 1, 2), donate_argnums=4)


def _entries(moving: State, names: tuple[str, ...]) -> dict[str, jax.Array]:
    found = {name: moving.agents[name] for name in names}
    return {name: value.value if isinstance(value, Stages) else value for name, value in found.items()}


def _ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """One chunk behind what has been dispatched, so that the device computes while the host writes."""
    waiting = None
    for chunk in chunks:
        if waiting is not None:
            yield waiting
        waiting = chunk
    if waiting is not None:
        yield waiting


def _store_chunk(target: store.Store, which: slice, chunk: Chunk, snapshot_every: int) -> None:
    """Check a chunk and write it; of a chunk with a fault, the records before it."""
    used = which.stop - which.start
    seen, broken, snapshots = jax.device_get((chunk.seen, chunk.broken, chunk.snapshots))
    good = next((i for i, names in enumerate(broken) if any(names.values())), len(seen))
    if good:
        stacked = {name: np.stack([record[name][:used] for record in seen[:good]], axis=1) for name in seen[0]}
        target.write(which, chunk.first, stacked)
    if good < len(seen):
        names = ", ".join(name for name, bad in broken[good].items() if bad)
        raise RunError(
            f"record {chunk.first + good}: not a finite number in {names}; the store holds the {chunk.first + good} "
            "records before it. Look for a division by zero, a logarithm of zero or a rate that grows without bound in "
            "the substep that writes it"
        )
    for step, entries in snapshots:
        for offset in range(used):
            target.write_snapshot(
                which.start + offset,
                step // snapshot_every - 1,
                {name: value[offset] for name, value in entries.items()},
            )


def _check(
    world: World, calendar: Calendar, realizations: int, every: int, snapshots: tuple[str, ...], snapshot_every: int
) -> None:
    problems = []
    if realizations < 1:
        problems.append(f"realizations: asked for at least 1, got {realizations}; write a positive number")
    if every < 1 or calendar.steps < 1 or calendar.steps % every:
        problems.append(
            f"every: `every={every}` does not divide `steps={calendar.steps}`; write a divisor of {calendar.steps}"
        )
    unknown = [name for name in snapshots if name not in world.state.agents]
    if unknown:
        problems.append(
            f"snapshots: asked for entries of the agents ({sorted(world.state.agents)}), got {unknown}; "
            "write some of those"
        )
    if snapshots and (snapshot_every < 1 or snapshot_every % max(every, 1) or snapshot_every > calendar.steps):
        problems.append(
            f"snapshots: asked for a multiple of every={every} up to {calendar.steps}, got {snapshot_every}; "
            f"write for example {every}"
        )
    if problems:
        raise InputError(problems)


def _new_directory(out: str | Path) -> Path:
    path = Path(out)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(
            f"{path}: asked for a new or empty directory, got one that holds something; write another --out"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            (path / ".writable").touch()
            (path / ".writable").unlink()
    except OSError as error:
        raise InputError(
            f"{path}: asked for a directory that can be written, got: {error.strerror}; write another --out"
        ) from None
    return path
