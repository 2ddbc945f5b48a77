"""Networks from files: CSV or parquet with one edge, or one member of a group, a row.

Agents and groups have stable ids, whole numbers or names, and are numbered in the ids' sorted order. Mistakes are
gathered and located before anything is built.
"""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lpm.errors import InputError
from lpm.networks.edges import Edges, simple_edges

if TYPE_CHECKING:
    import pyarrow

MOST_PROBLEMS = 20
Problem = tuple[int, str, str]  # row of the data from 0, column, text


def edges_from_file(path: str | pathlib.Path, ids: np.ndarray | None = None) -> tuple[Edges, np.ndarray]:
    """The edges in the columns `source` and `target` of a file.

    Args:
        path: CSV with a header, or parquet (.parquet).
        ids: (n,) the stable ids of all agents, if some have no edges or another order is wanted; by default those in
            the file, sorted.

    Returns:
        The edges, where agent i is ids[i]; and ids. Edges given twice, in either direction, are merged with a warning.

    Raises:
        InputError: with up to 20 located mistakes: no such file or column, missing or negative ids, self loops, ids
            unknown.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "friends.csv")
    ...     _ = path.write_text("source,target\\nada,ben\\nben,cy\\n")
    ...     edges, ids = edges_from_file(path)
    >>> edges.source, edges.target, ids
    (array([0, 1], dtype=int32), array([1, 2], dtype=int32), array(['ada', 'ben', 'cy'], dtype='<U3'))
    """
    path = pathlib.Path(path)
    table = read_columns(path, ("source", "target"))
    (source, target), ids = numbered(path, table, ("source", "target"), ids)
    loops = np.flatnonzero(source == target)
    asked = "asked for another agent than the source"
    refuse(path, at(loops, "target", lambda row: f"{asked}, got {show(ids[target[row]])} twice; delete the row"))
    edges = simple_edges(len(ids), source, target)
    if edges.dropped:
        warnings.warn(f"{path}: {edges.dropped} edges were given more than once and merged", stacklevel=2)
    return edges, ids


def groups_from_file(path: str | pathlib.Path, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each agent's group from the columns `agent` and `group` of a file.

    Args:
        path: CSV with a header, or parquet (.parquet).
        ids: (n,) the stable ids of all agents, such as np.arange(n); agents without a row have no group.

    Returns:
        (n,) int32, the group of each agent or -1, for `lpm.networks.groups`; and the groups' names, sorted: group g is
        names[g].

    Raises:
        InputError: with up to 20 located mistakes: no such file or column, missing or negative ids, agents unknown or
            in two groups.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "schools.csv")
    ...     _ = path.write_text("agent,group\\n0,north\\n2,east\\n")
    ...     groups_from_file(path, np.arange(3))
    (array([ 1, -1,  0], dtype=int32), array(['east', 'north'], dtype='<U5'))
    """
    path = pathlib.Path(path)
    table = read_columns(path, ("agent", "group"))
    (agent,), ids = numbered(path, table, ("agent",), ids)
    (group,), names = numbered(path, table, ("group",), None)
    again = np.ones(len(agent), bool)
    again[np.unique(agent, return_index=True)[1]] = False
    asked = "asked for one group for each agent"
    double = at(
        np.flatnonzero(again), "agent", lambda row: f"{asked}, got another for {show(ids[agent[row]])}; delete a row"
    )
    refuse(path, double)
    groups = np.full(len(ids), -1, np.int32)
    groups[agent] = group
    return groups, names


def read_columns(path: pathlib.Path, names: tuple[str, ...]) -> pyarrow.Table:
    """The named columns of a file, without gaps, each of whole numbers not below 0 or of text."""
    import pyarrow
    import pyarrow.compute

    columns = " and ".join(f"'{name}'" for name in names)
    if not path.is_file():
        raise InputError(
            f"{path}: asked for a file, found none; write the path of a CSV or parquet file with the columns {columns}"
        )
    table = read_parquet(path) if path.suffix == ".parquet" else read_csv(path)
    if missing := [name for name in names if table.column_names.count(name) != 1]:
        got = ", ".join(table.column_names)
        raise InputError(
            f"{path}:1: asked for one column named '{missing[0]}', got {got}; rename the columns to {columns}"
        )
    table = table.select(names)
    problems: list[Problem] = []
    for place, name in enumerate(names):
        column = table[name]
        kind = column.type
        if pyarrow.types.is_null(kind) and len(column) == 0:
            column = column.cast(pyarrow.int64())
        elif pyarrow.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
        if pyarrow.types.is_floating(column.type):
            column = pyarrow.compute.if_else(pyarrow.compute.is_nan(column), None, column)
        empty = column.is_null().to_numpy()
        problems += at(
            np.flatnonzero(empty), name, lambda row: "asked for an id, got nothing; write one or delete the row"
        )
        if pyarrow.types.is_integer(column.type):
            negative = pyarrow.compute.less(column, 0).fill_null(False).to_numpy()
            asked = "asked for a number not below 0"
            problems += [
                (int(row), name, f"{asked}, got {column[int(row)]}; number from 0, or use names")
                for row in np.flatnonzero(negative)[:MOST_PROBLEMS]
            ]
        elif not is_text(column.type) and not empty.any():
            problems.append(
                (0, name, f"asked for whole numbers or text, got {column.type}; write ids without decimals")
            )
        table = table.set_column(place, name, column)
    refuse(path, problems)
    return table


def read_csv(path: pathlib.Path) -> pyarrow.Table:
    """A CSV file; rows with too few or too many cells are refused."""
    import pyarrow
    from pyarrow import csv

    torn: list[Problem] = []

    def note(row: csv.InvalidRow) -> str:
        asked = f"asked for {row.expected_columns} cells as in the header, got {row.actual_columns}"
        torn.append((row.number - 2, "", f"{asked}; complete the row, and quote text with commas"))
        return "skip"

    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(use_threads=False),  # with threads the rows that are torn lose their numbers
            parse_options=csv.ParseOptions(invalid_row_handler=note),
            convert_options=csv.ConvertOptions(
                strings_can_be_null=True, null_values=["", "nan", "NaN"]
            ),  # "NA" may be a name
        )
    except pyarrow.ArrowInvalid as error:
        raise InputError(
            f"{path}: asked for comma-separated text with a header, got: {error}; save it as plain CSV"
        ) from None
    refuse(path, torn)
    return table


def read_parquet(path: pathlib.Path) -> pyarrow.Table:
    """A parquet file."""
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise InputError(f"{path}: asked for a parquet file, got: {error}; name CSV files .csv") from None


def numbered(
    path: pathlib.Path, table: pyarrow.Table, names: tuple[str, ...], ids: np.ndarray | None
) -> tuple[list[np.ndarray], np.ndarray]:
    """Columns of ids as places, (rows,) int32 each, in all ids: those given, or else those of these columns, sorted."""
    import pyarrow

    columns = [table[name] for name in names]
    text = any(is_text(column.type) for column in columns)
    columns = [column.cast(pyarrow.large_string() if text else pyarrow.int64()) for column in columns]
    both = pyarrow.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type)
    coded = both.combine_chunks().dictionary_encode()
    found = np.array(coded.dictionary.to_pylist(), dtype=np.str_ if text else np.int64)
    known = np.unique(found) if ids is None else np.asarray(ids)
    if known.dtype.kind not in ("U" if text else "iu"):
        asked = f"{path}: asked for ids of {known.dtype}, as those of the agents"
        raise InputError(f"{asked}, got {'text' if text else 'whole numbers'}; write the same ids in both")
    places = places_in(known, found)[coded.indices.to_numpy()].reshape(len(names), len(table))
    problems = []
    for name, column, place in zip(names, columns, places, strict=True):
        for row in np.flatnonzero(place < 0)[:MOST_PROBLEMS]:
            got = show(column[int(row)].as_py())
            problems.append((int(row), name, f"asked for an agent in ids, got {got}; add it to ids or delete the row"))
    refuse(path, problems)
    return list(places), known


def places_in(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted id stands among the known: (wanted,) int32, -1 if nowhere."""
    order = np.argsort(known, kind="stable").astype(np.int32)
    increasing = known[order]
    if (again := increasing[1:] == increasing[:-1]).any():
        got = show(increasing[1:][again][0])
        raise InputError(f"ids: asked for each agent once, got {got} twice; write np.unique(ids)")
    after = np.searchsorted(increasing, wanted, side="right")
    place = np.append(order, np.int32(-1))[after - 1]  # -1 for those before the first
    if len(known):
        place[known[place] != wanted] = -1
    return place


def is_text(kind: pyarrow.DataType) -> bool:
    """Whether a column holds text."""
    import pyarrow

    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def at(rows: np.ndarray, column: str, text: Callable[[int], str]) -> list[Problem]:
    """The same problem in several rows."""
    return [(int(row), column, text(int(row))) for row in rows[:MOST_PROBLEMS]]


def refuse(path: pathlib.Path, problems: list[Problem]) -> None:
    """Raise up to 20 problems, if there are any, with the line of the file, or in parquet the row from 1."""
    if not problems:
        return
    problems = sorted(problems, key=lambda problem: problem[0])[:MOST_PROBLEMS]
    if path.suffix == ".parquet":
        lines = [row + 1 for row, _, _ in problems]
    else:  # blank lines are skipped when reading, but count for a user who looks for the line
        filled = [number for number, line in enumerate(path.read_bytes().splitlines(), 1) if line]
        lines = [filled[row + 1] for row, _, _ in problems]
    raise InputError(
        f"{path}:{line}{' ' * bool(column)}{column}: {text}"
        for line, (_, column, text) in zip(lines, problems, strict=True)
    )


def show(name: object) -> str:
    """An id as a user wrote it."""
    return repr(str(name)) if isinstance(name, str) else str(name)
