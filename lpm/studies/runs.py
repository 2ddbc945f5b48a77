"""The runs of a study: every scenario and realization into one store, in any order, by any number of processes.

A run is one realization of one scenario. Its results are written to files of its own, then a small file in `runs/`
says that they are complete, or why it failed. So runs may be killed, divided among the tasks of an array job and done
again; nothing is shared between two of them but what was written before the first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lpm import batch, directory, store
from lpm.config import Config, build_world, described
from lpm.errors import InputError, LpmError, RunError
from lpm.provenance import checksum, differences, identity, provenance
from lpm.runner import Interrupted, Unwritable
from lpm.signals import Signals
from lpm.store import Store
from lpm.studies.plan import Study
from lpm.world import World

FOLDER, ABOUT = "runs", "study.json"


@dataclasses.dataclass(frozen=True)
class Unit:
    """One run: numbers of the scenario and the realization."""

    scenario: int
    realization: int

    @property
    def name(self) -> str:
        """Of its file in `runs/`."""
        return f"{self.scenario:04}-{self.realization:05}.json"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a call of `run` ended: runs done, and those that failed in it with their reason."""

    done: int
    failed: tuple[tuple[Unit, str], ...]


def units(scenarios: int, realizations: int) -> list[Unit]:
    """All runs of a study, scenario by scenario."""
    return [Unit(scenario, each) for scenario in range(scenarios) for each in range(realizations)]


def part(every: list[Unit], task: int, tasks: int) -> list[Unit]:
    """The runs of one task of several, the first being task 1; neighbours, so that few worlds are built.

    >>> [len(part(units(2, 5), task, 3)) for task in (1, 2, 3)]
    [3, 3, 4]
    """
    return every[len(every) * (task - 1) // tasks : len(every) * task // tasks]


def run(
    study: Study,
    out: str | Path,
    *,
    task: tuple[int, int] | None = None,
    resumed: bool = False,
    progress: Callable[[int, int, float], None] = lambda done, total, seconds: None,
    say: Callable[[str], None] = lambda line: None,
    again: str = "the same call and resumed=True",
) -> Outcome:
    """Simulate what is missing of a study, or of one task's part of it.

    Args:
        study: from `plan.load`.
        out: a directory that is made, or empty unless `resumed` or `task`.
        task: (i, n) for the i-th of n parts, counted from 1; None for all.
        resumed: go on with the study in `out`.
        progress: called after each run with the runs done, all runs asked for and the seconds of this one.
        say: called with a line for people.
        again: how the user goes on, for messages.

    Raises:
        InputError: before anything is written.
        Interrupted: on Ctrl-C and SIGTERM; runs that had ended are kept.
        Unwritable: if the disk refuses a write.
    """
    mine = units(len(study.scenarios), study.realizations)
    if task is not None:
        if not 1 <= task[0] <= task[1]:
            raise InputError(f"--task: asked for I/N with I from 1 to N, got {task[0]}/{task[1]}; write --task 1/10")
        mine = part(mine, *task)
    path = Path(out)
    base = build_world(study.base)
    for caution in base.cautions:
        say(f"Note: {caution}")
    path = directory.writable(path) if resumed or task else directory.new(path)
    with _writing(path, again), Signals() as signals:
        target = _opened(study, base, path)
        waiting = [unit for unit in mine if not _done(path, unit)]
        failed: list[tuple[Unit, str]] = []
        for scenario, group in _by_scenario(waiting):
            world: World | LpmError
            try:
                world = _world(study, scenario, base)
            except LpmError as error:
                world = error
            for unit in group:
                begun = time.perf_counter()
                try:
                    if isinstance(world, LpmError):
                        raise world
                    _one(study, world, unit, target, path, signals)
                except (LpmError, jax.errors.JaxRuntimeError, MemoryError) as error:
                    if isinstance(error, Interrupted | Unwritable):
                        raise
                    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
                    _mark(path, unit, {"scenario": study.names[unit.scenario], "failed": reason})
                    failed.append((unit, reason))
                progress(len(mine) - len(waiting) + waiting.index(unit) + 1, len(mine), time.perf_counter() - begun)
                if signals.stop and unit != waiting[-1]:
                    raise _interrupted(path, study, signals, again)
    return Outcome(len(mine) - len(failed), tuple(failed))


def _by_scenario(waiting: list[Unit]) -> Iterator[tuple[int, list[Unit]]]:
    for scenario in dict.fromkeys(unit.scenario for unit in waiting):
        yield scenario, [unit for unit in waiting if unit.scenario == scenario]


def _world(study: Study, scenario: int, base: World) -> World:
    """A scenario's world, with the base's arrays wherever the values are the same: memory holds one population."""
    if scenario == 0:
        return base
    world = build_world(study.scenarios[scenario].config)
    mine, tree = jax.tree.flatten(world.state.fixed)
    its, other = jax.tree.flatten(base.state.fixed)
    if tree != other:
        return world
    shared = [b if np.shape(a) == np.shape(b) and np.array_equal(a, b) else a for a, b in zip(mine, its, strict=True)]
    return dataclasses.replace(
        world, state=dataclasses.replace(world.state, fixed=jax.tree.unflatten(tree, shared)),
        observables=base.observables if len(base.observables) == len(world.observables) else world.observables,
    )  # fmt: skip


def _one(study: Study, world: World, unit: Unit, target: Store, path: Path, signals: Signals) -> None:
    """Simulate one run, write its results, then say that they are complete."""
    begun, calendar, every = time.time(), study.base.run.calendar, study.base.run.every
    engine = batch.Engine(world, study.base.run.seed, 1, every)
    pauses = batch.Pauses(stop=lambda: bool(signals.stop))
    records: dict[str, list[np.ndarray]] = {observable.name: [] for observable in world.observables}
    for chunk in batch.ahead(engine.chunks(unit.realization, calendar.steps // every, (), 0, pauses=pauses)):
        assert isinstance(chunk, batch.Chunk)
        seen, broken = jax.device_get((chunk.seen, chunk.broken))
        for number, (values, faults) in enumerate(zip(seen, broken, strict=True)):
            if any(faults.values()):
                names = ", ".join(name for name, bad in faults.items() if bad)
                raise RunError(f"record {chunk.first + number}: not a finite number in {names}")
            for name, value in values.items():
                records[name].append(value[0])
    if any(len(each) < calendar.steps // every for each in records.values()):
        raise _interrupted(path, study, signals, "")
    written = {name: np.stack(each) for name, each in records.items()}
    for name, values in written.items():
        target.array(name)[unit.scenario, unit.realization] = values
    _mark(
        path,
        unit,
        {
            "scenario": study.names[unit.scenario],
            "realization": unit.realization,
            "seconds": round(time.time() - begun, 3),
            "checksums": {name: checksum(values) for name, values in written.items()},
        },
    )


def _interrupted(path: Path, study: Study, signals: Signals, again: str) -> Interrupted:
    total = len(study.scenarios) * study.realizations
    done = len(complete(path))
    return Interrupted(
        f"stopped after {done:,} of {total:,} runs; they are kept in {path}. Go on with {again or '--resume'}",
        128 + signals.stop,
    )


def _mark(path: Path, unit: Unit, about: dict[str, Any]) -> None:
    """Say in a file, which appears as a whole, that a run is complete or that it failed."""
    file = path / FOLDER / unit.name
    part = file.with_name(f".{file.name}.{socket.gethostname()}.{os.getpid()}")
    part.write_text(json.dumps(about) + "\n", encoding="utf-8")
    part.replace(file)


def _marked(path: Path, unit: Unit) -> dict[str, Any]:
    try:
        return dict(json.loads((path / FOLDER / unit.name).read_text("utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _done(path: Path, unit: Unit) -> bool:
    return "seconds" in _marked(path, unit)


def complete(path: Path) -> set[Unit]:
    """The runs whose results are all in the store."""
    return {unit for unit in _all(path) if _done(path, unit)}


def failures(path: Path) -> list[tuple[Unit, str]]:
    """Runs that failed, and why; they are tried again by the next `--resume`."""
    marked = ((unit, _marked(path, unit)) for unit in _all(path))
    return [(unit, str(about["failed"])) for unit, about in marked if "failed" in about]


def seconds(path: Path) -> list[float]:
    """How long each complete run took."""
    return [float(about["seconds"]) for about in (_marked(path, unit) for unit in _all(path)) if "seconds" in about]


def _all(path: Path) -> list[Unit]:
    found = sorted((path / FOLDER).glob("[0-9]*-[0-9]*.json"))
    return [Unit(*map(int, file.stem.split("-"))) for file in found]


def told(config: Config, world: World, realizations: int) -> dict[str, str]:
    """What makes the runs of a config these runs; see `lpm.provenance.identity`."""
    return identity(
        world,
        config.run.calendar,
        seed=config.run.seed,
        realizations=realizations,
        every=config.run.every,
        snapshots=(),
        snapshot_every=0,
        settings=described(config),
    )


def _identity(study: Study, base: World) -> dict[str, str]:
    """The base's identity, and for each other scenario what differs from it."""
    first = told(study.base, base, study.realizations)
    found = first | {"scenarios": ", ".join(study.names)}
    for scenario in study.scenarios[1:]:
        own = first | told(scenario.config, base, study.realizations)
        found |= {f"{scenario.name}: {key}": value for key, value in own.items() if first.get(key) != value}
    return found


def _opened(study: Study, base: World, path: Path) -> Store:
    """The study's store: made by whichever task comes first, the same for all that follow.

    Raises:
        InputError: if the directory holds another study; every difference is named.
    """
    mine = _identity(study, base)
    if not (path / store.NAME).exists():
        fresh = path / f".new.{socket.gethostname()}.{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        try:
            _create(study, base, mine, fresh / store.NAME)
            (path / FOLDER).mkdir(exist_ok=True)
            with contextlib.suppress(OSError):  # another task was first
                (fresh / store.NAME).rename(path / store.NAME)
            if not (path / store.NAME).exists():
                raise OSError(None, "the store could not be put in its place", str(path / store.NAME))
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    (path / FOLDER).mkdir(exist_ok=True)
    target = store.reopen(path / store.NAME, "r+")
    was = json.loads(str(target.group.attrs.get("identity", "{}")))
    changed = differences(was, mine)
    if changed:
        raise InputError(
            [
                f"{path}: asked to go on with the same study, got {each}; write the study as it was, or another --out"
                for each in changed
            ]
        )
    return target


def _create(study: Study, base: World, mine: dict[str, str], path: Path) -> None:
    run = study.base.run
    store.create(
        path,
        base.observables,
        batch.Engine(base, run.seed, 1, run.every).shapes(),
        base.coords,
        run.calendar,
        every=run.every,
        realizations=study.realizations,
        scenarios=study.names,
        observed=study.base.compare,
        attributes={
            **provenance(base, run.seed),
            "title": study.title,
            "config": study.base.text,
            "config_path": str(study.base.path),
            "config_overrides": "\n".join(study.base.overrides),
            "study": study.text,
            "study_path": str(study.path),
            "cautions": "\n".join(base.cautions),
            "identity": json.dumps(mine),
        },
    )


@contextlib.contextmanager
def _writing(path: Path, again: str) -> Iterator[None]:
    """Turn what the system says of a write that failed into an error with advice."""
    try:
        yield
    except OSError as error:
        raise Unwritable(
            f"{error.filename or path}: asked for a file that can be written, got: {error.strerror or error}; all runs "
            f"that had ended are intact. Make room or mend the path, then go on with {again}"
        ) from error
