"""The course of a disease (a job search, an education): stages that last a while and lead to one of two next stages.

A stage is a chain of phases, each left with a constant probability (`hazards.phases`), so that an agent's whole condition is one
small integer: 0 for those who have not begun, then the phases of each stage in turn, then the final stages.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from lpm.kernels import random
from lpm.kernels.bits import settle
from lpm.kernels.hazards import phase_probability
from lpm.kernels.stages import Indicator, Stages, among


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a course.

    Args:
        name: for people and for `Course.kinds`.
        phases: how many phases it has; 0 for a stage that is never left.
        leads_to: names of the one or two stages that follow; the first is taken with the probability given to `progress`.
    """

    name: str
    phases: int = 0
    leads_to: tuple[str, ...] = ()


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Course:
    """Stages in the order of their numbers, the first being the one in which an agent waits for an event of another substep.

    It holds no arrays: in a pytree (`State.fixed`) it is a static node, and a different course compiles anew.

    >>> course = Course((Stage("susceptible"), Stage("exposed", 2, ("infectious",)), Stage("infectious", 1, ("recovered",)),
    ...                  Stage("recovered")))
    >>> course.kinds("exposed"), course.first("recovered"), course.size
    ((1, 2), 4, 5)
    """

    stages: tuple[Stage, ...]

    def __post_init__(self):
        names = [stage.name for stage in self.stages]
        for stage in self.stages:
            wrong = [name for name in stage.leads_to if name not in names]
            if wrong or (stage.phases > 0) != (len(stage.leads_to) > 0) or len(stage.leads_to) > 2:
                raise ValueError(
                    f"stage {stage.name!r}: asked for one or two following stages out of {names} if it has phases, and none if "
                    f"it has no phases, got {stage.leads_to} with {stage.phases} phases"
                )
        if len(set(names)) < len(names) or self.size > 255:
            raise ValueError(f"a course: asked for stages of different names with at most 255 phases, got {names}, {self.size} phases")

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

    def first(self, name: str) -> int:
        """The number of a stage's first phase."""
        return self._firsts[name]

    def last(self, name: str) -> int:
        """The number of a stage's last phase."""
        return self.kinds(name)[-1]

    def kinds(self, *names: str) -> tuple[int, ...]:
        """The numbers of all phases of the stages named."""
        return tuple(
            self._firsts[stage.name] + phase for stage in self.stages if stage.name in names for phase in range(max(1, stage.phases))
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
        leave: (passing stages,) float32, the probability of leaving a phase in a step, in the order of `course.passing`.
        fork: (forks, bands) float32, the probability of the first of two following stages, in the order of `course.forks`;
            None if there are none.
        course: static.
        band: (n,) uint8, the column of `fork` for each agent (age band); None if there is one column.

    Returns:
        the stages after the step.
    """
    value = stages.value
    limit = jnp.zeros(value.shape, jnp.uint32)
    # Numbers grow along the course, so one comparison a stage selects; a gather from a small table costs more on a CPU.
    leave_limits = iter(random.threshold(leave))
    for stage in course.stages:
        own = next(leave_limits) if stage.phases else jnp.uint32(0)
        if stage is not course.stages[0] or stage.phases:
            limit = jnp.where(value >= course.first(stage.name), own, limit)
    leaves = random.happens(words[0], limit)

    target = value + jnp.uint8(1)
    for stage in course.passing:
        target = jnp.where(value == course.last(stage.name), jnp.uint8(course.first(stage.leads_to[0])), target)
    if fork is not None:
        second, row = target, jnp.zeros(value.shape, jnp.uint8)
        for number, stage in enumerate(course.forks):
            here = value == course.last(stage.name)
            second = jnp.where(here, jnp.uint8(course.first(stage.leads_to[1])), second)
            row = jnp.where(here, jnp.uint8(number), row)
        bands = fork.shape[1]
        index = row.astype(jnp.int32) * bands + (0 if band is None else band.astype(jnp.int32))
        first_limit = settle(random.threshold(fork).reshape(-1)).at[index].get(mode="promise_in_bounds")
        target = jnp.where(random.happens(words[1], first_limit) == 1, target, second)
    return dataclasses.replace(stages, value=settle(jnp.where(leaves == 1, target, value)))


def entered(before: Stages, after: Stages, course: Course, name: str) -> Indicator:
    """Who came into a stage between two moments."""
    kinds = course.kinds(name)
    return Indicator(among(after, *kinds).value & ~among(before, *kinds).value & jnp.uint8(1))
