"""Times of a step on 1, 2 and 4 ranks of this machine, and what of them is communication.

python benchmarks/scaling/measure.py [WORLD ...] [--agents N ...] [--ranks R ...] [--cores C] [--small]

Each rank is bound to its share of C cores, so that all numbers of ranks have the same cores; with more ranks than cores
ranks share a core, and the time says so. Results go to benchmarks/scaling/times.json, and what the model of
docs/scaling.md says beside them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULT = Path(__file__).with_name("times.json")
ROOT = Path(__file__).parents[2]
PATIENCE = 1800  # seconds for one number of ranks


def bound(cores: int) -> None:
    """Bind this process to its share of the cores, before JAX counts them."""
    rank, count = (int(os.environ.get(f"OMPI_COMM_WORLD_{name}", last)) for name, last in (("RANK", 0), ("SIZE", 1)))
    each = max(1, cores // count)
    os.sched_setaffinity(0, {(rank * each + core) % cores for core in range(each)})


def worker(name: str, agents: int, steps: int, runs: int) -> None:
    """One rank: build, divide, step; rank 0 prints what all of them saw."""
    import jax
    import numpy as np
    from worlds import WORLDS

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from machine import peak_memory_gb

    from lpm import distributed, partition
    from lpm.batch import Chunk, Engine
    from lpm.kernels import ranks as kernel

    ranks = distributed.ranks()
    begun = time.perf_counter()
    whole = WORLDS[name](agents)
    built = time.perf_counter()
    whole = jax.block_until_ready(partition.mine(whole, ranks))
    divided = time.perf_counter()
    spent: dict[str, list[float]] = {"add": [], "swap": [], "gather": []}

    def timed(what: str, function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        def call(*arguments: Any) -> np.ndarray:
            begin = time.perf_counter()
            answer = function(*arguments)
            spent[what].append(time.perf_counter() - begin)
            return answer

        return call

    with distributed.connected(ranks, whole.here, whole.agents):
        wire = kernel._wire  # what MPI does is timed where the compiled step calls it
        if wire is not None:
            kernel.connect(dataclasses.replace(wire, **{what: timed(what, getattr(wire, what)) for what in spent}))
        engine, walls, processors, waited = Engine(whole, 1, 1, 1), [], [], []
        for _ in range(runs + 1):
            ranks.all(None)
            for each in spent.values():
                each.clear()
            wall, processor = time.perf_counter(), time.process_time()
            jax.block_until_ready([c.seen for c in engine.chunks(0, steps, (), 0) if isinstance(c, Chunk)])
            walls.append((time.perf_counter() - wall) / steps * 1e3)
            processors.append((time.process_time() - processor) / steps * 1e3)
            waited.append({what: sum(each) / steps * 1e3 for what, each in spent.items()})
    middle = 1 + int(np.argsort(walls[1:])[runs // 2])
    seen = {
        "wall_ms": walls[middle],
        "wall_ms_all": walls[1:],
        "processor_ms": processors[middle],
        "communication_ms": waited[middle],
        "seconds_to_build": built - begun,
        "seconds_to_divide": divided - built,
        "peak_memory_gb": peak_memory_gb(),
        "agents": whole.here,
        "moved": list(whole.share.moved) if whole.share else [],
    }
    every = ranks.all(seen)
    if ranks.rank == 0:
        print(json.dumps(every))


def on_ranks(count: int, cores: int, name: str, agents: int, steps: int, runs: int) -> list[dict[str, Any]]:
    """What each of so many ranks saw."""
    launcher = Path(sys.executable).with_name("mpirun")
    command = [str(launcher), "--oversubscribe", "--bind-to", "none", "-n", str(count)] if count > 1 else []
    words = [sys.executable, __file__, "--worker", name, str(agents), str(steps), str(runs), str(cores)]
    own = {"PYTHONPATH": str(ROOT), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(
        [*command, *words], env=os.environ | own, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=PATIENCE,
        text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def summary(seen: list[dict[str, Any]], alone: float | None) -> dict[str, Any]:
    """The slowest rank's time, and the share of it that is spent in calls to the others, waiting included."""
    wall = max(each["wall_ms"] for each in seen)
    communication = [sum(each["communication_ms"].values()) for each in seen]
    return {
        "wall_ms": wall,
        "wall_ms_spread": [min(min(each["wall_ms_all"]) for each in seen), max(max(e["wall_ms_all"]) for e in seen)],
        "communication_ms": communication,
        "communication_share": sum(communication) / len(seen) / wall,
        "speed_up": None if alone is None else alone / wall,
        "ranks": seen,
    }


def main() -> None:
    """Measure, and keep what was measured before of other worlds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("worlds", nargs="*", default=["random graph", "city"])
    parser.add_argument("--agents", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--to", type=Path, default=RESULT)
    parser.add_argument("--small", action="store_true", help="to try the script: 20,000 agents, one run")
    chosen = parser.parse_args()
    if chosen.small:
        chosen.agents, chosen.runs, chosen.steps = [20_000], 1, 5
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from machine import machine, save

    result = json.loads(chosen.to.read_text()) if chosen.to.exists() else {}
    for name in chosen.worlds:
        for agents in chosen.agents:
            found: dict[str, Any] = {"machine": machine(), "cores": chosen.cores, "steps": chosen.steps}
            alone = None
            for count in chosen.ranks:
                seen = on_ranks(count, chosen.cores, name, agents, chosen.steps, chosen.runs)
                found[str(count)] = summary(seen, alone)
                alone = alone or (found[str(count)]["wall_ms"] if count == 1 else None)
                share, wall = found[str(count)]["communication_share"], found[str(count)]["wall_ms"]
                print(f"{name}, {agents:,}, {count} ranks: {wall:.2f} ms a step, {share:.0%} in calls", flush=True)
            result[f"{name}, {agents:,} agents"] = found
            save(chosen.to, result)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        bound(int(sys.argv[6]))
        worker(sys.argv[2], *(int(each) for each in sys.argv[3:6]))
    else:
        main()
