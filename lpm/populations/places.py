"""Where people spend the day: year groups of schools, and workplaces with a heavy tail of sizes.

1. Pupils: of each region's children of an age, the enrolled fraction, dealt evenly into year groups of about the
   table's size, in the region they live in.
2. Workers: of the adults of each age who are no pupils, the employed fraction, sent to a region by the commuting
   table. All of them work in the city (those who leave it, and those who come in, are not described).
3. Teachers: in each region, one worker for 14 pupils joins a year group.
4. The rest fill workplaces: a size class is drawn by the number of establishments in it, and a size within the class
   with a density that falls as 1 / size^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpm.populations.fitting import largest_remainder
from lpm.populations.population import SCHOOL, WORKPLACE
from lpm.populations.tables import AGES, Tables

PUPILS_PER_TEACHER = 14
LARGEST_SHARE = 0.05  # of a region's workers in one workplace: a small city has no room for the largest classes


@dataclass(frozen=True)
class Places:
    """The daytime groups and who is in them.

    Args:
        place: (n,) int32, group of each person, -1 for none.
        kind: (g,) uint8, 0 for a school's year group, 1 for a workplace.
        region: (g,) uint8, never decreasing.
    """

    place: NDArray[np.int32]
    kind: NDArray[np.uint8]
    region: NDArray[np.uint8]


def places(age: NDArray[np.uint8], starts: NDArray[np.int64], tables: Tables, generator: np.random.Generator) -> Places:
    """Give pupils a year group, and workers a workplace or a school to teach at.

    Args:
        age: (n,) uint8, years, sorted by region.
        starts: (R + 1,) int64, the first person of each region, and n.
        tables: the city's rates, sizes and commuting.
        generator: source of chance.

    Returns:
        The group of each person, and each group's kind and region.

    >>> from lpm.populations.city import NEW_YORK_CITY
    >>> from lpm.populations.tables import read_tables
    >>> age = np.tile(np.arange(80, dtype=np.uint8), 50)
    >>> found = places(age, np.arange(0, 4001, 800), read_tables(NEW_YORK_CITY), np.random.default_rng(0))
    >>> bool(np.all(found.place[(age >= 6) & (age < 12)] >= 0)), bool(np.all(found.place[age < 3] == -1))
    (True, True)

    Source: the module's text.
    """
    place = np.full(len(age), -1, np.int32)
    pupils_of: list[list[NDArray[np.int64]]] = []
    workers_to: list[list[NDArray[np.int64]]] = [[] for _ in tables.regions]
    for home in range(len(tables.regions)):
        by_age = _shuffled_by_age(age[starts[home] : starts[home + 1]], int(starts[home]), generator)
        enrolled = [round(len(people) * rate) for people, rate in zip(by_age, tables.enrolment, strict=True)]
        pupils_of.append([people[:count] for people, count in zip(by_age, enrolled, strict=True)])
        employed = [round(len(people) * rate) for people, rate in zip(by_age, tables.employment, strict=True)]
        workers = np.concatenate([people[at : at + count]
                                  for people, at, count in zip(by_age, enrolled, employed, strict=True)])  # fmt: skip
        generator.shuffle(workers)
        ends = np.cumsum(largest_remainder(tables.commuting[home], len(workers)))
        for work, group in enumerate(np.split(workers, ends[:-1])):
            workers_to[work].append(group)
    kinds, regions, groups = [], [], 0
    for region in range(len(tables.regions)):
        workers = np.concatenate(workers_to[region])
        generator.shuffle(workers)
        schools = _seat_pupils(place, pupils_of[region], tables.group_size, groups)
        teachers = _teachers(schools, len(workers), generator)
        place[workers[: teachers.sum()]] = np.repeat(np.arange(groups, groups + len(schools)), teachers)
        rest = workers[teachers.sum() :]
        sizes = workplace_sizes(len(rest), tables.establishments, generator)
        first = groups + len(schools)
        place[rest] = np.repeat(np.arange(first, first + len(sizes)), sizes)
        groups = first + len(sizes)
        kinds.append(np.repeat(np.array([SCHOOL, WORKPLACE], np.uint8), [len(schools), len(sizes)]))
        regions.append(np.full(len(schools) + len(sizes), region, np.uint8))
    return Places(place, np.concatenate(kinds), np.concatenate(regions))


def _shuffled_by_age(age: NDArray[np.uint8], first: int, generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """People of each age, in random order."""
    shuffled = generator.permutation(len(age))
    order = shuffled[np.argsort(age[shuffled], kind="stable")] + first
    return np.split(order, np.cumsum(np.bincount(age, minlength=AGES))[:-1])


def _seat_pupils(
    place: NDArray[np.int32], pupils: list[NDArray[np.int64]], group_size: NDArray[np.float64], first: int
) -> NDArray[np.int64]:
    """Deal each age's pupils evenly into year groups numbered from `first`; returns the pupils of each group."""
    sizes = []
    for people, wanted in zip(pupils, group_size, strict=True):
        if len(people):
            count = max(1, round(len(people) / wanted))
            index = np.arange(len(people)) * count // len(people)
            place[people] = first + index
            sizes.append(np.bincount(index))
            first += count
    return np.concatenate(sizes) if sizes else np.zeros(0, np.int64)


def _teachers(pupils: NDArray[np.int64], workers: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Teachers of each year group: one for 14 pupils over all, shared out by chance where it is no whole number."""
    running = np.cumsum(pupils) / PUPILS_PER_TEACHER
    teachers = np.diff(np.floor(running + generator.random()), prepend=0).astype(np.int64)
    return teachers * (np.cumsum(teachers) <= workers)


def workplace_sizes(
    workers: int, establishments: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw sizes of workplaces until all workers have one.

        P(class) = establishments of the class / all,    density of size x within a class  ~  1 / x^2

    Args:
        workers: how many to place.
        establishments: (classes, 3) float64, smallest size a, largest size b, number.
        generator: source of chance.

    Returns:
        (k,) int64 sizes of at least 1 that sum to `workers`; none above 5 % of them, or 20 where that is more.

    >>> int(workplace_sizes(500, np.array([[1, 4, 60], [5, 50, 40]]), np.random.default_rng(0)).sum())
    500

    Source: the exponent is that of firms, 2.06 (Axtell 2001, Science 293:1818); that it holds within each class of
    establishments is an assumption.
    """
    if workers == 0:
        return np.zeros(0, np.int64)
    low, high, weight = establishments.T
    share = np.cumsum(weight / weight.sum())
    largest = max(20, int(workers * LARGEST_SHARE))
    drawn: list[NDArray[np.int64]] = []
    left = workers
    while left > 0:
        count = 16 + left // 12
        kind = np.minimum(np.searchsorted(share, generator.random(count), side="right"), len(share) - 1)
        sizes = low[kind] / (1 - generator.random(count) * (1 - low[kind] / (high[kind] + 1)))
        drawn.append(np.minimum(sizes.astype(np.int64), largest))
        left -= int(drawn[-1].sum())
    found = np.concatenate(drawn)
    ends = np.cumsum(found)
    last = int(np.searchsorted(ends, workers))
    found = found[: last + 1]
    found[last] -= ends[last] - workers
    return found
