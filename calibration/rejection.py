"""Approximate Bayesian computation by rejection: the plain baseline that needs no derivative.

Draw parameters from the prior, simulate and count once for each, and keep those nearest to the data on the scale where
counts have variance one (Pritchard et al. 1999, Mol. Biol. Evol. 16).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from lpm.calibration import likelihoods, posterior
from lpm.calibration.priors import draw_prior
from lpm.calibration.problem import Problem, keys, of_streams, simulator

BATCH = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Rejection:
    """The draws that were kept.

    Args:
        names: of the parameters.
        z, values: (kept, size).
        distance: (kept,) ascending.
        simulations: spent.
    """

    names: tuple[str, ...]
    z: np.ndarray
    values: np.ndarray
    distance: np.ndarray
    simulations: int


def reject(
    problem: Problem,
    *,
    simulations: int = 2000,
    keep: int = 50,
    dispersions: tuple[float, ...] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Rejection:
    """The draws from the prior whose simulated counts are nearest to the data.

    Args:
        problem: what to fit.
        simulations: draws.
        keep: how many of them.
        dispersions: one for each stream; those to begin with if None.
        seed: of draws and simulations.
        progress: called with a line now and then.
    Raises:
        ValueError: if more are to be kept than drawn.
    """
    if not 0 < keep <= simulations:
        raise ValueError(f"reject: asked for at most {simulations} draws to keep, got {keep}")
    k = dispersions or tuple(each.start_dispersion for each in problem.streams)
    machine, drawn = simulator(problem), draw_prior(problem.parameters, simulations, seed)
    seeds, generator, parts = keys(seed, posterior.LATER, simulations), np.random.default_rng(seed), []
    for begin in range(0, simulations, BATCH):
        part = slice(begin, begin + BATCH)
        expected = machine.at_each(drawn[part], type(seeds)(seeds.words[part], seeds.step[part]))
        parts.append(posterior.observed(problem, k, np.nan_to_num(expected, nan=0.0), generator))
        progress(f"rejection: {min(begin + BATCH, simulations):,} of {simulations:,}")
    difference = _scaled(problem, k, np.concatenate(parts)) - _scaled(problem, k, problem.counts)
    distance = np.sqrt(np.nansum(difference**2, axis=1))
    nearest = np.argsort(distance, kind="stable")[:keep]
    return Rejection(problem.names, drawn[nearest], problem.values(drawn[nearest]), distance[nearest], simulations)


def _scaled(problem: Problem, dispersions: tuple[float, ...], counts: np.ndarray) -> np.ndarray:
    """Counts on the scale where their variance is one, (..., n)."""
    parts = [
        likelihoods.stabilised(each.likelihood, own, k).reshape(*counts.shape[:-1], -1)
        for each, k, own in zip(problem.streams, dispersions, of_streams(problem.streams, counts), strict=True)
    ]
    return np.concatenate(parts, axis=-1)
