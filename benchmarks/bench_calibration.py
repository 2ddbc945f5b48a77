"""What calibration finds, and at what cost.  python benchmarks/bench_calibration.py [PART ...] [--small]

school: influenza in a boarding school, 1978, as SIR, under each likelihood. latent: the same as SEIR with a free latent
period. recovery, adam, rejection: SEIR epidemics with known parameters, drawn from the prior, by each method.
network: SEIR epidemics of a million agents over a random network, a sample fitted first, from each day's new infections
and each week's number of infectious; incidence: from new infections alone. weekly: the contacts of twelve weeks unknown
besides. coverage: smaller ones, many times, with parameters from the prior. hagelloch:
measles in a village, by the ensemble smoother (needs LPM_DATA_DIR). Each part is saved by its name in
benchmarks/results/calibration.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from machine import machine, save

from lpm import State, calibration, chain
from lpm.cache import use_compilation_cache
from lpm.calibration import Parameter, Prior, Problem, Stream
from lpm.calibration.priors import draw_prior
from lpm.calibration.problem import with_counts
from lpm.calibration.recovery import synthetic
from lpm.calibration.setup import problem_of
from lpm.config import build_world, load
from lpm.kernels import random
from lpm.series import Series
from lpm.settings import Calendar
from lpm.world import World
from lpm.worlds import seir, sir
from lpm.worlds.contacts import Contacts

RESULT = Path(__file__).parent / "results" / "calibration.json"
BOYS, FIRST = 763, 2 / 763
MANY = 100  # schools at once: the mean epidemic of so many has next to no chance in it
WELL_MIXED = Contacts("well_mixed")
COARSE: dict[str, Any] = {"realizations": 2, "coarse_realizations": 16, "starts": 1}  # of fits that go on from a sample


def school(small: bool) -> dict[str, Any]:
    """R0 of the school's SIR under each likelihood, and of a hundred schools at once."""
    config = load("school-influenza-1978")
    (series,), calendar = config.compare, config.run.calendar
    free = (
        Parameter("transmission", ("transmission",), 0.2, 10),
        Parameter("infectious_days", ("infectious_days",), 1, 10),
    )
    cases = {
        "one school, least squares": (1, "least_squares", False),
        "a hundred schools, least squares": (MANY, "least_squares", False),
        "a hundred schools, square roots": (MANY, "gaussian", False),
        "a hundred schools, negative binomial": (MANY, "negative_binomial", False),
        "one school, negative binomial": (1, "negative_binomial", False),
        "one school, negative binomial, epidemic chance": (1, "negative_binomial", True),
    }
    found = {}
    for name, (schools, likelihood, chance) in cases.items():
        settings = sir.Settings(agents=BOYS * schools, contacts=WELL_MIXED, initial=FIRST)
        world = dataclasses.replace(sir.build(settings, calendar), scale=float(schools))
        stream = calibration.stream(world, calendar, series, likelihood=likelihood)  # type: ignore[arg-type]
        problem = Problem(world, calendar, free, (stream,), epidemic_chance=chance)
        begun = time.perf_counter()
        fit = calibration.fit(problem, realizations=(100 if schools == 1 else 4) // (10 if small else 1) or 2, starts=2)
        found[name] = described(fit, time.perf_counter() - begun) | {"R0": reproduction(fit)}
        print(f"{name}: R0 {found[name]['R0']}, {fit.simulations} simulations; {fit.message}")
    return found


def latent(small: bool) -> dict[str, Any]:
    """The school as SIR and SEIR with free initial cases: what the data say of the latent period and R0."""
    config = load("school-influenza-1978")
    (series,), calendar = config.compare, config.run.calendar
    settings = seir.Settings(
        agents=BOYS * MANY,
        contacts=WELL_MIXED,
        transmission=4.0,
        latent_days=1.5,
        latent_deviation=1.0,
        infectious_days=2.1,
        infectious_deviation=1.5,
        initial=FIRST,
    )
    without = sir.build(sir.Settings(agents=BOYS * MANY, contacts=WELL_MIXED, initial=FIRST), calendar)
    transmission = Parameter("transmission", ("transmission",), 0.2, 40, Prior("lognormal", 5, 5))
    latent_days = Parameter("latent_days", ("latent_days",), 1, 5)
    infectious_days = Parameter("infectious_days", ("infectious_days",), 1, 10)
    initial = Parameter("initial", ("initial",), 0, 0.05, Prior("lognormal", FIRST, FIRST))
    cases = {
        "SIR": (without, (transmission, infectious_days, initial)),
        "SEIR": (seir.build(settings, calendar), (transmission, latent_days, infectious_days, initial)),
    }
    fits, found = {}, dict[str, Any]()
    for name, (world, free) in cases.items():
        world = dataclasses.replace(world, scale=float(MANY))
        stream = calibration.stream(world, calendar, series, likelihood="least_squares")
        problem = Problem(world, calendar, free, (stream,), epidemic_chance=False)
        begun = time.perf_counter()
        fits[name] = calibration.fit(problem, realizations=4, starts=2 if small else 3)
        found[name] = described(fits[name], time.perf_counter() - begun) | {"R0": reproduction(fits[name])}
    fit = fits["SEIR"]
    profile = calibration.profile(fit, "latent_days", points=3 if small else 9, width=4, iterations=8)
    identified = calibration.identified(fit)
    found |= {
        "directions": identified.directions,
        "share_of_prior_deviation": dict(zip(fit.problem.names, identified.share, strict=True)),
        "profile": {
            "latent_days": profile.values.tolist(),
            "rise": profile.rise.tolist(),
            "R0": (profile.others[:, 0] * profile.others[:, 2]).tolist(),
            "initial": (profile.others[:, 3] * BOYS).tolist(),
            "interval": [profile.low, profile.high],
        },
    }
    print(json.dumps(found, indent=1))
    return found


def known(small: bool) -> tuple[Problem, np.ndarray]:
    """SEIR epidemics whose parameters are drawn from the prior, and those: (repeats, size) z."""
    calendar = Calendar(60)
    settings = seir.Settings(
        agents=5_000 if small else 20_000, contacts=WELL_MIXED, transmission=0.6, latent_days=3.5, infectious_days=7
    )
    world = seir.build(settings, calendar)
    free = (
        Parameter("transmission", ("transmission",), 0.1, 3, Prior("lognormal", 0.6, 0.15)),
        Parameter("latent_days", ("latent_days",), 1, 12, Prior("lognormal", 3.5, 1)),
        Parameter("infectious_days", ("infectious_days",), 2, 30, Prior("lognormal", 7, 1.5)),
        Parameter("initial", ("initial",), 1e-3, 0.1, Prior("lognormal", 0.01, 0.004)),
    )
    blank = Series("incidence", tuple(range(calendar.steps)), np.zeros(calendar.steps))
    stream = calibration.stream(world, calendar, blank, likelihood="poisson")
    return Problem(world, calendar, free, (stream,)), draw_prior(free, 2 if small else 8, seed=11)


def recovered(small: bool, method: Callable[..., calibration.Fit], **settings: Any) -> dict[str, Any]:
    """Known parameters by a method: errors, coverage, cost."""
    problem, truths = known(small)
    begun = time.perf_counter()
    found = calibration.recover(problem, truths, (1.0,), method=method, **settings)
    print(f"{found}\n{found.simulations} simulations")
    return {
        "agents": problem.world.agents,
        "repeats": len(truths),
        "settings": settings,
        "median_relative_error": dict(zip(found.names, found.relative_error.tolist(), strict=True)),
        "covered_by_90_percent": dict(zip(found.names, found.coverage.tolist(), strict=True)),
        "root_mean_square_deviations_off": float(np.sqrt(np.mean(found.error**2))),
        "simulations": float(np.median(found.simulations)),
        "seconds_each": (time.perf_counter() - begun) / len(truths),
        "failed": found.failed,
    }


def recovery(small: bool) -> dict[str, Any]:
    """By Levenberg-Marquardt."""
    return recovered(small, calibration.fit, realizations=16, starts=2)


def adam(small: bool) -> dict[str, Any]:
    """By Adam."""
    return recovered(small, calibration.adam, realizations=4, starts=1, steps=20 if small else 120)


def rejection(small: bool) -> dict[str, Any]:
    """By rejection: the median of the draws kept, and their quantiles as intervals."""
    problem, truths = known(small)
    begun, errors, covered = time.perf_counter(), [], []
    simulations = 200 if small else 1500
    for number, z in enumerate(truths):
        data = synthetic(problem, z, (1.0,), 7919 * 2 + number)  # those that `recover` makes
        kept = calibration.reject(data, simulations=simulations, keep=30).values
        truth, (low, middle, high) = problem.values(z), np.quantile(kept, [0.05, 0.5, 0.95], axis=0)
        errors.append(np.abs(middle / truth - 1))
        covered.append((truth >= low) & (truth <= high))
    found = {
        "agents": problem.world.agents,
        "repeats": len(truths),
        "median_relative_error": dict(zip(problem.names, np.median(errors, axis=0).tolist(), strict=True)),
        "covered_by_90_percent": dict(zip(problem.names, np.mean(covered, axis=0).tolist(), strict=True)),
        "simulations": simulations,
        "seconds_each": (time.perf_counter() - begun) / len(truths),
    }
    print(found)
    return found


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
    rule: Literal["cavity", "differences"] = "cavity",
    prevalence: bool = True,
) -> list[Problem]:
    """The same problem with everybody and with a sample, all of whom are counted."""
    many, few = (20_000, 5_000) if small else (1_000_000, 20_000)
    found = []
    for agents in (many, few):
        own = dataclasses.replace(world(agents), scale=agents / many)
        # The data are an epidemic of everybody, whose chance is smaller than the sample's.
        share = 1.0 if agents == many else few / many
        found.append(Problem(own, calendar, free, seen(own, calendar, prevalence), epidemic_chance=share, rule=rule))
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

    return coarse_first("weekly", pair(world, free, calendar, small, "differences"), small, seed=12)


def coverage(small: bool) -> dict[str, Any]:
    """Simulation-based calibration: of epidemics with parameters from the prior, how many intervals of 90 % hold them.

    The same SEIR over a network as in `network`, of 5,000 agents and twice the share of first cases, fitted directly.
    """
    calendar, agents, asked = Calendar(80), 5_000, {"realizations": 16, "starts": 1}
    free = rates(0.06, 0.01)
    world = seir.build(seir.Settings(agents=agents, transmission=0.06, latent_days=3.5, infectious_days=7), calendar)
    problem = Problem(world, calendar, free, seen(world, calendar, prevalence=True))
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


def hagelloch(small: bool) -> dict[str, Any]:
    """Measles in Hagelloch: rates of families, classes and village, and whether the smoother finds them again."""
    chosen = load(Path(__file__).parent / "hagelloch" / "measles-hagelloch-1861.yaml")
    problem = problem_of(chosen, build_world(chosen))
    begun = time.perf_counter()
    section = chosen.calibrate
    assert section is not None
    asked = {"members": 60 if small else section.members, "assimilations": section.assimilations, "realizations": 40}
    fit = calibration.smooth(problem, **asked, progress=print)
    predictive = calibration.predict(fit)
    found = calibration.check(fit, predictive, repeats=2 if small else 10, progress=print)
    assert found.recovery is not None
    return described(fit, time.perf_counter() - begun) | {
        "share_of_prior_deviation": dict(zip(problem.names, found.identified.share, strict=True)),
        "findings": [each.text for each in found.findings],
        "verdict": found.belief,
        "counts_within_the_90_percent_band": calibration.coverage(fit, predictive),
        "recovered": int((found.recovery.coverage * len(found.recovery.truth)).sum().round()),
        "of": int(found.recovery.truth.size),
    }


def reproduction(fit: calibration.Fit) -> list[float]:
    """R0, transmission times infectious days: at the estimate, and the 5 % and 95 % quantiles of the posterior."""
    columns = [fit.problem.names.index(name) for name in ("transmission", "infectious_days")]
    drawn = fit.problem.values(calibration.draws(fit, 4000))[:, columns].prod(1)
    middle = fit.values[columns].prod()
    return [round(float(value), 2) for value in (middle, *np.quantile(drawn, [0.05, 0.95]))]


def described(fit: calibration.Fit, seconds: float) -> dict[str, Any]:
    """A fit in a few numbers."""
    limits = calibration.intervals(fit)
    return {
        "parameters": {
            name: [round(float(each), 4) for each in (value, *limit)]
            for name, value, limit in zip(fit.problem.names, fit.values, limits, strict=True)
        },
        "dispersion": fit.weights.dispersions,
        "simulations": fit.simulations,
        "seconds": round(seconds, 1),
        "message": fit.message,
    }


PARTS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "school": school,
    "latent": latent,
    "recovery": recovery,
    "adam": adam,
    "rejection": rejection,
    "network": network,
    "incidence": incidence,
    "weekly": weekly,
    "coverage": coverage,
    "hagelloch": hagelloch,
}


def keep(name: str, found: dict[str, Any]) -> None:
    """Save a part beside those measured before."""
    before = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    save(RESULT, before | {name: {"machine": machine(), **found}})


def main() -> None:
    """Measure the parts asked for and save them beside those measured before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all if none is named")
    parser.add_argument("--small", action="store_true", help="small sizes, nothing saved: does the script run?")
    asked = parser.parse_args()
    use_compilation_cache()
    for name in asked.parts or PARTS:
        if name == "hagelloch" and not os.environ.get("LPM_DATA_DIR"):
            print("hagelloch: left out, LPM_DATA_DIR names no folder with the line list")
            continue
        found = PARTS[name](asked.small)
        if not asked.small:
            keep(name, found)


if __name__ == "__main__":
    main()
