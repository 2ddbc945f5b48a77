"""What is to be run, checked before anything is written."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lpm import store
from lpm.batch import Engine
from lpm.checkpoint import Plan
from lpm.devices import Spread
from lpm.distributed import Ranks, alone
from lpm.entries import named_entries
from lpm.errors import InputError
from lpm.provenance import checksum, identity, provenance
from lpm.series import Series
from lpm.settings import Calendar
from lpm.world import World


@dataclasses.dataclass(frozen=True)
class Job:
    """The arguments of `lpm.run` that say what is run, and what follows from them.

    Args:
        together: realizations simulated side by side.
        settings: of the config, by dotted key.
        plan: when the state is saved.
        ranks: who runs it together.
        spread: the world on several devices; None for one in each process.
    """

    world: World
    calendar: Calendar
    seed: int
    realizations: int
    together: int
    every: int
    snapshots: tuple[str, ...]
    snapshot_every: int
    observed: tuple[Series, ...]
    attributes: Mapping[str, Any]
    settings: Mapping[str, Any]
    plan: Plan
    ranks: Ranks = alone
    spread: Spread | None = None

    @property
    def records(self) -> int:
        """Of each realization."""
        return self.calendar.steps // self.every

    @property
    def rows(self) -> np.ndarray | None:
        """The places of this rank's agents among all, in the order of ids; None on one process."""
        return None if self.world.share is None else self.world.share.rows

    @functools.cached_property
    def ids(self) -> str:
        """Checksum of all agents' ids in ascending order."""
        if self.world.share is not None:
            return self.world.share.ids
        return checksum(np.asarray(self.world.state.fixed["id"])[self.engine.by_id])

    @functools.cached_property
    def identity(self) -> dict[str, str]:
        """See `lpm.provenance.identity`."""
        return identity(
            self.world,
            self.calendar,
            seed=self.seed,
            realizations=self.realizations,
            every=self.every,
            snapshots=self.snapshots,
            snapshot_every=self.snapshot_every,
            settings=self.settings,
        )

    @functools.cached_property
    def engine(self) -> Engine:
        """The world compiled for a batch."""
        return Engine(self.world, self.seed, self.together, self.every, self.spread)

    def create(self, path: Path, more: Mapping[str, Any]) -> store.Store:
        """A new store for the results."""
        return store.create(
            path,
            self.world.observables,
            self.engine.shapes(),
            self.world.coords,
            self.calendar,
            every=self.every,
            realizations=self.realizations,
            together=self.together,
            snapshots=self.snapshot_shapes(),
            snapshot_every=self.snapshot_every,
            observed=self.observed,
            attributes={
                **provenance(self.world, self.seed),
                "identity": json.dumps(self.identity),
                **self.attributes,
                **more,
            },
        )

    def snapshot_shapes(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of one snapshot of each entry, of the agents of all ranks."""
        found = self.engine.snapshot_shapes(self.snapshots)
        return {name: ((self.world.agents, *shape[1:]), dtype) for name, (shape, dtype) in found.items()}

    def check(self) -> None:
        """Raises an InputError with all mistakes that can be seen before the run."""
        problems, every, steps = [], self.every, self.calendar.steps
        if self.realizations < 1:
            problems.append(f"realizations: asked for at least 1, got {self.realizations}; write a positive number")
        if every < 1 or steps < 1 or steps % every:
            problems.append(f"every: `every={every}` does not divide `steps={steps}`; write a divisor of {steps}")
        unknown = [name for name in self.snapshots if name not in self.world.state.agents]
        if unknown:
            problems.append(
                f"snapshots: asked for entries of the agents ({sorted(self.world.state.agents)}), got {unknown}; "
                "write some of those"
            )
        apart = self.snapshot_every
        if self.snapshots and (apart < 1 or apart % max(every, 1) or apart > steps):
            problems.append(
                f"snapshots: asked for a multiple of every={every} up to {steps}, got {apart}; "
                f"write for example {every}"
            )
        for step in self.plan.at:
            if not 0 < step <= steps or step % max(every, 1):
                problems.append(
                    f"checkpoints: asked for a multiple of every={every} from {every} to {steps}, got at={step}; "
                    f"write for example {every}"
                )
        problems += [
            f"params {name}: asked for numbers, got a NaN among them; a chance that is no number would count as 0"
            for name, values in named_entries(self.world.params).items()
            if np.isnan(np.asarray(values)).any()
        ]
        if problems:
            raise InputError(problems)
