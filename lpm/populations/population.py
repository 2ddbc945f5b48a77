"""A population: who people are, whom they live with and where they spend the day, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpm import building
from lpm.errors import InputError

SCHOOL, WORKPLACE = 0, 1
LARGEST_HOUSEHOLD = 31
LARGEST_GROUP = 65_535

_DTYPES = {
    "ids": np.uint32,
    "age": np.uint8,
    "region": np.uint8,
    "position": np.uint8,
    "size": np.uint8,
    "place": np.int32,
    "place_kind": np.uint8,
    "place_region": np.uint8,
}


@dataclass(frozen=True)
class Population:
    """People ordered by region, then household, so that each household is one contiguous run of rows.

    Args:
        ids: (n,) uint32, a stable name for each person.
        age: (n,) uint8, years.
        region: (n,) uint8, index into `regions`; never decreasing.
        position: (n,) uint8, place within the household, from 0.
        size: (n,) uint8, people in the household, 1 to 31.
        place: (n,) int32, the daytime group (a school's year group or a workplace), -1 for none.
        place_kind: (g,) uint8, 0 for a school, 1 for a workplace.
        place_region: (g,) uint8, the region that the group stands in; never decreasing.
        regions: names of the regions.
        notes: what was assumed to make it, for a result's provenance.

    >>> import numpy as np
    >>> pair = Population(
    ...     ids=np.arange(2, dtype=np.uint32), age=np.array([34, 5], np.uint8), region=np.zeros(2, np.uint8),
    ...     position=np.array([0, 1], np.uint8), size=np.array([2, 2], np.uint8), place=np.array([-1, 0], np.int32),
    ...     place_kind=np.zeros(1, np.uint8), place_region=np.zeros(1, np.uint8), regions=("Town",), notes=())
    >>> pair.check().summary()["mean household size"]
    2.0
    """

    ids: NDArray[np.uint32]
    age: NDArray[np.uint8]
    region: NDArray[np.uint8]
    position: NDArray[np.uint8]
    size: NDArray[np.uint8]
    place: NDArray[np.int32]
    place_kind: NDArray[np.uint8]
    place_region: NDArray[np.uint8]
    regions: tuple[str, ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.age)

    def arrays(self) -> dict[str, np.ndarray]:
        """The array fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in _DTYPES}

    def check(self) -> Population:
        """Return the population itself if it keeps its promises.

        Raises:
            InputError: with a line for each promise that is broken.
        """
        problems = _shape_problems(self) or _content_problems(self)
        if problems:
            raise InputError(problems)
        return self

    def summary(self) -> dict[str, float]:
        """Counts and means that tell one population from another."""
        members = np.bincount(self.place[self.place >= 0], minlength=len(self.place_kind))
        households = int(np.count_nonzero(self.position == 0))
        at_school = members[self.place_kind == SCHOOL]
        at_work = members[self.place_kind == WORKPLACE]
        people = len(self)
        return {
            "people": people,
            "households": households,
            "mean household size": people / households if households else 0.0,
            "mean age": float(self.age.mean()) if people else 0.0,
            "school groups": len(at_school),
            "people in school groups": int(at_school.sum()),
            "workplaces": len(at_work),
            "people in workplaces": int(at_work.sum()),
            "largest group": int(members.max()) if len(members) else 0,
        }


def own_people(whole: Population, part: building.Part) -> Population:
    """This rank's people of a population that every rank has made."""
    part.whole.append("the table of people")
    return divided(whole, part)


def divided(whole: Population, part: building.Part) -> Population:
    """This rank's people, and all groups; no household is cut.

    Args:
        whole: in memory, or on disk and memory-mapped.
        part: of the world.
    """
    people = len(whole)
    if part.bounds is None:
        cuts = building.even_cuts(people, part.ranks.count)
        heads = [np.flatnonzero(np.append(whole.position[cut : cut + LARGEST_HOUSEHOLD], 0) == 0)[0] for cut in cuts]
        part.divide(people, cuts + np.array(heads, np.int64))
    part.divide(people)
    assert part.bounds is not None
    if any(whole.position[begin] for begin in part.bounds[:-1]):
        raise building.Whole("blocks of agents cut a household; make the population before other networks")
    found: dict[str, Any] = {
        name: array if name.startswith("place_") else np.array(array[part.first : part.end])
        for name, array in whole.arrays().items()
    }
    own = replace(whole, **found)
    part.ranks.each(own.check)
    return own


def _shape_problems(population: Population) -> list[str]:
    people, groups = len(population.age), len(population.place_kind)
    problems = []
    for name, array in population.arrays().items():
        length = groups if name.startswith("place_") else people
        if array.shape != (length,) or array.dtype != _DTYPES[name]:
            expected = f"({length},) {np.dtype(_DTYPES[name]).name}"
            problems.append(
                f"population {name}: asked for an array of {expected}, got {array.shape} {array.dtype.name}; "
                f"write np.asarray(values, np.{np.dtype(_DTYPES[name]).name})"
            )
    return problems


def _content_problems(population: Population) -> list[str]:
    people, groups, regions = len(population), len(population.place_kind), len(population.regions)
    if people == 0:
        return ["population: asked for at least one person, got none; give the table of one household or more"]
    problems = []

    def expect(good: bool, name: str, asked: str, got: str, write: str) -> None:
        if not good:
            problems.append(f"population {name}: asked for {asked}, got {got}; {write}")

    region, size, position = population.region, population.size, population.position
    expect(region.max() < regions, "region", f"an index below {regions}", str(region.max()), "name that region too")
    expect(bool(np.all(region[1:] >= region[:-1])), "region", "rows sorted by region", "another order",
           "sort by region, then household")  # fmt: skip
    expect(size.min() >= 1 and size.max() <= LARGEST_HOUSEHOLD, "size", f"1 to {LARGEST_HOUSEHOLD}",
           f"{size.min()} to {size.max()}", "split larger households")  # fmt: skip
    first = position == 0
    follows = (position[1:] == position[:-1] + np.uint8(1)) & (size[1:] == size[:-1]) & (region[1:] == region[:-1])
    complete = np.append(position[:-1][first[1:]] + np.uint8(1) == size[:-1][first[1:]], position[-1] + 1 == size[-1])
    expect(bool(first[0] and np.all(first[1:] | follows) and np.all(complete)), "position",
           "each household as one run of rows counted 0, 1, ... size - 1", "something else",
           "put the members of a household together and count them")  # fmt: skip
    lowest, highest = population.place.min(), population.place.max()
    expect(lowest >= -1 and highest < groups, "place", f"-1 for none, or a group below {groups}",
           f"{lowest} to {highest}", "give each group a kind and a region")  # fmt: skip
    kinds, where = population.place_kind, population.place_region
    expect(bool(np.all(kinds <= WORKPLACE)), "place_kind", "0 (school) or 1 (workplace)", str(kinds.max(initial=0)),
           "write one of the two")  # fmt: skip
    expect(bool(np.all(where < regions)), "place_region", f"an index below {regions}", str(where.max(initial=0)),
           "name that region too")  # fmt: skip
    expect(bool(np.all(where[1:] >= where[:-1])), "place_region", "groups sorted by region", "another order",
           "number the groups region by region")  # fmt: skip
    if not problems and groups:
        largest = np.bincount(population.place[population.place >= 0], minlength=1).max()
        expect(largest <= LARGEST_GROUP, "place", f"at most {LARGEST_GROUP:,} members in a group", f"{largest:,}",
               "split that group")  # fmt: skip
    return problems
