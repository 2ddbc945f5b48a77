"""What writes snapshots fastest: zarr-python or tensorstore, one file or one in parts, on one and two processes.

python benchmarks/scaling/writers.py [--megabytes M] [--runs R] [--small]

Each process writes a file of its own with its part of M megabytes, as the ranks of a run do: stages of agents, which
compress to a quarter, and wealth in single precision, which hardly does. Files are synchronized after each. What was
written by one is read by the other and compared. Where other programs run too, processor times alone say
something. Results go to benchmarks/scaling/writers.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr

sys.path.insert(0, str(Path(__file__).parents[1]))

RESULT = Path(__file__).with_name("writers.json")
PARTS = 8  # of a file that has parts
KINDS = {"stage": np.uint8, "wealth": np.float32}


def data(kind: str, size: int) -> np.ndarray:
    """So many bytes of agents' entries."""
    rng = np.random.default_rng(os.getpid())
    if kind == "stage":
        return rng.choice(np.array([0, 1, 2], np.uint8), size, p=[0.6, 0.1, 0.3])
    return rng.lognormal(size=size // 4).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Row:
    """One way to write: entries of a kind, a file in parts or not, by a tool; `each` entries for each process."""

    path: str
    kind: str
    parts: int
    tool: str
    each: int
    dtype: np.dtype


def opened(path: str) -> Any:
    """The array, by tensorstore."""
    return tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}).result()


def write(path: str, tool: str, number: int, first: int, values: np.ndarray) -> None:
    """One process's file of a snapshot, on the disk when this returns."""
    where = (number, slice(first, first + len(values)))
    if tool == "zarr":
        with zarr.config.set({"array.write_empty_chunks": True}):  # as `lpm.store` does
            zarr.open_array(path)[where] = values
    else:
        opened(path)[where].write(values).result()
    descriptor = os.open(f"{path}/c/{number}/{first // len(values)}", os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def process(rows: list[Row], rank: int, runs: int, together: Any, told: Any) -> None:
    """Snapshots of each row, written at the same time as other processes write theirs; then read by the other tool."""
    for number, row in enumerate(rows):
        values = data(row.kind, row.each * row.dtype.itemsize)
        here, taken = slice(rank * row.each, (rank + 1) * row.each), []
        for moment in range(runs + 1):
            together.wait()
            begun, spent = time.perf_counter(), time.process_time()
            write(row.path, row.tool, moment, here.start, values)
            taken.append((time.perf_counter() - begun, time.process_time() - spent))
        together.wait()
        if row.tool == "tensorstore":
            found = zarr.open_array(row.path)[runs, here]
        else:
            found = opened(row.path)[runs, here].read().result()
        if not np.array_equal(found, values):
            raise SystemExit("writers: what one tool wrote was not what the other read")
        told.put((number, taken[1:]))


def measured(folder: Path, processes: int, size: int, runs: int) -> list[dict[str, Any]]:
    """What so many processes took for snapshots of so many bytes together."""
    from machine import spread

    rows = []
    for kind, parts, tool in itertools.product(KINDS, (1, PARTS), ("zarr", "tensorstore")):
        dtype = np.dtype(KINDS[kind])
        each = size // processes // dtype.itemsize // PARTS * PARTS
        rows.append(Row(str(folder / f"{kind}-{parts}-{tool}"), kind, parts, tool, each, dtype))
        zarr.create_array(
            rows[-1].path, shape=(runs + 1, processes * each), dtype=dtype, chunks=(1, each // parts),
            shards=(1, each) if parts > 1 else None, fill_value=0,
        )  # fmt: skip
    context = multiprocessing.get_context("spawn")
    together, told = context.Barrier(processes), context.Queue()
    started = [
        context.Process(target=process, args=(rows, rank, runs, together, told), daemon=True)
        for rank in range(processes)
    ]
    for one in started:
        one.start()
    times: dict[int, list[Any]] = {number: [] for number in range(len(rows))}
    for _ in range(processes * len(rows)):
        number, taken = told.get(timeout=600)
        times[number].append(taken)
    for one in started:
        one.join()
    found = []
    for row, of_ranks in zip(rows, times.values(), strict=True):
        files = [file for file in Path(row.path).rglob("*") if file.is_file() and file.name != "zarr.json"]
        walls = [max(wall for wall, _ in moment) for moment in zip(*of_ranks, strict=True)]
        spent = [sum(cpu for _, cpu in moment) for moment in zip(*of_ranks, strict=True)]
        found.append(
            {"kind": row.kind, "processes": processes, "parts": row.parts, "tool": row.tool}
            | {"ms": spread([1e3 * each for each in walls]), "processor_ms": spread([1e3 * each for each in spent])}
            | {"mb_a_second": size / 1e6 / spread(walls)["median"], "files": len(files) / (runs + 1)}
            | {"stored_share": sum(file.stat().st_size for file in files) / (runs + 1) / size}
        )
    return found


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="little data, one run, nothing saved")
    asked = parser.parse_args()
    if asked.small:
        asked.megabytes, asked.runs = 1, 1
    from machine import machine, save

    result: dict[str, Any] = {"machine": machine(), "megabytes": asked.megabytes, "rows": []}
    for processes in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            for found in measured(Path(folder), processes, 1_000_000 * asked.megabytes, asked.runs):
                result["rows"].append(found)
                print(
                    f"{found['kind']}, {processes} processes, {found['parts']} parts, {found['tool']}: "
                    f"{found['ms']['median']:.0f} ms, {found['mb_a_second']:.0f} MB/s, processor "
                    f"{found['processor_ms']['median']:.0f} ms",
                    flush=True,
                )
    result["versions"] = {name: metadata.version(name) for name in ("zarr", "tensorstore")}
    if not asked.small:
        save(RESULT, result)


if __name__ == "__main__":
    main()
