"""The cells of a table that a user gave, and what is wrong with them, each mistake with its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Cells:
    """A file's cells as texts, its rows with the lines they stand on, and the mistakes found so far.

    >>> table = Cells("own.csv", ["day", "cases"], [(2, ["0", "-3"])])
    >>> table.report(2, "cases", "asked for at least 0, got -3")
    >>> table.problems
    ['own.csv:2:2 cases: asked for at least 0, got -3']
    """

    name: str
    header: list[str]
    rows: list[tuple[int, list[str]]]
    problems: list[str] = dataclasses.field(default_factory=list)

    def report(self, line: int, column: str, message: str) -> None:
        """Keep a mistake."""
        at = self.header.index(column) + 1 if column in self.header else 1
        self.problems.append(f"{self.name}:{line}:{at} {column}: {message}")

    def column(self, name: str) -> list[str]:
        """A column's cells; of rows that are too short, none."""
        at = self.header.index(name) if name in self.header else len(self.header)
        return [cells[at] for _, cells in self.rows if at < len(cells)]

    def cell(self, row: Sequence[str], column: str) -> str:
        """A row's cell."""
        return row[self.header.index(column)]
