"""Households, schools, workplaces: from each agent's group to the arrays that the kernels read."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import numpy as np

from lpm import building
from lpm.errors import InputError
from lpm.kernels.groups import LARGEST_HOUSEHOLD, Groups, Households
from lpm.kernels.groups import households as side_by_side
from lpm.networks import halos, tables

PADDING = 0.05  # share of all entries; sizes of a heavy tail pad more, about an eighth, since they need all tables
MOST_TABLES = 24  # more gained nothing with sizes up to 5000, and compiled longer


def households(household_ids: np.ndarray) -> Households:
    """Households of agents who stand side by side.

    Args:
        household_ids: (n,) integer, not negative; members of a household stand next to each other. Who lives alone has
            a number to themselves.

    Returns:
        `lpm.kernels.groups.Households`.

    Raises:
        InputError: if a household is torn apart or has more than 31 members.

    >>> from lpm.kernels.groups import household_sizes
    >>> home = households(np.array([4, 4, 7, 2, 2, 2]))
    >>> household_sizes(home)
    Array([2, 2, 1, 3, 3, 3], dtype=uint8)
    """
    ids, first = checked_ids("households", household_ids), 0
    if (part := building.part()) is not None:
        if part.bounds is None or len(ids) != part.here:
            laid_out(ids)  # of all agents: every rank finds the same mistakes
        ids, first = own_households(ids, part), part.first
    begin, size = laid_out(ids, first)
    if part is not None:
        check_on_one_rank(ids[begin], part)
    position = np.arange(len(ids), dtype=np.int32) - np.repeat(begin, size)
    sizes = np.repeat(size.astype(np.uint8), size)
    return side_by_side(position, sizes)


def laid_out(ids: np.ndarray, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Where each household begins and how many members it has; `first` is the number of the first agent."""
    if len(ids) and ids.min() < 0:
        agent = int(np.argmin(ids))
        got = f"got {ids[agent]} for agent {first + agent}"
        raise InputError(
            f"households: asked for numbers not below 0, {got}; give who lives alone a household of their own"
        )
    begin = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])[: len(ids)]).astype(np.int32)
    size = np.diff(begin, append=np.int32(len(ids)))
    names = ids[begin]
    if np.any(names[1:] < names[:-1]):
        check_together(names, begin, first)
    if len(size) and size.max() > LARGEST_HOUSEHOLD:
        big = int(np.argmax(size))
        agents = f"agents {first + begin[big]} to {first + begin[big] + size[big] - 1}"
        raise InputError(
            f"households: asked for at most {LARGEST_HOUSEHOLD} members, got {size[big]} in household {names[big]} "
            f"({agents}); use groups() for institutions"
        )
    return begin, size


def own_households(ids: np.ndarray, part: building.Part) -> np.ndarray:
    """The entries of this rank's agents; where nothing has divided the agents yet, no household is cut."""
    if part.bounds is None:
        starts = np.flatnonzero(ids[1:] != ids[:-1]) + 1
        part.divide(len(ids), building.next_of(starts, len(ids), part.ranks.count))
    own = part.own(ids, "households")
    edges = part.ranks.all((own[0], own[-1]))
    if any(before[1] == after[0] for before, after in itertools.pairwise(edges)):
        raise building.Whole("blocks of agents cut a household; make the households before other networks")
    return own


def check_on_one_rank(names: np.ndarray, part: building.Part) -> None:
    """Raise on every rank if a household has members on two."""
    pairs, ranks = who_shares(names.astype(np.int64), part), part.ranks.count
    torn = np.flatnonzero(np.diff(pairs // ranks) == 0)
    mine = pairs[torn[0] : torn[0] + 2].tolist() if len(torn) else []  # each household * ranks + rank
    found = next((each for each in part.ranks.all(mine) if each), None)
    if found:
        raise InputError(
            f"households: asked for members side by side, got household {found[0] // ranks} on the ranks "
            f"{found[0] % ranks} and {found[1] % ranks}; sort the agents by household"
        )


def check_together(names: np.ndarray, begin: np.ndarray, first: int = 0) -> None:
    """Raise if a household's name occurs in two runs."""
    order = np.argsort(names, kind="stable")
    again = np.flatnonzero(names[order][1:] == names[order][:-1])
    if len(again):
        one, other = order[again[0]], order[again[0] + 1]
        got = f"got household {names[one]} at agent {first + begin[one]} and again at {first + begin[other]}"
        more = f" and {len(again) - 1} more" if len(again) > 1 else ""
        write = "sort the agents by household: order = np.argsort(household_ids, kind='stable')"
        raise InputError(f"households: asked for members side by side, {got}{more}; {write}")


def groups(group_ids: np.ndarray, n_groups: int) -> tuple[Groups, np.ndarray]:
    """Groups whose members stand anywhere, such as schools and workplaces.

    Groups of like size share a table; the groups are numbered anew in the order of the tables.

    Args:
        group_ids: (n,) integer in [-1, n_groups); -1 stands for none.
        n_groups: how many groups there are, with or without members.

    Returns:
        `lpm.kernels.groups.Groups`, and `renumber`, (n_groups,) int32, the new number of each group: what is known of
        the groups follows by `new = np.empty_like(old); new[renumber] = old`. On several ranks it is the identity: the
        groups are numbered anew when the world is complete.

    Raises:
        InputError: if a group is out of range.

    >>> school, renumber = groups(np.array([1, -1, 0, 1, 1, 0]), 2)
    >>> renumber, school.size, school.group
    (array([0, 1], dtype=int32), Array([2, 3], dtype=int32), Array([1, 2, 0, 1, 1, 0], dtype=int32))
    """
    ids = checked_ids("groups", group_ids)
    if n_groups < 0 or (len(ids) and (ids.min() < -1 or ids.max() >= n_groups)):
        got = f"got {ids.min()} to {ids.max()}" if len(ids) else f"got {n_groups} groups"
        raise InputError(
            f"groups: asked for group_ids from -1 (none) to {n_groups - 1}, {got}; number the groups from 0"
        )
    if (part := building.part()) is not None:
        return own_groups(part.own(ids, "groups"), n_groups, part)
    return laid(ids, n_groups)


def laid(ids: np.ndarray, n_groups: int) -> tuple[Groups, np.ndarray]:
    """As `groups`, of ids that are known to be good."""
    members = np.flatnonzero(ids >= 0).astype(np.uint32)
    member_ids = ids[members]
    size = np.bincount(member_ids, minlength=n_groups)
    layout = tables.layout(size, padding=PADDING, most=MOST_TABLES)
    renumber = layout.places()
    keys = renumber[member_ids].astype(np.uint64)  # group << 32 | member: sorting values is far faster than an argsort
    keys <<= np.uint64(32)
    keys |= members
    keys.sort()
    size = size[layout.order]
    filled = tables.fill(keys.astype(np.uint32).view(np.int32), size, layout, blank=len(ids), by_row=False)
    group = np.append(renumber, np.int32(n_groups))[ids]  # -1 takes the last
    rows, most = jax.device_put(tuple(filled), may_alias=False), int(size.max(initial=0))
    built = Groups(rows, jax.device_put(group), jax.device_put(size.astype(np.int32)), most=most)
    return built, renumber


def own_groups(ids: np.ndarray, n_groups: int, part: building.Part) -> tuple[Groups, np.ndarray]:
    """As `groups`, of this rank's agents: its members of those groups of which it has some."""
    own = np.bincount(ids[ids >= 0], minlength=n_groups)
    pairs = who_shares(np.flatnonzero(own), part)
    built, kept = some_groups(ids, part.ranks.add(own), pairs, part.ranks.rank, part.ranks.count)
    assert built.shared is not None
    part.met.append(building.Met(built, groups=kept, all_groups=n_groups))
    part.moved.append(halos.told(built.shared, len(kept), part.ranks.add, part.ranks.count))
    return built, np.arange(n_groups, dtype=np.int32)


def some_groups(
    ids: np.ndarray, sizes: np.ndarray, pairs: np.ndarray, rank: int, ranks: int
) -> tuple[Groups, np.ndarray]:
    """One rank's members of the groups of which it has some.

    Args:
        ids: (here,) integer, the group of each of its agents in the whole, -1 for none.
        sizes: (groups,) members of each group in the whole.
        pairs: group * ranks + rank for each rank that has a member of a group of which somebody is here, increasing.
        rank: this one.
        ranks: how many there are.

    Returns:
        the groups, and (kept,) the number in the whole of each.
    """
    names = halos.distinct(pairs // ranks)
    place = np.full(len(sizes) + 1, -1, np.int32)  # the last for those without a group
    place[names] = np.arange(len(names), dtype=np.int32)
    built, renumber = laid(place[ids], len(names))
    kept = np.empty_like(names)
    kept[renumber] = names
    shared = halos.shared(pairs, renumber[place[pairs // ranks]], rank, ranks)
    size = jax.device_put(sizes[kept].astype(np.int32))
    return dataclasses.replace(built, size=size, shared=shared, most=int(sizes.max(initial=0))), kept


def who_shares(groups_here: np.ndarray, part: building.Part) -> np.ndarray:
    """The ranks that have a member of each of these groups, as `pairs` of `some_groups`.

    A rank hears of each group who has some of it, and tells those who have.
    """
    ranks = part.ranks.count
    order = np.argsort(groups_here % ranks, kind="stable")
    came, counts = part.ranks.deal(groups_here[order], np.bincount(groups_here % ranks, minlength=ranks))
    known = np.sort(came * ranks + np.repeat(np.arange(ranks), counts))
    group = known // ranks
    begin, end = (np.searchsorted(group, group, side=side) for side in ("left", "right"))
    times = end - begin
    at = np.repeat(begin - np.cumsum(times) + times, times) + np.arange(times.sum())
    return np.sort(part.sent(known[at], np.repeat(known % ranks, times)))


def checked_ids(where: str, ids: np.ndarray) -> np.ndarray:
    """The ids, if they are one row of integers."""
    ids = np.asarray(ids)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        got = f"got shape {ids.shape} of {ids.dtype}"
        raise InputError(
            f"{where}: asked for an integer for each agent, {got}; write np.unique(ids, return_inverse=True)[1]"
        )
    return ids
