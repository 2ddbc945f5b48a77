"""The course of a disease (a job search, an education): stages that last a while and lead to one of two next stages.

A stage is a chain of phases, each left with a constant probability (`hazards.phases`), so that an agent's whole
condition is one small integer: 0 for those who have not begun, then the phases of each stage in turn, then the final
stages.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from lpm.kernels import bits, mean_field, random, score, shadows
from lpm.kernels.bits import settle
from lpm.kernels.hazards import phase_probability
from lpm.kernels.shadows import Rows, Shadow
from lpm.kernels.stages import Indicator, Stages, among, plain


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a course.

    Args:
        name: for people and for `Course.kinds`.
        phases: how many phases it has; 0 for a stage that is never left.
        leads_to: names of the one or two stages that follow; the first is taken with the probability given to
            `progress`.
    """

    name: str
    phases: int = 0
    leads_to: tuple[str, ...] = ()


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Course:
    """Stages in the order of their numbers, the first being where an agent waits for an event of another substep.

    It holds no arrays: in a pytree (`State.fixed`) it is a static node, and a different course compiles anew.

    >>> course = Course((Stage("susceptible"), Stage("exposed", 2, ("infectious",)),
    ...                  Stage("infectious", 1, ("recovered",)), Stage("recovered")))
    >>> course.kinds("exposed"), course.first("recovered"), course.size
    ((1, 2), 4, 5)
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        for stage in self.stages:
            wrong = [name for name in stage.leads_to if name not in names]
            if wrong or (stage.phases > 0) != (len(stage.leads_to) > 0) or len(stage.leads_to) > 2:
                raise ValueError(
                    f"stage {stage.name!r}: asked for one or two following stages out of {names} if it has phases, and "
                    f"none if it has no phases, got {stage.leads_to} with {stage.phases} phases"
                )
        if len(set(names)) < len(names) or self.size > 255:
            raise ValueError(
                "a course: asked for stages of different names with at most 255 phases, "
                f"got {names}, {self.size} phases"
            )

    @functools.cached_property
    def _firsts(self) -> dict[str, int]:
        firsts, number = {}, 0
        for stage in self.stages:
            firsts[stage.name] = number
            number += max(1, stage.phases)
        return firsts

    @property
    def size(self) -> int:
        """How many numbers the course uses."""
        return sum(max(1, stage.phases) for stage in self.stages)

    @property
    def passing(self) -> tuple[Stage, ...]:
        """The stages that are left in time."""
        return tuple(stage for stage in self.stages if stage.phases)

    @property
    def forks(self) -> tuple[Stage, ...]:
        """The stages that lead to one of two others."""
        return tuple(stage for stage in self.stages if len(stage.leads_to) == 2)

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        return next(stage for stage in self.stages if stage.name == name)

    def first(self, name: str) -> int:
        """The number of a stage's first phase."""
        return self._firsts[name]

    def last(self, name: str) -> int:
        """The number of a stage's last phase."""
        return self.kinds(name)[-1]

    def kinds(self, *names: str) -> tuple[int, ...]:
        """The numbers of all phases of the stages named."""
        return tuple(
            self._firsts[stage.name] + phase
            for stage in self.stages
            if stage.name in names
            for phase in range(max(1, stage.phases))
        )


def leave_probabilities(course: Course, mean: dict[str, jax.Array]) -> jax.Array:
    """The probability of leaving a phase in a step, for `progress`: phases / mean of each passing stage.

    Args:
        course: static.
        mean: () float32 for each passing stage, mean dwell time in steps.

    Returns:
        (passing stages,) float32.
    """
    return jnp.stack([phase_probability(mean[stage.name], stage.phases) for stage in course.passing])


def progress(
    stages: Stages,
    words: tuple[jax.Array, jax.Array],
    leave: jax.Array,
    fork: jax.Array | None,
    course: Course,
    band: jax.Array | None = None,
) -> Stages:
    """One step of everybody's course: phases are left with their probabilities, forks are drawn.

    Args:
        stages: where each agent is; numbers as in `course`.
        words: two (n,) uint32, from `random.words`: the first decides whether a phase is left, the second a fork.
        leave: (passing stages,) float32, the probability of leaving a phase in a step, in the order of
            `course.passing`.
        fork: (forks, bands) float32, the probability of the first of two following stages, in the order of
            `course.forks`; None if there are none.
        course: static.
        band: (n,) uint8, the column of `fork` for each agent (age band); None if there is one column.

    Returns:
        the stages after the step.
    """
    leave_limits = random.threshold(leave)
    fork_limits = None if fork is None else settle(random.threshold(fork))

    def decided(part: slice) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        own_band = None if band is None else band[part]
        own_words = (words[0][part], words[1][part])
        return _decided(stages.value[part], own_words, own_band, leave_limits, fork_limits, course)

    after = bits.evenly(lambda part: decided(part)[0], stages.value.shape[0])
    if stages.shadow is None:
        return dataclasses.replace(stages, value=after)
    _, leaves, takes_first = decided(slice(None))
    drawn = _Drawn(stages.value, settle(leaves), None if takes_first is None else settle(takes_first), *words, band)
    return dataclasses.replace(stages, value=after, shadow=_progressed(stages.shadow, drawn, leave, fork, course))


def _decided(
    value: jax.Array,
    words: tuple[jax.Array, jax.Array],
    band: jax.Array | None,
    leave_limits: jax.Array,
    fork_limits: jax.Array | None,
    course: Course,
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Of some agents: the number after the step, who leaves, and who takes the first way of a fork."""
    limit = jnp.zeros(value.shape, jnp.uint32)
    # Numbers grow along the course, so one comparison a stage selects; a gather from a small table costs more on a CPU.
    own_limits = iter(leave_limits)
    for stage in course.stages:
        own = next(own_limits) if stage.phases else jnp.uint32(0)
        if stage is not course.stages[0] or stage.phases:
            limit = jnp.where(value >= course.first(stage.name), own, limit)
    leaves = random.happens(words[0], limit)

    target = value + jnp.uint8(1)
    for stage in course.passing:
        target = jnp.where(value == course.last(stage.name), jnp.uint8(course.first(stage.leads_to[0])), target)
    takes_first = None
    if fork_limits is not None:
        second, row = target, jnp.zeros(value.shape, jnp.uint8)
        for number, stage in enumerate(course.forks):
            here = value == course.last(stage.name)
            second = jnp.where(here, jnp.uint8(course.first(stage.leads_to[1])), second)
            row = jnp.where(here, jnp.uint8(number), row)
        index = row.astype(jnp.int32) * fork_limits.shape[1] + (0 if band is None else band.astype(jnp.int32))
        takes_first = random.happens(words[1], bits.taken(fork_limits.reshape(-1), index))
        target = jnp.where(takes_first == 1, target, second)
    return jnp.where(leaves == 1, target, value), leaves, takes_first


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Drawn:
    """What was drawn for each agent: (n,) uint8 or uint32."""

    value: jax.Array
    leaves: jax.Array
    takes_first: jax.Array | None
    leave_word: jax.Array
    fork_word: jax.Array
    band: jax.Array | None


def _progressed(shadow: Shadow, drawn: _Drawn, leave: jax.Array, fork: jax.Array | None, course: Course) -> Shadow:
    """The shadow after a step of the course."""
    if shadow.rule == "mean_field":
        mass, arrivals = _in_expectation(shadow.mass, drawn.band, leave, fork, course)
        return dataclasses.replace(shadow, mass=mass, arrivals=arrivals)
    if shadow.rule == "score":
        return dataclasses.replace(shadow, mass=(shadow.mass[0] + _score(drawn, leave, fork, course),), arrivals=())
    nothing = tuple(jnp.zeros_like(shadow.mass[0]) for _ in course.stages)
    rule, infecting = shadow.rule, shadow.infecting

    def tangent(constants: Any, before: Any, inputs: Any) -> Any:
        drawn, leave, fork = constants
        layers, _ = before
        moves = [
            _moves(stage, s, drawn, (leave, fork), inputs, course, rule, infecting)
            for s, stage in enumerate(course.passing)
        ]
        seen = shadows.beside(drawn.value, shadow.channels)
        found = [_carry(rows, stage, moves, course, fresh) for rows, (stage, fresh) in zip(layers, seen, strict=True)]
        return tuple(rows for rows, _ in found), found[0][1]

    (mass, *outgoing), arrivals = shadows.carried(tangent)(
        ((shadow.mass, *shadow.outgoing), nothing), (leave, fork), (drawn, leave, fork)
    )
    return dataclasses.replace(
        shadow,
        mass=mass,
        outgoing=tuple(outgoing),
        course=_typically(shadow.course, leave, fork, course),
        arrivals=arrivals,
        since=(*shadow.since, None),
        moves=shadow.moves | _moves_of(course),
    )


def _moves_of(course: Course) -> frozenset[tuple[int, int]]:
    within = {(k, k + 1) for stage in course.passing for k in course.kinds(stage.name)[:-1]}
    onward = {(course.last(stage.name), course.first(name)) for stage in course.passing for name in stage.leads_to}
    return frozenset(within | onward)


def _typically(typical: shadows.Typical, leave: jax.Array, fork: jax.Array | None, course: Course) -> shadows.Typical:
    """How often stages are entered and how soon they are left, by agents of all bands alike."""
    enters, leaves = typical.enters, typical.leaves
    for s, stage in enumerate(course.passing):
        for k in course.kinds(stage.name):
            leaves = leaves.at[k].set(leave[s])
        for k in course.kinds(stage.name)[:-1]:
            enters = enters.at[k + 1].set(enters[k])
    into: dict[str, jax.Array] = {}
    for stage in course.passing:
        first = jnp.float32(1) if fork is None or len(stage.leads_to) == 1 else fork[course.forks.index(stage)].mean()
        for name, part in zip(stage.leads_to, (first, 1 - first), strict=False):
            into[name] = into.get(name, jnp.float32(0)) + part * enters[course.last(stage.name)]
    for name, amount in into.items():
        enters = enters.at[course.first(name)].set(amount)
    return jax.lax.stop_gradient(shadows.Typical(enters, leaves))


@dataclasses.dataclass(frozen=True)
class _Move:
    """How a stage is left, with the agent's own events and for ghosts.

    Args:
        stage: which.
        leaves: (n,) bool, the agent's own event.
        chance: () float32, for ghosts.
        d_chance: (n,) float32, weighted; of agents whose own stage it is.
        first: (n,) float32, the probability of the first following stage, or None if there is one.
        took_first: (n,) float32, whether the agent itself took it.
        d_first: (n,) float32, weighted.
    """

    stage: Stage
    leaves: jax.Array
    chance: jax.Array
    d_chance: jax.Array
    first: jax.Array | None = None
    took_first: jax.Array | None = None
    d_first: jax.Array | None = None


def _moves(
    stage: Stage,
    number: int,
    drawn: _Drawn,
    chances: Any,
    tangents: Any,
    course: Course,
    rule: str,
    infecting: frozenset[int],
) -> _Move:
    leave, fork = chances
    infects = course.first(stage.name) in infecting
    weight = shadows.coupling(rule, drawn.leaves, leave[number], drawn.leave_word, infects)
    move = _Move(stage, drawn.leaves == 1, leave[number], weight * tangents[0][number])
    if len(stage.leads_to) == 1 or drawn.takes_first is None:
        return move
    row = course.forks.index(stage)
    first = shadows.by_band(fork[row], drawn.band, drawn.value.shape)
    d_first = shadows.by_band(tangents[1][row], drawn.band, drawn.value.shape)
    weight = shadows.coupling(rule, drawn.takes_first, first, drawn.fork_word)
    return dataclasses.replace(
        move, first=first, took_first=drawn.takes_first.astype(jnp.float32), d_first=weight * d_first
    )


def _carry(rows: Any, value: jax.Array, moves: list[_Move], course: Course, fresh: bool) -> tuple[Any, Rows]:
    """Rows after a step, and what arrived in each stage; `fresh` if what parameters change of the chances comes in."""
    after, arrived = list(rows), [jnp.zeros(value.shape, jnp.float32) for _ in course.stages]
    names = [stage.name for stage in course.stages]

    def arrive(name: str, amount: jax.Array) -> None:
        if after[course.first(name)] is not None:
            after[course.first(name)] = after[course.first(name)] + amount
        arrived[names.index(name)] = arrived[names.index(name)] + amount

    for move in moves:
        for k in course.kinds(move.stage.name):
            if rows[k] is None:
                continue
            own = value == k
            leaving = jnp.where(
                own, jnp.where(move.leaves, rows[k], 0) + (move.d_chance if fresh else 0), move.chance * rows[k]
            )
            after[k] = after[k] - leaving
            if k != course.last(move.stage.name):
                after[k + 1] = None if after[k + 1] is None else after[k + 1] + leaving
            elif move.first is None or move.took_first is None or move.d_first is None:
                arrive(move.stage.leads_to[0], leaving)
            else:
                left = own & move.leaves
                first = leaving * jnp.where(left, move.took_first, move.first) + (
                    jnp.where(left, move.d_first, 0) if fresh else 0
                )
                arrive(move.stage.leads_to[0], first)
                arrive(move.stage.leads_to[1], leaving - first)
    return tuple(after), tuple(arrived)


def _in_expectation(
    mass: Rows, band: jax.Array | None, leave: jax.Array, fork: jax.Array | None, course: Course
) -> tuple[Rows, Rows]:
    """Probabilities of the stages after a step, and of having come into each (`lpm.kernels.mean_field`)."""
    moves = []
    for number, stage in enumerate(course.passing):
        first = None
        if fork is not None and len(stage.leads_to) == 2:
            first = shadows.by_band(fork[course.forks.index(stage)], band, mass[0].shape)
        targets = tuple(course.first(name) for name in stage.leads_to)
        moves.append((course.kinds(stage.name), targets, leave[number], first))
    after, arrived = mean_field.progressed(mass, moves)
    nothing = jnp.zeros_like(mass[0])
    return after, tuple(arrived.get(course.first(stage.name), nothing) for stage in course.stages)


def _score(drawn: _Drawn, leave: jax.Array, fork: jax.Array | None, course: Course) -> jax.Array:
    """The logarithm of the probability of what was drawn (`lpm.kernels.score`)."""
    total = jnp.zeros((), jnp.float32)
    for number, stage in enumerate(course.passing):
        kinds = course.kinds(stage.name)
        here = (drawn.value >= kinds[0]) & (drawn.value <= kinds[-1])
        total = total + score.of_events(here, drawn.leaves, leave[number])
        if fork is not None and drawn.takes_first is not None and len(stage.leads_to) == 2:
            leaves = (drawn.value == kinds[-1]) & (drawn.leaves == 1)
            chance = shadows.by_band(fork[course.forks.index(stage)], drawn.band, drawn.value.shape)
            total = total + score.of_events(leaves, drawn.takes_first, chance)
    return total


def entered(before: Stages, after: Stages, course: Course, name: str) -> Indicator:
    """Who came into a stage between two moments."""
    kinds = course.kinds(name)
    value = among(plain(after), *kinds).value & ~among(plain(before), *kinds).value & jnp.uint8(1)
    if after.shadow is None:
        return Indicator(value)
    if after.shadow.arrivals is None:
        raise ValueError(
            f"entered: the derivative of having come into {name!r} is known after `progress` and before any other move"
        )
    at = course.stages.index(course.stage(name))
    rows = after.shadow.arrivals[at : at + 1]
    return Indicator(
        value,
        shadows.Flow(
            after.value,
            rows,
            (),
            None,
            None,
            (course.first(name),),
            (),
            after.shadow.infecting,
            after.shadow.rule,
            event=True,
        ),
    )
