"""What is forecast: weekly COVID deaths of counties of Massachusetts, weekly influenza-like illness of HHS regions.

Data: county_data.csv and flu_region_data.csv of the repository AdityaLab/GradABM (MIT licence), in the folder gradabm
of the one that LPM_DATA_DIR names.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import os
from pathlib import Path

import county_world
import jax.numpy as jnp
import numpy as np

from lpm.calibration import Parameter, Prior, Problem, Stream, by_region
from lpm.calibration.observation import delay_weights
from lpm.errors import InputError
from lpm.settings import Calendar
from lpm.world import World

PAST, AHEAD, UNUSED = 11, 4, 4  # weeks of a window; what the first few report comes from before it
COUNTIES = {  # the ten largest, residents in 2019 (United States Census Bureau, estimates of July 2019)
    "25001": ("Barnstable", 212_990),
    "25005": ("Bristol", 565_217),
    "25009": ("Essex", 789_034),
    "25013": ("Hampden", 466_372),
    "25015": ("Hampshire", 160_830),
    "25017": ("Middlesex", 1_611_699),
    "25021": ("Norfolk", 706_775),
    "25023": ("Plymouth", 521_202),
    "25025": ("Suffolk", 803_907),
    "25027": ("Worcester", 830_622),
}
SYMPTOMS = ("symptom:Fever", "symptom:Cough", "symptom:Sore throat")


@dataclasses.dataclass(frozen=True)
class Case:
    """What is forecast, and how.

    Args:
        name: of the reported events.
        labels, residents: of the regions.
        weeks: (weeks,) epidemic weeks, such as 202036.
        target: (weeks, regions) what is forecast.
        seen: (weeks, regions, channels) covariates, the target among them, known up to the day of a forecast.
        ahead: (weeks, regions, channels) covariates that are known beforehand.
        likelihood, delay: as in `lpm.calibration.Stream`.
        latent_days, infectious_days: of the disease.
        share: reports of an infection; nominal, since it is the smaller, the more infections few agents can show.
        background: of the least that was seen, what does not come from infections.
        unit: what the target's numbers are divided by for the tables.
        seasonal: whether what usually follows at a time of the year says anything.
    """

    name: str
    labels: tuple[str, ...]
    residents: tuple[float, ...]
    weeks: np.ndarray
    target: np.ndarray
    seen: np.ndarray
    ahead: np.ndarray
    likelihood: str
    delay: tuple[float, ...]
    latent_days: float
    infectious_days: float
    dispersion: float
    share: float
    immune_days: float = 7.0
    background: float = 0.0
    unit: float = 1.0
    seasonal: bool = False

    def at(self, week: int) -> int:
        """Where an epidemic week stands."""
        return int(np.flatnonzero(self.weeks == week)[0])


WEEKLY = tuple(range(0, 7 * (PAST + AHEAD), 7))
IMPORTED = 2e-5  # infections from outside, 1/day for each susceptible agent: so that small regions do not die out


def rows(name: str) -> list[dict[str, str]]:
    path = Path(os.environ.get("LPM_DATA_DIR", ".")) / "gradabm" / name
    if not path.is_file():
        raise InputError(f"asked for gradabm/{name}, got no such file; name the folder that holds it in LPM_DATA_DIR")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# Those of a region; they multiply guesses from the data, see `guessed`. Where few are immune, what an infection is
# reported as cannot be told from how many there are, so that it is not free.
PARAMETERS = (
    Parameter(
        "reproduction", ("reproduction",), 0, prior=Prior("lognormal", 1.0, 0.1), days=WEEKLY, walk=0.05, relative=True
    ),
    Parameter("infected", ("infected",), 0, prior=Prior("lognormal", 1.0, 0.3), relative=True),
)


def deaths() -> Case:
    """COVID deaths; covariates are deaths, cases and doctor visits."""
    table = [row for row in rows("county_data.csv") if row["geo_value"] in COUNTIES]
    first, place = datetime.date(2020, 2, 2), {code: i for i, code in enumerate(COUNTIES)}  # epidemic week 202006
    numbers = 48  # whole weeks, the last is 202053 less its last day
    daily = np.zeros((numbers * 7, len(COUNTIES), 3))
    for row in table:
        day = (datetime.date.fromisoformat(row["time_value"]) - first).days
        if 0 <= day < len(daily):
            daily[day, place[row["geo_value"]]] = [float(row[n] or 0) for n in ("deaths", "cases", "doctor_visits")]
    total = daily.reshape(numbers, 7, len(COUNTIES), 3).sum(1)
    residents = np.array([number for _, number in COUNTIES.values()], float)
    rates = np.log((total[..., :2] + 0.5) / residents[:, None] * 1e5)
    return Case(
        "deaths",
        tuple(name for name, _ in COUNTIES.values()),
        tuple(residents),
        202006 + np.arange(numbers),
        total[..., 0],
        np.concatenate([rates, np.log(total[..., 2:] / 7 + 0.1)], -1),
        np.zeros((numbers, len(COUNTIES), 0)),
        "gaussian",
        delay_weights(18, 8),
        latent_days=3.0,
        infectious_days=5.0,
        dispersion=1.0,
        share=0.0012,
    )


def illness() -> Case:
    """Influenza-like illness, visits of 100,000; covariates are the same, what people search for, and the season."""
    table = [row for row in rows("flu_region_data.csv") if row["region"] != "US"]
    labels = tuple(sorted({row["region"] for row in table}, key=lambda name: int(name[3:])))
    weeks = np.array(sorted({int(row["epiweek"]) for row in table}))
    place = {week: i for i, week in enumerate(weeks)}
    found = np.full((len(weeks), len(labels), 1 + len(SYMPTOMS)), np.nan)
    for row in table:
        found[place[int(row["epiweek"])], labels.index(row["region"])] = [float(row[n]) for n in ("ili", *SYMPTOMS)]
    phase = 2 * np.pi * (weeks % 100) / 52
    season = np.broadcast_to(np.stack([np.cos(phase), np.sin(phase)], -1)[:, None], (len(weeks), len(labels), 2))
    return Case(
        "ili",
        labels,
        (1e5,) * len(labels),
        weeks,
        found[..., 0] * 1000,
        np.log(found),
        season,
        "gaussian",
        (1.0,),
        latent_days=2.0,
        infectious_days=3.0,
        dispersion=4.0,
        share=0.6,
        background=0.5,
        unit=1000.0,
        seasonal=True,
    )


def world_of(case: Case, agents: int) -> World:
    """The regions, as they are before a window's data are looked at."""
    settings = county_world.Settings(
        case.residents, case.labels, agents, case.latent_days, case.infectious_days, case.immune_days, (case.name,)
    )
    return county_world.build(settings, Calendar(7 * (PAST + AHEAD)))


def caused(case: Case, now: int) -> tuple[np.ndarray, np.ndarray]:
    """A week's reports that do not come from infections, (regions,), and the others of each week until `now`."""
    seen = case.target[: now + 1]
    base = case.background * seen.min(0)
    return base, np.maximum(seen - base, 0.1 * seen) + 0.3


def usual_growth(case: Case, now: int, weeks: np.ndarray) -> np.ndarray:
    """By how much the logarithm of reports usually grows in weeks after `now`, (weeks,).

    The mean over all regions and the Y earlier years at most a week from that time of the year, times Y / (Y + 1): a
    year is taken to differ from the usual by as much as the usual from no growth. Zero if the case has no seasons.
    """
    if not case.seasonal:
        return np.zeros(len(weeks))
    steps = np.diff(np.log(caused(case, now)[1]), axis=0).mean(1)  # into weeks 1, 2, ... of the data
    into, found = case.weeks[1 : now + 1] % 100, []
    earlier = np.arange(1, now + 1) < now - 26  # this season's own past is no earlier year
    for week in weeks:
        # A year has 52 or 53 weeks.
        apart = (into - (case.weeks[now] % 100 + week - now) + 26) % 52 - 26
        same = steps[earlier & (np.abs(apart) <= 1)]
        years = len(same) / 3
        found.append(same.mean() * years / (years + 1) if len(same) else 0.0)
    return np.array(found)


def guessed(case: Case, world: World, now: int) -> World:
    """The world with parameters as what is known at the end of week `now` suggests: what the network's multiply.

    Reports that infections cause, smoothed over three weeks, grow by a factor g a day; with mean latent and infectious
    periods of L and D days, of which the infectious infect on the first too, an epidemic grows so if, with S the share
    still susceptible,

        R S = (1 + (g - 1) L) (1 + (g - 1) D) / g        (Wallinga & Lipsitch 2007, Proc. R. Soc. B 274, in whole days)

    R belongs to the week of infection, before the delay. After what is known R S = 1, so that the last level stays; or
    the season's usual growth goes on.
    """
    weeks, residents = np.arange(now - PAST + 1, now + AHEAD + 1), np.array(case.residents)
    base, own = caused(case, now)
    smooth = np.exp(np.array([np.log(own[max(0, w - 1) : w + 2]).mean(0) for w in range(now + 1)]))
    late = round(float(np.arange(len(case.delay)) @ np.array(case.delay)) / 7)
    infections = np.minimum(weeks + late, now)  # the week whose reports are caused by infections of each week
    growth = np.zeros((len(weeks), len(residents)))
    known = weeks + late < now
    growth[known] = np.clip(np.log(smooth[infections[known] + 1] / smooth[infections[known]]), -0.5, 0.5) / 7
    growth[~known] = usual_growth(case, now, weeks[~known])[:, None] / 7
    away = case.latent_days + case.infectious_days + case.immune_days  # from infection to being susceptible again
    level = smooth[infections] * np.exp(7 * np.where(known[:, None], 0, growth).cumsum(0))
    left = 1 - away / 7 * level / case.share / residents
    daily = np.expm1(growth)
    number = (1 + daily * case.latent_days) * (1 + daily * case.infectious_days) / (1 + daily) / np.maximum(left, 0.2)
    first = smooth[infections[0]] / 7 / case.share / residents
    params = dataclasses.replace(
        world.params,
        reproduction=jnp.asarray(np.repeat(number, 7, axis=0), jnp.float32),
        infected=jnp.asarray(first * (case.latent_days + case.infectious_days), jnp.float32),
        immune=jnp.asarray(first * case.immune_days, jnp.float32),
        share={case.name: jnp.full(world.params.reproduction.shape, jnp.float32(case.share))},
        background={case.name: jnp.asarray(base / 7 / residents, jnp.float32)},
        imported=jnp.float32(IMPORTED),
    )
    return dataclasses.replace(world, params=params)


def window(case: Case, world: World, now: int, known: int) -> tuple[Problem, np.ndarray]:
    """The weeks before and after a forecast made at the end of week `now`, with the data up to week `known`.

    Returns:
        the problem, and inputs (regions, times, channels) as they were in week `now`.
    """
    weeks = np.arange(now - PAST + 1, now + AHEAD + 1)
    counts = np.full((len(weeks), len(case.labels)), np.nan)
    inside = (weeks <= known) & (weeks < len(case.target))
    counts[inside] = case.target[weeks[inside]]
    counts[:UNUSED] = np.nan
    seen = np.full((len(weeks), *case.seen.shape[1:]), np.nan)
    seen[weeks <= now] = case.seen[weeks[weeks <= now]]
    inputs = np.concatenate([seen, case.ahead[np.minimum(weeks, len(case.ahead) - 1)]], -1).transpose(1, 0, 2)
    observable = world.observables[1]
    stream = Stream(
        case.name,
        observable,
        np.array(WEEKLY),
        7,
        counts,
        "region",
        tuple(range(len(case.labels))),
        case.labels,
        likelihood=case.likelihood,  # type: ignore[arg-type]
        dispersion=case.dispersion,
        delay=case.delay,
    )
    free = by_region(PARAMETERS, case.labels)
    problem = Problem(guessed(case, world, now), Calendar(7 * (PAST + AHEAD)), free, (stream,), epidemic_chance=False)
    return problem, inputs
