"""What there is around the steps: from the command to the first day, and what writing costs.

python benchmarks/bench_overhead.py [--small]

A shipped config is started by its command, first with an empty cache directory (compiled programs and synthetic
populations are then made), then some times with what that left; the time is taken when the command says that its first
day is in the store, and at its end. The whole command, of all days, is timed alike. Writing is what a run with its
store takes longer than the same steps alone, in turns in one process, each with its own spread. Results go to
benchmarks/results/overhead.json.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
from machine import machine, save, spread

import lpm
from lpm.batch import Engine
from lpm.config import build_world, load

RESULT = Path(__file__).parent / "results" / "overhead.json"
COMMAND = "from lpm.cli import main; main()"
CONFIGS = {"sir-million": "settings.agents", "nyc-2020": "settings.people.agents"}  # and its number of agents
RUNS, WHOLE, SMALL = 5, 3, 20_000


def command(config: str, options: list[str], cache: Path, folder: Path) -> dict[str, float]:
    """Seconds from the command until its first record is in the store, and until its end, picture drawn."""
    words = [sys.executable, "-u", "-c", COMMAND, "run", config, "--out", str(folder), *options]
    environment = os.environ | {"LPM_CACHE_DIR": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # with it each start compiles all libraries anew
    begun, day = time.perf_counter(), 0.0
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if not day and re.match(r"\d+ of \d+ steps", line):
                day = time.perf_counter() - begun
    if process.returncode:
        sys.exit(f"{config} ended with {process.returncode}")
    return {"first_day_s": day, "end_s": time.perf_counter() - begun}


def start(config: str, agents: list[str], runs: int) -> dict[str, Any]:
    """The command, cold and warm."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        one_day = [*agents, "--steps", "1"]
        cold = command(config, one_day, at / "cache", at / "cold")
        warm = [command(config, one_day, at / "cache", at / f"warm-{number}") for number in range(runs)]
        whole = [
            command(config, agents, at / "another", at / f"whole-{number}")["end_s"] for number in range(1 + WHOLE)
        ]
    found = {name: spread([each[name] for each in warm]) for name in cold}
    return {"cold": cold, "whole_cold_s": whole[0], "whole_s": spread(whole[1:])} | found


def writing(config: str, agents: list[str], runs: int) -> dict[str, Any]:
    """Runs with their store, and the same steps alone, in turns."""
    chosen = load(config, agents)
    world, calendar = build_world(chosen), chosen.run.calendar
    engine, walls, processors = Engine(world, 1, 1, 1), {"run": [], "steps": []}, {"run": [], "steps": []}

    def steps() -> None:
        jax.block_until_ready([chunk.seen for chunk in engine.chunks(0, calendar.steps, (), 0)])

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            lpm.run(world, calendar, folder, seed=1)

    for number in range(runs + 1):
        for name, work in (("run", run), ("steps", steps)):
            wall, processor = time.perf_counter(), time.process_time()
            work()
            if number:
                walls[name].append(time.perf_counter() - wall)
                processors[name].append(time.process_time() - processor)
    found = {f"{name}_{what}_s": spread(values[name]) for name in walls for what, values in
             (("wall", walls), ("processor", processors))}  # fmt: skip
    return {"agents": world.agents, "steps": calendar.steps} | found


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="few agents, nothing saved: does the script run?")
    small = parser.parse_args().small
    result: dict[str, Any] = {"machine": machine(), "configs": {}}
    for config, key in CONFIGS.items():
        agents = [f"{key}={SMALL}"] if small else []
        options = [word for each in agents for word in ("--set", each)]
        runs = 1 if small else RUNS
        found = result["configs"][config] = {
            "start": start(config, options, runs),
            "writing": writing(config, agents, runs),
        }
        began, wrote = found["start"], found["writing"]
        share = wrote["run_wall_s"]["median"] / wrote["steps_wall_s"]["median"] - 1
        day, cold = began["first_day_s"]["median"], began["cold"]["first_day_s"]
        print(
            f"{config}: first day after {day:.1f} s, cold {cold:.1f} s; a run with its store takes {share:.0%} longer "
            "than its steps",
            flush=True,
        )
    if not small:
        save(RESULT, result)


if __name__ == "__main__":
    main()
