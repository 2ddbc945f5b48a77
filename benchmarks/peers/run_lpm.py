"""lpm: the shipped SIR world on the same graph, run with everything on and its results stored."""

import dataclasses
import itertools
import tempfile
from pathlib import Path

import numpy as np
import work

import lpm
from lpm import networks
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts

WITHIN: list[float] = []  # seconds a day between the first chunk and the last, of each run


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
    folder, numbers = tempfile.TemporaryDirectory(), itertools.count()

    def advance(days: int) -> tuple[np.ndarray, np.ndarray]:
        progress: list[lpm.runner.Progress] = []
        out = Path(folder.name, str(next(numbers)))
        results = lpm.open(lpm.run(world, lpm.Calendar(days), out, seed=seed, progress=progress.append))
        if progress[-1].timed:
            WITHIN.append(progress[-1].seconds / progress[-1].timed)
        return results["susceptible"].values.ravel(), results["infectious"].values.ravel()

    return advance


work.measure(
    start,
    ("lpm", "jax", "zarr"),
    "whole runs: keyed draws, four observables a day, the store written and read back; no persistent compilation cache",
    lambda: {"within_s_per_day": WITHIN},
)
