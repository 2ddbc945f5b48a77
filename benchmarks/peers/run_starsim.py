"""Starsim: its own SIR on the same edges, with geometric instead of its usual durations."""

import numpy as np
import starsim as ss
import work


class GeometricSIR(ss.SIR):
    """SIR whose agents infect on as many days as in the other simulators; nobody dies, so no deaths are drawn."""

    def __init__(self) -> None:
        super().__init__(
            beta=ss.probperday(work.PER_CONTACT),
            init_prev=ss.bernoulli(p=work.SEEDED),
            dur_inf=ss.nbinom(n=1, p=work.PER_DAY),
        )

    def set_progression(self, uids: ss.uids) -> None:
        """Recover after 1 + nbinom days on which they infect; those seeded infect on the day itself."""
        seeded = not self.sim.initialized
        self.ti_recovered[uids] = self.ti + (1 if seeded else 2) + self.pars.dur_inf.rvs(uids)


class StaticNetwork(ss.Network):
    """Edges that stay."""

    def step(self) -> None:
        """Nothing changes."""


def start(task: work.Task, seed: int) -> work.Advance:
    """A simulation with the graph as its one network, initialized."""
    agents, source, target = task.graph()
    network = StaticNetwork(p1=source, p2=target, beta=np.ones(len(source)), name="contacts")
    sim = ss.Sim(
        n_agents=agents,
        networks=network,
        diseases=GeometricSIR(),
        start=ss.days(0),
        dt=ss.days(1),
        dur=task.days - 1,  # both ends count
        rand_seed=seed + 1,
        verbose=0,
    )
    sim.init()

    def advance(days: int) -> tuple[np.ndarray, np.ndarray]:
        for _ in range(days):
            sim.run_one_step()
        found = sim.diseases[0].results
        return found["n_susceptible"].values[:days], found["n_infected"].values[:days]

    return advance


DRAWS = "on, as lpm's always are" if ss.options.crn else "off, for speed"
work.measure(
    start,
    ("starsim", "numba"),
    f"its own SIR with geometric durations and no deaths; its common random numbers {DRAWS}",
)
