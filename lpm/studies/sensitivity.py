"""Which settings an outcome follows: Sobol indices of a design, rank correlations of a hypercube, effects of a grid.

Every point is a scenario; its outcome is the mean over its realizations, which have the same draws at every point, so
that what differs between points is the settings' doing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from lpm.studies.records import About
from lpm.studies.scenarios import shortened

if TYPE_CHECKING:
    import xarray as xr

RESAMPLES, SEED = 1000, 1
LOW, HIGH = 0.025, 0.975
ESTIMATE = ("estimate", "low", "high")


def indices(first: np.ndarray, second: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """First-order and total Sobol indices, (2, settings).

    S_i = mean(f_B (f_ABi - f_A)) / V,        T_i = mean((f_A - f_ABi)^2) / 2V,        V = var(f_A, f_B)

    Saltelli et al. (2010), Comput. Phys. Commun. 181, 259-270, table 2, rows (b) and (f, Jansen 1999); outcomes are
    taken from their mean, which changes neither and lessens the error of the first.

    Args:
        first, second: (rows,), outcomes at A and B.
        mixed: (settings, rows), outcomes at A with one setting as in B.

    >>> generator = np.random.default_rng(1)
    >>> a, b = generator.random((2, 20_000, 2))
    >>> f = lambda x: 3 * x[:, 0] + x[:, 1]
    >>> mixed = np.stack([f(np.where([True, False], b, a)), f(np.where([False, True], b, a))])
    >>> indices(f(a), f(b), mixed).round(1)
    array([[0.9, 0.1],
           [0.9, 0.1]])
    """
    both = np.concatenate([first, second])
    variance, middle = both.var(), both.mean()
    if variance <= 0:
        return np.full((2, len(mixed)), np.nan)
    alone = ((second - middle) * (mixed - first)).mean(1) / variance
    return np.stack([alone, ((first - mixed) ** 2).mean(1) / (2 * variance)])


def rank_correlations(settings: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Partial rank correlation of each setting with the outcome, the others' linear part taken out, (settings,).

    Marino et al. (2008), J. Theor. Biol. 254, 178-196, section 2.3.

    Args:
        settings: (points, settings).
        outcomes: (points,).

    >>> x = np.random.default_rng(1).random((200, 2))
    >>> rank_correlations(x, np.exp(5 * x[:, 0])).round(1)[0].item()
    1.0
    """
    ranked, wanted = np.column_stack([_ranks(each) for each in settings.T]), _ranks(outcomes)
    return np.array([_partial(ranked, wanted, place) for place in range(settings.shape[1])])


def _partial(settings: np.ndarray, outcomes: np.ndarray, place: int) -> float:
    """Correlation of what the other settings leave unexplained; 0 if that is nothing."""
    if np.ptp(outcomes) == 0:
        return math.nan
    others = np.column_stack([np.ones(len(outcomes)), np.delete(settings, place, axis=1)])
    both = np.column_stack([settings[:, place], outcomes])
    left = both - others @ np.linalg.lstsq(others, both, rcond=None)[0]
    sizes = np.linalg.norm(left, axis=0)
    if (sizes < 1e-9 * np.linalg.norm(both, axis=0)).any():
        return 0.0
    return float(left[:, 0] @ left[:, 1] / sizes.prod())


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def resampled(estimate: Callable[[np.ndarray], np.ndarray], rows: int) -> np.ndarray:
    """An estimate over all rows, and the interval of 95 % over resamples of the rows (bootstrap): (3, ...).

    Args:
        estimate: numbers of rows -> estimates.
        rows: how many there are.
    """
    generator = np.random.default_rng(SEED)
    drawn = np.stack([estimate(generator.integers(rows, size=rows)) for _ in range(RESAMPLES)])
    with np.errstate(invalid="ignore"):
        return np.stack([estimate(np.arange(rows)), *np.nanquantile(drawn, (LOW, HIGH), axis=0)])


def settings_of(about: About, group: str) -> tuple[list[str], list[int], np.ndarray]:
    """Short names of the settings that a group of scenarios ranges over, its scenarios, and their values.

    Returns:
        names; numbers of scenarios; (scenarios, settings) values, NaN where a value is no number.
    """
    places = [place for place, each in enumerate(about.scenarios) if each.group == group]
    pairs = [[change.partition("=")[::2] for change in about.scenarios[place].changes] for place in places]
    keys = tuple(key for key, _ in pairs[0]) if pairs else ()
    values = [[_number(text) for _, text in row] for row in pairs]
    return shortened(keys), places, np.array(values, np.float64).reshape(len(places), len(keys))


def _number(text: str) -> float:
    value = json.loads(text)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan


def add(dataset: xr.Dataset, about: About) -> xr.Dataset:
    """Answers with the sensitivities of each outcome, if the study has a design for them.

    sobol_first_X and sobol_total_X (sobol_setting, of_estimate); rank_correlation_X (latin_hypercube_setting,
    of_estimate). `of_estimate` is the estimate and the ends of its interval of 95 %.
    """
    outcomes = [outcome.id for outcome in about.outcomes]
    for group, make in (("sobol", _sobol), ("latin_hypercube", _hypercube)):
        names, places, values = settings_of(about, group)
        if not places:
            continue
        dims = (f"{group}_setting", "of_estimate")
        coords = {dims[0]: np.array(names, dtype=object), dims[1]: np.array(ESTIMATE, dtype=object)}
        for outcome in outcomes:
            points = dataset[outcome].values[places]
            shared = ~np.isnan(points).all(0)  # realizations that nothing has yet do not count
            for name, found in make(points[:, shared].mean(1), values).items():
                dataset[f"{name}_{outcome}"] = (dims, found)
        dataset = dataset.assign_coords(coords)
    return dataset


def _sobol(points: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    """Of outcomes row by row: A, B, and A with each setting of B."""
    settings = values.shape[1]
    table = points.reshape(-1, settings + 2)
    table = table[~np.isnan(table).any(1)]
    if len(table) < 2:
        blank = np.full((settings, 3), np.nan)
        return {"sobol_first": blank, "sobol_total": blank}
    found = resampled(lambda rows: indices(table[rows, 0], table[rows, 1], table[rows, 2:].T), len(table))
    return {"sobol_first": found[:, 0].T, "sobol_total": found[:, 1].T}


def _hypercube(points: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    good = ~np.isnan(points) & ~np.isnan(values).any(1)
    if good.sum() < values.shape[1] + 3:
        return {"rank_correlation": np.full((values.shape[1], 3), np.nan)}
    points, values = points[good], values[good]
    return {"rank_correlation": resampled(lambda rows: rank_correlations(values[rows], points[rows]), len(points)).T}


MEASURES = {
    "sobol_first": "sobol",
    "sobol_total": "sobol",
    "rank_correlation": "latin_hypercube",
    "elasticity": "elasticity",
}


def rows(dataset: xr.Dataset, about: About) -> Iterator[dict[str, Any]]:
    """The sensitivities line by line, for a CSV file."""
    for measure, group in MEASURES.items():
        for outcome in about.outcomes:
            name = f"{measure}_{outcome.id}"
            for setting, found in (
                zip(dataset[f"{group}_setting"].values, dataset[name].values, strict=True) if (name in dataset) else ()
            ):
                yield {"outcome": outcome.id, "setting": setting, "measure": measure} | dict(
                    zip(ESTIMATE, map(float, found), strict=True)
                )
