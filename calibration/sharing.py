"""Simulations of a fit by several ranks: the first fits, the others wait for what it asks to have simulated.

Of a problem whose world each of them has whole, every rank simulates a part of the realizations, and the first puts
the parts together in their order. A realization depends on its point and key alone, so the fit is that of one process,
bit for bit. Of a problem whose world is divided among the ranks (`World.share`), all simulate every realization
together, each its part of the agents: counts are those of one process to the bit, derivatives to float rounding.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lpm import consensus, distributed
from lpm.calibration.problem import Problem, Simulator, simulator
from lpm.distributed import Ranks
from lpm.kernels import random

Request = tuple[str, str, Any]  # machine, method, arguments; or ("", "", an error or None): it is over
Part = tuple[tuple[np.ndarray, ...] | None, Exception | None]


@dataclasses.dataclass(eq=False)
class Team:
    """The ranks that do the simulations of some problems.

    Args:
        ranks: all of them.
        problems: by a name each, the same on all ranks; or of each its own part, if the world is divided.
    """

    ranks: Ranks
    problems: dict[str, Problem]
    _reached: str = ""  # the problem for which steps are compiled to work with the other ranks
    _wires: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)
    _pulled: dict[str, tuple[bytes, Any]] = dataclasses.field(default_factory=dict)  # of each problem, the last

    def serve(self) -> None:
        """On all ranks but the first: simulate what is asked for, until the first says that it is over.

        Raises:
            Exception: what the first rank failed with.
        """
        machines = {name: simulator(each) for name, each in self.problems.items()}
        with self._wires:
            while True:
                request: Request = self.ranks.first(_said_by_the_first)
                name, method, arguments = request
                if not name:
                    if arguments is not None:
                        raise arguments
                    return
                machine = machines[name]
                assert isinstance(machine, Simulator)
                self.simulated(machine, name, method, arguments)

    def lead(self, do: Callable[[dict[str, Problem]], None]) -> None:
        """On the first rank: do something with the problems, whose simulations are shared out; then let others go.

        Raises:
            Exception: what it failed with, which the others raise too.
        """
        shared = {name: dataclasses.replace(each, team=Member(self, name)) for name, each in self.problems.items()}
        error: Exception | None = None
        with self._wires:
            try:
                do(shared)
            except Exception as failure:
                error = failure
        self.ranks.first(lambda: ("", "", error))
        if error is not None:
            raise error

    def divided(self, name: str) -> bool:
        """Whether each rank has a part of a problem's agents."""
        return self.problems[name].world.share is not None

    def simulated(self, machine: Simulator, name: str, method: str, arguments: tuple[Any, ...]) -> list[Part]:
        """What the ranks simulate of a request; all of them are here at the same time."""
        divided = self.divided(name)
        if self._reached != (name if divided else ""):
            self._wires.close()
            self._reached = name if divided else ""
            if divided:
                world = self.problems[name].world
                self._wires.enter_context(distributed.connected(self.ranks, world.here, world.agents))
        if not divided:
            return self.ranks.all(_part(self.ranks, machine, method, arguments))
        found, error = self._together(machine, name, method, arguments)
        errors = self.ranks.all(error)
        if method != "back" and not any(errors):  # whose last digits are not promised to be the same
            assert found is not None
            consensus.same(self.ranks, {"calibrated": found[0]})
        return [(found, next((each for each in errors if each is not None), None))]

    def _together(self, machine: Simulator, name: str, method: str, arguments: tuple[Any, ...]) -> Part:
        """What all ranks simulate, each its part of the agents: the whole result, or why there is none."""
        z, keys, *rest = arguments
        keys = jax.tree.map(jax.numpy.asarray, keys)
        point = z.tobytes() + np.asarray(keys.words).tobytes()
        try:
            if method == "forward" or (method == "back" and self._pulled.get(name, (b"",))[0] != point):
                curves, back = machine.pullback(z, keys)
                self._pulled[name] = point, back
            if method == "forward":
                return (curves,), None
            if method == "back":
                return (self._pulled[name][1](rest[0]),), None
            found = getattr(machine, method)(z, keys)
        except Exception as error:
            return None, error
        return found if isinstance(found, tuple) else (found,), None


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """A problem's place in a team: makes its simulator one that shares its simulations out."""

    team: Team
    name: str

    def shared(self, machine: Simulator) -> Shared:
        """The machine, whose simulations all ranks do."""
        return Shared(machine, self.team, self.name)


@dataclasses.dataclass(frozen=True, eq=False)
class Shared:
    """A `lpm.calibration.problem.Simulator` on the first rank that asks the others to simulate with it."""

    machine: Simulator
    team: Team
    name: str

    @property
    def plan(self) -> Any:
        """Of the simulator."""
        return self.machine.plan

    def curves(self, z: np.ndarray, keys: random.Key) -> np.ndarray:
        """As the simulator's."""
        return self._asked("curves", z, keys)[0]

    def tangents(self, z: np.ndarray, keys: random.Key) -> tuple[np.ndarray, np.ndarray]:
        """As the simulator's."""
        found = self._asked("tangents", z, keys)
        return found[0], found[1]

    def at_each(self, z: np.ndarray, keys: random.Key) -> np.ndarray:
        """As the simulator's."""
        return self._asked("at_each", z, keys)[0]

    def pullback(self, z: np.ndarray, keys: random.Key) -> tuple[np.ndarray, Any]:
        """As the simulator's: by all ranks if each has a part of the agents, else by this one alone."""
        if not self.team.divided(self.name):
            return self.machine.pullback(z, keys)
        curves = self._asked("forward", z, keys)[0]
        return curves, lambda c: self._asked("back", z, keys, np.asarray(c, np.float64))[0]

    def _asked(self, method: str, z: np.ndarray, keys: random.Key, *more: np.ndarray) -> tuple[np.ndarray, ...]:
        arguments = (np.asarray(z, np.float64), jax.tree.map(np.asarray, keys), *more)
        self.team.ranks.first(lambda: (self.name, method, arguments))
        parts = self.team.simulated(self.machine, self.name, method, arguments)
        for _, error in parts:
            if error is not None:
                raise error
        some = [found for found, _ in parts if found is not None]
        return tuple(np.concatenate(each) for each in zip(*some, strict=True))


def _said_by_the_first() -> Request:
    """Stands on the other ranks for what the first one asks."""
    raise AssertionError("only the first rank asks")


def _part(ranks: Ranks, machine: Simulator, method: str, arguments: tuple[np.ndarray, random.Key]) -> Part:
    """What this rank simulates of a request, if there is anything for it, or why it could not."""
    z, keys = arguments
    number = keys.words.shape[0]
    mine = slice(number * ranks.rank // ranks.count, number * (ranks.rank + 1) // ranks.count)
    if mine.start == mine.stop:
        return None, None
    own = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf[mine]), keys)
    try:
        found = getattr(machine, method)(z[mine] if method == "at_each" else z, own)
    except Exception as error:
        return None, error
    return found if isinstance(found, tuple) else (found,), None
