"""What memory a rank needs to build its part of a world, against one process that builds all.

python benchmarks/scaling/memory.py [--agents 10000000] [--ranks 1 2 4] [--worlds "random graph" city]

Each number of ranks is a fresh start of mpirun; a rank builds a small world first, so that what the compiler and the
libraries take is not counted, and then tells how far its peak of resident memory rose. Writes memory.json beside this
file; model.py makes the table of docs/scaling.md of it. The city's table of people is on disk before (it is made by the
first rank that asks for it): what that takes is measured too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULT = HERE / "memory.json"
SMALL = 10_000
MB = 1e6


def peak() -> float:
    """Bytes of resident memory at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def of_rank(world: str, agents: int) -> None:
    """What `mpirun` starts: builds, and rank 0 prints what each rank has found."""
    import jax

    from benchmarks.scaling.worlds import WORLDS
    from lpm import distributed, parts

    ranks = distributed.ranks()

    def build(count: int) -> Any:
        found = WORLDS[world](count) if ranks.count == 1 else parts.of(lambda: WORLDS[world](count), ranks)
        return jax.block_until_ready(found)

    build(SMALL)
    before, begun = peak(), time.perf_counter()
    made = build(agents)
    mine = {
        "agents": made.here,
        "seconds": time.perf_counter() - begun,
        "peak_mb": (peak() - before) / MB,
        "kept_mb": sum(leaf.nbytes for leaf in jax.tree.leaves(made.state)) / MB,
    }
    found = ranks.all(mine)
    if ranks.rank == 0:
        print(json.dumps({"ranks": found, "built": made.share.built if made.share else "one process"}))


def of_people(agents: int) -> None:
    """What the table of people takes that makes it."""
    from lpm.populations import new_york_city

    new_york_city(SMALL)
    before, begun = peak(), time.perf_counter()
    new_york_city(agents)
    print(json.dumps({"peak_mb": (peak() - before) / MB, "seconds": time.perf_counter() - begun}))


def started(ranks: int, *words: str, cache: str) -> dict[str, Any]:
    """This file on so many ranks."""
    program = [sys.executable, __file__, *words]
    launcher = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if ranks > 1:
        program = [str(launcher), "--oversubscribe", "--bind-to", "none", "-n", str(ranks), *program]
    ours = {
        "PYTHONPATH": str(ROOT), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "JAX_PLATFORMS": "cpu", "LPM_CACHE_DIR": cache,
    }  # fmt: skip
    done = subprocess.run(
        program, env=os.environ | ours, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--agents", type=int, default=10_000_000)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--worlds", nargs="+", default=["random graph", "small world", "city"])
    parser.add_argument("--rank-of", help="what mpirun starts")
    chosen = parser.parse_args()
    if chosen.rank_of == "people":
        return of_people(chosen.agents)
    if chosen.rank_of:
        return of_rank(chosen.rank_of, chosen.agents)
    from benchmarks.machine import machine

    result = json.loads(RESULT.read_text()) if RESULT.exists() else {"worlds": {}}
    result |= {"machine": machine()}
    with tempfile.TemporaryDirectory() as cache:
        for world in chosen.worlds:
            case = result["worlds"].setdefault(f"{world}, {chosen.agents:,} agents", {})
            if world == "city":
                words = "--rank-of", "people", "--agents", str(chosen.agents)
                case["people"] = started(1, *words, cache=cache)
            for ranks in chosen.ranks:
                case[str(ranks)] = started(
                    ranks, "--rank-of", world, "--agents", str(chosen.agents), cache=cache
                )  # fmt: skip
                each = case[str(ranks)]["ranks"]
                print(world, ranks, [f"{one['peak_mb']:,.0f} MB {one['seconds']:.0f} s" for one in each], flush=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
