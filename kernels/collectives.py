"""Several devices, each with a part of the agents, under one program: the operations of `lpm.kernels.ranks` as JAX's
own collectives (NCCL between GPUs, gloo or memory between CPUs).

All devices run the same program on arrays of the same shape, so what one of them has less of is padded
(`lpm.devices`): agents by copies of its last one, whom nobody meets and nobody counts, tables by entries that say
"nobody". What goes from device to device goes in rounds: in round k each tells the one that is k places further on, and
a round is as wide as its widest message.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "ranks"


@dataclasses.dataclass(frozen=True, eq=False)
class Devices:
    """The devices that have the agents among them.

    Args:
        mesh: of one axis, `AXIS`.
        counts: agents of each device.
    """

    mesh: Mesh
    counts: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many devices there are."""
        return len(self.counts)

    @property
    def here(self) -> int:
        """Places for agents that each has: as many as the one with the most agents."""
        return max(self.counts)

    @property
    def agents(self) -> int:
        """Of all devices."""
        return sum(self.counts)

    def sharding(self, axis: int | None) -> NamedSharding:
        """Of an array whose parts lie end to end along an axis; with None, of one that is the same everywhere."""
        return NamedSharding(self.mesh, _spec(axis))


def added(x: jax.Array) -> jax.Array:
    """The sum over all devices; its transpose is itself."""
    return lax.psum(x, AXIS)


@functools.partial(jax.jit, static_argnums=(1, 2))  # by its name it is known in a program's text (`lpm.sums`)
def present(values: jax.Array, devices: Devices, axis: int = 0) -> jax.Array:
    """Values of agents along an axis with 0 at the places that only fill this device's rows up."""
    if min(devices.counts) == devices.here:
        return values
    count = jnp.array(devices.counts, jnp.int32)[lax.axis_index(AXIS)]
    place = lax.broadcasted_iota(jnp.int32, values.shape, axis)
    return jnp.where(place < count, values, jnp.zeros((), values.dtype))


def gathered(x: jax.Array) -> jax.Array:
    """What all devices have, one after the other along the last axis."""
    return lax.all_gather(x, AXIS, axis=x.ndim - 1, tiled=True)


def passed(x: jax.Array, widths: tuple[int, ...], devices: Devices, back: bool = False) -> jax.Array:
    """What goes from device to device in rounds 1, 2, ...

    Args:
        x: last axis: what this device sends in each round in turn.
        widths: of the rounds, the same for all devices.
        devices: among which.
        back: whether it goes the way back, k places down in round k.

    Returns:
        the same shape: what came in each round.
    """
    count, came, begin = devices.count, [], 0
    for distance, width in enumerate(widths, start=1):
        if width:
            step = -distance if back else distance
            pairs = [(rank, (rank + step) % count) for rank in range(count)]
            came.append(lax.ppermute(x[..., begin : begin + width], AXIS, pairs))
        begin += width
    return jnp.concatenate(came, axis=-1) if came else x


def over(
    devices: Devices, function: Callable[..., Any], args: tuple[Any, ...], axes: tuple[Any, ...], where: Any
) -> Any:
    """Call a function on every device with its part of the arguments.

    Args:
        devices: on which.
        function: of the parts; called once, as it is traced.
        args: pytrees of arrays.
        axes: for each argument, a pytree with, for each array, the axis along which parts lie end to end, or -1 if
            every device has the same.
        where: function's result -> such a pytree for it.
    """
    tree: Any = None
    places: list[int] = []

    def body(*parts: Any) -> dict[int, list[jax.Array]]:
        nonlocal tree, places
        found = function(*parts)
        leaves, tree = jax.tree.flatten(found)
        places = jax.tree.leaves(where(found))
        return {axis: [leaf for leaf, at in zip(leaves, places, strict=True) if at == axis] for axis in (-1, 0, 1)}

    specs = tuple(jax.tree.map(lambda axis: _spec(None if axis < 0 else axis), each) for each in axes)
    outs = {-1: _spec(None), 0: _spec(0), 1: _spec(1)}
    mapped = jax.shard_map(body, mesh=devices.mesh, in_specs=specs, out_specs=outs, check_vma=False)
    found = {axis: iter(leaves) for axis, leaves in mapped(*args).items()}
    return jax.tree.unflatten(tree, [next(found[axis]) for axis in places])


def _spec(axis: int | None) -> PartitionSpec:
    return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, AXIS)


def everywhere(tree: Any, devices: Devices) -> Any:
    """The same numbers on all devices."""

    def one(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            return jax.make_array_from_callback(
                value.shape, devices.sharding(None), lambda index: np.asarray(value)[index]
            )
        return value

    return jax.tree.map(one, of_no_device(tree))


def of_no_device(tree: Any) -> Any:
    """Numbers of this process as they go into a program of all devices; what is there, or traced, stays as it is."""

    def one(x: Any) -> Any:
        there = isinstance(x, jax.core.Tracer) or (isinstance(x, jax.Array) and not x.is_fully_addressable)
        return x if there else np.asarray(x)

    return jax.tree.map(one, tree)
