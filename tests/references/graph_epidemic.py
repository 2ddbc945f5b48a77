"""An epidemic over a graph in plain numpy, contact by contact: the kernels' counts and flags must agree with it."""

import numpy as np


def sir(
    source: np.ndarray,
    target: np.ndarray,
    agents: int,
    *,
    infection: float,
    recovery: float,
    initial: int,
    days: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Daily incidence of one epidemic, (days,) int64.

    Each day every contact of an infectious with a susceptible agent passes the infection with one probability; those
    who were infectious in the morning recover by the evening with another.

    Args:
        source, target: (edges,) integer, each contact once.
        agents: how many.
        infection: probability per contact and day.
        recovery: probability per day.
        initial: how many are infectious on the first day, drawn at random.
        days: how many.
        rng: of all draws.
    """
    giver, taker = np.concatenate([source, target]), np.concatenate([target, source])
    susceptible, infectious = np.ones(agents, bool), np.zeros(agents, bool)
    first = rng.choice(agents, initial, replace=False)
    susceptible[first], infectious[first] = False, True
    incidence = np.zeros(days, np.int64)
    for day in range(days):
        exposed = taker[infectious[giver] & susceptible[taker]]
        infected = np.unique(exposed[rng.random(len(exposed)) < infection])
        recovered = np.flatnonzero(infectious)
        recovered = recovered[rng.random(len(recovered)) < recovery]
        infectious[recovered] = False
        susceptible[infected], infectious[infected] = False, True
        incidence[day] = len(infected)
    return incidence
