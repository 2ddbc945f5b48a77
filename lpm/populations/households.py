"""Households of one region: every person in one, with an adult at its head, ages and sizes as the tables say.

The method, for a region of N people:

1. Ages are N times the age table, sizes are the size table scaled to N people; both as whole numbers.
2. Heads. Of the people of each age, the fraction who head a household of each size follows the table of heads. A fit
   of (size, age) to the number of households by size and of heads by age joins the two.
3. The others. A fit of (size and age of head, second or later member; age of member) to the seats in such households
   and the people of each age who are no heads. Its seed says who lives with whom: the second member is mostly a partner
   of about the head's age, the later ones mostly children one generation younger, and a few are parents,
   grandchildren or housemates. These kernels are assumptions; the marginals overrule them.
4. Both fits are rounded at random row by row, and ages then moved by rank (hardly ever by more than a year) so that
   the number of people of each age is exact.
5. Seats are filled from the fit; later members of a household are neighbours in the order of age, with noise, so that
   children live with children and housemates with housemates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpm.errors import InputError
from lpm.populations.fitting import fit, largest_remainder, round_rows
from lpm.populations.population import LARGEST_HOUSEHOLD
from lpm.populations.tables import ADULT, AGES

FIT_TOLERANCE = 1e-7
FLOOR = 1e-6
SIBLING_NOISE = 3.0  # years
# Who the other members are: share, and mean and spread in years of their age less the head's.
SECOND = ((0.74, 0.0, 4.0), (0.14, -29.0, 6.0), (0.03, 28.0, 6.0))
LATER = ((0.80, -29.0, 6.0), (0.03, -56.0, 8.0), (0.03, 28.0, 6.0))
HOUSEMATES = (0.09, 0.14)  # share at any adult age, second and later
YOUNG_SIBLINGS = 0.02  # share of minors less than 16 years younger than the head, who cannot be the head's children


@dataclass(frozen=True)
class Households:
    """The people of one region, household by household, smaller households first.

    Args:
        age: (n,) uint8, years; the head is the first of each household.
        position: (n,) uint8, place within the household.
        size: (n,) uint8, people in the household.
    """

    age: NDArray[np.uint8]
    position: NDArray[np.uint8]
    size: NDArray[np.uint8]


def households(
    people: int,
    ages: NDArray[np.float64],
    sizes: NDArray[np.float64],
    heads: NDArray[np.float64],
    generator: np.random.Generator,
) -> Households:
    """Put every person of a region into a household.

    Args:
        people: how many, at least 1.
        ages: (100,) share of people by age; met to the nearest whole number.
        sizes: (S + 1,) share of households by size; met to the nearest whole number or nearly.
        heads: (S + 1, 100) weight of each age of the head, by size; met nearly.
        generator: source of chance.

    Returns:
        Their ages and places, ordered by size of household, then age of the head.

    Raises:
        InputError: there are fewer adults than one for each largest possible household.

    >>> flat = np.ones((5, 100)); flat[:, :18] = 0
    >>> made = households(1000, np.ones(100), np.array([0, 1, 1, 1, 1]), flat, np.random.default_rng(0))
    >>> len(made.age), int(made.age[made.position == 0].min()) >= 18
    (1000, True)

    Source: the module's text; fits as in `lpm.populations.fitting`.
    """
    by_age = largest_remainder(ages, people)
    by_size = _count_by_size(people, int(by_age[ADULT:].sum()), sizes, generator)
    used = np.arange(1, np.flatnonzero(by_size)[-1] + 1)
    head_table = _seat_heads(by_size[used], by_age, heads[used], generator)
    others = by_age - head_table.sum(axis=0)
    second, later = _seat_others(used, head_table, others, generator)
    age = np.empty(people, np.uint8)
    start = 0
    for size, row in zip(used.tolist(), head_table, strict=True):
        count = int(row.sum())
        block = age[start : start + count * size].reshape(count, size)
        block[:, 0] = np.repeat(np.arange(AGES, dtype=np.uint8), row)
        if size > 1:
            block[:, 1] = second[size]
        if size > 2:
            block[:, 2:] = later[size].reshape(count, size - 2)
        start += count * size
    position = np.concatenate([np.tile(np.arange(size, dtype=np.uint8), by_size[size]) for size in used.tolist()])
    return Households(age, position, np.repeat(used, by_size[used] * used).astype(np.uint8))


def _count_by_size(
    people: int, adults: int, sizes: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Households by size that hold exactly these people, no more of them than there are adults."""
    if adults * LARGEST_HOUSEHOLD < people or adults == 0:
        raise InputError(f"households: asked for an adult in each, got {adults} adults among {people} people; "
                         "give the age table more adults")  # fmt: skip
    size = np.arange(len(sizes))
    counts = np.zeros(LARGEST_HOUSEHOLD + 1, np.int64)
    expected = sizes * (people / (sizes @ size))
    counts[2 : len(sizes)] = np.floor(expected[2:] + generator.random(len(sizes) - 2))
    excess = int(counts @ np.arange(len(counts))) - people
    while excess > 0:
        largest = int(np.flatnonzero(counts)[-1])
        counts[largest] -= 1
        excess -= largest
    counts[1] = -excess
    while counts.sum() > adults:
        smallest = int(np.flatnonzero(counts)[0])
        counts[smallest] -= 1
        other = int(np.flatnonzero(counts[: LARGEST_HOUSEHOLD + 1 - smallest])[0])
        counts[other] -= 1
        counts[smallest + other] += 1
    return counts


def _seat_heads(
    by_size: NDArray[np.int64],
    by_age: NDArray[np.int64],
    weights: NDArray[np.float64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Households by size and age of the head: sizes exact, never more heads of an age than people of it."""
    adult = np.arange(AGES) >= ADULT
    rows = weights.sum(axis=1, keepdims=True)
    shares = np.divide(weights, rows, out=np.tile(adult / adult.sum(), (len(weights), 1)), where=rows > 0)
    seed = (by_size[:, None] * shares + FLOOR) * (adult & (by_age > 0))
    heads = _at_most(seed.sum(axis=0), by_age * adult, int(by_size.sum()))
    by_head = round_rows(heads[None, :], generator)[0]
    table = fit(seed, [((0,), by_size), ((1,), by_head)], tolerance=FIT_TOLERANCE)
    return _meet_columns(round_rows(_exact_rows(table, by_size), generator), by_head)


def _at_most(values: NDArray[np.float64], limit: NDArray[np.int64], total: int) -> NDArray[np.float64]:
    """Scale to a total without passing the limits (which allow it)."""
    free = values > 0
    result = np.zeros_like(values)
    while True:
        rest = total - result[~free].sum()
        result[free] = values[free] * (rest / values[free].sum())
        over = free & (result > limit)
        if not over.any():
            return result
        result[over] = limit[over]
        free &= ~over
        if not free.any():
            return result


def _exact_rows(table: NDArray[np.float64], totals: NDArray[np.int64]) -> NDArray[np.float64]:
    sums = table.sum(axis=1)
    return table * np.divide(totals, sums, out=np.zeros(len(table)), where=sums > 0)[:, None]


def _meet_columns(table: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Move counts along the columns, by rank, until the column totals are exact; row totals stay."""
    ages = np.repeat(np.tile(np.arange(AGES, dtype=np.uint8), len(table)), table.ravel())
    row = np.repeat(np.arange(len(table)), table.sum(axis=1))
    moved = _meet_ages(ages, columns)
    return np.bincount(row * AGES + moved, minlength=table.size).reshape(table.shape)


def _meet_ages(ages: NDArray[np.uint8], target: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Change ages as little as possible, keeping their order, so that `target` people have each age."""
    moved = np.empty_like(ages)
    moved[np.argsort(ages, kind="stable")] = np.repeat(np.arange(AGES, dtype=np.uint8), target)
    return moved


def _kernel(parts: tuple[tuple[float, float, float], ...], housemates: float) -> NDArray[np.float64]:
    """Weight of each age of a member (columns) beside each age of the head (rows)."""
    age = np.arange(AGES)
    gap = age[None, :] - age[:, None]
    relatives = sum(share / spread * np.exp(-0.5 * ((gap - mean) / spread) ** 2) for share, mean, spread in parts)
    table = relatives + housemates / AGES * (age >= ADULT) + FLOOR
    return np.where((age[None, :] < ADULT) & (gap > -16), YOUNG_SIBLINGS / AGES, table)


def _seat_others(
    used: NDArray[np.int64],
    head_table: NDArray[np.int64],
    others: NDArray[np.int64],
    generator: np.random.Generator,
) -> tuple[dict[int, NDArray[np.uint8]], dict[int, NDArray[np.uint8]]]:
    """Ages of the second and of the later members, by size of household, in the order of the heads."""
    second_seats, later_seats = head_table * (used >= 2)[:, None], head_table * np.maximum(used - 2, 0)[:, None]
    seats = np.concatenate([second_seats.ravel(), later_seats.ravel()])
    if seats.sum() == 0:
        return {}, {}
    kernels = (_kernel(SECOND, HOUSEMATES[0]), _kernel(LATER, HOUSEMATES[1]))
    seed = np.concatenate([np.tile(kernel, (len(used), 1)) for kernel in kernels])
    rows = np.flatnonzero(seats)
    seed = seed[rows] * (others > 0)
    table = fit(seed, [((0,), seats[rows]), ((1,), others)], tolerance=FIT_TOLERANCE)
    counts = round_rows(_exact_rows(table, seats[rows]), generator)
    ages = np.repeat(np.tile(np.arange(AGES, dtype=np.uint8), len(rows)), counts.ravel())
    ages = _meet_ages(ages, others)
    half = int(second_seats.sum())
    # Rank moves keep each row's ages in order, so that rows can still be cut where they were.
    later_ages = _gather_siblings(ages[half:], used, head_table, generator)
    return _cut(ages[:half], used, second_seats), _cut(later_ages, used, later_seats)


def _cut(ages: NDArray[np.uint8], used: NDArray[np.int64], seats: NDArray[np.int64]) -> dict[int, NDArray[np.uint8]]:
    ends = np.cumsum(seats.sum(axis=1))
    return dict(zip(used.tolist(), np.split(ages, ends[:-1]), strict=True))


def _gather_siblings(
    ages: NDArray[np.uint8],
    used: NDArray[np.int64],
    head_table: NDArray[np.int64],
    generator: np.random.Generator,
) -> NDArray[np.uint8]:
    """Deal the later members of each (size, age of head) to its households, those near in age together."""
    if len(ages) == 0:
        return ages
    each = np.maximum(used - 2, 0)
    row = np.repeat(np.arange(head_table.size), (head_table * each[:, None]).ravel())
    noisy = np.rint(ages + generator.normal(0.0, SIBLING_NOISE, len(ages)).astype(np.float32)).astype(np.int64) + 64
    tie = generator.integers(0, 1 << 24, len(ages))
    near = (np.sort((row << 40) | (noisy << 32) | (tie << 8) | ages) & 0xFF).astype(np.uint8)
    # The runs now lie in order of age: shuffle them, or the oldest members would all meet the oldest partners.
    dealt, start = [], 0
    for index, size in enumerate(each.tolist()):
        count = int(head_table[index].sum())
        if size and count:
            block = near[start : start + count * size].reshape(count, size)
            group = np.repeat(np.arange(AGES), head_table[index])
            order = np.argsort((group << 40) + generator.integers(0, 1 << 40, count), kind="stable")
            dealt.append(block[order].ravel())
            start += count * size
    return np.concatenate(dealt)
