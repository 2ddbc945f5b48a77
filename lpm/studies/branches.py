"""Scenarios that share their beginnings: what is equal is simulated once, and branches off in memory.

A scenario equals another bit for bit until the day on which they part. So of each realization the first scenario is
simulated with stops on the days on which others part from it, and these go on from copies of its state there; those
that part on the same day do likewise among themselves. Which scenario goes ahead of which depends on the study alone,
not on what is missing of it, so that a study resumed does what an unbroken one does.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm import batch, consensus
from lpm.config import Config
from lpm.distributed import Ranks, alone
from lpm.errors import LpmError, RunError
from lpm.state import State
from lpm.world import World

Records = list[dict[str, np.ndarray]]  # one for each record done, observable -> values
FAILURES = (LpmError, jax.errors.JaxRuntimeError, MemoryError)


class Stopped(Exception):
    """A stop was asked for in the middle of a run."""


class Broken(RunError):
    """A number stopped being finite.

    Args:
        record: the first with one.
    """

    def __init__(self, record: int, names: str):
        super().__init__(
            f"record {record}: asked for finite numbers, got others in {names}; look for a division by zero or a rate "
            "that grows without bound"
        )
        self.record = record


def parting(one: Config, other: Config) -> int:
    """The first record in which two scenarios may differ, as the model's `parting` says; 0 if it has none.

    `parting(settings, settings, calendar) -> int` stands beside the model's `build` and returns the first step that may
    differ. Until then entries of the state that both have are equal; what only one has, or has in another shape, is as
    at the start; and what only one observes is 0.
    """
    run = one.run
    said = getattr(one.builder, "__globals__", {}).get("parting")
    if said is None or one.builder is not other.builder or other.run.calendar != run.calendar:
        return 0
    return min(max(int(said(one.settings, other.settings, run.calendar)), 0), run.calendar.steps) // run.every


@dataclasses.dataclass(frozen=True)
class Realization:
    """What is to be simulated of one realization.

    Args:
        number: of the realization.
        seed, every: of the run.
        records: of a whole run.
        worlds: scenario -> its world, or why there is none.
        parts: two scenarios -> the first record in which they may differ.
        wanted: scenarios whose runs are missing.
        shapes: shape and dtype of a record of each observable of the study; what is not observed is 0.
        ended: called with a scenario, its records or why there are none, and the seconds it took of its own.
        stop: whether to stop; the same on all ranks.
        ranks: who simulate it together, each a part of the agents.
    """

    number: int
    seed: int
    every: int
    records: int
    worlds: Callable[[int], World | LpmError]
    parts: Callable[[int, int], int]
    wanted: frozenset[int]
    shapes: Mapping[str, tuple[tuple[int, ...], Any]]
    ended: Callable[[int, dict[str, np.ndarray] | Exception, float], None]
    stop: Callable[[], bool]
    ranks: Ranks = alone

    def grow(
        self, scenarios: Iterable[int], begin: int = 0, state: State | None = None, seen: Records | None = None
    ) -> None:
        """Simulate scenarios that are equal until record `begin`, from their state there on.

        Raises:
            Stopped: as soon as a stop is asked for.
        """
        left, seen = list(scenarios), seen or []
        while self.wanted.intersection(left):
            first, *rest = left
            groups: dict[int, list[int]] = {}
            for each in rest:
                groups.setdefault(max(self.parts(first, each), begin), []).append(each)
            left = groups.pop(begin, [])
            groups = {stop: members for stop, members in sorted(groups.items()) if self.wanted.intersection(members)}
            if first not in self.wanted and not groups:
                continue
            world = self.worlds(first)
            if isinstance(world, LpmError):
                self._failed([first], world, 0.0)
                left = sorted([*left, *(each for members in groups.values() for each in members)])
            else:
                self._branch(first, world, groups, begin, state, seen)

    def _branch(
        self, first: int, world: World, groups: dict[int, list[int]], begin: int, state: State | None, seen: Records
    ) -> None:
        """Simulate one scenario, and then those that part from it."""
        clock, kept, own = time.perf_counter(), {}, list(seen)
        try:
            engine = batch.Engine(world, self.seed, 1, self.every)
            moving = engine.start(self.number)
            if state is not None:
                moving = carried(state, moving)
            last = self.records if first in self.wanted else max(groups)
            for end in [*(stop for stop in groups if stop < last), last]:
                moving, more = self._stretch(engine, moving, len(own), end)
                own += more
                if end in groups:
                    kept[end] = jax.tree.map(jnp.copy, moving)
            if first in self.wanted:
                self.ended(first, self._whole(own), time.perf_counter() - clock)
        except FAILURES as error:
            if self.ranks.count > 1 and not isinstance(error, LpmError):
                raise  # the others do not know of it, and are in the middle of a step
            lost = [stop for stop in groups if stop not in kept or stop > getattr(error, "record", stop)]
            failed = [first, *(each for stop in lost for each in groups[stop])]
            self._failed(failed, error, time.perf_counter() - clock)
            groups = {stop: members for stop, members in groups.items() if stop not in lost}
        for stop, members in groups.items():
            self.grow(members, stop, kept.pop(stop), own[:stop])

    def _failed(self, scenarios: Iterable[int], error: Exception, seconds: float) -> None:
        for each in self.wanted.intersection(scenarios):
            self.ended(each, error, seconds)

    def _stretch(self, engine: batch.Engine, moving: State, begin: int, end: int) -> tuple[State, Records]:
        """Simulate from one record to another, whose state is not looked at before it is checked.

        Raises:
            Broken: if a number is not finite.
            Stopped: if a stop was asked for.
        """
        found: Records = []
        keys, world, ahead = engine.keys(self.number), engine.world, []
        for _ in range(begin, end):
            moving, seen, broken = batch.advance(
                world.model, world.observables, self.every, world.params, moving, engine.fixed, keys
            )
            ahead.append((seen, broken))
            if len(ahead) == 2 * batch.CHUNK:  # the device computes a chunk while the host looks at the one before
                found += _checked(ahead[: batch.CHUNK], begin + len(found), self.ranks)
                del ahead[: batch.CHUNK]
                if self.stop():
                    raise Stopped
        return moving, found + _checked(ahead, begin + len(found), self.ranks)

    def _whole(self, seen: Records) -> dict[str, np.ndarray]:
        """All records of a run together."""
        blank = {name: np.zeros(shape, dtype) for name, (shape, dtype) in self.shapes.items()}
        return {name: np.stack([record.get(name, none) for record in seen]) for name, none in blank.items()}


def _checked(dispatched: list[Any], first: int, ranks: Ranks) -> Records:
    """Records of one realization, on the host."""
    fetched = jax.device_get(dispatched)
    bad = [[name for name, wrong in broken.items() if wrong] for _, broken in fetched]
    seen = {name: np.stack([record[name] for record, _ in fetched]) for name in (fetched[0][0] if fetched else ())}
    for number, names in enumerate(consensus.agreed(ranks, bad, seen)):
        if names:
            raise Broken(first + number, ", ".join(names))
    return [{name: value[0] for name, value in seen.items()} for seen, _ in fetched]


def carried(state: State, start: State) -> State:
    """A copy of a state for a world that begins with `start`; what only that has, or in other shapes, is as there."""

    def taken(mine: dict[str, Any], its: dict[str, Any]) -> dict[str, Any]:
        return {
            name: jax.tree.map(jnp.copy, mine[name]) if name in mine and _alike(mine[name], value) else value
            for name, value in its.items()
        }

    return dataclasses.replace(
        start, step=jnp.copy(state.step), agents=taken(state.agents, start.agents), env=taken(state.env, start.env)
    )


def _alike(one: Any, other: Any) -> bool:
    mine, its = jax.tree.flatten(one), jax.tree.flatten(other)
    kinds = [[(each.shape, each.dtype) for each in leaves] for leaves, _ in (mine, its)]
    return kinds[0] == kinds[1] and str(mine[1]) == str(its[1])
