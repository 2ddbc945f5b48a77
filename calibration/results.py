"""What a fit leaves behind: labelled tables for xarray and ArviZ, and a small JSON file."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

import lpm
from lpm.calibration import observation, posterior
from lpm.calibration.checks import Checks
from lpm.calibration.parameters import Parameter, Prior
from lpm.calibration.posterior import Identified, Predictive
from lpm.calibration.problem import of_streams
from lpm.calibration.sampling import Sample
from lpm.calibration.task import Fit
from lpm.calibration.task import Row as Iteration
from lpm.kernels import strata
from lpm.provenance import git_commit, versions
from lpm.settings import Calendar

if TYPE_CHECKING:
    import xarray as xr

LEVEL = 0.9
FIT, STORE, HISTORY = "fit.json", "fit.zarr", "history.zarr"


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: a parameter, its estimate, its interval, whether the data say little of it."""

    name: str
    estimate: float
    low: float
    high: float
    weak: bool


def table(fit: Fit, found: Identified | None = None, sample: Sample | None = None) -> list[Row]:
    """A row for each entry of z; intervals are those of a sample, if there is one."""
    found = found or posterior.identified(fit)
    limits = posterior.intervals(fit, LEVEL) if sample is None else sample.intervals(LEVEL)
    return [
        Row(name, float(value), float(low), float(high), weak)
        for name, value, (low, high), weak in zip(fit.problem.names, fit.values, limits, found.weak, strict=True)
    ]


def derived(fit: Fit, sample: Sample | None = None, draws: int = 1000) -> list[Row]:
    """Rows for what follows from the parameters: R0, where everybody meets everybody and stays infectious for a mean
    time.

    R0 = transmission * infectious_days     (Kermack & McKendrick 1927; latent periods do not enter)
    """
    world = fit.problem.world
    own = ("transmission", "infectious_days")
    rates = [getattr(world.params, name, None) for name in own]
    mixed = isinstance(world.state.fixed.get("contacts"), strata.Mixing)
    if not mixed or any(rate is None or np.shape(rate) for rate in rates):
        return []

    def both(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        params = fit.problem.params(z)
        return params.transmission, params.infectious_days

    def of(z: np.ndarray) -> np.ndarray:
        transmission, days = jax.vmap(both)(jnp.asarray(z, jnp.float32))  # one by one, a thousand take seconds
        return np.asarray(transmission, np.float64) * np.asarray(days, np.float64)

    drawn = posterior.draws(fit, draws) if sample is None else sample.z.reshape(-1, len(fit.z))
    low, high = np.quantile(of(drawn[:draws]), [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return [Row("R0", float(of(fit.z[None])[0]), float(low), float(high), False)]


class History:
    """The course of a fit, a row for each iteration, in a zarr store that grows while the fit is under way."""

    def __init__(self, path: Path, names: Sequence[str]):
        shutil.rmtree(path, ignore_errors=True)
        self.path, self.names, self.begun = path, list(names), time.time()

    def add(self, row: Iteration) -> None:
        """Write one more row."""
        import xarray as xr

        numbers = {"start": row.start, "iteration": row.iteration, "simulations": row.simulations}
        floats = {"misfit": row.misfit, "squared_step": row.step, "squared_chance": row.chance}
        floats["seconds"] = time.time() - self.begun
        columns: dict[str, Any] = {name: ("row", np.array([value], np.int64)) for name, value in numbers.items()}
        columns |= {name: ("row", np.array([value], np.float64)) for name, value in floats.items()}
        columns["z"] = (("row", "parameter"), row.z[None])
        found = xr.Dataset(columns, {"parameter": np.array(self.names, dtype=object)})
        grows: dict[str, Any] = {"append_dim": "row"} if self.path.exists() else {"mode": "w"}
        found.to_zarr(self.path, consolidated=False, **grows)


def datasets(fit: Fit, predictive: Predictive, sample: Sample | None = None) -> dict[str, xr.Dataset]:
    """`posterior` and the same as z, `unconstrained_posterior`, (chain, draw) for each parameter;
    `posterior_predictive` and `observed_data`, by stream and time.

    Args:
        fit: of the parameters.
        predictive: from `lpm.calibration.predict`.
        sample: from `lpm.calibration.sample`; what is in `posterior` are then its chains, and `sample_stats` is added.
    """
    import xarray as xr

    problem = fit.problem
    z = predictive.z[None] if sample is None else sample.z
    seen: dict[str, Any] = {}
    foreseen: dict[str, Any] = {}
    coords: dict[str, Any] = {"chain": [0], "draw": np.arange(len(predictive.z))}
    of_draws: dict[str, Any] = {"chain": np.arange(len(z)), "draw": np.arange(z.shape[1])}

    def by_draw(values: np.ndarray) -> xr.Dataset:
        columns = {name: (("chain", "draw"), values[..., i]) for i, name in enumerate(problem.names)}
        return xr.Dataset(columns, of_draws)

    parts = of_streams(problem.streams, predictive.counts)
    for each, counts in zip(problem.streams, parts, strict=True):
        dims = (f"time_{each.name}", f"{'_'.join(each.dims) or 'all'}_{each.name}")
        coords[dims[0]] = np.array(observation.calendar_labels(each, problem.calendar))
        if problem.calendar.start:
            coords[dims[0]] = coords[dims[0]].astype("datetime64[ns]")
        coords[dims[1]] = np.array(each.labels or ("all",), dtype=object)
        seen[each.name] = (dims, each.values)
        foreseen[each.name] = (("chain", "draw", *dims), counts[None])
    of_time = {name: value for name, value in coords.items() if name not in ("chain", "draw")}
    statistics = {}
    if sample is not None:
        told = {"lp": sample.log_density}
        if sample.method == "nuts":
            told |= {"acceptance_rate": sample.acceptance, "diverging": sample.divergent}
        columns = {name: (("chain", "draw"), values) for name, values in told.items()}
        statistics = {"sample_stats": xr.Dataset(columns, of_draws)}
    return statistics | {
        "posterior": by_draw(problem.values(z)),
        "unconstrained_posterior": by_draw(z),
        "posterior_predictive": xr.Dataset(foreseen, coords),
        "observed_data": xr.Dataset(seen, of_time),
    }


def to_arviz(fit: Fit, predictive: Predictive, sample: Sample | None = None) -> Any:
    """The same as ArviZ's InferenceData, if arviz is installed (`pip install lpm[bayes]`).

    Raises:
        ImportError: if it is not.
    """
    try:
        import arviz
    except ImportError:
        raise ImportError("arviz is not installed; write `pip install lpm[bayes]`, or use `datasets`") from None
    groups: dict[str, Any] = datasets(fit, predictive, sample)
    return arviz.InferenceData(**groups)


def read_draws(folder: Path, names: Sequence[str]) -> np.ndarray:
    """The draws of z from the posterior that `write` wrote, (draws, size) float64, a column for each name.

    A store lists its arrays as the file system does, in any order: fit.json knows the order of z.
    """
    import xarray as xr

    found = xr.open_zarr(folder / STORE, group="unconstrained_posterior", consolidated=False)
    return np.stack([np.asarray(found[name]).ravel() for name in names], axis=1)


def last_day(fit: Fit) -> str | int:
    """The last day whose data the fit has seen."""
    problem = fit.problem
    step = max(
        int((each.first + each.lengths)[~np.isnan(each.values).all(1)][-1]) - 1
        for each in problem.streams
        if not np.isnan(each.values).all()
    )
    return str(problem.calendar.start + datetime.timedelta(days=step)) if problem.calendar.start else step


def summary(fit: Fit, predictive: Predictive, found: Checks, sample: Sample | None = None) -> dict[str, Any]:
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
            "free": [described(each, problem.calendar) for each in problem.parameters],
            "last_day": last_day(fit),
            "parameters": [dataclasses.asdict(row) for row in table(fit, found.identified, sample)],
            "derived": [dataclasses.asdict(row) for row in derived(fit, sample)],
            "posterior": "laplace" if sample is None else sample.method,
            "r_hat": None if sample is None or sample.method != "nuts" else sample.r_hat,
            "evenness_of_weights": None if sample is None or sample.method != "flow" else sample.efficiency,
            "verdict": found.belief,
            "findings": [dataclasses.asdict(each) for each in found.findings],
            "predictive_checks": [dataclasses.asdict(each) for each in found.predicted],
            "level": LEVEL,
            "weakly_identified": list(found.identified.directions),
            "share_of_prior_deviation": list(found.identified.share),
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
            "simulations_of_checks": found.simulations,
            "profiles": {
                each.name: {"values": each.values, "rise": each.rise, "low": each.low, "high": each.high}
                for each in found.profiles
            },
            "realizations": fit.realizations,
            "seed": fit.seed,
            "starts": [
                {"verdict": e.verdict, "reason": e.reason, "score": e.score, "values": problem.values(e.z)}
                for e in fit.starts
            ],
        }
    )


def write(
    fit: Fit, predictive: Predictive, found: Checks, folder: Path, sample: Sample | None = None
) -> tuple[Path, Path]:
    """Write fit.json, and the posterior and its predictions as the zarr group fit.zarr.

    Returns:
        both paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, store = folder / FIT, folder / STORE
    for name, dataset in datasets(fit, predictive, sample).items():
        dataset.to_zarr(store, group=name, mode="w", consolidated=False)
    path.write_text(json.dumps(summary(fit, predictive, found, sample), indent=1) + "\n", encoding="utf-8")
    return path, store


def described(parameter: Parameter, calendar: Calendar) -> dict[str, Any]:
    """A parameter for JSON; its days are dates if the calendar has them."""

    def said(step: int) -> str | int:
        return str(calendar.start + datetime.timedelta(days=step)) if calendar.start else step

    over_time = {"days": [said(step) for step in parameter.days]}
    return (
        dataclasses.asdict(parameter) | over_time | {"covariate": [(said(step), x) for step, x in parameter.covariate]}
    )


def day_of(value: str | int | None) -> datetime.date | int | None:
    """A day as JSON holds it."""
    return datetime.date.fromisoformat(value) if isinstance(value, str) else value


def parameter_of(said: dict[str, Any], calendar: Calendar) -> Parameter:
    """The reverse of `described`; JSON knows no infinity, so that what is None there is none."""
    prior: dict[str, Any] = {name: math.nan if value is None else value for name, value in said["prior"].items()}
    days = tuple(calendar.step_of(day_of(day)) for day in said["days"])  # type: ignore[arg-type]
    none = {"low": -math.inf, "high": math.inf, "walk": math.inf}
    rest: dict[str, Any] = {name: none[name] if said[name] is None else said[name] for name in none}
    rest["start"] = tuple(said.get("start", ()))
    rest["covariate"] = tuple((calendar.step_of(day_of(day)), x) for day, x in said.get("covariate", ()))  # type: ignore[arg-type]
    return Parameter(**said | rest | {"prior": Prior(**prior), "targets": tuple(said["targets"]), "days": days})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
