"""An ensemble smoother with multiple data assimilation: many draws from the prior are moved together towards the data.

On the scale g where a count's variance is one, with d = g(y), and members z_j whose one realization gives g_j,

    z_j <- z_j + C_zg (C_gg + R)^-1 (d + e_j - g_j),    e_j ~ N(0, R),    R = a I + e (a - 1) C,    sum 1/a = 1

C_zg and C_gg are covariances over the members, and C that of the epidemic's chance at one point, which is in every g_j
already (e = 0 if the data are fitted as if they were the mean epidemic). No derivative is needed, and the cost does not
grow with the number of parameters; where the answer is far from normal, it is rough. (Emerick & Reynolds 2013,
Computers & Geosciences 55: all but the part of C, which is for models that have chance in them.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from lpm.calibration import likelihoods, objective
from lpm.calibration.history import Logged
from lpm.calibration.objective import DIED_OUT, shrunk_covariance
from lpm.calibration.posterior import LATER
from lpm.calibration.priors import draw_prior
from lpm.calibration.problem import Problem, Simulator, keys, of_streams, simulator
from lpm.calibration.task import Fit, Start
from lpm.errors import RunError
from lpm.kernels import random

LEAST = 10  # members without which there is no covariance to speak of


@dataclasses.dataclass(frozen=True, eq=False)
class Ensemble:
    """Members that stand for the posterior.

    Args:
        names: of the parameters.
        z, values: (members, size).
        dispersions: one for each stream.
        misfit: (assimilations + 1,) mean over the members of |d - g|^2 over the number of counts, before each and after
            the last; about 2 where members are as far from the data as these from their own mean.
        lost: members that died out or were not finite, over all assimilations; others took their places.
        simulations: spent.
    """

    names: tuple[str, ...]
    z: np.ndarray
    values: np.ndarray
    dispersions: tuple[float, ...]
    misfit: np.ndarray
    lost: int
    simulations: int

    def intervals(self, level: float = 0.9) -> np.ndarray:
        """Interval of each parameter that holds that share of the members: (size, 2)."""
        return np.quantile(self.values, [0.5 - level / 2, 0.5 + level / 2], axis=0).T


def assimilate(
    problem: Problem,
    *,
    members: int = 200,
    assimilations: int = 4,
    chance: int = 24,
    first: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Ensemble:
    """Move an ensemble from the prior to the posterior.

    Data that arrive later are taken up by another call with `first` = the members so far, and a problem in which all
    earlier data are gaps.

    Args:
        problem: what to fit.
        members: simulated once in each assimilation; ten times the number of parameters or more.
        assimilations: in which the data are taken up a part each.
        chance: realizations at the ensemble's middle, from which the epidemic's chance is estimated, each time.
        first: (members, size) z to begin with; draws from the prior if None.
        seed: of everything.
        progress: called with a line for each assimilation.
    Raises:
        ValueError: for fewer than ten members, or no assimilation.
        RunError: if nearly all members died out.
    """
    z = draw_prior(problem.parameters, members, seed) if first is None else np.array(first, np.float64)
    if len(z) < LEAST or assimilations < 1:
        raise ValueError(f"assimilate: asked for {LEAST} members and 1 assimilation, got {len(z)} and {assimilations}")
    machine, generator = simulator(problem), np.random.default_rng(seed)
    dispersions = tuple(each.start_dispersion for each in problem.streams)
    misfit, lost = [], 0
    for number in range(assimilations + 1):
        begin = LATER + number * (len(z) + chance)
        curves = machine.at_each(z, keys(seed, begin, len(z)))
        alive = _alive(problem, curves)
        lost += int((~alive).sum())
        if alive.sum() < LEAST:
            raise RunError(
                f"asked for an ensemble, got {int(alive.sum())} members of {len(z)} whose epidemic did not die out; "
                "write narrower priors, or more members"
            )
        z, curves = _replaced(z, curves, alive, generator)
        covariance, dispersions = _chance(problem, machine, z, dispersions, keys(seed, begin + len(z), chance))
        data, seen = _scaled(problem, dispersions, problem.counts[None])[0], _scaled(problem, dispersions, curves)
        misfit.append(float(((data - seen) ** 2).sum(1).mean() / len(data)))
        progress(f"assimilation {number} of {assimilations}: misfit {misfit[-1]:.3g}, {lost} members lost so far")
        if number < assimilations:
            z = _moved(z, seen, data, covariance, float(assimilations), bool(problem.epidemic_chance), generator)
    spent = (assimilations + 1) * (len(z) + chance)
    return Ensemble(problem.names, z, problem.values(z), dispersions, np.array(misfit), lost, spent)


def smooth(
    problem: Problem,
    *,
    members: int = 300,
    assimilations: int = 4,
    realizations: int = 32,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Fit:
    """The ensemble smoother as a fit: its members' mean and covariance are the posterior's, normal in z.

    Args:
        problem, members, assimilations, seed, progress: as in `assimilate`.
        realizations: at the mean, for the epidemic's chance there.
    Raises:
        RunError: if nearly all members, or all realizations at their mean, died out.
    """
    first = draw_prior(problem.parameters, members, seed)
    found = assimilate(
        problem, first=first, assimilations=assimilations, chance=realizations, seed=seed, progress=progress
    )
    z, covariance = found.z.mean(0), np.cov(found.z.T).reshape(problem.size, problem.size)
    curves = simulator(problem).curves(z, keys(seed, LATER // 2, realizations))
    moments = objective.moments(problem.streams, found.dispersions, curves)
    if moments is None:
        raise RunError("the epidemics at the members' mean died out; write narrower priors, or more members")
    chance = shrunk_covariance([moments.samples])
    weights = objective.weigh(problem, found.dispersions, chance, moments.number)
    own = objective.prior(problem.parameters, z)[2]
    size, direction = np.linalg.eigh(np.linalg.inv(covariance) - own)  # where the data say nothing it may be below 0
    information = (direction * np.maximum(size, 0)) @ direction.T
    value = objective.score(problem.streams, weights, moments) + objective.prior(problem.parameters, z)[0]
    message = f"an ensemble of {members:,} members after {assimilations} assimilations, of which {found.lost} were lost"
    progress(message)
    return Fit(
        problem,
        z,
        information,
        np.linalg.inv(covariance) - information,
        np.zeros_like(covariance),
        weights,
        curves[moments.kept],
        1 - float(moments.kept.mean()),
        (Start(0, first.mean(0), z, "assimilated", "", value, found.dispersions),),
        found.simulations + realizations,
        realizations,
        seed,
        message,
        method="ensemble",
    )


def _moved(
    z: np.ndarray,
    seen: np.ndarray,
    data: np.ndarray,
    covariance: np.ndarray,
    inflation: float,
    chance: bool,
    generator: np.random.Generator,
) -> np.ndarray:
    """One assimilation."""
    error = inflation * np.eye(len(data)) + float(chance) * (inflation - 1) * covariance
    apart_z, apart = z - z.mean(0), seen - seen.mean(0)
    noise = generator.normal(size=seen.shape) @ np.linalg.cholesky(error).T
    gain = np.linalg.solve(apart.T @ apart / (len(z) - 1) + error, apart.T @ apart_z / (len(z) - 1))
    return z + (data + noise - noise.mean(0) - seen) @ gain


def _alive(problem: Problem, curves: np.ndarray) -> np.ndarray:
    """(members,) whether an epidemic made a tenth of the observed counts, and all its counts are finite."""
    good = ~np.isnan(problem.counts)
    return np.isfinite(curves).all(1) & (curves[:, good].sum(1) >= DIED_OUT * problem.counts[good].sum())


def _replaced(
    z: np.ndarray, curves: np.ndarray, alive: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Others, chosen at random, in the places of those lost."""
    others = generator.choice(np.flatnonzero(alive), int((~alive).sum()))
    place = np.arange(len(z))
    place[~alive] = others
    return z[place], curves[place]


def _chance(
    problem: Problem, machine: Simulator | Logged, z: np.ndarray, dispersions: tuple[float, ...], seeds: random.Key
) -> tuple[np.ndarray, tuple[float, ...]]:
    """The covariance of the epidemic's chance at the ensemble's middle, and what dispersions the data ask for there."""
    curves = machine.curves(np.median(z, axis=0), seeds)
    good = ~np.isnan(problem.counts)
    found = objective.moments(problem.streams, dispersions, curves)
    if found is None:
        return np.zeros((int(good.sum()),) * 2), dispersions
    dispersions = objective.dispersions(problem, dispersions, found, 0.5)
    found = objective.moments(problem.streams, dispersions, curves)
    assert found is not None
    return shrunk_covariance([found.samples])[np.ix_(good, good)], dispersions


def _scaled(problem: Problem, dispersions: tuple[float, ...], counts: np.ndarray) -> np.ndarray:
    """Counts that are no gaps, on the scale where their variance is one: (members, good)."""
    parts = [
        likelihoods.stabilised(each.likelihood, own, k).reshape(len(counts), -1)
        for each, k, own in zip(problem.streams, dispersions, of_streams(problem.streams, counts), strict=True)
    ]
    return np.concatenate(parts, axis=1)[:, ~np.isnan(problem.counts)]
