"""Edges drawn in chunks with streams of their own: together the same graph on any number of ranks.

Edges are held as 64-bit keys (`lpm.networks.edges.pair_keys`), with `low` more bits below them where a generator has
something to say of an edge. A rank keeps the edges that touch its agents; who has the smaller end counts an edge.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from lpm import building
from lpm.errors import InputError
from lpm.networks.edges import Edges, edges_of_keys

CHUNK = 1 << 16  # edges drawn at a time, which keeps temporaries in cache
FEWEST = 16  # chunks, so that several ranks share out small graphs too
TOGETHER = 4  # chunks that a rank draws before the ranks exchange them
MASK = np.uint64(2**32 - 1)


def generator(seed: int, *place: int) -> np.random.Generator:
    """The stream of random numbers of a seed, and of a chunk or round."""
    check_seed(seed)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=place)))


def check_seed(seed: int) -> None:
    """Raise unless it may be a seed."""
    if seed < 0:
        raise InputError(f"seed: asked for a whole number not below 0, got {seed}; write one such as 1")


def chunks_for(edges: float) -> int:
    """How many chunks so many edges are drawn in."""
    return max(FEWEST, math.ceil(edges / CHUNK))


def drawn(n: int, chunks: int, draw: Callable[[int], np.ndarray], low: int = 0) -> np.ndarray:
    """The keys of all chunks, in any order; of several ranks each draws some, and gets those that touch its agents.

    Args:
        n: how many agents there are.
        chunks: how many.
        draw: the number of a chunk -> its keys.
        low: bits below the pair.
    """
    part = building.part()
    if part is None:
        return np.concatenate([draw(chunk) for chunk in range(chunks)])
    part.divide(n)
    mine, found = part.share(chunks), []
    for begin in range(0, -(-chunks // part.ranks.count), TOGETHER):
        made = [draw(chunk) for chunk in mine[begin : begin + TOGETHER]]
        keys = np.concatenate([np.empty(0, np.uint64), *made])
        smaller, larger = (part.owner(end) for end in ends(keys, low))
        apart = smaller != larger
        found.append(part.sent(np.concatenate([keys, keys[apart]]), np.concatenate([smaller, larger[apart]])))
    return np.concatenate(found)


def ends(keys: np.ndarray, low: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The smaller and the larger end of each edge: (edges,) uint64."""
    keys = keys >> np.uint64(low)
    return keys >> np.uint64(32), keys & MASK


def touching(keys: np.ndarray, low: int = 0) -> np.ndarray:
    """Those of the edges that this process keeps."""
    part = building.part()
    if part is None:
        return keys
    smaller, larger = ends(keys, low)
    return keys[part.has(smaller) | part.has(larger)]


def counted_here(keys: np.ndarray, low: int = 0) -> slice:
    """Where among sorted keys those stand that this process counts."""
    part = building.part()
    if part is None:
        return slice(0, len(keys))
    bounds = np.array([part.first, part.end], np.uint64) << np.uint64(32 + low)
    begin, end = np.searchsorted(keys, bounds)
    return slice(int(begin), int(end))


def of_all(values: np.ndarray) -> np.ndarray:
    """What the ranks have, one after another."""
    part = building.part()
    return values if part is None else np.concatenate(part.ranks.all(values))


def counted(keys: np.ndarray, low: int = 0) -> np.ndarray:
    """Those that each rank counts of some sorted keys: sorted keys, the same on all ranks; there should be few."""
    return of_all(keys[counted_here(keys, low)])


def edges_of(n: int, keys: np.ndarray, dropped: int = 0) -> Edges:
    """The edges of what was drawn, without self loops and duplicates."""
    return dataclasses.replace(edges_of_keys(n, keys, dropped), partial=building.part() is not None)
