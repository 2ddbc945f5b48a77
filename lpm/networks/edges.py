"""Who meets whom, as a list of edges.

Pairs are also held as 64-bit keys, the smaller number in the upper half, so that one sort finds duplicates.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from lpm import building
from lpm.errors import InputError

MOST_AGENTS = 2**31 - 2  # numbers are int32 and one more stands for nobody


@dataclasses.dataclass(frozen=True, eq=False)
class Edges:
    """The edges of an undirected graph, each once; no agent meets itself.

    Args:
        n_agents: how many agents there are, with or without edges.
        source, target: (edges,) int32, the two ends, in [0, n_agents).
        dropped: how many self loops and duplicates were left out when the graph was made.
        partial: whether these are the edges that touch this rank's agents, and not all; see `lpm.building`.

    Raises:
        InputError: if the ends are out of range, unequal in number, or an agent meets itself. Duplicates are found by
            `lpm.networks.graph`; to remove them use `simple_edges`.

    >>> Edges(3, np.array([0, 1]), np.array([1, 2])).degrees()
    array([1, 2, 1])
    """

    n_agents: int
    source: np.ndarray
    target: np.ndarray
    dropped: int = 0
    partial: bool = False

    def __post_init__(self) -> None:
        check_agents("Edges", self.n_agents)
        ends = []
        for name in ("source", "target"):
            end = np.asarray(getattr(self, name))
            if end.ndim != 1 or (end.size and end.dtype.kind not in "iu"):
                got = f"got shape {end.shape} of {end.dtype}"
                raise InputError(
                    f"Edges: asked for {name} as one row of integers, {got}; write np.asarray({name}, np.int32)"
                )
            if end.size and (end.min() < 0 or end.max() >= self.n_agents):
                asked = f"Edges: asked for {name} between 0 and {self.n_agents - 1}"
                raise InputError(f"{asked}, got {end.min()} to {end.max()}; number the agents from 0 or raise n_agents")
            ends.append(end.astype(np.int32, copy=False))
        source, target = ends
        if len(source) != len(target):
            got = f"got {len(source)} sources and {len(target)} targets"
            raise InputError(f"Edges: asked for two ends of every edge, {got}; write as many of each")
        if loops := int(np.count_nonzero(source == target)):
            raise InputError(
                f"Edges: asked for edges between two agents, got {loops} self loops; use simple_edges to drop them"
            )
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "target", target)

    def degrees(self) -> np.ndarray:
        """Each agent's number of neighbours, (n_agents,) int64; those of this rank's agents if `partial`."""
        part = building.part()
        if self.partial and part is not None:
            degrees = np.zeros(part.here, np.int64)
            for end in (self.source, self.target):
                degrees += np.bincount(end[part.has(end)] - part.first, minlength=part.here)
            return degrees
        degrees = np.bincount(self.source, minlength=self.n_agents)
        degrees += np.bincount(self.target, minlength=self.n_agents)
        return degrees


def simple_edges(n_agents: int, source: np.ndarray, target: np.ndarray) -> Edges:
    """The simple graph of any pairs: self loops and duplicates are dropped, and counted in `dropped`.

    Args:
        n_agents: how many agents there are.
        source, target: (pairs,) integer in [0, n_agents); (1, 2) and (2, 1) are the same edge.

    >>> edges = simple_edges(3, np.array([0, 1, 2]), np.array([1, 0, 2]))
    >>> edges.source, edges.target, edges.dropped
    (array([0], dtype=int32), array([1], dtype=int32), 2)
    """
    real = np.asarray(source) != np.asarray(target)
    given = Edges(n_agents, np.asarray(source)[real], np.asarray(target)[real])
    keys = np.sort(pair_keys(given.source, given.target))
    keys = keys[~repeated(keys)]
    return edges_of_keys(n_agents, keys, dropped=len(real) - len(keys))


def check_agents(where: str, n: int) -> None:
    """Raise unless there may be so many agents."""
    if not 1 <= n <= MOST_AGENTS:
        raise InputError(f"{where}: asked for 1 to {MOST_AGENTS} agents, got {n}; write a number in between")


def pair_keys(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pairs as (smaller << 32) + larger: two (pairs,) integer to (pairs,) uint64."""
    keys = np.minimum(one, other).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.maximum(one, other).astype(np.uint64)
    return keys


def repeated(keys: np.ndarray) -> np.ndarray:
    """Which of the sorted keys equal the one before."""
    same = np.zeros(len(keys), bool)
    np.equal(keys[1:], keys[:-1], out=same[1:])
    return same


def clashing(keys: np.ndarray) -> np.ndarray:
    """Which of the sorted keys are self loops or duplicates."""
    return repeated(keys) | (keys >> np.uint64(32) == keys & np.uint64(2**32 - 1))


def edges_of_keys(n: int, keys: np.ndarray, dropped: int = 0) -> Edges:
    """The edges of keys without self loops and duplicates."""
    source, target = (keys >> np.uint64(32)).astype(np.int32), keys.astype(np.uint32).view(np.int32)
    return Edges(n, source, target, dropped)
