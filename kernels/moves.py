"""Events and moves between stages, and how their derivatives go on.

Several events of a step may be found of the same agents' stages, the *morning*'s, and their moves made one after the
other:

    infected = infections(words, today, ...)
    recovered = event(word, chance, among(today, INFECTIOUS))
    tomorrow = move(move(today, recovered, RECOVERED), infected, INFECTIOUS)

As all of them happen at once, the order of the moves must not matter. For an infection that takes care: it uses up the
contacts of all who infected in the morning, of those too who recover that day. So the ghosts' outgoing shares
(`lpm.kernels.ghosts`) are used up first and moved then: a move made earlier is made again from what was left of the
morning's (`Flow.spent`), and one made later starts there.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lpm.kernels import bits, mean_field, score
from lpm.kernels.shadows import (
    Flow,
    Shadow,
    SomeRows,
    Typical,
    beside,
    carried,
    coupling,
    mean_of,
    widened,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Draw:
    """What was drawn for an event.

    Args:
        word: (n,) uint32, the draw.
        happens: (n,) uint8, whether it would happen to the agent in the stages in which it can.
        chance: () or (n,) float32, its probability, with its derivative.
        rule: see `shadows.RULES`; static.
    """

    word: jax.Array
    happens: jax.Array
    chance: jax.Array
    rule: str = dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Move:
    """A move that was made.

    Args:
        flow: of its event, or None.
        target: a stage, static.
    """

    flow: Flow | None
    target: int = dataclasses.field(metadata={"static": True})


def of_event(flow: Flow, word: jax.Array, happens: jax.Array, chance: jax.Array) -> Flow:
    """The derivative of an event with the given chance, possible in the stages of `flow`.

    leaving_k = mass_k (event drawn if k is the agent's own stage, else chance) + [k is its own stage] weight d chance

    Args:
        flow: of the stages in which it is possible.
        word: (n,) uint32, the draw.
        happens: (n,) uint8, whether it would happen to the agent in these stages.
        chance: () or (n,) float32, its probability.
    """
    rule, happens = flow.rule, bits.settle(happens)
    flow = dataclasses.replace(flow, leaving=lax.stop_gradient(mean_of(chance)), event=True)
    if rule == "mean_field":
        return dataclasses.replace(flow, mass=tuple(chance * row for row in flow.mass))
    if rule == "score":
        own = (flow.value[None] == jnp.array(flow.kinds, flow.value.dtype)[:, None]).any(0)
        return dataclasses.replace(flow, outgoing=((score.of_events(own, happens, chance),),))

    draw = Draw(word, happens, chance, rule)
    mass, *outgoing = _leaving((flow.mass, *flow.outgoing), draw, flow, beside(flow.value, flow.channels))
    return dataclasses.replace(flow, mass=mass, outgoing=tuple(outgoing), draw=draw)


def _leaving(layers: tuple[SomeRows, ...], draw: Draw, flow: Flow, seen: list[tuple[jax.Array, bool]]) -> Any:
    """What of some rows leaves by an event.

    Args:
        layers: the mass or channels, of each the rows of the stages of `flow`.
        draw: what was drawn.
        flow: where it is possible.
        seen: of each layer, see `shadows.beside`.
    """
    kinds, infecting, rule = flow.kinds, flow.infecting, draw.rule
    roots = tuple(root for _, root in seen)

    def tangent(constants: Any, layers: Any, inputs: Any) -> Any:
        values, draw = constants
        weights = {
            infects: coupling(rule, draw.happens, draw.chance, draw.word, infects)
            for infects in {k in infecting for k in kinds}
        }
        drawn = draw.happens.astype(jnp.float32)

        def leaving(k: Any, row: Any, stage: Any, root: bool) -> Any:
            if row is None:
                return None
            own = stage == k
            fresh = weights[k in infecting] * inputs[0] if root else 0
            return jnp.where(own, drawn * row + fresh, draw.chance * row)

        return tuple(
            tuple(leaving(k, row, stage, root) for k, row in zip(kinds, rows, strict=True))
            for rows, stage, root in zip(layers, values, roots, strict=True)
        )

    return carried(tangent)(layers, (draw.chance,), (tuple(stage for stage, _ in seen), draw))


def moved(shadow: Shadow, flow: Flow | None, event: jax.Array, target: int) -> Shadow:
    """The shadow after those who have an event went to a target stage.

    Args:
        shadow: before.
        flow: of the event; None for one that depends on no parameter: then all that an agent might be goes along.
        event: (n,) uint8.
        target: a stage.
    """
    if shadow.rule in ("mean_field", "score"):
        return _moved_without_ghosts(shadow, flow, event, target)
    this = Move(flow, target)
    since = (*shadow.since, this)
    if flow is None:
        mass, *rest = _without((shadow.mass, *shadow.outgoing), event)
        moves = shadow.moves | {(k, target) for k in range(len(shadow.mass))}
        return dataclasses.replace(
            shadow, mass=mass, outgoing=tuple(rest), arrivals=None, since=since, moves=frozenset(moves)
        )
    shadow = widened(shadow, flow)
    layers = (shadow.mass, *_used_up(shadow, flow))
    mass, *rest = _shifted(layers, (flow.mass, *_of_what_was_left(shadow, this, flow)), flow.kinds, target)
    course = _typically_moved(shadow.course, flow, target)
    moves = shadow.moves | {(k, target) for k in flow.kinds}
    return dataclasses.replace(
        shadow, mass=mass, outgoing=tuple(rest), course=course, arrivals=None, since=since, moves=moves
    )


def _used_up(shadow: Shadow, flow: Flow) -> tuple[SomeRows, ...]:
    """Outgoing shares before a move, used up by it if it is of an infection."""
    if flow.used is None or flow.spent is None:
        return shadow.outgoing
    earlier = shadow.since[flow.after :]
    if not all(_can_start_from(flow, move) for move in earlier):
        return flow.used.apply(shadow.outgoing, flow.value)
    rows = flow.spent
    for move in earlier:
        rows = _shifted(rows, _left_by(move.flow, flow.spent), move.flow.kinds, move.target)
    return rows


def _can_start_from(infection: Flow, move: Move | None) -> bool:
    """Whether a move was by an event that was found in the same morning as an infection."""
    if move is None or move.flow is None or move.flow.draw is None or infection.spent is None:
        return False
    return (move.flow.after, move.flow.channels) == (infection.after, infection.channels)


def _of_what_was_left(shadow: Shadow, this: Move, flow: Flow) -> tuple[SomeRows, ...]:
    """What of outgoing shares leaves by an event, of what an infection found in the same morning has left of them."""
    for earlier in shadow.since[flow.after :]:
        if earlier is not None and earlier.flow is not None and _can_start_from(earlier.flow, this):
            return _left_by(flow, earlier.flow.spent)
    return flow.outgoing


def _left_by(flow: Flow, spent: tuple[SomeRows, ...] | None) -> tuple[SomeRows, ...]:
    assert spent is not None
    rows = tuple(tuple(each[k] for k in flow.kinds) for each in spent)
    return _leaving(rows, flow.draw, flow, beside(flow.value, flow.channels)[1:])


def _without(layers: tuple[SomeRows, ...], event: jax.Array) -> Any:
    """Rows of those who did not have an event; of those who had, all that they might have been goes along."""
    keep = carried(lambda event, rows, _: jax.tree.map(lambda row: jnp.where(event == 1, 0, row), rows))
    return keep(layers, (), event)


def _shifted(layers: Any, leaving: Any, kinds: tuple[int, ...], target: int) -> Any:
    def tangent(_: Any, layers: Any, leaving: Any) -> Any:
        return tuple(_shift(stock, out, kinds, target) for stock, out in zip(layers, leaving, strict=True))

    return carried(tangent)(layers, leaving, ())


def _moved_without_ghosts(shadow: Shadow, flow: Flow | None, event: jax.Array, target: int) -> Shadow:
    if shadow.rule == "score":
        more = () if flow is None else (row for rows in flow.outgoing for row in rows if row is not None)
        return dataclasses.replace(shadow, mass=(sum(more, start=shadow.mass[0]),), arrivals=None)
    if flow is None:
        return dataclasses.replace(shadow, mass=mean_field.sent(shadow.mass, event, target), arrivals=None)
    return dataclasses.replace(shadow, mass=_shift(shadow.mass, flow.mass, flow.kinds, target), arrivals=None)


def _typically_moved(course: Typical, flow: Flow, target: int) -> Typical:
    if flow.leaving is None:
        return dataclasses.replace(course, enters=course.enters.at[target].set(1))
    kinds = np.array(flow.kinds)
    enters = course.enters.at[target].max(course.enters[kinds].sum() * flow.share)
    return Typical(enters, course.leaves.at[kinds].set(flow.leaving))


def _shift(rows: Any, leaving: Any, kinds: tuple[int, ...], target: int) -> Any:
    new = list(rows)
    for k, row in zip(kinds, leaving, strict=True):
        if k != target and row is not None:
            new[k] = None if new[k] is None else new[k] - row
            new[target] = None if new[target] is None else new[target] + row
    return tuple(new)
