"""The runs of a study: every realization of every scenario, in turn, with the same draws for all scenarios."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lpm import batch, directory
from lpm.config import build_world, described
from lpm.errors import InputError, LpmError, RunError
from lpm.provenance import identity, provenance
from lpm.runner import Interrupted, writing
from lpm.settings import Calendar
from lpm.signals import Signals
from lpm.studies import optimise, records
from lpm.studies.objective import Risk
from lpm.studies.plan import Scenario, Study, with_policies
from lpm.studies.records import About, Unit
from lpm.world import World


def part(units: list[Unit], task: int, tasks: int) -> list[Unit]:
    """The runs of one task of several, the first being task 1; neighbours, so that few worlds are built.

    >>> [len(part([Unit(0, r) for r in range(10)], task, 3)) for task in (1, 2, 3)]
    [3, 3, 4]
    """
    return units[len(units) * (task - 1) // tasks : len(units) * task // tasks]


def run(
    study: Study,
    out: str | Path,
    *,
    task: tuple[int, int] | None = None,
    resumed: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
    again: str = "the same call and resumed=True",
) -> Path:
    """Simulate what is missing of a study, or of one task's part of it.

    A run that fails is noted, and the others go on; `records.missing` lists what is not there.

    Args:
        study: from `plan.load`.
        out: a directory that is made, or empty unless `resumed` or `task`.
        task: (i, n) for the i-th of n parts, counted from 1; None for all. (0, n) finds the policy that the study asks
            for, before the others.
        resumed: go on with the study in `out`.
        progress: called after each run with how many are done, and of how many.
        say: called with a line for people.
        again: how the user goes on, for messages.

    Returns:
        the directory.

    Raises:
        InputError: before anything is written.
        Interrupted: on Ctrl-C and SIGTERM; runs that had ended are kept.
        Unwritable: if the disk refuses a write.
    """
    if task is not None and not (study.wanted.policy is None) <= task[0] <= task[1]:
        raise InputError(
            f"--task: asked for I/N with I from 1 to N, got {task[0]}/{task[1]}; write for example --task 1/10"
        )
    base = build_world(study.base)
    for caution in base.cautions:
        say(f"Note: {caution}")
    path = directory.writable(Path(out)) if resumed or task else directory.new(out)
    study = _optimised(study, path, task, say)
    if task is not None and task[0] == 0:
        return path
    about = _about(study, base)
    with writing(path, again, "all runs that had ended are intact"), Signals() as signals:
        about = records.begin(path, about)
        mine = about.units if task is None else part(about.units, *task)
        waiting = [unit for unit in mine if not records.complete(path, unit)]
        done, stopped = len(mine) - len(waiting), False
        for scenario in dict.fromkeys(unit.scenario for unit in waiting):
            world = _world(study.scenarios[scenario], base) if scenario else base
            for unit in (unit for unit in waiting if unit.scenario == scenario):
                stopped = stopped or not _one(study, world, unit, path, about, signals)
                done += not stopped
                if stopped or (signals.stop and done < len(mine)):
                    left = len(records.missing(path, about))
                    raise Interrupted(
                        f"stopped after {len(about.units) - left:,} of {len(about.units):,} runs; they are kept in "
                        f"{path}. Go on with {again}",
                        128 + signals.stop,
                    )
                progress(done, len(mine))
    return path


def _optimised(study: Study, path: Path, task: tuple[int, int] | None, say: Callable[[str], None]) -> Study:
    """The study with the policy that it asks for, found now or before."""
    policy = study.wanted.policy
    if policy is None:
        return study
    found = optimise.kept(path, policy)
    if found is None and task is not None and task[0]:
        raise InputError(
            f"--task: asked for a part of a study whose policy is not found yet, got {task[0]}/{task[1]}; do "
            f"`--task 0/{task[1]}` first, which finds it"
        )
    if found is None:
        found = optimise.optimise(policy, say)
        optimise.keep(path, found)
    return with_policies(study, found)


def _world(scenario: Scenario, base: World) -> World | LpmError:
    """A scenario's world, with the base's arrays wherever the values are the same, or why it cannot be built.

    So memory holds one population, and the compiled step serves all scenarios that differ in parameters alone.
    """
    try:
        world = build_world(scenario.config)
    except LpmError as error:
        return error
    fixed = {name: _shared(entry, base.state.fixed.get(name)) for name, entry in world.state.fixed.items()}
    return dataclasses.replace(world, state=dataclasses.replace(world.state, fixed=fixed))


def _shared(entry: Any, other: Any) -> Any:
    """An entry of the state, with another's arrays wherever they are equal."""
    mine, tree = jax.tree.flatten(entry)
    its, like = jax.tree.flatten(other)
    if str(tree) != str(like):
        return entry
    same = [b if np.shape(a) == np.shape(b) and np.array_equal(a, b) else a for a, b in zip(mine, its, strict=True)]
    return jax.tree.unflatten(tree, same)


def _one(study: Study, world: World | LpmError, unit: Unit, path: Path, about: About, signals: Signals) -> bool:
    """Simulate one run and write it, or why it failed; False if it was stopped. What is not observed is 0."""
    begun, run = time.perf_counter(), study.base.run
    try:
        if isinstance(world, LpmError):
            raise world
        found = simulated(world, run.calendar, run.seed, unit.realization, run.every, lambda: bool(signals.stop))
    except (LpmError, jax.errors.JaxRuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        records.write_failure(path, unit, reason)
        return True
    if found is None:
        return False
    absent = {name: each for name, each in about.shapes.items() if name not in found}
    found |= {name: np.zeros((about.steps // about.every, *shape), dtype) for name, (shape, dtype) in absent.items()}
    records.write_run(path, unit, found, time.perf_counter() - begun)
    return True


def simulated(
    world: World,
    calendar: Calendar,
    seed: int,
    realization: int,
    every: int = 1,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, np.ndarray] | None:
    """All records of one realization, (records, ...) for each observable; None if it was stopped.

    Raises:
        RunError: if a state or a result stops being finite.
    """
    total = calendar.steps // every
    engine = batch.Engine(world, seed, 1, every)
    seen: list[dict[str, np.ndarray]] = []
    for chunk in batch.ahead(engine.chunks(realization, total, (), 0, pauses=batch.Pauses(stop=stop))):
        assert isinstance(chunk, batch.Chunk)
        values, faults = jax.device_get((chunk.seen, chunk.broken))
        for number, broken in enumerate(faults):
            names = ", ".join(name for name, bad in broken.items() if bad)
            if names:
                raise RunError(
                    f"record {chunk.first + number}: asked for finite numbers, got others in {names}; look for a "
                    "division by zero or a rate that grows without bound"
                )
        seen += values
    if len(seen) < total:
        return None
    return {name: np.stack([record[name][0] for record in seen]) for name in seen[0]}


def _about(study: Study, base: World) -> About:
    """All that answers need, and what the runs depend on."""
    run, wanted = study.base.run, study.wanted
    shapes = batch.Engine(base, run.seed, 1, run.every).shapes()
    shapes |= {each.observable.name: (each.shape, each.dtype) for each in study.more}
    observables = (*base.observables, *(each.observable for each in study.more))
    return About(
        title=study.title,
        scenarios=records.told(study),
        realizations=study.realizations,
        outcomes=wanted.outcomes,
        effect=wanted.effect,
        capacity=wanted.capacity,
        costs=wanted.costs,
        prices=wanted.prices,
        currency=wanted.currency,
        levers=study.levers,
        start=None if run.calendar.start is None else run.calendar.start.isoformat(),
        steps=run.calendar.steps,
        every=run.every,
        scale=float(base.scale),
        observables=tuple((o.name, o.dims, o.units, o.long_name, o.over) for o in observables),
        shapes={name: (shape, dtype.str) for name, (shape, dtype) in shapes.items()},
        coords={dim: tuple(labels) for dim, labels in base.coords.items()},
        identity=_identity(study, base),
        attributes={
            **provenance(base, run.seed),
            "config": study.base.text,
            "config_path": str(study.base.path),
            "config_overrides": "\n".join(study.base.overrides),
            "study": study.text,
            "study_path": str(study.path),
            "cautions": "\n".join(base.cautions),
            "title": study.title,
        },
        worth=wanted.worth,
        risk=wanted.policy.risk if wanted.policy else Risk(),
        optimum=study.optimum,
    )


def _identity(study: Study, base: World) -> dict[str, str]:
    """The base's identity, and for each other scenario what differs from it; see `lpm.provenance.identity`."""

    def of(scenario: Scenario) -> dict[str, str]:
        run, settings = study.base.run, described(scenario.config)
        own: dict[str, Any] = {"snapshots": (), "snapshot_every": 0, "settings": settings}
        return identity(base, run.calendar, seed=run.seed, realizations=1, every=run.every, **own)

    first = of(study.scenarios[0])
    found = first | {"scenarios": ", ".join(study.names)}
    for scenario in study.scenarios[1:]:
        its = of(scenario)
        for key in {**first, **its}:
            if first.get(key) != its.get(key):
                found[f"{scenario.name}: {key}"] = its.get(key, "not set")
    return found
