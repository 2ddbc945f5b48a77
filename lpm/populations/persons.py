"""A population from a person table: one row a person, CSV or parquet. Its columns:

- person_id: optional, each once
- age: whole years, 0 to 120
- region: any name or number
- household: any name or number; its members share a region, 31 at most
- place: optional, any name or number, empty for none
- place_kind: optional, `school` or `workplace`; without it a place most of whose members are under 18 is a school
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpm import building
from lpm.errors import InputError
from lpm.populations.population import (
    LARGEST_GROUP,
    LARGEST_HOUSEHOLD,
    SCHOOL,
    WORKPLACE,
    Population,
    own_people,
)

REQUIRED = ("age", "region", "household")
OPTIONAL = ("person_id", "place", "place_kind")
OLDEST = 120
MOST_PROBLEMS = 20


@dataclass
class _Report:
    """Problems found so far, each at its file, row and column; counting starts at the file's first line."""

    path: Path
    first_row: int
    problems: list[str]

    def rows(self, bad: NDArray[np.bool_], column: str, asked: str, values: NDArray[Any], write: str) -> None:
        some = np.flatnonzero(bad)[: MOST_PROBLEMS + 1 - len(self.problems)]
        for row, got in zip(some.tolist(), values[some].tolist(), strict=True):
            where = f"{self.path}:{row + self.first_row} {column}"
            self.problems.append(f"{where}: asked for {asked}, got {got!r}; {write}")

    def stop_if_any(self) -> None:
        if not self.problems:
            return
        shown = self.problems[:MOST_PROBLEMS]
        if len(self.problems) > MOST_PROBLEMS:
            shown.append(f"{self.path}: and more; mend these first")
        raise InputError(shown)


def from_table(path: str | Path) -> Population:
    """Read a population from a person table.

    Rows may stand in any order: people are sorted by region and household, and `ids` keep each row's number in the
    file, from 0. Regions are numbered in the order of their names.

    Args:
        path: a .csv file in UTF-8 with a header, or a .parquet file.

    Returns:
        The population. A group stands in the region that most of its members live in.

    Raises:
        InputError: `file:row column: asked, got, write instead` for up to 20 problems at once; the row of a CSV file is
            its line (the header is line 1), that of a parquet file counts from 1.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "people.csv"
    >>> _ = file.write_text("age,region,household\\n40,North,a\\n7,North,b\\n38,North,a\\n")
    >>> people = from_table(file)
    >>> people.ids.tolist(), people.size.tolist()
    ([0, 2, 1], [2, 2, 1])
    """
    path = Path(path)
    columns, first_row = _read(path)
    report = _Report(path, first_row, [])
    age = _ages(columns["age"], report)
    for name in ("region", "household"):
        report.rows(columns[name] == "", name, "a name or number", columns[name], "write one")
    if "person_id" in columns:
        _check_ids(columns["person_id"], report)
    region, regions = _codes(columns["region"])
    if len(regions) > 255:
        report.problems.append(f"{path} region: asked for at most 255 regions, got {len(regions)}; use larger ones")
    household, _ = _codes(columns["household"])
    size = _sizes(household, region, regions, columns["household"], report)
    has_place, place = _places(columns, report)
    report.stop_if_any()
    kind, where = _describe(place, has_place, age, region, len(regions), columns, report)
    report.stop_if_any()
    group_order = np.argsort(where, kind="stable")
    rank = np.empty(len(where), np.int64)
    rank[group_order] = np.arange(len(where))
    numbered = np.full(len(age), -1, np.int32)
    numbered[has_place] = rank[place[has_place]]
    order = np.lexsort((household, region))
    found = Population(
        ids=order.astype(np.uint32),
        age=age[order],
        region=region[order].astype(np.uint8),
        position=_positions(household[order]),
        size=size[order].astype(np.uint8),
        place=numbered[order],
        place_kind=kind[group_order].astype(np.uint8),
        place_region=where[group_order].astype(np.uint8),
        regions=tuple(str(name) for name in regions),
        notes=_notes(path, guessed_kinds="place_kind" not in columns and len(kind) > 0),
    ).check()
    return found if (part := building.part()) is None else own_people(found, part)


def _notes(path: Path, guessed_kinds: bool) -> tuple[str, ...]:
    guess = ("places most of whose members are under 18 are schools, the others workplaces",) if guessed_kinds else ()
    return (f"people, households and places from {path.name}", *guess)


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], int]:
    """The known columns as stripped text, and the row number of the first person."""
    frame = _load(path)
    names = [str(name).strip() for name in frame.columns]
    problems = _column_problems(path, names)
    if not problems and len(frame) == 0:
        problems = [f"{path}:2: asked for at least one person, got none; write a row for each"]
    if problems:
        raise InputError(problems)
    known = {name: _text(frame.iloc[:, at]) for at, name in enumerate(names) if name in REQUIRED + OPTIONAL}
    return known, 2 if path.suffix.lower() == ".csv" else 1


def _load(path: Path) -> Any:
    """The file as a data frame, or an error that says what is wrong with it."""
    import pandas as pd

    if path.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(f"{path}: asked for a .csv or .parquet file, got {path.suffix or 'no ending'}; rename it")
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # fields without a header would be dropped
            frame = pd.read_csv(
                path, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False, encoding="utf-8-sig"
            )
        frame.columns = pd.Index(frame.iloc[0].fillna("").tolist())  # as written: pandas would rename a repeated one
        return frame.iloc[1:]
    except FileNotFoundError:
        raise InputError(f"{path}: asked for a person table, got no such file; write a path that exists") from None
    except ImportError:
        raise InputError(f"{path}: asked for pyarrow to read it, got none; install it or write CSV") from None
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split())
        if fields := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", reason):
            wanted, line, got = fields.groups()
            message = f"{path}:{line}: asked for {wanted} fields, got {got}; put a field that holds a comma in quotes"
        else:
            message = f"{path}: asked for a table of persons, got a file that cannot be read ({reason}); write it again"
        raise InputError(message) from None


def _column_problems(path: Path, names: list[str]) -> list[str]:
    problems = []
    wanted = f"columns {', '.join(REQUIRED)} and, as you like, {', '.join(OPTIONAL)}"
    others = [name for name in names if name not in REQUIRED + OPTIONAL]
    for name in (*REQUIRED, *OPTIONAL):
        if names.count(name) > 1:
            problems.append(f"{path}:1 {name}: asked for one such column, got {names.count(name)}; keep one")
        near = get_close_matches(name, others, n=1, cutoff=0.8)
        if name in names or (name in OPTIONAL and not near):
            continue
        hint = f"rename {near[0]!r} to {name!r}" if near else f"add the column {name!r}"
        problems.append(f"{path}:1 {name}: asked for {wanted}, got {', '.join(names) or 'none'}; {hint}")
    return problems


def _text(series: Any) -> NDArray[Any]:
    missing = series.isna().to_numpy()
    if series.dtype.kind == "f":  # a whole number with gaps is read as 3.0
        values = series.to_numpy(dtype=float)
        result = np.array([f"{value:.15g}" for value in values.tolist()], dtype=object)
    else:
        result = series.astype(str).str.strip().to_numpy(dtype=object)
    return np.where(missing, "", result)


def _codes(text: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Number of each value in the sorted order of the values, and the values."""
    import pandas as pd

    codes, values = pd.factorize(text, sort=True)
    return codes.astype(np.int64), np.asarray(values)


def _ages(text: NDArray[Any], report: _Report) -> NDArray[np.uint8]:
    import pandas as pd

    values = pd.to_numeric(pd.Series(text), errors="coerce").to_numpy(dtype=float)
    good = np.isfinite(values) & (values >= 0) & (values <= OLDEST) & (values == np.floor(values))
    report.rows(~good, "age", f"whole years from 0 to {OLDEST}", text, "write a number such as 34")
    return np.where(good, values, 0).astype(np.uint8)


def _check_ids(text: NDArray[Any], report: _Report) -> None:
    import pandas as pd

    again = pd.Series(text).duplicated().to_numpy() & (text != "")
    report.rows(again, "person_id", "each identifier once", text, "give this person another")
    report.rows(text == "", "person_id", "an identifier in each row or no such column", text, "write one")


def _sizes(
    household: NDArray[np.int64], region: NDArray[np.int64], regions: NDArray[Any], text: NDArray[Any], report: _Report
) -> NDArray[np.int64]:
    size = np.bincount(household)[household]
    first = np.unique(household, return_index=True)[1]
    named = text != ""
    report.rows(named & (region != region[first][household]), "region", "one region for a household", regions[region],
                "give its members one region, or the households different names")  # fmt: skip
    large = np.zeros(len(household), bool)
    large[first] = size[first] > LARGEST_HOUSEHOLD
    report.rows(large & named, "household", f"at most {LARGEST_HOUSEHOLD} members", size,
                "split it; an institution is better written as a place")  # fmt: skip
    return size


def _places(columns: dict[str, NDArray[Any]], report: _Report) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    text = columns.get("place", np.full(len(columns["age"]), "", dtype=object))
    has_place = text != ""
    if "place_kind" in columns:
        kind = columns["place_kind"]
        known = (kind == "school") | (kind == "workplace")
        report.rows(has_place & ~known, "place_kind", "school or workplace", kind, "write one of the two")
        report.rows(~has_place & (kind != ""), "place", "a place where there is a place_kind", text,
                    "write the place, or leave both empty")  # fmt: skip
    place = np.full(len(text), -1, np.int64)
    place[has_place], _ = _codes(text[has_place])
    return has_place, place


def _describe(
    place: NDArray[np.int64],
    has_place: NDArray[np.bool_],
    age: NDArray[np.uint8],
    region: NDArray[np.int64],
    regions: int,
    columns: dict[str, NDArray[Any]],
    report: _Report,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Kind of each group, and the region that most of its members live in."""
    if not has_place.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    group, members = place[has_place], np.bincount(place[has_place])
    first = np.flatnonzero(has_place)[np.unique(group, return_index=True)[1]]
    if "place_kind" in columns:
        given = columns["place_kind"]
        kind = np.where(given[first] == "school", SCHOOL, WORKPLACE)
        odd = has_place.copy()
        odd[has_place] = given[has_place] != given[first][group]
        report.rows(odd, "place_kind", "one kind for a place", given, "give its members one kind")
    else:
        minors = np.bincount(group, weights=age[has_place] < 18)
        kind = np.where(minors > members / 2, SCHOOL, WORKPLACE)
    large = np.zeros(len(place), bool)
    large[first] = members > LARGEST_GROUP
    report.rows(large, "place", f"at most {LARGEST_GROUP:,} members", columns["place"], "split it")
    # Counting pairs that occur, not a table of groups by regions, which could be far larger than the population.
    pairs, counts = np.unique(group * regions + region[has_place], return_counts=True)
    by_count = np.lexsort((-pairs, counts))
    where = np.zeros(len(members), np.int64)
    where[pairs[by_count] // regions] = pairs[by_count] % regions
    return kind, where


def _positions(household: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Count the members of each run of equal households from 0."""
    index = np.arange(len(household))
    starts = np.where(np.append(True, household[1:] != household[:-1]), index, 0)
    return (index - np.maximum.accumulate(starts)).astype(np.uint8)
