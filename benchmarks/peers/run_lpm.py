"""lpm: the shipped SIR world on the same graph, run with everything on and its results stored."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import work

import lpm
from lpm.worlds import sir


def start(task: work.Task, seed: int) -> work.Advance:
    """The world with its graph read from the edge list; each call of `advance` is a whole `lpm.run` with its store."""
    settings = sir.Settings(
        contacts=sir.Contacts(file=str(task.path.with_suffix(".parquet"))),
        transmission=float(-np.log1p(-work.PER_CONTACT)),
        infectious_days=1 / work.PER_DAY,
        initial=work.SEEDED,
    )
    world = sir.build(settings, lpm.Calendar(task.days))
    folder, numbers = tempfile.TemporaryDirectory(), itertools.count()

    def advance(days: int) -> tuple[np.ndarray, np.ndarray]:
        out = lpm.run(world, lpm.Calendar(days), Path(folder.name, str(next(numbers))), seed=seed)
        results = lpm.open(out)
        return results["susceptible"].values.ravel(), results["infectious"].values.ravel()

    return advance


work.measure(
    start,
    ("lpm", "jax", "zarr"),
    "whole runs: keyed draws, four observables a day, the store written and read back; no persistent compilation cache",
)
