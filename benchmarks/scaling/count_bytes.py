"""What a rank receives in a step, for 1 to 1024 ranks, counted from the partitions that lpm makes; no MPI is needed.

python benchmarks/scaling/count_bytes.py [WORLD ...] [--agents N] [--ranks R ...]

What each rank needs of each other is counted for all ranks at once. That count is held against
`lpm.partition.part`, rank by rank, in a world of 20,000 agents; how often flags travel in a step is seen from a step of
one rank whose calls to the others are noted and answered with zeros. Results go to benchmarks/scaling/bytes.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from worlds import WORLDS

sys.path.insert(0, str(Path(__file__).parents[1]))
from machine import machine, peak_memory_gb, save

from lpm.batch import Chunk, Engine
from lpm.kernels import bits, ranks
from lpm.kernels.graph import Graph
from lpm.kernels.groups import Groups, Households
from lpm.partition import FEWER, Blocks, blocks, part
from lpm.world import World

RESULT = Path(__file__).with_name("bytes.json")
RANKS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
SMALL, SMALL_RANKS = 20_000, 7


def networks(world: World) -> dict[str, Graph | Groups]:
    """Those over which flags travel, by name."""
    leaves = jax.tree_util.tree_leaves_with_path(
        world.state.fixed, is_leaf=lambda each: isinstance(each, Graph | Groups)
    )
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): each
        for path, each in leaves
        if isinstance(each, Graph | Groups)
    }


class Neighbours:
    """A graph's neighbours in the order in which agents go to ranks, laid out once for all numbers of ranks."""

    def __init__(self, graph: Graph, place: np.ndarray):
        n = len(place)
        whole = np.append(place, n).astype(np.int32)
        who = np.arange(n) if graph.place is None else np.argsort(np.asarray(graph.place), kind="stable")
        self.tables, begin = [], 0
        for each in graph.rows:
            table = np.asarray(each) if graph.by_agent else np.asarray(each).T
            own = place[who[begin : begin + len(table)]]
            begin += len(table)
            order = np.argsort(own, kind="stable")
            self.tables.append((own[order], whole[table[order]]))

    def needed(self, cuts: np.ndarray) -> np.ndarray:
        """(ranks, ranks) agents that each rank needs of each other."""
        count = len(cuts) - 1
        found = np.zeros((count, count), np.int64)
        mark = np.zeros(cuts[-1] + 1, bool)
        for rank in range(count):
            for own, table in self.tables:
                first, last = np.searchsorted(own, cuts[rank : rank + 2])
                mark[table[first:last].reshape(-1)] = True
            mark[cuts[rank] : cuts[rank + 1]] = False
            met = np.flatnonzero(mark[:-1])
            found[rank] = np.diff(np.searchsorted(met, cuts))
            mark[:] = False
        return found


class Members:
    """The groups of agents in the order in which they go to ranks."""

    def __init__(self, groups: Groups, place: np.ndarray):
        group = np.asarray(groups.group)
        real = np.flatnonzero(group < len(groups.size))
        self.place, self.group = place[real], group[real].astype(np.int64)

    def entries(self, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ranks,) numbers that come to each rank for one count of all groups, and from how many others they come."""
        ranks = len(cuts) - 1
        pairs = np.unique(self.group * ranks + np.searchsorted(cuts, self.place, side="right") - 1)
        group, rank = pairs // ranks, pairs % ranks
        begin, end = (np.searchsorted(group, group, side=side) for side in ("left", "right"))
        adds = rank[begin + group % (end - begin)]  # as `lpm.networks.halos.shared` has it
        rank, adds = rank[rank != adds], adds[rank != adds]
        others = np.unique(np.concatenate([rank * ranks + adds, adds * ranks + rank])) // ranks
        return np.bincount(rank, minlength=ranks) + np.bincount(adds, minlength=ranks), np.bincount(
            others, minlength=ranks
        )


def received(needed: np.ndarray, divided: Blocks) -> dict[str, Any]:
    """Bytes for one set of flags and step, and from how many ranks they come."""
    words = np.array([bits.words_for(int(each)) for each in divided.count])
    by_halo, by_gather = 4 * -(-needed // 32).sum(1), 4 * (words.sum() - words)
    return {
        "halo_mean": float(by_halo.mean()),
        "halo_max": int(by_halo.max()),
        "gathered_mean": float(by_gather.mean()),
        "chosen": "halo" if FEWER * by_halo.sum() < by_gather.sum() else "gathered",
        "neighbours_mean": float((needed > 0).sum(1).mean()),
        "neighbours_max": int((needed > 0).sum(1).max()),
        "agents_in_halo_mean": float(needed.sum(1).mean()),
    }


def counts_received(entries: np.ndarray, neighbours: np.ndarray) -> dict[str, Any]:
    """The same for groups: bytes for one count, of one or two sets of flags."""
    return {
        "groups_mean": float(4 * entries.mean()),
        "groups_max": int(4 * entries.max()),
        "chosen": "groups",
        "neighbours_mean": float(neighbours.mean()),
        "neighbours_max": int(neighbours.max()),
    }


def laid(world: World) -> dict[str, Neighbours | Members]:
    """A world's networks with the agents in the order in which they go to ranks, as `lpm.partition.blocks` has it."""
    leaves = jax.tree.leaves(world.state.fixed, is_leaf=lambda each: isinstance(each, Households))
    place = np.arange(world.agents)
    if not any(isinstance(each, Households) for each in leaves):
        place[np.argsort(np.asarray(world.state.fixed["id"]), kind="stable")] = np.arange(world.agents)
    found: dict[str, Neighbours | Members] = {}
    for name, each in networks(world).items():
        found[name] = Neighbours(each, place) if isinstance(each, Graph) else Members(each, place)
    return found


def counted(world: World, counts: list[int]) -> dict[str, Any]:
    """What is received over each network, for each number of ranks."""
    ready = laid(world)
    found: dict[str, Any] = {name: {} for name in ready}
    for count in counts:
        divided = blocks(world, 0, count)
        cuts = np.concatenate([[0], np.cumsum(divided.count)])
        for name, each in ready.items():
            if isinstance(each, Members):
                found[name][str(count)] = counts_received(*each.entries(cuts))
            else:
                found[name][str(count)] = received(each.needed(cuts), divided)
    return found


def agrees(world: World, count: int, which: list[int]) -> None:
    """Hold the count against the parts that lpm makes.

    Raises:
        AssertionError: if a rank would receive another number of bytes.
    """
    ready = laid(world)
    divided = blocks(world, 0, count)
    cuts = np.concatenate([[0], np.cumsum(divided.count)])
    for name, each in ready.items():
        if isinstance(each, Members):
            expected = 4 * each.entries(cuts)[0]
        else:
            expected = 4 * -(-each.needed(cuts) // 32).sum(1)
        for rank in which:
            moved = bytes_of(networks(part(world, rank, count, lambda x: x, halo=True))[name])
            assert moved == expected[rank], (name, rank, moved, expected[rank])


def bytes_of(network: Graph | Groups) -> int:
    """What a rank receives over a network, for a set of flags or a count."""
    if isinstance(network, Graph):
        return network.halo.bytes if network.halo is not None else 0
    return 4 * network.shared.entries if network.shared is not None else 0


def calls(world: World, rank: int, count: int) -> dict[str, Any]:
    """How often a rank turns to the others in a step, and the bytes that come, from a step that it takes alone."""
    mine = part(world, rank, count, lambda x: x, halo=True)
    noted: list[tuple[str, int]] = []

    def add(values: np.ndarray) -> np.ndarray:
        noted.append(("sum", values.nbytes))
        return values

    def swap(values: np.ndarray, to: tuple[int, ...], come: tuple[int, ...]) -> np.ndarray:
        answer = np.zeros((*values.shape[:-1], sum(come)), values.dtype)
        noted.append(("exchange", answer.nbytes))
        return answer

    ranks.connect(ranks.Wire(count, mine.here, mine.agents, add, swap, lambda values, come: swap(values, (), come)))
    try:
        engine, seen = Engine(mine, 1, 1, 1), []
        for steps in (1, 2):
            noted.clear()
            jax.block_until_ready([each.seen for each in engine.chunks(0, steps, (), 0) if isinstance(each, Chunk)])
            jax.effects_barrier()
            seen.append(list(noted))
    finally:
        ranks.connect(None)
    one = seen[1][len(seen[0]) :]
    halos = {name: bytes_of(each) for name, each in networks(mine).items()}
    exchanged = sum(size for kind, size in one if kind == "exchange")
    assert exchanged % sum(halos.values()) == 0 or len(halos) > 1, (exchanged, halos)
    return {
        "exchanges": sum(kind == "exchange" for kind, _ in one),
        "sets_of_flags": exchanged / sum(halos.values()),
        "sums": sum(kind == "sum" for kind, _ in one),
        "bytes_of_sums": sum(size for kind, size in one if kind == "sum"),
    }


def main() -> None:
    """Count, and keep what was counted before of other worlds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("worlds", nargs="*", metavar="WORLD", help=f"of {', '.join(WORLDS)}")
    parser.add_argument("--agents", type=int, default=10_000_000)
    parser.add_argument("--ranks", type=int, nargs="+", default=RANKS)
    parser.add_argument("--to", type=Path, default=RESULT)
    chosen = parser.parse_args()
    result = json.loads(chosen.to.read_text()) if chosen.to.exists() else {"worlds": {}}
    result["machine"] = machine()
    for name in chosen.worlds or WORLDS:
        begun = time.perf_counter()
        small = WORLDS[name](SMALL)
        agrees(small, SMALL_RANKS, list(range(SMALL_RANKS)))
        step = calls(small, 0, SMALL_RANKS)
        world = WORLDS[name](chosen.agents)
        built = time.perf_counter()
        found = counted(world, chosen.ranks)
        before = result["worlds"].get(name, {})
        if before.get("agents") == world.agents:
            found = {network: before["networks"][network] | each for network, each in found.items()}
        result["worlds"][name] = {
            "agents": world.agents,
            "a_step": step,
            "networks": found,
            "seconds_to_build": round(built - begun, 1),
            "seconds_to_count": round(time.perf_counter() - built, 1),
            "peak_memory_gb": round(peak_memory_gb(), 2),
        }
        save(chosen.to, result)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
