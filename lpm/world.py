"""A world: everything that a run needs, ready to start. Builders in `lpm.worlds`, and yours, return one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lpm.model import Model
from lpm.observe import Observable, checked
from lpm.state import State


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

    def __post_init__(self) -> None:
        checked(self.observables)
        missing = {dim for observable in self.observables for dim in observable.dims} - self.coords.keys()
        if missing:
            raise ValueError(f"world: observables have the dims {sorted(missing)} without labels; add them to `coords`")

    @property
    def agents(self) -> int:
        """How many agents there are, on all ranks."""
        return self.here if self.share is None else self.share.agents

    @property
    def here(self) -> int:
        """How many of them this process has."""
        return int(self.state.fixed["id"].shape[0])
