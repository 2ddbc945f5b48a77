"""What writing costs a run of several ranks: snapshots of all agents, each rank its own files, beside the run without.

python benchmarks/scaling/store.py [--agents N] [--ranks R ...] [--small]

SIR on the random graph; a snapshot of every agent's stage each few days. The stall of a snapshot is how long rank 0 is
about it: entries go to the ranks that write them, and none goes on before all have written. Beside it, what whole runs
take with snapshots and, in turns, without; and how fast a plain file of that size is written and synchronized here.
Results go to benchmarks/scaling/store.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from measure import bound

RESULT = Path(__file__).with_name("store.json")
ROOT = Path(__file__).parents[2]
DAYS, EVERY = 20, 2


def worker(agents: int, runs: int, folder: Path) -> None:
    """One rank: runs with snapshots and without in turns; rank 0 prints what it took."""
    from worlds import WORLDS

    import lpm
    from lpm import distributed, parts, snapshots, store

    stalls: list[float] = []

    def timed(write: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any, **more: Any) -> None:
            begun = time.perf_counter()
            write(*arguments, **more)
            stalls.append(time.perf_counter() - begun)

        return call

    ranks = distributed.ranks()
    world = parts.of(lambda: WORLDS["random graph"](agents), ranks)
    if ranks.count > 1:
        snapshots.Deal.write = timed(snapshots.Deal.write)  # type: ignore[method-assign]
    else:
        store.Store.write_snapshot = timed(store.Store.write_snapshot)  # type: ignore[method-assign]
    walls: dict[str, list[float]] = {"with": [], "without": []}
    out = folder
    for number in range(runs + 1):
        for name in walls:
            ranks.all(None)
            begun = time.perf_counter()
            more: dict[str, Any] = {"snapshots": ("stage",), "snapshot_every": EVERY} if name == "with" else {}
            out = folder / f"{name}-{number}"
            lpm.run(world, lpm.Calendar(DAYS), out, seed=1, **more)
            if number:
                walls[name].append(time.perf_counter() - begun)
    if ranks.rank:
        return
    written = folder / f"with-{runs}" / store.NAME / "snapshot_stage"
    sizes = [file.stat().st_size for file in written.rglob("*") if file.is_file() and file.name != "zarr.json"]
    found = {"walls": walls, "stalls": stalls[DAYS // EVERY :], "files": len(sizes), "stored_bytes": sum(sizes)}
    print(json.dumps(found))


def plain(size: int, folder: Path, runs: int) -> list[float]:
    """Seconds to write and synchronize a file of so many bytes that do not compress."""
    data, taken = os.urandom(size), []
    for number in range(runs):
        begun = time.perf_counter()
        with open(folder / str(number), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        taken.append(time.perf_counter() - begun)
    return taken


def on_ranks(count: int, agents: int, runs: int) -> dict[str, Any]:
    """What so many ranks took."""
    from machine import spread

    launcher = Path(sys.executable).with_name("mpirun")
    command = [str(launcher), "--oversubscribe", "--bind-to", "none", "-n", str(count)] if count > 1 else []
    own = {"PYTHONPATH": str(ROOT), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, "--worker", str(agents), str(runs), folder]
        done = subprocess.run(
            [*command, *words], env=os.environ | own, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
            check=True,
        )  # fmt: skip
        found = json.loads(done.stdout.splitlines()[-1])
        files = plain(agents, Path(folder), runs)
    moments = DAYS // EVERY
    with_, without = (spread(found["walls"][name]) for name in ("with", "without"))
    stall = spread([1e3 * each for each in found["stalls"]])
    return {
        "with_s": with_,
        "without_s": without,
        "stall_ms_a_snapshot": stall,
        "mb_a_second": agents / 1e3 / stall["median"],
        "mb_a_snapshot": agents / 1e6,
        "files_a_snapshot": found["files"] / moments,
        "stored_bytes_an_agent": found["stored_bytes"] / moments / agents,
        "plain_file_ms": spread([1e3 * each for each in files]),
    }


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, default=4_000_000)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="few agents, one run, nothing saved")
    asked = parser.parse_args()
    if asked.small:
        asked.agents, asked.ranks, asked.runs = 20_000, [1, 2], 1
    from machine import machine, save

    result: dict[str, Any] = {"machine": machine(), "agents": asked.agents, "days": DAYS, "every": EVERY}
    for count in asked.ranks:
        found = result[str(count)] = on_ranks(count, asked.agents, asked.runs)
        print(
            f"{count} ranks: {found['stall_ms_a_snapshot']['median']:.1f} ms a snapshot of "
            f"{found['mb_a_snapshot']:g} MB in {found['files_a_snapshot']:g} files; "
            f"a plain file {found['plain_file_ms']['median']:.1f} ms",
            flush=True,
        )
    if not asked.small:
        save(RESULT, result)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        bound(os.cpu_count() or 1)
        worker(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
