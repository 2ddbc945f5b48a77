"""How many simulations a search by derivatives needs for the best policy, and how many searches without them need.

The dials of `nyc-best-policy`, or with `--case orders` the first and last day of one order, how many keep to it, and
how many doses go to the old and how many to the rest, in a city of 20,000 with as many infections from outside as to
make the epidemic certain. All searches see the same draws; each counts a run as one simulation. What is found is then
run with fresh draws.

    python benchmarks/bench_policy.py --seed 1 --way derivatives     # also simplex, evolution; seeds 1, 2, 3
    python benchmarks/bench_policy.py --case orders --seed 1
    python benchmarks/bench_policy.py --table
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pickle
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine, save

from lpm.studies import optimise, plan
from lpm.studies.objective import Found, Problem, Trials
from lpm.studies.search import affordable, descend, simplex

FILE = Path(__file__).parent / "results" / "policy.json"
SEEDS, WAYS = (1, 2, 3), ("derivatives", "simplex", "evolution")
MOST = {"derivatives": 1500, "simplex": 2400, "evolution": 2000}
AGENTS, PER_DAY, REALIZATIONS, CONFIRMED = 20_000, 240, 8, 40
ORDERS = """
study:
  base: nyc-2020
  set:
    settings.schedule: [{layer: school, from: 2020-03-16, contacts: 0.0}]
    settings.interventions:
      orders: [{order: stay_at_home, from: 2020-03-22, to: 2020-05-15, compliance: 0.8}]
      vaccination:
        delay: 7
        campaigns:
          - {doses_per_day: 20000, from: 2020-03-15, ages: [80+, 70-79, 60-69]}
          - {doses_per_day: 20000, from: 2020-03-15, ages: [20-29, 30-39, 40-49, 50-59]}
  scenarios:
    one week earlier: {shift: {settings.interventions.orders.0.from: -7}}
    two weeks earlier: {shift: {settings.interventions.orders.0.from: -14}}
    all doses to the old:
      set:
        settings.interventions.vaccination.campaigns.0.doses_per_day: 40000
        settings.interventions.vaccination.campaigns.1.doses_per_day: 0
  outcomes: [infections, admissions, deaths, doses]
  effect: deaths
  costs:
    per admission: 20000 USD
    per dose: 5000 USD
    per day without work: 1e9 USD
    per day without community: 5e8 USD
  worth: 1e7 USD
  optimise:
    shift: {settings.interventions.orders.0.from: [-14, 7], settings.interventions.orders.0.to: [-20, 20]}
    over:
      settings.interventions.orders.0.compliance: [0.3, 1.0]
      settings.interventions.vaccination.campaigns.0.doses_per_day: [0, 40000]
      settings.interventions.vaccination.campaigns.1.doses_per_day: [0, 40000]
"""


class Enough(Exception):
    """All simulations are spent."""


def evolution(problem: Problem, most: float, seed: int) -> Found:
    """SciPy's differential evolution with its own settings but a smaller population, begun at the base."""
    from scipy.optimize import differential_evolution

    trials = Trials(problem, most, lambda line: None)

    def value(x: np.ndarray) -> float:
        if not trials.left(problem.of_burdens):
            raise Enough
        return trials.point(affordable(problem, x)).value

    bounds = [(0.0, 1.0)] * len(problem.start)
    try:
        start = np.clip(problem.start, 0, 1)
        differential_evolution(value, bounds, x0=start, popsize=6, maxiter=10_000, seed=seed, polish=False, tol=0)
    except Enough:
        pass
    return trials.found("out of simulations")


def policy(case: str, seed: int) -> optimise.Policy:
    """A study's policy in the city of the benchmark."""
    small = f"  set:\n    settings.people.agents: {AGENTS}\n    settings.importation.0.per_day: {PER_DAY}\n"
    text = ORDERS if case == "orders" else plan.find("nyc-best-policy").read_text("utf-8")
    text = text.replace("    agents: 880419\n", "")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.yaml"
        file.write_text(text.replace("  set:", small, 1), "utf-8")
        found = plan.load(file).wanted.policy
    assert found is not None
    return dataclasses.replace(found, seed=seed, realizations=REALIZATIONS)


def named(case: str, asked: optimise.Policy) -> dict[str, np.ndarray]:
    """The study's named scenarios as positions of the dials."""
    first, doses = (
        "settings.interventions.orders.0.from",
        "settings.interventions.vaccination.campaigns.{}.doses_per_day",
    )
    changed: dict[str, dict[str, float]] = {
        "one week earlier": {"settings.schedule": -7.0},
        "two weeks earlier": {"settings.schedule": -14.0},
        "open schools": {"settings.schedule.0.contacts": 1.0},
        "half the work": {"settings.schedule.2.contacts": 0.5, "settings.schedule.3.contacts": 0.5},
    }
    if case == "orders":
        changed = {
            "one week earlier": {first: -7.0},
            "two weeks earlier": {first: -14.0},
            "all doses to the old": {doses.format(0): 40_000.0, doses.format(1): 0.0},
        }
    dials = asked.dials.dials
    return {
        name: np.array([(values.get(d.key, d.now) - d.low) / (d.high - d.low) for d in dials])
        for name, values in changed.items()
    }


def remembered(problem: Problem, name: str) -> Problem:
    """The problem with a file of what was simulated, so that a search that is cut off is gone on with at no cost."""
    file = Path(tempfile.gettempdir()) / f"lpm-bench-policy-{name}.pickle"
    known: dict[bytes, np.ndarray] = pickle.loads(file.read_bytes()) if file.is_file() else {}

    def burdens(x: np.ndarray) -> np.ndarray:
        key = x.tobytes()
        if key not in known:
            known[key] = problem.burdens(x)
            if len(known) % 10 == 0:
                file.write_bytes(pickle.dumps(known))
        return known[key]

    return dataclasses.replace(problem, burdens=burdens)


def measured(case: str, seed: int, way: str) -> dict[str, object]:
    """One search, and its end with fresh draws."""
    asked = policy(case, seed)
    problem = remembered(optimise.posed(asked), named_as(case, seed))
    if way == "derivatives":
        found = descend(problem, MOST[way])
    elif way == "simplex":
        found = simplex(problem, MOST[way], seed=seed)
    else:
        found = evolution(problem, MOST[way], seed)
    fresh = optimise.posed(dataclasses.replace(asked, seed=seed + 1000, realizations=CONFIRMED))
    ends = {"found": found.best.dials, "base": problem.start}
    if way == "derivatives":
        ends |= named(case, asked)
    confirmed = {name: float(fresh.burdens(x).mean() + fresh.cost(x)) for name, x in ends.items()}
    return {
        "path": [[point.simulations, point.value] for point in found.path],
        "simulations": found.simulations,
        "ended": found.ended,
        "dials": dict(zip([d.label for d in asked.dials.dials], asked.dials.values(found.best.dials), strict=True)),
        "fresh": confirmed,
    }


def named_as(case: str, seed: int) -> str:
    """Of results: the seed, and the case unless it is the first."""
    return str(seed) if case == "schedule" else f"{case} {seed}"


def reached(path: list[list[float]], value: float) -> float | None:
    """Simulations after which a search was as low as a value."""
    return next((spent for spent, least in path if least <= value), None)


def table(results: dict[str, dict[str, Any]]) -> None:
    """For each seed: simulations until within 1 % of where the derivatives ended, and the values with fresh draws."""
    print("case      way          simulations  to within 1 %   value, bn  fresh, bn  base, bn")
    factors: dict[str, list[float]] = {way: [] for way in WAYS[1:]}
    for seed, ways in sorted(results.items()):
        if "derivatives" not in ways:
            continue
        goal = 1.01 * ways["derivatives"]["path"][-1][1]
        own = reached(ways["derivatives"]["path"], goal)
        for way in [each for each in WAYS if each in ways]:
            found = ways[way]
            spent = reached(found["path"], goal)
            if way in factors and own:
                factors[way].append((spent or found["simulations"]) / own)
            said = f"{spent:,.0f}" if spent else f"not in {found['simulations']:,.0f}"
            fresh = found["fresh"]
            numbers = [found["path"][-1][1], fresh["found"], fresh["base"]]
            values = " ".join(f"{number / 1e9:9.2f}" for number in numbers)
            print(f"{seed:>8}  {way:11} {found['simulations']:>12,.0f}  {said:>13}   {values}")
    for way, each in factors.items():
        if each:
            print(f"{way}: at least {statistics.median(each):.1f} times as many, {min(each):.1f} to {max(each):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=("schedule", "orders"), default="schedule")
    parser.add_argument("--seed", type=int, choices=SEEDS)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if not asked.table:
        for seed in [asked.seed] if asked.seed else SEEDS:
            for way in [asked.way] if asked.way else WAYS:
                found = measured(asked.case, seed, way)
                kept = known()  # read again: another process may have written
                kept["results"].setdefault(named_as(asked.case, seed), {})[way] = found
                save(FILE, kept | {"machine": machine()})
    table(known()["results"])


def known() -> dict[str, Any]:
    """What was measured before."""
    return json.loads(FILE.read_text("utf-8")) if FILE.is_file() else {"results": {}}


if __name__ == "__main__":
    main()
