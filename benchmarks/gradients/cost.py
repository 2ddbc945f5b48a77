"""What derivatives cost beside a plain run, in time and memory.  python benchmarks/gradients/cost.py [--small]

A million agents in households of four, workplaces and a graph of degree 4: SIR, 20 days; and 21 days over a graph of
mean degree 3.6 alone. Each kind of run has a process of its own, where it takes turns with plain runs, so that a
load of the machine falls on both. Results go to benchmarks/gradients/results/cost.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import worlds
from machine import machine, save, spread

import lpm
from lpm.gradients import each_direction
from lpm.world import World

RESULT = Path(__file__).parent / "results" / "cost.json"
SEED = 1000
MILLION, FEW = 1_000_000, 4_000
STEPS = {"layers": 20, "graph": 21}
KINDS = {
    "layers": ("plain", "primal", "jvp", "ten_jvps", "ten_differences", "gradient"),
    "graph": ("plain", "gradient"),
}
MEANINGS = {
    "plain": "without derivatives",
    "primal": "that could carry derivatives, and carries none",
    "jvp": "one derivative, forwards",
    "ten_jvps": "ten derivatives, forwards, as `jacobian` finds them",
    "ten_differences": "ten derivatives, by differences of order 2, as `jacobian` finds them",
    "gradient": "value and gradient, backwards",
}


def world(name: str, agents: int) -> World:
    """One of the two worlds."""
    if name == "graph":
        return worlds.layered(
            {"graph": worlds.random_graph(agents, 3.6, SEED)}, {"graph": 0.1}, agents=agents, initial=0.01
        )
    layers = {
        "household": worlds.households(agents, SEED, size=4),
        "work": worlds.workplaces(agents, 12, SEED),
        "graph": worlds.random_graph(agents, 4, SEED),
    }
    rates = {"household": 0.1, "work": 0.1, "graph": 0.03}
    return worlds.layered(layers, rates, agents=agents, initial=0.01)


def kind_of_run(kind: str, made: World, steps: int) -> Callable[..., Any]:
    """What is timed: a function of parameters and state."""

    def curve(params: Any, state: Any, rule: Any) -> jax.Array:
        seen = lpm.simulate(made.model, params, state, lpm.key(SEED), steps=steps, observe=made.observables, rule=rule)[
            1
        ]
        return seen["infectious"]

    def forwards(params: Any, state: Any, direction: Any) -> Any:
        return jax.jvp(lambda p: curve(p, state, "cavity"), (params,), (direction,))

    def jvps(params: Any, state: Any) -> Any:
        return each_direction(lambda direction: forwards(params, state, direction), _directions(params, 10), state)

    def differences(params: Any, state: Any) -> Any:
        moved = [params]
        for number in range(10):
            step = jax.tree.map(lambda d, number=number: 0.05 * d[number], _directions(params, 10))
            moved += [jax.tree.map(op, params, step) for op in (jnp.add, jnp.subtract)]
        stacked = jax.tree.map(lambda *each: jnp.stack(each), *moved)
        return jax.lax.map(lambda p: curve(p, state, None), stacked)

    def loss(params: Any, state: Any) -> jax.Array:
        return ((curve(params, state, "cavity") / made.agents) ** 2).sum()

    return {
        "plain": lambda params, state: curve(params, state, None),
        "primal": lambda params, state: curve(params, state, "cavity"),
        "jvp": lambda params, state: forwards(params, state, params),
        "ten_jvps": jvps,
        "ten_differences": differences,
        "gradient": jax.value_and_grad(loss),
    }[kind]


def _directions(params: Any, number: int) -> Any:
    """Different mixtures of all parameters."""
    rng = np.random.default_rng(SEED)
    return jax.tree.map(lambda leaf: leaf * jnp.asarray(rng.normal(size=number), jnp.float32), params)


def measure(name: str, kind: str, agents: int, repeats: int) -> dict[str, Any]:
    """Time and memory of one kind of run, taking turns with plain ones."""
    steps, made = STEPS[name], world(name, agents)
    begun = time.perf_counter()
    compiled = _compiled(kind, made, steps)
    compilation = time.perf_counter() - begun
    added, peak = _memory(lambda: jax.block_until_ready(compiled(made.params, made.state)))
    plain = _compiled("plain", made, steps)
    times: dict[str, list[tuple[float, float]]] = {"own": [], "plain": []}
    for repeat in range(repeats + 1):
        for which, function in (("own", compiled), ("plain", plain)):
            wall, processor = time.perf_counter(), time.process_time()
            jax.block_until_ready(function(made.params, made.state))
            if repeat:  # the first is for warmth
                took = (time.perf_counter() - wall, time.process_time() - processor)
                times[which].append(took)
    own, other = np.array(times["own"]), np.array(times["plain"])
    return {
        "world": name,
        "kind": kind,
        "meaning": MEANINGS[kind],
        "agents": agents,
        "steps": steps,
        "compilation_s": round(compilation, 1),
        "wall_ms_per_step": spread(list(own[:, 0] / steps * 1e3)),
        "processor_ms_per_step": spread(list(own[:, 1] / steps * 1e3)),
        "wall_s": statistics.median(own[:, 0]),
        "wall_ratio_to_plain": statistics.median(own[:, 0] / other[:, 0]),
        "processor_ratio_to_plain": statistics.median(own[:, 1] / other[:, 1]),
        "added_memory_mb": added,
        "peak_memory_mb": peak,
        "compiled_temporaries_mb": compiled.memory_analysis().temp_size_in_bytes / 1e6,
    }


def _compiled(kind: str, made: World, steps: int) -> Any:
    return jax.jit(kind_of_run(kind, made, steps)).lower(made.params, made.state).compile()


def _memory(function: Callable[[], Any]) -> tuple[float, float]:
    """Resident memory that a call added at its peak, and the peak itself, MB; not a number where Linux does not say."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        clear.write_text("5")  # the peak starts anew
        before = _status(status, "VmRSS")
        function()
        peak = _status(status, "VmHWM")
    except OSError:
        function()
        return float("nan"), float("nan")
    return peak - before, peak


def _status(file: Path, key: str) -> float:
    return next(int(line.split()[1]) / 1e3 for line in file.read_text().splitlines() if line.startswith(key))


def main() -> None:
    """Measure each kind in a process of its own, print a line for each, save them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="few agents, nothing saved: does the script run?")
    parser.add_argument("--agents", type=int, help="how many")
    parser.add_argument("--repeats", type=int, help="of each run")
    parser.add_argument("--only", metavar="WORLD:KIND", help="measure this in this process and print it as JSON")
    arguments = parser.parse_args()
    agents = arguments.agents or (FEW if arguments.small else MILLION)
    repeats = arguments.repeats or (1 if arguments.small else 5)
    if arguments.only:
        print(json.dumps(measure(*arguments.only.split(":"), agents, repeats)))
        return
    about, results = machine(), []
    for name, kinds in KINDS.items():
        for kind in kinds:
            words = [sys.executable, __file__, "--only", f"{name}:{kind}", "--agents", agents, "--repeats", repeats]
            done = subprocess.run([str(word) for word in words], check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            results.append(found)
            print(
                f"{name}, {kind}: {found['wall_ms_per_step']['median']:.1f} ms a step "
                f"({found['processor_ms_per_step']['median']:.1f} of the processor), "
                f"{found['processor_ratio_to_plain']:.2f} plain runs, {found['wall_s']:.2f} s in all, "
                f"{found['added_memory_mb']:.0f} MB more, {found['peak_memory_mb']:.0f} MB at most",
                flush=True,
            )
    if not arguments.small:
        save(RESULT, {"machine": about, "results": results})


if __name__ == "__main__":
    main()
