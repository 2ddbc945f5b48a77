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
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from calibration_networks import coverage, incidence, keep, network, weekly

from lpm import calibration
from lpm.cache import use_compilation_cache
from lpm.calibration import Parameter, Prior, Problem
from lpm.calibration.priors import draw_prior
from lpm.calibration.recovery import synthetic
from lpm.calibration.setup import problem_of
from lpm.config import build_world, load
from lpm.series import Series
from lpm.settings import Calendar
from lpm.worlds import seir, sir
from lpm.worlds.contacts import Contacts

BOYS, FIRST = 763, 2 / 763
MANY = 100  # schools at once: the mean epidemic of so many has next to no chance in it
WELL_MIXED = Contacts("well_mixed")


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
