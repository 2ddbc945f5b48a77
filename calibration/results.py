"""What a fit leaves behind: labelled tables for xarray and ArviZ, and a small JSON file."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import lpm
from lpm.calibration import observation, posterior
from lpm.calibration.posterior import Identified, Predictive
from lpm.calibration.problem import of_streams
from lpm.calibration.task import Fit
from lpm.provenance import git_commit, versions

if TYPE_CHECKING:
    import xarray as xr

LEVEL = 0.9


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: a parameter, its estimate, its interval, whether the data say little of it."""

    name: str
    estimate: float
    low: float
    high: float
    weak: bool


def table(fit: Fit, found: Identified | None = None) -> list[Row]:
    """A row for each entry of z."""
    found = found or posterior.identified(fit)
    limits = posterior.intervals(fit, LEVEL)
    return [
        Row(name, float(value), float(low), float(high), weak)
        for name, value, (low, high), weak in zip(fit.problem.names, fit.values, limits, found.weak, strict=True)
    ]


def datasets(fit: Fit, predictive: Predictive) -> dict[str, xr.Dataset]:
    """`posterior`, (chain, draw) for each parameter; `posterior_predictive` and `observed_data`, by stream and time.

    Args:
        fit: of the parameters.
        predictive: from `lpm.calibration.predict`.
    """
    import xarray as xr

    problem = fit.problem
    values = problem.values(predictive.z)[None]
    drawn = {name: (("chain", "draw"), values[..., i]) for i, name in enumerate(problem.names)}
    seen: dict[str, Any] = {}
    foreseen: dict[str, Any] = {}
    coords: dict[str, Any] = {"chain": [0], "draw": np.arange(len(predictive.z))}
    parts = of_streams(problem.streams, predictive.counts)
    for each, counts in zip(problem.streams, parts, strict=True):
        dims = (f"time_{each.name}", f"{each.by or 'all'}_{each.name}")
        coords[dims[0]] = np.array(observation.calendar_labels(each, problem.calendar))
        if problem.calendar.start:
            coords[dims[0]] = coords[dims[0]].astype("datetime64[ns]")
        coords[dims[1]] = np.array(each.labels or ("all",), dtype=object)
        seen[each.name] = (dims, each.values)
        foreseen[each.name] = (("chain", "draw", *dims), counts[None])
    of_time = {name: value for name, value in coords.items() if name not in ("chain", "draw")}
    return {
        "posterior": xr.Dataset(drawn, {name: coords[name] for name in ("chain", "draw")}),
        "posterior_predictive": xr.Dataset(foreseen, coords),
        "observed_data": xr.Dataset(seen, of_time),
    }


def to_arviz(fit: Fit, predictive: Predictive) -> Any:
    """The same as ArviZ's InferenceData, if arviz is installed (`pip install lpm[bayes]`).

    Raises:
        ImportError: if it is not.
    """
    try:
        import arviz
    except ImportError:
        raise ImportError("arviz is not installed; write `pip install lpm[bayes]`, or use `datasets`") from None
    groups: dict[str, Any] = datasets(fit, predictive)
    return arviz.InferenceData(**groups)


def summary(fit: Fit, predictive: Predictive, found: Identified) -> dict[str, Any]:
    """Everything that is said of a fit, ready for JSON: numbers that are not finite are None."""
    problem = fit.problem
    return _plain(
        {
            "lpm": lpm.__version__,
            "versions": versions(),
            "commit": git_commit(),
            "title": problem.world.title,
            "agents": problem.world.agents,
            "message": fit.message,
            "parameters": [dataclasses.asdict(row) for row in table(fit, found)],
            "level": LEVEL,
            "weakly_identified": list(found.directions),
            "share_of_prior_deviation": list(found.share),
            "z": fit.z,
            "covariance_of_z": fit.covariance,
            "chance_in_z": fit.chance,
            "streams": [
                {"name": each.name, "likelihood": each.likelihood, "dispersion": k, "counts": each.values.size}
                for each, k in zip(problem.streams, fit.weights.dispersions, strict=True)
            ],
            "epidemic_chance": problem.epidemic_chance,
            "coverage_of_predictive_band": posterior.coverage(fit, predictive, LEVEL),
            "died_out": fit.died_out,
            "simulations": fit.simulations,
            "realizations": fit.realizations,
            "seed": fit.seed,
            "starts": [
                {"verdict": e.verdict, "reason": e.reason, "score": e.score, "values": problem.values(e.z)}
                for e in fit.starts
            ],
        }
    )


def write(fit: Fit, predictive: Predictive, found: Identified, folder: Path) -> tuple[Path, Path]:
    """Write fit.json, and the posterior and its predictions as the zarr group fit.zarr.

    Returns:
        both paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, store = folder / "fit.json", folder / "fit.zarr"
    path.write_text(json.dumps(summary(fit, predictive, found), indent=1) + "\n", encoding="utf-8")
    for name, dataset in datasets(fit, predictive).items():
        dataset.to_zarr(store, group=name, mode="w", consolidated=False)
    return path, store


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
