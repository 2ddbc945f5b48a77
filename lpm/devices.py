"""Several devices that simulate one world together, under one program: one for each process, or all of this one.

A process holds its part of the world as without devices (`lpm.partition`, `lpm.parts`); here the parts are brought to
the same shapes and become arrays that JAX knows to be spread over the devices. Between processes JAX's own runtime is
used, which MPI tells where to meet.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lpm import distributed, padding, partition
from lpm.distributed import Ranks
from lpm.errors import InputError
from lpm.fingerprints import is_network
from lpm.kernels import collectives
from lpm.kernels import ranks as kernel
from lpm.kernels.collectives import AXIS, Devices
from lpm.kernels.graph import Graph
from lpm.kernels.groups import Groups
from lpm.state import State
from lpm.world import World

ENGINES = ("mpi", "jax")
VARIABLE = "LPM_ENGINE"
SILENT = 100.0  # seconds after which a process of which nothing is heard is taken for lost


def engine(ranks: Ranks) -> str:
    """How ranks reach each other within steps: what LPM_ENGINE says, or "jax" on GPUs and "mpi" elsewhere.

    Raises:
        InputError: if it says anything else.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked and asked not in ENGINES:
        raise InputError(
            f"{VARIABLE}: asked for {' or '.join(ENGINES)}, got {asked!r}; write one of these, or unset it"
        )
    return asked or ("jax" if ranks.count > 1 and _has_gpus() else "mpi")


def _has_gpus() -> bool:
    """Whether JAX will find NVIDIA's, as far as can be told before it looks: after that no processes can join."""
    allowed = os.environ.get("JAX_PLATFORMS", "cuda")
    plugins = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    return plugins and Path("/dev/nvidiactl").exists() and ("cuda" in allowed or "gpu" in allowed)


def begin(ranks: Ranks) -> None:
    """Let the processes of all ranks join JAX's runtime, if that is the engine; before JAX computes anything.

    Raises:
        InputError: on all ranks, if JAX was used before.
    """
    if ranks.count == 1 or engine(ranks) != "jax" or jax.distributed.is_initialized():
        return
    nodes = ranks.all(socket.gethostname())
    host = "localhost" if len(set(nodes)) == 1 else nodes[0]
    address = ranks.first(lambda: f"{host}:{_free_port()}")
    neighbours = nodes[: ranks.rank].count(nodes[ranks.rank])  # ranks before this one on the same node

    def join() -> None:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is for `lpm.signals`
        try:
            jax.distributed.initialize(
                address,
                ranks.count,
                ranks.rank,
                local_device_ids=_own_gpu(neighbours),
                heartbeat_timeout_seconds=int(min(SILENT, distributed.patience())),
                shutdown_timeout_seconds=int(distributed.patience()),  # the first draws a picture at the end
            )
        except RuntimeError as error:
            raise InputError(
                f"{VARIABLE}=jax: asked for processes that join before JAX computes anything, got: {error}; begin the "
                "script with `from lpm import devices, distributed` and `devices.begin(distributed.ranks())`"
            ) from error

    ranks.each(join)
    with _unheard():
        ranks.each(_meet)


def _meet() -> None:
    """Let all devices add something up once: what connects them is set up here, or fails here."""
    devices = Devices(jax.sharding.Mesh(np.array(jax.devices()), (AXIS,)), (1,) * jax.device_count())
    one = collectives.everywhere(np.int32(1), devices)
    try:
        found = jax.jit(lambda x: collectives.over(devices, collectives.added, (x,), (-1,), lambda _: -1))(one)
        count = int(found)
    except jax.errors.JaxRuntimeError as error:
        raise InputError(
            f"{VARIABLE}=jax: asked for devices that reach each other, got: {error}; try {VARIABLE}=mpi"
        ) from error
    assert count == devices.count


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Within `with`, nothing is written to the terminal: gloo tells there how many it is connected to."""
    sys.stdout.flush()
    before, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(nowhere)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


def _own_gpu(number: int) -> list[int] | None:
    """Which GPU a process takes: the only one that it was given, or of those of the node the one with its number."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return [number] if _has_gpus() and (not given or "," in given) else None


@dataclasses.dataclass(frozen=True, eq=False)
class Spread:
    """A world spread over devices.

    Args:
        devices: all of them.
        own: those of this process, in their order.
        sources: for each of these, (places,) which agent of this process stands at each place.
        fixed: of the state, on the devices.
    """

    devices: Devices
    own: tuple[jax.Device, ...]
    sources: tuple[np.ndarray, ...]
    fixed: dict[str, Any]

    @functools.cached_property
    def places(self) -> np.ndarray:
        """Where the agents of this process stand, its devices' places being numbered in turn."""
        first = sum(device.process_index < self.own[0].process_index for device in self.devices.mesh.devices)
        counts = self.devices.counts[first : first + len(self.own)]
        each = zip(self.sources, counts, strict=True)
        found = np.empty(sum(counts), np.int64)
        for number, (source, count) in enumerate(each):
            found[source[:count]] = number * self.devices.here + np.arange(count)
        return found

    def told(self) -> list[str]:
        """In words: which devices, and what a step moves for each network."""
        devices, kind = self.devices, self.own[0].platform
        said = [f"{devices.count} devices ({kind}) under one program, places for {devices.here:,} agents on each"]
        for each in jax.tree.leaves(self.fixed, is_leaf=is_network):
            if isinstance(each, Graph) and each.halo is not None:
                if each.halo.send is None:
                    words, how = sum(each.halo.from_[1:]), "gathered"
                else:
                    words, how = sum(each.halo.to), f"halo, in {_rounds(each.halo.to)}"
                said.append(f"{how}: {4 * words:,} bytes a device and set of flags")
            if isinstance(each, Groups) and each.shared is not None:
                said.append(
                    f"groups, in {_rounds(each.shared.to)}: {4 * each.shared.entries:,} bytes a device and count"
                )
        return said

    def laid(self, leaf: Any, axis: int) -> jax.Array:
        """An array with an entry for each agent of this process along an axis, on the devices."""
        values = np.asarray(leaf)
        return _global([values.take(source, axis) for source in self.sources], axis, self.own, self.devices)

    def state(self, state: State, axis: int = 0) -> State:
        """A state of this process's agents, on the devices; its `fixed` are those of the spread."""
        here = len(self.places)

        def one(leaf: Any) -> Any:
            if np.ndim(leaf) > axis and np.shape(leaf)[axis] == here:
                return self.laid(leaf, axis)
            return collectives.everywhere(leaf, self.devices)

        agents = jax.tree.map(one, state.agents)
        rest = collectives.everywhere(dataclasses.replace(state, agents={}, fixed={}), self.devices)
        return dataclasses.replace(rest, agents=agents, fixed=self.fixed)

    def world(self, world: World) -> World:
        """The world as `lpm.simulate` takes it within `connected`."""
        params = collectives.everywhere(world.params, self.devices)
        return dataclasses.replace(world, params=params, state=self.state(world.state))

    def differing(self, seen: list[dict[str, jax.Array]]) -> list[str]:
        """Which observables are not the same on all devices of this process."""
        if len(self.own) == 1:
            return []
        found = []
        for name in seen[0]:
            first, *others = ([np.asarray(shard.data) for shard in each[name].addressable_shards] for each in seen)
            columns = zip(first, *others, strict=True)
            if len({b"".join(value.tobytes() for value in column) for column in columns}) > 1:
                found.append(name)
        return found

    def of_process(self, leaf: jax.Array, axis: int) -> Any:
        """Of an array with a row for each place along an axis, what this process's devices have, in their order."""
        if not isinstance(leaf.sharding, jax.sharding.NamedSharding) or AXIS not in leaf.sharding.spec:
            return leaf
        by_device = {shard.device: shard.data for shard in leaf.addressable_shards}
        parts = [by_device[device] for device in self.own]
        return parts[0] if len(parts) == 1 else np.concatenate(jax.device_get(parts), axis)


def _rounds(widths: tuple[int, ...]) -> str:
    count = sum(width > 0 for width in widths)
    return f"{count} round{'s' * (count != 1)}"


def _global(parts: list[np.ndarray], axis: int, own: tuple[jax.Device, ...], devices: Devices) -> jax.Array:
    shape = list(parts[0].shape)
    shape[axis] *= devices.count
    here = [jax.device_put(part, device) for part, device in zip(parts, own, strict=True)]
    return jax.make_array_from_single_device_arrays(tuple(shape), devices.sharding(axis), here)


def spread(world: World, ranks: Ranks, halo: bool | None = None) -> Spread | None:
    """A world spread over the devices of all ranks, or of this process; None if one process uses one device.

    Args:
        world: of several ranks, this one's part.
        ranks: who simulates it; their processes have joined (`begin`).
        halo: of the devices of one process, as for `lpm.partition.part`.

    Raises:
        InputError: if a rank has no device, or arrays differ that cannot be brought to the same shape.
    """
    if engine(ranks) != "jax":
        return None
    if ranks.count > 1:
        return _over_processes(world, ranks)
    own = tuple(jax.local_devices())
    if len(own) == 1:
        return None
    blocks = partition.blocks(world, 0, len(own), even=True)
    parts = parts_of(world, len(own), halo)
    agents = [np.flatnonzero(blocks.owner == number) for number in range(len(own))]
    return _spread(parts, agents, own, own, padding.Parts(tuple(map(len, agents)), 0, lambda values: values))


def _over_processes(world: World, ranks: Ranks) -> Spread:
    begin(ranks)
    own = ranks.all([device.id for device in jax.local_devices()])
    if any(len(each) != 1 for each in own):
        got = ", ".join(str(len(each)) for each in own)
        raise InputError(
            f"{VARIABLE}=jax: asked for one device for each rank, got {got}; give each its own GPU, as "
            "`srun --gpus-per-task=1` does, and leave --xla_force_host_platform_device_count out of XLA_FLAGS"
        )
    by_process = {device.process_index: device for device in jax.devices()}
    every = tuple(by_process[rank] for rank in range(ranks.count))
    parts = padding.Parts(tuple(ranks.all(world.here)), ranks.rank, lambda values: ranks.all(values[0]))
    return _spread([world], [np.arange(world.here)], every, (every[ranks.rank],), parts)


def parts_of(world: World, count: int, halo: bool | None = None) -> list[World]:
    """All parts of a world, made by one process.

    Args:
        world: the whole.
        count: how many.
        halo: see `lpm.partition.part`.
    """
    noted: list[list[np.ndarray]] = [[] for _ in range(count)]

    def note(rank: int, values: np.ndarray) -> np.ndarray:
        noted[rank].append(values)
        return values

    for rank in range(count):
        partition.part(world, rank, count, functools.partial(note, rank), halo=False, even=True)
    sums = [np.sum(each, axis=0) for each in zip(*noted, strict=True)]

    def known() -> Any:
        found = iter(sums)
        return lambda _: next(found)

    return [partition.part(world, rank, count, known(), halo, even=True) for rank in range(count)]


def _spread(
    worlds: list[World],
    agents: list[np.ndarray],
    every: tuple[jax.Device, ...],
    own: tuple[jax.Device, ...],
    parts: padding.Parts,
) -> Spread:
    devices = Devices(jax.sharding.Mesh(np.array(every), (AXIS,)), parts.counts)
    fixed = padding.alike([world.state.fixed for world in worlds], parts)
    found = [jax.tree_util.tree_flatten_with_path(each) for each in fixed]
    _same(found, parts)
    columns = zip(*([leaf for _, leaf in leaves] for leaves, _ in found), strict=True)
    laid = [
        _global([np.asarray(leaf) for leaf in each], 0, own, devices)
        if np.ndim(each[0])
        else collectives.everywhere(each[0], devices)
        for each in columns
    ]
    sources = tuple(padding.places_filled(each, parts.here) for each in agents)
    return Spread(devices, own, sources, jax.tree.unflatten(found[0][1], laid))


def _same(found: list[Any], parts: padding.Parts) -> None:
    """Raise on all ranks if arrays do not have the same shape on all devices."""
    said = parts.all(
        [
            [(jax.tree_util.keystr(path), np.shape(leaf), np.asarray(leaf).dtype.name) for path, leaf in leaves]
            + [("what is static", str(tree), "")]
            for leaves, tree in found
        ]
    )
    for each in zip(*said, strict=True):
        if len(set(each)) > 1:
            raise InputError(
                f"devices: asked for the same shape of fixed{each[0][0]} on all of them, got "
                f"{' and '.join(dict.fromkeys(f'{shape} {dtype}'.strip() for _, shape, dtype in each))}; "
                f"write {VARIABLE}=mpi"
            )


@contextlib.contextmanager
def connected(spread: Spread | None, ranks: Ranks, world: World) -> Iterator[None]:
    """Within `with`, steps are compiled to work with the other devices, or ranks."""
    if spread is None:
        with distributed.connected(ranks, world.here, world.agents):
            yield
        return
    kernel.connect(spread.devices)
    try:
        yield
    finally:
        kernel.connect(None)
