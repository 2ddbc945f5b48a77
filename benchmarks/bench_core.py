"""How long the shipped cases take: set-up, compilation, steps, memory.  python benchmarks/bench_core.py [--small]

A step's time is measured as `lpm run` takes steps, observables on, over whole runs after the first; wall and processor
time. Results go to benchmarks/results/core.json. Times vary with the load of the machine, which is recorded.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jax
import numpy as np
from machine import machine, peak_memory_gb, save, spread

from lpm import networks
from lpm.batch import Engine
from lpm.config import build_world, load

RESULT = Path(__file__).parent / "results" / "core.json"


def measure(name: str, overrides: list[str], runs: int, steps: int) -> dict[str, object]:
    """Build a shipped config, and step it some times."""
    begun = time.perf_counter()
    config = load(name, overrides)
    world = build_world(config)
    setup = time.perf_counter() - begun
    engine = Engine(world, seed=1, together=1, every=1)
    begun = time.perf_counter()
    jax.block_until_ready([chunk.seen for chunk in engine.chunks(0, 1, (), 0)])
    first = time.perf_counter() - begun
    walls, processors = [], []
    for _ in range(runs):
        wall, processor = time.perf_counter(), time.process_time()
        jax.block_until_ready([chunk.seen for chunk in engine.chunks(0, steps, (), 0)])
        walls.append((time.perf_counter() - wall) / steps * 1e3)
        processors.append((time.process_time() - processor) / steps * 1e3)
    return {
        "config": name,
        "agents": world.agents,
        "steps": steps,
        "setup_s": round(setup, 2),
        "first_step_s": round(first, 2),
        "wall_ms_per_step": spread(walls),
        "processor_ms_per_step": spread(processors),
        "agent_steps_per_s": world.agents / (spread(walls)["median"] / 1e3),
        "peak_memory_gb_so_far": round(peak_memory_gb(), 2),
    }


def build_graph(name: str, agents: int, runs: int) -> dict[str, object]:
    """Edges of mean degree 10 and the tables that the kernels read."""
    edges = {
        "erdos_renyi": lambda seed: networks.erdos_renyi(agents, 10.0, seed),
        "small_world": lambda seed: networks.small_world(agents, 10, 0.1, seed),
        "regular": lambda seed: networks.regular(agents, 10, seed),
    }[name]
    walls = []
    for seed in range(runs):
        begun = time.perf_counter()
        built = networks.graph(edges(seed), keep_order=True)
        walls.append(time.perf_counter() - begun)
    return {
        "graph": name,
        "agents": agents,
        "directed_edges": int(sum(np.count_nonzero(np.asarray(rows) < agents) for rows in built.rows)),
        "wall_s": spread(walls),
    }


def main() -> None:
    """Measure the cases, print a line for each, save them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="small sizes, nothing saved: does the script run?")
    small = parser.parse_args().small
    cases = [("sir-million", "settings.agents", 20_000), ("nyc-2020", "settings.people.agents", 20_000)]
    results = []
    for name, key, few in cases:
        results.append(
            measure(name, [f"{key}={few}"] if small else [], runs=1 if small else 9, steps=10 if small else 100)
        )
        found = results[-1]
        print(
            f"{name}: {found['agents']:,} agents, set-up {found['setup_s']} s, first step {found['first_step_s']} s, "
            f"{found['wall_ms_per_step']['median']:.1f} ms a step "
            f"({found['processor_ms_per_step']['median']:.1f} of the processor), "
            f"{found['agent_steps_per_s']:.3g} agent-steps/s, {found['peak_memory_gb_so_far']} GB"
        )
    graphs = []
    for name in ("erdos_renyi", "small_world", "regular"):
        graphs.append(build_graph(name, 20_000 if small else 1_000_000, runs=1 if small else 5))
        found = graphs[-1]
        print(f"{name}: {found['directed_edges']:,} directed edges built in {found['wall_s']['median']:.2f} s")
    if not small:
        save(RESULT, {"machine": machine(), "cases": results, "graphs": graphs})


if __name__ == "__main__":
    main()
