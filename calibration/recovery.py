"""Synthetic recovery: is what a fit says true where the truth is known?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from lpm.calibration import ensemble, fitting, posterior, regression
from lpm.calibration.objective import DIED_OUT
from lpm.calibration.priors import draw_prior
from lpm.calibration.problem import Problem, keys, simulator, with_counts
from lpm.calibration.task import Fit
from lpm.errors import RunError

ATTEMPTS = 20  # at an epidemic that does not die out
METHODS: dict[str, Callable[..., Fit]] = {
    "levenberg_marquardt": fitting.fit,
    "regression": regression.regress,
    "ensemble": ensemble.smooth,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Recovery:
    """What became of known parameters that were simulated and fitted again.

    Args:
        names: of the parameters.
        truth, estimate: (repeats, size) values.
        low, high: (repeats, size) intervals of level 0.9.
        error: (repeats, size) estimate less truth in z, in posterior deviations.
        simulations: (repeats,) spent on each fit.
        failed: reasons of those that gave no fit; they are in none of the above.
    """

    names: tuple[str, ...]
    truth: np.ndarray
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    error: np.ndarray
    simulations: np.ndarray
    failed: tuple[str, ...]

    @property
    def coverage(self) -> np.ndarray:
        """Share of repeats whose interval holds the truth, for each parameter."""
        return ((self.truth >= self.low) & (self.truth <= self.high)).mean(0)

    @property
    def relative_error(self) -> np.ndarray:
        """Median over repeats of |estimate / truth - 1|, for each parameter."""
        return np.median(np.abs(self.estimate / self.truth - 1), axis=0)

    def __str__(self) -> str:
        lines = [f"{'parameter':24} median error   90 % interval holds it"]
        for name, error, share in zip(self.names, self.relative_error, self.coverage, strict=True):
            lines.append(f"{name:24} {100 * error:10.1f} %   {round(share * len(self.truth))} of {len(self.truth)}")
        return "\n".join([*lines, *(f"failed: {reason}" for reason in self.failed)])


def synthetic(
    problem: Problem, z: np.ndarray, dispersions: tuple[float, ...], seed: int, least: float = DIED_OUT
) -> Problem:
    """The problem with simulated data instead of its own; gaps stay.

    Args:
        problem: whose data are replaced.
        z: (size,) the truth.
        dispersions: one for each stream.
        seed: of the epidemic and its counts; another one than that of a fit.
        least: share of the observed counts that an epidemic must make.
    Raises:
        RunError: if every epidemic tried died out.
    """
    machine, counts = simulator(problem), problem.counts
    good = ~np.isnan(counts)
    number = 1 if problem.epidemic_chance else posterior.TOGETHER
    for attempt in range(ATTEMPTS):
        curve = machine.curves(z, keys(seed, number * attempt, number)).mean(0)
        if curve[good].sum() >= least * counts[good].sum():
            generator = np.random.default_rng([seed, attempt])
            return with_counts(problem, posterior.observed(problem, dispersions, curve, generator))
    raise RunError(f"asked for synthetic data, got {ATTEMPTS} epidemics that died out; choose other parameters")


def recover(
    problem: Problem,
    truths: np.ndarray,
    dispersions: tuple[float, ...],
    *,
    data_seed: int = 1,
    least: float = DIED_OUT,
    method: Callable[..., Fit] = fitting.fit,
    progress: Callable[[str], None] = lambda _: None,
    **settings: object,
) -> Recovery:
    """Simulate data from each of some known parameters, fit them, and compare.

    With truths drawn from the prior, the coverage is that of simulation-based calibration (Talts et al. 2018).

    Args:
        problem: whose layout of data is used.
        truths: (repeats, size) z.
        dispersions: of the synthetic counts, one for each stream.
        least: share of the observed counts that an epidemic must make.
        data_seed: of the data; `seed` among the settings is that of the fits.
        method: `fit(problem, **settings)`.
        progress: called with a line for each repeat.
        settings: of the method, which raises TypeError for those that it does not take.
    """
    rows: list[tuple[np.ndarray, ...]] = []
    failed, spent = [], []
    for number, z in enumerate(np.atleast_2d(truths)):
        try:
            data = synthetic(problem, z, dispersions, 7919 * (data_seed + 1) + number, least)
            found = method(data, **settings)
        except RunError as reason:
            failed.append(str(reason))
            continue
        low, high = posterior.intervals(found).T
        error = (found.z - z) / np.sqrt(np.diag(found.covariance))
        rows.append((problem.values(z), found.values, low, high, error))
        spent.append(found.simulations)
        each = ", ".join(f"{name} {x:+.1f}" for name, x in zip(problem.names, error, strict=True))
        progress(f"recovery {number + 1}: off by posterior deviations: {each}; {found.simulations:,} simulations")
    empty = np.empty((0, problem.size))
    columns = [np.array(each) for each in zip(*rows, strict=True)] if rows else [empty] * 5
    truth, estimate, below, above, off = columns
    return Recovery(problem.names, truth, estimate, below, above, off, np.array(spent), tuple(failed))


def recover_fit(fit: Fit, repeats: int = 4, **settings: object) -> Recovery:
    """Simulate data from a fit's own estimate, and fit them again: see `recover`."""
    settings = {"realizations": fit.realizations, "seed": fit.seed + 1} | settings
    truths = np.repeat(fit.z[None], repeats, axis=0)
    return recover(fit.problem, truths, fit.weights.dispersions, **settings)  # type: ignore[arg-type]


def recover_prior(
    fit: Fit, repeats: int, *, seed: int = 0, progress: Callable[[str], None] = lambda _: None
) -> Recovery:
    """Simulation-based calibration: parameters from the prior, data made with them, the same fit of those data.

    Over the prior, intervals of 90 % must hold nine truths in ten, whatever the data (Talts et al. 2018,
    arXiv:1804.06788).

    Args:
        fit: whose problem, realizations and dispersions are used.
        repeats: how many.
        seed: of truths, data and fits.
        progress: called with a line for each.
    """
    truths = draw_prior(fit.problem.parameters, repeats, seed + 29)
    settings: dict[str, Any] = {"realizations": fit.realizations, "method": METHODS[fit.method]}
    if fit.method == "levenberg_marquardt":
        settings["starts"] = max(1, len(fit.starts) // 2)
    settings |= {"seed": seed + 1, "data_seed": seed + 2, "least": 0.0, "progress": progress}
    return recover(fit.problem, truths, fit.weights.dispersions, **settings)
