"""One's own data: a long table, CSV or parquet, with a row for each time and cell, gaps and all; checked row by row.

    date,borough,age,admissions
    2020-03-01,Bronx,65+,3
    2020-03-01,Bronx,0-64,
    2020-03-02,Bronx,65+,5

An empty cell, NA or nan is a gap, and so is a row that is not there. Times may be dates, months (2020-03) or day
numbers.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import difflib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lpm.calibration.observation import month_length
from lpm.cells import Cells
from lpm.errors import InputError

Every = int | Literal["month"]
GAPS = {"", "na", "nan", "null", "none"}
ALIKE = "write all as dates, or all as day numbers"
SHOWN = 10  # of the mistakes in one file


@dataclasses.dataclass(frozen=True, eq=False)
class Counts:
    """Counts in a long table, laid out by time and cell.

    Args:
        times: first day of each value, ascending: all dates, or all day numbers.
        days: (time,) int64 that each value covers.
        values: (time, cells) float64; NaN for a gap.
        by: dims of the cells, such as ("region", "age"); () if there are none, and then one cell.
        cells: labels of each cell.
        column: of the counts.
        source: who counted.
        path: of the file; "" if there is none.
        lines: row of the file on which each cell is first met; () if there is none.
        monthly: whether each value covers a month.
    """

    times: tuple[datetime.date, ...] | tuple[int, ...]
    days: np.ndarray
    values: np.ndarray
    by: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    column: str
    source: str
    path: str = ""
    lines: tuple[int, ...] = ()
    monthly: bool = False


def read_counts(
    path: str | Path,
    *,
    time: str,
    column: str | None,
    by: Mapping[str, str] | Sequence[str] = (),
    where: Mapping[str, str] | None = None,
    every: Every = 1,
    labelled: Literal["first", "last"] = "first",
) -> Counts:
    """Counts from a CSV file with a header, or a parquet file.

    Args:
        path: the file.
        time: column of dates (2020-02-29, or 2020-02 for a month) or of day numbers.
        column: column of counts; None for a line list, each row of which is one event, counted from the first on.
        by: columns of labels, named like the observable's dims; or dim -> column where names differ.
        where: column -> the text of the rows that are meant; others are passed over.
        every: days that a count covers, or "month".
        labelled: whether a time is the first or the last of those days.
    Raises:
        InputError: for a missing file or column, an unreadable date or number, a negative count, two rows for one time
            and cell, values that overlap: every problem as `file:row:column name: ...`.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = Path(folder.name, "own.csv")
    >>> _ = file.write_text("week,region,deaths\\n0,a,3\\n7,a,\\n7,b,2\\n")
    >>> read_counts(file, time="week", column="deaths", by=["region"], every=7).values
    array([[ 3., nan],
           [nan,  2.]])
    >>> folder.cleanup()
    """
    columns = dict(by) if isinstance(by, Mapping) else {dim: dim for dim in by}
    table = _read(Path(path))
    for name in (time, *([column] if column else []), *columns.values(), *(where or {})):
        if name not in table.header:
            near = difflib.get_close_matches(name, table.header, 1)
            advice = f"write `{near[0]}`" if near else "write one of these"
            known = ", ".join(table.header)
            table.report(1, name, f"asked for a column {name!r}, got the columns {known}; {advice}")
    if table.problems:
        raise InputError(table.problems)
    found: dict[tuple[Any, tuple[str, ...]], float] = {}
    lines: dict[tuple[Any, tuple[str, ...]], int] = {}
    sources: dict[str, None] = {}
    meant = 0
    for line, cells in table.rows:
        if len(cells) != len(table.header):
            asked = f"asked for {len(table.header)} cells as in the header, got {len(cells)}"
            table.report(line, table.header[0], f"{asked}; write one for each column")
            continue
        if any(table.cell(cells, name) != text for name, text in (where or {}).items()):
            continue
        meant += 1
        if "source" in table.header:
            sources[table.cell(cells, "source")] = None
        if column is None:
            _take_event(table, line, cells, (time, tuple(columns.values())), every, found, lines)
        else:
            _take(table, line, cells, (time, column, tuple(columns.values())), (every, labelled), found, lines)
    if not meant and not table.problems:
        wanted = ", ".join(f"{name} {text!r}" for name, text in (where or {}).items()) or "one under the header"
        table.report(1, next(iter(where or [time])), f"asked for rows with {wanted}, got none; write another")
    if column is None and not found and not table.problems:
        table.report(1, time, f"asked for a row with a date or a day number, got gaps alone in {meant} rows; write one")
    elif column is None and not table.problems:
        found = _binned(found, every)
    elif not table.problems:
        _find_overlaps(table, lines, time, every)
    if table.problems:
        more = len(table.problems) - SHOWN
        said = [f"{table.name}: {more} more mistakes; write those above anew first"] if more > 0 else []
        raise InputError([*table.problems[:SHOWN], *said])
    times = sorted({when for when, _ in found})
    cells_found = tuple(dict.fromkeys(cell for _, cell in found))
    values = np.array([[found.get((when, cell), math.nan) for cell in cells_found] for when in times])
    days = np.array([_length(when, every) for when in times], np.int64)
    source = "; ".join(filter(None, sources)) or Path(path).name
    met = tuple(min(line for (_, cell), line in lines.items() if cell == each) for each in cells_found)
    return Counts(
        tuple(times),
        days,
        values,
        tuple(columns),
        cells_found,
        column or time,
        source,
        str(path),
        met,
        every == "month",
    )


def of_array(array: Any, time: str = "time", every: Every = 1) -> Counts:
    """Counts from an xarray DataArray, in the order of their times; NaN is a gap.

    Args:
        array: with a dim of times (datetime64 or day numbers) and dims named like the observable's.
        time: the dim of times.
        every: days that a count covers, or "month".
    Raises:
        ValueError: if there is no such dim, a count is negative, a time is missing, or values overlap.
    """
    if time not in array.dims:
        raise ValueError(f"asked for a dim of times, got {', '.join(map(str, array.dims))}; write time=...")
    by = tuple(str(dim) for dim in array.dims if dim != time)
    values = array.transpose(time, *by).values.astype(np.float64)
    if (values < 0).any():
        raise ValueError("asked for counts of at least 0, got a negative one; write NaN for a gap")
    labels = np.meshgrid(*(array[dim].values.astype(str) for dim in by), indexing="ij") if by else []
    cells = tuple(zip(*(each.ravel().tolist() for each in labels), strict=True)) if by else ((),)
    whens = array[time].values
    dated = np.issubdtype(whens.dtype, np.datetime64)
    if every == "month" and not dated:
        raise ValueError("asked for dates of months, got day numbers; write datetime64")
    if dated and np.isnat(whens).any():
        raise ValueError("asked for times, got a time that is missing; leave its values out")
    unit = "datetime64[M]" if every == "month" else "datetime64[D]"
    times = [when.astype(unit).astype("datetime64[D]").item() if dated else int(when) for when in whens]
    order = np.argsort(np.array(times), kind="stable")
    times = [times[i] for i in order]
    days = np.array([_length(when, every) for when in times], np.int64)
    for early, late, length in zip(times, times[1:], days, strict=False):
        if _between(early, late) < length:
            raise ValueError(_overlap(early, late, int(length)))
    name, source = str(array.name or "counts"), str(array.attrs.get("source", ""))
    values = values.reshape(len(times), -1)[order]
    return Counts(tuple(times), days, values, by, cells, name, source, monthly=every == "month")


def _take(
    table: Cells,
    line: int,
    cells: list[str],
    columns: tuple[str, str, tuple[str, ...]],
    spans: tuple[Every, str],
    found: dict[tuple[Any, tuple[str, ...]], float],
    lines: dict[tuple[Any, tuple[str, ...]], int],
) -> None:
    """Put one row's count where it belongs, or report what is wrong with it."""
    time, column, by = columns
    text = table.cell(cells, column)
    when = _time(table.cell(cells, time), *spans)
    labels = tuple(table.cell(cells, name) for name in by)
    earlier = next(iter(lines), None)
    if when is None:
        got, month = table.cell(cells, time), " or 2020-02" if spans[0] == "month" else ""
        asked = "a month" if spans[0] == "month" else "a date or a day number"
        table.report(line, time, f"asked for {asked}, got {got!r}; write for example 2020-02-01{month}")
        return
    if earlier and type(when) is not type(earlier[0]):
        table.report(line, time, f"got {when} after {earlier[0]}; {ALIKE}")
        return
    for name, label in zip(by, labels, strict=True):
        if not label:
            table.report(line, name, f"asked for a label, got an empty cell; write the {name}")
            return
    if (when, labels) in lines:
        which = ", ".join([str(when), *labels])
        advice = "write one, or in the config `by:` or `where:` with the column that tells them apart"
        table.report(line, time, f"got a second row for {which} (first on line {lines[when, labels]}); {advice}")
        return
    lines[when, labels] = line
    count = math.nan if text.lower() in GAPS else _count(text)
    if count is None:
        table.report(line, column, f"asked for a count of at least 0, or nothing for a gap, got {text!r}; write one")
        return
    found[when, labels] = count


def _take_event(
    table: Cells,
    line: int,
    cells: list[str],
    columns: tuple[str, tuple[str, ...]],
    every: Every,
    found: dict[tuple[Any, tuple[str, ...]], float],
    lines: dict[tuple[Any, tuple[str, ...]], int],
) -> None:
    """Count one row; one without a time is no event."""
    time, by = columns
    text = table.cell(cells, time)
    if text.lower() in GAPS:
        return
    when, labels = _time(text, 1, "first"), tuple(table.cell(cells, name) for name in by)
    earlier = next(iter(lines), None)
    if when is None or (every == "month" and isinstance(when, int)):
        asked = "a date" if every == "month" else "a date or a day number"
        table.report(line, time, f"asked for {asked}, got {text!r}; write for example 2020-02-01")
        return
    if earlier and type(when) is not type(earlier[0]):
        table.report(line, time, f"got {when} after {earlier[0]}; {ALIKE}")
        return
    lines.setdefault((when, labels), line)
    found[when, labels] = found.get((when, labels), 0.0) + 1


def _binned(events: dict[tuple[Any, tuple[str, ...]], float], every: Every) -> dict[tuple[Any, tuple[str, ...]], float]:
    """Events of days as counts of `every` days each from the first on, 0 where there was none."""
    days = [when for when, _ in events]
    begin, dated = min(days), isinstance(min(days), datetime.date)

    def bin_of(when: Any) -> Any:
        if every == "month":
            return when.replace(day=1)
        gone = (when - begin).days if dated else when - begin
        first = gone // every * every
        return begin + (datetime.timedelta(days=first) if dated else first)

    times, when = [bin_of(begin)], bin_of(begin)
    while when < bin_of(max(days)):
        length = _length(when, every)
        when = when + (datetime.timedelta(days=length) if dated else length)
        times.append(when)
    cells = dict.fromkeys(cell for _, cell in events)
    found = {(time, cell): 0.0 for time in times for cell in cells}
    for (when, cell), count in events.items():
        found[bin_of(when), cell] += count
    return found


def _find_overlaps(table: Cells, lines: dict[tuple[Any, tuple[str, ...]], int], time: str, every: Every) -> None:
    """A value's days must end before the next one's begin."""
    at: dict[Any, int] = {}
    for (when, _), line in lines.items():
        at.setdefault(when, line)
    whens = sorted(at)
    for early, late in itertools.pairwise(whens):
        if _between(early, late) < _length(early, every):
            table.report(at[late], time, _overlap(early, late, _length(early, every)))


def _between(early: Any, late: Any) -> int:
    """Days from one date, or day number, to another."""
    apart = late - early
    return apart if isinstance(apart, int) else apart.days


def _overlap(early: Any, late: Any, length: int) -> str:
    asked = f"asked for counts of {length} days each, got {late} only {_between(early, late)} days after {early}"
    return f"{asked}; write another `every`, or remove rows"


def _length(when: Any, every: Every) -> int:
    return month_length(when) if every == "month" else int(every)


def _time(text: str, every: Every, labelled: str) -> datetime.date | int | None:
    """The first day of what a cell means."""
    try:
        if every == "month":
            month = re.match(r"([0-9]{4}-[0-9]{2})(-[0-9]{2})?([T ].*)?$", text)
            return datetime.date.fromisoformat(f"{month[1]}-01") if month else None
        before = every - 1 if labelled == "last" else 0
        if re.fullmatch(r"[+-]?[0-9]{1,7}", text):
            return int(text) - before
        date = re.fullmatch(r"([0-9]{4}-[0-9]{2}-[0-9]{2})([T ]00:00(:00(\.0+)?)?)?", text)
        return datetime.date.fromisoformat(date[1]) - datetime.timedelta(days=before) if date else None
    except ValueError:
        return None


def _count(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _read(path: Path) -> Cells:
    try:
        if path.suffix in (".parquet", ".pq"):
            return _read_parquet(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except OSError as error:
        advice = "write the path of a CSV or parquet file"
        raise InputError(f"{path}:1:1 data: asked for a file that can be read, got {error}; {advice}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}:1:1 data: asked for CSV in UTF-8, got {error}; write it anew") from None
    if len(rows) < 2:
        raise InputError(f"{path}:1:1 data: asked for a header and rows, got {len(rows)} lines; write both")
    return Cells(str(path), rows[0][1], rows[1:])


def _read_parquet(path: Path) -> Cells:
    """Rows count from 2, as if there were a header's line."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise InputError(f"{path}:1:1 data: asked for a parquet file, got {error}; write it anew") from None
    columns = [["" if value is None else str(value) for value in column.to_pylist()] for column in table.columns]
    return Cells(str(path), table.column_names, list(enumerate(map(list, zip(*columns, strict=True)), 2)))
