"""One rank's part of a world: some of its agents, and of its networks what those need.

Agents go to ranks in blocks of their ids, so that ids in the order of space keep neighbours together; households stay
whole, and a block has as much work as another. What a rank needs of agents elsewhere is its *halo*
(`lpm.kernels.ranks`). Networks are found in `state.fixed` by their type; an array as long as there are agents is cut by
agent, one as long as there are groups by group, and others are copied.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm.building import even_cuts
from lpm.distributed import Ranks
from lpm.errors import InputError
from lpm.fingerprints import NETWORKS, checksum, is_network, of_world
from lpm.kernels import bits, strata
from lpm.kernels.graph import Graph
from lpm.kernels.groups import Groups, Households, households
from lpm.kernels.ranks import Halo
from lpm.networks.groups import some_groups
from lpm.networks.halos import FEWER, lanes, told, whole_words
from lpm.world import Share, World

AGENT_WORK = 10  # of an agent in a step, where a neighbour is 1


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """Which rank has which agent.

    Args:
        owner: (n,) the rank of each agent, by position in the whole.
        place: (n,) int32, its position there.
        count: (ranks,) agents of each rank.
        rank: this one.
    """

    owner: np.ndarray
    place: np.ndarray
    count: np.ndarray
    rank: int

    @property
    def mine(self) -> np.ndarray:
        """Positions in the whole of this rank's agents, increasing."""
        return np.flatnonzero(self.owner == self.rank)

    @property
    def here(self) -> int:
        """How many agents this rank has."""
        return int(self.count[self.rank])


def blocks(world: World, rank: int, ranks: int, even: bool = False) -> Blocks:
    """Divide a world's agents: into blocks of as much work, or if `even` of as many agents, as can be.

    Raises:
        InputError: if a rank would have none.
    """
    n = world.agents
    found = list(_networks(world.state.fixed))
    homes = [each for each in found if isinstance(each, Households)]
    if homes:
        order = np.arange(n)  # households stand side by side
    else:
        order = np.argsort(np.asarray(world.state.fixed["id"]), kind="stable")
    work = np.full(n, AGENT_WORK, np.int64)
    for each in found:
        if isinstance(each, Graph):
            work += _degrees(each, n)
    reached = np.cumsum(work[order])
    cuts = even_cuts(n, ranks) if even else np.searchsorted(reached, reached[-1] * np.arange(1, ranks) / ranks)
    if homes:
        begins = np.ones(n, bool)
        for each in homes:
            begins &= positions(each) == 0
        starts = np.flatnonzero(begins)
        cuts = starts[np.searchsorted(starts, cuts).clip(0, len(starts) - 1)]
    owner = np.empty(n, np.int32)
    owner[order] = np.repeat(np.arange(ranks), np.diff(np.concatenate([[0], cuts, [n]])))
    count = np.bincount(owner, minlength=ranks)
    if count.min() == 0:
        raise InputError(
            f"ranks: asked to divide {n:,} agents among {ranks} ranks, got one without any; take fewer ranks"
        )
    place = np.empty(n, np.int32)
    place[np.argsort(owner, kind="stable")] = np.concatenate([np.arange(each) for each in count])
    return Blocks(owner, place, count, rank)


def mine(world: World, ranks: Ranks) -> World:
    """The part of a world that this process simulates: all of it if it is alone, or was given a part."""
    if ranks.count == 1 or world.share is not None:
        return world
    return part(world, ranks.rank, ranks.count, ranks.add)


def part(
    world: World,
    rank: int,
    ranks: int,
    agreed: Callable[[np.ndarray], np.ndarray],
    halo: bool | None = None,
    even: bool = False,
) -> World:
    """The part of a world that one rank simulates.

    Args:
        world: the whole.
        rank: which.
        ranks: how many there are.
        agreed: the sum over all ranks of an array that each of them has; called once for each network.
        halo: whether flags are exchanged with neighbours, or all gathered; None for what moves fewer bytes.
        even: whether blocks have as many agents as each other, rather than as much work.

    Returns:
        the part, whose `share` says of what. Its draws, and so its numbers, are those of the whole.
    """
    fixed = world.state.fixed
    blocks_ = blocks(world, rank, ranks, even)
    ids = np.asarray(fixed["id"])
    kept: dict[int, np.ndarray] = {}  # number of groups -> which of them this rank has
    ambiguous = set()
    moved: list[str] = []

    def network(each: Any) -> Any:
        if isinstance(each, Graph):
            return _graph(each, blocks_, lambda pairs: _halo(pairs, blocks_, agreed, halo, moved))
        if isinstance(each, Groups):
            found, groups_kept = part_of_groups(each, blocks_, agreed, moved)
            count = len(each.size)
            if count in kept or count == len(ids):
                ambiguous.add(count)
            kept[count] = groups_kept
            return found
        if isinstance(each, Households):
            return households(positions(each)[blocks_.mine], sizes(each)[blocks_.mine])
        return some_strata(each, blocks_.mine)

    cut = jax.tree.map(lambda each: network(each) if is_network(each) else each, fixed, is_leaf=is_network)

    def attribute(path: Any, leaf: Any) -> Any:
        if is_network(leaf):
            return leaf
        length = np.shape(leaf)[0] if np.ndim(leaf) else -1
        if length in ambiguous:
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise InputError(
                f"ranks: asked whether fixed[{name!r}] goes by agent or by group, got as many of one as of the other "
                f"({length:,}); add a group without members"
            )
        if length == len(ids):
            return jnp.asarray(np.asarray(leaf)[blocks_.mine])
        return jnp.asarray(np.asarray(leaf)[kept[length]]) if length in kept else leaf

    cut = jax.tree_util.tree_map_with_path(attribute, cut, is_leaf=is_network)
    agents = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[blocks_.mine]), world.state.agents)
    state = dataclasses.replace(world.state, agents=agents, fixed=cut)
    every = np.sort(ids)
    rows = np.searchsorted(every, np.sort(ids[blocks_.mine]))
    share = Share(rank, ranks, len(ids), checksum(every), of_world(fixed, len(ids)), rows, tuple(moved))
    return dataclasses.replace(world, state=state, share=share)


def _networks(fixed: Any) -> Iterator[Any]:
    leaves = jax.tree.leaves(fixed, is_leaf=lambda each: isinstance(each, NETWORKS))
    return (each for each in leaves if isinstance(each, NETWORKS))


def _degrees(graph: Graph, n: int) -> np.ndarray:
    axis = 1 if graph.by_agent else 0
    found = np.concatenate([(np.asarray(table) != n).sum(axis) for table in graph.rows])
    return found if graph.place is None else found[np.asarray(graph.place)]


def positions(homes: Households) -> np.ndarray:
    """Each agent's place in its household."""
    return (np.arange(32, dtype=np.int8)[None, :] - np.asarray(homes.start)).reshape(-1)[: homes.agents]


def sizes(homes: Households) -> np.ndarray:
    """How many members each agent's household has."""
    return np.asarray(homes.size).reshape(-1)[: homes.agents]


def some_strata(whole: strata.Strata, rows: np.ndarray) -> strata.Strata:
    """Those of some agents, by increasing position."""
    regions, bands = whole.shape
    region = np.repeat(np.arange(regions), np.diff(whole.bounds))[rows]
    band = np.asarray(whole.code)[rows].astype(np.int64) - region * bands
    return strata.strata(region, band, regions, bands)


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Who of this rank meets whom elsewhere.

    Args:
        need: positions in the whole of those met, increasing.
        own, rank: for each agent of this rank, by position in the whole, and each rank where somebody meets it.
    """

    need: np.ndarray
    own: np.ndarray
    rank: np.ndarray


def _graph(whole: Graph, blocks: Blocks, halo_of: Callable[[Pairs], tuple[Halo, Callable[..., np.ndarray]]]) -> Graph:
    n = len(blocks.owner)
    who = np.arange(n) if whole.place is None else np.argsort(np.asarray(whole.place), kind="stable")
    tables, agents, begin = [], [], 0
    for each in whole.rows:
        table = np.asarray(each) if whole.by_agent else np.asarray(each).T  # a row for each agent
        here = who[begin : begin + len(table)]
        begin += len(table)
        mine = blocks.owner[here] == blocks.rank
        tables.append(table[mine])
        agents.append(here[mine])
    own = np.concatenate([np.repeat(each, table.shape[1]) for each, table in zip(agents, tables, strict=True)])
    other = np.concatenate([table.reshape(-1) for table in tables])
    far = np.append(blocks.owner, blocks.rank)[other] != blocks.rank
    # Of a graph that has each edge twice, who meets me is whom I meet.
    rank = blocks.owner[other[far]]
    pairs = np.unique(rank.astype(np.int64) << 32 | own[far])
    halo, numbered = halo_of(Pairs(np.unique(other[far]), pairs & 0xFFFFFFFF, pairs >> 32))
    rows = [numbered(table) for table in tables if len(table)]
    place = None
    if whole.place is not None:
        order = np.concatenate(agents)
        place = np.empty(blocks.here, np.int32)
        place[blocks.place[order]] = np.arange(blocks.here, dtype=np.int32)
    laid = tuple(jnp.asarray(table if whole.by_agent else np.ascontiguousarray(table.T)) for table in rows)
    return Graph(laid, None if place is None else jnp.asarray(place), whole.by_agent, whole.most, halo)


def part_of_groups(
    whole: Groups, blocks: Blocks, agreed: Callable[[np.ndarray], np.ndarray], moved: list[str]
) -> tuple[Groups, np.ndarray]:
    """One rank's members of groups, and which of the groups it has; see `part` for `agreed`, `Share` for `moved`."""
    ranks, none = len(blocks.count), len(whole.size)
    group = np.asarray(whole.group)
    ids = np.where(group[blocks.mine] == none, -1, group[blocks.mine])
    here = np.zeros(none + 1, bool)
    here[ids] = True
    here[none] = False
    pairs = np.unique((group.astype(np.int64) * ranks + blocks.owner)[here[group]])
    built, kept = some_groups(ids, np.asarray(whole.size), pairs, blocks.rank, ranks)
    assert built.shared is not None
    moved.append(told(built.shared, len(kept), agreed, ranks))
    return built, kept


def _halo(
    pairs: Pairs, blocks: Blocks, agreed: Callable[[np.ndarray], np.ndarray], wanted: bool | None, moved: list[str]
) -> tuple[Halo, Callable[[np.ndarray], np.ndarray]]:
    """The halo for what a network needs, and a function that numbers the whole's agents as this rank's tables do."""
    ranks, n, here = len(blocks.count), len(blocks.owner), blocks.here
    come = np.bincount(blocks.owner[pairs.need], minlength=ranks)
    go = np.bincount(pairs.rank, minlength=ranks)
    words = np.array([bits.words_for(int(each)) for each in blocks.count])
    by_halo, by_gather = agreed(np.array([(-(-come // 32)).sum(), words.sum() - words[blocks.rank]], np.int64))
    chosen = FEWER * by_halo < by_gather if wanted is None else wanted
    moved.append(
        f"{'halo' if chosen else 'gathered'}: {4 * (by_halo if chosen else by_gather) // ranks:,} bytes a rank and set "
        f"of flags (halo {4 * by_halo // ranks:,}, gathered {4 * by_gather // ranks:,})"
    )
    numbers = np.full(n + 1, here, np.int32)  # nobody is here
    if chosen:
        halo = Halo(jnp.asarray(lanes(blocks.place[pairs.own], go, here)), whole_words(go), whole_words(come))
        need = pairs.need[np.argsort(blocks.owner[pairs.need], kind="stable")]
        laid = lanes(need, come, -1)
        real = laid >= 0
        numbers[laid[real]] = 32 * bits.words_for(here) + np.flatnonzero(real)
    else:
        halo = Halo(None, (), tuple(int(each) for each in words))
        first = 32 * (bits.words_for(here) + np.cumsum(words) - words)
        numbers[:n] = first[blocks.owner] + blocks.place
    numbers[blocks.mine] = np.arange(here, dtype=np.int32)
    return halo, lambda table: numbers[table]
