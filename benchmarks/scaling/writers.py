"""What writes snapshots fastest: zarr-python or tensorstore, one file or one in parts, on one and two processes.

python benchmarks/scaling/writers.py [--megabytes M] [--runs R] [--small]

Each process writes a file of its own with its part of M megabytes, as the ranks of a run do: stages of agents, which
compress to a quarter, and wealth in single precision, which hardly does. Files are synchronized after each. What was
written by one is read by the other and compared. Results go to benchmarks/scaling/writers.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr

sys.path.insert(0, str(Path(__file__).parents[1]))

RESULT = Path(__file__).with_name("writers.json")
PARTS = 8  # of a file that has parts


def data(kind: str, size: int) -> np.ndarray:
    """So many bytes of agents' entries."""
    rng = np.random.default_rng(os.getpid())
    if kind == "stage":
        return rng.choice(np.array([0, 1, 2], np.uint8), size, p=[0.6, 0.1, 0.3])
    return rng.lognormal(size=size // 4).astype(np.float32)


def write(path: str, tool: str, number: int, first: int, values: np.ndarray) -> None:
    """One process's file of a snapshot, on the disk when this returns."""
    where = (number, slice(first, first + len(values)))
    if tool == "zarr":
        zarr.open_array(path)[where] = values
    else:
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}
        tensorstore.open(spec).result()[where].write(values).result()
    for folder, _, files in os.walk(f"{path}/c/{number}"):
        for file in files:
            descriptor = os.open(os.path.join(folder, file), os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def process(path: str, tool: str, kind: str, rank: int, size: int, runs: int, together: Any, told: Any) -> None:
    """Snapshots written at the same time as other processes write theirs."""
    values = data(kind, size)
    taken = []
    for number in range(runs + 1):
        together.wait()
        begun, spent = time.perf_counter(), time.process_time()
        write(path, tool, number, rank * len(values), values)
        taken.append((time.perf_counter() - begun, time.process_time() - spent))
    told.put((rank, taken[1:]))
    other = tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}
    ).result() if tool == "zarr" else zarr.open_array(path)  # fmt: skip
    here = slice(rank * len(values), (rank + 1) * len(values))
    found = other[runs, here]
    assert np.array_equal(found.read().result() if tool == "zarr" else found, values)


def measured(tool: str, kind: str, parts: int, processes: int, size: int, runs: int) -> dict[str, Any]:
    """What so many processes took for snapshots of so many bytes together."""
    from machine import spread

    context = multiprocessing.get_context("spawn")
    dtype = np.dtype(np.uint8 if kind == "stage" else np.float32)
    each = size // processes // dtype.itemsize // PARTS * PARTS
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/snapshot"
        zarr.create_array(
            path, shape=(runs + 1, processes * each), dtype=dtype, chunks=(1, each // parts),
            shards=(1, each) if parts > 1 else None, fill_value=0,
        )  # fmt: skip
        together, told = context.Barrier(processes), context.Queue()
        words = [(path, tool, kind, rank, each * dtype.itemsize, runs, together, told) for rank in range(processes)]
        started = [context.Process(target=process, args=each) for each in words]
        for one in started:
            one.start()
        found = [told.get()[1] for _ in started]
        for one in started:
            one.join()
            if one.exitcode:
                sys.exit("writers: what one tool wrote was not what the other read")
        files = [file for file in Path(path).rglob("*") if file.is_file() and file.name != "zarr.json"]
        stored = sum(file.stat().st_size for file in files) / (runs + 1) / size
    walls = [max(times) for times in zip(*[[wall for wall, _ in each] for each in found], strict=True)]
    spent = [sum(times) for times in zip(*[[cpu for _, cpu in each] for each in found], strict=True)]
    return {
        "ms": spread([1e3 * wall for wall in walls]),
        "processor_ms": spread([1e3 * each for each in spent]),
        "mb_a_second": size / 1e6 / spread(walls)["median"],
        "files": len(files) / (runs + 1),
        "stored_share": stored,
    }


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=80)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="little data, one run, nothing saved")
    asked = parser.parse_args()
    if asked.small:
        asked.megabytes, asked.runs = 1, 1
    from machine import machine, save

    result: dict[str, Any] = {"machine": machine(), "megabytes": asked.megabytes, "rows": []}
    for kind in ("stage", "wealth"):
        for processes in (1, 2):
            for parts in (1, PARTS):
                for tool in ("zarr", "tensorstore"):
                    found = measured(tool, kind, parts, processes, 1_000_000 * asked.megabytes, asked.runs)
                    row = {"kind": kind, "processes": processes, "parts": parts, "tool": tool}
                    result["rows"].append(row | found)
                    print(
                        f"{kind}, {processes} processes, {parts} parts, {tool}: {found['ms']['median']:.0f} ms, "
                        f"{found['mb_a_second']:.0f} MB/s, processor {found['processor_ms']['median']:.0f} ms",
                        flush=True,
                    )
    result["versions"] = {"zarr": zarr.__version__, "tensorstore": tensorstore_version()}
    if not asked.small:
        save(RESULT, result)


def tensorstore_version() -> str:
    """As installed."""
    from importlib import metadata

    return metadata.version("tensorstore")


if __name__ == "__main__":
    print(json.dumps({"cores": os.cpu_count()}))
    main()
