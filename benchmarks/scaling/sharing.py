"""What two ranks gain in a study: its runs shared out among them, or the agents of each.

python benchmarks/scaling/sharing.py [--agents N] [--realizations M] [--small]

The study is `nyc-lockdown-dates` in a city of fewer people. Each rank has one core; beside them one process with one
core, and one with two. A whole command is timed, from its start to its end, after another has compiled its programs and
kept them, which does not help a population that is split: its programs are compiled each time. That all ways give the
same answers is checked. Results go to benchmarks/scaling/sharing.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from measure import bound

RESULT = Path(__file__).with_name("sharing.json")
ROOT = Path(__file__).parents[2]
WAYS: dict[str, tuple[int, int, tuple[str, ...]]] = {  # ranks, cores, words
    "one process, one core": (1, 1, ()),
    "one process, two cores": (1, 2, ()),
    "two ranks, runs shared out": (2, 2, ()),
    "two ranks, --split": (2, 2, ("--split",)),
}


def seconds(way: str, command: list[str], out: Path, cache: Path) -> float:
    """What the command takes."""
    ranks, cores, more = WAYS[way]
    launcher = Path(sys.executable).with_name("mpirun")
    start = [str(launcher), "--oversubscribe", "--bind-to", "none", "-n", str(ranks)] if ranks > 1 else []
    own = {"PYTHONPATH": str(ROOT), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    own |= {"LPM_CACHE_DIR": str(cache)}
    begun = time.perf_counter()
    subprocess.run(
        [*start, sys.executable, __file__, "--worker", str(cores), *command, *more, "--out", str(out)],
        env=os.environ | own, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return time.perf_counter() - begun


def answers(out: Path) -> Any:
    """What the study found, to compare."""
    import numpy as np
    import xarray as xr

    found = xr.open_zarr(out / "results.zarr", consolidated=False).load()
    return np.concatenate([found[name].values.reshape(-1).astype(float) for name in ("admissions", "deaths")])


def main() -> None:
    """Measure, print, save."""
    import numpy as np
    from machine import machine, save

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, default=500_000)
    parser.add_argument("--realizations", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="few people, nothing saved")
    asked = parser.parse_args()
    if asked.small:
        asked.agents, asked.realizations = 10_000, 1
    command = ["study", "nyc-lockdown-dates", "--agents", str(asked.agents), "--realizations", str(asked.realizations)]
    found: dict[str, Any] = {"machine": machine(), "command": ["lpm", *command]}
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        found["compiling, one core"] = seconds(next(iter(WAYS)), command, Path(folder) / "before", cache)
        expected = answers(Path(folder) / "before")
        for way in WAYS:
            found[way] = seconds(way, command, Path(folder) / way, cache)
            print(f"{way}: {found[way]:.1f} s", flush=True)
            if not np.array_equal(expected, answers(Path(folder) / way), equal_nan=True):
                sys.exit(f"{way}: asked for the answers of one process, got others")
    if not asked.small:
        save(RESULT, found)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        bound(int(sys.argv[2]))
        sys.argv = ["lpm", *sys.argv[3:]]
        from lpm.cli import main as command_line

        command_line()
    else:
        main()
