"""How many of the admissions in the table of severity New York City had: the prior of `nyc-2020-fit`.

    python benchmarks/nyc/severity.py

Two surveys say how many adults of the city had been infected:

    22.7 % (95 % interval 21.5-24.0) by 29 March, by antibodies of 19-28 April, among customers of grocery stores
        (Rosenberg et al. 2020, Ann. Epidemiol. 48, doi:10.1016/j.annepidem.2020.06.004)
    24.3 % (20.7-28.3), by antibodies from June to October, taken as by 1 June; a random sample, but antibodies wane
        (Parrott et al. 2021, J. Infect. Dis. 224, doi:10.1093/infdis/jiab296)

The ages of the infected come from the model, the rest from the table and the data:

    ratio = admissions observed up to a lag after that day / sum_age infected_age P(symptoms)_age P(admission)_age

with the infected scaled so that the survey's share of adults is met. Prints the ratio by each survey, and what it
becomes as the share, the day and the lag are moved. The two differ, and the prior is wide enough for both.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
DATA = ROOT / "lpm" / "data" / "nyc_admissions_weekly.csv"
AGENTS = 440_000
SURVEYS = {"April": (0.227, datetime.date(2020, 3, 29)), "June to October": (0.243, datetime.date(2020, 6, 1))}
LAG = 12  # days from infection to admission: the means of the first three stages of `lpm.worlds.disease`
MOVED = {"factor": (0.85, 1.15), "days": (-5, 5), "lag": (-3, 3)}  # of the share; of the day; days


def observed(until: datetime.date) -> float:
    """Admissions up to a day, weeks cut in proportion."""
    table = pd.read_csv(DATA, parse_dates=["week_start"]).groupby("week_start")["admissions"].sum()
    days = ((pd.Timestamp(until) - table.index).days + 1).to_numpy()
    return float((table.to_numpy() * np.clip(days / 7, 0, 1)).sum())


def main() -> None:
    """Simulate, count, print."""
    from lpm.calibration.priors import starting_points
    from lpm.calibration.setup import problem_of
    from lpm.config import build_world, load
    from lpm.engine import simulate
    from lpm.kernels import random
    from lpm.worlds.disease import BANDS

    chosen = load("nyc-2020-fit", [f"settings.people.agents={AGENTS}"])
    world = build_world(chosen)
    problem = problem_of(chosen, world)
    params = problem.params(starting_points(problem.parameters, 1, 0)[0])
    seen = [each for each in world.observables if each.name == "infections"]
    steps = chosen.run.calendar.steps
    _, curves = simulate(world.model, params, world.state, random.key(1, 0), steps=steps, observe=seen)
    infected = np.asarray(curves["infections"], np.float64).sum(1).cumsum(0)  # (days, ages)
    people = np.asarray(world.state.fixed["community"].population, np.float64).sum(0)
    fork = {name: np.asarray(params.disease.fork[name], np.float64) for name in ("symptoms", "admission")}
    adults = slice(BANDS.index("20-29"), None)

    def ratio(share: float, day: datetime.date, factor: float = 1, days: int = 0, lag: int = 0) -> float:
        until = day + datetime.timedelta(days=days)
        by_age = infected[(until - chosen.run.calendar.start).days]
        scale = factor * share * people[adults].sum() / by_age[adults].sum() / world.scale
        expected = scale * float(by_age @ (fork["symptoms"] * fork["admission"]))
        return observed(until + datetime.timedelta(days=LAG + lag)) / expected

    for survey, about in SURVEYS.items():
        print(f"{survey}: {ratio(*about):.3f}")
        for name, values in MOVED.items():
            print(f"  {name}: " + ", ".join(f"{ratio(*about, **{name: value}):.3f} at {value:g}" for value in values))


if __name__ == "__main__":
    main()
