"""Forecast four weeks ahead, and score it.  python benchmarks/massachusetts/forecast_counties.py CASE [--seeds 0 1 ...]

CASE is deaths (COVID deaths of ten counties of Massachusetts) or ili (influenza-like illness of ten HHS regions). Needs
the data in LPM_DATA_DIR. Each run of a seed is added to results.json beside this file, of which `counties_page.py`
makes the tables and the picture of docs/massachusetts.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import county_cases as cases
from county_cases import AHEAD, Case
from machine import machine, save

from lpm.cache import use_compilation_cache
from lpm.calibration import Neural, expected, neural
from lpm.calibration.forecasts import last_season, last_value, mean_value, scores

RESULT = Path(__file__).parent / "results.json"
WEEKS = {  # at whose end a forecast is made
    "deaths": (202036, 202040, 202044, 202048),
    "ili": (201842, 201846, 201850, 201902, 201906, 201910, 201942, 201946, 201950, 202002),
}
AGENTS = {"deaths": 30_000, "ili": 100_000}
SEASON = (38, 18)  # first and last week of the windows of influenza that the network learns from
WINDOWS = {"deaths": 6, "ili": 14}  # at most so many of the past are learnt from at each forecast
APART = 2  # weeks between them
STEPS, MORE = {"deaths": 48, "ili": 54}, {"deaths": 18, "ili": 12}  # of training, at the first forecast and each later
RATE = 0.01  # of learning
REALIZATIONS = 8  # of a forecast
LEVEL = {"deaths": 2, "ili": 1}  # weeks at whose level a corrected forecast begins: few deaths a week are mostly chance
SMALL = 5  # added to both levels, region by region


def learnt_from(case: Case, now: int) -> list[int]:
    """Windows that a network is trained on at the end of a week: past ones, and this as often as a third of them."""
    first = cases.PAST - 1 + (6 if case.name == "deaths" else 0)  # deaths began some weeks after the data
    past = [p for p in range(now - AHEAD, first - 1, -APART)]
    if case.name == "ili":
        past = [p for p in past if case.weeks[p] % 100 >= SEASON[0] or case.weeks[p] % 100 <= SEASON[1]]
    past = past[: WINDOWS[case.name]]
    return [*past, *[now] * max(1, len(past) // 3)]


def forecast(case: Case, agents: int, seed: int, weeks: tuple[int, ...], effort: float = 1) -> dict[str, Any]:
    """Forecasts at the end of each of the weeks, (4, regions) each; the network goes on learning from one to the next.

    A corrected one is multiplied by what was observed over what was simulated in the last weeks that are known; a
    guessed one is corrected too, and made without the network.
    """
    world, fit = cases.world_of(case, agents), None
    found: dict[str, dict[str, Any]] = {"forecasts": {}, "corrected": {}, "guessed": {}}
    begun, simulations, fitted = time.perf_counter(), 0, []
    for week in weeks:
        now = case.at(week)
        windows = [cases.window(case, world, p, now) for p in learnt_from(case, now)]
        fit = trained(case, windows, fit, seed, effort)
        simulations += fit.simulations
        (curves,) = expected(windows[-1][0], fit.z[-1], realizations=REALIZATIONS, seed=seed + 1)
        (untrained,) = expected(windows[-1][0], fit.head.middle, realizations=REALIZATIONS, seed=seed + 1)
        counts, mean = windows[-1][0].streams[0].values, curves.mean(0)
        fitted.append(float(mean[~np.isnan(counts)].sum() / np.nansum(counts)))
        found["forecasts"][str(week)] = (mean[-AHEAD:] / case.unit).round(3).tolist()
        found["corrected"][str(week)] = (corrected(case, counts, mean) / case.unit).round(3).tolist()
        found["guessed"][str(week)] = (corrected(case, counts, untrained.mean(0)) / case.unit).round(3).tolist()
    seconds = time.perf_counter() - begun
    return {
        "seed": seed,
        "agents": agents,
        "seconds": round(seconds, 1),
        "simulations": simulations,
        "fitted_over_observed": round(float(np.mean(fitted)), 3),
        **found,
    }


def corrected(case: Case, counts: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The weeks ahead, (4, regions), at the level of the last that are known."""
    known = slice(-AHEAD - LEVEL[case.name], -AHEAD)
    return mean[-AHEAD:] * (counts[known].sum(0) + SMALL) / (mean[known].sum(0) + SMALL)


def trained(case: Case, windows: list, before: Neural | None, seed: int, effort: float) -> Neural:
    """The network, from the beginning or going on from an earlier one."""
    steps = STEPS[case.name] if before is None else MORE[case.name]
    return neural(
        [problem for problem, _ in windows],
        np.array([inputs for _, inputs in windows]),
        cases.WEEKLY,
        realizations=1,
        passes=1,
        rate=RATE,
        steps=max(2, round(steps * effort)),
        after=before,
        seed=seed,
    )


def observed(case: Case, weeks: tuple[int, ...]) -> np.ndarray:
    """(forecasts, 4, regions)"""
    return np.array([case.target[case.at(w) + 1 : case.at(w) + 1 + AHEAD] for w in weeks]) / case.unit


def usual(case: Case, now: int) -> np.ndarray:
    """The last week, and what usually follows at that time of the year, (4, regions)."""
    base, own = cases.caused(case, now)
    growth = cases.usual_growth(case, now, now + 1 + np.arange(AHEAD))
    return base + own[-1] * np.exp(growth.cumsum())[:, None]


def plain(case: Case, weeks: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The forecasts that any other must beat."""
    places = [case.at(week) for week in weeks]
    target = case.target / case.unit
    found = {
        "last value": np.array([last_value(target, now, AHEAD) for now in places]),
        "mean of the last two weeks": np.array([last_value(target, now, AHEAD, 2) for now in places]),
        "mean of all weeks so far": np.array([mean_value(target, now, AHEAD) for now in places]),
    }
    if case.name == "ili":
        found["same weeks a year ago"] = np.array([last_season(target, now, AHEAD) for now in places])
        found["last value and the season's usual growth"] = np.array([usual(case, now) for now in places]) / case.unit
    return found


def main() -> None:
    """Run the seeds asked for and save them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=sorted(WEEKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--agents", type=int)
    given = parser.parse_args()
    use_compilation_cache()
    case = cases.deaths() if given.case == "deaths" else cases.illness()
    weeks = WEEKS[given.case]
    for seed in given.seeds:
        run = forecast(case, given.agents or AGENTS[given.case], seed, weeks)
        run["machine"] = machine()
        results = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
        own = results.setdefault(given.case, {"runs": []})
        truth = observed(case, weeks)
        own |= {"weeks": list(weeks), "labels": list(case.labels), "observed": truth.round(3).tolist()}
        own["plain"] = {name: values.round(3).tolist() for name, values in plain(case, weeks).items()}
        same = [each for each in own["runs"] if (each["seed"], each["agents"]) != (seed, run["agents"])]
        own["runs"] = sorted([*same, run], key=lambda each: (each["agents"], each["seed"]))
        save(RESULT, results)
        found = scores(np.array(list(run["forecasts"].values())), truth)
        shifted = scores(np.array(list(run["corrected"].values())), truth)
        against = scores(np.array(own["plain"]["last value"]), truth)
        print(
            f"seed {seed}: ND {found['ND']:.3f}, corrected {shifted['ND']:.3f}, of the last value {against['ND']:.3f}; "
            f"{run['seconds']:.0f} s"
        )


if __name__ == "__main__":
    main()
