"""Several processes, each with a part of the agents: the three operations by which they know of each other.

    sum(x)               the sum over all ranks, entry by entry
    total(x, shared)     the same of those entries alone that several ranks have, such as counts of a school's pupils
    exchange(x, halo)    what other ranks know of those whom the agents here meet, laid behind what is known here

They do nothing on one process. Each is linear and has its derivative: the transpose of `sum` is `sum`; `exchange` and
`total` are called inside maps whose transpose is known (`lpm.kernels.shadows.symmetric`). In reverse mode every rank
has a copy of the loss, and the loss differentiated is their mean; `replicated` brings the parts of a derivative
together.

How numbers travel is not known here. `connect` is given functions on numpy arrays, which `lpm.distributed` makes of
MPI: a compiled step calls them in the order of the program, which is the same on all ranks. Or it is given devices that
run one program: then numbers travel by JAX's collectives (`lpm.kernels.collectives`), and a rank is a device.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax._src import callback, effects  # there is no public way to keep messages in order
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from lpm.kernels import bits, collectives
from lpm.kernels.collectives import Devices


@dataclasses.dataclass(frozen=True, eq=False)
class Wire:
    """How this process reaches the others.

    Args:
        count: how many ranks there are.
        here: agents of this rank.
        agents: of all ranks.
        add: an array -> its sum over all ranks.
        swap: (an array whose last axis is what goes to each rank in turn, how much goes to each, how much comes from
            each) -> what came, along the last axis in the order of ranks.
        gather: (an array, how much comes from each) -> the arrays of all ranks along the last axis.
    """

    count: int
    here: int
    agents: int
    add: Callable[[np.ndarray], np.ndarray]
    swap: Callable[[np.ndarray, tuple[int, ...], tuple[int, ...]], np.ndarray]
    gather: Callable[[np.ndarray, tuple[int, ...]], np.ndarray]


_wire: Wire | Devices | None = None
_silent = False


def connect(wire: Wire | Devices | None) -> None:
    """Compile steps to work with the other ranks from now on, or with None alone; earlier compilations are lost."""
    global _wire
    if wire is not _wire:
        if isinstance(wire, Wire):
            _allow_in_checkpoints()
        _wire = wire
        jax.clear_caches()


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Within `with`, what is traced gets zeros from other ranks: for what is read of a step besides the agents."""
    global _silent
    before, _silent = _silent, True
    try:
        yield
    finally:
        _silent = before


def devices() -> Devices | None:
    """The devices that are connected, if it is them."""
    return _wire if isinstance(_wire, Devices) else None


def everyone(here: int) -> int:
    """The number of all agents, from the number of those on this rank.

    >>> everyone(10)
    10
    """
    if _wire is None:
        return here
    if here != _wire.here:
        raise ValueError(
            f"everyone: asked for the number of agents of this rank, {_wire.here:,}, got {here:,}; write "
            'state.fixed["id"].shape[0]'
        )
    return _wire.agents


def present(values: jax.Array, axis: int = 0) -> jax.Array:
    """Values of agents along an axis, 0 at places that stand for nobody: for sums that no function here makes.

    >>> present(jnp.ones(2))
    Array([1., 1.], dtype=float32)
    """
    return collectives.present(values, _wire, axis) if isinstance(_wire, Devices) else values


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Halo:
    """Those of other ranks whom agents here meet, and those of this rank whom agents elsewhere meet.

    Flags of the former are laid behind the packed flags of this rank; what comes from one rank begins with a new word.

    Args:
        send: (lanes,) int32, who is sent, 32 to a word, n for nobody; None if all agents are sent to all ranks.
        to: words that go to each rank, static; between devices, in each round (`lpm.kernels.collectives.passed`).
        from_: words that come from each rank, or in each round, static.
    """

    send: jax.Array | None
    to: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    from_: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @property
    def bytes(self) -> int:
        """Received in a step, for each set of flags."""
        return 4 * int(np.sum(self.from_))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Shared:
    """Which entries of a row of numbers other ranks have too; each has one rank that adds up all parts of it.

    Args:
        sent: (sent,) int32, entries here that other ranks add up, in the order of those ranks; between devices, of
            rounds, in which the number of entries stands for none.
        to: how many of them each rank adds up, or each round moves, static.
        kept: (kept,) int32, entries that this rank adds up, once for each rank that has a part, in the order of ranks,
            or of rounds.
        from_: how many parts come from each rank, or in each round, static.
    """

    sent: jax.Array
    to: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    kept: jax.Array
    from_: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @property
    def entries(self) -> int:
        """Received for one total: parts, and the totals of parts that were sent."""
        return int(np.sum(self.to) + np.sum(self.from_))


def sum(x: jax.Array) -> jax.Array:
    """The sum over all ranks of an array that each of them has: exact for integers.

    >>> sum(jnp.int32(3))
    Array(3, dtype=int32)
    """
    if _wire is None:
        return x
    if isinstance(_wire, Devices):
        return collectives.added(x)
    if jnp.issubdtype(x.dtype, jnp.floating):
        return lax.custom_linear_solve(lambda y: y, x, lambda _, y: _added(y), symmetric=True)
    return _added(x)


def replicated(params: Any) -> Any:
    """The same parameters on every rank, as the steps of one rank read them: derivatives of all ranks meet here."""
    wire = _wire
    if not isinstance(wire, Wire):  # a program of several devices is differentiated as a whole
        return params

    def one(x: Any) -> Any:
        if not jnp.issubdtype(jnp.result_type(x), jnp.floating):
            return x
        return lax.custom_linear_solve(
            lambda y: y, jnp.asarray(x), lambda _, y: y, transpose_solve=lambda _, y: _added(y) / wire.count
        )

    return jax.tree.map(one, params)


def anywhere(flag: jax.Array) -> jax.Array:
    """Whether a () bool holds on any device that runs this program: what it returns must be the same on all."""
    return collectives.added(flag.astype(jnp.int32)) > 0 if isinstance(_wire, Devices) else flag


def total(values: jax.Array, shared: Shared | None) -> jax.Array:
    """A row of sums of which other ranks have parts, made whole: exact for integers.

    Args:
        values: (entries,), any dtype.
        shared: see `Shared`; None if no other rank has a part.
    """
    wire = _wire
    if shared is None or wire is None or not shared.entries:
        return values
    if isinstance(wire, Devices):
        return _total_of_devices(values, shared, wire)
    to, from_ = shared.to, shared.from_

    def bring(sent: jax.Array, there: tuple[int, ...], here: tuple[int, ...]) -> jax.Array:
        return _called(lambda x: wire.swap(x, there, here), lambda shape: (*shape[:-1], int(np.sum(here))), sent)

    values = bits.settle(values)
    parts = bring(bits.taken(values, shared.sent), to, from_)
    values = bits.settle(values.at[shared.kept].add(parts, mode="promise_in_bounds"))
    totals = bring(bits.taken(values, shared.kept), from_, to)
    return bits.settle(values.at[shared.sent].set(totals, mode="promise_in_bounds", unique_indices=True))


def _total_of_devices(values: jax.Array, shared: Shared, devices: Devices) -> jax.Array:
    padded = bits.settle(jnp.pad(values, (0, 1)))  # rounds are filled up with the entry behind the last, 0
    parts = collectives.passed(bits.taken(padded, shared.sent), shared.to, devices)
    padded = bits.settle(padded.at[shared.kept].add(parts, mode="promise_in_bounds"))
    totals = bits.taken(padded, shared.kept)
    totals = collectives.passed(totals, shared.from_, devices, back=True)
    return bits.settle(padded.at[shared.sent].set(totals, mode="promise_in_bounds")[:-1])


def exchange_flags(words: jax.Array, halo: Halo | None) -> jax.Array:
    """Packed flags of this rank, and behind them those of its halo.

    Args:
        words: (words,) or (sets, words) uint32, several sets at once.
        halo: see `Halo`; None if nobody here meets anybody elsewhere.
    """
    if halo is None or _wire is None:
        return words
    sent = words
    if halo.send is not None:
        packed = [bits.pack(bits.lookup(one, halo.send).astype(jnp.uint8))[:-1] for one in jnp.atleast_2d(words)]
        sent = jnp.stack(packed) if words.ndim > 1 else packed[0]
    return bits.settle(jnp.concatenate([words, _travelled(sent, halo, 1)], axis=-1))


def exchange(values: jax.Array, halo: Halo | None) -> jax.Array:
    """Numbers of this rank's agents, and behind them those of its halo, where `exchange_flags` has their flags.

    Args:
        values: (n,), any dtype.
        halo: see `Halo`; None adds a 0 for nobody alone.
    """
    n = values.shape[0]
    if halo is None or _wire is None:
        return bits.settle(jnp.pad(values, (0, 1)))
    padded = bits.settle(jnp.pad(values, (0, 32 * bits.words_for(n) - n)))
    sent = padded if halo.send is None else bits.taken(padded, halo.send)
    return bits.settle(jnp.concatenate([padded, _travelled(sent, halo, 32)]))


def _added(x: jax.Array) -> jax.Array:
    wire = _wire
    assert isinstance(wire, Wire)
    return _called(lambda values: wire.add(values), lambda shape: shape, x)


def _travelled(x: jax.Array, halo: Halo, lanes: int) -> jax.Array:
    wire = _wire
    assert wire is not None
    if isinstance(wire, Devices):
        if halo.send is None:
            return collectives.gathered(x)
        return collectives.passed(x, tuple(lanes * width for width in halo.to), wire)
    to, come = (tuple(lanes * each for each in words) for words in (halo.to, halo.from_))

    def on_host(values: np.ndarray) -> np.ndarray:
        return wire.gather(values, come) if halo.send is None else wire.swap(values, to, come)

    return _called(on_host, lambda shape: (*shape[:-1], int(np.sum(come))), x)


def _called(
    function: Callable[[np.ndarray], np.ndarray], shape: Callable[[tuple[int, ...]], tuple[int, ...]], x: jax.Array
) -> jax.Array:
    """Call a function of numpy arrays in the order of the program, for several tangents at once if they are batched."""
    if _silent:
        return jnp.zeros(shape(x.shape), x.dtype)
    return message.bind(x, function=function, shape=shape)


# As `jax.experimental.io_callback(..., ordered=True)`, whose way over arrays on devices costs twenty times as much.
message = Primitive("message")


@message.def_effectful_abstract_eval
def _(
    x: Any, *, function: Callable[..., Any], shape: Callable[..., tuple[int, ...]]
) -> tuple[jax.core.ShapedArray, set[Any]]:
    return jax.core.ShapedArray(shape(x.shape), x.dtype), {callback._OrderedIOEffect}


def _batched(x: list[Any], axes: list[int], **how: Any) -> tuple[jax.Array, int]:
    return message.bind(jnp.moveaxis(x[0], axes[0], 0), **how), 0


def _lowered(context: Any, x: Any, *, function: Callable[..., Any], **_: Any) -> Any:
    order = callback._OrderedIOEffect
    found, token, _ = mlir.emit_python_callback(
        context,
        lambda values: (function(values),),
        context.tokens_in.get(order),
        [x],
        context.avals_in,
        context.avals_out,
        has_side_effect=True,
        returns_token=True,
    )
    context.set_tokens_out(context.tokens_in.update_tokens(mlir.TokenSet({order: token})))
    return found


batching.primitive_batchers[message] = _batched
mlir.register_lowering(message, _lowered, cacheable=False)


@functools.cache
def _allow_in_checkpoints() -> None:
    """Let `jax.checkpoint` do a step again that calls other ranks: all of them do it again, in the same order."""
    effects.remat_allowed_effects.add_type(callback.OrderedIOEffect)
