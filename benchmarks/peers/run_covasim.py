"""Covasim: its whole COVID-19 model on the same edges as its one layer. Different work, stated in the report."""

import covasim as cv
import numpy as np
import work


def start(task: work.Task, seed: int) -> work.Advance:
    """A simulation with the graph as its one layer, initialized."""
    agents, source, target = task.graph()
    layer = cv.Layer(p1=source, p2=target, beta=np.ones(len(source)), label="a")
    generator = np.random.default_rng(seed)
    people = {
        "uid": np.arange(agents),
        "age": generator.uniform(0, 80, agents),
        "sex": generator.integers(0, 2, agents),
        "contacts": cv.Contacts({"a": layer}),
    }
    sim = cv.Sim(
        pop_size=agents,
        pop_infected=round(work.SEEDED * agents),
        beta=work.PER_CONTACT,
        n_days=task.days,
        use_waning=False,
        rand_seed=seed,
        verbose=0,
    )
    sim.popdict = people
    sim.initialize()

    def advance(days: int) -> tuple[np.ndarray, np.ndarray]:
        for _ in range(days):
            sim.step()
        found = sim.results
        return found["n_susceptible"].values[:days], found["n_infectious"].values[:days]

    return advance


work.measure(
    start,
    ("covasim", "numba"),
    "its whole COVID-19 model, waning immunity off: other stages, durations and infectiousness, so another final size",
)
