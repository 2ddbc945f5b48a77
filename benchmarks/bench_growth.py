"""How a day's time grows with the work.  python benchmarks/bench_growth.py [CURVE ...] [--small]

SIR on Erdős–Rényi graphs: more agents, contacts, infectious agents, layers of contacts, realizations. Each point is the
median of several runs after the first, observables on, nothing stored. Results go to benchmarks/results/growth.json and
a picture to docs/images/growth.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
from machine import machine, save, spread

from lpm import Calendar, State, chain, networks
from lpm.batch import Chunk, Engine
from lpm.kernels import contagion, random
from lpm.kernels.stages import among, event, move
from lpm.world import World
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts

matplotlib.use("Agg")

import matplotlib.pyplot as plt

RESULT = Path(__file__).parent / "results" / "growth.json"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "growth.png"
USUAL: dict[str, Any] = {"agents": 1_000_000, "degree": 10, "infectious": 0.01, "layers": 0, "realizations": 1}
CURVES: dict[str, list[Any]] = {
    "agents": [10_000, 100_000, 1_000_000, 10_000_000, 30_000_000],
    "degree": [4, 10, 30, 100],
    "infectious": [0.0001, 0.001, 0.01, 0.1, 0.5],
    "layers": [1, 2, 4, 6],
    "realizations": [1, 3, 10, 30, 100],
}
SMALL = {"agents": [1_000, 10_000], "degree": [4, 10], "infectious": [0.01], "layers": [1, 2], "realizations": [1, 3]}
LABELS = {
    "agents": "agents",
    "degree": "contacts of each agent",
    "infectious": "share infectious",
    "layers": "layers of contacts",
    "realizations": "realizations of 100,000 agents",
}


def infect_over_layers(params: sir.Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """As `sir.infect_and_recover`, over several graphs."""
    today, words = state.agents["stage"], random.words(key, state.fixed["id"])
    infected = contagion.infections(
        words[0],
        today,
        tuple(contagion.Layer(contacts, params.transmission) for contacts in state.fixed["contacts"]),
        susceptible=sir.SUSCEPTIBLE,
        infectious=(contagion.Infectious((sir.INFECTIOUS,)),),
    )
    recovered = event(words[1], 1 / params.infectious_days, among(today, sir.INFECTIOUS))
    tomorrow = move(move(today, recovered, sir.RECOVERED), infected, sir.INFECTIOUS)
    return state.replace(stage=tomorrow), {"infected": infected}


def put_back(params: sir.Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """Everybody as on the first morning."""
    stage = dataclasses.replace(state.agents["stage"], value=state.fixed["morning"])
    return state.replace(stage=stage), {}


def again(world: World) -> World:
    """The world with the same day over and over; draws are keyed by the step, so that others are infected on each."""
    key = random.stream(random.key(1), "start")
    morning = jax.jit(sir.first_cases)(world.params, world.state, key).agents["stage"].value
    state = dataclasses.replace(world.state, fixed=world.state.fixed | {"morning": morning})
    return dataclasses.replace(world, model=world.model.insert(put_back=put_back), state=state)


def several(world: World, layers: int, degree: float) -> World:
    """The world with so many graphs instead of one, agents in the order of their ids."""
    edges = [networks.erdos_renyi(world.agents, degree, seed) for seed in range(layers)]
    graphs = tuple(networks.graph(each, keep_order=True) for each in edges)
    ids = jnp.arange(world.agents, dtype=jnp.uint32)
    fixed = {"id": ids, "contacts": graphs}
    model = chain(sir.first_cases, infect_and_recover=infect_over_layers)
    return dataclasses.replace(world, model=model, state=dataclasses.replace(world.state, fixed=fixed))


def point(
    agents: int, degree: float, infectious: float, layers: int, realizations: int, runs: int, days: int
) -> dict[str, Any]:
    """Times of a day like any other; after each everybody is put back, so that the share infectious stays."""
    settings = sir.Settings(
        agents=agents,
        contacts=Contacts(mean_degree=degree),
        initial=infectious,
    )
    begun = time.perf_counter()
    world = sir.build(settings, Calendar(days))
    if layers:
        world = several(world, layers, degree)
    world = again(world)
    set_up = time.perf_counter() - begun
    engine = Engine(world, seed=1, together=realizations, every=1)
    walls, processors = [], []
    for _ in range(runs + 1):
        wall, processor = time.perf_counter(), time.process_time()
        jax.block_until_ready([chunk.seen for chunk in engine.chunks(0, days, (), 0) if isinstance(chunk, Chunk)])
        walls.append((time.perf_counter() - wall) / days * 1e3)
        processors.append((time.process_time() - processor) / days * 1e3)
    return {
        "set_up_s": set_up,
        "wall_ms_per_day": spread(walls[1:]),
        "processor_ms_per_day": spread(processors[1:]),
        "agent_steps_per_s": agents * realizations / spread(walls[1:])["median"] * 1e3,
    }


def curve(name: str, small: bool) -> Iterator[list[dict[str, Any]]]:
    """One kind of work grows, the rest stays usual: the points so far, after each."""
    points: list[dict[str, Any]] = []
    for value in (SMALL if small else CURVES)[name]:
        given = USUAL | ({"agents": 100_000} if name == "realizations" else {}) | ({"agents": 1_000} if small else {})
        given |= {name: value}
        points.append({name: value} | point(**given, runs=1 if small else 5, days=5 if small else 20))
        found: dict[str, Any] = points[-1]
        print(f"{name} {value:,}: {found['wall_ms_per_day']['median']:.3g} ms a day", flush=True)
        yield points


def picture(found: dict[str, Any]) -> None:
    """A panel for each curve, with the line along which time grows as the work does."""
    names = [name for name in CURVES if name in found]
    figure, panels = plt.subplots(1, len(names), figsize=(3 * len(names), 2.8), layout="constrained", squeeze=False)
    for place, name in enumerate(names):
        axes = panels[0][place]
        values = [point[name] for point in found[name]["points"]]
        times = [point["wall_ms_per_day"] for point in found[name]["points"]]
        middle: list[float] = [each["median"] for each in times]
        axes.plot(values, middle, "o-", color="#0072B2")
        axes.fill_between(values, [e["min"] for e in times], [e["max"] for e in times], color="#0072B2", alpha=0.25)
        if name != "infectious":
            axes.plot(values, [middle[-1] * value / values[-1] for value in values], ":", color="#999999")
        axes.set(xscale="log", yscale="log", xlabel=LABELS[name])
        if max(values) < 10 * min(values):
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.minorticks_off()
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 10 ** math.floor(math.log10(low))), max(high, 10 ** math.ceil(math.log10(high))))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_ylabel("ms a day")
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Measure the curves asked for and save them beside those measured before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("curves", nargs="*", choices=[*CURVES, []], help="all if none is named")
    parser.add_argument("--small", action="store_true", help="small sizes, nothing saved: does the script run?")
    asked = parser.parse_args()
    for name in asked.curves or CURVES:
        about = machine()
        for points in curve(name, asked.small):
            if not asked.small:
                before = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
                found = before | {name: {"machine": about, "points": points}}
                save(RESULT, found)
                picture(found)


if __name__ == "__main__":
    main()
