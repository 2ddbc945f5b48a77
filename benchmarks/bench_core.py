"""How long the shipped cases take: set-up, compilation, steps, memory.  python benchmarks/bench_core.py [PART ...]

A step's time is measured as `lpm run` takes steps, observables on, over whole runs after the first; wall and processor
time. Parts: the shipped configs (`cases`), with numbers of agents that the cores do not divide (`odd`), kinds of
contacts (`contacts`), builders of graphs (`graphs`); all if none is named. Results go to benchmarks/results/core.json,
beside those of other parts. Times vary with the load of the machine, which is recorded.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from machine import machine, peak_memory_gb, save, spread

from lpm import batch, networks
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
        "bytes_per_agent": memory(engine),
    }


def memory(engine: Engine) -> dict[str, float]:
    """Bytes for each agent: of each entry of the state, and of what a step keeps beside it at most."""
    world = engine.world
    entries = {**world.state.fixed, **world.state.agents}
    sizes = {name: sum(leaf.nbytes for leaf in jax.tree.leaves(entry)) for name, entry in entries.items()}
    arguments = (world.params, engine.start(0), world.state.fixed, engine.keys(0))
    step = batch.advance.lower(world.model, world.observables, 1, *arguments).compile().memory_analysis()
    return {name: size / world.agents for name, size in (sizes | {"step": step.temp_size_in_bytes}).items()}


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


def cases(small: bool) -> dict[str, Any]:
    """The shipped configs, as large as they are."""
    found = []
    for name, key in (("sir-million", "settings.agents"), ("nyc-2020", "settings.people.agents")):
        few = [f"{key}=20000"] if small else []
        found.append(measure(name, few, runs=1 if small else 7, steps=10 if small else 100))
        told = found[-1]
        print(
            f"{name}: {told['agents']:,} agents, set-up {told['setup_s']} s, first step {told['first_step_s']} s, "
            f"{told['wall_ms_per_step']['median']:.1f} ms a step "
            f"({told['processor_ms_per_step']['median']:.1f} of the processor), "
            f"{told['agent_steps_per_s']:.3g} agent-steps/s, {told['peak_memory_gb_so_far']} GB"
        )
    return {"cases": found}


def odd(small: bool) -> dict[str, Any]:
    """A million agents, and one less."""
    found: dict[str, list[Any]] = {}
    for name, key in (("sir-million", "settings.agents"), ("nyc-2020", "settings.people.agents")):
        for agents in (20_480, 20_479) if small else (1_000_000, 999_999):
            told = measure(name, [f"{key}={agents}"], runs=1 if small else 7, steps=10 if small else 60)
            found.setdefault(name, []).append({key: told[key] for key in ("agents", "steps", "wall_ms_per_step")})
            print(f"{name} with {agents:,} agents: {told['wall_ms_per_step']['median']:.1f} ms a step")
    return {"odd": found}


KINDS = {
    "erdos_renyi": [],
    "heavy_tailed": ["settings.contacts.kind=heavy_tailed"],
    "redrawn": ["settings.contacts.kind=well_mixed", f"settings.transmission={10 * 0.03}"],
}


def contacts(small: bool) -> dict[str, Any]:
    """A million agents with ten contacts each: the same ones, heavy-tailed in number, or drawn anew each day."""
    found = []
    for kind, changes in KINDS.items():
        few = ["settings.agents=20000"] if small else []
        told = measure("sir-million", [*few, *changes], runs=1 if small else 7, steps=10 if small else 100)
        about = ("agents", "steps", "setup_s", "first_step_s", "wall_ms_per_step", "processor_ms_per_step")
        found.append({"contacts": kind} | {key: told[key] for key in about})
        times = [found[-1][f"{clock}_ms_per_step"]["median"] for clock in ("wall", "processor")]
        print(f"{kind}: {times[0]:.1f} ms a step, {times[1]:.1f} of the processor")
    return {"contacts": found}


def graphs(small: bool) -> dict[str, Any]:
    """Edges drawn and laid out."""
    found = []
    for name in ("erdos_renyi", "small_world", "regular"):
        found.append(build_graph(name, 20_000 if small else 1_000_000, runs=1 if small else 5))
        told = found[-1]
        print(f"{name}: {told['directed_edges']:,} directed edges built in {told['wall_s']['median']:.2f} s")
    return {"graphs": found}


PARTS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "cases": cases,
    "odd": odd,
    "contacts": contacts,
    "graphs": graphs,
}


def main() -> None:
    """Measure the parts asked for, print a line for each figure, save them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all if none is named")
    parser.add_argument("--small", action="store_true", help="small sizes, nothing saved: does the script run?")
    asked = parser.parse_args()
    for name in asked.parts or PARTS:
        about = machine()
        found = PARTS[name](asked.small)
        if not asked.small:
            before = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
            machines = {part: each for part, each in before.get("machine", {}).items() if part in PARTS}
            save(RESULT, before | found | {"machine": machines | {name: about}})


if __name__ == "__main__":
    main()
