"""A world: everything that a run needs, ready to start. Builders in `lpm.worlds`, and yours, return one."""

from __future__ import annotations

import dataclasses
from typing import Any

from lpm.model import Model
from lpm.observe import Observable, checked
from lpm.state import State


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

    def __post_init__(self) -> None:
        checked(self.observables)
        missing = {dim for observable in self.observables for dim in observable.dims} - self.coords.keys()
        if missing:
            raise ValueError(f"world: observables have the dims {sorted(missing)} without labels; add them to `coords`")

    @property
    def agents(self) -> int:
        """How many agents there are."""
        return int(self.state.fixed["id"].shape[0])
