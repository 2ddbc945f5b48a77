"""Loose ends joined in pairs at random: graphs with given degrees.

Each agent has as many loose ends as its degree. Every end falls into one of some buckets; each bucket is shuffled and
cut into pairs, and what is left over, an end of each bucket that has an odd number, is paired bucket by bucket. Since
ends know nothing of the buckets they fall into, all pairings are equally likely, as if all were shuffled at once; and
a bucket stays in cache.
"""

from __future__ import annotations

import numpy as np

from lpm import building
from lpm.errors import InputError
from lpm.networks.chunks import counted, counted_here, drawn, generator, of_all, touching
from lpm.networks.edges import check_agents, pair_keys

ENDS = 1 << 20  # loose ends dealt at a time
BUCKET = 1 << 16  # ends in a bucket, while there are not too many buckets
BUCKETS = 16, 256


def joined(degrees: np.ndarray, seed: int) -> np.ndarray:
    """A random pairing: sorted keys, self loops and duplicates among them; of several ranks, those of its agents.

    Args:
        degrees: (n,) integer, their sum even.
        seed: not negative.
    """
    ends = int(degrees.sum(dtype=np.int64))
    chunks = max(BUCKETS[0], -(-ends // ENDS))
    buckets = int(np.clip(ends // BUCKET, *BUCKETS))
    dealt = _dealt(degrees, chunks, buckets, seed)
    left: dict[int, np.ndarray] = {}

    def draw(bucket: int) -> np.ndarray:
        inside = dealt.pop(bucket)
        generator(seed, chunks + bucket).shuffle(inside)
        left[bucket] = inside[len(inside) // 2 * 2 :]
        return _paired(inside)

    keys = drawn(len(degrees), buckets, draw)
    odd = of_all(np.concatenate([np.empty(0, np.uint32), *(left[bucket] for bucket in sorted(left))]))
    return np.sort(np.concatenate([keys, touching(_paired(odd))]))


def _paired(ends: np.ndarray) -> np.ndarray:
    half = len(ends) // 2
    return pair_keys(ends[:half], ends[half : 2 * half])


def _dealt(degrees: np.ndarray, chunks: int, buckets: int, seed: int) -> dict[int, np.ndarray]:
    """The loose ends in each bucket, sorted; of several ranks, in this rank's share of the buckets."""
    part, n = building.part(), len(degrees)
    pieces: dict[int, list[np.ndarray]] = {}
    if part is not None:
        part.divide(n)
    mine = range(chunks) if part is None else part.share(chunks)
    for turn in range(chunks if part is None else -(-chunks // part.ranks.count)):
        ends, into = np.empty(0, np.uint32), np.empty(0, np.uint8)
        if turn < len(mine):
            low, high = n * mine[turn] // chunks, n * (mine[turn] + 1) // chunks
            ends = np.repeat(np.arange(low, high, dtype=np.uint32), degrees[low:high])
            into = generator(seed, mine[turn]).integers(0, buckets, len(ends), dtype=np.uint8)
        if part is None:
            some, where = ends, into
        else:
            to = (into.astype(np.int64) * part.ranks.count + part.ranks.count - 1) // buckets
            some, where = part.sent(ends, to), part.sent(into, to)
        order = np.argsort(where, kind="stable")  # of one byte: a radix sort
        cut = np.split(some[order], np.cumsum(np.bincount(where, minlength=buckets))[:-1])
        for bucket, inside in enumerate(cut):
            if len(inside):
                pieces.setdefault(bucket, []).append(inside)
    wanted = range(buckets) if part is None else part.share(buckets)
    found = {bucket: np.concatenate([np.empty(0, np.uint32), *pieces.pop(bucket, [])]) for bucket in wanted}
    return found if part is None else {bucket: np.sort(inside) for bucket, inside in found.items()}


def rejoined(keys: np.ndarray, bad: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The edges with the bad ones cut, as many others with them, and their ends joined anew.

    Args:
        keys: sorted; of several ranks, those of its agents.
        bad: which are to be cut; there should be few.
        rng: the same on all ranks.
    """
    mine = counted_here(keys)
    counts = of_all(np.array([mine.stop - mine.start]))
    part = building.part()
    first = 0 if part is None else int(counts[: part.ranks.rank].sum())
    cut = of_all(first + np.flatnonzero(bad[mine]))
    cut = np.union1d(cut, rng.integers(0, counts.sum(), len(cut) + 1))
    here = cut[(cut >= first) & (cut < first + mine.stop - mine.start)]
    lost = counted(keys[mine][here - first])
    # Equal edges are alike, so of each as many are taken away as were cut.
    edges, times = np.unique(lost, return_counts=True)
    begin, end = np.searchsorted(keys, edges), np.searchsorted(keys, edges, side="right")
    times = np.minimum(times, end - begin)
    gone = np.repeat(begin - np.cumsum(times) + times, times) + np.arange(times.sum())
    ends = np.concatenate(np.divmod(lost, np.uint64(2**32)))
    rng.shuffle(ends)
    return np.sort(np.concatenate([np.delete(keys, gone), touching(_paired(ends))]))


def checked_degrees(where: str, degrees: np.ndarray) -> np.ndarray:
    """The degrees, if a graph could have them."""
    degrees = np.asarray(degrees)
    n = len(degrees)
    check_agents(where, n)
    if degrees.dtype.kind not in "iu":
        raise InputError(f"{where}: asked for whole degrees, got {degrees.dtype}; write degrees.astype(int)")
    if degrees.min() < 0 or degrees.max() > n - 1:
        got = f"got {degrees.min()} to {degrees.max()}"
        raise InputError(
            f"{where}: asked for degrees between 0 and n - 1 = {n - 1}, {got}; write degrees.clip(0, n - 1)"
        )
    if (total := int(degrees.sum(dtype=np.int64))) % 2:
        raise InputError(
            f"{where}: asked for degrees of an even sum (an edge has two ends), got {total}; change one by 1"
        )
    return degrees
