"""What ranks tell each other: the flags of whom agents meet elsewhere, and the counts of groups they have in common."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from lpm.building import Part, Watched
from lpm.distributed import Ranks
from lpm.kernels import bits
from lpm.kernels.ranks import Halo, Shared
from lpm.lookup import places_among

FEWER = 4  # a halo looks up whom it sends, so it is taken where it receives so many times less than all flags
PIECE = 1 << 17  # entries of tables numbered at a time


def reached(part: Part, far: np.ndarray) -> tuple[Halo, np.ndarray]:
    """The halo of a network.

    Args:
        part: of the world.
        far: (far,) numbers of the agents of other ranks whom somebody here meets, increasing.

    Returns:
        the halo, and (far,) where each of them stands behind the agents of this rank.
    """
    assert part.bounds is not None
    counts, here, come = np.diff(part.bounds), part.here, part.counts(far)
    wanted, go = part.ranks.deal(far, come)
    sent = local(part, wanted)
    chosen = choice(come, counts, part)
    words = np.array([bits.words_for(int(each)) for each in counts])
    if chosen:
        halo = Halo(jnp.asarray(lanes(sent, go, here)), whole_words(go), whole_words(come))
        at = np.flatnonzero(lanes(np.zeros(len(far), np.int32), come, -1) >= 0)
        return halo, (32 * bits.words_for(here) + at).astype(np.int32)
    halo = Halo(None, (), tuple(int(each) for each in words))
    first = 32 * (bits.words_for(here) + np.cumsum(words) - words)
    there, _ = part.ranks.deal(sent, go)
    there += np.repeat(first, come).astype(np.int32)
    return halo, there


def choice(come: np.ndarray, counts: np.ndarray, part: Part) -> bool:
    """Whether flags are exchanged with neighbours, rather than all gathered; what a step moves is noted.

    Args:
        come: (ranks,) agents of each rank whom somebody here meets.
        counts: (ranks,) agents of each.
        part: of the world.
    """
    words = np.array([bits.words_for(int(each)) for each in counts])
    mine = np.array([(-(-come // 32)).sum(), words.sum() - words[part.ranks.rank]], np.int64)
    by_halo, by_gather = part.ranks.add(mine)
    chosen = bool(FEWER * by_halo < by_gather) if part.halo is None else part.halo
    ranks = len(counts)
    part.moved.append(
        f"{'halo' if chosen else 'gathered'}: {4 * (by_halo if chosen else by_gather) // ranks:,} bytes a rank and set "
        f"of flags (halo {4 * by_halo // ranks:,}, gathered {4 * by_gather // ranks:,})"
    )
    return chosen


def shared(pairs: np.ndarray, place: np.ndarray, rank: int, ranks: int) -> Shared:
    """Who adds up the groups of which somebody is here: one of the ranks that have members, each in its turn.

    Args:
        pairs: group * ranks + rank for each rank that has a member of such a group, increasing.
        place: (pairs,) where the group stands on this rank.
        rank: this one.
        ranks: how many there are.

    >>> shared(np.array([0, 1, 2, 3]), np.array([5, 5, 7, 7]), rank=0, ranks=2)  # groups 0 and 1, on both ranks
    Shared(sent=Array([7], dtype=int32), to=(0, 1), kept=Array([5], dtype=int32), from_=(0, 1))
    """
    group, owner = pairs // ranks, pairs % ranks
    begin = np.searchsorted(group, group)
    adds = owner[begin + group % (np.searchsorted(group, group, side="right") - begin)]
    sent = np.flatnonzero((owner == rank) & (adds != rank))
    kept = np.flatnonzero((owner != rank) & (adds == rank))
    sent = sent[np.argsort(adds[sent], kind="stable")]
    kept = kept[np.argsort(owner[kept], kind="stable")]
    to, from_ = (tuple(np.bincount(each, minlength=ranks).tolist()) for each in (adds[sent], owner[kept]))
    return Shared(jnp.asarray(place[sent], jnp.int32), to, jnp.asarray(place[kept], jnp.int32), from_)


def total(sums: np.ndarray, shared: Shared, ranks: Ranks | Watched) -> np.ndarray:
    """As `lpm.kernels.ranks.total`, between steps."""
    sums, sent, kept = sums.copy(), np.asarray(shared.sent), np.asarray(shared.kept)
    parts, _ = ranks.deal(sums[sent], np.array(shared.to))
    np.add.at(sums, kept, parts)
    sums[sent], _ = ranks.deal(sums[kept], np.array(shared.from_))
    return sums


def told(mine: Shared, groups: int, added: Callable[[np.ndarray], np.ndarray], ranks: int) -> str:
    """What a step moves for groups, in words."""
    entries, here = added(np.array([mine.entries, groups], np.int64)) // ranks
    return f"groups: {4 * entries:,} bytes a rank and count, of {here:,} groups with members there"


def local(part: Part, numbers: np.ndarray) -> np.ndarray:
    """Where these agents of this rank stand: (numbers,) int32."""
    place = numbers.astype(np.int64) - part.first
    return place.astype(np.int32) if part.position is None else part.position[place]


def numbered(part: Part, met: np.ndarray) -> tuple[Halo, np.ndarray, np.ndarray, np.ndarray]:
    """Agents as the tables of this rank number them.

    Args:
        part: of the world.
        met: (entries,) uint32, numbers of agents of any rank.

    Returns:
        the halo; (entries,) int32; the agents of other ranks among them, increasing; where each of those stands.
    """
    found = np.empty(len(met), np.int32)
    other = met[(met < part.first) | (met >= part.end)]
    other.sort()
    far = distinct(other)
    del other
    halo, lane = reached(part, far)
    places = places_among(far)
    for numbers, into in zip(pieces(met), pieces(found), strict=True):
        mine = part.has(numbers)
        into[mine] = local(part, numbers[mine])
        into[~mine] = lane[places(numbers[~mine])]
    return halo, found, far, lane


def pieces(values: np.ndarray) -> list[np.ndarray]:
    """Views of parts of an array, so that temporaries are small."""
    return [values[begin : begin + PIECE] for begin in range(0, len(values), PIECE)]


def distinct(values: np.ndarray) -> np.ndarray:
    """Each of some sorted values once."""
    return values[np.concatenate([[True], values[1:] != values[:-1]])[: len(values)]]


def whole_words(count: np.ndarray) -> tuple[int, ...]:
    """How many words so many flags for each rank fill."""
    return tuple(int(each) for each in -(-count // 32))


def lanes(values: np.ndarray, count: np.ndarray, nobody: int) -> np.ndarray:
    """Values of each rank in turn, each rank's filled up to whole words."""
    parts = np.split(values, np.cumsum(count)[:-1])
    return np.concatenate([np.pad(each, (0, -len(each) % 32), constant_values=nobody) for each in parts]).astype(
        np.int32
    )
