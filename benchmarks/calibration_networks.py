"""Epidemics over a random network with known parameters, and what fits find of them: parts of bench_calibration.py.

A million agents, a sample of them fitted first; or few, many times. What is seen of an epidemic are new infections of
each day and, once a week, how many are infectious: from new infections alone a long infectious period with little
transmission can hardly be told from a short one with much.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from machine import machine, save

from lpm import State, calibration, chain
from lpm.calibration import Parameter, Prior, Problem, Stream
from lpm.calibration.priors import draw_prior
from lpm.calibration.problem import with_counts
from lpm.calibration.recovery import synthetic
from lpm.kernels import random
from lpm.series import Series
from lpm.settings import Calendar
from lpm.world import World
from lpm.worlds import seir

RESULT = Path(__file__).parent / "results" / "calibration.json"
COARSE: dict[str, Any] = {"realizations": 2, "coarse_realizations": 16, "starts": 1}  # of fits that go on from a sample


def rates(transmission: float, initial: float) -> tuple[Parameter, ...]:
    """Four unknown rates of a SEIR epidemic over a network of degree 10."""
    return (
        Parameter("transmission", ("transmission",), 0.005, 1, Prior("lognormal", transmission, transmission / 4)),
        Parameter("latent_days", ("latent_days",), 1, 12, Prior("lognormal", 3.5, 1)),
        Parameter("infectious_days", ("infectious_days",), 2, 30, Prior("lognormal", 7, 1.5)),
        Parameter("initial", ("initial",), 1e-4, 0.1, Prior("lognormal", initial, 0.4 * initial)),
    )


def seen(world: World, calendar: Calendar, prevalence: bool) -> tuple[Stream, ...]:
    """Poisson counts, all zero yet: new infections of each day, and of each seventh day how many are infectious."""
    of_days = {"incidence": range(calendar.steps)}
    of_days |= {"infectious": range(6, calendar.steps, 7)} if prevalence else {}
    blank = [Series(name, tuple(days), np.zeros(len(days))) for name, days in of_days.items()]
    return tuple(calibration.stream(world, calendar, series, likelihood="poisson") for series in blank)


def pair(
    world: Callable[[int], World],
    free: tuple[Parameter, ...],
    calendar: Calendar,
    small: bool,
    prevalence: bool = True,
) -> list[Problem]:
    """The same problem with everybody and with a sample, all of whom are counted."""
    many, few = (20_000, 5_000) if small else (1_000_000, 20_000)
    found = []
    for agents in (many, few):
        own = dataclasses.replace(world(agents), scale=agents / many)
        # The data are an epidemic of everybody, whose chance is smaller than the sample's.
        share = 1.0 if agents == many else few / many
        found.append(
            Problem(own, calendar, free, seen(own, calendar, prevalence), epidemic_chance=share, rule="differences")
        )
    return found


def coarse_first(name: str, problems: list[Problem], small: bool, seed: int) -> dict[str, Any]:
    """Epidemics with parameters from the prior, each fitted coarse to fine, and saved when it is done."""
    whole, sample = problems
    found = [] if small else saved(name)
    about = {"agents": whole.world.agents, "sample": sample.world.agents, "settings": COARSE}
    for number, z in enumerate(draw_prior(whole.parameters, 1 if small else 5, seed=seed)):
        if number < len(found):
            continue
        data = synthetic(whole, z, (1.0,) * len(whole.streams), 100 + number)
        begun = time.perf_counter()
        fit = calibration.coarse_to_fine(with_counts(sample, data.counts), data, progress=print, **COARSE)
        truth = whole.values(z)
        low, high = calibration.intervals(fit).T
        assert fit.coarse is not None
        share = sample.world.agents / whole.world.agents
        found.append(
            {
                "truth": dict(zip(whole.names, truth.tolist(), strict=True)),
                "error_percent": dict(zip(whole.names, (100 * (fit.values / truth - 1)).tolist(), strict=True)),
                "R0_error_percent": float(100 * (fit.values[0] * fit.values[2] / truth[0] / truth[2] - 1)),
                "held": [bool(each) for each in (low <= truth) & (truth <= high)],
                "deviations_off": ((fit.z - z) / np.sqrt(np.diag(fit.covariance))).tolist(),
                "simulations": fit.simulations,
                "of_the_sample": fit.coarse.simulations,
                "of_everybody": fit.simulations - math.ceil(fit.coarse.simulations * share),
                "seconds": round(time.perf_counter() - begun, 1),
                "message": fit.message,
            }
        )
        print(json.dumps(found[-1], indent=1))
        if not small:
            keep(name, about | summary(found) | {"epidemics": found})
    print(json.dumps(summary(found), indent=1))
    return about | summary(found) | {"epidemics": found}


def saved(name: str) -> list[dict[str, Any]]:
    """The epidemics of a part that are done."""
    before = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    return list(before.get(name, {}).get("epidemics", []))


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several epidemics: median errors, how many intervals hold the truth, the dearest fit."""
    errors = np.abs([list(each["error_percent"].values()) for each in found])
    return {
        "median_error_percent": dict(zip(found[0]["error_percent"], np.median(errors, axis=0).tolist(), strict=True)),
        "median_R0_error_percent": float(np.median(np.abs([each["R0_error_percent"] for each in found]))),
        "held": int(sum(sum(each["held"]) for each in found)),
        "of": int(errors.size),
        "most_simulations": max(each["simulations"] for each in found),
    }


def network(small: bool) -> dict[str, Any]:
    """SEIR over a random network of degree 10, four unknowns, coarse to fine."""
    return of_rates("network", small, prevalence=True)


def incidence(small: bool) -> dict[str, Any]:
    """The same from new infections alone."""
    return of_rates("incidence", small, prevalence=False)


def of_rates(name: str, small: bool, prevalence: bool) -> dict[str, Any]:
    """The four rates, from one stream of data or two."""
    calendar = Calendar(80)
    free = rates(0.06, 0.005)

    def world(agents: int) -> World:
        return seir.build(seir.Settings(agents=agents, transmission=0.06, latent_days=3.5, infectious_days=7), calendar)

    return coarse_first(name, pair(world, free, calendar, small, prevalence=prevalence), small, seed=11)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Varying:
    """The rates of `lpm.worlds.seir`, and contacts of each day relative to usual, (days,)."""

    transmission: jax.Array
    latent_days: jax.Array
    infectious_days: jax.Array
    initial: jax.Array
    contacts: jax.Array


def infect(params: Varying, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """As `seir.infect`, with the contacts of the day."""
    rate = params.transmission * params.contacts[state.step]
    today = seir.Params(rate, params.latent_days, params.infectious_days, params.initial)
    return seir.infect(today, state, key)


def weekly(small: bool) -> dict[str, Any]:
    """The same with contacts that change each week, from the third week on: twelve more unknowns, by differences."""
    usual, weeks = 14, 12
    calendar = Calendar(usual + 7 * weeks)
    days = tuple(range(usual, calendar.steps, 7))
    contacts = Parameter("contacts", ("contacts",), 0, 1.2, Prior("beta", 0.5, 0.1), days=days, walk=0.4)
    free = (*rates(0.05, 0.002), contacts)

    def world(agents: int) -> World:
        settings = seir.Settings(agents=agents, transmission=0.05, latent_days=3.5, infectious_days=7)
        own = seir.build(settings, calendar)
        model = chain(seir.first_cases, progress=seir.progress_course, infect=infect)
        params = Varying(**vars(own.params), contacts=jnp.ones(calendar.steps, jnp.float32))
        return dataclasses.replace(own, model=model, params=params)

    return coarse_first("weekly", pair(world, free, calendar, small), small, seed=12)


def coverage(small: bool) -> dict[str, Any]:
    """Simulation-based calibration: of epidemics with parameters from the prior, how many intervals of 90 % hold them.

    The same SEIR over a network as in `network`, of 5,000 agents and twice the share of first cases, fitted directly.
    """
    calendar, agents, asked = Calendar(80), 5_000, {"realizations": 32, "starts": 1}
    free = rates(0.06, 0.01)
    world = seir.build(seir.Settings(agents=agents, transmission=0.06, latent_days=3.5, infectious_days=7), calendar)
    problem = Problem(world, calendar, free, seen(world, calendar, prevalence=True), rule="differences")
    truths = draw_prior(free, 3 if small else 64, seed=13)
    found = [] if small else saved("coverage")
    for number, z in enumerate(truths):
        if number < len(found):
            continue
        recovered = calibration.recover(problem, z[None], (1.0, 1.0), data_seed=50 + number, **asked)
        if recovered.failed:
            found.append({"failed": recovered.failed[0]})
        else:
            held = (recovered.truth >= recovered.low) & (recovered.truth <= recovered.high)
            found.append({"held": held[0].tolist(), "deviations_off": recovered.error[0].tolist()})
            found[-1] |= {"simulations": int(recovered.simulations[0])}
        print(number, found[-1], flush=True)
        if not small:
            keep("coverage", {"agents": agents, "settings": asked, **covered(free, found), "epidemics": found})
    return {"agents": agents, "settings": asked, **covered(free, found), "epidemics": found}


def covered(free: tuple[Parameter, ...], found: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of intervals that hold the truth, with the binomial deviation of each parameter's share."""
    held = np.array([each["held"] for each in found if "held" in each], float).reshape(-1, len(free))
    off = np.array([each["deviations_off"] for each in found if "held" in each]).reshape(-1, len(free))
    return {
        "fits": len(held),
        "failed": len(found) - len(held),
        "share_held": float(held.mean()),
        "share_held_of_each": dict(zip((each.name for each in free), held.mean(0).tolist(), strict=True)),
        "binomial_deviation_of_each": float(np.sqrt(0.09 / max(len(held), 1))),
        "deviation_between_fits": float(held.mean(1).std(ddof=1) / np.sqrt(len(held))) if len(held) > 1 else None,
        "root_mean_square_deviations_off": float(np.sqrt((off**2).mean())),
    }


def keep(name: str, found: dict[str, Any]) -> None:
    """Save a part beside those measured before."""
    before = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    save(RESULT, before | {name: {"machine": machine(), **found}})
