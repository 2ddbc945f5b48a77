"""Plain numba: a loop over agents on all cores, each susceptible one looking at its neighbours."""

import numba
import numpy as np
import work

SUSCEPTIBLE, INFECTIOUS, RECOVERED = 0, 1, 2


@numba.njit(inline="always")
def hashed(x: np.uint32) -> np.uint32:
    """A number as good as random (Wellons' lowbias32)."""
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    return np.uint32(x ^ (x >> np.uint32(16)))


@numba.njit(parallel=True)
def step(
    stage: np.ndarray,
    after: np.ndarray,
    begins: np.ndarray,
    neighbours: np.ndarray,
    limits: np.ndarray,
    salt: np.uint32,
) -> tuple[int, int]:
    """One day, from `stage` into `after`; returns the numbers of susceptible and infectious agents."""
    susceptible = infectious = 0
    for agent in numba.prange(len(stage)):
        now = stage[agent]
        if now == SUSCEPTIBLE:
            around = 0
            for place in range(begins[agent], begins[agent + 1]):
                around += stage[neighbours[place]] == INFECTIOUS
            if around and hashed(np.uint32(agent) ^ salt) < limits[around]:
                now = INFECTIOUS
        elif now == INFECTIOUS and hashed(np.uint32(agent) ^ salt) < limits[0]:
            now = RECOVERED
        after[agent] = now
        susceptible += now == SUSCEPTIBLE
        infectious += now == INFECTIOUS
    return susceptible, infectious


def start(task: work.Task, seed: int) -> work.Advance:
    """Stages in bytes, rows of neighbours end to end, and a table of thresholds; limits[0] is recovery."""
    agents, source, target = task.graph()
    begins, neighbours = work.rows(agents, source, target)
    chances = 1 - (1 - work.PER_CONTACT) ** np.arange(np.diff(begins).max() + 1)
    chances[0] = work.PER_DAY
    limits = (chances * 2**32).astype(np.uint32)
    stage = np.zeros(agents, np.uint8)
    stage[work.first_cases(agents, seed)] = INFECTIOUS
    after = stage.copy()

    def advance(days: int) -> tuple[np.ndarray, np.ndarray]:
        nonlocal stage, after
        salts = np.random.default_rng(seed).integers(0, 2**32, days, dtype=np.uint32)
        counts = np.empty((days, 2), np.int64)
        for day in range(days):
            counts[day] = step(stage, after, begins, neighbours, limits, salts[day])
            stage, after = after, stage
        return counts[:, 0], counts[:, 1]

    return advance


work.measure(start, ("numba",), "no framework; counts alone come out")
