"""How clustered a contact graph is, and a warning where derivatives suffer from it."""

from __future__ import annotations

import warnings

import jax
import numpy as np

from lpm.kernels.graph import Graph
from lpm.state import State

MOST = 0.25  # clustering up to which the rule "cavity" was within a tenth (docs/theory/gradients.md)
SAMPLED = 1000  # pairs of contacts: a standard error of at most 0.016


class ClusteredContacts(UserWarning):
    """Derivatives by the rule "cavity" are approximate here, because contacts have contacts in common."""


def clustering(graph: Graph, pairs: int = SAMPLED) -> float:
    """The share of pairs of an agent's contacts that meet each other, over agents with two or more.

    The mean of local clustering coefficients (Watts & Strogatz 1998), from one pair of each of some agents at random,
    the same at each call.

    Args:
        graph: all of it on this process.
        pairs: how many to draw.

    Returns:
        in [0, 1]; 0 if nobody has two contacts.

    >>> from lpm import networks
    >>> clustering(networks.graph(networks.complete(5), keep_order=True))
    1.0
    """
    tables = [np.asarray(row) if graph.by_agent else np.asarray(row).T for row in graph.rows]
    starts = np.cumsum([0, *(len(table) for table in tables)])
    n = int(starts[-1])
    place = None if graph.place is None else np.asarray(graph.place)

    def contacts(position: int) -> np.ndarray:
        table = int(np.searchsorted(starts, position, side="right")) - 1
        row = tables[table][position - starts[table]]
        return row[row < n]

    rng, met = np.random.default_rng(0), []
    for position in rng.integers(0, max(n, 1), pairs if n else 0):
        own = contacts(position)
        if len(own) > 1:
            one, other = rng.choice(own, 2, replace=False)
            met.append(other in contacts(one if place is None else place[one]))
    return float(np.mean(met)) if met else 0.0


def warning_of(state: State) -> str | None:
    """A sentence if a graph among the fixed parts of a state is clustered enough to make derivatives wrong."""
    leaves = jax.tree.leaves(state.fixed, is_leaf=lambda part: isinstance(part, Graph))
    found = [clustering(part) for part in leaves if isinstance(part, Graph) and part.halo is None]
    if not found or max(found) <= MOST:
        return None
    return (
        f"clustered contacts: of the pairs of an agent's contacts {100 * max(found):.0f} % meet each other; above "
        f"{100 * MOST:.0f} % derivatives by the rule cavity have the right shape, but may be off in size by a third "
        "(docs/gradients.md); take lpm.gradients.jacobian(..., method='differences') where their size matters"
    )


def warn(state: State) -> None:
    """Warn of `ClusteredContacts` if there is reason."""
    text = warning_of(state)
    if text:
        warnings.warn(text, ClusteredContacts, stacklevel=3)
