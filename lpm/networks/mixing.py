"""How often people of one age meet those of another: contact matrices.

matrix[i, j] is the mean number of contacts a day that one person of group i has with people of group j.
"""

from __future__ import annotations

import pathlib

import numpy as np

from lpm.errors import InputError

MOST_PROBLEMS = 20


def mixing_matrix(given: str | pathlib.Path | np.ndarray) -> np.ndarray:
    """A contact matrix, checked.

    Args:
        given: an array, or the path of a CSV file with one row of numbers for each group and no header.

    Returns:
        (groups, groups) float64, contacts per person and day.

    Raises:
        InputError: if it is not square, or an entry is missing, negative, infinite or no number.

    >>> mixing_matrix([[2, 1], [1, 3]])
    array([[2., 1.],
           [1., 3.]])
    """
    if isinstance(given, (str, pathlib.Path)):
        where = str(given)
        matrix = read_numbers(pathlib.Path(given))
    else:
        where = "mixing_matrix"
        try:
            matrix = np.array(given, np.float64)
        except (TypeError, ValueError):
            raise InputError(
                f"{where}: asked for rows of numbers, all of one length, got others; write as many in each as rows"
            ) from None
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        got = " x ".join(map(str, matrix.shape)) or "one number"
        raise InputError(f"{where}: asked for a square matrix, got {got}; write one row and one column for each group")
    wrong = np.argwhere(~np.isfinite(matrix) | (matrix < 0))
    if len(wrong):
        raise InputError(
            f"{where}: row {row + 1} column {column + 1}: asked for a finite number not below 0, "
            f"got {matrix[row, column]}; write contacts per day"
            for row, column in wrong[:MOST_PROBLEMS]
        )
    return matrix


def reciprocal(matrix: np.ndarray, population: np.ndarray) -> np.ndarray:
    """The nearest matrix in which contacts are mutual: as many from i with j as from j with i.

    C'_ij = (C_ij N_i + C_ji N_j) / (2 N_i), hence C'_ij N_i = C'_ji N_j

    Args:
        matrix: (groups, groups), contacts per person and day.
        population: (groups,), people in each, positive.

    Returns:
        (groups, groups) float64, contacts per person and day.

    Source: Arregui et al. (2018), Projecting social contact matrices to different demographic structures,
    PLoS Comput. Biol. 14, e1006638: the pairwise correction.

    >>> reciprocal(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([100, 300]))
    array([[2.        , 2.        ],
           [0.66666667, 3.        ]])
    """
    matrix, people = mixing_matrix(matrix), checked_population(matrix, population)
    contacts = matrix * people[:, None]
    return (contacts + contacts.T) / (2 * people[:, None])


def scale_to_mean(matrix: np.ndarray, population: np.ndarray, mean: float) -> np.ndarray:
    """The matrix times one number, such that a person has `mean` contacts a day on average.

    mean = sum_ij N_i C'_ij / sum_i N_i

    Args:
        matrix: (groups, groups), contacts per person and day.
        population: (groups,), people in each, positive.
        mean: contacts per person and day, positive.

    Returns:
        (groups, groups) float64, contacts per person and day.

    >>> scale_to_mean(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([100, 100]), mean=7)
    array([[4., 2.],
           [2., 6.]])
    """
    matrix, people = mixing_matrix(matrix), checked_population(matrix, population)
    now = float(people @ matrix.sum(1) / people.sum())
    if not (np.isfinite(mean) and mean > 0):
        raise InputError(f"scale_to_mean: asked for a positive mean, got {mean}; write contacts per person and day")
    if now == 0:
        raise InputError(
            "scale_to_mean: asked for a matrix with contacts, got zeros alone; write at least one number above 0"
        )
    return matrix * (mean / now)


def checked_population(matrix: np.ndarray, population: np.ndarray) -> np.ndarray:
    """The population as (groups,) float64, if it fits the matrix."""
    people = np.asarray(population, np.float64)
    groups = len(np.asarray(matrix))
    if people.shape != (groups,) or not (np.isfinite(people) & (people > 0)).all():
        asked = f"population: asked for {groups} numbers above 0, one for each group"
        raise InputError(f"{asked}, got {people.tolist()}; leave out groups without people")
    return people


def read_numbers(path: pathlib.Path) -> np.ndarray:
    """A CSV file of numbers alone; every mistake is located."""
    if not path.is_file():
        raise InputError(f"{path}: asked for a file, found none; write the path of a CSV file")
    lines = [(number, line.split(",")) for number, line in enumerate(path.read_text().splitlines(), 1) if line.strip()]
    problems = []
    rows: list[list[float]] = []
    for number, cells in lines:
        if len(cells) != len(lines):
            asked = f"asked for {len(lines)} numbers, as many as there are rows"
            problems.append(f"{path}:{number}: {asked}, got {len(cells)}; write a square matrix without header")
            continue
        rows.append([])
        for column, cell in enumerate(cells, 1):
            try:
                rows[-1].append(float(cell))
            except ValueError:
                problems.append(
                    f"{path}:{number} column {column}: asked for a number, got {cell.strip()!r}; write contacts per day"
                )
    if problems:
        raise InputError(problems[:MOST_PROBLEMS])
    return np.array(rows, np.float64)
