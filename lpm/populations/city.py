"""A synthetic city from its tables, and New York City from the tables that lie beside this module."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from lpm import building
from lpm.errors import InputError
from lpm.populations.cache import cached, key_of
from lpm.populations.fitting import largest_remainder
from lpm.populations.households import households
from lpm.populations.places import places
from lpm.populations.population import Population, own_people
from lpm.populations.tables import Tables, read_tables

FEWEST_PEOPLE = 100
MOST_PEOPLE = 2**31 - 1
NEW_YORK_CITY = Path(str(resources.files("lpm.populations") / "data"))

METHOD = (
    "everyone lives in a household: people in group quarters are placed in households like the others",
    "who lives with whom (partners, children, parents, housemates) follows assumed gaps in age",
    "a pupil's school and a worker's workplace are drawn at random within the region where they stand",
    "all employed residents work in the city; commuters from outside are left out",
    "one teacher for 14 pupils; a school is described by its year groups; nobody over 17 is a pupil",
)


def city(tables: Tables, agents: int | None = None, seed: int = 0) -> Population:
    """Make a synthetic city: people with ages in households, schools and workplaces, region by region.

    Totals of regions and, within each, of ages are met to the nearest whole number. For the full New York City, as a
    fraction of people or households: ages and household sizes of a region within 1e-4 of the table (total variation),
    ages of heads by size within 0.005, enrolment, employment and commuting within 1e-4, workplaces by class within
    0.01; every child lives with an adult.

    Args:
        tables: what is known of the city, from `read_tables`.
        agents: people to make, at least 100, shared out in proportion; None for the population of the tables.
        seed: of all chance; another seed gives another city from the same tables.

    Returns:
        The population, ordered by region, then size of household, then age of its head.

    Raises:
        InputError: `agents` or `seed` out of range, or tables that no city can meet.

    >>> town = city(read_tables(NEW_YORK_CITY), agents=2000)
    >>> len(town), town.regions[int(town.region[0])]
    (2000, 'Bronx')

    Source: `lpm.populations.households` and `lpm.populations.places` state the methods.
    """
    people = _people(tables, agents, seed)
    totals = largest_remainder(tables.population, people)
    streams = np.random.SeedSequence(seed).spawn(len(totals) + 1)
    made = [
        households(int(total), ages, sizes, tables.heads, np.random.default_rng(stream))
        for total, ages, sizes, stream in zip(totals, tables.ages, tables.sizes, streams[1:], strict=True)
        if total > 0
    ]
    age = np.concatenate([part.age for part in made])
    starts = np.concatenate([[0], np.cumsum(totals)])
    daytime = places(age, starts, tables, np.random.default_rng(streams[0]))
    return Population(
        ids=np.arange(people, dtype=np.uint32),
        age=age,
        region=np.repeat(np.arange(len(totals), dtype=np.uint8), totals),
        position=np.concatenate([part.position for part in made]),
        size=np.concatenate([part.size for part in made]),
        place=daytime.place,
        place_kind=daytime.kind,
        place_region=daytime.region,
        regions=tables.regions,
        notes=METHOD + tables.notes,
    ).check()


def new_york_city(agents: int | None = None, seed: int = 0, cache: bool = True) -> Population:
    """New York City: 8,804,190 people in five boroughs, from the 2020 census and national and state tables.

    Args:
        agents: people to make, at least 100, shared out in proportion; None for all of them.
        seed: of all chance.
        cache: keep the population on disk and read it from there the next time (see `lpm.populations.cache`).

    Returns:
        The population, regions Bronx, Brooklyn, Manhattan, Queens, Staten Island. What was assumed is in its `notes`.

    Raises:
        InputError: `agents` or `seed` out of range.

    >>> small = new_york_city(agents=10_000, cache=False)
    >>> round(small.summary()["mean household size"], 1)
    2.5

    Source: the `source` column of each table in lpm/populations/data.
    """
    tables = read_tables(NEW_YORK_CITY)
    _people(tables, agents, seed)
    if not cache:
        whole = city(tables, agents, seed)
        return whole if (part := building.part()) is None else own_people(whole, part)
    return cached(key_of(NEW_YORK_CITY, agents=agents, seed=seed), lambda: city(tables, agents, seed))


def _people(tables: Tables, agents: int | None, seed: int) -> int:
    people = int(tables.population.sum()) if agents is None else agents
    problems = []
    for name, value, low, high in (("agents", people, FEWEST_PEOPLE, MOST_PEOPLE), ("seed", seed, 0, 2**63 - 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
            problems.append(f"{name}: asked for a whole number from {low:,} to {high:,}, got {value!r}; write another")
    if problems:
        raise InputError(problems)
    return int(people)
