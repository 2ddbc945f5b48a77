"""The tables that describe a city: a folder of small CSV files, read, checked and spread over single years of age.

A folder holds eight files; each row names its `source`, and a figure that could not be checked says `assumption: ...`
there. Ages run from 0 to 99 (`age_to` is included); `region` is a name from regions.csv, or `*` for every region.

    regions.csv          region, population
    ages.csv             region, age_from, age_to, population       any unit: used as shares
    household_sizes.csv  region, size, share                        any unit: used as shares
    household_heads.csv  size, age_from, age_to, thousand_households    a size that is not listed takes the next below
    employment.csv       age_from, age_to, rate                     employed, as a fraction of people
    enrolment.csv        age_from, age_to, rate, group_size         pupils, and people in a school's year group
    establishments.csv   size_from, size_to, establishments         any unit: used as shares
    commuting.csv        region_home, region_work, share            used as shares of each home
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lpm.errors import InputError
from lpm.populations.population import LARGEST_HOUSEHOLD

AGES = 100
ADULT = 18
OLD_AGE = 80
OLD_AGE_DECLINE = 0.87

FILES: dict[str, tuple[str, ...]] = {
    "regions.csv": ("region", "population"),
    "ages.csv": ("region", "age_from", "age_to", "population"),
    "household_sizes.csv": ("region", "size", "share"),
    "household_heads.csv": ("size", "age_from", "age_to", "thousand_households"),
    "employment.csv": ("age_from", "age_to", "rate"),
    "enrolment.csv": ("age_from", "age_to", "rate", "group_size"),
    "establishments.csv": ("size_from", "size_to", "establishments"),
    "commuting.csv": ("region_home", "region_work", "share"),
}
_TEXT = ("region", "region_home", "region_work")
_WHOLE = ("age_from", "age_to", "size", "size_from", "size_to", "group_size")


@dataclass(frozen=True)
class Tables:
    """What is known of a city, on single years of age 0 to 99 and household sizes 0 to the largest (0 unused).

    Args:
        regions: names, R of them.
        population: (R,) int64, people.
        ages: (R, 100) float64, share of each age; rows sum to 1.
        sizes: (R, S + 1) float64, share of households by size; rows sum to 1.
        heads: (S + 1, 100) float64, thousands of households by size and age of the head, 0 below 18.
        employment: (100,) float64, employed fraction by age, 0 below 18.
        enrolment: (100,) float64, fraction of each age at school.
        group_size: (100,) float64, pupils aimed at in a year group, 0 where nobody is at school.
        establishments: (classes, 3) float64, smallest and largest size and how many.
        commuting: (R, R) float64, from home to work; rows sum to 1.
        notes: the assumptions that the sources name.
    """

    regions: tuple[str, ...]
    population: NDArray[np.int64]
    ages: NDArray[np.float64]
    sizes: NDArray[np.float64]
    heads: NDArray[np.float64]
    employment: NDArray[np.float64]
    enrolment: NDArray[np.float64]
    group_size: NDArray[np.float64]
    establishments: NDArray[np.float64]
    commuting: NDArray[np.float64]
    notes: tuple[str, ...]


def read_tables(folder: str | Path) -> Tables:
    """Read a city's eight tables.

    Args:
        folder: where the files named at the head of this module lie.

    Returns:
        The tables, on single years of age.

    Raises:
        InputError: `file:row column: asked, got, write instead`, every problem at once.

    >>> from lpm.populations.city import NEW_YORK_CITY
    >>> read_tables(NEW_YORK_CITY).regions
    ('Bronx', 'Brooklyn', 'Manhattan', 'Queens', 'Staten Island')
    """
    problems: list[str] = []
    rows = {name: _read(Path(folder) / name, columns, problems) for name, columns in FILES.items()}
    if problems:
        raise InputError(problems)
    regions = tuple(row["region"] for row in rows["regions.csv"])
    if len(set(regions)) < len(regions) or len(regions) > 255:
        problems.append(f"regions.csv region: asked for at most 255 different names, got {regions}; name each once")
    _check_regions(rows, regions, problems)
    if problems:
        raise InputError(problems)
    population = np.array([row["population"] for row in rows["regions.csv"]]).astype(np.int64)
    ages = _shares(_by_region(rows["ages.csv"], regions, AGES, _spread_people))
    tables = Tables(
        regions=regions,
        population=population,
        ages=ages,
        sizes=_shares(_by_region(rows["household_sizes.csv"], regions, LARGEST_HOUSEHOLD + 1, _place_size)),
        heads=_heads(rows["household_heads.csv"], population @ ages),
        employment=_rates(rows["employment.csv"], "rate") * (np.arange(AGES) >= ADULT),
        enrolment=_rates(rows["enrolment.csv"], "rate"),
        group_size=_rates(rows["enrolment.csv"], "group_size"),
        establishments=np.array(
            [[row[column] for column in FILES["establishments.csv"]] for row in rows["establishments.csv"]]
        ),
        commuting=_shares(_commuting(rows["commuting.csv"], regions)),
        notes=_notes(rows),
    )
    problems.extend(_totals_missing(tables))
    if problems:
        raise InputError(problems)
    return tables


def _read(path: Path, columns: tuple[str, ...], problems: list[str]) -> list[dict]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            lines = [(reader.line_num, line) for line in reader]
            found = tuple(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: asked for a CSV table in UTF-8, got {error}; write the columns {', '.join(columns)}")
        return []
    missing = [column for column in (*columns, "source") if column not in found]
    if missing:
        problems.append(
            f"{path}:1 {missing[0]}: asked for columns {', '.join((*columns, 'source'))}, "
            f"got {', '.join(found) or 'none'}; add {', '.join(missing)}"
        )
        return []
    if not lines:
        problems.append(f"{path}:2: asked for at least one row, got none; write one")
    return [_parse(f"{path}:{number}", line, columns, problems) for number, line in lines]


def _parse(where: str, line: dict, columns: tuple[str, ...], problems: list[str]) -> dict:
    row: dict = {"source": line["source"] or "", "where": where}
    if not row["source"].strip():
        problems.append(
            f"{where} source: asked for where the figure is from, got nothing; write it or `assumption: ...`"
        )
    for column in columns:
        text = (line[column] or "").strip()
        if column in _TEXT:
            row[column] = text
            good, asked = bool(text), "a region's name"
        else:
            row[column], good = _number(text)
            asked = "a number of at least 0"
            if column in _WHOLE:
                top = AGES - 1 if column.startswith("age") else LARGEST_HOUSEHOLD if column == "size" else 65_535
                bottom = 0 if column.startswith("age") else 1
                good = good and row[column] == int(row[column]) and bottom <= row[column] <= top
                row[column], asked = int(row[column]) if good else 0, f"a whole number from {bottom} to {top}"
            elif column == "rate":
                good, asked = good and row[column] <= 1, "a fraction from 0 to 1"
        if not good:
            problems.append(f"{where} {column}: asked for {asked}, got {text!r}; write one, such as {_example(column)}")
    for low, high in (("age_from", "age_to"), ("size_from", "size_to")):
        if low in columns and row[low] > row[high]:
            problems.append(f"{where} {high}: asked for at least {low} ({row[low]}), got {row[high]}; swap them")
    return row


def _number(text: str) -> tuple[float, bool]:
    try:
        value = float(text)
    except ValueError:
        return 0.0, False
    good = bool(np.isfinite(value)) and value >= 0
    return (value if good else 0.0), good


def _example(column: str) -> str:
    return "Queens" if column in _TEXT else "0.5" if column in ("rate", "share") else "20"


def _check_regions(rows: dict[str, list[dict]], regions: tuple[str, ...], problems: list[str]) -> None:
    for name, columns in FILES.items():
        allowed = (*regions, "*") if name in ("ages.csv", "household_sizes.csv") else regions
        for row in rows[name]:
            for column in set(columns) & set(_TEXT):
                if row[column] not in allowed:
                    problems.append(
                        f"{row['where']} {column}: asked for one of {', '.join(allowed)}, got {row[column]!r}; "
                        "write one of these, or add it to regions.csv"
                    )


def _band(row: dict) -> slice:
    return slice(row["age_from"], row["age_to"] + 1)


def _spread_people(target: NDArray[np.float64], row: dict) -> None:
    """Spread a band over its single years: evenly, and above 80 by a constant factor a year."""
    years = np.arange(AGES)[_band(row)]
    weights = OLD_AGE_DECLINE ** np.maximum(years - OLD_AGE, 0)
    target[years] += row["population"] * weights / weights.sum()


def _place_size(target: NDArray[np.float64], row: dict) -> None:
    target[row["size"]] += row["share"]


def _by_region(
    rows: list[dict], regions: tuple[str, ...], length: int, add: Callable[[NDArray[np.float64], dict], None]
) -> NDArray[np.float64]:
    table = np.zeros((len(regions), length))
    for index, region in enumerate(regions):
        own = [row for row in rows if row["region"] == region] or [row for row in rows if row["region"] == "*"]
        for row in own:
            add(table[index], row)
    return table


def _heads(rows: list[dict], people: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread each band of heads over its adult years like the city's people."""
    table = np.zeros((LARGEST_HOUSEHOLD + 1, AGES))
    for row in rows:
        years = np.arange(AGES)[_band(row)]
        years = years[years >= ADULT]
        table[row["size"], years] += row["thousand_households"] * people[years] / max(people[years].sum(), 1e-300)
    for size in range(1, len(table)):
        if not table[size].any():
            table[size] = table[size - 1]
    return table


def _rates(rows: list[dict], column: str) -> NDArray[np.float64]:
    table = np.zeros(AGES)
    for row in rows:
        table[_band(row)] = row[column]
    return table


def _commuting(rows: list[dict], regions: tuple[str, ...]) -> NDArray[np.float64]:
    table = np.zeros((len(regions), len(regions)))
    for row in rows:
        table[regions.index(row["region_home"]), regions.index(row["region_work"])] += row["share"]
    return table


def _shares(table: NDArray[np.float64]) -> NDArray[np.float64]:
    totals = table.sum(axis=1, keepdims=True)
    return np.divide(table, totals, out=np.zeros_like(table), where=totals > 0)


def _notes(rows: dict[str, list[dict]]) -> tuple[str, ...]:
    found = [f"{name}: {row['source'][row['source'].index('assumption:') + 12:].strip()}"
             for name, table in rows.items() for row in table if "assumption:" in row["source"]]  # fmt: skip
    return tuple(dict.fromkeys(found))


def _totals_missing(tables: Tables) -> list[str]:
    problems = []
    for name, table in (("ages", tables.ages), ("household_sizes", tables.sizes), ("commuting", tables.commuting)):
        for region, row in zip(tables.regions, table, strict=True):
            if row.sum() == 0:
                problems.append(f"{name}.csv: asked for rows for {region}, got none; write them, or rows for `*`")
    if tables.population.sum() == 0:
        problems.append("regions.csv population: asked for people, got 0 everywhere; write the number in each region")
    adults = tables.ages[:, ADULT:].sum(axis=1)
    for region, share in zip(tables.regions, adults, strict=True):
        if share == 0:
            problems.append(f"ages.csv: asked for adults in {region}, got none; each household has one at its head")
    if not tables.heads.any() or not tables.establishments[:, 2].any():
        problems.append("household_heads.csv, establishments.csv: asked for counts above 0, got none; write them")
    if np.any((tables.enrolment > 0) & (tables.group_size == 0)):
        problems.append("enrolment.csv group_size: asked for at least 1 where people are enrolled, got 0; write 80")
    return problems
