"""Checkpoints: the moving state of a batch of realizations at the end of a record, saved so that a run can go on.

    DIR/checkpoints/realization-000000-step-000000120/
        about.json      which run, batch and step
        env.npz         what belongs to no agent
        agents-0.npz    what belongs to agents, (realizations, agents, ...), in the order of their ids; a file a rank

Draws are keyed by (seed, realization, stream, step, id), so no generator has a state to save, and what never changes is
built anew from the config. As rows stand in the order of ids, nothing depends on the order or the division of agents in
memory. A checkpoint is written under another name, flushed and renamed: one that has its name is whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lpm.directory import sync
from lpm.distributed import Ranks, alone
from lpm.provenance import checksum
from lpm.state import State

FOLDER = "checkpoints"
KEEP = 2
ABOUT, ENV, AGENTS, PART, ROWS = "about.json", "env.npz", "agents-{}.npz", ".part", "rows"


@dataclasses.dataclass(frozen=True)
class Plan:
    """When a run saves its state, besides at its end and on SIGTERM and SIGUSR1.

    Args:
        steps: after so many steps, rounded up to whole records; 0 for never.
        minutes: after so many minutes; infinite for never.
        at: steps done at which the state is kept for good, to branch from.
    """

    steps: int = 0
    minutes: float = 5.0
    at: tuple[int, ...] = ()

    def end(self, begin: int, chunk: int, every: int) -> int:
        """The record at which a chunk from `begin` on ends, so that no moment to save is passed over.

        >>> Plan(steps=10, at=(23,)).end(0, 8, 1), Plan(steps=10).end(8, 8, 1), Plan(at=(23,)).end(20, 8, 1)
        (8, 10, 23)
        """
        ends = [begin + chunk, *(step // every for step in self.at if step // every > begin)]
        if self.steps:
            between = -(-self.steps // every)
            ends.append((begin // between + 1) * between)
        return min(ends)

    def by_steps(self, last: int, record: int, every: int) -> bool:
        """Whether so many steps were done since record `last` that `record` is one to save."""
        between = -(-self.steps // every) if self.steps else 0
        return bool(between) and record // between > last // between


@dataclasses.dataclass(frozen=True)
class About:
    """What a checkpoint is of.

    Args:
        first: number of the first realization saved.
        realizations: how many are saved.
        step: steps done.
        kept: whether it stays when newer ones are written.
        run: checksum of the run's identity.
        ids: checksum of the agents' ids in ascending order.
        world: checksums of what the run reads and never changes, by name.
        parts: how many ranks wrote it.
    """

    first: int
    realizations: int
    step: int
    kept: bool
    run: str
    ids: str
    world: dict[str, str]
    parts: int = 1

    @property
    def name(self) -> str:
        """Of the folder; names in alphabetical order are in the order of the run."""
        return f"realization-{self.first:06d}-step-{self.step:09d}"


def run_checksum(identity: Mapping[str, str]) -> str:
    """What binds a checkpoint to its run.

    >>> run_checksum({"run.seed": "1"}) == run_checksum({"run.seed": "2"})
    False
    """
    return checksum(np.frombuffer(json.dumps(dict(identity), sort_keys=True).encode(), np.uint8))


def positions(ids: np.ndarray) -> np.ndarray:
    """Where in memory the agent with the lowest id is, the next one, and so on: (n,) integers.

    >>> positions(np.array([2, 0, 1], dtype=np.uint32))
    array([1, 2, 0])
    """
    count = len(ids)
    if np.array_equal(ids, np.arange(count, dtype=ids.dtype)):
        return np.arange(count)
    if count and int(ids.max()) == count - 1:  # ids 0, 1, ... in another order: no need to sort
        found = np.zeros(count, np.int64)
        found[ids] = np.arange(count)
        if np.array_equal(ids[found], np.arange(count, dtype=ids.dtype)):
            return found
    return np.argsort(ids, kind="stable")


def rows(leaf: Any, name: str, agents: int) -> bool:
    """Whether a leaf of the state, with realizations first, has a row for each agent."""
    return name.startswith("agents.") and len(leaf.shape) > 1 and leaf.shape[1] == agents


def named(state: State) -> dict[str, Any]:
    """The leaves of a moving state by dotted name."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def save(
    folder: Path,
    about: About,
    state: Mapping[str, np.ndarray],
    agents: int,
    ranks: Ranks = alone,
    own: np.ndarray | None = None,
) -> Path:
    """Write a checkpoint, and remove those that it replaces; each rank writes a file of its agents.

    Args:
        folder: of all checkpoints of the run.
        about: what it is of.
        state: leaves by name, those of agents in the order of their ids.
        agents: how many this rank has.
        ranks: who writes it together.
        own: (agents,) the places of this rank's agents among all, in the order of ids; None on one process.
    Returns:
        its own folder.
    Raises:
        OSError: if it cannot be written; earlier ones are intact.
    """
    target = folder / about.name
    part = folder / (about.name + PART)
    of_agents = {name: leaf for name, leaf in state.items() if rows(leaf, name, agents)}
    mine = of_agents if own is None else of_agents | {ROWS: own}

    def begin() -> None:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)

    def finish() -> None:
        _write(part / ENV, {name: leaf for name, leaf in state.items() if name not in of_agents})
        with open(part / ABOUT, "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(dataclasses.replace(about, parts=ranks.count)), file, indent=1)
            _flush(file)
        sync(part)
        shutil.rmtree(target, ignore_errors=True)  # of the same moment, damaged
        part.rename(target)
        sync(folder)
        _prune(folder)

    try:
        ranks.first(begin)
        ranks.each(lambda: _write(part / AGENTS.format(ranks.rank), mine))
        ranks.first(finish)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return target


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with open(path, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
        _flush(file)


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _prune(folder: Path) -> None:
    """Leave the newest two and those kept for good."""
    for part in folder.glob(f"*{PART}"):
        shutil.rmtree(part, ignore_errors=True)
    passing = [path for path, about in found(folder) if not about.kept]
    for path in passing[KEEP:]:
        shutil.rmtree(path, ignore_errors=True)


def found(folder: Path) -> Iterator[tuple[Path, About]]:
    """The checkpoints of a run, newest first."""
    for path in sorted(folder.glob("realization-*-step-*[0-9]"), reverse=True):
        try:
            about = About(**json.loads((path / ABOUT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
        yield path, about


def read(path: Path, parts: int, wanted: np.ndarray | None = None) -> dict[str, np.ndarray] | None:
    """The leaves of a checkpoint by name, or None if it is damaged: each file carries checksums.

    Args:
        path: of the checkpoint.
        parts: how many ranks wrote it.
        wanted: (agents,) places of the agents to read among all, increasing; None for all.
    """
    try:
        with _opened(path / ENV) as env:
            of_env = dict(env)
        if parts == 1 and wanted is None:
            return of_env | dict(_part(path, 0))
        if wanted is None:
            wanted = np.arange(sum(_agents(path, number) for number in range(parts)))
        found, filled = {}, 0
        for number in range(parts):
            part = _part(path, number)
            have = part.pop(ROWS) if ROWS in part else np.arange(next(iter(part.values())).shape[1])
            place = np.searchsorted(wanted, have).clip(0, len(wanted) - 1)
            hit = wanted[place] == have
            filled += int(hit.sum())
            for name, values in part.items():
                if name not in found:
                    found[name] = np.empty((values.shape[0], len(wanted), *values.shape[2:]), values.dtype)
                found[name][:, place[hit]] = values[:, hit]
        return of_env | found if filled == len(wanted) else None
    except (OSError, ValueError, EOFError, KeyError, StopIteration, zipfile.BadZipFile):
        return None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """Arrays by name; NumPy would leave a damaged file open."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
        yield found


def _part(path: Path, number: int) -> dict[str, np.ndarray]:
    """What one rank wrote."""
    with _opened(path / AGENTS.format(number)) as part:
        return dict(part)


def _agents(path: Path, number: int) -> int:
    """Of how many agents one rank wrote; their state is not read for it."""
    with _opened(path / AGENTS.format(number)) as part:
        return len(part[ROWS])


def misfits(saved: Mapping[str, np.ndarray], wanted: State) -> list[str]:
    """A line for each entry in which a saved state differs in name, shape or type from the one wanted."""
    have = {name: f"{leaf.dtype.itemsize * 8} bits {leaf.shape}" for name, leaf in saved.items()}
    want = {name: f"{np.dtype(leaf.dtype).itemsize * 8} bits {leaf.shape}" for name, leaf in named(wanted).items()}
    return [
        f"state {name}: was {have.get(name, 'not there')}, is {want.get(name, 'not there')}"
        for name in {**have, **want}
        if have.get(name) != want.get(name)
    ]


def restored(saved: Mapping[str, np.ndarray], wanted: State, by_id: np.ndarray) -> State:
    """A saved state as the model takes it.

    Args:
        saved: from `read`.
        wanted: shapes and dtypes, with realizations first.
        by_id: see `positions`.
    """

    def leaf(path: Any, want: Any) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        values = saved[name].view(np.dtype(want.dtype))  # a file knows bfloat16 as two bytes
        if rows(want, name, len(by_id)):
            placed = np.empty_like(values)
            placed[:, by_id] = values
            values = placed
        return jax.numpy.array(values)  # a copy: the engine gives its arrays away

    return jax.tree_util.tree_map_with_path(leaf, wanted)
