"""Snapshots of several ranks: few files, each written by one rank, and the same bits as one process writes."""

import math
from pathlib import Path

import numpy as np
import pytest

from lpm import Calendar, snapshots, store
from lpm.distributed import alone
from tests.ranks.together import on

AGENTS, MOMENTS = 1000, 2
SHAPES = {"stage": ((AGENTS,), np.dtype(np.uint8)), "place": ((AGENTS, 2), np.dtype(np.float32))}


def made(path: Path) -> store.Store:
    """A store for snapshots of two realizations."""
    return store.create(
        path, (), {}, {}, Calendar(20), realizations=2, together=2, snapshots=SHAPES, snapshot_every=10
    )  # fmt: skip


def values(name: str, number: int) -> np.ndarray:
    """Of both realizations, agents in the order of ids."""
    shape, dtype = SHAPES[name]
    return np.random.default_rng(number).integers(0, 99, (2, *shape)).astype(dtype)


@pytest.mark.parametrize("shard_bytes", [64_000_000, 3000, 100])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_ranks_write_what_one_process_writes_in_as_many_files(
    shard_bytes: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has which agents; no file has more than it may, and one more is begun only when one is full."""
    monkeypatch.setattr(store, "SHARD_BYTES", shard_bytes)
    owner = np.sort(np.random.default_rng(count).integers(0, count, AGENTS))
    owner[::5] = np.random.default_rng(1).integers(0, count, len(owner[::5]))
    path = made(tmp_path / "parts").path

    def write(ranks):
        rows, target = np.flatnonzero(owner == ranks.rank), store.reopen(path)
        for name in SHAPES:
            deal = snapshots.deal(rows, AGENTS, target.agents_in_file(name), ranks)
            for number in range(MOMENTS):
                deal.write(target, slice(0, 2), number, name, values(name, number)[:, rows])
        return len(deal.place)

    assert sum(on(count, write)) == AGENTS
    for name, (shape, dtype) in SHAPES.items():
        array = store.reopen(path).array(f"snapshot_{name}")
        for number in range(MOMENTS):
            np.testing.assert_array_equal(array[0, :, number], values(name, number))
        files = [file for file in (path / f"snapshot_{name}").rglob("*") if file.is_file() and file.name != "zarr.json"]
        most = shard_bytes // (dtype.itemsize * math.prod(shape[1:]))
        assert array.chunks[3] <= most
        assert len(files) == 2 * MOMENTS * math.ceil(AGENTS / most)


def test_a_process_alone_deals_to_itself(tmp_path: Path) -> None:
    target = made(tmp_path / "one")
    found = snapshots.deal(np.arange(AGENTS), AGENTS, target.agents_in_file("stage"), alone)
    found.write(target, slice(0, 2), 1, "stage", values("stage", 1))
    np.testing.assert_array_equal(target.array("snapshot_stage")[0, :, 1], values("stage", 1))
