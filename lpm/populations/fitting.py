"""Iterative proportional fitting of a table to its marginals, and rounding that keeps totals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lpm.errors import InputError

Marginal = tuple[tuple[int, ...], ArrayLike]


def fit(
    seed: ArrayLike, marginals: Sequence[Marginal], *, tolerance: float = 1e-9, iterations: int = 10_000
) -> NDArray[np.float64]:
    """Scale a table until it meets its marginals, keeping the odds ratios of the seed.

        x_c  <-  x_c * m_k(c) / sum_{c' with the same index on the axes of k} x_c'      for each marginal k in turn

    The limit is the table closest to the seed in relative entropy among all that meet the marginals.

    Args:
        seed: table of any shape, at least 0 everywhere; a cell of 0 stays 0.
        marginals: pairs (axes, totals); `totals` has the lengths of those axes, in increasing order of axis.
        tolerance: largest difference allowed from any marginal, as a fraction of the grand total.
        iterations: rounds over all marginals before giving up.

    Returns:
        A float64 table of the seed's shape that meets every marginal within the tolerance.

    Raises:
        InputError: a marginal of the wrong shape or sign, totals that disagree, a total that only zero cells
            could make up, or no convergence (the zeros of the seed forbid the marginals together).

    >>> fit([[1, 1], [1, 3]], [((0,), [4, 6]), ((1,), [5, 5])]).round(2)
    array([[2.64, 1.36],
           [2.36, 3.64]])

    Source: Deming and Stephan 1940, Annals of Mathematical Statistics 11:427; convergence: Csiszar 1975, Annals of
    Probability 3:146.
    """
    table = np.array(seed, dtype=np.float64)
    wanted = [(tuple(axes), np.asarray(totals, dtype=np.float64)) for axes, totals in marginals]
    _check_marginals(table, wanted)
    total = wanted[0][1].sum()
    if total == 0:
        return np.zeros_like(table)
    gap = np.inf
    for _ in range(iterations):
        gap = 0.0
        for axes, target in wanted:
            current = _totals(table, axes)
            gap = max(gap, float(np.abs(current - target).max()) / total)
            factor = np.divide(target, current, out=np.zeros_like(target), where=current > 0)
            others = tuple(axis for axis in range(table.ndim) if axis not in axes)
            table *= np.expand_dims(factor, others)
        if gap <= tolerance:
            return table
    raise InputError(
        f"fit: asked for every marginal within {tolerance:g} of the total, got {gap:g} after {iterations} rounds; "
        "give the seed fewer zeros, or check that the marginals can hold together"
    )


def _totals(table: NDArray[np.float64], axes: tuple[int, ...]) -> NDArray[np.float64]:
    return table.sum(axis=tuple(axis for axis in range(table.ndim) if axis not in axes))


def _check_marginals(table: NDArray[np.float64], wanted: list[tuple[tuple[int, ...], NDArray[np.float64]]]) -> None:
    problems = []
    if not np.all(np.isfinite(table)) or table.min(initial=0) < 0:
        problems.append("fit seed: asked for finite numbers of at least 0, got others; write 0 for an impossible cell")
    if not wanted:
        problems.append("fit marginals: asked for at least one, got none; write [((0,), totals), ...]")
    for axes, target in wanted:
        name = f"fit marginal over axes {axes}"
        if list(axes) != sorted(set(axes)) or not all(0 <= axis < table.ndim for axis in axes):
            problems.append(f"{name}: asked for increasing axes below {table.ndim}, got {axes}; write each axis once")
            continue
        shape = tuple(table.shape[axis] for axis in axes)
        if target.shape != shape:
            problems.append(
                f"{name}: asked for totals of shape {shape}, got {target.shape}; write one for each category"
            )
        elif not np.all(np.isfinite(target)) or target.min(initial=0) < 0:
            problems.append(f"{name}: asked for finite totals of at least 0, got others; write counts or shares")
        elif np.any((target > 0) & (_totals(table, axes) == 0)):
            where = np.argwhere((target > 0) & (_totals(table, axes) == 0))[0].tolist()
            problems.append(
                f"{name}: asked for a total of {target[tuple(where)]:g} at {where}, got a seed that is zero there; "
                "give the seed a positive cell, or the marginal a zero"
            )
    totals = [target.sum() for _, target in wanted]
    if not problems and max(totals) - min(totals) > 1e-9 * max(totals):
        problems.append(
            f"fit marginals: asked for one grand total, got {', '.join(f'{total:.10g}' for total in totals)}; "
            "scale the marginals to the same total"
        )
    if problems:
        raise InputError(problems)


def largest_remainder(values: ArrayLike, total: int) -> NDArray[np.int64]:
    """Round shares to whole numbers with an exact total: floors first, then one more to the largest remainders.

    Args:
        values: (k,) at least 0, not all 0; scaled to `total`.
        total: the sum wanted, at least 0.

    Returns:
        (k,) int64 that sums to `total`, each within 1 of its scaled value.

    >>> largest_remainder([1, 1, 1], 10)
    array([4, 3, 3])

    Source: the method of Hamilton, as in Balinski and Young 1982, Fair Representation.
    """
    values = np.asarray(values, dtype=np.float64)
    exact = values * (total / values.sum())
    counts = np.floor(exact).astype(np.int64)
    missing = int(total - counts.sum())
    if missing > 0:
        counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    return counts


def round_rows(table: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Round each row at random to whole numbers, without bias, keeping the row's total.

        n_j = floor(c_j + u) - floor(c_{j-1} + u),   c the running sum of the row,   u uniform in [0, 1) for each row

    Args:
        table: (rows, k) at least 0, with row sums that are whole numbers (to rounding error).
        generator: source of u.

    Returns:
        (rows, k) int64; each cell is its value's floor or ceiling and has that value as its mean.

    >>> round_rows(np.array([[0.5, 0.5, 2.0]]), np.random.default_rng(1)).sum()
    np.int64(3)

    Source: systematic sampling, as in Madow 1949, Annals of Mathematical Statistics 20:333.
    """
    # Nine decimals: the last bits of a sum must not decide, they differ between processors.
    running = np.round(np.cumsum(table, axis=1), 9)
    running[:, -1:] = np.rint(running[:, -1:])
    steps = np.floor(np.minimum(running, running[:, -1:]) + generator.random((len(table), 1)))
    return np.diff(steps, axis=1, prepend=0).astype(np.int64)
