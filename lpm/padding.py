"""Parts of a world brought to the same shapes, for devices that run one program (`lpm.kernels.collectives`).

agents      each part has as many places as the largest has agents; places behind the last are copies of it, whom no
            network knows
tables      of neighbours and of members are laid anew, in tables that are as many and as large in all parts;
            what is over says "nobody"
messages    go in rounds, each as wide as its widest
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm import partition
from lpm.errors import InputError
from lpm.fingerprints import is_network
from lpm.kernels import bits, strata
from lpm.kernels.graph import Graph
from lpm.kernels.groups import Groups, Households, households
from lpm.kernels.ranks import Halo, Shared
from lpm.networks import tables
from lpm.networks.groups import MOST_TABLES, PADDING


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """The parts that are brought together.

    Args:
        counts: agents of each.
        first: number of this process's first part.
        all: what each part of this process has -> what each of all parts has.
    """

    counts: tuple[int, ...]
    first: int
    all: Callable[[list[Any]], list[Any]]

    @property
    def here(self) -> int:
        """Places for agents in each."""
        return max(self.counts)


def alike(fixed: list[dict[str, Any]], parts: Parts) -> list[dict[str, Any]]:
    """What no step changes, with the same shapes in all parts.

    Args:
        fixed: of each part of this process, as `lpm.partition` or `lpm.parts` make it.
        parts: see `Parts`.

    Raises:
        InputError: on all ranks, if an array is neither of agents nor of groups, and not as long in all parts.
    """
    found = [jax.tree_util.tree_flatten_with_path(each, is_leaf=is_network) for each in fixed]
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in found[0][0]]
    structures = parts.all([str(tree) for _, tree in found])
    if len(set(structures)) > 1:
        raise InputError("devices: asked for the same entries of `fixed` on all of them, got others on some")
    columns = list(zip(*([leaf for _, leaf in leaves] for leaves, _ in found), strict=True))
    groups: list[tuple[list[int], list[np.ndarray], int]] = []  # of each `Groups`: how many, their new numbers, of all
    made: list[list[Any]] = []
    for each in columns:
        if isinstance(each[0], Groups):
            new, numbers, many = _groups(list(each), parts)
            groups.append((parts.all([len(old.size) for old in each]), numbers, many))
            made.append(new)
        else:
            made.append(_network(list(each), parts) if is_network(each[0]) else list(each))
    for number, (name, each) in enumerate(zip(names, columns, strict=True)):
        if not is_network(each[0]):
            made[number] = _attribute(name, [np.asarray(leaf) for leaf in each], groups, parts)
    own = zip(*made, strict=True)
    return [jax.tree.unflatten(tree, leaves) for (_, tree), leaves in zip(found, own, strict=True)]


def _attribute(
    name: str, leaves: list[np.ndarray], groups: list[tuple[list[int], list[np.ndarray], int]], parts: Parts
) -> list[np.ndarray]:
    lengths = parts.all([leaf.shape[0] if leaf.ndim else -1 for leaf in leaves])
    of_groups = [each for each in groups if each[0] == lengths]
    if lengths == list(parts.counts):
        if of_groups:
            raise InputError(
                f"devices: asked whether fixed[{name!r}] goes by agent or by group, got as many of one as of the other "
                "on each; take another number of ranks"
            )
        return [places_filled(leaf, parts.here) for leaf in leaves]
    if of_groups:
        _, numbers, many = of_groups[0]
        laid = [np.zeros((many, *leaf.shape[1:]), leaf.dtype) for leaf in leaves]
        for new, number, leaf in zip(laid, numbers, leaves, strict=True):
            new[number] = leaf
        return laid
    if len(set(lengths)) > 1:
        raise InputError(
            f"devices: asked for an entry for each agent or group in fixed[{name!r}], or as many on all devices, got "
            f"{', '.join(f'{each:,}' for each in lengths)}; write LPM_ENGINE=mpi for ranks whose arrays differ"
        )
    return leaves


def places_filled(leaf: np.ndarray, places: int, axis: int = 0) -> np.ndarray:
    """An array of agents with copies of the last at the places that are over."""
    over = [(0, places - size if at == axis else 0) for at, size in enumerate(leaf.shape)]
    return np.pad(leaf, over, mode="edge")


def _network(found: list[Any], parts: Parts) -> list[Any]:
    if isinstance(found[0], Graph):
        return _graphs(found, parts)
    if isinstance(found[0], Households):
        most = max(parts.all([each.most for each in found]))
        return [dataclasses.replace(_homes(each, parts.here), most=most) for each in found]
    wide = max(parts.all([each.masks.shape[2] for each in found]))
    return [strata.with_columns(each, parts.here, wide) for each in found]


def _homes(homes: Households, places: int) -> Households:
    more = (0, places - homes.agents)
    size = np.pad(partition.sizes(homes), more, constant_values=1)
    return households(np.pad(partition.positions(homes), more), size)


def _graphs(found: list[Graph], parts: Parts) -> list[Graph]:
    halos, laid, by_agent = _halos(found, parts), [], found[0].by_agent
    for number, (graph, (_, base)) in enumerate(zip(found, halos, strict=True)):
        count = parts.counts[parts.first + number]
        old = (np.asarray(row) if by_agent else np.asarray(row).T for row in graph.rows)
        laid.append([_numbered(row, graph.halo, base, count, parts.here) for row in old])
    new, numbers, _ = relaid(laid, parts)
    built = []
    for graph, (halo, _), rows, places in zip(found, halos, new, numbers, strict=True):
        place = places if graph.place is None else places[np.asarray(graph.place)]
        filled = jnp.asarray(places_filled(place, parts.here))
        tables_ = tuple(jnp.asarray(row if by_agent else np.ascontiguousarray(row.T)) for row in rows)
        built.append(Graph(tables_, filled, by_agent, graph.most, halo))
    return built


def _numbered(table: np.ndarray, halo: Halo | None, base: np.ndarray, count: int, places: int) -> np.ndarray:
    """Entries of a table of neighbours as numbers of a part that has so many places."""
    if halo is None:
        return np.where(table == count, np.int32(places), table)
    starts = 32 * np.concatenate([[0], np.cumsum(halo.from_)])
    lane = table.astype(np.int64) - 32 * bits.words_for(count)
    rank = np.searchsorted(starts, lane, side="right") - 1
    far = 32 * base[rank.clip(0, len(base) - 1)] + lane - starts[rank.clip(0)]
    own = np.where(table == count, places, table)
    return np.where(lane < 0, own, far).astype(np.int32)


def _halos(found: list[Graph], parts: Parts) -> list[tuple[Halo | None, np.ndarray]]:
    """New halos, and for each part the word at which the flags of every other part begin."""
    count, words = len(parts.counts), bits.words_for(parts.here)
    kinds = parts.all([None if each.halo is None else each.halo.send is None for each in found])
    if None in kinds:
        return [(None, np.zeros(count, np.int64)) for _ in found]
    if kinds[0]:
        return [(Halo(None, (), (words,) * count), words * np.arange(1, count + 1)) for _ in found]
    widths = _widths([each.halo.to for each in found if each.halo], parts)
    begins = words + np.concatenate([[0], np.cumsum(widths)])
    made: list[tuple[Halo | None, np.ndarray]] = []
    for rank, graph in enumerate(found, start=parts.first):
        assert graph.halo is not None
        assert graph.halo.send is not None
        sent = np.asarray(graph.halo.send)
        sent = np.where(sent == parts.counts[rank], np.int32(parts.here), sent)
        send = _rounds(sent, [32 * each for each in graph.halo.to], [32 * each for each in widths], rank, parts.here)
        distance = (rank - np.arange(count)) % count
        made.append((Halo(jnp.asarray(send), widths, widths), begins[distance - 1]))
    return made


def _widths(to: list[tuple[int, ...]], parts: Parts) -> tuple[int, ...]:
    """How wide each round is, from what goes from each part to each."""
    every = parts.all(to)
    count = len(every)
    return tuple(
        max(int(every[rank][(rank + distance) % count]) for rank in range(count)) for distance in range(1, count)
    )


def _rounds(values: np.ndarray, counts: Any, widths: Any, rank: int, nobody: int, step: int = 1) -> np.ndarray:
    """Values for each rank in turn, laid for rounds: first for the rank that is one `step` further on."""
    blocks = np.split(values, np.cumsum(counts)[:-1])
    laid = [np.zeros(0, np.int32)]
    for distance, width in enumerate(widths, start=1):
        block = blocks[(rank + step * distance) % len(blocks)]
        laid.append(np.pad(block, (0, width - len(block)), constant_values=nobody))
    return np.concatenate(laid).astype(np.int32)


def _groups(found: list[Groups], parts: Parts) -> tuple[list[Groups], list[np.ndarray], int]:
    """New groups, for each part the new number of each old one, and how many there are."""
    laid = []
    for number, groups in enumerate(found):
        count = parts.counts[parts.first + number]
        old = (np.asarray(row).T for row in groups.rows)
        laid.append([np.where(row == count, np.int32(parts.here), row) for row in old])
    new, numbers, many = relaid(laid, parts)
    most = max(parts.all([each.most for each in found]))
    widths = _widths([each.shared.to for each in found if each.shared], parts)
    built = []
    for rank, (groups, rows, names) in enumerate(zip(found, new, numbers, strict=True), start=parts.first):
        shared, size = groups.shared, np.zeros(many, np.int32)
        assert shared is not None
        size[names] = np.asarray(groups.size)
        named = np.append(names, np.int32(many))
        group = np.pad(named[np.asarray(groups.group)], (0, parts.here - len(groups.group)), constant_values=many)
        sent, kept = named[np.asarray(shared.sent)], named[np.asarray(shared.kept)]
        rounds = Shared(
            jnp.asarray(_rounds(sent, shared.to, widths, rank, many)),
            widths,
            jnp.asarray(_rounds(kept, shared.from_, widths, rank, many, step=-1)),
            widths,
        )
        tables_ = tuple(jnp.asarray(np.ascontiguousarray(row.T)) for row in rows)
        built.append(Groups(tables_, jnp.asarray(group), jnp.asarray(size), rounds, most))
    return built, numbers, many


def relaid(found: list[list[np.ndarray]], parts: Parts) -> tuple[list[list[np.ndarray]], list[np.ndarray], int]:
    """Rows of unequal length laid in tables that all parts have.

    Args:
        found: of each part of this process, tables (rows, width) whose rows are filled up with the number of places.
        parts: see `Parts`.

    Returns:
        for each part its new tables; for each part the new place of each row, (rows,) int32, the tables being laid end
        to end; how many places there are.
    """
    lengths = [np.concatenate([(table != parts.here).sum(1) for table in each]).astype(np.int64) for each in found]
    counted = parts.all([np.bincount(each, minlength=1) for each in lengths])
    longest = max(len(each) for each in counted)
    number = np.stack([np.pad(each, (0, longest - len(each))) for each in counted])
    widths = tables.merged_widths(number.max(0), PADDING, MOST_TABLES)
    table_of = np.searchsorted(widths, np.arange(longest))
    rows = np.stack([np.bincount(table_of, each, minlength=len(widths)) for each in number]).max(0).astype(np.int64)
    begins = np.concatenate([[0], np.cumsum(rows)])
    made, places = [], []
    for old, length in zip(found, lengths, strict=True):
        table = table_of[length]
        order = np.argsort(table, kind="stable")
        first = np.searchsorted(table[order], np.arange(len(widths)))
        place = np.empty(len(table), np.int32)
        place[order] = begins[table[order]] + np.arange(len(table)) - first[table[order]]
        new = [np.full((many, width), parts.here, np.int32) for many, width in zip(rows, widths, strict=True)]
        begin = 0
        for each in old:
            mine = slice(begin, begin + len(each))
            for which in np.unique(table[mine]):
                here, width = table[mine] == which, min(int(widths[which]), each.shape[1])
                new[which][place[mine][here] - begins[which], :width] = each[here, :width]
            begin += len(each)
        made.append(new)
        places.append(place)
    return made, places, int(begins[-1])
