"""A world: everything that a run needs, ready to start. Builders in `lpm.worlds`, and yours, return one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from lpm.errors import InputError
from lpm.kernels.graph import Graph
from lpm.kernels.groups import Households
from lpm.model import Model
from lpm.observe import Observable, checked
from lpm.state import State

TAKEN = ("scenario", "realization", "time", "time_bounds", "bound", "committed")  # names that the store has itself


@dataclasses.dataclass(frozen=True, eq=False)
class Share:
    """What a part of a world is a part of; see `lpm.partition`.

    Args:
        rank: whose part.
        ranks: how many there are.
        agents: in the whole.
        ids: checksum of all agents' ids in ascending order.
        fingerprints: of networks and attributes in the whole, see `lpm.fingerprints`.
        rows: (agents here,) the place of each, in the order of their ids, among all ids.
        moved: for each network whose agents meet those of other ranks, what a step moves.
        built: a line on who built what.
    """

    rank: int
    ranks: int
    agents: int
    ids: str
    fingerprints: dict[str, str]
    rows: np.ndarray
    moved: tuple[str, ...]
    built: str = "every rank built the whole world, and took its part of it"


@dataclasses.dataclass(frozen=True)
class World:
    """A model with its parameters, its state before the first step and what to observe.

    Args:
        model: see `lpm.chain`.
        params: a pytree; all that may be calibrated or differentiated.
        state: networks and attributes included, before `model.start`.
        observables: what a run records.
        coords: labels of the observables' dims, such as {"region": ("Bronx", ...)}.
        scale: agents for each real person; 0.01 if one agent in a hundred is simulated. Observed data is scaled by it.
        title: one line for tables and pictures.
        notes: what is assumed or left out; goes into the results' provenance.
        cautions: what a user should know before looking at the results; printed when a run starts.
        share: if this is one rank's part of a world, of what; None for a whole one.
        unfollowed: paths of parameters, or how they begin, whose derivative no rule follows, since whom they reach is
            decided by counting and comparing: a rule would say zero, and is refused (`lpm.gradients.jacobian`).
    """

    model: Model
    params: Any
    state: State
    observables: tuple[Observable, ...]
    coords: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    scale: float = 1.0
    title: str = ""
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    share: Share | None = None
    unfollowed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checked(self.observables)
        _check_order(self.state.fixed)
        taken = sorted({each.name for each in self.observables} & {*TAKEN, *self.coords})
        if taken:
            raise ValueError(f"world: asked for observables with names of their own, got {taken}; rename them")
        missing = {dim for observable in self.observables for dim in observable.dims} - self.coords.keys()
        if missing:
            raise ValueError(f"world: observables have the dims {sorted(missing)} without labels; add them to `coords`")

    def cut(self, paths: Iterable[str]) -> list[str]:
        """Those of some paths of parameters that are `unfollowed`."""
        return [path for path in paths if any(f"{path}.".startswith(f"{each}.") for each in self.unfollowed)]

    @property
    def agents(self) -> int:
        """How many agents there are, on all ranks."""
        return self.here if self.share is None else self.share.agents

    @property
    def here(self) -> int:
        """How many of them this process has."""
        return int(self.state.fixed["id"].shape[0])


def _check_order(fixed: dict[str, Any]) -> None:
    """Raise if a graph has put the agents in an order of its own, and another network has them in another."""
    found = jax.tree.leaves(fixed, is_leaf=lambda each: isinstance(each, Graph | Households))
    homes = [each for each in found if isinstance(each, Households) and each.most > 1]
    orders = {_order(each) for each in found if isinstance(each, Graph) and each.place is None} - {None}
    if len(orders) > (0 if homes else 1):
        raise InputError(
            "world: asked for networks with the same agent at each position, got a graph that sorts its agents by "
            f"degree beside {'households' if homes else 'another graph'}; write "
            "`graph = lpm.networks.graph(edges, keep_order=True)` for every graph"
        )


def _order(graph: Graph) -> object:
    """What tells one order by degree from another; None of a graph whose agents all have the same degree.

    A small graph has one table whatever its degrees, and moves nobody; what it would do in a larger world counts.
    """
    axis = 0 if graph.by_agent else 1
    shapes = tuple(row.shape for row in graph.rows if row.shape[axis])
    if len(shapes) > 1:
        return shapes  # the same graph may come twice
    nobody = sum(row.shape[axis] for row in graph.rows)
    padded = any(bool((np.asarray(row) == nobody).any()) for row in graph.rows if row.size)
    return id(graph.rows[0]) if padded else None
