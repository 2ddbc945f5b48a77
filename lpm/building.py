"""Which agents this process builds: all, or of a world that several ranks hold together a block of their own.

While a config's world is built on several ranks, networks and populations make what belongs to this rank's agents and
nothing else, and the model's builder sees as many agents as are its own:

    numbers      agents are numbered 0 ... n - 1 by whoever makes them; a rank has those from one bound to the next
    chunks       what is random is drawn in chunks with streams of their own, each by one rank, and sent where needed

All ranks build the same in the same order. What cannot be built so raises `Whole`, and then every rank builds all. A
rank that fails alone is heard of by the others at their next message to each other (`Watched`).
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from lpm.distributed import Ranks

T = TypeVar("T")


def nobody() -> np.ndarray:
    """No agents."""
    return np.empty(0, np.uint32)


class Whole(Exception):
    """Why a world cannot be built in parts."""


class Elsewhere(Exception):
    """Another rank could not build its part."""


class Watched:
    """Ranks as they are while they build: before each message they hear whether one of them has failed.

    One that failed sends nothing more, so that the others would wait for it as long as they have patience.

    Args:
        ranks: `lpm.distributed.Ranks`.
        over: whether a rank has failed, so that no more messages come.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks, self.rank, self.count, self.over = ranks, ranks.rank, ranks.count, False

    def hear(self, failed: bool = False) -> None:
        """Tell the others that this rank is well or has failed.

        Raises:
            Elsewhere: if another has failed, and this one has not.
        """
        if not self.over:
            self.over = bool(self._ranks.add(np.array([failed], np.int64))[0])
        if self.over and not failed:
            raise Elsewhere

    def _well(self) -> Ranks:
        self.hear()
        return self._ranks

    def first(self, do: Callable[[], T]) -> T:
        """As the ranks'."""
        return self._well().first(do)

    def each(self, do: Callable[[], T]) -> T:
        """As the ranks'."""
        return self._well().each(do)

    def all(self, value: T) -> list[T]:
        """As the ranks'."""
        return self._well().all(value)

    def add(self, values: np.ndarray) -> np.ndarray:
        """As the ranks'."""
        return self._well().add(values)

    def deal(self, values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As the ranks'."""
        return self._well().deal(values, counts)


@dataclasses.dataclass(frozen=True, eq=False)
class Met:
    """What of the whole a network of this rank has.

    Args:
        network: a `Graph` or `Groups` of this rank.
        far: of a graph, the numbers of those of other ranks whom agents here meet, increasing.
        lanes: where their flags lie behind those of this rank.
        groups: (kept,) the groups of which somebody is here, by their number in the whole; None for a graph.
        all_groups: how many there are in the whole.
    """

    network: Any
    far: np.ndarray = dataclasses.field(default_factory=nobody)
    lanes: np.ndarray = dataclasses.field(default_factory=nobody)
    groups: np.ndarray | None = None
    all_groups: int = 0


@dataclasses.dataclass(eq=False)
class Part:
    """What this rank builds of a world, filled in by the builders.

    Args:
        ranks: all who build it.
        bounds: (ranks + 1,) the number of each rank's first agent, and how many there are; None until somebody knows.
        halo: whether flags are exchanged with neighbours, or all gathered; None for a halo if that is a quarter of it.
        position: (here,) where each of this rank's agents stands, by number; None for in order.
        met: the networks made.
        moved: for each network whose agents meet those of other ranks, what a step moves.
        whole: what every rank made for all agents.
    """

    ranks: Watched
    halo: bool | None = None
    bounds: np.ndarray | None = None
    position: np.ndarray | None = None
    met: list[Met] = dataclasses.field(default_factory=list)
    moved: list[str] = dataclasses.field(default_factory=list)
    whole: list[str] = dataclasses.field(default_factory=list)

    def divide(self, n: int, cuts: np.ndarray | None = None) -> None:
        """Give each rank a block of n agents.

        Args:
            n: how many there are.
            cuts: (ranks - 1,) the first agent of each rank but the first; even blocks if not given.

        Raises:
            Whole: if a rank would have none, or there was another number of agents before.
        """
        if self.bounds is None:
            inner = even_cuts(n, self.ranks.count) if cuts is None else cuts
            self.bounds = np.concatenate([[0], inner, [n]]).astype(np.int64)
            if np.any(np.diff(self.bounds) <= 0):
                raise Whole(f"{n:,} agents are too few to give each of {self.ranks.count} ranks some")
        if self.bounds[-1] != n:
            raise Whole(f"its networks are of {self.bounds[-1]:,} agents and of {n:,}")

    @property
    def agents(self) -> int:
        """Of all ranks."""
        return int(self._bounds[-1])

    @property
    def first(self) -> int:
        """The number of this rank's first agent."""
        return int(self._bounds[self.ranks.rank])

    @property
    def end(self) -> int:
        """The number after that of its last."""
        return int(self._bounds[self.ranks.rank + 1])

    @property
    def here(self) -> int:
        """How many it has."""
        return self.end - self.first

    @property
    def _bounds(self) -> np.ndarray:
        if self.bounds is None:
            raise Whole("nothing says how many agents there are")
        return self.bounds

    def by_position(self) -> np.ndarray:
        """(here,) the numbers of this rank's agents, in the order in which they stand."""
        order = np.arange(self.here) if self.position is None else np.argsort(self.position)
        return order + self.first

    def owner(self, numbers: np.ndarray) -> np.ndarray:
        """The rank of each of these agents."""
        return np.searchsorted(self._bounds[1:-1], numbers, side="right")

    def has(self, numbers: np.ndarray) -> np.ndarray:
        """Which of these agents are this rank's."""
        return (numbers >= self.first) & (numbers < self.end)

    def share(self, count: int) -> range:
        """This rank's part of so many pieces of work."""
        rank, ranks = self.ranks.rank, self.ranks.count
        return range(count * rank // ranks, count * (rank + 1) // ranks)

    def sent(self, values: np.ndarray, to: np.ndarray) -> np.ndarray:
        """Numbers brought to the ranks named; what came, in the order of the ranks."""
        order = np.argsort(to.astype(np.uint16), kind="stable")  # of 16 bits: a radix sort
        return self.ranks.deal(values[order], np.bincount(to, minlength=self.ranks.count))[0]

    def counts(self, numbers: np.ndarray) -> np.ndarray:
        """How many of these agents, numbers increasing, are of each rank: (ranks,) int64."""
        return np.diff(np.searchsorted(numbers, self._bounds))

    def asked(self, numbers: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values of agents of other ranks.

        Args:
            numbers: of those agents, increasing.
            values: (here,), of this rank's agents by number.
        """
        questions, counts = self.ranks.deal(numbers, self.counts(numbers))
        return self.ranks.deal(values[questions.astype(np.int64) - self.first], counts)[0]

    def own(self, values: np.ndarray, what: str) -> np.ndarray:
        """This rank's entries of an array that has one for each agent here, or for each of all."""
        if self.bounds is not None and len(values) == self.here:
            return values
        self.divide(len(values))
        self.whole.append(what)
        return values[self.first : self.end]


def even_cuts(n: int, ranks: int) -> np.ndarray:
    """Where blocks as even as can be begin, but the first."""
    return n * np.arange(1, ranks) // ranks


def next_of(starts: np.ndarray, n: int, ranks: int) -> np.ndarray:
    """As `even_cuts`, each moved on to the next of some numbers, such as those where households begin.

    >>> next_of(np.array([3, 6]), 8, 2)
    array([6])
    """
    return np.append(starts, n)[np.searchsorted(starts, even_cuts(n, ranks))]


_part: contextvars.ContextVar[Part | None] = contextvars.ContextVar("part", default=None)


def part() -> Part | None:
    """What this rank builds of the world that is being built; None if this process builds all of it."""
    return _part.get()


@contextlib.contextmanager
def on(ranks: Ranks, halo: bool | None = None) -> Iterator[Part]:
    """Within `with`, builders make this rank's part; `halo` as in `Part`."""
    found = Part(Watched(ranks), halo)
    token = _part.set(found)
    try:
        yield found
    finally:
        _part.reset(token)


def numbers(n: int) -> np.ndarray:
    """The numbers of the agents that this process builds, of n: (n,) uint32, or those of this rank.

    >>> numbers(3)
    array([0, 1, 2], dtype=uint32)
    """
    found = part()
    if found is None:
        return np.arange(n, dtype=np.uint32)
    found.divide(n)
    return np.arange(found.first, found.end, dtype=np.uint32)


def added(values: Any) -> Any:
    """The sum, over the ranks that build a world together, of numbers that each counts among its own agents.

    >>> added(np.bincount([0, 1, 1]))
    array([1, 2])
    """
    found = part()
    return values if found is None else found.ranks.add(np.asarray(values))
