"""Scores of forecasts, and the plain ones that any other must beat.

With y what was observed and f what was forecast, over all n regions, dates and weeks ahead:

    ND = sum |y - f| / sum |y|,    RMSE = sqrt(sum (y - f)^2 / n),    MAE = sum |y - f| / n

A forecast of a series is made at a time `now`, the last that is known, for the `ahead` times after it.
"""

from __future__ import annotations

import numpy as np


def scores(forecast: np.ndarray, observed: np.ndarray) -> dict[str, float]:
    """ND (normalized deviation), RMSE and MAE of a forecast; gaps in what was observed are left out.

    Args:
        forecast, observed: of the same shape, float; NaN in `observed` for a gap.
    Raises:
        ValueError: if shapes differ, nothing was observed, or a forecast of something observed is not finite.

    >>> scores(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    {'ND': 0.5, 'RMSE': 1.0, 'MAE': 1.0}
    """
    if forecast.shape != observed.shape:
        raise ValueError(f"scores: asked for one shape, got {forecast.shape} forecast and {observed.shape} observed")
    known = ~np.isnan(observed)
    if not known.any():
        raise ValueError("scores: nothing was observed; give `observed` at least one value that is no gap")
    if not np.isfinite(forecast[known]).all():
        raise ValueError("scores: a forecast of something observed is not finite; forecast it, or leave it out of both")
    off = np.abs(forecast[known] - observed[known])
    total = np.abs(observed[known]).sum()
    return {
        "ND": float(off.sum() / total) if total else float("inf"),
        "RMSE": float(np.sqrt((off**2).mean())),
        "MAE": float(off.mean()),
    }


def last_value(series: np.ndarray, now: int, ahead: int, over: int = 1) -> np.ndarray:
    """What was last seen, or the mean of the last few, stays: (time, ...) to (ahead, ...).

    >>> last_value(np.array([1.0, 4.0, 9.0]), 1, 2)
    array([4., 4.])
    """
    return np.repeat(series[now - over + 1 : now + 1].mean(0)[None], ahead, 0)


def mean_value(series: np.ndarray, now: int, ahead: int) -> np.ndarray:
    """The mean of all that was seen: (time, ...) to (ahead, ...).

    >>> mean_value(np.array([1.0, 4.0, 9.0]), 1, 2)
    array([2.5, 2.5])
    """
    return np.repeat(series[: now + 1].mean(0)[None], ahead, 0)


def last_season(series: np.ndarray, now: int, ahead: int, season: int = 52) -> np.ndarray:
    """What was seen a season earlier: (time, ...) to (ahead, ...).

    Raises:
        ValueError: if the series does not reach back so far.

    >>> last_season(np.array([1.0, 4.0, 9.0, 2.0, 5.0]), 4, 2, season=3)
    array([9., 2.])
    """
    first = now + 1 - season
    if first < 0 or ahead > season:
        raise ValueError(f"last_season: asked for {season} times before {now + 1}, got a series that begins at 0")
    return series[first : first + ahead]
