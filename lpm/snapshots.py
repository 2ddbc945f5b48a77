"""Snapshots of several ranks: each file is written by one of them, and has agents that are next to each other by id.

A snapshot has a file for each 64 MB begun (`lpm.store`), so there may be fewer files than ranks; then some write none.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from lpm.distributed import Ranks
from lpm.store import Store


@dataclasses.dataclass(frozen=True, eq=False)
class Deal:
    """Which rank writes whose entries; the same for all snapshots of a run.

    Args:
        ranks: all of them.
        counts: (ranks,) how many of this rank's agents each writes.
        place: (written,) where those whom this rank writes come to stand among themselves, in the order they arrive.
        first: place of the first of them among all agents, in the order of ids.
    """

    ranks: Ranks
    counts: np.ndarray
    place: np.ndarray
    first: int

    def write(self, target: Store, which: slice, number: int, name: str, values: np.ndarray) -> None:
        """Write a snapshot; when this returns all ranks have, and an error of one is raised on all.

        Args:
            target: the store.
            which: realizations.
            number: of the snapshot.
            name: of the entry.
            values: (realizations, agents of this rank, ...), agents in the order of ids.
        """
        laid = np.empty((len(values), len(self.place), *values.shape[2:]), values.dtype)
        size = values[:1, :1].nbytes  # as bytes, which any MPI can send
        for mine, each in zip(laid, values, strict=True):
            sent = np.ascontiguousarray(each).reshape(-1).view(np.uint8)
            came, _ = self.ranks.deal(sent, self.counts * size)
            mine[self.place] = came.view(values.dtype).reshape(-1, *values.shape[2:])

        def write() -> None:
            if len(self.place):
                target.write_snapshot(which, number, name, laid, self.first)

        self.ranks.each(write)


def deal(rows: np.ndarray, agents: int, in_file: int, ranks: Ranks) -> Deal:
    """Give each file of a snapshot to a rank; all ranks call it together.

    Args:
        rows: (agents of this rank,) the place of each among all, increasing.
        agents: of all ranks.
        in_file: agents in a file.
        ranks: all of them.
    """
    files = -(-agents // in_file)
    counts = np.bincount(rows // in_file * ranks.count // files, minlength=ranks.count)
    came, _ = ranks.deal(rows, counts)
    first = int(came.min()) if len(came) else 0
    return Deal(ranks, counts, came - first, first)
