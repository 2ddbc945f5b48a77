"""lpm: the shipped SIR world on the same graph, run with everything on and its results stored."""

import dataclasses
import itertools
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import work

import lpm
from lpm import batch, networks
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts

STEPS: list[float] = []  # seconds a day of the steps alone, of each run


def steps_alone(world: lpm.World, seed: int, days: int) -> float:
    """Seconds a day, observables on, with nothing checked before and nothing stored."""
    engine = batch.Engine(world, seed=seed, together=1, every=1)
    begun = time.perf_counter()
    jax.block_until_ready([chunk.seen for chunk in engine.chunks(0, days, (), 0)])
    return (time.perf_counter() - begun) / days


def start(task: work.Task, seed: int) -> work.Advance:
    """The world with the given graph; each call of `advance` is a whole `lpm.run` with its store."""
    agents, source, target = task.graph()
    contacts, order = networks.graph(networks.Edges(agents, source, target))
    settings = sir.Settings(
        agents=agents,
        contacts=Contacts("well_mixed"),  # replaced below
        transmission=float(-np.log1p(-work.PER_CONTACT)),
        infectious_days=1 / work.PER_DAY,
        initial=work.SEEDED,
    )
    world = sir.build(settings, lpm.Calendar(task.days))
    state = lpm.initial_state(world.state.agents, fixed={"id": order.astype(np.uint32), "contacts": contacts})
    world = dataclasses.replace(world, state=state)
    if STEPS or seed:  # the first compiles
        STEPS.append(steps_alone(world, seed, task.days))
    folder, numbers = tempfile.TemporaryDirectory(), itertools.count()

    def advance(days: int) -> tuple[np.ndarray, np.ndarray]:
        out = Path(folder.name, str(next(numbers)))
        results = lpm.open(lpm.run(world, lpm.Calendar(days), out, seed=seed))
        return results["susceptible"].values.ravel(), results["infectious"].values.ravel()

    return advance


work.measure(
    start,
    ("lpm", "jax", "zarr"),
    "whole runs: keyed draws, four observables a day, the store written and read back; no persistent compilation cache",
    lambda: {"steps_s_per_day": STEPS},
)
