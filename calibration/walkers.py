"""Draws from a density by walkers that move along each other's differences.

    z_i' = z_i + f (z_a - z_b) + a trace of noise,    f = 2.38 / sqrt(2 size)

a and b of the other half of the walkers, accepted with min(1, p(z_i') / p(z_i)): moves take the density's own shape,
bent or narrow, without a derivative. Every tenth time f is 1, which leads from one mode to another.
(ter Braak 2006, Stat. Comput. 16; two halves in turn: Foreman-Mackey et al. 2013, Publ. Astron. Soc. Pac. 125.)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

TRACE = 1e-3  # of the noise, over the walkers' deviations
LEAP = 10  # every so many steps f is 1


def walk(
    density: Callable[[np.ndarray], np.ndarray], first: np.ndarray, steps: int, seed: int, thin: int = 1
) -> tuple[np.ndarray, np.ndarray, float]:
    """Where walkers were after each `thin` steps, (steps // thin, walkers, size), the log density there, and how many
    of their moves were accepted.

    Args:
        density: its log, up to a constant, of (points, size): (points,), -inf outside of where it is.
        first: (walkers, size), an even number of 4 or more, where it is finite.
        steps: of each walker.
        seed: of the moves.
        thin: steps from one kept place to the next.
    """
    generator = np.random.default_rng([seed, 23])
    walkers, size = first.shape
    half, here, now = walkers // 2, first.copy(), density(first)
    places, logs, accepted = [], [], 0
    for step in range(steps):
        f = 1.0 if step % LEAP == LEAP - 1 else 2.38 / math.sqrt(2 * size)
        for own, other in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
            others = here[other]
            a = generator.integers(len(others), size=half)
            b = (a + generator.integers(1, len(others), size=half)) % len(others)
            noise = TRACE * others.std(0) * generator.normal(size=(half, size))
            there = here[own] + f * (others[a] - others[b]) + noise
            new = density(there)
            taken = np.log(generator.random(half)) < new - now[own]
            here[own] = np.where(taken[:, None], there, here[own])
            now[own] = np.where(taken, new, now[own])
            accepted += int(taken.sum())
        if (step + 1) % thin == 0:
            places.append(here.copy())
            logs.append(now.copy())
    return np.array(places), np.array(logs), accepted / (steps * 2 * half)
