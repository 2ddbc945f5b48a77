"""Draws from the posterior of a fit, which the realizations of a study take in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from lpm.settings import Calendar
from lpm.world import World


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """Some draws from a posterior: realization r of every scenario takes draw r modulo their number.

    Args:
        count: how many; 1 for the estimate alone.
        at: a world and the number of a draw -> the world with its parameters.
        about: what is remembered of them beside the results.
        told: for people.
    """

    count: int
    at: Callable[[World, int], World]
    about: Mapping[str, str]
    told: tuple[str, ...] = ()

    def world(self, world: World, realization: int) -> World:
        """The world as a realization takes it."""
        return self.at(world, realization % self.count)

    def hides(self, one: World, other: World) -> bool:
        """Whether some parameter in which two worlds differ is the same once a draw is in it."""
        before = [_leaves(world) for world in (one, other)]
        after = [_leaves(self.at(world, 0)) for world in (one, other)]
        for name in before[0].keys() & before[1].keys():
            if before[0][name].shape == before[1][name].shape:
                differs = [pair[0][name] != pair[1][name] for pair in (before, after)]
                if (differs[0] & ~differs[1]).any():
                    return True
        return False


def share(values: np.ndarray, draws: int) -> float:
    """The share of a variance that goes with the draws, the rest being chance: one-way analysis of variance.

    s = v / (v + W),   v = max(B - W, 0) / m

    with B and W the mean squares between and within draws, of m realizations each; nan if they say nothing.

    Args:
        values: (realizations,), of which number r has draw r modulo `draws`; NaN where one is missing.
        draws: how many.

    >>> round(share(np.array([1.0, 5.0, 1.1, 5.1, 0.9, 4.9]), 2), 3)
    0.999
    """
    each = len(values) // draws
    table = values[: each * draws].reshape(each, draws)
    table = table[~np.isnan(table).any(axis=1)]
    if len(table) < 2 or draws < 2:
        return float("nan")
    between, within = len(table) * table.mean(0).var(ddof=1), table.var(0, ddof=1).mean()
    own = max(between - within, 0.0) / len(table)
    return float(own / (own + within)) if own + within > 0 else float("nan")


def _leaves(world: World) -> dict[str, np.ndarray]:
    found = jax.tree_util.tree_leaves_with_path(world.params)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in found}


Reader = Callable[[Path, Calendar, int | None], Draws]  # a fit's directory, the runs' calendar, how many draws
