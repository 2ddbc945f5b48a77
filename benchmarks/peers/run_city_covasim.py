"""The city in Covasim: its hybrid population of households, schools, workplaces and a community."""

import covasim as cv
import numpy as np
import work


def start(task: work.Task, seed: int) -> work.Advance:
    """A simulation with Covasim's own parameters, initialized."""
    sim = cv.Sim(
        pop_size=task.agents,
        pop_type="hybrid",
        pop_infected=task.agents // 1000,
        n_days=task.days,
        use_waning=False,
        rand_seed=seed,
        verbose=0,
    )
    sim.initialize()

    def advance(days: int) -> tuple[np.ndarray, np.ndarray]:
        for _ in range(days):
            sim.step()
        return sim.results["n_susceptible"].values[:days], sim.results["n_infectious"].values[:days]

    return advance


work.measure(
    start, ("covasim", "numba"), "households, schools, workplaces and community as edges, the last redrawn every day"
)
