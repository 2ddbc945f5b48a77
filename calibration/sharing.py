"""Simulations of a fit shared out among ranks.

The first rank fits; the others wait for what it asks to have simulated. Each simulates a part of the realizations, in
the world that each of them has built; the first puts the parts together in their order. A realization depends on its
point and key alone, so the fit is that of one process, bit for bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lpm.calibration.problem import Problem, Simulator, simulator
from lpm.distributed import Ranks
from lpm.kernels import random

Request = tuple[str, str, Any]  # machine, method, arguments; or ("", "", an error or None): it is over
Part = tuple[tuple[np.ndarray, ...] | None, Exception | None]


@dataclasses.dataclass(frozen=True, eq=False)
class Team:
    """The ranks that share out the simulations of some problems.

    Args:
        ranks: all of them.
        problems: by a name each, the same on all ranks.
    """

    ranks: Ranks
    problems: dict[str, Problem]

    def serve(self) -> None:
        """On all ranks but the first: simulate what is asked for, until the first says that it is over.

        Raises:
            Exception: what the first rank failed with.
        """
        machines = {name: simulator(each) for name, each in self.problems.items()}
        while True:
            request: Request = self.ranks.first(_said_by_the_first)
            name, method, arguments = request
            if not name:
                if arguments is not None:
                    raise arguments
                return
            machine = machines[name]
            assert isinstance(machine, Simulator)
            self.ranks.all(_part(self.ranks, machine, method, arguments))

    def lead(self, do: Callable[[dict[str, Problem]], None]) -> None:
        """On the first rank: do something with the problems, whose simulations are shared out; then let others go.

        Raises:
            Exception: what it failed with, which the others raise too.
        """
        shared = {name: dataclasses.replace(each, team=Member(self, name)) for name, each in self.problems.items()}
        error: Exception | None = None
        try:
            do(shared)
        except Exception as failure:
            error = failure
        self.ranks.first(lambda: ("", "", error))
        if error is not None:
            raise error


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """A problem's place in a team: makes its simulator one that shares its simulations out."""

    team: Team
    name: str

    def shared(self, machine: Simulator) -> Shared:
        """The machine, its realizations shared out among the ranks."""
        return Shared(machine, self.team.ranks, self.name)


@dataclasses.dataclass(frozen=True, eq=False)
class Shared:
    """A `lpm.calibration.problem.Simulator` on the first rank that asks the others to simulate a part each."""

    machine: Simulator
    ranks: Ranks
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
        """As the simulator's, on this rank alone."""
        return self.machine.pullback(z, keys)

    def _asked(self, method: str, z: np.ndarray, keys: random.Key) -> tuple[np.ndarray, ...]:
        arguments = (np.asarray(z, np.float64), jax.tree.map(np.asarray, keys))
        self.ranks.first(lambda: (self.name, method, arguments))
        parts: list[Part] = self.ranks.all(_part(self.ranks, self.machine, method, arguments))
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
