"""Rows of unequal length laid in a few tables: rows of like length share one, so that little is padded.

Fewer tables compile faster, more tables pad less. The two tables whose union pads least are merged, again and again,
while the padding stays below a share of all entries, or is so little that nobody would notice; tables beyond the most
allowed are merged whatever they pad.
"""

from __future__ import annotations

import dataclasses

import numpy as np

FREE = 1 << 13  # entries of padding that small worlds may have: some microseconds a step, and less to compile


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which row stands where.

    Args:
        widths: the length that each table's rows are padded to, increasing.
        bounds: where each table's rows begin in `order`, and the end of the last.
        order: (rows,) int32, the rows' numbers in the order of the tables; in a table they keep their own order.
    """

    widths: tuple[int, ...]
    bounds: tuple[int, ...]
    order: np.ndarray

    def places(self) -> np.ndarray:
        """(rows,) int32, where each row stands in `order`."""
        places = np.empty_like(self.order)
        places[self.order] = np.arange(len(self.order), dtype=np.int32)
        return places


def layout(lengths: np.ndarray, *, padding: float, most: int) -> Layout:
    """Choose the tables of rows of the given lengths.

    Rows of length 0 have a table of their own. There is at least one table, be it empty.

    Args:
        lengths: (rows,) integer.
        padding: up to which share of all entries tables are merged for the sake of fewer tables; `FREE` entries are
            padded in any case.
        most: how many tables there may be beside that of length 0, at most 254; kept to even if it pads more.

    >>> layout(np.array([3, 0, 1, 3, 1]), padding=0.1, most=4)
    Layout(widths=(0, 3), bounds=(0, 1, 5), order=array([1, 0, 2, 3, 4], dtype=int32))
    """
    widths = merged_widths(np.bincount(lengths), padding, most)
    table_of_length = np.searchsorted(widths, np.arange(widths[-1] + 1)).astype(np.uint8)
    table = table_of_length[lengths]  # one byte, for which numpy's stable sort is a radix sort
    order = np.argsort(table, kind="stable").astype(np.int32)
    bounds = np.concatenate([[0], np.cumsum(np.bincount(table, minlength=len(widths)))])
    return Layout(tuple(widths.tolist()), tuple(bounds.tolist()), order)


def merged_widths(rows: np.ndarray, padding: float, most: int) -> np.ndarray:
    """The tables' widths, increasing, from the number of rows of each length 0, 1, 2, ..."""
    budget = max(padding * float(rows @ np.arange(len(rows))), FREE)
    widths = np.flatnonzero(rows[1:]) + 1
    number = rows[widths]
    while len(widths) > 1:
        added = number[:-1] * np.diff(widths)
        least = int(np.argmin(added))
        budget -= float(added[least])
        if budget < 0 and len(widths) <= most:
            break
        number[least + 1] += number[least]
        widths, number = np.delete(widths, least), np.delete(number, least)
    has_empty = len(widths) == 0 or rows[0] > 0
    return np.concatenate([[0], widths]) if has_empty else widths


def fill(entries: np.ndarray, lengths: np.ndarray, tables: Layout, *, blank: int, by_row: bool) -> list[np.ndarray]:
    """Cut entries laid end to end into tables.

    Args:
        entries: (sum of lengths,) int32, row after row in the order of `tables`.
        lengths: (rows,) integer, in the order of `tables`.
        tables: see `Layout`.
        blank: what padding holds.
        by_row: whether a table is (rows, width), else (width, rows).

    >>> fill(np.arange(3, dtype=np.int32), np.array([1, 2]), Layout((2,), (0, 2), np.arange(2)), blank=9, by_row=True)
    [array([[0, 9],
           [1, 2]], dtype=int32)]
    """
    filled = []
    begin = 0
    for width, low, high in zip(tables.widths, tables.bounds[:-1], tables.bounds[1:], strict=True):
        here = lengths[low:high]
        end = begin + int(here.sum())
        table = entries[begin:end]
        if len(table) == len(here) * width:
            table = table.reshape(len(here), width)
        else:
            padded = np.full((len(here), width), blank, np.int32)
            padded[np.arange(width)[None, :] < here[:, None]] = table
            table = padded
        filled.append(table if by_row else np.ascontiguousarray(table.T))
        begin = end
    return filled
