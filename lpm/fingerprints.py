"""What a run reads and never changes, in a few words: the same on any number of ranks and in any order of agents.

Of what belongs to agents it is a sum over them, so that ranks add up what each finds of its own:

    attributes   sum_i a(id_i) h(value_i)          networks   sum_{i meets j} a(id_i) b(id_j)

with a, b and h pseudo-random functions to 64 bits. Everything else has a CRC-32 of its bytes.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from lpm.kernels import strata
from lpm.kernels.graph import Graph
from lpm.kernels.groups import Groups, Households
from lpm.lookup import places_among

NETWORKS = (Graph, Groups, Households, strata.Strata)
AT_ONCE = 1 << 17  # entries of tables read at a time
A, B, H = (np.uint64(each) for each in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


def checksum(values: np.ndarray) -> str:
    """CRC-32 of an array's bytes.

    >>> checksum(np.arange(3, dtype=np.uint8))
    '0854897f'
    """
    return f"{zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data):08x}"


def of_numbers(count: int) -> str:
    """The checksum of 0, 1, ... count - 1 as uint32, without all of them at once.

    >>> of_numbers(3) == checksum(np.arange(3, dtype=np.uint32))
    True
    """
    found = 0
    for begin in range(0, count, AT_ONCE):
        found = zlib.crc32(np.arange(begin, min(begin + AT_ONCE, count), dtype=np.uint32).data, found)
    return f"{found:08x}"


def is_network(each: Any) -> bool:
    """Whether a part of `state.fixed` is read as a whole."""
    return isinstance(each, NETWORKS)


def of_world(
    fixed: dict[str, Any],
    agents: int,
    halo_ids: Callable[[Any], tuple[np.ndarray, np.ndarray]] | None = None,
    total: Callable[[np.ndarray, Any], np.ndarray] = lambda sums, _: sums,
    all_groups: dict[int, int] | None = None,
    added: Callable[[np.ndarray], np.ndarray] = lambda values: values,
) -> dict[str, str]:
    """A fingerprint of each network and array, by its path.

    Args:
        fixed: of the state; on several ranks, of one rank's part of the world.
        agents: how many there are in the whole.
        halo_ids: a graph -> the ids of those of other ranks whom its agents meet, and where they stand behind those of
            this rank; None on one process.
        total: sums over this rank's members of groups and `Groups.shared` -> the sums over all members.
        all_groups: number of groups here -> number of groups in the whole; None on one process.
        added: the sum over all ranks.
    """
    ids = np.asarray(fixed["id"])
    weight = mixed(ids.astype(np.uint64), A)
    leaves = jax.tree_util.tree_leaves_with_path(fixed, is_leaf=is_network)
    by_size = {len(each.size): each for _, each in leaves if isinstance(each, Groups)}
    words: dict[str, str] = {}
    sums: dict[str, np.uint64] = {}
    for path, leaf in leaves:
        name = "fixed." + jax.tree_util.keystr(path, simple=True, separator=".")
        length = np.shape(leaf)[0] if not is_network(leaf) and np.ndim(leaf) else -1
        if is_network(leaf):
            words[name] = f"{agents} agents"
            sums[name] = _of_network(leaf, ids, weight, halo_ids, total)
        elif length == len(ids):
            words[name] = str((agents, *np.shape(leaf)[1:]))
            sums[name] = summed(weight * hashed(np.asarray(leaf)))
        elif length in by_size:
            group = np.asarray(by_size[length].group)
            words[name] = str(((all_groups or {}).get(length, length), *np.shape(leaf)[1:]))
            sums[name] = summed(weight * np.append(hashed(np.asarray(leaf)), np.uint64(0))[group])
        else:
            words[name] = f"{np.shape(leaf)} {checksum(np.asarray(leaf))}"
    together = added(np.array(list(sums.values()), np.uint64))
    return words | {name: f"{words[name]} {each:016x}" for name, each in zip(sums, together, strict=True)}


def _of_network(
    network: Any,
    ids: np.ndarray,
    weight: np.ndarray,
    halo_ids: Callable[[Any], tuple[np.ndarray, np.ndarray]] | None,
    total: Callable[[np.ndarray, Any], np.ndarray],
) -> np.uint64:
    if isinstance(network, Households):
        place = (np.arange(32, dtype=np.int8)[None, :] - np.asarray(network.start)).reshape(-1)[: network.agents]
        size = np.asarray(network.size).reshape(-1)[: network.agents]
        return summed(weight * mixed(size.astype(np.uint64) << np.uint64(8) | place.astype(np.uint64), H))
    if isinstance(network, strata.Strata):
        return summed(weight * mixed(np.asarray(network.code).astype(np.uint64), H))
    near = np.append(mixed(ids.astype(np.uint64), B), np.uint64(0))  # nobody is the agent after the last
    if isinstance(network, Groups):
        sums = [_row_sums(np.asarray(table), lambda members: near[members], False) for table in network.rows]
        met = total(np.concatenate(sums), network.shared)
        return summed(weight * np.append(met, np.uint64(0))[np.asarray(network.group)])
    far, lane = (np.empty(0, ids.dtype), np.empty(0, np.int64)) if halo_ids is None else halo_ids(network)
    if not len(far):
        return _weighted(network, weight, lambda entries: near.take(entries, mode="clip"))
    order = np.argsort(lane)
    others, places = mixed(far[order].astype(np.uint64), B), places_among(lane[order].astype(np.uint32))

    def of(entries: np.ndarray) -> np.ndarray:
        found = near[np.minimum(entries, len(ids))]
        elsewhere = entries > len(ids)
        found[elsewhere] = others[places(entries[elsewhere].astype(np.uint32))]
        return found

    return _weighted(network, weight, of)


def _weighted(network: Graph, weight: np.ndarray, values: Callable[[np.ndarray], np.ndarray]) -> np.uint64:
    """The sum over agents of what their neighbours add up to, weighted."""
    with ThreadPoolExecutor(os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) as several:
        met = np.concatenate(
            list(several.map(lambda table: _row_sums(np.asarray(table), values, network.by_agent), network.rows))
        )
    return summed(weight * (met if network.place is None else met[np.asarray(network.place)]))


def _row_sums(table: np.ndarray, values: Callable[[np.ndarray], np.ndarray], by_row: bool) -> np.ndarray:
    """The sum of the values that each row, or each column, of a table names."""
    rows = table if by_row else table.T
    step = max(1, AT_ONCE // max(rows.shape[1], 1))
    found = np.zeros(len(rows), np.uint64)
    for begin in range(0, len(rows), step):
        some = rows[begin : begin + step]
        if some.shape[1] > len(some):
            found[begin : begin + step] = values(some).sum(1, dtype=np.uint64)
        else:  # numpy adds up a few long columns far faster than many short rows
            for column in some.T:
                found[begin : begin + step] += values(column)
    return found


def hashed(values: np.ndarray) -> np.ndarray:
    """64 pseudo-random bits for each row of an array: (rows,) uint64."""
    rows = np.ascontiguousarray(values.reshape(len(values), -1))
    whole = rows.view({1: np.uint8, 2: np.uint16, 4: np.uint32}.get(rows.dtype.itemsize, np.uint64))
    found = np.zeros(len(rows), np.uint64)
    for column in range(whole.shape[1]):
        found += mixed(whole[:, column].astype(np.uint64) + np.uint64(column) * B, H)
    return found


def mixed(values: np.ndarray, salt: np.uint64) -> np.ndarray:
    """Pseudo-random bits of whole numbers: (n,) uint64 to (n,) uint64.

    Source: the finaliser of SplitMix64, Steele, Lea and Flood (2014), Fast splittable pseudorandom number generators.
    """
    found = values + salt
    found ^= found >> np.uint64(30)
    found *= np.uint64(0xBF58476D1CE4E5B9)
    found ^= found >> np.uint64(27)
    found *= np.uint64(0x94D049BB133111EB)
    found ^= found >> np.uint64(31)
    return found


def summed(values: np.ndarray) -> np.uint64:
    """The sum modulo 2^64."""
    return np.uint64(values.sum(dtype=np.uint64))
