"""The city in lpm: nyc-2020 with fewer people and without its lockdown, whole runs with the store."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import work

import lpm
from lpm.config import build_world, load


def start(task: work.Task, seed: int) -> work.Advance:
    """The world; each call of `advance` is a whole `lpm.run` with its store."""
    changes = [
        f"settings.people.agents={task.agents}",
        "settings.schedule=[]",
        "settings.importation=[{per_day: 8804, from: 2020-02-01, to: 2020-02-01}]",  # one in a thousand
        "compare=[]",
    ]
    config = load("nyc-2020", changes)
    world = build_world(config)
    folder, numbers = tempfile.TemporaryDirectory(), itertools.count()

    def advance(days: int) -> tuple[np.ndarray, np.ndarray]:
        calendar = lpm.Calendar(days, config.run.calendar.start)
        results = lpm.open(lpm.run(world, calendar, Path(folder.name, str(next(numbers))), seed=seed))
        infected, infectious = (
            results[name].sum(["region", "age"]).values.ravel() for name in ("infections", "infectious")
        )
        return task.agents - infected.cumsum(), infectious

    return advance


work.measure(
    start,
    ("lpm", "jax", "zarr"),
    "households, schools, workplaces as groups, and mixing by age and borough; observables by age and borough stored; "
    "no lockdown, one in a thousand infected on the first day",
)
