"""Observed data: a table of counts over time, by region if it has them, read from CSV and checked."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import itertools
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from lpm.cells import Cells
from lpm.errors import InputError
from lpm.schema_check import unknown
from lpm.settings import Calendar

Time = datetime.date | int

_SHOWN = 10  # of the mistakes in one file


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """Counts that a result can be compared with.

    Args:
        variable: name of the observable that they are to be compared with.
        times: first day of each value: all dates, or all day numbers (0 is a run's first day); evenly spaced.
        values: (time,) or (time, region) float64, counts per `days`.
        regions: labels of the second axis; () if there is none.
        by: the second axis's name, such as "region"; None if there is none.
        days: days that one value covers, from its time on.
        label: for pictures and tables.
        source: who counted.
    """

    variable: str
    times: tuple[datetime.date, ...] | tuple[int, ...]
    values: np.ndarray
    regions: tuple[str, ...] = ()
    by: str | None = None
    days: int = 1
    label: str = ""
    source: str = ""

    def steps(self, calendar: Calendar) -> np.ndarray:
        """The step on which each value's days begin, (time,) int64; some may lie outside the run."""
        return np.array([calendar.step_of(time) for time in self.times], dtype=np.int64)


def read_series(
    path: str | Path, *, variable: str, time: str, column: str, by: str | None = None, days: int = 1, label: str = ""
) -> Series:
    """A series from a CSV file with a header, one row for each time (and region).

    Args:
        path: the file.
        variable: what it is compared with.
        time: column of dates (2020-02-29) or of day numbers.
        column: column of counts.
        by: column of regions, or None.
        days: days that a count covers.
        label: for pictures; the column's name if empty.
    Returns:
        Times ascending, regions in the order of their first row; the source is what a column `source` says, if any.
    Raises:
        InputError: for a missing file or column, an unreadable date or number, a negative count, two rows for one time
            and region, a gap: every problem as `file:row:column name: ...`.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = Path(folder.name, "beds.csv")
    >>> _ = file.write_text("day,in_bed\\n0,3\\n1,8\\n")
    >>> read_series(file, variable="in_bed", time="day", column="in_bed").values
    array([3., 8.])
    >>> folder.cleanup()
    """
    table = _table(Path(path), [each for each in (time, column, by) if each is not None])
    counts: dict[tuple[Time, str], float] = {}
    lines: dict[tuple[Time, str], int] = {}
    for line, cells in table.rows:
        _read_row(table, line, cells, (time, column, by), counts, lines)
    if not table.problems:
        _find_gaps(table, lines, time, by)
    if table.problems:
        raise InputError(_first(table.problems))
    times: list[Any] = sorted({when for when, _ in counts})
    regions = tuple(dict.fromkeys(region for _, region in counts))
    values = np.array([[counts[when, region] for region in regions] for when in times])
    values = values if by else values[:, 0]
    values.flags.writeable = False
    source = "; ".join(dict.fromkeys(filter(None, table.column("source")))) or Path(path).name
    return Series(variable, tuple(times), values, regions if by else (), by, days, label or column, source)


def misnamed(path: str | Path, *, time: str, column: str, by: str | None = None) -> dict[str, str]:
    """Which of the columns asked for a CSV file does not have, or has with nothing in them that could be meant.

    Args:
        path: the file.
        time, column, by: as for `read_series`.
    Returns:
        what is wrong, by the word of the config that is mistaken: "time", "column" or "by".
    Raises:
        InputError: if it is no such file, as from `read_series`.
    """
    table, found = _table(Path(path), []), {}
    _check_separators(table)
    readers: list[tuple[str, str | None, str, Any]] = [
        ("time", time, "dates (2020-02-29) or day numbers", _time),
        ("column", column, "counts of at least 0", _count),
        ("by", by, "names", lambda cell: cell or None),
    ]
    for word, name, asked, read in readers:
        if name is not None and name not in table.header:
            found[word] = unknown(name, table.header, f"column of {Path(path).name}")
        elif name is not None:
            cells = [cell for cell in table.column(name) if cell]
            if not any(read(cell) is not None for cell in cells) and (cells or word == "by"):
                seen = f"{cells[0]!r}" if cells else "nothing"
                others = ", ".join(other for other in table.header if other != name)
                found[word] = f"asked for a column of {asked}, got {name!r} with {seen} in it; write another ({others})"
    return found


def _check_separators(table: Cells) -> None:
    """A file with other signs between its cells seems to have one column with a long name."""
    other = re.search("[;\t|]", table.header[0]) if len(table.header) == 1 else None
    if other:
        sign = {";": "semicolons", "\t": "tabs", "|": "bars"}[other.group()]
        raise InputError(f"{table.name}:1:1 data: asked for commas between cells, got {sign}; write commas")


def _first(problems: list[str]) -> list[str]:
    if len(problems) <= _SHOWN:
        return problems
    where, more = problems[_SHOWN].split(" ", 1)[0], len(problems) - _SHOWN
    return [*problems[:_SHOWN], f"{where} data: got {more} more mistakes from here on; write those above anew first"]


def _table(path: Path, wanted: list[str]) -> Cells:
    """The file with its header checked; blank lines are passed over."""
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            rows = []
            for row in reader:
                line = reader.line_num
                if any(cell.strip() for cell in row):
                    rows.append((line, [cell.strip() for cell in row]))
    except OSError as error:
        advice = "write the path of a CSV file"
        raise InputError(
            f"{path}:1:1 data: asked for a file that can be read, got: {error.strerror}; {advice}"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{path}:{line}:1 data: asked for text, got bytes that are not UTF-8; write it anew") from None
    except csv.Error as error:
        raise InputError(
            f"{path}:{line}:1 data: asked for CSV, got {error}; write cells with commas in quotes"
        ) from None
    if not rows:
        raise InputError(f"{path}:1:1 data: asked for a table, got an empty file; write a header and rows")
    table = Cells(str(path), rows[0][1], rows[1:])
    line = rows[0][0]
    for column in wanted:
        if column not in table.header:
            columns = ", ".join(map(repr, table.header))
            table.report(line, column, f"asked for a column {column!r}, got the columns {columns}; write one of these")
        elif table.header.count(column) > 1:
            table.report(line, column, "got two columns of this name; write different ones")
    if not table.problems and len(rows) == 1:
        table.report(line, "data", "asked for rows, got only a header; write at least one row under it")
    if table.problems:
        raise InputError(table.problems)
    return table


def _read_row(
    table: Cells,
    line: int,
    cells: list[str],
    columns: tuple[str, str, str | None],
    counts: dict[tuple[Time, str], float],
    lines: dict[tuple[Time, str], int],
) -> None:
    """Put one row's count and line where they belong, or report what is wrong with it."""
    time, column, by = columns
    if len(cells) != len(table.header):
        asked = f"asked for {len(table.header)} cells as in the header, got {len(cells)}"
        table.report(line, "data", f"{asked}; write one for each column")
        cells += [""] * len(table.header)  # for later readers of a column
        return
    when, count = _time(cells[table.header.index(time)]), _count(cells[table.header.index(column)])
    region = cells[table.header.index(by)] if by else ""
    earlier = next(iter(lines), None)
    if when is None:
        got = cells[table.header.index(time)]
        table.report(line, time, f"asked for a date or a day number, got {got!r}; write for example 2020-02-29 or 3")
    elif earlier and type(when) is not type(earlier[0]):
        table.report(line, time, f"got {when} after {earlier[0]}; write all as dates, or all as day numbers")
    elif (when, region) in lines:
        which = f"{when}, {region}" if by else f"{when}"
        advice = "write one" if by else "write one, or in the config `by:` with the column that tells them apart"
        table.report(line, time, f"got a second row for {which} (first on line {lines[when, region]}); {advice}")
    else:
        lines[when, region] = line
    if count is None:
        got = cells[table.header.index(column)]
        table.report(line, column, f"asked for a count of at least 0, got {got!r}; write a number, or remove the row")
    elif when is not None:
        counts[when, region] = count
    if by and not region:
        table.report(line, by, f"asked for a name, got an empty cell; write the {by}")


def _find_gaps(table: Cells, lines: dict[tuple[Time, str], int], time: str, by: str | None) -> None:
    """Each region must have a row for each time, with the same days between any two."""
    at: dict[Any, int] = {}
    for (when, _), line in lines.items():
        at.setdefault(when, line)
    apart = {late: _days(late, early) for early, late in itertools.pairwise(sorted(at))}
    usual = Counter(apart.values()).most_common(1)[0][0] if apart else 1
    for late, days in apart.items():
        if days != usual:
            asked = f"asked for a row every {usual} days, got none for the {days} days before {late}"
            table.report(at[late], time, f"{asked}; write all rows the same number of days apart")
    for region in dict.fromkeys(region for _, region in lines) if by else ():
        for when in sorted(at):
            if (when, region) not in lines:
                asked = f"asked for a row for each {by}, got none for {region} on {when}"
                table.report(at[when], time, f"{asked}; write it, with 0 if nothing was counted")


def _time(cell: str) -> Time | None:
    try:
        if re.fullmatch(r"[+-]?[0-9]{1,7}", cell):
            return int(cell)
        date = re.fullmatch(r"([0-9]{4}-[0-9]{2}-[0-9]{2})([T ]00:00(:00(\.0+)?)?)?", cell)
        return datetime.date.fromisoformat(date[1]) if date else None
    except ValueError:
        return None


def _count(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _days(late: Any, early: Any) -> int:
    """Days between two dates or day numbers."""
    between = late - early
    return between if isinstance(between, int) else between.days
